/* SPDX-License-Identifier: MIT */
/* Where the VNC server listens. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "backend/vnc.h"

#define DISPLAY_0 5900
#define BACKLOG 4

union address {
	struct sockaddr any;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
	struct sockaddr_un un;
};

static int wrong(const char *address, struct err *err)
{
	return err_set(
		err, EINVAL, "VNC address %s: use 127.0.0.1:5900, :0 (a display) or unix:PATH", address);
}

/* A number up to max, and nothing behind it; -1: it is none. */
static int number(const char *text, int max)
{
	char *end;
	long n = strtol(text, &end, 10);

	return *text >= '0' && *text <= '9' && !*end && n <= max ? (int)n : -1;
}

static socklen_t parse_host(const char *host, int port, union address *to)
{
	memset(to, 0, sizeof(*to));
	if (!*host || !strcmp(host, "localhost"))
		host = "127.0.0.1";
	if (inet_pton(AF_INET, host, &to->in.sin_addr) == 1) {
		to->in.sin_family = AF_INET;
		to->in.sin_port = htons((u16)port);
		return sizeof(to->in);
	}
	if (inet_pton(AF_INET6, host, &to->in6.sin6_addr) == 1) {
		to->in6.sin6_family = AF_INET6;
		to->in6.sin6_port = htons((u16)port);
		return sizeof(to->in6);
	}
	return 0;
}

static bool is_loopback(const union address *a)
{
	if (a->any.sa_family == AF_INET)
		return ntohl(a->in.sin_addr.s_addr) >> 24 == 127;
	return IN6_IS_ADDR_LOOPBACK(&a->in6.sin6_addr);
}

/* "HOST:PORT", "[HOST]:PORT", ":DISPLAY" */
static socklen_t parse(const char *address, union address *to)
{
	const char *colon = strrchr(address, ':');
	bool bracket = address[0] == '[' && colon > address && colon[-1] == ']';
	const char *host = address + bracket;
	char copy[64];
	int port;

	if (!colon || (size_t)(colon - host) - bracket >= sizeof(copy))
		return 0;
	memcpy(copy, host, (size_t)(colon - host) - bracket);
	copy[colon - host - bracket] = 0;
	port = number(colon + 1, 65535);
	if (port >= 0 && colon == address)
		port = port + DISPLAY_0 <= 65535 ? port + DISPLAY_0 : -1;
	return port > 0 ? parse_host(copy, port, to) : 0;
}

static int open_socket(const union address *at, socklen_t len)
{
	int one = 1, fd = socket(at->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), ret;

	if (fd < 0)
		return -errno;
	if (at->any.sa_family != AF_UNIX)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	/* Nobody may connect before the socket's mode is right. */
	if (!bind(fd, &at->any, len) && (at->any.sa_family != AF_UNIX || !chmod(at->un.sun_path, 0600)) &&
		!listen(fd, BACKLOG))
		return fd;
	ret = -errno;
	close(fd);
	return ret;
}

/* A socket that nobody listens at was left by a process that died. */
static bool is_dead(const union address *at)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool dead = fd >= 0 && connect(fd, &at->any, sizeof(at->un)) && errno == ECONNREFUSED;

	if (fd >= 0)
		close(fd);
	return dead;
}

static int listen_unix(const char *file, char path[108], struct err *err)
{
	union address at = {.un = {.sun_family = AF_UNIX}};
	struct stat st;
	int fd;

	if (!*file || strlen(file) >= sizeof(at.un.sun_path))
		return err_set(err, EINVAL, "VNC socket %s: a path of 1 to 107 bytes is needed", file);
	strcpy(at.un.sun_path, file);
	fd = open_socket(&at, sizeof(at.un));
	if (fd == -EADDRINUSE && !stat(file, &st) && S_ISSOCK(st.st_mode) && is_dead(&at) && !unlink(file))
		fd = open_socket(&at, sizeof(at.un));
	if (fd == -EADDRINUSE)
		return err_set(
			err, EADDRINUSE, "VNC socket %s is in use by another process, or a file", file);
	if (fd < 0)
		return err_set(err, -fd, "cannot listen at VNC socket %s: %s", file, strerror(-fd));
	strcpy(path, file);
	return fd;
}

int vnc_listen(const char *address, char path[108], struct err *err)
{
	union address at;
	socklen_t len;
	int fd;

	path[0] = 0;
	if (!strncmp(address, "unix:", 5))
		return listen_unix(address + 5, path, err);
	len = parse(address, &at);
	if (!len)
		return wrong(address, err);
	if (!is_loopback(&at))
		return err_set(err, EINVAL,
			"VNC address %s: what VNC says is not encrypted, so only this host's 127.0.0.1 or ::1 may be; "
			"reach it with ssh -L",
			address);
	fd = open_socket(&at, len);
	if (fd == -EADDRINUSE)
		return err_set(err, EADDRINUSE, "VNC address %s is in use; choose another port", address);
	if (fd < 0)
		return err_set(err, -fd, "cannot listen at VNC address %s: %s", address, strerror(-fd));
	return fd;
}
