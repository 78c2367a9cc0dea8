/* SPDX-License-Identifier: MIT */
/*
 * Loops over arrays: one block that jumps back to itself, whose accesses move
 * evenly from one iteration to the next, across pages and into holes.
 */
#include <string.h>

#include "tests/diff/gen.h"

struct loop {
	unsigned base[2], index, count; /* registers */
	i64 step[2], index_step;
	bool indexed;
};

static unsigned rex(unsigned w, unsigned reg, unsigned index, unsigned base)
{
	return 0x40 | w << 3 | (reg >> 3 & 1) << 2 | (index >> 3 & 1) << 1 | (base >> 3 & 1);
}

/* op with its ModRM for one of the loop's arrays. */
static void put_access(struct gen *g, const struct loop *l, u8 prefix, const u8 *op, unsigned n, unsigned reg)
{
	unsigned base = l->base[pick(g, 2)], at = 0;
	bool indexed = l->indexed && chance(g, 60);
	i32 disp = (i32)pick(g, 80) - 16;
	u8 b[16];

	if (prefix)
		b[at++] = prefix;
	b[at++] = (u8)rex(chance(g, 50), reg, indexed ? l->index : 0, base);
	memcpy(b + at, op, n);
	at += n;
	b[at++] = (u8)(0x84 | (reg & 7) << 3);
	b[at++] = (u8)((indexed ? pick(g, 4) << 6 | (l->index & 7) << 3 : 4 << 3) | (base & 7));
	memcpy(b + at, &disp, 4);
	put(g, b, at + 4);
}

/* VMOVDQU or VMOVDQU64, to or from one of the arrays. */
static void put_wide(struct gen *g, const struct loop *l)
{
	unsigned base = l->base[pick(g, 2)], reg = pick(g, 8), evex = g->avx512 && chance(g, 50);
	u8 b[16] = { 0xc4, (u8)(0xc1 | (base < 8) << 5), 0x7e }, *p = b + 3;

	if (evex) {
		b[0] = 0x62;
		b[1] = (u8)(0xd1 | (base < 8) << 5);
		b[2] = 0xfe;
		b[3] = (u8)(chance(g, 50) ? 0x48 : 0x28);
		p++;
	}
	*p++ = chance(g, 60) ? 0x6f : 0x7f;
	*p++ = (u8)(0x44 | reg << 3);
	*p++ = (u8)(0x20 | (base & 7));
	*p++ = (u8)pick(g, evex ? 2 : 64);
	put(g, b, (unsigned)(p - b));
}

static void put_body(struct gen *g, const struct loop *l)
{
	unsigned v = some_reg(g, (u16)(g->reserved | 1u << RSP));

	switch (pick(g, g->avx ? 9 : 8)) {
	case 0: put_access(g, l, 0, (const u8 *)"\x8b", 1, v); break;
	case 1: put_access(g, l, 0, (const u8 *)"\x89", 1, v); break;
	case 2: put_access(g, l, 0, (const u8 *)"\x0f\xb6", 2, v); break;
	case 3: put_access(g, l, 0, (const u8 *)"\x01", 1, v); break;
	case 4: put_access(g, l, 0, (const u8 *)"\x0f\x10", 2, pick(g, 16)); break;
	case 5: put_access(g, l, 0, (const u8 *)"\x0f\x11", 2, pick(g, 16)); break;
	case 6: put_bytes(g, 3, rex(1, v, 0, v), 0x01, 0xc0 | (v & 7) << 3 | (v & 7)); break;
	case 7: put_access(g, l, 0x66, (const u8 *)"\x33", 1, v); break;
	default: put_wide(g, l); break;
	}
}

static void put_bodies(struct gen *g, const struct loop *l)
{
	for (unsigned n = pick(g, chance(g, 80) ? 3 : 6); n; n--)
		put_body(g, l);
}

/* ADD, SUB, LEA or INC. */
static void put_step(struct gen *g, unsigned reg, i64 by)
{
	i32 v = (i32)(chance(g, 50) ? by : -by);
	u8 b[8] = { (u8)rex(1, 0, 0, reg), 0x81, (u8)((v == by ? 0xc0 : 0xe8) | (reg & 7)) };

	if (!by)
		return;
	if (by == 1 || by == -1) {
		put_bytes(g, 3, rex(1, 0, 0, reg), 0xff, (by == 1 ? 0xc0 : 0xc8) | (reg & 7));
		return;
	}
	memcpy(b + 3, &v, 4);
	if (v == by && chance(g, 30) && (reg & 7) != 4) {
		b[0] = (u8)rex(1, reg, 0, reg);
		b[1] = 0x8d;
		b[2] = (u8)(0x80 | (reg & 7) << 3 | (reg & 7));
	}
	put(g, b, 7);
}

static i64 some_step(struct gen *g)
{
	static const i16 steps[] = { 0, 1, 2, 4, 8, 16, 24, 32, 64, 128, 200, 512, 513, -1, -8, -16, -40, -64 };

	return steps[pick(g, ARRAY_SIZE(steps))];
}

/* Where an array may begin so that all or most of it is there. */
static u64 some_array(struct gen *g, i64 step, unsigned n)
{
	u64 base = chance(g, 50) ? LOW_AT : HIGH_AT;
	i64 bytes = step * n;

	if (chance(g, 20))
		return base + pick(g, 8192);
	if (bytes < 0)
		return base + 8100 - pick(g, 8192 + bytes > 0 ? (unsigned)(8192 + bytes) : 1);
	return base + 16 + pick(g, bytes < 8192 ? (unsigned)(8192 - bytes) : 1);
}

static unsigned reserve(struct gen *g)
{
	unsigned r = some_reg(g, (u16)(g->reserved | 1u << RSP));

	g->reserved |= (u16)(1u << r);
	return r;
}

void form_stream(struct gen *g)
{
	u16 reserved = g->reserved, group = ++g->next_group;
	unsigned n = 1 + pick(g, chance(g, 20) ? 600 : 90), start;
	struct loop l = { .indexed = chance(g, 50) };
	i64 ahead = chance(g, 30) ? some_step(g) : 0; /* the first base moves in two steps */
	i32 back;

	if (__builtin_popcount(reserved) > 8)
		return;
	g->group = group;
	for (unsigned i = 0; i < 2; i++) {
		l.base[i] = reserve(g);
		l.step[i] = l.indexed && chance(g, 70) ? 0 : some_step(g);
		put_mov(g, l.base[i], some_array(g, l.step[i], n));
	}
	l.index = reserve(g);
	l.index_step = chance(g, 80) ? 1 << pick(g, 5) : 0;
	put_mov(g, l.index, pick(g, 4));
	l.count = reserve(g);
	put_mov(g, l.count, n);
	start = g->at;
	put_bodies(g, &l);
	put_step(g, l.base[0], ahead);
	put_bodies(g, &l);
	g->group = group;
	put_step(g, l.base[0], l.step[0] - ahead);
	put_step(g, l.base[1], l.step[1]);
	put_step(g, l.index, l.index_step);
	if (chance(g, 50))
		put_bytes(g, 3, rex(1, 0, 0, l.count), 0xff, 0xc8 | (l.count & 7));
	else
		put_bytes(g, 4, rex(1, 0, 0, l.count), 0x83, 0xe8 | (l.count & 7), 1);
	put_bytes(g, 6, 0x0f, 0x85, 0, 0, 0, 0);
	back = (i32)start - (i32)g->at;
	memcpy(g->test->mem + g->at - 4, &back, 4);
	g->group = 0;
	g->is_known = 0;
	g->reserved = reserved;
}
