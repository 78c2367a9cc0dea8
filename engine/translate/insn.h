/* SPDX-License-Identifier: MIT */
/*
 * A decoded guest instruction as the translator sees it: what it reads and
 * writes, where its registers are encoded, and what kind of treatment it gets.
 */
#pragma once

#include "x86/state.h"

struct sysinsn;

enum insn_kind {
	K_NORMAL, /* copied; its memory operand rewritten */
	K_LEA,
	K_NOP, /* has no effect that a guest can see */
	K_PUSH, /* register, immediate or memory */
	K_POP,
	K_LEAVE,
	K_CALL,
	K_CALL_IND,
	K_RET,
	K_JMP,
	K_JMP_IND,
	K_JCC,
	K_JCC_INNER, /* of an unrolled loop: goes on here when taken */
	K_JCC_AHEAD, /* forward: the block goes on when not taken */
	K_LOOP, /* LOOPcc, JrCXZ */
	K_GATHER, /* or scatter */
	K_HELPER, /* C code */
	K_SYSCALL, /* a helper that never goes on in the block */
	K_UD,
};

enum insn_encoding { ENC_LEGACY, ENC_VEX, ENC_EVEX };

struct insn {
	u64 pc;
	u8 bytes[16];
	u8 len;
	u8 kind; /* enum insn_kind */
	u8 enc; /* enum insn_encoding */
	u8 opsize; /* bytes */
	u8 addrsize;
	u8 rex; /* 0 or the REX byte */
	u8 prefix66, rep, lock; /* 0 or the byte */
	u8 seg; /* SEG_*: of the memory operand */
	u8 opcode_at; /* offset of the opcode's first byte after prefixes (map bytes included) */
	u8 modrm_at; /* 0: none */
	u8 imm_at, imm_len; /* immediate bytes to be copied */
	u8 prefix_at; /* offset of VEX or EVEX */
	bool mem; /* explicit memory operand in ModRM */
	bool mem_read, mem_write;
	bool vsib;
	bool rip_rel;
	i8 base, index; /* guest registers, -1: none */
	u8 scale;
	i64 disp; /* RIP-relative: the absolute guest address */
	u16 mem_size; /* bytes */
	/* Registers as encoded: guest GPR, or -1 when the field is not a GPR. */
	i8 gpr_reg, gpr_rm, gpr_vvvv, gpr_op;
	u8 modrm_reg; /* the raw extended field */
	bool hi8; /* uses AH, CH, DH or BH */
	u16 gpr_read, gpr_write; /* guest registers, implicit ones too */
	u16 fl_read, fl_write; /* FL_ARITH bits read; certainly overwritten */
	bool fl_partial; /* touches flags without defining all that it may change */
	u16 fl_live; /* live after the instruction */
	u8 sse; /* 0 no, 1 SSE, 2 AVX, 3 AVX-512 */
	bool x87; /* needs #NM checks */
	bool mmx; /* x87, but as SSE with CR0.EM */
	bool ss_fault; /* a #GP of its memory access can only be a #SS */
	u8 lane, mask_reg; /* masked: see struct site_meta */
	bool masked; /* EVEX mask or VMASKMOV: lanes that are off do not fault */
	i64 imm, imm2;
	u64 target; /* direct branches */
	u8 cc;
	u16 mnemonic;
	/* memory checks shared with others of the block (group.c); -1: own */
	i8 group, sgroup; /* of the explicit operand, of the implicit stack access */
	i64 goff, sgoff; /* their offsets within the group's address range */
	i64 base_off; /* what has been added to the base register since the block began */
};

struct decoder;
struct decoder *decoder_new(void);
void decoder_free(struct decoder *decoder);
/*
 * Decodes one instruction at pc from bytes (avail of them can be read).
 * 0; -1: invalid (#UD); -2: more bytes are needed than avail.
 */
int decode(struct decoder *decoder, const u8 *bytes, unsigned avail, u64 pc, bool code32, struct insn *in);
