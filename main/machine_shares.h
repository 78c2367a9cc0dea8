/* SPDX-License-Identifier: MIT */
/* What the machine shares with the host: folders, and sockets. */
#pragma once

#include "main/machine.h"

/* From the configuration. 0, or -errno with a line in err. */
int machine_add_shares(struct machine *m, struct err *err);
