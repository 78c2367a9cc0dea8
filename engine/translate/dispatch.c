/* SPDX-License-Identifier: MIT */
/*
 * The run loop: events, finding or making the next fragment, entering
 * generated code, and what to do when it comes back.
 */
#include "engine/translate/cpu.h"
#include "engine/translate/engine.h"
#include "vm/vcpu.h"
#include "vm/vm.h"

/* ---- return prediction ---- */

static void ras_restart(struct cpu *cpu)
{
	cpu->ras_reset = false;
	cpu->ras_saved_user = cpu->ras_base[1];
	cpu->ras_sp = cpu->ras_empty;
}

void ras_apply(struct cpu *cpu)
{
	u64 back;

	if (!cpu->ras_reset)
		return;
	back = *(u64 *)cpu->ras_sp;
	ras_restart(cpu);
	cpu->ras_sp -= 8;
	*(u64 *)cpu->ras_sp = back;
}

/* Kernel and user code have a stack each: neither can reach the other's code. */
static void ras_switch(struct cpu *cpu)
{
	u8 user = cpu->mode & MODE_USER;

	if (user != cpu->ras_user) {
		if (user) {
			cpu->ras_sp = cpu->ras_saved_user;
		} else {
			cpu->ras_saved_user = cpu->ras_sp;
			cpu->ras_sp = cpu->ras_base[0];
		}
		cpu->ras_user = user;
		cpu->ras_empty = cpu->ras_base[user];
	}
	if (cpu->ras_reset)
		ras_restart(cpu);
}

/* ---- helpers called by generated code ---- */

/* The page that the instruction is on may have moved to another virtual address. */
static void follow_page(struct cpu *cpu, const struct sysinsn *in)
{
	struct sysinsn *w = (struct sysinsn *)in;
	u64 moved = cpu->page_pool[in->page].vbase - in->vbase_seen;

	if (likely(!moved))
		return;
	w->vbase_seen += moved;
	w->rip += moved;
	if (w->rip_rel)
		w->disp += (i64)moved;
}

int callout(struct cpu *cpu, const struct sysinsn *in)
{
	int r;

	cpu->stats.helpers++;
	follow_page(cpu, in);
	flags_sync(cpu);
	cpu->x.s.rip = in->rip;
	r = in->fn(cpu, in);
	if (r < 0) {
		cpu->leave = LEAVE_FAULT;
		return 1;
	}
	flags_unsync(cpu);
	if (cpu->x.s.irq_shadow && !(cpu->mode & MODE_STEP) && !__atomic_load_n((u32 *)&cpu->vcpu->events, __ATOMIC_ACQUIRE))
		cpu->x.s.irq_shadow = false; /* nothing is pending that it could hold off */
	if (!r && (cpu->killed || in->ends || __atomic_load_n((u32 *)&cpu->pending, __ATOMIC_RELAXED) || cpu->mode != in->mode || cpu->x.s.irq_shadow)) {
		cpu->x.s.rip = in->rip + in->len;
		if (in->mode & MODE_CODE32)
			cpu->x.s.rip = (u32)cpu->x.s.rip;
		r = 1;
	}
	if (r) {
		cpu->leave = cpu->event ? LEAVE_HELPER_EVENT : LEAVE_HELPER;
		cpu->event = false;
		return 1;
	}
	fpu_restore(cpu);
	ras_apply(cpu);
	return 0;
}

/* ---- events ---- */

static void deliver(struct cpu *cpu, enum x86_event_kind kind, const struct x86_fault *event)
{
	cpu->x.s.halted = false;
	flags_sync(cpu);
	if (x86_deliver(&cpu->x, kind, event))
		cpu->triple_fault = true;
	mode_update(cpu);
}

static void take_interrupt(struct cpu *cpu)
{
	struct vcpu *vcpu = cpu->vcpu;
	struct x86_fault event = { 0 };
	int vector;

	__atomic_and_fetch((u32 *)&vcpu->events, ~(u32)VCPU_INTR, __ATOMIC_SEQ_CST);
	fpu_save(cpu);
	vector = cpu->vm->intc->ack(vcpu);
	if (cpu->vm->intc->peek(vcpu) >= 0)
		__atomic_or_fetch((u32 *)&vcpu->events, VCPU_INTR, __ATOMIC_SEQ_CST);
	if (vector < 0)
		return;
	cpu->stats.interrupts++;
	event.vector = (u8)vector;
	deliver(cpu, EVENT_HW, &event);
}

static void take_nmi(struct cpu *cpu)
{
	struct x86_fault event = { .vector = VEC_NMI };

	__atomic_and_fetch((u32 *)&cpu->vcpu->events, ~(u32)VCPU_NMI, __ATOMIC_SEQ_CST);
	deliver(cpu, EVENT_HW, &event);
	cpu->x.s.nmi_blocked = true;
}

/* True when the VMM must see to something. */
static bool take_events(struct cpu *cpu)
{
	struct x86_state *s = &cpu->x.s;
	u32 ev = __atomic_load_n((u32 *)&cpu->vcpu->events, __ATOMIC_ACQUIRE);

	if (ev & (VCPU_STOP | VCPU_STATS))
		return true;
	if (s->irq_shadow)
		return false;
	if (ev & VCPU_NMI && !s->nmi_blocked)
		take_nmi(cpu);
	else if (ev & VCPU_INTR && s->rflags & FL_IF)
		take_interrupt(cpu);
	return false;
}

/* ---- finding the next fragment ---- */

static bool canonical(u64 a)
{
	return (u64)((i64)(a << 16) >> 16) == a;
}

static u32 fetch(struct cpu *cpu, u64 pc, u32 extra, struct x86_walk *w)
{
	struct fragment *f;
	struct x86_walk w2;
	u64 next;

	if (!canonical(pc)) {
		x86_fault_code(&cpu->x, VEC_GP, 0);
		return 0;
	}
	if (x86_walk(&cpu->x, pc, ACCESS_EXEC, cpu->mode & MODE_USER, true, w))
		return 0;
	f = frag_lookup(cpu, w->gpa, (u8)(cpu->mode | extra));
	if (f && f->gpa2) {
		next = (pc & PAGE_MASK) + PAGE_SIZE;
		if (x86_walk(&cpu->x, next, ACCESS_EXEC, cpu->mode & MODE_USER, true, &w2))
			return 0;
		if ((w2.gpa & PAGE_MASK) != f->gpa2) {
			frag_kill(cpu, (u32)(f - cpu->frags));
			f = NULL;
		}
	}
	if (!f)
		return 0;
	codepage_enter(cpu, w->gpa, pc & PAGE_MASK, w->global);
	cpu->low_global |= w->global && !(pc >> 63);
	if (f->dead)
		return 0;
	f->global = w->global;
	return (u32)(f - cpu->frags);
}

/* The fragment for s.rip, or 0 with a fault recorded. */
static u32 next_fragment(struct cpu *cpu, u32 extra)
{
	u64 pc = cpu->x.s.rip;
	struct ibl *ibl = &cpu->ibl[ibl_index(cpu->mode)];
	unsigned slot = pc & (IBL_SIZE - 1);
	struct x86_walk w;
	u32 frag;

	if (!(cpu->mode & MODE_STEP) && !extra && ibl->tag[slot] == pc)
		return ibl->frag[slot];
	cpu->x.fault.vector = 0xff;
	frag = fetch(cpu, pc, extra, &w);
	if (!frag && cpu->x.fault.vector == 0xff) {
		fpu_save(cpu);
		frag = translate(cpu, pc, extra);
	}
	if (!frag || cpu->mode & MODE_STEP || extra)
		return frag;
	tlb_note_code(cpu, pc);
	if (cpu->frags[frag].gpa2)
		tlb_note_code(cpu, pc + PAGE_SIZE);
	ibl_insert(cpu, &cpu->frags[frag]);
	return frag;
}

/* ---- the loop ---- */

#define DR6_BS BIT(14)

/* An instruction was stepped over: the trap that TF or a data breakpoint asked for. */
static void step_trap(struct cpu *cpu, bool tf, bool if_was_set)
{
	struct x86_state *s = &cpu->x.s;
	struct x86_fault db = { .vector = VEC_DB, .address = cpu->watch_hits };

	/* MOV SS holds off the step trap, too; STI, which sets IF, does not. */
	if (s->irq_shadow && !(s->rflags & FL_IF && !if_was_set))
		tf = false;
	if (tf && cpu->leave != LEAVE_HELPER_EVENT)
		db.address |= DR6_BS;
	cpu->watch_hits = 0;
	if (!db.address)
		return;
	s->irq_shadow = false;
	deliver(cpu, EVENT_EXCEPTION, &db);
}

/* Instruction breakpoints; true when one hit. */
static bool code_breakpoint(struct cpu *cpu)
{
	const struct x86_state *s = &cpu->x.s;
	struct x86_fault db = { .vector = VEC_DB };

	if (s->rflags & FL_RF)
		return false;
	for (unsigned i = 0; i < 4; i++)
		if (s->dr[7] >> 2 * i & 3 && !(s->dr[7] >> (16 + 4 * i) & 3) && s->dr[i] == s->rip)
			db.address |= BIT(i);
	if (!db.address)
		return false;
	deliver(cpu, EVENT_EXCEPTION, &db);
	return true;
}

static void deliver_fault(struct cpu *cpu)
{
	struct x86_fault f = cpu->x.fault;

	cpu->stats.faults++;
	if (f.vector == VEC_PF)
		cpu->stats.page_faults++;
	deliver(cpu, EVENT_EXCEPTION, &f);
}

static void enter(struct cpu *cpu, u32 frag)
{
	ras_switch(cpu);
	fpu_restore(cpu);
	cpu->stats.dispatches++;
	((void (*)(u64))(u64)cpu->fn_enter)(cpu->frags[frag].lazy);
}

/* Undoes the near return that ended generated code. */
static void undo_return(struct cpu *cpu)
{
	const struct fragment *f = &cpu->frags[cpu->ret_frag];
	unsigned len = f->len - f->last;
	u16 extra = 0;

	cpu->x.s.rip = frag_pc(cpu, f) + f->last;
	if (len >= 3) /* RET imm16 */
		guest_read(cpu, cpu->x.s.rip + len - 2, &extra, 2, PRIV_SYSTEM);
	cpu->x.s.gpr[RSP] -= 8u + extra;
}

/* A branch to a non-canonical address faults itself, before it has done anything. */
static bool bad_branch(struct cpu *cpu)
{
	u32 frag = cpu->branch_frag, place = cpu->branch_place;

	cpu->branch_frag = 0;
	if (likely(canonical(cpu->x.s.rip)))
		return false;
	if (frag) {
		cpu->x.s.rip = frag_pc(cpu, &cpu->frags[frag]) + (place & 0xffff);
		if (place & BRANCH_CALL)
			cpu->x.s.gpr[RSP] += 8;
	} else {
		undo_return(cpu);
	}
	x86_fault_code(&cpu->x, VEC_GP, 0);
	deliver_fault(cpu);
	return true;
}

/* An event may have changed the mode and still lead to where the exit leads. */
static bool same_mode(const struct cpu *cpu, u32 exit, u32 frag)
{
	const struct exit *x = &cpu->exits[exit];

	return !((cpu->frags[x->from].mode ^ x->turned ^ cpu->frags[frag].mode) & (u8)~MODE_SINGLE);
}

/* One stay in generated code. Returns the exit to be linked next, or 0. */
static u32 run_fragment(struct cpu *cpu, u32 frag)
{
	bool stepping = cpu->mode & MODE_STEP;
	u64 old = cpu->x.s.rflags, rip = cpu->x.s.rip;

	if (unlikely(stepping)) {
		cpu->x.s.rflags &= ~(u64)FL_RF; /* before: IRET sets it for the next instruction */
		cpu->watch_hits = 0;
	}
	enter(cpu, frag);
	switch (cpu->leave) {
	case LEAVE_EXIT:
		cpu->x.s.rip = exit_target(cpu, &cpu->exits[cpu->exit]);
		break;
	case LEAVE_POLL:
		cpu->stats.polls++;
		cpu->x.s.rip = exit_target(cpu, &cpu->exits[cpu->exit]);
		break;
	case LEAVE_INDIRECT:
		cpu->stats.ibl_misses++;
		if (bad_branch(cpu))
			return 0;
		break;
	case LEAVE_FAULT: deliver_fault(cpu); return 0;
	default: break;
	}
	if (unlikely(stepping)) {
		if (cpu->leave == LEAVE_HELPER && cpu->x.s.rip == rip) /* REP: its breakpoint has been seen to */
			cpu->x.s.rflags |= old & FL_RF;
		step_trap(cpu, old & FL_TF, old & FL_IF);
		return 0;
	}
	return cpu->leave == LEAVE_EXIT ? cpu->exit : 0;
}

/* The shadow of STI and MOV SS covers one instruction: step over it. */
static void shadow_begin(struct cpu *cpu)
{
	if (!cpu->x.s.irq_shadow)
		return;
	cpu->x.s.irq_shadow = false;
	cpu->step_once = true;
	mode_update(cpu);
}

static void shadow_end(struct cpu *cpu)
{
	if (!cpu->step_once)
		return;
	cpu->step_once = false;
	mode_update(cpu);
}

/* True when fragments may have gone. */
static bool attend(struct cpu *cpu)
{
	if (likely(!__atomic_load_n((u32 *)&cpu->pending, __ATOMIC_ACQUIRE)))
		return false;
	fpu_save(cpu);
	ram_attend(cpu);
	return true;
}

enum vcpu_exit translate_run(struct vcpu *vcpu)
{
	struct cpu *cpu = vcpu->engine;
	u32 link = 0, frag, epoch = 0;

	for (;;) {
		__atomic_store_n((u32 *)&cpu->poll, 0, __ATOMIC_SEQ_CST);
		if (attend(cpu)) /* memory may be elsewhere: before an event is delivered */
			link = 0;
		if (__atomic_load_n((u32 *)&vcpu->events, __ATOMIC_ACQUIRE)) {
			u64 rip = cpu->x.s.rip;

			if (take_events(cpu)) {
				fpu_store(cpu);
				return VCPU_EXIT_KICKED;
			}
			if (cpu->x.s.rip != rip)
				link = 0;
		}
		if (unlikely(cpu->x.s.halted)) {
			fpu_store(cpu);
			return VCPU_EXIT_HLT;
		}
		if (unlikely(cpu->triple_fault || cpu->bug)) {
			fpu_store(cpu);
			return cpu->bug ? VCPU_EXIT_ERROR : VCPU_EXIT_TRIPLE_FAULT;
		}
		if (unlikely(cpu->x.s.irq_shadow))
			shadow_begin(cpu);
		if (unlikely(cpu->mode & MODE_STEP) && code_breakpoint(cpu))
			continue;
		if (unlikely(cpu->vector_changed)) {
			cpu->vector_changed = false;
			frag_flush_all(cpu);
			link = 0;
		}
		if (attend(cpu)) /* what the event tells of has changed memory before */
			link = 0;
		cpu->killed = false;
		frag = next_fragment(cpu, link && cpu->exits[link].single ? MODE_SINGLE : 0);
		if (!frag) {
			shadow_end(cpu);
			deliver_fault(cpu);
			link = 0;
			continue;
		}
		if (link && cpu->virt_epoch == epoch && same_mode(cpu, link, frag))
			exit_link(cpu, link, frag);
		epoch = cpu->virt_epoch;
		link = run_fragment(cpu, frag);
		if (unlikely(cpu->step_once))
			shadow_end(cpu);
	}
}
