/* SPDX-License-Identifier: MIT */
/*
 * Buffered characters on their way to a file descriptor: a terminal, a pipe,
 * or a file. A line goes out when it ends, or when `flush` is called; what a
 * slow reader does not take stays here and goes out when the loop finds it
 * ready again.
 *
 * Thread context: the machine lock is held, or no vCPU runs.
 */
#pragma once

#include "host/loop.h"
#include "lib/types.h"

#define OUTBUF_SIZE 65536u

struct outbuf {
	int fd;
	bool own_fd; /* reopened: close it */
	bool plain; /* a plain file: always takes everything */
	bool broken; /* the reader has gone: characters vanish */
	unsigned chunk; /* a write of this many does not block when poll says POLLOUT */
	struct loop *loop;
	struct loop_source source; /* watched while something is left over */
	u8 data[OUTBUF_SIZE];
	unsigned head, len;
};

/* ready is called on the loop's thread when fd takes characters again; it calls outbuf_flush. */
int outbuf_init(struct outbuf *out, struct loop *loop, int fd, void (*ready)(void *, u32), void *arg);
void outbuf_fini(struct outbuf *out);
/* Writes what is left, however long that takes. */
void outbuf_drain(struct outbuf *out);
/* When the buffer is full, waits for the reader until *give_up is not zero. */
void outbuf_put(struct outbuf *out, const u8 *data, size_t len, const _Atomic int *give_up);
/* Writes what can be written without waiting. */
void outbuf_flush(struct outbuf *out);
