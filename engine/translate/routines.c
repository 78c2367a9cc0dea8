/* SPDX-License-Identifier: MIT */
/*
 * The routines that all fragments share, generated once: into and out of
 * generated code, calls of C helpers, the site miss path, and the lookup of
 * indirect branches. S0 and S1 are theirs; the other registers are the guest's.
 */
#include "engine/translate/tr.h"

static const u8 callee_saved[] = { RBX, RBP, R12, R13, R14, R15 };

static void save_guest(struct emit *e, struct cpu *cpu)
{
	for (int g = 0; g < 16; g++)
		if (host_reg(g) >= 0)
			st(e, mem_at(&cpu->x.s.gpr[g]), (unsigned)host_reg(g));
}

static void load_guest(struct emit *e, struct cpu *cpu)
{
	for (int g = 0; g < 16; g++)
		if (host_reg(g) >= 0)
			ld(e, (unsigned)host_reg(g), mem_at(&cpu->x.s.gpr[g]));
}

static void push_pop(struct emit *e, unsigned op, unsigned reg)
{
	if (reg >= 8)
		e1(e, 0x41);
	e1(e, op | (reg & 7));
}

static u32 here(const struct emit *e)
{
	return (u32)(u64)e->p;
}

/* The host's stack is current; return from cpu->fn_enter. */
static void emit_return(struct emit *e)
{
	lea(e, RSP, mem_base(RSP, 8));
	for (int i = ARRAY_SIZE(callee_saved) - 1; i >= 0; i--)
		push_pop(e, 0x58, callee_saved[i]);
	e1(e, 0xc3);
}

/* Everything is in registers: save it and return. */
static void emit_leave_saving(struct emit *e, struct cpu *cpu)
{
	save_guest(e, cpu);
	st(e, mem_at(&cpu->ras_sp), RSP);
	ld(e, RSP, mem_at(&cpu->c_sp));
	emit_return(e);
}

static void emit_enter(struct emit *e, struct cpu *cpu)
{
	cpu->fn_enter = here(e);
	for (unsigned i = 0; i < ARRAY_SIZE(callee_saved); i++)
		push_pop(e, 0x50, callee_saved[i]);
	lea(e, RSP, mem_base(RSP, -8));
	st(e, mem_at(&cpu->c_sp), RSP);
	st(e, mem_at(&cpu->rt0), RDI);
	ld(e, RSP, mem_at(&cpu->ras_sp));
	load_guest(e, cpu);
	op_rm(e, false, 0xff, 4, mem_at(&cpu->rt0));
}

static void emit_exits(struct emit *e, struct cpu *cpu)
{
	struct tr t = { .cpu = cpu };

	cpu->fn_exit = here(e);
	t.e = *e;
	flags_save(&t);
	*e = t.e;
	cpu->fn_exit_lazy = here(e);
	st32_imm(e, mem_at(&cpu->leave), LEAVE_EXIT);
	emit_leave_saving(e, cpu);

	cpu->fn_poll = here(e);
	st32_imm(e, mem_at(&cpu->leave), LEAVE_POLL);
	emit_leave_saving(e, cpu);

	cpu->fn_fault = here(e);
	emit_leave_saving(e, cpu);
}

/* The lookup behind a return that was predicted wrong: S0 is the target. */
static void emit_ibl_lookup(struct emit *e, struct cpu *cpu, unsigned table)
{
	struct ibl *ibl = &cpu->ibl[table];

	cpu->fn_ibl[table] = here(e);
	op_rm(e, false, 0x89, S1, mem_at(&cpu->ret_frag));
	op_rm_imm(e, false, 0x83, 7, mem_at(&cpu->poll), 1);
	e1(e, 0);
	fix_to(jcc_fwd(e, CC_NE), (u8 *)(u64)cpu->fn_leave_ibl);
	op_rr(e, false, 0x0fb7, S1, S0);
	op_rm(e, true, 0x3b, S0, (struct mem){ MEM_ABS, S1, 8, (i64)(u64)ibl->tag });
	fix_to(jcc_fwd(e, CC_NE), (u8 *)(u64)cpu->fn_leave_ibl);
	op_rm(e, false, 0xff, 4, (struct mem){ MEM_ABS, S1, 8, (i64)(u64)ibl->host });
}

/* Where a return goes that the prediction stack knows nothing of: it is emptied. */
static u32 emit_ras_restart(struct emit *e, struct cpu *cpu)
{
	u32 start = here(e);

	ld(e, RSP, mem_at(&cpu->ras_empty));
	op_rm(e, false, 0xff, 4, mem_at(&cpu->ras_lookup));
	return start;
}

static void emit_ibl_routines(struct emit *e, struct cpu *cpu)
{
	cpu->fn_leave_ibl = here(e);
	st(e, mem_at(&cpu->x.s.rip), S0);
	st32_imm(e, mem_at(&cpu->leave), LEAVE_INDIRECT);
	emit_leave_saving(e, cpu);
	for (unsigned i = 0; i < IBL_TABLES; i++)
		emit_ibl_lookup(e, cpu, i);
	cpu->fn_ras_empty = emit_ras_restart(e, cpu);
	cpu->fn_ras_barrier = emit_ras_restart(e, cpu);
}

/* Calls fn(cpu, S1, S0) with the guest's registers saved; EAX tells how to go on. */
static void emit_c_call(struct emit *e, struct cpu *cpu, void *fn)
{
	save_guest(e, cpu);
	st(e, mem_at(&cpu->ras_sp), RSP);
	ld(e, RSP, mem_at(&cpu->c_sp));
	mov_imm(e, RDI, (u64)cpu);
	mov_rr(e, RSI, S1);
	mov_rr(e, RDX, S0);
	mov_imm(e, RAX, (u64)fn);
	op_rr(e, false, 0xff, 2, RAX);
}

static void emit_c_return(struct emit *e, struct cpu *cpu)
{
	ld(e, RSP, mem_at(&cpu->ras_sp));
	load_guest(e, cpu);
}

/* Back to dispatch from below a call out of a fragment: drop its return address. */
static void emit_c_leave(struct emit *e, struct cpu *cpu)
{
	op_rm_imm(e, true, 0x83, 0, mem_at(&cpu->ras_sp), 1);
	e1(e, 8);
	emit_return(e);
}

static void emit_simple_call(struct emit *e, struct cpu *cpu, void *fn)
{
	u8 *leave;

	emit_c_call(e, cpu, fn);
	op_rr(e, false, 0x85, RAX, RAX);
	leave = jcc_fwd(e, CC_NE);
	emit_c_return(e, cpu);
	e1(e, 0xc3);
	fix_to(leave, e->p);
	emit_c_leave(e, cpu);
}

static struct mem site_field(size_t offset)
{
	return mem_base(S1, (i64)offset);
}

#define SITE(field) site_field(offsetof(struct site, field))
#define TLB(field) mem_base(RAX, offsetof(struct tlb_entry, field))

/* The C part of a miss, and what it decides. */
static void emit_slow_access(struct emit *e, struct cpu *cpu)
{
	u8 *bounce, *leave;

	emit_c_call(e, cpu, (void *)tlb_slow_access);
	op_ri(e, false, 7, RAX, 1);
	bounce = jcc_fwd(e, CC_E);
	leave = jcc_fwd(e, CC_A);
	emit_c_return(e, cpu);
	e1(e, 0xc3);
	fix_to(bounce, e->p);
	emit_c_return(e, cpu);
	ld(e, S0, mem_at(&cpu->bounce_gva));
	ld(e, S1, mem_at(&cpu->slow_s1));
	op_rm_imm(e, true, 0x83, 0, mem_base(RSP, 0), 1);
	e1(e, 5);
	e1(e, 0xc3);
	fix_to(leave, e->p);
	emit_c_leave(e, cpu);
}

/* Enters the site in a log, once, so that a flush finds it. Clobbers RCX. */
static void emit_log(struct emit *e, struct cpu *cpu, bool global)
{
	u32 *count = global ? &cpu->nlog_global : &cpu->nlog;
	u64 log = (u64)(global ? cpu->log_global : cpu->log);
	unsigned flag = global ? SITE_LOGGED_GLOBAL : SITE_LOGGED;
	u8 *done;

	op_rm_imm(e, false, 0xf6, 0, SITE(flags), 1);
	e1(e, flag);
	done = jcc_fwd(e, CC_NE);
	op_rm_imm(e, false, 0x80, 1, SITE(flags), 1); /* or */
	e1(e, flag);
	st(e, mem_at(&cpu->rt2), RDX);
	op_rm(e, false, 0x8b, RDX, mem_at(count));
	op_rm(e, false, 0xff, 0, mem_at(count)); /* inc */
	op_rr(e, false, 0x8b, RCX, S1);
	op_ri(e, false, 5, RCX, (i32)(u64)cpu->sites); /* sub */
	op_rr(e, false, 0xc1, 5, RCX), e1(e, 5); /* shr: sizeof(struct site) is 32 */
	op_rm(e, false, 0x89, RCX, (struct mem){ MEM_ABS, RDX, 4, (i64)log });
	ld(e, RDX, mem_at(&cpu->rt2));
	fix_to(done, e->p);
}

/*
 * S0 = address, S1 = site. Returns to retry the check, or 5 bytes further on
 * (behind the jump to the retry) with S0 and S1 made for the bounce buffer.
 */
static u32 emit_miss(struct emit *e, struct cpu *cpu, bool write)
{
	u32 start = here(e);
	u8 *miss, *local, *stale, *fill, *crossing, *not_const, *limit;

	st(e, mem_at(&cpu->rt0), RAX);
	st(e, mem_at(&cpu->rt1), RCX);
	op_rr(e, false, 0x8b, RAX, S0);
	op_rr(e, false, 0xc1, 5, RAX), e1(e, PAGE_SHIFT - 5); /* shr eax */
	op_ri(e, false, 4, RAX, (TLB_SIZE - 1) << 5);
	op_rm(e, true, 0x03, RAX, mem_at(&cpu->tlb));
	mov_rr(e, RCX, S0);
	op_ri(e, true, 4, RCX, (i32)PAGE_MASK);
	op_rm(e, true, 0x3b, RCX, write ? TLB(wtag) : TLB(rtag));
	miss = jcc_fwd(e, CC_NE);
	op_rm(e, false, 0x8b, RCX, TLB(gen));
	op_rm(e, false, 0x3b, RCX, mem_at(&cpu->gen));
	local = jcc_fwd(e, CC_E);
	op_rr(e, false, 0x85, RCX, RCX);
	stale = jcc_fwd(e, CC_NE);
	emit_log(e, cpu, true);
	fill = jmp_fwd(e);
	fix_to(local, e->p);
	emit_log(e, cpu, false);
	fix_to(fill, e->p);
	op_rr(e, false, 0x8b, RCX, S0);
	op_ri(e, false, 4, RCX, 0xfff);
	e1(e, 0x66);
	op_rm(e, false, 0x03, RCX, SITE(size));
	op_ri(e, false, 7, RCX, (i32)PAGE_SIZE);
	crossing = jcc_fwd(e, CC_A);
	mov_rr(e, RCX, S0);
	op_ri(e, true, 4, RCX, (i32)PAGE_MASK);
	ld(e, RAX, TLB(addend));
	st(e, SITE(addend), RAX);
	op_rr(e, true, 0x03, RAX, RCX);
	st(e, SITE(host), RAX);
	op_rm_imm(e, false, 0xf6, 0, SITE(flags), 1);
	e1(e, SITE_CONST);
	not_const = jcc_fwd(e, CC_E);
	op_rr(e, false, 0x33, RCX, RCX);
	fix_to(not_const, e->p);
	st(e, SITE(tag), RCX);
	op_rm(e, false, 0xff, 0, SITE(misses));
	op_rm_imm(e, false, 0x81, 7, SITE(misses), 4);
	e4(e, SITE_MISS_LIMIT);
	limit = jcc_fwd(e, CC_E);
	ld(e, RAX, mem_at(&cpu->rt0));
	ld(e, RCX, mem_at(&cpu->rt1));
	e1(e, 0xc3);

	fix_to(miss, e->p);
	fix_to(stale, e->p);
	fix_to(crossing, e->p);
	fix_to(limit, e->p);
	ld(e, RAX, mem_at(&cpu->rt0));
	ld(e, RCX, mem_at(&cpu->rt1));
	emit_slow_access(e, cpu);
	return start;
}

void common_routines(struct cpu *cpu)
{
	struct emit e = { cpu->code };

	emit_enter(&e, cpu);
	emit_exits(&e, cpu);
	emit_ibl_routines(&e, cpu);
	cpu->fn_callout = here(&e);
	emit_simple_call(&e, cpu, (void *)callout);
	cpu->fn_finish_write = here(&e);
	emit_simple_call(&e, cpu, (void *)tlb_finish_write);
	cpu->fn_miss_read = emit_miss(&e, cpu, false);
	cpu->fn_miss_write = emit_miss(&e, cpu, true);
	cpu->fn_miss_plain = here(&e);
	emit_slow_access(&e, cpu);
	cpu->code_start = cpu->code_p = (u8 *)ALIGN_UP((u64)e.p, 64);
	cpu->cold_p = cpu->cold;
}
