/* SPDX-License-Identifier: MIT */
/* The memory map that the guest is told. */
#include "boot/e820.h"

#include "boot/layout.h"

static void add(struct memmap *map, u64 base, u64 end, u32 type)
{
	if (end > base)
		memmap_add(map, base, end - base, type);
}

void e820_build(struct memmap *map, const struct boot_memory *memory)
{
	map->count = 0;
	add(map, 0, BOOT_LOW_END, MEM_RAM);
	add(map, BOOT_LOW_END, 0xa0000, MEM_RESERVED);
	add(map, BOOT_ACPI, BOOT_HIGH, MEM_RESERVED);
	add(map, BOOT_HIGH, memory->below_4g, MEM_RAM);
	add(map, memory->ecam_base, memory->ecam_base + memory->ecam_size, MEM_RESERVED);
	add(map, GIB(4), GIB(4) + memory->above_4g, MEM_RAM);
}
