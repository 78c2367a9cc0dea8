/* SPDX-License-Identifier: MIT */
/* Frames to and from a switch's socket, straight out of guest memory. */
#include "backend/net_switch.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "backend/switch_wire.h"

#define RETRY_NS 300000000u
#define BURST 64
#define PIECES 128u
#define SOCKET_BUFFER (4 << 20) /* asked for; the system gives what it allows */
#define ANSWER_MS 3000 /* for the first hello */

struct cable {
	struct net_pump pump;
	struct sockaddr_un addr;
	struct switch_hello hello;
	struct loop_source source; /* fd -1: not connected */
	struct loop_timer retry;
	bool greeted; /* the switch has answered */
	bool blocked; /* it takes no frame for now */
	u8 *buffer; /* SWITCH_MESSAGE_MAX */
};

static struct cable *of(struct net_pump *pump)
{
	return container_of(pump, struct cable, pump);
}

static u64 now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (u64)now.tv_sec * 1000000000 + (u64)now.tv_nsec;
}

static void rewatch(struct cable *cable)
{
	u32 events = (net_pump_waiting(&cable->pump) ? 0 : EPOLLIN) | (cable->blocked ? EPOLLOUT : 0);

	if (cable->source.fd >= 0)
		loop_watch(cable->pump.loop, &cable->source, events);
}

/* ---- connection ---- */

static void disconnect(struct cable *cable)
{
	if (cable->source.fd < 0)
		return;
	loop_remove(cable->pump.loop, &cable->source);
	close(cable->source.fd);
	cable->source.fd = -1;
	cable->greeted = cable->blocked = false;
}

static void lost(struct cable *cable)
{
	disconnect(cable);
	net_pump_link(&cable->pump, false);
	loop_timer_set(&cable->retry, now_ns() + RETRY_NS);
	net_pump_resume(&cable->pump); /* what the guest sends meanwhile is lost */
}

/* A connected socket that has said hello, or -errno. */
static int dial(const struct cable *cable)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int size = SOCKET_BUFFER, error;

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	if (!connect(fd, (const struct sockaddr *)&cable->addr, sizeof(cable->addr)) &&
		send(fd, &cable->hello, sizeof(cable->hello), MSG_NOSIGNAL) > 0)
		return fd;
	error = errno;
	close(fd);
	return -error;
}

static void switch_ready(void *arg, u32 events);

static int attach(struct cable *cable, int fd)
{
	cable->source = (struct loop_source){.fd = fd, .ready = switch_ready, .arg = cable};
	return loop_add(cable->pump.loop, &cable->source, EPOLLIN);
}

static void retry(void *arg)
{
	struct cable *cable = arg;
	int fd = dial(cable);

	loop_timer_taken(&cable->retry);
	if (fd >= 0 && !attach(cable, fd))
		return; /* the link is up when it has answered */
	if (fd >= 0) {
		close(fd);
		cable->source.fd = -1;
	}
	loop_timer_set(&cable->retry, now_ns() + RETRY_NS);
}

/* ---- to the switch ---- */

static int cable_send(struct net_pump *pump, const struct net_frame *frame)
{
	struct cable *cable = of(pump);
	struct switch_frame header = {.offload = frame->offload};
	struct iovec iov[PIECES];
	struct msghdr message = {.msg_iov = iov, .msg_iovlen = frame->niov + 1};

	if (!cable->greeted || frame->niov >= PIECES) {
		pump->tx.dropped++;
		return 0;
	}
	iov[0] = (struct iovec){.iov_base = &header, .iov_len = sizeof(header)};
	memcpy(iov + 1, frame->iov, frame->niov * sizeof(*iov));
	if (sendmsg(cable->source.fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
		return 0;
	if (errno == EAGAIN || errno == ENOBUFS) {
		cable->blocked = true;
		return -EAGAIN;
	}
	pump->tx.dropped++; /* a connection that is lost shows itself in reading, too */
	return 0;
}

static void cable_batch(struct net_pump *pump)
{
	rewatch(of(pump));
}

/* ---- from the switch ---- */

static bool answered(struct cable *cable, size_t len)
{
	cable->greeted = len == sizeof(cable->hello) && !memcmp(cable->buffer, &cable->hello, len);
	if (cable->greeted)
		net_pump_link(&cable->pump, true);
	return cable->greeted;
}

/* False: no more for now. */
static bool receive_one(struct cable *cable)
{
	ssize_t len = recv(cable->source.fd, cable->buffer, SWITCH_MESSAGE_MAX, MSG_DONTWAIT);
	struct switch_frame header;

	if (len < 0 && errno == EAGAIN)
		return false;
	if (len > 0 && !cable->greeted && answered(cable, (size_t)len))
		return true;
	if (len <= 0 || !cable->greeted) {
		lost(cable);
		return false;
	}
	if ((size_t)len < sizeof(header) + NET_ETH_HLEN)
		return true;
	memcpy(&header, cable->buffer, sizeof(header));
	return net_pump_receive(
		&cable->pump, cable->buffer + sizeof(header), (size_t)len - sizeof(header), &header.offload);
}

static void switch_ready(void *arg, u32 events)
{
	struct cable *cable = arg;

	for (unsigned i = 0; i < BURST && cable->source.fd >= 0 && !net_pump_waiting(&cable->pump); i++) {
		if (!receive_one(cable))
			break;
	}
	net_pump_received(&cable->pump);
	if ((events & EPOLLOUT) && cable->blocked) {
		cable->blocked = false;
		net_pump_resume(&cable->pump);
	}
	rewatch(cable);
}

static void cable_drained(struct net_pump *pump)
{
	rewatch(of(pump));
}

/* ---- life ---- */

static void cable_close(struct net_pump *pump)
{
	struct cable *cable = of(pump);

	disconnect(cable);
	loop_timer_fini(pump->loop, &cable->retry);
	net_pump_fini(pump);
	free(cable->buffer);
	free(cable);
}

static const struct net_pump_ops cable_ops = {
	.send = cable_send,
	.batch = cable_batch,
	.drained = cable_drained,
	.close = cable_close,
};

/* The first answer is waited for, since a user should hear why it is no. */
static int wait_for_answer(struct cable *cable, int fd, struct err *err)
{
	struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
	ssize_t len;

	poll(&poll_fd, 1, ANSWER_MS);
	len = recv(fd, cable->buffer, SWITCH_MESSAGE_MAX, 0);
	if (len == (ssize_t)sizeof(cable->hello) && !memcmp(cable->buffer, &cable->hello, (size_t)len)) {
		cable->greeted = true;
		return 0;
	}
	if (len > 0 && len < 200)
		return err_set(err, EBUSY, "network %s: %.*s", cable->addr.sun_path, (int)len,
			(char *)cable->buffer);
	return err_set(err, EPROTO, "network %s: what listens there is no switch of this mullion",
		cable->addr.sun_path);
}

static int init(struct cable *cable, const struct net_place *place, const struct net_switch_config *config,
	struct err *err)
{
	int ret = net_pump_init(&cable->pump, &cable_ops, place), fd;

	cable->source.fd = -1;
	cable->addr.sun_family = AF_UNIX;
	if (strlen(config->path) >= sizeof(cable->addr.sun_path))
		return err_set(err, ENAMETOOLONG, "network %s: the socket's path is too long", config->path);
	strcpy(cable->addr.sun_path, config->path);
	cable->hello = (struct switch_hello){
		.magic = SWITCH_MAGIC, .kind = SWITCH_PORT, .isolated = config->isolated};
	memcpy(cable->hello.mac, place->mac, 6);
	snprintf(cable->hello.name, sizeof(cable->hello.name), "%s", config->vm);
	cable->buffer = malloc(SWITCH_MESSAGE_MAX);
	if (!ret && !cable->buffer)
		ret = -ENOMEM;
	if (!ret)
		ret = loop_timer_init(place->loop, &cable->retry, retry, cable);
	if (ret)
		return err_set(err, -ret, "out of memory or file descriptors");
	fd = dial(cable);
	if (fd < 0)
		return err_set(
			err, -fd, "network %s: no switch answers there: %s", config->path, strerror(-fd));
	ret = wait_for_answer(cable, fd, err);
	if (!ret)
		ret = attach(cable, fd);
	if (ret) {
		close(fd);
		cable->source.fd = -1;
	}
	return ret;
}

int net_switch_create(const struct net_place *place, const struct net_switch_config *config,
	struct net_pump **out, struct err *err)
{
	struct cable *cable = calloc(1, sizeof(*cable));
	int ret = cable ? init(cable, place, config, err) : err_set(err, ENOMEM, "out of memory");

	if (ret && cable)
		cable_close(&cable->pump);
	if (!ret)
		*out = &cable->pump;
	return ret;
}
