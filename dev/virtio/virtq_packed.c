/* SPDX-License-Identifier: MIT */
/* Packed virtqueues (virtio 1.2, 2.8): one ring of descriptors, which both sides walk. */
#include "dev/virtio/virtq.h"

#include <errno.h>

enum {
	DESC_SIZE = 16,
	DESC_LEN = 8,
	DESC_ID = 12,
	DESC_FLAGS = 14,
	FLAG_AVAIL = 1 << 7,
	FLAG_USED = 1 << 15,

	EVENT_SIZE = 4, /* of the driver's and the device's areas */
	EVENT_POSITION = 0,
	EVENT_FLAGS = 2,
	EVENT_ON = 0,
	EVENT_OFF = 1,
	EVENT_AT = 2, /* at the position; with VIRTIO_F_EVENT_IDX */
	POSITION_WRAP = 1 << 15,
};

static int packed_map(struct virtq *vq)
{
	struct vq_packed *ring = &vq->packed;

	*ring = (struct vq_packed){
		.desc = vq_map_area(vq, vq->desc_gpa, (u64)vq->size * DESC_SIZE, 16),
		.driver = vq_map_area(vq, vq->driver_gpa, EVENT_SIZE, 4),
		.device = vq_map_area(vq, vq->device_gpa, EVENT_SIZE, 4),
		.next_wrap = true,
		.used_wrap = true,
	};
	return ring->desc && ring->driver && ring->device ? 0 : -EFAULT;
}

static int bad(struct virtq *vq, const char *what)
{
	virtio_broken(vq->vdev, "queue %u: %s", vq->index, what);
	return -1;
}

static u8 *entry(const struct virtq *vq, u16 position)
{
	return vq->packed.desc + position * DESC_SIZE;
}

/* The first descriptor of the next chain is the device's. */
static bool available(const struct virtq *vq)
{
	u16 flags = vq_acquire16(entry(vq, vq->packed.next) + DESC_FLAGS);
	bool wrap = vq->packed.next_wrap;

	return !!(flags & FLAG_AVAIL) == wrap && !!(flags & FLAG_USED) != wrap;
}

static void forth(const struct virtq *vq, u16 *position, bool *wrap, u16 n)
{
	*position += n;
	if (*position >= vq->size) {
		*position -= vq->size;
		*wrap = !*wrap;
	}
}

/* Split descriptors have the flags where these have the id. */
static struct vq_desc load(const u8 *at)
{
	struct vq_desc desc = vq_load_desc(at);

	return (struct vq_desc){.addr = desc.addr, .len = desc.len, .flags = desc.other, .other = desc.flags};
}

/* In an indirect table, the descriptors follow each other; of their flags only WRITE counts. */
static int take_table(struct virtq *vq, struct vq_chain *chain, const struct vq_desc *desc)
{
	const u8 *table;

	if (!virtio_has(vq->vdev, VIRTIO_F_INDIRECT_DESC))
		return bad(vq, "an indirect descriptor, which was not negotiated");
	if (desc->flags & VQ_DESC_NEXT)
		return bad(vq, "an indirect descriptor where none may be");
	if (!desc->len || desc->len % DESC_SIZE)
		return bad(vq, "an indirect table of no whole number of descriptors");
	if (desc->len / DESC_SIZE > vq->size + vq->vdev->class->max_segments)
		return bad(vq, "an indirect table of too many descriptors");
	table = vq_map_area(vq, desc->addr, desc->len, 1);
	if (!table)
		return bad(vq, "an indirect table that is not in RAM");
	for (u32 at = 0; at < desc->len; at += DESC_SIZE) {
		struct vq_desc inner = load(table + at);

		if (!vq_add_buffer(chain, &inner))
			return -1;
	}
	return 1;
}

static int packed_next(struct virtq *vq, struct vq_chain *chain)
{
	struct vq_packed *ring = &vq->packed;
	u16 position = ring->next;
	bool wrap = ring->next_wrap;

	if (!available(vq))
		return 0;
	for (;;) {
		struct vq_desc desc = load(entry(vq, position));

		if (chain->ndesc++ == vq->size)
			return bad(vq, "a chain of descriptors that does not end");
		forth(vq, &position, &wrap, 1);
		chain->id = desc.other;
		if (desc.flags & VQ_DESC_INDIRECT) {
			if (take_table(vq, chain, &desc) < 0)
				return -1;
			break;
		}
		if (!vq_add_buffer(chain, &desc))
			return -1;
		if (!(desc.flags & VQ_DESC_NEXT))
			break;
	}
	ring->next = position;
	ring->next_wrap = wrap;
	return 1;
}

static void packed_back(struct virtq *vq, const struct vq_chain *chain)
{
	struct vq_packed *ring = &vq->packed;

	if (ring->next < chain->ndesc) {
		ring->next += vq->size;
		ring->next_wrap = !ring->next_wrap;
	}
	ring->next -= chain->ndesc;
}

/* The driver looks at entries in order, so the first one's flags show the others, too. */
static void packed_push(struct virtq *vq, const struct vq_chain *chain, u32 written)
{
	struct vq_packed *ring = &vq->packed;
	u8 *at = entry(vq, ring->used);
	u16 flags = (ring->used_wrap ? FLAG_AVAIL | FLAG_USED : 0) | (written ? VQ_DESC_WRITE : 0);

	vq_store32(at + DESC_LEN, written);
	vq_store16(at + DESC_ID, chain->id);
	if (ring->added) {
		vq_release16(at + DESC_FLAGS, flags);
	} else {
		ring->first = ring->used;
		ring->first_flags = flags;
	}
	ring->added += chain->ndesc;
	forth(vq, &ring->used, &ring->used_wrap, chain->ndesc);
}

static bool event_passed(const struct virtq *vq, u16 position, u16 added)
{
	const struct vq_packed *ring = &vq->packed;
	u16 event = position & (u16)~POSITION_WRAP;

	if (!!(position & POSITION_WRAP) != ring->used_wrap)
		event -= vq->size;
	return vq_passes(event, ring->used, ring->used - added);
}

static bool packed_publish(struct virtq *vq)
{
	struct vq_packed *ring = &vq->packed;
	u16 added = ring->added, flags;

	ring->added = 0;
	vq_release16(entry(vq, ring->first) + DESC_FLAGS, ring->first_flags);
	vq_full_barrier();
	flags = vq_load16(ring->driver + EVENT_FLAGS);
	if (flags != EVENT_AT || !vq->events)
		return flags != EVENT_OFF;
	return event_passed(vq, vq_load16(ring->driver + EVENT_POSITION), added);
}

static bool packed_want_kicks(struct virtq *vq, bool on)
{
	struct vq_packed *ring = &vq->packed;

	if (!on) {
		vq_store16(ring->device + EVENT_FLAGS, EVENT_OFF);
		return false;
	}
	if (vq->events) {
		vq_store16(ring->device + EVENT_POSITION, ring->next | (ring->next_wrap ? POSITION_WRAP : 0));
		vq_release16(ring->device + EVENT_FLAGS, EVENT_AT);
	} else {
		vq_store16(ring->device + EVENT_FLAGS, EVENT_ON);
	}
	vq_full_barrier();
	return available(vq);
}

const struct virtq_ops virtq_packed_ops = {
	.map = packed_map,
	.next = packed_next,
	.back = packed_back,
	.push = packed_push,
	.publish = packed_publish,
	.want_kicks = packed_want_kicks,
};
