/* SPDX-License-Identifier: MIT */
/* virtio memory balloon. */
#include "dev/virtio/balloon.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "vm/dma.h"
#include "vm/vm.h"

enum { /* features */
	F_STATS = 1,
	F_DEFLATE_ON_OOM = 2,
	F_REPORTING = 5,
};

enum role { INFLATE, DEFLATE, STATS, REPORTING, ROLES };

enum {
	QUEUE_SIZE = 128,
	SEGMENTS = 64,
	PAGES_MAX = 1 << 14, /* of one request: Linux sends 256 */
	STAT_LEN = 10, /* u16 and u64, packed */
	PAGES_AT_ONCE = 256,
};

struct balloon_config {
	u32 num_pages, actual;
};

struct balloon {
	struct virtio vdev;
	struct balloon_config config;
	u32 target; /* pages */
	struct vq_chain *stats; /* the driver's buffer, kept until figures are wanted */
	struct balloon_figures figures;
};

/* Host memory side by side, to be dropped at once. */
struct run {
	u8 *start;
	size_t len;
};

static struct balloon *of(struct virtio *vdev)
{
	return container_of(vdev, struct balloon, vdev);
}

/* ---- memory back to the host ---- */

/* What is shared with other processes is a file's, out of which a hole is cut. */
static bool give_back(u8 *start, size_t len)
{
	return !madvise(start, len, MADV_REMOVE) || !madvise(start, len, MADV_DONTNEED);
}

static void drop(struct balloon *balloon, struct run *run)
{
	struct vm *vm = balloon->vdev.vm;

	if (run->len && !vm->engine->ram_map && give_back(run->start, run->len)) {
		dma_wrote(vm, run->start, run->len);
		balloon->figures.dropped += run->len;
	}
	run->len = 0;
}

/* Adds host memory to the run, dropping what was gathered when it lies elsewhere. */
static void gather(struct balloon *balloon, struct run *run, u8 *start, size_t len)
{
	if (run->len && run->start + run->len == start) {
		run->len += len;
		return;
	}
	if (run->len && start + len == run->start) {
		run->start = start;
		run->len += len;
		return;
	}
	drop(balloon, run);
	*run = (struct run){start, len};
}

/* A page that is not RAM is the driver's mistake; nothing happens to it. */
static void inflate_page(struct balloon *balloon, struct run *run, u32 page)
{
	struct iovec iov;
	unsigned n = 0;

	if (dma_map(balloon->vdev.vm, (u64)page << PAGE_SHIFT, PAGE_SIZE, true, &iov, &n, 1))
		return;
	balloon->figures.inflated += PAGE_SIZE;
	gather(balloon, run, iov.iov_base, PAGE_SIZE);
}

static void take_pages(struct balloon *balloon, const struct vq_chain *chain, enum role role)
{
	struct run run = {0};
	u32 pages[PAGES_AT_ONCE];

	for (size_t at = 0, n; at < chain->read_len; at += n) {
		n = iov_to_buf(chain->iov, chain->nread, at, pages, sizeof(pages));
		if (!n)
			break;
		for (unsigned i = 0; i < n / sizeof(u32); i++) {
			if (role == INFLATE)
				inflate_page(balloon, &run, pages[i]);
			else
				balloon->figures.deflated += PAGE_SIZE;
		}
	}
	drop(balloon, &run);
}

/* The buffers are the free pages themselves. The driver keeps off them until they are used. */
static void take_reported(struct balloon *balloon, const struct vq_chain *chain)
{
	for (unsigned i = 0; i < chain->nwrite; i++) {
		uintptr_t start = (uintptr_t)chain->iov[chain->nread + i].iov_base;
		uintptr_t end = start + chain->iov[chain->nread + i].iov_len;
		struct run run;

		start = ALIGN_UP(start, (uintptr_t)PAGE_SIZE);
		end = ALIGN_DOWN(end, (uintptr_t)PAGE_SIZE);
		if (start >= end)
			continue;
		run = (struct run){(u8 *)start, end - start};
		balloon->figures.reported += run.len;
		drop(balloon, &run);
	}
}

/* ---- statistics ---- */

static void take_stats(struct balloon *balloon, struct vq_chain *chain)
{
	struct balloon_figures *figures = &balloon->figures;
	u8 data[STAT_LEN * 32];
	size_t len = iov_to_buf(chain->iov, chain->nread, 0, data, sizeof(data));

	for (size_t at = 0; at + STAT_LEN <= len; at += STAT_LEN) {
		u16 tag;

		memcpy(&tag, data + at, sizeof(tag));
		if (tag < BALLOON_STATS)
			memcpy(&figures->stat[tag], data + at + sizeof(tag), sizeof(u64));
	}
	figures->updates++;
	if (balloon->stats)
		vq_push(balloon->stats, 0); /* there should be one buffer; the older one goes back */
	balloon->stats = chain;
}

void virtio_balloon_refresh(struct virtio *vdev)
{
	struct balloon *balloon = of(vdev);
	struct vq_chain *chain = balloon->stats;

	if (!chain)
		return;
	balloon->stats = NULL;
	vq_push(chain, 0);
	vq_notify(chain->vq);
}

/* ---- queues ---- */

/* Which queue is which follows from the features that were negotiated. */
static enum role role_of(struct virtio *vdev, const struct virtq *vq)
{
	unsigned index = vq_index(vq), next = 2;

	if (index < next)
		return (enum role)index;
	if (virtio_has(vdev, F_STATS) && index == next++)
		return STATS;
	if (virtio_has(vdev, F_REPORTING) && index == next)
		return REPORTING;
	return ROLES;
}

static void serve(struct balloon *balloon, struct vq_chain *chain, enum role role)
{
	switch (role) {
	case INFLATE:
	case DEFLATE:
		if (chain->read_len > PAGES_MAX * sizeof(u32))
			virtio_broken(&balloon->vdev, "a request of more than %u pages", PAGES_MAX);
		else
			take_pages(balloon, chain, role);
		vq_push(chain, 0);
		break;
	case REPORTING:
		take_reported(balloon, chain);
		vq_push(chain, 0);
		break;
	case STATS:
		take_stats(balloon, chain);
		break;
	default:
		vq_push(chain, 0);
		break;
	}
}

static void balloon_kick(struct virtio *vdev, struct virtq *vq)
{
	enum role role = role_of(vdev, vq);
	struct vq_chain *chain;

	while ((chain = vq_next(vq)))
		serve(of(vdev), chain, role);
	vq_notify(vq);
}

/* ---- config ---- */

static void fill_config(struct balloon *balloon)
{
	balloon->config.num_pages = balloon->target;
	balloon->figures.target = (u64)balloon->target << PAGE_SHIFT;
	balloon->figures.actual = (u64)balloon->config.actual << PAGE_SHIFT;
}

static void balloon_config_write(struct virtio *vdev, unsigned offset, unsigned size)
{
	(void)offset;
	(void)size;
	fill_config(of(vdev));
}

void virtio_balloon_set(struct virtio *vdev, u64 bytes)
{
	struct balloon *balloon = of(vdev);

	balloon->target = (u32)MIN(bytes >> PAGE_SHIFT, UINT32_MAX);
	fill_config(balloon);
	virtio_config_changed(vdev);
}

const struct balloon_figures *virtio_balloon_figures(const struct virtio *vdev)
{
	return &container_of(vdev, const struct balloon, vdev)->figures;
}

/* ---- its life ---- */

static void balloon_reset(struct virtio *vdev)
{
	struct balloon *balloon = of(vdev);

	balloon->stats = NULL;
	balloon->config.actual = 0;
	memset(balloon->figures.stat, 0xff, sizeof(balloon->figures.stat));
	fill_config(balloon);
}

static void balloon_queue_reset(struct virtio *vdev, struct virtq *vq)
{
	if (role_of(vdev, vq) == STATS)
		of(vdev)->stats = NULL;
}

static void balloon_free(struct virtio *vdev)
{
	free(of(vdev));
}

static const struct virtio_class balloon_class = {
	.name = "virtio-balloon",
	.id = VIRTIO_ID_BALLOON,
	.pci_class = 0x00ff00,
	.queue_size = QUEUE_SIZE,
	.max_segments = SEGMENTS,
	.reset = balloon_reset,
	.queue_reset = balloon_queue_reset,
	.kick = balloon_kick,
	.config_write = balloon_config_write,
	.free = balloon_free,
};

int virtio_balloon_create(struct vm *vm, struct virtio **out)
{
	struct balloon *balloon = calloc(1, sizeof(*balloon));
	u64 features = BIT(F_STATS) | BIT(F_DEFLATE_ON_OOM) | BIT(F_REPORTING);
	int ret;

	if (!balloon)
		return -ENOMEM;
	ret = virtio_init(&balloon->vdev, vm, &balloon_class, features, ROLES, &balloon->config,
		sizeof(balloon->config));
	if (ret) {
		free(balloon);
		return ret;
	}
	memset(balloon->figures.stat, 0xff, sizeof(balloon->figures.stat));
	*out = &balloon->vdev;
	return 0;
}
