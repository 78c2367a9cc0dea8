/* SPDX-License-Identifier: MIT */
/*
 * virtio memory balloon (virtio 1.2, 5.5): the guest gives pages that it does not need,
 * and the host has them until the guest takes them back. Where the engine's memory is of its own kind
 * (engine_ops.ram_map), pages are counted but stay.
 */
#pragma once

#include "dev/virtio/virtio.h"

enum balloon_stat { /* virtio 1.2, 5.5.6.4 */
	BALLOON_SWAP_IN,
	BALLOON_SWAP_OUT,
	BALLOON_MAJOR_FAULTS,
	BALLOON_MINOR_FAULTS,
	BALLOON_FREE,
	BALLOON_TOTAL,
	BALLOON_AVAILABLE,
	BALLOON_CACHES,
	BALLOON_HUGETLB_ALLOCS,
	BALLOON_HUGETLB_FAILS,
	BALLOON_STATS,
};

struct balloon_figures {
	u64 target, actual; /* bytes in the balloon: wanted; what the driver says */
	u64 inflated, deflated,
		reported; /* bytes, all told: given, taken back, given by free-page reporting */
	u64 dropped; /* bytes of these that the host has got back */
	u64 stat[BALLOON_STATS]; /* as the guest last said; UINT64_MAX: never */
	u64 updates; /* how often it said so */
};

/* Plug it in afterwards. 0 or -errno. */
int virtio_balloon_create(struct vm *vm, struct virtio **out);
/* The guest is to have that many bytes in the balloon. Machine lock held. */
void virtio_balloon_set(struct virtio *vdev, u64 bytes);
/* Asks the guest for new statistics; they come later. Machine lock held. */
void virtio_balloon_refresh(struct virtio *vdev);
const struct balloon_figures *virtio_balloon_figures(const struct virtio *vdev);
