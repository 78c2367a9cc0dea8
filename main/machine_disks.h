/* SPDX-License-Identifier: MIT */
/* The machine's disks: their backends, and the devices that show them to the guest. */
#pragma once

#include "host/err.h"

struct machine;
struct vm_config;

/* Opens what the config names and makes the devices. 0, or -errno with a line in err. */
int machine_add_disks(struct machine *m, const struct vm_config *config, struct err *err);
/* After the devices have been freed; accepts what never was opened. */
void machine_close_disks(struct machine *m);
