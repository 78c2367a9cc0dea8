/* SPDX-License-Identifier: MIT */
/* Folders and sockets that the guest shares with the host. */
#include "main/machine_shares.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dev/virtio/fs.h"
#include "dev/virtio/p9.h"
#include "dev/virtio/vsock.h"
#include "host/process.h"
#include "host/unix_socket.h"

#define VIRTIOFSD "/usr/lib/qemu/virtiofsd" /* Debian's qemu-system-common */
#define STOP_SECONDS 5

/* ---- which kind ---- */

/* It takes root (QEMU's virtiofsd wants namespaces of its own), and an engine whose RAM may be shared. */
static bool virtiofs_works(const struct machine *m, struct err *err)
{
	if (access(VIRTIOFSD, X_OK))
		err_set(err, ENOENT, "virtiofs needs %s (Debian: qemu-system-common); kind=9p needs nothing", VIRTIOFSD);
	else if (geteuid())
		err_set(err, EPERM, "virtiofs: %s runs as root only; kind=9p does not need that", VIRTIOFSD);
	else if (m->vm.engine->ram_map)
		err_set(err, EINVAL, "virtiofs: engine %s cannot share RAM with it; kind=9p does not need that",
			m->vm.engine->name);
	else
		return true;
	return false;
}

static bool is_virtiofs(const struct machine *m, const struct share_config *share)
{
	return share->kind == SHARE_VIRTIOFS ||
	       (share->kind == SHARE_AUTO && !share->readonly && virtiofs_works(m, NULL));
}

bool machine_shares_ram(const struct machine *m)
{
	for (unsigned i = 0; i < m->config->nshares; i++) {
		if (is_virtiofs(m, &m->config->share[i]))
			return true;
	}
	return false;
}

/* ---- virtio-fs ---- */

static int start_server(const char *folder, int listener, pid_t *pid)
{
	char source[PATH_MAX + 8];
	const char *const argv[] = {
		VIRTIOFSD, "--fd=3", "-f", "-o", source, "-o", "log_level=err", "-o", "posix_lock,flock", NULL};
	const struct process_spec spec = {
		.argv = argv, .out = STDERR_FILENO, .err = STDERR_FILENO, .listen = -1, .pass = listener};

	snprintf(source, sizeof(source), "source=%s", folder);
	return process_start(&spec, pid);
}

/* A connected socket, or -errno. Nobody else can connect: the socket lies in a folder of ours. */
static int start_connected(const char *folder, pid_t *pid, struct err *err)
{
	char dir[] = "/tmp/mullion-XXXXXX", path[sizeof(dir) + 4];
	int listener, fd, ret;

	if (!mkdtemp(dir))
		return err_set(err, errno, "no temporary folder in /tmp: %s", strerror(errno));
	snprintf(path, sizeof(path), "%s/fs", dir);
	listener = unix_listen(path, err);
	fd = listener < 0 ? listener : unix_connect(path);
	ret = fd < 0 ? fd : start_server(folder, listener, pid);
	if (listener >= 0)
		close(listener);
	unlink(path);
	rmdir(dir);
	if (!ret)
		return fd;
	if (fd >= 0)
		close(fd);
	return err_set(err, -ret, "%s cannot be started: %s", VIRTIOFSD, strerror(-ret));
}

static int add_virtiofs(struct machine *m, const struct share_config *share, pid_t *pid, struct err *err)
{
	const struct vhost_memory ram = {.fd = m->ram_fd, .size = m->config->memory, .host = m->ram};
	struct virtio_fs_server server = {.ram = &ram, .nram = 1};

	if (!virtiofs_works(m, err))
		return -EINVAL;
	if (share->readonly)
		return err_set(err, EINVAL, "--share %s: kind=virtiofs cannot be readonly; kind=9p can", share->path);
	if (strlen(share->tag) > VIRTIO_FS_TAG_MAX)
		return err_set(err, EINVAL, "--share: virtiofs has tags of up to %u bytes; %s is longer",
			VIRTIO_FS_TAG_MAX, share->tag);
	if (access(share->path, R_OK | X_OK))
		return err_set(err, errno, "--share %s: %s", share->path, strerror(errno));
	server.fd = start_connected(share->path, pid, err);
	if (server.fd < 0)
		return server.fd;
	server.pid = *pid;
	return virtio_fs_create(&m->vm, m->pci, m->loop, share->tag, &server, err);
}

void machine_close_shares(struct machine *m)
{
	for (unsigned i = 0; i < CONFIG_SHARES; i++) {
		if (m->share[i].server > 0)
			process_stop(m->share[i].server, STOP_SECONDS);
		m->share[i].server = 0;
	}
}

/* ---- all ---- */

static int add_share(struct machine *m, unsigned index, struct err *err)
{
	const struct share_config *share = &m->config->share[index];
	struct stat st;

	if (!share->path)
		return err_set(err, EINVAL, "--share needs a folder: --share FOLDER,tag=NAME");
	if (!share->tag || !*share->tag)
		return err_set(err, EINVAL, "--share %s: say what the guest mounts it by: tag=NAME", share->path);
	if (!stat(share->path, &st) && !S_ISDIR(st.st_mode))
		return err_set(err, ENOTDIR, "--share %s: is not a folder", share->path);
	if (is_virtiofs(m, share))
		return add_virtiofs(m, share, &m->share[index].server, err);
	return virtio_9p_create(&m->vm, m->pci, share->path, share->tag, share->readonly, err);
}

static int check_tag(const struct vm_config *config, unsigned index, struct err *err)
{
	const char *tag = config->share[index].tag;

	for (unsigned i = 0; tag && i < index; i++) {
		if (config->share[i].tag && !strcmp(config->share[i].tag, tag))
			return err_set(err, EINVAL, "--share: two folders have the tag %s", tag);
	}
	return 0;
}

static int add_vsock(struct machine *m, struct err *err)
{
	const struct vm_config *config = m->config;

	if (!config->vsock_cid)
		return 0;
	if (!config->vsock_path)
		return err_set(err, EINVAL,
			"--vsock needs --vsock-path PATH, the UNIX socket by which programs of the host reach the guest");
	return virtio_vsock_create(&m->vm, m->pci, m->loop, config->vsock_cid, config->vsock_path, err);
}

int machine_add_shares(struct machine *m, struct err *err)
{
	const struct vm_config *config = m->config;
	int ret = 0;

	for (unsigned i = 0; !ret && i < config->nshares; i++) {
		ret = check_tag(config, i, err);
		if (!ret)
			ret = add_share(m, i, err);
	}
	return ret ? ret : add_vsock(m, err);
}
