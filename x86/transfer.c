/* SPDX-License-Identifier: MIT */
/*
 * Control transfers that load CS: IRET, far jump, call and return, and the
 * fast system call instructions. Every check comes before the first change.
 */
#include "x86/cpuid.h"
#include "x86/internal.h"

/* The stack as the current mode addresses it. */
struct stack {
	struct x86_cpu *cpu;
	unsigned size; /* of one slot */
	u64 sp;
	u64 mask; /* of the bits of RSP that move */
	bool flat; /* 64-bit code: no base, no limit */
};

static u64 sp_mask(const struct x86_seg *ss)
{
	return ss->attr & SEG_DB ? 0xffffffff : 0xffff;
}

static void stack_open(struct stack *st, struct x86_cpu *cpu, unsigned size)
{
	st->cpu = cpu;
	st->size = size;
	st->flat = x86_code64(cpu);
	st->mask = st->flat ? ~0ull : sp_mask(&cpu->s.seg[SEG_SS]);
	st->sp = cpu->s.gpr[RSP] & st->mask;
}

static int stack_address(const struct stack *st, u64 sp, gva_t *address)
{
	const struct x86_seg *ss = &st->cpu->s.seg[SEG_SS];
	u64 last = sp + st->size - 1;
	bool inside;

	if (likely(st->flat)) {
		*address = sp;
		return likely(x86_canonical(sp)) ? 0 : x86_fault_code(st->cpu, VEC_SS, 0);
	}
	if (ss->attr & TYPE_DOWN)
		inside = sp > ss->limit && last <= st->mask;
	else
		inside = last <= ss->limit;
	if (!inside)
		return x86_fault_code(st->cpu, VEC_SS, 0);
	*address = (u32)(ss->base + sp);
	return 0;
}

static int pop(struct stack *st, u64 *value)
{
	gva_t address;

	if (stack_address(st, st->sp, &address) ||
		st->cpu->env->load(st->cpu, address, st->size, PRIV_CPL, value))
		return -1;
	st->sp = (st->sp + st->size) & st->mask;
	return 0;
}

static int push(struct stack *st, u64 value)
{
	u64 sp = (st->sp - st->size) & st->mask;
	gva_t address;

	if (stack_address(st, sp, &address) ||
		st->cpu->env->store(st->cpu, address, st->size, PRIV_CPL, value))
		return -1;
	st->sp = sp;
	return 0;
}

/* Writes the part of RSP that a stack of this width has. */
static void set_sp(struct x86_cpu *cpu, u64 sp, u64 mask)
{
	u64 *rsp = &cpu->s.gpr[RSP];

	*rsp = mask == 0xffff ? (*rsp & ~mask) | (sp & mask) : sp & mask;
}

static u64 operand_mask(unsigned opsize)
{
	return opsize == 8 ? ~0ull : BIT(8 * opsize) - 1;
}

/* The target's offset must be canonical, or within the segment. */
static int check_rip(struct x86_cpu *cpu, const struct x86_seg *cs, u64 rip)
{
	if (x86_long_mode(cpu) && cs->attr & SEG_L)
		return likely(x86_canonical(rip)) ? 0 : x86_gp(cpu, 0);
	return rip <= cs->limit ? 0 : x86_gp(cpu, 0);
}

/* Reads a descriptor that must be code; the privilege rules are the caller's. */
static int read_code(struct x86_cpu *cpu, u16 sel, struct x86_seg *cs)
{
	if (sel_null(sel))
		return x86_gp(cpu, 0);
	if (x86_desc_read(cpu, sel, VEC_GP, 0, cs))
		return -1;
	return seg_is_code(cs) ? 0 : x86_gp(cpu, sel & ~SEL_RPL);
}

/* What is left to check when the privilege rules are satisfied. */
static int check_code(struct x86_cpu *cpu, struct x86_seg *cs, u64 rip)
{
	if (!(cs->attr & SEG_P))
		return x86_fault_code(cpu, VEC_NP, cs->sel & ~SEL_RPL);
	if (x86_long_mode(cpu) && (cs->attr & (SEG_L | SEG_DB)) == (SEG_L | SEG_DB))
		return x86_gp(cpu, cs->sel & ~SEL_RPL);
	if (check_rip(cpu, cs, rip))
		return -1;
	return x86_desc_touch(cpu, cs);
}

static void enter(struct x86_cpu *cpu, const struct x86_seg *cs, u64 rip, unsigned cpl)
{
	cpu->s.seg[SEG_CS] = *cs;
	cpu->s.seg[SEG_CS].sel = (u16)((cs->sel & ~SEL_RPL) | cpl);
	cpu->s.rip = rip;
	cpu->s.cpl = (u8)cpl;
}

/* ---- returns ---- */

/* What a return has popped, and what it leads to. */
struct ret {
	u64 rip, rsp;
	u16 cs_sel, ss_sel;
	struct x86_seg cs, ss;
	unsigned cpl;
};

static int check_return_code(struct x86_cpu *cpu, struct ret *r)
{
	unsigned rpl = sel_rpl(r->cs_sel), dpl;

	if (read_code(cpu, r->cs_sel, &r->cs))
		return -1;
	dpl = seg_dpl(&r->cs);
	if (rpl < cpu->s.cpl || (seg_is_conforming(&r->cs) ? dpl > rpl : dpl != rpl))
		return x86_gp(cpu, r->cs_sel & ~SEL_RPL);
	r->cpl = rpl;
	return check_code(cpu, &r->cs, r->rip);
}

static int check_return_stack(struct x86_cpu *cpu, struct ret *r)
{
	bool null_ok = r->cs.attr & SEG_L && r->cpl < 3;

	return x86_check_ss(cpu, r->ss_sel, r->cpl, null_ok, &r->ss);
}

/* Segments that the outer level may not use become null; their bases stay, as on hardware. */
static void drop_segments(struct x86_state *s)
{
	static const u8 data[] = {SEG_ES, SEG_DS, SEG_FS, SEG_GS};

	for (unsigned i = 0; i < ARRAY_SIZE(data); i++) {
		struct x86_seg *seg = &s->seg[data[i]];

		if (seg->attr & SEG_UNUSABLE || seg_is_conforming(seg) || seg_dpl(seg) >= s->cpl)
			continue;
		seg->sel = 0;
		seg->attr = SEG_UNUSABLE;
	}
}

/* Loads CS:RIP and SS:RSP. */
static void return_far(struct x86_cpu *cpu, const struct ret *r)
{
	struct x86_state *s = &cpu->s;
	bool outer = r->cpl != s->cpl;

	enter(cpu, &r->cs, r->rip, r->cpl);
	s->seg[SEG_SS] = r->ss;
	set_sp(cpu, r->rsp, r->cs.attr & SEG_L ? ~0ull : sp_mask(&r->ss));
	if (outer)
		drop_segments(s);
}

/* The flags after IRET, by the privilege before it. */
static u64 iret_flags(const struct x86_state *s, u64 value, unsigned opsize)
{
	u64 mask = FL_ARITH | FL_TF | FL_DF | FL_NT | FL_RF | FL_AC | FL_ID;

	if (s->cpl == 0)
		mask |= FL_IOPL | FL_VIF | FL_VIP;
	if (s->cpl <= (s->rflags & FL_IOPL) >> 12)
		mask |= FL_IF;
	if (opsize == 2)
		mask &= 0xffff;
	return (s->rflags & ~mask) | (value & mask) | FL_ONE;
}

static int pop_return(struct stack *st, struct ret *r)
{
	u64 cs;

	if (pop(st, &r->rip) || pop(st, &cs))
		return -1;
	r->cs_sel = (u16)cs;
	return 0;
}

static int pop_stack(struct stack *st, struct ret *r)
{
	u64 ss;

	if (pop(st, &r->rsp) || pop(st, &ss))
		return -1;
	r->ss_sel = (u16)ss;
	return 0;
}

int x86_iret(struct x86_cpu *cpu, unsigned opsize)
{
	struct x86_state *s = &cpu->s;
	struct stack st;
	struct ret r;
	u64 flags;
	bool same_stack;

	/* Legacy modes' returns (to virtual-8086 mode, or of tasks) are not for long mode. */
	if (!x86_long_mode(cpu) || s->rflags & FL_NT)
		return x86_gp(cpu, 0);
	stack_open(&st, cpu, opsize);
	if (pop_return(&st, &r) || pop(&st, &flags) || check_return_code(cpu, &r))
		return -1;
	/* 64-bit code always pops a stack pointer, other code only on its way out. */
	same_stack = !st.flat && r.cpl == s->cpl;
	if (same_stack) {
		r.ss = s->seg[SEG_SS];
		r.rsp = st.sp;
	} else if (pop_stack(&st, &r) || check_return_stack(cpu, &r)) {
		return -1;
	}
	s->rflags = iret_flags(s, flags, opsize);
	return_far(cpu, &r);
	s->nmi_blocked = false;
	s->irq_shadow = false;
	cpu->env->mode_changed(cpu);
	return 0;
}

int x86_far_ret(struct x86_cpu *cpu, unsigned opsize, u16 extra)
{
	struct x86_state *s = &cpu->s;
	struct stack st;
	struct ret r;

	if (!(s->cr0 & CR0_PE))
		return x86_gp(cpu, 0);
	stack_open(&st, cpu, opsize);
	if (pop_return(&st, &r) || check_return_code(cpu, &r))
		return -1;
	st.sp = (st.sp + extra) & st.mask;
	if (r.cpl == s->cpl) {
		enter(cpu, &r.cs, r.rip, r.cpl);
		set_sp(cpu, st.sp, st.mask);
	} else {
		if (pop_stack(&st, &r) || check_return_stack(cpu, &r))
			return -1;
		r.rsp += extra;
		return_far(cpu, &r);
	}
	cpu->env->mode_changed(cpu);
	return 0;
}

/* ---- far jump and call ---- */

/* Privilege rules of a direct transfer to a code segment. */
static int check_direct(struct x86_cpu *cpu, u16 sel, struct x86_seg *cs, u64 rip)
{
	unsigned dpl = seg_dpl(cs), cpl = cpu->s.cpl;

	if (seg_is_conforming(cs) ? dpl > cpl : dpl != cpl || sel_rpl(sel) > cpl)
		return x86_gp(cpu, sel & ~SEL_RPL);
	return check_code(cpu, cs, rip);
}

/* A 64-bit call gate's target; *cpl is the privilege behind it. */
static int read_gate(struct x86_cpu *cpu, u16 sel, bool call, struct x86_seg *cs, u64 *rip, unsigned *cpl)
{
	u32 error = sel & ~SEL_RPL;
	struct x86_seg gate;
	u64 raw;
	u16 target;

	if (x86_desc_read_system(cpu, sel, VEC_GP, &gate, &raw))
		return -1;
	if ((gate.attr & SEG_TYPE) != TYPE_CALL_GATE || !x86_long_mode(cpu))
		return x86_gp(cpu, error);
	if (seg_dpl(&gate) < cpu->s.cpl || seg_dpl(&gate) < sel_rpl(sel))
		return x86_gp(cpu, error);
	if (!(gate.attr & SEG_P))
		return x86_fault_code(cpu, VEC_NP, error);
	target = raw >> 16 & 0xffff;
	/* The decoded base holds bits 63:32 of the offset in its upper half. */
	*rip = (raw & 0xffff) | (raw >> 32 & 0xffff0000) | (gate.base & ~0xffffffffull);
	if (read_code(cpu, target, cs))
		return -1;
	*cpl = cpu->s.cpl;
	if (call && !seg_is_conforming(cs))
		*cpl = seg_dpl(cs);
	if (seg_dpl(cs) > cpu->s.cpl || (!call && !seg_is_conforming(cs) && seg_dpl(cs) != cpu->s.cpl))
		return x86_gp(cpu, target & ~SEL_RPL);
	if (!(cs->attr & SEG_L))
		return x86_gp(cpu, target & ~SEL_RPL);
	return check_code(cpu, cs, *rip);
}

/* Reads the descriptor of a far pointer; *direct when it is code. */
static int read_target(struct x86_cpu *cpu, u16 sel, struct x86_seg *seg, bool *direct)
{
	if (!(cpu->s.cr0 & CR0_PE) || sel_null(sel))
		return x86_gp(cpu, 0);
	if (x86_desc_read(cpu, sel, VEC_GP, 0, seg))
		return -1;
	*direct = seg_is_code(seg);
	return seg->attr & SEG_S && !*direct ? x86_gp(cpu, sel & ~SEL_RPL) : 0;
}

int x86_far_jump(struct x86_cpu *cpu, u16 sel, u64 offset, unsigned opsize)
{
	u64 rip = offset & operand_mask(opsize);
	struct x86_seg cs;
	bool direct;
	unsigned cpl;

	if (read_target(cpu, sel, &cs, &direct))
		return -1;
	if (direct ? check_direct(cpu, sel, &cs, rip) : read_gate(cpu, sel, false, &cs, &rip, &cpl))
		return -1;
	enter(cpu, &cs, rip, cpu->s.cpl);
	cpu->env->mode_changed(cpu);
	return 0;
}

static int call_direct(
	struct x86_cpu *cpu, u16 sel, struct x86_seg *cs, u64 rip, unsigned opsize, u64 next_rip)
{
	struct stack st;

	if (check_direct(cpu, sel, cs, rip))
		return -1;
	stack_open(&st, cpu, opsize);
	if (push(&st, cpu->s.seg[SEG_CS].sel) || push(&st, next_rip))
		return -1;
	enter(cpu, cs, rip, cpu->s.cpl);
	set_sp(cpu, st.sp, st.mask);
	return 0;
}

/* The frame of a call through a gate to inner code: SS, RSP, CS, RIP on the TSS's stack. */
static int push_inner(struct x86_cpu *cpu, u64 *rsp, u64 next_rip)
{
	const struct x86_state *s = &cpu->s;
	const u64 frame[] = {s->seg[SEG_SS].sel, s->gpr[RSP], s->seg[SEG_CS].sel, next_rip};

	for (unsigned i = 0; i < ARRAY_SIZE(frame); i++) {
		*rsp -= 8;
		if (cpu->env->store(cpu, *rsp, 8, PRIV_SYSTEM, frame[i]))
			return -1;
	}
	return 0;
}

static int call_gate(struct x86_cpu *cpu, u16 sel, u64 next_rip)
{
	struct x86_state *s = &cpu->s;
	struct x86_seg cs;
	struct stack st;
	unsigned cpl;
	u64 rip, rsp;

	if (read_gate(cpu, sel, true, &cs, &rip, &cpl))
		return -1;
	if (cpl != s->cpl) {
		if (x86_tss_stack(cpu, cpl, 0, 0, &rsp) || push_inner(cpu, &rsp, next_rip))
			return -1;
		x86_null_ss(&s->seg[SEG_SS], cpl);
		s->gpr[RSP] = rsp;
	} else {
		stack_open(&st, cpu, 8);
		if (push(&st, s->seg[SEG_CS].sel) || push(&st, next_rip))
			return -1;
		set_sp(cpu, st.sp, st.mask);
	}
	enter(cpu, &cs, rip, cpl);
	return 0;
}

int x86_far_call(struct x86_cpu *cpu, u16 sel, u64 offset, unsigned opsize, u64 next_rip)
{
	struct x86_seg cs;
	bool direct;
	int r;

	if (read_target(cpu, sel, &cs, &direct))
		return -1;
	if (direct)
		r = call_direct(cpu, sel, &cs, offset & operand_mask(opsize), opsize, next_rip);
	else
		r = call_gate(cpu, sel, next_rip);
	if (!r)
		cpu->env->mode_changed(cpu);
	return r;
}

/* ---- fast system calls ---- */

/* CS and SS as these instructions set them: from a base selector, without reading descriptors. */
static void enter_flat(struct x86_cpu *cpu, u16 cs, u16 ss, bool code64, unsigned cpl)
{
	struct x86_state *s = &cpu->s;

	x86_flat_seg(&s->seg[SEG_CS], (u16)((cs & ~SEL_RPL) | cpl), code64 ? ATTR_CODE64 : ATTR_CODE32, cpl);
	x86_flat_seg(&s->seg[SEG_SS], (u16)((ss & ~SEL_RPL) | cpl), ATTR_DATA, cpl);
	s->cpl = (u8)cpl;
	s->irq_shadow = false;
}

int x86_syscall(struct x86_cpu *cpu, u64 next_rip)
{
	struct x86_state *s = &cpu->s;
	u16 sel = s->star >> 32 & 0xffff;
	bool code64 = x86_code64(cpu);

	if (unlikely(!(s->efer & EFER_SCE) || !x86_long_mode(cpu) || (!code64 && !cpu->cpuid->amd)))
		return x86_fault(cpu, VEC_UD);
	s->gpr[RCX] = next_rip;
	s->gpr[R11] = s->rflags & ~(u64)FL_RF;
	s->rip = code64 ? s->lstar : s->cstar;
	s->rflags = (s->rflags & ~(s->sfmask | FL_RF)) | FL_ONE;
	enter_flat(cpu, sel, (u16)(sel + 8), true, 0);
	cpu->env->mode_changed(cpu);
	return 0;
}

int x86_sysret(struct x86_cpu *cpu, unsigned opsize)
{
	const u64 flags =
		FL_ARITH | FL_TF | FL_IF | FL_DF | FL_IOPL | FL_NT | FL_AC | FL_VIF | FL_VIP | FL_ID;
	struct x86_state *s = &cpu->s;
	u16 sel = s->star >> 48;
	bool code64 = opsize == 8;

	if (unlikely(!(s->efer & EFER_SCE) || !x86_long_mode(cpu)))
		return x86_fault(cpu, VEC_UD);
	if (unlikely(s->cpl || (code64 && !x86_canonical(s->gpr[RCX]))))
		return x86_gp(cpu, 0);
	s->rip = code64 ? s->gpr[RCX] : (u32)s->gpr[RCX];
	s->rflags = (s->gpr[R11] & flags) | FL_ONE;
	enter_flat(cpu, (u16)(code64 ? sel + 16 : sel), (u16)(sel + 8), code64, 3);
	cpu->env->mode_changed(cpu);
	return 0;
}

int x86_sysenter(struct x86_cpu *cpu)
{
	struct x86_state *s = &cpu->s;
	u16 sel = (u16)s->sysenter_cs;
	bool code64 = x86_long_mode(cpu);

	if (!(s->cr0 & CR0_PE) || sel_null(sel))
		return x86_gp(cpu, 0);
	s->rip = code64 ? s->sysenter_eip : (u32)s->sysenter_eip;
	s->gpr[RSP] = code64 ? s->sysenter_esp : (u32)s->sysenter_esp;
	s->rflags &= ~(u64)(FL_VM | FL_IF | FL_RF);
	enter_flat(cpu, sel, (u16)((sel & ~SEL_RPL) + 8), code64, 0);
	cpu->env->mode_changed(cpu);
	return 0;
}

int x86_sysexit(struct x86_cpu *cpu, unsigned opsize)
{
	struct x86_state *s = &cpu->s;
	u16 sel = (u16)(s->sysenter_cs & ~SEL_RPL);
	bool code64 = opsize == 8;

	if (!(s->cr0 & CR0_PE) || s->cpl || sel_null(sel))
		return x86_gp(cpu, 0);
	if (code64 && (!x86_canonical(s->gpr[RDX]) || !x86_canonical(s->gpr[RCX])))
		return x86_gp(cpu, 0);
	s->rip = code64 ? s->gpr[RDX] : (u32)s->gpr[RDX];
	s->gpr[RSP] = code64 ? s->gpr[RCX] : (u32)s->gpr[RCX];
	sel = (u16)(sel + (code64 ? 32 : 16));
	enter_flat(cpu, sel, (u16)(sel + 8), code64, 3);
	cpu->env->mode_changed(cpu);
	return 0;
}
