/* SPDX-License-Identifier: MIT */
/*
 * An AHCI 1.3 controller with up to six ports: SATA disks with native command
 * queueing, and CD-ROM drives.
 */
#pragma once

#include "backend/disk.h"
#include "dev/pci/pci.h"

#define AHCI_PORTS 6u

struct ahci;

/* Plug it in with pci_plug(host, ahci_function(ahci), devfn). 0 or -errno. */
int ahci_create(struct vm *vm, struct ahci **out);
struct pci_function *ahci_function(struct ahci *ahci);
/*
 * Puts a drive on the next port, before the VM runs; the disk outlives the controller.
 * 0; -ENOSPC: the ports are full; -ENOMEM.
 */
int ahci_attach(struct ahci *ahci, struct disk *disk, bool cdrom, const char *serial);
