/* SPDX-License-Identifier: MIT */
/* The memory map that the guest is told. */
#pragma once

#include "lib/memmap.h"

enum { E820_MAX = 16 }; /* more ranges than a VM has */

/* RAM from address 0 and from 4 GiB; the ECAM window lies in the hole between. */
struct boot_memory {
	u64 below_4g, above_4g;
	u64 ecam_base, ecam_size;
};

void e820_build(struct memmap *map, const struct boot_memory *memory);
