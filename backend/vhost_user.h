/* SPDX-License-Identifier: MIT */
/*
 * The front end of the vhost-user protocol (QEMU's docs/interop/vhost-user.rst): a device whose
 * work another process does. It gets memory to share and rings (backend/vhost_ring.h).
 *
 * Thread context: the caller serialises. Calls block until the server answers; one that has died is
 * -EPIPE, and one that says nothing for too long -ETIMEDOUT. Either may still have guest memory in use: the
 * caller sees to its end.
 */
#pragma once

#include "backend/vhost_ring.h"

#define VHOST_MEMORIES 8u

/* The server finds by the host's addresses what descriptors name. */
struct vhost_memory {
	int fd;
	u64 offset; /* in the file */
	u64 size;
	void *host;
};

struct vhost_user {
	int fd; /* connected; the caller's */
	unsigned patience; /* seconds for an answer */
};

/* All return 0 or -errno; fd and patience are set. */
int vhost_user_begin(struct vhost_user *vhost, const struct vhost_memory *memory, unsigned n);
/* The server begins to look at a ring, from its start. */
int vhost_user_start_ring(struct vhost_user *vhost, unsigned index, const struct vhost_ring *ring);
/* When this returns, the server touches neither the ring nor what it names. */
int vhost_user_stop_ring(struct vhost_user *vhost, unsigned index);
