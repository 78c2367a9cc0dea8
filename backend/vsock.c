/* SPDX-License-Identifier: MIT */
/* UNIX sockets on the host for a guest's vsock. */
#include "backend/vsock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "host/unix_socket.h"

#define GREETINGS 16u /* programs that have connected and not said where to */
#define LINE_MAX_LEN 32u
#define PATH_LEN (sizeof(((struct sockaddr_un *)0)->sun_path) - 11) /* room for "_" and a port */

struct greeting {
	struct vsock_host *host;
	struct loop_source source; /* fd < 0: free */
	char line[LINE_MAX_LEN + 1]; /* what has come, with a NUL behind it */
	unsigned len;
};

struct vsock_host {
	struct loop *loop;
	struct loop_source listener;
	struct greeting greeting[GREETINGS];
	void (*accept)(void *arg, int fd, u32 port);
	void *arg;
	char path[PATH_LEN];
};

static void forget(struct greeting *g)
{
	loop_remove(g->host->loop, &g->source);
	g->source.fd = -1;
}

static void refuse(struct greeting *g)
{
	int fd = g->source.fd;

	forget(g);
	close(fd);
}

/* One byte at a time: what follows the line is the guest's. */
static ssize_t read_line(struct greeting *g)
{
	ssize_t n;

	while ((n = read(g->source.fd, &g->line[g->len], 1)) == 1) {
		if (g->line[g->len] == '\n')
			return 1;
		if (++g->len == LINE_MAX_LEN)
			return -1;
	}
	return n < 0 && errno == EAGAIN ? 0 : -1;
}

static bool parse(const struct greeting *g, u32 *port)
{
	const char *number = g->line + 8;
	unsigned long value;
	char *end;

	if (strncmp(g->line, "CONNECT ", 8))
		return false;
	value = strtoul(number, &end, 10);
	*port = (u32)value;
	return end > number && *end == '\n' && value < UINT32_MAX;
}

static void greeting_ready(void *arg, u32 events)
{
	struct greeting *g = arg;
	int fd = g->source.fd;
	ssize_t ret;
	u32 port;

	(void)events;
	if (fd < 0)
		return; /* another event of the same batch */
	ret = read_line(g);
	if (!ret)
		return;
	if (ret < 0 || !g->host->accept || !parse(g, &port)) {
		refuse(g);
		return;
	}
	forget(g);
	g->host->accept(g->host->arg, fd, port);
}

static struct greeting *free_greeting(struct vsock_host *host)
{
	for (unsigned i = 0; i < GREETINGS; i++) {
		if (host->greeting[i].source.fd < 0)
			return &host->greeting[i];
	}
	return NULL;
}

static void listener_ready(void *arg, u32 events)
{
	struct vsock_host *host = arg;
	struct greeting *g = free_greeting(host);
	int fd = unix_accept(host->listener.fd);

	(void)events;
	if (fd < 0)
		return;
	if (!g) {
		close(fd);
		return;
	}
	*g = (struct greeting){.host = host, .source = {.fd = fd, .ready = greeting_ready, .arg = g}};
	if (loop_add(host->loop, &g->source, EPOLLIN)) {
		g->source.fd = -1;
		close(fd);
	}
}

int vsock_host_create(struct loop *loop, const char *path, struct vsock_host **out, struct err *err)
{
	struct vsock_host *host;
	int fd, ret;

	if (strlen(path) >= PATH_LEN)
		return err_set(err, ENAMETOOLONG, "vsock: the path %s is too long for a socket", path);
	fd = unix_listen(path, err);
	if (fd < 0)
		return fd;
	host = calloc(1, sizeof(*host));
	if (!host) {
		close(fd);
		return -ENOMEM;
	}
	host->loop = loop;
	host->listener = (struct loop_source){.fd = fd, .ready = listener_ready, .arg = host};
	strcpy(host->path, path);
	for (unsigned i = 0; i < GREETINGS; i++)
		host->greeting[i].source.fd = -1;
	ret = loop_add(loop, &host->listener, EPOLLIN);
	if (ret) {
		vsock_host_free(host);
		return err_set(err, -ret, "vsock: %s: %s", path, strerror(-ret));
	}
	*out = host;
	return 0;
}

void vsock_host_listen(struct vsock_host *host, void (*accept)(void *arg, int fd, u32 port), void *arg)
{
	host->accept = accept;
	host->arg = arg;
}

int vsock_host_connect(struct vsock_host *host, u32 port)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s_%u", host->path, port);
	if (connect(fd, (const struct sockaddr *)&addr, sizeof(addr))) {
		close(fd);
		return -ECONNREFUSED;
	}
	return fd;
}

void vsock_host_free(struct vsock_host *host)
{
	if (!host)
		return;
	for (unsigned i = 0; i < GREETINGS; i++) {
		if (host->greeting[i].source.fd >= 0)
			refuse(&host->greeting[i]);
	}
	loop_remove(host->loop, &host->listener);
	close(host->listener.fd);
	unlink(host->path);
	free(host);
}
