/* SPDX-License-Identifier: MIT */
/*
 * A map of physical memory: sorted, without overlaps, in pages or bytes as the
 * firmware gave it.
 */
#pragma once

#include "lib/types.h"

enum mem_type { /* as in E820; ACPI 6.4 table 15.4 */
	MEM_RAM = 1,
	MEM_RESERVED = 2,
	MEM_ACPI = 3,
	MEM_NVS = 4,
	MEM_BAD = 5,
	MEM_HYPERVISOR = 0x100, /* the microhypervisor's own; its primary VM sees no such range at all */
};

enum { MEMMAP_MAX = 128 };

struct mem_range {
	u64 base, size;
	u32 type;
};

struct memmap {
	unsigned count;
	struct mem_range range[MEMMAP_MAX];
};

/* Adds a range; where it overlaps older ones it wins if its type is not RAM. 0 or -ENOSPC. */
int memmap_add(struct memmap *map, u64 base, u64 size, u32 type);
/* [base, base + size) takes this type whatever was there. 0 or -ENOSPC. */
int memmap_set(struct memmap *map, u64 base, u64 size, u32 type);
/* Is all of [base, base + size) of this type? */
bool memmap_is(const struct memmap *map, u64 base, u64 size, u32 type);
/* End of the highest RAM. */
u64 memmap_top(const struct memmap *map);
