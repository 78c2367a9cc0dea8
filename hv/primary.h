/* SPDX-License-Identifier: MIT */
/* The primary VM's vCPUs, as exit.c, primary.c, lapic.c and mmio.c see them. */
#pragma once

#include "hv/cpu.h"
#include "hv/domain.h"

/* The primary vCPU of this CPU must not simply be entered: it has an NMI, INIT or SIPI, or does not run. */
static inline bool primary_waits(const struct cpu *cpu)
{
	const struct hv_vcpu *v = cpu->primary;

	return v->activity != VCPU_RUNNING || v->sipi || (v->nmi_pending && !v->nmi_masked);
}

/* Does what primary_waits() told of; waits a while if there is nothing. */
void primary_attend(struct cpu *cpu);
/* Our handler may have taken NMIs: ours, or for the primary VM. */
void primary_signal(struct cpu *cpu);
_Noreturn void machine_reset(void);

/* ---- lapic.c ---- */
/* INITs and SIPIs among the primary VM's vCPUs are ours as long as one of them waits for a SIPI. */
void lapic_init(const char *args);
void lapic_update_hook(void); /* after a vCPU's activity has changed */
bool lapic_is_hooked(u64 gpa);
void lapic_access(struct cpu *cpu, u64 gpa, unsigned size, bool write, u64 *value);
void lapic_write_icr(struct cpu *cpu, u32 low, u32 destination);

/* ---- mmio.c ---- */
/* Does the primary VM's access to a page that we answer for: one instruction. False: it cannot be done. */
bool mmio_emulate(struct cpu *cpu, struct hv_vcpu *v);
