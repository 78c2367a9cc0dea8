/* SPDX-License-Identifier: MIT */
/*
 * Host signals raised by generated code become the guest's exceptions: the
 * place in the code cache tells the guest instruction, whose registers are
 * exactly those of the interrupted context.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "engine/translate/cpu.h"
#include "engine/translate/engine.h"

#define SIGNAL_STACK KIB(64)

static _Thread_local struct cpu *current;

void engine_bug(struct cpu *cpu, const char *what)
{
	if (!cpu->bug)
		cpu->bug = what;
}

/* The guest instruction that the host address stands for. */
static bool guest_place(struct cpu *cpu, u64 host, u64 *rip, u16 *flags)
{
	const struct fragment *f = frag_by_host(cpu, host);
	const struct pcmap *best = NULL;
	bool cold = host >= (u64)cpu->cold;
	u64 start;

	if (!f)
		return false;
	start = cold ? f->cold : MIN(f->host, f->lazy) & ~15ull;
	for (u32 i = f->map; i < f->map + f->nmap; i++)
		if (!(cpu->pcmap[i].guest & PCMAP_COLD) == !cold && start + cpu->pcmap[i].host <= host)
			best = &cpu->pcmap[i];
	if (!best)
		return false;
	*rip = frag_pc(cpu, f) + (best->guest & PCMAP_OFFSET);
	*flags = best->guest;
	return true;
}

static bool is_ras_guard(const struct cpu *cpu, u64 addr)
{
	return cpu->ras && addr >= (u64)cpu->ras && addr < (u64)cpu->ras + RAS_TOTAL;
}

static bool becomes_fault(struct cpu *cpu, greg_t *g)
{
	u64 trap = (u64)g[REG_TRAPNO], rip;
	u16 place;

	if (!guest_place(cpu, (u64)g[REG_RIP], &rip, &place))
		return false;
	switch (trap) {
	case VEC_DE: case VEC_UD: case VEC_MF: x86_fault(&cpu->x, (u8)trap); break;
	case VEC_XM: x86_fault(&cpu->x, cpu->x.s.cr4 & CR4_OSXMMEXCPT ? VEC_XM : VEC_UD); break;
	case VEC_GP: case VEC_SS: x86_fault_code(&cpu->x, place & PCMAP_SS ? VEC_SS : VEC_GP, 0); break;
	case VEC_AC: x86_fault_code(&cpu->x, VEC_AC, 0); break;
	default: return false;
	}
	cpu->stats.host_signals++;
	if (!(place & PCMAP_LAZY))
		cpu->flags = flags_to_lazy((u64)g[REG_EFL]);
	cpu->x.s.rip = rip;
	cpu->leave = LEAVE_FAULT;
	g[REG_RIP] = (greg_t)cpu->fn_fault;
	return true;
}

static void handler(int sig, siginfo_t *si, void *context)
{
	greg_t *g = ((ucontext_t *)context)->uc_mcontext.gregs;
	struct cpu *cpu = current;
	u64 rip = (u64)g[REG_RIP];

	if (rip == (u64)xrstor_native_64 || rip == (u64)xrstor_native_32) {
		g[REG_RIP] = (greg_t)(u64)xrstor_native_fault;
		return;
	}
	if (cpu && rip >= (u64)cpu->code && rip < (u64)cpu->cold_end) {
		if (sig == SIGSEGV && is_ras_guard(cpu, (u64)si->si_addr)) {
			g[REG_RSP] = (greg_t)cpu->ras_empty; /* too deep: start over */
			return;
		}
		if (becomes_fault(cpu, g))
			return;
		engine_bug(cpu, "unexpected host signal in generated code");
		g[REG_RIP] = (greg_t)cpu->fn_fault;
		return;
	}
	signal(sig, SIG_DFL); /* our own fault: let it be seen */
}

int signal_init(struct cpu *cpu)
{
	static const int signals[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL };
	struct sigaction sa = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER };
	stack_t ss = { .ss_size = SIGNAL_STACK };

	if (!cpu->signal_stack) {
		cpu->signal_stack = malloc(SIGNAL_STACK);
		if (!cpu->signal_stack)
			return -ENOMEM;
	}
	ss.ss_sp = cpu->signal_stack;
	if (sigaltstack(&ss, NULL))
		return -errno;
	sigemptyset(&sa.sa_mask);
	for (unsigned i = 0; i < ARRAY_SIZE(signals); i++)
		if (sigaction(signals[i], &sa, NULL))
			return -errno;
	current = cpu;
	return 0;
}
