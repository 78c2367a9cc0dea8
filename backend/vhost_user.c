/* SPDX-License-Identifier: MIT */
/* vhost-user messages. */
#include "backend/vhost_user.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define VERSION 1u
#define REPLY BIT(2)
#define VERSION_1 BIT(32)
#define PROTOCOL_FEATURES BIT(30)

enum request {
	GET_FEATURES = 1,
	SET_FEATURES = 2,
	SET_OWNER = 3,
	SET_MEM_TABLE = 5,
	SET_VRING_NUM = 8,
	SET_VRING_ADDR = 9,
	SET_VRING_BASE = 10,
	GET_VRING_BASE = 11,
	SET_VRING_KICK = 12,
	SET_VRING_CALL = 13,
	SET_PROTOCOL_FEATURES = 16,
	SET_VRING_ENABLE = 18,
};

struct state {
	u32 index, value;
};

struct addresses {
	u32 index, flags;
	u64 desc, used, avail, log;
};

struct table {
	u32 n, padding;
	struct {
		u64 guest, size, user, offset;
	} entry[VHOST_MEMORIES];
};

struct message {
	u32 request, flags, size;
	union {
		u64 number;
		struct state state;
		struct addresses addresses;
		struct table table;
	};
} __attribute__((packed));

#define HEADER offsetof(struct message, number)

static int send_message(struct vhost_user *vhost, struct message *m, enum request request, u32 size, const int *fds,
	unsigned nfds)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(VHOST_MEMORIES * sizeof(int))];
	} control = {0};
	struct iovec iov = {m, HEADER + size};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	m->request = request;
	m->flags = VERSION;
	m->size = size;
	if (nfds) {
		msg.msg_control = control.space;
		msg.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
		*CMSG_FIRSTHDR(&msg) = (struct cmsghdr){
			.cmsg_len = CMSG_LEN(nfds * sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&msg)), fds, nfds * sizeof(int));
	}
	return sendmsg(vhost->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)iov.iov_len ? 0 : -EPIPE;
}

static u64 now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (u64)now.tv_sec * 1000 + (u64)now.tv_nsec / 1000000;
}

static int receive_bytes(struct vhost_user *vhost, u8 *data, size_t len)
{
	u64 end = now_ms() + vhost->patience * 1000ull;

	while (len) {
		struct pollfd pfd = {.fd = vhost->fd, .events = POLLIN};
		u64 now = now_ms();
		ssize_t n;

		if (now >= end)
			return -ETIMEDOUT;
		poll(&pfd, 1, (int)(end - now));
		n = recv(vhost->fd, data, len, MSG_DONTWAIT);
		if (!n || (n < 0 && errno != EAGAIN && errno != EINTR))
			return -EPIPE;
		if (n > 0) {
			data += n;
			len -= (size_t)n;
		}
	}
	return 0;
}

static int receive(struct vhost_user *vhost, struct message *m, enum request request, u32 size)
{
	int ret = receive_bytes(vhost, (u8 *)m, HEADER + size);

	if (ret)
		return ret;
	return m->request == request && m->flags & REPLY && m->size == size ? 0 : -EPROTO;
}

static int send_number(struct vhost_user *vhost, enum request request, u64 number)
{
	struct message m = {.number = number};

	return send_message(vhost, &m, request, sizeof(m.number), NULL, 0);
}

static int send_state(struct vhost_user *vhost, enum request request, unsigned index, u32 value)
{
	struct message m = {.state = {index, value}};

	return send_message(vhost, &m, request, sizeof(m.state), NULL, 0);
}

static int send_event(struct vhost_user *vhost, enum request request, unsigned index, int fd)
{
	struct message m = {.number = index};

	return send_message(vhost, &m, request, sizeof(m.number), &fd, 1);
}

/* The address that the server is to know a place by is ours, in both of its spaces. */
static int send_memory(struct vhost_user *vhost, const struct vhost_memory *memory, unsigned n)
{
	struct message m = {.table = {.n = n}};
	int fds[VHOST_MEMORIES];

	for (unsigned i = 0; i < n; i++) {
		u64 host = (u64)(uintptr_t)memory[i].host;

		m.table.entry[i].guest = m.table.entry[i].user = host;
		m.table.entry[i].size = memory[i].size;
		m.table.entry[i].offset = memory[i].offset;
		fds[i] = memory[i].fd;
	}
	return send_message(vhost, &m, SET_MEM_TABLE, (u32)(8 + n * sizeof(m.table.entry[0])), fds, n);
}

int vhost_user_begin(struct vhost_user *vhost, const struct vhost_memory *memory, unsigned n)
{
	struct message m;
	int ret = send_message(vhost, &m, GET_FEATURES, 0, NULL, 0);

	if (!ret)
		ret = receive(vhost, &m, GET_FEATURES, sizeof(m.number));
	if (ret)
		return ret;
	if (!(m.number & VERSION_1) || !(m.number & PROTOCOL_FEATURES))
		return -EPROTO;
	ret = send_number(vhost, SET_PROTOCOL_FEATURES, 0);
	if (!ret)
		ret = send_message(vhost, &m, SET_OWNER, 0, NULL, 0);
	if (!ret)
		ret = send_number(vhost, SET_FEATURES, VERSION_1 | PROTOCOL_FEATURES);
	return ret ? ret : send_memory(vhost, memory, n);
}

static int send_addresses(struct vhost_user *vhost, unsigned index, const struct vhost_ring *ring)
{
	u64 host = (u64)(uintptr_t)ring->memory;
	struct message m = {.addresses = {
				    .index = index,
				    .desc = host + ring->desc,
				    .used = host + ring->used,
				    .avail = host + ring->avail,
			    }};

	return send_message(vhost, &m, SET_VRING_ADDR, sizeof(m.addresses), NULL, 0);
}

int vhost_user_start_ring(struct vhost_user *vhost, unsigned index, const struct vhost_ring *ring)
{
	int ret = send_state(vhost, SET_VRING_NUM, index, VHOST_RING_SIZE);

	if (!ret)
		ret = send_state(vhost, SET_VRING_BASE, index, 0);
	if (!ret)
		ret = send_addresses(vhost, index, ring);
	if (!ret)
		ret = send_event(vhost, SET_VRING_CALL, index, ring->call);
	if (!ret)
		ret = send_event(vhost, SET_VRING_KICK, index, ring->kick);
	return ret ? ret : send_state(vhost, SET_VRING_ENABLE, index, 1);
}

int vhost_user_stop_ring(struct vhost_user *vhost, unsigned index)
{
	struct message m;
	int ret = send_state(vhost, GET_VRING_BASE, index, 0);

	return ret ? ret : receive(vhost, &m, GET_VRING_BASE, sizeof(m.state));
}
