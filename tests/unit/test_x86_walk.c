/* SPDX-License-Identifier: MIT */
/* The page walker: rights, A and D bits, large pages, reserved bits, and the older paging modes. */
#include "tests/unit/x86_fixture.h"

enum {
	VA = 0x100000,
	PTE = PT + 8 * (VA >> 12),
	P = 1,
	W = 2,
	U = 4,
	A = 0x20,
	D = 0x40,
	PS = 0x80,
	G = 0x100
};
#define NX BIT(63)

static struct x86_walk w;

static int walk(gva_t gva, unsigned access, bool user)
{
	return x86_walk(&fx.cpu, gva, access, user, user, &w);
}

static void finds_a_page(void **state)
{
	(void)state;
	assert_int_equal(walk(VA + 0x123, ACCESS_READ, false), 0);
	assert_int_equal(w.gpa, VA + 0x123);
	assert_int_equal(w.page_size, PAGE_SIZE);
	assert_true(w.user && w.writable && !w.nx && !w.global && !w.dirty);
}

static void sets_accessed_and_dirty(void **state)
{
	(void)state;
	walk(VA, ACCESS_READ, false);
	assert_int_equal(get64(PTE), VA | 7 | A);
	assert_int_equal(get64(PD), PT | 7 | A);
	assert_int_equal(get64(PDPT), PD | 7 | A);
	assert_int_equal(get64(PML4), PDPT | 7 | A);
	walk(VA, ACCESS_WRITE, false);
	assert_int_equal(get64(PTE), VA | 7 | A | D);
	assert_int_equal(get64(PD), PT | 7 | A);
	assert_true(w.dirty);
	walk(VA, ACCESS_READ, false);
	assert_true(w.dirty);
}

static void a_fault_marks_nothing(void **state)
{
	(void)state;
	put64(PTE, VA | P);
	assert_fault(walk(VA, ACCESS_WRITE, true), VEC_PF, PF_P | PF_W | PF_U);
	assert_int_equal(get64(PTE), VA | P);
	assert_int_equal(get64(PML4), PDPT | 7);
}

static void not_present_at_each_level(void **state)
{
	const u64 entries[] = {PTE, PD, PDPT, PML4};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(entries); i++) {
		u64 old = get64(entries[i]);

		put64(entries[i], 0);
		assert_fault(walk(VA + 7, ACCESS_READ, false), VEC_PF, 0);
		assert_int_equal(fx.cpu.fault.address, VA + 7);
		assert_fault(walk(VA, ACCESS_WRITE, false), VEC_PF, PF_W);
		assert_fault(walk(VA, ACCESS_WRITE, true), VEC_PF, PF_W | PF_U);
		assert_fault(walk(VA, ACCESS_EXEC, true), VEC_PF, PF_I | PF_U);
		put64(entries[i], old);
	}
}

static void user_needs_user_at_every_level(void **state)
{
	const u64 entries[] = {PTE, PD, PDPT, PML4};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(entries); i++) {
		put64(entries[i], get64(entries[i]) & ~4ull);
		assert_fault(walk(VA, ACCESS_READ, true), VEC_PF, PF_P | PF_U);
		assert_int_equal(walk(VA, ACCESS_READ, false), 0);
		assert_false(w.user);
		put64(entries[i], get64(entries[i]) | 4);
	}
}

static void write_protection(void **state)
{
	(void)state;
	put64(PD, PT | P | U);
	assert_fault(walk(VA, ACCESS_WRITE, true), VEC_PF, PF_P | PF_W | PF_U);
	assert_fault(walk(VA, ACCESS_WRITE, false), VEC_PF, PF_P | PF_W);
	fx.cpu.s.cr0 &= ~CR0_WP;
	assert_fault(walk(VA, ACCESS_WRITE, true), VEC_PF, PF_P | PF_W | PF_U);
	assert_int_equal(walk(VA, ACCESS_WRITE, false), 0);
	assert_false(w.writable);
}

static void no_execute(void **state)
{
	(void)state;
	put64(PDPT, get64(PDPT) | NX);
	assert_fault(walk(VA, ACCESS_EXEC, true), VEC_PF, PF_P | PF_U | PF_I);
	assert_fault(walk(VA, ACCESS_EXEC, false), VEC_PF, PF_P | PF_I);
	assert_int_equal(walk(VA, ACCESS_READ, true), 0);
	assert_true(w.nx);
	fx.cpu.s.efer &= ~EFER_NXE;
	assert_fault(walk(VA, ACCESS_READ, false), VEC_PF, PF_P | PF_RSVD);
	/* Without NXE and SMEP a fetch is not told apart. */
	put64(PDPT, 0);
	assert_fault(walk(VA, ACCESS_EXEC, false), VEC_PF, 0);
}

static void smep(void **state)
{
	(void)state;
	assert_int_equal(walk(VA, ACCESS_EXEC, false), 0);
	fx.cpu.s.cr4 |= CR4_SMEP;
	assert_fault(walk(VA, ACCESS_EXEC, false), VEC_PF, PF_P | PF_I);
	assert_int_equal(walk(VA, ACCESS_EXEC, true), 0);
	assert_int_equal(walk(VA, ACCESS_READ, false), 0);
}

static void smap(void **state)
{
	(void)state;
	fx.cpu.s.cr4 |= CR4_SMAP;
	assert_fault(walk(VA, ACCESS_READ, false), VEC_PF, PF_P);
	assert_fault(walk(VA, ACCESS_WRITE, false), VEC_PF, PF_P | PF_W);
	assert_int_equal(walk(VA, ACCESS_READ, true), 0);
	assert_int_equal(walk(VA, ACCESS_EXEC, false), 0);
	assert_int_equal(x86_walk(&fx.cpu, VA, ACCESS_WRITE, false, true, &w), 0);
	put64(PTE, VA | P | W);
	assert_int_equal(walk(VA, ACCESS_WRITE, false), 0);
}

static void large_pages(void **state)
{
	(void)state;
	put64(PD + 8, 0x200000 | 0x83 | G);
	assert_int_equal(walk(0x3abcde, ACCESS_WRITE, false), 0);
	assert_int_equal(w.gpa, 0x3abcde);
	assert_int_equal(w.page_size, 2 << 20);
	assert_true(w.global && !w.user);
	assert_int_equal(get64(PD + 8), 0x200000 | 0x83 | G | A | D);
	fx.cpu.s.cr4 &= ~CR4_PGE;
	walk(0x3abcde, ACCESS_READ, false);
	assert_false(w.global);

	put64(PDPT + 8, 0x40000000 | 0x87);
	assert_int_equal(walk(0x5abcdef1, ACCESS_READ, true), 0);
	assert_int_equal(w.gpa, 0x5abcdef1);
	assert_int_equal(w.page_size, 1 << 30);
	/* Bit 12 of a large page is PAT, not an address. */
	put64(PD + 8, 0x200000 | 0x1083);
	assert_int_equal(walk(0x200001, ACCESS_READ, false), 0);
	assert_int_equal(w.gpa, 0x200001);
}

static void reserved_bits(void **state)
{
	const struct {
		u64 at, bits;
	} cases[] = {
		{PTE, BIT(40)},
		{PD, BIT(40)},
		{PDPT, BIT(51)},
		{PML4, BIT(40)},
		{PML4, PS},
		{PDPT, PS | BIT(13)},
		{PDPT, PS | BIT(29)},
		{PD, PS | BIT(13)},
		{PD, PS | BIT(20)},
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		u64 old = get64(cases[i].at);

		put64(cases[i].at, 7 | cases[i].bits);
		assert_fault(walk(VA, ACCESS_READ, true), VEC_PF, PF_P | PF_RSVD | PF_U);
		put64(cases[i].at, old);
	}
	/* In a 4 KiB entry bit 7 is PAT; ignored bits are ignored. */
	put64(PTE, VA | 7 | PS | 0x7ff0000000000e00ull);
	assert_int_equal(walk(VA, ACCESS_READ, true), 0);
}

static void tables_outside_of_ram(void **state)
{
	(void)state;
	put64(PD, 0xfee00000 | 7);
	assert_fault(walk(VA, ACCESS_READ, false), VEC_PF, PF_P | PF_RSVD);
}

static void canonical(void **state)
{
	(void)state;
	assert_fault(walk(BIT(47), ACCESS_READ, false), VEC_GP, 0);
	assert_fault(walk(0xffff7fffffffffffull, ACCESS_READ, true), VEC_GP, 0);
	assert_fault(walk(0xffff800000000000ull, ACCESS_READ, true), VEC_PF, PF_U);
}

static void no_paging(void **state)
{
	(void)state;
	fx.cpu.s.cr0 = CR0_PE;
	assert_int_equal(walk(0xfee00010, ACCESS_WRITE, false), 0);
	assert_int_equal(w.gpa, 0xfee00010);
	assert_true(w.writable && w.user && w.dirty);
}

static void pae_paging(void **state)
{
	(void)state;
	fx.cpu.s.efer = 0;
	fx.cpu.s.cr3 = PDPT;
	put64(PDPT, PD | P);
	assert_int_equal(walk(VA + 5, ACCESS_WRITE, true), 0);
	assert_int_equal(w.gpa, VA + 5);
	assert_int_equal(get64(PDPT), PD | P);
	assert_int_equal(get64(PTE), VA | 7 | A | D);
}

static void narrow_paging(void **state)
{
	(void)state;
	fx.cpu.s.efer = 0;
	fx.cpu.s.cr4 = CR4_PSE;
	fx.cpu.s.cr3 = 0x6000;
	put32(0x6000, 0x7000 | 7);
	put32(0x6004, 0x400000 | 0x87);
	put32(0x7000 + 4 * 0x100, VA | 7);
	assert_int_equal(walk(VA + 9, ACCESS_WRITE, true), 0);
	assert_int_equal(w.gpa, VA + 9);
	assert_int_equal(get64(0x7000 + 4 * 0x100), VA | 7 | A | D);
	assert_int_equal(walk(0x6789ab, ACCESS_READ, true), 0);
	assert_int_equal(w.gpa, 0x6789ab);
	assert_int_equal(w.page_size, 4 << 20);
	assert_fault(walk(VA + 0x1000, ACCESS_READ, true), VEC_PF, PF_U);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(finds_a_page),
		test(sets_accessed_and_dirty),
		test(a_fault_marks_nothing),
		test(not_present_at_each_level),
		test(user_needs_user_at_every_level),
		test(write_protection),
		test(no_execute),
		test(smep),
		test(smap),
		test(large_pages),
		test(reserved_bits),
		test(tables_outside_of_ram),
		test(canonical),
		test(no_paging),
		test(pae_paging),
		test(narrow_paging),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
