/* SPDX-License-Identifier: MIT */
/* The driver's side of a split ring. */
#include "backend/vhost_ring.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define SIZE VHOST_RING_SIZE

enum {
	DESC_NEXT = 1,
	DESC_WRITE = 2,
	USED_NO_NOTIFY = 1,
};

struct desc {
	u64 addr;
	u32 len;
	u16 flags, next;
};

struct avail {
	u16 flags, idx, ring[SIZE];
};

struct used {
	u16 flags, idx;
	struct {
		u32 id, len;
	} ring[SIZE];
};

static struct desc *desc(struct vhost_ring *ring)
{
	return (struct desc *)(ring->memory + ring->desc);
}

static struct avail *avail(struct vhost_ring *ring)
{
	return (struct avail *)(ring->memory + ring->avail);
}

static struct used *used(struct vhost_ring *ring)
{
	return (struct used *)(ring->memory + ring->used);
}

#define AVAIL_AT ALIGN_UP(SIZE * sizeof(struct desc), (size_t)PAGE_SIZE)
#define USED_AT (AVAIL_AT + ALIGN_UP(sizeof(struct avail), (size_t)PAGE_SIZE))

size_t vhost_ring_bytes(void)
{
	return USED_AT + ALIGN_UP(sizeof(struct used), (size_t)PAGE_SIZE);
}

void vhost_ring_reset(struct vhost_ring *ring)
{
	memset(ring->memory, 0, vhost_ring_bytes());
	memset(ring->cookie, 0, sizeof(ring->cookie));
	for (unsigned i = 0; i < SIZE; i++)
		ring->next[i] = (u16)(i + 1);
	ring->free_head = 0;
	ring->nfree = SIZE;
	ring->next_avail = ring->next_used = ring->under_way = 0;
}

int vhost_ring_init(struct vhost_ring *ring, u8 *memory)
{
	*ring = (struct vhost_ring){.memory = memory, .avail = AVAIL_AT, .used = USED_AT, .kick = -1, .call = -1};
	ring->kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ring->call = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (ring->kick < 0 || ring->call < 0)
		return -errno;
	vhost_ring_reset(ring);
	return 0;
}

void vhost_ring_fini(struct vhost_ring *ring)
{
	if (!ring->memory)
		return;
	if (ring->kick >= 0)
		close(ring->kick);
	if (ring->call >= 0)
		close(ring->call);
	ring->kick = ring->call = -1;
}

int vhost_ring_add(struct vhost_ring *ring, const struct iovec *iov, unsigned nread, unsigned nwrite, void *cookie)
{
	unsigned n = nread + nwrite;
	u16 head = ring->free_head, at = head;

	if (n > ring->nfree)
		return -EAGAIN;
	for (unsigned i = 0; i < n; i++) {
		desc(ring)[at] = (struct desc){
			.addr = (u64)(uintptr_t)iov[i].iov_base,
			.len = (u32)iov[i].iov_len,
			.flags = (u16)((i >= nread ? DESC_WRITE : 0) | (i + 1 < n ? DESC_NEXT : 0)),
			.next = ring->next[at],
		};
		at = ring->next[at];
	}
	ring->free_head = at;
	ring->nfree -= (u16)n;
	ring->cookie[head] = cookie;
	ring->length[head] = (u16)n;
	ring->under_way++;
	avail(ring)->ring[ring->next_avail++ % SIZE] = head;
	__atomic_store_n(&avail(ring)->idx, ring->next_avail, __ATOMIC_RELEASE);
	return 0;
}

void vhost_ring_kick(struct vhost_ring *ring)
{
	u64 one = 1;

	__atomic_thread_fence(__ATOMIC_SEQ_CST); /* the index is visible before we look whether it looks */
	if (__atomic_load_n(&used(ring)->flags, __ATOMIC_RELAXED) & USED_NO_NOTIFY)
		return;
	if (write(ring->kick, &one, sizeof(one)) < 0)
		return; /* EAGAIN: it is awake already */
}

/* The chain's descriptors go back to the free ones. */
static void give_back(struct vhost_ring *ring, u16 head)
{
	u16 last = head;

	for (u16 i = 1; i < ring->length[head]; i++)
		last = ring->next[last];
	ring->next[last] = ring->free_head;
	ring->free_head = head;
	ring->nfree += ring->length[head];
}

void *vhost_ring_next(struct vhost_ring *ring, u32 *written)
{
	void *cookie;
	u32 id;

	if (__atomic_load_n(&used(ring)->idx, __ATOMIC_ACQUIRE) == ring->next_used)
		return NULL;
	id = used(ring)->ring[ring->next_used % SIZE].id;
	*written = used(ring)->ring[ring->next_used % SIZE].len;
	ring->next_used++;
	cookie = id < SIZE ? ring->cookie[id] : NULL;
	if (!cookie)
		return NULL; /* not one of ours: the server is confused, and what it says is not followed */
	ring->cookie[id] = NULL;
	ring->under_way--;
	give_back(ring, (u16)id);
	return cookie;
}
