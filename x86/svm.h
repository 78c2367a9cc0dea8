/* SPDX-License-Identifier: MIT */
/*
 * AMD SVM as the manual has it (APM vol. 2, chapter 15, appendices B and C):
 * the VMCB, exit codes, intercepts, MSRs.
 */
#pragma once

#include <stddef.h>

#include "lib/types.h"
#include "x86/msr.h"

struct vmcb_control {
	u16 intercept_cr_read, intercept_cr_write;
	u16 intercept_dr_read, intercept_dr_write;
	u32 intercept_exception;
	u32 intercept1; /* INTERCEPT1_* */
	u32 intercept2; /* INTERCEPT2_* */
	u32 intercept3;
	u8 reserved1[0x3c - 0x18];
	u16 pause_threshold, pause_count;
	u64 iopm, msrpm;
	u64 tsc_offset;
	u32 asid;
	u8 tlb_control; /* TLB_* */
	u8 reserved2[3];
	u64 v_intr; /* V_* */
	u64 interrupt_shadow; /* bit 0 */
	u64 exit_code, exit_info1, exit_info2;
	u64 exit_int_info; /* as event_inj */
	u64 nested_paging; /* bit 0 */
	u64 avic_bar, ghcb;
	u64 event_inj; /* EVENT_*, error code in the upper half */
	u64 nested_cr3;
	u64 lbr_control;
	u32 clean, reserved3;
	u64 next_rip;
	u8 fetched_bytes, fetched[15];
	u8 reserved4[0x3e0 - 0xe0];
	u8 software[32]; /* no CPU looks at them */
};

struct vmcb_segment {
	u16 selector, attr; /* attr: descriptor bits 55:52, 47:40 */
	u32 limit;
	u64 base;
};

struct vmcb {
	struct vmcb_control c;
	/* the state save area */
	struct vmcb_segment es, cs, ss, ds, fs, gs, gdtr, ldtr, idtr, tr;
	u8 reserved1[0x4cb - 0x4a0];
	u8 cpl;
	u32 reserved2;
	u64 efer;
	u8 reserved3[0x548 - 0x4d8];
	u64 cr4, cr3, cr0, dr7, dr6, rflags, rip;
	u8 reserved4[0x5d8 - 0x580];
	u64 rsp, s_cet, ssp, isst;
	u64 rax, star, lstar, cstar, sfmask, kernel_gs_base;
	u64 sysenter_cs, sysenter_esp, sysenter_eip, cr2;
	u8 reserved5[0x668 - 0x648];
	u64 g_pat;
	u64 debugctl, br_from, br_to, last_from, last_to;
	u8 reserved6[0x6e0 - 0x698];
	u64 spec_ctrl;
	u8 reserved7[4096 - 0x6e8];
} __attribute__((packed, aligned(4096)));

_Static_assert(offsetof(struct vmcb, c.iopm) == 0x40, "VMCB");
_Static_assert(offsetof(struct vmcb, c.asid) == 0x58, "VMCB");
_Static_assert(offsetof(struct vmcb, c.exit_code) == 0x70, "VMCB");
_Static_assert(offsetof(struct vmcb, c.event_inj) == 0xa8, "VMCB");
_Static_assert(offsetof(struct vmcb, c.next_rip) == 0xc8, "VMCB");
_Static_assert(offsetof(struct vmcb, c.software) == 0x3e0, "VMCB");
_Static_assert(offsetof(struct vmcb, es) == 0x400, "VMCB");
_Static_assert(offsetof(struct vmcb, cpl) == 0x4cb, "VMCB");
_Static_assert(offsetof(struct vmcb, efer) == 0x4d0, "VMCB");
_Static_assert(offsetof(struct vmcb, cr4) == 0x548, "VMCB");
_Static_assert(offsetof(struct vmcb, rip) == 0x578, "VMCB");
_Static_assert(offsetof(struct vmcb, rsp) == 0x5d8, "VMCB");
_Static_assert(offsetof(struct vmcb, rax) == 0x5f8, "VMCB");
_Static_assert(offsetof(struct vmcb, cr2) == 0x640, "VMCB");
_Static_assert(offsetof(struct vmcb, g_pat) == 0x668, "VMCB");
_Static_assert(offsetof(struct vmcb, spec_ctrl) == 0x6e0, "VMCB");
_Static_assert(sizeof(struct vmcb) == 4096, "VMCB");

enum {
	INTERCEPT1_INTR = 1 << 0,
	INTERCEPT1_NMI = 1 << 1,
	INTERCEPT1_INIT = 1 << 3,
	INTERCEPT1_VINTR = 1 << 4,
	INTERCEPT1_RDPMC = 1 << 15,
	INTERCEPT1_CPUID = 1 << 18,
	INTERCEPT1_IRET = 1 << 20,
	INTERCEPT1_INVD = 1 << 22,
	INTERCEPT1_HLT = 1 << 24,
	INTERCEPT1_INVLPGA = 1 << 26,
	INTERCEPT1_IO = 1 << 27,
	INTERCEPT1_MSR = 1 << 28,
	INTERCEPT1_TASK_SWITCH = 1 << 29,
	INTERCEPT1_FERR_FREEZE = 1 << 30,
};
#define INTERCEPT1_SHUTDOWN BIT(31)

enum {
	INTERCEPT2_VMRUN = 1 << 0,
	INTERCEPT2_VMMCALL = 1 << 1,
	INTERCEPT2_VMLOAD = 1 << 2,
	INTERCEPT2_VMSAVE = 1 << 3,
	INTERCEPT2_STGI = 1 << 4,
	INTERCEPT2_CLGI = 1 << 5,
	INTERCEPT2_SKINIT = 1 << 6,
	INTERCEPT2_WBINVD = 1 << 9,
	INTERCEPT2_MONITOR = 1 << 10,
	INTERCEPT2_MWAIT = 1 << 11,
	INTERCEPT2_MWAIT_ARMED = 1 << 12,
	INTERCEPT2_XSETBV = 1 << 13,
	INTERCEPT2_RDPRU = 1 << 14,
	/* all that only a hypervisor may do */
	INTERCEPT2_SVM = INTERCEPT2_VMRUN | INTERCEPT2_VMMCALL | INTERCEPT2_VMLOAD | INTERCEPT2_VMSAVE |
			 INTERCEPT2_STGI | INTERCEPT2_CLGI | INTERCEPT2_SKINIT,
};

enum { TLB_KEEP = 0, TLB_FLUSH_ALL = 1 };

#define V_TPR 0xffull
#define V_IRQ BIT(8)
#define V_PRIORITY (0xfull << 16)
#define V_IGNORE_TPR BIT(20)
#define V_INTR_MASKING BIT(24)

#define EVENT_VALID BIT(31)
#define EVENT_HAS_ERROR BIT(11)
enum { EVENT_INTR = 0, EVENT_NMI = 2, EVENT_EXCEPTION = 3, EVENT_SOFT = 4, EVENT_TYPE_SHIFT = 8 };

enum svm_exit {
	SVM_EXIT_CR_WRITE = 0x10,
	SVM_EXIT_EXCEPTION = 0x40, /* vectors 0 to 31 */
	SVM_EXIT_INTR = 0x60,
	SVM_EXIT_NMI = 0x61,
	SVM_EXIT_INIT = 0x63,
	SVM_EXIT_VINTR = 0x64,
	SVM_EXIT_CR0_SEL_WRITE = 0x65,
	SVM_EXIT_CPUID = 0x72,
	SVM_EXIT_IRET = 0x74,
	SVM_EXIT_INVD = 0x76,
	SVM_EXIT_HLT = 0x78,
	SVM_EXIT_INVLPGA = 0x7a,
	SVM_EXIT_IO = 0x7b,
	SVM_EXIT_MSR = 0x7c,
	SVM_EXIT_SHUTDOWN = 0x7f,
	SVM_EXIT_VMRUN = 0x80,
	SVM_EXIT_VMMCALL = 0x81,
	SVM_EXIT_VMLOAD = 0x82,
	SVM_EXIT_VMSAVE = 0x83,
	SVM_EXIT_STGI = 0x84,
	SVM_EXIT_CLGI = 0x85,
	SVM_EXIT_SKINIT = 0x86,
	SVM_EXIT_XSETBV = 0x8d,
	SVM_EXIT_NPF = 0x400,
};
#define SVM_EXIT_INVALID (~0ull)

/* EXITINFO1 of SVM_EXIT_IO */
enum { IO_IN = 1, IO_STRING = 4, IO_REP = 8, IO_SIZE_SHIFT = 4, IO_PORT_SHIFT = 16 };

enum { SVM_ATTR_L = 1 << 9 };

#define EFER_SVME BIT(12)
#define VM_CR_R_INIT BIT(1) /* an INIT that nobody intercepts becomes #SX */
#define VM_CR_DIS_A20M BIT(2)
#define VM_CR_LOCK BIT(3)
#define VM_CR_SVMDIS BIT(4)

enum { SVM_IOPM_SIZE = 3 * 4096, SVM_MSRPM_SIZE = 2 * 4096 };
