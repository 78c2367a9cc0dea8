/* SPDX-License-Identifier: MIT */
/* The machine's network cards, from its configuration. */
#pragma once

#include <stdio.h>

#include "main/machine.h"

/* Makes the backends and the cards, and plugs them in. 0, or -errno with a line in err. */
int machine_add_nets(struct machine *m, struct err *err);
/* After the devices are gone. */
void machine_close_nets(struct machine *m);
/* Counters for people; from any thread, so figures may be a little old. */
void machine_print_nets(const struct machine *m, FILE *out);
