/* SPDX-License-Identifier: MIT */
/*
 * A CPU that C code interprets: the semantics of everything that touches
 * privileged state, segments, system registers and exceptions. An engine
 * embeds struct x86_cpu, supplies the environment, and calls these for the
 * instructions that it does not run natively. Freestanding; general registers
 * only (the guest's vector state may be live in the host's registers).
 *
 * Convention: a function that may fault returns 0, or -1 with cpu->fault set
 * and the guest-visible state unchanged. RIP is the caller's business unless
 * the function's purpose is a control transfer.
 */
#pragma once

#include "lib/types.h"
#include "x86/state.h"

struct x86_cpu;

struct x86_fault {
	u8 vector;
	bool has_error;
	u32 error;
	u64 address; /* for #PF: becomes CR2; for #DB: bits to or into DR6 */
};

enum x86_flush {
	FLUSH_PAGE, /* one page, of the current address space and global (INVLPG) */
	FLUSH_NONGLOBAL, /* CR3 write without PCID preservation; all but global pages of the current PCID */
	FLUSH_ALL, /* global pages, and those of other PCIDs, too */
	FLUSH_SWITCH, /* CR3 changed with bit 63 set: nothing need be flushed, another address space is current */
};

/* Privilege of a memory access by C code. */
enum x86_priv {
	PRIV_CPL, /* as the current CPL (and EFLAGS.AC for SMAP) says */
	PRIV_SYSTEM, /* implicit supervisor access: descriptor tables, TSS, IDT stacks */
};

struct x86_env {
	/* size is 1..8. The store is complete or not done at all. */
	int (*load)(struct x86_cpu *cpu, gva_t gva, unsigned size, enum x86_priv priv, u64 *value);
	int (*store)(struct x86_cpu *cpu, gva_t gva, unsigned size, enum x86_priv priv, u64 value);
	/* Host address of 8 aligned bytes of guest-physical RAM (page table entries), or NULL. */
	u64 *(*entry)(struct x86_cpu *cpu, gpa_t gpa);
	/* The guest has said that translations may be stale. */
	void (*flush)(struct x86_cpu *cpu, enum x86_flush kind, gva_t gva);
	/*
	 * CR0, CR4, EFER, XCR0, DR7, CPL, EFLAGS.AC or .TF, or CS, or outside of
	 * 64-bit code SS, DS or ES may have changed: cached modes are stale.
	 */
	void (*mode_changed)(struct x86_cpu *cpu);
	/* MSRs of the local APIC (0x1b, 0x6e0, 0x800..0x8ff). */
	int (*rdmsr)(struct x86_cpu *cpu, u32 index, u64 *value);
	int (*wrmsr)(struct x86_cpu *cpu, u32 index, u64 value);
	u64 (*cr8)(struct x86_cpu *cpu);
	void (*set_cr8)(struct x86_cpu *cpu, u64 value);
	u64 (*host_tsc)(struct x86_cpu *cpu);
	/* Writes guest-physical memory (pvclock page). False when it is not RAM. */
	bool (*write_phys)(struct x86_cpu *cpu, gpa_t gpa, const void *data, size_t len);
};

struct x86_cpu {
	struct x86_state s; /* first: generated code relies on it */
	const struct x86_env *env;
	struct x86_fault fault;
	const struct x86_cpuid_table *cpuid; /* what the guest's CPUID says */
	u64 tsc_khz;
	u64 pvclock_msr; /* MSR_KVM_SYSTEM_TIME_NEW as written */
	u32 pvclock_version;
	u64 wallclock_sec_base; /* host realtime at guest TSC zero, in ns */
	u32 apic_id; /* as CPUID tells it */
};

static inline bool x86_long_mode(const struct x86_cpu *cpu)
{
	return cpu->s.efer & EFER_LMA;
}

static inline bool x86_code64(const struct x86_cpu *cpu)
{
	return x86_long_mode(cpu) && cpu->s.seg[SEG_CS].attr & SEG_L;
}

/* ---- faults: each records and returns -1 (inline, so that compilers see that) ---- */
static inline int x86_fault_record(struct x86_cpu *cpu, u8 vector, bool has_error, u32 error, u64 address)
{
	cpu->fault.vector = vector;
	cpu->fault.has_error = has_error;
	cpu->fault.error = error;
	cpu->fault.address = address;
	return -1;
}

/* A fault without an error code. */
static inline int x86_fault(struct x86_cpu *cpu, u8 vector)
{
	return x86_fault_record(cpu, vector, false, 0, 0);
}

static inline int x86_fault_code(struct x86_cpu *cpu, u8 vector, u32 error)
{
	return x86_fault_record(cpu, vector, true, error, 0);
}

static inline int x86_fault_page(struct x86_cpu *cpu, gva_t gva, u32 error)
{
	return x86_fault_record(cpu, VEC_PF, true, error, gva);
}

/* ---- paging (walk.c; SDM vol. 3 chapter 4) ---- */
enum { ACCESS_READ = 0, ACCESS_WRITE = 1, ACCESS_EXEC = 2 };
enum { PF_P = 1, PF_W = 2, PF_U = 4, PF_RSVD = 8, PF_I = 16 };

/* A page table entry. */
enum {
	PTE_P = 1 << 0,
	PTE_W = 1 << 1,
	PTE_U = 1 << 2,
	PTE_A = 1 << 5,
	PTE_D = 1 << 6,
	PTE_PS = 1 << 7,
	PTE_G = 1 << 8,
};
#define PTE_NX BIT(63)
#define PTE_ADDRESS 0x000ffffffffff000ull

struct x86_walk {
	gpa_t gpa; /* of the byte asked for */
	u64 page_size; /* 4 KiB, 2 MiB or 1 GiB */
	bool user, writable, nx, global; /* the combined rights of all levels */
	bool dirty; /* the leaf's D bit after this walk */
};

/*
 * Walks the guest's tables for one access and sets A (and for a write D) bits.
 * user: the access has user privilege; smap_ok: SMAP does not apply to it
 * (EFLAGS.AC set, or the access is explicit user privilege).
 * With paging off the walk is the identity. Returns 0, or -1 with #PF recorded.
 */
int x86_walk(struct x86_cpu *cpu, gva_t gva, unsigned access, bool user, bool smap_ok, struct x86_walk *out);

/* ---- exceptions and control transfers (event.c, transfer.c) ---- */
enum x86_event_kind { EVENT_HW, EVENT_EXCEPTION, EVENT_SOFT_INT };
/*
 * Delivers through the IDT at cpu->s.rip (for EVENT_SOFT_INT: rip is already
 * the next instruction). Handles double and triple faults. Returns 0, or -1 for
 * a triple fault. For #PF sets CR2; for #DB sets DR6. EVENT_HW with VEC_NMI
 * blocks NMIs until IRET. Long mode only: in any other mode it is -1.
 * When a function below fails, x86_deliver(cpu, EVENT_EXCEPTION, &cpu->fault)
 * with rip at the instruction is what follows. INT3 and INTO are x86_int.
 */
int x86_deliver(struct x86_cpu *cpu, enum x86_event_kind kind, const struct x86_fault *event);
/* INT n, INT3, INTO: with the IDT's DPL check. On success the handler is entered and next_rip is its return address. */
int x86_int(struct x86_cpu *cpu, u8 vector, u64 next_rip);

/*
 * opsize is 2, 4 or 8 bytes. On success rip, CS, SS and RSP are the new ones.
 * IRET loads RF as it finds it; an engine without instruction breakpoints may
 * leave it set, since PUSHF, SYSCALL and delivery do not show it.
 */
int x86_iret(struct x86_cpu *cpu, unsigned opsize);
int x86_far_jump(struct x86_cpu *cpu, u16 sel, u64 offset, unsigned opsize);
int x86_far_call(struct x86_cpu *cpu, u16 sel, u64 offset, unsigned opsize, u64 next_rip);
int x86_far_ret(struct x86_cpu *cpu, unsigned opsize, u16 extra);
int x86_syscall(struct x86_cpu *cpu, u64 next_rip);
int x86_sysret(struct x86_cpu *cpu, unsigned opsize);
int x86_sysenter(struct x86_cpu *cpu);
int x86_sysexit(struct x86_cpu *cpu, unsigned opsize);

/* ---- segments (segment.c) ---- */
int x86_load_seg(struct x86_cpu *cpu, unsigned seg, u16 sel); /* ES SS DS FS GS; MOV/POP semantics */
int x86_lldt(struct x86_cpu *cpu, u16 sel);
int x86_ltr(struct x86_cpu *cpu, u16 sel);
int x86_lgdt(struct x86_cpu *cpu, u64 base, u16 limit);
int x86_lidt(struct x86_cpu *cpu, u64 base, u16 limit);
/* LAR, LSL: true and *value when the selector may be seen (ZF). VERR, VERW: the truth is ZF. */
bool x86_lar(struct x86_cpu *cpu, u16 sel, u32 *value);
bool x86_lsl(struct x86_cpu *cpu, u16 sel, u32 *value);
bool x86_verr(struct x86_cpu *cpu, u16 sel, bool write);
/* SGDT, SIDT, SLDT, STR, SMSW: #GP when UMIP forbids. */
int x86_umip_check(struct x86_cpu *cpu);

/* ---- system registers (sysreg.c, msr.c, cpuid.c) ---- */
int x86_read_cr(struct x86_cpu *cpu, unsigned nr, u64 *value); /* checks CPL and nr */
int x86_write_cr(struct x86_cpu *cpu, unsigned nr, u64 value);
int x86_clts(struct x86_cpu *cpu);
int x86_lmsw(struct x86_cpu *cpu, u16 value);
int x86_read_dr(struct x86_cpu *cpu, unsigned nr, u64 *value);
int x86_write_dr(struct x86_cpu *cpu, unsigned nr, u64 value);
int x86_invlpg(struct x86_cpu *cpu, gva_t gva);
int x86_invpcid(struct x86_cpu *cpu, u64 type, u64 pcid, u64 gva);
int x86_rdmsr(struct x86_cpu *cpu, u32 index, u64 *value); /* checks CPL; unknown: #GP */
int x86_wrmsr(struct x86_cpu *cpu, u32 index, u64 value);
int x86_xsetbv(struct x86_cpu *cpu, u32 index, u64 value);
int x86_xgetbv(struct x86_cpu *cpu, u32 index, u64 *value);
int x86_rdtsc(struct x86_cpu *cpu, u64 *value); /* checks CR4.TSD */
int x86_swapgs(struct x86_cpu *cpu);
/* which: 0 RDFSBASE 1 RDGSBASE 2 WRFSBASE 3 WRGSBASE; opsize 4 or 8 */
int x86_fsgsbase(struct x86_cpu *cpu, unsigned which, unsigned opsize, u64 *value);

/*
 * The new RFLAGS: what POPF may write at this CPL and operand size, merged into
 * the old value. RF comes out clear. Stores nothing; the caller does, and tells
 * itself that TF, AC or IF may have changed.
 */
u64 x86_popf_merge(const struct x86_cpu *cpu, u64 value, unsigned opsize);
int x86_cli(struct x86_cpu *cpu); /* IOPL check; clears IF */
int x86_sti(struct x86_cpu *cpu); /* IOPL check; sets IF and the shadow when IF was clear */
/* IN and OUT: IOPL, then the TSS's permission bitmap. */
int x86_io_check(struct x86_cpu *cpu, u16 port, unsigned size);

struct x86_cpuid_regs {
	u32 eax, ebx, ecx, edx;
};
/* The guest's view: host features that the engine can run, one coherent CPU. */
void x86_cpuid(struct x86_cpu *cpu, u32 leaf, u32 subleaf, struct x86_cpuid_regs *out);

/* ---- power-on and boot states ---- */
/* The architectural reset: real mode at f000:fff0. Keeps env, cpuid, tsc_khz, tsc_offset and apic_id. */
void x86_reset(struct x86_cpu *cpu);
/* What firmware leaves behind and Linux needs for PAT: MTRRs on, all memory write-back. For direct kernel boot. */
void x86_boot_mtrrs(struct x86_cpu *cpu);
