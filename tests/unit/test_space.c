/* SPDX-License-Identifier: MIT */
/* Address spaces: flattening, hiding, splitting and widening, holes. */
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "vm/device.h"
#include "vm/space.h"

#define LOG_MAX 16

/* A device that remembers its accesses; reads give the offset in each byte. */
struct probe {
	struct device dev;
	struct {
		u64 offset, value;
		unsigned size;
		bool write;
	} log[LOG_MAX];
	unsigned n;
};

static u64 probe_read(struct device *dev, u64 offset, unsigned size)
{
	struct probe *probe = container_of(dev, struct probe, dev);
	u64 value = 0;

	assert_true(probe->n < LOG_MAX);
	assert_int_equal(offset % size, 0);
	probe->log[probe->n].offset = offset;
	probe->log[probe->n].size = size;
	probe->log[probe->n++].write = false;
	for (unsigned i = 0; i < size; i++)
		value |= ((offset + i) & 0xff) << (8 * i);
	return value;
}

static void probe_write(struct device *dev, u64 offset, unsigned size, u64 value)
{
	struct probe *probe = container_of(dev, struct probe, dev);

	assert_true(probe->n < LOG_MAX);
	assert_int_equal(offset % size, 0);
	probe->log[probe->n].offset = offset;
	probe->log[probe->n].size = size;
	probe->log[probe->n].value = value;
	probe->log[probe->n++].write = true;
}

static const struct region_ops any_size = {probe_read, probe_write, 0, 0};
static const struct region_ops bytes_only = {probe_read, probe_write, 1, 1};
static const struct region_ops words_only = {probe_read, probe_write, 4, 4};

static void hides_and_uncovers(void **state)
{
	struct space space;
	u8 ram[0x1000] = {0};
	struct region low = {.size = 0x1000, .host = ram, .direct = DIRECT_READ | DIRECT_WRITE};
	struct region hole = {.base = 0x400, .size = 0x100};

	(void)state;
	assert_int_equal(space_init(&space, 0x10000), 0);
	assert_int_equal(space_add(&space, &low), 0);
	assert_int_equal(space.nextents, 1);
	space_write(&space, 0x400, 4, 0x12345678);
	assert_int_equal(space_add(&space, &hole), 0);
	assert_int_equal(space.nextents, 3);
	assert_int_equal(space_read(&space, 0x400, 4), 0xffffffff);
	space_write(&space, 0x400, 4, 0);
	assert_int_equal(space_read(&space, 0x3fe, 4), 0xffff0000);
	assert_null(space_host(&space, 0x3fe, 4, DIRECT_READ));
	assert_ptr_equal(space_host(&space, 0x3fc, 4, DIRECT_READ), ram + 0x3fc);
	assert_int_equal(space_move(&space, &hole, 0x800), 0);
	assert_int_equal(space_read(&space, 0x400, 4), 0x12345678);
	assert_int_equal(space_read(&space, 0x800, 1), 0xff);
	space_remove(&space, &hole);
	assert_int_equal(space.nextents, 1);
	assert_int_equal(space_read(&space, 0x800, 1), 0);
	space_fini(&space);
}

static void refuses_what_does_not_fit(void **state)
{
	struct space space;
	struct region region = {.base = 0xffff, .size = 2};

	(void)state;
	space_init(&space, 0x10000);
	assert_int_equal(space_add(&space, &region), -EINVAL);
	region.size = 0;
	assert_int_equal(space_add(&space, &region), -EINVAL);
	region = (struct region){.base = 0x100, .size = UINT64_MAX};
	assert_int_equal(space_add(&space, &region), -EINVAL);
	region.size = 1;
	assert_int_equal(space_add(&space, &region), 0);
	assert_int_equal(space_move(&space, &region, 0x10000), -EINVAL);
	assert_int_equal(region.base, 0x100);
	space_fini(&space);
}

static void open_bus(void **state)
{
	struct space space;

	(void)state;
	space_init(&space, 0x10000);
	assert_int_equal(space_read(&space, 0x80, 1), 0xff);
	assert_int_equal(space_read(&space, 0x80, 2), 0xffff);
	assert_true(space_read(&space, UINT64_MAX - 3, 8) == UINT64_MAX);
	space_write(&space, 0x80, 4, 0);
	assert_null(space_host(&space, 0, 1, 0));
	space_fini(&space);
}

static void rom_reads_directly_and_writes_by_ops(void **state)
{
	struct space space;
	struct probe probe = {0};
	u8 rom[16] = {1, 2, 3, 4};
	struct region region = {
		.size = 16, .host = rom, .direct = DIRECT_READ, .ops = &any_size, .dev = &probe.dev};

	(void)state;
	space_init(&space, 0x100);
	space_add(&space, &region);
	assert_int_equal(space_read(&space, 0, 4), 0x04030201);
	assert_int_equal(probe.n, 0);
	space_write(&space, 4, 2, 0xbeef);
	assert_int_equal(probe.n, 1);
	assert_int_equal(probe.log[0].value, 0xbeef);
	assert_int_equal(rom[4], 0);
	assert_null(space_host(&space, 0, 4, DIRECT_READ | DIRECT_WRITE));
	space_fini(&space);
}

static void splits_for_small_devices(void **state)
{
	struct space space;
	struct probe probe = {0};
	struct region region = {.base = 0x3f8, .size = 8, .ops = &bytes_only, .dev = &probe.dev};

	(void)state;
	space_init(&space, 0x10000);
	space_add(&space, &region);
	assert_int_equal(space_read(&space, 0x3f9, 4), 0x04030201);
	assert_int_equal(probe.n, 4);
	probe.n = 0;
	space_write(&space, 0x3f8, 2, 0xa1b2);
	assert_int_equal(probe.n, 2);
	assert_int_equal(probe.log[0].value, 0xb2);
	assert_int_equal(probe.log[1].value, 0xa1);
	/* Half of it lies outside. */
	assert_int_equal(space_read(&space, 0x3fe, 4), 0xffff0706);
	space_fini(&space);
}

static void aligns_pieces(void **state)
{
	struct space space;
	struct probe probe = {0};
	struct region region = {.size = 0x100, .ops = &any_size, .dev = &probe.dev};

	(void)state;
	space_init(&space, 0x1000);
	space_add(&space, &region);
	assert_true(space_read(&space, 0x11, 8) == 0x1817161514131211);
	assert_int_equal(probe.n, 4); /* 1 + 2 + 4 + 1 */
	assert_int_equal(probe.log[2].size, 4);
	probe.n = 0;
	assert_true(space_read(&space, 0x18, 8) == 0x1f1e1d1c1b1a1918);
	assert_int_equal(probe.n, 1);
	space_fini(&space);
}

static void widens_for_word_devices(void **state)
{
	struct space space;
	struct probe probe = {0};
	struct region region = {.size = 0x100, .ops = &words_only, .dev = &probe.dev};

	(void)state;
	space_init(&space, 0x1000);
	space_add(&space, &region);
	assert_int_equal(space_read(&space, 0x22, 1), 0x22);
	assert_int_equal(probe.log[0].offset, 0x20);
	assert_int_equal(probe.log[0].size, 4);
	assert_true(space_read(&space, 0x20, 8) == 0x2726252423222120);
	probe.n = 0;
	space_write(&space, 0x22, 1, 0xee);
	assert_int_equal(probe.n, 2); /* read, merge, write */
	assert_int_equal(probe.log[1].offset, 0x20);
	assert_int_equal(probe.log[1].value, 0x23ee2120);
	space_fini(&space);
}

/* Random layouts agree with the plain definition: the latest region that covers an address. */
static void matches_a_simple_model(void **state)
{
	enum { REGIONS = 12, LIMIT = 512 };
	unsigned seed = 12345;

	(void)state;
	for (unsigned round = 0; round < 200; round++) {
		struct region region[REGIONS] = {0};
		struct space space;

		space_init(&space, LIMIT);
		for (unsigned i = 0; i < REGIONS; i++) {
			region[i].base = (u64)rand_r(&seed) % (LIMIT - 1);
			region[i].size = 1 + (u64)rand_r(&seed) % (LIMIT - region[i].base);
			assert_int_equal(space_add(&space, &region[i]), 0);
		}
		for (u64 addr = 0; addr < LIMIT; addr++) {
			const struct extent *extent = space_find(&space, addr);
			const struct region *expected = NULL;

			for (unsigned i = 0; i < REGIONS; i++) {
				if (addr - region[i].base < region[i].size)
					expected = &region[i];
			}
			assert_ptr_equal(extent ? extent->region : NULL, expected);
		}
		space_fini(&space);
	}
}

static void goes_below_all_others(void **state)
{
	struct region top = {.base = 0x20, .size = 0x10}, first = {.base = 0x10, .size = 0x40};
	struct region second = {.base = 0x30, .size = 0x40}, outside = {.base = 0x1000, .size = 1};
	struct space space;

	(void)state;
	space_init(&space, 0x1000);
	assert_int_equal(space_add_below(&space, &first), 0);
	assert_int_equal(space_add(&space, &top), 0);
	assert_int_equal(space_add_below(&space, &second), 0);
	assert_int_equal(space_add_below(&space, &outside), -EINVAL);
	assert_ptr_equal(space_find(&space, 0x10)->region, &first);
	assert_ptr_equal(space_find(&space, 0x20)->region, &top);
	assert_ptr_equal(space_find(&space, 0x30)->region, &first);
	assert_ptr_equal(space_find(&space, 0x50)->region, &second);
	space_remove(&space, &first);
	assert_ptr_equal(space_find(&space, 0x30)->region, &second);
	assert_null(space_find(&space, 0x10));
	space_fini(&space);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hides_and_uncovers),
		cmocka_unit_test(goes_below_all_others),
		cmocka_unit_test(refuses_what_does_not_fit),
		cmocka_unit_test(open_bus),
		cmocka_unit_test(rom_reads_directly_and_writes_by_ops),
		cmocka_unit_test(splits_for_small_devices),
		cmocka_unit_test(aligns_pieces),
		cmocka_unit_test(widens_for_word_devices),
		cmocka_unit_test(matches_a_simple_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
