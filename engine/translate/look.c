/* SPDX-License-Identifier: MIT */
/*
 * Liveness beyond the block: whether the code behind an exit reads the flags
 * before it overwrites them. It looks at a few instructions with a decoder of
 * its own, which knows what is common and says "live" to the rest; a real one
 * would cost as much as the block's translation.
 */
#include "engine/translate/tr.h"

#define LOOK_MAX 10 /* instructions */

enum look { LOOK_LIVE, LOOK_DEAD, LOOK_SKIP, LOOK_JUMP };

/* An instruction as far as it has been read. */
struct look_at {
	const u8 *p; /* what comes next */
	bool code32, wide, p66, repeat; /* REX.W, 66, F2 or F3 */
	bool vex; /* VEX or EVEX */
	i32 jump;
};

/* ModRM, SIB and displacement, and imm bytes behind them. */
static enum look skip_modrm(struct look_at *at, unsigned imm)
{
	const u8 *p = at->p;
	unsigned mod = *p >> 6, rm = *p & 7, n = 1;

	if (mod != 3 && rm == 4) {
		n++;
		if (mod == 0 && (p[1] & 7) == 5)
			n += 4;
	} else if (mod == 0 && rm == 5) {
		n += 4;
	}
	at->p += n + (mod == 1 ? 1 : mod == 2 ? 4 : 0) + imm;
	return LOOK_SKIP;
}

static enum look skip(struct look_at *at, unsigned n)
{
	at->p += n;
	return LOOK_SKIP;
}

static enum look jump(struct look_at *at, unsigned n)
{
	at->jump = n == 1 ? (i8)at->p[0] : *(const i32 *)at->p;
	at->p += n;
	return LOOK_JUMP;
}

/* Two-byte opcodes, VEX-coded ones among them. */
static enum look look_0f(struct look_at *at)
{
	u8 op = *at->p++;

	switch (op) {
	case 0x2e: case 0x2f: case 0xaf: return LOOK_DEAD; /* (U)COMIS, IMUL */
	case 0x70: case 0x71: case 0x72: case 0x73: case 0xc2: case 0xc4: case 0xc5: case 0xc6:
		return skip_modrm(at, 1);
	case 0x77: return skip(at, 0);
	case 0x0d: case 0x18: case 0x1f: case 0xb6: case 0xb7: case 0xbe: case 0xbf: case 0xc3:
		return skip_modrm(at, 0);
	case 0x1e: return at->repeat && at->p[0] == 0xfa ? skip(at, 1) : LOOK_LIVE; /* ENDBR64 */
	default: break;
	}
	if (op >= 0xc8 && op <= 0xcf)
		return skip(at, 0); /* BSWAP */
	if ((op >= 0x10 && op <= 0x17) || (op >= 0x28 && op <= 0x2d) || (op >= 0x50 && op <= 0x7f && op != 0x78 && op != 0x79) ||
	    (op >= 0xd0 && op <= 0xfe))
		return skip_modrm(at, 0);
	return LOOK_LIVE;
}

static enum look look_0f38(struct look_at *at)
{
	u8 op = *at->p++;

	if (op == 0x17)
		return LOOK_DEAD; /* PTEST */
	if (at->vex)
		return op < 0xf0 && op != 0x0e && op != 0x0f ? skip_modrm(at, 0) : LOOK_LIVE;
	if (op < 0x80 || (op >= 0xdb && op <= 0xdf) || ((op == 0xf0 || op == 0xf1) && !at->repeat))
		return skip_modrm(at, 0);
	return LOOK_LIVE;
}

static enum look look_0f3a(struct look_at *at)
{
	u8 op = *at->p++;

	return op >= 0x60 && op <= 0x63 ? LOOK_LIVE : skip_modrm(at, 1); /* PCMPxSTRx */
}

static enum look look_map(struct look_at *at, unsigned map)
{
	switch (map) {
	case 1: return look_0f(at);
	case 2: return look_0f38(at);
	case 3: return look_0f3a(at);
	default: return LOOK_LIVE;
	}
}

static enum look look_vex(struct look_at *at, u8 op)
{
	unsigned map = op == 0xc5 ? 1 : op == 0xc4 ? at->p[0] & 0x1f : at->p[0] & 7;

	if (at->code32)
		return LOOK_LIVE; /* LDS, LES, BOUND */
	at->vex = true;
	at->p += op == 0xc5 ? 1 : op == 0xc4 ? 2 : 3;
	return look_map(at, map);
}

/* Opcodes 80 and on that have a group of operations in ModRM.reg. */
static enum look look_group(struct look_at *at, u8 op)
{
	unsigned ext = at->p[0] >> 3 & 7;

	switch (op) {
	case 0x80: case 0x81: case 0x83: return ext == 2 || ext == 3 ? LOOK_LIVE : LOOK_DEAD;
	case 0xf6: case 0xf7: return ext == 2 ? skip_modrm(at, 0) : ext < 4 ? LOOK_DEAD : LOOK_LIVE;
	default: return ext == 0 ? skip_modrm(at, op == 0xc6 ? 1 : at->p66 ? 2 : 4) : LOOK_LIVE; /* MOV */
	}
}

static enum look look_opcode(struct look_at *at)
{
	u8 op = *at->p++;

	if (op < 0x40 && (op & 7) < 6)
		return (op & 0x38) == 0x10 || (op & 0x38) == 0x18 ? LOOK_LIVE : LOOK_DEAD;
	if (op >= 0x50 && op <= 0x5f)
		return skip(at, 0);
	if (op >= 0xb0 && op <= 0xbf)
		return skip(at, op < 0xb8 ? 1 : at->wide ? 8 : at->p66 ? 2 : 4);
	switch (op) {
	case 0x0f:
		if (at->p[0] == 0x38 || at->p[0] == 0x3a)
			return look_map(at, *at->p++ == 0x38 ? 2 : 3);
		return look_0f(at);
	case 0x62: case 0xc4: case 0xc5: return look_vex(at, op);
	case 0x69: case 0x6b: case 0x84: case 0x85: case 0xa8: case 0xa9: return LOOK_DEAD;
	case 0x80: case 0x81: case 0x83: case 0xc6: case 0xc7: case 0xf6: case 0xf7: return look_group(at, op);
	case 0x63: return at->code32 ? LOOK_LIVE : skip_modrm(at, 0);
	case 0x88: case 0x89: case 0x8a: case 0x8b: case 0x8d: case 0xd8: case 0xd9: case 0xdc: case 0xdd:
		return skip_modrm(at, 0);
	case 0x90: case 0x98: case 0x99: return skip(at, 0);
	case 0xe9: return at->p66 ? LOOK_LIVE : jump(at, 4);
	case 0xeb: return at->p66 ? LOOK_LIVE : jump(at, 1);
	default: return LOOK_LIVE;
	}
}

/* What an instruction does to the flags as a whole. */
static enum look look_one(struct look_at *at)
{
	at->wide = at->p66 = at->repeat = at->vex = false;
	for (unsigned i = 0; i < 3; i++, at->p++) {
		if (*at->p == 0x66)
			at->p66 = true;
		else if (*at->p == 0xf2 || *at->p == 0xf3)
			at->repeat = true;
		else
			break;
	}
	if (!at->code32 && (*at->p & 0xf0) == 0x40)
		at->wide = *at->p++ & 8;
	return look_opcode(at);
}

u16 exit_liveness(struct tr *t, u64 target)
{
	struct fragment *f = &t->cpu->frags[t->frag];
	struct look_at at = { .p = t->page + (target & 0xfff), .code32 = t->code32 };
	i64 off = target & 0xfff, lo = off, hi = off;

	if (target == t->pc && t->flags_dead)
		return 0;
	if ((target ^ t->pc) & PAGE_MASK)
		return FL_ARITH;
	for (int i = 0; i < LOOK_MAX && off >= 0 && off + 16 <= (i64)PAGE_SIZE; i++) {
		enum look l = look_one(&at);

		lo = MIN(lo, off);
		hi = MAX(hi, off + 16);
		if (l == LOOK_LIVE)
			return FL_ARITH;
		if (l == LOOK_DEAD) {
			f->look_lo = (u16)MIN((i64)f->look_lo, lo);
			f->look_hi = (u16)MAX((i64)f->look_hi, hi);
			return 0;
		}
		off = at.p - t->page;
		if (l != LOOK_JUMP)
			continue;
		off += at.jump;
		at.p = t->page + off;
	}
	return FL_ARITH;
}
