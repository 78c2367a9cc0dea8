/* SPDX-License-Identifier: MIT */
/*
 * The guest's vector and FPU state, which is in the host's registers while the
 * guest runs, and where it goes meanwhile. Instructions for saving all of it
 * cost some ten times what storing the registers does, and no C code of the
 * host uses the x87 part (scripts/check-light looks): so before ordinary C code
 * only the vector registers are put aside, as far as they are in use.
 */
#include "engine/translate/cpu.h"
#include "x86/cpuid.h"

#define EACH_8(f) f(0) f(1) f(2) f(3) f(4) f(5) f(6) f(7)
#define EACH_16(f) EACH_8(f) f(8) f(9) f(10) f(11) f(12) f(13) f(14) f(15)
#define EACH_UPPER(f) \
	f(16) f(17) f(18) f(19) f(20) f(21) f(22) f(23) f(24) f(25) f(26) f(27) f(28) f(29) f(30) f(31)

#define PUT_X(n) "movaps %%xmm" #n ", " #n "*64(%0)\n\t"
#define GET_X(n) "movaps " #n "*64(%0), %%xmm" #n "\n\t"
#define PUT_Y(n) "vmovdqa %%ymm" #n ", " #n "*64(%0)\n\t"
#define GET_Y(n) "vmovdqa " #n "*64(%0), %%ymm" #n "\n\t"
#define PUT_Z(n) "vmovdqa64 %%zmm" #n ", " #n "*64(%0)\n\t"
#define GET_Z(n) "vmovdqa64 " #n "*64(%0), %%zmm" #n "\n\t"
#define PUT_K(n) "kmovq %%k" #n ", 2048+" #n "*8(%0)\n\t"
#define GET_K(n) "kmovq 2048+" #n "*8(%0), %%k" #n "\n\t"

/* Components of the state, as XCR0 and XINUSE have them (SDM 1, 13.1). */
enum {
	YMM_UPPER = 1 << 2, /* of registers 0 to 15 */
	MASKS = 1 << 5,
	ZMM_UPPER = 1 << 6, /* of registers 0 to 15 */
	REGS_16_31 = 1 << 7,
};

/* Both move the registers between the host and `at`, 64 bytes apart; use: components besides XMM. */

static void put_vectors(u32 use, u8 *at)
{
	if (use & ZMM_UPPER)
		__asm__ volatile(EACH_16(PUT_Z) : : "r"(at) : "memory");
	else if (use & YMM_UPPER)
		__asm__ volatile(EACH_16(PUT_Y) : : "r"(at) : "memory");
	else
		__asm__ volatile(EACH_16(PUT_X) : : "r"(at) : "memory");
	if (use & REGS_16_31)
		__asm__ volatile(EACH_UPPER(PUT_Z) : : "r"(at) : "memory");
	if (use & MASKS)
		__asm__ volatile(EACH_8(PUT_K) : : "r"(at) : "memory");
	if (use & (YMM_UPPER | ZMM_UPPER))
		__asm__ volatile("vzeroupper");
}

/*
 * Registers are not written wider than the guest left them: upper parts that are in use, be they zero, make each SSE
 * instruction wait for the one before it.
 */
static void get_vectors(u32 use, const u8 *at)
{
	if (use & ZMM_UPPER)
		__asm__ volatile(EACH_16(GET_Z) : : "r"(at) : "memory");
	else if (use & YMM_UPPER)
		__asm__ volatile(EACH_16(GET_Y) : : "r"(at) : "memory");
	else
		__asm__ volatile(EACH_16(GET_X) : : "r"(at) : "memory");
	if (use & REGS_16_31)
		__asm__ volatile(EACH_UPPER(GET_Z) : : "r"(at) : "memory");
	if (use & MASKS)
		__asm__ volatile(EACH_8(GET_K) : : "r"(at) : "memory");
}

/* What the C code has left in components that the guest does not use must not be seen. */
static void clear_vectors(u32 left)
{
	static const _Alignas(64) u8 nothing[576]; /* a header that says: all as after a reset */

	if (left & (YMM_UPPER | ZMM_UPPER))
		__asm__ volatile("vzeroupper");
	if (left & (MASKS | REGS_16_31))
		__asm__ volatile("xrstor64 %0" : : "m"(nothing), "a"(left & (MASKS | REGS_16_31)), "d"(0));
}

#define CPUID_7_EBX_AVX512BW BIT(30)
#define CPUID_D1_EAX_XGETBV1 BIT(2)

void fpu_levels(struct cpu *cpu)
{
	struct x86_cpuid_regs r;

	x86_native_cpuid(0xd, 1, &r);
	cpu->xinuse = r.eax & CPUID_D1_EAX_XGETBV1;
	x86_native_cpuid(7, 0, &r);
	cpu->vectors = (u32)cpu->xcr0 & YMM_UPPER;
	if ((cpu->xcr0 & XCR0_ZMM) == XCR0_ZMM)
		cpu->vectors |= MASKS | ZMM_UPPER | REGS_16_31;
	cpu->aside_works = !(cpu->vectors & MASKS) || r.ebx & CPUID_7_EBX_AVX512BW;
}

static u32 vectors_in_use(const struct cpu *cpu)
{
	u32 lo, hi;

	if (!cpu->vectors || !cpu->xinuse)
		return cpu->vectors;
	__asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(1));
	return lo & cpu->vectors;
}

static const u32 host_mxcsr = 0x1f80;

static void take_back(struct cpu *cpu)
{
	clear_vectors(vectors_in_use(cpu) & ~cpu->aside_use);
	get_vectors(cpu->aside_use, cpu->aside);
	__asm__ volatile("ldmxcsr %0" : : "m"(cpu->aside_mxcsr));
	cpu->fpu = FPU_LIVE;
}

void fpu_store(struct cpu *cpu)
{
	if (cpu->fpu == FPU_STORED)
		return;
	if (cpu->fpu == FPU_ASIDE)
		take_back(cpu);
	cpu->fpu = FPU_STORED;
	__asm__ volatile("xsave64 %0" : "+m"(cpu->xsave) : "a"((u32)cpu->xcr0), "d"((u32)(cpu->xcr0 >> 32)) : "memory");
	__asm__ volatile("fninit\n\tldmxcsr %0" : : "m"(host_mxcsr));
}

void fpu_save(struct cpu *cpu)
{
	if (cpu->fpu != FPU_LIVE)
		return;
	cpu->stats.fpu_saves++;
	if (!cpu->aside_works) {
		fpu_store(cpu);
		return;
	}
	cpu->fpu = FPU_ASIDE;
	cpu->aside_use = vectors_in_use(cpu);
	put_vectors(cpu->aside_use, cpu->aside);
	__asm__ volatile("stmxcsr %0\n\tldmxcsr %1" : "=m"(cpu->aside_mxcsr) : "m"(host_mxcsr));
}

void fpu_restore(struct cpu *cpu)
{
	if (cpu->fpu == FPU_LIVE)
		return;
	if (cpu->fpu == FPU_ASIDE) {
		take_back(cpu);
		return;
	}
	cpu->fpu = FPU_LIVE;
	__asm__ volatile("xrstor64 %0" : : "m"(cpu->xsave), "a"((u32)cpu->xcr0), "d"((u32)(cpu->xcr0 >> 32)) : "memory");
}
