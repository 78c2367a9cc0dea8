/* SPDX-License-Identifier: MIT */
/* A UNIX socket that takes requests, one a line. */
#include "ctl/server.h"

#include <errno.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/unix_socket.h"

static void forget(struct ctl_client *client)
{
	if (client->source.fd >= 0)
		loop_remove(client->server->loop, &client->source);
	if (client->passed >= 0)
		close(client->passed);
	free(client->in);
	free(client->out);
	*client = (struct ctl_client){.server = client->server, .source.fd = -1, .passed = -1};
}

static void drop(struct ctl_client *client)
{
	int fd = client->source.fd;

	forget(client);
	if (fd >= 0)
		close(fd);
}

/* ---- answers ---- */

static void flush(struct ctl_client *client)
{
	ssize_t n = send(client->source.fd, client->out, client->out_len, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n < 0 && errno != EAGAIN && errno != EINTR) {
		drop(client);
		return;
	}
	if (n > 0) {
		client->out_len -= (size_t)n;
		memmove(client->out, client->out + n, client->out_len);
	}
	loop_watch(client->server->loop, &client->source, EPOLLIN | (client->out_len ? EPOLLOUT : 0));
}

void ctl_send(struct ctl_client *client, const char *line)
{
	size_t len = strlen(line);
	char *out;

	if (client->source.fd < 0)
		return;
	out = client->out_len + len < CTL_ANSWERS_MAX ? realloc(client->out, client->out_len + len + 1)
						      : NULL;
	if (!out) {
		drop(client);
		return;
	}
	client->out = out;
	memcpy(out + client->out_len, line, len);
	out[client->out_len + len] = '\n';
	client->out_len += len + 1;
	flush(client);
}

void ctl_broadcast(struct ctl_server *server, const char *line)
{
	for (unsigned i = 0; i < CTL_CLIENTS; i++) {
		if (server->client[i].events)
			ctl_send(&server->client[i], line);
	}
}

int ctl_take(struct ctl_client *client)
{
	int fd = client->source.fd;

	if (fd < 0 || client->out_len)
		return -EAGAIN;
	forget(client);
	return fd;
}

/* ---- requests ---- */

/* All whole lines in the buffer. The handler may drop or take the client. */
static void take_lines(struct ctl_client *client)
{
	struct ctl_server *server = client->server;
	char *end;

	while (client->source.fd >= 0 && (end = memchr(client->in, '\n', client->in_len))) {
		char line[CTL_LINE_MAX + 1];
		size_t len = (size_t)(end - client->in);

		memcpy(line, client->in, len);
		line[len] = 0;
		client->in_len -= len + 1;
		memmove(client->in, end + 1, client->in_len);
		if (len)
			server->request(server->ctx, client, line, len);
	}
	if (client->source.fd >= 0 && client->in_len == CTL_LINE_MAX)
		drop(client);
}

/* What came with the data: only the last descriptor is kept, and only one at a time can come. */
static void keep_passed(struct ctl_client *client, struct msghdr *message)
{
	struct cmsghdr *header = CMSG_FIRSTHDR(message);

	if (!header || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS ||
		header->cmsg_len != CMSG_LEN(sizeof(int)))
		return;
	if (client->passed >= 0)
		close(client->passed);
	memcpy(&client->passed, CMSG_DATA(header), sizeof(int));
}

static ssize_t receive(struct ctl_client *client)
{
	alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))];
	struct iovec part = {client->in + client->in_len, CTL_LINE_MAX - client->in_len};
	struct msghdr message = {.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = CMSG_LEN(sizeof(int)) /* the kernel closes what is more */};
	ssize_t n = recvmsg(client->source.fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (n >= 0)
		keep_passed(client, &message);
	return n;
}

static void client_ready(void *arg, u32 events)
{
	struct ctl_client *client = arg;
	ssize_t n;

	if (client->source.fd >= 0 && events & EPOLLOUT)
		flush(client);
	if (client->source.fd < 0 || !(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		return;
	n = receive(client);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		drop(client);
		return;
	}
	client->in_len += (size_t)n;
	take_lines(client);
}

static struct ctl_client *free_client(struct ctl_server *server)
{
	for (unsigned i = 0; i < CTL_CLIENTS; i++) {
		if (server->client[i].source.fd < 0)
			return &server->client[i];
	}
	return NULL;
}

struct ctl_client *ctl_add_client(struct ctl_server *server, int fd)
{
	struct ctl_client *client = free_client(server);

	if (!client)
		return NULL;
	client->in = malloc(CTL_LINE_MAX); /* connections are rare; most VMs never see one */
	client->source = (struct loop_source){.fd = fd, .ready = client_ready, .arg = client};
	if (client->in && !loop_add(server->loop, &client->source, EPOLLIN))
		return client;
	client->source.fd = -1;
	forget(client);
	return NULL;
}

static void connected(void *arg, u32 events)
{
	struct ctl_server *server = arg;
	int fd = unix_accept(server->listener.fd);

	(void)events;
	if (fd >= 0 && !ctl_add_client(server, fd))
		close(fd);
}

int ctl_listen(struct ctl_server *server, struct loop *loop, const char *path,
	void (*request)(void *, struct ctl_client *, char *, size_t), void *ctx, struct err *err)
{
	int fd, ret;

	*server = (struct ctl_server){.loop = loop, .request = request, .ctx = ctx, .listener.fd = -1};
	for (unsigned i = 0; i < CTL_CLIENTS; i++)
		server->client[i] = (struct ctl_client){.server = server, .source.fd = -1, .passed = -1};
	fd = unix_listen(path, err);
	if (fd < 0)
		return fd;
	server->listener = (struct loop_source){.fd = fd, .ready = connected, .arg = server};
	ret = loop_add(loop, &server->listener, EPOLLIN);
	if (!ret)
		return 0;
	close(fd);
	server->listener.fd = -1;
	return err_set(err, -ret, "cannot watch %s: %s", path, strerror(-ret));
}

void ctl_close(struct ctl_server *server)
{
	if (!server->loop || server->listener.fd < 0)
		return;
	for (unsigned i = 0; i < CTL_CLIENTS; i++)
		drop(&server->client[i]);
	loop_remove(server->loop, &server->listener);
	close(server->listener.fd);
	server->listener.fd = -1;
}
