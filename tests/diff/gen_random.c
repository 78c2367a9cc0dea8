/* SPDX-License-Identifier: MIT */
/*
 * Instructions from random bytes: an opcode of a random map with random
 * operands is taken when the decoder knows it and it only computes. Its memory
 * operand is then led to memory of the case, by its displacement or by values
 * put into its registers before it.
 */
#include <string.h>

#include "tests/diff/gen.h"

enum { MAP_ONE, MAP_0F, MAP_0F38, MAP_0F3A, MAP_VEX, MAP_EVEX };

/* ---- which instructions are computation ---- */

/* clang-format off */
static bool isa_runs(ZydisISASet set)
{
	if (set >= ZYDIS_ISA_SET_AVX512BW_128 && set <= ZYDIS_ISA_SET_AVX512_VPOPCNTDQ_512) {
		if (set >= ZYDIS_ISA_SET_AVX512ER_512 && set <= ZYDIS_ISA_SET_AVX512ER_SCALAR)
			return false;
		if (set >= ZYDIS_ISA_SET_AVX512PF_512 && set <= ZYDIS_ISA_SET_AVX512_4VNNIW_512)
			return false;
		if (set >= ZYDIS_ISA_SET_AVX512_FP16_128 && set <= ZYDIS_ISA_SET_AVX512_FP16_SCALAR)
			return false;
		return set < ZYDIS_ISA_SET_AVX512_VP2INTERSECT_128 || set > ZYDIS_ISA_SET_AVX512_VP2INTERSECT_512;
	}
	switch (set) {
	case ZYDIS_ISA_SET_ADOX_ADCX: case ZYDIS_ISA_SET_AES: case ZYDIS_ISA_SET_AVX: case ZYDIS_ISA_SET_AVX2:
	case ZYDIS_ISA_SET_AVX2GATHER: case ZYDIS_ISA_SET_AVXAES: case ZYDIS_ISA_SET_AVX_GFNI:
	case ZYDIS_ISA_SET_AVX_VNNI: case ZYDIS_ISA_SET_BMI1: case ZYDIS_ISA_SET_BMI2:
	case ZYDIS_ISA_SET_CLFLUSHOPT: case ZYDIS_ISA_SET_CLFSH: case ZYDIS_ISA_SET_CLWB: case ZYDIS_ISA_SET_CMOV:
	case ZYDIS_ISA_SET_CMPXCHG16B: case ZYDIS_ISA_SET_F16C: case ZYDIS_ISA_SET_FAT_NOP:
	case ZYDIS_ISA_SET_FCMOV: case ZYDIS_ISA_SET_FMA: case ZYDIS_ISA_SET_GFNI: case ZYDIS_ISA_SET_I186:
	case ZYDIS_ISA_SET_I386: case ZYDIS_ISA_SET_I486: case ZYDIS_ISA_SET_I486REAL: case ZYDIS_ISA_SET_I86:
	case ZYDIS_ISA_SET_LAHF: case ZYDIS_ISA_SET_LONGMODE: case ZYDIS_ISA_SET_LZCNT: case ZYDIS_ISA_SET_MOVBE:
	case ZYDIS_ISA_SET_PAUSE: case ZYDIS_ISA_SET_PCLMULQDQ: case ZYDIS_ISA_SET_PENTIUMMMX:
	case ZYDIS_ISA_SET_PENTIUMREAL: case ZYDIS_ISA_SET_POPCNT: case ZYDIS_ISA_SET_PPRO:
	case ZYDIS_ISA_SET_PREFETCH_NOP: case ZYDIS_ISA_SET_SHA: case ZYDIS_ISA_SET_SSE: case ZYDIS_ISA_SET_SSE2:
	case ZYDIS_ISA_SET_SSE2MMX: case ZYDIS_ISA_SET_SSE3: case ZYDIS_ISA_SET_SSE3X87: case ZYDIS_ISA_SET_SSE4:
	case ZYDIS_ISA_SET_SSE42: case ZYDIS_ISA_SET_SSEMXCSR: case ZYDIS_ISA_SET_SSE_PREFETCH:
	case ZYDIS_ISA_SET_SSSE3: case ZYDIS_ISA_SET_SSSE3MMX: case ZYDIS_ISA_SET_VAES:
	case ZYDIS_ISA_SET_VPCLMULQDQ: case ZYDIS_ISA_SET_X87:
		return true;
	default: return false;
	}
}

/* Control flow and the stack have forms of their own (gen_forms.c). */
static bool category_runs(ZydisInstructionCategory c)
{
	switch (c) {
	case ZYDIS_CATEGORY_SYSTEM: case ZYDIS_CATEGORY_SYSCALL: case ZYDIS_CATEGORY_SYSRET: case ZYDIS_CATEGORY_IO:
	case ZYDIS_CATEGORY_IOSTRINGOP: case ZYDIS_CATEGORY_INTERRUPT: case ZYDIS_CATEGORY_COND_BR:
	case ZYDIS_CATEGORY_UNCOND_BR: case ZYDIS_CATEGORY_CALL: case ZYDIS_CATEGORY_RET:
	case ZYDIS_CATEGORY_STRINGOP: case ZYDIS_CATEGORY_PUSH: case ZYDIS_CATEGORY_POP: case ZYDIS_CATEGORY_SEGOP:
	case ZYDIS_CATEGORY_RDRAND: case ZYDIS_CATEGORY_RDSEED:
		return false;
	default: return true;
	}
}

static bool mnemonic_runs(struct gen *g, ZydisMnemonic m)
{
	switch (m) {
	/* What these store tells of the host's addresses, or partly gets done. */
	case ZYDIS_MNEMONIC_FNSTENV: case ZYDIS_MNEMONIC_FNSAVE: case ZYDIS_MNEMONIC_FRSTOR:
	case ZYDIS_MNEMONIC_FLDENV: case ZYDIS_MNEMONIC_ENTER: case ZYDIS_MNEMONIC_LEAVE:
	case ZYDIS_MNEMONIC_UD0: case ZYDIS_MNEMONIC_UD1: case ZYDIS_MNEMONIC_UD2: case ZYDIS_MNEMONIC_BOUND:
	case ZYDIS_MNEMONIC_XLAT: case ZYDIS_MNEMONIC_MASKMOVQ: case ZYDIS_MNEMONIC_MASKMOVDQU:
	case ZYDIS_MNEMONIC_VMASKMOVDQU: case ZYDIS_MNEMONIC_CPUID: case ZYDIS_MNEMONIC_RDTSC:
	case ZYDIS_MNEMONIC_CLTS: case ZYDIS_MNEMONIC_RSM:
		return false;
	case ZYDIS_MNEMONIC_DIV: case ZYDIS_MNEMONIC_IDIV: return chance(g, 10);
	case ZYDIS_MNEMONIC_LDMXCSR: case ZYDIS_MNEMONIC_VLDMXCSR: return chance(g, 5);
	case ZYDIS_MNEMONIC_CLI: case ZYDIS_MNEMONIC_STI: return !g->test->kernel && chance(g, 5);
	default: return true;
	}
}

/* Segment, control and debug registers are no business of this test. */
static bool operands_run(const struct decoded *d)
{
	for (unsigned i = 0; i < d->zi.operand_count; i++) {
		const ZydisDecodedOperand *op = &d->ops[i];

		if (op->type == ZYDIS_OPERAND_TYPE_POINTER)
			return false;
		if (op->type != ZYDIS_OPERAND_TYPE_REGISTER)
			continue;
		switch (ZydisRegisterGetClass(op->reg.value)) {
		case ZYDIS_REGCLASS_SEGMENT: case ZYDIS_REGCLASS_CONTROL: case ZYDIS_REGCLASS_DEBUG:
		case ZYDIS_REGCLASS_TEST: case ZYDIS_REGCLASS_BOUND: return false;
		default: break;
		}
	}
	return true;
}
/* clang-format on */

static bool reads_rsp(const struct decoded *d)
{
	for (unsigned i = 0; i < d->zi.operand_count; i++)
		if (d->ops[i].type == ZYDIS_OPERAND_TYPE_REGISTER && gpr_number(d->ops[i].reg.value) == RSP)
			return true;
	return false;
}

static bool runs(struct gen *g, const struct decoded *d)
{
	/* The register forms of PREFETCHW are #UD on some silicon. */
	if (d->zi.opcode_map == ZYDIS_OPCODE_MAP_0F && d->zi.opcode == 0x0d)
		return false;
	/* Zen 5 gives VPBROADCASTQ an old RSP when a push is in flight. */
	if (d->zi.encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX && reads_rsp(d))
		return false;
	return isa_runs(d->zi.meta.isa_set) && category_runs(d->zi.meta.category) &&
	       mnemonic_runs(g, d->zi.mnemonic) && operands_run(d);
}

/* ---- random bytes of an instruction ---- */

struct raw {
	u8 b[32];
	unsigned n;
	unsigned modrm; /* offset, 0: none so far */
	bool fs, gs;
};

static void add(struct raw *r, unsigned byte)
{
	r->b[r->n++] = (u8)byte;
}

static void add_legacy_prefixes(struct gen *g, struct raw *r, unsigned map)
{
	if (g->test->fsgs && chance(g, 5))
		add(r, chance(g, 50) ? 0x64 : 0x65);
	if (chance(g, 4))
		add(r, 0x67);
	if (map == MAP_ONE) {
		if (chance(g, 15))
			add(r, 0x66);
		if (chance(g, 8))
			add(r, 0xf0);
	} else {
		static const u8 prefixes[] = { 0x66, 0xf2, 0xf3 };

		if (chance(g, 8))
			add(r, 0xf0);
		if (chance(g, 65))
			add(r, prefixes[pick(g, 3)]);
		if (chance(g, 4))
			add(r, 0x66);
	}
	if (chance(g, 65))
		add(r, 0x40 | pick(g, 16));
}

static void add_vex(struct gen *g, struct raw *r)
{
	unsigned pp = pick(g, 4), l = pick(g, 2), vvvv = chance(g, 30) ? 15 : pick(g, 16);

	if (g->test->fsgs && chance(g, 3))
		add(r, chance(g, 50) ? 0x64 : 0x65);
	if (chance(g, 3))
		add(r, 0x67);
	if (chance(g, 40)) {
		add(r, 0xc5);
		add(r, pick(g, 2) << 7 | vvvv << 3 | l << 2 | pp);
	} else {
		add(r, 0xc4);
		add(r, pick(g, 8) << 5 | (1 + pick(g, 3)));
		add(r, pick(g, 2) << 7 | vvvv << 3 | l << 2 | pp);
	}
	add(r, (unsigned)rnd(g) & 0xff);
}

static void add_evex(struct gen *g, struct raw *r)
{
	unsigned vvvv = chance(g, 30) ? 15 : pick(g, 16), v2 = vvvv == 15 || chance(g, 60);

	if (g->test->fsgs && chance(g, 3))
		add(r, chance(g, 50) ? 0x64 : 0x65);
	add(r, 0x62);
	add(r, pick(g, 16) << 4 | (1 + pick(g, 3)));
	add(r, pick(g, 2) << 7 | vvvv << 3 | 4 | pick(g, 4));
	add(r, (unsigned)(chance(g, 30) << 7) | pick(g, 3) << 5 | (unsigned)(chance(g, 20) << 4) | v2 << 3 |
	       (chance(g, 50) ? 0 : pick(g, 8)));
	add(r, (unsigned)rnd(g) & 0xff);
}

static void add_opcode(struct gen *g, struct raw *r, unsigned map)
{
	switch (map) {
	case MAP_VEX: add_vex(g, r); return;
	case MAP_EVEX: add_evex(g, r); return;
	default: break;
	}
	add_legacy_prefixes(g, r, map);
	if (map != MAP_ONE)
		add(r, 0x0f);
	if (map == MAP_0F38)
		add(r, 0x38);
	if (map == MAP_0F3A)
		add(r, 0x3a);
	if (map == MAP_ONE && chance(g, 10))
		add(r, 0xd8 + pick(g, 8)); /* x87 */
	else
		add(r, (unsigned)rnd(g) & 0xff);
}

static unsigned some_map(struct gen *g)
{
	unsigned n = pick(g, 100);

	if (n < 40)
		return MAP_ONE;
	if (n < 66)
		return MAP_0F;
	if (n < 72)
		return MAP_0F38;
	if (n < 75)
		return MAP_0F3A;
	if (n < 87 || !g->avx512)
		return g->avx ? MAP_VEX : MAP_0F;
	return MAP_EVEX;
}

/* ---- leading the memory operand to the case's memory ---- */

static const ZydisDecodedOperand *memory_operand(const struct decoded *d)
{
	for (unsigned i = 0; i < d->zi.operand_count_visible; i++)
		if (d->ops[i].type == ZYDIS_OPERAND_TYPE_MEMORY && d->ops[i].mem.type != ZYDIS_MEMOP_TYPE_AGEN)
			return &d->ops[i];
	return NULL;
}

static bool can_set(const struct gen *g, int reg)
{
	return !(g->reserved >> reg & 1);
}

/* A bit offset in a register reaches far: keep it near. */
static bool fix_bit_offset(struct gen *g, const struct decoded *d, const ZydisDecodedOperand *mem)
{
	ZydisMnemonic m = d->zi.mnemonic;
	int r;

	if (m != ZYDIS_MNEMONIC_BT && m != ZYDIS_MNEMONIC_BTS && m != ZYDIS_MNEMONIC_BTR && m != ZYDIS_MNEMONIC_BTC)
		return true;
	if (d->ops[1].type != ZYDIS_OPERAND_TYPE_REGISTER)
		return true;
	r = gpr_number(d->ops[1].reg.value);
	if (r == gpr_number(mem->mem.base) || r == gpr_number(mem->mem.index) || !can_set(g, r))
		return false;
	put_mov(g, (unsigned)r, (rnd(g) & ~0xffffffffull & -(u64)(d->zi.operand_width < 64)) |
			       (chance(g, 50) ? pick(g, 16384) : (u64)-(i64)pick(g, 8192)));
	return true;
}

/* A vector of small indexes for a gather or scatter, from the read-only page. */
static bool fix_vector_index(struct gen *g, const struct decoded *d, const ZydisDecodedOperand *mem)
{
	ZydisRegister x = mem->mem.index;
	unsigned n = x >= ZYDIS_REGISTER_ZMM0 ? x - ZYDIS_REGISTER_ZMM0 : x >= ZYDIS_REGISTER_YMM0 ?
		     x - ZYDIS_REGISTER_YMM0 : x - ZYDIS_REGISTER_XMM0;
	bool qwords = d->zi.opcode & 1; /* 91 and 93 (A1 and A3) have 64-bit indexes */
	u32 from = (u32)LOW_AT + 8192 + (qwords ? 2048 : 0) + pick(g, 120) * 16;
	u8 b[11] = { 0x62, (u8)((n & 8 ? 0x61 : 0xe1) & (n & 16 ? 0xef : 0xff)), 0x7e, 0x48, 0x6f,
		     (u8)(0x04 | (n & 7) << 3), 0x25 };
	u8 vex[10] = { 0xc4, (u8)(n & 8 ? 0x61 : 0xe1), 0x7e, 0x6f, (u8)(0x04 | (n & 7) << 3), 0x25 };

	if (g->avx512) {
		memcpy(b + 7, &from, 4);
		put(g, b, 11);
	} else {
		memcpy(vex + 6, &from, 4);
		put(g, vex, 10);
	}
	return true;
}

static u64 segment_base(const struct gen *g, const ZydisDecodedOperand *mem)
{
	return mem->mem.segment == ZYDIS_REGISTER_FS ? g->test->init.fs_base :
	       mem->mem.segment == ZYDIS_REGISTER_GS ? g->test->init.gs_base : 0;
}

struct place {
	int base, index;
	unsigned scale;
	bool vsib, ripped, narrow;
	i64 disp; /* as encoded, scaled */
	u64 target; /* effective address: without the segment's base */
};

/* The displacement that the registers as they are need; true when it fits. */
static bool by_displacement(struct gen *g, struct raw *r, const struct decoded *d, const struct place *p)
{
	unsigned at = d->zi.raw.disp.offset, size = d->zi.raw.disp.size;
	i64 want = (i64)p->target;
	i32 w;

	if (size != 32)
		return false;
	if (p->ripped)
		return false;
	if (p->base >= 0 && !(g->is_known >> p->base & 1))
		return false;
	if (p->index >= 0 && !(g->is_known >> p->index & 1))
		return false;
	if (p->base >= 0)
		want -= (i64)g->known[p->base];
	if (p->index >= 0)
		want -= (i64)(g->known[p->index] * p->scale);
	if (p->narrow)
		want = (i32)want;
	if (want != (i32)want)
		return false;
	w = (i32)want;
	memcpy(r->b + at, &w, 4);
	return true;
}

/* Puts values into the registers so that the address comes out. */
static bool by_registers(struct gen *g, const struct place *p)
{
	u64 junk = p->narrow ? rnd(g) & ~0xffffffffull : 0, want = p->target - (u64)p->disp, x = 0;

	if (p->index >= 0 && p->base < 0) {
		if (!can_set(g, p->index))
			return false;
		want = (p->narrow ? (u32)want : want) / p->scale;
		put_mov(g, (unsigned)p->index, want | junk);
		return true;
	}
	if (p->base < 0 || !can_set(g, p->base))
		return false;
	if (p->index == p->base) {
		put_mov(g, (unsigned)p->base, (p->narrow ? (u32)want : want) / (1 + p->scale));
		return true;
	}
	if (p->index >= 0) {
		if (g->is_known >> p->index & 1 && chance(g, 50)) {
			x = g->known[p->index];
		} else {
			if (!can_set(g, p->index))
				return false;
			x = chance(g, 70) ? pick(g, 4096) : some_value(g);
			put_mov(g, (unsigned)p->index, x);
		}
	}
	want -= x * p->scale;
	put_mov(g, (unsigned)p->base, p->narrow ? (u32)want | junk : want);
	return true;
}

static bool fix_memory(struct gen *g, struct raw *r, const struct decoded *d, const ZydisDecodedOperand *mem)
{
	struct place p = {
		.base = gpr_number(mem->mem.base), .index = gpr_number(mem->mem.index),
		.scale = mem->mem.scale ? mem->mem.scale : 1, .vsib = mem->mem.type == ZYDIS_MEMOP_TYPE_VSIB,
		.ripped = mem->mem.base == ZYDIS_REGISTER_RIP || mem->mem.base == ZYDIS_REGISTER_EIP,
		.narrow = d->zi.address_width == 32,
		.disp = mem->mem.disp.has_displacement ? mem->mem.disp.value : 0,
	};
	bool write = mem->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;
	u64 seg = segment_base(g, mem);
	unsigned size = mem->size / 8 ? mem->size / 8 : 1;

	if (!fix_bit_offset(g, d, mem))
		return false;
	p.target = some_address(g, size, write, p.narrow || p.base < 0) - seg;
	/* Masked accesses are told apart by lanes only where pages end. */
	if (d->zi.avx.mask.reg > ZYDIS_REGISTER_K0 && chance(g, 50) && p.base >= 0)
		p.target = LOW_AT + (chance(g, 70) ? 4096 : write ? 8192 : 12288) - pick(g, size + 1) - seg;
	if (p.vsib) {
		p.index = -1;
		if (p.base < 0)
			return false;
		p.target = (chance(g, 50) ? LOW_AT : HIGH_AT) + 3000 + pick(g, 1500) - seg;
		fix_vector_index(g, d, mem);
	}
	if (p.narrow && (p.target > 0xffffffff || p.ripped))
		return false;
	if (p.ripped) {
		i64 want = (i64)(p.target = some_address(g, size, write, false) - seg) - (i64)(CODE_AT + g->at + d->zi.length);
		i32 w = (i32)want;

		if (want != w)
			return false;
		memcpy(r->b + d->zi.raw.disp.offset, &w, 4);
		return true;
	}
	if (d->zi.raw.imm[0].size == 64 || (d->zi.raw.disp.size == 64)) {
		p.target = some_address(g, size, write, false) - seg;
		memcpy(r->b + d->zi.raw.disp.offset, &p.target, 8);
		return true;
	}
	return by_displacement(g, r, d, &p) || by_registers(g, &p);
}

/* ---- one instruction ---- */

static bool try_one(struct gen *g)
{
	struct raw r = { 0 };
	struct decoded d;
	const ZydisDecodedOperand *mem;
	unsigned map = some_map(g);

	add_opcode(g, &r, map);
	while (r.n < 24)
		add(&r, (unsigned)rnd(g));
	if (!decode_one(r.b, 15, &d) || !runs(g, &d) || gprs_written(&d) & g->reserved)
		return false;
	if (gprs_written(&d) >> RSP & 1 && chance(g, 70))
		return false;
	mem = memory_operand(&d);
	if (mem && !fix_memory(g, &r, &d, mem))
		return false;
	put(g, r.b, d.zi.length);
	return true;
}

void gen_random(struct gen *g)
{
	for (unsigned i = 0; i < 200 && room(g); i++)
		if (try_one(g))
			return;
}
