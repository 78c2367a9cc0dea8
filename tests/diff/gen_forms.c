/* SPDX-License-Identifier: MIT */
/* Instructions and groups of them that need care: control flow, the stack, strings, states of flags. */
#include <string.h>

#include "tests/diff/gen.h"

/* ---- small pieces ---- */

static void put_rel32(struct gen *g, unsigned end, unsigned target)
{
	i32 rel = (i32)target - (i32)end;

	memcpy(g->test->mem + end - 4, &rel, 4);
}

/* op with ModRM for [disp32] in the low data. */
static void put_abs(struct gen *g, const u8 *prefix, unsigned n, unsigned reg, u32 address)
{
	u8 b[16];

	memcpy(b, prefix, n);
	b[n] = (u8)(0x04 | (reg & 7) << 3);
	b[n + 1] = 0x25;
	memcpy(b + n + 2, &address, 4);
	put(g, b, n + 6);
}

static u32 low_rw(struct gen *g, unsigned size)
{
	return (u32)LOW_AT + (chance(g, 15) ? 4096 - pick(g, size + 1) : pick(g, 8192 - size));
}

static unsigned rex(unsigned w, unsigned reg, unsigned rm)
{
	return 0x40 | w << 3 | (reg >> 3 & 1) << 2 | (rm >> 3 & 1);
}

static void put_rr(struct gen *g, unsigned w, unsigned op, unsigned reg, unsigned rm)
{
	put_bytes(g, 3, rex(w, reg, rm), op, 0xc0 | (reg & 7) << 3 | (rm & 7));
}

static unsigned writable_reg(struct gen *g)
{
	return some_reg(g, (u16)(g->reserved | 1u << RSP));
}

static bool set_fixed(struct gen *g, unsigned reg, u64 value)
{
	if (g->reserved >> reg & 1)
		return false;
	put_mov(g, reg, value);
	return true;
}

struct knowledge {
	u64 known[16];
	u16 is_known;
};

static struct knowledge remember(const struct gen *g)
{
	struct knowledge k = { .is_known = g->is_known };

	memcpy(k.known, g->known, sizeof(k.known));
	return k;
}

static void recall(struct gen *g, const struct knowledge *k)
{
	memcpy(g->known, k->known, sizeof(k->known));
	g->is_known = k->is_known;
}

/* Two ways meet here. */
static void meet(struct gen *g, const struct knowledge *k)
{
	for (unsigned i = 0; i < 16; i++)
		if (!(k->is_known >> i & 1) || k->known[i] != g->known[i])
			g->is_known &= (u16)~(1u << i);
}

/* ---- the stack ---- */

static bool stack_ready(struct gen *g)
{
	if (g->is_known >> RSP & 1 && g->known[RSP] >= STACK_AT + 512 && g->known[RSP] < STACK_AT + 8192 - 512)
		return true;
	if (g->reserved >> RSP & 1)
		return false;
	put_mov(g, RSP, STACK_AT + (chance(g, 20) ? 4096 + pick(g, 17) - 8 : 2048 + pick(g, 512) * 8));
	return true;
}

static void stack_moved(struct gen *g, u64 old, i64 by)
{
	g->known[RSP] = old + (u64)by;
	g->is_known |= 1u << RSP;
}

static void put_push(struct gen *g)
{
	u64 sp = g->known[RSP];
	unsigned r = some_reg(g, 0), narrow = chance(g, 12);
	i32 imm = (i32)some_value(g);

	switch (pick(g, 6)) {
	case 0: put_bytes(g, 2, 0x6a, imm & 0xff), narrow = 0; break;
	case 1:
		put_bytes(g, 5, 0x68, imm & 0xff, imm >> 8 & 0xff, imm >> 16 & 0xff, imm >> 24 & 0xff);
		narrow = 0;
		break;
	case 2: put_abs(g, narrow ? (const u8 *)"\x66\xff" : (const u8 *)"\x40\xff", 2, 6, low_rw(g, 8)); break;
	case 3: put_bytes(g, 4, 0xff, 0x74, 0x24, pick(g, 128)), narrow = 0; break; /* push [rsp + disp8] */
	default:
		if (narrow)
			put_bytes(g, 3, 0x66, rex(0, 0, r), 0x50 | (r & 7));
		else
			put_bytes(g, 2, rex(0, 0, r), 0x50 | (r & 7));
		break;
	}
	stack_moved(g, sp, narrow ? -2 : -8);
}

static void put_pop(struct gen *g)
{
	u64 sp = g->known[RSP];
	unsigned r = some_reg(g, g->reserved), narrow = chance(g, 12);

	if (r == RSP && !chance(g, 10))
		r = RBX;
	if (g->reserved >> r & 1)
		r = 99;
	switch (r == 99 ? pick(g, 2) : pick(g, 6)) {
	case 0: put_abs(g, narrow ? (const u8 *)"\x66\x8f" : (const u8 *)"\x40\x8f", 2, 0, low_rw(g, 8)); break;
	case 1: put_bytes(g, 4, 0x8f, 0x44, 0x24, pick(g, 128)), narrow = 0; break; /* pop [rsp + disp8] */
	default:
		if (narrow)
			put_bytes(g, 3, 0x66, rex(0, 0, r), 0x58 | (r & 7));
		else
			put_bytes(g, 2, rex(0, 0, r), 0x58 | (r & 7));
		if (r == RSP)
			return;
		break;
	}
	stack_moved(g, sp, narrow ? 2 : 8);
}

static void form_push_pop(struct gen *g)
{
	if (!stack_ready(g))
		return;
	if (g->reserved >> RSP & 1) {
		u64 sp = g->known[RSP];
		unsigned r = some_reg(g, 0), to = writable_reg(g);

		put_bytes(g, 2, rex(0, 0, r), 0x50 | (r & 7));
		put_bytes(g, 2, rex(0, 0, to), 0x58 | (to & 7));
		stack_moved(g, sp, 0);
		return;
	}
	for (unsigned n = 1 + pick(g, 6); n--;) {
		if (!(g->is_known >> RSP & 1))
			return;
		if (chance(g, 55))
			put_push(g);
		else
			put_pop(g);
	}
}

static void form_pushf(struct gen *g)
{
	u32 flags = (u32)(rnd(g) & (FL_ARITH | FL_DF)) | FL_IF; /* CPL 0 could clear IF */
	u64 sp;

	if (!stack_ready(g))
		return;
	sp = g->known[RSP];
	if (chance(g, 50)) {
		unsigned to = writable_reg(g);

		put_bytes(g, 1, 0x9c);
		put_bytes(g, 2, rex(0, 0, to), 0x58 | (to & 7));
	} else {
		put_bytes(g, 5, 0x68, flags & 0xff, flags >> 8 & 0xff, 0, 0);
		g->group = ++g->next_group;
		g->test->atom[g->test->natoms - 1].group = g->group;
		put_bytes(g, 1, 0x9d);
		g->group = 0;
	}
	stack_moved(g, sp, 0);
}

static void form_frame(struct gen *g)
{
	u64 sp;

	if ((g->reserved >> RSP & 1) || (g->reserved >> RBP & 1) || !stack_ready(g))
		return;
	sp = g->known[RSP];
	if (chance(g, 30)) {
		put_mov(g, RBP, STACK_AT + 1024 + pick(g, 768) * 8);
		put_bytes(g, 1, 0xc9); /* leave */
		return;
	}
	if (chance(g, 30))
		put_mov(g, RBP, STACK_AT + 1024 + pick(g, 768) * 8);
	if (g->is_known >> RBP & 1 && g->known[RBP] - STACK_AT < 8192 && chance(g, 30)) {
		put_bytes(g, 4, 0xc8, pick(g, 200), 0, pick(g, 4)); /* enter with levels */
		return;
	}
	put_bytes(g, 4, 0xc8, pick(g, 200), 0, 0);
	g->known[RBP] = sp - 8;
	g->is_known |= 1u << RBP;
	if (chance(g, 60)) {
		put_bytes(g, 1, 0xc9);
		stack_moved(g, sp, 0);
	}
}

/* ---- control flow ---- */

static void form_jcc(struct gen *g)
{
	struct knowledge k;
	unsigned cc = pick(g, 16), end;
	bool always = chance(g, 15), near = chance(g, 60);
	int rel;

	if (always && near)
		put_bytes(g, 5, 0xe9, 0, 0, 0, 0);
	else if (near)
		put_bytes(g, 6, 0x0f, 0x80 | cc, 0, 0, 0, 0);
	else
		put_bytes(g, 2, always ? 0xeb : 0x70 | cc, 0);
	end = g->at;
	k = remember(g);
	some_block(g, near ? 1 + pick(g, 4) : 1);
	if (near) {
		put_rel32(g, end, g->at);
	} else {
		rel = (int)(g->at - end);
		g->test->mem[end - 1] = rel < 128 ? (u8)rel : 0;
	}
	if (always)
		recall(g, &k);
	else
		meet(g, &k);
}

/* JRCXZ and JECXZ over something. */
static void form_jrcxz(struct gen *g)
{
	struct knowledge k;
	unsigned end;

	if (chance(g, 60) && !set_fixed(g, RCX, chance(g, 50) ? 0 : chance(g, 50) ? 1ull << 32 : 5))
		return;
	if (chance(g, 30))
		put_bytes(g, 3, 0x67, 0xe3, 0);
	else
		put_bytes(g, 2, 0xe3, 0);
	end = g->at;
	k = remember(g);
	some_block(g, 1);
	if (g->at - end < 128)
		g->test->mem[end - 1] = (u8)(g->at - end);
	meet(g, &k);
}

static void form_loop(struct gen *g)
{
	unsigned r = chance(g, 30) ? RCX : writable_reg(g), start;
	u16 group = ++g->next_group;
	u16 reserved = g->reserved;

	if (reserved >> r & 1)
		return;
	g->group = group;
	put_mov(g, r, 1 + pick(g, 5));
	g->group = 0;
	g->is_known = 0;
	g->reserved |= (u16)(1u << r);
	start = g->at;
	some_block(g, 1 + pick(g, 5));
	g->reserved = reserved;
	g->group = group;
	if (r == RCX && g->at - start < 120) {
		put_bytes(g, 2, 0xe2, start - (g->at + 2));
	} else {
		put_bytes(g, 3, rex(1, 0, r), 0xff, 0xc8 | (r & 7));
		put_bytes(g, 6, 0x0f, 0x85, 0, 0, 0, 0);
		put_rel32(g, g->at, start);
	}
	g->group = 0;
	g->is_known &= (u16)~(1u << r);
}

/* lea r, [rip + 0]; returns the end of it, where the displacement is to be patched. */
static unsigned put_lea_rip(struct gen *g, unsigned r)
{
	put_bytes(g, 7, rex(1, r, 0), 0x8d, 0x05 | (r & 7) << 3, 0, 0, 0, 0);
	return g->at;
}

/* A jump or call by a register, by memory; with `call` false also by a return. */
static unsigned put_indirect(struct gen *g, bool call)
{
	unsigned r = writable_reg(g), lea = put_lea_rip(g, r), op = call ? 0xd0 : 0xe0;
	u32 slot;

	switch (pick(g, 3)) {
	case 0:
		slot = low_rw(g, 8);
		put_abs(g, (u8[]){ (u8)rex(1, r, 0), 0x89 }, 2, r, slot);
		put_abs(g, (const u8 *)"\xff", 1, call ? 2 : 4, slot);
		break;
	case 1:
		if (!call && !(g->reserved >> RSP & 1) && stack_ready(g)) {
			u64 sp = g->known[RSP];

			put_bytes(g, 2, rex(0, 0, r), 0x50 | (r & 7));
			put_bytes(g, 1, 0xc3);
			stack_moved(g, sp, 0);
			break;
		}
		/* fall through */
	default: put_bytes(g, 3, rex(0, 0, r), 0xff, op | (r & 7)); break;
	}
	return lea;
}

static void form_indirect(struct gen *g)
{
	struct knowledge k;
	unsigned lea;

	if (!(g->reserved >> RSP & 1))
		stack_ready(g);
	lea = put_indirect(g, false);
	k = remember(g);
	some_block(g, pick(g, 2));
	put_rel32(g, lea, g->at);
	recall(g, &k);
}

static void form_call(struct gen *g)
{
	unsigned target_end, jmp;
	u16 reserved = g->reserved;
	u64 sp;

	if (!stack_ready(g))
		return;
	sp = g->known[RSP];
	if (chance(g, 60)) {
		put_bytes(g, 5, 0xe8, 0, 0, 0, 0);
		target_end = g->at;
	} else {
		target_end = put_indirect(g, true);
	}
	put_bytes(g, 5, 0xe9, 0, 0, 0, 0);
	jmp = g->at;
	put_rel32(g, target_end, g->at);
	stack_moved(g, sp, -8);
	g->reserved |= 1u << RSP;
	some_block(g, 1 + pick(g, 4));
	g->reserved = reserved;
	if (chance(g, 80)) {
		put_bytes(g, 1, 0xc3);
		stack_moved(g, sp, 0);
	} else {
		put_bytes(g, 3, 0xc2, 16, 0);
		stack_moved(g, sp, reserved >> RSP & 1 ? 0 : 16);
		if (reserved >> RSP & 1) {
			g->test->mem[g->at - 2] = 0;
		}
	}
	put_rel32(g, jmp, g->at);
}

/* ---- strings ---- */

static void form_string(struct gen *g)
{
	static const u8 ops[] = { 0xa4, 0xa5, 0xa6, 0xa7, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf };
	u8 op = ops[pick(g, ARRAY_SIZE(ops))], b[6];
	unsigned n = 0, count = chance(g, 15) ? pick(g, 600) : pick(g, 24), span;
	bool narrow = chance(g, 6), down = chance(g, 25), rep = chance(g, 70), fs = g->test->fsgs && chance(g, 5);
	u64 src, dst;

	if (g->reserved & (1u << RSI | 1u << RDI | 1u << RCX))
		return;
	span = MIN(count * 8 + 8, 1024);
	src = some_address(g, span, false, narrow);
	dst = chance(g, 15) ? src + pick(g, 64) - 32 : some_address(g, span, true, narrow);
	put_bytes(g, 1, down ? 0xfd : 0xfc);
	put_mov(g, RSI, (down ? src + span - 8 : src) - (fs ? g->test->init.fs_base : 0));
	put_mov(g, RDI, down ? dst + span - 8 : dst);
	put_mov(g, RCX, count | (narrow ? rnd(g) << 32 : 0));
	if (fs)
		b[n++] = 0x64;
	if (narrow)
		b[n++] = 0x67;
	if (chance(g, 15))
		b[n++] = 0x66;
	if (rep)
		b[n++] = chance(g, 50) ? 0xf3 : 0xf2;
	if (chance(g, 30))
		b[n++] = 0x48;
	b[n++] = op;
	put(g, b, n);
	if (chance(g, 80))
		put_bytes(g, 1, 0xfc);
}

/* ---- flags ---- */

static void put_flag_reader(struct gen *g)
{
	unsigned cc = pick(g, 16), r = writable_reg(g), s = some_reg(g, 0);

	switch (pick(g, 7)) {
	case 0: put_bytes(g, 4, rex(0, 0, r), 0x0f, 0x90 | cc, 0xc0 | (r & 7)); break;
	case 1: put_abs(g, (u8[]){ 0x0f, (u8)(0x90 | cc) }, 2, 0, low_rw(g, 1)); break;
	case 2: put_bytes(g, 4, rex(1, r, s), 0x0f, 0x40 | cc, 0xc0 | (r & 7) << 3 | (s & 7)); break;
	case 3: put_abs(g, (u8[]){ (u8)rex(1, r, 0), 0x0f, (u8)(0x40 | cc) }, 3, r, low_rw(g, 8)); break;
	case 4: put_rr(g, pick(g, 2), chance(g, 50) ? 0x11 : 0x19, s, r); break;
	case 5: put_abs(g, (u8[]){ (u8)rex(1, s, 0), chance(g, 50) ? 0x11 : 0x19 }, 2, s, low_rw(g, 8)); break;
	default: form_jcc(g); break;
	}
}

static void form_flags(struct gen *g)
{
	static const u8 ops[] = { 0x01, 0x29, 0x39, 0x85, 0x21, 0x31, 0x09, 0x39, 0x11, 0x19 };
	unsigned r = writable_reg(g), s = some_reg(g, 0), n = pick(g, 4);

	if (chance(g, 60))
		put_rr(g, pick(g, 2), ops[pick(g, ARRAY_SIZE(ops))], s, r);
	else
		put_abs(g, (u8[]){ (u8)rex(1, s, 0), ops[pick(g, ARRAY_SIZE(ops))] }, 2, s, low_rw(g, 8));
	while (n--) {
		r = some_reg(g, 0);
		put_abs(g, (u8[]){ (u8)rex(1, r, 0), 0x89 }, 2, r, low_rw(g, 8));
		if (chance(g, 20))
			put_rr(g, 1, 0xff, chance(g, 50), writable_reg(g)); /* INC, DEC keep CF */
	}
	put_flag_reader(g);
	if (chance(g, 40))
		put_flag_reader(g);
}

/* Shifts whose count may be zero keep the flags then. */
static void form_shift(struct gen *g)
{
	unsigned r = writable_reg(g), kind = pick(g, 8), w = pick(g, 2), s = some_reg(g, 0);

	if (!(g->reserved >> RCX & 1) && chance(g, 60))
		put_mov(g, RCX, chance(g, 30) ? pick(g, 3) * 32 : pick(g, 256));
	put_rr(g, 1, 0x39, s, some_reg(g, 0));
	switch (pick(g, 5)) {
	case 0: put_rr(g, w, 0xd3, kind, r); break;
	case 1: put_bytes(g, 4, rex(w, 0, r), 0xc1, 0xc0 | kind << 3 | (r & 7), chance(g, 30) ? 0 : pick(g, 256)); break;
	case 2: put_bytes(g, 4, rex(w, s, r), 0x0f, 0xa5, 0xc0 | (s & 7) << 3 | (r & 7)); break;
	case 3: put_abs(g, (u8[]){ (u8)rex(w, 0, 0), 0xd3 }, 2, kind, low_rw(g, 8)); break;
	default: put_bytes(g, 4, 0x66, rex(0, 0, r), 0xd3, 0xc0 | kind << 3 | (r & 7)); break;
	}
	put_flag_reader(g);
}

/* ---- fields of one structure ---- */

/* op with ModRM for [base + disp8] or [base + index * scale + disp32]. */
static void put_field(struct gen *g, unsigned w, unsigned op, unsigned reg, unsigned base, int index, int disp)
{
	unsigned sib = index >= 0 || (base & 7) == RSP, n = 0;
	bool wide = op > 0xff;
	u8 b[12];

	if (op == 0x66)
		b[n++] = 0x66;
	b[n++] = (u8)(rex(w, reg, base) | (index >= 8 ? 2u : 0u));
	if (op == 0x66)
		op = 0x89;
	if (wide)
		b[n++] = 0x0f;
	b[n++] = (u8)op;
	b[n++] = (u8)(0x40 | (reg & 7) << 3 | (sib ? 4 : (base & 7)));
	if (sib)
		b[n++] = (u8)((index >= 0 ? (index & 7) : 4) << 3 | (base & 7));
	b[n++] = (u8)disp;
	put(g, b, n);
}

static void put_some_field(struct gen *g, unsigned base, int index)
{
	static const u16 loads[] = { 0x8b, 0x03, 0x3b, 0x33, 0x8a, 0x3a, 0x13, 0x63, 0x1b6, 0x1bf, 0x144, 0x14c, 0x1af };
	static const u16 stores[] = { 0x89, 0x01, 0x39, 0x31, 0x88, 0x66, 0x11, 0x29, 0x85, 0x87, 0x1c1 };
	static const u16 vectors[] = { 0x110, 0x111, 0x116, 0x117 };
	unsigned r, kind = pick(g, 10), w = pick(g, 2);
	int disp = (int)pick(g, chance(g, 50) ? 48 : 256) - (chance(g, 50) ? 24 : 128);

	if (kind < 4) {
		r = some_reg(g, (u16)(g->reserved | 1u << RSP | (chance(g, 90) ? 1u << base : 0)));
		put_field(g, w, loads[pick(g, ARRAY_SIZE(loads))], r, base, index, disp);
	} else if (kind < 8) {
		unsigned op = stores[pick(g, ARRAY_SIZE(stores))];

		r = some_reg(g, op == 0x87 || op == 0x1c1 ? (u16)(g->reserved | 1u << RSP | 1u << base) : 0);
		put_field(g, w, op, r, base, index, disp);
	} else {
		put_field(g, 0, vectors[pick(g, ARRAY_SIZE(vectors))], pick(g, 16), base, index, disp);
	}
}

/* Many accesses by the same registers: the engine checks them together. */
static void form_fields(struct gen *g)
{
	unsigned base = some_reg(g, g->reserved), n = 2 + pick(g, 7);
	int index = chance(g, 25) ? (int)some_reg(g, (u16)(g->reserved | 1u << RSP | 1u << base)) : -1;

	if (index >= 0)
		put_mov(g, (unsigned)index, pick(g, 64));
	put_mov(g, base, some_address(g, chance(g, 50) ? 8 : 128, true, false) + (base == RSP ? pick(g, 8) * 8 : 0));
	while (n-- && room(g)) {
		put_some_field(g, base, index);
		if (chance(g, 10))
			put_bytes(g, 4, rex(1, 0, base), 0x83, 0xc0 | (base & 7), pick(g, 64)); /* add base, n */
		if (chance(g, 10) && base == RSP)
			put_bytes(g, 2, rex(0, 0, RAX), 0x50);
		if (chance(g, 8))
			put_flag_reader(g);
		if (chance(g, 10))
			gen_random(g);
	}
}

/* ---- others ---- */

static void form_divide(struct gen *g)
{
	unsigned r = some_reg(g, 1u << RAX | 1u << RDX), w = pick(g, 2);
	bool is_signed = chance(g, 50);

	if (g->reserved & (1u << RAX | 1u << RDX))
		return;
	if (!(g->reserved >> r & 1) && r != RSP)
		put_mov(g, r, some_value(g) | (chance(g, 90) ? 1 : 0));
	if (is_signed)
		put_bytes(g, 2, rex(w, 0, 0), 0x99);
	else
		put_bytes(g, 2, 0x31, 0xd2);
	if (chance(g, 25))
		put_abs(g, (u8[]){ (u8)rex(w, 0, 0), 0xf7 }, 2, is_signed ? 7 : 6, low_rw(g, 8));
	else
		put_rr(g, w, 0xf7, is_signed ? 7 : 6, r);
}

static void form_compare_exchange(struct gen *g)
{
	u32 at = low_rw(g, 16);
	unsigned w = pick(g, 2), r = some_reg(g, 0);
	u8 lock = chance(g, 50) ? 0xf0 : 0x3e;

	if (g->reserved & (1u << RAX | 1u << RDX))
		return;
	if (chance(g, 50))
		at &= ~15u;
	put_abs(g, (const u8 *)"\x48\x8b", 2, RAX, at);
	if (chance(g, 50)) {
		put_abs(g, (u8[]){ lock, (u8)rex(w, r, 0), 0x0f, 0xb1 }, 4, r, at);
	} else {
		put_abs(g, w ? (const u8 *)"\x48\x8b" : (const u8 *)"\x40\x8b", 2, RDX, at + (w ? 8 : 4));
		put_abs(g, (u8[]){ lock, (u8)rex(w, 0, 0), 0x0f, 0xc7 }, 4, 1, at);
	}
	put_flag_reader(g);
}

static void form_control_word(struct gen *g)
{
	u32 at = low_rw(g, 4);
	u32 mxcsr = 0x1f80 | pick(g, 64) | pick(g, 4) << 13 | pick(g, 2) << 15;
	u32 fcw = 0x37f | pick(g, 4) << 10;

	if (chance(g, 15)) {
		mxcsr &= ~(pick(g, 64) << 7);
		fcw &= ~pick(g, 64);
	}
	if (chance(g, 60)) {
		u8 b[11] = { 0xc7, 0x04, 0x25 };

		memcpy(b + 3, &at, 4);
		memcpy(b + 7, &mxcsr, 4);
		g->group = ++g->next_group;
		put(g, b, 11);
		put_abs(g, (const u8 *)"\x0f\xae", 2, chance(g, 80) ? 2 : 3, at);
	} else {
		u8 b[10] = { 0x66, 0xc7, 0x04, 0x25 };

		memcpy(b + 4, &at, 4);
		memcpy(b + 8, &fcw, 2);
		g->group = ++g->next_group;
		put(g, b, 10);
		put_abs(g, (const u8 *)"\xd9", 1, chance(g, 80) ? 5 : 7, at);
	}
	g->group = 0;
}

/* VEX instructions on general registers, and the legacy ones that are seldom met by chance. */
static void form_bmi(struct gen *g)
{
	static const struct {
		u8 map, pp, op;
	} vex[] = {
		{ 2, 0, 0xf2 }, { 2, 0, 0xf3 }, { 2, 0, 0xf5 }, { 2, 2, 0xf5 }, { 2, 3, 0xf5 }, { 2, 3, 0xf6 },
		{ 2, 0, 0xf7 }, { 2, 1, 0xf7 }, { 2, 2, 0xf7 }, { 2, 3, 0xf7 }, { 3, 3, 0xf0 },
	};
	unsigned k = pick(g, ARRAY_SIZE(vex)), r = writable_reg(g), v = writable_reg(g), m = some_reg(g, 0);
	unsigned reg = vex[k].op == 0xf3 ? 1 + pick(g, 3) : r, w = pick(g, 2);
	bool mem = chance(g, 40);

	if (vex[k].map == 3)
		v = 0;
	if (mem) {
		m = some_reg(g, (u16)(g->reserved | 1u << RSP | 1u << R12)); /* those need a SIB byte */
		put_mov(g, m, some_address(g, 8, false, false) - 16);
	}
	if (chance(g, 15)) { /* ADCX, ADOX, MOVBE */
		bool movbe = chance(g, 50);

		put_bytes(g, mem ? 7 : 6, movbe ? 0x3e : chance(g, 50) ? 0x66 : 0xf3, rex(w, r, m), 0x0f, 0x38,
			  movbe ? 0xf0 : 0xf6, (mem ? 0x40 : 0xc0) | (r & 7) << 3 | (m & 7), 16);
		return;
	}
	put_bytes(g, 5u + mem + (vex[k].map == 3), 0xc4,
		  (reg & 8 ? 0 : 0x80) | 0x40 | (m & 8 ? 0 : 0x20) | vex[k].map, w << 7 | (~v & 15) << 3 | vex[k].pp,
		  vex[k].op, (mem ? 0x40 : 0xc0) | (reg & 7) << 3 | (m & 7), 16, pick(g, 256));
}

static void form_implied(struct gen *g)
{
	if (chance(g, 50)) {
		if (set_fixed(g, RBX, some_address(g, 256, false, false)))
			put_bytes(g, 1, 0xd7); /* xlat */
	} else if (set_fixed(g, RDI, some_address(g, 16, true, false))) {
		if (chance(g, 70))
			put_bytes(g, 4, 0x66, 0x0f, 0xf7, 0xc0 | pick(g, 64)); /* maskmovdqu */
		else
			put_bytes(g, 3, 0x0f, 0xf7, 0xc0 | pick(g, 64)); /* maskmovq */
	}
}

/* What is sure to fault. */
static void form_fault(struct gen *g)
{
	if (!chance(g, 20))
		return;
	switch (g->test->kernel ? pick(g, 3) : pick(g, 9)) {
	case 0: put_bytes(g, 2, 0x0f, 0x0b); break;
	case 1: put_bytes(g, 3, 0xf0, 0x01, 0xc0); break; /* LOCK with a register */
	case 2: put_bytes(g, 1, 0x06); break;
	case 3: put_bytes(g, 1, 0xf4); break;
	case 4: put_bytes(g, 2, 0x0f, 0x30); break;
	case 5: put_bytes(g, 1, 0xec); break;
	case 6: put_bytes(g, 2, 0xcd, 0x21); break;
	case 7: put_bytes(g, 2, 0x0f, 0x06); break;
	default: put_bytes(g, 3, 0x0f, 0x20, 0xc0); break;
	}
}

void gen_form(struct gen *g)
{
	static const struct {
		void (*fn)(struct gen *g);
		unsigned weight;
		bool nests;
	} forms[] = {
		{ form_push_pop, 12, false }, { form_pushf, 5, false }, { form_frame, 3, false },
		{ form_jcc, 12, true }, { form_jrcxz, 2, true }, { form_loop, 6, true }, { form_stream, 4, true }, { form_indirect, 4, true },
		{ form_call, 6, true }, { form_string, 9, false }, { form_flags, 16, false }, { form_shift, 8, false },
		{ form_fields, 14, false },
		{ form_divide, 3, false }, { form_compare_exchange, 4, false }, { form_control_word, 3, false },
		{ form_implied, 3, false }, { form_bmi, 5, false }, { form_fault, 2, false },
		{ gen_gather, 4, false },
	};
	unsigned total = 0, n;

	for (unsigned i = 0; i < ARRAY_SIZE(forms); i++)
		total += forms[i].weight;
	n = pick(g, total);
	for (unsigned i = 0; i < ARRAY_SIZE(forms); i++) {
		if (n < forms[i].weight) {
			if (!forms[i].nests || g->depth < 4)
				forms[i].fn(g);
			return;
		}
		n -= forms[i].weight;
	}
}
