/* SPDX-License-Identifier: MIT */
/*
 * AHCI with a disk and a CD-ROM in memory that finish their requests when the input says so: command lists
 * and tables laid out roughly as they should be, then bent. What the disks are asked for lies
 * within them, and the buffers are RAM of the right length.
 */
#include "tests/fuzz/fuzz.h"

#include <errno.h>

#include "dev/ahci.h"
#include "dev/pci/host.h"
#include "host/iov.h"

#define DISK_SIZE KIB(64)
#define LIST 0x400
#define RECEIVED 0x800
#define TABLES 0x1000
#define TABLE_SIZE 0x400
#define DATA 0x10000

static struct vm vm;
static struct pci_host *host;
static struct ahci *ahci;
static u8 contents[DISK_SIZE];

struct memory_disk {
	struct disk disk;
	struct disk_request *queued;
	unsigned under_way;
};

static struct memory_disk disks[2];

static struct memory_disk *of(struct disk *disk)
{
	return container_of(disk, struct memory_disk, disk);
}

static void submit(struct disk *disk, struct disk_request *r)
{
	struct memory_disk *d = of(disk);

	fuzz_check(r->op == DISK_FLUSH || (r->len && !(r->len % DISK_SECTOR) && !(r->offset % DISK_SECTOR)));
	fuzz_check(r->op == DISK_FLUSH || (r->offset <= disk->size && r->len <= disk->size - r->offset));
	fuzz_check(!disk->readonly || r->op == DISK_READ);
	r->next = d->queued;
	d->queued = r;
	d->under_way++;
}

static void check_buffers(const struct disk_request *r)
{
	fuzz_check(iov_length(r->iov, r->niov) == r->len);
	for (unsigned i = 0; i < r->niov; i++) {
		const u8 *start = r->iov[i].iov_base;

		fuzz_check(start >= fuzz_ram && start + r->iov[i].iov_len <= fuzz_ram + FUZZ_RAM);
	}
}

static void complete(struct memory_disk *d, int error, unsigned most)
{
	while (d->queued && most--) {
		struct disk_request *r = d->queued;

		d->queued = r->next;
		d->under_way--;
		if (r->op == DISK_READ || r->op == DISK_WRITE)
			check_buffers(r);
		if (r->op == DISK_READ && !error)
			iov_from_buf(r->iov, r->niov, 0, contents + r->offset, r->len);
		else if (r->op == DISK_WRITE && !error)
			iov_to_buf(r->iov, r->niov, 0, contents + r->offset, r->len);
		r->done(r, error);
	}
	disk_settled(&d->disk);
}

static void kick(struct disk *disk)
{
	(void)disk;
}

static void drain(struct disk *disk)
{
	while (of(disk)->queued)
		complete(of(disk), 0, 1000);
}

static const struct disk_ops ops = {.submit = submit, .kick = kick, .drain = drain};

/* ---- what the driver does ---- */

static void wr(unsigned offset, u32 value)
{
	const struct region *region = ahci_function(ahci)->bar[5].region;

	region->ops->write(region->dev, offset, 4, value);
}

static unsigned at(unsigned port, unsigned offset)
{
	return 0x100 + 0x80 * (port & 1) + offset;
}

static void start(unsigned port)
{
	wr(at(port, 0x18), 0x10);
	wr(at(port, 0x00), LIST);
	wr(at(port, 0x04), 0);
	wr(at(port, 0x08), RECEIVED);
	wr(at(port, 0x0c), 0);
	wr(at(port, 0x14), ~0u);
	wr(at(port, 0x18), 0x11);
	wr(4, 2);
}

/* A command in slot `slot`, as a driver would lay it. */
static void lay(struct fuzz *fuzz, unsigned slot, bool packet)
{
	static const u8 common[] = {0x25, 0x35, 0x60, 0x61, 0xca, 0xc8, 0x06, 0xec, 0xa1, 0xea, 0xef, 0x2f, 0xb0, 0x47, 0x3d, 0x40};
	u8 *table = fuzz_ram + TABLES + slot * TABLE_SIZE, kind = fuzz_u8(fuzz), opcode = common[kind & 15];
	u8 entries = fuzz_u8(fuzz) % 8;
	u32 header[4] = {5 | (kind & 0x40) | (packet ? 0x20 : 0) | (u32)entries << 16, 0, TABLES + slot * TABLE_SIZE, 0};

	fuzz_bytes(fuzz, table, 12);
	table[0] = 0x27;
	table[1] = 0x80;
	table[2] = packet ? 0xa0 : opcode;
	memset(table + 8, 0, 12);
	table[7] = 0x40;
	table[5] &= 0x80 & kind ? 0xff : 0;
	table[6] = opcode == 0xb0 ? 0xc2 : 0;
	table[12] = opcode == 0x60 || opcode == 0x61 ? (u8)(slot << 3) : fuzz_u8(fuzz);
	if (packet)
		fuzz_bytes(fuzz, table + 0x40, 12);
	for (unsigned i = 0; i < entries; i++) {
		u32 entry[4] = {DATA + fuzz_u16(fuzz), 0, 0, fuzz_u16(fuzz) & 0x1fff};

		memcpy(table + 0x80 + i * 16, entry, sizeof(entry));
	}
	memcpy(fuzz_ram + LIST + slot * 32, header, sizeof(header));
}

static void step(struct fuzz *fuzz)
{
	u8 what = fuzz_u8(fuzz), port = what >> 4 & 1;
	unsigned slot = fuzz_u8(fuzz) % 32;

	switch (what & 15) {
	case 0:
		start(port);
		break;
	case 1:
	case 2:
	case 3:
		lay(fuzz, slot, port && what & 0x20);
		wr(at(port, 0x34), what & 0x40 ? 0 : 1u << slot);
		wr(at(port, 0x38), 1u << slot);
		break;
	case 4:
	case 5:
		complete(&disks[port], what & 0x20 ? -EIO : 0, what & 0x40 ? 1 : 100);
		break;
	case 6: /* bend something */
		fuzz_bytes(fuzz, fuzz_ram + (fuzz_u16(fuzz) & 0x7fff), fuzz_u8(fuzz) & 31);
		break;
	case 7:
		wr(at(port, 0x38), fuzz_u32(fuzz));
		break;
	case 8:
		wr(fuzz_u16(fuzz) & 0x3fc, fuzz_u32(fuzz));
		break;
	case 9: {
		const struct region *region = ahci_function(ahci)->bar[5].region;

		region->ops->read(region->dev, fuzz_u16(fuzz) & 0xffc, 4);
		break;
	}
	case 10:
		wr(at(port, 0x10), ~0u);
		wr(8, ~0u);
		break;
	case 11:
		wr(at(port, 0x2c), fuzz_u8(fuzz) & 15);
		break;
	case 12:
		pci_function_write(ahci_function(ahci), 4, 2, fuzz_u8(fuzz) & 7);
		break;
	case 13:
		pci_function_reset(ahci_function(ahci));
		pci_assign(host);
		pci_function_write(ahci_function(ahci), 4, 2, 7);
		break;
	default:
		start(port);
		lay(fuzz, slot, port);
		wr(at(port, 0x34), 1u << slot);
		wr(at(port, 0x38), 1u << slot);
		complete(&disks[port], 0, 100);
	}
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	struct pci_wiring wiring = {
		.io = {0xc000, 0x10000},
		.mem32 = {0xc0000000, 0xfec00000},
		.mem64 = {GIB(256), GIB(512)},
	};
	struct fuzz fuzz = {data, size};

	fuzz_vm_init(&vm);
	memset(fuzz_ram, 0, DATA);
	fuzz_check(!pci_host_create(&vm, &wiring, &host));
	fuzz_check(!ahci_create(&vm, &ahci));
	for (unsigned i = 0; i < 2; i++) {
		disks[i] = (struct memory_disk){.disk = {.ops = &ops,
							.size = DISK_SIZE,
							.block_size = 4096,
							.readonly = i,
							.can_discard = true}};
		fuzz_check(!ahci_attach(ahci, &disks[i].disk, i, "fuzz"));
	}
	fuzz_check(!pci_plug(host, ahci_function(ahci), PCI_ANY));
	pci_assign(host);
	pci_function_write(ahci_function(ahci), 4, 2, 7);
	while (fuzz_more(&fuzz))
		step(&fuzz);
	vm_fini(&vm);
	fuzz_check(!disks[0].under_way && !disks[1].under_way);
	return 0;
}
