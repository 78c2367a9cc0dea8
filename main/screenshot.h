/* SPDX-License-Identifier: MIT */
/* Pictures of VMs' screens: `mullion screenshot`, and its other end in the VM's process. */
#pragma once

#include "main/command.h"
#include "main/machine.h"

/* The screen as a PPM file, into fd, which must be a plain file. Loop's thread. 0 or -errno. */
int machine_screenshot(struct machine *m, int fd, unsigned *width, unsigned *height, struct err *err);

extern const struct command command_screenshot;
