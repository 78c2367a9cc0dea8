/* SPDX-License-Identifier: MIT */
/* The machine's disks, from its configuration: their backends, and the devices that show them to the guest. */
#pragma once

#include "main/machine.h"

/* Opens the disks, makes the devices, and plugs them in. 0, or -errno with a line in err. */
int machine_add_disks(struct machine *m, struct err *err);
/* After the devices are gone. */
void machine_close_disks(struct machine *m);

/* A disk for an empty port, while the VM runs. fd: see disk_source.opened; -1: there is none. On the loop's thread. */
int machine_hot_disk(struct machine *m, struct pci_port *port, const struct disk_config *config, int fd,
	unsigned *index, struct err *err);
/* After its device is gone. */
void machine_hot_disk_close(struct machine *m, unsigned index);
