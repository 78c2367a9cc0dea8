/* SPDX-License-Identifier: MIT */
/*
 * Virtqueues and the transport, with a device that takes, keeps, gives back and pushes
 * chains as the input says. Every buffer of every chain is RAM, and its counts are right.
 */
#include "tests/fuzz/virtio.h"

#define QUEUES 2
#define SEGMENTS 6

struct thing {
	struct virtio vdev;
	u8 config[24];
};

static struct vq_chain *held[2 * RING_SIZE];
static unsigned nheld;
static struct virtq *popped; /* the queue of the newest chain, as long as it may be given back */

static void forget(struct virtq *vq)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < nheld; i++) {
		if (vq && held[i]->vq != vq)
			held[kept++] = held[i];
	}
	nheld = kept;
	popped = NULL;
}

static void device_reset(struct virtio *device)
{
	(void)device;
	forget(NULL);
}

static void device_queue_reset(struct virtio *device, struct virtq *vq)
{
	(void)device;
	forget(vq);
}

static void device_kick(struct virtio *device, struct virtq *vq)
{
	fuzz_check(device == vdev && vq_live(vq));
}

static void device_config(struct virtio *device, unsigned offset, unsigned size)
{
	fuzz_check(offset + size <= device->config_size);
}

static void device_free(struct virtio *device)
{
	free(container_of(device, struct thing, vdev));
}

static const struct virtio_class class = {
	.name = "virtio-fuzz",
	.id = 42,
	.queue_size = 2 * RING_SIZE,
	.max_segments = SEGMENTS,
	.request_size = 20,
	.reset = device_reset,
	.queue_reset = device_queue_reset,
	.kick = device_kick,
	.config_read = device_config,
	.config_write = device_config,
	.free = device_free,
};

static u64 check_buffers(const struct iovec *iov, unsigned n)
{
	u64 len = 0;

	for (unsigned i = 0; i < n; i++) {
		const u8 *start = iov[i].iov_base;

		fuzz_check(start >= fuzz_ram && iov[i].iov_len <= (size_t)(fuzz_ram + FUZZ_RAM - start));
		len += iov[i].iov_len;
	}
	return len;
}

static void pop(struct virtq *vq)
{
	struct vq_chain *chain = nheld < ARRAY_SIZE(held) ? vq_pop(vq) : NULL;

	if (!chain)
		return;
	fuzz_check(chain->vq == vq && chain->nread + chain->nwrite <= SEGMENTS);
	fuzz_check(check_buffers(chain->iov, chain->nread) == chain->read_len);
	fuzz_check(check_buffers(chain->iov + chain->nread, chain->nwrite) == chain->write_len);
	memset(vq_request(chain), 0x5a, class.request_size);
	for (unsigned i = 0; i < nheld; i++)
		fuzz_check(held[i] != chain);
	held[nheld++] = chain;
	popped = vq;
}

static void push(struct fuzz *fuzz)
{
	unsigned i = fuzz_u8(fuzz);
	u32 written = fuzz_u32(fuzz);

	if (!nheld)
		return;
	i %= nheld;
	vq_push(held[i], written);
	held[i] = held[--nheld];
	popped = NULL;
}

static void unpop(void)
{
	if (popped)
		vq_unpop(held[--nheld]);
	popped = NULL;
}

static void device_step(struct fuzz *fuzz, u8 what)
{
	struct virtq *vq = virtio_queue(vdev, what & 1);

	switch (what >> 1 & 7) {
	case 0:
	case 1:
		pop(vq);
		break;
	case 2:
		push(fuzz);
		break;
	case 3:
		unpop();
		break;
	case 4:
		vq_notify(vq);
		break;
	case 5:
		vq_want_kicks(vq, true);
		break;
	case 6:
		vq_want_kicks(vq, false);
		break;
	default:
		virtio_config_changed(vdev);
		break;
	}
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	struct fuzz fuzz = {data, size};
	struct thing *device = calloc(1, sizeof(*device));

	nheld = 0;
	popped = NULL;
	fuzz_pci_init();
	fuzz_check(!virtio_init(
		&device->vdev, &vm, &class, BIT(3), QUEUES, device->config, sizeof(device->config)));
	fuzz_plug(&device->vdev);
	while (fuzz_more(&fuzz)) {
		u8 what = fuzz_u8(&fuzz);

		if (!driver_step(&fuzz, what & 15))
			device_step(&fuzz, what >> 4);
	}
	vm_fini(&vm);
	return 0;
}
