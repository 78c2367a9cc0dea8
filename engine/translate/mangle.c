/* SPDX-License-Identifier: MIT */
/*
 * Mangling: a guest instruction becomes the same instruction on the host's
 * registers, with its memory operand replaced by a checked host address.
 */
#include "engine/translate/tr.h"

int host_reg(int guest)
{
	if (guest == RSP)
		return HOST_GSP;
	return HOMED_MASK >> guest & 1 ? -1 : guest;
}

void home_load(struct tr *t, unsigned host, unsigned guest)
{
	ld(&t->e, host, mem_at(&t->cpu->x.s.gpr[guest]));
}

void home_store(struct tr *t, unsigned guest, unsigned host)
{
	st(&t->e, mem_at(&t->cpu->x.s.gpr[guest]), host);
}

unsigned reg_value(struct tr *t, unsigned guest, unsigned scratch)
{
	int h = host_reg((int)guest);

	if (h >= 0)
		return (unsigned)h;
	home_load(t, scratch, guest);
	return scratch;
}

/* ---- re-encoding ---- */

/* Host registers for the fields of an instruction; -1 keeps what is encoded. */
struct fields {
	int reg, rm, vvvv, op;
};

static void emit_tail(struct emit *e, const struct insn *in, const struct fields *f, const struct mem *m)
{
	unsigned reg = f->reg >= 0 ? (unsigned)f->reg : in->modrm_reg;
	u8 modrm = in->bytes[in->modrm_at];

	if (m)
		emit_modrm(e, reg, *m, in->imm_len, in->enc == ENC_EVEX);
	else
		e1(e, (modrm & 0xc0) | (reg & 7) << 3 | (f->rm >= 0 ? (unsigned)f->rm & 7 : modrm & 7u));
}

static void emit_imm(struct emit *e, const struct insn *in)
{
	for (unsigned i = 0; i < in->imm_len; i++)
		e1(e, in->bytes[in->imm_at + i]);
}

static unsigned legacy_rex(const struct insn *in, const struct fields *f, const struct mem *m)
{
	unsigned rex = in->rex & 0x48;

	if (f->reg >= 0)
		rex |= f->reg >= 8 ? 4 : 0;
	else
		rex |= in->rex & 4;
	if (m)
		rex |= mem_rexb(*m);
	else if (f->rm >= 0 || f->op >= 0)
		rex |= (f->rm >= 8 || f->op >= 8) ? 1 : 0;
	else
		rex |= in->rex & 1;
	return rex || in->rex ? rex | 0x40 : 0; /* SPL and its like need an empty one */
}

static void emit_legacy_prefixes(struct emit *e, const struct insn *in, unsigned rex)
{
	if (in->lock)
		e1(e, in->lock);
	if (in->prefix66)
		e1(e, in->prefix66);
	if (in->rep)
		e1(e, in->rep);
	if (rex)
		e1(e, rex);
}

/* MOV with an absolute address has no ModRM; give it one. */
static void encode_moffs(struct emit *e, const struct insn *in, const struct mem *m)
{
	static const u8 opcode[4] = { 0x8a, 0x8b, 0x88, 0x89 };
	unsigned rex = (in->rex & 8) | mem_rexb(*m);

	emit_legacy_prefixes(e, in, rex ? rex | 0x40 : 0);
	e1(e, opcode[in->bytes[in->opcode_at] & 3]);
	emit_modrm(e, RAX, *m, 0, false);
}

/* One-byte INC and DEC are REX prefixes in 64-bit mode. */
static bool encode_short_incdec(struct emit *e, const struct insn *in, const struct fields *f, bool code32)
{
	u8 op = in->bytes[in->opcode_at];

	if (!code32 || in->modrm_at || op < 0x40 || op > 0x4f)
		return false;
	emit_legacy_prefixes(e, in, f->op >= 8 ? 0x41 : 0);
	e1(e, 0xff);
	e1(e, 0xc0 | (op & 8) | ((unsigned)f->op & 7));
	return true;
}

static void encode_legacy(struct tr *t, const struct insn *in, const struct fields *f, const struct mem *m)
{
	struct emit *e = &t->e;
	unsigned end = in->modrm_at ? in->modrm_at : in->imm_len ? in->imm_at : in->len;

	if (in->mem && !in->modrm_at) {
		encode_moffs(e, in, m);
		return;
	}
	if (encode_short_incdec(e, in, f, t->code32))
		return;
	emit_legacy_prefixes(e, in, legacy_rex(in, f, m));
	for (unsigned i = in->opcode_at; i < end; i++)
		e1(e, in->bytes[i]);
	if (t->code32 && e->p[-1] == 0x82 && end == in->opcode_at + 1u)
		e->p[-1] = 0x80; /* an alias that 64-bit mode lacks */
	if (f->op >= 0)
		e->p[-1] = (u8)((e->p[-1] & ~7) | (f->op & 7));
	if (in->modrm_at)
		emit_tail(e, in, f, m);
	emit_imm(e, in);
}

static void encode_vex(struct tr *t, const struct insn *in, const struct fields *f, const struct mem *m)
{
	struct emit *e = &t->e;
	const u8 *b = in->bytes + in->prefix_at;
	bool two = b[0] == 0xc5;
	unsigned p0 = two ? (b[1] & 0x80) | 0x61 : b[1], p1 = two ? b[1] & 0x7f : b[2];

	if (f->reg >= 0)
		p0 = (p0 & ~0x80u) | (f->reg >= 8 ? 0 : 0x80);
	if (m) {
		unsigned xb = mem_rexb(*m);

		p0 = (p0 & ~0x60u) | (xb & 2 ? 0 : 0x40) | (xb & 1 ? 0 : 0x20);
	} else if (f->rm >= 0) {
		p0 = (p0 & ~0x60u) | 0x40 | (f->rm >= 8 ? 0 : 0x20);
	}
	if (f->vvvv >= 0)
		p1 = (p1 & ~0x78u) | (~(unsigned)f->vvvv & 15) << 3;
	e1(e, 0xc4);
	e1(e, p0);
	e1(e, p1);
	e1(e, in->bytes[in->opcode_at]);
	if (in->modrm_at)
		emit_tail(e, in, f, m);
	emit_imm(e, in);
}

static void encode_evex(struct tr *t, const struct insn *in, const struct fields *f, const struct mem *m)
{
	struct emit *e = &t->e;
	const u8 *b = in->bytes + in->prefix_at;
	unsigned p0 = b[1];

	if (f->reg >= 0)
		p0 = (p0 & ~0x90u) | 0x10 | (f->reg >= 8 ? 0 : 0x80);
	if (m) {
		unsigned xb = mem_rexb(*m);

		p0 = (p0 & ~0x60u) | (xb & 2 ? 0 : 0x40) | (xb & 1 ? 0 : 0x20);
	} else if (f->rm >= 0) {
		p0 = (p0 & ~0x60u) | 0x40 | (f->rm >= 8 ? 0 : 0x20);
	}
	e1(e, 0x62);
	e1(e, p0);
	e1(e, b[2]);
	e1(e, b[3]);
	e1(e, in->bytes[in->opcode_at]);
	emit_tail(e, in, f, m);
	emit_imm(e, in);
}

static void encode(struct tr *t, const struct insn *in, const struct fields *f, const struct mem *m)
{
	switch (in->enc) {
	case ENC_VEX: encode_vex(t, in, f, m); break;
	case ENC_EVEX: encode_evex(t, in, f, m); break;
	default: encode_legacy(t, in, f, m); break;
	}
}

/* ---- registers that live in memory ---- */

/* A register of the instruction that must be brought into another one. */
struct loan {
	u8 guest, host;
	bool victim; /* host is some other guest register, saved in tmp */
};

struct loans {
	struct loan v[4];
	unsigned n;
	u32 taken; /* host registers that must not be lent */
	u32 scratch; /* free scratch registers */
};

static u64 *spill_slot(struct cpu *cpu, unsigned n)
{
	return n == 0 ? &cpu->tmp1 : n == 1 ? &cpu->tmp2 : &cpu->tmp3;
}

static unsigned pick_victim(u32 taken, bool legacy)
{
	static const u8 order[] = { RSI, RDI, RBX, RBP, RCX, RDX, R8, R9, R12, R13, R14 };

	for (unsigned i = 0; i < (legacy ? 5 : ARRAY_SIZE(order)); i++)
		if (!(taken >> order[i] & 1))
			return order[i];
	__builtin_trap();
}

/* The host register that stands for a guest register in this instruction. */
static int lend(struct tr *t, const struct insn *in, struct loans *l, int guest)
{
	int h;
	struct loan *loan;

	if (guest < 0)
		return -1;
	h = host_reg(guest);
	if (h >= 0 && !(in->hi8 && h >= 8))
		return h;
	for (unsigned i = 0; i < l->n; i++)
		if (l->v[i].guest == guest)
			return l->v[i].host;
	loan = &l->v[l->n];
	loan->guest = (u8)guest;
	if (l->scratch && !in->hi8) {
		loan->host = (u8)__builtin_ctz(l->scratch);
		if (loan->host == S0)
			t->s0_group = -1;
		else
			t->s1_group = -1;
		l->scratch &= l->scratch - 1;
		loan->victim = false;
	} else {
		loan->host = (u8)pick_victim(l->taken, in->hi8);
		loan->victim = true;
		st(&t->e, mem_at(spill_slot(t->cpu, l->n)), loan->host);
	}
	l->taken |= 1u << loan->host;
	l->n++;
	if (in->gpr_read >> guest & 1 || in->opsize < 4) {
		if (h >= 0)
			mov_rr(&t->e, loan->host, (unsigned)h);
		else
			home_load(t, loan->host, (unsigned)guest);
	}
	return loan->host;
}

static void give_back(struct tr *t, const struct insn *in, const struct loans *l)
{
	for (unsigned i = l->n; i-- > 0;) {
		const struct loan *loan = &l->v[i];
		int h = host_reg(loan->guest);

		if (in->gpr_write >> loan->guest & 1) {
			if (h >= 0)
				mov_rr(&t->e, (unsigned)h, loan->host);
			else
				home_store(t, loan->guest, loan->host);
		}
		if (loan->victim)
			ld(&t->e, loan->host, mem_at(spill_slot(t->cpu, i)));
	}
}

static u32 host_set(u32 guests)
{
	u32 set = 0;

	for (int g = 0; g < 16; g++)
		if (guests >> g & 1 && host_reg(g) >= 0)
			set |= 1u << host_reg(g);
	return set;
}

/*
 * Instructions whose ModRM register operand may as well be memory: then a
 * register that lives there is used where it is. Writes of less than 64 bits
 * are out, since memory does not zero-extend, and so are BT and its kin.
 */
static bool works_at_home(const struct insn *in)
{
	u8 op = in->bytes[in->opcode_at];
	bool written = in->gpr_rm >= 0 && in->gpr_write >> in->gpr_rm & 1;

	if (in->enc != ENC_LEGACY || in->gpr_rm < 0 || host_reg(in->gpr_rm) >= 0 || in->hi8 ||
	    (in->bytes[in->modrm_at] & 0xc0) != 0xc0)
		return false;
	if (written && (in->opsize != 8 || in->gpr_reg == in->gpr_rm))
		return false;
	if (op == 0x0f) {
		op = in->bytes[in->opcode_at + 1];
		return (op & 0xf0) == 0x40 || op == 0xaf || (op & 0xf6) == 0xb6;
	}
	if (op < 0x40)
		return (op & 7) < 4;
	switch (op) {
	case 0x63: case 0x80: case 0x81: case 0x83: case 0x84: case 0x85: case 0x88: case 0x89: case 0x8a: case 0x8b:
	case 0xc1: case 0xc7: case 0xd1: case 0xd3: case 0xf6: case 0xf7: return true;
	default: return false;
	}
}

/* The operation itself, with its operand at m (NULL: none). */
static void emit_op(struct tr *t, const struct insn *in, const struct mem *mem, enum mem_form form)
{
	struct loans l = { .n = 0 };
	struct fields f;
	struct mem m = { 0 };
	bool homed = false;
	const i8 fields[4] = { in->gpr_reg, in->gpr_rm, in->gpr_vvvv, in->gpr_op };

	for (int i = 0; i < 4; i++)
		homed |= fields[i] >= 0 && (host_reg(fields[i]) < 0 || (in->hi8 && fields[i] == RSP));
	l.taken = host_set((u32)(in->gpr_read | in->gpr_write)) | 1u << HOST_GSP | 1u << RSP;
	l.scratch = mem ? 1u << S0 : 1u << S0 | 1u << S1;
	if (mem) {
		m = *mem;
		if (form == FORM_SUM && homed) {
			lea(&t->e, S0, m);
			m = mem_base(S0, 0);
			l.scratch = 1u << S1;
		} else if (form == FORM_SUM) {
			l.scratch = 0;
		} else if (form == FORM_POINTER) {
			l.scratch = 1u << S1;
		}
		if (in->hi8) { /* no REX: the address must be in a legacy register */
			unsigned v = pick_victim(l.taken, true);

			st(&t->e, mem_at(&t->cpu->tmp0), v);
			lea(&t->e, v, m);
			m = mem_base((int)v, 0);
			l.taken |= 1u << v;
			f = (struct fields){ lend(t, in, &l, in->gpr_reg), -1, -1, -1 };
			encode(t, in, &f, &m);
			give_back(t, in, &l);
			ld(&t->e, v, mem_at(&t->cpu->tmp0));
			return;
		}
	}
	if (!mem && works_at_home(in)) {
		m = mem_at(&t->cpu->x.s.gpr[in->gpr_rm]);
		f = (struct fields){ lend(t, in, &l, in->gpr_reg), -1, -1, -1 };
		encode(t, in, &f, &m);
		give_back(t, in, &l);
		return;
	}
	f.reg = lend(t, in, &l, in->gpr_reg);
	f.rm = lend(t, in, &l, in->gpr_rm);
	f.vvvv = lend(t, in, &l, in->gpr_vvvv);
	f.op = lend(t, in, &l, in->gpr_op);
	encode(t, in, &f, mem ? &m : NULL);
	give_back(t, in, &l);
}

void emit_with(struct tr *t, const struct insn *in, const struct mem *m)
{
	const struct fields f = { -1, -1, -1, -1 };

	encode(t, in, &f, m);
}

static void op_normal(struct tr *t, const struct insn *in, struct mem m, enum mem_form form)
{
	emit_op(t, in, &m, form);
}

static void flags_after(struct tr *t, const struct insn *in)
{
	if (in->fl_write || in->fl_partial)
		t->flags = FLAGS_HOST;
}

void emit_normal(struct tr *t, const struct insn *in)
{
	struct gmem g;
	enum mem_form form;
	struct mem m;
	unsigned flags = (in->mem_write ? SITE_WRITE : 0u) | (in->mem_read ? SITE_READ : 0u) |
			 (in->masked ? SITE_MASKED : 0u);

	if (!in->mem) {
		flags_for(t, in, true);
		pcmap_add(t, in);
		emit_op(t, in, NULL, FORM_BASE);
		flags_after(t, in);
		return;
	}
	g = insn_gmem(t, in);
	if (in->mem_write) {
		if (in->x87)
			flags |= SITE_READ; /* an unmasked exception leaves the operand as it is */
		access_store(t, in, &g, in->mem_size, flags, op_normal);
		return;
	}
	m = access_check(t, in, &g, in->mem_size, flags, &form);
	flags_for(t, in, form == FORM_BASE || form == FORM_PAGE);
	pcmap_add(t, in);
	emit_op(t, in, &m, form);
	flags_after(t, in);
}

/* LEA computes, so its operand is an address of the guest's, not a host one. */
void emit_lea(struct tr *t, const struct insn *in)
{
	struct fields f = { -1, -1, -1, -1 };
	struct mem m;
	int d = host_reg(in->gpr_reg);
	struct insn copy;

	f.reg = d >= 0 ? d : S0;
	if (in->base < 0 && in->index < 0) {
		u64 v = in->opsize == 8 ? (u64)in->disp : (u32)in->disp;

		if (in->addrsize == 4)
			v = (u32)v;
		if (in->opsize == 8 && in->rip_rel && in->addrsize == 8) {
			emit_va(t, (unsigned)f.reg, v);
		} else if (in->rip_rel) { /* 32-bit code has none; cut the full address */
			emit_va(t, S1, (u64)in->disp);
			if (d < 0 && in->opsize == 2)
				home_load(t, S0, (unsigned)in->gpr_reg);
			if (in->opsize == 2)
				e1(&t->e, 0x66);
			op_rr(&t->e, false, 0x8b, (unsigned)f.reg, S1);
		} else if (in->opsize > 2) {
			mov_imm(&t->e, (unsigned)f.reg, v);
		} else {
			if (d < 0)
				home_load(t, S0, (unsigned)in->gpr_reg);
			mov_imm(&t->e, S1, (u16)v);
			e1(&t->e, 0x66);
			op_rr(&t->e, false, 0x8b, (unsigned)f.reg, S1);
		}
		if (d < 0)
			home_store(t, (unsigned)in->gpr_reg, S0);
		return;
	}
	m = (struct mem){ MEM_ABS, -1, in->scale, in->disp };
	if (in->base >= 0)
		m.base = (i8)reg_value(t, (unsigned)in->base, S0);
	if (in->index >= 0)
		m.index = (i8)reg_value(t, (unsigned)in->index, S1);
	if (in->addrsize == 2 || (in->addrsize == 4 && in->opsize == 8)) {
		/* The address is cut before it is stored. */
		op_rm(&t->e, false, 0x8d, S0, m);
		if (in->addrsize == 2)
			op_rr(&t->e, false, 0x0fb7, S0, S0);
		m = mem_base(S0, 0);
	}
	if (d < 0 && in->opsize < 4) { /* merges into the old value */
		op_rm(&t->e, false, 0x8d, S1, m);
		home_load(t, S0, (unsigned)in->gpr_reg);
		e1(&t->e, 0x66);
		op_rr(&t->e, false, 0x8b, S0, S1);
	} else {
		copy = *in;
		copy.imm_len = 0;
		copy.lock = copy.rep = 0;
		encode(t, &copy, &f, &m);
	}
	if (d < 0)
		home_store(t, (unsigned)in->gpr_reg, S0);
}
