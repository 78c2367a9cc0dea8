/* SPDX-License-Identifier: MIT */
/*
 * The instruction emulator: prefixes, one table for each opcode map, operands,
 * and a function for each kind of instruction. Memory is written before any
 * register, so a faulting store leaves nothing half done.
 */
#include "x86/emulate.h"

#include "x86/state.h"

enum kind {
	UNKNOWN, /* 0: what the tables do not name */
	ALU, /* ADD OR ADC SBB AND SUB XOR CMP by arg; dst, src */
	TEST,
	MOV,
	MOVZX, /* arg: size of the source */
	MOVSX,
	MOVBE,
	XCHG,
	XADD,
	CMPXCHG,
	BIT, /* arg: 0 BT, 1 BTS, 2 BTR, 3 BTC */
	CMOV,
	SET,
	STRING, /* arg: enum string */
	GROUP1, /* the kinds below are found by ModRM.reg */
	GROUP3,
	GROUP4,
	GROUP8,
	GROUP11,
};

enum string { MOVS, CMPS, STOS, LODS, SCAS, INS, OUTS };

enum {
	BYTE = 1, /* operands of 8 bits */
	MODRM = 2,
	TO_REG = 4, /* destination is ModRM.reg (or the accumulator), source is r/m */
	IMM = 8, /* source is an immediate of operand size, at most 32 bits */
	IMM8 = 16, /* source is a sign-extended byte */
	MOFFS = 32, /* r/m is an absolute address, the register is the accumulator */
	LOCKABLE = 64,
};

struct rule {
	u8 kind, flags, arg;
};

#define RM_REG(op, kind, flags, arg)                                                                         \
	[op] = {kind, MODRM | BYTE | (flags), arg}, [(op) + 1] = {kind, MODRM | (flags), arg}
#define ALU_RULES(op, arg) RM_REG(op, ALU, LOCKABLE, arg), RM_REG((op) + 2, ALU, TO_REG, arg)
#define STRING_RULES(op, arg) [op] = {STRING, BYTE, arg}, [(op) + 1] = {STRING, 0, arg}

static const struct rule one_byte[256] = {
	ALU_RULES(0x00, 0),
	ALU_RULES(0x08, 1),
	ALU_RULES(0x10, 2),
	ALU_RULES(0x18, 3),
	ALU_RULES(0x20, 4),
	ALU_RULES(0x28, 5),
	ALU_RULES(0x30, 6),
	ALU_RULES(0x38, 7),
	[0x63] = {MOVSX, MODRM | TO_REG, 4},
	STRING_RULES(0x6c, INS),
	STRING_RULES(0x6e, OUTS),
	[0x80] = {GROUP1, MODRM | BYTE | IMM8 | LOCKABLE, 0},
	[0x81] = {GROUP1, MODRM | IMM | LOCKABLE, 0},
	[0x83] = {GROUP1, MODRM | IMM8 | LOCKABLE, 0},
	RM_REG(0x84, TEST, 0, 0),
	RM_REG(0x86, XCHG, LOCKABLE, 0),
	RM_REG(0x88, MOV, 0, 0),
	RM_REG(0x8a, MOV, TO_REG, 0),
	[0xa0] = {MOV, MOFFS | BYTE | TO_REG, 0},
	[0xa1] = {MOV, MOFFS | TO_REG, 0},
	[0xa2] = {MOV, MOFFS | BYTE, 0},
	[0xa3] = {MOV, MOFFS, 0},
	STRING_RULES(0xa4, MOVS),
	STRING_RULES(0xa6, CMPS),
	STRING_RULES(0xaa, STOS),
	STRING_RULES(0xac, LODS),
	STRING_RULES(0xae, SCAS),
	[0xc6] = {GROUP11, MODRM | BYTE | IMM8, 0},
	[0xc7] = {GROUP11, MODRM | IMM, 0},
	RM_REG(0xf6, GROUP3, LOCKABLE, 0),
	RM_REG(0xfe, GROUP4, LOCKABLE, 0),
};

/* Behind 0f. */
static const struct rule two_byte[256] = {
	[0x40 ... 0x4f] = {CMOV, MODRM | TO_REG, 0},
	[0x90 ... 0x9f] = {SET, MODRM | BYTE, 0},
	[0xa3] = {BIT, MODRM, 0},
	[0xab] = {BIT, MODRM | LOCKABLE, 1},
	RM_REG(0xb0, CMPXCHG, LOCKABLE, 0),
	[0xb3] = {BIT, MODRM | LOCKABLE, 2},
	[0xb6] = {MOVZX, MODRM | TO_REG, 1},
	[0xb7] = {MOVZX, MODRM | TO_REG, 2},
	[0xba] = {GROUP8, MODRM | IMM8 | LOCKABLE, 0},
	[0xbb] = {BIT, MODRM | LOCKABLE, 3},
	[0xbe] = {MOVSX, MODRM | TO_REG, 1},
	[0xbf] = {MOVSX, MODRM | TO_REG, 2},
	RM_REG(0xc0, XADD, LOCKABLE, 0),
	[0xc3] = {MOV, MODRM, 0}, /* MOVNTI */
};

/* Behind 0f 38. */
static const struct rule movbe_rule[2] = {
	{MOVBE, MODRM | TO_REG, 0},
	{MOVBE, MODRM, 0},
};

struct insn {
	struct x86_emul *e;
	struct rule rule;
	unsigned pos; /* bytes taken */
	u8 condition; /* of CMOV and SET */
	int error; /* EMUL_*: the first thing that went wrong */
	u8 rex, rep, segment; /* segment: 1 + SEG_*, 0: the default */
	bool lock, opsize_prefix, addrsize_prefix;
	unsigned size, addrsize; /* in bytes */
	u8 modrm, reg, rm;
	bool memory; /* r/m is memory, at ea in `base_segment` */
	u64 ea;
	u8 base_segment;
	u64 imm;
	u64 flags;
};

enum { REX_B = 1, REX_X = 2, REX_R = 4, REX_W = 8, REX = 0x40 };

/* size is 1 to 8. */
static u64 mask(unsigned size)
{
	return ~0ull >> (64 - 8 * size);
}

static u64 sign_extend(u64 v, unsigned size)
{
	unsigned shift = 64 - 8 * size;

	return (u64)((i64)(v << shift) >> shift);
}

/* ---- the bytes ---- */

/* Behind the last one, there are zeros and an error. */
static u8 take_byte(struct insn *in)
{
	if (likely(in->pos < in->e->len))
		return in->e->code[in->pos++];
	in->error = in->pos >= 15 ? EMUL_UNKNOWN : EMUL_SHORT;
	return 0;
}

static u64 take(struct insn *in, unsigned size)
{
	u64 v = 0;

	for (unsigned i = 0; i < size; i++)
		v |= (u64)take_byte(in) << 8 * i;
	return v;
}

static u64 take_signed(struct insn *in, unsigned size)
{
	return sign_extend(take(in, size), size);
}

/* True if the byte is a prefix. A REX counts only right before the opcode. */
static bool take_prefix(struct insn *in, u8 byte)
{
	if (in->e->bits == 64 && (byte & 0xf0) == REX) {
		in->rex = byte;
		return true;
	}
	switch (byte) {
	case 0x26:
	case 0x2e:
	case 0x36:
	case 0x3e:
		in->segment = 1 + (byte >> 3 & 3);
		break;
	case 0x64:
	case 0x65:
		in->segment = 1 + SEG_FS + (byte & 1);
		break;
	case 0x66:
		in->opsize_prefix = true;
		break;
	case 0x67:
		in->addrsize_prefix = true;
		break;
	case 0xf0:
		in->lock = true;
		break;
	case 0xf2:
	case 0xf3:
		in->rep = byte;
		break;
	default:
		return false;
	}
	in->rex = 0;
	return true;
}

static void find_rule(struct insn *in, u8 op)
{
	if (op != 0x0f) {
		in->rule = one_byte[op];
		if (op == 0x63 && in->e->bits != 64) /* ARPL */
			in->rule.kind = UNKNOWN;
		return;
	}
	op = take_byte(in);
	if (op != 0x38) {
		in->rule = two_byte[op];
		in->condition = op & 15;
		return;
	}
	op = take_byte(in);
	if ((op & 0xfe) == 0xf0 && in->rep != 0xf2) /* else CRC32 */
		in->rule = movbe_rule[op & 1];
}

static void find_sizes(struct insn *in)
{
	unsigned bits = in->e->bits;
	bool wide = (bits != 16) != in->opsize_prefix;

	in->size = in->rule.flags & BYTE ? 1 : in->rex & REX_W ? 8 : wide ? 4 : 2;
	if (bits == 64)
		in->addrsize = in->addrsize_prefix ? 4 : 8;
	else
		in->addrsize = (bits == 32) != in->addrsize_prefix ? 4 : 2;
}

/* ---- the address ---- */

static void address16(struct insn *in)
{
	static const u8 base[8] = {RBX, RBX, RBP, RBP, RSI, RDI, RBP, RBX};
	const u64 *gpr = in->e->gpr;
	unsigned mod = in->modrm >> 6, rm = in->modrm & 7;

	if (mod == 0 && rm == 6) {
		in->ea = take(in, 2);
		return;
	}
	in->ea = gpr[base[rm]];
	if (rm < 4)
		in->ea += gpr[rm & 1 ? RDI : RSI];
	if (base[rm] == RBP)
		in->base_segment = SEG_SS;
	if (mod)
		in->ea += take_signed(in, mod);
}

/* Base, index and the SIB byte. True when a displacement of 32 bits takes the base's place. */
static bool address_base(struct insn *in)
{
	const u64 *gpr = in->e->gpr;
	unsigned mod = in->modrm >> 6, base = in->modrm & 7;

	if (base == 4) {
		u8 sib = take_byte(in);
		unsigned index = (sib >> 3 & 7) | (in->rex & REX_X ? 8 : 0);

		base = sib & 7;
		if (index != RSP)
			in->ea = gpr[index] << (sib >> 6);
	} else if (mod == 0 && base == 5) {
		return true;
	}
	if (mod == 0 && base == 5)
		return true;
	base |= in->rex & REX_B ? 8 : 0;
	in->ea += gpr[base];
	if (base == RSP || base == RBP)
		in->base_segment = SEG_SS;
	return false;
}

static void address32(struct insn *in)
{
	unsigned mod = in->modrm >> 6;

	if (address_base(in) || mod == 2)
		in->ea += take_signed(in, 4);
	else if (mod == 1)
		in->ea += take_signed(in, 1);
}

static bool rip_relative(const struct insn *in)
{
	return in->e->bits == 64 && (in->modrm & 0xc7) == 5;
}

static void take_modrm(struct insn *in)
{
	in->modrm = take_byte(in);
	in->reg = (in->modrm >> 3 & 7) | (in->rex & REX_R ? 8 : 0);
	in->rm = (in->modrm & 7) | (in->rex & REX_B ? 8 : 0);
	in->memory = in->modrm < 0xc0;
	if (!in->memory)
		return;
	if (in->addrsize == 2)
		address16(in);
	else
		address32(in);
}

static u64 linear(const struct insn *in, unsigned segment, u64 offset)
{
	u64 a = offset & mask(in->addrsize);

	if (in->e->bits == 64 && segment < SEG_FS)
		return a;
	a += in->e->seg_base[segment];
	return in->e->bits == 64 ? a : (u32)a;
}

static unsigned data_segment(const struct insn *in)
{
	return in->segment ? in->segment - 1u : in->base_segment;
}

/* ---- groups: what ModRM.reg says ---- */

static void find_group(struct insn *in)
{
	struct rule *r = &in->rule;
	u8 reg = in->modrm >> 3 & 7;

	switch (r->kind) {
	case GROUP1:
		*r = (struct rule){ALU, r->flags, reg};
		break;
	case GROUP3: /* TEST TEST NOT NEG */
		if (reg < 2)
			*r = (struct rule){TEST, r->flags | (r->flags & BYTE ? IMM8 : IMM), 0};
		else if (reg < 4)
			*r = (struct rule){ALU, r->flags, reg + 8};
		else
			r->kind = UNKNOWN;
		break;
	case GROUP4: /* INC DEC */
		*r = (struct rule){reg < 2 ? ALU : UNKNOWN, r->flags, reg + 8};
		break;
	case GROUP8:
		*r = (struct rule){reg < 4 ? UNKNOWN : BIT, r->flags, reg & 3};
		break;
	case GROUP11:
		r->kind = reg ? UNKNOWN : MOV;
		break;
	}
}

static bool writes_memory(const struct insn *in)
{
	const struct rule *r = &in->rule;

	return in->memory && r->kind != TEST && !(r->kind == ALU && r->arg == 7) &&
	       !(r->kind == BIT && r->arg == 0);
}

static int decode(struct insn *in)
{
	u8 byte;

	do {
		byte = take_byte(in);
	} while (one_byte[byte].kind == UNKNOWN && take_prefix(in, byte));
	find_rule(in, byte);
	find_sizes(in);
	if (in->rule.flags & MODRM)
		take_modrm(in);
	if (in->rule.kind >= GROUP1)
		find_group(in);
	if (in->rule.flags & MOFFS) {
		in->memory = true;
		in->ea = take(in, in->addrsize);
	}
	if (in->rule.flags & IMM)
		in->imm = take_signed(in, MIN(in->size, 4u));
	else if (in->rule.flags & IMM8)
		in->imm = take_signed(in, 1);
	if (in->rule.flags & MODRM && in->addrsize != 2 && rip_relative(in))
		in->ea += in->e->rip + in->pos;
	if (in->error)
		return in->error;
	if (in->lock && !(in->rule.flags & LOCKABLE && writes_memory(in)))
		return EMUL_UNKNOWN;
	return in->rule.kind == UNKNOWN ? EMUL_UNKNOWN : 0;
}

/* ---- operands ---- */

/* AH, CH, DH and BH stand where SPL to DIL do with a REX. */
static bool high_byte(const struct insn *in, unsigned reg, unsigned size)
{
	return size == 1 && !in->rex && reg >= 4 && reg < 8;
}

static u64 get_reg(const struct insn *in, unsigned reg, unsigned size)
{
	if (high_byte(in, reg, size))
		return in->e->gpr[reg - 4] >> 8 & 0xff;
	return in->e->gpr[reg] & mask(size);
}

static void set_reg(struct insn *in, unsigned reg, unsigned size, u64 v)
{
	u64 *gpr = in->e->gpr;

	if (high_byte(in, reg, size))
		gpr[reg - 4] = (gpr[reg - 4] & ~0xff00ull) | (v & 0xff) << 8;
	else if (size == 4)
		gpr[reg] = (u32)v;
	else
		gpr[reg] = (gpr[reg] & ~mask(size)) | (v & mask(size));
}

static int load(struct insn *in, unsigned segment, u64 offset, unsigned size, u64 *v)
{
	if (in->e->load(in->e, linear(in, segment, offset), size, v))
		return EMUL_FAULT;
	*v &= mask(size);
	return 0;
}

static int store(struct insn *in, unsigned segment, u64 offset, unsigned size, u64 v)
{
	return in->e->store(in->e, linear(in, segment, offset), size, v & mask(size)) ? EMUL_FAULT : 0;
}

static int get_rm(struct insn *in, unsigned size, u64 *v)
{
	if (in->memory)
		return load(in, data_segment(in), in->ea, size, v);
	*v = get_reg(in, in->rm, size);
	return 0;
}

static int set_rm(struct insn *in, u64 v)
{
	if (in->memory)
		return store(in, data_segment(in), in->ea, in->size, v);
	set_reg(in, in->rm, in->size, v);
	return 0;
}

/* The source of an instruction whose destination is r/m. */
static u64 source(const struct insn *in)
{
	return in->rule.flags & (IMM | IMM8) ? in->imm & mask(in->size) : get_reg(in, in->reg, in->size);
}

/* ---- arithmetic ---- */

static void result_flags(struct insn *in, u64 v, u64 others)
{
	u64 f = others;

	v &= mask(in->size);
	if (!v)
		f |= FL_ZF;
	if (v >> (8 * in->size - 1))
		f |= FL_SF;
	if (!__builtin_parity((unsigned)(v & 0xff)))
		f |= FL_PF;
	in->flags = (in->flags & ~(u64)FL_ARITH) | f;
}

/* CF, OF and AF out of the carries and borrows of every bit, as adders make them. */
static void carry_flags(struct insn *in, u64 carries, u64 overflow, u64 v)
{
	unsigned top = 8 * in->size - 1;

	result_flags(in, v,
		(carries >> top & 1 ? FL_CF : 0) | (carries & 8 ? FL_AF : 0) |
			(overflow >> top & 1 ? FL_OF : 0));
}

static u64 add(struct insn *in, u64 a, u64 b, u64 carry)
{
	u64 v = a + b + carry;

	carry_flags(in, (a & b) | ((a | b) & ~v), (a ^ v) & (b ^ v), v);
	return v;
}

static u64 subtract(struct insn *in, u64 a, u64 b, u64 borrow)
{
	u64 v = a - b - borrow;

	carry_flags(in, (~a & b) | ((~a | b) & v), (a ^ b) & (a ^ v), v);
	return v;
}

static u64 logic(struct insn *in, u64 v)
{
	result_flags(in, v, 0);
	return v;
}

static u64 keep_carry(struct insn *in, u64 v, u64 old)
{
	in->flags = (in->flags & ~(u64)FL_CF) | (old & FL_CF);
	return v;
}

/* By the number in the opcode; 8 INC, 9 DEC, 10 NOT, 11 NEG. */
static u64 calculate(struct insn *in, u64 a, u64 b)
{
	u64 old = in->flags, carry = old & FL_CF;

	switch (in->rule.arg) {
	case 0:
		return add(in, a, b, 0);
	case 1:
		return logic(in, a | b);
	case 2:
		return add(in, a, b, carry);
	case 3:
		return subtract(in, a, b, carry);
	case 4:
		return logic(in, a & b);
	case 6:
		return logic(in, a ^ b);
	case 8:
		return keep_carry(in, add(in, a, 1, 0), old);
	case 9:
		return keep_carry(in, subtract(in, a, 1, 0), old);
	case 10:
		return ~a;
	case 11:
		return subtract(in, 0, a, 0);
	default: /* SUB, CMP */
		return subtract(in, a, b, 0);
	}
}

static bool condition(const struct insn *in)
{
	u64 f = in->flags;
	bool less = !(f & FL_SF) != !(f & FL_OF), zero = f & FL_ZF;
	bool truth[8] = {
		f & FL_OF, f & FL_CF, zero, (f & FL_CF) || zero, f & FL_SF, f & FL_PF, less, less || zero};

	return truth[in->condition >> 1] != (in->condition & 1);
}

/* ---- instructions ---- */

static int do_alu(struct insn *in)
{
	bool compare = in->rule.arg == 7, to_reg = in->rule.flags & TO_REG;
	u64 rm, v;

	if (get_rm(in, in->size, &rm))
		return EMUL_FAULT;
	v = to_reg ? calculate(in, get_reg(in, in->reg, in->size), rm) : calculate(in, rm, source(in));
	if (compare)
		return 0;
	if (!to_reg)
		return set_rm(in, v);
	set_reg(in, in->reg, in->size, v);
	return 0;
}

static int do_test(struct insn *in)
{
	u64 rm;

	if (get_rm(in, in->size, &rm))
		return EMUL_FAULT;
	logic(in, rm & source(in));
	return 0;
}

static int do_mov(struct insn *in)
{
	unsigned reg = in->rule.flags & MOFFS ? RAX : in->reg;
	u64 v;

	if (!(in->rule.flags & TO_REG))
		return set_rm(in, in->rule.flags & MOFFS ? get_reg(in, RAX, in->size) : source(in));
	if (get_rm(in, in->size, &v))
		return EMUL_FAULT;
	set_reg(in, reg, in->size, v);
	return 0;
}

static int do_extend(struct insn *in)
{
	unsigned from = MIN(in->rule.arg, in->size); /* MOVSXD with 16 bits takes 16 bits */
	u64 v;

	if (get_rm(in, from, &v))
		return EMUL_FAULT;
	set_reg(in, in->reg, in->size, in->rule.kind == MOVSX ? sign_extend(v, from) : v);
	return 0;
}

static int do_movbe(struct insn *in)
{
	unsigned shift = 64 - 8 * in->size;
	u64 v;

	if (!in->memory)
		return EMUL_UNKNOWN;
	if (!(in->rule.flags & TO_REG))
		return set_rm(in, __builtin_bswap64(source(in)) >> shift);
	if (get_rm(in, in->size, &v))
		return EMUL_FAULT;
	set_reg(in, in->reg, in->size, __builtin_bswap64(v) >> shift);
	return 0;
}

static int do_xchg(struct insn *in)
{
	u64 v, new = get_reg(in, in->reg, in->size);

	if (get_rm(in, in->size, &v) || set_rm(in, new))
		return EMUL_FAULT;
	set_reg(in, in->reg, in->size, v);
	return 0;
}

static int do_xadd(struct insn *in)
{
	u64 v, sum;

	if (get_rm(in, in->size, &v))
		return EMUL_FAULT;
	sum = add(in, v, get_reg(in, in->reg, in->size), 0);
	if (in->memory) {
		if (set_rm(in, sum))
			return EMUL_FAULT;
		set_reg(in, in->reg, in->size, v);
		return 0;
	}
	set_reg(in, in->reg, in->size, v);
	return set_rm(in, sum); /* of one register with itself, the sum stays */
}

/* Memory is written in any case, as the silicon does. */
static int do_cmpxchg(struct insn *in)
{
	u64 v, accumulator = get_reg(in, RAX, in->size);
	bool equal;

	if (get_rm(in, in->size, &v))
		return EMUL_FAULT;
	equal = v == accumulator;
	subtract(in, accumulator, v, 0);
	if (set_rm(in, equal ? get_reg(in, in->reg, in->size) : v))
		return EMUL_FAULT;
	if (!equal)
		set_reg(in, RAX, in->size, v);
	return 0;
}

/* With the offset in a register, the bit may lie anywhere around the address. */
static u64 bit_offset(struct insn *in)
{
	u64 offset = in->imm;

	if (!(in->rule.flags & IMM8)) {
		offset = get_reg(in, in->reg, in->size);
		in->ea += (u64)((i64)sign_extend(offset, in->size) >> 3) & ~(u64)(in->size - 1);
	}
	return offset & (8 * in->size - 1);
}

static int do_bit(struct insn *in)
{
	u64 bit = 1ull << bit_offset(in);
	u64 v;

	if (get_rm(in, in->size, &v))
		return EMUL_FAULT;
	in->flags = (in->flags & ~(u64)FL_CF) | (v & bit ? FL_CF : 0);
	switch (in->rule.arg) {
	case 1:
		return set_rm(in, v | bit);
	case 2:
		return set_rm(in, v & ~bit);
	case 3:
		return set_rm(in, v ^ bit);
	default:
		return 0;
	}
}

/* The memory is read, and an upper half cleared, whether the condition holds or not. */
static int do_cmov(struct insn *in)
{
	u64 v;

	if (get_rm(in, in->size, &v))
		return EMUL_FAULT;
	set_reg(in, in->reg, in->size, condition(in) ? v : get_reg(in, in->reg, in->size));
	return 0;
}

/* ---- strings ---- */

static u64 count(const struct insn *in)
{
	return in->e->gpr[RCX] & mask(in->addrsize);
}

static void advance(struct insn *in, unsigned reg)
{
	u64 step = in->flags & FL_DF ? -(u64)in->size : in->size;

	set_reg(in, reg, in->addrsize, in->e->gpr[reg] + step);
}

/* The value that comes from memory at RSI, from the accumulator, or from the port. */
static int string_source(struct insn *in, enum string what, u64 *v)
{
	switch (what) {
	case STOS:
	case SCAS:
		*v = get_reg(in, RAX, in->size);
		return 0;
	case INS:
		in->e->in(in->e, (u16)in->e->gpr[RDX], in->size, v);
		return 0;
	default:
		return load(in, data_segment(in), in->e->gpr[RSI], in->size, v);
	}
}

static int string_sink(struct insn *in, enum string what, u64 v)
{
	u64 other;

	switch (what) {
	case CMPS:
	case SCAS:
		if (load(in, SEG_ES, in->e->gpr[RDI], in->size, &other))
			return EMUL_FAULT;
		subtract(in, v, other, 0);
		return 0;
	case LODS:
		set_reg(in, RAX, in->size, v);
		return 0;
	case OUTS:
		in->e->out(in->e, (u16)in->e->gpr[RDX], in->size, v);
		return 0;
	default:
		return store(in, SEG_ES, in->e->gpr[RDI], in->size, v);
	}
}

/* Is there another iteration to do? */
static bool repeats(const struct insn *in, enum string what)
{
	bool compares = what == CMPS || what == SCAS;

	return in->rep && count(in) && !(compares && !(in->flags & FL_ZF) != (in->rep == 0xf2));
}

static int do_string(struct insn *in)
{
	enum string what = in->rule.arg;
	u64 v = 0;

	if ((what == INS && !in->e->in) || (what == OUTS && !in->e->out))
		return EMUL_UNKNOWN;
	if (what == INS || what == OUTS)
		in->size = MIN(in->size, 4u);
	if (in->rep && !count(in))
		return 0;
	if (string_source(in, what, &v) || string_sink(in, what, v))
		return EMUL_FAULT;
	if (what != STOS && what != SCAS && what != INS)
		advance(in, RSI);
	if (what != LODS && what != OUTS)
		advance(in, RDI);
	if (in->rep)
		set_reg(in, RCX, in->addrsize, in->e->gpr[RCX] - 1);
	if (repeats(in, what))
		in->pos = 0; /* RIP stays */
	return 0;
}

static int execute(struct insn *in)
{
	switch ((enum kind)in->rule.kind) {
	case ALU:
		return do_alu(in);
	case TEST:
		return do_test(in);
	case MOV:
		return do_mov(in);
	case MOVZX:
	case MOVSX:
		return do_extend(in);
	case MOVBE:
		return do_movbe(in);
	case XCHG:
		return do_xchg(in);
	case XADD:
		return do_xadd(in);
	case CMPXCHG:
		return do_cmpxchg(in);
	case BIT:
		return do_bit(in);
	case CMOV:
		return do_cmov(in);
	case SET:
		return set_rm(in, condition(in));
	case STRING:
		return do_string(in);
	default:
		return EMUL_UNKNOWN;
	}
}

int x86_emulate(struct x86_emul *e)
{
	struct insn in = {.e = e, .flags = e->rflags, .base_segment = SEG_DS};
	int ret = decode(&in);

	e->single = in.rule.kind != STRING;
	if (!ret)
		ret = execute(&in);
	if (ret)
		return ret;
	e->rip += in.pos;
	if (e->bits != 64)
		e->rip = (u32)e->rip;
	e->rflags = in.flags & ~(u64)FL_RF;
	return EMUL_DONE;
}
