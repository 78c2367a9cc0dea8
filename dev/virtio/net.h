/* SPDX-License-Identifier: MIT */
/* The virtio network card (virtio 1.2, section 5.1). */
#pragma once

#include "backend/net.h"
#include "dev/virtio/virtio.h"

#define VIRTIO_NET_MAX_PAIRS 8u

/* net's device is this card from here on; net outlives it. pairs: of queues, 1 to VIRTIO_NET_MAX_PAIRS. */
int virtio_net_create(struct vm *vm, struct net *net, unsigned pairs, struct virtio **out);

struct virtio_net_counters {
	u64 kicks, notifies, starved, filtered;
};
const struct virtio_net_counters *virtio_net_counters(const struct virtio *vdev);
