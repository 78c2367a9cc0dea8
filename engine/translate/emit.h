/* SPDX-License-Identifier: MIT */
/* Writing host instructions. An emitter is a cursor; the caller sees to room. */
#pragma once

#include "lib/types.h"
#include "x86/state.h"

/* A host memory operand. */
struct mem {
	i8 base; /* host register, or MEM_* */
	i8 index; /* host register, or -1 */
	u8 scale; /* 1, 2, 4, 8 */
	i64 disp; /* MEM_RIP: the host address itself */
};

enum {
	MEM_ABS = -1, /* [disp32] or [index * scale + disp32] */
	MEM_RIP = -2, /* RIP-relative to the host address in disp */
};

struct emit {
	u8 *p;
};

static inline void e1(struct emit *e, unsigned v)
{
	*e->p++ = (u8)v;
}

static inline void e2(struct emit *e, unsigned v)
{
	*(u16 *)e->p = (u16)v;
	e->p += 2;
}

static inline void e4(struct emit *e, u64 v)
{
	*(u32 *)e->p = (u32)v;
	e->p += 4;
}

static inline void e8(struct emit *e, u64 v)
{
	*(u64 *)e->p = v;
	e->p += 8;
}

static inline struct mem mem_base(int base, i64 disp)
{
	return (struct mem){ (i8)base, -1, 1, disp };
}

static inline struct mem mem_index(int base, int index, i64 disp)
{
	return (struct mem){ (i8)base, (i8)index, 1, disp };
}

/* State in the arena, by its host address. */
static inline struct mem mem_at(const void *host)
{
	return (struct mem){ MEM_RIP, -1, 1, (i64)(u64)host };
}

static inline unsigned sib_scale(unsigned scale)
{
	return scale == 8 ? 3 : scale == 4 ? 2 : scale == 2 ? 1 : 0;
}

/* ModRM, SIB and displacement. wide: no disp8 (EVEX scales it). imm: bytes that follow. */
static inline void emit_modrm(struct emit *e, unsigned reg, struct mem m, unsigned imm, bool wide)
{
	unsigned ix = m.index < 0 ? 4 : (unsigned)m.index & 7, mod;

	reg = (reg & 7) << 3;
	if (m.base == MEM_RIP) {
		e1(e, reg | 5);
		e4(e, (u64)(m.disp - (i64)(u64)(e->p + 4 + imm)));
		return;
	}
	if (m.base == MEM_ABS) {
		e1(e, reg | 4);
		e1(e, sib_scale(m.scale) << 6 | ix << 3 | 5);
		e4(e, (u64)m.disp);
		return;
	}
	if (m.disp == 0 && (m.base & 7) != 5)
		mod = 0;
	else if (m.disp >= -128 && m.disp < 128 && (!wide || m.disp == 0))
		mod = 1;
	else
		mod = 2;
	if (m.index < 0 && (m.base & 7) != 4) {
		e1(e, mod << 6 | reg | ((unsigned)m.base & 7));
	} else {
		e1(e, mod << 6 | reg | 4);
		e1(e, sib_scale(m.scale) << 6 | ix << 3 | ((unsigned)m.base & 7));
	}
	if (mod == 1)
		e1(e, (unsigned)m.disp);
	else if (mod == 2)
		e4(e, (u64)m.disp);
}

static inline unsigned mem_rexb(struct mem m)
{
	return (m.base >= 8 ? 1u : 0u) | (m.index >= 8 ? 2u : 0u);
}

/* op reg, [m]; opcode 0xNN, or 0x0fNN for the two-byte map. */
static inline void op_rm_imm(struct emit *e, bool wide, unsigned opcode, unsigned reg, struct mem m, unsigned imm)
{
	unsigned rex = 0x40u | (wide ? 8u : 0u) | (reg >= 8 ? 4u : 0u) | mem_rexb(m);

	if (rex != 0x40)
		e1(e, rex);
	if (opcode > 0xff)
		e1(e, opcode >> 8);
	e1(e, opcode);
	emit_modrm(e, reg, m, imm, false);
}

static inline void op_rm(struct emit *e, bool wide, unsigned opcode, unsigned reg, struct mem m)
{
	op_rm_imm(e, wide, opcode, reg, m, 0);
}

static inline void op_rr(struct emit *e, bool wide, unsigned opcode, unsigned reg, unsigned rm)
{
	unsigned rex = 0x40u | (wide ? 8u : 0u) | (reg >= 8 ? 4u : 0u) | (rm >= 8 ? 1u : 0u);

	if (rex != 0x40)
		e1(e, rex);
	if (opcode > 0xff)
		e1(e, opcode >> 8);
	e1(e, opcode);
	e1(e, 0xc0 | (reg & 7) << 3 | (rm & 7));
}

static inline void ld(struct emit *e, unsigned reg, struct mem m)
{
	op_rm(e, true, 0x8b, reg, m);
}

static inline void st(struct emit *e, struct mem m, unsigned reg)
{
	op_rm(e, true, 0x89, reg, m);
}

static inline void st32_imm(struct emit *e, struct mem m, u32 v)
{
	op_rm_imm(e, false, 0xc7, 0, m, 4);
	e4(e, v);
}

static inline void lea(struct emit *e, unsigned reg, struct mem m)
{
	op_rm(e, true, 0x8d, reg, m);
}

static inline void mov_rr(struct emit *e, unsigned d, unsigned s)
{
	op_rr(e, true, 0x8b, d, s);
}

/* The shortest MOV of a constant; leaves flags alone. */
static inline void mov_imm(struct emit *e, unsigned reg, u64 v)
{
	if (v == (u32)v) {
		if (reg >= 8)
			e1(e, 0x41);
		e1(e, 0xb8 | (reg & 7));
		e4(e, v);
	} else if ((i64)v == (i32)v) {
		e1(e, reg >= 8 ? 0x49 : 0x48);
		e1(e, 0xc7);
		e1(e, 0xc0 | (reg & 7));
		e4(e, v);
	} else {
		e1(e, reg >= 8 ? 0x49 : 0x48);
		e1(e, 0xb8 | (reg & 7));
		e8(e, v);
	}
}

static inline void op_ri(struct emit *e, bool wide, unsigned ext, unsigned reg, i32 v)
{
	op_rr(e, wide, 0x81, ext, reg);
	e4(e, (u32)v);
}

static inline void fix_to(u8 *rel32, const u8 *target)
{
	*(i32 *)rel32 = (i32)(target - (rel32 + 4));
}

/* Jumps; each returns the place of its rel32. */
static inline u8 *jmp_fwd(struct emit *e)
{
	e1(e, 0xe9);
	e4(e, 0);
	return e->p - 4;
}

static inline u8 *jcc_fwd(struct emit *e, unsigned cc)
{
	e1(e, 0x0f);
	e1(e, 0x80 | cc);
	e4(e, 0);
	return e->p - 4;
}

static inline void jmp_to(struct emit *e, u64 host)
{
	fix_to(jmp_fwd(e), (u8 *)host);
}

static inline void call_to(struct emit *e, u64 host)
{
	e1(e, 0xe8);
	e4(e, 0);
	fix_to(e->p - 4, (u8 *)host);
}

enum { CC_O, CC_NO, CC_B, CC_AE, CC_E, CC_NE, CC_BE, CC_A, CC_S, CC_NS };
