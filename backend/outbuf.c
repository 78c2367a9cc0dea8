/* SPDX-License-Identifier: MIT */
/* Buffered characters on their way to a file descriptor. */
#include "backend/outbuf.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#define WAIT_MS 50

/*
 * O_NONBLOCK belongs to the open file, which a terminal's other users share.
 * So a terminal is opened once more for ourselves; where that is not allowed,
 * small pieces have to do.
 */
static void open_terminal(struct outbuf *out)
{
	char path[32];
	int fd;

	out->chunk = 256;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", out->fd);
	fd = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return;
	out->fd = fd;
	out->own_fd = true;
	out->chunk = OUTBUF_SIZE;
}

int outbuf_init(struct outbuf *out, struct loop *loop, int fd, void (*ready)(void *, u32), void *arg)
{
	struct stat st;
	int ret;

	out->fd = fd;
	out->loop = loop;
	out->own_fd = out->plain = out->broken = false;
	out->head = out->len = 0;
	out->chunk = PIPE_BUF;
	if (fstat(fd, &st))
		return -errno;
	if (isatty(fd))
		open_terminal(out);
	out->source = (struct loop_source){.fd = out->fd, .ready = ready, .arg = arg};
	if (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode)) {
		out->plain = true;
		out->chunk = OUTBUF_SIZE;
		return 0;
	}
	ret = loop_add(loop, &out->source, 0);
	if (out->source.always) {
		loop_remove(loop, &out->source);
		out->plain = true;
	}
	return ret;
}

static bool wait_ready(const struct outbuf *out, int ms)
{
	struct pollfd pfd = {.fd = out->fd, .events = POLLOUT};

	return out->plain || poll(&pfd, 1, ms) > 0;
}

/* One write; false when nothing moved. */
static bool write_some(struct outbuf *out)
{
	unsigned n = MIN(MIN(out->len, OUTBUF_SIZE - out->head), out->chunk);
	ssize_t done = write(out->fd, out->data + out->head, n);

	if (done < 0) {
		if (errno != EAGAIN && errno != EINTR) {
			out->broken = true;
			out->len = 0;
		}
		return false;
	}
	out->head = (out->head + (unsigned)done) % OUTBUF_SIZE;
	out->len -= (unsigned)done;
	return done > 0;
}

void outbuf_flush(struct outbuf *out)
{
	while (out->len && wait_ready(out, 0) && write_some(out))
		;
	if (!out->plain)
		loop_watch(out->loop, &out->source, out->len ? EPOLLOUT : 0);
}

static void put_part(struct outbuf *out, const u8 *data, unsigned len)
{
	unsigned tail = (out->head + out->len) % OUTBUF_SIZE;
	unsigned first = MIN(len, OUTBUF_SIZE - tail);

	memcpy(out->data + tail, data, first);
	memcpy(out->data, data + first, len - first);
	out->len += len;
}

/* Room for at least one character, or false: the reader has gone or we give up. */
static bool make_room(struct outbuf *out, const _Atomic int *give_up)
{
	while (out->len == OUTBUF_SIZE && !out->broken) {
		if (wait_ready(out, WAIT_MS))
			write_some(out);
		else if (*give_up)
			return false;
	}
	return !out->broken;
}

void outbuf_put(struct outbuf *out, const u8 *data, size_t len, const _Atomic int *give_up)
{
	bool line = memchr(data, '\n', len);

	while (len && make_room(out, give_up)) {
		unsigned n = (unsigned)MIN(len, OUTBUF_SIZE - out->len);

		put_part(out, data, n);
		data += n;
		len -= n;
	}
	if (line || out->len >= OUTBUF_SIZE / 2)
		outbuf_flush(out);
}

void outbuf_drain(struct outbuf *out)
{
	while (out->len && !out->broken) {
		if (wait_ready(out, -1))
			write_some(out);
	}
}

void outbuf_fini(struct outbuf *out)
{
	outbuf_drain(out);
	if (!out->plain)
		loop_remove(out->loop, &out->source);
	if (out->own_fd)
		close(out->fd);
}
