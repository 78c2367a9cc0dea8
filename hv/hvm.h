/* SPDX-License-Identifier: MIT */
/*
 * The processor's virtualization, one interface for SVM and VT-x (svm_ops,
 * vmx_ops; picked once, at boot). Everything above it is vendor-neutral.
 *
 * Thread context: each CPU for itself, with interrupts and (SVM) GIF off.
 */
#pragma once

#include "abi/control.h"
#include "lib/types.h"

struct hv_vcpu;
struct domain;

/* Why the guest stopped. Names for people: exit_names[] in hv/exit.c. */
enum exit_reason {
	EXIT_INTR, /* a physical interrupt is pending; it stays so */
	EXIT_NMI, /* an NMI has been taken, already acknowledged */
	EXIT_INIT, /* this CPU has got an INIT */
	EXIT_CPUID,
	EXIT_RDMSR,
	EXIT_WRMSR,
	EXIT_IO,
	EXIT_NPF, /* nested page fault */
	EXIT_HLT,
	EXIT_CALL, /* VMMCALL, VMCALL */
	EXIT_CR,
	EXIT_DR,
	EXIT_XSETBV,
	EXIT_VIRTUALIZATION, /* VMRUN, VMLOAD, VMSAVE, STGI, CLGI, SKINIT, INVLPGA */
	EXIT_INSTRUCTION, /* another intercepted instruction */
	EXIT_WINDOW,
	EXIT_SHUTDOWN,
	EXIT_EXCEPTION,
	EXIT_FAILED, /* the entry's state was refused */
	EXIT_OTHER,
	EXIT_REASONS,
};
_Static_assert((int)EXIT_REASONS <= (int)STATS_REASONS, "the ABI's counters have room");

struct hv_exit {
	enum exit_reason reason;
	u32 length; /* of the instruction, 0: not known */
	u64 raw; /* the hardware's code, for dumps */
	union {
		struct {
			u16 port;
			u8 size;
			bool in, string, rep;
		} io;
		struct {
			u64 gpa;
			u64 error; /* PF_* */
		} npf;
		struct {
			u8 vector;
			u64 error, address;
		} exception;
	};
};

enum { NPT_READ = 1, NPT_WRITE = 2, NPT_EXEC = 4, NPT_UNCACHED = 8, NPT_LARGE = 16, NPT_TABLE = 32 };
/*
 * The primary VM's tables name the owner of each page that a guest has: 1 to 31,
 * 0 for none. npt.c keeps it in bits that the hardware ignores.
 */
#define NPT_OWNER(n) ((unsigned)(n) << 8)
#define NPT_OWNER_OF(flags) ((flags) >> 8 & 31)
#define NPT_RWX (NPT_READ | NPT_WRITE | NPT_EXEC)

struct hvm_ops {
	const char *name;
	bool (*present)(void);
	/* This CPU: enables the extension. 0 or -errno. */
	int (*cpu_on)(void);
	int (*vcpu_init)(struct hv_vcpu *v);
	void (*vcpu_fini)(struct hv_vcpu *v);
	/* One world switch; general registers are in v->gpr. */
	void (*run)(struct hv_vcpu *v, struct hv_exit *exit);
	/*
	 * What run leaves in the CPU (FS, GS, TR, LDTR, SYSCALL MSRs, XSAVE image,
	 * XCR0, debug registers, TSC_AUX): out to and in from v, when this CPU goes
	 * over to another vCPU.
	 */
	void (*save)(struct hv_vcpu *v);
	void (*load)(struct hv_vcpu *v);
	/* event as control_record.inject; false: another one is under way */
	bool (*inject)(struct hv_vcpu *v, u32 event, u32 error_code);
	/* EXIT_WINDOW when the guest's NMI handler ends. */
	void (*nmi_window)(struct hv_vcpu *v, bool on);
	/* Behind an instruction of this length. */
	void (*skip)(struct hv_vcpu *v, unsigned length);
	/* What an instruction has made of them, done for the guest. */
	void (*resume_at)(struct hv_vcpu *v, u64 rip, u64 rflags);
	u64 (*cr4)(struct hv_vcpu *v);
	/*
	 * The state of a vCPU that is not loaded; STATE_XSAVE is not among it. set
	 * stores whatever it gets: vcpu_set() in domain.c checks.
	 */
	void (*get)(struct hv_vcpu *v, struct control_state *s, u32 mask);
	void (*set)(struct hv_vcpu *v, const struct control_state *s, u32 mask);
	/*
	 * Entry: rip, rflags, shadow, tpr, want_window and (valid) inject of the record,
	 * each read once. Exit: all members from tpr on but reason, instruction_length,
	 * next_rip and the union; and inject.
	 */
	void (*record_in)(struct hv_vcpu *v, struct control_record *r);
	void (*record_out)(struct hv_vcpu *v, struct control_record *r);
	/* An entry of the nested tables; level 1 is 4 KiB, NPT_LARGE at 2 and 3. */
	u64 (*pte)(hpa_t hpa, unsigned flags, unsigned level);
	/* Waits for an NMI or INIT, and lets it through to our handler. */
	void (*idle)(void);
	/* Before v runs again: its nested translations are stale. */
	void (*flush)(struct hv_vcpu *v);
};

extern const struct hvm_ops svm_ops;
extern const struct hvm_ops *hvm;

/* An exception in a VM's code. */
static inline void vcpu_fault(struct hv_vcpu *v, unsigned vector, bool has_error, u32 error)
{
	hvm->inject(v, (u32)BIT(31) | 3 << 8 | (has_error ? BIT(11) : 0) | vector, error);
}
