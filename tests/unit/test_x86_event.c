/* SPDX-License-Identifier: MIT */
/* Delivery of interrupts and exceptions: frames, stacks, flags, and faults upon faults. */
#include "tests/unit/x86_fixture.h"

static int deliver(enum x86_event_kind kind, u8 vector, bool has_error, u32 error, u64 address)
{
	const struct x86_fault f = {vector, has_error, error, address};

	return x86_deliver(&fx.cpu, kind, &f);
}

/* The frame at RSP: [error] RIP CS RFLAGS RSP SS. */
static void assert_frame(u64 at, u64 rip, u16 cs, u64 flags, u64 rsp, u16 ss)
{
	assert_int_equal(get64(at), rip);
	assert_int_equal(get64(at + 8), cs);
	assert_int_equal(get64(at + 16), flags);
	assert_int_equal(get64(at + 24), rsp);
	assert_int_equal(get64(at + 32), ss);
}

static void interrupt_at_same_level(void **state)
{
	struct x86_state *s = &fx.cpu.s;

	(void)state;
	s->gpr[RSP] = STACK + 5;
	s->rflags |= FL_TF | FL_NT | FL_RF | FL_CF | FL_AC;
	assert_int_equal(deliver(EVENT_HW, 0x31, false, 0, 0), 0);
	assert_int_equal(s->gpr[RSP], STACK - 40);
	assert_frame(s->gpr[RSP], 0x100000, KCODE, FL_ONE | FL_IF | FL_TF | FL_NT | FL_CF | FL_AC, STACK + 5,
		KDATA);
	assert_int_equal(s->rip, HANDLER + 0x310);
	assert_int_equal(s->rflags, FL_ONE | FL_CF | FL_AC);
	assert_int_equal(s->seg[SEG_SS].sel, KDATA);
	assert_true(fx.mode_changes > 0);
}

static void trap_gate_keeps_if(void **state)
{
	(void)state;
	put_idt(VEC_BP, KCODE, HANDLER, 0, 0x8f);
	assert_int_equal(deliver(EVENT_EXCEPTION, VEC_BP, false, 0, 0), 0);
	assert_int_equal(fx.cpu.s.rflags, FL_ONE | FL_IF);
}

static void privilege_change(void **state)
{
	struct x86_state *s = &fx.cpu.s;

	(void)state;
	fx_user64();
	assert_int_equal(deliver(EVENT_EXCEPTION, VEC_PF, true, 6, 0xdead000), 0);
	assert_int_equal(s->cpl, 0);
	assert_int_equal(s->seg[SEG_CS].sel, KCODE);
	assert_int_equal(s->seg[SEG_SS].sel, 0);
	assert_true(s->seg[SEG_SS].attr & SEG_UNUSABLE);
	assert_int_equal(s->gpr[RSP], STACK_RSP0 - 48);
	assert_int_equal(get64(s->gpr[RSP]), 6);
	/* A fault: RF is pushed. */
	assert_frame(s->gpr[RSP] + 8, 0x100000, UCODE64, FL_ONE | FL_IF | FL_RF, STACK, UDATA);
	assert_int_equal(s->cr2, 0xdead000);
}

static void ist(void **state)
{
	(void)state;
	put_idt(VEC_NMI, KCODE, HANDLER, 1, 0x8e);
	assert_int_equal(deliver(EVENT_HW, VEC_NMI, false, 0, 0), 0);
	assert_int_equal(fx.cpu.s.gpr[RSP], STACK_IST1 - 40);
	assert_int_equal(fx.cpu.s.seg[SEG_SS].sel, KDATA);
	assert_true(fx.cpu.s.nmi_blocked);
}

static void conforming_handler_keeps_the_level(void **state)
{
	(void)state;
	fx_user64();
	put_idt(0x40, CONFORMING, HANDLER, 0, 0x8e);
	assert_int_equal(deliver(EVENT_HW, 0x40, false, 0, 0), 0);
	assert_int_equal(fx.cpu.s.cpl, 3);
	assert_int_equal(fx.cpu.s.seg[SEG_CS].sel, CONFORMING | 3);
	assert_int_equal(fx.cpu.s.gpr[RSP], STACK - 40);
}

static void debug_registers(void **state)
{
	(void)state;
	fx.cpu.s.dr[7] |= BIT(13);
	assert_int_equal(deliver(EVENT_EXCEPTION, VEC_DB, false, 0, BIT(14)), 0);
	assert_int_equal(fx.cpu.s.dr[6], 0xffff4ff0);
	assert_int_equal(fx.cpu.s.dr[7], 0x400);
	/* A trap: no RF. */
	assert_int_equal(get64(fx.cpu.s.gpr[RSP] + 16), FL_ONE | FL_IF);
}

static void software_interrupt(void **state)
{
	struct x86_state *s = &fx.cpu.s;

	(void)state;
	fx_user32();
	put_idt(0x80, KCODE, HANDLER, 0, 0xee);
	assert_int_equal(x86_int(&fx.cpu, 0x80, 0x100002), 0);
	assert_int_equal(s->gpr[RSP], STACK_RSP0 - 40);
	assert_frame(s->gpr[RSP], 0x100002, UCODE32, FL_ONE | FL_IF, STACK, UDATA);
	assert_int_equal(s->rip, HANDLER);
}

static void software_interrupt_faults(void **state)
{
	(void)state;
	fx_user64();
	assert_fault(x86_int(&fx.cpu, 0x81, 0x100002), VEC_GP, 0x81 * 8 + 2);
	assert_int_equal(fx.cpu.s.rip, 0x100000);
	assert_int_equal(fx.cpu.s.cpl, 3);
	put_idt(0x80, KCODE, HANDLER, 0, 0x6e);
	assert_fault(x86_int(&fx.cpu, 0x80, 0x100002), VEC_NP, 0x80 * 8 + 2);
	fx.cpu.s.idt.limit = 0x7ff;
	assert_fault(x86_int(&fx.cpu, 0x80, 0x100002), VEC_GP, 0x80 * 8 + 2);
}

/* A bad gate for a hardware interrupt becomes #GP with EXT set. */
static void bad_gates(void **state)
{
	const struct {
		u16 sel;
		u64 rip;
		u32 attr;
		u8 vector;
		u32 error;
	} cases[] = {
		{KCODE, HANDLER, 0x85, VEC_GP, 0x40 * 8 + 3},
		{KCODE, HANDLER, 0x9e, VEC_GP, 0x40 * 8 + 3},
		{KCODE, HANDLER, 0x0e, VEC_NP, 0x40 * 8 + 3},
		{0, HANDLER, 0x8e, VEC_GP, 1},
		{KDATA, HANDLER, 0x8e, VEC_GP, KDATA + 1},
		{UCODE64, HANDLER, 0x8e, VEC_GP, (UCODE64 & ~3) + 1},
		{SPARE, HANDLER, 0x8e, VEC_NP, SPARE + 1},
		{0x1000, HANDLER, 0x8e, VEC_GP, 0x1001},
		{KCODE, BIT(47), 0x8e, VEC_GP, 1},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		fx_setup(state);
		put_desc(GDT, SPARE, 0, 0xfffff, A_CODE64 & ~0x80);
		put_idt(0x40, cases[i].sel, cases[i].rip, 0, cases[i].attr);
		assert_int_equal(deliver(EVENT_HW, 0x40, false, 0, 0), 0);
		assert_int_equal(fx.cpu.s.rip, HANDLER + cases[i].vector * 16);
		assert_int_equal(get64(fx.cpu.s.gpr[RSP]), cases[i].error);
	}
}

static void handler_must_be_64_bit(void **state)
{
	(void)state;
	put_desc(GDT, SPARE, 0, 0xfffff, A_CODE32);
	put_idt(0x40, SPARE, HANDLER, 0, 0x8e);
	assert_fault(x86_int(&fx.cpu, 0x40, 0x100002), VEC_GP, SPARE);
}

static void bad_stacks(void **state)
{
	(void)state;
	fx_user64();
	put_idt(0x80, KCODE, HANDLER, 0, 0xee);
	put64(TSS + 4, BIT(47));
	assert_fault(x86_int(&fx.cpu, 0x80, 0x100002), VEC_SS, 0);
	fx.cpu.s.seg[SEG_TR].limit = 10;
	assert_fault(x86_int(&fx.cpu, 0x80, 0x100002), VEC_TS, TSS_SEL);
	fx.cpu.s.seg[SEG_TR].limit = 0x67;
	put64(TSS + 4, 0x7000000);
	assert_fault(x86_int(&fx.cpu, 0x80, 0x100002), VEC_PF, PF_W);
	assert_int_equal(fx.cpu.s.cpl, 3);
	assert_int_equal(fx.cpu.s.gpr[RSP], STACK);
}

/* A kernel stack overflow: #PF whose frame faults is #DF on its own stack, CR2 naming the stack. */
static void double_fault(void **state)
{
	struct x86_state *s = &fx.cpu.s;

	(void)state;
	s->gpr[RSP] = 0x7000100;
	put_idt(VEC_DF, KCODE, HANDLER, 1, 0x8e);
	assert_int_equal(deliver(EVENT_EXCEPTION, VEC_PF, true, 0, 0x1234), 0);
	assert_int_equal(s->rip, HANDLER);
	assert_int_equal(s->gpr[RSP], STACK_IST1 - 48);
	assert_int_equal(get64(s->gpr[RSP]), 0);
	assert_int_equal(get64(s->gpr[RSP] + 8), 0x100000);
	assert_int_equal(s->cr2, 0x70000f8);
}

static void combinations(void **state)
{
	const struct {
		u8 first, expect;
	} cases[] = {
		/* The first one's gate is not present: #NP comes second. */
		{VEC_DE, VEC_DF},
		{VEC_GP, VEC_DF},
		{VEC_TS, VEC_DF},
		{VEC_PF, VEC_DF},
		{VEC_DB, VEC_NP},
		{VEC_UD, VEC_NP},
		{VEC_AC, VEC_NP},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		fx_setup(state);
		put_idt(cases[i].first, KCODE, HANDLER, 0, 0x0e);
		assert_int_equal(deliver(EVENT_EXCEPTION, cases[i].first, false, 0, 0), 0);
		assert_int_equal(fx.cpu.s.rip, HANDLER + cases[i].expect * 16);
	}
	/* An interrupt or INT n is benign. */
	fx_setup(state);
	put_idt(VEC_GP, KCODE, HANDLER, 0, 0x0e);
	assert_int_equal(deliver(EVENT_SOFT_INT, VEC_GP, false, 0, 0), 0);
	assert_int_equal(fx.cpu.s.rip, HANDLER + VEC_NP * 16);
}

/* A contributory fault, then a page fault: the page fault is delivered. */
static void contributory_then_page_fault(void **state)
{
	(void)state;
	put_idt(VEC_GP, KCODE, HANDLER, 2, 0x8e);
	put64(TSS + 44, 0x7000000);
	assert_int_equal(deliver(EVENT_EXCEPTION, VEC_GP, true, 0, 0), 0);
	assert_int_equal(fx.cpu.s.rip, HANDLER + VEC_PF * 16);
	assert_int_equal(fx.cpu.s.cr2, 0x6fffff8);
}

static void triple_fault(void **state)
{
	(void)state;
	fx.cpu.s.idt.limit = 0;
	assert_int_equal(deliver(EVENT_EXCEPTION, VEC_GP, true, 0, 0), -1);
	fx_setup(state);
	put_idt(VEC_PF, KCODE, HANDLER, 0, 0x0e);
	put_idt(VEC_DF, KCODE, HANDLER, 0, 0x0e);
	assert_int_equal(deliver(EVENT_EXCEPTION, VEC_PF, true, 0, 0), -1);
	assert_int_equal(fx.cpu.s.rip, 0x100000);
}

static void smap_guards_the_frame(void **state)
{
	(void)state;
	fx.cpu.s.cr4 |= CR4_SMAP;
	/* The page tables of this fixture are all user's: even the GDT cannot be read. */
	assert_int_equal(deliver(EVENT_HW, 0x40, false, 0, 0), -1);
}

static void wakes_from_halt(void **state)
{
	(void)state;
	fx.cpu.s.halted = true;
	fx.cpu.s.irq_shadow = true;
	assert_int_equal(deliver(EVENT_HW, 0x40, false, 0, 0), 0);
	assert_false(fx.cpu.s.halted || fx.cpu.s.irq_shadow || fx.cpu.s.nmi_blocked);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(interrupt_at_same_level),
		test(trap_gate_keeps_if),
		test(privilege_change),
		test(ist),
		test(conforming_handler_keeps_the_level),
		test(debug_registers),
		test(software_interrupt),
		test(software_interrupt_faults),
		test(bad_gates),
		test(handler_must_be_64_bit),
		test(bad_stacks),
		test(double_fault),
		test(combinations),
		test(contributory_then_page_fault),
		test(triple_fault),
		test(smap_guards_the_frame),
		test(wakes_from_halt),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
