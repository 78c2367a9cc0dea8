/* SPDX-License-Identifier: MIT */
/*
 * A disk's contents, as a device model sees them: bytes at offsets, moved
 * between the store and guest memory without a copy where the host can.
 *
 * Thread context: every function is called with the machine lock held, or before
 * the VM runs. `done` is called with it held, from kick or from the loop's
 * thread, never inside submit; requests complete in any order.
 *
 * What is stable: when a DISK_FLUSH is done without error, everything that was
 * done before it was submitted survives a crash of the host. A write with
 * `fua` is stable when it is done.
 */
#pragma once

#include <pthread.h>
#include <sys/uio.h>

#include "lib/types.h"

struct disk;

#define DISK_SECTOR 512u

enum disk_op {
	DISK_READ,
	DISK_WRITE,
	DISK_FLUSH, /* no range */
	DISK_DISCARD, /* contents may become anything; no data */
	DISK_WRITE_ZEROES, /* reads as zeroes afterwards; no data */
};

/* Lives inside the device's own request, and belongs to the disk until done is called. */
struct disk_request {
	enum disk_op op;
	bool fua;
	bool may_unmap; /* DISK_WRITE_ZEROES: may give the space back */
	u64 offset, len; /* bytes, multiples of DISK_SECTOR; the device has checked them against size */
	const struct iovec *iov; /* covers len bytes */
	unsigned niov;
	void (*done)(struct disk_request *request, int error); /* 0 or -errno */
	struct disk_request *next; /* the disk's */
	void *backend; /* the disk's */
};

struct disk_ops {
	void (*submit)(struct disk *disk, struct disk_request *request);
	/* After one or more submits: start them, and complete what is complete at once. */
	void (*kick)(struct disk *disk);
	/*
	 * Waits until no request is under way (their done is called). For reset, stop, snapshots. A server that hangs
	 * loses its connection, and requests end with errors. A file's calls are waited for as long as they last:
	 * while the kernel has one, it may write to the guest's memory at any time, and nothing takes that back.
	 */
	void (*drain)(struct disk *disk);
	void (*close)(struct disk *disk); /* after the device has been freed */
};

struct disk {
	const struct disk_ops *ops;
	pthread_mutex_t *lock; /* the machine lock */
	u64 size; /* bytes, a multiple of DISK_SECTOR */
	u32 block_size; /* what the store likes best, 512 to 4096 */
	bool readonly;
	bool can_discard, can_write_zeroes;
	const char *name; /* for messages and as the serial number's seed: the image's path */
	/* The device's, or NULL: after one or more done calls, from wherever they came: time to interrupt the guest. */
	void (*settled)(void *arg);
	void *settled_arg;
};

static inline void disk_settled(struct disk *disk)
{
	if (disk->settled)
		disk->settled(disk->settled_arg);
}
