/* SPDX-License-Identifier: MIT */
/*
 * A virtqueue's inside, shared by its two formats (virtq_split.c, virtq_packed.c),
 * what they have in common (virtq.c), and the transport.
 *
 * The rings are guest RAM that the driver may change at any moment: each field is read
 * once, by the vq_load functions, and what was read is checked before it is used.
 */
#pragma once

#include "dev/virtio/virtio.h"
#include "vm/clock.h"

enum virtio_feature { /* virtio 1.2, section 6 */
	VIRTIO_F_INDIRECT_DESC = 28,
	VIRTIO_F_EVENT_IDX = 29,
	VIRTIO_F_VERSION_1 = 32,
	VIRTIO_F_ACCESS_PLATFORM = 33, /* never offered: guest addresses are what dma_map takes */
	VIRTIO_F_RING_PACKED = 34,
	VIRTIO_F_RING_RESET = 40,
};

#define VQ_SIZE_MAX 1024u
#define VIRTIO_NO_VECTOR 0xffffu

enum {
	VQ_DESC_NEXT = 1,
	VQ_DESC_WRITE = 2,
	VQ_DESC_INDIRECT = 4,
};

/* A descriptor, as read from memory: both formats have these, and 16 bits of their own. */
struct vq_desc {
	u64 addr;
	u32 len;
	u16 flags;
	u16 other; /* split: next; packed: id */
};

struct vq_counters {
	u64 kicks, chains, interrupts, quiet; /* quiet: shown to the driver, which wanted no interrupt */
};

struct virtq_ops {
	/* The three areas' addresses are set. 0, or -errno: no RAM that would do is there. */
	int (*map)(struct virtq *vq);
	/* The next chain: 1; 0: none; -1: broken. */
	int (*next)(struct virtq *vq, struct vq_chain *chain);
	void (*back)(struct virtq *vq, const struct vq_chain *chain);
	void (*push)(struct virtq *vq, const struct vq_chain *chain, u32 written);
	/* Shows what was pushed (something was). True: the driver wants an interrupt for it. */
	bool (*publish)(struct virtq *vq);
	/* See vq_want_kicks. */
	bool (*want_kicks)(struct virtq *vq, bool on);
};

extern const struct virtq_ops virtq_split_ops, virtq_packed_ops;

struct vq_split {
	u8 *desc, *avail, *used;
	u16 next; /* the next entry of the available ring */
	u16 seen; /* its index, as last read */
	u16 used_idx, shown; /* with and without what was pushed since */
};

struct vq_packed {
	u8 *desc, *driver, *device;
	u16 next, used; /* positions */
	bool next_wrap, used_wrap;
	u16 added; /* ring entries used since the driver was last shown any */
	u16 first, first_flags; /* the oldest of them, whose flags show them all */
};

struct virtq {
	struct virtio *vdev;
	const struct virtq_ops *ops; /* NULL: not enabled */
	u16 index, size, size_max, vector;
	u16 pushed; /* chains that publish is to show */
	bool events;
	int left; /* chains that the kick under way may still take; UNLIMITED: there is none */
	struct timer again; /* what it left is looked at then */
	u64 desc_gpa, driver_gpa, device_gpa;
	u8 *slots; /* size_max of vq_slot_size(class) */
	struct vq_slot *free, *held; /* held: done, to be told when the device may write again */
	union {
		struct vq_split split;
		struct vq_packed packed;
	};
	struct vq_counters count;
};

/* transport.c: the driver is to look at a queue. */
void virtio_interrupt(struct virtio *vdev, u16 vector);

/* virtq.c, for the transport */
int virtq_init(struct virtq *vq, struct virtio *vdev, u16 index);
void virtq_fini(struct virtq *vq);
/* To the state after a reset: disabled, no chain under way. */
void virtq_reset(struct virtq *vq);
/* The driver has announced chains: the class takes them, if the queue is live. */
void virtq_kick(struct virtq *vq);
/* The driver has settled features, size and addresses. False: it broke the rules. */
bool virtq_enable(struct virtq *vq);

/* virtq.c, for the formats */

/* Host memory of a ring's area: one piece of plain RAM, or NULL. */
void *vq_map_area(struct virtq *vq, u64 gpa, u64 len, u64 align);
/* Appends a buffer, or an indirect descriptor's table, to the chain. False: broken. */
bool vq_add_buffer(struct vq_chain *chain, const struct vq_desc *desc);

static inline u16 vq_load16(const void *at)
{
	return __atomic_load_n((const u16 *)at, __ATOMIC_RELAXED);
}

static inline u16 vq_acquire16(const void *at)
{
	return __atomic_load_n((const u16 *)at, __ATOMIC_ACQUIRE);
}

static inline void vq_store16(void *at, u16 value)
{
	__atomic_store_n((u16 *)at, value, __ATOMIC_RELAXED);
}

static inline void vq_store32(void *at, u32 value)
{
	__atomic_store_n((u32 *)at, value, __ATOMIC_RELAXED);
}

static inline void vq_release16(void *at, u16 value)
{
	__atomic_store_n((u16 *)at, value, __ATOMIC_RELEASE);
}

/* Between a store that the driver looks at and a load of what it stores: both orders meet. */
static inline void vq_full_barrier(void)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

/* 16 bytes of descriptor; a table of them may lie at any address. */
struct vq_desc vq_load_desc(const u8 *at);

/* Does the step from old to new pass the event index? (virtio 1.2, 2.7.10) */
static inline bool vq_passes(u16 event, u16 now, u16 old)
{
	return (u16)(now - event - 1) < (u16)(now - old);
}
