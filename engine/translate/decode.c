/* SPDX-License-Identifier: MIT */
/*
 * Decoding: what the translator must know of an instruction, taken from Zydis.
 * Only instruction sets on the list below run; everything else is #UD, as the
 * guest's CPUID says.
 */
#include <Zydis/Zydis.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/translate/insn.h"

struct decoder {
	ZydisDecoder d64, d32;
};

struct decoder *decoder_new(void)
{
	struct decoder *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	ZydisDecoderInit(&d->d64, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	ZydisDecoderInit(&d->d32, ZYDIS_MACHINE_MODE_LONG_COMPAT_32, ZYDIS_STACK_WIDTH_32);
	return d;
}

void decoder_free(struct decoder *decoder)
{
	free(decoder);
}

static int gpr_of(ZydisRegister reg)
{
	/* The ranges follow one another: 8-bit, 16-bit, 32-bit, 64-bit. */
	if (reg >= ZYDIS_REGISTER_RAX && reg <= ZYDIS_REGISTER_R15)
		return reg - ZYDIS_REGISTER_RAX;
	if (reg >= ZYDIS_REGISTER_EAX && reg <= ZYDIS_REGISTER_R15D)
		return reg - ZYDIS_REGISTER_EAX;
	if (reg >= ZYDIS_REGISTER_AX && reg <= ZYDIS_REGISTER_R15W)
		return reg - ZYDIS_REGISTER_AX;
	if (reg >= ZYDIS_REGISTER_AL && reg <= ZYDIS_REGISTER_BL)
		return reg - ZYDIS_REGISTER_AL;
	if (reg >= ZYDIS_REGISTER_AH && reg <= ZYDIS_REGISTER_BH)
		return reg - ZYDIS_REGISTER_AH;
	if (reg >= ZYDIS_REGISTER_SPL && reg <= ZYDIS_REGISTER_R15B)
		return reg - ZYDIS_REGISTER_SPL + RSP;
	return -1;
}

static bool is_hi8(ZydisRegister reg)
{
	return reg >= ZYDIS_REGISTER_AH && reg <= ZYDIS_REGISTER_BH;
}

static int seg_of(ZydisRegister reg)
{
	switch (reg) {
	case ZYDIS_REGISTER_ES: return SEG_ES;
	case ZYDIS_REGISTER_CS: return SEG_CS;
	case ZYDIS_REGISTER_SS: return SEG_SS;
	case ZYDIS_REGISTER_FS: return SEG_FS;
	case ZYDIS_REGISTER_GS: return SEG_GS;
	default: return SEG_DS;
	}
}

/* Instruction sets that may be copied: computation only. */
static bool isa_allowed(ZydisISASet set)
{
	if (set >= ZYDIS_ISA_SET_AVX512BW_128 && set <= ZYDIS_ISA_SET_AVX512_VPOPCNTDQ_512)
		return true;
	switch (set) {
	case ZYDIS_ISA_SET_ADOX_ADCX:
	case ZYDIS_ISA_SET_AES:
	case ZYDIS_ISA_SET_AMD: /* SYSCALL and SYSRET in 32-bit code */
	case ZYDIS_ISA_SET_AVX:
	case ZYDIS_ISA_SET_AVX2:
	case ZYDIS_ISA_SET_AVX2GATHER:
	case ZYDIS_ISA_SET_AVXAES:
	case ZYDIS_ISA_SET_AVX_GFNI:
	case ZYDIS_ISA_SET_AVX_VNNI:
	case ZYDIS_ISA_SET_BMI1:
	case ZYDIS_ISA_SET_BMI2:
	case ZYDIS_ISA_SET_CET:
	case ZYDIS_ISA_SET_CLDEMOTE:
	case ZYDIS_ISA_SET_CLFLUSHOPT:
	case ZYDIS_ISA_SET_CLFSH:
	case ZYDIS_ISA_SET_CLWB:
	case ZYDIS_ISA_SET_CMOV:
	case ZYDIS_ISA_SET_CMPXCHG16B:
	case ZYDIS_ISA_SET_F16C:
	case ZYDIS_ISA_SET_FAT_NOP:
	case ZYDIS_ISA_SET_FCMOV:
	case ZYDIS_ISA_SET_FMA:
	case ZYDIS_ISA_SET_FXSAVE:
	case ZYDIS_ISA_SET_FXSAVE64:
	case ZYDIS_ISA_SET_GFNI:
	case ZYDIS_ISA_SET_I186:
	case ZYDIS_ISA_SET_I286PROTECTED:
	case ZYDIS_ISA_SET_I286REAL:
	case ZYDIS_ISA_SET_I386:
	case ZYDIS_ISA_SET_I486:
	case ZYDIS_ISA_SET_I486REAL:
	case ZYDIS_ISA_SET_I86:
	case ZYDIS_ISA_SET_LAHF:
	case ZYDIS_ISA_SET_LONGMODE:
	case ZYDIS_ISA_SET_LZCNT:
	case ZYDIS_ISA_SET_MOVBE:
	case ZYDIS_ISA_SET_PAUSE:
	case ZYDIS_ISA_SET_PCLMULQDQ:
	case ZYDIS_ISA_SET_PENTIUMMMX:
	case ZYDIS_ISA_SET_PENTIUMREAL:
	case ZYDIS_ISA_SET_POPCNT:
	case ZYDIS_ISA_SET_PPRO:
	case ZYDIS_ISA_SET_PREFETCHWT1:
	case ZYDIS_ISA_SET_PREFETCH_NOP:
	case ZYDIS_ISA_SET_RDPMC:
	case ZYDIS_ISA_SET_RDRAND:
	case ZYDIS_ISA_SET_RDSEED:
	case ZYDIS_ISA_SET_RDTSCP:
	case ZYDIS_ISA_SET_RDPID:
	case ZYDIS_ISA_SET_RDWRFSGS:
	case ZYDIS_ISA_SET_SHA:
	case ZYDIS_ISA_SET_SMAP:
	case ZYDIS_ISA_SET_SSE:
	case ZYDIS_ISA_SET_SSE2:
	case ZYDIS_ISA_SET_SSE2MMX:
	case ZYDIS_ISA_SET_SSE3:
	case ZYDIS_ISA_SET_SSE3X87:
	case ZYDIS_ISA_SET_SSE4:
	case ZYDIS_ISA_SET_SSE42:
	case ZYDIS_ISA_SET_SSEMXCSR:
	case ZYDIS_ISA_SET_SSE_PREFETCH:
	case ZYDIS_ISA_SET_SSSE3:
	case ZYDIS_ISA_SET_SSSE3MMX:
	case ZYDIS_ISA_SET_VAES:
	case ZYDIS_ISA_SET_VPCLMULQDQ:
	case ZYDIS_ISA_SET_X87:
	case ZYDIS_ISA_SET_XSAVE:
	case ZYDIS_ISA_SET_XSAVEC:
	case ZYDIS_ISA_SET_XSAVEOPT:
	case ZYDIS_ISA_SET_INVPCID:
		return true;
	default:
		return false;
	}
}

/* clang-format off */
static bool is_jcc(ZydisMnemonic m)
{
	switch (m) {
	case ZYDIS_MNEMONIC_JO: case ZYDIS_MNEMONIC_JNO: case ZYDIS_MNEMONIC_JB: case ZYDIS_MNEMONIC_JNB:
	case ZYDIS_MNEMONIC_JZ: case ZYDIS_MNEMONIC_JNZ: case ZYDIS_MNEMONIC_JBE: case ZYDIS_MNEMONIC_JNBE:
	case ZYDIS_MNEMONIC_JS: case ZYDIS_MNEMONIC_JNS: case ZYDIS_MNEMONIC_JP: case ZYDIS_MNEMONIC_JNP:
	case ZYDIS_MNEMONIC_JL: case ZYDIS_MNEMONIC_JNL: case ZYDIS_MNEMONIC_JLE: case ZYDIS_MNEMONIC_JNLE:
		return true;
	default:
		return false;
	}
}
/* clang-format on */

/* Control flow and stack: kinds of their own. The rest is K_NORMAL or a helper. */
static enum insn_kind branch_kind(const ZydisDecodedInstruction *zi, const ZydisDecodedOperand *ops)
{
	bool far = zi->meta.branch_type == ZYDIS_BRANCH_TYPE_FAR;

	switch (zi->mnemonic) {
	case ZYDIS_MNEMONIC_PUSH:
	case ZYDIS_MNEMONIC_POP:
		if (ops[0].type == ZYDIS_OPERAND_TYPE_REGISTER && gpr_of(ops[0].reg.value) < 0)
			return K_HELPER; /* segment registers */
		return zi->mnemonic == ZYDIS_MNEMONIC_PUSH ? K_PUSH : K_POP;
	case ZYDIS_MNEMONIC_LEAVE: return K_LEAVE;
	case ZYDIS_MNEMONIC_CALL:
		if (far)
			return K_SYSCALL;
		return ops[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE ? K_CALL : K_CALL_IND;
	case ZYDIS_MNEMONIC_JMP:
		if (far)
			return K_SYSCALL;
		return ops[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE ? K_JMP : K_JMP_IND;
	case ZYDIS_MNEMONIC_RET: return far ? K_SYSCALL : K_RET;
	case ZYDIS_MNEMONIC_LOOP:
	case ZYDIS_MNEMONIC_LOOPE:
	case ZYDIS_MNEMONIC_LOOPNE:
	case ZYDIS_MNEMONIC_JCXZ:
	case ZYDIS_MNEMONIC_JECXZ:
	case ZYDIS_MNEMONIC_JRCXZ: return K_LOOP;
	case ZYDIS_MNEMONIC_LEA: return K_LEA;
	default: return is_jcc(zi->mnemonic) ? K_JCC : K_NORMAL;
	}
}

static bool is_nop(const ZydisDecodedInstruction *zi)
{
	switch (zi->meta.category) {
	case ZYDIS_CATEGORY_PREFETCH:
	case ZYDIS_CATEGORY_NOP:
	case ZYDIS_CATEGORY_WIDENOP: return true;
	default: return zi->mnemonic == ZYDIS_MNEMONIC_ENDBR64 || zi->mnemonic == ZYDIS_MNEMONIC_ENDBR32;
	}
}

/* clang-format off */
/* What C code does for the guest. far transfers and syscalls are K_SYSCALL. */
static enum insn_kind special_kind(const ZydisDecodedInstruction *zi, const ZydisDecodedOperand *ops)
{
	switch (zi->mnemonic) {
	case ZYDIS_MNEMONIC_SYSCALL: case ZYDIS_MNEMONIC_SYSRET: case ZYDIS_MNEMONIC_SYSENTER:
	case ZYDIS_MNEMONIC_SYSEXIT: case ZYDIS_MNEMONIC_INT: case ZYDIS_MNEMONIC_INT3:
	case ZYDIS_MNEMONIC_INT1: case ZYDIS_MNEMONIC_INTO: case ZYDIS_MNEMONIC_IRET:
	case ZYDIS_MNEMONIC_IRETD: case ZYDIS_MNEMONIC_IRETQ: case ZYDIS_MNEMONIC_HLT:
		return K_SYSCALL;
	case ZYDIS_MNEMONIC_MOV:
		for (int i = 0; i < 2; i++)
			if (ops[i].type == ZYDIS_OPERAND_TYPE_REGISTER) {
				ZydisRegisterClass c = ZydisRegisterGetClass(ops[i].reg.value);

				if (c == ZYDIS_REGCLASS_SEGMENT || c == ZYDIS_REGCLASS_CONTROL ||
				    c == ZYDIS_REGCLASS_DEBUG)
					return K_HELPER;
			}
		return K_NORMAL;
	case ZYDIS_MNEMONIC_CLI: case ZYDIS_MNEMONIC_STI: case ZYDIS_MNEMONIC_CLD: case ZYDIS_MNEMONIC_STD:
	case ZYDIS_MNEMONIC_PUSHF: case ZYDIS_MNEMONIC_PUSHFD: case ZYDIS_MNEMONIC_PUSHFQ:
	case ZYDIS_MNEMONIC_POPF: case ZYDIS_MNEMONIC_POPFD: case ZYDIS_MNEMONIC_POPFQ:
	case ZYDIS_MNEMONIC_CLAC: case ZYDIS_MNEMONIC_STAC: case ZYDIS_MNEMONIC_CPUID:
	case ZYDIS_MNEMONIC_RDMSR: case ZYDIS_MNEMONIC_WRMSR: case ZYDIS_MNEMONIC_RDTSC:
	case ZYDIS_MNEMONIC_RDTSCP: case ZYDIS_MNEMONIC_RDPID: case ZYDIS_MNEMONIC_RDPMC:
	case ZYDIS_MNEMONIC_INVLPG: case ZYDIS_MNEMONIC_INVPCID: case ZYDIS_MNEMONIC_INVD:
	case ZYDIS_MNEMONIC_WBINVD: case ZYDIS_MNEMONIC_CLTS: case ZYDIS_MNEMONIC_LMSW:
	case ZYDIS_MNEMONIC_SMSW: case ZYDIS_MNEMONIC_LGDT: case ZYDIS_MNEMONIC_LIDT:
	case ZYDIS_MNEMONIC_SGDT: case ZYDIS_MNEMONIC_SIDT: case ZYDIS_MNEMONIC_LLDT:
	case ZYDIS_MNEMONIC_SLDT: case ZYDIS_MNEMONIC_LTR: case ZYDIS_MNEMONIC_STR:
	case ZYDIS_MNEMONIC_LAR: case ZYDIS_MNEMONIC_LSL: case ZYDIS_MNEMONIC_VERR:
	case ZYDIS_MNEMONIC_VERW: case ZYDIS_MNEMONIC_SWAPGS: case ZYDIS_MNEMONIC_RDFSBASE:
	case ZYDIS_MNEMONIC_RDGSBASE: case ZYDIS_MNEMONIC_WRFSBASE: case ZYDIS_MNEMONIC_WRGSBASE:
	case ZYDIS_MNEMONIC_XSETBV: case ZYDIS_MNEMONIC_XGETBV: case ZYDIS_MNEMONIC_IN:
	case ZYDIS_MNEMONIC_OUT: case ZYDIS_MNEMONIC_ENTER: case ZYDIS_MNEMONIC_XLAT:
	case ZYDIS_MNEMONIC_BOUND: case ZYDIS_MNEMONIC_ARPL: case ZYDIS_MNEMONIC_AAA:
	case ZYDIS_MNEMONIC_AAS: case ZYDIS_MNEMONIC_AAM: case ZYDIS_MNEMONIC_AAD:
	case ZYDIS_MNEMONIC_DAA: case ZYDIS_MNEMONIC_DAS: case ZYDIS_MNEMONIC_PUSHA:
	case ZYDIS_MNEMONIC_PUSHAD: case ZYDIS_MNEMONIC_POPA: case ZYDIS_MNEMONIC_POPAD:
	case ZYDIS_MNEMONIC_LDS: case ZYDIS_MNEMONIC_LES: case ZYDIS_MNEMONIC_LFS:
	case ZYDIS_MNEMONIC_LGS: case ZYDIS_MNEMONIC_LSS: case ZYDIS_MNEMONIC_SALC:
	case ZYDIS_MNEMONIC_XSAVE: case ZYDIS_MNEMONIC_XSAVE64: case ZYDIS_MNEMONIC_XSAVEC:
	case ZYDIS_MNEMONIC_XSAVEC64: case ZYDIS_MNEMONIC_XSAVEOPT: case ZYDIS_MNEMONIC_XSAVEOPT64:
	case ZYDIS_MNEMONIC_XRSTOR: case ZYDIS_MNEMONIC_XRSTOR64: case ZYDIS_MNEMONIC_MASKMOVQ:
	case ZYDIS_MNEMONIC_MASKMOVDQU: case ZYDIS_MNEMONIC_VMASKMOVDQU:
		return K_HELPER;
	case ZYDIS_MNEMONIC_MOVSD: /* also an SSE mnemonic */
		return zi->meta.category == ZYDIS_CATEGORY_STRINGOP ? K_HELPER : K_NORMAL;
	case ZYDIS_MNEMONIC_CMPSD:
		return zi->meta.category == ZYDIS_CATEGORY_STRINGOP ? K_HELPER : K_NORMAL;
	case ZYDIS_MNEMONIC_UD0: case ZYDIS_MNEMONIC_UD1: case ZYDIS_MNEMONIC_UD2:
	case ZYDIS_MNEMONIC_RSM:
		return K_UD;
	default: break;
	}
	switch (zi->meta.category) {
	case ZYDIS_CATEGORY_STRINGOP:
	case ZYDIS_CATEGORY_IOSTRINGOP: return K_HELPER;
	default: return K_NORMAL;
	}
}
/* clang-format on */

/* CET's shadow-stack instructions are #UD or NOP while CR4.CET is clear. */
static bool cet_is_ud(const ZydisDecodedInstruction *zi)
{
	return zi->meta.isa_set == ZYDIS_ISA_SET_CET && zi->mnemonic != ZYDIS_MNEMONIC_ENDBR64 &&
	       zi->mnemonic != ZYDIS_MNEMONIC_ENDBR32 && zi->mnemonic != ZYDIS_MNEMONIC_RDSSPD &&
	       zi->mnemonic != ZYDIS_MNEMONIC_RDSSPQ;
}

/* clang-format off */
/* A shift or rotate by a variable or zero count may leave the flags alone. */
static bool is_shift(ZydisMnemonic m)
{
	switch (m) {
	case ZYDIS_MNEMONIC_SHL: case ZYDIS_MNEMONIC_SHR: case ZYDIS_MNEMONIC_SAR: case ZYDIS_MNEMONIC_SHLD:
	case ZYDIS_MNEMONIC_SHRD: case ZYDIS_MNEMONIC_ROL: case ZYDIS_MNEMONIC_ROR: case ZYDIS_MNEMONIC_RCL:
	case ZYDIS_MNEMONIC_RCR: case ZYDIS_MNEMONIC_SALC: return true;
	default: return false;
	}
}
/* clang-format on */

static void take_flags(const ZydisDecodedInstruction *zi, struct insn *in)
{
	const ZydisAccessedFlags *f = zi->cpu_flags;
	u32 touched;

	if (!f)
		return;
	in->fl_read = f->tested & FL_ARITH;
	touched = (f->modified | f->set_0 | f->set_1 | f->undefined) & FL_ARITH;
	in->fl_write = (u16)touched;
	if (is_shift(zi->mnemonic) && !(in->imm_len && (in->imm & 0x1f)) && in->imm != -257) {
		in->fl_partial = touched != 0;
		in->fl_write = 0;
	}
}

static void take_mem(const ZydisDecodedOperand *op, struct insn *in)
{
	in->mem = true;
	in->vsib = op->mem.type == ZYDIS_MEMOP_TYPE_VSIB;
	in->mem_size = (u16)(op->size / 8);
	in->lane = (u8)(op->element_size / 8);
	in->mem_read = op->actions & ZYDIS_OPERAND_ACTION_MASK_READ;
	in->mem_write = op->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;
	in->seg = (u8)seg_of(op->mem.segment);
	in->base = (i8)gpr_of(op->mem.base);
	in->index = in->vsib ? -1 : (i8)gpr_of(op->mem.index);
	in->scale = op->mem.scale ? op->mem.scale : 1;
	in->disp = op->mem.disp.has_displacement ? op->mem.disp.value : 0;
	if (op->mem.base == ZYDIS_REGISTER_RIP || op->mem.base == ZYDIS_REGISTER_EIP) {
		in->rip_rel = true;
		in->base = -1;
		in->disp += (i64)(in->pc + in->len);
	}
}

static void take_reg(const ZydisDecodedOperand *op, struct insn *in)
{
	int r = gpr_of(op->reg.value);
	bool partial = op->size < 32;

	if (r < 0)
		return;
	if (op->actions & ZYDIS_OPERAND_ACTION_MASK_READ)
		in->gpr_read |= (u16)(1u << r);
	if (op->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) {
		in->gpr_write |= (u16)(1u << r);
		/* a partial or conditional write keeps some of the old value */
		if (partial || !(op->actions & ZYDIS_OPERAND_ACTION_WRITE))
			in->gpr_read |= (u16)(1u << r);
	}
	if (is_hi8(op->reg.value)) { /* stays as it is encoded */
		in->hi8 = true;
		return;
	}
	switch (op->encoding) {
	case ZYDIS_OPERAND_ENCODING_MODRM_REG: in->gpr_reg = (i8)r; break;
	case ZYDIS_OPERAND_ENCODING_MODRM_RM: in->gpr_rm = (i8)r; break;
	case ZYDIS_OPERAND_ENCODING_NDSNDD: in->gpr_vvvv = (i8)r; break;
	case ZYDIS_OPERAND_ENCODING_OPCODE: in->gpr_op = (i8)r; break;
	default: break;
	}
}

static bool is_maskmov(ZydisMnemonic m)
{
	return m == ZYDIS_MNEMONIC_MASKMOVQ || m == ZYDIS_MNEMONIC_MASKMOVDQU || m == ZYDIS_MNEMONIC_VMASKMOVDQU;
}

static void take_operands(const ZydisDecodedInstruction *zi, const ZydisDecodedOperand *ops, struct insn *in)
{
	unsigned nimm = 0;

	in->base = in->index = in->gpr_reg = in->gpr_rm = in->gpr_vvvv = in->gpr_op = -1;
	in->seg = SEG_DS;
	for (unsigned i = 0; i < zi->operand_count; i++) {
		const ZydisDecodedOperand *op = &ops[i];

		if (op->type == ZYDIS_OPERAND_TYPE_REGISTER) {
			take_reg(op, in);
		} else if (op->type == ZYDIS_OPERAND_TYPE_MEMORY) {
			if (op->visibility == ZYDIS_OPERAND_VISIBILITY_EXPLICIT ||
			    op->encoding == ZYDIS_OPERAND_ENCODING_DISP16_32_64)
				take_mem(op, in);
			else if (zi->meta.category == ZYDIS_CATEGORY_STRINGOP ||
				 zi->meta.category == ZYDIS_CATEGORY_IOSTRINGOP ||
				 zi->mnemonic == ZYDIS_MNEMONIC_XLAT || is_maskmov(zi->mnemonic))
				in->seg = op->mem.segment == ZYDIS_REGISTER_ES ? in->seg :
										 (u8)seg_of(op->mem.segment);
			int b = gpr_of(op->mem.base), x = gpr_of(op->mem.index);

			if (b >= 0)
				in->gpr_read |= (u16)(1u << b);
			if (x >= 0)
				in->gpr_read |= (u16)(1u << x);
		} else if (op->type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
			if (op->visibility != ZYDIS_OPERAND_VISIBILITY_EXPLICIT) {
				in->imm = -257; /* an implied count of one: shifts are not by zero */
			} else if (op->imm.is_relative) {
				in->target = in->pc + in->len + (u64)op->imm.value.s;
			} else if (nimm++ == 0) {
				in->imm = op->imm.is_signed ? op->imm.value.s : (i64)op->imm.value.u;
			} else {
				in->imm2 = (i64)op->imm.value.u;
			}
		} else if (op->type == ZYDIS_OPERAND_TYPE_POINTER) {
			in->imm = op->ptr.offset;
			in->imm2 = op->ptr.segment;
		}
	}
}

/* Segment overrides and the address size. */
static bool is_other_prefix(u8 b)
{
	return b == 0x2e || b == 0x36 || b == 0x3e || b == 0x26 || b == 0x64 || b == 0x65 || b == 0x67;
}

/* A REX byte that another prefix follows has no effect. */
static bool is_void_rex(const u8 *b)
{
	return (b[0] & 0xf0) == 0x40 && ((b[1] & 0xf0) == 0x40 || b[1] == 0x66 || b[1] == 0xf0 || b[1] == 0xf2 ||
					 b[1] == 0xf3 || is_other_prefix(b[1]));
}

static void take_encoding(const ZydisDecodedInstruction *zi, struct insn *in)
{
	const bool code64 = zi->machine_mode == ZYDIS_MACHINE_MODE_LONG_64;
	const u8 *b = in->bytes;
	unsigned i = 0;

	for (; i < in->len; i++) {
		if (b[i] == 0x66)
			in->prefix66 = b[i];
		else if (b[i] == 0xf2 || b[i] == 0xf3)
			in->rep = b[i];
		else if (b[i] == 0xf0)
			in->lock = b[i];
		else if (!is_other_prefix(b[i]) && !(code64 && is_void_rex(b + i)))
			break;
	}
	in->prefix_at = (u8)i;
	switch (zi->encoding) {
	case ZYDIS_INSTRUCTION_ENCODING_VEX:
		in->enc = ENC_VEX;
		i += zi->raw.vex.size;
		break;
	case ZYDIS_INSTRUCTION_ENCODING_EVEX:
		in->enc = ENC_EVEX;
		i += 4;
		break;
	default:
		in->enc = ENC_LEGACY;
		if (code64 && (b[i] & 0xf0) == 0x40)
			in->rex = b[i++];
		break;
	}
	in->opcode_at = (u8)i;
	if (zi->attributes & ZYDIS_ATTRIB_HAS_MODRM) {
		in->modrm_at = zi->raw.modrm.offset;
		in->modrm_reg = (u8)(zi->raw.modrm.reg | (in->rex & 4) << 1);
	}
	if (zi->raw.imm[0].size) {
		in->imm_at = zi->raw.imm[0].offset;
		in->imm_len = (u8)(in->len - in->imm_at);
	}
}

/* clang-format off */
/* See struct insn. */
static u8 sse_level(const ZydisDecodedInstruction *zi, const ZydisDecodedOperand *ops)
{
	bool legacy = zi->encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY;

	switch (zi->mnemonic) {
	case ZYDIS_MNEMONIC_VZEROALL: case ZYDIS_MNEMONIC_VZEROUPPER:
	case ZYDIS_MNEMONIC_VLDMXCSR: case ZYDIS_MNEMONIC_VSTMXCSR: return 2;
	default: break;
	}
	if (zi->encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX)
		return 3;
	for (unsigned i = 0; i < zi->operand_count; i++) {
		if (ops[i].type != ZYDIS_OPERAND_TYPE_REGISTER)
			continue;
		switch (ZydisRegisterGetClass(ops[i].reg.value)) {
		case ZYDIS_REGCLASS_MASK: return 3;
		case ZYDIS_REGCLASS_XMM:
		case ZYDIS_REGCLASS_YMM:
		case ZYDIS_REGCLASS_ZMM: return legacy ? 1 : 2;
		default: break;
		}
	}
	return zi->meta.isa_set == ZYDIS_ISA_SET_SSEMXCSR;
}

static bool is_mmx(const ZydisDecodedInstruction *zi)
{
	switch (zi->meta.isa_set) {
	case ZYDIS_ISA_SET_PENTIUMMMX: case ZYDIS_ISA_SET_SSE2MMX: case ZYDIS_ISA_SET_SSSE3MMX: return true;
	default: return false;
	}
}

static bool is_x87(const ZydisDecodedInstruction *zi)
{
	switch (zi->meta.isa_set) {
	case ZYDIS_ISA_SET_X87: case ZYDIS_ISA_SET_FCMOV: case ZYDIS_ISA_SET_PENTIUMMMX:
	case ZYDIS_ISA_SET_SSE2MMX: case ZYDIS_ISA_SET_SSSE3MMX: case ZYDIS_ISA_SET_SSE3X87:
	case ZYDIS_ISA_SET_FXSAVE: case ZYDIS_ISA_SET_FXSAVE64: case ZYDIS_ISA_SET_XSAVE:
	case ZYDIS_ISA_SET_XSAVEC: case ZYDIS_ISA_SET_XSAVEOPT: return true;
	default: return zi->mnemonic == ZYDIS_MNEMONIC_FISTTP;
	}
}

/* Where lanes of the result are not those of memory, all of the operand is read. */
static bool faults_whole(const ZydisDecodedInstruction *zi)
{
	switch (zi->meta.exception_class) {
	case ZYDIS_EXCEPTION_CLASS_E3NF: case ZYDIS_EXCEPTION_CLASS_E4NF: case ZYDIS_EXCEPTION_CLASS_E5NF:
	case ZYDIS_EXCEPTION_CLASS_E6NF: case ZYDIS_EXCEPTION_CLASS_E9NF: case ZYDIS_EXCEPTION_CLASS_E10NF:
		return true;
	default: break;
	}
	switch (zi->mnemonic) {
	case ZYDIS_MNEMONIC_VGF2P8AFFINEQB: case ZYDIS_MNEMONIC_VGF2P8AFFINEINVQB: case ZYDIS_MNEMONIC_VDBPSADBW:
	case ZYDIS_MNEMONIC_VCVTNE2PS2BF16:
		return true;
	default: return false;
	}
}

/* How many lanes a broadcast has: 0 to 2 for 2 to 8, else 3. */
static unsigned folded_lanes(const ZydisDecodedInstruction *zi)
{
	switch (zi->avx.broadcast.mode) {
	case ZYDIS_BROADCAST_MODE_1_TO_2: return 0;
	case ZYDIS_BROADCAST_MODE_1_TO_4: case ZYDIS_BROADCAST_MODE_2_TO_4: return 1;
	case ZYDIS_BROADCAST_MODE_1_TO_8: case ZYDIS_BROADCAST_MODE_2_TO_8: case ZYDIS_BROADCAST_MODE_4_TO_8: return 2;
	default: return 3;
	}
}

/* Lanes whose mask bit is off do not fault: keep what tells the mask. */
static void take_mask(const ZydisDecodedInstruction *zi, struct insn *in)
{
	if (!in->mem)
		return;
	switch (zi->mnemonic) {
	case ZYDIS_MNEMONIC_VMASKMOVPS: case ZYDIS_MNEMONIC_VPMASKMOVD:
	case ZYDIS_MNEMONIC_VMASKMOVPD: case ZYDIS_MNEMONIC_VPMASKMOVQ:
		in->masked = true;
		in->mask_reg = (u8)(0x80 | (~zi->raw.vex.vvvv & 15));
		in->lane = zi->mnemonic == ZYDIS_MNEMONIC_VMASKMOVPS || zi->mnemonic == ZYDIS_MNEMONIC_VPMASKMOVD ? 4 : 8;
		return;
	default: break;
	}
	if (zi->encoding != ZYDIS_INSTRUCTION_ENCODING_EVEX || zi->avx.mask.reg < ZYDIS_REGISTER_K1 ||
	    zi->avx.mask.reg > ZYDIS_REGISTER_K7 || (!in->mem_write && faults_whole(zi)))
		return;
	in->masked = true;
	in->mask_reg = (u8)(zi->avx.mask.reg - ZYDIS_REGISTER_K0);
	if (zi->meta.category == ZYDIS_CATEGORY_EXPAND || zi->meta.category == ZYDIS_CATEGORY_COMPRESS)
		in->mask_reg |= 0x40;
	if (zi->meta.category == ZYDIS_CATEGORY_BROADCAST || zi->avx.broadcast.mode != ZYDIS_BROADCAST_MODE_INVALID)
		in->mask_reg |= (u8)(0x20 | folded_lanes(zi) << 3);
}

/* FXSAVE and its kin have no size in their operand that suits us. */
static void fix_sizes(const ZydisDecodedInstruction *zi, struct insn *in)
{
	switch (zi->mnemonic) {
	case ZYDIS_MNEMONIC_FXSAVE: case ZYDIS_MNEMONIC_FXSAVE64:
	case ZYDIS_MNEMONIC_FXRSTOR: case ZYDIS_MNEMONIC_FXRSTOR64: in->mem_size = 512; break;
	case ZYDIS_MNEMONIC_FNSAVE: case ZYDIS_MNEMONIC_FRSTOR: in->mem_size = in->prefix66 ? 94 : 108; break;
	case ZYDIS_MNEMONIC_FNSTENV: case ZYDIS_MNEMONIC_FLDENV: in->mem_size = in->prefix66 ? 14 : 28; break;
	case ZYDIS_MNEMONIC_CLFLUSH: case ZYDIS_MNEMONIC_CLFLUSHOPT: case ZYDIS_MNEMONIC_CLWB:
		in->mem_size = 1;
		in->mem_read = true;
		in->mem_write = false;
		break;
	case ZYDIS_MNEMONIC_BT: case ZYDIS_MNEMONIC_BTS: case ZYDIS_MNEMONIC_BTR: case ZYDIS_MNEMONIC_BTC:
		/* A register bit offset reaches beyond the operand: C code finds the byte. */
		if (in->mem && in->gpr_reg >= 0)
			in->kind = K_HELPER;
		break;
	case ZYDIS_MNEMONIC_BSF: case ZYDIS_MNEMONIC_BSR:
		in->gpr_read |= in->gpr_write; /* keeps its value when the source is zero */
		break;
	default: break;
	}
	if (in->mem && !in->mem_size)
		in->mem_size = 1;
}
/* clang-format on */

/* Zydis 4.0 takes R13 for a base where there is none, when REX.B meets a 67 prefix. */
static void fix_base(const ZydisDecodedInstruction *zi, struct insn *in)
{
	if (!in->mem || !in->modrm_at || !zi->raw.sib.offset || zi->raw.modrm.mod || zi->raw.sib.base != 5)
		return;
	in->base = -1;
	in->disp = zi->raw.disp.value;
}

int decode(struct decoder *decoder, const u8 *bytes, unsigned avail, u64 pc, bool code32, struct insn *in)
{
	ZydisDecodedInstruction zi;
	ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
	ZyanStatus st = ZydisDecoderDecodeFull(code32 ? &decoder->d32 : &decoder->d64, bytes, avail, &zi, ops);
	enum insn_kind special;

	if (st == ZYDIS_STATUS_NO_MORE_DATA)
		return -2;
	if (!ZYAN_SUCCESS(st) || zi.length > 15)
		return -1;
	memset(in, 0, sizeof(*in));
	in->pc = pc;
	in->len = zi.length;
	memcpy(in->bytes, bytes, zi.length);
	in->opsize = (u8)(zi.operand_width / 8);
	in->addrsize = (u8)(zi.address_width / 8);
	in->mnemonic = (u16)zi.mnemonic;
	in->group = in->sgroup = -1;
	take_encoding(&zi, in);
	take_operands(&zi, ops, in);
	fix_base(&zi, in);
	take_flags(&zi, in);
	if (code32) {
		in->target = (u32)in->target;
		if (in->rip_rel)
			in->disp = (u32)in->disp;
	}
	if (!isa_allowed(zi.meta.isa_set) || cet_is_ud(&zi)) {
		in->kind = K_UD;
		return 0;
	}
	special = special_kind(&zi, ops);
	in->kind = special != K_NORMAL ? special : branch_kind(&zi, ops);
	if (in->kind == K_NORMAL && is_nop(&zi) && zi.mnemonic != ZYDIS_MNEMONIC_PAUSE)
		in->kind = K_NOP;
	if (in->kind == K_JCC)
		in->cc = in->bytes[in->opcode_at] == 0x0f ? in->bytes[in->opcode_at + 1] & 15 :
							    in->bytes[in->opcode_at] & 15;
	in->x87 = is_x87(&zi);
	in->mmx = is_mmx(&zi);
	in->sse = in->x87 ? 0 : sse_level(&zi, ops);
	in->ss_fault = in->kind == K_PUSH || in->kind == K_POP || in->kind == K_CALL || in->kind == K_RET ||
		       in->kind == K_LEAVE || (in->mem && in->seg == SEG_SS && !in->sse && in->mem_size < 16);
	fix_sizes(&zi, in);
	if (in->vsib && in->kind == K_NORMAL)
		in->kind = K_GATHER;
	take_mask(&zi, in);
	return 0;
}
