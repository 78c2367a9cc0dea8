/* SPDX-License-Identifier: MIT */
/*
 * A PCI Express function, as a device model sees it: an identity, BARs whose
 * regions appear where the guest puts them, interrupts, and reset. The
 * config space itself (sizing, command bits, capabilities) is dev/pci/function.c's.
 *
 * Thread context: the machine lock is held, or the VM does not run.
 */
#pragma once

#include "vm/device.h"
#include "vm/irq.h"
#include "vm/space.h"

struct vm;
struct pci_host;
struct pci_bus;
struct pci_function;

#define PCI_CONFIG_SIZE 4096u
#define PCI_BARS 6u
#define PCI_DEVFN(dev, fn) ((u8)((dev) << 3 | (fn)))

enum pci_bar_kind {
	PCI_BAR_NONE,
	PCI_BAR_IO,
	PCI_BAR_MEM32,
	PCI_BAR_MEM64, /* takes the next index, too */
	PCI_BAR_MEM64_PREFETCH,
};

struct pci_ident {
	u16 vendor, device, subvendor, subsystem;
	u32 class; /* 24 bits: class, subclass, interface */
	u8 revision;
	bool legacy; /* a conventional PCI device: no PCI Express capability */
};

struct pci_function_ops {
	/* Before the guest reads config registers: a device may refresh its own. May be NULL. */
	void (*config_reading)(struct pci_function *fn, unsigned offset, unsigned size);
	/*
	 * After a guest's write was merged, wherever it was; a device looks for its own registers. With a size of 0:
	 * to a bridge before it, which may let it reach memory now. May be NULL.
	 */
	void (*config_written)(struct pci_function *fn, unsigned offset, unsigned size);
	void (*reset)(struct pci_function *fn); /* power-on, FLR or secondary bus reset; config space is reset already */
	/* Releases what the device owns, and itself. The lock is not held: its threads may need it to end. */
	void (*free)(struct pci_function *fn);
};

struct pci_bar {
	struct region *region; /* the device's; its base is where the guest has put it */
	u64 size;
	enum pci_bar_kind kind;
	bool mapped; /* it is in the space now */
};

struct pci_msix; /* dev/pci/msix.c */

struct pci_function {
	struct device dev; /* set up by pci_function_init */
	const struct pci_function_ops *ops;
	struct vm *vm;
	struct pci_bus *bus; /* once plugged */
	u8 devfn;
	u8 config[PCI_CONFIG_SIZE], writable[PCI_CONFIG_SIZE], clear_on_1[PCI_CONFIG_SIZE];
	u8 config_reset[PCI_CONFIG_SIZE]; /* config's power-on contents, taken when plugged */
	struct pci_bar bar[PCI_BARS], rom;
	struct region rom_region;
	u8 *rom_contents;
	u16 last_cap, caps_end; /* the chain's end, and where the next capability goes */
	u16 last_ext_cap, ext_caps_end;
	u16 power, express, msi, msix_cap; /* offsets; 0: none */
	struct pci_msix *msix;
	bool intx; /* the INTx level that the device drives */
	bool intx_on_bus; /* and what of it reaches the bus */
	struct pci_function *next; /* on its bus */
};

/* ---- making a function, in this order; all return 0 or -errno ---- */

/* dev_name stays the caller's. The function has no BAR, capability or place yet. */
int pci_function_init(struct pci_function *fn, struct vm *vm, const char *dev_name, const struct pci_ident *id,
	const struct pci_function_ops *ops);
/*
 * region: name, ops or host and direct, filled in by the caller, without base and size; region->dev
 * should be &fn->dev. size: a power of two, at least 4 (ports) or 16 (memory; a whole page is wiser).
 */
int pci_add_bar(struct pci_function *fn, unsigned index, enum pci_bar_kind kind, u64 size, struct region *region);
/* Expansion ROM: contents are copied. */
int pci_add_rom(struct pci_function *fn, const void *contents, size_t len);
/* A capability of size bytes (with its two-byte header). Its offset, or -ENOSPC. */
int pci_add_capability(struct pci_function *fn, u8 id, unsigned size);
int pci_add_ext_capability(struct pci_function *fn, u16 id, u8 version, unsigned size);
/* vectors: 1 to 32, a power of two. */
int pci_add_msi(struct pci_function *fn, unsigned vectors);
/* vectors: 1 to 2048; table and pending bits get the BAR of that index to themselves. */
int pci_add_msix(struct pci_function *fn, unsigned vectors, unsigned bar);
/* For a function that will not be plugged after all: releases what these allocated. */
void pci_function_fini(struct pci_function *fn);
/* One that was made whole, and is on no bus (any more). Without the machine lock. */
void pci_function_free(struct pci_function *fn);
/* Registers of the device's own capability. */
void pci_config_set(struct pci_function *fn, unsigned offset, unsigned size, u32 value);
void pci_config_writable(struct pci_function *fn, unsigned offset, unsigned size, u32 mask);
u32 pci_config_get(const struct pci_function *fn, unsigned offset, unsigned size);

/* ---- its place ---- */

enum { PCI_ANY = 0xff }; /* devfn: the next free device number */

/*
 * Before the VM runs: onto the root bus, at devfn. -EBUSY: taken; -ENOSPC: full. From here the host bridge
 * owns fn and calls its ops->reset and ops->free; it is not for vm_add_device.
 */
int pci_plug(struct pci_host *host, struct pci_function *fn, u8 devfn);

/* ---- while it runs ---- */

/*
 * Edge: sends message `vector` if MSI-X or MSI is on; false: neither is, so drive INTx
 * with pci_set_intx. A masked vector becomes pending.
 */
bool pci_send_msi(struct pci_function *fn, unsigned vector);
/* Level; nothing reaches the guest while MSI or MSI-X is on or the command register forbids it. */
void pci_set_intx(struct pci_function *fn, bool level);
bool pci_msix_on(const struct pci_function *fn);
bool pci_msi_on(const struct pci_function *fn);
/* May the function read and write memory, and send MSIs? Not in D3hot. Check before DMA. */
bool pci_bus_master(const struct pci_function *fn);
