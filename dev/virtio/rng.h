/* SPDX-License-Identifier: MIT */
/* virtio entropy device (virtio 1.2, 5.4): the host kernel's random numbers. */
#pragma once

#include "dev/virtio/virtio.h"

/* Plug it in afterwards. 0 or -errno. */
int virtio_rng_create(struct vm *vm, struct virtio **out);
