/* SPDX-License-Identifier: MIT */
/* Intel's 82540EM gigabit network card (PCI/PCI-X Family of Gigabit Ethernet Controllers, 317453). */
#pragma once

#include "backend/net.h"
#include "dev/pci/pci.h"

struct e1000;

struct e1000_counters {
	u64 tail_writes, interrupts, throttled, cause_reads, starved, filtered;
};

/*
 * net's device is this card from here on; net outlives it. rom: contents for the expansion ROM,
 * or NULL. The function is still to be plugged.
 */
int e1000_create(struct vm *vm, struct net *net, const void *rom, size_t rom_len, struct pci_function **out);
const struct e1000_counters *e1000_counters(const struct pci_function *fn);
