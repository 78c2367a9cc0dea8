/* SPDX-License-Identifier: MIT */
/* What virtqueues of both formats do: chains with their buffers, and the functions that classes call. */
#include "dev/virtio/virtq.h"

#include <errno.h>
#include <stdlib.h>

#include "lib/width.h"
#include "vm/dma.h"
#include "vm/vm.h"

#define CHAIN_BYTES (GIB(2) - 1)
#define UNLIMITED (-1)
#define KICK_PAUSE 100000u /* ns */

/* A place for a chain under way. Behind it lie the class's bytes, and its buffers twice. */
struct vq_slot {
	struct vq_chain chain;
	struct vq_slot *next; /* among the free ones, or those held back */
	u32 written; /* of one that is held back */
	struct iovec *fill; /* the buffers to fill as they were popped: the class may change its own list */
	unsigned nfill;
	u32 fill_len;
};

static size_t request_room(const struct virtio_class *class)
{
	return ALIGN_UP(class->request_size, sizeof(u64));
}

static size_t slot_size(const struct virtio_class *class)
{
	size_t buffers = 2 * class->max_segments * sizeof(struct iovec);

	return ALIGN_UP(sizeof(struct vq_slot) + request_room(class) + buffers, (size_t)64);
}

static struct vq_slot *slot_of(struct vq_chain *chain)
{
	return container_of(chain, struct vq_slot, chain);
}

void *vq_request(struct vq_chain *chain)
{
	return slot_of(chain) + 1;
}

/* As many chains may be under way as the ring has entries. */
static void free_slots(struct virtq *vq)
{
	size_t size = slot_size(vq->vdev->class);

	vq->free = NULL;
	for (unsigned i = vq->size; i-- > 0;) {
		struct vq_slot *slot = (struct vq_slot *)(vq->slots + i * size);

		slot->chain.vq = vq;
		slot->next = vq->free;
		vq->free = slot;
	}
}

static void look_again(void *arg)
{
	virtq_kick(arg);
}

int virtq_init(struct virtq *vq, struct virtio *vdev, u16 index)
{
	*vq = (struct virtq){.vdev = vdev, .index = index, .size_max = vdev->class->queue_size};
	vq->slots = calloc(vq->size_max, slot_size(vdev->class));
	if (!vq->slots)
		return -ENOMEM;
	timer_init(&vq->again, look_again, vq);
	virtq_reset(vq);
	return 0;
}

void virtq_fini(struct virtq *vq)
{
	free(vq->slots);
	vq->slots = NULL;
}

void virtq_reset(struct virtq *vq)
{
	vq->ops = NULL;
	vq->size = vq->size_max;
	vq->vector = VIRTIO_NO_VECTOR;
	vq->desc_gpa = vq->driver_gpa = vq->device_gpa = 0;
	vq->pushed = 0;
	vq->held = NULL;
	vq->left = UNLIMITED;
	timer_cancel(&vq->vdev->vm->clock, &vq->again);
}

bool virtq_enable(struct virtq *vq)
{
	struct virtio *vdev = vq->vdev;
	bool is_packed = virtio_has(vdev, VIRTIO_F_RING_PACKED);
	const struct virtq_ops *ops = is_packed ? &virtq_packed_ops : &virtq_split_ops;

	vq->events = virtio_has(vdev, VIRTIO_F_EVENT_IDX);
	if (ops->map(vq)) {
		virtio_broken(vdev, "the rings of queue %u are not in RAM", vq->index);
		return false;
	}
	free_slots(vq);
	vq->ops = ops;
	return true;
}

void *vq_map_area(struct virtq *vq, u64 gpa, u64 len, u64 align)
{
	const struct vm *vm = vq->vdev->vm;
	const struct space *mem = &vm->mem;
	const struct extent *extent = space_find(mem, gpa);

	/* Memory of a device may move or vanish; RAM has no device. */
	if (gpa & (align - 1) || !extent || extent->region->dev || vm->private_memory)
		return NULL;
	return space_host(mem, gpa, len, DIRECT_READ | DIRECT_WRITE);
}

/* ---- chains ---- */

struct vq_desc vq_load_desc(const u8 *at)
{
	u64 second = width_load(at + 8, 8);

	return (struct vq_desc){
		.addr = width_load(at, 8),
		.len = (u32)second,
		.flags = (u16)(second >> 32),
		.other = (u16)(second >> 48),
	};
}

static bool broken_chain(const struct vq_chain *chain, const char *what)
{
	virtio_broken(chain->vq->vdev, "queue %u: %s", chain->vq->index, what);
	return false;
}

bool vq_add_buffer(struct vq_chain *chain, const struct vq_desc *desc)
{
	const struct virtio *vdev = chain->vq->vdev;
	bool write = desc->flags & VQ_DESC_WRITE;
	unsigned n = write ? chain->nwrite : chain->nread;
	u32 *total = write ? &chain->write_len : &chain->read_len;
	int ret;

	if (!write && chain->nwrite)
		return broken_chain(chain, "a buffer to read behind one to write");
	if (desc->len > CHAIN_BYTES - *total)
		return broken_chain(chain, "a chain of 2 GiB or more");
	ret = dma_map(vdev->vm, desc->addr, desc->len, write, chain->iov + (write ? chain->nread : 0), &n,
		vdev->class->max_segments - (write ? chain->nread : 0u));
	if (ret == -E2BIG)
		return broken_chain(chain, "a chain of too many buffers");
	if (ret)
		return broken_chain(chain, "a buffer that is not in RAM");
	*total += desc->len;
	if (write)
		chain->nwrite = (u16)n;
	else
		chain->nread = (u16)n;
	return true;
}

/* ---- what classes call ---- */

struct virtq *virtio_queue(struct virtio *vdev, unsigned index)
{
	return &vdev->queues[index];
}

unsigned vq_index(const struct virtq *vq)
{
	return vq->index;
}

struct virtio *vq_device(const struct virtq *vq)
{
	return vq->vdev;
}

bool vq_live(const struct virtq *vq)
{
	const struct virtio *vdev = vq->vdev;

	return vq->ops && vdev->driver_ok && !vdev->broken && pci_bus_master(&vdev->pci);
}

static struct vq_chain *clean_chain(struct vq_slot *slot)
{
	struct vq_chain *chain = &slot->chain;
	const struct virtio_class *class = chain->vq->vdev->class;
	struct iovec *iov = (struct iovec *)((u8 *)(slot + 1) + request_room(class));

	*chain = (struct vq_chain){.vq = chain->vq, .iov = iov};
	slot->fill = iov + class->max_segments;
	return chain;
}

static void remember_fill(struct vq_slot *slot)
{
	const struct vq_chain *chain = &slot->chain;

	slot->nfill = chain->nwrite;
	slot->fill_len = chain->write_len;
	for (unsigned i = 0; i < slot->nfill; i++)
		slot->fill[i] = chain->iov[chain->nread + i];
}

struct vq_chain *vq_pop(struct virtq *vq)
{
	struct vq_slot *slot = vq->free;
	struct vq_chain *chain;

	if (!vq_live(vq) || !slot || !vq->left) /* without a slot: as many are under way as the rules allow */
		return NULL;
	chain = clean_chain(slot);
	if (vq->ops->next(vq, chain) <= 0)
		return NULL;
	remember_fill(slot);
	vq->free = slot->next;
	vq->left -= vq->left > 0;
	vq->count.chains++;
	return chain;
}

static void give_back(struct virtq *vq, struct vq_chain *chain)
{
	struct vq_slot *slot = slot_of(chain);

	slot->next = vq->free;
	vq->free = slot;
}

void vq_unpop(struct vq_chain *chain)
{
	struct virtq *vq = chain->vq;

	if (vq->ops)
		vq->ops->back(vq, chain);
	vq->count.chains--;
	give_back(vq, chain);
}

/* The device may not write to the ring now: in D3hot, or not a bus master. */
static bool is_held_back(const struct virtq *vq)
{
	return vq->ops && vq->vdev->driver_ok && !vq->vdev->broken && !pci_bus_master(&vq->vdev->pci);
}

void vq_push(struct vq_chain *chain, u32 written)
{
	struct vq_slot *slot = slot_of(chain);
	struct virtq *vq = chain->vq;

	written = MIN(written, slot->fill_len);
	dma_wrote_iov(vq->vdev->vm, slot->fill, slot->nfill, written);
	if (is_held_back(vq)) {
		slot->written = written;
		slot->next = vq->held;
		vq->held = slot;
		return;
	}
	if (vq_live(vq)) {
		vq->ops->push(vq, chain, written);
		vq->pushed++;
	}
	give_back(vq, chain);
}

static void push_held(struct virtq *vq)
{
	struct vq_slot *slot;

	while ((slot = vq->held)) {
		vq->held = slot->next;
		vq->ops->push(vq, &slot->chain, slot->written);
		vq->pushed++;
		give_back(vq, &slot->chain);
	}
}

void vq_notify(struct virtq *vq)
{
	if (!vq_live(vq))
		return;
	push_held(vq);
	if (!vq->pushed)
		return;
	vq->pushed = 0;
	if (vq->ops->publish(vq)) {
		vq->count.interrupts++;
		virtio_interrupt(vq->vdev, vq->vector);
	} else {
		vq->count.quiet++;
	}
}

bool vq_want_kicks(struct virtq *vq, bool on)
{
	return vq_live(vq) && vq->ops->want_kicks(vq, on) && vq->free && vq->left;
}

/*
 * Another vCPU of the guest may add chains as fast as they are taken and answered, and the machine lock is held
 * here. So a kick takes what the ring can hold, twice; then others have their turn.
 */
void virtq_kick(struct virtq *vq)
{
	struct virtio *vdev = vq->vdev;
	struct clock *clock = &vdev->vm->clock;

	if (!vq_live(vq))
		return;
	vq->left = 2 * vq->size;
	vdev->class->kick(vdev, vq);
	if (!vq->left)
		timer_arm(clock, &vq->again, clock_now(clock) + KICK_PAUSE);
	vq->left = UNLIMITED;
}

struct vq_chain *vq_next(struct virtq *vq)
{
	struct vq_chain *chain = vq_pop(vq);

	while (!chain && vq_want_kicks(vq, true))
		chain = vq_pop(vq);
	return chain;
}
