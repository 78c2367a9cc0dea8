/* SPDX-License-Identifier: MIT */
/* The machine's network cards, from its configuration. */
#pragma once

#include <stdio.h>

#include "main/machine.h"

/* Makes the backends and the cards, and plugs them in. 0, or -errno with a line in err. */
int machine_add_nets(struct machine *m, struct err *err);
/* After the devices are gone. */
void machine_close_nets(struct machine *m);
/* A card for an empty port, while the VM runs. On the loop's thread. */
int machine_hot_net(struct machine *m, struct pci_port *port, const struct net_config *config, unsigned *index,
	struct err *err);
/* After its device is gone. */
void machine_hot_net_close(struct machine *m, unsigned index);
/* Counters for people; from any thread, so figures may be a little old. */
void machine_print_nets(const struct machine *m, FILE *out);
