/* SPDX-License-Identifier: MIT */
/*
 * PCI: the interface of a function, and the host bridge with its two ways to
 * config space (0xCF8/0xCFC and ECAM). The reset control register at 0xCF9
 * lives here too, since it shares the ports.
 */
#pragma once

#include "vm/device.h"
#include "vm/space.h"

struct vm;
struct pci_function;

#define PCI_CONFIG_PORT 0xcf8
#define PCI_RESET_PORT 0xcf9
#define PCI_RESET_VALUE 0x06 /* for the FADT: hard reset */
#define PCI_ECAM_BASE 0xb0000000ull
#define PCI_ECAM_SIZE MIB(256)
#define PCI_ECAM_LAST_BUS 255

#define PCI_DEVFN(dev, fn) ((u8)((dev) << 3 | (fn)))

struct pci_function_ops {
	/* offset is below 4096, size 1, 2 or 4, and the access is aligned. */
	u32 (*read)(struct pci_function *fn, unsigned offset, unsigned size);
	void (*write)(struct pci_function *fn, unsigned offset, unsigned size, u32 value);
};

struct pci_function {
	const struct pci_function_ops *ops;
	u8 bus, devfn;
	struct pci_function *next; /* owned by the host bridge */
};

struct pci_host {
	struct device dev;
	struct region port_region, ecam_region;
	struct vm *vm;
	struct pci_function bridge; /* 00:00.0 */
	struct pci_function *functions;
	u32 address; /* port 0xcf8 */
	u8 reset_control; /* port 0xcf9 */
};

int pci_host_create(struct vm *vm, struct pci_host **out);
/* Plugs a function in; it stays the caller's. -EBUSY: its place is taken. */
int pci_add(struct pci_host *host, struct pci_function *fn);

/* For tests */
void pci_host_init(struct pci_host *host, struct vm *vm);
void pci_host_reset(struct pci_host *host);
u32 pci_port_read(struct pci_host *host, unsigned offset, unsigned size);
void pci_port_write(struct pci_host *host, unsigned offset, unsigned size, u32 value);
u32 pci_ecam_read(struct pci_host *host, u64 offset, unsigned size);
void pci_ecam_write(struct pci_host *host, u64 offset, unsigned size, u32 value);
