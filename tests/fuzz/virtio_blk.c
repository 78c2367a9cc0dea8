/* SPDX-License-Identifier: MIT */
/*
 * virtio-blk on a disk in memory that finishes its requests when the input says so:
 * what the disk is asked for lies within it, and the buffers are RAM of the right length.
 */
#include "tests/fuzz/virtio.h"

#include <errno.h>

#include "dev/virtio/blk.h"
#include "host/iov.h"

#define DISK_SIZE KIB(64)

static u8 contents[DISK_SIZE];
static struct disk_request *queued;
static unsigned under_way;

static void submit(struct disk *disk, struct disk_request *r)
{
	fuzz_check(r->op == DISK_FLUSH || (r->len && !(r->len % DISK_SECTOR) && !(r->offset % DISK_SECTOR)));
	fuzz_check(r->op == DISK_FLUSH || (r->offset <= disk->size && r->len <= disk->size - r->offset));
	r->next = queued;
	queued = r;
	under_way++;
}

static void check_buffers(const struct disk_request *r)
{
	fuzz_check(iov_length(r->iov, r->niov) == r->len);
	for (unsigned i = 0; i < r->niov; i++) {
		const u8 *start = r->iov[i].iov_base;

		fuzz_check(start >= fuzz_ram && start + r->iov[i].iov_len <= fuzz_ram + FUZZ_RAM);
	}
}

static void complete(struct disk *disk, int error)
{
	while (queued) {
		struct disk_request *r = queued;

		queued = r->next;
		under_way--;
		if (r->op == DISK_READ || r->op == DISK_WRITE)
			check_buffers(r);
		if (r->op == DISK_READ && !error)
			iov_from_buf(r->iov, r->niov, 0, contents + r->offset, r->len);
		else if (r->op == DISK_WRITE && !error)
			iov_to_buf(r->iov, r->niov, 0, contents + r->offset, r->len);
		r->done(r, error);
	}
	disk_settled(disk);
}

static void kick_disk(struct disk *disk)
{
	(void)disk;
}

static void drain(struct disk *disk)
{
	complete(disk, 0);
}

static const struct disk_ops ops = {.submit = submit, .kick = kick_disk, .drain = drain};

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	struct fuzz fuzz = {data, size};
	struct disk disk = {.ops = &ops,
		.size = DISK_SIZE,
		.block_size = 4096,
		.can_discard = true,
		.can_write_zeroes = true};
	struct virtio *blk;

	queued = NULL;
	under_way = 0;
	fuzz_pci_init();
	disk.readonly = fuzz_u8(&fuzz) == 0xff;
	fuzz_check(!virtio_blk_create(&vm, &disk, "fuzz", 1, &blk));
	fuzz_plug(blk);
	while (fuzz_more(&fuzz)) {
		u8 what = fuzz_u8(&fuzz);

		if (!driver_step(&fuzz, what & 15))
			complete(&disk, what & 16 ? -EIO : 0);
	}
	vm_fini(&vm);
	fuzz_check(!under_way);
	return 0;
}
