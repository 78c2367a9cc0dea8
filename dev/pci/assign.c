/* SPDX-License-Identifier: MIT */
/*
 * What firmware would have done: places for all BARs, the largest first, so that
 * each is aligned without gaps.
 */
#include <linux/pci_regs.h>

#include "dev/pci/host.h"
#include "dev/pci/port.h"
#include "lib/width.h"
#include "vm/vm.h"

#define LARGEST 46 /* a BAR has fewer bits than a guest-physical address */

/* Each port gets this much for what may be plugged in later; ports for the first few only, there are so few. */
#define PORT_IO KIB(4)
#define PORT_IO_LEFT KIB(8)
#define PORT_MEM MIB(16)
#define PORT_PREFETCH GIB(1)

/* Room that is left in the windows, from their ends that are lower. */
struct room {
	struct pci_window io, mem32, mem64;
	bool behind; /* a port, which forwards only what may be prefetched above 4 GiB */
};

/* A place for size bytes, or 0. */
static u64 take(struct pci_window *window, u64 size)
{
	u64 base = ALIGN_UP(window->base, size);

	if (base >= window->end || size > window->end - base)
		return 0;
	window->base = base + size;
	return base;
}

static struct pci_window take_window(struct pci_window *window, u64 size)
{
	u64 base = take(window, size);

	return base ? (struct pci_window){base, base + size} : (struct pci_window){0, 0};
}

static bool is_64(const struct pci_bar *bar)
{
	return bar->kind == PCI_BAR_MEM64 || bar->kind == PCI_BAR_MEM64_PREFETCH;
}

static bool may_be_high(const struct pci_bar *bar, const struct room *room)
{
	return bar->kind == PCI_BAR_MEM64_PREFETCH || (bar->kind == PCI_BAR_MEM64 && !room->behind);
}

/* Below 4 GiB while there is room, as any OS reaches that. A BAR without a place stays at 0: nowhere. */
static void give(struct pci_function *fn, const struct pci_bar *bar, unsigned reg, struct room *room)
{
	u64 base = take(bar->kind == PCI_BAR_IO ? &room->io : &room->mem32, bar->size);

	if (!base && may_be_high(bar, room))
		base = take(&room->mem64, bar->size);
	pci_config_set(fn, reg, 4,
		(pci_config_get(fn, reg, 4) & ~(u32)width_load(fn->writable + reg, 4)) | (u32)base);
	if (is_64(bar))
		pci_config_set(fn, reg + 4, 4, (u32)(base >> 32));
}

static void give_size(struct pci_function *fn, u64 size, struct room *room)
{
	for (unsigned i = 0; i < PCI_BARS; i++) {
		if (fn->bar[i].kind && fn->bar[i].size == size)
			give(fn, &fn->bar[i], PCI_BASE_ADDRESS_0 + 4 * i, room);
	}
	if (fn->rom.kind && fn->rom.size == size)
		give(fn, &fn->rom, PCI_ROM_ADDRESS, room);
}

static void give_all(struct pci_bus *bus, struct room *room)
{
	for (u64 size = BIT(LARGEST); size; size /= 2) {
		for (struct pci_function *fn = bus->functions; fn; fn = fn->next)
			give_size(fn, size, room);
	}
}

/* Bus mastering is for drivers to switch on. */
static void switch_on(struct pci_function *fn)
{
	struct pci_host *host = fn->bus->host;
	unsigned pin = fn->config[PCI_INTERRUPT_PIN];
	u32 command = pci_config_get(fn, PCI_COMMAND, 2);

	for (unsigned i = 0; i < PCI_BARS; i++) {
		if (fn->bar[i].kind)
			command |= fn->bar[i].kind == PCI_BAR_IO ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY;
	}
	pci_config_set(fn, PCI_COMMAND, 2, command);
	if (pin)
		pci_config_set(fn, PCI_INTERRUPT_LINE, 1, host->wiring.isa_irq[pci_intx_line(fn)]);
	pci_function_decode(fn);
}

static void switch_on_all(struct pci_bus *bus)
{
	for (struct pci_function *fn = bus->functions; fn; fn = fn->next)
		switch_on(fn);
}

/* What a port's window must hold at least: twice the BARs, since they are aligned. */
static u64 needed(const struct pci_bus *bus, bool high, u64 least)
{
	u64 size = least, sum = 0;

	for (const struct pci_function *fn = bus->functions; fn; fn = fn->next) {
		for (unsigned i = 0; i < PCI_BARS; i++) {
			const struct pci_bar *bar = &fn->bar[i];

			if (bar->kind != PCI_BAR_IO && (bar->kind == PCI_BAR_MEM64_PREFETCH) == high)
				sum += 2 * bar->size;
		}
	}
	while (size < sum)
		size *= 2;
	return size;
}

static void assign_port(struct pci_bus *bus, u8 number, struct room *room)
{
	struct pci_port *port = container_of(bus->port, struct pci_port, pci);
	struct room behind = {.behind = true};

	if (room->io.end - room->io.base >= PORT_IO_LEFT)
		behind.io = take_window(&room->io, PORT_IO);
	behind.mem32 = take_window(&room->mem32, needed(bus, false, PORT_MEM));
	behind.mem64 = take_window(&room->mem64, needed(bus, true, PORT_PREFETCH));
	pci_port_configure(port, number, behind.io, behind.mem32, behind.mem64);
	give_all(bus, &behind);
}

/* Ports after the root bus's own functions; the list has the newest first. */
static u8 assign_ports(struct pci_bus *bus, struct room *room)
{
	u8 number;

	if (!bus)
		return 0;
	number = assign_ports(bus->next, room) + 1;
	assign_port(bus, number, room);
	return number;
}

void pci_assign(struct pci_host *host)
{
	struct room room = {.io = host->wiring.io, .mem32 = host->wiring.mem32, .mem64 = host->wiring.mem64};

	give_all(&host->root, &room);
	assign_ports(host->buses, &room);
	switch_on_all(&host->root);
	for (struct pci_bus *bus = host->buses; bus; bus = bus->next)
		switch_on_all(bus);
	vm_map_changed(host->vm);
}
