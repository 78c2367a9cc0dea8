/* SPDX-License-Identifier: MIT */
/* What a CPU does all its life: it runs a vCPU and hands its exits on. */
#include "hv/exit.h"

#include "hv/primary.h"

const char *const exit_names[EXIT_REASONS] = {
	[EXIT_INTR] = "interrupt",
	[EXIT_NMI] = "NMI",
	[EXIT_INIT] = "INIT",
	[EXIT_CPUID] = "CPUID",
	[EXIT_RDMSR] = "RDMSR",
	[EXIT_WRMSR] = "WRMSR",
	[EXIT_IO] = "port I/O",
	[EXIT_NPF] = "nested fault",
	[EXIT_HLT] = "HLT",
	[EXIT_CALL] = "call",
	[EXIT_CR] = "control reg.",
	[EXIT_DR] = "debug register",
	[EXIT_XSETBV] = "XSETBV",
	[EXIT_VIRTUALIZATION] = "virtualization",
	[EXIT_INSTRUCTION] = "instruction",
	[EXIT_WINDOW] = "window",
	[EXIT_SHUTDOWN] = "shutdown",
	[EXIT_EXCEPTION] = "exception",
	[EXIT_FAILED] = "entry failed",
	[EXIT_OTHER] = "other",
};

void cpu_switch(struct cpu *cpu, struct hv_vcpu *to)
{
	if (cpu->current)
		hvm->save(cpu->current);
	hvm->load(to);
	cpu->current = to;
}

static void handle(struct cpu *cpu, struct hv_vcpu *v, struct hv_exit *exit)
{
	if (v->domain->primary)
		primary_exit(cpu, v, exit);
	else
		guest_exit(cpu, v, exit);
}

/* Who kicks this CPU waits until it is out, and knows that it looks at all there is before it enters again. */
static bool may_enter(struct cpu *cpu)
{
	atomic_store(&cpu->in_guest, true);
	if (likely(!atomic_load_explicit(&cpu->kicked, memory_order_relaxed)))
		return true;
	atomic_store(&cpu->in_guest, false);
	atomic_store(&cpu->kicked, 0);
	return false;
}

static void flush_if_stale(struct hv_vcpu *v)
{
	u32 generation = atomic_load_explicit(&v->domain->generation, memory_order_relaxed);

	if (unlikely(v->generation != generation)) {
		v->generation = generation;
		hvm->flush(v);
	}
}

static void enter(struct cpu *cpu, struct hv_vcpu *v, struct hv_exit *exit)
{
	flush_if_stale(v);
	hvm->run(v, exit);
	atomic_store_explicit(&cpu->in_guest, false, memory_order_release);
	cpu->exits[!v->domain->primary][exit->reason]++;
	if (unlikely(exit->reason == EXIT_NMI || exit->reason == EXIT_INIT))
		primary_signal(cpu);
}

_Noreturn void cpu_run(struct cpu *cpu)
{
	struct hv_exit exit;

	cpu_switch(cpu, cpu->primary);
	for (;;) {
		if (unlikely(primary_waits(cpu))) {
			if (cpu->current == cpu->primary) {
				primary_attend(cpu);
				continue;
			}
			/* Out of the guest, as if this had just arrived. */
			exit = (struct hv_exit){.reason = EXIT_NMI};
		} else if (may_enter(cpu)) {
			enter(cpu, cpu->current, &exit);
		} else {
			continue;
		}
		handle(cpu, cpu->current, &exit);
	}
}
