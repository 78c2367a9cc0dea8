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
#define ZERO_Z(n) "vpxord %%zmm" #n ", %%zmm" #n ", %%zmm" #n "\n\t"
#define PUT_K(n) "kmovq %%k" #n ", 2048+" #n "*8(%0)\n\t"
#define GET_K(n) "kmovq 2048+" #n "*8(%0), %%k" #n "\n\t"
#define ZERO_K(n) "kxorq %%k" #n ", %%k" #n ", %%k" #n "\n\t"

/* All move the registers between the host and `at`, 64 bytes apart. */

static void put_vectors(enum vector_level level, u8 *at)
{
	if (level == VECTOR_X)
		__asm__ volatile(EACH_16(PUT_X) : : "r"(at) : "memory");
	else if (level == VECTOR_Y)
		__asm__ volatile(EACH_16(PUT_Y) "vzeroupper" : : "r"(at) : "memory");
	else
		__asm__ volatile(EACH_16(PUT_Z) EACH_UPPER(PUT_Z) EACH_8(PUT_K) "vzeroupper" : : "r"(at) : "memory");
}

/* What the C code has left in the others must not be seen; max: what this host has. */
static void get_vectors(enum vector_level level, enum vector_level max, const u8 *at)
{
	if (level == VECTOR_Z) {
		__asm__ volatile(EACH_16(GET_Z) EACH_UPPER(GET_Z) EACH_8(GET_K) : : "r"(at) : "memory");
		return;
	}
	if (max == VECTOR_Z)
		__asm__ volatile(EACH_UPPER(ZERO_Z) EACH_8(ZERO_K) : :);
	if (max != VECTOR_X)
		__asm__ volatile("vzeroall");
	if (level == VECTOR_Y)
		__asm__ volatile(EACH_16(GET_Y) : : "r"(at) : "memory");
	else
		__asm__ volatile(EACH_16(GET_X) : : "r"(at) : "memory");
}

#define CPUID_7_EBX_AVX512BW BIT(30)
#define CPUID_D1_EAX_XGETBV1 BIT(2)

void fpu_levels(struct cpu *cpu)
{
	struct x86_cpuid_regs r;

	x86_native_cpuid(0xd, 1, &r);
	cpu->xinuse = r.eax & CPUID_D1_EAX_XGETBV1;
	x86_native_cpuid(7, 0, &r);
	cpu->vector_max = !(cpu->xcr0 & 4) ? VECTOR_X : (cpu->xcr0 & XCR0_ZMM) != XCR0_ZMM ? VECTOR_Y : VECTOR_Z;
	cpu->aside_works = cpu->vector_max != VECTOR_Z || r.ebx & CPUID_7_EBX_AVX512BW;
}

static enum vector_level level_in_use(const struct cpu *cpu)
{
	u32 lo, hi;

	if (cpu->vector_max == VECTOR_X || !cpu->xinuse)
		return cpu->vector_max;
	__asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(1));
	return lo & cpu->xcr0 & XCR0_ZMM ? VECTOR_Z : lo & 4 ? VECTOR_Y : VECTOR_X;
}

static const u32 host_mxcsr = 0x1f80;

static void take_back(struct cpu *cpu)
{
	get_vectors(cpu->aside_level, cpu->vector_max, cpu->aside);
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
	cpu->aside_level = level_in_use(cpu);
	put_vectors(cpu->aside_level, cpu->aside);
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
