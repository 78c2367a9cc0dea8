/* SPDX-License-Identifier: MIT */
/* UNIX sockets that only their owner may use. */
#include "host/unix_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 8
#define CONNECT_TRIES 150 /* 20 ms each */

/* The address by way of the folder's descriptor, which is short. Returns that descriptor, or -errno. */
static int make_address(const char *path, struct sockaddr_un *address)
{
	char folder[PATH_MAX];
	const char *name = strrchr(path, '/');
	int dir, len;

	len = snprintf(folder, sizeof(folder), "%.*s", name ? (int)(name - path + 1) : 1, name ? path : ".");
	if (len >= (int)sizeof(folder))
		return -ENAMETOOLONG;
	dir = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return -errno;
	*address = (struct sockaddr_un){.sun_family = AF_UNIX};
	len = snprintf(address->sun_path, sizeof(address->sun_path), "/proc/self/fd/%d/%s", dir,
		name ? name + 1 : path);
	if (len < (int)sizeof(address->sun_path))
		return dir;
	close(dir);
	return -ENAMETOOLONG;
}

/* The queue of a process that hangs may be full, which is not waited for for ever. */
static int try_connect(int fd, const struct sockaddr_un *address)
{
	for (unsigned i = 0; i < CONNECT_TRIES; i++) {
		if (!connect(fd, (const struct sockaddr *)address, sizeof(*address)))
			return 0;
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
		usleep(20000);
	}
	return -EAGAIN;
}

int unix_connect(const char *path)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un address;
	int dir, ret;

	if (fd < 0)
		return -errno;
	dir = ret = make_address(path, &address);
	if (dir >= 0) {
		ret = try_connect(fd, &address);
		close(dir);
	}
	if (!ret && !fcntl(fd, F_SETFL, 0))
		return fd;
	close(fd);
	return ret ? ret : -errno;
}

/* A socket that was left behind refuses connections. */
static void remove_stale(const char *path)
{
	struct stat st;
	int fd;

	if (lstat(path, &st) || !S_ISSOCK(st.st_mode))
		return;
	fd = unix_connect(path);
	if (fd == -ECONNREFUSED)
		unlink(path);
	if (fd >= 0)
		close(fd);
}

int unix_listen(const char *path, struct err *err)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un address;
	int dir, ret = 0;

	if (fd < 0)
		return err_set(err, errno, "cannot make a socket: %s", strerror(errno));
	remove_stale(path);
	dir = make_address(path, &address);
	if (dir < 0)
		ret = dir;
	else if (fchmod(fd, 0600) || bind(fd, (struct sockaddr *)&address, sizeof(address)) ||
		 listen(fd, BACKLOG))
		ret = -errno;
	if (dir >= 0)
		close(dir);
	if (!ret)
		return fd;
	close(fd);
	return err_set(err, -ret, "cannot listen on %s: %s", path, strerror(-ret));
}

static bool is_ours(int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	return !getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) && (peer.uid == geteuid() || !peer.uid);
}

int unix_accept(int fd)
{
	int peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (peer < 0)
		return -errno;
	if (is_ours(peer))
		return peer;
	close(peer);
	return -EACCES;
}
