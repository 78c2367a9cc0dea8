/* SPDX-License-Identifier: MIT */
/* Virtio devices that need nothing of the host but itself: random numbers, the balloon, the console. */
#pragma once

#include <stdio.h>

#include "main/machine.h"

/* From the configuration. 0, or -errno with a line in err. */
int machine_add_virtio(struct machine *m, struct err *err);
/* After the devices are gone. */
void machine_close_virtio(struct machine *m);
/* Counters of every virtio device's queues, and the balloon's figures; asks the guest for newer ones. */
void machine_print_virtio(struct machine *m, FILE *out);
