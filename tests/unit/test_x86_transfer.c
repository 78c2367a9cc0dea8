/* SPDX-License-Identifier: MIT */
/* IRET, far transfers, call gates and the fast system call instructions. */
#include "tests/unit/x86_fixture.h"

static struct x86_state *s = &fx.cpu.s;

/* An IRETQ frame at the stack pointer. */
static void put_frame(u64 rip, u64 cs, u64 flags, u64 rsp, u64 ss)
{
	const u64 frame[] = {rip, cs, flags, rsp, ss};

	memcpy(fx.ram + s->gpr[RSP], frame, sizeof(frame));
}

static void put_frame32(u32 rip, u32 cs, u32 flags, u32 rsp, u32 ss)
{
	const u32 frame[] = {rip, cs, flags, rsp, ss};

	memcpy(fx.ram + s->gpr[RSP], frame, sizeof(frame));
}

static void iret_to_user(void **state)
{
	(void)state;
	s->nmi_blocked = true;
	s->seg[SEG_FS].base = 0x1234;
	s->seg[SEG_DS].attr = A_DATA | A_USER;
	put_frame(0x7fffffffe000, UCODE64, FL_IF | FL_CF | FL_VM | FL_IOPL, 0x7ffff000, UDATA);
	assert_int_equal(x86_iret(&fx.cpu, 8), 0);
	assert_int_equal(s->rip, 0x7fffffffe000);
	assert_int_equal(s->cpl, 3);
	assert_int_equal(s->gpr[RSP], 0x7ffff000);
	assert_int_equal(s->rflags, FL_IF | FL_CF | FL_ONE | FL_IOPL);
	assert_int_equal(s->seg[SEG_SS].sel, UDATA);
	assert_false(s->nmi_blocked);
	/* Kernel data segments are taken away, user's stay. */
	assert_true(s->seg[SEG_ES].attr & SEG_UNUSABLE);
	assert_int_equal(s->seg[SEG_ES].sel, 0);
	assert_int_equal(s->seg[SEG_FS].base, 0x1234);
	assert_int_equal(s->seg[SEG_DS].sel, KDATA);
}

static void iret_to_same_level(void **state)
{
	(void)state;
	put_frame(0x123, KCODE, FL_RF, 0x31337, 0);
	assert_int_equal(x86_iret(&fx.cpu, 8), 0);
	assert_int_equal(s->cpl, 0);
	assert_int_equal(s->gpr[RSP], 0x31337);
	assert_true(s->seg[SEG_SS].attr & SEG_UNUSABLE);
	assert_int_equal(s->rflags, FL_RF | FL_ONE);
	assert_int_equal(s->seg[SEG_ES].sel, KDATA);
}

static void iret_to_compat(void **state)
{
	(void)state;
	put_frame(0x8048000, UCODE32, FL_IF, 0xffff0000, UDATA);
	assert_int_equal(x86_iret(&fx.cpu, 8), 0);
	assert_false(x86_code64(&fx.cpu));
	assert_int_equal(s->gpr[RSP], 0xffff0000);
	/* EIP beyond the limit does not go. */
	fx_setup(state);
	put_frame(0x100008048000, UCODE32, FL_IF, 0xffff0000, UDATA);
	assert_fault(x86_iret(&fx.cpu, 8), VEC_GP, 0);
	/* A 16-bit stack takes 16 bits only. */
	fx_setup(state);
	put_desc(GDT, SPARE, 0, 0xffff, 0xf3);
	put_frame(0x1000, UCODE32, FL_IF, 0x56789abc, SPARE | 3);
	assert_int_equal(x86_iret(&fx.cpu, 8), 0);
	assert_int_equal(s->gpr[RSP], (STACK & ~0xffff) | 0x9abc);
}

static void iret_within_compat(void **state)
{
	(void)state;
	fx_user32();
	s->rflags = FL_ONE | FL_IF;
	put_frame32(0x1000, UCODE32, FL_ZF, 0, 0);
	assert_int_equal(x86_iret(&fx.cpu, 4), 0);
	assert_int_equal(s->rip, 0x1000);
	assert_int_equal(s->gpr[RSP], STACK + 12);
	/* No privilege to change IF. */
	assert_int_equal(s->rflags, FL_ONE | FL_IF | FL_ZF);
	assert_int_equal(s->seg[SEG_SS].sel, UDATA);
}

static void iret_user_cannot_raise_iopl(void **state)
{
	(void)state;
	fx_user64();
	put_frame(0x1000, UCODE64, FL_IOPL | FL_ID | FL_AC, STACK, UDATA);
	assert_int_equal(x86_iret(&fx.cpu, 8), 0);
	assert_int_equal(s->rflags, FL_ONE | FL_IF | FL_ID | FL_AC);
}

static void iret_faults(void **state)
{
	const struct {
		u64 rip, cs, ss;
		u8 vector;
		u32 error;
	} cases[] = {
		{0, 0, UDATA, VEC_GP, 0},
		{0, 0x1003, UDATA, VEC_GP, 0x1000},
		{0, UDATA, UDATA, VEC_GP, UDATA & ~3},
		{BIT(47), UCODE64, UDATA, VEC_GP, 0},
		{0, UCODE64 & ~3, UDATA, VEC_GP, UCODE64 & ~3},
		{0, KCODE | 3, UDATA, VEC_GP, KCODE},
		{0, UCODE64, 0, VEC_GP, 0},
		{0, UCODE64, 3, VEC_GP, 0},
		{0, UCODE64, KDATA, VEC_GP, KDATA},
		{0, UCODE64, KDATA | 3, VEC_GP, KDATA},
		{0, UCODE64, UCODE32, VEC_GP, UCODE32 & ~3},
		{0, SPARE | 3, UDATA, VEC_NP, SPARE},
		{0, UCODE64, (SPARE + 8) | 3, VEC_SS, SPARE + 8},
		{0, KCODE, 3, VEC_GP, 0},
		{0, UCODE32, 3, VEC_GP, 0},
		{0, LDT_SEL | 7, UDATA, VEC_GP, LDT_SEL | 4},
	};

	(void)state;
	put_desc(GDT, SPARE, 0, 0xfffff, (A_CODE64 | A_USER) & ~0x80);
	put_desc(GDT, SPARE + 8, 0, 0xfffff, (A_DATA | A_USER) & ~0x80);
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		put_frame(cases[i].rip, cases[i].cs, FL_IF, 0x1000, cases[i].ss);
		assert_fault(x86_iret(&fx.cpu, 8), cases[i].vector, cases[i].error);
		assert_int_equal(s->gpr[RSP], STACK);
		assert_int_equal(s->rip, 0x100000);
		assert_int_equal(s->cpl, 0);
	}
	s->rflags |= FL_NT;
	put_frame(0, UCODE64, FL_IF, 0x1000, UDATA);
	assert_fault(x86_iret(&fx.cpu, 8), VEC_GP, 0);
	s->rflags = FL_ONE;
	s->gpr[RSP] = BIT(47) - 16;
	assert_int_equal(x86_iret(&fx.cpu, 8), -1);
	/* To inner levels there is no return. */
	fx_setup(state);
	fx_user64();
	put_frame(0, KCODE, FL_IF, 0x1000, KDATA);
	assert_fault(x86_iret(&fx.cpu, 8), VEC_GP, KCODE);
}

static void far_jump(void **state)
{
	(void)state;
	assert_int_equal(x86_far_jump(&fx.cpu, KCODE | 0, 0x123400000000, 8), 0);
	assert_int_equal(s->rip, 0x123400000000);
	put_desc(GDT, SPARE, 0, 0xfffff, A_CODE32 & ~1);
	assert_int_equal(x86_far_jump(&fx.cpu, SPARE, 0x100001234, 4), 0);
	assert_int_equal(s->rip, 0x1234);
	assert_false(x86_code64(&fx.cpu));
	/* Its accessed bit is set now. */
	assert_true(get64(GDT + SPARE) >> 40 & 1);
}

static void far_jump_faults(void **state)
{
	(void)state;
	assert_fault(x86_far_jump(&fx.cpu, 0, 0, 8), VEC_GP, 0);
	assert_fault(x86_far_jump(&fx.cpu, KDATA, 0, 8), VEC_GP, KDATA);
	assert_fault(x86_far_jump(&fx.cpu, UCODE64, 0, 8), VEC_GP, UCODE64 & ~3);
	assert_fault(x86_far_jump(&fx.cpu, KCODE | 3, 0, 8), VEC_GP, KCODE);
	assert_fault(x86_far_jump(&fx.cpu, TSS_SEL, 0, 8), VEC_GP, TSS_SEL);
	assert_fault(x86_far_jump(&fx.cpu, KCODE, BIT(48), 8), VEC_GP, 0);
	put_desc(GDT, SPARE, 0, 0xfffff, A_CODE64 | SEG_DB);
	assert_fault(x86_far_jump(&fx.cpu, SPARE, 0, 8), VEC_GP, SPARE);
	put_desc(GDT, SPARE, 0, 0xfff, 0x409b);
	assert_fault(x86_far_jump(&fx.cpu, SPARE, 0x1000, 4), VEC_GP, 0);
	fx_user64();
	assert_int_equal(x86_far_jump(&fx.cpu, CONFORMING, 0x10, 8), 0);
	assert_int_equal(s->cpl, 3);
	assert_int_equal(s->seg[SEG_CS].sel, CONFORMING | 3);
}

static void far_call_and_return(void **state)
{
	(void)state;
	assert_int_equal(x86_far_call(&fx.cpu, KCODE, 0x5000, 8, 0x100007), 0);
	assert_int_equal(s->gpr[RSP], STACK - 16);
	assert_int_equal(get64(STACK - 16), 0x100007);
	assert_int_equal(get64(STACK - 8), KCODE);
	assert_int_equal(x86_far_ret(&fx.cpu, 8, 0x20), 0);
	assert_int_equal(s->rip, 0x100007);
	assert_int_equal(s->gpr[RSP], STACK + 0x20);
}

static void far_return_outward(void **state)
{
	const u64 frame[] = {0x1234, UCODE64, 0, 0x9000, UDATA};

	(void)state;
	memcpy(fx.ram + STACK, frame, sizeof(frame));
	assert_int_equal(x86_far_ret(&fx.cpu, 8, 8), 0);
	assert_int_equal(s->cpl, 3);
	assert_int_equal(s->gpr[RSP], 0x9008);
	assert_int_equal(s->rip, 0x1234);
	assert_true(s->seg[SEG_DS].attr & SEG_UNUSABLE);
	assert_fault(x86_far_ret(&fx.cpu, 8, 0), VEC_GP, 0);
}

/* A call gate with this DPL to KCODE:HANDLER. */
static void put_call_gate(u16 target, u32 attr)
{
	put64(GDT + GATE_SEL,
		(HANDLER & 0xffff) | (u64)target << 16 | (u64)attr << 40 | (u64)(HANDLER >> 16) << 48);
	put64(GDT + GATE_SEL + 8, 0);
}

static void call_gate(void **state)
{
	(void)state;
	fx_user64();
	put_call_gate(KCODE, 0xec);
	assert_int_equal(x86_far_call(&fx.cpu, GATE_SEL | 3, 0x999, 8, 0x100007), 0);
	assert_int_equal(s->cpl, 0);
	assert_int_equal(s->rip, HANDLER);
	assert_int_equal(s->gpr[RSP], STACK_RSP0 - 32);
	assert_int_equal(get64(STACK_RSP0 - 32), 0x100007);
	assert_int_equal(get64(STACK_RSP0 - 24), UCODE64);
	assert_int_equal(get64(STACK_RSP0 - 16), STACK);
	assert_int_equal(get64(STACK_RSP0 - 8), UDATA);
	assert_int_equal(x86_far_ret(&fx.cpu, 8, 0), 0);
	assert_int_equal(s->cpl, 3);
	assert_int_equal(s->gpr[RSP], STACK);
	assert_int_equal(s->rip, 0x100007);
}

static void call_gate_at_same_level(void **state)
{
	(void)state;
	put_call_gate(KCODE, 0x8c);
	assert_int_equal(x86_far_call(&fx.cpu, GATE_SEL, 0, 4, 0x100007), 0);
	assert_int_equal(s->gpr[RSP], STACK - 16);
	assert_int_equal(get64(STACK - 16), 0x100007);
	assert_int_equal(x86_far_jump(&fx.cpu, GATE_SEL, 0, 4), 0);
	assert_int_equal(s->rip, HANDLER);
}

static void call_gate_faults(void **state)
{
	(void)state;
	fx_user64();
	put_call_gate(KCODE, 0x8c);
	assert_fault(x86_far_call(&fx.cpu, GATE_SEL | 3, 0, 8, 0), VEC_GP, GATE_SEL);
	put_call_gate(KCODE, 0x6c);
	assert_fault(x86_far_call(&fx.cpu, GATE_SEL | 3, 0, 8, 0), VEC_NP, GATE_SEL);
	put_call_gate(UCODE32, 0xec);
	assert_fault(x86_far_call(&fx.cpu, GATE_SEL | 3, 0, 8, 0), VEC_GP, UCODE32 & ~3);
	put_call_gate(KCODE, 0xec);
	assert_fault(x86_far_jump(&fx.cpu, GATE_SEL | 3, 0, 8), VEC_GP, KCODE);
	put64(GDT + GATE_SEL + 8, 1ull << 40);
	assert_fault(x86_far_call(&fx.cpu, GATE_SEL | 3, 0, 8, 0), VEC_GP, GATE_SEL);
	assert_int_equal(s->cpl, 3);
}

static void syscall_and_sysret(void **state)
{
	(void)state;
	fx_user64();
	s->star = (u64)UCODE32 << 48 | (u64)KCODE << 32;
	s->lstar = 0xffffffff81000000ull;
	s->sfmask = FL_IF | FL_TF | FL_DF | FL_ARITH;
	s->rflags = FL_ONE | FL_IF | FL_CF | FL_RF;
	assert_int_equal(x86_syscall(&fx.cpu, 0x100002), 0);
	assert_int_equal(s->rip, 0xffffffff81000000ull);
	assert_int_equal(s->gpr[RCX], 0x100002);
	assert_int_equal(s->gpr[R11], FL_ONE | FL_IF | FL_CF);
	assert_int_equal(s->rflags, FL_ONE);
	assert_int_equal(s->cpl, 0);
	assert_int_equal(s->seg[SEG_CS].sel, KCODE);
	assert_int_equal(s->seg[SEG_CS].attr, A_CODE64);
	assert_int_equal(s->seg[SEG_SS].sel, KDATA);
	assert_int_equal(s->seg[SEG_SS].attr, A_DATA);

	s->gpr[R11] |= FL_VM | FL_RF;
	assert_int_equal(x86_sysret(&fx.cpu, 8), 0);
	assert_int_equal(s->rip, 0x100002);
	assert_int_equal(s->rflags, FL_ONE | FL_IF | FL_CF);
	assert_int_equal(s->cpl, 3);
	assert_int_equal(s->seg[SEG_CS].sel, UCODE64);
	assert_int_equal(s->seg[SEG_CS].attr, A_CODE64 | A_USER);
	assert_int_equal(s->seg[SEG_SS].sel, UDATA);
	assert_int_equal(s->seg[SEG_SS].attr, A_DATA | A_USER);
}

static void syscall_from_compat(void **state)
{
	(void)state;
	fx_user32();
	s->star = (u64)UCODE32 << 48 | (u64)KCODE << 32;
	s->cstar = 0xffffffff81001000ull;
	assert_fault(x86_syscall(&fx.cpu, 0x2002), VEC_UD, 0); /* Intel's have it in 64-bit code only */
	fx.table.amd = true;
	assert_int_equal(x86_syscall(&fx.cpu, 0x2002), 0);
	assert_int_equal(s->rip, 0xffffffff81001000ull);
	assert_true(x86_code64(&fx.cpu));
	s->gpr[RCX] = 0x1200002002;
	assert_int_equal(x86_sysret(&fx.cpu, 4), 0);
	assert_int_equal(s->rip, 0x2002);
	assert_int_equal(s->seg[SEG_CS].sel, UCODE32);
	assert_int_equal(s->seg[SEG_CS].attr, A_CODE32 | A_USER);
	fx.table.amd = false;
}

static void syscall_faults(void **state)
{
	(void)state;
	s->gpr[RCX] = BIT(47);
	assert_fault(x86_sysret(&fx.cpu, 8), VEC_GP, 0);
	s->gpr[RCX] = 0;
	s->cpl = 3;
	assert_fault(x86_sysret(&fx.cpu, 8), VEC_GP, 0);
	s->efer &= ~EFER_SCE;
	assert_fault(x86_sysret(&fx.cpu, 8), VEC_UD, 0);
	assert_fault(x86_syscall(&fx.cpu, 0), VEC_UD, 0);
}

static void sysenter_and_sysexit(void **state)
{
	(void)state;
	fx_user32();
	assert_fault(x86_sysenter(&fx.cpu), VEC_GP, 0);
	s->sysenter_cs = KCODE;
	s->sysenter_esp = 0xffffffff82000000ull;
	s->sysenter_eip = 0xffffffff81002000ull;
	assert_int_equal(x86_sysenter(&fx.cpu), 0);
	assert_int_equal(s->rip, 0xffffffff81002000ull);
	assert_int_equal(s->gpr[RSP], 0xffffffff82000000ull);
	assert_int_equal(s->rflags, FL_ONE);
	assert_int_equal(s->seg[SEG_CS].sel, KCODE);
	assert_int_equal(s->seg[SEG_SS].sel, KDATA);
	assert_int_equal(s->cpl, 0);
	s->gpr[RCX] = 0x100009000;
	s->gpr[RDX] = 0x2000;
	assert_int_equal(x86_sysexit(&fx.cpu, 4), 0);
	assert_int_equal(s->seg[SEG_CS].sel, (KCODE + 16) | 3);
	assert_int_equal(s->seg[SEG_SS].sel, (KCODE + 24) | 3);
	assert_int_equal(s->gpr[RSP], 0x9000);
	assert_fault(x86_sysexit(&fx.cpu, 4), VEC_GP, 0);
	x86_sysenter(&fx.cpu);
	assert_int_equal(x86_sysexit(&fx.cpu, 8), 0);
	assert_int_equal(s->seg[SEG_CS].sel, (KCODE + 32) | 3);
	assert_int_equal(s->seg[SEG_SS].sel, (KCODE + 40) | 3);
	x86_sysenter(&fx.cpu);
	s->gpr[RDX] = BIT(47);
	assert_fault(x86_sysexit(&fx.cpu, 8), VEC_GP, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(iret_to_user),
		test(iret_to_same_level),
		test(iret_to_compat),
		test(iret_within_compat),
		test(iret_user_cannot_raise_iopl),
		test(iret_faults),
		test(far_jump),
		test(far_jump_faults),
		test(far_call_and_return),
		test(far_return_outward),
		test(call_gate),
		test(call_gate_at_same_level),
		test(call_gate_faults),
		test(syscall_and_sysret),
		test(syscall_from_compat),
		test(syscall_faults),
		test(sysenter_and_sysexit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
