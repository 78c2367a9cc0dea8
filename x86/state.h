/* SPDX-License-Identifier: MIT */
/*
 * The architectural state of one x86 CPU, engine-neutral: what a snapshot
 * saves and what every engine can be given. Freestanding.
 *
 * Offsets of the first members are used by generated code; see
 * engine/translate/cpu.h. FPU and vector state travels beside it.
 */
#pragma once

#include "lib/types.h"

enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15 };
enum { SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS, SEG_LDTR, SEG_TR, SEG_COUNT };

/* Attributes are bits 8..23 of a descriptor's upper half, shifted down by 8 (as in the VMCB, but 16 bits). */
enum {
	SEG_TYPE = 0xf, /* type field; bit 3 code, bit 1 writable or readable, bit 0 accessed */
	SEG_S = 1 << 4, /* code or data */
	SEG_DPL_SHIFT = 5,
	SEG_P = 1 << 7,
	SEG_AVL = 1 << 12,
	SEG_L = 1 << 13,
	SEG_DB = 1 << 14,
	SEG_G = 1 << 15,
	SEG_UNUSABLE = 1 << 16, /* a null selector was loaded */
};

struct x86_seg {
	u16 sel;
	u16 pad;
	u32 attr; /* SEG_* */
	u32 limit; /* in bytes, granularity applied */
	u32 pad2;
	u64 base;
};

struct x86_table { /* GDTR, IDTR */
	u64 base;
	u32 limit;
	u32 pad;
};

struct x86_state {
	u64 gpr[16];
	u64 rip;
	u64 rflags;
	struct x86_seg seg[SEG_COUNT];
	struct x86_table gdt, idt;
	u64 cr0, cr2, cr3, cr4, efer, xcr0;
	u64 dr[8]; /* 4 and 5 unused */
	/* MSRs */
	u64 star, lstar, cstar, sfmask, kernel_gs_base;
	u64 sysenter_cs, sysenter_esp, sysenter_eip;
	u64 pat, tsc_aux, misc_enable, mtrr_def_type;
	u64 mtrr_fixed[11], mtrr_var[16];
	u64 spec_ctrl;
	u64 tsc_offset; /* guest TSC = host TSC + tsc_offset */
	u64 tsc_adjust;
	u8 cpl;
	bool halted;
	bool irq_shadow; /* MOV SS or STI has just run: no interrupt at this boundary */
	bool nmi_blocked;
};

enum {
	FL_CF = 1 << 0,
	FL_ONE = 1 << 1,
	FL_PF = 1 << 2,
	FL_AF = 1 << 4,
	FL_ZF = 1 << 6,
	FL_SF = 1 << 7,
	FL_TF = 1 << 8,
	FL_IF = 1 << 9,
	FL_DF = 1 << 10,
	FL_OF = 1 << 11,
	FL_IOPL = 3 << 12,
	FL_NT = 1 << 14,
	FL_RF = 1 << 16,
	FL_VM = 1 << 17,
	FL_AC = 1 << 18,
	FL_VIF = 1 << 19,
	FL_VIP = 1 << 20,
	FL_ID = 1 << 21,
	FL_ARITH = FL_CF | FL_PF | FL_AF | FL_ZF | FL_SF | FL_OF,
};

#define CR0_PE BIT(0)
#define CR0_MP BIT(1)
#define CR0_EM BIT(2)
#define CR0_TS BIT(3)
#define CR0_ET BIT(4)
#define CR0_NE BIT(5)
#define CR0_WP BIT(16)
#define CR0_AM BIT(18)
#define CR0_NW BIT(29)
#define CR0_CD BIT(30)
#define CR0_PG BIT(31)

#define CR4_VME BIT(0)
#define CR4_PVI BIT(1)
#define CR4_TSD BIT(2)
#define CR4_DE BIT(3)
#define CR4_PSE BIT(4)
#define CR4_PAE BIT(5)
#define CR4_MCE BIT(6)
#define CR4_PGE BIT(7)
#define CR4_PCE BIT(8)
#define CR4_OSFXSR BIT(9)
#define CR4_OSXMMEXCPT BIT(10)
#define CR4_UMIP BIT(11)
#define CR4_LA57 BIT(12)
#define CR4_FSGSBASE BIT(16)
#define CR4_PCIDE BIT(17)
#define CR4_OSXSAVE BIT(18)
#define CR4_SMEP BIT(20)
#define CR4_SMAP BIT(21)

#define EFER_SCE BIT(0)
#define EFER_LME BIT(8)
#define EFER_LMA BIT(10)
#define EFER_NXE BIT(11)

/* clang-format off */
enum {
	VEC_DE = 0, VEC_DB = 1, VEC_NMI = 2, VEC_BP = 3, VEC_OF = 4, VEC_BR = 5, VEC_UD = 6, VEC_NM = 7,
	VEC_DF = 8, VEC_TS = 10, VEC_NP = 11, VEC_SS = 12, VEC_GP = 13, VEC_PF = 14, VEC_MF = 16,
	VEC_AC = 17, VEC_MC = 18, VEC_XM = 19,
};
/* clang-format on */
