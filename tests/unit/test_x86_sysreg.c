/* SPDX-License-Identifier: MIT */
/* Control and debug registers, invalidation, flags, I/O permission. */
#include "tests/unit/x86_fixture.h"

static struct x86_state *s = &fx.cpu.s;

/* Writes a control register and tells what was flushed, or -1 for nothing. */
static int write_cr(unsigned nr, u64 value)
{
	fx.flushes = 0;
	assert_int_equal(x86_write_cr(&fx.cpu, nr, value), 0);
	return fx.flushes ? (int)fx.flush_kind : -1;
}

static void cr0(void **state)
{
	u64 v;

	(void)state;
	assert_int_equal(write_cr(0, s->cr0 | CR0_TS), -1);
	x86_read_cr(&fx.cpu, 0, &v);
	assert_true(v & CR0_TS);
	assert_int_equal(x86_clts(&fx.cpu), 0);
	assert_false(s->cr0 & CR0_TS);
	assert_int_equal(write_cr(0, s->cr0 & ~CR0_WP), FLUSH_ALL);
	assert_int_equal(write_cr(0, (s->cr0 | 0x10040) & ~CR0_ET), FLUSH_ALL);
	assert_true(s->cr0 & CR0_ET && !(s->cr0 & 0x40));
	assert_fault(x86_write_cr(&fx.cpu, 0, s->cr0 | BIT(32)), VEC_GP, 0);
	assert_fault(x86_write_cr(&fx.cpu, 0, s->cr0 | CR0_NW), VEC_GP, 0);
	assert_fault(x86_write_cr(&fx.cpu, 0, s->cr0 & ~CR0_PE), VEC_GP, 0);
	/* Not from 64-bit code. */
	assert_fault(x86_write_cr(&fx.cpu, 0, s->cr0 & ~CR0_PG), VEC_GP, 0);
}

static void lmsw(void **state)
{
	(void)state;
	assert_int_equal(x86_lmsw(&fx.cpu, CR0_MP | CR0_TS), 0);
	assert_true(s->cr0 & CR0_PE && s->cr0 & CR0_TS && s->cr0 & CR0_MP);
	s->cpl = 3;
	assert_fault(x86_lmsw(&fx.cpu, 0), VEC_GP, 0);
	assert_fault(x86_clts(&fx.cpu), VEC_GP, 0);
}

static void long_mode_on_and_off(void **state)
{
	(void)state;
	s->seg[SEG_CS].attr = A_CODE32;
	assert_int_equal(write_cr(0, s->cr0 & ~CR0_PG), FLUSH_ALL);
	assert_false(x86_long_mode(&fx.cpu));
	assert_true(s->efer & EFER_LME);
	assert_int_equal(x86_write_cr(&fx.cpu, 4, 0), 0);
	assert_fault(x86_write_cr(&fx.cpu, 0, s->cr0 | CR0_PG), VEC_GP, 0);
	assert_int_equal(x86_write_cr(&fx.cpu, 4, CR4_PAE), 0);
	assert_int_equal(write_cr(0, s->cr0 | CR0_PG), FLUSH_ALL);
	assert_true(x86_long_mode(&fx.cpu));
	assert_fault(x86_write_cr(&fx.cpu, 4, 0), VEC_GP, 0);
}

static void cr3(void **state)
{
	(void)state;
	assert_int_equal(write_cr(3, PML4 | 0x18), FLUSH_NONGLOBAL);
	assert_fault(x86_write_cr(&fx.cpu, 3, PML4 | BIT(63)), VEC_GP, 0);
	assert_fault(x86_write_cr(&fx.cpu, 3, BIT(40)), VEC_GP, 0);
	/* PCIDs need a CR3 that names the first. */
	assert_fault(x86_write_cr(&fx.cpu, 4, s->cr4 | CR4_PCIDE), VEC_GP, 0);
	write_cr(3, PML4);
	assert_int_equal(write_cr(4, s->cr4 | CR4_PCIDE), FLUSH_ALL);
	assert_int_equal(write_cr(3, PML4 | 5 | BIT(63)), FLUSH_SWITCH);
	assert_int_equal(s->cr3, PML4 | 5);
	assert_int_equal(write_cr(3, PML4 | 5), FLUSH_NONGLOBAL);
	assert_fault(x86_write_cr(&fx.cpu, 3, PML4 | BIT(62)), VEC_GP, 0);
}

static void cr4(void **state)
{
	(void)state;
	assert_int_equal(write_cr(4, s->cr4 | CR4_OSFXSR | CR4_OSXSAVE | CR4_FSGSBASE | CR4_UMIP), -1);
	assert_int_equal(write_cr(4, s->cr4 & ~CR4_PGE), FLUSH_ALL);
	assert_int_equal(write_cr(4, s->cr4 | CR4_SMEP | CR4_SMAP), FLUSH_ALL);
	for (unsigned bit = 0; bit < 64; bit++) {
		bool known = 0x370ffcull >> bit & 1;

		if (bit == 12 || !known)
			assert_fault(x86_write_cr(&fx.cpu, 4, s->cr4 | BIT(bit)), VEC_GP, 0);
	}
}

static void cr2_cr8_and_the_others(void **state)
{
	u64 v;

	(void)state;
	assert_int_equal(x86_write_cr(&fx.cpu, 8, 9), 0);
	assert_int_equal(x86_read_cr(&fx.cpu, 8, &v), 0);
	assert_int_equal(v, 9);
	assert_fault(x86_write_cr(&fx.cpu, 8, 16), VEC_GP, 0);
	x86_write_cr(&fx.cpu, 2, 0x1234);
	x86_read_cr(&fx.cpu, 2, &v);
	assert_int_equal(v, 0x1234);
	x86_read_cr(&fx.cpu, 3, &v);
	assert_int_equal(v, PML4);
	x86_read_cr(&fx.cpu, 4, &v);
	assert_int_equal(v, CR4_PAE | CR4_PGE);
	assert_fault(x86_read_cr(&fx.cpu, 1, &v), VEC_UD, 0);
	assert_fault(x86_write_cr(&fx.cpu, 5, 0), VEC_UD, 0);
	s->cpl = 3;
	assert_fault(x86_read_cr(&fx.cpu, 0, &v), VEC_GP, 0);
	assert_fault(x86_write_cr(&fx.cpu, 3, 0), VEC_GP, 0);
}

static void debug_registers(void **state)
{
	u64 v;

	(void)state;
	assert_int_equal(x86_write_dr(&fx.cpu, 0, 0xffffffff81000000ull), 0);
	assert_int_equal(x86_write_dr(&fx.cpu, 6, 0xffffffff), 0);
	assert_int_equal(x86_write_dr(&fx.cpu, 7, 0x1), 0);
	x86_read_dr(&fx.cpu, 4, &v);
	assert_int_equal(v, 0xffffefff);
	x86_read_dr(&fx.cpu, 5, &v);
	assert_int_equal(v, 0x401);
	assert_fault(x86_write_dr(&fx.cpu, 7, BIT(32)), VEC_GP, 0);
	s->cr4 |= CR4_DE;
	assert_fault(x86_read_dr(&fx.cpu, 4, &v), VEC_UD, 0);
	s->dr[7] |= BIT(13);
	assert_fault(x86_read_dr(&fx.cpu, 0, &v), VEC_DB, 0);
	assert_int_equal(fx.cpu.fault.address, BIT(13));
	s->cpl = 3;
	assert_fault(x86_write_dr(&fx.cpu, 0, 0), VEC_GP, 0);
}

static void invalidation(void **state)
{
	(void)state;
	assert_int_equal(x86_invlpg(&fx.cpu, 0x5123), 0);
	assert_int_equal(fx.flush_kind, FLUSH_PAGE);
	assert_int_equal(fx.flush_gva, 0x5123);
	fx.flushes = 0;
	assert_int_equal(x86_invlpg(&fx.cpu, BIT(47)), 0);
	assert_int_equal(fx.flushes, 0);
	assert_fault(x86_invpcid(&fx.cpu, 4, 0, 0), VEC_GP, 0);
	assert_fault(x86_invpcid(&fx.cpu, 0, 1, 0), VEC_GP, 0);
	assert_fault(x86_invpcid(&fx.cpu, 0, 0, BIT(47)), VEC_GP, 0);
	assert_fault(x86_invpcid(&fx.cpu, 2, 0x1000, 0), VEC_GP, 0);
	x86_invpcid(&fx.cpu, 0, 0, 0x7000);
	assert_int_equal(fx.flush_kind, FLUSH_PAGE);
	x86_invpcid(&fx.cpu, 1, 0, 0);
	assert_int_equal(fx.flush_kind, FLUSH_NONGLOBAL);
	x86_invpcid(&fx.cpu, 2, 0, 0);
	assert_int_equal(fx.flush_kind, FLUSH_ALL);
	s->cpl = 3;
	assert_fault(x86_invlpg(&fx.cpu, 0), VEC_GP, 0);
	assert_fault(x86_invpcid(&fx.cpu, 2, 0, 0), VEC_GP, 0);
}

static void xcr0(void **state)
{
	u64 v;

	(void)state;
	assert_fault(x86_xsetbv(&fx.cpu, 0, 1), VEC_UD, 0);
	assert_fault(x86_xgetbv(&fx.cpu, 0, &v), VEC_UD, 0);
	s->cr4 |= CR4_OSXSAVE;
	assert_int_equal(x86_xsetbv(&fx.cpu, 0, 7), 0);
	assert_int_equal(x86_xgetbv(&fx.cpu, 0, &v), 0);
	assert_int_equal(v, 7);
	assert_fault(x86_xsetbv(&fx.cpu, 0, 6), VEC_GP, 0);
	assert_fault(x86_xsetbv(&fx.cpu, 0, 5), VEC_GP, 0);
	assert_fault(x86_xsetbv(&fx.cpu, 1, 1), VEC_GP, 0);
	assert_fault(x86_xsetbv(&fx.cpu, 0, 0xe7), VEC_GP, 0);
	fx.table.xcr0_allowed = 0xe7;
	assert_fault(x86_xsetbv(&fx.cpu, 0, 0x67), VEC_GP, 0);
	assert_fault(x86_xsetbv(&fx.cpu, 0, 0xe3), VEC_GP, 0);
	assert_int_equal(x86_xsetbv(&fx.cpu, 0, 0xe7), 0);
	s->cpl = 3;
	assert_fault(x86_xsetbv(&fx.cpu, 0, 7), VEC_GP, 0);
}

static void bases(void **state)
{
	u64 v = 0xffff888000000000ull;

	(void)state;
	s->kernel_gs_base = 7;
	s->seg[SEG_GS].base = 9;
	assert_int_equal(x86_swapgs(&fx.cpu), 0);
	assert_int_equal(s->kernel_gs_base, 9);
	assert_int_equal(s->seg[SEG_GS].base, 7);
	assert_fault(x86_fsgsbase(&fx.cpu, 0, 8, &v), VEC_UD, 0);
	s->cr4 |= CR4_FSGSBASE;
	assert_int_equal(x86_fsgsbase(&fx.cpu, 2, 8, &v), 0);
	assert_int_equal(s->seg[SEG_FS].base, v);
	assert_int_equal(x86_fsgsbase(&fx.cpu, 0, 4, &v), 0);
	assert_int_equal(v, 0);
	v = BIT(47);
	assert_fault(x86_fsgsbase(&fx.cpu, 3, 8, &v), VEC_GP, 0);
	v = 0x1234567890ull;
	assert_int_equal(x86_fsgsbase(&fx.cpu, 3, 4, &v), 0);
	assert_int_equal(s->seg[SEG_GS].base, 0x34567890);
	s->cpl = 3;
	assert_fault(x86_swapgs(&fx.cpu), VEC_GP, 0);
	fx_user32();
	assert_fault(x86_swapgs(&fx.cpu), VEC_UD, 0);
	assert_fault(x86_fsgsbase(&fx.cpu, 1, 4, &v), VEC_UD, 0);
}

static void time_stamp(void **state)
{
	u64 v;

	(void)state;
	fx.tsc = 1000;
	s->tsc_offset = -400ull;
	assert_int_equal(x86_rdtsc(&fx.cpu, &v), 0);
	assert_int_equal(v, 600);
	s->cr4 |= CR4_TSD;
	assert_int_equal(x86_rdtsc(&fx.cpu, &v), 0);
	s->cpl = 3;
	assert_fault(x86_rdtsc(&fx.cpu, &v), VEC_GP, 0);
}

static void flags(void **state)
{
	const u64 all = 0xffffffff;

	(void)state;
	s->rflags = FL_ONE | FL_RF;
	assert_int_equal(x86_popf_merge(&fx.cpu, all, 8),
		FL_ONE | FL_ARITH | FL_TF | FL_IF | FL_DF | FL_IOPL | FL_NT | FL_AC | FL_ID);
	assert_int_equal(
		x86_popf_merge(&fx.cpu, all, 2), FL_ONE | FL_ARITH | FL_TF | FL_IF | FL_DF | FL_IOPL | FL_NT);
	s->cpl = 3;
	assert_int_equal(
		x86_popf_merge(&fx.cpu, all, 4), FL_ONE | FL_ARITH | FL_TF | FL_DF | FL_NT | FL_AC | FL_ID);
	s->rflags = FL_ONE | FL_IOPL | FL_IF | FL_ID;
	assert_int_equal(x86_popf_merge(&fx.cpu, 0, 4), FL_ONE | FL_IOPL);
}

static void interrupt_flag(void **state)
{
	(void)state;
	assert_int_equal(x86_cli(&fx.cpu), 0);
	assert_false(s->rflags & FL_IF);
	assert_int_equal(x86_sti(&fx.cpu), 0);
	assert_true(s->rflags & FL_IF && s->irq_shadow);
	s->irq_shadow = false;
	assert_int_equal(x86_sti(&fx.cpu), 0);
	assert_false(s->irq_shadow);
	s->cpl = 3;
	assert_fault(x86_cli(&fx.cpu), VEC_GP, 0);
	assert_fault(x86_sti(&fx.cpu), VEC_GP, 0);
	s->rflags |= FL_IOPL;
	assert_int_equal(x86_cli(&fx.cpu), 0);
}

static void io_permission(void **state)
{
	(void)state;
	assert_int_equal(x86_io_check(&fx.cpu, 0x3f8, 1), 0);
	s->cpl = 3;
	assert_fault(x86_io_check(&fx.cpu, 0x3f8, 1), VEC_GP, 0);
	s->seg[SEG_TR].limit = 0x68 + 0x80;
	fx.ram[TSS + 102] = 0x68;
	assert_int_equal(x86_io_check(&fx.cpu, 0x3f8, 1), 0);
	fx.ram[TSS + 0x68 + 0x3f8 / 8] = 0x80;
	assert_int_equal(x86_io_check(&fx.cpu, 0x3fe, 1), 0);
	assert_fault(x86_io_check(&fx.cpu, 0x3fe, 2), VEC_GP, 0);
	fx.ram[TSS + 0x68 + 0x3f8 / 8] = 0;
	fx.ram[TSS + 0x69 + 0x3f8 / 8] = 1;
	assert_fault(x86_io_check(&fx.cpu, 0x3fd, 4), VEC_GP, 0);
	/* Both bytes must lie within the TSS. */
	assert_int_equal(x86_io_check(&fx.cpu, 0x3f7, 1), 0);
	assert_fault(x86_io_check(&fx.cpu, 0x400, 1), VEC_GP, 0);
	s->rflags |= FL_IOPL;
	assert_int_equal(x86_io_check(&fx.cpu, 0x400, 1), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(cr0),
		test(lmsw),
		test(long_mode_on_and_off),
		test(cr3),
		test(cr4),
		test(cr2_cr8_and_the_others),
		test(debug_registers),
		test(invalidation),
		test(xcr0),
		test(bases),
		test(time_stamp),
		test(flags),
		test(interrupt_flag),
		test(io_permission),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
