/* SPDX-License-Identifier: MIT */
/*
 * virtio block device. A kick takes all requests that there are, submits them, and
 * starts the disk once; what the disk has done is pushed as it comes, and shown
 * to the driver when the disk has settled.
 */
#include "dev/virtio/blk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	QUEUE_SIZE = 256,
	DATA_SEGMENTS = QUEUE_SIZE - 2, /* beside a request's header and its status */
	SERIAL_LEN = 20,
	HEADER_LEN = 16,
	RANGE_LEN = 16,
};

enum { /* features */
	F_SEG_MAX = 2,
	F_RO = 5,
	F_BLK_SIZE = 6,
	F_FLUSH = 9,
	F_TOPOLOGY = 10,
	F_CONFIG_WCE = 11,
	F_MQ = 12,
	F_DISCARD = 13,
	F_WRITE_ZEROES = 14,
};

enum { /* a request's type */
	T_IN = 0,
	T_OUT = 1,
	T_FLUSH = 4,
	T_GET_ID = 8,
	T_DISCARD = 11,
	T_WRITE_ZEROES = 13,
};

enum {
	S_OK = 0,
	S_IOERR = 1,
	S_UNSUPP = 2,

	RANGE_UNMAP = 1, /* in a range's flags; for write zeroes alone */
	RANGE_MAX = 1 << 22, /* sectors: 2 GiB */
};

struct blk_config {
	u64 capacity;
	u32 size_max, seg_max;
	u16 cylinders;
	u8 heads, sectors;
	u32 blk_size;
	u8 physical_block_exp, alignment_offset;
	u16 min_io_size;
	u32 opt_io_size;
	u8 writeback, unused0;
	u16 num_queues;
	u32 max_discard_sectors, max_discard_seg, discard_sector_alignment;
	u32 max_write_zeroes_sectors, max_write_zeroes_seg;
	u8 write_zeroes_may_unmap, unused1[3];
} __attribute__((packed));

struct blk {
	struct virtio vdev;
	struct disk *disk;
	struct blk_config config; /* what the guest sees */
	bool writeback;
	char serial[SERIAL_LEN];
};

/* Beside each chain. */
struct request {
	struct disk_request disk;
	struct vq_chain *chain;
	u8 *status; /* in guest memory */
	u32 written; /* bytes, when it is done */
};

struct header {
	u32 type, reserved;
	u64 sector;
};

struct range {
	u64 sector;
	u32 count, flags;
};

static struct blk *of(struct virtio *vdev)
{
	return container_of(vdev, struct blk, vdev);
}

static struct blk *blk_of(const struct request *request)
{
	return of(vq_device(request->chain->vq));
}

static void finish(struct request *request, u8 status)
{
	*request->status = status;
	vq_push(request->chain, request->written);
}

static void done(struct disk_request *disk, int error)
{
	struct request *request = container_of(disk, struct request, disk);

	finish(request, !error ? S_OK : error == -EOPNOTSUPP ? S_UNSUPP : S_IOERR);
}

static bool in_range(const struct blk *blk, u64 sector, u64 len)
{
	u64 size = blk->disk->size;

	return len && len % DISK_SECTOR == 0 && sector <= size / DISK_SECTOR &&
	       len <= size - sector * DISK_SECTOR;
}

/* The disk takes it, or the driver is told at once. */
static void submit(struct request *request, enum disk_op op, u64 sector, u64 len)
{
	struct blk *blk = blk_of(request);

	if (!in_range(blk, sector, len) || (op != DISK_READ && blk->disk->readonly)) {
		finish(request, S_IOERR);
		return;
	}
	request->disk.op = op;
	request->disk.offset = sector * DISK_SECTOR;
	request->disk.len = len;
	blk->disk->ops->submit(blk->disk, &request->disk);
}

static void do_in(struct request *request, u64 sector)
{
	struct vq_chain *chain = request->chain;
	u32 len = chain->write_len - 1; /* the status is the last byte */
	struct iovec *iov = chain->iov + chain->nread;

	request->disk.iov = iov;
	request->disk.niov = iov_trim(iov, chain->nwrite, len);
	request->written = chain->write_len;
	submit(request, DISK_READ, sector, len);
}

static void do_out(struct request *request, u64 sector)
{
	struct vq_chain *chain = request->chain;
	struct iovec *iov = chain->iov;
	unsigned n = chain->nread;

	iov_skip(&iov, &n, HEADER_LEN);
	request->disk.iov = iov;
	request->disk.niov = n;
	request->disk.fua = !blk_of(request)->writeback;
	submit(request, DISK_WRITE, sector, chain->read_len - HEADER_LEN);
}

static void do_flush(struct request *request)
{
	struct blk *blk = blk_of(request);

	if (blk->disk->readonly) {
		finish(request, S_OK);
		return;
	}
	request->disk.op = DISK_FLUSH;
	blk->disk->ops->submit(blk->disk, &request->disk);
}

static void do_get_id(struct request *request)
{
	struct vq_chain *chain = request->chain;
	u32 room = MIN(chain->write_len - 1, (u32)SERIAL_LEN);

	iov_from_buf(chain->iov + chain->nread, chain->nwrite, 0, blk_of(request)->serial, room);
	request->written = chain->write_len;
	finish(request, S_OK);
}

/* One range, since that is what the config offers. */
static void do_range(struct request *request, enum disk_op op, unsigned feature)
{
	struct vq_chain *chain = request->chain;
	u32 allowed = op == DISK_WRITE_ZEROES ? RANGE_UNMAP : 0;
	struct range range;

	if (!virtio_has(vq_device(chain->vq), feature)) {
		finish(request, S_UNSUPP);
		return;
	}
	if (chain->read_len != HEADER_LEN + RANGE_LEN) {
		finish(request, S_IOERR);
		return;
	}
	iov_to_buf(chain->iov, chain->nread, HEADER_LEN, &range, sizeof(range));
	if (range.flags & ~allowed) {
		finish(request, S_UNSUPP);
		return;
	}
	if (range.count > RANGE_MAX) {
		finish(request, S_IOERR);
		return;
	}
	request->disk.may_unmap = range.flags & RANGE_UNMAP;
	request->disk.fua = op == DISK_WRITE_ZEROES && !blk_of(request)->writeback;
	submit(request, op, range.sector, (u64)range.count * DISK_SECTOR);
}

static void dispatch(struct request *request, const struct header *header)
{
	switch (header->type) {
	case T_IN:
		do_in(request, header->sector);
		break;
	case T_OUT:
		do_out(request, header->sector);
		break;
	case T_FLUSH:
		do_flush(request);
		break;
	case T_GET_ID:
		do_get_id(request);
		break;
	case T_DISCARD:
		do_range(request, DISK_DISCARD, F_DISCARD);
		break;
	case T_WRITE_ZEROES:
		do_range(request, DISK_WRITE_ZEROES, F_WRITE_ZEROES);
		break;
	default:
		finish(request, S_UNSUPP);
		break;
	}
}

static void begin(struct virtio *vdev, struct vq_chain *chain)
{
	struct request *request = vq_request(chain);
	struct header header;
	struct iovec *last;

	if (chain->read_len < HEADER_LEN || !chain->write_len) {
		vq_unpop(chain);
		virtio_broken(vdev, "a block request without header or status");
		return;
	}
	iov_to_buf(chain->iov, chain->nread, 0, &header, sizeof(header));
	last = &chain->iov[chain->nread + chain->nwrite - 1];
	*request = (struct request){
		.disk.done = done,
		.chain = chain,
		.status = (u8 *)last->iov_base + last->iov_len - 1,
		.written = 1,
	};
	dispatch(request, &header);
}

static void blk_kick(struct virtio *vdev, struct virtq *vq)
{
	struct blk *blk = of(vdev);
	struct vq_chain *chain;

	do {
		vq_want_kicks(vq, false);
		while ((chain = vq_pop(vq)))
			begin(vdev, chain);
	} while (vq_want_kicks(vq, true));
	blk->disk->ops->kick(blk->disk);
	vq_notify(vq); /* what needed no disk */
}

static void settled(void *arg)
{
	struct blk *blk = arg;

	for (unsigned i = 0; i < blk->vdev.nqueues; i++)
		vq_notify(virtio_queue(&blk->vdev, i));
}

/* ---- config ---- */

static void fill_config(struct blk *blk)
{
	const struct disk *disk = blk->disk;
	u32 block = MAX(disk->block_size, DISK_SECTOR);

	blk->config = (struct blk_config){
		.capacity = disk->size / DISK_SECTOR,
		.seg_max = DATA_SEGMENTS,
		.blk_size = DISK_SECTOR,
		.physical_block_exp = (u8)__builtin_ctz(block / DISK_SECTOR),
		.min_io_size = (u16)(block / DISK_SECTOR),
		.writeback = blk->writeback,
		.num_queues = (u16)blk->vdev.nqueues,
	};
	if (disk->can_discard) {
		blk->config.max_discard_sectors = RANGE_MAX;
		blk->config.max_discard_seg = 1;
		blk->config.discard_sector_alignment = block / DISK_SECTOR;
	}
	if (disk->can_write_zeroes) {
		blk->config.max_write_zeroes_sectors = RANGE_MAX;
		blk->config.max_write_zeroes_seg = 1;
		blk->config.write_zeroes_may_unmap = disk->can_discard;
	}
}

/* The driver may switch the write cache off, and on; everything else stays as it was. */
static void blk_config_write(struct virtio *vdev, unsigned offset, unsigned size)
{
	struct blk *blk = of(vdev);

	(void)offset;
	(void)size;
	if (virtio_has(vdev, F_CONFIG_WCE) && blk->config.writeback <= 1)
		blk->writeback = blk->config.writeback;
	fill_config(blk);
}

void virtio_blk_resized(struct virtio *vdev)
{
	fill_config(of(vdev));
	virtio_config_changed(vdev);
}

/* ---- its life ---- */

/* Without a way to ask for stable storage, every write is stable when it is done. */
static void blk_ready(struct virtio *vdev)
{
	struct blk *blk = of(vdev);

	if (!virtio_has(vdev, F_CONFIG_WCE))
		blk->writeback = virtio_has(vdev, F_FLUSH);
	fill_config(blk);
}

static void blk_reset(struct virtio *vdev)
{
	struct blk *blk = of(vdev);

	blk->disk->ops->drain(blk->disk);
	blk->writeback = true;
	fill_config(blk);
}

static void blk_queue_reset(struct virtio *vdev, struct virtq *vq)
{
	struct blk *blk = of(vdev);

	(void)vq;
	blk->disk->ops->drain(blk->disk);
}

static void blk_free(struct virtio *vdev)
{
	struct blk *blk = of(vdev);

	blk->disk->settled = NULL;
	free(blk);
}

static const struct virtio_class blk_class = {
	.name = "virtio-blk",
	.id = VIRTIO_ID_BLOCK,
	.pci_class = 0x010000,
	.queue_size = QUEUE_SIZE,
	.max_segments = DATA_SEGMENTS + 2,
	.request_size = sizeof(struct request),
	.reset = blk_reset,
	.queue_reset = blk_queue_reset,
	.ready = blk_ready,
	.kick = blk_kick,
	.config_write = blk_config_write,
	.free = blk_free,
};

static u64 features_of(const struct disk *disk, unsigned nqueues)
{
	u64 features = BIT(F_SEG_MAX) | BIT(F_BLK_SIZE) | BIT(F_TOPOLOGY) | BIT(F_FLUSH) | BIT(F_CONFIG_WCE);

	features |= disk->readonly ? BIT(F_RO) : 0;
	features |= nqueues > 1 ? BIT(F_MQ) : 0;
	if (!disk->readonly) {
		features |= disk->can_discard ? BIT(F_DISCARD) : 0;
		features |= disk->can_write_zeroes ? BIT(F_WRITE_ZEROES) : 0;
	}
	return features;
}

int virtio_blk_create(
	struct vm *vm, struct disk *disk, const char *serial, unsigned nqueues, struct virtio **out)
{
	struct blk *blk = calloc(1, sizeof(*blk));
	int ret;

	if (!blk)
		return -ENOMEM;
	blk->disk = disk;
	blk->writeback = true;
	memcpy(blk->serial, serial, strnlen(serial, SERIAL_LEN));
	nqueues = MAX(1u, MIN(nqueues, (unsigned)VIRTIO_BLK_QUEUES));
	ret = virtio_init(&blk->vdev, vm, &blk_class, features_of(disk, nqueues), nqueues, &blk->config,
		sizeof(blk->config));
	if (ret) {
		free(blk);
		return ret;
	}
	fill_config(blk);
	disk->settled = settled;
	disk->settled_arg = blk;
	*out = &blk->vdev;
	return 0;
}
