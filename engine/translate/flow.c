/* SPDX-License-Identifier: MIT */
/*
 * Stack and control flow. The host's RSP is the return-prediction stack: a
 * guest CALL becomes a host CALL, a guest RET a host RET to the code behind
 * that call, which compares the guest's return address with its own.
 *
 * Leaving a fragment: jumps within the page are patched directly; jumps to
 * other pages go through the exit's slot, which a change of the mapping voids.
 * Flags pass calls, returns and indirect jumps in cpu->flags ("lazy").
 */
#include "engine/translate/tr.h"

/* ---- flags ---- */

u16 flags_live_before(const struct insn *in)
{
	return (u16)((in->fl_live & ~in->fl_write) | in->fl_read);
}

void flags_save(struct tr *t)
{
	struct emit *e = &t->e;

	t->s0_group = -1;
	mov_rr(e, S0, RAX);
	e1(e, 0x9f); /* lahf */
	e1(e, 0x0f), e1(e, 0x90), e1(e, 0xc0); /* seto al */
	e1(e, 0x66);
	op_rm(e, false, 0x89, RAX, mem_at(&t->cpu->flags));
	mov_rr(e, RAX, S0);
	t->flags = FLAGS_LAZY;
}

void flags_restore(struct tr *t, bool s0_free)
{
	struct emit *e = &t->e;

	if (s0_free)
		t->s0_group = -1;
	if (s0_free)
		mov_rr(e, S0, RAX);
	else
		st(e, mem_at(&t->cpu->tmp0), RAX);
	op_rm(e, false, 0x0fb7, RAX, mem_at(&t->cpu->flags));
	e1(e, 0x04), e1(e, 0x7f); /* add al, 127: OF back */
	e1(e, 0x9e); /* sahf */
	if (s0_free)
		mov_rr(e, RAX, S0);
	else
		ld(e, RAX, mem_at(&t->cpu->tmp0));
	t->flags = FLAGS_HOST;
}

void flags_put_away(struct tr *t, u16 live)
{
	if (t->flags != FLAGS_HOST)
		return;
	if (live)
		flags_save(t);
	else
		t->flags = FLAGS_DEAD;
}

static bool wants_flags(const struct insn *in)
{
	if (in->fl_read)
		return true;
	return (in->fl_write || in->fl_partial) && (in->fl_live & ~in->fl_write);
}

void flags_for(struct tr *t, const struct insn *in, bool s0_free)
{
	if (t->flags == FLAGS_LAZY && wants_flags(in))
		flags_restore(t, s0_free);
}

/* ---- stack ---- */

static unsigned stack_slot(const struct tr *t, const struct insn *in)
{
	if (in->opsize == 2)
		return 2;
	return t->code32 ? 4 : 8;
}

static void stack_add(struct tr *t, i64 n)
{
	op_rm(&t->e, !t->code32, 0x8d, HOST_GSP, mem_base(HOST_GSP, n));
}

static void st_size(struct emit *e, unsigned size, struct mem m, unsigned reg)
{
	if (size == 2)
		e1(e, 0x66);
	op_rm(e, size == 8, 0x89, reg, m);
}

static void ld_size(struct emit *e, unsigned size, unsigned reg, struct mem m)
{
	if (size == 2)
		op_rm(e, false, 0x0fb7, reg, m);
	else
		op_rm(e, size == 8, 0x8b, reg, m);
}

/* A scratch register beside a checked operand; may fold the operand into S1. */
static unsigned spare(struct tr *t, struct mem *m, enum mem_form form)
{
	if (form == FORM_POINTER) {
		t->s1_group = -1;
		return S1;
	}
	t->s0_group = -1;
	if (form == FORM_SUM) {
		lea(&t->e, S1, *m);
		*m = mem_base(S1, 0);
	}
	return S0;
}

static void op_push_reg(struct tr *t, const struct insn *in, struct mem m, enum mem_form form)
{
	int h = host_reg(in->gpr_op >= 0 ? in->gpr_op : in->gpr_rm);
	unsigned size = stack_slot(t, in), s;

	if (h < 0) {
		s = spare(t, &m, form);
		home_load(t, s, (unsigned)(in->gpr_op >= 0 ? in->gpr_op : in->gpr_rm));
		h = (int)s;
	}
	st_size(&t->e, size, m, (unsigned)h);
}

static void op_push_tmp(struct tr *t, const struct insn *in, struct mem m, enum mem_form form)
{
	unsigned s = spare(t, &m, form);

	ld(&t->e, s, mem_at(&t->cpu->tmp1));
	st_size(&t->e, stack_slot(t, in), m, s);
}

static void op_push_imm(struct tr *t, const struct insn *in, struct mem m, enum mem_form form)
{
	unsigned size = stack_slot(t, in);

	(void)form;
	if (size == 2)
		e1(&t->e, 0x66);
	op_rm_imm(&t->e, size == 8, 0xc7, 0, m, size == 2 ? 2 : 4);
	if (size == 2)
		e2(&t->e, (unsigned)in->imm);
	else
		e4(&t->e, (u64)in->imm);
}

void emit_push(struct tr *t, const struct insn *in)
{
	unsigned size = stack_slot(t, in);
	struct gmem g = stack_gmem(t, -(i64)size);

	if (in->mem) {
		struct gmem src = insn_gmem(t, in);
		enum mem_form form;
		struct mem m = access_check(t, in, &src, size, SITE_READ, &form);

		ld_size(&t->e, size, S0, m);
		st(&t->e, mem_at(&t->cpu->tmp1), S0);
		access_store(t, in, &g, size, SITE_STACK, op_push_tmp);
	} else if (in->gpr_op >= 0 || in->gpr_rm >= 0) {
		access_store(t, in, &g, size, SITE_STACK, op_push_reg);
	} else {
		access_store(t, in, &g, size, SITE_STACK, op_push_imm);
	}
	stack_add(t, -(i64)size);
}

void emit_push_tmp1(struct tr *t, const struct insn *in)
{
	unsigned size = stack_slot(t, in);
	struct gmem g = stack_gmem(t, -(i64)size);

	access_store(t, in, &g, size, SITE_STACK, op_push_tmp);
	stack_add(t, -(i64)size);
}

static void op_pop_tmp(struct tr *t, const struct insn *in, struct mem m, enum mem_form form)
{
	op_push_tmp(t, in, m, form);
}

static void pop_into(struct tr *t, const struct insn *in, unsigned guest, unsigned size)
{
	int h = host_reg((int)guest);

	/* the value is in S0 */
	if (guest != RSP)
		stack_add(t, size);
	else if (size == 2)
		stack_add(t, size);
	if (size == 2) {
		if (h < 0) {
			e1(&t->e, 0x66);
			op_rm(&t->e, false, 0x89, S0, mem_at(&t->cpu->x.s.gpr[guest]));
		} else {
			e1(&t->e, 0x66);
			op_rr(&t->e, false, 0x8b, (unsigned)h, S0);
		}
	} else if (h < 0) {
		home_store(t, guest, S0);
	} else {
		mov_rr(&t->e, (unsigned)h, S0);
	}
	(void)in;
}

void emit_pop(struct tr *t, const struct insn *in)
{
	unsigned size = stack_slot(t, in);
	struct gmem g = stack_gmem(t, 0);
	enum mem_form form;
	struct mem m = access_check(t, in, &g, size, SITE_READ | SITE_STACK, &form);

	if (!in->mem) {
		unsigned guest = (unsigned)(in->gpr_op >= 0 ? in->gpr_op : in->gpr_rm);
		int h = host_reg((int)guest);

		pcmap_add(t, in);
		if (h >= 0 && guest != RSP && size != 2) {
			ld_size(&t->e, size, (unsigned)h, m);
			stack_add(t, size);
			return;
		}
		t->s0_group = -1;
		ld_size(&t->e, size, S0, m);
		pop_into(t, in, guest, size);
		return;
	}
	ld_size(&t->e, size, S0, m);
	st(&t->e, mem_at(&t->cpu->tmp1), S0);
	g = insn_gmem(t, in);
	if (g.base == RSP)
		g.disp += size; /* the address is computed after the increment */
	access_store(t, in, &g, size, SITE_STACK, op_pop_tmp);
	stack_add(t, size);
}

void emit_leave(struct tr *t, const struct insn *in)
{
	unsigned size = stack_slot(t, in);
	struct gmem g = stack_gmem(t, 0);
	enum mem_form form;
	struct mem m;

	g.base = RBP;
	m = access_check(t, in, &g, size, SITE_READ, &form);
	ld_size(&t->e, size, S0, m);
	op_rm(&t->e, !t->code32, 0x8d, HOST_GSP, mem_base(RBP, size));
	if (size == 2)
		e1(&t->e, 0x66);
	op_rr(&t->e, size == 8, 0x8b, RBP, S0);
}

/* ---- leaving ---- */

static u32 new_exit(struct tr *t, u64 target, enum exit_kind kind)
{
	struct cpu *cpu = t->cpu;
	u32 id = cpu->nexits++;
	struct exit *x = &cpu->exits[id];

	*x = (struct exit){ .rel = (i64)(target - t->cp->vbase), .from = t->frag, .kind = (u8)kind, .lazy = t->flags != FLAGS_HOST };
	return id;
}

static bool same_page(const struct tr *t, u64 target)
{
	return !((target ^ t->pc) & PAGE_MASK);
}

static void pend(struct tr *t, u8 *patch, u32 exit, bool poll)
{
	t->exits[t->nexits++] = (struct pending_exit){ patch, exit, poll };
}

/* A jump or call (opcodes e8, e9) to a guest address. */
static void emit_transfer(struct tr *t, u64 target, bool call)
{
	struct emit *e = &t->e;
	u32 id;

	if (same_page(t, target)) {
		id = new_exit(t, target, EXIT_JUMP);
		e1(e, call ? 0xe8 : 0xe9);
		e4(e, 0);
		t->cpu->exits[id].patch = (u32)(u64)(e->p - 4);
		pend(t, e->p - 4, id, false);
	} else {
		id = new_exit(t, target, EXIT_SLOT);
		op_rm(e, false, 0xff, call ? 2 : 4, mem_at(&t->cpu->exits[id].slot));
		pend(t, NULL, id, false);
	}
}

/* Loops must notice events: every cycle of direct jumps has one that goes back. */
void emit_poll(struct tr *t, u64 target)
{
	struct emit *e = &t->e;

	/* calls, too: a tree of forward calls runs as long as any loop */
	if (target > t->cur->pc && t->cur->kind != K_CALL)
		return;
	flags_put_away(t, exit_liveness(t, target));
	op_rm_imm(e, false, 0x83, 7, mem_at(&t->cpu->poll), 1);
	e1(e, 0);
	pend(t, jcc_fwd(e, CC_NE), new_exit(t, target, EXIT_JUMP), true);
}

void emit_single(struct tr *t, u64 pc)
{
	u32 id = new_exit(t, pc, EXIT_JUMP);

	t->cpu->exits[id].single = true;
	t->cpu->exits[id].patch = (u32)(u64)jmp_fwd(&t->e);
	pend(t, t->e.p - 4, id, false);
}

void emit_goto(struct tr *t, u64 target)
{
	emit_poll(t, target);
	emit_transfer(t, target, false);
	t->cpu->exits[t->cpu->nexits - 1].turned = t->turned;
}

/* S0 holds the target; flags are lazy. */
static void emit_ibl(struct tr *t)
{
	struct emit *e = &t->e;
	struct ibl *ibl = &t->cpu->ibl[ibl_index(t->mode)];

	if (t->mode & MODE_STEP) {
		t->to_leave[t->nto_leave++] = jmp_fwd(e);
		return;
	}
	op_rm_imm(e, false, 0x83, 7, mem_at(&t->cpu->poll), 1);
	e1(e, 0);
	t->to_leave[t->nto_leave++] = jcc_fwd(e, CC_NE);
	op_rr(e, false, 0x0fb7, S1, S0);
	op_rm(e, true, 0x3b, S0, (struct mem){ MEM_ABS, S1, 8, (i64)(u64)ibl->tag });
	t->to_leave[t->nto_leave++] = jcc_fwd(e, CC_NE);
	op_rm(e, false, 0xff, 4, (struct mem){ MEM_ABS, S1, 8, (i64)(u64)ibl->host });
}

/* Behind a host CALL: S0 is the return address that the guest popped, S1 who returned. */
static void emit_return_site(struct tr *t)
{
	struct emit *e = &t->e;
	u64 ra = t->next;
	u8 *miss;

	t->flags = FLAGS_LAZY;
	if (t->fixed && (i64)ra == (i32)ra) {
		op_ri(e, true, 7, S0, (i32)ra);
		miss = jcc_fwd(e, CC_NE);
		fix_to(miss, (u8 *)(u64)t->cpu->fn_ibl[ibl_index(t->mode)]);
	} else {
		t->ret_rel = (i64)(ra - t->cp->vbase);
		op_rm(e, !t->code32, 0x8d, S0, mem_base(S0, -t->ret_rel));
		op_rm(e, !t->code32, 0x3b, S0, mem_at(&t->cp->vbase));
		t->ret_miss = jcc_fwd(e, CC_NE);
	}
	emit_transfer(t, ra, false);
}

static void op_push_ra(struct tr *t, const struct insn *in, struct mem m, enum mem_form form)
{
	u64 ra = in->pc + in->len;
	unsigned s;

	if (t->fixed && (t->code32 || (i64)ra == (i32)ra)) {
		op_rm_imm(&t->e, !t->code32, 0xc7, 0, m, 4);
		e4(&t->e, ra);
		return;
	}
	s = spare(t, &m, form);
	emit_va(t, s, ra);
	op_rm(&t->e, !t->code32, 0x89, s, m);
}

static void push_ra(struct tr *t, const struct insn *in)
{
	unsigned size = t->code32 ? 4 : 8;
	struct gmem g = stack_gmem(t, -(i64)size);

	flags_put_away(t, flags_live_before(in));
	access_store(t, in, &g, size, SITE_STACK, op_push_ra);
	stack_add(t, -(i64)size);
}

static void emit_call(struct tr *t, const struct insn *in)
{
	push_ra(t, in);
	emit_poll(t, in->target);
	t->flags = FLAGS_LAZY;
	if (t->mode & MODE_STEP) {
		emit_transfer(t, in->target, false);
		return;
	}
	emit_transfer(t, in->target, true);
	emit_return_site(t);
}

/* The target of an indirect branch into S0; flags are put away. */
static void load_target(struct tr *t, const struct insn *in)
{
	unsigned size = t->code32 ? 4 : 8;

	flags_put_away(t, FL_ARITH);
	if (in->mem) {
		struct gmem g = insn_gmem(t, in);
		enum mem_form form;
		struct mem m = access_check(t, in, &g, size, SITE_READ, &form);

		ld_size(&t->e, size, S0, m);
	} else {
		unsigned r;

		r = reg_value(t, (unsigned)in->gpr_rm, S0);
		op_rr(&t->e, size == 8, 0x8b, S0, r);
	}
	t->flags = FLAGS_LAZY;
}

static void emit_call_ind(struct tr *t, const struct insn *in)
{
	u8 *call;

	load_target(t, in);
	st(&t->e, mem_at(&t->cpu->tmp1), S0);
	push_ra(t, in);
	if (t->mode & MODE_STEP) {
		ld(&t->e, S0, mem_at(&t->cpu->tmp1));
		emit_ibl(t);
		return;
	}
	e1(&t->e, 0xe8);
	e4(&t->e, 0);
	call = t->e.p - 4;
	emit_return_site(t);
	fix_to(call, t->e.p);
	ld(&t->e, S0, mem_at(&t->cpu->tmp1));
	emit_ibl(t);
}

static void emit_ret(struct tr *t, const struct insn *in)
{
	unsigned size = t->code32 ? 4 : 8;
	struct gmem g = stack_gmem(t, 0);
	enum mem_form form;
	struct mem m;

	flags_put_away(t, FL_ARITH); /* a group's member has no check that does */
	m = access_check(t, in, &g, size, SITE_READ, &form);
	ld_size(&t->e, size, S0, m);
	stack_add(t, (i64)size + (in->imm_len ? (u16)in->imm : 0));
	mov_imm(&t->e, S1, t->frag); /* for a return to nowhere: see bad_branch in dispatch.c */
	if (t->mode & MODE_STEP)
		emit_ibl(t);
	else
		e1(&t->e, 0xc3);
}

/* The block goes on where cc does not hold. */
static void emit_side_exit(struct tr *t, const struct insn *in, u64 target, unsigned cc)
{
	u32 id;
	u8 *patch;

	flags_for(t, in, true);
	id = new_exit(t, target, EXIT_JUMP);
	patch = jcc_fwd(&t->e, cc);
	t->cpu->exits[id].patch = (u32)(u64)patch;
	pend(t, patch, id, false);
}

static void emit_jcc(struct tr *t, const struct insn *in)
{
	struct emit *e = &t->e;
	enum flags_home home;
	u8 *over;

	if (in->target > in->pc && same_page(t, in->target)) {
		emit_side_exit(t, in, in->target, in->cc);
	} else {
		flags_for(t, in, true);
		home = t->flags;
		over = jcc_fwd(e, in->cc ^ 1);
		emit_goto(t, in->target);
		fix_to(over, e->p);
		t->flags = home;
	}
	emit_goto(t, t->next); /* may wrap around to 0 */
}

static void emit_loop(struct tr *t, const struct insn *in)
{
	struct emit *e = &t->e;
	u8 op = in->bytes[in->opcode_at], *over;
	enum flags_home home;

	flags_for(t, in, true);
	home = t->flags;
	if (in->addrsize == 2) { /* JCXZ: the host has none; look at CX in a copy */
		mov_rr(e, S0, RCX);
		op_rr(e, false, 0x0fb7, RCX, RCX);
		e1(e, op), e1(e, 5 + 3);
		mov_rr(e, RCX, S0);
		over = jmp_fwd(e);
		mov_rr(e, RCX, S0);
	} else {
		if (in->addrsize == 4)
			e1(e, 0x67);
		e1(e, op), e1(e, 5);
		over = jmp_fwd(e);
	}
	emit_goto(t, in->target);
	fix_to(over, e->p);
	t->flags = home;
	emit_goto(t, t->next); /* may wrap around to 0 */
}

void emit_branch(struct tr *t, const struct insn *in)
{
	switch (in->kind) {
	case K_CALL: emit_call(t, in); break;
	case K_CALL_IND: emit_call_ind(t, in); break;
	case K_RET: emit_ret(t, in); break;
	case K_JMP: emit_goto(t, in->target); break;
	case K_JMP_IND:
		load_target(t, in);
		emit_ibl(t);
		break;
	case K_JCC: emit_jcc(t, in); break;
	case K_JCC_INNER: emit_side_exit(t, in, t->next, in->cc ^ 1u); break;
	case K_JCC_AHEAD: emit_side_exit(t, in, in->target, in->cc); break;
	default: emit_loop(t, in); break;
	}
}

/* Out of an indirect branch to dispatch, with a note where it was. */
static void leave_stub(struct tr *t)
{
	struct emit *e = &t->e;
	const struct insn *in = &t->insns[t->n - 1];

	if (!t->nto_leave)
		return;
	for (unsigned i = 0; i < t->nto_leave; i++)
		fix_to(t->to_leave[i], e->p);
	st32_imm(e, mem_at(&t->cpu->branch_frag), in->kind == K_RET ? 0 : t->frag);
	st32_imm(e, mem_at(&t->cpu->branch_place), (u32)(in->pc - t->pc) | (in->kind == K_CALL_IND ? BRANCH_CALL : 0));
	jmp_to(e, t->cpu->fn_leave_ibl);
}

void flow_stubs(struct tr *t)
{
	struct emit *e = &t->e;
	struct cpu *cpu = t->cpu;

	leave_stub(t);
	if (t->ret_miss) {
		fix_to(t->ret_miss, e->p);
		op_rm(e, !t->code32, 0x8d, S0, mem_base(S0, t->ret_rel));
		jmp_to(e, cpu->fn_ibl[ibl_index(t->mode)]);
	}
	for (unsigned i = 0; i < t->nexits; i++) {
		struct pending_exit *p = &t->exits[i];
		struct exit *x = &cpu->exits[p->exit];

		x->stub = (u32)(u64)e->p;
		x->slot = (u64)e->p;
		if (p->patch)
			fix_to(p->patch, e->p);
		st32_imm(e, mem_at(&cpu->exit), p->exit);
		jmp_to(e, p->poll ? cpu->fn_poll : x->lazy ? cpu->fn_exit_lazy : cpu->fn_exit);
	}
}

/* ---- helpers ---- */

static struct sysinsn *new_sysinsn(struct tr *t, const struct insn *in, sysinsn_fn fn)
{
	struct sysinsn *s = &t->cpu->sysinsns[t->cpu->nsysinsns++];

	*s = (struct sysinsn){
		.fn = fn, .rip = in->pc, .vbase_seen = t->cp->vbase, .page = t->cpu->frags[t->frag].page, .rip_rel = in->rip_rel, .len = in->len, .opsize = in->opsize, .addrsize = in->addrsize,
		.mode = t->mode & (u8)~MODE_SINGLE, .mem = in->mem, .rep = in->rep, .base = in->base, .index = in->index,
		.scale = in->scale, .seg = in->seg, .disp = in->disp, .imm = in->imm, .imm2 = in->imm2,
		.mnemonic = in->mnemonic, .rex = in->rex, .ends = in->kind == K_SYSCALL || in->kind == K_UD,
	};
	for (unsigned i = 0; i < sizeof(s->bytes); i++)
		s->bytes[i] = in->bytes[i];
	if (in->modrm_at) {
		s->reg = in->modrm_reg;
		s->rm = (u8)((in->bytes[in->modrm_at] & 7) | (in->rex & 1) << 3);
		s->op = in->bytes[in->modrm_at - 1];
	} else {
		s->op = in->bytes[in->opcode_at] == 0x0f ? in->bytes[in->opcode_at + 1] : in->bytes[in->opcode_at];
	}
	return s;
}

void emit_helper(struct tr *t, const struct insn *in, sysinsn_fn fn)
{
	if (t->flags == FLAGS_HOST)
		flags_save(t);
	t->s0_group = t->s1_group = -1;
	mov_imm(&t->e, S1, (u64)new_sysinsn(t, in, fn));
	call_to(&t->e, t->cpu->fn_callout);
	t->flags = FLAGS_LAZY;
}

void emit_access_helper(struct tr *t, const struct insn *in, const struct gmem *g, unsigned size, unsigned site_flags)
{
	struct sysinsn *s;

	emit_helper(t, in, check_access);
	s = &t->cpu->sysinsns[t->cpu->nsysinsns - 1];
	s->base = g->base;
	s->index = g->index;
	s->scale = g->scale;
	s->seg = g->seg;
	s->disp = g->disp;
	s->rip_rel = g->rip_rel;
	s->addrsize = !g->a32 ? 8 : in->mem && in->addrsize == 2 ? 2 : 4;
	s->imm = size;
	s->imm2 = site_flags & SITE_WRITE;
	s->ends = false;
}
