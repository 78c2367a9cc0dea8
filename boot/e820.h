/* SPDX-License-Identifier: MIT */
/* The memory map that the guest is told. */
#pragma once

#include "lib/types.h"

#define E820_MAX 16

enum {
	E820_RAM = 1,
	E820_RESERVED = 2,
};

struct e820_entry {
	u64 base, size;
	u32 type;
};

struct e820 {
	struct e820_entry entry[E820_MAX];
	unsigned count;
};

/* RAM from address 0 and from 4 GiB; the ECAM window lies in the hole between. */
struct boot_memory {
	u64 below_4g, above_4g;
	u64 ecam_base, ecam_size;
};

void e820_build(struct e820 *map, const struct boot_memory *memory);
