/* SPDX-License-Identifier: MIT */
/* The hypervisor's own address space: the first 4 GiB and all RAM where they are. */
#pragma once

#include "lib/memmap.h"

/* Makes the tables; the CPU that calls uses them from then on, the others by CR3. */
void paging_init(const struct memmap *map);
