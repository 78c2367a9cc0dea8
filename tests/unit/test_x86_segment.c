/* SPDX-License-Identifier: MIT */
/* Segment register loads, descriptor tables, and what LAR, LSL and VERR show. */
#include "tests/unit/x86_fixture.h"

static struct x86_state *s = &fx.cpu.s;

static void loads_data(void **state)
{
	(void)state;
	put_desc(GDT, SPARE, 0x12345678, 0xabcde, 0x4092);
	assert_int_equal(x86_load_seg(&fx.cpu, SEG_FS, SPARE), 0);
	assert_int_equal(s->seg[SEG_FS].sel, SPARE);
	assert_int_equal(s->seg[SEG_FS].base, 0x12345678);
	assert_int_equal(s->seg[SEG_FS].limit, 0xabcde);
	assert_int_equal(s->seg[SEG_FS].attr, 0x4093);
	assert_int_equal(get64(GDT + SPARE) >> 40 & 0xff, 0x93);
	put_desc(GDT, SPARE, 0, 0xabcde, 0xc093 | A_USER);
	assert_int_equal(x86_load_seg(&fx.cpu, SEG_DS, SPARE | 3), 0);
	assert_int_equal(s->seg[SEG_DS].limit, 0xabcdefff);
	assert_int_equal(s->seg[SEG_DS].sel, SPARE | 3);
}

static void loads_null(void **state)
{
	(void)state;
	s->seg[SEG_GS].base = 5;
	assert_int_equal(x86_load_seg(&fx.cpu, SEG_GS, 3), 0);
	assert_int_equal(s->seg[SEG_GS].sel, 3);
	assert_int_equal(s->seg[SEG_GS].base, 0);
	assert_true(s->seg[SEG_GS].attr & SEG_UNUSABLE);
	assert_int_equal(x86_load_seg(&fx.cpu, SEG_SS, 0), 0);
	assert_fault(x86_load_seg(&fx.cpu, SEG_SS, 1), VEC_GP, 0);
	fx_user64();
	assert_fault(x86_load_seg(&fx.cpu, SEG_SS, 3), VEC_GP, 0);
	fx_user32();
	assert_fault(x86_load_seg(&fx.cpu, SEG_SS, 3), VEC_GP, 0);
	assert_int_equal(fx.mode_changes, 0);
	assert_int_equal(x86_load_seg(&fx.cpu, SEG_DS, UDATA), 0);
	assert_int_equal(fx.mode_changes, 1);
}

static void data_faults(void **state)
{
	(void)state;
	fx_user64();
	assert_fault(x86_load_seg(&fx.cpu, SEG_DS, KDATA), VEC_GP, KDATA);
	assert_fault(x86_load_seg(&fx.cpu, SEG_DS, TSS_SEL), VEC_GP, TSS_SEL);
	assert_fault(x86_load_seg(&fx.cpu, SEG_DS, 0x103), VEC_GP, 0x100);
	assert_fault(x86_load_seg(&fx.cpu, SEG_DS, 0xc), VEC_GP, 0xc);
	put_desc(GDT, SPARE, 0, 0, 0x73);
	assert_fault(x86_load_seg(&fx.cpu, SEG_DS, SPARE), VEC_NP, SPARE);
	put_desc(GDT, SPARE, 0, 0, 0xf9); /* execute-only */
	assert_fault(x86_load_seg(&fx.cpu, SEG_DS, SPARE), VEC_GP, SPARE);
	put_desc(GDT, SPARE, 0, 0, 0x9f); /* conforming, readable: any level */
	assert_int_equal(x86_load_seg(&fx.cpu, SEG_DS, SPARE | 3), 0);
	assert_int_equal(x86_load_seg(&fx.cpu, SEG_DS, UDATA), 0);
	s->cpl = 0;
	assert_fault(x86_load_seg(&fx.cpu, SEG_DS, KDATA | 1), VEC_GP, KDATA);
}

static void stack_segment(void **state)
{
	(void)state;
	assert_int_equal(x86_load_seg(&fx.cpu, SEG_SS, KDATA), 0);
	assert_true(s->irq_shadow);
	assert_fault(x86_load_seg(&fx.cpu, SEG_SS, UDATA), VEC_GP, UDATA & ~3);
	assert_fault(x86_load_seg(&fx.cpu, SEG_SS, KDATA | 3), VEC_GP, KDATA);
	assert_fault(x86_load_seg(&fx.cpu, SEG_SS, KCODE), VEC_GP, KCODE);
	put_desc(GDT, SPARE, 0, 0, 0x91); /* read-only */
	assert_fault(x86_load_seg(&fx.cpu, SEG_SS, SPARE), VEC_GP, SPARE);
	put_desc(GDT, SPARE, 0, 0, 0x13);
	assert_fault(x86_load_seg(&fx.cpu, SEG_SS, SPARE), VEC_SS, SPARE);
}

static void ldt(void **state)
{
	(void)state;
	put_desc(LDT, 8, 0x77000, 0xfff, 0x40f3);
	assert_int_equal(x86_lldt(&fx.cpu, LDT_SEL), 0);
	assert_int_equal(s->seg[SEG_LDTR].base, LDT);
	assert_int_equal(x86_load_seg(&fx.cpu, SEG_ES, 8 | 7), 0);
	assert_int_equal(s->seg[SEG_ES].base, 0x77000);
	assert_fault(x86_load_seg(&fx.cpu, SEG_ES, 0x107), VEC_GP, 0x104);
	assert_int_equal(x86_lldt(&fx.cpu, 0), 0);
	assert_fault(x86_load_seg(&fx.cpu, SEG_ES, 8 | 7), VEC_GP, 8 | 4);
	put_system_desc(LDT_SEL, 0xffff888000000000ull, 0xff, 0x82);
	assert_int_equal(x86_lldt(&fx.cpu, LDT_SEL), 0);
	assert_int_equal(s->seg[SEG_LDTR].base, 0xffff888000000000ull);
}

static void ldt_faults(void **state)
{
	(void)state;
	assert_fault(x86_lldt(&fx.cpu, LDT_SEL | 4), VEC_GP, LDT_SEL | 4);
	assert_fault(x86_lldt(&fx.cpu, TSS_SEL), VEC_GP, TSS_SEL);
	assert_fault(x86_lldt(&fx.cpu, KDATA), VEC_GP, KDATA);
	put_system_desc(LDT_SEL, LDT, 0xff, 0x02);
	assert_fault(x86_lldt(&fx.cpu, LDT_SEL), VEC_NP, LDT_SEL);
	put_system_desc(LDT_SEL, BIT(50), 0xff, 0x82);
	assert_fault(x86_lldt(&fx.cpu, LDT_SEL), VEC_GP, LDT_SEL);
	put64(GDT + LDT_SEL + 8, 0x1f0000000000ull);
	assert_fault(x86_lldt(&fx.cpu, LDT_SEL), VEC_GP, LDT_SEL);
	/* The upper half lies beyond the table. */
	put_desc(GDT, 0xf8, 0, 0, 0x82);
	assert_fault(x86_lldt(&fx.cpu, 0xf8), VEC_GP, 0xf8);
	s->cpl = 3;
	assert_fault(x86_lldt(&fx.cpu, 0), VEC_GP, 0);
}

static void task_register(void **state)
{
	(void)state;
	s->seg[SEG_TR].base = 0;
	assert_int_equal(x86_ltr(&fx.cpu, TSS_SEL), 0);
	assert_int_equal(s->seg[SEG_TR].base, TSS);
	assert_int_equal(s->seg[SEG_TR].attr & 0xff, 0x8b);
	assert_int_equal(get64(GDT + TSS_SEL) >> 40 & 0xff, 0x8b);
	/* Busy now. */
	assert_fault(x86_ltr(&fx.cpu, TSS_SEL), VEC_GP, TSS_SEL);
	assert_fault(x86_ltr(&fx.cpu, 0), VEC_GP, 0);
	assert_fault(x86_ltr(&fx.cpu, LDT_SEL), VEC_GP, LDT_SEL);
	put_system_desc(TSS_SEL, TSS, 0x67, 0x09);
	assert_fault(x86_ltr(&fx.cpu, TSS_SEL), VEC_NP, TSS_SEL);
}

static void tables(void **state)
{
	(void)state;
	assert_int_equal(x86_lgdt(&fx.cpu, 0xffff800000000000ull, 0x7f), 0);
	assert_int_equal(s->gdt.base, 0xffff800000000000ull);
	assert_int_equal(s->gdt.limit, 0x7f);
	assert_fault(x86_lidt(&fx.cpu, BIT(47), 0x7f), VEC_GP, 0);
	s->cpl = 3;
	assert_fault(x86_lidt(&fx.cpu, 0, 0x7f), VEC_GP, 0);
}

static void lar_and_lsl(void **state)
{
	u32 v = 0;

	(void)state;
	assert_true(x86_lar(&fx.cpu, KCODE, &v));
	assert_int_equal(v, 0xa09b00);
	assert_true(x86_lsl(&fx.cpu, KCODE, &v));
	assert_int_equal(v, 0xffffffff);
	assert_true(x86_lsl(&fx.cpu, TSS_SEL, &v));
	assert_int_equal(v, 0x67);
	assert_false(x86_lar(&fx.cpu, 0, &v));
	assert_false(x86_lar(&fx.cpu, 0x1000, &v));
	assert_false(x86_lar(&fx.cpu, KCODE | 3, &v));
	put64(GDT + GATE_SEL, 0xec00ull << 32);
	put64(GDT + GATE_SEL + 8, 0);
	assert_true(x86_lar(&fx.cpu, GATE_SEL, &v));
	assert_false(x86_lsl(&fx.cpu, GATE_SEL, &v));
	put_desc(GDT, SPARE, 0, 0, 0x8e);
	assert_false(x86_lar(&fx.cpu, SPARE, &v));
	fx_user64();
	assert_false(x86_lar(&fx.cpu, KDATA, &v));
	assert_true(x86_lar(&fx.cpu, CONFORMING, &v));
	assert_true(x86_lar(&fx.cpu, UDATA, &v));
}

static void verr_and_verw(void **state)
{
	(void)state;
	assert_true(x86_verr(&fx.cpu, KDATA, false));
	assert_true(x86_verr(&fx.cpu, KDATA, true));
	assert_true(x86_verr(&fx.cpu, KCODE, false));
	assert_false(x86_verr(&fx.cpu, KCODE, true));
	assert_false(x86_verr(&fx.cpu, TSS_SEL, false));
	assert_false(x86_verr(&fx.cpu, 0, true));
	fx_user64();
	assert_false(x86_verr(&fx.cpu, KDATA, false));
	assert_true(x86_verr(&fx.cpu, UDATA, true));
}

static void umip(void **state)
{
	(void)state;
	s->cr4 |= CR4_UMIP;
	assert_int_equal(x86_umip_check(&fx.cpu), 0);
	s->cpl = 3;
	assert_fault(x86_umip_check(&fx.cpu), VEC_GP, 0);
	s->cr4 &= ~CR4_UMIP;
	assert_int_equal(x86_umip_check(&fx.cpu), 0);
}

static void real_mode(void **state)
{
	(void)state;
	x86_reset(&fx.cpu);
	assert_int_equal(s->rip, 0xfff0);
	assert_int_equal(s->seg[SEG_CS].base, 0xffff0000);
	assert_int_equal(s->gpr[RDX], 0x50654);
	assert_int_equal(x86_load_seg(&fx.cpu, SEG_DS, 0x1234), 0);
	assert_int_equal(s->seg[SEG_DS].base, 0x12340);
	assert_int_equal(s->seg[SEG_DS].limit, 0xffff);
	assert_fault(x86_lldt(&fx.cpu, 0), VEC_UD, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(loads_data),
		test(loads_null),
		test(data_faults),
		test(stack_segment),
		test(ldt),
		test(ldt_faults),
		test(task_register),
		test(tables),
		test(lar_and_lsl),
		test(verr_and_verw),
		test(umip),
		test(real_mode),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
