/* SPDX-License-Identifier: MIT */
/*
 * XSAVE and XRSTOR. The guest's state is in the host's registers, so the
 * host's own instruction does the work: on guest memory when its pages lie
 * side by side in host memory, else on a buffer that is copied.
 */
#include <Zydis/Mnemonic.h>

#include "engine/translate/cpu.h"
#include "engine/translate/engine.h"

#define HEADER 512
#define LEGACY_AND_HEADER 576
#define XCOMP_COMPACT (1ull << 63)

static unsigned standard_size(const struct cpu *cpu, u64 mask)
{
	unsigned size = LEGACY_AND_HEADER;

	for (unsigned i = 2; i < 63; i++)
		if (mask >> i & 1 && cpu->xoffset[i] + cpu->xsize[i] > size)
			size = cpu->xoffset[i] + cpu->xsize[i];
	return size;
}

static unsigned compact_size(const struct cpu *cpu, u64 mask)
{
	unsigned size = LEGACY_AND_HEADER;

	for (unsigned i = 2; i < 63; i++) {
		if (!(mask >> i & 1))
			continue;
		if (cpu->xaligned >> i & 1)
			size = (size + 63) & ~63u;
		size += cpu->xsize[i];
	}
	return size;
}

static u64 requested(const struct cpu *cpu)
{
	return ((cpu->x.s.gpr[RDX] << 32) | (u32)cpu->x.s.gpr[RAX]) & cpu->x.s.xcr0;
}

/* Host address of the area when it can be used in place, or NULL; -1: fault. */
static u8 *in_place(struct cpu *cpu, gva_t gva, unsigned size, bool write)
{
	u8 *first, *host;
	gpa_t gpa;

	if (tlb_page(cpu, gva, write, PRIV_CPL, &first, &gpa))
		return (u8 *)-1;
	if (!first || (write && !tlb_direct_write(cpu, gva)))
		return NULL;
	for (gva_t p = (gva & PAGE_MASK) + PAGE_SIZE; p - gva < size; p += PAGE_SIZE) {
		if (tlb_page(cpu, p, write, PRIV_CPL, &host, &gpa))
			return (u8 *)-1;
		if (host != first + (p - (gva & PAGE_MASK)) || (write && !tlb_direct_write(cpu, p)))
			return NULL;
	}
	return first + (gva & 0xfff);
}

static int check(struct cpu *cpu, gva_t ea)
{
	if (!(cpu->x.s.cr4 & CR4_OSXSAVE))
		return x86_fault(&cpu->x, VEC_UD);
	if (ea & 63)
		return x86_fault_code(&cpu->x, VEC_GP, 0);
	return 0;
}

static void host_xsave(u8 *area, u64 mask, bool compact, bool wide)
{
	u32 lo = (u32)mask, hi = (u32)(mask >> 32);

	if (compact && wide)
		__asm__ volatile("xsavec64 (%0)" : : "r"(area), "a"(lo), "d"(hi) : "memory");
	else if (compact)
		__asm__ volatile("xsavec (%0)" : : "r"(area), "a"(lo), "d"(hi) : "memory");
	else if (wide)
		__asm__ volatile("xsave64 (%0)" : : "r"(area), "a"(lo), "d"(hi) : "memory");
	else
		__asm__ volatile("xsave (%0)" : : "r"(area), "a"(lo), "d"(hi) : "memory");
}

static bool is_wide(const struct sysinsn *in)
{
	return in->opsize == 8;
}

/*
 * XSAVEOPT is done as XSAVE: its shortcut depends on the address of the last
 * XRSTOR, which is not the guest's here.
 */
int xsave_insn(struct cpu *cpu, const struct sysinsn *in)
{
	bool compact = in->mnemonic == ZYDIS_MNEMONIC_XSAVEC || in->mnemonic == ZYDIS_MNEMONIC_XSAVEC64;
	u64 mask = requested(cpu);
	unsigned size = compact ? compact_size(cpu, mask) : standard_size(cpu, mask);
	gva_t ea = sysinsn_ea(cpu, in);
	u8 *area;

	if (check(cpu, ea))
		return -1;
	area = in_place(cpu, ea, size, true);
	if (area == (u8 *)-1)
		return -1;
	fpu_restore(cpu);
	if (area) {
		host_xsave(area, mask, compact, is_wide(in));
		return 0;
	}
	if (guest_read(cpu, ea, cpu->xbounce, size, PRIV_CPL))
		return -1;
	fpu_restore(cpu); /* a device may have put the state away */
	host_xsave(cpu->xbounce, mask, compact, is_wide(in));
	return guest_write(cpu, ea, cpu->xbounce, size, PRIV_CPL);
}

/* The header's rules (SDM vol. 1, 13.8): what breaks them is #GP. */
static int check_header(struct cpu *cpu, const u8 *area, u64 mask)
{
	const u64 *h = (const u64 *)(area + HEADER);
	u32 mxcsr = *(const u32 *)(area + 24);
	u64 allowed = cpu->x.s.xcr0;
	bool bad = false;

	for (unsigned i = 2; i < 8; i++)
		bad |= h[i] != 0;
	if (h[1] & XCOMP_COMPACT)
		bad |= (h[1] & ~XCOMP_COMPACT & ~allowed) || (h[0] & ~h[1]);
	else
		bad |= h[1] || (h[0] & ~allowed);
	/* XSAVEC leaves MXCSR unwritten while SSE state is initial, and then it is not read */
	if (mask & 6 && (!(h[1] & XCOMP_COMPACT) || h[0] & 2))
		bad |= (mxcsr & ~cpu->mxcsr_mask) != 0;
	return bad ? x86_fault_code(&cpu->x, VEC_GP, 0) : 0;
}

/* The host's XRSTOR; 1 if it faulted all the same (see signal.c). */
__asm__(".text\n.globl xrstor_native\nxrstor_native:\n"
	"\tmovq %rsi, %rax\n\tmovq %rsi, %rdx\n\tshrq $32, %rdx\n"
	"\ttestl %ecx, %ecx\n\tjz xrstor_native_32\n"
	".globl xrstor_native_64\nxrstor_native_64:\n\txrstor64 (%rdi)\n\txorl %eax, %eax\n\tret\n"
	".globl xrstor_native_32\nxrstor_native_32:\n\txrstor (%rdi)\n\txorl %eax, %eax\n\tret\n"
	".globl xrstor_native_fault\nxrstor_native_fault:\n\tmovl $1, %eax\n\tret\n");

int xrstor_insn(struct cpu *cpu, const struct sysinsn *in)
{
	u64 mask = requested(cpu), comp = 0;
	gva_t ea = sysinsn_ea(cpu, in);
	unsigned size;
	u8 *area;

	if (check(cpu, ea) || guest_read(cpu, ea + HEADER + 8, &comp, 8, PRIV_CPL))
		return -1;
	size = comp & XCOMP_COMPACT ? compact_size(cpu, comp & cpu->x.s.xcr0) : standard_size(cpu, mask);
	area = in_place(cpu, ea, size, false);
	if (area == (u8 *)-1)
		return -1;
	fpu_restore(cpu);
	if (!area) {
		if (guest_read(cpu, ea, cpu->xbounce, size, PRIV_CPL))
			return -1;
		fpu_restore(cpu);
		area = cpu->xbounce;
	}
	if (check_header(cpu, area, mask))
		return -1;
	if (xrstor_native(area, mask, 0, is_wide(in)))
		return x86_fault_code(&cpu->x, VEC_GP, 0);
	return 0;
}
