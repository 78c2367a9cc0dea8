/* SPDX-License-Identifier: MIT */
/*
 * What control.c, guest.c and guest_memory.c share: the calls, and the tables of
 * VMs and vCPUs.
 *
 * Calls that change who owns what (all but the vCPU's own) exclude each other by
 * one flag that is tried, never waited for: who does not get it says CONTROL_AGAIN.
 * So a CPU that waits for others to take a kick never waits for one that waits
 * for it.
 */
#pragma once

#include "hv/cpu.h"
#include "hv/domain.h"

/* arg: RSI, RDX, RCX, R8. A result or -enum control_error. */
typedef i64 (*call_function)(const u64 arg[4]);

/* guest.c */
extern struct domain domains[DOMAIN_MAX];
extern struct hv_vcpu vcpus[VCPU_MAX];
struct domain *domain_find(u64 handle);
/* The VM, which has not begun to end. 0 or an error. */
i64 domain_living(u64 handle, struct domain **d);
i64 call_vm_create(const u64 arg[4]);
i64 call_vm_destroy(const u64 arg[4]);
i64 call_vm_cpuid(const u64 arg[4]);
i64 call_vcpu_create(const u64 arg[4]);
i64 call_vcpu_run(struct cpu *cpu, u64 handle);
i64 call_vcpu_get(const u64 arg[4]);
i64 call_vcpu_set(const u64 arg[4]);
/*
 * One step of a VM's end, which begins here if it has not: no vCPU enters any
 * more, all memory is scrubbed and given back, tables are freed. -CONTROL_AGAIN until
 * it is gone, then 0.
 */
i64 domain_end(struct domain *d);

/* guest_memory.c */
bool structure_try(void);
void structure_release(void);
i64 call_vm_map(const u64 arg[4]);
i64 call_vm_unmap(const u64 arg[4]);
i64 call_vm_share(const u64 arg[4]);
/* A page of the primary VM that a call may read or write; it is nobody's private page. */
bool page_usable(u64 pa);
/* Makes d the owner of a page of the primary VM, which keeps its access to it; and the reverse. */
i64 page_claim(struct domain *d, u64 pa);
void page_release(struct domain *d, u64 pa);
/* A step of giving back all that d has. -CONTROL_AGAIN: not all yet. */
i64 memory_give_back(struct domain *d);
