/* SPDX-License-Identifier: MIT */
/*
 * The guest's CPUID: a table made once from the host's answers (the
 * instruction traps on a virtual host), and what follows from it: which
 * control register and XCR0 bits the guest may set, and how wide its physical
 * addresses are. Freestanding.
 */
#pragma once

#include "x86/cpu.h"

enum { X86_CPUID_ENTRIES = 80, X86_PHYS_BITS_MAX = 46 };

struct x86_cpuid_entry {
	u32 leaf, subleaf;
	struct x86_cpuid_regs regs;
};

struct x86_cpuid_table {
	unsigned count;
	unsigned phys_bits;
	unsigned ncpus;
	bool amd; /* or Hygon */
	u64 cr4_allowed; /* CR4 bits that are not reserved */
	u64 efer_allowed;
	u64 xcr0_allowed;
	u64 arch_capabilities; /* 0: the MSR does not exist */
	struct x86_cpuid_entry entry[X86_CPUID_ENTRIES];
};

/* Where the host's answers come from: the instruction, or a test's fake. */
struct x86_host {
	void (*cpuid)(u32 leaf, u32 subleaf, struct x86_cpuid_regs *out);
	u64 xcr0; /* 0 when OSXSAVE is off */
	bool native; /* the silicon runs the guest: what it lacks, nobody makes up for */
};

void x86_cpuid_init(struct x86_cpuid_table *t, const struct x86_host *host, unsigned ncpus, u64 tsc_khz);
/* The entry of a leaf, or NULL: the guest reads zeros. */
const struct x86_cpuid_entry *x86_cpuid_find(const struct x86_cpuid_table *t, u32 leaf, u32 subleaf);

static inline void x86_native_cpuid(u32 leaf, u32 subleaf, struct x86_cpuid_regs *out)
{
	__asm__ volatile("cpuid"
			 : "=a"(out->eax), "=b"(out->ebx), "=c"(out->ecx), "=d"(out->edx)
			 : "a"(leaf), "c"(subleaf));
}

static inline u64 x86_native_xcr0(void)
{
	struct x86_cpuid_regs r;
	u32 low, high;

	x86_native_cpuid(1, 0, &r);
	if (!(r.ecx & 1u << 27))
		return 0;
	__asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	return (u64)high << 32 | low;
}

static inline unsigned x86_phys_bits(const struct x86_cpu *cpu)
{
	return cpu->cpuid->phys_bits;
}
