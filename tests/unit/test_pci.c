/* SPDX-License-Identifier: MIT */
/* PCI: the host bridge, a function's config space, BARs, interrupts, and the places given at boot. */
#include "tests/unit/dev_fake.h"

#include <errno.h>
#include <linux/pci_regs.h>

#include "dev/pci/host.h"

#define IO_BASE 0xc000
#define MEM32_BASE 0xc0000000ull
#define MEM64_BASE GIB(256)
#define RAM_SIZE 0x100000

static struct vm vm;
static struct pci_host *host;
static struct fake_wire wire[PCI_INTX_LINES];
static struct msi seen_msi;
static unsigned msis;
static u8 ram[RAM_SIZE];
static struct region ram_region;

static void receive(void *ctx, struct msi msi)
{
	(void)ctx;
	seen_msi = msi;
	msis++;
}

/* ---- a device: one BAR of each kind, each with registers that tell their place ---- */

struct thing {
	struct pci_function pci;
	struct region io, mem32, mem64;
	unsigned resets, writes, reads;
};

static unsigned freed;

static u64 thing_read(struct device *dev, u64 offset, unsigned size)
{
	(void)dev;
	(void)size;
	return 0x5a00 | offset;
}

static const struct region_ops thing_region = {.read = thing_read};

static struct thing *thing_of(struct pci_function *fn)
{
	return container_of(fn, struct thing, pci);
}

static void thing_config_read(struct pci_function *fn, unsigned offset, unsigned size)
{
	(void)offset;
	(void)size;
	thing_of(fn)->reads++;
}

static void thing_config_written(struct pci_function *fn, unsigned offset, unsigned size)
{
	(void)offset;
	(void)size;
	thing_of(fn)->writes++;
}

static void thing_reset(struct pci_function *fn)
{
	thing_of(fn)->resets++;
}

static void thing_free(struct pci_function *fn)
{
	freed++;
	free(thing_of(fn));
}

static const struct pci_function_ops thing_ops = {thing_config_read, thing_config_written, thing_reset, thing_free};
static const struct pci_ident thing_ident = {
	.vendor = 0x1af4, .device = 0x1234, .subvendor = 0x1af4, .subsystem = 0x1100, .class = 0xff0000, .revision = 1};

static struct region piece(struct thing *t, const char *name)
{
	return (struct region){.name = name, .ops = &thing_region, .dev = &t->pci.dev};
}

/* BAR 0: 64-bit, 64 KiB, prefetchable; 2: ports, 32; 3: 32-bit, 4 KiB; 4: MSI-X. */
static struct thing *make(void)
{
	static const u8 rom[3000] = {0x55, 0xaa};
	struct thing *t = calloc(1, sizeof(*t));

	assert_int_equal(pci_function_init(&t->pci, &vm, "thing", &thing_ident, &thing_ops), 0);
	t->io = piece(t, "ports");
	t->mem32 = piece(t, "mem32");
	t->mem64 = piece(t, "mem64");
	assert_int_equal(pci_add_bar(&t->pci, 0, PCI_BAR_MEM64_PREFETCH, KIB(64), &t->mem64), 0);
	assert_int_equal(pci_add_bar(&t->pci, 2, PCI_BAR_IO, 32, &t->io), 0);
	assert_int_equal(pci_add_bar(&t->pci, 3, PCI_BAR_MEM32, KIB(4), &t->mem32), 0);
	assert_int_equal(pci_add_msix(&t->pci, 3, 4), 0);
	assert_int_equal(pci_add_msi(&t->pci, 4), 0);
	assert_int_equal(pci_add_rom(&t->pci, rom, sizeof(rom)), 0);
	return t;
}

static struct thing *plug(u8 devfn)
{
	struct thing *t = make();

	assert_int_equal(pci_plug(host, &t->pci, devfn), 0);
	return t;
}

static int setup(void **state)
{
	struct pci_wiring wiring = {
		.msi = {.send = receive},
		.isa_irq = {10, 11, 5, 14},
		.io = {IO_BASE, 0x10000},
		.mem32 = {MEM32_BASE, 0xfec00000},
		.mem64 = {MEM64_BASE, MEM64_BASE + GIB(1)},
	};

	(void)state;
	fake_vm_init(&vm);
	memset(wire, 0, sizeof(wire));
	msis = freed = 0;
	memset(ram, 0x77, sizeof(ram));
	ram_region = (struct region){.name = "ram", .size = RAM_SIZE, .host = ram, .direct = DIRECT_READ | DIRECT_WRITE};
	assert_int_equal(space_add(&vm.mem, &ram_region), 0);
	for (unsigned i = 0; i < PCI_INTX_LINES; i++)
		wiring.intx[i] = fake_line(&wire[i]);
	assert_int_equal(pci_host_create(&vm, &wiring, &host), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fake_vm_fini(&vm);
	return 0;
}

/* ---- config space by ports and by ECAM ---- */

static void address(u32 value)
{
	space_write(&vm.io, PCI_CONFIG_PORT, 4, value);
}

static u64 data(unsigned offset, unsigned size)
{
	return space_read(&vm.io, PCI_CONFIG_PORT + 4 + offset, size);
}

static u64 ecam(u8 devfn, unsigned offset)
{
	return PCI_ECAM_BASE + ((u64)devfn << 12) + offset;
}

static u32 get(const struct thing *t, unsigned offset, unsigned size)
{
	return (u32)space_read(&vm.mem, ecam(t->pci.devfn, offset), size);
}

static void set(const struct thing *t, unsigned offset, unsigned size, u32 value)
{
	space_write(&vm.mem, ecam(t->pci.devfn, offset), size, value);
}

static void test_ports(void **state)
{
	(void)state;
	/* Linux's pci_check_type1 */
	fake_out(&vm, 0xcfb, 1);
	address(0x80000000);
	assert_int_equal(space_read(&vm.io, PCI_CONFIG_PORT, 4), 0x80000000);
	assert_int_equal(data(0, 4), 0x29c08086);
	assert_int_equal(data(2, 2), 0x29c0);
	assert_int_equal(data(1, 1), 0x80);
	address(0x80000008);
	assert_int_equal(data(2, 2), 0x0600);
	address(0x80000800); /* device 1 */
	assert_int_equal(data(0, 4), 0xffffffff);
	assert_int_equal(data(0, 2), 0xffff);
	address(0x80010000); /* bus 1 */
	assert_int_equal(data(0, 4), 0xffffffff);
	address(0); /* not enabled */
	assert_int_equal(data(0, 4), 0xffffffff);
	address(0xffffffff);
	assert_int_equal(space_read(&vm.io, PCI_CONFIG_PORT, 4), 0x80fffffc);
}

static void test_ecam(void **state)
{
	(void)state;
	assert_int_equal(space_read(&vm.mem, PCI_ECAM_BASE, 4), 0x29c08086);
	assert_int_equal(space_read(&vm.mem, PCI_ECAM_BASE + 0xb, 1), 0x06);
	assert_int_equal(space_read(&vm.mem, PCI_ECAM_BASE + 0x60, 4), 0xb0000001);
	assert_int_equal(space_read(&vm.mem, PCI_ECAM_BASE + 0x1000, 4), 0xffffffff);
	assert_int_equal(space_read(&vm.mem, PCI_ECAM_BASE + PCI_ECAM_SIZE - 4, 4), 0xffffffff);
	space_write(&vm.mem, PCI_ECAM_BASE, 4, 0);
	assert_int_equal(space_read(&vm.mem, PCI_ECAM_BASE, 4), 0x29c08086);
	assert_int_equal(pci_ecam_read(host, 1, 4), 0xffffffff); /* not aligned */
	/* The bridge is as it is. */
	space_write(&vm.mem, PCI_ECAM_BASE + PCI_COMMAND, 2, 0);
	space_write(&vm.mem, PCI_ECAM_BASE + PCI_INTERRUPT_LINE, 1, 0x55);
	assert_int_equal(space_read(&vm.mem, PCI_ECAM_BASE + PCI_COMMAND, 2), PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	assert_int_equal(space_read(&vm.mem, PCI_ECAM_BASE + PCI_INTERRUPT_LINE, 1), 0);
}

static void test_reset_control(void **state)
{
	(void)state;
	fake_out(&vm, PCI_RESET_PORT, 0x02);
	assert_int_equal(fake_seen.stops, 0);
	fake_out(&vm, PCI_RESET_PORT, PCI_RESET_VALUE);
	assert_int_equal(fake_seen.stops, 1);
	assert_int_equal(fake_seen.reason, VM_RESET);
	assert_int_equal(fake_in(&vm, PCI_RESET_PORT), 0x06);
	fake_out(&vm, PCI_RESET_PORT, 0x0e);
	assert_int_equal(fake_seen.stops, 1);
	host->dev.ops->reset(&host->dev);
	assert_int_equal(fake_in(&vm, PCI_RESET_PORT), 0);
}

/* ---- places on the bus ---- */

static void test_plug(void **state)
{
	struct thing *a = plug(PCI_ANY), *b = plug(PCI_DEVFN(1, 2)), *c = make();

	(void)state;
	assert_int_equal(a->pci.devfn, PCI_DEVFN(1, 0));
	assert_int_equal(get(a, 0, 4), 0x12341af4);
	assert_int_equal(get(a, PCI_HEADER_TYPE, 1), 0x80); /* b is beside it */
	assert_int_equal(get(b, PCI_HEADER_TYPE, 1), 0);
	assert_int_equal(get(b, PCI_INTERRUPT_PIN, 1), 3);
	host->dev.ops->reset(&host->dev);
	assert_int_equal(get(a, PCI_HEADER_TYPE, 1), 0x80);
	assert_int_equal(pci_plug(host, &c->pci, PCI_DEVFN(1, 2)), -EBUSY);
	pci_function_fini(&c->pci);
	free(c);
	for (unsigned i = 2; i < 32; i++)
		plug(PCI_ANY);
	c = make();
	assert_int_equal(pci_plug(host, &c->pci, PCI_ANY), -ENOSPC);
	c->pci.dev.ops->free(&c->pci.dev);
	assert_int_equal(freed, 1);
}

static void test_wrong_bars(void **state)
{
	struct thing *t = calloc(1, sizeof(*t));
	struct pci_function *fn = &t->pci;

	(void)state;
	pci_function_init(fn, &vm, "thing", &thing_ident, &thing_ops);
	assert_int_equal(pci_add_bar(fn, 6, PCI_BAR_MEM32, 4096, &t->mem32), -EINVAL);
	assert_int_equal(pci_add_bar(fn, 0, PCI_BAR_MEM32, 3000, &t->mem32), -EINVAL);
	assert_int_equal(pci_add_bar(fn, 0, PCI_BAR_MEM32, 8, &t->mem32), -EINVAL);
	assert_int_equal(pci_add_bar(fn, 0, PCI_BAR_MEM32, GIB(4), &t->mem32), -EINVAL);
	assert_int_equal(pci_add_bar(fn, 5, PCI_BAR_MEM64, 4096, &t->mem32), -EINVAL);
	assert_int_equal(pci_add_bar(fn, 2, PCI_BAR_MEM64, 4096, &t->mem64), 0);
	assert_int_equal(pci_add_bar(fn, 3, PCI_BAR_MEM32, 4096, &t->mem32), -EINVAL);
	assert_int_equal(pci_add_bar(fn, 1, PCI_BAR_MEM64, 4096, &t->mem32), -EINVAL);
	assert_int_equal(pci_add_msi(fn, 3), -EINVAL);
	assert_int_equal(pci_add_msi(fn, 64), -EINVAL);
	assert_int_equal(pci_add_msix(fn, 2049, 0), -EINVAL);
	assert_int_equal(pci_add_capability(fn, 9, 200), -ENOSPC);
	fn->dev.ops->free(&fn->dev);
}

/* ---- BARs ---- */

static void test_sizing(void **state)
{
	struct thing *t = plug(PCI_ANY);

	(void)state;
	for (unsigned reg = PCI_BASE_ADDRESS_0; reg < PCI_BASE_ADDRESS_0 + 24; reg += 4)
		set(t, reg, 4, 0xffffffff);
	set(t, PCI_ROM_ADDRESS, 4, 0xfffff800);
	assert_int_equal(get(t, PCI_BASE_ADDRESS_0, 4), 0xffff000c);
	assert_int_equal(get(t, PCI_BASE_ADDRESS_1, 4), 0xffffffff);
	assert_int_equal(get(t, PCI_BASE_ADDRESS_2, 4), 0xffffffe1);
	assert_int_equal(get(t, PCI_BASE_ADDRESS_3, 4), 0xfffff000);
	assert_int_equal(get(t, PCI_BASE_ADDRESS_4, 4), 0xfffff000);
	assert_int_equal(get(t, PCI_BASE_ADDRESS_5, 4), 0);
	assert_int_equal(get(t, PCI_ROM_ADDRESS, 4), 0xfffff000);
	assert_int_equal(get(t, PCI_ROM_ADDRESS + 1, 1), 0xf0);
	set(t, PCI_VENDOR_ID, 4, 0);
	assert_int_equal(get(t, PCI_VENDOR_ID, 4), 0x12341af4);
	pci_ecam_write(host, ecam(t->pci.devfn, PCI_BASE_ADDRESS_3 + 2) - PCI_ECAM_BASE, 4, 0); /* not aligned */
	assert_int_equal(get(t, PCI_BASE_ADDRESS_3, 4), 0xfffff000);
}

/* Taken out, it is nowhere. */
static void test_unplug(void **state)
{
	struct thing *t = plug(PCI_ANY);

	(void)state;
	set(t, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	set(t, PCI_BASE_ADDRESS_3, 4, 0xd0000000);
	assert_int_equal(space_read(&vm.mem, 0xd0000010, 2), 0x5a10);
	pci_bus_unplug(&t->pci);
	assert_int_equal(space_read(&vm.mem, 0xd0000010, 2), 0xffff);
	t->pci.dev.ops->free(&t->pci.dev);
}

static void test_moving(void **state)
{
	struct thing *t = plug(PCI_ANY);

	(void)state;
	set(t, PCI_BASE_ADDRESS_3, 4, 0xd0000000);
	assert_int_equal(space_read(&vm.mem, 0xd0000010, 2), 0xffff);
	set(t, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	assert_int_equal(fake_seen.map_changes, 1);
	assert_int_equal(space_read(&vm.mem, 0xd0000010, 2), 0x5a10);
	set(t, PCI_BASE_ADDRESS_3, 4, 0xd0010000);
	assert_int_equal(fake_seen.map_changes, 2);
	assert_int_equal(space_read(&vm.mem, 0xd0000010, 2), 0xffff);
	assert_int_equal(space_read(&vm.mem, 0xd0010010, 2), 0x5a10);
	/* A byte moves it, too; what changes nothing is not told. */
	set(t, PCI_BASE_ADDRESS_3 + 3, 1, 0xd1);
	assert_int_equal(space_read(&vm.mem, 0xd1010010, 2), 0x5a10);
	set(t, PCI_BASE_ADDRESS_3, 4, 0xd1010000);
	assert_int_equal(fake_seen.map_changes, 3);
	/* 64-bit: half by half. */
	set(t, PCI_BASE_ADDRESS_1, 4, 0x12);
	set(t, PCI_BASE_ADDRESS_0, 4, 0x34560000);
	assert_int_equal(space_read(&vm.mem, 0x1234560020, 2), 0x5a20);
	/* Ports */
	set(t, PCI_BASE_ADDRESS_2, 4, 0xd020);
	assert_int_equal(space_read(&vm.io, 0xd030, 2), 0xffff);
	set(t, PCI_COMMAND, 2, PCI_COMMAND_IO);
	assert_int_equal(space_read(&vm.io, 0xd030, 2), 0x5a10);
	assert_int_equal(space_read(&vm.mem, 0x1234560020, 2), 0xffff);
	assert_int_equal(space_read(&vm.mem, 0xd1010010, 2), 0xffff);
}

static void test_hostile_places(void **state)
{
	struct thing *t = plug(PCI_ANY);

	(void)state;
	set(t, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_IO);
	/* RAM and chips hide a BAR over them, and are back unharmed. */
	set(t, PCI_BASE_ADDRESS_3, 4, 0x1000);
	assert_int_equal(space_read(&vm.mem, 0x1000, 2), 0x7777);
	set(t, PCI_BASE_ADDRESS_3, 4, (u32)PCI_ECAM_BASE);
	assert_int_equal(space_read(&vm.mem, PCI_ECAM_BASE, 4), 0x29c08086);
	set(t, PCI_BASE_ADDRESS_2, 4, PCI_CONFIG_PORT & ~31);
	address(0x80000000);
	assert_int_equal(data(0, 4), 0x29c08086);
	/* At 0, or where no address space is, it is nowhere. */
	set(t, PCI_BASE_ADDRESS_3, 4, 0);
	assert_false(t->pci.bar[3].mapped);
	set(t, PCI_BASE_ADDRESS_1, 4, 0xffffffff);
	assert_false(t->pci.bar[0].mapped);
	set(t, PCI_BASE_ADDRESS_2, 4, 0xffffffff);
	assert_false(t->pci.bar[2].mapped);
	set(t, PCI_BASE_ADDRESS_2, 4, 0xd000);
	assert_true(t->pci.bar[2].mapped);
	/* Two at one place: the first stays. */
	set(t, PCI_BASE_ADDRESS_3, 4, 0xd0000000);
	set(t, PCI_BASE_ADDRESS_4, 4, 0xd0000000);
	assert_int_equal(space_read(&vm.mem, 0xd0000010, 2), 0x5a10);
}

static void test_rom(void **state)
{
	struct thing *t = plug(PCI_ANY);

	(void)state;
	set(t, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	set(t, PCI_ROM_ADDRESS, 4, 0xd0000000);
	assert_int_equal(space_read(&vm.mem, 0xd0000000, 2), 0xffff);
	set(t, PCI_ROM_ADDRESS, 4, 0xd0000001);
	assert_int_equal(space_read(&vm.mem, 0xd0000000, 2), 0xaa55);
	space_write(&vm.mem, 0xd0000000, 2, 0);
	assert_int_equal(space_read(&vm.mem, 0xd0000000, 2), 0xaa55);
	assert_int_equal(space_read(&vm.mem, 0xd0000ffe, 2), 0xffff);
}

static void test_power(void **state)
{
	struct thing *t = plug(PCI_ANY);
	unsigned pm = t->pci.power + PCI_PM_CTRL;

	(void)state;
	set(t, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	set(t, PCI_BASE_ADDRESS_3, 4, 0xd0000000);
	set(t, pm, 2, 3);
	assert_int_equal(get(t, pm, 2), 0xb);
	assert_int_equal(space_read(&vm.mem, 0xd0000010, 2), 0xffff);
	set(t, pm, 2, 0);
	assert_int_equal(space_read(&vm.mem, 0xd0000010, 2), 0x5a10);
	/* D1 and D2 are not offered, so they are not entered. */
	set(t, pm, 2, 1);
	assert_int_equal(get(t, pm, 2), 8);
	set(t, pm, 1, 3);
	set(t, pm, 1, 2);
	assert_int_equal(get(t, pm, 2), 0xb);
}

/* In D3hot no DMA and no interrupts; what was to be told is told in D0. */
static void test_sleep(void **state)
{
	struct thing *t = plug(PCI_DEVFN(1, 0));
	unsigned pm = t->pci.power + PCI_PM_CTRL, msi = t->pci.msi, msix = t->pci.msix_cap;

	(void)state;
	set(t, PCI_COMMAND, 2, PCI_COMMAND_MASTER | PCI_COMMAND_MEMORY);
	assert_true(pci_bus_master(&t->pci));
	set(t, pm, 2, 3);
	assert_false(pci_bus_master(&t->pci));
	pci_set_intx(&t->pci, true);
	assert_false(wire[1].level);
	set(t, pm, 2, 0);
	assert_true(wire[1].level);
	set(t, pm, 2, 3);
	assert_false(wire[1].level);
	pci_set_intx(&t->pci, false);
	set(t, msi + PCI_MSI_ADDRESS_LO, 4, 0xfee01000);
	set(t, msi + PCI_MSI_DATA_64, 2, 0x4043);
	set(t, msi + PCI_MSI_FLAGS, 2, PCI_MSI_FLAGS_ENABLE);
	assert_true(pci_send_msi(&t->pci, 0));
	set(t, msi + PCI_MSI_MASK_64, 4, 0);
	assert_int_equal(msis, 0);
	set(t, pm, 2, 0);
	assert_int_equal(msis, 1);
	set(t, PCI_BASE_ADDRESS_4, 4, 0xd0000000);
	space_write(&vm.mem, 0xd0000000, 8, 0xfee00000);
	space_write(&vm.mem, 0xd0000008, 8, 0x4050);
	set(t, msix + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_ENABLE);
	set(t, pm, 2, 3);
	assert_true(pci_send_msi(&t->pci, 0));
	assert_int_equal(msis, 1);
	set(t, pm, 2, 0);
	assert_int_equal(msis, 2);
	assert_int_equal(seen_msi.data, 0x4050);
}

/* ---- capabilities and resets ---- */

static void test_capabilities(void **state)
{
	struct thing *t = make();
	unsigned seen = 0, at;
	int vendor = pci_add_capability(&t->pci, PCI_CAP_ID_VNDR, 19), serial, other;

	(void)state;
	assert_true(vendor > 0);
	serial = pci_add_ext_capability(&t->pci, PCI_EXT_CAP_ID_DSN, 1, 12);
	other = pci_add_ext_capability(&t->pci, PCI_EXT_CAP_ID_VNDR, 1, 16);
	assert_int_equal(serial, 0x100);
	assert_int_equal(other, 0x10c);
	pci_config_writable(&t->pci, (unsigned)vendor + 4, 4, 0x00ffff00);
	assert_int_equal(pci_plug(host, &t->pci, PCI_ANY), 0);
	assert_true(get(t, PCI_STATUS, 2) & PCI_STATUS_CAP_LIST);
	for (at = get(t, PCI_CAPABILITY_LIST, 1); at; at = get(t, at + 1, 1))
		seen |= 1u << get(t, at, 1);
	assert_int_equal(seen, 1u << PCI_CAP_ID_PM | 1u << PCI_CAP_ID_EXP | 1u << PCI_CAP_ID_MSIX |
				       1u << PCI_CAP_ID_MSI | 1u << PCI_CAP_ID_VNDR);
	assert_int_equal(get(t, 0x100, 4), 0x10c10003);
	assert_int_equal(get(t, 0x10c, 4), 0x0001000b);
	assert_int_equal(get(t, t->pci.express + PCI_EXP_FLAGS, 2), 0x92); /* integrated endpoint */
	set(t, (unsigned)vendor + 4, 4, 0x12345678);
	assert_int_equal(get(t, (unsigned)vendor + 4, 4), 0x00345600);
	assert_int_equal(t->writes, 1);
	assert_true(t->reads > 5);
}

static void test_reset(void **state)
{
	struct thing *t = plug(PCI_ANY);
	unsigned control = t->pci.express + PCI_EXP_DEVCTL;

	(void)state;
	set(t, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	set(t, PCI_BASE_ADDRESS_3, 4, 0xd0000000);
	pci_set_intx(&t->pci, true);
	set(t, control, 2, get(t, control, 2) | PCI_EXP_DEVCTL_BCR_FLR);
	assert_int_equal(t->resets, 1);
	assert_int_equal(get(t, PCI_COMMAND, 2), 0);
	assert_int_equal(get(t, PCI_BASE_ADDRESS_3, 4), 0);
	assert_int_equal(get(t, control, 2), 0x2810);
	assert_int_equal(space_read(&vm.mem, 0xd0000010, 2), 0xffff);
	assert_false(wire[1].level);
	host->dev.ops->reset(&host->dev);
	assert_int_equal(t->resets, 2);
}

/* ---- interrupts ---- */

static void test_intx(void **state)
{
	struct thing *a = plug(PCI_DEVFN(1, 0)), *b = plug(PCI_DEVFN(5, 0)), *c = plug(PCI_DEVFN(3, 2));

	(void)state;
	pci_set_intx(&a->pci, true);
	assert_true(wire[1].level);
	assert_true(get(a, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT);
	pci_set_intx(&b->pci, true); /* the same line */
	pci_set_intx(&a->pci, false);
	assert_true(wire[1].level);
	set(b, PCI_COMMAND, 2, PCI_COMMAND_INTX_DISABLE);
	assert_false(wire[1].level);
	assert_true(get(b, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT);
	set(b, PCI_COMMAND, 2, 0);
	assert_true(wire[1].level);
	/* MSI takes over. */
	set(b, b->pci.msi + PCI_MSI_FLAGS, 2, PCI_MSI_FLAGS_ENABLE);
	assert_false(wire[1].level);
	set(b, b->pci.msi + PCI_MSI_FLAGS, 2, 0);
	assert_true(wire[1].level);
	pci_set_intx(&c->pci, true); /* device 3, pin C */
	assert_true(wire[1].level);
	pci_set_intx(&b->pci, false);
	assert_true(wire[1].level);
	pci_bus_unplug(&c->pci);
	assert_false(wire[1].level);
	c->pci.dev.ops->free(&c->pci.dev);
	assert_int_equal(wire[0].rises + wire[2].rises + wire[3].rises, 0);
}

static void test_msi(void **state)
{
	struct thing *t = plug(PCI_ANY);
	unsigned msi = t->pci.msi;

	(void)state;
	assert_false(pci_send_msi(&t->pci, 0));
	set(t, PCI_COMMAND, 2, PCI_COMMAND_MASTER);
	set(t, msi + PCI_MSI_ADDRESS_LO, 4, 0xfee01000);
	set(t, msi + PCI_MSI_DATA_64, 2, 0x4043);
	assert_int_equal(get(t, msi + PCI_MSI_FLAGS, 2), 0x184); /* four vectors, masks, 64-bit */
	set(t, msi + PCI_MSI_FLAGS, 2, PCI_MSI_FLAGS_ENABLE | 7 << 4); /* more than there are */
	assert_true(pci_send_msi(&t->pci, 2));
	assert_int_equal(msis, 1);
	assert_int_equal(seen_msi.addr, 0xfee01000);
	assert_int_equal(seen_msi.data, 0x4042);
	set(t, msi + PCI_MSI_FLAGS, 2, PCI_MSI_FLAGS_ENABLE | 1 << 4);
	assert_true(pci_send_msi(&t->pci, 3)); /* two are enabled: they share */
	assert_int_equal(seen_msi.data, 0x4043);
	set(t, msi + PCI_MSI_DATA_64, 2, 0x4040);
	assert_true(pci_send_msi(&t->pci, 2));
	assert_int_equal(seen_msi.data, 0x4040);
	assert_true(pci_send_msi(&t->pci, 3));
	assert_int_equal(seen_msi.data, 0x4041);
	set(t, msi + PCI_MSI_FLAGS, 2, PCI_MSI_FLAGS_ENABLE | 7 << 4);
	msis = 1;
	set(t, msi + PCI_MSI_MASK_64, 4, 0xf);
	pci_send_msi(&t->pci, 1);
	assert_int_equal(msis, 1);
	assert_int_equal(get(t, msi + PCI_MSI_PENDING_64, 4), 2);
	set(t, msi + PCI_MSI_MASK_64, 1, 0xd);
	assert_int_equal(msis, 2);
	assert_int_equal(seen_msi.data, 0x4041);
	assert_int_equal(get(t, msi + PCI_MSI_PENDING_64, 4), 0);
	/* Without the right to write, or to a place that is no APIC's, nothing goes out. */
	set(t, PCI_COMMAND, 2, 0);
	assert_true(pci_send_msi(&t->pci, 1));
	set(t, PCI_COMMAND, 2, PCI_COMMAND_MASTER);
	/* What is pending waits until it is switched on again. */
	pci_send_msi(&t->pci, 0);
	set(t, msi + PCI_MSI_MASK_64, 4, 0xf);
	msis = 2;
	pci_send_msi(&t->pci, 0);
	set(t, msi + PCI_MSI_FLAGS, 2, 0);
	set(t, msi + PCI_MSI_MASK_64, 4, 0);
	assert_int_equal(msis, 2);
	set(t, msi + PCI_MSI_FLAGS, 2, PCI_MSI_FLAGS_ENABLE);
	assert_int_equal(msis, 3);
	set(t, msi + PCI_MSI_ADDRESS_HI, 4, 1);
	assert_true(pci_send_msi(&t->pci, 0));
	assert_int_equal(msis, 3);
}

static void vector_set(u64 table, unsigned vector, u32 data_word, u32 control)
{
	space_write(&vm.mem, table + vector * 16, 8, 0xfee00000);
	space_write(&vm.mem, table + vector * 16 + 8, 4, data_word);
	space_write(&vm.mem, table + vector * 16 + 12, 4, control);
}

static void test_msix(void **state)
{
	const u64 table = 0xd0000000;
	struct thing *t = plug(PCI_ANY);
	unsigned cap = t->pci.msix_cap;
	u32 pba;

	(void)state;
	assert_int_equal(get(t, cap + PCI_MSIX_TABLE, 4), 4);
	pba = get(t, cap + PCI_MSIX_PBA, 4) & ~7u;
	assert_int_equal(get(t, cap + PCI_MSIX_FLAGS, 2), 2);
	set(t, PCI_BASE_ADDRESS_4, 4, (u32)table);
	set(t, PCI_COMMAND, 2, PCI_COMMAND_MASTER | PCI_COMMAND_MEMORY);
	assert_int_equal(space_read(&vm.mem, table + 12, 4), 1); /* masked at first */
	set(t, cap + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	assert_true(pci_msix_on(&t->pci));
	for (unsigned i = 0; i < 3; i++)
		vector_set(table, i, 0x4050 + i, i == 2);
	pci_send_msi(&t->pci, 1);
	pci_send_msi(&t->pci, 2);
	pci_send_msi(&t->pci, 3); /* not there */
	pci_send_msi(&t->pci, 70000);
	assert_int_equal(msis, 0);
	assert_int_equal(space_read(&vm.mem, table + pba, 8), 6);
	space_write(&vm.mem, table + pba, 8, 0);
	assert_int_equal(space_read(&vm.mem, table + pba, 4), 6);
	set(t, cap + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_ENABLE);
	assert_int_equal(msis, 1);
	assert_int_equal(seen_msi.data, 0x4051);
	space_write(&vm.mem, table + 2 * 16 + 12, 4, 0);
	assert_int_equal(msis, 2);
	assert_int_equal(seen_msi.data, 0x4052);
	assert_int_equal(space_read(&vm.mem, table + pba, 8), 0);
	assert_true(pci_send_msi(&t->pci, 0));
	assert_int_equal(seen_msi.data, 0x4050);
	/* Beyond the table is nothing; MSI-X stands before MSI. */
	assert_int_equal(space_read(&vm.mem, table + 3 * 16, 8), 0);
	space_write(&vm.mem, table + 3 * 16, 8, UINT64_MAX);
	assert_int_equal(space_read(&vm.mem, table + 3 * 16, 8), 0);
	set(t, t->pci.msi + PCI_MSI_FLAGS, 2, PCI_MSI_FLAGS_ENABLE);
	pci_send_msi(&t->pci, 1);
	assert_int_equal(seen_msi.data, 0x4051);
	space_write(&vm.mem, table + 12, 4, 0xffffffff);
	assert_int_equal(space_read(&vm.mem, table + 12, 4), 1); /* one bit of the control word */
	pci_send_msi(&t->pci, 0);
	assert_int_equal(space_read(&vm.mem, table + pba, 8), 1);
	assert_int_equal(space_read(&vm.mem, table + pba + 256, 8), 0); /* 2048 bits, and no more */
	host->dev.ops->reset(&host->dev);
	assert_false(pci_msix_on(&t->pci));
	/* Nothing of the table is left, nor of what was pending. */
	set(t, PCI_BASE_ADDRESS_4, 4, (u32)table);
	set(t, PCI_COMMAND, 2, PCI_COMMAND_MASTER | PCI_COMMAND_MEMORY);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(space_read(&vm.mem, table + 16 * i, 8), 0);
		assert_int_equal(space_read(&vm.mem, table + 16 * i + 8, 8), BIT(32));
	}
	assert_int_equal(space_read(&vm.mem, table + pba, 8), 0);
}

/* ---- what firmware would have done ---- */

static void test_assign(void **state)
{
	struct thing *a = plug(PCI_DEVFN(1, 0)), *b = plug(PCI_DEVFN(2, 0));

	(void)state;
	for (unsigned round = 0; round < 2; round++) {
		pci_assign(host);
		/* The largest first. */
		assert_int_equal(get(a, PCI_BASE_ADDRESS_0, 4), 0xc000000c);
		assert_int_equal(get(b, PCI_BASE_ADDRESS_0, 4), 0xc001000c);
		assert_int_equal(get(a, PCI_BASE_ADDRESS_3, 4), 0xc0020000);
		assert_int_equal(get(a, PCI_BASE_ADDRESS_4, 4), 0xc0021000);
		assert_int_equal(get(a, PCI_ROM_ADDRESS, 4), 0xc0022000);
		assert_int_equal(get(a, PCI_BASE_ADDRESS_2, 4), IO_BASE | 1);
		assert_int_equal(get(b, PCI_BASE_ADDRESS_2, 4), (IO_BASE + 32) | 1);
		assert_int_equal(get(a, PCI_COMMAND, 2), PCI_COMMAND_IO | PCI_COMMAND_MEMORY);
		assert_int_equal(get(a, PCI_INTERRUPT_LINE, 1), 11);
		assert_int_equal(get(b, PCI_INTERRUPT_LINE, 1), 5);
		assert_int_equal(space_read(&vm.mem, 0xc0010010, 2), 0x5a10);
		host->dev.ops->reset(&host->dev);
		assert_int_equal(get(a, PCI_BASE_ADDRESS_0, 4), 0xc);
	}
}

/* A BAR is aligned to its size, wherever the window begins. */
static void test_assign_aligned(void **state)
{
	struct thing *t = plug(PCI_ANY);

	(void)state;
	host->wiring.mem32.base += 0x1000;
	pci_assign(host);
	assert_int_equal(get(t, PCI_BASE_ADDRESS_0, 4), 0xc001000c);
	assert_int_equal(space_read(&vm.mem, 0xc0010010, 2), 0x5a10);
}

static struct thing *plug_big(enum pci_bar_kind kind, u64 size)
{
	struct thing *t = calloc(1, sizeof(*t));

	pci_function_init(&t->pci, &vm, "big", &thing_ident, &thing_ops);
	t->mem64 = piece(t, "big");
	assert_int_equal(pci_add_bar(&t->pci, 0, kind, size, &t->mem64), 0);
	assert_int_equal(pci_plug(host, &t->pci, PCI_ANY), 0);
	return t;
}

/* What does not fit below 4 GiB goes above; what fits nowhere is nowhere. */
static void test_assign_big(void **state)
{
	struct thing *a = plug_big(PCI_BAR_MEM32, MIB(512)), *b = plug_big(PCI_BAR_MEM64, GIB(1));
	struct thing *c = plug_big(PCI_BAR_MEM64, GIB(4)), *d = plug_big(PCI_BAR_MEM32, GIB(1));

	(void)state;
	pci_assign(host);
	assert_int_equal(get(a, PCI_BASE_ADDRESS_0, 4), 0xc0000000);
	assert_int_equal(get(b, PCI_BASE_ADDRESS_1, 4), MEM64_BASE >> 32);
	assert_int_equal(get(c, PCI_BASE_ADDRESS_1, 4), 0);
	assert_int_equal(get(d, PCI_BASE_ADDRESS_0, 4), 0);
	assert_true(b->pci.bar[0].mapped);
	assert_false(c->pci.bar[0].mapped || d->pci.bar[0].mapped);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_ports), TEST(test_ecam), TEST(test_reset_control), TEST(test_plug),
		TEST(test_wrong_bars), TEST(test_sizing), TEST(test_moving), TEST(test_hostile_places),
		TEST(test_rom), TEST(test_power), TEST(test_sleep), TEST(test_capabilities), TEST(test_reset), TEST(test_intx),
		TEST(test_msi), TEST(test_msix), TEST(test_unplug), TEST(test_assign), TEST(test_assign_aligned), TEST(test_assign_big),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
