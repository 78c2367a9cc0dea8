/* SPDX-License-Identifier: MIT */
/*
 * The PCI root complex: the host bridge with its two ways to config space
 * (0xCF8/0xCFC and ECAM), the root bus, and where INTx wires and messages go. The
 * reset control register at 0xCF9 lives here too, since it shares the ports.
 */
#pragma once

#include "dev/pci/pci.h"
#include "vm/device.h"
#include "vm/irq.h"
#include "vm/space.h"

struct vm;

#define PCI_CONFIG_PORT 0xcf8
#define PCI_RESET_PORT 0xcf9
#define PCI_RESET_VALUE 0x06 /* for the FADT: hard reset */
#define PCI_ECAM_BASE 0xb0000000ull
#define PCI_ECAM_SIZE MIB(256)
#define PCI_INTX_LINES 4

/* [base, end) of what BARs may be given. */
struct pci_window {
	u64 base, end;
};

struct pci_wiring {
	struct msi_sink msi;
	struct irq_line intx[PCI_INTX_LINES];
	u8 isa_irq[PCI_INTX_LINES]; /* the 8259's pins that those lines go to: for the interrupt line registers */
	struct pci_window io, mem32, mem64;
};

struct pci_bus {
	struct pci_host *host;
	struct pci_function *port; /* the bridge that leads here; NULL: the root bus */
	bool up; /* its functions can be reached: a slot's link */
	struct pci_function *functions;
	struct pci_bus *next; /* among host->buses */
};

struct pci_host {
	struct device dev;
	struct region port_region, ecam_region;
	struct vm *vm;
	struct pci_wiring wiring;
	struct pci_bus root;
	struct pci_bus *buses; /* behind ports, newest first */
	struct pci_function bridge; /* 00:00.0 */
	unsigned asserted[PCI_INTX_LINES]; /* functions that assert the line */
	u32 address; /* port 0xcf8 */
	u8 reset_control; /* port 0xcf9 */
};

int pci_host_create(struct vm *vm, const struct pci_wiring *wiring, struct pci_host **out);
/*
 * What firmware would have done: places for all BARs, decoding switched on, interrupt lines written down. With every
 * vCPU stopped, before each start.
 */
void pci_assign(struct pci_host *host);

/* ---- between the files of dev/pci ---- */

int pci_bus_plug(struct pci_bus *bus, struct pci_function *fn, u8 devfn);
/* Takes the function out of its bus and out of the guest's sight; the caller frees it. */
void pci_bus_unplug(struct pci_function *fn);
void pci_bus_free(struct pci_bus *bus); /* all functions on it; the lock is not held */
unsigned pci_intx_line(const struct pci_function *fn); /* where its pin arrives */
void pci_bus_intx(struct pci_function *fn, bool level);
/* A message as the function writes it to the bus; without the right to, or elsewhere than to APICs, nothing. */
void pci_message(struct pci_function *fn, u64 addr, u32 data);

u32 pci_function_read(struct pci_function *fn, unsigned offset, unsigned size);
void pci_function_write(struct pci_function *fn, unsigned offset, unsigned size, u32 value);
void pci_function_reset(struct pci_function *fn);
/* Maps and unmaps the BARs as the registers say. True: the map has changed. */
bool pci_function_decode(struct pci_function *fn);
/* A register that decides about INTx has changed. */
void pci_update_intx(struct pci_function *fn);

/* In D0. In D3hot it answers config accesses, and does nothing of its own accord; what it would tell stays pending. */
bool pci_awake(const struct pci_function *fn);
bool pci_overlaps(unsigned offset, unsigned size, unsigned first, unsigned len);
/* After a write to config space: what was pending may go. */
void pci_msi_written(struct pci_function *fn);
void pci_msi_raise(struct pci_function *fn, unsigned vector);
void pci_msix_written(struct pci_function *fn);
void pci_msix_raise(struct pci_function *fn, unsigned vector);
void pci_msix_reset(struct pci_function *fn);
void pci_msix_fini(struct pci_function *fn);

/* For tests */
u32 pci_port_read(struct pci_host *host, unsigned offset, unsigned size);
void pci_port_write(struct pci_host *host, unsigned offset, unsigned size, u32 value);
u32 pci_ecam_read(struct pci_host *host, u64 offset, unsigned size);
void pci_ecam_write(struct pci_host *host, u64 offset, unsigned size, u32 value);
