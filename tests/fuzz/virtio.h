/* SPDX-License-Identifier: MIT */
/*
 * A virtio driver that the input leads: it sets the device up as the rules say or
 * not, writes into its rings whatever comes, and kicks. For fuzzers of virtio
 * devices; the device is plugged into a PCI bus of its own.
 */
#pragma once

#include "tests/fuzz/fuzz.h"

#include "dev/pci/host.h"
#include "dev/virtio/transport.h"
#include "host/log.h"

#define RINGS 0x1000 /* of queue 0; those of the others follow */
#define RING_STEP 0x1000
#define RING_SIZE 16
#define DESC 0x000 /* in each queue's page */
#define AVAIL 0x400
#define USED 0x500
#define TABLE 0x600
#define BUFFERS 0x8000

static struct vm vm;
static struct pci_host *host;
static struct virtio *vdev;

/* A driver that breaks the rules is reported; here it is the rule. */
void log_line(const char *fmt, ...)
{
	(void)fmt;
}

static inline void fuzz_pci_init(void)
{
	struct pci_wiring wiring = {
		.io = {0xc000, 0x10000},
		.mem32 = {0xc0000000, 0xfec00000},
		.mem64 = {GIB(256), GIB(512)},
	};

	fuzz_vm_init(&vm);
	vm.packed_rings = true;
	memset(fuzz_ram, 0, sizeof(fuzz_ram));
	fuzz_check(!pci_host_create(&vm, &wiring, &host));
}

static inline void fuzz_plug(struct virtio *device)
{
	vdev = device;
	fuzz_check(!virtio_plug(vdev, host));
	pci_assign(host);
	pci_function_write(&vdev->pci, 0x04, 2, 0x0007);
}

static inline u64 bar_read(u64 offset, unsigned size)
{
	const struct region *region = &vdev->transport->region;

	return region->ops->read(region->dev, offset, size);
}

static inline void bar_write(u64 offset, unsigned size, u64 value)
{
	const struct region *region = &vdev->transport->region;

	region->ops->write(region->dev, offset, size, value);
}

static inline void write64(unsigned offset, u64 value)
{
	bar_write(offset, 4, (u32)value);
	bar_write(offset + 4, 4, value >> 32);
}

/* By the rules, with the features that the input wants. */
static inline void set_up(struct fuzz *fuzz)
{
	u64 features = (fuzz_u64(fuzz) & vdev->offered) | BIT(VIRTIO_F_VERSION_1);

	bar_write(VIRTIO_STATUS, 1, 0);
	memset(fuzz_ram, 0, BUFFERS);
	bar_write(VIRTIO_STATUS, 1, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
	for (unsigned i = 0; i < 2; i++) {
		bar_write(VIRTIO_DRIVER_FEATURE_SELECT, 4, i);
		bar_write(VIRTIO_DRIVER_FEATURE, 4, (u32)(features >> 32 * i));
	}
	bar_write(VIRTIO_STATUS, 1, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK);
	for (unsigned i = 0; i < vdev->nqueues; i++) {
		u64 page = RINGS + i * RING_STEP;

		bar_write(VIRTIO_QUEUE_SELECT, 2, i);
		bar_write(VIRTIO_QUEUE_SIZE, 2, RING_SIZE);
		bar_write(VIRTIO_QUEUE_VECTOR, 2, i + 1);
		write64(VIRTIO_QUEUE_DESC, page + DESC);
		write64(VIRTIO_QUEUE_DRIVER, page + AVAIL);
		write64(VIRTIO_QUEUE_DEVICE, page + USED);
		bar_write(VIRTIO_QUEUE_ENABLE, 2, 1);
	}
	bar_write(VIRTIO_STATUS, 1, 15);
}

static inline u8 *page_of(u8 queue)
{
	return fuzz_ram + RINGS + queue % vdev->nqueues * RING_STEP;
}

/* A descriptor, in the queue's own table or in an indirect one; mostly one that would do. */
static inline void put_desc(struct fuzz *fuzz)
{
	u8 kind = fuzz_u8(fuzz), slot = fuzz_u8(fuzz);
	u8 *at = page_of(kind >> 4) + (kind & 1 ? TABLE : DESC) + slot % RING_SIZE * 16;
	u64 addr = kind & 2 ? fuzz_u64(fuzz) : BUFFERS + fuzz_u16(fuzz);
	u32 len = kind & 4 ? fuzz_u32(fuzz) : fuzz_u16(fuzz) & 0xfff;
	u16 third = fuzz_u16(fuzz), fourth = fuzz_u16(fuzz);

	if (kind & 8) { /* an indirect table */
		addr = (u64)(page_of(kind >> 4) + TABLE - fuzz_ram);
		len = (1 + (len & 15)) * 16;
	}
	memcpy(at, &addr, 8);
	memcpy(at + 8, &len, 4);
	memcpy(at + 12, &third, 2);
	memcpy(at + 14, &fourth, 2);
}

/* Split rings: one more available entry. */
static inline void put_avail(struct fuzz *fuzz)
{
	u8 *avail = page_of(fuzz_u8(fuzz)) + AVAIL;
	u16 head = fuzz_u8(fuzz) % (RING_SIZE + 1), index;

	memcpy(&index, avail + 2, 2);
	memcpy(avail + 4 + index % RING_SIZE * 2, &head, 2);
	index++;
	memcpy(avail + 2, &index, 2);
}

static inline void put_bytes(struct fuzz *fuzz)
{
	u16 at = fuzz_u16(fuzz);
	u8 len = fuzz_u8(fuzz) & 63;

	fuzz_bytes(fuzz, fuzz_ram + at, len);
}

static inline void access_bar(struct fuzz *fuzz)
{
	u8 kind = fuzz_u8(fuzz);
	unsigned size = 1u << kind % 3;
	u64 offset = (fuzz_u16(fuzz) % VIRTIO_BAR_SIZE) & ~(u64)(size - 1);

	if (kind & 0x80)
		bar_write(offset, size, fuzz_u32(fuzz) & 0xffffffff >> (32 - 8 * size));
	else
		bar_read(offset, size);
}

static inline void access_config(struct fuzz *fuzz)
{
	u8 kind = fuzz_u8(fuzz);
	unsigned size = 1u << kind % 3, offset = fuzz_u8(fuzz) & ~(size - 1);

	if (kind & 0x80)
		pci_function_write(&vdev->pci, offset, size, fuzz_u32(fuzz));
	else
		pci_function_read(&vdev->pci, offset, size);
}

static inline void kick(struct fuzz *fuzz)
{
	bar_write(VIRTIO_NOTIFY + fuzz_u8(fuzz) % (vdev->nqueues + 1) * VIRTIO_NOTIFY_STEP, 2, 0);
}

/* What any driver may do; false: the byte is the fuzzer's own. */
static inline bool driver_step(struct fuzz *fuzz, u8 what)
{
	static void (*const steps[])(struct fuzz * fuzz) = {
		set_up, put_desc, put_desc, put_avail, put_bytes, kick, kick, access_bar, access_config};

	if (what >= ARRAY_SIZE(steps))
		return false;
	steps[what](fuzz);
	return true;
}
