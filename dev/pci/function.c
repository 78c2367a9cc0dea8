/* SPDX-License-Identifier: MIT */
/*
 * A PCI function's config space: registers with write masks, BARs that the guest
 * sizes, moves and switches, capabilities, reset. Facts: PCI Local Bus 3.0, PCI
 * Express base specification, PCI power management 1.2.
 */
#include <errno.h>
#include <linux/pci_regs.h>
#include <stdlib.h>
#include <string.h>

#include "dev/pci/host.h"
#include "dev/pci/port.h"
#include "lib/width.h"
#include "vm/vm.h"

enum {
	CAPS_START = 0x40,
	CAPS_LIMIT = 0x100,
	MIN_BAR_IO = 4,
	MIN_BAR_MEM = 16,
	MIN_ROM = 0x800,
	EXPRESS_SIZE = 0x3c,
	COMMAND_WRITABLE = PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_PARITY |
			   PCI_COMMAND_SERR | PCI_COMMAND_INTX_DISABLE,
	/* Relaxed ordering and no snoop allowed, read requests of up to 512 bytes */
	DEVCTL_RESET = PCI_EXP_DEVCTL_RELAX_EN | PCI_EXP_DEVCTL_NOSNOOP_EN | 2 << 12,
	DEVCTL_WRITABLE = 0x7eff, /* all but the power bits for auxiliary power and FLR */
	DEVSTA_CLEAR = 0xf,
	D1 = 1,
	D2 = 2,
};

bool pci_overlaps(unsigned offset, unsigned size, unsigned first, unsigned len)
{
	return offset < first + len && first < offset + size;
}

/* ---- registers ---- */

u32 pci_config_get(const struct pci_function *fn, unsigned offset, unsigned size)
{
	return (u32)width_load(fn->config + offset, size);
}

void pci_config_set(struct pci_function *fn, unsigned offset, unsigned size, u32 value)
{
	width_store(fn->config + offset, size, value);
}

void pci_config_writable(struct pci_function *fn, unsigned offset, unsigned size, u32 mask)
{
	width_store(fn->writable + offset, size, mask);
}

static u32 command(const struct pci_function *fn)
{
	return pci_config_get(fn, PCI_COMMAND, 2);
}

/* D0 or D3hot; the others are not offered. */
static u32 power_state(const struct pci_function *fn)
{
	return fn->power ? pci_config_get(fn, fn->power + PCI_PM_CTRL, 2) & PCI_PM_CTRL_STATE_MASK : 0;
}

bool pci_awake(const struct pci_function *fn)
{
	return !power_state(fn);
}

/* It, and all bridges on the way to memory. */
bool pci_bus_master(const struct pci_function *fn)
{
	for (; fn; fn = fn->bus ? fn->bus->port : NULL) {
		if (!(command(fn) & PCI_COMMAND_MASTER) || !pci_awake(fn))
			return false;
	}
	return true;
}

/* ---- BARs ---- */

static struct space *space_of(struct pci_function *fn, const struct pci_bar *bar)
{
	return bar->kind == PCI_BAR_IO ? &fn->vm->io : &fn->vm->mem;
}

/* Where the registers say the BAR is; 0: nowhere, as after reset. */
static u64 bar_base(const struct pci_function *fn, const struct pci_bar *bar, unsigned reg)
{
	u64 base = pci_config_get(fn, reg, 4);

	if (bar == &fn->rom)
		return base & PCI_ROM_ADDRESS_ENABLE ? base & ~(bar->size - 1) : 0;
	if (bar->kind == PCI_BAR_MEM64 || bar->kind == PCI_BAR_MEM64_PREFETCH)
		base |= (u64)pci_config_get(fn, reg + 4, 4) << 32;
	return base & ~(bar->size - 1);
}

static bool inside(struct pci_window window, u64 base, u64 size)
{
	return base >= window.base && base < window.end && size <= window.end - base;
}

/* The bridge passes accesses to [base, base + size) on to the bus behind it. */
static bool forwards(const struct pci_function *bridge, bool io, u64 base, u64 size)
{
	const struct pci_port *port = container_of(bridge, struct pci_port, pci);

	if (!(command(bridge) & (io ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY)) || !pci_awake(bridge))
		return false;
	if (io)
		return inside(pci_port_io(port), base, size);
	return inside(pci_port_mem(port), base, size) || inside(pci_port_prefetch(port), base, size);
}

/* Do accesses to the BAR at this base reach it? */
static bool reachable(const struct pci_function *fn, const struct pci_bar *bar, u64 base)
{
	bool io = bar->kind == PCI_BAR_IO;

	if (!fn->bus || !fn->bus->up || !(command(fn) & (io ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY)) || !pci_awake(fn))
		return false;
	return !fn->bus->port || forwards(fn->bus->port, io, base, bar->size);
}

/* A place that the space does not have leaves the BAR unmapped. */
static bool place(struct pci_function *fn, struct pci_bar *bar, u64 base)
{
	struct space *space = space_of(fn, bar);
	bool was = bar->mapped;

	if (was && base == bar->region->base)
		return false;
	if (was && base && !space_move(space, bar->region, base))
		return true;
	if (was)
		space_remove(space, bar->region);
	bar->region->base = base;
	/* This allocates the space's new view; without memory for it the BAR is nowhere. */
	bar->mapped = base && !space_add_below(space, bar->region);
	return was || bar->mapped;
}

static bool decode_one(struct pci_function *fn, struct pci_bar *bar, unsigned reg)
{
	u64 base;

	if (bar->kind == PCI_BAR_NONE)
		return false;
	base = bar_base(fn, bar, reg);
	return place(fn, bar, reachable(fn, bar, base) ? base : 0);
}

bool pci_function_decode(struct pci_function *fn)
{
	bool changed = decode_one(fn, &fn->rom, PCI_ROM_ADDRESS);

	for (unsigned i = 0; i < PCI_BARS; i++)
		changed |= decode_one(fn, &fn->bar[i], PCI_BASE_ADDRESS_0 + 4 * i);
	return changed;
}

static u32 bar_flags(enum pci_bar_kind kind)
{
	switch (kind) {
	case PCI_BAR_IO:
		return PCI_BASE_ADDRESS_SPACE_IO;
	case PCI_BAR_MEM64:
		return PCI_BASE_ADDRESS_MEM_TYPE_64;
	case PCI_BAR_MEM64_PREFETCH:
		return PCI_BASE_ADDRESS_MEM_TYPE_64 | PCI_BASE_ADDRESS_MEM_PREFETCH;
	default:
		return 0;
	}
}

static bool is_64(enum pci_bar_kind kind)
{
	return kind == PCI_BAR_MEM64 || kind == PCI_BAR_MEM64_PREFETCH;
}

/* The index is free, and so is the next one for a 64-bit BAR. */
static bool bar_free(const struct pci_function *fn, unsigned index, enum pci_bar_kind kind)
{
	if (index >= PCI_BARS || fn->bar[index].kind || (is_64(kind) && index + 1 >= PCI_BARS))
		return false;
	return !(is_64(kind) && fn->bar[index + 1].kind) && !(index && is_64(fn->bar[index - 1].kind));
}

int pci_add_bar(struct pci_function *fn, unsigned index, enum pci_bar_kind kind, u64 size, struct region *region)
{
	unsigned reg = PCI_BASE_ADDRESS_0 + 4 * index;
	u64 least = kind == PCI_BAR_IO ? MIN_BAR_IO : MIN_BAR_MEM;
	u64 mask = ~(size - 1);

	if (kind == PCI_BAR_NONE || !bar_free(fn, index, kind) || size < least || size & (size - 1))
		return -EINVAL;
	if (!is_64(kind) && size > GIB(2))
		return -EINVAL;
	region->size = size;
	fn->bar[index] = (struct pci_bar){.region = region, .size = size, .kind = kind};
	pci_config_set(fn, reg, 4, bar_flags(kind));
	pci_config_writable(fn, reg, 4, (u32)mask);
	if (is_64(kind))
		pci_config_writable(fn, reg + 4, 4, (u32)(mask >> 32));
	return 0;
}

int pci_add_rom(struct pci_function *fn, const void *contents, size_t len)
{
	u64 size = MIN_ROM;

	while (size < len)
		size *= 2;
	if (fn->rom.kind || size > MIB(16))
		return -EINVAL;
	fn->rom_contents = malloc(size);
	if (!fn->rom_contents)
		return -ENOMEM;
	memset(fn->rom_contents, 0xff, size);
	memcpy(fn->rom_contents, contents, len);
	fn->rom_region = (struct region){
		.name = "expansion rom", .size = size, .host = fn->rom_contents, .direct = DIRECT_READ};
	fn->rom = (struct pci_bar){.region = &fn->rom_region, .size = size, .kind = PCI_BAR_MEM32};
	pci_config_writable(fn, PCI_ROM_ADDRESS, 4, (u32)~(size - 1) | PCI_ROM_ADDRESS_ENABLE);
	return 0;
}

/* ---- capabilities ---- */

int pci_add_capability(struct pci_function *fn, u8 id, unsigned size)
{
	u16 offset = fn->caps_end;

	size = ALIGN_UP(size, 4u);
	if (offset + size > CAPS_LIMIT)
		return -ENOSPC;
	fn->config[offset] = id;
	fn->config[fn->last_cap ? fn->last_cap + PCI_CAP_LIST_NEXT : PCI_CAPABILITY_LIST] = (u8)offset;
	fn->config[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
	fn->last_cap = offset;
	fn->caps_end = (u16)(offset + size);
	return offset;
}

int pci_add_ext_capability(struct pci_function *fn, u16 id, u8 version, unsigned size)
{
	u16 offset = fn->ext_caps_end;

	size = ALIGN_UP(size, 4u);
	if (!fn->express || offset + size > PCI_CONFIG_SIZE)
		return -ENOSPC;
	pci_config_set(fn, offset, 4, (u32)id | (u32)version << 16);
	if (fn->last_ext_cap)
		pci_config_set(fn, fn->last_ext_cap + 2u, 2, fn->config[fn->last_ext_cap + 2u] | (u32)offset << 4);
	fn->last_ext_cap = offset;
	fn->ext_caps_end = (u16)(offset + size);
	return offset;
}

static void add_power(struct pci_function *fn)
{
	int cap = pci_add_capability(fn, PCI_CAP_ID_PM, PCI_PM_SIZEOF);

	fn->power = (u16)cap;
	pci_config_set(fn, fn->power + PCI_PM_PMC, 2, 3); /* version 1.2; no PME */
	pci_config_set(fn, fn->power + PCI_PM_CTRL, 2, PCI_PM_CTRL_NO_SOFT_RESET);
	pci_config_writable(fn, fn->power + PCI_PM_CTRL, 2, PCI_PM_CTRL_STATE_MASK);
}

/* What depends on the function's place is set when it is plugged. */
static void add_express(struct pci_function *fn)
{
	int cap = pci_add_capability(fn, PCI_CAP_ID_EXP, EXPRESS_SIZE);

	fn->express = (u16)cap;
	pci_config_set(fn, fn->express + PCI_EXP_FLAGS, 2, 2); /* version */
	pci_config_set(fn, fn->express + PCI_EXP_DEVCAP, 4, PCI_EXP_DEVCAP_RBER | PCI_EXP_DEVCAP_FLR);
	pci_config_set(fn, fn->express + PCI_EXP_DEVCTL, 2, DEVCTL_RESET);
	/* Starting an FLR is a write that never stays: the reset takes it back. A bridge has another bit there. */
	pci_config_writable(fn, fn->express + PCI_EXP_DEVCTL, 2, DEVCTL_WRITABLE | PCI_EXP_DEVCTL_BCR_FLR);
	fn->clear_on_1[fn->express + PCI_EXP_DEVSTA] = DEVSTA_CLEAR;
	pci_config_set(fn, fn->express + PCI_EXP_DEVCAP2, 4, PCI_EXP_DEVCAP2_COMP_TMOUT_DIS);
	pci_config_writable(fn, fn->express + PCI_EXP_DEVCTL2, 2, PCI_EXP_DEVCTL2_COMP_TMOUT_DIS);
}

/* True: it was a function-level reset, and nothing of the write is left. */
static bool express_written(struct pci_function *fn)
{
	if (!fn->express || !(pci_config_get(fn, fn->express + PCI_EXP_DEVCTL, 2) & PCI_EXP_DEVCTL_BCR_FLR))
		return false;
	pci_function_reset(fn);
	return true;
}

/* ---- interrupts ---- */

bool pci_msix_on(const struct pci_function *fn)
{
	return fn->msix_cap && pci_config_get(fn, fn->msix_cap + PCI_MSIX_FLAGS, 2) & PCI_MSIX_FLAGS_ENABLE;
}

bool pci_msi_on(const struct pci_function *fn)
{
	return fn->msi && pci_config_get(fn, fn->msi + PCI_MSI_FLAGS, 2) & PCI_MSI_FLAGS_ENABLE;
}

bool pci_send_msi(struct pci_function *fn, unsigned vector)
{
	if (pci_msix_on(fn))
		pci_msix_raise(fn, vector);
	else if (pci_msi_on(fn))
		pci_msi_raise(fn, vector);
	else
		return false;
	return true;
}

void pci_update_intx(struct pci_function *fn)
{
	bool level = fn->intx && pci_awake(fn) && !(command(fn) & PCI_COMMAND_INTX_DISABLE) && !pci_msi_on(fn) &&
		     !pci_msix_on(fn);

	if (!fn->bus || level == fn->intx_on_bus)
		return;
	fn->intx_on_bus = level;
	pci_bus_intx(fn, level);
}

void pci_set_intx(struct pci_function *fn, bool level)
{
	fn->intx = level;
	if (level)
		fn->config[PCI_STATUS] |= PCI_STATUS_INTERRUPT;
	else
		fn->config[PCI_STATUS] &= (u8)~PCI_STATUS_INTERRUPT;
	pci_update_intx(fn);
}

/* ---- accesses ---- */

u32 pci_function_read(struct pci_function *fn, unsigned offset, unsigned size)
{
	if (fn->ops->config_reading)
		fn->ops->config_reading(fn, offset, size);
	return pci_config_get(fn, offset, size);
}

static void merge(struct pci_function *fn, unsigned offset, unsigned size, u32 value)
{
	for (unsigned i = 0; i < size; i++) {
		u8 byte = (u8)(value >> 8 * i), mask = fn->writable[offset + i];
		u8 *reg = &fn->config[offset + i];

		*reg = (u8)((*reg & ~mask) | (byte & mask));
		*reg &= (u8) ~(byte & fn->clear_on_1[offset + i]);
	}
}

/* A state that the function does not have is not entered (PCI PM 1.2, 3.2.4). */
static void settle_power(struct pci_function *fn, u32 before)
{
	u32 control = fn->config[fn->power + PCI_PM_CTRL];

	if (power_state(fn) == D1 || power_state(fn) == D2)
		fn->config[fn->power + PCI_PM_CTRL] = (u8)((control & ~(u32)PCI_PM_CTRL_STATE_MASK) | before);
}

void pci_function_write(struct pci_function *fn, unsigned offset, unsigned size, u32 value)
{
	u32 power = power_state(fn);

	merge(fn, offset, size, value);
	settle_power(fn, power);
	if (express_written(fn))
		return;
	if (pci_function_decode(fn))
		vm_map_changed(fn->vm);
	pci_msi_written(fn);
	pci_msix_written(fn);
	pci_update_intx(fn);
	if (fn->ops->config_written)
		fn->ops->config_written(fn, offset, size);
}

/* ---- life ---- */

void pci_function_reset(struct pci_function *fn)
{
	memcpy(fn->config, fn->config_reset, sizeof(fn->config));
	if (pci_function_decode(fn))
		vm_map_changed(fn->vm);
	pci_msix_reset(fn);
	pci_set_intx(fn, false);
	if (fn->ops->reset)
		fn->ops->reset(fn);
}

static struct pci_function *of(struct device *dev)
{
	return container_of(dev, struct pci_function, dev);
}

static void dev_reset(struct device *dev)
{
	pci_function_reset(of(dev));
}

void pci_function_free(struct pci_function *fn)
{
	pthread_mutex_lock(fn->dev.lock);
	pci_function_fini(fn);
	pthread_mutex_unlock(fn->dev.lock);
	if (fn->ops->free)
		fn->ops->free(fn);
}

static void dev_free(struct device *dev)
{
	pci_function_free(of(dev));
}

static const struct device_ops device_ops = {.reset = dev_reset, .free = dev_free};

int pci_function_init(struct pci_function *fn, struct vm *vm, const char *dev_name, const struct pci_ident *id,
	const struct pci_function_ops *ops)
{
	memset(fn, 0, sizeof(*fn));
	fn->dev = (struct device){.ops = &device_ops, .name = dev_name, .lock = &vm->lock};
	fn->ops = ops;
	fn->vm = vm;
	fn->caps_end = CAPS_START;
	fn->ext_caps_end = PCI_CFG_SPACE_SIZE;
	pci_config_set(fn, PCI_VENDOR_ID, 2, id->vendor);
	pci_config_set(fn, PCI_DEVICE_ID, 2, id->device);
	pci_config_set(fn, PCI_CLASS_REVISION, 4, id->class << 8 | id->revision);
	pci_config_set(fn, PCI_SUBSYSTEM_VENDOR_ID, 2, id->subvendor);
	pci_config_set(fn, PCI_SUBSYSTEM_ID, 2, id->subsystem);
	pci_config_writable(fn, PCI_COMMAND, 2, COMMAND_WRITABLE);
	pci_config_writable(fn, PCI_CACHE_LINE_SIZE, 1, 0xff);
	pci_config_writable(fn, PCI_INTERRUPT_LINE, 1, 0xff);
	if (!id->legacy) {
		add_power(fn);
		add_express(fn);
	}
	return 0;
}

void pci_function_fini(struct pci_function *fn)
{
	pci_msix_fini(fn);
	free(fn->rom_contents);
	fn->rom_contents = NULL;
}
