/* SPDX-License-Identifier: MIT */
/* A vCPU's registers, for people. */
#include "main/dump.h"

#define LLU(x) ((unsigned long long)(x))

static void dump_general(FILE *out, const struct x86_state *regs)
{
	static const char *const name[] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9",
		"r10", "r11", "r12", "r13", "r14", "r15"};

	for (unsigned i = 0; i < ARRAY_SIZE(name); i++)
		fprintf(out, "%s%-3s %016llx%s", i % 4 ? " " : "  ", name[i], LLU(regs->gpr[i]),
			i % 4 == 3 ? "\n" : "");
	fprintf(out, "  rip %016llx rflags %08llx cpl %u%s\n", LLU(regs->rip), LLU(regs->rflags), regs->cpl,
		regs->halted ? " halted" : "");
}

static void dump_segments(FILE *out, const struct x86_state *regs)
{
	static const char *const name[] = {"es", "cs", "ss", "ds", "fs", "gs", "ldtr", "tr"};

	for (unsigned i = 0; i < SEG_COUNT; i++) {
		const struct x86_seg *seg = &regs->seg[i];

		fprintf(out, "  %-4s %04x base %016llx limit %08x attr %05x\n", name[i], seg->sel,
			LLU(seg->base), seg->limit, seg->attr);
	}
	fprintf(out, "  gdt  base %016llx limit %04x   idt base %016llx limit %04x\n", LLU(regs->gdt.base),
		regs->gdt.limit, LLU(regs->idt.base), regs->idt.limit);
}

void dump_registers(FILE *out, const struct x86_state *regs)
{
	dump_general(out, regs);
	dump_segments(out, regs);
	fprintf(out, "  cr0 %08llx cr2 %016llx cr3 %016llx cr4 %08llx efer %04llx xcr0 %llx\n",
		LLU(regs->cr0), LLU(regs->cr2), LLU(regs->cr3), LLU(regs->cr4), LLU(regs->efer),
		LLU(regs->xcr0));
	fprintf(out, "  dr6 %08llx dr7 %08llx\n", LLU(regs->dr[6]), LLU(regs->dr[7]));
}
