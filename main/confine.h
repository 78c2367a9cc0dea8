/* SPDX-License-Identifier: MIT */
/* The sandbox of a VM's process: which rights its config needs while the guest runs. */
#pragma once

#include "main/vmm.h"

/* Before the guest's first instruction; with --no-sandbox nothing happens. 0 or -errno. */
int vmm_confine(struct vmm *vmm, struct err *err);
