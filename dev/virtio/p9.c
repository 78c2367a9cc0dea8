/* SPDX-License-Identifier: MIT */
/*
 * virtio-9p. The protocol is the backend's (backend/p9/); its files are read and
 * written on a thread of the device's own, so that neither a vCPU nor the loop waits
 * for a slow disk. The lock is taken only around the queue.
 */
#include "dev/virtio/p9.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backend/p9/p9.h"
#include "dev/virtio/virtio.h"
#include "host/worker.h"

#define FEATURE_MOUNT_TAG 0
#define TAG_MAX 255u
#define QUEUE_SIZE 128

struct virtio_9p {
	struct virtio vdev;
	struct p9 *p9;
	struct worker worker;
	pthread_cond_t idle; /* busy has become false */
	bool busy; /* the worker is in the midst of a request */
	struct {
		u16 len;
		char tag[TAG_MAX];
	} __attribute__((packed)) config;
	struct iovec iov[2 * P9_SEGMENTS]; /* the request's, while the lock is not held */
};

static struct virtio_9p *of(struct virtio *vdev)
{
	return container_of(vdev, struct virtio_9p, vdev);
}

/* With the lock held, but for the time that the files take. */
static void serve(struct virtio_9p *dev, struct vq_chain *chain)
{
	pthread_mutex_t *lock = dev->vdev.pci.dev.lock;
	unsigned nread = chain->nread, nwrite = chain->nwrite;
	ssize_t len;

	memcpy(dev->iov, chain->iov, (nread + nwrite) * sizeof(*dev->iov));
	dev->busy = true;
	pthread_mutex_unlock(lock);
	len = p9_serve(dev->p9, dev->iov, nread, dev->iov + nread, nwrite);
	pthread_mutex_lock(lock);
	dev->busy = false;
	pthread_cond_broadcast(&dev->idle);
	if (len >= 0) {
		vq_push(chain, (u32)len);
		vq_notify(chain->vq);
	} else {
		virtio_broken(&dev->vdev, "a 9P message without sense");
	}
}

static void work(void *arg)
{
	struct virtio_9p *dev = arg;
	struct virtq *vq = virtio_queue(&dev->vdev, 0);
	struct vq_chain *chain;

	pthread_mutex_lock(dev->vdev.pci.dev.lock);
	while ((chain = vq_next(vq)) != NULL)
		serve(dev, chain);
	pthread_mutex_unlock(dev->vdev.pci.dev.lock);
}

static void kick(struct virtio *vdev, struct virtq *vq)
{
	(void)vq;
	worker_post(&of(vdev)->worker);
}

/*
 * The request under way ends first: it writes to memory that is the guest's own again afterwards. There can be no
 * bound: the data goes straight between the file system and guest memory, and a system call that the kernel holds
 * up cannot be called back. Whoever waits holds no lock, so the loop hears mullion stop and kill.
 */
static void reset(struct virtio *vdev)
{
	struct virtio_9p *dev = of(vdev);

	while (dev->busy)
		pthread_cond_wait(&dev->idle, vdev->pci.dev.lock);
	p9_reset(dev->p9);
}

static void release(struct virtio *vdev)
{
	struct virtio_9p *dev = of(vdev);

	worker_fini(&dev->worker);
	p9_free(dev->p9);
	free(dev);
}

static const struct virtio_class class_9p = {
	.name = "virtio-9p",
	.id = VIRTIO_ID_9P,
	.pci_class = 0x018000,
	.queue_size = QUEUE_SIZE,
	.max_segments = P9_SEGMENTS,
	.reset = reset,
	.kick = kick,
	.free = release,
};

int virtio_9p_create(
	struct vm *vm, struct pci_host *pci, const char *path, const char *tag, bool readonly, struct err *err)
{
	struct virtio_9p *dev;
	struct p9 *p9;
	int ret;

	if (!*tag || strlen(tag) > TAG_MAX)
		return err_set(err, EINVAL, "--share %s: the tag has 1 to %u bytes", path, TAG_MAX);
	ret = p9_create(path, readonly, &p9, err);
	if (ret)
		return ret;
	dev = calloc(1, sizeof(*dev));
	if (!dev) {
		p9_free(p9);
		return -ENOMEM;
	}
	dev->p9 = p9;
	pthread_cond_init(&dev->idle, NULL);
	dev->config.len = (u16)strlen(tag);
	memcpy(dev->config.tag, tag, dev->config.len);
	ret = worker_init(&dev->worker, work, dev);
	if (!ret)
		ret = virtio_init(&dev->vdev, vm, &class_9p, BIT(FEATURE_MOUNT_TAG), 1, &dev->config,
			2u + dev->config.len);
	if (!ret)
		return virtio_plug(&dev->vdev, pci);
	release(&dev->vdev);
	return ret;
}
