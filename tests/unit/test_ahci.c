/* SPDX-License-Identifier: MIT */
/*
 * AHCI with a disk in memory and a CD-ROM: commands of each kind as a driver lays them out, queueing,
 * errors and what a driver does after them, resets in the midst of work, and layouts that are wrong.
 */
#include "tests/unit/disk_fake.h"

#include "dev/ahci.h"
#include "dev/ata.h"
#include "dev/pci/host.h"
#include "vm/dma.h"

#define RAM MIB(1)
#define LIST 0x1000
#define RECEIVED 0x2000
#define TABLES 0x4000 /* one page for each slot */
#define DATA 0x40000

enum {
	CAP = 0,
	GHC = 4,
	IS = 8,
	P_IS = 0x10,
	P_IE = 0x14,
	P_CMD = 0x18,
	P_TFD = 0x20,
	P_SIG = 0x24,
	P_SSTS = 0x28,
	P_SCTL = 0x2c,
	P_SERR = 0x30,
	P_SACT = 0x34,
	P_CI = 0x38,
	START = 1,
	FIS_ENABLE = 16,
	RUNNING = 1 << 15,
	FIS_RUNNING = 1 << 14,
	OVERRIDE = 8,
	DHRS = 1,
	PSS = 2,
	SDBS = 8,
	TFES = 1 << 30,
	HBFS = 1 << 29,
};

static struct vm vm;
static struct pci_host *host;
static struct ahci *ahci;
static struct fake_disk disk, disc;
static u8 ram[RAM];
static struct region ram_region;
static struct fake_wire wire[PCI_INTX_LINES];
static unsigned msis;
static bool written[RAM]; /* what the engine was told of */

static void ram_written(struct vm *of, const void *start, size_t len)
{
	(void)of;
	if ((const u8 *)start >= ram && (const u8 *)start < ram + RAM)
		memset(written + ((const u8 *)start - ram), true, len);
}

static const struct engine_ops engine = {.name = "fake", .ram_written = ram_written};

static void receive(void *ctx, struct msi msi)
{
	(void)ctx;
	(void)msi;
	msis++;
}

static u64 bar(void)
{
	return ahci_function(ahci)->bar[5].region->base;
}

static u32 rd(unsigned offset)
{
	return (u32)space_read(&vm.mem, bar() + offset, 4);
}

static void wr(unsigned offset, u32 value)
{
	space_write(&vm.mem, bar() + offset, 4, value);
}

static unsigned at(unsigned port, unsigned offset)
{
	return 0x100 + 0x80 * port + offset;
}

static u32 prd(unsigned offset)
{
	return rd(at(0, offset));
}

static void pwr(unsigned offset, u32 value)
{
	wr(at(0, offset), value);
}

static void start(unsigned port)
{
	wr(at(port, 0), LIST);
	wr(at(port, 8), RECEIVED);
	wr(at(port, P_SERR), ~0u);
	wr(at(port, P_IS), ~0u);
	wr(at(port, P_IE), 0x7dc0007f);
	wr(at(port, P_CMD), START | FIS_ENABLE);
	wr(IS, ~0u);
	wr(GHC, 2);
}

static int setup(void **state)
{
	struct pci_wiring wiring = {
		.msi = {.send = receive}, .io = {0xc000, 0x10000}, .mem32 = {0xc0000000, 0xd0000000}, .mem64 = {GIB(256), GIB(257)}};

	(void)state;
	fake_vm_init(&vm);
	vm.engine = &engine;
	memset(ram, 0, sizeof(ram));
	memset(wire, 0, sizeof(wire));
	msis = 0;
	ram_region = (struct region){.name = "ram", .size = RAM, .host = ram, .direct = DIRECT_READ | DIRECT_WRITE};
	assert_int_equal(space_add(&vm.mem, &ram_region), 0);
	for (unsigned i = 0; i < PCI_INTX_LINES; i++)
		wiring.intx[i] = fake_line(&wire[i]);
	assert_int_equal(pci_host_create(&vm, &wiring, &host), 0);
	fake_disk_init(&disk);
	fake_disk_init(&disc);
	disc.disk.readonly = true;
	assert_int_equal(ahci_create(&vm, &ahci), 0);
	assert_int_equal(ahci_attach(ahci, &disk.disk, false, "SERIAL"), 0);
	assert_int_equal(ahci_attach(ahci, &disc.disk, true, "DISC"), 0);
	assert_int_equal(pci_plug(host, ahci_function(ahci), PCI_ANY), 0);
	pci_assign(host);
	pci_function_write(ahci_function(ahci), 4, 2, 7);
	start(0);
	start(1);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fake_vm_fini(&vm);
	assert_null(disk.queued);
	assert_null(disk.disk.settled);
	return 0;
}

/* ---- a driver ---- */

static bool level(void)
{
	return wire[0].level || wire[1].level || wire[2].level || wire[3].level;
}

static u8 *table(unsigned slot)
{
	return ram + TABLES + slot * PAGE_SIZE;
}

static void header(unsigned slot, u32 flags, unsigned entries)
{
	u32 words[8] = {flags | 5 | entries << 16, 0, TABLES + slot * (u32)PAGE_SIZE};

	memcpy(ram + LIST + slot * 32, words, sizeof(words));
}

static void entry(unsigned slot, unsigned i, u64 gpa, u32 len)
{
	u32 words[4] = {(u32)gpa, (u32)(gpa >> 32), 0, len - 1};

	memcpy(table(slot) + 0x80 + i * 16, words, sizeof(words));
}

/* Its data at DATA, in two pieces, the first of an odd length. */
static void lay(unsigned slot, u8 command, u64 lba, u16 count, u16 feature, u32 len, bool write)
{
	u8 fis[20] = {0x27, 0x80, command, (u8)feature, (u8)lba, (u8)(lba >> 8), (u8)(lba >> 16), 0x40, (u8)(lba >> 24),
		(u8)(lba >> 32), (u8)(lba >> 40), (u8)(feature >> 8), (u8)count, (u8)(count >> 8)};

	memcpy(table(slot), fis, sizeof(fis));
	entry(slot, 0, DATA, len > 6 ? 6 : len);
	if (len > 6)
		entry(slot, 1, DATA + 0x20000, len - 6);
	header(slot, write ? 1 << 6 : 0, !len ? 0 : len > 6 ? 2 : 1);
}

static void fetch(void *to, u32 len)
{
	memcpy(to, ram + DATA, MIN(len, 6u));
	if (len > 6)
		memcpy((u8 *)to + 6, ram + DATA + 0x20000, len - 6);
}

static void store(const void *from, u32 len)
{
	memcpy(ram + DATA, from, MIN(len, 6u));
	if (len > 6)
		memcpy(ram + DATA + 0x20000, (const u8 *)from + 6, len - 6);
}

static u32 moved(unsigned slot)
{
	u32 count;

	memcpy(&count, ram + LIST + slot * 32 + 4, 4);
	return count;
}

/* Issues slot 0 on port 0; the task file afterwards. */
static u32 go(void)
{
	pwr(P_CI, 1);
	return prd(P_TFD);
}

static u32 simple(u8 command, u64 lba, u16 count, u16 feature, u32 len, bool write)
{
	lay(0, command, lba, count, feature, len, write);
	return go();
}

static u32 go_on(unsigned port)
{
	wr(at(port, P_CI), 1);
	return rd(at(port, P_TFD));
}

/* What a driver does after an error. A command that ends well leaves nothing of the error in the task file. */
static void recover(unsigned port)
{
	wr(at(port, P_CMD), FIS_ENABLE);
	assert_int_equal(rd(at(port, P_CMD)) & RUNNING, 0);
	assert_int_equal(rd(at(port, P_CI)) | rd(at(port, P_SACT)), 0);
	wr(at(port, P_SERR), ~0u);
	wr(at(port, P_CMD), FIS_ENABLE | START);
	lay(31, 0xe5, 0, 0, 0, 0, false);
	wr(at(port, P_CI), BIT(31));
	assert_int_equal(rd(at(port, P_TFD)), 0x50);
	wr(at(port, P_IS), ~0u);
	wr(IS, ~0u);
}

/* ---- tests ---- */

static void registers(void **state)
{
	(void)state;
	assert_int_equal(rd(CAP) & 0x1f, 1);
	assert_int_equal(rd(CAP) >> 8 & 0x1f, 31);
	assert_true(rd(CAP) & BIT(30) && rd(CAP) & BIT(31));
	assert_int_equal(rd(0xc), 3);
	assert_int_equal(rd(0x10), 0x10300);
	assert_int_equal(prd(P_SSTS), 0x133);
	assert_int_equal(prd(P_SIG), 0x101);
	assert_int_equal(rd(at(1, P_SIG)), 0xeb140101);
	assert_int_equal(prd(P_TFD) & 0xff, 0x50);
	assert_int_equal(rd(at(2, P_SSTS)), 0); /* no such port */
	wr(at(2, P_CI), ~0u);
	assert_int_equal(rd(at(7, 0)), 0);
	pwr(0, 0xffffffff);
	assert_int_equal(prd(0), 0xfffffc00);
	pwr(8, 0xffffffff);
	assert_int_equal(prd(8), 0xffffff00);
}

static void identify(void **state)
{
	u16 w[256];
	u8 sum = 0;

	(void)state;
	assert_int_equal(simple(0xec, 0, 0, 0, 512, false), 0x50);
	assert_int_equal(prd(P_IS), PSS);
	assert_int_equal(moved(0), 512);
	assert_int_equal(prd(P_CI), 0);
	assert_memory_equal(ram + RECEIVED + 0x20, "\x5f\x60\x50\0", 4);
	assert_memory_equal(ram + RECEIVED + 0x20 + 15, "\x50\0\2", 3);
	fetch(w, 512);
	for (unsigned i = 0; i < 512; i++)
		sum += ((u8 *)w)[i];
	assert_int_equal(sum, 0);
	assert_int_equal(w[60] | w[61] << 16, FAKE_DISK_SIZE / 512);
	assert_int_equal(w[100], FAKE_DISK_SIZE / 512);
	assert_memory_equal(w + 10, "ESIRLA", 6);
	assert_int_equal(w[75], 31);
	assert_int_equal(w[169], 1);
	assert_int_equal(w[106], 0x6003);
	assert_int_equal(w[84] & w[87] & BIT(6), BIT(6)); /* FUA */
	assert_int_equal(w[85] & 0x20, 0x20);
	/* Short buffers get what fits. */
	assert_int_equal(simple(0xec, 0, 0, 0, 100, false), 0x50);
	assert_int_equal(moved(0), 100);
	/* As the drive is set, and what the disk can. */
	assert_int_equal(simple(0xef, 0, 0, 0x82, 0, false), 0x50);
	disk.disk.can_discard = false;
	assert_int_equal(simple(0xec, 0, 0, 0, 512, false), 0x50);
	fetch(w, 512);
	assert_int_equal(w[85] & 0x20, 0);
	assert_int_equal(w[105] | w[169], 0);
	/* What may only be read is not filled. */
	memset(written, 0, sizeof(written));
	assert_int_equal(simple(0xec, 0, 0, 0, 512, true), 0x441);
	assert_false(written[DATA]);
	recover(0);
	assert_int_equal(simple(0x2f, 0, 1, 0, 100, false), 0x441); /* a log's page is whole */
}

static void sizes(void **state)
{
	static struct fake_disk large;
	const u64 sectors = 0x123456789aull;
	u16 w[256];

	(void)state;
	fake_disk_init(&large);
	large.disk.size = sectors * 512;
	assert_int_equal(ahci_attach(ahci, &large.disk, false, "LARGE"), 0);
	start(2);
	lay(0, 0xec, 0, 0, 0, 512, false);
	assert_int_equal(go_on(2), 0x50);
	fetch(w, 512);
	assert_int_equal(w[60] | w[61] << 16, 0x0fffffff);
	assert_memory_equal(w + 100, &sectors, 8);
	lay(0, 0x27, 0, 0, 0, 0, false);
	assert_int_equal(go_on(2), 0x50);
	assert_memory_equal(ram + RECEIVED + 0x40 + 4, "\x99\x78\x56\x40\x34\x12\0", 7);
	lay(0, 0xf8, 0, 0, 0, 0, false);
	assert_int_equal(go_on(2), 0x50);
	assert_memory_equal(ram + RECEIVED + 0x40 + 4, "\xff\xff\xff\x40\x0f\0\0", 7);
	fake_vm_fini(&vm);
	setup(NULL);
}

static void moves_data(void **state)
{
	static const struct {
		u8 read, write;
		bool fua;
	} commands[] = {{0x25, 0x35, false}, {0xc8, 0xca, false}, {0x24, 0x34, false}, {0x20, 0x30, false}, {0xc4, 0xc5, false},
		{0x29, 0x39, false}, {0x25, 0x3d, true}};
	u8 data[3 * 512], back[3 * 512];

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(commands); i++) {
		unsigned fuas = disk.fuas;

		memset(data, (int)i + 1, sizeof(data));
		store(data, sizeof(data));
		assert_int_equal(simple(commands[i].write, 100 + i, 3, 0, sizeof(data), true), 0x50);
		assert_memory_equal(disk.data + (100 + i) * 512, data, sizeof(data));
		assert_int_equal(disk.fuas - fuas, commands[i].fua);
		memset(back, 0, sizeof(back));
		store(back, sizeof(back));
		assert_int_equal(simple(commands[i].read, 100 + i, 3, 0, sizeof(data), false), 0x50);
		assert_int_equal(moved(0), sizeof(data));
		fetch(back, sizeof(back));
		assert_memory_equal(data, back, sizeof(data));
		assert_int_equal(prd(P_IS) & TFES, 0);
	}
	/* The write cache off: every write is stable. */
	assert_int_equal(simple(0xef, 0, 0, 0x82, 0, false), 0x50);
	assert_int_equal(disk.flushes, 1);
	disk.fuas = 0;
	assert_int_equal(simple(0x35, 0, 1, 0, 512, true), 0x50);
	assert_int_equal(disk.fuas, 1);
	assert_int_equal(simple(0xef, 0, 0, 0x02, 0, false), 0x50);
	assert_int_equal(simple(0xea, 0, 0, 0, 0, false), 0x50);
	assert_int_equal(disk.flushes, 2);
	assert_int_equal(simple(0xe0, 0, 0, 0, 0, false), 0x50); /* standby */
	assert_int_equal(disk.flushes, 3);
	disk.disk.readonly = true;
	assert_int_equal(simple(0xea, 0, 0, 0, 0, false), 0x50);
	assert_int_equal(disk.flushes, 3);
}

/* Counts of more than a byte, a 28-bit count of 0, and the disk's last sector. */
static void many_sectors(void **state)
{
	const u32 len = 256 * 512;
	u8 *back = malloc(len);

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		memset(ram + DATA, 0, len + 0x20000);
		if (i < 2) {
			assert_int_equal(simple(i ? 0xc8 : 0x25, 8, i ? 0 : 256, 0, len, false), 0x50);
		} else {
			lay(0, 0x60, 8, 0, 256, len, false);
			pwr(P_SACT, 1);
			assert_int_equal(go(), 0x50);
			assert_int_equal(prd(P_SACT), 0);
		}
		fetch(back, len);
		assert_memory_equal(back, disk.data + 8 * 512, len);
	}
	free(back);
	assert_int_equal(simple(0x25, FAKE_DISK_SIZE / 512 - 1, 1, 0, 512, false), 0x50);
	/* More room than there is data: the rest stays as it was. */
	memset(ram + DATA + 0x20000, 0x5a, 1024);
	assert_int_equal(simple(0x25, 0, 1, 0, 1024, false), 0x50);
	assert_int_equal(moved(0), 512);
	assert_int_equal(ram[DATA + 0x20000 + 512 - 6], 0x5a);
}

/* The engine hears of memory that a device has written: it may hold translations of it. */
static void tells_the_engine(void **state)
{
	(void)state;
	memset(written, 0, sizeof(written));
	assert_int_equal(simple(0x35, 0, 3, 0, 1536, true), 0x50);
	assert_false(written[DATA] || written[DATA + 0x20000]);
	assert_int_equal(simple(0x25, 0, 3, 0, 1536, false), 0x50);
	assert_true(written[DATA] && written[DATA + 5] && written[DATA + 0x20000] && written[DATA + 0x20000 + 1529]);
	assert_false(written[DATA + 6]);
	assert_true(written[RECEIVED + 0x40] && written[LIST + 4]);
	/* Also of a read that failed: it may have filled a part. */
	memset(written, 0, sizeof(written));
	disk.error = -EIO;
	assert_int_equal(simple(0x25, 0, 3, 0, 1536, false), 0x4041);
	assert_true(written[DATA + 0x20000 + 1529]);
	assert_int_equal(moved(0), 0);
	recover(0);
	disk.error = 0;
	/* RAM that this system cannot reach */
	vm.private_memory = true;
	pwr(P_CI, 1);
	assert_true(prd(P_IS) & HBFS);
	vm.private_memory = false;
}

static void other_commands(void **state)
{
	static const struct {
		u8 command;
		u16 feature, count;
		u64 lba;
		u32 tfd;
	} list[] = {{0xe5, 0, 0, 0, 0x50}, {0xe0, 0, 0, 0, 0x50}, {0x40, 0, 8, 0, 0x50}, {0x42, 0, 1, FAKE_DISK_SIZE / 512, 0x1041},
		{0x90, 0, 0, 0, 0x150}, {0xc6, 0, 16, 0, 0x50}, {0xc6, 0, 3, 0, 0x441}, {0xef, 0x99, 0, 0, 0x441}, {0xf8, 0, 0, 0, 0x50},
		{0x27, 0, 0, 0, 0x50}, {0xb0, 0xda, 0, 0xc24f00, 0x50}, {0xb0, 0xda, 0, 0, 0x441}, {0xb0, 0xd9, 0, 0xc24f00, 0x50},
		{0xb0, 0xda, 0, 0xc24f00, 0x441}, {0xb0, 0xd8, 0, 0xc24f00, 0x50}, {0xa0, 0, 0, 0, 0x441}, {0xa1, 0, 0, 0, 0x441},
		{0x00, 0, 0, 0, 0x441}, {0xff, 0, 0, 0, 0x441}, {0x2f, 0, 1, 0x30, 0x441}};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(list); i++) {
		u32 tfd = simple(list[i].command, list[i].lba, list[i].count, list[i].feature, 0, false);

		if (tfd != list[i].tfd)
			fail_msg("command %x: task file %x", list[i].command, tfd);
		if (tfd & 1) {
			assert_true(prd(P_IS) & TFES && level());
			recover(0);
		}
	}
	assert_int_equal(simple(0xb0, 0xc24f00, 1, 0xd0, 512, false), 0x50);
	assert_int_equal(moved(0), 512);
}

static void refuses(void **state)
{
	(void)state;
	assert_int_equal(simple(0x25, FAKE_DISK_SIZE / 512 - 1, 2, 0, 1024, false), 0x1041);
	recover(0);
	assert_int_equal(simple(0x25, BIT(47), 1, 0, 512, false), 0x1041);
	recover(0);
	assert_int_equal(simple(0x25, 0, 0, 0, 512, false), 0x1041); /* 65536 sectors */
	recover(0);
	assert_int_equal(simple(0x25, 0, 3, 0, 1024, false), 0x441); /* too little room */
	recover(0);
	lay(0, 0xc8, 0, 1, 0, 512, false);
	table(0)[7] = 0; /* cylinders and heads */
	assert_int_equal(go(), 0x441);
	recover(0);
	lay(0, 0x60, 0, 0, 0, 512, false); /* 65536 sectors, queued */
	pwr(P_SACT, 1);
	assert_int_equal(go(), 0x1041);
	recover(0);
	assert_int_equal(simple(0x25, 0, 1, 0, 512, true), 0x441); /* the wrong direction */
	recover(0);
	disk.disk.readonly = true;
	assert_int_equal(simple(0x35, 0, 1, 0, 512, true), 0x441);
	recover(0);
	disk.disk.readonly = false;
	disk.error = -EIO;
	assert_int_equal(simple(0x25, 0, 1, 0, 512, false), 0x4041);
	recover(0);
	assert_int_equal(simple(0xea, 0, 0, 0, 0, false), 0x441);
	recover(0);
	disk.error = 0;
	assert_int_equal(simple(0x25, 0, 1, 0, 512, false), 0x50);
}

static void trims(void **state)
{
	u64 ranges[64] = {8 | 8ull << 48, 0, 64 | 16ull << 48, 5};

	(void)state;
	store(ranges, 512);
	assert_int_equal(simple(0x06, 0, 1, 1, 512, true), 0x50);
	assert_int_equal(disk.discards, 2);
	assert_int_equal(disk.last_offset, 64 * 512);
	assert_int_equal(disk.last_len, 16 * 512);
	ranges[1] = (FAKE_DISK_SIZE / 512) | 1ull << 48;
	store(ranges, 512);
	assert_int_equal(simple(0x06, 0, 1, 1, 512, true), 0x1041);
	recover(0);
	assert_int_equal(simple(0x06, 0, 9, 1, 9 * 512, true), 0x441);
	recover(0);
	assert_int_equal(simple(0x06, 0, 1, 0, 512, true), 0x441);
	recover(0);
	ranges[1] = 0;
	store(ranges, 512);
	assert_int_equal(simple(0x06, 0, 2, 1, 512, true), 0x441); /* fewer ranges than it says */
	recover(0);
	assert_int_equal(simple(0x06, 0, 1, 1, 512, false), 0x441);
	recover(0);
	disk.disk.can_discard = false;
	assert_int_equal(simple(0x06, 0, 1, 1, 512, true), 0x441);
}

static void queues(void **state)
{
	u8 *fis = ram + RECEIVED + 0x58;
	u32 tags;

	(void)state;
	disk.hold = true;
	for (unsigned slot = 0; slot < 32; slot++) {
		lay(slot, slot % 2 ? 0x61 : 0x60, slot * 8, (u16)(slot << 3), 8, 4096, slot % 2);
		pwr(P_SACT, 1u << slot);
		pwr(P_CI, 1u << slot);
	}
	assert_int_equal(disk.submits, 32);
	assert_int_equal(prd(P_CI), 0); /* the drive has them all */
	assert_int_equal(prd(P_SACT), 0xffffffff);
	assert_int_equal(prd(P_IS), 0);
	fake_disk_complete(&disk);
	assert_int_equal(prd(P_SACT), 0);
	assert_int_equal(prd(P_IS), SDBS);
	assert_int_equal(fis[0], 0xa1);
	memcpy(&tags, fis + 4, 4);
	assert_int_equal(tags, 0xffffffff); /* told together */
	assert_true(level());
	pwr(P_IS, SDBS);
	assert_true(level());
	wr(IS, 1);
	assert_false(level());
	/* Stable at once, if it says so. */
	disk.hold = false;
	lay(0, 0x61, 0, 0, 8, 4096, true);
	table(0)[7] |= 0x80;
	pwr(P_SACT, 1);
	pwr(P_CI, 1);
	assert_int_equal(disk.fuas, 1);
}

/* One of the disk's requests, the newest; it does not say yet that it has settled. */
static void complete_newest(void)
{
	struct disk_request *r = disk.queued;

	disk.queued = r->next;
	fake_disk_do(&disk, r);
}

/* Queued commands and others do not mix. */
static void does_not_mix(void **state)
{
	(void)state;
	disk.hold = true;
	lay(0, 0x25, 0, 1, 0, 512, false);
	lay(1, 0x60, 0, 1 << 3, 1, 512, false);
	pwr(P_CI, 1);
	pwr(P_SACT, 2);
	pwr(P_CI, 2);
	assert_int_equal(disk.submits, 1);
	fake_disk_complete(&disk);
	assert_int_equal(disk.submits, 2);
	assert_int_equal(prd(P_SACT), 2);
	lay(2, 0x25, 0, 1, 0, 512, false);
	pwr(P_CI, 4);
	assert_int_equal(disk.submits, 2);
	fake_disk_complete(&disk);
	assert_int_equal(prd(P_SACT), 0);
	assert_int_equal(disk.submits, 3);
	fake_disk_complete(&disk);
	assert_int_equal(prd(P_CI), 0);
}

/* What was done before the port was stopped is not told afterwards: the tag is another command's. */
static void forgets_the_done(void **state)
{
	(void)state;
	disk.hold = true;
	lay(0, 0x60, 0, 0, 1, 512, false);
	pwr(P_SACT, 1);
	pwr(P_CI, 1);
	complete_newest();
	recover(0);
	for (unsigned slot = 0; slot < 2; slot++) {
		lay(slot, 0x60, 0, (u16)(slot << 3), 1, 512, false);
		pwr(P_SACT, 1u << slot);
		pwr(P_CI, 1u << slot);
	}
	complete_newest();
	disk_settled(&disk.disk);
	assert_int_equal(prd(P_SACT), 1);
	fake_disk_complete(&disk);
	assert_int_equal(prd(P_SACT), 0);
}

static void a_queued_command_fails(void **state)
{
	u8 page[512], sum = 0;

	(void)state;
	disk.hold = true;
	for (unsigned slot = 3; slot < 6; slot++) {
		lay(slot, 0x60, slot == 4 ? 0x060504030201 : slot, (u16)(slot << 3), 1, 512, false);
		pwr(P_SACT, 1u << slot);
		pwr(P_CI, 1u << slot);
	}
	assert_true(prd(P_IS) & TFES);
	assert_int_equal(prd(P_TFD), 0x1041);
	assert_memory_equal(ram + RECEIVED + 0x58, "\xa1\x40\x41\x10\0\0\0\0", 8);
	/* The port stands still: nothing begins, and what ends is not told, not even another error. */
	assert_int_equal(prd(P_SACT), 0x38);
	assert_int_equal(disk.submits, 1);
	disk.error = -EIO;
	fake_disk_complete(&disk);
	assert_int_equal(prd(P_SACT), 0x38);
	assert_int_equal(prd(P_TFD), 0x1041);
	recover(0);
	disk.error = 0;
	disk.hold = false;
	assert_int_equal(simple(0x2f, 0x10, 1, 0, 512, false), 0x50);
	fetch(page, 512);
	assert_int_equal(page[0], 4);
	assert_int_equal(page[2], 0x41);
	assert_int_equal(page[3], 0x10);
	assert_memory_equal(page + 4, "\1\2\3\x40\4\5\6", 7);
	for (unsigned i = 0; i < 512; i++)
		sum += page[i];
	assert_int_equal(sum, 0);
	/* The rules of queueing: the tag is the slot, and is announced. */
	lay(2, 0x60, 0, 3 << 3, 1, 512, false);
	pwr(P_SACT, 4);
	pwr(P_CI, 4);
	assert_int_equal(prd(P_TFD), 0x441);
	recover(0);
	lay(2, 0x60, 0, 2 << 3, 1, 512, false);
	pwr(P_CI, 4);
	assert_int_equal(prd(P_TFD), 0x441);
	recover(0);
}

static void one_at_a_time(void **state)
{
	(void)state;
	disk.hold = true;
	for (unsigned slot = 0; slot < 4; slot++)
		lay(slot, 0x25, slot, 1, 0, 512, false);
	pwr(P_CI, 0xf);
	assert_int_equal(disk.submits, 1);
	for (unsigned left = 4; left; left--) {
		assert_int_equal(__builtin_popcount(prd(P_CI)), left);
		fake_disk_complete(&disk);
	}
	assert_int_equal(disk.submits, 4);
	assert_int_equal(prd(P_IS), DHRS);
	assert_int_equal(prd(P_CMD) >> 8 & 31, 3); /* the last one */
}

static void resets(void **state)
{
	(void)state;
	for (unsigned kind = 0; kind < 4; kind++) {
		disk.hold = true;
		lay(0, 0x25, 0, 1, 0, 512, false);
		pwr(P_CI, 1);
		lay(1, 0x60, 0, 1 << 3, 1, 512, false);
		assert_int_equal(prd(P_CI), 1);
		pwr(P_IS, ~0u);
		switch (kind) {
		case 0:
			pwr(P_CMD, FIS_ENABLE);
			break;
		case 1:
			pwr(P_SCTL, 0x301);
			assert_int_equal(prd(P_SSTS), 0);
			assert_int_equal(prd(P_TFD), 0x7f);
			pwr(P_CMD, START | FIS_ENABLE | OVERRIDE);
			assert_int_equal(prd(P_TFD), 0x77);
			pwr(P_SCTL, 0x300);
			assert_int_equal(prd(P_SSTS), 0x133);
			assert_true(prd(P_SERR) & BIT(26));
			assert_true(prd(P_IS) & 0x40);
			break;
		case 2:
			wr(GHC, 1);
			assert_int_equal(rd(GHC), 0x80000000);
			assert_int_equal(prd(0), LIST); /* stays (10.4.3) */
			assert_int_equal(prd(8), RECEIVED);
			assert_int_equal(rd(IS), 0);
			break;
		default:
			pci_function_reset(ahci_function(ahci));
			pci_assign(host);
			pci_function_write(ahci_function(ahci), 4, 2, 7);
			assert_int_equal(prd(0), 0);
			break;
		}
		assert_null(disk.queued);
		assert_int_equal(prd(P_CI), 0);
		assert_int_equal(prd(P_IS) & DHRS, 0); /* of what is dropped nobody hears */
		assert_int_equal(prd(P_SIG), 0x101);
		disk.hold = false;
		start(0);
		assert_int_equal(simple(0x25, 0, 1, 0, 512, false), 0x50);
	}
	/* A soft reset, in its two halves. */
	lay(0, 0, 0, 0, 0, 0, false);
	table(0)[1] = 0;
	table(0)[15] = 4;
	pwr(P_IS, ~0u);
	ram[RECEIVED + 0x40] = 0;
	pwr(P_CI, 1);
	assert_int_equal(prd(P_IS) | ram[RECEIVED + 0x40], 0);
	table(0)[15] = 0;
	pwr(P_CI, 1);
	assert_int_equal(prd(P_CI), 0);
	assert_int_equal(prd(P_IS), 0); /* no interrupt */
	assert_int_equal(prd(P_SIG), 0x101);
	assert_memory_equal(ram + RECEIVED + 0x40, "\x34\0\x50\1\1\0\0\0", 8);
	ram[RECEIVED + 0x40] = 0;
	pwr(P_CI, 1); /* the second half alone is none */
	assert_int_equal(ram[RECEIVED + 0x40], 0);
}

/* While the port is stopped it takes nothing; received FISes go where they are allowed to. */
static void stopped(void **state)
{
	(void)state;
	pwr(P_CMD, 0);
	assert_int_equal(prd(P_CMD) & (RUNNING | FIS_RUNNING), 0);
	pwr(P_SACT, 1);
	pwr(P_CI, 1);
	assert_int_equal(prd(P_CI) | prd(P_SACT), 0);
	pwr(P_CMD, START);
	memset(ram + RECEIVED, 0, 256);
	assert_int_equal(simple(0xe5, 0, 0, 0, 0, false), 0x50);
	assert_int_equal(ram[RECEIVED + 0x40], 0);
	pwr(P_CMD, START | FIS_ENABLE);
	assert_int_equal(prd(P_CMD) & (RUNNING | FIS_RUNNING), RUNNING | FIS_RUNNING);
	assert_int_equal(simple(0x25, 0x060504030201, 0x302, 0, 512, false), 0x1041);
	assert_memory_equal(ram + RECEIVED + 0x40, "\x34\x40\x41\x10\1\2\3\x40\4\5\6\0\2\3", 14);
	assert_int_equal(prd(P_CI), 1); /* the one that failed */
	recover(0);
	/* Not without leave to master the bus, whatever ends then. */
	disk.hold = true;
	simple(0x25, 0, 1, 0, 512, false);
	memset(ram + RECEIVED, 0, 256);
	pci_function_write(ahci_function(ahci), 4, 2, 3);
	fake_disk_complete(&disk);
	assert_int_equal(ram[RECEIVED + 0x40], 0);
	assert_int_equal(moved(0), 0);
}

static void wrong_layouts(void **state)
{
	(void)state;
	lay(0, 0x25, 0, 1, 0, 512, false);
	entry(0, 0, GIB(8), 512); /* no RAM there */
	pwr(P_CI, 1);
	assert_int_equal(prd(P_IS), HBFS); /* the drive has not seen it: no error in the task file */
	recover(0);
	lay(0, 0x25, 0, 1, 0, 512, false);
	entry(0, 0, ~0ull - 100, 512); /* around the end of the address space */
	pwr(P_CI, 1);
	assert_true(prd(P_IS) & HBFS);
	recover(0);
	lay(0, 0x25, 0, 4, 0, 2048, false);
	for (unsigned i = 0; i < 1025; i++)
		entry(0, i, DATA + 2 * i, 2);
	header(0, 0, 1025);
	pwr(P_CI, 1);
	assert_true(prd(P_IS) & HBFS);
	recover(0);
	lay(0, 0x25, 0, 1, 0, 512, false);
	ram[LIST] = 1; /* a FIS of one word */
	pwr(P_CI, 1);
	assert_true(prd(P_IS) & HBFS);
	recover(0);
	lay(0, 0x25, 0, 1, 0, 512, false);
	memset(ram + LIST + 8, 0xff, 8); /* the table is nowhere */
	pwr(P_CI, 1);
	assert_true(prd(P_IS) & HBFS);
	recover(0);
	table(0)[0] = 0x34; /* not a FIS of the host's */
	header(0, 0, 0);
	pwr(P_CI, 1);
	assert_true(prd(P_IS) & HBFS);
	recover(0);
	pwr(0, 0xfffffc00); /* the list itself */
	pwr(P_CI, 1);
	assert_true(prd(P_IS) & HBFS);
	pwr(0, LIST);
	recover(0);
	pwr(8, 0xffffff00); /* received FISes go nowhere */
	assert_int_equal(simple(0x25, 0, 1, 0, 512, false), 0x50);
	/* Without leave to master the bus, nothing moves. */
	pci_function_write(ahci_function(ahci), 4, 2, 3);
	disk.submits = 0;
	pwr(P_CI, 1);
	assert_int_equal(disk.submits, 0);
	pci_function_write(ahci_function(ahci), 4, 2, 7);
	assert_int_equal(disk.submits, 1);
	/* Nor does what ends meanwhile. */
	disk.hold = true;
	lay(0, 0x25, 0, 1, 0, 512, false);
	pwr(P_CI, 1);
	pci_function_write(ahci_function(ahci), 4, 2, 3);
	fake_disk_complete(&disk);
	assert_int_equal(moved(0), 0);
}

/* PxCMD.CCS (3.3.7): the slot of the latest command, and 0 from a stop on; the next one comes behind it. */
static void current_slot(void **state)
{
	enum { CCS = 0x1f00 };

	(void)state;
	assert_int_equal(prd(P_CMD) & CCS, 0);
	for (unsigned slot = 0; slot < 32; slot += 5) {
		lay(slot, 0x25, 0, 1, 0, 512, false);
		pwr(P_CI, 1u << slot);
		assert_int_equal(prd(P_CMD) & CCS, slot << 8);
	}
	lay(7, 0x25, FAKE_DISK_SIZE / 512, 1, 0, 512, false);
	pwr(P_CI, 1 << 7);
	assert_true(prd(P_IS) & TFES);
	assert_int_equal(prd(P_CI), 1 << 7); /* the one that failed, as CCS says, too */
	assert_int_equal(prd(P_CMD) & CCS, 7 << 8);
	pwr(P_CMD, FIS_ENABLE);
	assert_int_equal(prd(P_CMD) & (CCS | RUNNING), 0);
	assert_int_equal(prd(P_CI), 0);
	pwr(P_CMD, START | FIS_ENABLE);
	assert_int_equal(prd(P_CMD) & (CCS | RUNNING), RUNNING);
	disk.hold = true;
	for (unsigned slot = 0; slot < 2; slot++)
		lay(slot, 0x25, 0, 1, 0, 512, false);
	pwr(P_CI, 3);
	assert_int_equal(prd(P_CMD) & CCS, 0);
	fake_disk_complete(&disk);
	assert_int_equal(prd(P_CMD) & CCS, 1 << 8);
	fake_disk_complete(&disk);
}

/* Ends before another's error are told before it. */
static void done_before_an_error(void **state)
{
	struct disk_request *first;

	(void)state;
	disk.hold = true;
	for (unsigned slot = 1; slot < 3; slot++) {
		lay(slot, 0x60, slot, (u16)(slot << 3), 1, 512, false);
		pwr(P_SACT, 1u << slot);
		pwr(P_CI, 1u << slot);
	}
	first = disk.queued; /* slot 2; the disk goes on with slot 1 */
	disk.queued = first->next;
	first->done(first, 0);
	disk.error = -EIO;
	fake_disk_complete(&disk);
	disk.error = 0;
	assert_true(prd(P_IS) & TFES);
	assert_int_equal(prd(P_SACT), 2);
	recover(0);
}

static void without_a_link(void **state)
{
	(void)state;
	pwr(P_SCTL, 0x301);
	disk.submits = 0;
	lay(0, 0x25, 0, 1, 0, 512, false);
	pwr(P_CI, 1);
	assert_int_equal(disk.submits, 0);
	pwr(P_SCTL, 0x300);
	assert_int_equal(disk.submits, 1);
	assert_int_equal(prd(P_CI), 0);
}

/* Scatter lists as they may be. */
static void right_layouts(void **state)
{
	u8 *late = ram + RAM - 0x100;
	u64 place = RAM - 0x100 + 7; /* its low bits do not count */

	(void)state;
	lay(0, 0x25, 8, 128, 0, 512, false);
	for (unsigned i = 0; i < 128; i++)
		entry(0, i, DATA + i * 1024, 512 | BIT(31)); /* an interrupt that nobody needs */
	header(0, 0, 128);
	assert_int_equal(go(), 0x50);
	for (unsigned i = 0; i < 128; i++)
		assert_memory_equal(ram + DATA + i * 1024, disk.data + (8 + i) * 512, 512);
	/* A table at memory's end. */
	lay(0, 0x25, 3, 1, 0, 512, false);
	memcpy(late, table(0), 0x100);
	memcpy(ram + LIST + 8, &place, 8);
	assert_int_equal(go(), 0x50);
	assert_int_equal(ram[DATA], disk.data[3 * 512]);
}

/* Memory beside the RAM that may only be read: a ROM. */
static void read_only_memory(void **state)
{
	static u8 rom[PAGE_SIZE];
	struct region region = {.name = "rom", .base = RAM, .size = sizeof(rom), .host = rom, .direct = DIRECT_READ};

	(void)state;
	memset(rom, 0x77, sizeof(rom));
	assert_int_equal(space_add(&vm.mem, &region), 0);
	lay(0, 0x35, 1, 1, 0, 512, true);
	entry(0, 0, RAM, 512);
	header(0, 1 << 6, 1);
	assert_int_equal(go(), 0x50);
	assert_memory_equal(disk.data + 512, rom, 512);
	lay(0, 0x25, 2, 1, 0, 512, false);
	entry(0, 0, RAM, 512);
	header(0, 0, 1);
	pwr(P_CI, 1);
	assert_true(prd(P_IS) & HBFS);
	assert_int_equal(rom[0], 0x77);
	recover(0);
	/* Pieces that each lie in both memories are more than a command has room for. */
	lay(0, 0x35, 0, 1, 0, 512, true);
	for (unsigned i = 0; i < 1024; i++)
		entry(0, i, RAM - 2, 4);
	header(0, 1 << 6, 1024);
	pwr(P_CI, 1);
	assert_true(prd(P_IS) & HBFS);
	space_remove(&vm.mem, &region);
}

static void masks(void **state)
{
	(void)state;
	pwr(P_IE, 0);
	simple(0x25, 0, 1, 0, 512, false);
	assert_int_equal(prd(P_IS), DHRS);
	assert_int_equal(rd(IS), 0);
	assert_false(level());
	wr(GHC, 0);
	pwr(P_IE, DHRS);
	assert_int_equal(rd(IS), 1);
	assert_false(level());
	wr(GHC, 2);
	assert_true(level());
}

static void messages(void **state)
{
	struct pci_function *fn = ahci_function(ahci);

	(void)state;
	assert_true(fn->msi);
	pci_function_write(fn, fn->msi + 4, 4, 0xfee00000);
	pci_function_write(fn, fn->msi + 2, 2, 1);
	simple(0x25, 0, 1, 0, 512, false);
	assert_int_equal(msis, 1);
	assert_false(level());
	simple(0x25, 0, 1, 0, 512, false);
	assert_int_equal(msis, 1); /* the first is not acknowledged */
	wr(IS, 1);
	assert_int_equal(msis, 2); /* the port still has something */
	pwr(P_IS, ~0u);
	wr(IS, 1);
	assert_int_equal(msis, 2);
	simple(0x25, 0, 1, 0, 512, false);
	assert_int_equal(msis, 3);
	/* Another port has something, too: once one is acknowledged, the other is told again. */
	lay(0, 0xa1, 0, 0, 0, 512, false);
	go_on(1);
	assert_int_equal(rd(IS), 3);
	assert_int_equal(msis, 4);
	pwr(P_IS, ~0u);
	wr(IS, 1);
	assert_int_equal(msis, 5);
	/* Switched off, and on again. */
	wr(GHC, 0);
	wr(IS, 2);
	wr(IS, 1);
	assert_int_equal(msis, 5);
	wr(GHC, 2);
	assert_int_equal(msis, 6);
}

/* ---- the CD-ROM ---- */

static u32 packet(const u8 *bytes, size_t n, u32 len)
{
	lay(0, 0xa0, 0, 0, 1, len, false);
	memset(table(0) + 0x40, 0, 16);
	memcpy(table(0) + 0x40, bytes, n);
	header(0, 1 << 5, !len ? 0 : len > 6 ? 2 : 1);
	wr(at(1, P_CI), 1);
	return rd(at(1, P_TFD));
}

#define PACKET(len, ...) packet((const u8[]){__VA_ARGS__}, sizeof((const u8[]){__VA_ARGS__}), len)

static void assert_sense(u8 key, u8 code)
{
	u8 data[18];

	recover(1);
	assert_int_equal(PACKET(18, 0x03, 0, 0, 0, 18), 0x50);
	fetch(data, 18);
	assert_int_equal(data[2], key);
	assert_int_equal(data[12], code);
}

static void disc_commands(void **state)
{
	u8 data[4096];

	(void)state;
	assert_int_equal(PACKET(0, 0x00), 0x50);
	assert_int_equal(PACKET(36, 0x12, 0, 0, 0, 5), 0x50); /* no more than it asks for */
	assert_int_equal(moved(0), 5);
	assert_int_equal(PACKET(36, 0x12, 0, 0, 0, 36), 0x50);
	header(0, 0, 2);
	assert_int_equal(go_on(1), 0x50); /* without a packet: not the one before */
	assert_int_equal(moved(0), 0);
	fetch(data, 36);
	assert_int_equal(data[0], 5);
	assert_memory_equal(data + 8, "MULLION ", 8);
	assert_int_equal(PACKET(8, 0x25), 0x50);
	fetch(data, 8);
	assert_memory_equal(data, "\0\0\1\xff\0\0\x08\0", 8);
	assert_int_equal(PACKET(4096, 0x28, 0, 0, 0, 0, 3, 0, 0, 2), 0x50);
	fetch(data, 4096);
	assert_memory_equal(data, disc.data + 3 * 2048, 4096);
	assert_int_equal(moved(0), 4096);
	assert_int_equal(PACKET(2048, 0xa8, 0, 0, 0, 0, 4, 0, 0, 0, 1), 0x50);
	assert_int_equal(PACKET(20, 0x43, 0, 0, 0, 0, 0, 0, 0, 20), 0x50);
	fetch(data, 20);
	assert_memory_equal(data, "\0\x12\1\1\0\x14\1\0\0\0\0\0\0\x14\xaa\0\0\0\2\0", 20);
	assert_int_equal(PACKET(20, 0x43, 2, 0, 0, 0, 0, 0, 0, 20), 0x50);
	fetch(data, 20);
	assert_memory_equal(data + 8, "\0\0\2\0\0\x14\xaa\0\0\0\x08\x3e", 12); /* minutes, seconds, frames */
	assert_int_equal(PACKET(12, 0x43, 2, 1, 0, 0, 0, 0, 0, 12), 0x50);
	assert_int_equal(PACKET(64, 0x5a, 0, 0x3f, 0, 0, 0, 0, 0, 64), 0x50);
	assert_int_equal(moved(0), 8 + 8 + 22);
	assert_int_equal(PACKET(64, 0x1a, 0, 0x2a, 0, 64), 0x50);
	assert_int_equal(PACKET(32, 0x46, 0, 0, 0, 0, 0, 0, 0, 32), 0x50);
	assert_int_equal(PACKET(34, 0x51, 0, 0, 0, 0, 0, 0, 0, 34), 0x50);
	assert_int_equal(PACKET(8, 0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8), 0x50);
	assert_int_equal(PACKET(8, 0xbd, 0, 0, 0, 0, 0, 0, 0, 0, 8), 0x50);
	lay(0, 0xa1, 0, 0, 0, 512, false);
	wr(at(1, P_CI), 1);
	assert_int_equal(rd(at(1, P_TFD)), 0x50);
	fetch(data, 512);
	assert_int_equal(data[0] | data[1] << 8, 0x8580);
}

/* The same, with a buffer that may only be read. */
static u32 packet_from_host(u8 op, u8 n)
{
	lay(0, 0xa0, 0, 0, 1, 2048, true);
	memset(table(0) + 0x40, 0, 16);
	table(0)[0x40] = op;
	table(0)[0x44] = table(0)[0x48] = n;
	header(0, 1 << 5 | 1 << 6, 2);
	return go_on(1);
}

static void disc_errors(void **state)
{
	(void)state;
	assert_int_equal(packet_from_host(0x12, 36), 0x5441);
	assert_sense(5, 0x24);
	assert_int_equal(packet_from_host(0x28, 1), 0x5441);
	assert_sense(5, 0x24);
	assert_int_equal(disc.submits, 0);
	assert_int_equal(PACKET(0, 0x2a), 0x5441);
	recover(1);
	assert_int_equal(PACKET(0, 0x00), 0x50); /* ends well: what was is forgotten */
	assert_sense(0, 0);
	assert_int_equal(PACKET(2048, 0x28, 0, 0, 0, 2, 0, 0, 0, 1), 0x5441);
	assert_sense(5, 0x21);
	assert_int_equal(PACKET(2048, 0x28, 0, 0xff, 0xff, 0xff, 0xff, 0, 0xff, 0xff), 0x5441);
	assert_sense(5, 0x21);
	assert_int_equal(PACKET(2048, 0x28, 0, 0, 0, 0, 0, 0, 0, 2), 0x5441); /* too little room */
	assert_sense(5, 0x24);
	assert_int_equal(PACKET(0, 0x28), 0x50); /* of nothing */
	assert_int_equal(PACKET(0, 0x2a), 0x5441);
	assert_sense(5, 0x20);
	disc.error = -EIO;
	assert_int_equal(PACKET(2048, 0x28, 0, 0, 0, 0, 0, 0, 0, 1), 0x3041);
	disc.error = 0;
	assert_sense(3, 0x11);
	lay(0, 0xec, 0, 0, 0, 512, false);
	wr(at(1, P_CI), 1);
	assert_int_equal(rd(at(1, P_TFD)), 0x441);
	recover(1);
}

static void tray(void **state)
{
	u8 data[8];

	(void)state;
	assert_int_equal(PACKET(0, 0x1e, 0, 0, 0, 1), 0x50);
	assert_int_equal(PACKET(0, 0x1b, 0, 0, 0, 2), 0x5441);
	assert_sense(5, 0x53);
	assert_int_equal(PACKET(0, 0x1e), 0x50);
	assert_int_equal(PACKET(0, 0x1b, 0, 0, 0, 2), 0x50);
	assert_int_equal(PACKET(0, 0x00), 0x2041);
	assert_sense(2, 0x3a);
	assert_int_equal(PACKET(0, 0x1b, 0, 0, 0, 3), 0x50);
	assert_int_equal(PACKET(0, 0x00), 0x6041); /* another disc, perhaps */
	assert_sense(6, 0x28);
	assert_int_equal(PACKET(0, 0x00), 0x50);
	assert_int_equal(PACKET(0, 0x1b, 0, 0, 0, 2), 0x50);
	assert_int_equal(PACKET(0, 0x1b, 0, 0, 0, 3), 0x50);
	assert_int_equal(PACKET(8, 0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8), 0x50);
	fetch(data, 8);
	assert_int_equal(data[4], 2);
	assert_int_equal(data[5], 2);
}

static void six_ports(void **state)
{
	struct fake_disk more[5];

	(void)state;
	for (unsigned i = 0; i < 5; i++)
		fake_disk_init(&more[i]);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(ahci_attach(ahci, &more[i].disk, false, "X"), 0);
	assert_int_equal(ahci_attach(ahci, &more[4].disk, false, "X"), -ENOSPC);
	assert_int_equal(rd(0xc), 0x3f);
	start(5);
	lay(0, 0x25, 5, 1, 0, 512, false);
	wr(at(5, P_CI), 1);
	assert_int_equal(rd(at(5, P_TFD)), 0x50);
	assert_int_equal(more[3].submits, 1);
	fake_vm_fini(&vm);
	setup(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(registers, setup, teardown),
		cmocka_unit_test_setup_teardown(identify, setup, teardown),
		cmocka_unit_test_setup_teardown(sizes, setup, teardown),
		cmocka_unit_test_setup_teardown(moves_data, setup, teardown),
		cmocka_unit_test_setup_teardown(many_sectors, setup, teardown),
		cmocka_unit_test_setup_teardown(tells_the_engine, setup, teardown),
		cmocka_unit_test_setup_teardown(other_commands, setup, teardown),
		cmocka_unit_test_setup_teardown(refuses, setup, teardown),
		cmocka_unit_test_setup_teardown(trims, setup, teardown),
		cmocka_unit_test_setup_teardown(queues, setup, teardown),
		cmocka_unit_test_setup_teardown(does_not_mix, setup, teardown),
		cmocka_unit_test_setup_teardown(forgets_the_done, setup, teardown),
		cmocka_unit_test_setup_teardown(a_queued_command_fails, setup, teardown),
		cmocka_unit_test_setup_teardown(one_at_a_time, setup, teardown),
		cmocka_unit_test_setup_teardown(resets, setup, teardown),
		cmocka_unit_test_setup_teardown(stopped, setup, teardown),
		cmocka_unit_test_setup_teardown(wrong_layouts, setup, teardown),
		cmocka_unit_test_setup_teardown(current_slot, setup, teardown),
		cmocka_unit_test_setup_teardown(done_before_an_error, setup, teardown),
		cmocka_unit_test_setup_teardown(without_a_link, setup, teardown),
		cmocka_unit_test_setup_teardown(right_layouts, setup, teardown),
		cmocka_unit_test_setup_teardown(read_only_memory, setup, teardown),
		cmocka_unit_test_setup_teardown(masks, setup, teardown),
		cmocka_unit_test_setup_teardown(messages, setup, teardown),
		cmocka_unit_test_setup_teardown(disc_commands, setup, teardown),
		cmocka_unit_test_setup_teardown(disc_errors, setup, teardown),
		cmocka_unit_test_setup_teardown(tray, setup, teardown),
		cmocka_unit_test_setup_teardown(six_ports, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
