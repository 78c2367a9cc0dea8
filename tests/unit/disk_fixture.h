/* SPDX-License-Identifier: MIT */
/* A disk on a file of its own, and requests to it that a loop completes. Included once by a test program. */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "backend/disk_open.h"

#define SIZE MIB(8)
#define BLOCK 4096u

static const char *disk_folder = "/tmp";

struct fixture {
	struct loop loop;
	struct loop_timer end;
	pthread_mutex_t lock;
	char path[64];
	struct disk_source source;
	struct disk *disk;
	struct err err;
	unsigned left, settled;
};

struct request {
	struct disk_request r;
	struct fixture *f;
	struct iovec iov[3];
	int error;
	unsigned done;
};

static void end(void *arg)
{
	struct fixture *f = arg;

	loop_timer_taken(&f->end);
	fail_msg("requests that never end: %u", f->left);
}

static inline void settled(void *arg)
{
	struct fixture *f = arg;

	f->settled++;
}

static inline void open_disk(struct fixture *f)
{
	assert_int_equal(disk_open(&f->source, &f->loop, &f->lock, &f->disk, &f->err), 0);
	f->disk->settled = settled;
	f->disk->settled_arg = f;
}

static inline int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	int fd;

	assert_int_equal(loop_init(&f->loop), 0);
	assert_int_equal(loop_timer_init(&f->loop, &f->end, end, f), 0);
	pthread_mutex_init(&f->lock, NULL);
	snprintf(f->path, sizeof(f->path), "%s/mullion-disk-XXXXXX", disk_folder);
	fd = mkstemp(f->path);
	assert_int_equal(ftruncate(fd, SIZE), 0);
	close(fd);
	f->source.path = f->path;
	open_disk(f);
	*state = f;
	return 0;
}

static inline int teardown(void **state)
{
	struct fixture *f = *state;

	if (f->disk)
		f->disk->ops->close(f->disk);
	unlink(f->path);
	loop_timer_fini(&f->loop, &f->end);
	loop_fini(&f->loop);
	pthread_mutex_destroy(&f->lock);
	free(f);
	return 0;
}

static void done(struct disk_request *r, int error)
{
	struct request *request = container_of(r, struct request, r);

	request->error = error;
	request->done++;
	if (!--request->f->left)
		loop_stop(&request->f->loop);
}

static inline void submit(struct fixture *f, struct request *r, enum disk_op op, u64 offset, u64 len)
{
	r->f = f;
	r->r.op = op;
	r->r.offset = offset;
	r->r.len = len;
	r->r.iov = r->iov;
	r->r.done = done;
	r->done = 0;
	f->left++;
	f->disk->ops->submit(f->disk, &r->r);
	assert_int_equal(r->done, 0);
}

/* Kicks, and lets the loop do the rest. */
static inline void settle(struct fixture *f)
{
	struct timespec t;

	pthread_mutex_lock(&f->lock);
	f->disk->ops->kick(f->disk);
	pthread_mutex_unlock(&f->lock);
	clock_gettime(CLOCK_MONOTONIC, &t);
	loop_timer_set(&f->end, (u64)(t.tv_sec + 20) * 1000000000);
	loop_restart(&f->loop);
	if (f->left)
		assert_int_equal(loop_run(&f->loop), 0);
	assert_int_equal(f->left, 0);
}

static inline int move(struct fixture *f, enum disk_op op, void *data, u64 offset, u64 len)
{
	struct request r = {.iov = {{data, len}}, .r.niov = 1};

	submit(f, &r, op, offset, len);
	settle(f);
	assert_int_equal(r.done, 1);
	return r.error;
}

static inline int without_data(struct fixture *f, enum disk_op op, u64 offset, u64 len, bool may_unmap)
{
	struct request r = {.r.may_unmap = may_unmap};

	submit(f, &r, op, offset, len);
	settle(f);
	assert_int_equal(r.done, 1);
	return r.error;
}

static inline void fill(u8 *data, size_t len, unsigned seed)
{
	for (size_t i = 0; i < len; i++)
		data[i] = (u8)(seed = seed * 1103515245 + 12345, seed >> 16);
}
