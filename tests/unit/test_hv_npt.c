/* SPDX-License-Identifier: MIT */
/* The builder of nested page tables. */
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>

#include <cmocka.h>

#include "hv_fake.h"

static const struct hvm_ops ops = {.name = "fake", .pte = fake_pte};
const struct hvm_ops *hvm = &ops;

static struct domain d;

static int setup(void **state)
{
	(void)state;
	memset(&d, 0, sizeof(d));
	d.root = page_alloc();
	pages_left = UINT32_MAX;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	npt_free(&d);
	assert_int_equal(pages_out, 0);
	return 0;
}

static void expect(u64 gpa, hpa_t hpa, unsigned flags, u64 size)
{
	unsigned got_flags;
	u64 got_size;

	assert_int_equal(npt_lookup(&d, gpa, &got_flags, &got_size), hpa);
	assert_int_equal(got_size, size);
	if (hpa != (hpa_t)-1)
		assert_int_equal(got_flags, flags);
}

static void maps_with_the_largest_pages(void **state)
{
	(void)state;
	assert_int_equal(npt_map(&d, 0, 0, GIB(4), NPT_RWX), 0);
	expect(0x123000, 0x123000, NPT_RWX, GIB(1));
	assert_int_equal(pages_out, 2);
	assert_int_equal(npt_map(&d, GIB(8), MIB(2), MIB(4), NPT_READ), 0);
	expect(GIB(8) + 0x1000, MIB(2) + 0x1000, NPT_READ, MIB(2));
	assert_int_equal(npt_map(&d, GIB(9), 0x1000, MIB(4), NPT_READ | NPT_WRITE), 0);
	expect(GIB(9) + 0x5000, 0x6000, NPT_READ | NPT_WRITE, PAGE_SIZE);
}

static void splits_and_merges(void **state)
{
	(void)state;
	d.primary = true;
	npt_map(&d, 0, 0, GIB(1), NPT_RWX);
	assert_int_equal(npt_map(&d, 0x5000, 0x9000, PAGE_SIZE, NPT_READ), 0);
	expect(0x5000, 0x9000, NPT_READ, PAGE_SIZE);
	expect(0x4000, 0x4000, NPT_RWX, PAGE_SIZE);
	expect(0x6000, 0x6000, NPT_RWX, PAGE_SIZE);
	expect(MIB(2), MIB(2), NPT_RWX, MIB(2));
	assert_int_equal(npt_map(&d, 0x5000, 0x5000, PAGE_SIZE, NPT_RWX), 0);
	expect(0x5000, 0x5000, NPT_RWX, GIB(1));
	npt_free_list(npt_retired(&d));
	assert_int_equal(pages_out, 2);
}

/* So nothing has to be split when one page of many goes. */
static void keeps_small_pages_of_guests(void **state)
{
	(void)state;
	for (u64 gpa = 0; gpa < MIB(2); gpa += PAGE_SIZE)
		assert_int_equal(npt_map(&d, gpa, gpa, PAGE_SIZE, NPT_RWX), 0);
	expect(0x5000, 0x5000, NPT_RWX, PAGE_SIZE);
	d.primary = true;
	npt_map(&d, 0, 0, GIB(1), NPT_RWX);
	for (u64 gpa = 0; gpa < MIB(2); gpa += PAGE_SIZE)
		assert_int_equal(npt_map(&d, gpa, gpa, PAGE_SIZE, NPT_RWX | NPT_OWNER(1)), 0);
	expect(0x5000, 0x5000, NPT_RWX | NPT_OWNER(1), PAGE_SIZE);
	pages_left = 0;
	for (u64 gpa = 0; gpa < MIB(2); gpa += PAGE_SIZE)
		assert_int_equal(npt_map(&d, gpa, gpa, PAGE_SIZE, NPT_RWX), 0);
	expect(0x5000, 0x5000, NPT_RWX, GIB(1));
}

static void unmaps(void **state)
{
	(void)state;
	npt_map(&d, 0, 0, GIB(1), NPT_RWX);
	assert_int_equal(npt_unmap(&d, MIB(2), MIB(2)), 0);
	expect(MIB(2), -1, 0, MIB(2));
	expect(MIB(4), MIB(4), NPT_RWX, MIB(2));
	assert_int_equal(npt_unmap(&d, MIB(6) + PAGE_SIZE, PAGE_SIZE), 0);
	expect(MIB(6), MIB(6), NPT_RWX, PAGE_SIZE);
	expect(MIB(6) + PAGE_SIZE, -1, 0, PAGE_SIZE);
	/* what was never there */
	assert_int_equal(npt_unmap(&d, GIB(512), GIB(512)), 0);
	expect(GIB(512), -1, 0, GIB(512));
}

static void keeps_owners(void **state)
{
	(void)state;
	npt_map(&d, 0, 0, MIB(4), NPT_RWX);
	assert_int_equal(npt_map(&d, 0, 0, MIB(2), NPT_OWNER(7)), 0);
	expect(0x3000, 0x3000, NPT_OWNER(7), MIB(2));
	/* not present means just that */
	assert_false(((u64 *)(((u64 *)(d.root[0] & 0xffffffffff000))[0] & 0xffffffffff000))[0] & 7);
	assert_int_equal(npt_map(&d, 0x4000, 0x4000, PAGE_SIZE, NPT_RWX | NPT_OWNER(31)), 0);
	expect(0x3000, 0x3000, NPT_OWNER(7), PAGE_SIZE);
	expect(0x4000, 0x4000, NPT_RWX | NPT_OWNER(31), PAGE_SIZE);
	expect(0x5000, 0x5000, NPT_OWNER(7), PAGE_SIZE);
}

static void refuses_what_is_out_of_range(void **state)
{
	(void)state;
	assert_int_not_equal(npt_map(&d, BIT(48), 0, PAGE_SIZE, NPT_RWX), 0);
	assert_int_not_equal(npt_map(&d, BIT(48) - PAGE_SIZE, 0, 2 * PAGE_SIZE, NPT_RWX), 0);
	expect(BIT(48), -1, 0, BIT(48));
}

static void says_when_memory_is_out(void **state)
{
	(void)state;
	npt_map(&d, 0, 0, GIB(1), NPT_RWX);
	pages_left = 1;
	assert_int_equal(npt_map(&d, 0x5000, 0x9000, PAGE_SIZE, NPT_READ), -ENOMEM);
	expect(0x5000, 0x5000, NPT_RWX, MIB(2));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(maps_with_the_largest_pages),
		TEST(splits_and_merges),
		TEST(keeps_small_pages_of_guests),
		TEST(unmaps),
		TEST(keeps_owners),
		TEST(refuses_what_is_out_of_range),
		TEST(says_when_memory_is_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
