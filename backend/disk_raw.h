/* SPDX-License-Identifier: MIT */
/*
 * A raw file or block device, and how a request to it becomes system calls: as
 * many as it takes, each one a struct disk_call that disk_uring.c or disk_threads.c
 * has the kernel do.
 *
 * Thread context: the machine lock is held, or the VM does not run; disk_call_run
 * needs no lock.
 */
#pragma once

#include "backend/disk.h"
#include "host/loop.h"

struct disk_raw {
	struct disk disk;
	int fd; /* through the host's cache */
	int direct; /* past it, or -1 */
	u32 direct_align, direct_mem_align;
	bool in_memory; /* a tmpfs: no call waits for anything, and none is worth a thread */
	bool complained; /* of a failed request; once is enough */
	char *path;
};

enum disk_call_kind {
	DISK_CALL_READ,
	DISK_CALL_WRITE,
	DISK_CALL_SYNC,
	DISK_CALL_ALLOCATE,
};

struct disk_call {
	struct disk_request *request;
	enum disk_call_kind kind;
	int fd;
	int flags; /* RWF_* or FALLOC_* */
	u64 offset, len; /* what is left to do */
	const struct iovec *iov;
	unsigned niov;
	struct iovec *copy; /* iov, when it is not the request's own: freed at the end */
	int result; /* of disk_call_run */
	struct disk_call *next;
};

/* The first call of a request. */
void disk_call_start(struct disk_raw *raw, struct disk_call *call, struct disk_request *request);
/* Makes it, and waits for it: what an io_uring would have given. */
int disk_call_run(const struct disk_call *call);
/* After its result: true: the call is to be made again. False: the request is over, with *error. */
bool disk_call_continues(struct disk_raw *raw, struct disk_call *call, int result, int *error);

/*
 * The two ways to make calls. Each takes raw over when it returns 0 and frees it
 * (disk_raw_fini, free) in close; raw is allocated with size disk_uring_size or
 * disk_threads_size, and is their struct's first member.
 */
extern const size_t disk_uring_size, disk_threads_size;
/* -ENOSYS, -EPERM and others: the host does not give an io_uring. */
int disk_uring_start(struct disk_raw *raw, struct loop *loop);
int disk_threads_start(struct disk_raw *raw, struct loop *loop);
void disk_raw_fini(struct disk_raw *raw);
