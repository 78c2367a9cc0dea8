/* SPDX-License-Identifier: MIT */
/* The map of physical memory. */
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lib/memmap.h"

static void expect(const struct memmap *map, unsigned i, u64 base, u64 size, u32 type)
{
	assert_true(i < map->count);
	assert_int_equal(map->range[i].base, base);
	assert_int_equal(map->range[i].size, size);
	assert_int_equal(map->range[i].type, type);
}

static void sorts_and_joins(void **state)
{
	struct memmap map = {0};

	(void)state;
	assert_int_equal(memmap_add(&map, 0x3000, 0x1000, MEM_RAM), 0);
	assert_int_equal(memmap_add(&map, 0x1000, 0x1000, MEM_RAM), 0);
	assert_int_equal(memmap_add(&map, 0x2000, 0x1000, MEM_RAM), 0);
	assert_int_equal(map.count, 1);
	expect(&map, 0, 0x1000, 0x3000, MEM_RAM);
	assert_int_equal(memmap_top(&map), 0x4000);
}

static void reserved_wins(void **state)
{
	struct memmap map = {0};

	(void)state;
	memmap_add(&map, 0x2000, 0x1000, MEM_NVS);
	memmap_add(&map, 0, 0x8000, MEM_RAM);
	memmap_add(&map, 0x4000, 0x1000, MEM_RESERVED);
	assert_int_equal(map.count, 5);
	expect(&map, 1, 0x2000, 0x1000, MEM_NVS);
	expect(&map, 3, 0x4000, 0x1000, MEM_RESERVED);
	assert_true(memmap_is(&map, 0, 0x2000, MEM_RAM));
	assert_false(memmap_is(&map, 0, 0x2001, MEM_RAM));
	assert_false(memmap_is(&map, 0x2000, 1, MEM_RAM));
	assert_false(memmap_is(&map, 0x8000, 1, MEM_RAM));
}

static void takes_a_part(void **state)
{
	struct memmap map = {0};

	(void)state;
	memmap_add(&map, 0, MIB(64), MEM_RAM);
	assert_int_equal(memmap_set(&map, MIB(1), MIB(15), MEM_HYPERVISOR), 0);
	assert_int_equal(map.count, 3);
	expect(&map, 0, 0, MIB(1), MEM_RAM);
	expect(&map, 1, MIB(1), MIB(15), MEM_HYPERVISOR);
	expect(&map, 2, MIB(16), MIB(48), MEM_RAM);
	assert_false(memmap_is(&map, 0, MIB(2), MEM_RAM));
}

static void sizes_do_not_wrap(void **state)
{
	struct memmap map = {0};

	(void)state;
	assert_int_equal(memmap_add(&map, UINT64_MAX - 0xfff, UINT64_MAX, MEM_RESERVED), 0);
	assert_false(memmap_is(&map, UINT64_MAX - 0xfff, UINT64_MAX, MEM_RESERVED));
	assert_int_equal(memmap_add(&map, 0x1000, 0, MEM_RAM), 0);
	assert_int_equal(memmap_top(&map), 0);
}

static void full(void **state)
{
	struct memmap map = {0};

	(void)state;
	for (unsigned i = 0; i < MEMMAP_MAX; i++)
		assert_int_equal(memmap_add(&map, i * 0x10000, 0x1000, MEM_RAM), 0);
	assert_int_equal(memmap_add(&map, MEMMAP_MAX * 0x10000, 0x1000, MEM_RAM), -ENOSPC);
	assert_int_equal(memmap_set(&map, 0x100, 0x100, MEM_RESERVED), -ENOSPC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sorts_and_joins),
		cmocka_unit_test(reserved_wins),
		cmocka_unit_test(takes_a_part),
		cmocka_unit_test(sizes_do_not_wrap),
		cmocka_unit_test(full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
