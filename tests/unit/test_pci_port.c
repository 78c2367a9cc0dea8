/* SPDX-License-Identifier: MIT */
/* Root ports: buses, windows, and functions that come and go while the guest's driver watches the slot. */
#include "tests/unit/dev_fake.h"

#include <errno.h>
#include <linux/pci_regs.h>

#include "dev/pci/port.h"

#define MEM64_BASE GIB(256)

static struct vm vm;
static struct pci_host *host;
static struct pci_port *port;
static struct fake_wire wire[PCI_INTX_LINES];
static unsigned msis, freed, gone, resets, told;

struct thing {
	struct pci_function pci;
	struct region mem, high;
};

static u64 thing_read(struct device *dev, u64 offset, unsigned size)
{
	(void)dev;
	(void)size;
	return 0x5a00 | offset;
}

static void thing_free(struct pci_function *fn)
{
	freed++;
	free(container_of(fn, struct thing, pci));
}

static void thing_reset(struct pci_function *fn)
{
	(void)fn;
	resets++;
}

static const struct region_ops thing_region = {.read = thing_read};
static void thing_config_written(struct pci_function *fn, unsigned offset, unsigned size)
{
	(void)fn;
	(void)offset;
	told += !size;
}

static const struct pci_function_ops thing_ops = {
	.config_written = thing_config_written, .reset = thing_reset, .free = thing_free};

/* BAR 0: 4 KiB, 32-bit; 2: 64-bit, prefetchable */
static struct thing *make(u64 high_size)
{
	static const struct pci_ident id = {.vendor = 0x1af4, .device = 0x1234, .class = 0xff0000};
	struct thing *t = calloc(1, sizeof(*t));

	assert_int_equal(pci_function_init(&t->pci, &vm, "thing", &id, &thing_ops), 0);
	t->mem = (struct region){.name = "thing", .ops = &thing_region, .dev = &t->pci.dev};
	t->high = t->mem;
	assert_int_equal(pci_add_bar(&t->pci, 0, PCI_BAR_MEM32, KIB(4), &t->mem), 0);
	assert_int_equal(pci_add_bar(&t->pci, 2, PCI_BAR_MEM64_PREFETCH, high_size, &t->high), 0);
	assert_int_equal(pci_add_msi(&t->pci, 1), 0);
	return t;
}

static void receive(void *ctx, struct msi msi)
{
	(void)ctx;
	(void)msi;
	msis++;
}

static void went(void *arg, struct pci_function *fn)
{
	assert_ptr_equal(arg, &gone);
	assert_null(fn->bus);
	assert_false(pci_bus_master(fn));
	pci_function_free(fn);
	gone++;
}

static int setup(void **state)
{
	struct pci_wiring wiring = {
		.msi = {.send = receive},
		.isa_irq = {10, 11, 5, 14},
		.io = {0xc000, 0x10000},
		.mem32 = {0xc0000000, 0xfec00000},
		.mem64 = {MEM64_BASE, MEM64_BASE + GIB(64)},
	};

	(void)state;
	fake_vm_init(&vm);
	memset(wire, 0, sizeof(wire));
	msis = freed = gone = resets = 0;
	for (unsigned i = 0; i < PCI_INTX_LINES; i++)
		wiring.intx[i] = fake_line(&wire[i]);
	assert_int_equal(pci_host_create(&vm, &wiring, &host), 0);
	assert_int_equal(pci_port_create(host, "port", 1, &port), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fake_vm_fini(&vm);
	return 0;
}

static u64 ecam(unsigned bus, unsigned devfn, unsigned offset)
{
	return PCI_ECAM_BASE + ((u64)bus << 20) + ((u64)devfn << 12) + offset;
}

/* The port's registers, and those of what is behind it. */
static u32 port_get(unsigned offset, unsigned size)
{
	return (u32)space_read(&vm.mem, ecam(0, port->pci.devfn, offset), size);
}

static void port_set(unsigned offset, unsigned size, u32 value)
{
	space_write(&vm.mem, ecam(0, port->pci.devfn, offset), size, value);
}

static u32 get(unsigned offset, unsigned size)
{
	return (u32)space_read(&vm.mem, ecam(1, 0, offset), size);
}

static void set(unsigned offset, unsigned size, u32 value)
{
	space_write(&vm.mem, ecam(1, 0, offset), size, value);
}

#define CAP(reg) (port->pci.express + (reg))

/* What the guest's driver does first. */
static void drive(void)
{
	port_set(port->pci.msi + PCI_MSI_ADDRESS_LO, 4, 0xfee00000);
	port_set(port->pci.msi + PCI_MSI_FLAGS, 2, PCI_MSI_FLAGS_ENABLE);
	port_set(CAP(PCI_EXP_SLTSTA), 2, 0x1f);
	port_set(CAP(PCI_EXP_SLTCTL), 2,
		port_get(CAP(PCI_EXP_SLTCTL), 2) | PCI_EXP_SLTCTL_HPIE | PCI_EXP_SLTCTL_ABPE | PCI_EXP_SLTCTL_PDCE |
			PCI_EXP_SLTCTL_DLLSCE);
}

/* What the driver says by the power indicator: the function is in use. */
static void in_use(bool on)
{
	u32 control = port_get(CAP(PCI_EXP_SLTCTL), 2) & ~(u32)PCI_EXP_SLTCTL_PIC;

	port_set(CAP(PCI_EXP_SLTCTL), 2, control | PCI_EXP_SLTCTL_PWR_IND_BLINK);
	port_set(CAP(PCI_EXP_SLTCTL), 2, control | (on ? PCI_EXP_SLTCTL_PWR_IND_ON : PCI_EXP_SLTCTL_PWR_IND_OFF));
}

/* Reads and clears the events. */
static u32 events(void)
{
	u32 seen = port_get(CAP(PCI_EXP_SLTSTA), 2);

	port_set(CAP(PCI_EXP_SLTSTA), 2, seen);
	return seen & (PCI_EXP_SLTSTA_ABP | PCI_EXP_SLTSTA_PDC | PCI_EXP_SLTSTA_DLLSC);
}

static bool present(void)
{
	return port_get(CAP(PCI_EXP_SLTSTA), 2) & PCI_EXP_SLTSTA_PDS;
}

static bool link_up(void)
{
	return port_get(CAP(PCI_EXP_LNKSTA), 2) & PCI_EXP_LNKSTA_DLLLA;
}

static void there_at_boot(void **state)
{
	struct thing *t = make(MIB(1));

	(void)state;
	assert_int_equal(pci_hot_plug(port, &t->pci), 0);
	for (unsigned round = 0; round < 2; round++) {
		assert_int_equal(get(0, 4), 0xffffffff);
		pci_assign(host);
		assert_int_equal(get(0, 4), 0x12341af4);
		assert_true(present() && link_up());
		assert_int_equal(events(), 0);
		assert_int_equal(get(t->pci.express + PCI_EXP_FLAGS, 2), 0x02); /* an endpoint */
		assert_int_equal(port_get(PCI_PRIMARY_BUS, 4), 0x010100);
		assert_int_equal(port_get(PCI_IO_BASE, 2), 0xc0c0);
		assert_int_equal(port_get(PCI_MEMORY_BASE, 4), 0xc0f0c000);
		assert_int_equal(port_get(PCI_PREF_MEMORY_BASE, 4), 0x3ff10001);
		assert_int_equal(port_get(PCI_PREF_BASE_UPPER32, 4), MEM64_BASE >> 32);
		assert_int_equal(get(PCI_BASE_ADDRESS_2, 4), 0xc000000c); /* in the first window that has room */
		assert_int_equal(get(PCI_BASE_ADDRESS_0, 4), 0xc0100000);
		assert_int_equal(space_read(&vm.mem, 0xc0100010, 2), 0x5a10);
		assert_int_equal(space_read(&vm.mem, 0xc0000010, 2), 0x5a10);
		assert_int_equal(get(PCI_INTERRUPT_LINE, 1), 11); /* the port is device 1 */
		host->dev.ops->reset(&host->dev);
	}
	assert_true(resets >= 2);
}

/* Windows and the port's command decide what is reached. */
static void windows(void **state)
{
	struct thing *t = make(MIB(1));

	(void)state;
	assert_int_equal(pci_hot_plug(port, &t->pci), 0);
	pci_assign(host);
	port_set(PCI_COMMAND, 2, 0);
	assert_int_equal(space_read(&vm.mem, 0xc0100010, 2), 0xffff);
	port_set(PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	assert_int_equal(space_read(&vm.mem, 0xc0100010, 2), 0x5a10);
	port_set(PCI_MEMORY_LIMIT, 2, 0xc000);
	assert_int_equal(space_read(&vm.mem, 0xc0100010, 2), 0xffff);
	assert_int_equal(space_read(&vm.mem, 0xc0000010, 2), 0x5a10);
	port_set(PCI_MEMORY_BASE, 2, 0xfff0);
	assert_int_equal(space_read(&vm.mem, 0xc0000010, 2), 0xffff);
	/* The prefetchable window, moved with the BAR in it */
	set(PCI_BASE_ADDRESS_3, 4, 0x48);
	set(PCI_BASE_ADDRESS_2, 4, 0x200000);
	assert_int_equal(space_read(&vm.mem, 0x4800200010, 2), 0xffff);
	port_set(PCI_PREF_LIMIT_UPPER32, 4, 0x48);
	port_set(PCI_PREF_BASE_UPPER32, 4, 0x48);
	port_set(PCI_PREF_MEMORY_BASE, 4, 0x00200020);
	assert_int_equal(port_get(PCI_PREF_MEMORY_BASE, 4), 0x00210021);
	assert_int_equal(space_read(&vm.mem, 0x4800200010, 2), 0x5a10);
	/* Another bus number */
	port_set(PCI_SECONDARY_BUS, 1, 7);
	assert_int_equal(get(0, 4), 0xffffffff);
	assert_int_equal(space_read(&vm.mem, ecam(7, 0, 0), 4), 0x12341af4);
	assert_int_equal(space_read(&vm.mem, ecam(7, PCI_DEVFN(1, 0), 0), 4), 0xffffffff);
}

/* A BAR that begins in a window and ends behind it is not reached. */
static void partly_forwarded(void **state)
{
	struct thing *t = make(MIB(2));

	(void)state;
	assert_int_equal(pci_hot_plug(port, &t->pci), 0);
	pci_assign(host);
	assert_int_equal(get(PCI_BASE_ADDRESS_2, 4), 0xc000000c);
	port_set(PCI_MEMORY_BASE, 4, 0xc010c000);
	assert_true(t->pci.bar[2].mapped);
	port_set(PCI_MEMORY_BASE, 4, 0xc000c000);
	assert_false(t->pci.bar[2].mapped);
}

static void masters(void **state)
{
	struct thing *t = make(MIB(1));

	(void)state;
	assert_int_equal(pci_hot_plug(port, &t->pci), 0);
	pci_assign(host);
	assert_false(pci_bus_master(&t->pci));
	set(PCI_COMMAND, 2, PCI_COMMAND_MASTER);
	assert_true(pci_bus_master(&t->pci));
	set(t->pci.msi + PCI_MSI_ADDRESS_LO, 4, 0xfee00000);
	set(t->pci.msi + PCI_MSI_FLAGS, 2, PCI_MSI_FLAGS_ENABLE);
	assert_true(pci_send_msi(&t->pci, 0));
	assert_int_equal(msis, 1);
	port_set(PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	assert_false(pci_bus_master(&t->pci));
	assert_true(pci_send_msi(&t->pci, 0));
	assert_int_equal(msis, 1);
	/* Nor does a bridge in D3hot let anything through; what is behind it hears when that ends. */
	port_set(PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	assert_true(pci_bus_master(&t->pci));
	port_set(port->pci.power + PCI_PM_CTRL, 2, 3);
	assert_false(pci_bus_master(&t->pci));
	told = 0;
	port_set(port->pci.power + PCI_PM_CTRL, 2, 0);
	assert_true(pci_bus_master(&t->pci));
	assert_int_equal(told, 1);
}

/* Without MSI, and through the port's slot number. */
static void wires(void **state)
{
	struct thing *t = make(MIB(1));

	(void)state;
	assert_int_equal(pci_hot_plug(port, &t->pci), 0);
	pci_assign(host);
	pci_set_intx(&t->pci, true);
	assert_true(wire[1].level);
	/* A reset of the bus takes it back, and hides the function while it lasts. */
	port_set(PCI_BRIDGE_CONTROL, 2, PCI_BRIDGE_CTL_BUS_RESET);
	assert_false(wire[1].level || link_up());
	assert_int_equal(resets, 1);
	assert_int_equal(get(0, 4), 0xffffffff);
	port_set(PCI_BRIDGE_CONTROL, 2, 0);
	assert_int_equal(get(0, 4), 0x12341af4);
	assert_int_equal(get(PCI_COMMAND, 2), 0);
	assert_int_equal(events(), PCI_EXP_SLTSTA_DLLSC);
}

/* What starts an FLR elsewhere is another bit of a bridge's. */
static void has_no_flr(void **state)
{
	(void)state;
	pci_assign(host);
	port_set(CAP(PCI_EXP_DEVCTL), 2, port_get(CAP(PCI_EXP_DEVCTL), 2) | PCI_EXP_DEVCTL_BCR_FLR);
	assert_int_equal(port_get(CAP(PCI_EXP_DEVCTL), 2) & PCI_EXP_DEVCTL_BCR_FLR, 0);
	assert_int_equal(port_get(PCI_PRIMARY_BUS, 4), 0x010100);
}

static void comes_and_goes(void **state)
{
	(void)state;
	pci_assign(host);
	drive();
	assert_false(present() || link_up() || events());
	for (unsigned round = 1; round <= 3; round++) {
		struct thing *t = make(MIB(1)), *other = make(MIB(1));

		msis = 0;
		assert_int_equal(pci_hot_plug(port, &t->pci), 0);
		assert_int_equal(msis, 1);
		port_set(PCI_BRIDGE_CONTROL, 2, 0);
		assert_int_equal(msis, 1); /* told once, however long it takes him */
		assert_int_equal(pci_hot_plug(port, &other->pci), -EBUSY);
		other->pci.dev.ops->free(&other->pci.dev);
		assert_int_equal(events(), PCI_EXP_SLTSTA_PDC | PCI_EXP_SLTSTA_DLLSC);
		assert_true(present() && link_up());
		in_use(true);
		assert_int_equal(msis, 1);
		assert_int_equal(get(0, 4), 0x12341af4);
		set(PCI_BASE_ADDRESS_0, 4, 0xc0000000);
		set(PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
		assert_int_equal(space_read(&vm.mem, 0xc0000010, 2), 0x5a10);

		assert_int_equal(pci_hot_unplug(port, went, &gone), 0);
		assert_int_equal(pci_hot_unplug(port, went, &gone), -EALREADY);
		assert_int_equal(msis, 2);
		assert_int_equal(events(), PCI_EXP_SLTSTA_ABP);
		assert_int_equal(freed, 2 * round - 1);
		in_use(false);
		assert_int_equal(freed, 2 * round);
		assert_int_equal(gone, round);
		assert_int_equal(events(), PCI_EXP_SLTSTA_PDC | PCI_EXP_SLTSTA_DLLSC);
		assert_false(present() || link_up());
		assert_int_equal(get(0, 4), 0xffffffff);
		assert_int_equal(space_read(&vm.mem, 0xc0000010, 2), 0xffff);
		assert_int_equal(pci_hot_unplug(port, went, &gone), -ENODEV);
	}
}

static void asks_for_no_interrupts(void **state)
{
	struct thing *t = make(MIB(1));

	(void)state;
	pci_assign(host);
	drive();
	port_set(CAP(PCI_EXP_SLTCTL), 2, port_get(CAP(PCI_EXP_SLTCTL), 2) & ~(u32)PCI_EXP_SLTCTL_HPIE);
	assert_int_equal(pci_hot_plug(port, &t->pci), 0);
	assert_int_equal(msis, 0);
	assert_int_equal(events(), PCI_EXP_SLTSTA_PDC | PCI_EXP_SLTSTA_DLLSC);
}

/* The guest's own switch takes nothing away until somebody asks. */
static void switched_off_by_the_guest(void **state)
{
	struct thing *t = make(MIB(1));

	(void)state;
	assert_int_equal(pci_hot_plug(port, &t->pci), 0);
	pci_assign(host);
	assert_int_equal(space_read(&vm.mem, 0xc0000010, 2), 0x5a10);
	in_use(false);
	assert_true(present() && link_up());
	assert_int_equal(get(0, 4), 0x12341af4);
	assert_int_equal(space_read(&vm.mem, 0xc0000010, 2), 0xffff);
	/* From here on, taking it out changes nothing in the map. */
	fake_seen.map_changes = 0;
	assert_int_equal(pci_hot_unplug(port, went, &gone), 0);
	assert_int_equal(freed, 1);
	assert_int_equal(fake_seen.map_changes, 0);
	assert_true(pci_port_empty(port) && !link_up());
}

/* One who knows nothing of indicators, and uses the function: it stays until he moves. */
static void used_in_the_dark(void **state)
{
	struct thing *t = make(MIB(1));

	(void)state;
	pci_assign(host);
	assert_int_equal(pci_hot_plug(port, &t->pci), 0);
	set(PCI_BASE_ADDRESS_0, 4, 0xc0000000);
	set(PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	fake_seen.map_changes = 0;
	assert_int_equal(pci_hot_unplug(port, went, &gone), 0);
	assert_int_equal(fake_seen.map_changes + gone, 0);
	assert_int_equal(space_read(&vm.mem, 0xc0000010, 2), 0x5a10);
	assert_int_equal(resets, 0);
	assert_true(events() & PCI_EXP_SLTSTA_ABP);
	assert_int_equal(gone, 1); /* he has written to the slot */
	assert_int_equal(resets, 1);
}

/* A guest that does not listen loses the function at its next reset. */
static void leaves_at_a_reset(void **state)
{
	struct thing *t = make(MIB(1));

	(void)state;
	assert_int_equal(pci_hot_plug(port, &t->pci), 0);
	pci_assign(host);
	assert_int_equal(pci_hot_unplug(port, went, &gone), 0);
	assert_int_equal(gone, 0);
	host->dev.ops->reset(&host->dev);
	pci_assign(host);
	assert_int_equal(gone, 1);
	assert_true(pci_port_empty(port));
	assert_int_equal(events(), 0);
}

/* The VM ends while a function behind a port drives its wire. */
static void ends_with_a_wire(void **state)
{
	struct thing *t = make(MIB(1));

	(void)state;
	assert_int_equal(pci_hot_plug(port, &t->pci), 0);
	pci_assign(host);
	pci_set_intx(&t->pci, true);
	assert_true(wire[1].level);
}

/* Sixteen ports: all have buses and memory, some have ports; a large BAR gets a large window. */
static void many_ports(void **state)
{
	struct pci_port *more[16];
	struct thing *t = make(GIB(2));
	unsigned io = 0;

	(void)state;
	for (unsigned i = 0; i < 16; i++)
		assert_int_equal(pci_port_create(host, "port", i + 2, &more[i]), 0);
	assert_int_equal(pci_hot_plug(more[15], &t->pci), 0);
	pci_assign(host);
	for (unsigned i = 0; i < 16; i++) {
		struct pci_window w = pci_port_io(more[i]), mem = pci_port_mem(more[i]);
		struct pci_window prefetch = pci_port_prefetch(more[i]);

		assert_int_equal(pci_config_get(&more[i]->pci, PCI_SECONDARY_BUS, 1), i + 2);
		io += w.end > w.base;
		assert_true(mem.end - mem.base == MIB(16) && mem.end <= 0xfec00000);
		assert_true(prefetch.end - prefetch.base == (i == 15 ? GIB(4) : GIB(1)));
	}
	assert_true(io >= 1 && io < 16);
	assert_true(t->pci.bar[2].mapped && t->pci.bar[0].mapped);
}

/* A port forwards high addresses only to what may be prefetched; another BAR that has no place below stays nowhere. */
static void no_place_behind_a_port(void **state)
{
	static const struct pci_ident id = {.vendor = 0x1af4, .device = 0x1234, .class = 0xff0000};
	struct thing *t = calloc(1, sizeof(*t));

	(void)state;
	assert_int_equal(pci_function_init(&t->pci, &vm, "thing", &id, &thing_ops), 0);
	t->mem = (struct region){.name = "thing", .ops = &thing_region, .dev = &t->pci.dev};
	assert_int_equal(pci_add_bar(&t->pci, 0, PCI_BAR_MEM64, MIB(512), &t->mem), 0);
	assert_int_equal(pci_hot_plug(port, &t->pci), 0);
	pci_assign(host);
	assert_int_equal(get(PCI_BASE_ADDRESS_0, 4) & ~15u, 0);
	assert_int_equal(get(PCI_BASE_ADDRESS_1, 4), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(there_at_boot), TEST(windows), TEST(masters), TEST(wires), TEST(comes_and_goes),
		TEST(switched_off_by_the_guest), TEST(used_in_the_dark), TEST(leaves_at_a_reset), TEST(ends_with_a_wire), TEST(many_ports),
		TEST(partly_forwarded), TEST(has_no_flr), TEST(asks_for_no_interrupts), TEST(no_place_behind_a_port),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
