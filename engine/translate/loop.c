/* SPDX-License-Identifier: MIT */
/*
 * Short loops: blocks that jump back to their own start.
 *
 * If each access of a loop goes through registers that stay, or move by a
 * constant from iteration to iteration, its groups (group.c) are streams. They
 * are checked together, and the check tells how far each is from the end of
 * its page; the least of these distances, counted in steps of the leading
 * stream, is the budget, and gives the value of the leading register at which
 * it is spent. Up to there, iterations run without checks and without polls:
 *
 *		check the streams for the first iterations; a miss goes to window
 *		a few copies of the body
 *	window:	check the streams; compute the ends
 *		while (leading register before loop_end_all)
 *			all copies of the body
 *		while (leading register before loop_end)
 *			the body
 *		poll, and back to window
 *
 * The first copies are for loops that end soon: they cost less than a budget.
 *
 * Nothing between the checks calls C, so no mapping can change meanwhile; a
 * window is a page at most, which bounds the time to the next poll. A window's
 * check that fails is a group's: one iteration runs in MODE_SINGLE, which
 * crosses the page, faults, or sets the D bit as it must, and then the loop
 * begins again.
 *
 * In the body an operand is the registers that move plus the stream's origin:
 * addend and all that stays, added up in advance. So the loop keeps no state
 * of its own, and an exception in the body finds the guest's registers as they
 * should be. Flags are dead wherever the loop needs them, or it has no window.
 *
 * Other loops are unrolled, if they compute and touch memory: several copies
 * of the body in a row share the checks of their accesses, and the poll. So
 * are loops that a block runs into from above, since many are over after a few
 * iterations and never come to the loop proper.
 */
#include "engine/translate/tr.h"

#define COPIED_INSNS 64 /* in all copies of a body */
#define FIRST_COPIES 4
#define ENTRY_COPIES 4 /* by a block that runs into its loop */
#define STREAMS_MAX 8
#define STRIDE_MAX 512 /* a window should last for some iterations */

static bool only_computes(const struct insn *in)
{
	switch (in->kind) {
	case K_NORMAL: case K_LEA: case K_NOP: case K_PUSH: case K_POP: case K_GATHER: return true;
	default: return false;
	}
}

/* The number of the instruction that a loop at the block's end goes back to; t->n: there is none to be unrolled. */
static unsigned loop_start(const struct tr *t)
{
	const struct insn *last = &t->insns[t->n - 1];
	bool accesses = false;
	unsigned i = t->n - 1;

	if (last->kind != K_JCC || (t->next ^ t->pc) & PAGE_MASK || t->cpu->frags[t->frag].gpa2 ||
	    t->mode & (MODE_SINGLE | MODE_STEP | MODE_CHECK | MODE_CODE32))
		return t->n;
	while (i > 0 && t->insns[i].pc != last->target && only_computes(&t->insns[i - 1])) {
		i--;
		accesses |= t->insns[i].kind != K_LEA && t->insns[i].mem;
	}
	return accesses && t->insns[i].pc == last->target ? i : t->n;
}

/* ---- streams ---- */

/* Whether the value that the block began with in register nr moves by a constant only. */
static bool moves_evenly(const struct tr *t, u16 nr, i64 *by)
{
	if (nr >= 16 || t->reg_end[nr].nr != nr)
		return false;
	*by = t->reg_end[nr].off;
	return true;
}

static bool is_stream(const struct tr *t, struct group *g)
{
	i64 base = 0, index = 0;

	if (g->base != GROUP_PAGE && !moves_evenly(t, g->base, &base))
		return false;
	if (g->base != GROUP_PAGE && g->index != GROUP_NO_INDEX && !moves_evenly(t, g->index, &index))
		return false;
	g->base_moves = base != 0;
	g->index_moves = index != 0;
	g->stride = base + index * g->scale;
	return !(base && index) && g->stride <= STRIDE_MAX && g->stride >= -STRIDE_MAX;
}

static i64 distance(i64 stride)
{
	return stride < 0 ? -stride : stride;
}

static bool find_streams(struct tr *t)
{
	group_block(t);
	t->lead = &t->groups[0];
	for (unsigned i = 0; i < t->n; i++) {
		const struct insn *in = &t->insns[i];

		if (in->kind == K_PUSH || in->kind == K_POP || in->kind == K_GATHER ||
		    (in->kind == K_NORMAL && in->mem && in->group < 0))
			return false;
	}
	for (unsigned i = 0; i < t->ngroups; i++) {
		struct group *g = &t->groups[i];

		if (!is_stream(t, g))
			return false;
		if (distance(g->stride) > distance(t->lead->stride))
			t->lead = g;
	}
	return t->ngroups && t->ngroups <= STREAMS_MAX && t->lead->stride;
}

/* A power of two, which a page often holds a multiple of. */
static unsigned copies_of(unsigned insns)
{
	unsigned copies = UNROLL_MAX;

	while (copies > 1 && copies * insns > COPIED_INSNS)
		copies /= 2;
	return copies;
}

/* Copies of the body, which begins at start, that a block has room for on the way into the loop. */
static unsigned copies_into(unsigned start, unsigned insns)
{
	return start + insns < COPIED_INSNS ? MIN((COPIED_INSNS - start) / insns, (unsigned)ENTRY_COPIES) : 1;
}

static void unroll(struct tr *t, unsigned start)
{
	unsigned n = t->n - start;

	for (unsigned i = t->n; i < start + n * t->copies; i++)
		t->insns[i] = t->insns[i - n];
	for (unsigned c = 1; c < t->copies; c++)
		t->insns[start + c * n - 1].kind = K_JCC_INNER;
	t->n = start + n * t->copies;
}

static void forget_groups(struct tr *t)
{
	for (unsigned i = 0; i < t->n; i++)
		t->insns[i].group = t->insns[i].sgroup = -1;
}

void loop_prepare(struct tr *t)
{
	unsigned start = loop_start(t), insns = t->n - start;

	t->copies = !insns ? 1 : start ? copies_into(start, insns) : copies_of(insns);
	t->windowed = !start && t->flags_dead && find_streams(t);
	if (t->windowed)
		return;
	forget_groups(t);
	if (insns)
		unroll(t, start);
	group_block(t);
	group_prune(t);
}

/* ---- the checks in front ---- */

/* S0: where in its page a stream begins. Lowers the budget to what the stream has left of the page. */
static void emit_budget(struct tr *t, const struct group *g, bool first)
{
	struct emit *e = &t->e;
	struct mem budget = mem_at(&t->cpu->loop_budget);
	unsigned shift = 0;

	if (g->stride > 0) {
		op_rr(e, false, 0xf7, 3, S0); /* neg */
		op_ri(e, false, 0, S0, (i32)((i64)PAGE_SIZE - (g->hi - g->lo)));
	}
	while (distance(g->stride) << (shift + 1) <= distance(t->lead->stride))
		shift++;
	if (shift)
		op_rr(e, false, 0xc1, 4, S0), e1(e, shift); /* shl */
	if (!first) {
		op_rm(e, false, 0x3b, S0, budget);
		op_rm(e, false, 0x0f43, S0, budget); /* cmovae */
	}
	op_rm(e, false, 0x89, S0, budget);
}

/* S1 += guest register * scale. */
static void add_register(struct tr *t, unsigned guest, unsigned scale)
{
	unsigned r = reg_value(t, guest, S0);

	lea(&t->e, S1, (struct mem){ S1, (i8)r, (u8)scale, 0 });
}

static void emit_origin(struct tr *t, struct group *g)
{
	bool base = g->base != GROUP_PAGE && !g->base_moves;
	bool index = g->base != GROUP_PAGE && g->index != GROUP_NO_INDEX && !g->index_moves;

	g->origin = g->base == GROUP_PAGE ? &g->site->host : &g->site->addend;
	if (!base && !index)
		return;
	ld(&t->e, S1, mem_at(g->origin));
	g->origin = &t->cpu->group_origin[g - t->groups];
	if (base)
		add_register(t, g->base, 1);
	if (index)
		add_register(t, g->index, g->scale);
	st(&t->e, mem_at(g->origin), S1);
}

static struct gmem stream_gmem(const struct tr *t, const struct group *g)
{
	if (g->base == GROUP_PAGE)
		return insn_gmem(t, g->first);
	return (struct gmem){ .base = (i8)g->base, .index = g->index == GROUP_NO_INDEX ? -1 : (i8)g->index,
			      .scale = g->scale, .seg = SEG_DS };
}

/* What the first iterations need; misses go to the window's own checks. Returns how many there are. */
static unsigned emit_quick_checks(struct tr *t, unsigned iterations, u8 **miss)
{
	for (unsigned i = 0; i < t->ngroups; i++) {
		struct group *g = &t->groups[i];
		struct gmem at = stream_gmem(t, g);
		i64 way = g->stride * (iterations - 1);
		struct stub s;

		group_test(t, &at, g, g->lo + MIN(way, 0), (unsigned)(g->hi - g->lo + distance(way)), &s);
		miss[i] = s.slow;
		emit_origin(t, g);
	}
	return t->ngroups;
}

static void emit_checks(struct tr *t)
{
	bool first = true;

	for (unsigned i = 0; i < t->ngroups; i++) {
		struct group *g = &t->groups[i];
		struct gmem at = stream_gmem(t, g);
		struct stub *s = &t->stubs[t->nstubs++];

		group_test(t, &at, g, g->lo, (unsigned)(g->hi - g->lo), s);
		s->in = &t->insns[0];
		if (g->stride) {
			emit_budget(t, g, first);
			first = false;
		}
		emit_origin(t, g);
	}
}

/* ---- the body ---- */

/* The stream's origin in a scratch register. */
static unsigned origin_reg(struct tr *t, int group, bool s0_needed)
{
	unsigned r = t->s1_group < 0 || s0_needed ? S1 : S0;

	if (t->s1_group == group)
		return S1;
	if (t->s0_group == group && !s0_needed)
		return S0;
	ld(&t->e, r, mem_at(t->groups[group].origin));
	*(r == S1 ? &t->s1_group : &t->s0_group) = group;
	return r;
}

struct mem loop_access(struct tr *t, const struct insn *in, const struct gmem *g, enum mem_form *form)
{
	const struct group *gr = &t->groups[g->group];
	int moving = gr->base_moves ? in->base : gr->index_moves ? in->index : -1, h = moving < 0 ? -1 : host_reg(moving);
	unsigned r = origin_reg(t, g->group, moving >= 0 && h < 0);
	struct mem m = mem_base((int)r, g->goff);

	*form = r == S1 ? FORM_BASE : FORM_POINTER;
	if (moving < 0)
		return m;
	if (h < 0) {
		home_load(t, S0, (unsigned)moving);
		t->s0_group = -1;
		*form = FORM_SUM;
		h = S0;
	}
	m.index = (i8)h;
	m.scale = gr->base_moves ? 1 : g->scale;
	m.disp = gr->base_moves ? g->goff - in->base_off : g->disp + in->base_off;
	return m;
}

static void emit_bodies(struct tr *t, unsigned copies)
{
	t->flags = FLAGS_DEAD;
	t->s0_group = t->s1_group = -1;
	while (copies--)
		for (unsigned i = 0; i < t->n; i++)
			emit_insn(t, &t->insns[i]);
}

/* The guest register that moves the leading stream. */
static unsigned lead_reg(const struct tr *t)
{
	return t->lead->base_moves ? t->lead->base : t->lead->index;
}

/* From the budget: where the leading register will be when it is spent, and when it is too short for all copies. */
static void emit_ends(struct tr *t)
{
	struct emit *e = &t->e;
	i64 step = t->reg_end[lead_reg(t)].off;
	unsigned scale = t->lead->base_moves ? 1 : t->lead->scale;

	op_rm(e, false, 0x8b, S0, mem_at(&t->cpu->loop_budget));
	if (scale > 1)
		op_rr(e, false, 0xc1, 5, S0), e1(e, sib_scale(scale)); /* shr */
	if (step < 0)
		op_rr(e, true, 0xf7, 3, S0); /* neg */
	lea(e, S0, (struct mem){ S0, (i8)reg_value(t, lead_reg(t), S1), 1, step > 0 });
	st(e, mem_at(&t->cpu->loop_end), S0);
	lea(e, S0, mem_base(S0, -step * (t->copies - 1)));
	st(e, mem_at(&t->cpu->loop_end_all), S0);
}

/* Compares the leading register with an end; returns the rel32 of the jump taken before it, or from it on. */
static u8 *emit_jump(struct tr *t, const u64 *end, bool before)
{
	op_rm(&t->e, true, 0x3b, reg_value(t, lead_reg(t), S0), mem_at(end));
	return jcc_fwd(&t->e, (t->reg_end[lead_reg(t)].off > 0) == before ? CC_S : CC_NS);
}

static void emit_window(struct tr *t)
{
	struct cpu *cpu = t->cpu;
	u8 *start, *few, *spent = NULL, *window = t->e.p;

	t->flags = FLAGS_DEAD;
	emit_checks(t);
	emit_ends(t);
	if (t->copies > 1) {
		few = emit_jump(t, &cpu->loop_end_all, false);
		start = t->e.p;
		emit_bodies(t, t->copies);
		fix_to(emit_jump(t, &cpu->loop_end_all, true), start);
		fix_to(few, t->e.p);
		spent = emit_jump(t, &cpu->loop_end, false);
	}
	start = t->e.p;
	emit_bodies(t, 1);
	fix_to(emit_jump(t, &cpu->loop_end, true), start);
	if (spent)
		fix_to(spent, t->e.p);
	t->flags = FLAGS_DEAD;
	emit_poll(t, t->pc);
	jmp_to(&t->e, (u64)window);
}

void loop_emit(struct tr *t)
{
	unsigned first = MIN(t->copies, (unsigned)FIRST_COPIES), n;
	u8 *miss[STREAMS_MAX];

	t->cur = &t->insns[0];
	t->insns[t->n - 1].kind = K_JCC_INNER;
	n = emit_quick_checks(t, first, miss);
	emit_bodies(t, first);
	while (n)
		fix_to(miss[--n], t->e.p);
	emit_window(t);
}
