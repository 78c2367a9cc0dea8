/* SPDX-License-Identifier: MIT */
/*
 * Messages between CPUs. Ours are NMIs (kicks). The primary VM's INITs and SIPIs
 * must not reach a CPU that waits for one in our code, so as long as one waits,
 * the page of the local APIC is read-only and writes to the ICR come here;
 * everything else is done on the real one. When all run, the page is mapped, and
 * there are no exits any more.
 */
#include "hv/apic.h"
#include "x86/insn.h"
#include "x86/msr.h"
#include "hv/primary.h"
#include "lib/string.h"

enum {
	ICR_MODE = 7 << 8,
	ICR_MODE_INIT = 5 << 8,
	ICR_MODE_SIPI = 6 << 8,
	ICR_LOGICAL = 1 << 11,
	ICR_ASSERT = 1 << 14,
	ICR_SHORTHAND_SHIFT = 18,
	TO_SELF = 1,
	TO_ALL = 2,
	TO_OTHERS = 3,
	TO_BROADCAST = 0xff,
};
#define TO_BROADCAST_X2 0xffffffffu

static hpa_t page;
static bool hooked, always;

/* ---- kicks ---- */
enum { KICK_AGAIN = 1 << 16 };

/*
 * The vCPU may have changed its APIC's ID, or an NMI may have come a moment too
 * early: after a while all are asked.
 */
static void send_nmi(struct cpu *cpu, bool to_all)
{
	for (unsigned i = 0; to_all && i < ncpus; i++) {
		if (cpus[i] && cpus[i] != this_cpu())
			atomic_fetch_add(&cpus[i]->kick_nmis, 1);
	}
	if (!to_all)
		atomic_fetch_add(&cpu->kick_nmis, 1);
	apic_send(cpu->apic_id, ICR_NMI | (to_all ? TO_OTHERS << ICR_SHORTHAND_SHIFT : 0));
}

void cpu_kick(struct cpu *cpu, u32 kick)
{
	atomic_fetch_or(&cpu->kicked, kick);
	if (cpu == this_cpu())
		return;
	for (u32 spins = 0; atomic_load(&cpu->in_guest) && atomic_load(&cpu->kicked) & kick; spins++) {
		if (spins % KICK_AGAIN == 0)
			send_nmi(cpu, spins != 0);
		pause();
	}
}

/* ---- the hook ---- */
/*
 * A CPU whose INIT intercept does not hold (QEMU's: the INIT is done right after
 * the exit) is safe only with the page always hooked.
 */
void lapic_init(const char *args)
{
	always = has_word(args, "lapic=hooked");
	page = rdmsr(MSR_APIC_BASE) & 0x000ffffffffff000;
}

bool lapic_is_hooked(u64 gpa)
{
	return (gpa & PAGE_MASK) == page && __atomic_load_n(&hooked, __ATOMIC_RELAXED);
}

static bool one_waits(void)
{
	for (unsigned i = 0; i < CPU_MAX; i++) {
		if (cpus[i] && cpus[i]->primary && cpus[i]->primary->activity == VCPU_WAIT_SIPI)
			return true;
	}
	return false;
}

void lapic_update_hook(void)
{
	struct domain *d = &primary_domain;
	bool wanted, changed;

	lock(&d->lock);
	wanted = always || one_waits();
	changed = wanted != hooked;
	if (changed && wanted)
		npt_map(d, page, page, PAGE_SIZE, NPT_READ);
	else if (changed)
		npt_map(d, page, page, PAGE_SIZE, NPT_RWX);
	__atomic_store_n(&hooked, wanted, __ATOMIC_RELAXED);
	if (changed)
		domain_flush(d);
	unlock(&d->lock);
}

/* ---- INIT and SIPI ---- */
/* Only a vCPU that waits, or has an INIT before it, takes a SIPI; the first one counts. */
static void send_sipi(struct hv_vcpu *v, u8 vector)
{
	u32 old = atomic_load(&v->sipi);

	do {
		if (old & SIGNAL_SIPI || (!(old & SIGNAL_INIT) && v->activity != VCPU_WAIT_SIPI))
			return;
	} while (!atomic_compare_exchange_weak(&v->sipi, &old, old | SIGNAL_SIPI | vector));
}

static void send_message(struct cpu *to, u32 icr)
{
	if (!to->primary)
		return;
	if ((icr & ICR_MODE) == ICR_MODE_INIT)
		atomic_store(&to->primary->sipi, SIGNAL_INIT);
	else
		send_sipi(to->primary, (u8)icr);
	cpu_kick(to, CPU_KICK_SIPI);
}

static bool is_target(const struct cpu *from, const struct cpu *to, u32 icr, u32 destination)
{
	switch (icr >> ICR_SHORTHAND_SHIFT & 3) {
	case TO_SELF:
		return to == from;
	case TO_ALL:
		return true;
	case TO_OTHERS:
		return to != from;
	default: /* by logical destination: nobody does that, and nobody gets it */
		if (icr & ICR_LOGICAL)
			return false;
		return destination == to->apic_id || destination == TO_BROADCAST ||
		       destination == TO_BROADCAST_X2;
	}
}

static void write_real(u32 low, u32 destination)
{
	if (rdmsr(MSR_APIC_BASE) & APIC_BASE_X2)
		wrmsr(MSR_X2APIC_ICR, (u64)destination << 32 | low);
	else
		*(volatile u32 *)(page + APIC_ICR) = low;
}

void lapic_write_icr(struct cpu *cpu, u32 low, u32 destination)
{
	u32 mode = low & ICR_MODE;

	if (mode != ICR_MODE_INIT && mode != ICR_MODE_SIPI) {
		write_real(low, destination);
		return;
	}
	if (mode == ICR_MODE_INIT && !(low & ICR_ASSERT))
		return;
	for (unsigned i = 0; i < ncpus; i++) {
		if (cpus[i] && is_target(cpu, cpus[i], low, destination))
			send_message(cpus[i], low);
	}
}

void lapic_access(struct cpu *cpu, u64 gpa, unsigned size, bool write, u64 *value)
{
	u64 offset = gpa & (PAGE_SIZE - 1) & ~3ull;
	volatile u32 *reg = (u32 *)(page + offset);

	if (!write)
		*value = *reg >> 8 * (gpa & 3);
	else if (size < 4 || gpa & 3)
		return; /* the registers take nothing else */
	else if (offset == APIC_ICR)
		lapic_write_icr(cpu, (u32)*value, *(volatile u32 *)(page + APIC_ICR_HIGH) >> 24);
	else
		*reg = (u32)*value;
}
