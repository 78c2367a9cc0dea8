/* SPDX-License-Identifier: MIT */
/*
 * A PCI Express root port: a bridge from the root bus to a bus of its own with one slot,
 * into which a function can be put, and out of which it can be taken, while the
 * VM runs. The guest's driver does its part: it is told by attention button, presence
 * and link changes, and says by the power indicator when a function may go.
 *
 * Thread context: as in dev/pci/pci.h.
 */
#pragma once

#include "dev/pci/host.h"

struct pci_port {
	struct pci_function pci;
	struct pci_bus bus; /* the secondary one */
	unsigned number; /* of the slot, as the guest's users know it */
	bool intr; /* the interrupt condition, to see it rise */
	bool lit; /* the power indicator is on or blinks */
	bool leaving; /* the guest was asked to give the slot's function back */
	void (*gone)(void *arg, struct pci_function *fn);
	void *gone_arg;
};

/* On the next free device of the root bus, before the VM runs. The host bridge owns it. name stays the caller's. */
int pci_port_create(struct pci_host *host, const char *name, unsigned number, struct pci_port **out);
bool pci_port_empty(const struct pci_port *port);
/* Before or while the VM runs. The port owns fn from here. -EBUSY: there is one. */
int pci_hot_plug(struct pci_port *port, struct pci_function *fn);
/*
 * Presses the slot's attention button. When the guest has switched the slot's power indicator off (seconds later; at
 * the next reset if it never does), gone is called, on whichever thread that happens: fn is out of the VM and the
 * callee's, who frees it later by pci_function_free. -ENODEV: the slot is empty; -EALREADY: it was asked before.
 */
int pci_hot_unplug(struct pci_port *port, void (*gone)(void *arg, struct pci_function *fn), void *arg);

/* What windows the port forwards; empty: base == end. */
struct pci_window pci_port_io(const struct pci_port *port);
struct pci_window pci_port_mem(const struct pci_port *port);
struct pci_window pci_port_prefetch(const struct pci_port *port);
/* Firmware's part; the windows are multiples of 4 KiB (I/O) and 1 MiB. */
void pci_port_configure(struct pci_port *port, u8 bus, struct pci_window io, struct pci_window mem,
	struct pci_window prefetch);
