/* SPDX-License-Identifier: MIT */
/* The memory map that the guest is told. */
#include "boot/e820.h"

#include "boot/layout.h"

static void add(struct e820 *map, u64 base, u64 end, u32 type)
{
	if (end > base && map->count < E820_MAX)
		map->entry[map->count++] = (struct e820_entry){base, end - base, type};
}

void e820_build(struct e820 *map, const struct boot_memory *memory)
{
	map->count = 0;
	add(map, 0, BOOT_LOW_END, E820_RAM);
	add(map, BOOT_LOW_END, 0xa0000, E820_RESERVED);
	add(map, BOOT_ACPI, BOOT_HIGH, E820_RESERVED);
	add(map, BOOT_HIGH, memory->below_4g, E820_RAM);
	add(map, memory->ecam_base, memory->ecam_base + memory->ecam_size, E820_RESERVED);
	add(map, GIB(4), GIB(4) + memory->above_4g, E820_RAM);
}
