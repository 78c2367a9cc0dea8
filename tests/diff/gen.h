/* SPDX-License-Identifier: MIT */
/* Inside of the generator of cases: what the files that make instructions share. */
#pragma once

#include <Zydis/Zydis.h>

#include "tests/diff/diff.h"

/*
 * The stream under way. Registers whose value is known where the stream
 * stands serve as addresses; reserved ones must not be written.
 */
struct gen {
	struct diff_case *test;
	u64 rng;
	unsigned at, end; /* offsets in the code */
	u64 known[16];
	u16 is_known, reserved;
	u16 group, next_group; /* of new atoms; the last that was given out */
	unsigned depth;
	bool avx, avx512;
};

struct decoded {
	ZydisDecodedInstruction zi;
	ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
};

/* ---- gen.c ---- */
u64 rnd(struct gen *g);
static inline unsigned pick(struct gen *g, unsigned n)
{
	return (unsigned)(rnd(g) % n);
}
static inline bool chance(struct gen *g, unsigned percent)
{
	return pick(g, 100) < percent;
}
bool room(const struct gen *g);
u64 some_value(struct gen *g);
u64 some_address(struct gen *g, unsigned size, bool write, bool low);
unsigned some_reg(struct gen *g, u16 not);
/* Appends one instruction; what it writes is not known any more. */
void put(struct gen *g, const u8 *bytes, unsigned len);
void put_bytes(struct gen *g, unsigned n, ...);
void put_mov(struct gen *g, unsigned reg, u64 value);
bool decode_one(const u8 *bytes, unsigned len, struct decoded *d);
u16 gprs_written(const struct decoded *d);
int gpr_number(ZydisRegister reg);
void some_block(struct gen *g, unsigned n);

/* ---- gen_random.c ---- */
void gen_random(struct gen *g);

/* ---- gen_gather.c ---- */
void gen_gather(struct gen *g);

/* ---- gen_forms.c ---- */
void gen_form(struct gen *g);

/* ---- gen_streams.c ---- */
void form_stream(struct gen *g);
