/* SPDX-License-Identifier: MIT */
/*
 * A physical CPU. Each has a stack, with this struct at its lower end: the
 * current CPU follows from RSP, and no segment base is ours.
 */
#pragma once

#include <stdatomic.h>

#include "hv/hvm.h"
#include "lib/types.h"

enum { CPU_MAX = 64, CPU_STACK = 16384 }; /* stacks are CPU_STACK-aligned */

struct cpu {
	struct hv_vcpu *current; /* what this CPU runs */
	struct hv_vcpu *primary; /* the primary VM's vCPU of this CPU */
	u32 id, apic_id;
	_Atomic u32 kicked; /* another CPU wants this one to look: CPU_KICK_*; an NMI follows */
	_Atomic u32 nmis; /* NMIs taken by our handler (trap.c) and not looked at yet */
	_Atomic u32 kick_nmis; /* NMIs sent by cpu_kick and not yet taken */
	bool online;
	_Atomic bool in_guest; /* only then has a kick to send an NMI */
	void *host_save; /* SVM: the host save area; VT-x: the VMXON region */
	u64 exits[2][EXIT_REASONS]; /* counters; [0] primary, [1] guests; only this CPU writes */
	u64 calls[CALL_COUNT];
};

enum {
	CPU_KICK_FLUSH = 1, /* the primary VM's nested tables have changed */
	CPU_KICK_SIPI = 2, /* this CPU's primary vCPU has an INIT or SIPI waiting */
};

extern struct cpu *cpus[CPU_MAX];
extern unsigned ncpus;

static inline struct cpu *this_cpu(void)
{
	u64 sp;

	__asm__("mov %%rsp, %0" : "=r"(sp)); /* volatile not needed: a CPU never changes under us */
	return (struct cpu *)(sp & ~(u64)(CPU_STACK - 1));
}

/* The BSP becomes cpus[0]. */
void cpu_init_boot(void);
/* Finds all other CPUs (ACPI MADT) and starts them by INIT-SIPI; each ends in cpu_run(). After primary_init(). */
struct memmap;
void cpus_start(hpa_t rsdp, const struct memmap *map);
/*
 * Sets kick bits, and waits until the other CPU is out of its guest; it takes them
 * before it enters one again. Locks may be held: a CPU that waits for one is not in
 * its guest.
 */
void cpu_kick(struct cpu *cpu, u32 kick);
/* What the CPU does for the rest of its life: run current, handle its exit. */
_Noreturn void cpu_run(struct cpu *cpu);
