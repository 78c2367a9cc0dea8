/* SPDX-License-Identifier: MIT */
/* Split virtqueues (virtio 1.2, 2.7): a table of descriptors, and one ring for each direction. */
#include "dev/virtio/virtq.h"

#include <errno.h>

enum {
	DESC_SIZE = 16,
	RING_FLAGS = 0,
	RING_INDEX = 2,
	RING_ENTRIES = 4,
	AVAIL_ENTRY = 2,
	USED_ENTRY = 8,

	AVAIL_NO_INTERRUPT = 1,
	USED_NO_NOTIFY = 1,
};

static u8 *avail_entry(const struct virtq *vq, u16 index)
{
	return vq->split.avail + RING_ENTRIES + (index & (vq->size - 1)) * AVAIL_ENTRY;
}

static u8 *used_entry(const struct virtq *vq, u16 index)
{
	return vq->split.used + RING_ENTRIES + (index & (vq->size - 1)) * USED_ENTRY;
}

/* Each ring ends in the index at which its reader wants to hear of the other ring. */
static const u8 *used_event(const struct virtq *vq)
{
	return vq->split.avail + RING_ENTRIES + vq->size * AVAIL_ENTRY;
}

static u8 *avail_event(const struct virtq *vq)
{
	return vq->split.used + RING_ENTRIES + vq->size * USED_ENTRY;
}

static int split_map(struct virtq *vq)
{
	struct vq_split *ring = &vq->split;
	u64 event = vq->events ? 2 : 0;

	if (vq->size & (vq->size - 1))
		return -EINVAL;
	*ring = (struct vq_split){
		.desc = vq_map_area(vq, vq->desc_gpa, (u64)vq->size * DESC_SIZE, 16),
		.avail = vq_map_area(vq, vq->driver_gpa, RING_ENTRIES + vq->size * AVAIL_ENTRY + event, 2),
		.used = vq_map_area(vq, vq->device_gpa, RING_ENTRIES + (u64)vq->size * USED_ENTRY + event, 4),
	};
	return ring->desc && ring->avail && ring->used ? 0 : -EFAULT;
}

static int bad(struct virtq *vq, const char *what)
{
	virtio_broken(vq->vdev, "queue %u: %s", vq->index, what);
	return -1;
}

/* A table of descriptors, and where a chain is in it. */
struct walk {
	const u8 *table;
	u32 entries;
	u16 next;
	bool indirect;
};

/* desc names the table that holds the chain's rest. */
static int enter_table(struct virtq *vq, struct walk *walk, const struct vq_desc *desc)
{
	if (walk->indirect || desc->flags & VQ_DESC_NEXT)
		return bad(vq, "an indirect descriptor where none may be");
	if (!virtio_has(vq->vdev, VIRTIO_F_INDIRECT_DESC))
		return bad(vq, "an indirect descriptor, which was not negotiated");
	if (!desc->len || desc->len % DESC_SIZE)
		return bad(vq, "an indirect table of no whole number of descriptors");
	*walk = (struct walk){.table = vq_map_area(vq, desc->addr, desc->len, 1),
		.entries = desc->len / DESC_SIZE,
		.indirect = true};
	return walk->table ? 0 : bad(vq, "an indirect table that is not in RAM");
}

static int take_chain(struct virtq *vq, struct vq_chain *chain)
{
	struct walk walk = {.table = vq->split.desc, .entries = vq->size, .next = chain->id};
	unsigned steps = vq->size + vq->vdev->class->max_segments;

	for (;;) {
		struct vq_desc desc;

		if (walk.next >= walk.entries)
			return bad(vq, "a descriptor beyond the table");
		if (!steps--)
			return bad(vq, "a chain of descriptors that does not end");
		desc = vq_load_desc(walk.table + walk.next * DESC_SIZE);
		if (desc.flags & VQ_DESC_INDIRECT) {
			if (enter_table(vq, &walk, &desc))
				return -1;
			continue;
		}
		if (!vq_add_buffer(chain, &desc))
			return -1;
		if (!(desc.flags & VQ_DESC_NEXT))
			return 1;
		walk.next = desc.other;
	}
}

/* How many chains the driver has made available, or -1. */
static int available(struct virtq *vq)
{
	struct vq_split *ring = &vq->split;

	if (ring->seen == ring->next)
		ring->seen = vq_acquire16(ring->avail + RING_INDEX);
	if ((u16)(ring->seen - ring->next) > vq->size)
		return bad(vq, "more chains are available than the ring holds");
	return (u16)(ring->seen - ring->next);
}

static int split_next(struct virtq *vq, struct vq_chain *chain)
{
	struct vq_split *ring = &vq->split;
	int n = available(vq);

	if (n <= 0)
		return n;
	chain->id = vq_load16(avail_entry(vq, ring->next));
	if (take_chain(vq, chain) < 0)
		return -1;
	ring->next++;
	return 1;
}

static void split_back(struct virtq *vq, const struct vq_chain *chain)
{
	(void)chain;
	vq->split.next--;
}

static void split_push(struct virtq *vq, const struct vq_chain *chain, u32 written)
{
	u8 *entry = used_entry(vq, vq->split.used_idx++);

	vq_store32(entry, chain->id);
	vq_store32(entry + 4, written);
}

static bool split_publish(struct virtq *vq)
{
	struct vq_split *ring = &vq->split;
	u16 old = ring->shown;

	ring->shown = ring->used_idx;
	vq_release16(ring->used + RING_INDEX, ring->shown);
	vq_full_barrier();
	if (vq->events)
		return vq_passes(vq_load16(used_event(vq)), ring->shown, old);
	return !(vq_load16(ring->avail + RING_FLAGS) & AVAIL_NO_INTERRUPT);
}

/* With event index, to want none is to leave the event where it is: behind what was taken. */
static bool split_want_kicks(struct virtq *vq, bool on)
{
	struct vq_split *ring = &vq->split;

	if (!vq->events)
		vq_store16(ring->used + RING_FLAGS, on ? 0 : USED_NO_NOTIFY);
	else if (on)
		vq_store16(avail_event(vq), ring->next);
	if (!on)
		return false;
	vq_full_barrier();
	return vq_acquire16(ring->avail + RING_INDEX) != ring->next;
}

const struct virtq_ops virtq_split_ops = {
	.map = split_map,
	.next = split_next,
	.back = split_back,
	.push = split_push,
	.publish = split_publish,
	.want_kicks = split_want_kicks,
};
