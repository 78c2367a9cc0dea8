/* SPDX-License-Identifier: MIT */
/*
 * What firmware would have done: places for all BARs, the largest first, so that
 * each is aligned without gaps.
 */
#include <linux/pci_regs.h>

#include "dev/pci/host.h"
#include "lib/width.h"
#include "vm/vm.h"

#define LARGEST 46 /* a BAR has fewer bits than a guest-physical address */

/* Room that is left in the windows, from their ends that are lower. */
struct room {
	struct pci_window io, mem32, mem64;
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

static bool is_64(const struct pci_bar *bar)
{
	return bar->kind == PCI_BAR_MEM64 || bar->kind == PCI_BAR_MEM64_PREFETCH;
}

/* Below 4 GiB while there is room, as any OS reaches that. A BAR without a place stays at 0: nowhere. */
static void give(struct pci_function *fn, const struct pci_bar *bar, unsigned reg, struct room *room)
{
	u64 base = take(bar->kind == PCI_BAR_IO ? &room->io : &room->mem32, bar->size);

	if (!base && is_64(bar))
		base = take(&room->mem64, bar->size);
	pci_config_set(fn, reg, 4, (pci_config_get(fn, reg, 4) & ~(u32)width_load(fn->writable + reg, 4)) | (u32)base);
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

/* Bus mastering is for drivers to switch on. */
static void switch_on(struct pci_function *fn)
{
	struct pci_host *host = fn->bus->host;
	unsigned pin = fn->config[PCI_INTERRUPT_PIN];
	u32 command = pci_config_get(fn, PCI_COMMAND, 2) & ~(u32)(PCI_COMMAND_IO | PCI_COMMAND_MEMORY);

	for (unsigned i = 0; i < PCI_BARS; i++) {
		if (fn->bar[i].kind)
			command |= fn->bar[i].kind == PCI_BAR_IO ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY;
	}
	if (fn != &host->bridge)
		pci_config_set(fn, PCI_COMMAND, 2, command);
	if (pin)
		pci_config_set(fn, PCI_INTERRUPT_LINE, 1, host->wiring.isa_irq[pci_intx_line(fn)]);
	pci_function_decode(fn);
}

void pci_assign(struct pci_host *host)
{
	struct room room = {host->wiring.io, host->wiring.mem32, host->wiring.mem64};

	for (u64 size = BIT(LARGEST); size; size /= 2) {
		for (struct pci_function *fn = host->root.functions; fn; fn = fn->next)
			give_size(fn, size, &room);
	}
	for (struct pci_function *fn = host->root.functions; fn; fn = fn->next)
		switch_on(fn);
	vm_map_changed(host->vm);
}
