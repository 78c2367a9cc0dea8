/* SPDX-License-Identifier: MIT */
/* From guest bytes to a fragment: collect a block, find flag liveness, emit. */
#include "engine/translate/tr.h"

/* Room that one block may need at most. */
#define BLOCK_ROOM (256u << 10)

void pcmap_add(struct tr *t, const struct insn *in)
{
	struct cpu *cpu = t->cpu;
	bool cold = t->hot != NULL;

	cpu->pcmap[cpu->npcmap++] = (struct pcmap){
		.host = (u16)(t->e.p - (cold ? t->cold_start : t->start)),
		.guest = (u16)((in->pc - t->pc) | (t->flags == FLAGS_LAZY ? PCMAP_LAZY : 0) | (cold ? PCMAP_COLD : 0) |
			       (in->ss_fault ? PCMAP_SS : 0)),
	};
}

void emit_va(struct tr *t, unsigned reg, u64 va)
{
	u64 rel = va - t->cp->vbase;

	if (t->fixed || (i64)rel != (i32)rel) {
		mov_imm(&t->e, reg, va);
		return;
	}
	ld(&t->e, reg, mem_at(&t->cp->vbase));
	op_rm(&t->e, !t->code32, 0x8d, reg, mem_base((int)reg, (i64)rel));
}

static bool ends_block(const struct insn *in)
{
	bool ends = false;

	switch (in->kind) {
	case K_CALL: case K_CALL_IND: case K_RET: case K_JMP: case K_JMP_IND: case K_JCC: case K_LOOP:
	case K_SYSCALL: case K_UD: return true;
	case K_HELPER: sysinsn_lookup(in->mnemonic, &ends); return ends;
	default: return false;
	}
}

/* Host address of the code page at gva, or NULL: fault recorded. */
static u8 *fetch_page(struct cpu *cpu, u64 gva, struct x86_walk *w)
{
	u8 *host;

	if (x86_walk(&cpu->x, gva, ACCESS_EXEC, cpu->mode & MODE_USER, true, w))
		return NULL;
	host = ram_host(cpu, w->gpa, false);
	if (!host)
		x86_fault_code(&cpu->x, VEC_GP, 0); /* no code in MMIO space */
	return host;
}

/* The first instruction runs over the page's end: fetch both halves. */
static int decode_crossing(struct tr *t, u64 pc, const u8 *page, struct insn *in)
{
	struct fragment *f = &t->cpu->frags[t->frag];
	u64 second = (pc & PAGE_MASK) + PAGE_SIZE;
	unsigned first = (unsigned)(second - pc);
	struct x86_walk w;
	u8 buf[32], *host = fetch_page(t->cpu, t->code32 ? (u32)second : second, &w);

	if (!host)
		return -3;
	f->gpa2 = w.gpa & PAGE_MASK;
	tlb_protect_page(t->cpu, f->gpa2);
	for (unsigned i = 0; i < 16; i++)
		buf[i] = i < first ? page[(pc & 0xfff) + i] : host[i - first];
	return decode(t->cpu->decoder, buf, 16, pc, t->code32, in);
}

/*
 * Whether the block goes on behind a branch. What is ahead is most often the
 * rare case, so that blocks reach further, and share more checks, without it.
 */
static bool goes_on(struct tr *t, struct insn *in, unsigned *ahead)
{
	if (t->n > AHEAD_INSNS || t->mode & (MODE_SINGLE | MODE_STEP | MODE_CHECK | MODE_CODE32) ||
	    in->target <= in->pc || (in->target ^ t->pc) & PAGE_MASK)
		return false;
	if (in->kind == K_JMP)
		in->kind = K_NOP;
	else if (in->kind == K_JCC && (*ahead)++ < AHEAD_MAX)
		in->kind = K_JCC_AHEAD;
	else
		return false;
	return true;
}

static int collect(struct tr *t)
{
	u64 pc = t->pc;
	unsigned max = t->mode & MODE_STEP ? 1 : BLOCK_MAX, ahead = 0;

	for (t->n = 0; t->n < max;) {
		struct insn *in = &t->insns[t->n];
		unsigned off = pc & 0xfff, avail = (unsigned)PAGE_SIZE - off;
		int r = decode(t->cpu->decoder, t->page + off, MIN(avail, 15u), pc, t->code32, in);

		if (r == -2 && avail < 15) {
			if (t->n)
				break;
			r = decode_crossing(t, pc, t->page, in);
			if (r == -3)
				return -1;
		}
		if (r < 0) {
			if (t->n)
				break;
			/* one that runs onto the next page depends on that page, too */
			*in = (struct insn){ .pc = pc, .len = (u8)(t->cpu->frags[t->frag].gpa2 ? avail + 1 : 1), .kind = K_UD };
		}
		t->n++;
		pc += in->len;
		if (in->kind == K_JMP && goes_on(t, in, &ahead))
			pc = in->target;
		if ((ends_block(in) && !goes_on(t, in, &ahead)) || inline_turns(t, in) || (pc ^ t->pc) & PAGE_MASK)
			break;
	}
	t->next = t->code32 ? (u32)pc : pc;
	return 0;
}

static bool forgets_flags(const struct insn *in)
{
	return in->kind == K_HELPER || in->kind == K_SYSCALL || in->kind == K_UD;
}

/* Whatever comes behind it, the block reads no flag that it has not made. */
static bool flags_dead(const struct tr *t)
{
	u16 live = FL_ARITH;

	for (unsigned i = t->n; i-- > 0;) {
		const struct insn *in = &t->insns[i];

		live = forgets_flags(in) || in->kind == K_JCC_AHEAD ? FL_ARITH : (u16)((live & ~in->fl_write) | in->fl_read);
	}
	return !live;
}

static void liveness(struct tr *t)
{
	const struct insn *last = &t->insns[t->n - 1];
	u16 live;

	switch (last->kind) {
	case K_JCC: live = exit_liveness(t, last->target) | exit_liveness(t, t->next); break;
	case K_JMP: case K_CALL: live = exit_liveness(t, last->target); break;
	case K_CALL_IND: case K_RET: case K_JMP_IND: case K_LOOP: case K_SYSCALL: case K_HELPER:
	case K_UD: live = FL_ARITH; break;
	default: live = exit_liveness(t, t->next); break;
	}
	if (t->mode & MODE_STEP)
		live = FL_ARITH;
	for (unsigned i = t->n; i-- > 0;) {
		struct insn *in = &t->insns[i];

		if (in->kind == K_JCC_INNER || in->kind == K_JCC_AHEAD)
			live |= exit_liveness(t, in->kind == K_JCC_INNER ? t->next : in->target);
		in->fl_live = live;
		live = forgets_flags(in) ? FL_ARITH : flags_live_before(in);
	}
}

static bool makes_check(const struct insn *in)
{
	switch (in->kind) {
	case K_NORMAL: return in->mem;
	case K_LEA: case K_NOP: case K_JMP: case K_JCC: case K_JCC_INNER: case K_JCC_AHEAD: case K_LOOP: return false;
	default: return true;
	}
}

/* Where the block's code would first like to find the flags. */
static enum flags_home first_home(const struct tr *t)
{
	for (unsigned i = 0; i < t->n; i++) {
		const struct insn *in = &t->insns[i];

		if (!flags_live_before(in))
			return FLAGS_DEAD;
		if (makes_check(in))
			return FLAGS_LAZY;
		if (in->fl_read || in->fl_write || in->fl_partial)
			return FLAGS_HOST;
	}
	return FLAGS_LAZY;
}

static void emit_entry(struct tr *t)
{
	struct fragment *f = &t->cpu->frags[t->frag];
	enum flags_home home = first_home(t);

	if (home == FLAGS_LAZY) {
		f->host = (u32)(u64)t->e.p;
		flags_save(t);
		f->lazy = (u32)(u64)t->e.p;
	} else if (home == FLAGS_HOST) {
		f->lazy = (u32)(u64)t->e.p;
		flags_restore(t, true);
		f->host = (u32)(u64)t->e.p;
	} else {
		f->host = f->lazy = (u32)(u64)t->e.p;
	}
	t->flags = home;
}

static int raise_ud(struct cpu *cpu, const struct sysinsn *in)
{
	(void)in;
	return x86_fault(&cpu->x, VEC_UD);
}


/* Leaves S0 and S1 alone, or keeps track of what is in them. */
static bool keeps_scratch(const struct insn *in)
{
	switch (in->kind) {
	case K_NOP: case K_JCC_INNER: case K_JCC_AHEAD: return true;
	case K_NORMAL:
		if (in->mem)
			return in->group >= 0;
		return !((in->gpr_read | in->gpr_write) & (HOMED_MASK | 1u << RSP));
	case K_LEA: return !((in->gpr_read | in->gpr_write) & HOMED_MASK) && in->addrsize == 8 && !in->rip_rel && in->opsize == 8;
	case K_PUSH: case K_POP: return in->sgroup >= 0 && !in->mem;
	default: return false;
	}
}

static void emit_operand_helper(struct tr *t, const struct insn *in)
{
	struct gmem g = insn_gmem(t, in);

	emit_access_helper(t, in, &g, in->mem_size, in->mem_write ? SITE_WRITE : 0u);
}

void emit_insn(struct tr *t, const struct insn *in)
{
	sysinsn_fn fn;
	bool ends = false;

	t->cur = in;
	if (!keeps_scratch(in))
		t->s0_group = t->s1_group = -1;
	if (in->sse && !vector_allowed(t->cpu, in->sse)) {
		emit_helper(t, in, raise_ud);
		return;
	}
	if ((in->x87 || in->sse) && t->mode & MODE_NM) {
		emit_helper(t, in, in->mmx || in->sse ? raise_nm_vector : raise_nm);
		return;
	}
	switch (in->kind) {
	case K_NORMAL: emit_normal(t, in); break;
	case K_LEA: emit_lea(t, in); break;
	case K_GATHER: emit_gather(t, in); break;
	case K_NOP: break;
	case K_PUSH: emit_push(t, in); break;
	case K_POP: emit_pop(t, in); break;
	case K_LEAVE: emit_leave(t, in); break;
	case K_UD: emit_helper(t, in, raise_ud); break;
	case K_HELPER:
	case K_SYSCALL:
		if (t->mode & MODE_CHECK && in->mem && (in->mem_read || in->mem_write))
			emit_operand_helper(t, in);
		if (emit_inline(t, in))
			break;
		fn = sysinsn_lookup(in->mnemonic, &ends);
		emit_helper(t, in, fn ? fn : raise_ud);
		break;
	default: emit_branch(t, in); break;
	}
}

static bool is_branch(const struct insn *in)
{
	switch (in->kind) {
	case K_CALL: case K_CALL_IND: case K_RET: case K_JMP: case K_JMP_IND: case K_JCC: case K_LOOP:
		return true;
	default: return false;
	}
}

static void emit_straight(struct tr *t)
{
	const struct insn *last = &t->insns[t->n - 1];

	for (unsigned i = 0; i < t->n; i++)
		emit_insn(t, &t->insns[i]);
	if (!is_branch(last) && last->kind != K_SYSCALL && last->kind != K_UD)
		emit_goto(t, t->next);
	else if (!is_branch(last))
		e1(&t->e, 0xcc);
}

static void emit_block(struct tr *t)
{
	t->s0_group = t->s1_group = -1;
	emit_entry(t);
	if (t->windowed)
		loop_emit(t);
	else
		emit_straight(t);
	t->hot = t->e.p;
	t->e.p = t->cold_start;
	access_stubs(t);
	flow_stubs(t);
	gather_stubs(t);
}

static bool has_room(const struct cpu *cpu)
{
	return cpu->code_p + BLOCK_ROOM < cpu->code_end && cpu->cold_p + BLOCK_ROOM < cpu->cold_end && cpu->nsites + STUBS_MAX < cpu->max_sites &&
	       cpu->nexits + 16 + UNROLL_MAX + AHEAD_MAX + GROUPS_MAX < cpu->max_exits && cpu->nfrags + 1 < cpu->max_frags &&
	       cpu->nsysinsns + 3 * BLOCK_MAX < cpu->max_sysinsns && cpu->npcmap + 3 * BLOCK_MAX < cpu->max_pcmap && cpu->npages + 2 < cpu->max_pages &&
	       cpu->nwindows + BLOCK_MAX < cpu->max_windows;
}

u32 translate(struct cpu *cpu, u64 pc, u32 extra)
{
	static _Thread_local struct tr tr;
	struct tr *t = &tr;
	struct fragment *f;
	struct x86_walk w;

	if (!has_room(cpu))
		frag_flush_all(cpu);
	t->cpu = cpu;
	t->pc = pc;
	t->mode = (u8)(cpu->mode | extra);
	t->code32 = cpu->mode & MODE_CODE32;
	t->turned = 0;
	t->ngathers = t->nstubs = t->nexits = t->nto_leave = 0;
	t->ret_miss = NULL;
	t->page = fetch_page(cpu, pc, &w);
	if (!t->page)
		return 0;
	t->cp = codepage_enter(cpu, w.gpa, pc & PAGE_MASK, w.global);
	cpu->low_global |= w.global && !(pc >> 63);
	t->fixed = t->cp->fixed;
	t->frag = frag_alloc(cpu);
	f = &cpu->frags[t->frag];
	*f = (struct fragment){ .gpa = w.gpa, .page = (u32)(t->cp - cpu->page_pool), .mode = t->mode,
				.global = w.global, .look_lo = 0xffff };
	tlb_protect_page(cpu, w.gpa & PAGE_MASK);
	f->exit0 = cpu->nexits;
	f->map = cpu->npcmap;
	t->e.p = t->start = cpu->code_p;
	t->hot = NULL;
	t->cold_start = cpu->cold_p;
	if (collect(t)) {
		cpu->nfrags--;
		return 0;
	}
	t->flags_dead = !(t->mode & MODE_STEP) && flags_dead(t);
	loop_prepare(t);
	liveness(t);
	emit_block(t);
	f->host_end = (u32)(u64)t->hot;
	f->cold = (u32)(u64)t->cold_start;
	f->cold_end = (u32)(u64)t->e.p;
	f->nexits = cpu->nexits - f->exit0;
	f->nmap = cpu->npcmap - f->map;
	f->last = (u16)(t->insns[t->n - 1].pc - pc);
	f->len = (u16)(t->insns[t->n - 1].pc + t->insns[t->n - 1].len - pc);
	cpu->code_p = (u8 *)ALIGN_UP((u64)t->hot, 16);
	cpu->cold_p = t->e.p;
	frag_publish(cpu, t->frag);
	cpu->stats.fragments++;
	cpu->stats.insns += t->n;
	cpu->stats.host_bytes += (u64)(t->hot - t->start);
	cpu->stats.cold_bytes += (u64)(t->e.p - t->cold_start);
	return t->frag;
}
