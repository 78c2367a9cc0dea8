/* SPDX-License-Identifier: MIT */
/* What the machine shares with the host: folders, and sockets. */
#pragma once

#include "main/machine.h"

/* From the configuration. 0, or -errno with a line in err. */
int machine_add_shares(struct machine *m, struct err *err);
/* Ends the helper processes; the VM does not run any more. */
void machine_close_shares(struct machine *m);
/* Will there be helper processes that must see the guest's RAM? */
bool machine_shares_ram(const struct machine *m);
