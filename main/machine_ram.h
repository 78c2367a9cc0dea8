/* SPDX-License-Identifier: MIT */
/* The guest's RAM: from the engine, from this process, or shared with helper processes. */
#pragma once

#include "main/machine.h"

#define RAM_HOLE_BASE PCI_ECAM_BASE /* RAM below 4 GiB ends here at the latest */

/* Checks the size, gets the memory, puts it into the space. 0, or -errno with a line in err. */
int machine_add_ram(struct machine *m, struct err *err);
/* To zeroes. */
void machine_clear_ram(struct machine *m);
void machine_free_ram(struct machine *m);
