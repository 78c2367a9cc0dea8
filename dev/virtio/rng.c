/* SPDX-License-Identifier: MIT */
/* virtio entropy device. */
#include "dev/virtio/rng.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#define CHAIN_MAX 4096u /* bytes for one request; its driver asks again */

/* Once the host's pool is ready, up to 256 bytes come whole and at once. */
#define PIECE_MAX 256u

static u32 fill_buffer(const struct iovec *iov, u32 max)
{
	u32 len = (u32)MIN(iov->iov_len, (size_t)max), done = 0;

	while (done < len) {
		ssize_t n = getrandom((u8 *)iov->iov_base + done, MIN(len - done, PIECE_MAX), GRND_NONBLOCK);

		if (n <= 0)
			break;
		done += (u32)n;
	}
	return done;
}

static u32 fill_chain(const struct vq_chain *chain)
{
	const struct iovec *iov = chain->iov + chain->nread;
	u32 done = 0;

	for (unsigned i = 0; i < chain->nwrite && done < CHAIN_MAX; i++) {
		u32 n = fill_buffer(&iov[i], CHAIN_MAX - done);

		done += n;
		if (n < iov[i].iov_len)
			break;
	}
	return done;
}

static void rng_kick(struct virtio *vdev, struct virtq *vq)
{
	struct vq_chain *chain;

	(void)vdev;
	while ((chain = vq_next(vq)))
		vq_push(chain, fill_chain(chain));
	vq_notify(vq);
}

static void rng_reset(struct virtio *vdev)
{
	(void)vdev;
}

static void rng_queue_reset(struct virtio *vdev, struct virtq *vq)
{
	(void)vdev;
	(void)vq;
}

static void rng_free(struct virtio *vdev)
{
	free(vdev);
}

static const struct virtio_class rng_class = {
	.name = "virtio-rng",
	.id = VIRTIO_ID_RNG,
	.pci_class = 0x00ff00,
	.queue_size = 64,
	.max_segments = 64,
	.reset = rng_reset,
	.queue_reset = rng_queue_reset,
	.kick = rng_kick,
	.free = rng_free,
};

int virtio_rng_create(struct vm *vm, struct virtio **out)
{
	struct virtio *vdev = calloc(1, sizeof(*vdev));
	int ret;

	if (!vdev)
		return -ENOMEM;
	ret = virtio_init(vdev, vm, &rng_class, 0, 1, NULL, 0);
	if (ret)
		free(vdev);
	else
		*out = vdev;
	return ret;
}
