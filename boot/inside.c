/* SPDX-License-Identifier: MIT */
/* Finds the Linux system on a disk. */
#include "boot/inside.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "boot/ext.h"

#define KERNEL_MAX MIB(256)
#define INITRD_MAX MIB(640)
#define GRUB_CFG_MAX MIB(1)

struct look {
	struct boot_store *store;
	const char *name; /* the disk's */
	struct boot_inside *inside;
	const struct partition *partition;
	struct ext *ext;
	const char *other; /* a file system of another kind was seen */
};

/* ---- names ---- */

/* Like versions are: 6.1.0-10 is above 6.1.0-9. A name without a suffix like .old is the newer one. */
static bool newer(const char *a, const char *b)
{
	return strverscmp(a, b) > 0;
}

static bool is_kernel(const char *name)
{
	size_t len = strlen(name);

	return (!strncmp(name, "vmlinuz-", 8) || !strncmp(name, "bzImage-", 8)) && !strstr(name, "rescue") &&
	       !(len > 4 && !strcmp(name + len - 4, ".old")) && len < 200;
}

static void keep_newest(void *arg, const char *name)
{
	char *best = arg;

	if (is_kernel(name) && (!*best || newer(name, best)))
		snprintf(best, 256, "%s", name);
}

/* ---- files ---- */

static int put_to_fd(void *arg, const void *data, size_t len)
{
	const u8 *p = data;

	while (len) {
		ssize_t n = write(*(int *)arg, p, len);

		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

/* Copies the file out. 0 or -errno. */
static int take(struct look *look, const char *path, int fd, u64 max)
{
	i64 size;

	if (ftruncate(fd, 0) || lseek(fd, 0, SEEK_SET))
		return -errno;
	size = ext_read(look->ext, path, max, put_to_fd, &fd);
	return size > 0 ? 0 : size ? (int)size : -ENODATA;
}

struct text {
	char *at;
	size_t len, room;
};

static int put_to_text(void *arg, const void *data, size_t len)
{
	struct text *text = arg;

	if (len >= text->room - text->len)
		return -EFBIG;
	memcpy(text->at + text->len, data, len);
	text->len += len;
	return 0;
}

/* A file with lines, or NULL; the caller frees it. */
static char *read_text(struct look *look, const char *path, u64 max)
{
	struct text text = {.at = malloc(max + 1), .room = max + 1};

	if (!text.at)
		return NULL;
	if (ext_read(look->ext, path, max, put_to_text, &text) < 0) {
		free(text.at);
		return NULL;
	}
	text.at[text.len] = '\0';
	return text.at;
}

/* ---- GRUB's first entry ---- */

static bool first_word(const char *line, const char *word)
{
	size_t len = strlen(word);

	return !strncmp(line, word, len) && (line[len] == ' ' || line[len] == '\t');
}

/* A path that names no other disk. */
static bool plain_path(const char *path)
{
	return path[0] == '/' && !strchr(path, '$') && strlen(path) < sizeof(((struct boot_inside *)NULL)->kernel_name);
}

static void append_word(char *line, size_t size, const char *word)
{
	size_t len = strlen(line);

	if (len + strlen(word) + 2 < size)
		snprintf(line + len, size - len, "%s%s", len ? " " : "", word);
}

/* linux PATH WORD...: what GRUB's scripts would compute is left out. */
static bool grub_linux(struct boot_inside *inside, char *rest)
{
	char *next, *path = strtok_r(rest, " \t", &next);

	if (!path || !plain_path(path))
		return false;
	snprintf(inside->kernel_name, sizeof(inside->kernel_name), "%s", path);
	inside->command_line[0] = '\0';
	for (char *word = strtok_r(NULL, " \t", &next); word; word = strtok_r(NULL, " \t", &next))
		if (!strchr(word, '$') && !strpbrk(word, "'\"\\`"))
			append_word(inside->command_line, sizeof(inside->command_line), word);
	return true;
}

/* True when a kernel was named. */
static bool grub_entry(struct boot_inside *inside, char *config)
{
	char *next;
	bool entry = false, found = false;

	for (char *line = strtok_r(config, "\n\r", &next); line; line = strtok_r(NULL, "\n\r", &next)) {
		line += strspn(line, " \t");
		if (first_word(line, "menuentry") && found)
			break;
		entry |= first_word(line, "menuentry");
		if (!entry)
			continue;
		if (!found && (first_word(line, "linux") || first_word(line, "linuxefi") || first_word(line, "linux16")))
			found = grub_linux(inside, strpbrk(line, " \t"));
		else if (found && (first_word(line, "initrd") || first_word(line, "initrdefi") || first_word(line, "initrd16"))) {
			char *path = strtok(line + strcspn(line, " \t"), " \t");

			if (path && plain_path(path))
				snprintf(inside->initrd_name, sizeof(inside->initrd_name), "%s", path);
			break;
		}
	}
	return found;
}

static bool by_grub(struct look *look)
{
	static const char *const places[] = {"/boot/grub/grub.cfg", "/grub/grub.cfg", "/boot/grub2/grub.cfg", "/grub2/grub.cfg"};
	bool found = false;

	for (size_t i = 0; i < ARRAY_SIZE(places) && !found; i++) {
		char *config = read_text(look, places[i], GRUB_CFG_MAX);

		found = config && grub_entry(look->inside, config);
		free(config);
	}
	return found;
}

/* ---- without it ---- */

static void root_by_name(struct look *look, bool initrd)
{
	char *line = look->inside->command_line, uuid[37];
	size_t size = sizeof(look->inside->command_line);

	ext_uuid(look->ext, uuid);
	if (initrd) {
		snprintf(line, size, "root=UUID=%s ro quiet", uuid);
	} else if (look->partition->has_guid) { /* the kernel alone knows no file system's UUID */
		partition_guid_text(look->partition, uuid);
		snprintf(line, size, "root=PARTUUID=%s ro quiet", uuid);
	} else {
		snprintf(line, size, "root=/dev/vda%.0u ro quiet", look->partition->number);
	}
}

static int just_look(void *arg, const void *data, size_t len)
{
	(void)arg;
	(void)data;
	(void)len;
	return -EEXIST;
}

static bool exists(struct look *look, const char *path)
{
	return ext_read(look->ext, path, INITRD_MAX, just_look, NULL) == -EEXIST;
}

/* The initrd of a kernel has its version, as distributions name it. */
static void initrd_of(struct look *look, const char *dir, const char *version)
{
	static const char *const forms[] = {"initrd.img-%s", "initramfs-%s.img", "initrd-%s"};
	char name[224], *path = look->inside->initrd_name;

	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		snprintf(name, sizeof(name), forms[i], version);
		snprintf(path, sizeof(look->inside->initrd_name), "%s/%s", dir, name);
		if (exists(look, path))
			return;
	}
	*path = '\0';
}

static bool by_newest(struct look *look, const char *dir)
{
	char best[256] = "";

	if (ext_list(look->ext, *dir ? dir : "/", keep_newest, best) || !*best)
		return false;
	snprintf(look->inside->kernel_name, sizeof(look->inside->kernel_name), "%s/%.200s", dir, best);
	initrd_of(look, dir, strchr(best, '-') + 1);
	root_by_name(look, *look->inside->initrd_name);
	return true;
}

/* Debian's links to the newest ones. */
static bool by_link(struct look *look)
{
	struct boot_inside *inside = look->inside;

	if (!exists(look, "/vmlinuz"))
		return false;
	snprintf(inside->kernel_name, sizeof(inside->kernel_name), "/vmlinuz");
	if (exists(look, "/initrd.img"))
		snprintf(inside->initrd_name, sizeof(inside->initrd_name), "/initrd.img");
	root_by_name(look, *inside->initrd_name);
	return true;
}

/* ---- a disk ---- */

static const char *other_kind(struct boot_store *store, const struct partition *p)
{
	static const struct {
		u64 at;
		const char *magic, *name;
	} kinds[] = {
		{0, "XFSB", "XFS"},
		{65600, "_BHRfS_M", "btrfs"},
		{0, "LUKS\xba\xbe", "LUKS"},
		{512, "LABELONE", "LVM"},
		{82, "FAT32", "FAT"},
		{54, "FAT1", "FAT"},
		{3, "NTFS", "NTFS"},
		{32769, "CD001", "ISO 9660"},
	};
	char magic[8];

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		size_t len = strlen(kinds[i].magic);

		if (kinds[i].at + sizeof(magic) <= p->size &&
			!store->read(store, p->offset + kinds[i].at, magic, sizeof(magic)) &&
			!memcmp(magic, kinds[i].magic, len))
			return kinds[i].name;
	}
	return NULL;
}

static int take_file(struct look *look, const char *what, const char *path, int fd, u64 max, struct err *err)
{
	int ret = take(look, path, fd, max);

	return ret ? err_set(err, -ret, "%s: its %s %s cannot be read: %s", look->name, what, path, strerror(-ret)) : 0;
}

/* 1: found; 0: not here; -errno: found, but it cannot be had. */
static int look_at(struct look *look, struct err *err)
{
	struct boot_inside *inside = look->inside;
	int ret;

	inside->kernel_name[0] = inside->initrd_name[0] = inside->command_line[0] = '\0';
	if (!by_grub(look) && !by_link(look) && !by_newest(look, "/boot") && !by_newest(look, ""))
		return 0;
	ret = take_file(look, "kernel", inside->kernel_name, inside->kernel, KERNEL_MAX, err);
	if (!ret && *inside->initrd_name)
		ret = take_file(look, "initrd", inside->initrd_name, inside->initrd, INITRD_MAX, err);
	return ret ? ret : 1;
}

static int look_at_partition(struct look *look, struct err *err)
{
	int ret = ext_open(look->store, look->partition, &look->ext);

	if (ret) {
		const char *kind = ret == -EINVAL ? other_kind(look->store, look->partition) : "a damaged or newer ext4";

		if (kind && (!look->other || strcmp(kind, "FAT")))
			look->other = kind;
		return 0;
	}
	ret = look_at(look, err);
	ext_close(look->ext);
	return ret;
}

int boot_look_inside(struct boot_store *store, const char *name, struct boot_inside *inside, struct err *err)
{
	struct look look = {.store = store, .name = name, .inside = inside};
	struct partition list[PARTITIONS_MAX];
	int n = partitions_read(store, list, ARRAY_SIZE(list)), ret = 0;

	if (n < 0)
		return err_set(err, -n, "%s cannot be read: %s", name, strerror(-n));
	for (int i = 0; !ret && i < n; i++) {
		look.partition = &list[i];
		ret = look_at_partition(&look, err);
	}
	if (ret)
		return ret < 0 ? ret : 0;
	if (look.other)
		return err_set(err, ENOENT,
			"%s: no kernel found: it holds %s, and only ext2, ext3 and ext4 are looked into; give --kernel and --initrd",
			name, look.other);
	return err_set(err, ENOENT, "%s: no Linux kernel found in it (/vmlinuz or /boot/vmlinuz-*); give --kernel", name);
}

int boot_inside_init(struct boot_inside *inside)
{
	inside->kernel = memfd_create("kernel", MFD_CLOEXEC);
	inside->initrd = memfd_create("initrd", MFD_CLOEXEC);
	return inside->kernel < 0 || inside->initrd < 0 ? -errno : 0;
}

void boot_inside_fini(struct boot_inside *inside)
{
	if (inside->kernel > 0)
		close(inside->kernel);
	if (inside->initrd > 0)
		close(inside->initrd);
	inside->kernel = inside->initrd = -1;
}
