/* SPDX-License-Identifier: MIT */
/* The sandbox's files, ports, capabilities and threads. Facts: landlock(7), capabilities(7). */
#include "host/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Landlock's interface as of version 5; the system's header may be older. */
struct landlock_rules {
	u64 files, ports;
};

struct landlock_path {
	u64 rights;
	i32 fd;
} __attribute__((packed));

enum {
	CREATE_RULESET = 444,
	ADD_RULE = 445,
	RESTRICT_SELF = 446,
	RULESET_VERSION = 1,
	RULE_PATH = 1,

	EXECUTE = 1 << 0,
	WRITE_FILE = 1 << 1,
	READ_FILE = 1 << 2,
	READ_DIR = 1 << 3,
	REMOVE_DIR = 1 << 4,
	REMOVE_FILE = 1 << 5,
	MAKE_CHAR = 1 << 6,
	MAKE_DIR = 1 << 7,
	MAKE_REG = 1 << 8,
	MAKE_SOCK = 1 << 9,
	MAKE_FIFO = 1 << 10,
	MAKE_BLOCK = 1 << 11,
	MAKE_SYM = 1 << 12,
	REFER = 1 << 13, /* version 2: link and rename between folders */
	TRUNCATE = 1 << 14, /* 3 */
	IOCTL_DEVICE = 1 << 15, /* 5 */

	FILES_V1 = (1 << 13) - 1,
	FILE_ONLY = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEVICE,
	TCP_BIND = 1 << 0, /* 4 */
	TCP_CONNECT = 1 << 1,
};

/* ---- the list ---- */

void sandbox_allow(struct sandbox *sandbox, const char *path, unsigned rights)
{
	char *copy;

	if (!path)
		return;
	copy = sandbox->npaths < SANDBOX_PATHS ? strdup(path) : NULL;
	if (!copy) {
		sandbox->overflow = true;
		return;
	}
	sandbox->path[sandbox->npaths].path = copy;
	sandbox->path[sandbox->npaths++].rights = rights;
}

void sandbox_allow_folder_of(struct sandbox *sandbox, const char *path, unsigned rights)
{
	char *folder = path ? strdup(path) : NULL, *slash;

	if (!folder)
		return;
	slash = strrchr(folder, '/');
	if (slash)
		slash[slash == folder] = 0;
	sandbox_allow(sandbox, slash ? folder : ".", rights);
	free(folder);
}

void sandbox_fini(struct sandbox *sandbox)
{
	while (sandbox->npaths)
		free(sandbox->path[--sandbox->npaths].path);
}

/* ---- Landlock ---- */

int sandbox_landlock_version(void)
{
	long version = syscall(CREATE_RULESET, NULL, 0, RULESET_VERSION);

	return version > 0 ? (int)version : 0;
}

/* Everything that this version can forbid. */
static struct landlock_rules handled(const struct sandbox *sandbox, int version)
{
	struct landlock_rules rules = {.files = FILES_V1};

	if (version >= 2)
		rules.files |= REFER;
	if (version >= 3)
		rules.files |= TRUNCATE;
	if (version >= 4 && !sandbox->network)
		rules.ports = TCP_BIND | TCP_CONNECT;
	if (version >= 5)
		rules.files |= IOCTL_DEVICE;
	return rules;
}

static u64 rights_of(unsigned rights)
{
	u64 all = 0;

	if (rights & SANDBOX_READ)
		all |= READ_FILE | READ_DIR;
	if (rights & SANDBOX_WRITE)
		all |= WRITE_FILE | TRUNCATE;
	if (rights & SANDBOX_FILES)
		all |= MAKE_REG | MAKE_SOCK | REMOVE_FILE;
	if (rights & SANDBOX_FOLDERS)
		all |= MAKE_DIR | MAKE_SYM | MAKE_FIFO | REMOVE_DIR | REFER;
	if (rights & SANDBOX_REMOVE)
		all |= REMOVE_FILE;
	if (rights & SANDBOX_RMDIR)
		all |= REMOVE_DIR;
	return all;
}

static int add_path(int rules, const char *path, u64 rights)
{
	struct landlock_path rule = {.rights = rights, .fd = open(path, O_PATH | O_CLOEXEC)};
	struct stat st;
	int ret = 0;

	if (rule.fd < 0)
		return errno == ENOENT || errno == ENOTDIR || errno == EACCES ? 0 : -errno;
	if (fstat(rule.fd, &st))
		ret = -errno;
	else if (!S_ISDIR(st.st_mode))
		rule.rights &= FILE_ONLY; /* it refuses what a file cannot have */
	if (!ret && rule.rights && syscall(ADD_RULE, rules, RULE_PATH, &rule, 0))
		ret = -errno;
	close(rule.fd);
	return ret;
}

/* A ruleset's descriptor, or -errno; -EOPNOTSUPP: there is no Landlock here. */
static int make_rules(const struct sandbox *sandbox)
{
	int version = sandbox_landlock_version(), fd;
	const struct landlock_rules rules = handled(sandbox, version);

	if (!version)
		return -EOPNOTSUPP;
	fd = (int)syscall(CREATE_RULESET, &rules, version >= 4 ? sizeof(rules) : sizeof(rules.files), 0);
	if (fd < 0)
		return -errno;
	for (unsigned i = 0; i < sandbox->npaths; i++) {
		int ret = add_path(fd, sandbox->path[i].path, rights_of(sandbox->path[i].rights) & rules.files);

		if (ret) {
			close(fd);
			return ret;
		}
	}
	return fd;
}

/* ---- capabilities ---- */

/* User 0 keeps its files, as any user does, and loses what makes it more than that. */
static int drop_capabilities(bool share)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct caps[2] = {0}, old[2];
	/* A file server that root runs serves files of all owners, as root would see them. */
	u32 kept = 1u << CAP_CHOWN | 1u << CAP_DAC_OVERRIDE | 1u << CAP_FOWNER | 1u << CAP_FSETID;

	if (syscall(SYS_capget, &header, old))
		return -errno;
	if (share)
		caps[0].permitted = caps[0].effective = old[0].permitted & kept;
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	return syscall(SYS_capset, &header, caps) ? -errno : 0;
}

/* ---- threads ---- */

static struct {
	int rules; /* -1: no Landlock */
	bool share;
} joined; /* what those who come later get, too; settled before `ready` */
static _Atomic bool ready;
static _Thread_local bool inside;

/* This thread alone; the filter of system calls reaches all by itself. */
static int confine_thread(int rules, bool share)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	if (rules >= 0 && syscall(RESTRICT_SELF, rules, 0))
		return -errno;
	return drop_capabilities(share);
}

void sandbox_join(void)
{
	if (inside || !atomic_load(&ready))
		return;
	if (confine_thread(joined.rules, joined.share))
		abort(); /* rather than a thread outside */
	inside = true;
}

int sandbox_enter(const struct sandbox *sandbox, struct err *err)
{
	int rules, ret;

	if (sandbox->overflow)
		return err_set(err, E2BIG, "the sandbox has no room for so many files");
	rules = make_rules(sandbox);
	if (rules < 0 && rules != -EOPNOTSUPP)
		return err_set(err, -rules, "the sandbox's rules on files: %s", strerror(-rules));
	joined.rules = rules < 0 ? -1 : rules;
	joined.share = sandbox->share;
	ret = confine_thread(joined.rules, joined.share);
	if (!ret)
		ret = sandbox_filter(sandbox);
	if (ret)
		return err_set(err, -ret, "this system allows no sandbox (%s); --no-sandbox runs without", strerror(-ret));
	inside = true;
	atomic_store(&ready, true);
	return 0;
}
