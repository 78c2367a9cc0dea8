/* SPDX-License-Identifier: MIT */
/* A disk in memory, for unit tests of disk controllers: completes at once, or when told, last first. */
#pragma once

#include "tests/unit/dev_fake.h"

#include <errno.h>

#include "backend/disk.h"
#include "host/iov.h"

#define FAKE_DISK_SIZE MIB(1)

struct fake_disk {
	struct disk disk;
	u8 data[FAKE_DISK_SIZE];
	struct disk_request *queued; /* newest first */
	bool hold; /* kick does nothing: fake_disk_complete does */
	int error; /* what the next requests end with */
	unsigned kicks, submits, flushes, discards, fuas, unmaps, settles;
	u64 last_offset, last_len;
};

static inline struct fake_disk *fake_disk_of(struct disk *disk)
{
	return container_of(disk, struct fake_disk, disk);
}

static inline void fake_disk_do(struct fake_disk *fake, struct disk_request *r)
{
	bool flush = r->op == DISK_FLUSH;

	if (fake->error) {
		r->done(r, fake->error);
		return;
	}
	assert_true(flush || (r->len && r->offset + r->len <= fake->disk.size && r->len % DISK_SECTOR == 0));
	if (r->op == DISK_READ || r->op == DISK_WRITE)
		assert_int_equal(iov_length(r->iov, r->niov), r->len);
	fake->flushes += flush;
	fake->fuas += r->fua;
	fake->discards += r->op == DISK_DISCARD;
	fake->unmaps += r->op == DISK_WRITE_ZEROES && r->may_unmap;
	if (r->op == DISK_READ)
		iov_from_buf(r->iov, r->niov, 0, fake->data + r->offset, r->len);
	else if (r->op == DISK_WRITE)
		iov_to_buf(r->iov, r->niov, 0, fake->data + r->offset, r->len);
	else if (r->op == DISK_WRITE_ZEROES)
		memset(fake->data + r->offset, 0, r->len);
	fake->last_offset = r->offset;
	fake->last_len = r->len;
	r->done(r, 0);
}

static inline void fake_disk_complete(struct fake_disk *fake)
{
	bool any = fake->queued;

	while (fake->queued) {
		struct disk_request *r = fake->queued;

		fake->queued = r->next;
		fake_disk_do(fake, r);
	}
	fake->settles += any;
	if (any)
		disk_settled(&fake->disk);
}

static inline void fake_disk_submit(struct disk *disk, struct disk_request *r)
{
	struct fake_disk *fake = fake_disk_of(disk);

	r->next = fake->queued;
	fake->queued = r;
	fake->submits++;
}

static inline void fake_disk_kick(struct disk *disk)
{
	struct fake_disk *fake = fake_disk_of(disk);

	fake->kicks++;
	if (!fake->hold)
		fake_disk_complete(fake);
}

static inline void fake_disk_drain(struct disk *disk)
{
	fake_disk_complete(fake_disk_of(disk));
}

static inline void fake_disk_close(struct disk *disk)
{
	(void)disk;
}

static const struct disk_ops fake_disk_ops = {
	.submit = fake_disk_submit,
	.kick = fake_disk_kick,
	.drain = fake_disk_drain,
	.close = fake_disk_close,
};

static inline void fake_disk_init(struct fake_disk *fake)
{
	memset(fake, 0, sizeof(*fake));
	fake->disk = (struct disk){
		.ops = &fake_disk_ops,
		.size = FAKE_DISK_SIZE,
		.block_size = 4096,
		.can_discard = true,
		.can_write_zeroes = true,
		.name = "fake",
	};
	for (unsigned i = 0; i < FAKE_DISK_SIZE; i++)
		fake->data[i] = (u8)(i * 7 + i / 512);
}
