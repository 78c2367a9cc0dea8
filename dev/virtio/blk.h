/* SPDX-License-Identifier: MIT */
/* virtio block device (virtio 1.2, 5.2) on a disk. */
#pragma once

#include "backend/disk.h"
#include "dev/virtio/virtio.h"

#define VIRTIO_BLK_QUEUES 8 /* at most */

/*
 * The disk stays the caller's, who closes it after the VM's devices have been freed; serial (20
 * characters count) is copied. Plug it in afterwards. 0 or -errno.
 */
int virtio_blk_create(
	struct vm *vm, struct disk *disk, const char *serial, unsigned nqueues, struct virtio **out);
/* The disk's size is another one now: the driver is told. */
void virtio_blk_resized(struct virtio *vdev);
