/* SPDX-License-Identifier: MIT */
/*
 * The control interface of the microhypervisor: what a VMM in the primary VM
 * may ask of it. Freestanding; both sides include this file.
 *
 * Discovery: a virtual PCI function (CONTROL_VENDOR:CONTROL_DEVICE) whose BAR 0
 * holds one page, struct control_page. User space maps it through sysfs, so
 * file permissions guard it, and no kernel module is needed.
 *
 * A call is VMMCALL (AMD) or VMCALL (Intel), at any privilege level, with
 *   RAX call number (enum control_call)    RDI the key read from the page
 *   RSI, RDX, RCX, R8 arguments
 * and returns RAX: 0 or more is the result, negative is -enum control_error.
 * All other registers keep their values. A wrong key is #UD, as if nobody were
 * there. No call waits for another CPU; none takes longer than CONTROL_BATCH
 * pages of work, and says with CONTROL_AGAIN that the rest is still to do.
 *
 * Pages: "page" below is a page of the primary VM, named by its guest-physical
 * address (equal to the machine's); it must be RAM of the primary VM, aligned,
 * and stay where it is (hugetlb or locked memory). The caller may write to it at
 * any time: what the hypervisor reads from it, it checks or cannot be hurt by.
 */
#pragma once

#include "lib/types.h"

enum {
	CONTROL_VERSION = 1,
	CONTROL_VENDOR = 0x4d55, /* "MU"; not assigned by the PCI-SIG */
	CONTROL_DEVICE = 0x4c4e,
	CONTROL_CLASS = 0x088000, /* system peripheral, other */
	CONTROL_BAR_SIZE = 4096,
	CONTROL_BATCH = 512, /* pages in one call */
};

#define CONTROL_MAGIC 0x31304e4f494c4c55ull /* "ULLION01" */

/* What BAR 0 shows; read-only. */
struct control_page {
	u64 magic; /* CONTROL_MAGIC */
	u32 version; /* CONTROL_VERSION */
	u32 ncpus;
	u64 key; /* for RDI; new at each boot */
	u64 kept_bytes; /* memory that the hypervisor keeps for itself */
	u64 free_bytes; /* of that: free for VMs' tables */
	u32 max_vms, max_vcpus; /* in all */
	char engine[16]; /* "svm" or "vmx" */
};

enum control_call {
	CALL_VERSION, /* -> CONTROL_VERSION */
	CALL_VM_CREATE, /* RSI VM_* flags -> handle */
	/* RSI vm. Scrubs its memory, gives it back, frees its tables. CONTROL_AGAIN: call again. */
	CALL_VM_DESTROY,
	/*
	 * RSI vm, RDX first guest-physical address, RCX page of u64 guest-frame entries
	 * (struct control_frame), R8 their number, at most CONTROL_BATCH. Every entry
	 * is checked before the first is mapped. A page belongs to one VM; when it
	 * belongs to another one, that VM's owner must have lost it: the old VM is ended.
	 */
	CALL_VM_MAP,
	/* RSI vm, RDX first guest-physical address, RCX number of pages. Scrubs (private pages) and gives back. */
	CALL_VM_UNMAP,
	/* RSI vm, RDX first guest-physical address, RCX number of pages: private pages become shared ones. */
	CALL_VM_SHARE,
	/*
	 * RSI vm, RDX page of struct control_cpuid, RCX their number (fits the page): what the
	 * guest's CPUID says. Once in a VM's life, before its first vCPU.
	 */
	CALL_VM_CPUID,
	/* RSI vm, RDX page for struct control_vcpu, RCX page for the XSAVE image -> handle. Starts in the reset state. */
	CALL_VCPU_CREATE,
	/* RSI vcpu. Runs it on this CPU until record.reason says why not. -> enum control_reason */
	CALL_VCPU_RUN,
	/* RSI vcpu, RDX STATE_* mask: from or to page->state. SET checks everything first. */
	CALL_VCPU_GET,
	CALL_VCPU_SET,
	CALL_STATS, /* RSI page for struct control_stats */
	CALL_COUNT,
};

enum control_error {
	CONTROL_BAD_CALL = 1,
	CONTROL_BAD_HANDLE = 2,
	CONTROL_BAD_ADDRESS = 3, /* not a page of the primary VM's RAM, or misaligned, or out of range */
	CONTROL_BAD_ARGUMENT = 4,
	CONTROL_BAD_STATE = 5, /* the vCPU runs elsewhere, the VM is being destroyed, state that no CPU can have */
	CONTROL_NO_MEMORY = 6,
	CONTROL_NO_SPACE = 7, /* the tables of VMs, vCPUs are full */
	CONTROL_AGAIN = 8,
};

enum { VM_PRIVATE = 1 }; /* VM_MAP takes the pages out of the primary VM until VM_SHARE or the end */
enum { FRAME_WRITE = 1, FRAME_2M = 2 }; /* low bits of a frame entry; FRAME_2M: 2 MiB, both sides aligned */

/* ---- the vCPU's page ---- */

enum control_reason {
	REASON_INTERRUPTED, /* the primary VM has an interrupt, or the caller's kick flag was set: just run again */
	REASON_IO, /* IN or OUT, not of a string: io; complete by rax and rip = next_rip */
	REASON_MMIO, /* an access to a guest-physical address that is not mapped so: mmio; decode at rip */
	REASON_CPUID, /* not in the table */
	REASON_MSR, /* RDMSR or WRMSR: msr.index, msr.write */
	REASON_HLT, /* rip is behind it already */
	REASON_WINDOW, /* record.want_window was set, and an interrupt could be taken now */
	REASON_CR, /* MOV to or from CR8 or a control register that the CPU would not do itself */
	REASON_XSETBV,
	REASON_INSTRUCTION, /* some other instruction that needs the VMM; decode at rip */
	REASON_SHUTDOWN, /* triple fault */
	REASON_ENTRY_FAILED, /* the CPU refused the state; detail in qualification[0] */
	REASON_ENDED, /* the VM was ended; destroy it */
	REASON_COUNT,
};

struct control_record {
	/* in */
	u32 kick; /* nonzero: return REASON_INTERRUPTED at once; set by any thread, cleared by the caller */
	u32 want_window; /* nonzero: REASON_WINDOW as soon as an interrupt can be taken */
	u32 inject; /* bit 31 valid, 11 error code valid, 10:8 type (0 interrupt, 2 NMI, 3 exception), 7:0 vector; cleared when taken */
	u32 inject_error;
	/* in and out: like CR8 */
	u64 tpr;
	/* out; inject is set again when an event was under way as the VM exited: hand it in again */
	u32 reason;
	u32 instruction_length; /* 0: not known */
	union {
		struct {
			u16 port;
			u8 size; /* 1, 2, 4 */
			bool in;
			bool string, rep; /* then: decode at rip */
			u16 pad;
		} io;
		struct {
			u32 index;
			bool write;
		} msr;
		struct {
			u64 gpa;
			u64 error; /* page-fault error code; bit 32: of the access itself, not of a table's entry */
		} mmio;
		u64 qualification[2];
	};
	u64 next_rip; /* where reason gives it (REASON_IO, _CPUID, _MSR, _HLT), else 0 */
	/* what most exits' handling needs, so that it needs no CALL_VCPU_GET; rip and rflags are also taken at run */
	u64 rip, rflags;
	u64 cr0, cr3, cr4, efer;
	u32 cs_attr; /* as in struct control_segment */
	u8 cpl;
	bool interruptible; /* IF set and no shadow */
	bool shadow; /* of STI or MOV SS; taken at run: clear it when completing an instruction */
	bool watch_tpr; /* taken at run: a write to CR8 is REASON_CR. Without: only tpr tells of it, at the next exit */
};

struct control_segment { /* as in the VMCB (APM vol. 2, appendix B) */
	u16 selector, attr; /* attr: descriptor bits 55:52, 47:40 */
	u32 limit;
	u64 base;
};

enum {
	STATE_SEGMENTS = 1, /* segments, gdtr, idtr, cpl */
	STATE_CONTROL = 2, /* CR0 to CR4, EFER, RFLAGS, RIP, XCR0 */
	STATE_DEBUG = 4,
	STATE_MSRS = 8,
	STATE_XSAVE = 16, /* the XSAVE image page: standard format */
	STATE_ALL = 31,
};

struct control_state {
	struct control_segment es, cs, ss, ds, fs, gs, gdtr, ldtr, idtr, tr;
	u64 cr0, cr2, cr3, cr4, efer, rip, rflags, xcr0;
	u64 dr0, dr1, dr2, dr3, dr6, dr7;
	u64 star, lstar, cstar, sfmask, kernel_gs_base;
	u64 sysenter_cs, sysenter_esp, sysenter_eip;
	u64 pat, tsc_aux, tsc_offset, spec_ctrl;
	u8 cpl;
};

struct control_vcpu {
	u64 gpr[16]; /* in the order of the instruction encoding: RAX RCX RDX RBX RSP RBP RSI RDI R8.. */
	struct control_record record;
	struct control_state state __attribute__((aligned(64)));
};

struct control_cpuid {
	u32 leaf, subleaf;
	u32 any_subleaf; /* nonzero: subleaf does not matter */
	u32 eax, ebx, ecx, edx;
	u32 pad;
};

/* ---- counters ---- */

enum { STATS_REASONS = 24 };

struct control_stats {
	u64 primary[STATS_REASONS]; /* VM exits of the primary VM, by enum exit_reason of hv/hvm.h, all CPUs */
	u64 guests[STATS_REASONS];
	u64 calls[CALL_COUNT];
	u64 vms, vcpus, pages_mapped, pages_private;
	char names[STATS_REASONS][16]; /* of the exit reasons */
};
