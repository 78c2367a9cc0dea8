/* SPDX-License-Identifier: MIT */
/*
 * The switch's process: sockets. A frame for one port that cannot take it now waits, and its sender with
 * it, for HOLD_NS at most; a port that does not read loses what is sent to it from then on, until
 * it reads again. Frames for many ports wait for nobody.
 */
#include "backend/switch.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "backend/switch_wire.h"
#include "host/loop.h"

#define CLIENTS (SWITCH_PORTS + 8) /* with those that have said nothing yet */
#define BURST 64 /* messages of one client before it is another one's turn */
#define SOCKET_BUFFER (4 << 20) /* asked for; the system gives what it allows */
#define HOLD_NS 50000000u

struct client {
	struct switch_daemon *daemon;
	struct loop_source source; /* fd -1: free */
	int port; /* -1: not yet */
	char name[50];
	struct client *waits_for; /* its last frame is for this one */
	size_t len; /* of that, in buffer */
	u8 *buffer; /* SWITCH_MESSAGE_MAX */
	bool stuck; /* does not read */
};

struct switch_daemon {
	struct loop loop;
	struct loop_source listener;
	struct loop_signals signals;
	struct loop_timer hold;
	struct switch_table table;
	struct client client[CLIENTS];
	struct client *by_port[SWITCH_PORTS];
};

static u64 now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (u64)now.tv_sec * 1000000000 + (u64)now.tv_nsec;
}

/* Reads when it waits for nobody; is told of room when somebody waits for it, or it was stuck. */
static void rewatch(struct client *c)
{
	u32 events = c->waits_for ? 0 : EPOLLIN;

	if (c->stuck)
		events |= EPOLLOUT;
	for (unsigned i = 0; i < CLIENTS; i++) {
		if (c->daemon->client[i].waits_for == c)
			events |= EPOLLOUT;
	}
	loop_watch(&c->daemon->loop, &c->source, events);
}

static void stop_waiting(struct client *c)
{
	struct client *other = c->waits_for;

	c->waits_for = NULL;
	rewatch(c);
	rewatch(other);
}

static void close_client(struct client *c)
{
	loop_remove(&c->daemon->loop, &c->source);
	close(c->source.fd);
	c->source.fd = -1;
	for (unsigned i = 0; i < CLIENTS; i++) {
		if (c->daemon->client[i].waits_for == c) {
			c->daemon->client[i].waits_for = NULL;
			rewatch(&c->daemon->client[i]);
		}
	}
	if (c->waits_for)
		stop_waiting(c);
	if (c->port >= 0) {
		switch_leave(&c->daemon->table, (unsigned)c->port);
		c->daemon->by_port[c->port] = NULL;
	}
	free(c->buffer);
	c->buffer = NULL;
}

/* ---- frames ---- */

static bool deliver(struct client *to, const u8 *message, size_t len)
{
	struct switch_port *p = &to->daemon->table.port[to->port];

	if (send(to->source.fd, message, len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		return errno != EAGAIN && errno != ENOBUFS;
	p->out++;
	return true;
}

static void lose(struct client *to)
{
	to->daemon->table.port[to->port].lost++;
}

/* True: it went, or never will. */
static bool deliver_one(struct client *from, struct client *to, size_t len)
{
	if (to->stuck) {
		lose(to);
		return true;
	}
	if (deliver(to, from->buffer, len))
		return true;
	from->waits_for = to;
	from->len = len;
	rewatch(from);
	rewatch(to);
	loop_timer_set(&from->daemon->hold, now_ns() + HOLD_NS);
	return false;
}

static bool forward(struct client *c, size_t len)
{
	struct switch_daemon *d = c->daemon;
	u64 mask;

	if (len < sizeof(struct switch_frame))
		return true;
	mask = switch_route(&d->table, (unsigned)c->port, c->buffer + sizeof(struct switch_frame),
		len - sizeof(struct switch_frame), now_ns());
	if (mask && !(mask & (mask - 1)))
		return deliver_one(c, d->by_port[__builtin_ctzll(mask)], len);
	for (; mask; mask &= mask - 1) {
		struct client *to = d->by_port[__builtin_ctzll(mask)];

		if (!deliver(to, c->buffer, len))
			lose(to);
	}
	return true;
}

/* Time is up for those who wait: what they wait for is stuck. */
static void hold_over(void *arg)
{
	struct switch_daemon *d = arg;

	loop_timer_taken(&d->hold);
	for (unsigned i = 0; i < CLIENTS; i++) {
		struct client *c = &d->client[i];

		if (!c->waits_for)
			continue;
		c->waits_for->stuck = true;
		lose(c->waits_for);
		stop_waiting(c);
	}
}

static void has_room(struct client *c)
{
	c->stuck = false;
	for (unsigned i = 0; i < CLIENTS; i++) {
		struct client *from = &c->daemon->client[i];

		if (from->waits_for != c)
			continue;
		if (!deliver(c, from->buffer, from->len))
			break;
		stop_waiting(from);
	}
	rewatch(c);
}

/* ---- hello ---- */

static size_t print_port(const struct switch_daemon *d, unsigned i, char *text, size_t size)
{
	const struct switch_port *p = &d->table.port[i];

	return (size_t)snprintf(text, size,
		"{\"vm\": \"%s\", \"mac\": \"%02x:%02x:%02x:%02x:%02x:%02x\", \"isolated\": %s, "
		"\"addresses\": %u, "
		"\"in\": %llu, \"out\": %llu, \"spoofed\": %llu, \"limited\": %llu, \"lost\": %llu}",
		d->by_port[i]->name, p->mac[0], p->mac[1], p->mac[2], p->mac[3], p->mac[4], p->mac[5],
		p->isolated ? "true" : "false", p->macs, (unsigned long long)p->in,
		(unsigned long long)p->out, (unsigned long long)p->spoofed, (unsigned long long)p->limited,
		(unsigned long long)p->lost);
}

static void inspect(struct client *c)
{
	char *text = (char *)c->buffer;
	size_t at = 0, size = SWITCH_MESSAGE_MAX;

	at += (size_t)snprintf(text, size, "{\"pid\": %d, \"ports\": [", getpid());
	for (unsigned i = 0; i < SWITCH_PORTS && at < size - 512; i++) {
		if (!c->daemon->by_port[i])
			continue;
		at += (size_t)snprintf(text + at, size - at, text[at - 1] == '[' ? "" : ", ");
		at += print_port(c->daemon, i, text + at, size - at);
	}
	at += (size_t)snprintf(text + at, size - at, "]}");
	send(c->source.fd, text, at, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static bool name_ok(const char *name, size_t size)
{
	if (memchr(name, 0, size) == NULL)
		return false;
	return !name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")];
}

/* False: the connection ends. */
static bool join(struct client *c, const struct switch_hello *hello)
{
	const char *why = "this network's ports are all taken";

	if (!name_ok(hello->name, sizeof(hello->name)) || hello->mac[0] & 1)
		return false;
	c->port = switch_join(&c->daemon->table, hello->mac, hello->isolated, now_ns());
	if (c->port >= 0) {
		memcpy(c->name, hello->name, sizeof(c->name));
		c->daemon->by_port[c->port] = c;
		return send(c->source.fd, hello, sizeof(*hello), MSG_DONTWAIT | MSG_NOSIGNAL) > 0;
	}
	if (c->port == -EEXIST)
		why = "another card on this network has the same MAC address";
	c->port = -1;
	send(c->source.fd, why, strlen(why), MSG_DONTWAIT | MSG_NOSIGNAL);
	return false;
}

static bool greet(struct client *c, size_t len)
{
	struct switch_hello hello;

	if (len != sizeof(hello))
		return false;
	memcpy(&hello, c->buffer, sizeof(hello));
	if (hello.magic != SWITCH_MAGIC)
		return false;
	if (hello.kind == SWITCH_PORT)
		return join(c, &hello);
	if (hello.kind == SWITCH_INSPECT)
		inspect(c);
	return false;
}

/* ---- sockets ---- */

/* False: no more for now. */
static bool receive_one(struct client *c)
{
	ssize_t len = recv(c->source.fd, c->buffer, SWITCH_MESSAGE_MAX, MSG_DONTWAIT);

	if (len < 0 && errno == EAGAIN)
		return false;
	if (len > 0 && c->port >= 0)
		return forward(c, (size_t)len);
	if (len > 0 && greet(c, (size_t)len))
		return true;
	close_client(c);
	return false;
}

static void client_ready(void *arg, u32 events)
{
	struct client *c = arg;

	if (c->source.fd < 0)
		return; /* closed since */
	if (events & EPOLLOUT)
		has_room(c);
	if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)) || c->waits_for)
		return;
	for (unsigned i = 0; i < BURST && receive_one(c); i++)
		;
}

static void accept_client(void *arg, u32 events)
{
	struct switch_daemon *d = arg;
	int fd = accept4(d->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	unsigned i = 0;

	(void)events;
	while (i < CLIENTS && d->client[i].source.fd >= 0)
		i++;
	if (fd < 0)
		return;
	if (i < CLIENTS) {
		int size = SOCKET_BUFFER;
		struct client *c = &d->client[i];

		*c = (struct client){.daemon = d, .port = -1, .buffer = malloc(SWITCH_MESSAGE_MAX)};
		c->source = (struct loop_source){.fd = fd, .ready = client_ready, .arg = c};
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
		if (c->buffer && !loop_add(&d->loop, &c->source, EPOLLIN))
			return;
		free(c->buffer);
		c->source.fd = -1;
	}
	close(fd);
}

static void got_signal(void *arg, int signo)
{
	struct switch_daemon *d = arg;

	(void)signo;
	loop_stop(&d->loop);
}

static int serve(struct switch_daemon *d)
{
	sigset_t set;
	int ret;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	ret = loop_signals_init(&d->loop, &d->signals, &set, got_signal, d);
	if (!ret)
		ret = loop_timer_init(&d->loop, &d->hold, hold_over, d);
	if (!ret)
		ret = loop_add(&d->loop, &d->listener, EPOLLIN);
	return ret ? ret : loop_run(&d->loop);
}

int switch_serve(int listener)
{
	struct switch_daemon *d = calloc(1, sizeof(*d));
	int ret;

	if (!d)
		return -ENOMEM;
	for (unsigned i = 0; i < CLIENTS; i++)
		d->client[i].source.fd = -1;
	d->listener = (struct loop_source){.fd = listener, .ready = accept_client, .arg = d};
	ret = loop_init(&d->loop);
	if (!ret)
		ret = serve(d);
	for (unsigned i = 0; i < CLIENTS; i++) {
		if (d->client[i].source.fd >= 0)
			close_client(&d->client[i]);
	}
	loop_timer_fini(&d->loop, &d->hold);
	loop_signals_fini(&d->loop, &d->signals);
	loop_fini(&d->loop);
	free(d);
	return ret;
}
