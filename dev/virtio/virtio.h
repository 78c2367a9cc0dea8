/* SPDX-License-Identifier: MIT */
/*
 * virtio 1.2 over PCI, as a device model sees it: a class with its constants and
 * behaviour, queues that give chains of checked buffers, and one way to say that
 * the driver broke the rules.
 *
 * Everything that comes from the guest is checked in virtq and the transport; a
 * class gets chains whose buffers are guest RAM and whose counts are within
 * the limits that it named.
 *
 * Thread context: the machine lock is held around every call, either way.
 */
#pragma once

#include <sys/uio.h>

#include "dev/pci/pci.h"
#include "host/iov.h"
#include "vm/device.h"

struct vm;
struct virtio;
struct virtq;

enum virtio_id { /* virtio 1.2, section 5 */
	VIRTIO_ID_NET = 1,
	VIRTIO_ID_BLOCK = 2,
	VIRTIO_ID_CONSOLE = 3,
	VIRTIO_ID_RNG = 4,
	VIRTIO_ID_BALLOON = 5,
	VIRTIO_ID_9P = 9,
	VIRTIO_ID_INPUT = 18,
	VIRTIO_ID_VSOCK = 19,
	VIRTIO_ID_FS = 26,
};

/* The rings' own feature bits (indirect, event index, packed, version 1) are the transport's. */
struct virtio_class {
	const char *name; /* "virtio-blk": for messages and the device's name */
	u16 id;
	u32 pci_class; /* class, subclass, interface: 0x010000 */
	u16 queue_size; /* a power of two, up to 1024 */
	u16 max_segments; /* of one chain, in and out together; a longer one breaks the rules */
	size_t request_size; /* bytes that the class wants beside each chain: vq_request */
	void (*reset)(struct virtio *vdev); /* forget all chains; queues are gone afterwards */
	/* The same for one queue alone; NULL: the device does not offer it. */
	void (*queue_reset)(struct virtio *vdev, struct virtq *vq);
	/* DRIVER_OK: vdev->features and the queues are settled. NULL: nothing to do. */
	void (*ready)(struct virtio *vdev);
	void (*kick)(struct virtio *vdev, struct virtq *vq);
	/* The guest read or wrote vdev->config; NULL: nothing to do. Before the read; after the write. */
	void (*config_read)(struct virtio *vdev, unsigned offset, unsigned size);
	void (*config_write)(struct virtio *vdev, unsigned offset, unsigned size);
	void (*free)(struct virtio *vdev); /* what the class owns, and vdev's container */
};

/* A driver's request. Valid from vq_pop to vq_push or a reset. */
struct vq_chain {
	struct virtq *vq;
	u16 id, ndesc; /* virtq's */
	u16 nread, nwrite;
	u32 read_len, write_len; /* bytes; each below 2 GiB */
	struct iovec *iov; /* nread buffers to read, then nwrite to fill; the class may change them */
};

struct virtio {
	struct pci_function pci; /* pci.dev is the device */
	struct vm *vm;
	const struct virtio_class *class;
	u64 offered, features; /* by the class; settled with the driver (all bits) */
	struct virtq *queues; /* nqueues of them, see virtio_queue */
	unsigned nqueues;
	u8 *config; /* little-endian, config_size bytes, kept by the class */
	unsigned config_size;
	bool driver_ok, broken;
	struct virtio_pci *transport; /* owned by the transport */
};

/*
 * Makes the common part of a device. features are the class's own bits; config
 * stays the class's. 0, or -errno with nothing kept; virtio_plug comes next.
 */
int virtio_init(struct virtio *vdev, struct vm *vm, const struct virtio_class *class, u64 features,
	unsigned nqueues, void *config, unsigned config_size);
/* Onto the root bus; from here the VM owns it. 0, or -errno with the whole device freed. */
int virtio_plug(struct virtio *vdev, struct pci_host *host);
struct virtq *virtio_queue(struct virtio *vdev, unsigned index);
unsigned vq_index(const struct virtq *vq);
struct virtio *vq_device(const struct virtq *vq);
static inline bool virtio_has(const struct virtio *vdev, unsigned bit)
{
	return vdev->features >> bit & 1;
}

/* The class changed its config: tell the driver (a new generation, an interrupt). */
void virtio_config_changed(struct virtio *vdev);
/* The driver broke the rules: NEEDS_RESET, one logged line; no chain comes any more. */
void virtio_broken(struct virtio *vdev, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The queue is enabled and the device live. */
bool vq_live(const struct virtq *vq);
/* The driver's next chain, or NULL: none now (or it is broken). */
struct vq_chain *vq_pop(struct virtq *vq);
/* The same, but NULL only when a kick will announce the next one. */
struct vq_chain *vq_next(struct virtq *vq);
/* Gives the latest popped chain back unused, so that the next vq_pop gives it again. */
void vq_unpop(struct vq_chain *chain);
/* The class's own bytes beside the chain, as the last user left them. */
void *vq_request(struct vq_chain *chain);
/*
 * The chain is done, and its first `written` bytes to fill are filled (dma_wrote is
 * called for them). The guest sees it, with all others, at the next vq_notify.
 */
void vq_push(struct vq_chain *chain, u32 written);
/* Shows the guest what was pushed; interrupts unless it asked for none. */
void vq_notify(struct virtq *vq);
/*
 * Does the device want kicks? Off while it looks by itself. True: there are chains
 * that no kick will announce (so look again).
 */
bool vq_want_kicks(struct virtq *vq, bool on);
