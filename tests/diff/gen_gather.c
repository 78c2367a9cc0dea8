/* SPDX-License-Identifier: MIT */
/*
 * Gathers and scatters in loops: the engine remembers much about such an
 * instruction, so it is to meet lanes on one page, on several, far apart,
 * across an edge, and a base that moves.
 */
#include <string.h>

#include "tests/diff/gen.h"

struct vsib {
	bool evex, scatter, far;
	unsigned op, w, ll;
	unsigned reg, index, mask;
	unsigned base, scale; /* scale: as encoded */
	i8 disp;
};

static unsigned lane_size(const struct vsib *v)
{
	return v->w ? 8 : 4;
}

static unsigned index_size(const struct vsib *v)
{
	return v->op & 1 ? 8 : 4;
}

/* VEX or EVEX prefix and opcode; x: bits 3 and 4 of the index or second register. */
static unsigned put_prefix(u8 *b, const struct vsib *v, unsigned map, unsigned pp, unsigned reg, unsigned x, unsigned vvvv)
{
	unsigned rxb = (reg & 8 ? 0 : 0x80) | (x & 8 ? 0 : 0x40) | (v->base & 8 ? 0 : 0x20);

	if (!v->evex) {
		b[0] = 0xc4;
		b[1] = (u8)(rxb | map);
		b[2] = (u8)(v->w << 7 | (~vvvv & 15) << 3 | v->ll << 2 | pp);
		return 3;
	}
	b[0] = 0x62;
	b[1] = (u8)(rxb | (reg & 16 ? 0 : 0x10) | map);
	b[2] = (u8)(v->w << 7 | 15 << 3 | 4 | pp);
	b[3] = (u8)(v->ll << 5 | (x & 16 ? 0 : 8) | vvvv);
	return 4;
}

static void put_vsib(struct gen *g, const struct vsib *v)
{
	u8 b[16];
	unsigned n = 0;

	if (g->test->fsgs && chance(g, 5))
		b[n++] = 0x3e; /* says DS: no effect */
	n += put_prefix(b + n, v, 2, 1, v->reg, v->index, v->mask);
	b[n++] = (u8)v->op;
	b[n++] = (u8)(0x44 | (v->reg & 7) << 3);
	b[n++] = (u8)(v->scale << 6 | (v->index & 7) << 3 | (v->base & 7));
	b[n++] = (u8)v->disp;
	put(g, b, n);
}

/* vmovdqu reg, [base]; all of the register */
static void put_load(struct gen *g, const struct vsib *v, unsigned reg)
{
	struct vsib load = { .evex = v->evex, .w = v->evex, .ll = v->evex ? 2 : 1, .base = v->base };
	u8 b[16];
	unsigned n = put_prefix(b, &load, 1, 2, reg, 0, 0);

	b[n++] = 0x6f;
	b[n++] = (u8)(0x44 | (reg & 7) << 3);
	b[n++] = (u8)(0x20 | (v->base & 7));
	b[n++] = 0;
	put(g, b, n);
}

/* All lanes, or some. */
static void put_mask(struct gen *g, const struct vsib *v)
{
	unsigned m = v->mask, some = chance(g, 30), from = pick(g, 16);

	if (v->evex && some) /* vptestmd k, from, from */
		put_bytes(g, 6, 0x62, 0xf2 & (from & 8 ? 0x5f : 0xff), 0x7d & ~((from & 15) << 3), 0x48, 0x27,
			  0xc0 | m << 3 | (from & 7));
	else if (v->evex) /* kxnorw */
		put_bytes(g, 4, 0xc5, 0xfc & ~(m << 3), 0x46, 0xc0 | m << 3 | m);
	else if (some) /* vmovdqa m, from */
		put_bytes(g, 5, 0xc4, (m & 8 ? 0 : 0x80) | 0x40 | (from & 8 ? 0 : 0x20) | 1, 0x7d, 0x6f,
			  0xc0 | (m & 7) << 3 | (from & 7));
	else /* vpcmpeqd m, m, m */
		put_bytes(g, 5, 0xc4, (m & 8 ? 0 : 0x80) | 0x40 | (m & 8 ? 0 : 0x20) | 1, (~m & 15) << 3 | 5, 0x76,
			  0xc0 | (m & 7) << 3 | (m & 7));
}

static u64 some_target(struct gen *g, const struct vsib *v, unsigned kind)
{
	u64 at = v->far && chance(g, 50) ? HIGH_AT : LOW_AT, size = lane_size(v);
	unsigned pages = v->scatter ? 2 : 3;

	switch (kind) {
	case 0: return at + pick(g, 4096 - 64) / size * size; /* one page */
	case 1: return at + pick(g, pages * 4096 - 64) / size * size;
	case 2: return at + (1 + pick(g, pages - 1)) * 4096 - pick(g, 9); /* near an edge */
	default: return at + pick(g, DATA_PAGES * 4096 + (chance(g, 3) ? 64 : 0) - 64);
	}
}

/* Puts the indexes for lanes at some targets into the read-only page of the high data. */
static u64 make_indexes(struct gen *g, const struct vsib *v, u64 base)
{
	unsigned at = pick(g, 63) * 64, kind = pick(g, 4);
	u8 *mem = g->test->mem + (PAGE_HIGH + 2) * 4096 + at;

	for (unsigned i = 0; i < 64 / index_size(v); i++) {
		i64 x = (i64)(some_target(g, v, kind) - base - (u64)(i64)v->disp) >> v->scale;

		memcpy(mem + i * index_size(v), &x, index_size(v));
	}
	return HIGH_AT + 2 * 4096 + at;
}

static struct vsib some_vsib(struct gen *g)
{
	struct vsib v = { .evex = g->avx512 && chance(g, 50), .w = pick(g, 2), .scale = pick(g, 4) };
	unsigned regs = v.evex ? 32 : 16;

	v.scatter = v.evex && chance(g, 30);
	v.op = (v.scatter ? 0xa0 : 0x90) + pick(g, 4);
	v.ll = pick(g, v.evex ? 3 : 2);
	v.reg = pick(g, regs);
	v.index = (v.reg + 1 + pick(g, regs - 1)) % regs;
	do {
		v.mask = v.evex ? 1 + pick(g, 7) : pick(g, 16);
	} while (!v.evex && (v.mask == v.reg || v.mask == v.index));
	v.base = some_reg(g, (u16)(g->reserved | 1u << RSP | 1u << R12)); /* those need a SIB byte in LEA */
	v.disp = (i8)(chance(g, 50) ? 0 : pick(g, 256));
	if (v.evex)
		v.disp = 0; /* it would count lanes */
	v.far = index_size(&v) == 8 || v.scale == 3;
	return v;
}

void gen_gather(struct gen *g)
{
	struct vsib v;
	u64 base;
	unsigned count, start, step;

	if (!g->avx)
		return;
	v = some_vsib(g);
	count = some_reg(g, (u16)(g->reserved | 1u << RSP | 1u << v.base));
	/* between the low and the high data when 32-bit indexes are to reach both */
	base = v.far ? (LOW_AT + HIGH_AT) / 2 + pick(g, 64) : LOW_AT + pick(g, 8192);
	step = chance(g, 50) ? 0 : pick(g, 40);
	g->group = ++g->next_group;
	put_mov(g, v.base, make_indexes(g, &v, base));
	put_load(g, &v, v.index);
	put_mov(g, v.base, base);
	put_mov(g, count, 1 + (chance(g, 10) ? pick(g, 300) : pick(g, 6)));
	start = g->at;
	put_mask(g, &v);
	put_vsib(g, &v);
	put_bytes(g, 4, 0x48 | (v.base >> 3 ? 5 : 0), 0x8d, 0x40 | (v.base & 7) << 3 | (v.base & 7), step);
	put_bytes(g, 3, 0x48 | count >> 3, 0xff, 0xc8 | (count & 7));
	put_bytes(g, 2, 0x75, start - (g->at + 2));
	g->group = 0;
}
