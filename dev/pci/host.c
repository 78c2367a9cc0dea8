/* SPDX-License-Identifier: MIT */
/* The PCI host bridge and its buses. Facts: PCI Local Bus 3.0, PCI Express base specification, ICH9 data sheet for 0xCF9. */
#include "dev/pci/host.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <stdlib.h>
#include <string.h>

#include "vm/vm.h"

#define ADDRESS_ENABLE BIT(31)
#define ADDRESS_VALID 0x80fffffcu

enum {
	RESET_SYSTEM = 0x02, /* hard, not only the CPU */
	RESET_CPU = 0x04, /* its rising edge does it */
	RESET_FULL = 0x08, /* power cycle */
	RESET_VALID = 0x0e,

	BRIDGE_PCIEXBAR = 0x60, /* where firmware looks for the ECAM region */
	DEVICES = 32, /* on a bus */
	LINK = 1 << 4 | 1, /* one lane, 2.5 GT/s */
	CLASS_HOST_BRIDGE = 0x0600,
	HEADER_MULTIFUNCTION = 0x80,
};

static u32 ones(unsigned size)
{
	return 0xffffffff >> (32 - 8 * size);
}

/* ---- buses ---- */

static unsigned slot(const struct pci_function *fn)
{
	return fn->devfn >> 3;
}

static struct pci_function *find(const struct pci_bus *bus, u8 devfn)
{
	struct pci_function *fn = bus->functions;

	while (fn && fn->devfn != devfn)
		fn = fn->next;
	return fn;
}

static bool slot_used(const struct pci_bus *bus, unsigned dev)
{
	for (const struct pci_function *fn = bus->functions; fn; fn = fn->next) {
		if (slot(fn) == dev)
			return true;
	}
	return false;
}

/* Function 0 tells whether there are others beside it. */
static void mark_multifunction(struct pci_bus *bus, unsigned dev)
{
	struct pci_function *first = find(bus, PCI_DEVFN(dev, 0));
	bool others = false;

	for (const struct pci_function *fn = bus->functions; fn; fn = fn->next)
		others |= fn != first && slot(fn) == dev;
	if (first && others) {
		first->config[PCI_HEADER_TYPE] |= HEADER_MULTIFUNCTION;
		first->config_reset[PCI_HEADER_TYPE] |= HEADER_MULTIFUNCTION;
	}
}

static bool is_host_bridge(const struct pci_function *fn)
{
	return pci_config_get(fn, PCI_CLASS_DEVICE, 2) == CLASS_HOST_BRIDGE;
}

/* One lane at 2.5 GT/s, as the port at its other end has it. */
static void link_registers(struct pci_function *fn)
{
	pci_config_set(fn, fn->express + PCI_EXP_LNKCAP, 4, LINK);
	pci_config_set(fn, fn->express + PCI_EXP_LNKSTA, 2, LINK);
	pci_config_set(fn, fn->express + PCI_EXP_LNKCAP2, 4, PCI_EXP_LNKCAP2_SLS_2_5GB);
	pci_config_set(fn, fn->express + PCI_EXP_LNKCTL2, 2, PCI_EXP_LNKCTL2_TLS_2_5GT);
}

/* What the registers say about the function's place. */
static void settle(struct pci_function *fn)
{
	unsigned type = fn->bus->port ? PCI_EXP_TYPE_ENDPOINT : PCI_EXP_TYPE_RC_END;

	if (!is_host_bridge(fn))
		pci_config_set(fn, PCI_INTERRUPT_PIN, 1, (fn->devfn & 3u) + 1);
	if (!fn->express || fn->config[PCI_HEADER_TYPE] != PCI_HEADER_TYPE_NORMAL)
		return;
	pci_config_set(fn, fn->express + PCI_EXP_FLAGS, 2, type << 4 | 2);
	if (fn->bus->port)
		link_registers(fn);
}

int pci_bus_plug(struct pci_bus *bus, struct pci_function *fn, u8 devfn)
{
	struct pci_function **link = &bus->functions;

	if (devfn == PCI_ANY) {
		unsigned dev = 0;

		while (dev < DEVICES && slot_used(bus, dev))
			dev++;
		if (dev == DEVICES)
			return -ENOSPC;
		devfn = PCI_DEVFN(dev, 0);
	}
	if (find(bus, devfn))
		return -EBUSY;
	fn->bus = bus;
	fn->devfn = devfn;
	settle(fn);
	memcpy(fn->config_reset, fn->config, sizeof(fn->config));
	while (*link)
		link = &(*link)->next;
	fn->next = NULL;
	*link = fn;
	mark_multifunction(bus, slot(fn));
	return 0;
}

void pci_bus_unplug(struct pci_function *fn)
{
	struct pci_function **link = &fn->bus->functions;

	pci_set_intx(fn, false);
	while (*link != fn)
		link = &(*link)->next;
	*link = fn->next;
	fn->bus = NULL;
	if (pci_function_decode(fn))
		vm_map_changed(fn->vm);
}

int pci_plug(struct pci_host *host, struct pci_function *fn, u8 devfn)
{
	return pci_bus_plug(&host->root, fn, devfn);
}

/* ---- interrupts ---- */

/* A bridge turns the pins by its device's number, and so does the root bus on the way to the four lines. */
unsigned pci_intx_line(const struct pci_function *fn)
{
	unsigned line = fn->config[PCI_INTERRUPT_PIN] - 1u;

	for (; fn; fn = fn->bus->port)
		line = (line + slot(fn)) % PCI_INTX_LINES;
	return line;
}

void pci_bus_intx(struct pci_function *fn, bool level)
{
	struct pci_host *host = fn->bus->host;
	unsigned line = pci_intx_line(fn);

	if (level)
		host->asserted[line]++;
	else
		host->asserted[line]--;
	irq_set(&host->wiring.intx[line], host->asserted[line]);
}

void pci_message(struct pci_function *fn, u64 addr, u32 data)
{
	if (fn->bus && pci_bus_master(fn) && addr >> 20 == 0xfee)
		msi_send(&fn->bus->host->wiring.msi, (struct msi){.addr = addr, .data = data});
}

/* ---- config space ---- */

/* As the ports' registers say; NULL: nobody answers. */
static struct pci_bus *bus_by_number(struct pci_host *host, u8 number)
{
	struct pci_bus *bus = number ? host->buses : &host->root;

	while (number && bus && pci_config_get(bus->port, PCI_SECONDARY_BUS, 1) != number)
		bus = bus->next;
	return bus && bus->up ? bus : NULL;
}

static u32 config_read(struct pci_host *host, u8 number, u8 devfn, unsigned offset, unsigned size)
{
	struct pci_bus *bus = bus_by_number(host, number);
	struct pci_function *fn = bus ? find(bus, devfn) : NULL;

	if (!fn || offset & (size - 1))
		return ones(size);
	return pci_function_read(fn, offset, size) & ones(size);
}

static void config_write(struct pci_host *host, u8 number, u8 devfn, unsigned offset, unsigned size, u32 value)
{
	struct pci_bus *bus = bus_by_number(host, number);
	struct pci_function *fn = bus ? find(bus, devfn) : NULL;

	if (fn && !(offset & (size - 1)))
		pci_function_write(fn, offset, size, value & ones(size));
}

/* ---- 0xCF8 to 0xCFF ---- */

static void write_reset(struct pci_host *host, u8 value)
{
	bool rises = value & ~host->reset_control & RESET_CPU;

	host->reset_control = value & RESET_VALID;
	if (rises)
		vm_request_stop(host->vm, VM_RESET, 0);
}

/* True: the access goes to config space, and *reg says where. */
static bool data_access(const struct pci_host *host, unsigned offset, unsigned size, unsigned *reg)
{
	if (offset < 4 || offset + size > 8 || !(host->address & ADDRESS_ENABLE))
		return false;
	*reg = (host->address & 0xfc) | (offset & 3);
	return true;
}

u32 pci_port_read(struct pci_host *host, unsigned offset, unsigned size)
{
	unsigned reg;

	if (offset == 0 && size == 4)
		return host->address;
	if (offset == PCI_RESET_PORT - PCI_CONFIG_PORT && size == 1)
		return host->reset_control;
	if (!data_access(host, offset, size, &reg))
		return ones(size);
	return config_read(host, (u8)(host->address >> 16), (u8)(host->address >> 8), reg, size);
}

void pci_port_write(struct pci_host *host, unsigned offset, unsigned size, u32 value)
{
	unsigned reg;

	if (offset == 0 && size == 4)
		host->address = value & ADDRESS_VALID;
	else if (offset == PCI_RESET_PORT - PCI_CONFIG_PORT && size == 1)
		write_reset(host, (u8)value);
	else if (data_access(host, offset, size, &reg))
		config_write(host, (u8)(host->address >> 16), (u8)(host->address >> 8), reg, size, value);
}

/* ---- ECAM: bus, device and function, register are the offset's parts ---- */

u32 pci_ecam_read(struct pci_host *host, u64 offset, unsigned size)
{
	return config_read(host, (u8)(offset >> 20), (u8)(offset >> 12), offset & 0xfff, size);
}

void pci_ecam_write(struct pci_host *host, u64 offset, unsigned size, u32 value)
{
	config_write(host, (u8)(offset >> 20), (u8)(offset >> 12), offset & 0xfff, size, value);
}

/* ---- the bridge's own function: a Q35 MCH, which guests know; everything is fixed ---- */

static const struct pci_ident bridge_ident = {
	.vendor = 0x8086, .device = 0x29c0, .class = CLASS_HOST_BRIDGE << 8, .legacy = true};
static const struct pci_function_ops bridge_ops = {0}; /* it is a part of the host */

static int add_bridge(struct pci_host *host)
{
	struct pci_function *bridge = &host->bridge;
	int ret = pci_function_init(bridge, host->vm, "pci host bridge", &bridge_ident, &bridge_ops);

	if (ret)
		return ret;
	memset(bridge->writable, 0, sizeof(bridge->writable));
	pci_config_set(bridge, PCI_COMMAND, 2, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	pci_config_set(bridge, BRIDGE_PCIEXBAR, 4, (u32)PCI_ECAM_BASE | 1);
	return pci_plug(host, bridge, PCI_DEVFN(0, 0));
}

static struct pci_host *of(struct device *dev)
{
	return container_of(dev, struct pci_host, dev);
}

static u64 port_read(struct device *dev, u64 offset, unsigned size)
{
	return pci_port_read(of(dev), (unsigned)offset, size);
}

static void port_write(struct device *dev, u64 offset, unsigned size, u64 value)
{
	pci_port_write(of(dev), (unsigned)offset, size, (u32)value);
}

static u64 ecam_read(struct device *dev, u64 offset, unsigned size)
{
	return pci_ecam_read(of(dev), offset, size);
}

static void ecam_write(struct device *dev, u64 offset, unsigned size, u64 value)
{
	pci_ecam_write(of(dev), offset, size, (u32)value);
}

static const struct region_ops port_ops = {port_read, port_write, 1, 4};
static const struct region_ops ecam_ops = {ecam_read, ecam_write, 1, 4};

static void reset_bus(struct pci_bus *bus)
{
	for (struct pci_function *fn = bus->functions; fn; fn = fn->next)
		fn->dev.ops->reset(&fn->dev);
}

static void dev_reset(struct device *dev)
{
	struct pci_host *host = of(dev);

	host->address = 0;
	host->reset_control = 0;
	reset_bus(&host->root);
}

/* A function's own thread may be at work until its free has ended it. */
void pci_bus_free(struct pci_bus *bus)
{
	while (bus->functions) {
		struct pci_function *fn = bus->functions;

		pthread_mutex_lock(fn->dev.lock);
		pci_bus_unplug(fn);
		pthread_mutex_unlock(fn->dev.lock);
		fn->dev.ops->free(&fn->dev);
	}
}

static void dev_free(struct device *dev)
{
	struct pci_host *host = of(dev);

	/* What is behind ports first: a wire that it drives goes through its port. */
	for (struct pci_bus *bus = host->buses; bus; bus = bus->next)
		pci_bus_free(bus);
	pci_bus_free(&host->root);
	free(host);
}

static const struct device_ops device_ops = {.reset = dev_reset, .free = dev_free};

static int add_regions(struct pci_host *host)
{
	int ret;

	host->port_region = (struct region){
		.name = "pci config ports",
		.base = PCI_CONFIG_PORT,
		.size = 8,
		.ops = &port_ops,
		.dev = &host->dev,
	};
	host->ecam_region = (struct region){
		.name = "pci ecam",
		.base = PCI_ECAM_BASE,
		.size = PCI_ECAM_SIZE,
		.ops = &ecam_ops,
		.dev = &host->dev,
	};
	ret = space_add(&host->vm->io, &host->port_region);
	if (ret)
		return ret;
	ret = space_add(&host->vm->mem, &host->ecam_region);
	if (ret)
		space_remove(&host->vm->io, &host->port_region);
	return ret;
}

int pci_host_create(struct vm *vm, const struct pci_wiring *wiring, struct pci_host **out)
{
	struct pci_host *host = calloc(1, sizeof(*host));
	int ret;

	if (!host)
		return -ENOMEM;
	host->vm = vm;
	host->wiring = *wiring;
	host->root = (struct pci_bus){.host = host, .up = true};
	host->dev = (struct device){.ops = &device_ops, .name = "pci host"};
	ret = add_bridge(host);
	if (!ret)
		ret = add_regions(host);
	if (ret) {
		free(host);
		return ret;
	}
	vm_add_device(vm, &host->dev);
	*out = host;
	return 0;
}
