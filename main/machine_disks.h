/* SPDX-License-Identifier: MIT */
/* The machine's disks, from its configuration: their backends, and the devices that show them to the guest. */
#pragma once

#include "main/machine.h"

/* Opens the disks, makes the devices, and plugs them in. 0, or -errno with a line in err. */
int machine_add_disks(struct machine *m, struct err *err);
/* After the devices are gone. */
void machine_close_disks(struct machine *m);
