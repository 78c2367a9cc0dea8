/* SPDX-License-Identifier: MIT */
/*
 * Gathers and scatters. A gather whose active lanes all lie in the range that
 * its struct window knows to be contiguous in the host runs as it is: the
 * indexes are compared with the window's, all at once. Otherwise, and for
 * scatters, out-of-line code does the lanes one by one by the L0 tables. What
 * they do not know is done by C from the start (gather_insn): lanes that are
 * done twice end the same.
 */
#include "engine/translate/tr.h"

/* ---- VEX and EVEX instructions ---- */

struct vop {
	u8 map, pp, w, opcode;
};

enum { MAP_0F = 1, MAP_0F38, MAP_0F3A };
enum { PP_66 = 1, PP_F3, PP_F2 };

static const struct vop vmovdqu_load = { MAP_0F, PP_F3, 1, 0x6f }, vmovdqu_store = { MAP_0F, PP_F3, 1, 0x7f };
static const struct vop vmovq_load = { MAP_0F, PP_F3, 1, 0x7e };
static const struct vop vpxor = { MAP_0F, PP_66, 0, 0xef }, vmovdqa = { MAP_0F, PP_66, 1, 0x6f };
static const struct vop vpinsrd = { MAP_0F3A, PP_66, 0, 0x22 }, vpinsrq = { MAP_0F3A, PP_66, 1, 0x22 };
static const struct vop vinserti128 = { MAP_0F3A, PP_66, 0, 0x38 };
static const struct vop kmovw_to_gpr = { MAP_0F, 0, 0, 0x93 }, kmovq_to_gpr = { MAP_0F, PP_F2, 1, 0x93 };
static const struct vop kmovq_to_k = { MAP_0F, PP_F2, 1, 0x92 };
static const struct vop kortestw = { MAP_0F, 0, 0, 0x98 }, kxorw = { MAP_0F, 0, 0, 0x47 };

/* The instructions that work on indexes, by their size. */
struct index_ops {
	struct vop movmsk, mov, broadcast, broadcast_gpr, sub, cmpgt, cmp_to_k;
};

static const struct index_ops index_ops[2] = {
	{ { MAP_0F, 0, 0, 0x50 }, { MAP_0F, PP_66, 0, 0x6e }, { MAP_0F38, PP_66, 0, 0x58 }, { MAP_0F38, PP_66, 0, 0x7c },
	  { MAP_0F, PP_66, 0, 0xfa }, { MAP_0F, PP_66, 0, 0x66 }, { MAP_0F3A, PP_66, 0, 0x1f } },
	{ { MAP_0F, PP_66, 0, 0x50 }, { MAP_0F, PP_66, 1, 0x6e }, { MAP_0F38, PP_66, 0, 0x59 }, { MAP_0F38, PP_66, 1, 0x7c },
	  { MAP_0F, PP_66, 1, 0xfb }, { MAP_0F38, PP_66, 1, 0x37 }, { MAP_0F3A, PP_66, 1, 0x1f } },
};

static void vex(struct emit *e, const struct vop *op, unsigned ll, unsigned reg, unsigned vvvv, unsigned xb)
{
	e1(e, 0xc4);
	e1(e, (reg & 8 ? 0u : 0x80u) | (xb & 2 ? 0u : 0x40u) | (xb & 1 ? 0u : 0x20u) | op->map);
	e1(e, (unsigned)op->w << 7 | (~vvvv & 15) << 3 | ll << 2 | op->pp);
	e1(e, op->opcode);
}

static void vex_rr(struct emit *e, const struct vop *op, unsigned ll, unsigned reg, unsigned vvvv, unsigned rm)
{
	vex(e, op, ll, reg, vvvv, rm >> 3);
	e1(e, 0xc0 | (reg & 7) << 3 | (rm & 7));
}

static void vex_rm(struct emit *e, const struct vop *op, unsigned ll, unsigned reg, unsigned vvvv, struct mem m,
		   unsigned imm)
{
	vex(e, op, ll, reg, vvvv, mem_rexb(m));
	emit_modrm(e, reg, m, imm, false);
}

/* p2: vector length, broadcast and mask. */
static void evex(struct emit *e, const struct vop *op, unsigned p2, unsigned reg, unsigned vvvv, unsigned xb)
{
	e1(e, 0x62);
	e1(e, (reg & 8 ? 0u : 0x80u) | (xb & 2 ? 0u : 0x40u) | (xb & 1 ? 0u : 0x20u) | (reg & 16 ? 0u : 0x10u) | op->map);
	e1(e, (unsigned)op->w << 7 | (~vvvv & 15) << 3 | 4 | op->pp);
	e1(e, p2 | (vvvv & 16 ? 0u : 8u));
	e1(e, op->opcode);
}

static void evex_rr(struct emit *e, const struct vop *op, unsigned ll, unsigned reg, unsigned vvvv, unsigned rm)
{
	evex(e, op, ll << 5, reg, vvvv, rm >> 3);
	e1(e, 0xc0 | (reg & 7) << 3 | (rm & 7));
}

static void evex_rm(struct emit *e, const struct vop *op, unsigned p2, unsigned reg, unsigned vvvv, struct mem m,
		    unsigned imm)
{
	evex(e, op, p2, reg, vvvv, mem_rexb(m));
	emit_modrm(e, reg, m, imm, true);
}

/* 0 for up to 16 bytes, 1 for 32, 2 for 64 */
static unsigned length_of(unsigned bytes)
{
	return bytes > 32 ? 2 : bytes > 16 ? 1 : 0;
}

/* Bytes of a vector register from or to memory; a load clears the rest of the register. */
static void move_vector(struct emit *e, bool is_evex, bool store, unsigned reg, unsigned bytes, const void *at)
{
	const struct vop *op = store ? &vmovdqu_store : bytes == 8 ? &vmovq_load : &vmovdqu_load;

	if (is_evex)
		evex_rm(e, op, length_of(bytes) << 5, reg, 0, mem_at(at), 0);
	else
		vex_rm(e, op, length_of(bytes), reg, 0, mem_at(at), 0);
}

/* A register with all that the host has of it. */
static void whole_vector(struct tr *t, bool store, unsigned reg, const void *at)
{
	bool wide = (t->cpu->xcr0 & XCR0_ZMM) == XCR0_ZMM;

	move_vector(&t->e, wide, store, reg, wide ? 64 : 32, at);
}

/* ---- the check against the window ---- */

static void not_in_window(struct gather_stub *s, u8 *rel32)
{
	s->slow[s->nslow++] = rel32;
}

/* S1: the window's lowest index, made to be subtracted so that a signed comparison with its limit tells. */
static void emit_lowest_index(struct emit *e, struct gather_stub *s, unsigned scale)
{
	ld(e, S1, mem_at(&s->window->low));
	op_rr(e, true, 0x2b, S1, S0);
	if (scale > 1)
		op_rr(e, true, 0xc1, 7, S1), e1(e, sib_scale(scale)); /* sar */
	if (s->f.index_size == 8) {
		op_rr(e, true, 0x0fba, 7, S1), e1(e, 63); /* btc */
		return;
	}
	op_ri(e, true, 7, S1, 0x7fffffff);
	not_in_window(s, jcc_fwd(e, CC_A));
	op_ri(e, false, 0, S1, 0x40000000);
}

/* A register that may be spilled: all forms can name it. */
static unsigned other_vector(const struct gather_form *f)
{
	unsigned r = 15;

	while (r == f->reg || r == f->index || (!f->evex && r == f->mask))
		r--;
	return r;
}

/* Lanes beyond the window have their sign bits in v set; those count that have them in the mask, too. */
static void check_vex(struct emit *e, struct gather_stub *s, unsigned v, unsigned ll)
{
	const struct gather_form *f = &s->f;
	const struct index_ops *ops = &index_ops[f->index_size == 8];

	vex_rr(e, &ops->mov, 0, v, 0, S1);
	vex_rr(e, &ops->broadcast, ll, v, 0, v);
	vex_rr(e, &ops->sub, ll, v, f->index, v);
	vex_rm(e, &ops->cmpgt, ll, v, v, mem_at(s->window->limit), 0);
	st(e, mem_at(&s->cpu->tmp0), S0);
	vex_rr(e, &ops->movmsk, ll, S1, 0, v);
	vex_rr(e, &index_ops[f->lane == 8].movmsk, length_of(f->lanes * f->lane), S0, 0, f->mask);
	op_rr(e, false, 0x85, S0, S1);
	ld(e, S0, mem_at(&s->cpu->tmp0));
}

static void check_evex(struct emit *e, struct gather_stub *s, unsigned v, unsigned ll)
{
	const struct gather_form *f = &s->f;
	const struct index_ops *ops = &index_ops[f->index_size == 8];

	evex_rr(e, &ops->broadcast_gpr, ll, v, 0, S1);
	vex_rr(e, &kmovq_to_gpr, 0, S1, 0, f->mask);
	evex_rr(e, &ops->sub, ll, v, f->index, v);
	evex_rm(e, &ops->cmp_to_k, ll << 5 | 0x10 | f->mask, f->mask, v, mem_at(s->window->limit), 1);
	e1(e, 6); /* greater than */
	vex_rr(e, &kortestw, 0, f->mask, 0, f->mask);
	vex_rr(e, &kmovq_to_k, 0, f->mask, 0, S1);
}

static void check_window(struct tr *t, struct gather_stub *s)
{
	struct emit *e = &t->e;
	unsigned ll = length_of(s->f.lanes * s->f.index_size), v = other_vector(&s->f);

	op_rm_imm(e, false, 0x83, 7, mem_at(&s->window->scattered), 1); /* cmp */
	e1(e, 0);
	not_in_window(s, jcc_fwd(e, CC_NE));
	emit_lowest_index(e, s, s->in->scale);
	whole_vector(t, true, v, t->cpu->gather_spill);
	if (s->f.evex)
		check_evex(e, s, v, ll);
	else
		check_vex(e, s, v, ll);
	whole_vector(t, false, v, t->cpu->gather_spill);
	not_in_window(s, jcc_fwd(e, CC_NE));
}

/* ---- lane by lane ---- */

static void emit_active(struct emit *e, const struct gather_form *f)
{
	if (f->evex)
		vex_rr(e, &kmovw_to_gpr, 0, RAX, 0, f->mask);
	else
		vex_rr(e, &index_ops[f->lane == 8].movmsk, length_of(f->lanes * f->lane), RAX, 0, f->mask);
	op_ri(e, false, 4, RAX, (1 << f->lanes) - 1);
}

static void spill_gprs(struct emit *e, struct cpu *cpu, unsigned mov)
{
	op_rm(e, true, mov, RAX, mem_at(&cpu->tmp1));
	op_rm(e, true, mov, RCX, mem_at(&cpu->tmp2));
	op_rm(e, true, mov, RDX, mem_at(&cpu->tmp3));
}

/*
 * No lane's address is such a one that an empty L0 entry matches: with 32-bit
 * indexes the base tells, else each lane has to be looked at.
 */
static void emit_base_check(struct emit *e, const u8 *miss)
{
	mov_rr(e, S1, S0);
	op_rr(e, true, 0xc1, 7, S1), e1(e, 47); /* sar */
	op_ri(e, false, 0, S1, 1);
	op_ri(e, false, 7, S1, 1);
	fix_to(jcc_fwd(e, CC_A), miss);
}

/* RDX: the host address of the lane whose index is there. S0: base. Clobbers S1. */
static void emit_lane_address(struct tr *t, const struct gather_stub *s, struct mem index, const u8 *miss)
{
	struct emit *e = &t->e;
	const struct gather_form *f = &s->f;
	unsigned mode = t->mode & MODE_USER ? TLB_USER : t->mode & MODE_AC ? TLB_KERNEL_AC : TLB_KERNEL;
	i64 table = (i64)(u64)t->cpu->l0[mode][f->scatter];

	op_rm(e, true, f->index_size == 8 ? 0x8b : 0x63, RDX, index);
	lea(e, RDX, (struct mem){ S0, RDX, s->in->scale, 0 });
	op_rr(e, false, 0x8b, S1, RDX);
	op_rr(e, false, 0xc1, 5, S1), e1(e, PAGE_SHIFT - 5); /* shr */
	op_ri(e, false, 4, S1, (L0_SIZE - 1) << 5);
	op_rm(e, true, 0x2b, RDX, mem_base(S1, table + (i64)offsetof(struct l0_entry, tag)));
	op_ri(e, true, 7, RDX, (i32)(PAGE_SIZE - f->lane));
	fix_to(jcc_fwd(e, CC_A), miss);
	op_rm(e, true, 0x03, RDX, mem_base(S1, table + (i64)offsetof(struct l0_entry, host)));
	if (f->index_size == 8) {
		op_rr(e, true, 0x0fba, 4, RDX), e1(e, 62); /* bt: SITE_NO_HOST */
		fix_to(jcc_fwd(e, CC_B), miss);
	}
}

static void store_lane(struct emit *e, const struct gather_form *f, struct mem data)
{
	op_rm(e, f->lane == 8, 0x8b, S1, data);
	op_rm(e, f->lane == 8, 0x89, S1, mem_base(RDX, 0));
}

/* The lanes whose bits are in RAX, in their order. A gather's go to memory, and from there to the register. */
static void emit_some_lanes(struct tr *t, const struct gather_stub *s, const u8 *miss)
{
	struct emit *e = &t->e;
	const struct gather_form *f = &s->f;
	struct mem data = { MEM_ABS, RCX, f->lane, (i64)(u64)t->cpu->gather_data };
	u8 *none, *again;

	op_rr(e, false, 0x85, RAX, RAX);
	none = jcc_fwd(e, CC_E);
	again = e->p;
	op_rr(e, false, 0x0fbc, RCX, RAX); /* bsf */
	emit_lane_address(t, s, (struct mem){ MEM_ABS, RCX, f->index_size, (i64)(u64)t->cpu->gather_index }, miss);
	if (f->scatter) {
		store_lane(e, f, data);
	} else {
		op_rm(e, f->lane == 8, 0x8b, S1, mem_base(RDX, 0));
		op_rm(e, f->lane == 8, 0x89, S1, data);
	}
	lea(e, RCX, mem_base(RAX, -1));
	op_rr(e, false, 0x23, RAX, RCX);
	fix_to(jcc_fwd(e, CC_NE), again);
	fix_to(none, e->p);
	if (!f->scatter)
		move_vector(e, f->evex, false, f->reg, f->lanes * f->lane, t->cpu->gather_data);
}

/* 16 bytes of the result, from v to their place; the first ones clear what is above. */
static void emit_quarter(struct emit *e, const struct gather_form *f, unsigned v, unsigned quarter)
{
	unsigned ll = length_of(f->lanes * f->lane);

	if (!quarter && f->evex)
		evex_rr(e, &vmovdqa, 2, f->reg, 0, v);
	else if (!quarter)
		vex_rr(e, &vmovdqa, 1, f->reg, 0, v);
	else if (f->evex)
		evex_rr(e, &vinserti128, ll, f->reg, f->reg, v), e1(e, quarter);
	else
		vex_rr(e, &vinserti128, ll, f->reg, f->reg, v), e1(e, quarter);
}

static void emit_every_lane(struct tr *t, const struct gather_stub *s, unsigned v, const u8 *miss)
{
	struct emit *e = &t->e;
	const struct gather_form *f = &s->f;
	unsigned in_quarter = 16 / f->lane;

	for (unsigned i = 0; i < f->lanes; i++) {
		emit_lane_address(t, s, mem_at(t->cpu->gather_index + i * f->index_size), miss);
		if (f->scatter) {
			store_lane(e, f, mem_at(t->cpu->gather_data + i * f->lane));
			continue;
		}
		if (i % in_quarter)
			vex_rm(e, f->lane == 8 ? &vpinsrq : &vpinsrd, 0, v, v, mem_base(RDX, 0), 1), e1(e, i % in_quarter);
		else
			vex_rm(e, &index_ops[f->lane == 8].mov, 0, v, 0, mem_base(RDX, 0), 0);
		if (i % in_quarter == in_quarter - 1 || i == f->lanes - 1u)
			emit_quarter(e, f, v, i / in_quarter);
	}
	if (!f->scatter)
		whole_vector(t, false, v, t->cpu->gather_spill);
}

static void emit_done(struct emit *e, const struct gather_stub *s)
{
	const struct gather_form *f = &s->f;

	if (f->evex)
		vex_rr(e, &kxorw, 1, f->mask, f->mask, f->mask);
	else
		vex_rr(e, &vpxor, 0, f->mask, f->mask, f->mask);
	spill_gprs(e, s->cpu, 0x8b);
	jmp_to(e, (u64)s->after);
}

/* Has C do it. Returns where to go with the general registers spilled; *renew: with all as they are. */
static u8 *emit_miss(struct tr *t, const struct gather_stub *s, u8 **renew)
{
	struct emit *e = &t->e;
	struct cpu *cpu = t->cpu;
	u8 *miss = e->p;

	spill_gprs(e, cpu, 0x8b);
	*renew = e->p;
	t->flags = s->flags;
	emit_helper(t, s->in, gather_insn);
	cpu->sysinsns[cpu->nsysinsns - 1].imm = s->window ? s->window - cpu->windows : -1;
	cpu->sysinsns[cpu->nsysinsns - 1].imm2 = true;
	jmp_to(e, (u64)s->after);
	return miss;
}

/* As emit_miss, but the data register and v are to be restored. */
static u8 *emit_miss_of_all(struct tr *t, const struct gather_stub *s, unsigned v, const u8 *miss)
{
	u8 *start = t->e.p;

	if (s->f.scatter)
		return (u8 *)(u64)miss;
	whole_vector(t, false, v, t->cpu->gather_spill);
	whole_vector(t, false, s->f.reg, t->cpu->gather_data);
	jmp_to(&t->e, (u64)miss);
	return start;
}

static void emit_gather_stub(struct tr *t, const struct gather_stub *s)
{
	struct emit *e = &t->e;
	struct cpu *cpu = t->cpu;
	unsigned v = other_vector(&s->f);
	u8 *renew, *miss = emit_miss(t, s, &renew), *miss_of_all = emit_miss_of_all(t, s, v, miss), *some;

	for (unsigned i = 0; i < s->nslow; i++)
		fix_to(s->slow[i], e->p);
	if (s->window) {
		op_rm(e, false, 0xff, 1, mem_at(&s->window->patience)); /* dec */
		fix_to(jcc_fwd(e, CC_S), renew);
	}
	spill_gprs(e, cpu, 0x89);
	move_vector(e, s->f.evex, true, s->f.index, s->f.lanes * s->f.index_size, cpu->gather_index);
	whole_vector(t, true, s->f.reg, cpu->gather_data);
	if (s->f.index_size == 4)
		emit_base_check(e, miss);
	emit_active(e, &s->f);
	op_ri(e, false, 7, RAX, (1 << s->f.lanes) - 1);
	some = jcc_fwd(e, CC_NE);
	if (!s->f.scatter)
		whole_vector(t, true, v, cpu->gather_spill);
	emit_every_lane(t, s, v, miss_of_all);
	emit_done(e, s);
	fix_to(some, e->p);
	emit_some_lanes(t, s, miss);
	emit_done(e, s);
}

void gather_stubs(struct tr *t)
{
	for (unsigned i = 0; i < t->ngathers; i++)
		emit_gather_stub(t, &t->gathers[i]);
}

/* ---- the instruction ---- */

static struct window *new_window(struct cpu *cpu)
{
	struct window *w = &cpu->windows[cpu->nwindows++];

	*w = (struct window){ .live = false };
	for (unsigned i = 0; i < ARRAY_SIZE(w->limit); i++)
		w->limit[i] = 0x8000000080000000; /* the lowest one, of either size */
	window_clear(w);
	return w;
}

static void emit_by_helper(struct tr *t, const struct insn *in)
{
	emit_helper(t, in, gather_insn);
	t->cpu->sysinsns[t->cpu->nsysinsns - 1].imm = -1;
	t->cpu->sysinsns[t->cpu->nsysinsns - 1].imm2 = false;
}

void emit_gather(struct tr *t, const struct insn *in)
{
	struct emit *e = &t->e;
	struct gather_stub *s = &t->gathers[t->ngathers];
	struct gmem g = insn_gmem(t, in);
	struct mem m = { S0, 0, in->scale, 0 };

	*s = (struct gather_stub){ .in = in, .cpu = t->cpu };
	if (!gather_decode(&s->f, in->bytes) || g.a32 || t->mode & MODE_CHECK) {
		emit_by_helper(t, in);
		return;
	}
	t->ngathers++;
	flags_put_away(t, flags_live_before(in));
	s->flags = t->flags;
	emit_ea(t, &g);
	if (s->f.scatter) {
		not_in_window(s, jmp_fwd(e));
		s->after = e->p;
		return;
	}
	s->window = new_window(t->cpu);
	check_window(t, s);
	op_rm(e, true, 0x03, S0, mem_at(&s->window->addend));
	st32_imm(e, mem_at(&s->window->hit), 1);
	m.index = s->f.index & 15; /* its high bit stays as it is encoded */
	pcmap_add(t, in);
	emit_with(t, in, &m);
	s->after = e->p;
}
