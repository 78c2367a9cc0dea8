/* SPDX-License-Identifier: MIT */
/* Makes a case from a seed: memory, registers, and a stream of instructions. */
#include <cpuid.h>
#include <stdarg.h>
#include <string.h>
#include <sys/auxv.h>

#include "tests/diff/gen.h"

u64 rnd(struct gen *g)
{
	u64 z = g->rng += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

bool host_has_fsgsbase(void)
{
	return getauxval(AT_HWCAP2) & 2;
}

/* ---- values and addresses ---- */

u64 some_value(struct gen *g)
{
	static const u64 edges[] = {
		0, 1, ~0ull, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff,
		0x7fffffffffffffff, 0x8000000000000000, 0x0123456789abcdef, 0x100000000,
	};

	switch (pick(g, 6)) {
	case 0: return edges[pick(g, ARRAY_SIZE(edges))];
	case 1: return pick(g, 64);
	case 2: return (u64)-(i64)pick(g, 64);
	case 3: return (u32)rnd(g);
	case 4: return (u64)(i32)rnd(g);
	default: return rnd(g);
	}
}

static unsigned aligned(struct gen *g, unsigned offset, unsigned size)
{
	unsigned unit = size >= 64 ? 64 : size >= 32 ? 32 : size >= 16 ? 16 : 8;

	if (chance(g, size >= 16 ? 80 : 50))
		offset &= ~(unit - 1);
	return offset;
}

u64 some_address(struct gen *g, unsigned size, bool write, bool low)
{
	unsigned what = pick(g, 1000), offset;
	u64 base = low ? LOW_AT : chance(g, 15) ? STACK_AT : chance(g, 50) ? LOW_AT : HIGH_AT;

	if (size > 1024)
		size = 1024;
	offset = aligned(g, pick(g, 8192 - size), size);
	if (base == STACK_AT)
		return base + offset;
	if (what < 650)
		return base + offset;
	if (what < 820)
		return base + 4096 - pick(g, size + 1);
	if (what < 950)
		return write && !chance(g, 5) ? base + offset : base + 8192 + aligned(g, pick(g, 4096 - size), size);
	if (what < 970)
		return base + 8192 - pick(g, size + 1);
	if (what < 980)
		return base + 12288 - pick(g, size + 1);
	if (what < 984)
		return base + 12288 + pick(g, 4096);
	if (what < 987 && !low)
		return rnd(g);
	return base + offset;
}

unsigned some_reg(struct gen *g, u16 not)
{
	/* The engine treats these registers in ways of their own. */
	static const u8 special[] = { R10, R11, R15, RSP, R12, R13, RBP, RAX, RCX };
	unsigned r;

	do {
		r = chance(g, 40) ? special[pick(g, ARRAY_SIZE(special))] : pick(g, 16);
	} while (not >> r & 1);
	return r;
}

/* ---- appending ---- */

bool room(const struct gen *g)
{
	return g->at + 200 < g->end && g->test->natoms + 24 < ATOMS_MAX;
}

bool decode_one(const u8 *bytes, unsigned len, struct decoded *d)
{
	static ZydisDecoder decoder;
	static bool ready;

	if (!ready)
		ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	ready = true;
	return ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, bytes, len, &d->zi, d->ops));
}

int gpr_number(ZydisRegister reg)
{
	ZydisRegister wide = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, reg);

	return wide >= ZYDIS_REGISTER_RAX && wide <= ZYDIS_REGISTER_R15 ? (int)(wide - ZYDIS_REGISTER_RAX) : -1;
}

u16 gprs_written(const struct decoded *d)
{
	u16 mask = 0;

	for (unsigned i = 0; i < d->zi.operand_count; i++) {
		const ZydisDecodedOperand *op = &d->ops[i];
		int r;

		if (op->type != ZYDIS_OPERAND_TYPE_REGISTER || !(op->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE))
			continue;
		r = gpr_number(op->reg.value);
		if (r >= 0)
			mask |= (u16)(1u << r);
	}
	return mask;
}

/* clang-format off */
/*
 * Flags that an instruction leaves undefined: silicon may keep the old ones,
 * which the engine may not have kept. Logic and shifts do not.
 */
static bool unsettles_flags(const struct decoded *d)
{
	if (!d->zi.cpu_flags || !(d->zi.cpu_flags->undefined & FL_ARITH))
		return false;
	switch (d->zi.mnemonic) {
	case ZYDIS_MNEMONIC_AND: case ZYDIS_MNEMONIC_OR: case ZYDIS_MNEMONIC_XOR: case ZYDIS_MNEMONIC_TEST:
	case ZYDIS_MNEMONIC_SHL: case ZYDIS_MNEMONIC_SHR: case ZYDIS_MNEMONIC_SAR: case ZYDIS_MNEMONIC_ROL:
	case ZYDIS_MNEMONIC_ROR: case ZYDIS_MNEMONIC_RCL: case ZYDIS_MNEMONIC_RCR:
		return false;
	default: return true;
	}
}
/* clang-format on */

static void settle_flags(struct gen *g)
{
	struct atom *a = &g->test->atom[g->test->natoms - 1];
	u8 cmp[3] = { (u8)(0x40 | pick(g, 16)), (u8)(0x38 + pick(g, 4)), (u8)(0xc0 | pick(g, 64)) };
	u16 outer = g->group;

	if (!a->group)
		a->group = ++g->next_group;
	g->group = a->group;
	put(g, cmp, 3);
	g->group = outer;
}

void put(struct gen *g, const u8 *bytes, unsigned len)
{
	struct diff_case *t = g->test;
	struct decoded d;

	memcpy(t->mem + g->at, bytes, len);
	t->atom[t->natoms++] = (struct atom){ (u16)g->at, (u16)len, g->group };
	g->at += len;
	if (!decode_one(bytes, len, &d))
		return;
	g->is_known &= (u16)~gprs_written(&d);
	if (unsettles_flags(&d))
		settle_flags(g);
}

void put_bytes(struct gen *g, unsigned n, ...)
{
	u8 bytes[16];
	va_list ap;

	va_start(ap, n);
	for (unsigned i = 0; i < n; i++)
		bytes[i] = (u8)va_arg(ap, int);
	va_end(ap);
	put(g, bytes, n);
}

void put_mov(struct gen *g, unsigned reg, u64 value)
{
	u8 b[10] = { (u8)(0x48 | reg >> 3), (u8)(0xb8 | (reg & 7)) };
	unsigned len = 10;

	memcpy(b + 2, &value, 8);
	if ((i64)value == (i32)value && chance(g, 60)) {
		b[1] = 0xc7;
		b[2] = (u8)(0xc0 | (reg & 7));
		memcpy(b + 3, &value, 4);
		len = 7;
	}
	put(g, b, len);
	g->known[reg] = value;
	g->is_known |= (u16)(1u << reg);
}

void some_block(struct gen *g, unsigned n)
{
	g->depth++;
	while (n-- && room(g)) {
		if (chance(g, 62))
			gen_random(g);
		else
			gen_form(g);
	}
	g->depth--;
}

/* ---- the start ---- */

static void fill_memory(struct gen *g)
{
	u8 *mem = g->test->mem;

	memset(mem, 0xcc, CODE_BYTES);
	for (unsigned i = CODE_BYTES; i < MEM_SIZE; i += 8) {
		u64 v = rnd(g);

		memcpy(mem + i, &v, 8);
	}
	/* The read-only pages hold small indexes: 32-bit ones, then 64-bit ones. */
	for (unsigned page = PAGE_LOW + 2; page < MEM_PAGES; page += DATA_PAGES) {
		for (unsigned i = 0; i < 512; i++) {
			i32 v = (i32)pick(g, 401) - 200;
			i64 w = (i64)pick(g, 401) - 200;

			memcpy(mem + page * 4096 + i * 4, &v, 4);
			if (i < 256)
				memcpy(mem + page * 4096 + 2048 + i * 8, &w, 8);
		}
	}
	/* Some floating-point numbers that are near one another. */
	for (unsigned i = 0; i < 512; i++) {
		double v = (double)(i64)rnd(g) / 65536.0 / 65536.0;
		float f = (float)v;

		if (i & 1)
			memcpy(mem + (PAGE_LOW + (i & 2 ? DATA_PAGES : 0)) * 4096 + i * 8, &v, 8);
		else
			memcpy(mem + (PAGE_LOW + (i & 2 ? DATA_PAGES : 0)) * 4096 + i * 8, &f, 4);
	}
}

static void fill_vectors(struct gen *g)
{
	u8 *x = g->test->init.xsave;
	u64 bv = XSTATE_MASK;
	u32 mxcsr = 0x1f80;
	u16 fcw = 0x37f;

	memset(x, 0, XSAVE_SIZE);
	for (unsigned i = 160; i < 416; i += 4) {
		u32 v = (u32)rnd(g);
		float f = (float)(i32)v / 65536.0f;

		memcpy(x + i, chance(g, 50) ? (void *)&v : (void *)&f, 4);
	}
	for (unsigned i = 576; i < 2432; i += 8) {
		u64 v = chance(g, 10) ? some_value(g) : rnd(g);

		memcpy(x + i, &v, 8);
	}
	for (unsigned i = 0; i < 8; i++) {
		u64 frac = rnd(g) | 1ull << 63;
		u16 exp = (u16)(0x3fff + pick(g, 40) - 20) | (u16)(pick(g, 2) << 15);

		memcpy(x + 32 + i * 16, &frac, 8);
		memcpy(x + 40 + i * 16, &exp, 2);
	}
	x[4] = chance(g, 50) ? 0 : (u8)rnd(g); /* tags: a bit set is in use */
	x[3] = (u8)(pick(g, 8) << 3); /* top of stack */
	if (chance(g, 30))
		fcw = (u16)((fcw & ~0xf00) | pick(g, 16) << 8);
	if (chance(g, 5))
		fcw &= (u16)~pick(g, 64);
	if (chance(g, 30))
		mxcsr |= (pick(g, 4) << 13) | (pick(g, 2) << 15) | (pick(g, 2) << 6);
	if (chance(g, 5))
		mxcsr &= ~(pick(g, 64) << 7);
	memcpy(x, &fcw, 2);
	memcpy(x + 24, &mxcsr, 4);
	if (!g->avx512)
		bv &= 7;
	if (!g->avx)
		bv &= 3;
	memcpy(x + 512, &bv, 8);
}

static void fill_registers(struct gen *g)
{
	struct diff_state *st = &g->test->init;

	for (unsigned i = 0; i < 16; i++) {
		g->known[i] = chance(g, 40) ? some_address(g, 8, true, false) : some_value(g);
		if (i == RSP && chance(g, 90))
			g->known[i] = STACK_AT + 4096 + pick(g, 128) * 8;
		st->gpr[i] = g->known[i];
	}
	g->is_known = 0xffff;
	st->rflags = 2 | (rnd(g) & FL_ARITH) | (chance(g, 10) ? FL_DF : 0);
	st->fs_base = chance(g, 50) ? LOW_AT + pick(g, 8192) : HIGH_AT - pick(g, 1 << 20);
	st->gs_base = chance(g, 50) ? HIGH_AT + pick(g, 8192) : pick(g, 1 << 20);
}

static void find_features(struct gen *g)
{
	unsigned a, b = 0, c, d, lo = 0, hi;

	if (__get_cpuid(1, &a, &b, &c, &d) && c & BIT(27))
		__asm__("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
	if (!__get_cpuid_count(7, 0, &a, &b, &c, &d))
		b = 0;
	g->avx = (lo & 6) == 6 && b & BIT(5);
	g->avx512 = g->avx && (lo & 0xe0) == 0xe0 && b & BIT(16) && b & BIT(31) && b & BIT(30) && b & BIT(17);
}

void diff_generate(struct diff_case *test, u64 seed)
{
	struct gen gen = { .test = test, .rng = seed * 0x2545f4914f6cdd1dull + 1 }, *g = &gen;

	memset(test, 0, sizeof(*test));
	test->seed = seed;
	find_features(g);
	test->kernel = chance(g, 25);
	test->fsgs = host_has_fsgsbase();
	fill_memory(g);
	fill_vectors(g);
	fill_registers(g);
	g->at = chance(g, 50) ? 4096 - pick(g, 400) : pick(g, 4096);
	g->end = g->at + 3000 < CODE_BYTES ? g->at + 3000 : CODE_BYTES;
	test->init.rip = CODE_AT + g->at;
	some_block(g, 4 + pick(g, 36));
	put_bytes(g, 1, 0xcc);
}
