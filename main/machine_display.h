/* SPDX-License-Identifier: MIT */
/* The machine's screen, keyboard and pointer, from its configuration. */
#pragma once

#include "main/machine.h"

bool machine_has_display(const struct machine *m);
/* Makes the devices and plugs them in, and listens for VNC. 0, or -errno with a line in err. */
int machine_add_display(struct machine *m, struct err *err);
/* Before the devices are gone. */
void machine_close_display(struct machine *m);
