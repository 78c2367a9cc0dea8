/* SPDX-License-Identifier: MIT */
/*
 * Delivery of interrupts and exceptions through the long-mode IDT (SDM vol. 3
 * chapter 6, APM vol. 2 section 8.9), and what becomes of a fault during the
 * delivery of another.
 */
#include "x86/internal.h"

struct gate {
	u16 sel;
	unsigned ist;
	bool interrupt; /* clears IF */
	u64 rip;
};

/* The event being delivered. */
struct delivery {
	enum x86_event_kind kind;
	u8 vector;
	bool has_error;
	u32 error;
	u32 ext; /* ERR_EXT, or 0 for an instruction's own request */
};

int x86_tss_stack(struct x86_cpu *cpu, unsigned cpl, unsigned ist, u32 ext, u64 *rsp)
{
	const struct x86_seg *tss = &cpu->s.seg[SEG_TR];
	unsigned offset = ist ? 36 + 8 * (ist - 1) : 4 + 8 * cpl;

	if (tss->attr & SEG_UNUSABLE || offset + 7 > tss->limit)
		return x86_fault_code(cpu, VEC_TS, (tss->sel & ~SEL_RPL) | ext);
	if (x86_load_system(cpu, tss->base + offset, 8, rsp))
		return -1;
	return x86_canonical(*rsp) ? 0 : x86_fault_code(cpu, VEC_SS, ext);
}

static int read_gate(struct x86_cpu *cpu, const struct delivery *d, struct gate *gate)
{
	u32 error = d->vector * 8u | ERR_IDT | d->ext;
	u64 low, high, address = cpu->s.idt.base + d->vector * 16u;
	unsigned type;

	if (d->vector * 16u + 15 > cpu->s.idt.limit)
		return x86_gp(cpu, error);
	if (x86_load_system(cpu, address, 8, &low) || x86_load_system(cpu, address + 8, 8, &high))
		return -1;
	type = low >> 40 & 0x1f; /* with the S bit */
	if (type != TYPE_INT_GATE && type != TYPE_TRAP_GATE)
		return x86_gp(cpu, error);
	if (d->kind == EVENT_SOFT_INT && (low >> 45 & 3) < cpu->s.cpl)
		return x86_gp(cpu, error);
	if (!(low >> 47 & 1))
		return x86_fault_code(cpu, VEC_NP, error);
	gate->sel = low >> 16 & 0xffff;
	gate->ist = low >> 32 & 7;
	gate->interrupt = type == TYPE_INT_GATE;
	gate->rip = (low & 0xffff) | (low >> 32 & 0xffff0000) | high << 32;
	return 0;
}

/* The gate's code segment; *cpl is the privilege that the handler runs with. */
static int handler_segment(
	struct x86_cpu *cpu, const struct gate *gate, u32 ext, struct x86_seg *cs, unsigned *cpl)
{
	u32 error = (gate->sel & ~SEL_RPL) | ext;

	if (sel_null(gate->sel))
		return x86_gp(cpu, ext);
	if (x86_desc_read(cpu, gate->sel, VEC_GP, ext, cs))
		return -1;
	if (!seg_is_code(cs) || seg_dpl(cs) > cpu->s.cpl)
		return x86_gp(cpu, error);
	if (!(cs->attr & SEG_P))
		return x86_fault_code(cpu, VEC_NP, error);
	if (!(cs->attr & SEG_L) || cs->attr & SEG_DB)
		return x86_gp(cpu, error);
	if (!x86_canonical(gate->rip))
		return x86_gp(cpu, ext);
	*cpl = seg_is_conforming(cs) ? cpu->s.cpl : seg_dpl(cs);
	cs->sel = (u16)((gate->sel & ~SEL_RPL) | *cpl);
	return x86_desc_touch(cpu, cs);
}

/* Faults push RF so that their instruction can be run again past its breakpoint; traps do not. */
static u64 pushed_flags(const struct x86_cpu *cpu, const struct delivery *d)
{
	const u32 not_faults =
		BIT(VEC_DB) | BIT(VEC_NMI) | BIT(VEC_BP) | BIT(VEC_OF) | BIT(VEC_DF) | BIT(VEC_MC);
	bool fault = d->kind == EVENT_EXCEPTION && !(d->vector < 32 && not_faults >> d->vector & 1);

	return (cpu->s.rflags & ~(u64)FL_RF) | FL_ONE | (fault ? FL_RF : 0);
}

static int push_frame(struct x86_cpu *cpu, const struct delivery *d, u64 *rsp, unsigned cpl)
{
	const struct x86_state *s = &cpu->s;
	const u64 frame[] = {
		s->seg[SEG_SS].sel,
		s->gpr[RSP],
		pushed_flags(cpu, d),
		s->seg[SEG_CS].sel,
		s->rip,
		d->error,
	};
	enum x86_priv priv = cpl == 3 ? PRIV_CPL : PRIV_SYSTEM;
	unsigned count = d->has_error ? 6 : 5;

	for (unsigned i = 0; i < count; i++) {
		*rsp -= 8;
		if (unlikely(!x86_canonical(*rsp)))
			return x86_fault_code(cpu, VEC_SS, d->ext);
		if (cpu->env->store(cpu, *rsp, 8, priv, frame[i]))
			return -1;
	}
	return 0;
}

static int deliver_once(struct x86_cpu *cpu, const struct delivery *d)
{
	struct x86_state *s = &cpu->s;
	struct gate gate;
	struct x86_seg cs;
	unsigned cpl;
	u64 rsp = s->gpr[RSP];

	if (read_gate(cpu, d, &gate) || handler_segment(cpu, &gate, d->ext, &cs, &cpl))
		return -1;
	if ((gate.ist || cpl != s->cpl) && x86_tss_stack(cpu, cpl, gate.ist, d->ext, &rsp))
		return -1;
	rsp &= ~15ull;
	if (push_frame(cpu, d, &rsp, cpl))
		return -1;
	if (cpl != s->cpl)
		x86_null_ss(&s->seg[SEG_SS], cpl);
	s->seg[SEG_CS] = cs;
	s->cpl = (u8)cpl;
	s->gpr[RSP] = rsp;
	s->rip = gate.rip;
	s->rflags &= ~(u64)(FL_TF | FL_NT | FL_RF | FL_VM | (gate.interrupt ? FL_IF : 0));
	s->irq_shadow = false;
	s->halted = false;
	return 0;
}

static bool contributory(unsigned vector)
{
	return vector < 32 &&
	       (BIT(VEC_DE) | BIT(VEC_TS) | BIT(VEC_NP) | BIT(VEC_SS) | BIT(VEC_GP)) >> vector & 1;
}

/* The event after a fault hit the delivery of *d (SDM vol. 3 table 6-5). -1: shutdown. */
static int combine(struct x86_cpu *cpu, struct delivery *d)
{
	const struct x86_fault *second = &cpu->fault;
	bool exception = d->kind == EVENT_EXCEPTION;
	bool both = (contributory(d->vector) && contributory(second->vector)) ||
		    (d->vector == VEC_PF && (second->vector == VEC_PF || contributory(second->vector)));

	if (exception && d->vector == VEC_DF)
		return -1;
	d->kind = EVENT_EXCEPTION;
	d->ext = ERR_EXT;
	if (exception && both) {
		/* CR2 names the second fault: that is how a kernel finds its stack overflows. */
		if (second->vector == VEC_PF)
			cpu->s.cr2 = second->address;
		d->vector = VEC_DF;
		d->has_error = true;
		d->error = 0;
		return 0;
	}
	d->vector = second->vector;
	d->has_error = second->has_error;
	d->error = second->error;
	return 0;
}

/* The registers that an exception writes before its handler runs. */
static void side_effects(struct x86_cpu *cpu, const struct x86_fault *fault)
{
	if (fault->vector == VEC_PF)
		cpu->s.cr2 = fault->address;
	if (fault->vector == VEC_DB) {
		cpu->s.dr[6] |= fault->address & 0xe00f;
		cpu->s.dr[7] &= ~BIT(13); /* GD */
	}
}

int x86_deliver(struct x86_cpu *cpu, enum x86_event_kind kind, const struct x86_fault *event)
{
	struct delivery d = {
		.kind = kind,
		.vector = event->vector,
		.has_error = event->has_error,
		.error = event->error,
		.ext = kind == EVENT_SOFT_INT ? 0 : ERR_EXT,
	};
	bool nmi = kind == EVENT_HW && event->vector == VEC_NMI;

	if (!x86_long_mode(cpu))
		return -1;
	if (kind == EVENT_EXCEPTION)
		side_effects(cpu, event);
	while (deliver_once(cpu, &d)) {
		if (combine(cpu, &d))
			return -1;
		if (d.vector != VEC_DF)
			side_effects(cpu, &cpu->fault);
	}
	if (nmi)
		cpu->s.nmi_blocked = true;
	cpu->env->mode_changed(cpu);
	return 0;
}

int x86_int(struct x86_cpu *cpu, u8 vector, u64 next_rip)
{
	const struct delivery d = {.kind = EVENT_SOFT_INT, .vector = vector};
	u64 rip = cpu->s.rip;

	if (!x86_long_mode(cpu))
		return x86_gp(cpu, vector * 8u | ERR_IDT);
	cpu->s.rip = next_rip;
	if (deliver_once(cpu, &d)) {
		cpu->s.rip = rip;
		return -1;
	}
	cpu->env->mode_changed(cpu);
	return 0;
}
