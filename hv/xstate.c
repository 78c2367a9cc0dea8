/* SPDX-License-Identifier: MIT */
/* Extended state: XSAVE areas of one page, in standard format (SDM vol. 1, chapter 13). */
#include "x86/insn.h"
#include "lib/string.h"
#include "hv/xstate.h"
#include "x86/state.h"

enum {
	X87 = 1,
	SSE = 2,
	AVX = 4,
	AVX512 = 0xe0,
	PKRU = 1 << 9,
	KEPT = X87 | SSE | AVX | AVX512 | PKRU, /* what fits a page */
	FCW = 0, /* offsets in the area */
	MXCSR = 24,
	MXCSR_MASK = 28,
	HEADER = 512,
	HEADER_END = 576,
};

static u64 mask;
static u32 mxcsr_mask;

static u64 xgetbv(void)
{
	u32 low, high;

	__asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	return (u64)high << 32 | low;
}

static void xsetbv(u64 value)
{
	__asm__ volatile("xsetbv" : : "c"(0), "a"((u32)value), "d"((u32)(value >> 32)));
}

static void read_mxcsr_mask(void)
{
	static u8 area[512] __attribute__((aligned(16)));

	__asm__ volatile("fninit; fxsave %0" : "=m"(area));
	memcpy(&mxcsr_mask, area + MXCSR_MASK, 4);
	if (!mxcsr_mask)
		mxcsr_mask = 0xffbf;
}

void xstate_cpu_on(void)
{
	write_cr4(read_cr4() | CR4_OSFXSR | CR4_OSXMMEXCPT);
	if (cpuid(1, 0).ecx & BIT(26)) {
		struct cpuid r = cpuid(0xd, 0);

		write_cr4(read_cr4() | CR4_OSXSAVE);
		mask = ((u64)r.edx << 32 | r.eax) & KEPT;
	}
	if (!mxcsr_mask)
		read_mxcsr_mask();
}

void xstate_save(struct hv_vcpu *v)
{
	if (!mask) {
		__asm__ volatile("fxsave64 (%0)" : : "r"(v->xsave) : "memory");
		return;
	}
	v->xcr0 = xgetbv();
	if (v->xcr0 != mask) /* XSETBV is slow */
		xsetbv(mask);
	__asm__ volatile("xsave64 (%0)" : : "r"(v->xsave), "a"((u32)mask), "d"(0) : "memory");
}

void xstate_load(const struct hv_vcpu *v)
{
	if (!mask) {
		__asm__ volatile("fxrstor64 (%0)" : : "r"(v->xsave) : "memory");
		return;
	}
	if (xgetbv() != mask)
		xsetbv(mask);
	__asm__ volatile("xrstor64 (%0)" : : "r"(v->xsave), "a"((u32)mask), "d"(0) : "memory");
	if (v->xcr0 != mask)
		xsetbv(v->xcr0);
}

bool xstate_xcr0_ok(u64 xcr0)
{
	u64 avx512 = xcr0 & AVX512;

	if (!mask)
		return xcr0 == X87;
	if (xcr0 & ~mask || !(xcr0 & X87))
		return false;
	if (xcr0 & AVX && !(xcr0 & SSE))
		return false;
	return !avx512 || (avx512 == AVX512 && xcr0 & AVX);
}

void xstate_import(void *area, const void *image)
{
	u8 *to = area;
	u64 present;
	u32 mxcsr;

	memcpy(area, image, PAGE_SIZE);
	memcpy(&mxcsr, to + MXCSR, 4);
	memcpy(&present, to + HEADER, 8);
	mxcsr &= mxcsr_mask;
	present &= mask;
	memset(to + HEADER, 0, HEADER_END - HEADER);
	memcpy(to + MXCSR, &mxcsr, 4);
	memcpy(to + HEADER, &present, 8);
}

void xstate_reset(void *area)
{
	static const u16 fcw = 0x40; /* as reset leaves it; nothing else but MXCSR is not zero */
	static const u32 mxcsr = 0x1f80;
	u64 present = X87 | SSE;

	memset(area, 0, PAGE_SIZE);
	memcpy((u8 *)area + FCW, &fcw, 2);
	memcpy((u8 *)area + MXCSR, &mxcsr, 4);
	memcpy((u8 *)area + HEADER, &present, 8);
}
