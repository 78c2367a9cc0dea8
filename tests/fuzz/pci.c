/* SPDX-License-Identifier: MIT */
/*
 * PCI: a guest that writes to config space, by ports and ECAM, and to the BARs
 * wherever it has put them, while devices raise interrupts, come and go behind
 * ports. RAM stays where it is, and no BAR is in the space that should not be.
 */
#include "tests/fuzz/fuzz.h"

#include <linux/pci_regs.h>

#include "dev/pci/port.h"

#define FUNCTIONS 4
#define PORTS 2
#define ALL (FUNCTIONS + PORTS) /* the last ones are in slots, or out */

struct thing {
	struct pci_function pci;
	struct region bar[3];
};

static struct vm vm;
static struct pci_host *host;
static struct pci_port *port[PORTS];
static struct thing things[ALL];

static u64 thing_read(struct device *dev, u64 offset, unsigned size)
{
	const struct pci_function *fn = container_of(dev, struct pci_function, dev);

	fuzz_check(offset + size <= MIB(1) && fn->bus);
	return offset;
}

static void thing_write(struct device *dev, u64 offset, unsigned size, u64 value)
{
	(void)value;
	thing_read(dev, offset, size);
}

static const struct region_ops thing_region = {.read = thing_read, .write = thing_write};
static const struct pci_function_ops thing_ops = {0};

static void make(unsigned i)
{
	static const u64 sizes[] = {KIB(16), MIB(1), 64};
	static const enum pci_bar_kind kinds[] = {PCI_BAR_MEM64_PREFETCH, PCI_BAR_MEM32, PCI_BAR_IO};
	static const unsigned index[] = {0, 2, 3};
	struct thing *t = &things[i];
	bool legacy = i == FUNCTIONS - 1; /* a conventional device in the first one's slot */
	const struct pci_ident id = {.vendor = 0x1af4, .device = (u16)i, .class = 0xff0000, .legacy = legacy};

	fuzz_check(!pci_function_init(&t->pci, &vm, "thing", &id, &thing_ops));
	for (unsigned j = 0; j < ARRAY_SIZE(sizes); j++) {
		t->bar[j] = (struct region){.name = "thing", .ops = &thing_region, .dev = &t->pci.dev};
		fuzz_check(!pci_add_bar(&t->pci, index[j], kinds[j], sizes[j], &t->bar[j]));
	}
	fuzz_check(!pci_add_msi(&t->pci, 1u << i));
	fuzz_check(!pci_add_msix(&t->pci, 1 + 70 * i, 4));
	fuzz_check(!pci_add_rom(&t->pci, "\x55\xaa", 2));
	if (i < FUNCTIONS)
		fuzz_check(!pci_plug(host, &t->pci, legacy ? PCI_DEVFN(1, 3) : PCI_ANY));
}

static struct pci_function *out; /* those that were taken out in this step */

static void gone(void *arg, struct pci_function *fn)
{
	fuzz_check(arg == fn && !fn->bus);
	fn->next = out;
	out = fn;
}

/* The machine lock is not held here. */
static void free_out(void)
{
	while (out) {
		struct pci_function *fn = out;

		out = fn->next;
		pci_function_free(fn);
	}
}

/* Into its slot, or asked to come out of it. */
static void plug_or_unplug(unsigned i)
{
	struct pci_function *fn = &things[FUNCTIONS + i].pci;

	if (!pci_port_empty(port[i])) {
		pci_hot_unplug(port[i], gone, fn);
	} else {
		make(FUNCTIONS + i);
		fuzz_check(!pci_hot_plug(port[i], fn));
	}
}

static void check_bar(const struct pci_function *fn, const struct pci_bar *bar)
{
	const struct extent *extent;

	if (!bar->mapped)
		return;
	fuzz_check(bar->region->base && !(bar->region->base & (bar->size - 1)));
	extent = space_find(bar->kind == PCI_BAR_IO ? &fn->vm->io : &fn->vm->mem, bar->region->base);
	fuzz_check(extent && fn->bus && fn->bus->up); /* it, or what hides it */
}

static void check(void)
{
	fuzz_check(space_host(&vm.mem, 0, FUZZ_RAM, DIRECT_READ | DIRECT_WRITE) == fuzz_ram);
	for (unsigned i = 0; i < ALL; i++) {
		for (unsigned j = 0; j < PCI_BARS; j++)
			check_bar(&things[i].pci, &things[i].pci.bar[j]);
		check_bar(&things[i].pci, &things[i].pci.rom);
	}
}

static void touch(struct space *space, u64 addr, unsigned size, bool write, u64 value)
{
	if (write)
		space_write(space, addr, size, value);
	else
		space_read(space, addr, size);
}

/* Half of the steps that go to a BAR find one by its registers. */
static void touch_bar(struct fuzz *fuzz, unsigned size, bool write)
{
	const struct pci_function *fn = &things[fuzz_u8(fuzz) % ALL].pci;
	const struct pci_bar *bar = &fn->bar[fuzz_u8(fuzz) % PCI_BARS];
	u32 offset = fuzz_u32(fuzz);

	if (!bar->mapped)
		return;
	touch(bar->kind == PCI_BAR_IO ? &vm.io : &vm.mem, bar->region->base + offset % bar->size, size, write,
		fuzz_u64(fuzz));
}

static void step(struct fuzz *fuzz)
{
	u8 what = fuzz_u8(fuzz);
	unsigned size = 1u << (what >> 6);
	bool write = what & 0x20;

	switch (what & 0x1f) {
	case 0: /* reset, and boot */
		vm_reset(&vm);
		pci_assign(host);
		break;
	case 1: {
		struct pci_function *fn = &things[fuzz_u8(fuzz) % ALL].pci;

		pci_set_intx(fn, write);
		break;
	}
	case 2: {
		struct pci_function *fn = &things[fuzz_u8(fuzz) % ALL].pci;

		pci_send_msi(fn, fuzz_u16(fuzz));
		break;
	}
	case 3:
	case 4:
		touch(&vm.io, PCI_CONFIG_PORT + fuzz_u8(fuzz) % 8, MIN(size, 4u), write, fuzz_u32(fuzz));
		break;
	case 5:
		touch(&vm.mem, fuzz_u64(fuzz), size, write && false, 0);
		break;
	case 6:
	case 7:
	case 8:
	case 9:
		touch_bar(fuzz, size, write);
		break;
	case 10:
		plug_or_unplug(size % PORTS);
		break;
	default: /* ECAM, mostly of the functions that are there */
		touch(&vm.mem, PCI_ECAM_BASE + (fuzz_u32(fuzz) & (what & 0x10 ? 0x33ffff : PCI_ECAM_SIZE - 1)), size,
			write, fuzz_u32(fuzz));
		break;
	}
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	struct fuzz fuzz = {data, size};
	struct pci_wiring wiring = {
		.io = {0xc000, 0x10000},
		.mem32 = {0xc0000000, 0xfec00000},
		.mem64 = {GIB(256), GIB(512)},
	};

	fuzz_vm_init(&vm);
	fuzz_check(!pci_host_create(&vm, &wiring, &host));
	for (unsigned i = 0; i < ALL; i++)
		make(i);
	for (unsigned i = 0; i < PORTS; i++) {
		fuzz_check(!pci_port_create(host, "port", i + 1, &port[i]));
		fuzz_check(!pci_hot_plug(port[i], &things[FUNCTIONS + i].pci));
	}
	pci_assign(host);
	while (fuzz_more(&fuzz)) {
		step(&fuzz);
		free_out();
		check();
	}
	vm_fini(&vm);
	return 0;
}
