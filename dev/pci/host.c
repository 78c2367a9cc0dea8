/* SPDX-License-Identifier: MIT */
/* PCI host bridge. Facts: PCI Local Bus 3.0, PCI Express base specification, ICH9 data sheet for 0xCF9. */
#include "dev/pci/host.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vm/vm.h"

#define ADDRESS_ENABLE BIT(31)
#define ADDRESS_VALID 0x80fffffcu

enum {
	CONFIG_ID = 0x00,
	CONFIG_COMMAND = 0x04,
	CONFIG_CLASS = 0x08,
	CONFIG_PCIEXBAR = 0x60, /* where firmware looks for the ECAM region */

	BRIDGE_ID = 0x29c08086, /* a Q35 MCH, which guests know */
	BRIDGE_COMMAND = 0x0006, /* memory and bus master, fixed */
	BRIDGE_CLASS = 0x06000000,

	RESET_SYSTEM = 0x02, /* hard, not only the CPU */
	RESET_CPU = 0x04, /* its rising edge does it */
	RESET_FULL = 0x08, /* power cycle */
	RESET_VALID = 0x0e,
};

static u32 ones(unsigned size)
{
	return 0xffffffff >> (32 - 8 * size);
}

static struct pci_function *find(const struct pci_host *host, u8 bus, u8 devfn)
{
	struct pci_function *fn = host->functions;

	while (fn && (fn->bus != bus || fn->devfn != devfn))
		fn = fn->next;
	return fn;
}

int pci_add(struct pci_host *host, struct pci_function *fn)
{
	if (find(host, fn->bus, fn->devfn))
		return -EBUSY;
	fn->next = host->functions;
	host->functions = fn;
	return 0;
}

static u32 config_read(struct pci_host *host, u8 bus, u8 devfn, unsigned offset, unsigned size)
{
	struct pci_function *fn = find(host, bus, devfn);

	if (!fn || offset & (size - 1))
		return ones(size);
	return fn->ops->read(fn, offset, size) & ones(size);
}

static void config_write(struct pci_host *host, u8 bus, u8 devfn, unsigned offset, unsigned size, u32 value)
{
	struct pci_function *fn = find(host, bus, devfn);

	if (fn && !(offset & (size - 1)))
		fn->ops->write(fn, offset, size, value & ones(size));
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

/* ---- the bridge's own function: everything is fixed ---- */

static u32 bridge_dword(unsigned offset)
{
	switch (offset) {
	case CONFIG_ID:
		return BRIDGE_ID;
	case CONFIG_COMMAND:
		return BRIDGE_COMMAND;
	case CONFIG_CLASS:
		return BRIDGE_CLASS;
	case CONFIG_PCIEXBAR:
		return (u32)PCI_ECAM_BASE | 1;
	default:
		return 0;
	}
}

static u32 bridge_read(struct pci_function *fn, unsigned offset, unsigned size)
{
	(void)fn;
	return bridge_dword(offset & ~3u) >> (offset & 3) * 8 & ones(size);
}

static void bridge_write(struct pci_function *fn, unsigned offset, unsigned size, u32 value)
{
	(void)fn;
	(void)offset;
	(void)size;
	(void)value;
}

static const struct pci_function_ops bridge_ops = {bridge_read, bridge_write};

void pci_host_reset(struct pci_host *host)
{
	host->address = 0;
	host->reset_control = 0;
}

void pci_host_init(struct pci_host *host, struct vm *vm)
{
	memset(host, 0, sizeof(*host));
	host->vm = vm;
	host->bridge.ops = &bridge_ops;
	host->functions = &host->bridge;
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

static void dev_reset(struct device *dev)
{
	pci_host_reset(of(dev));
}

static void dev_free(struct device *dev)
{
	free(of(dev));
}

static const struct device_ops device_ops = {.reset = dev_reset, .free = dev_free};

int pci_host_create(struct vm *vm, struct pci_host **out)
{
	struct pci_host *host = malloc(sizeof(*host));
	int err;

	if (!host)
		return -ENOMEM;
	pci_host_init(host, vm);
	host->dev = (struct device){.ops = &device_ops, .name = "pci host"};
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
	err = space_add(&vm->io, &host->port_region);
	if (err)
		goto fail;
	err = space_add(&vm->mem, &host->ecam_region);
	if (err) {
		space_remove(&vm->io, &host->port_region);
		goto fail;
	}
	vm_add_device(vm, &host->dev);
	*out = host;
	return 0;

fail:
	free(host);
	return err;
}
