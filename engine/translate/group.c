/* SPDX-License-Identifier: MIT */
/*
 * Groups: accesses of a block whose addresses differ by constants share one
 * check. Registers are numbered by value: a number stands for "what RAX was
 * when the block began", and additions of constants only move its offset.
 *
 * The check of a group covers all its bytes and, if any member stores, the
 * right to store. It never faults: when the range cannot be reached as a whole
 * (two pages, not yet dirty, MMIO), the rest of the block runs in a fragment
 * without groups (MODE_SINGLE), where each access does what it has to.
 */
#include "engine/translate/tr.h"

#define GROUP_SPAN 512 /* bytes; wider ones would lie on two pages too often */
#define GROUP_REACH (i64)BIT(30)

struct numbering {
	struct value reg[16];
	u16 next;
	u16 barrier; /* groups begun before this number of the group table are closed */
	u16 branch; /* those begun before this one may be all that is accessed */
};

static void renumber(struct numbering *n, unsigned reg)
{
	n->reg[reg] = (struct value){ n->next++, 0 };
}

/* ADD and SUB of a constant, INC, DEC, LEA of a constant distance, MOV: the value keeps its number. */
static bool follows(struct numbering *n, const struct insn *in)
{
	const u8 *b = in->bytes;
	u8 op = b[in->opcode_at], ext = in->modrm_at ? b[in->modrm_at] >> 3 & 7 : 0;

	if (in->enc != ENC_LEGACY || in->opsize != 8)
		return false;
	if (in->kind == K_LEA && in->base >= 0 && in->index < 0 && in->addrsize == 8) {
		struct value v = n->reg[in->base];

		v.off += in->disp;
		n->reg[in->gpr_reg] = v;
		return true;
	}
	if (in->kind != K_NORMAL || in->mem)
		return false;
	if ((op == 0x81 || op == 0x83) && (ext == 0 || ext == 5) && in->gpr_rm >= 0) {
		n->reg[in->gpr_rm].off += ext == 0 ? in->imm : -in->imm;
		return true;
	}
	if (op == 0xff && ext < 2 && in->gpr_rm >= 0) {
		n->reg[in->gpr_rm].off += ext == 0 ? 1 : -1;
		return true;
	}
	if ((op == 0x89 || op == 0x8b) && in->gpr_reg >= 0 && in->gpr_rm >= 0) {
		if (op == 0x89)
			n->reg[in->gpr_rm] = n->reg[in->gpr_reg];
		else
			n->reg[in->gpr_reg] = n->reg[in->gpr_rm];
		return true;
	}
	return false;
}

static bool pops_rsp(const struct insn *in)
{
	return in->kind == K_POP && !in->mem && (in->gpr_op >= 0 ? in->gpr_op : in->gpr_rm) == RSP;
}

/* By how much RSP moves, where that is all that happens to it. */
static i64 stack_move(const struct insn *in)
{
	switch (in->kind) {
	case K_PUSH: case K_CALL: case K_CALL_IND: return -8;
	case K_POP: return pops_rsp(in) ? 0 : 8;
	default: return 0;
	}
}

static void effects(struct numbering *n, const struct insn *in)
{
	i64 move = stack_move(in);

	if (follows(n, in))
		return;
	for (unsigned r = 0; r < 16; r++)
		if (in->gpr_write >> r & 1 && !(r == RSP && move && in->opsize != 2))
			renumber(n, r);
	if (in->opsize == 2 && move)
		renumber(n, RSP);
	else
		n->reg[RSP].off += move;
}

/* Sums and differences of two such offsets still fit a displacement. */
static bool is_near(i64 off)
{
	return off > -GROUP_REACH && off < GROUP_REACH;
}

static bool same_key(const struct group *a, const struct group *b)
{
	return a->base == b->base && a->index == b->index && a->scale == b->scale && a->page == b->page;
}

/* Into the open group with the same key that it fits into, or a new one. */
static i8 join(struct tr *t, const struct numbering *n, const struct insn *in, const struct group *one, i64 span)
{
	for (unsigned i = n->barrier; i < t->ngroups; i++) {
		struct group *g = &t->groups[i];
		i64 lo = MIN(g->lo, one->lo), hi = MAX(g->hi, one->hi);

		if (!same_key(g, one) || hi - lo > span || (one->write && !g->write && i < n->branch))
			continue;
		g->lo = lo;
		g->hi = hi;
		g->write |= one->write;
		g->members++;
		return (i8)i;
	}
	if (t->ngroups == GROUPS_MAX)
		return -1;
	t->groups[t->ngroups] = *one;
	t->groups[t->ngroups].first = in;
	return (i8)t->ngroups++;
}

/* An access at base + index * scale + disp; index may be NULL. */
static i8 join_values(struct tr *t, const struct numbering *n, const struct insn *in, const struct value *base,
		      const struct value *index, unsigned scale, i64 disp, unsigned size, bool write, i64 *goff)
{
	i64 off = disp + base->off + (index ? index->off * scale : 0);
	const struct group one = {
		.base = base->nr, .index = index ? index->nr : GROUP_NO_INDEX, .scale = index ? (u8)scale : 1,
		.lo = off, .hi = off + (i64)size, .write = write, .members = 1,
	};

	if (!is_near(off) || !is_near(disp))
		return -1;
	*goff = off;
	return join(t, n, in, &one, GROUP_SPAN);
}

/* Constant addresses on one page; their offsets are counted from its start. */
static i8 join_page(struct tr *t, const struct numbering *n, const struct insn *in, unsigned size, i64 *goff)
{
	i64 off = in->disp & 0xfff;
	const struct group one = {
		.base = GROUP_PAGE,
		.page = ((u64)in->disp & PAGE_MASK) | in->rip_rel, /* those move with the code, the others do not */
		.lo = off, .hi = off + (i64)size, .write = in->mem_write, .members = 1,
	};

	if (one.hi > (i64)PAGE_SIZE)
		return -1;
	*goff = off;
	return join(t, n, in, &one, (i64)PAGE_SIZE);
}

static void join_operand(struct tr *t, struct numbering *n, struct insn *in)
{
	unsigned size = in->kind == K_NORMAL ? in->mem_size : 8;

	if (!in->mem || in->masked || in->addrsize != 8 || in->mem_size > 64 ||
	    in->seg == SEG_FS || in->seg == SEG_GS)
		return;
	if (in->kind != K_NORMAL && in->kind != K_CALL_IND && in->kind != K_JMP_IND && in->kind != K_PUSH)
		return;
	if (in->base < 0) {
		if (in->index < 0)
			in->group = join_page(t, n, in, size, &in->goff);
		return;
	}
	in->base_off = n->reg[in->base].off;
	in->group = join_values(t, n, in, &n->reg[in->base], in->index >= 0 ? &n->reg[in->index] : NULL, in->scale, in->disp,
			 size, in->mem_write, &in->goff);
}

static void join_stack(struct tr *t, struct numbering *n, struct insn *in)
{
	struct value v = n->reg[RSP];

	if (in->opsize == 2)
		return;
	switch (in->kind) {
	case K_PUSH: case K_CALL: case K_CALL_IND:
		in->sgroup = join_values(t, n, in, &v, NULL, 1, -8, 8, true, &in->sgoff);
		break;
	case K_POP:
		if (in->mem)
			return;
		in->sgroup = join_values(t, n, in, &v, NULL, 1, 0, 8, false, &in->sgoff);
		break;
	case K_RET:
		in->sgroup = join_values(t, n, in, &v, NULL, 1, 0, 8, false, &in->sgoff);
		break;
	case K_LEAVE:
		in->sgroup = join_values(t, n, in, &n->reg[RBP], NULL, 1, 0, 8, false, &in->sgoff);
		break;
	default: break;
	}
}

void group_prune(struct tr *t)
{
	for (unsigned i = 0; i < t->n; i++) {
		struct insn *in = &t->insns[i];

		if (in->group >= 0 && t->groups[in->group].members < 2)
			in->group = -1;
		if (in->sgroup >= 0 && t->groups[in->sgroup].members < 2)
			in->sgroup = -1;
	}
}

void group_block(struct tr *t)
{
	struct numbering n = { .next = 16 };

	t->ngroups = 0;
	if (t->mode & (MODE_SINGLE | MODE_STEP | MODE_CODE32 | MODE_CHECK))
		return;
	for (unsigned r = 0; r < 16; r++)
		n.reg[r] = (struct value){ (u16)r, 0 };
	for (unsigned i = 0; i < t->n; i++) {
		struct insn *in = &t->insns[i];

		if (in->kind == K_HELPER) { /* C code may empty sites */
			n.barrier = (u16)t->ngroups;
			for (unsigned r = 0; r < 16; r++)
				renumber(&n, r);
			continue;
		}
		if (in->kind == K_JCC_AHEAD)
			n.branch = (u16)t->ngroups;
		join_operand(t, &n, in);
		join_stack(t, &n, in);
		effects(&n, in);
	}
	for (unsigned r = 0; r < 16; r++)
		t->reg_end[r] = n.reg[r];
}
