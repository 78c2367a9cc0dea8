/* SPDX-License-Identifier: MIT */
/* PCI Express root port with a hot-plug slot. Facts: PCI-to-PCI bridge architecture 1.2, PCI Express base specification. */
#include "dev/pci/port.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <stdlib.h>
#include <string.h>

#include "vm/vm.h"

enum {
	CLASS_PCI_BRIDGE = 0x060400,
	LINK = 1 << 4 | 1, /* one lane, 2.5 GT/s */
	CONTROL_WRITABLE = PCI_BRIDGE_CTL_PARITY | PCI_BRIDGE_CTL_SERR | PCI_BRIDGE_CTL_BUS_RESET,
	SECONDARY_CLEAR = 0xf9, /* high byte of the secondary status */
	EVENTS = PCI_EXP_SLTSTA_ABP | PCI_EXP_SLTSTA_PDC | PCI_EXP_SLTSTA_DLLSC,
	SLOT_WRITABLE = PCI_EXP_SLTCTL_ABPE | PCI_EXP_SLTCTL_PDCE | PCI_EXP_SLTCTL_HPIE | PCI_EXP_SLTCTL_AIC |
			PCI_EXP_SLTCTL_PIC | PCI_EXP_SLTCTL_DLLSCE,
	ROOT_WRITABLE = 0x0f, /* errors as interrupts, PME interrupts: none of these ever happen */
};

static struct pci_port *of(struct pci_function *fn)
{
	return container_of(fn, struct pci_port, pci);
}

static u32 get(const struct pci_port *port, unsigned offset, unsigned size)
{
	return pci_config_get(&port->pci, offset, size);
}

static void set(struct pci_port *port, unsigned offset, unsigned size, u32 value)
{
	pci_config_set(&port->pci, offset, size, value);
}

static u32 slot_control(const struct pci_port *port)
{
	return get(port, port->pci.express + PCI_EXP_SLTCTL, 2);
}

bool pci_port_empty(const struct pci_port *port)
{
	return !port->bus.functions;
}

/* ---- the slot ---- */

/* A message for each rise of the condition, or a level on the INTx wire. */
static void update_interrupt(struct pci_port *port)
{
	u32 control = slot_control(port), status = get(port, port->pci.express + PCI_EXP_SLTSTA, 2), due;

	/* The enable bits lie where their status bits do, but for the link's. */
	due = status & control & (PCI_EXP_SLTSTA_ABP | PCI_EXP_SLTSTA_PDC);
	if (control & PCI_EXP_SLTCTL_DLLSCE)
		due |= status & PCI_EXP_SLTSTA_DLLSC;
	if (!(control & PCI_EXP_SLTCTL_HPIE))
		due = 0;
	if (due && !port->intr)
		pci_send_msi(&port->pci, 0);
	port->intr = due;
	pci_set_intx(&port->pci, due);
}

static void event(struct pci_port *port, u32 events)
{
	unsigned status = port->pci.express + PCI_EXP_SLTSTA;

	set(port, status, 2, get(port, status, 2) | events);
	update_interrupt(port);
}

static void show_presence(struct pci_port *port)
{
	unsigned status = port->pci.express + PCI_EXP_SLTSTA;
	u32 bits = get(port, status, 2) & ~(u32)PCI_EXP_SLTSTA_PDS;

	set(port, status, 2, bits | (pci_port_empty(port) ? 0 : PCI_EXP_SLTSTA_PDS));
}

/* The link is up while there is a function. Down: what was behind it has lost its state. True: a change. */
static bool follow_link(struct pci_port *port)
{
	bool up = !pci_port_empty(port) && !(get(port, PCI_BRIDGE_CONTROL, 2) & PCI_BRIDGE_CTL_BUS_RESET);

	if (up == port->bus.up)
		return false;
	port->bus.up = up;
	set(port, port->pci.express + PCI_EXP_LNKSTA, 2, up ? LINK | PCI_EXP_LNKSTA_DLLLA : LINK);
	for (struct pci_function *fn = port->bus.functions; fn && !up; fn = fn->next)
		fn->dev.ops->reset(&fn->dev);
	return true;
}

/* The function leaves for good, forgetting what it was doing. */
static void take_out(struct pci_port *port)
{
	struct pci_function *fn = port->bus.functions;

	port->leaving = false;
	fn->dev.ops->reset(&fn->dev);
	pci_bus_unplug(fn);
	port->gone(port->gone_arg, fn);
}

/* While the power indicator is off, whoever stands before the machine may take the card out. */
static bool indicator_off(const struct pci_port *port)
{
	return (slot_control(port) & PCI_EXP_SLTCTL_PIC) == PCI_EXP_SLTCTL_PWR_IND_OFF;
}

/* A function that the guest is done with forgets where it was: taking it out changes no map then. */
static void follow_indicator(struct pci_port *port)
{
	bool off = indicator_off(port);

	for (struct pci_function *fn = port->bus.functions; fn && off && port->lit; fn = fn->next)
		fn->dev.ops->reset(&fn->dev);
	port->lit = !off;
}

static void slot_written(struct pci_port *port)
{
	u32 events = 0;

	follow_indicator(port);
	if (port->leaving && indicator_off(port)) {
		take_out(port);
		show_presence(port);
		events = PCI_EXP_SLTSTA_PDC;
	}
	if (follow_link(port))
		events |= PCI_EXP_SLTSTA_DLLSC;
	event(port, events);
}

static bool is_mapped(const struct pci_function *fn)
{
	bool mapped = fn->rom.mapped;

	for (unsigned i = 0; i < PCI_BARS; i++)
		mapped |= fn->bar[i].mapped;
	return mapped;
}

int pci_hot_plug(struct pci_port *port, struct pci_function *fn)
{
	int ret = pci_port_empty(port) ? pci_bus_plug(&port->bus, fn, PCI_DEVFN(0, 0)) : -EBUSY;

	if (ret)
		return ret;
	show_presence(port);
	/* In a slot without a switch for its power the link comes up at once: that is what Linux looks at. */
	event(port, PCI_EXP_SLTSTA_PDC | (follow_link(port) ? PCI_EXP_SLTSTA_DLLSC : 0));
	return 0;
}

int pci_hot_unplug(struct pci_port *port, void (*gone)(void *arg, struct pci_function *fn), void *arg)
{
	if (pci_port_empty(port))
		return -ENODEV;
	if (port->leaving)
		return -EALREADY;
	port->leaving = true;
	port->gone = gone;
	port->gone_arg = arg;
	/* The map must not change on this thread: one who does not use the indicator is asked, too. */
	if (indicator_off(port) && !is_mapped(port->bus.functions))
		slot_written(port);
	else
		event(port, PCI_EXP_SLTSTA_ABP);
	return 0;
}

/* ---- the bridge ---- */

static struct pci_window window(u64 base, u64 last)
{
	return base < last ? (struct pci_window){base, last + 1} : (struct pci_window){0, 0};
}

struct pci_window pci_port_io(const struct pci_port *port)
{
	u64 base = get(port, PCI_IO_BASE, 1) & 0xf0u, limit = get(port, PCI_IO_LIMIT, 1) & 0xf0u;

	return window(base << 8, limit << 8 | 0xfff);
}

struct pci_window pci_port_mem(const struct pci_port *port)
{
	u64 base = get(port, PCI_MEMORY_BASE, 2) & 0xfff0u, limit = get(port, PCI_MEMORY_LIMIT, 2) & 0xfff0u;

	return window(base << 16, limit << 16 | 0xfffff);
}

struct pci_window pci_port_prefetch(const struct pci_port *port)
{
	u64 base = (get(port, PCI_PREF_MEMORY_BASE, 2) & 0xfff0u) << 16;
	u64 limit = (get(port, PCI_PREF_MEMORY_LIMIT, 2) & 0xfff0u) << 16;

	base |= (u64)get(port, PCI_PREF_BASE_UPPER32, 4) << 32;
	limit |= (u64)get(port, PCI_PREF_LIMIT_UPPER32, 4) << 32;
	return window(base, limit | 0xfffff);
}

/* A pair of registers; an empty window has its base above its limit. */
static void set_window(struct pci_port *port, unsigned base_reg, unsigned limit_reg, struct pci_window w, bool io)
{
	unsigned size = io ? 1 : 2, unit = io ? 8 : 16;
	u32 mask = io ? 0xf0 : 0xfff0, type = get(port, base_reg, 1) & 0xf;
	bool empty = w.base >= w.end;

	set(port, base_reg, size, (empty ? mask : (u32)(w.base >> unit) & mask) | type);
	set(port, limit_reg, size, (empty ? 0 : (u32)((w.end - 1) >> unit) & mask) | type);
}

/* A slot with a function is in use, and what happened before is no news. */
static void start_slot(struct pci_port *port)
{
	unsigned cap = port->pci.express;

	if (!pci_port_empty(port))
		set(port, cap + PCI_EXP_SLTCTL, 2, PCI_EXP_SLTCTL_PWR_IND_ON | PCI_EXP_SLTCTL_ATTN_IND_OFF);
	set(port, cap + PCI_EXP_SLTSTA, 2, get(port, cap + PCI_EXP_SLTSTA, 2) & ~(u32)EVENTS);
	port->lit = !pci_port_empty(port);
	follow_link(port);
}

void pci_port_configure(struct pci_port *port, u8 bus, struct pci_window io, struct pci_window mem,
	struct pci_window prefetch)
{
	bool has_prefetch = prefetch.end > prefetch.base;

	set(port, PCI_PRIMARY_BUS, 1, 0);
	set(port, PCI_SECONDARY_BUS, 1, bus);
	set(port, PCI_SUBORDINATE_BUS, 1, bus);
	set_window(port, PCI_IO_BASE, PCI_IO_LIMIT, io, true);
	set_window(port, PCI_MEMORY_BASE, PCI_MEMORY_LIMIT, mem, false);
	set_window(port, PCI_PREF_MEMORY_BASE, PCI_PREF_MEMORY_LIMIT, prefetch, false);
	set(port, PCI_PREF_BASE_UPPER32, 4, has_prefetch ? (u32)(prefetch.base >> 32) : 0);
	set(port, PCI_PREF_LIMIT_UPPER32, 4, has_prefetch ? (u32)((prefetch.end - 1) >> 32) : 0);
	set(port, PCI_COMMAND, 2, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	start_slot(port);
}

/* The bridge's registers decide who reaches what is behind it, and the other way round. */
static void tell_behind(struct pci_port *port)
{
	bool changed = false;

	for (struct pci_function *fn = port->bus.functions; fn; fn = fn->next)
		changed |= pci_function_decode(fn);
	if (changed)
		vm_map_changed(port->pci.vm);
	for (struct pci_function *fn = port->bus.functions; fn; fn = fn->next) {
		if (fn->ops->config_written)
			fn->ops->config_written(fn, 0, 0);
	}
}

static void port_written(struct pci_function *fn, unsigned offset, unsigned size)
{
	struct pci_port *port = of(fn);

	slot_written(port);
	if (offset < PCI_STD_HEADER_SIZEOF || pci_overlaps(offset, size, fn->power, PCI_PM_SIZEOF))
		tell_behind(port);
}

/* A function that was to leave has left. */
static void port_reset(struct pci_function *fn)
{
	struct pci_port *port = of(fn);

	port->bus.up = false;
	port->intr = port->lit = false;
	for (struct pci_function *behind = port->bus.functions; behind; behind = behind->next)
		behind->dev.ops->reset(&behind->dev);
	if (port->leaving)
		take_out(port);
	show_presence(port);
}

static void port_free(struct pci_function *fn)
{
	struct pci_port *port = of(fn);
	struct pci_bus **link = &port->bus.host->buses;

	pci_bus_free(&port->bus);
	while (*link && *link != &port->bus)
		link = &(*link)->next;
	if (*link)
		*link = port->bus.next;
	free(port);
}

static const struct pci_function_ops port_ops = {
	.config_written = port_written,
	.reset = port_reset,
	.free = port_free,
};

/* ---- making one ---- */

static void make_bridge_registers(struct pci_function *fn)
{
	pci_config_set(fn, PCI_HEADER_TYPE, 1, PCI_HEADER_TYPE_BRIDGE);
	pci_config_writable(fn, PCI_PRIMARY_BUS, 4, 0x00ffffff);
	pci_config_writable(fn, PCI_IO_BASE, 2, 0xf0f0);
	fn->clear_on_1[PCI_SEC_STATUS + 1] = SECONDARY_CLEAR;
	pci_config_writable(fn, PCI_MEMORY_BASE, 4, 0xfff0fff0);
	pci_config_writable(fn, PCI_PREF_MEMORY_BASE, 4, 0xfff0fff0);
	pci_config_set(fn, PCI_PREF_MEMORY_BASE, 4, PCI_PREF_RANGE_TYPE_64 << 16 | PCI_PREF_RANGE_TYPE_64);
	pci_config_writable(fn, PCI_PREF_BASE_UPPER32, 4, ~0u);
	pci_config_writable(fn, PCI_PREF_LIMIT_UPPER32, 4, ~0u);
	pci_config_writable(fn, PCI_BRIDGE_CONTROL, 2, CONTROL_WRITABLE);
}

static void make_slot_registers(struct pci_function *fn, unsigned number)
{
	unsigned cap = fn->express;

	pci_config_set(fn, cap + PCI_EXP_FLAGS, 2, 2 | PCI_EXP_TYPE_ROOT_PORT << 4 | PCI_EXP_FLAGS_SLOT);
	pci_config_set(fn, cap + PCI_EXP_DEVCAP, 4, PCI_EXP_DEVCAP_RBER); /* no FLR */
	pci_config_writable(fn, cap + PCI_EXP_DEVCTL, 2, pci_config_get(fn, cap + PCI_EXP_DEVCTL, 2) | 0xf);
	pci_config_set(fn, cap + PCI_EXP_LNKCAP, 4, LINK | PCI_EXP_LNKCAP_DLLLARC | number << 24);
	pci_config_set(fn, cap + PCI_EXP_LNKSTA, 2, LINK);
	pci_config_set(fn, cap + PCI_EXP_LNKCAP2, 4, PCI_EXP_LNKCAP2_SLS_2_5GB);
	pci_config_set(fn, cap + PCI_EXP_LNKCTL2, 2, PCI_EXP_LNKCTL2_TLS_2_5GT);
	pci_config_set(fn, cap + PCI_EXP_SLTCAP, 4,
		PCI_EXP_SLTCAP_ABP | PCI_EXP_SLTCAP_AIP | PCI_EXP_SLTCAP_PIP |
			PCI_EXP_SLTCAP_HPC | PCI_EXP_SLTCAP_NCCS | number << 19);
	pci_config_set(fn, cap + PCI_EXP_SLTCTL, 2,
		PCI_EXP_SLTCTL_PWR_IND_OFF | PCI_EXP_SLTCTL_ATTN_IND_OFF);
	pci_config_writable(fn, cap + PCI_EXP_SLTCTL, 2, SLOT_WRITABLE);
	fn->clear_on_1[cap + PCI_EXP_SLTSTA] = EVENTS & 0xff;
	fn->clear_on_1[cap + PCI_EXP_SLTSTA + 1] = EVENTS >> 8;
	pci_config_writable(fn, cap + PCI_EXP_RTCTL, 2, ROOT_WRITABLE);
}

int pci_port_create(struct pci_host *host, const char *name, unsigned number, struct pci_port **out)
{
	/* QEMU's generic root port, which systems know to be nothing special. */
	const struct pci_ident id = {.vendor = 0x1b36, .device = 0x000c, .class = CLASS_PCI_BRIDGE};
	struct pci_port *port = calloc(1, sizeof(*port));
	int ret;

	if (!port)
		return -ENOMEM;
	port->number = number;
	port->bus = (struct pci_bus){.host = host, .port = &port->pci};
	ret = pci_function_init(&port->pci, host->vm, name, &id, &port_ops);
	if (!ret)
		ret = pci_add_msi(&port->pci, 1);
	if (ret) {
		free(port);
		return ret;
	}
	make_bridge_registers(&port->pci);
	make_slot_registers(&port->pci, number);
	ret = pci_plug(host, &port->pci, PCI_ANY);
	if (ret) {
		free(port);
		return ret;
	}
	port->bus.next = host->buses;
	host->buses = &port->bus;
	*out = port;
	return 0;
}
