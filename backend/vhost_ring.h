/* SPDX-License-Identifier: MIT */
/*
 * A split ring (virtio 1.2, 2.7) between us, in the driver's part, and a vhost-user
 * server. It is not the guest's ring: what the guest asks for has been checked and is put in here,
 * and what the server has filled is told to the engine before the guest hears of it. The
 * data itself is moved by the server, from and to guest RAM, without a copy.
 *
 * Thread context: the caller serialises (the machine lock).
 */
#pragma once

#include <sys/uio.h>

#include "lib/types.h"

#define VHOST_RING_SIZE 1024u /* descriptors */

struct vhost_ring {
	u8 *memory; /* shared with the server: the three areas, page-aligned */
	u64 desc, avail, used; /* offsets in it */
	int kick, call; /* eventfds: to the server, from it */
	u16 next_avail, next_used; /* indices */
	u16 free_head, nfree;
	u16 next[VHOST_RING_SIZE]; /* free ones, and chains: ours alone, since the server may write to the ring */
	u16 under_way; /* chains that the server has */
	void *cookie[VHOST_RING_SIZE]; /* by head */
	u16 length[VHOST_RING_SIZE]; /* so, too: descriptors of the chain */
};

/* How much memory a ring wants; a multiple of a page. */
size_t vhost_ring_bytes(void);
/* memory: zeroed, vhost_ring_bytes() of it, mapped from what the server maps, too. 0 or -errno. */
int vhost_ring_init(struct vhost_ring *ring, u8 *memory);
void vhost_ring_fini(struct vhost_ring *ring);
/* Empty again, as after vhost_ring_init; the server has stopped. */
void vhost_ring_reset(struct vhost_ring *ring);
/* nread buffers for the server to read, then nwrite to fill, at least one. 0; -EAGAIN: no room until more is used. */
int vhost_ring_add(struct vhost_ring *ring, const struct iovec *iov, unsigned nread, unsigned nwrite, void *cookie);
/* Tells the server of what was added. */
void vhost_ring_kick(struct vhost_ring *ring);
/* The next that it has done, and how much it filled; NULL: none. */
void *vhost_ring_next(struct vhost_ring *ring, u32 *written);
