/* SPDX-License-Identifier: MIT */
/* The state after RESET (SDM vol. 3 table 9-1), and what firmware adds for a kernel that is booted without any. */
#include "x86/cpuid.h"
#include "x86/internal.h"

enum { ATTR_REAL_DATA = 3 | SEG_S | SEG_P, ATTR_REAL_CODE = 0xb | SEG_S | SEG_P };

/* A compiler would make a call to memset of a loop. */
static void clear(void *p, size_t len)
{
	__asm__ volatile("rep stosb" : "+D"(p), "+c"(len) : "a"(0) : "memory", "cc");
}

static void reset_segments(struct x86_state *s)
{
	for (unsigned i = 0; i < SEG_COUNT; i++) {
		s->seg[i].attr = ATTR_REAL_DATA;
		s->seg[i].limit = 0xffff;
	}
	s->seg[SEG_CS].attr = ATTR_REAL_CODE;
	s->seg[SEG_CS].sel = 0xf000;
	s->seg[SEG_CS].base = 0xffff0000;
	s->seg[SEG_LDTR].attr = TYPE_LDT | SEG_P;
	s->seg[SEG_TR].attr = TYPE_TSS_BUSY | SEG_P;
	s->gdt.limit = 0xffff;
	s->idt.limit = 0xffff;
}

void x86_reset(struct x86_cpu *cpu)
{
	struct x86_state *s = &cpu->s;
	u64 tsc_offset = s->tsc_offset - s->tsc_adjust;
	const struct x86_cpuid_entry *version = x86_cpuid_find(cpu->cpuid, 1, 0);

	clear(s, sizeof(*s));
	clear(&cpu->fault, sizeof(cpu->fault));
	cpu->pvclock_msr = 0;
	reset_segments(s);
	s->tsc_offset = tsc_offset;
	s->gpr[RDX] = version ? version->regs.eax : 0;
	s->rip = 0xfff0;
	s->rflags = FL_ONE;
	s->cr0 = CR0_CD | CR0_NW | CR0_ET;
	s->xcr0 = 1;
	s->dr[6] = 0xffff0ff0;
	s->dr[7] = 0x400;
	s->pat = 0x0007040600070406ull;
	s->misc_enable = 1 | BIT(11) | BIT(12); /* fast strings; no BTS, no PEBS */
}

void x86_boot_mtrrs(struct x86_cpu *cpu)
{
	struct x86_state *s = &cpu->s;

	/* Enabled with the fixed ranges; 0xa0000..0xbffff is uncached, all else write-back. */
	s->mtrr_def_type = 0xc06;
	for (unsigned i = 0; i < ARRAY_SIZE(s->mtrr_fixed); i++)
		s->mtrr_fixed[i] = i == 2 ? 0 : 0x0606060606060606ull;
}
