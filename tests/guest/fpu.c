/* SPDX-License-Identifier: MIT */
/* x87 and vector state: page crossings, state saving, exceptions, masked and gathered accesses. */
#include "rt.h"

#define EDGE (VTEST + 0x1000)

static u8 *low, *high; /* the frames of the two pages at VTEST */
static u8 pattern[64] __attribute__((aligned(64))), back[64] __attribute__((aligned(64)));
static bool avx, avx512, xsave;

static void set_up(void)
{
	struct cpuid c = cpuid(0xd, 0);
	u32 want = c.eax & 0xe7;
	int i;

	low = (u8 *)page_alloc();
	page_alloc();
	high = (u8 *)page_alloc();
	map(VTEST, (u64)low, P | W | U);
	map(EDGE, (u64)high, P | W | U);
	for (i = 0; i < 64; i++)
		pattern[i] = i * 7 + 1;
	xsave = rd_cr4() & CR4_OSXSAVE;
	if (xsave)
		__asm__ volatile("xsetbv" ::"a"(want), "d"(0), "c"(0));
	avx = xsave && (want & 4) && (cpuid(1, 0).ecx & BIT(28)) && (cpuid(7, 0).ebx & BIT(5));
	avx512 = xsave && (want & 0xe0) == 0xe0 && (cpuid(7, 0).ebx & BIT(16)) && (cpuid(7, 0).ebx & BIT(31));
	if (!avx)
		skip("avx2", "no CPUID bit");
	if (!avx512)
		skip("avx512", "no CPUID bit");
	__asm__ volatile("fninit");
}

/* ---- loads and stores across pages ---- */

SNIP_IP(v16, "movups (%rsi),%xmm3", "movups %xmm3,(%rdi)");
SNIP_IP(v32, "vmovups (%rsi),%ymm3", "vmovups %ymm3,(%rdi)");
SNIP_IP(v64, "vmovups (%rsi),%zmm19", "vmovups %zmm19,(%rdi)");
SNIP_IP(v8, "movq (%rsi),%mm3", "movq %mm3,(%rdi); emms");
SNIP_IP(x10, "fldt (%rsi)", "fstpt (%rdi)");
SNIP_IP(x8, "fldl (%rsi)", "fstpl (%rdi)");
SNIP_IP(x4, "flds (%rsi)", "fstps (%rdi)");
SNIP_IP(xi8, "fildll (%rsi)", "fistpll (%rdi)");
SNIP_IP(aligned, "", "movaps %xmm0,(%rdi)");
SNIP_IP(aligned_op, "", "addps (%rdi),%xmm0");
SNIP(drain, "fninit");

static void cross(const char *name, void *fn, char *ip, int size)
{
	u64 bad = 0;
	int off, i;

	for (off = 1; off < size; off++) {
		memset(low, 0xee, 4096);
		memset(high, 0xee, 4096);
		guard(fn, EDGE - off, (u64)pattern);
		for (i = 0; i < size; i++)
			bad += (i < off ? low[4096 - off + i] : high[i - off]) != pattern[i];
		bad += low[4096 - off - 1] != 0xee || high[size - off] != 0xee;
		guard(fn, (u64)back, EDGE - off);
		bad += memcmp(back, pattern, size) != 0;
	}
	check(name, bad, 0);
	memset(low, 0xee, 4096);
	unmap(EDGE);
	guard(drain, 0, 0);
	expect(name, fn, EDGE - size / 2, (u64)pattern, (u64)ip, VEC_PF, W);
	check("  cr2", last_cr2, EDGE);
	for (i = bad = 0; i < size; i++)
		bad += low[4096 - size + i] != 0xee;
	check(name, bad, 0);
	map(EDGE, (u64)high, P | W | U);
	guard(drain, 0, 0);
}

static void crossings(void)
{
	set_up();
	cross("cross-mmx", v8, v8_ip, 8);
	cross("cross-x87-10", x10, x10_ip, 10);
	cross("cross-x87-8", x8, x8_ip, 8);
	cross("cross-x87-4", x4, x4_ip, 4);
	cross("cross-x87-int", xi8, xi8_ip, 8);
	cross("cross-sse", v16, v16_ip, 16);
	if (avx)
		cross("cross-avx", v32, v32_ip, 32);
	if (avx512)
		cross("cross-avx512", v64, v64_ip, 64);
	EXPECT(aligned, VTEST + 8, 0, VEC_GP, 0);
	EXPECT(aligned_op, VTEST + 8, 0, VEC_GP, 0);
	check("aligned-ok", guard(aligned, VTEST + 16, 0), false);
}

/* ---- saving state ---- */

#define EACH16(op)                                                                                           \
	op(0) op(1) op(2) op(3) op(4) op(5) op(6) op(7) op(8) op(9) op(10) op(11) op(12) op(13) op(14) op(15)
#define LOAD_YMM(n) "vmovups " #n "*32(%rdi),%ymm" #n "\n"
#define STORE_YMM(n) "vmovups %ymm" #n "," #n "*32(%rdi)\n"
#define LOAD_XMM(n) "movups " #n "*32(%rdi),%xmm" #n "\n"
#define STORE_XMM(n) "movups %xmm" #n "," #n "*32(%rdi)\n"
#define ZERO_XMM(n) "pxor %xmm" #n ",%xmm" #n "\n"
#define LOAD_ZMM(n) "vmovups " #n "*64(%rdi),%zmm" #n "\n"
#define STORE_ZMM(n) "vmovups %zmm" #n "," #n "*64(%rdi)\n"

SNIP(ymm_load, EACH16(LOAD_YMM));
SNIP(ymm_store, EACH16(STORE_YMM));
SNIP(ymm_zero, "vzeroall");
SNIP(xmm_load, EACH16(LOAD_XMM));
SNIP(xmm_store, EACH16(STORE_XMM));
SNIP(xmm_zero, EACH16(ZERO_XMM));
SNIP(zmm_load, EACH16(LOAD_ZMM) "vmovups 1024(%rdi),%zmm16\n vmovups 1984(%rdi),%zmm31\n kmovq "
				"2048(%rdi),%k1\n kmovq 2056(%rdi),%k7\n");
SNIP(zmm_store, EACH16(STORE_ZMM) "vmovups %zmm16,1024(%rdi)\n vmovups %zmm31,1984(%rdi)\n kmovq "
				  "%k1,2048(%rdi)\n kmovq %k7,2056(%rdi)\n");
SNIP(zmm_zero, "vzeroall; vpxorq %zmm16,%zmm16,%zmm16; vpxorq %zmm31,%zmm31,%zmm31; kxorq %k1,%k1,%k1; kxorq "
	       "%k7,%k7,%k7");
SNIP(fp_load,
	"fninit; fld1; fldpi; push $0x127f; fldcw (%rsp); pop %rax; movl $0x3f80,-8(%rsp); ldmxcsr -8(%rsp)");
SNIP(fp_zero, "fninit; movl $0x1f80,-8(%rsp); ldmxcsr -8(%rsp)");
SNIP(fp_store, "fstpt (%rdi); fstpt 16(%rdi); fnstcw 32(%rdi); stmxcsr 36(%rdi)");

#define SAVER(name, text) SNIP_IP(name, "mov $-1,%eax; mov $-1,%edx", text " (%rdi)")
SAVER(do_fxsave, "fxsave64");
SAVER(do_fxrstor, "fxrstor64");
SAVER(do_xsave, "xsave64");
SAVER(do_xsavec, "xsavec64");
SAVER(do_xsaveopt, "xsaveopt64");
SAVER(do_xsaves, "xsaves64");
SAVER(do_xrstor, "xrstor64");
SAVER(do_xrstors, "xrstors64");
SAVER(do_fnsave, "fnsave");
SAVER(do_frstor, "frstor");

static u8 regs_in[2112] __attribute__((aligned(64))), regs_out[2112] __attribute__((aligned(64)));
static u8 fp_out[2][64], regs_zero[64];

/* Fills every register, saves, clobbers, restores, compares; the area lies across the page edge. */
static void round_trip(
	const char *name, void *save, void *restore, void *load, void *store, void *zero, u64 area, int size)
{
	int i;

	for (i = 0; i < size; i++)
		regs_in[i] = i * 13 + (i >> 8) + 5;
	memset(low, 0, 4096);
	memset(high, 0, 4096);
	memset(regs_out, 0, sizeof(regs_out));
	memset(fp_out, 0, sizeof(fp_out));
	guard(load, (u64)regs_in, 0);
	guard(fp_load, 0, 0);
	check(name, guard(save, area, 0), false);
	guard(zero, 0, 0);
	guard(fp_zero, 0, 0);
	check(name, guard(restore, area, 0), false);
	guard(store, (u64)regs_out, 0);
	guard(fp_store, (u64)fp_out[0], 0);
	guard(fp_load, 0, 0);
	guard(fp_store, (u64)fp_out[1], 0);
	if (load == (void *)xmm_load) {
		for (i = 0; i < size; i++)
			if (i & 16)
				regs_in[i] = regs_out[i];
	} else if (load == (void *)zmm_load) {
		for (i = 1088; i < 1984; i++)
			regs_in[i] = regs_out[i];
	}
	check(name, memcmp(regs_in, regs_out, size), 0);
	check(name, memcmp(fp_out[0], fp_out[1], 64), 0);
	guard(fp_zero, 0, 0);
}

static void xsaves(const char *name, void *save, void *restore)
{
	static const u64 areas[] = {
		VTEST + 0x400, EDGE - 64, EDGE - 0x200, EDGE - 0x240, EDGE - 0x280, EDGE - 0x400};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(areas); i++) {
		if (avx512)
			round_trip(name, save, restore, zmm_load, zmm_store, zmm_zero, areas[i], 2064);
		else if (avx)
			round_trip(name, save, restore, ymm_load, ymm_store, ymm_zero, areas[i], 512);
		else
			round_trip(name, save, restore, xmm_load, xmm_store, xmm_zero, areas[i], 512);
	}
}

/* As the dynamic linker does around a symbol's first call: compacted, without the x87, header cleared by hand. */
SNIP_IP(lazy_save,
	"mov $0xee,%eax; xor %edx,%edx; mov %rdx,528(%rdi); mov %rdx,536(%rdi); mov %rdx,544(%rdi); mov "
	"%rdx,552(%rdi);"
	"mov %rdx,560(%rdi); mov %rdx,568(%rdi)",
	"xsavec (%rdi)");
SNIP_IP(lazy_restore, "mov $0xee,%eax; xor %edx,%edx", "xrstor (%rdi)");

static void lazy_binding(void)
{
	u64 area, bad = 0;
	int i;

	for (area = EDGE - 0xac0; area < EDGE; area += 64) {
		memset(low, 0x5a, 4096);
		memset(high, 0x5a, 4096);
		for (i = 0; i < 512; i++)
			regs_in[i] = i * 11 + (i >> 8) + area;
		guard(ymm_load, (u64)regs_in, 0);
		bad += guard(lazy_save, area, 0);
		guard(ymm_zero, 0, 0);
		bad += guard(lazy_restore, area, 0);
		guard(ymm_store, (u64)regs_out, 0);
		bad += memcmp(regs_in, regs_out, 512) != 0;
		/*
		 * Now with everything in its initial state, which is not
		 * written: the area's MXCSR is then no business of XRSTOR's.
		 */
		memset((void *)(area + 512), 0, 64);
		*(u32 *)(area + 24) = 0x1f80;
		bad += guard(do_xrstor, area, 0);
		*(u32 *)(area + 24) = 0x5a5a5a5a;
		bad += guard(lazy_save, area, 0);
		bad += guard(lazy_restore, area, 0);
		bad += memcmp((void *)(area + 512 + 16), regs_zero, 48) != 0;
	}
	check("lazy-binding", bad, 0);
}

static void saving(void)
{
	u32 c = xsave ? cpuid(0xd, 1).eax : 0;

	set_up();
	round_trip("fxsave", do_fxsave, do_fxrstor, xmm_load, xmm_store, xmm_zero, VTEST + 0x100, 512);
	round_trip("fxsave-cross", do_fxsave, do_fxrstor, xmm_load, xmm_store, xmm_zero, EDGE - 0x90, 512);
	EXPECT(do_fxsave, VTEST + 8, 0, VEC_GP, 0);
	if (!xsave) {
		skip("xsave", "no CPUID bit");
		return;
	}
	c = cpuid(0xd, 1).eax;
	xsaves("xsave", do_xsave, do_xrstor);
	check("xsave-bv", *(u64 *)(low + 0xc00 + 512) & 7, avx ? 7 : 3);
	if (c & 1)
		xsaves("xsaveopt", do_xsaveopt, do_xrstor);
	if (c & 2) {
		xsaves("xsavec", do_xsavec, do_xrstor);
		check("xsavec-compact", *(u64 *)(low + 0xc00 + 520) >> 63, 1);
		if (avx)
			lazy_binding();
	}
	if (c & 8)
		xsaves("xsaves", do_xsaves, do_xrstors);
	EXPECT(do_xsave, VTEST + 32, 0, VEC_GP, 0);
	memset(low, 0, 4096);
	*(u64 *)(low + 0x400 + 528) = 1;
	EXPECT(do_xrstor, VTEST + 0x400, 0, VEC_GP, 0);
	memset(low, 0, 4096);
	guard(xmm_load, (u64)regs_in, 0);
	*(u32 *)(low + 0x400 + 24) = 0x1f80;
	check("xrstor-init", guard(do_xrstor, VTEST + 0x400, 0), false);
	memset(regs_out, 1, 512);
	guard(xmm_store, (u64)regs_out, 0);
	check("xrstor-init-xmm", *(u64 *)(regs_out + 32) | *(u64 *)(regs_out + 15 * 32), 0);
	unmap(EDGE);
	EXPECT(do_xsave, EDGE - 0x200, 0, VEC_PF, W);
	EXPECT(do_xrstor, EDGE - 0x200, 0, VEC_PF, 0);
	EXPECT(do_fxsave, EDGE - 0x100, 0, VEC_PF, W);
	map(EDGE, (u64)high, P | W | U);
}

static void xcr(void)
{
	u32 a, d;

	if (!xsave)
		return;
	__asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
	check("xgetbv", a & 3, 3);
	check("cpuid-xsave-size", cpuid(0xd, 0).ebx >= 576 && cpuid(0xd, 0).ebx <= cpuid(0xd, 0).ecx, true);
	if (!avx)
		return;
	__asm__ volatile("xsetbv" ::"a"(3), "d"(0), "c"(0));
	check("xsave-size-small", cpuid(0xd, 0).ebx, 576);
	expect("avx-without-xcr0", v32, VTEST, (u64)pattern, (u64)v32, VEC_UD, 0);
	__asm__ volatile("xsetbv" ::"a"(a), "d"(0), "c"(0));
	check("avx-with-xcr0", guard(v32, VTEST, (u64)pattern), false);
}

/* ---- exceptions ---- */

SNIP_IP(nm_x87, "", "fld1");
SNIP_IP(nm_sse, "", "pxor %xmm0,%xmm0");
SNIP_IP(nm_fxsave, "", "fxsave (%rdi)");
SNIP_IP(nm_fwait, "", "fwait");
SNIP_IP(nm_avx, "", "vpxor %xmm0,%xmm0,%xmm0");
SNIP_IP(mf_wait, "fninit; push $0x037b; fldcw (%rsp); pop %rax; fld1; fldz; fdivrp", "fwait");
SNIP_IP(mf_next, "fninit; push $0x037b; fldcw (%rsp); pop %rax; fld1; fldz; fdivrp; nop", "fld1");
SNIP(mf_none, "fninit; push $0x037b; fldcw (%rsp); pop %rax; fld1; fldz; fdivrp; fnclex; fwait; fninit");
SNIP_IP(xm_div,
	"movl $0x1d80,-8(%rsp); ldmxcsr -8(%rsp); pxor %xmm0,%xmm0; mov $0x3f800000,%eax; movd %eax,%xmm1",
	"divss %xmm0,%xmm1");
SNIP_IP(mxcsr_bad, "movl $0x11f80,-8(%rsp)", "ldmxcsr -8(%rsp)");
SNIP(mxcsr_reset, "movl $0x1f80,-8(%rsp); ldmxcsr -8(%rsp); fninit");
SNIP(mxcsr_flags, "movl $0x1f80,-8(%rsp); ldmxcsr -8(%rsp); pxor %xmm0,%xmm0; mov $0x3f800000,%eax; movd "
		  "%eax,%xmm1; divss %xmm0,%xmm1;"
		  "stmxcsr (%rdi)");

static void device_not_available(void)
{
	u64 area = page_alloc();

	wr_cr0(rd_cr0() | CR0_TS);
	EXPECT(nm_x87, 0, 0, VEC_NM, 0);
	EXPECT(nm_sse, 0, 0, VEC_NM, 0);
	EXPECT(nm_fxsave, area, 0, VEC_NM, 0);
	EXPECT(nm_fwait, 0, 0, VEC_NM, 0);
	if (avx)
		EXPECT(nm_avx, 0, 0, VEC_NM, 0);
	EXPECT_USER(nm_sse, 0, 0, VEC_NM, 0);
	__asm__ volatile("clts");
	check("clts", rd_cr0() & CR0_TS, 0);
	check("after-clts", guard(nm_sse, 0, 0), false);
	wr_cr0((rd_cr0() | CR0_TS) & ~CR0_MP);
	check("fwait-without-mp", guard(nm_fwait, 0, 0), false);
	wr_cr0((rd_cr0() & ~CR0_TS) | CR0_EM);
	expect("em-x87", nm_x87, 0, 0, (u64)nm_x87_ip, VEC_NM, 0);
	expect("em-sse", nm_sse, 0, 0, (u64)nm_sse_ip, VEC_UD, 0);
	wr_cr0((rd_cr0() & ~CR0_EM) | CR0_MP);
	wr_cr4(rd_cr4() & ~CR4_OSFXSR);
	expect("no-osfxsr-sse", nm_sse, 0, 0, (u64)nm_sse_ip, VEC_UD, 0);
	wr_cr4(rd_cr4() | CR4_OSFXSR);
	check("osfxsr-again", guard(nm_sse, 0, 0), false);
	__asm__ volatile("fninit");
}

static void numeric(void)
{
	u32 v = 0;

	EXPECT(mf_wait, 0, 0, VEC_MF, 0);
	EXPECT(mf_next, 0, 0, VEC_MF, 0);
	check("mf-cleared", guard(mf_none, 0, 0), false);
	EXPECT(xm_div, 0, 0, VEC_XM, 0);
	wr_cr4(rd_cr4() & ~CR4_OSXMMEXCPT);
	expect("xm-off-is-ud", xm_div, 0, 0, (u64)xm_div_ip, VEC_UD, 0);
	wr_cr4(rd_cr4() | CR4_OSXMMEXCPT);
	EXPECT(mxcsr_bad, 0, 0, VEC_GP, 0);
	guard(mxcsr_flags, (u64)&v, 0);
	check("mxcsr-sticky", v, 0x1f84);
	guard(mxcsr_reset, 0, 0);
}

/* ---- masked and gathered ---- */

SNIP_IP(vmaskmov_store, "vmovups (%rsi),%ymm1; vmovups 32(%rsi),%ymm2", "vpmaskmovd %ymm2,%ymm1,(%rdi)");
SNIP_IP(vmaskmov_load, "vmovups (%rsi),%ymm1; vmovups pattern(%rip),%ymm2",
	"vpmaskmovd (%rdi),%ymm1,%ymm2; vmovups %ymm2,back(%rip)");
SNIP_IP(gather, "vmovups (%rsi),%ymm1; vpcmpeqd %ymm3,%ymm3,%ymm3; vpcmpeqd %ymm2,%ymm2,%ymm2",
	"vpgatherdd %ymm3,(%rdi,%ymm1,1),%ymm2");
SNIP_IP(gather_q, "vmovups (%rsi),%ymm1; vpcmpeqd %ymm3,%ymm3,%ymm3; vpxor %ymm2,%ymm2,%ymm2",
	"vpgatherqq %ymm3,(%rdi,%ymm1,8),%ymm2");
SNIP_IP(gather512, "vmovups (%rsi),%zmm17; kxnorw %k1,%k1,%k1; vpternlogd $255,%zmm2,%zmm2,%zmm2; vpcmpeqd %ymm15,%ymm15,%ymm15",
	"vpgatherdd (%rdi,%zmm17,1),%zmm2{%k1}; vpxor %ymm15,%ymm15,%ymm15");
SNIP(gather512_out, "vmovdqu32 %zmm2,(%rdi); kmovw %k1,(%rsi); vmovups %ymm15,8(%rsi)");
SNIP(gather_out, "vmovups %ymm2,(%rdi); vmovups %ymm3,32(%rdi)");
SNIP_IP(masked512, "mov $0x00ff,%eax; kmovw %eax,%k1; vmovups (%rsi),%zmm1", "vmovdqu32 %zmm1,(%rdi){%k1}");
SNIP_IP(masked512_bad, "mov $0x01ff,%eax; kmovw %eax,%k1; vmovups (%rsi),%zmm1",
	"vmovdqu32 %zmm1,(%rdi){%k1}");
SNIP_IP(scatter, "kxnorw %k1,%k1,%k1; vmovups (%rsi),%zmm1; vmovups pattern(%rip),%zmm2",
	"vpscatterdd %zmm2,(%rdi,%zmm1,1){%k1}");
SNIP(scatter_mask, "kmovw %k1,%eax; mov %eax,(%rdi)");
SNIP_IP(compress, "mov $0x5555,%eax; kmovw %eax,%k1; vmovups (%rsi),%zmm1", "vpcompressd %zmm1,(%rdi){%k1}");
SNIP_IP(expand, "mov $0x0101,%eax; kmovw %eax,%k1; vpxorq %zmm1,%zmm1,%zmm1",
	"vpexpandd (%rdi),%zmm1{%k1}{z}; vmovups %zmm1,(%rsi)");
SNIP_IP(broadcast, "", "vbroadcastss (%rdi),%zmm1; vmovups %zmm1,(%rsi)");
SNIP_IP(embedded, "vpxorq %zmm1,%zmm1,%zmm1", "vpaddd (%rdi){1to16},%zmm1,%zmm1; vmovups %zmm1,(%rsi)");
SNIP_IP(maskmovdqu, "movups (%rsi),%xmm1; movups 16(%rsi),%xmm2", "maskmovdqu %xmm2,%xmm1");

static u32 lanes[32] __attribute__((aligned(64)));

static void masked(void)
{
	u32 *out = (u32 *)back;
	int i;

	for (i = 0; i < 32; i++)
		lanes[i] = i < 4 ? 0xffffffff : 0;
	memcpy(lanes + 8, pattern, 32);
	memset(low, 0xee, 4096);
	unmap(EDGE);
	check("vmaskmov-store-off", guard(vmaskmov_store, EDGE - 16, (u64)lanes), false);
	check("vmaskmov-store-data", memcmp(low + 4080, lanes + 8, 16), 0);
	lanes[4] = 0xffffffff;
	expect("vmaskmov-store-on", vmaskmov_store, EDGE - 16, (u64)lanes, (u64)vmaskmov_store_ip, VEC_PF, W);
	check("  cr2", last_cr2, EDGE);
	lanes[4] = 0;
	check("vmaskmov-load-off", guard(vmaskmov_load, EDGE - 16, (u64)lanes), false);
	check("vmaskmov-load-data", memcmp(back, low + 4080, 16) | (int)(out[4] | out[7]), 0);
	map(EDGE, (u64)high, P | W | U);
	for (i = 0; i < 16; i++)
		((u8 *)lanes)[i] = i, ((u8 *)lanes)[16 + i] = i & 1 ? 0x80 : 0;
	memset(low, 0, 64);
	guard(maskmovdqu, VTEST + 3, (u64)lanes);
	check("maskmovdqu", *(u64 *)(low + 3), 0x0700050003000100);
}

static void gathers(void)
{
	u32 *out = (u32 *)back, n;
	int i;

	for (i = 0; i < 8; i++) {
		lanes[i] = i < 5 ? 4096 - 4 * (i + 1) : 4096 + 16 * i;
		*(u32 *)(i < 5 ? low + lanes[i] : high + lanes[i] - 4096) = 100 + i;
	}
	check("gather", guard(gather, VTEST, (u64)lanes), false);
	guard(gather_out, (u64)regs_out, 0);
	memcpy(out, regs_out, 64);
	for (i = 0; i < 8; i++)
		check_n("gather-lane", i, out[i], 100 + i);
	check("gather-mask-clear", out[8] | out[15], 0);
	unmap(EDGE);
	expect("gather-faulting-lane", gather, VTEST, (u64)lanes, (u64)gather_ip, VEC_PF, 0);
	check("  cr2", last_cr2, VTEST + lanes[5]);
	guard(gather_out, (u64)regs_out, 0);
	memcpy(out, regs_out, 64);
	for (n = i = 0; i < 8; i++)
		n += out[8 + i] == 0 ? out[i] == 100u + i && i < 5 : 1;
	check("gather-partial-consistent", n, 8);
	check("gather-faulting-mask-set", out[13] >> 31, 1);
	map(EDGE, (u64)high, P | W | U);
}

/* A lane faults that never was mapped, when the instruction has run well before. */
static void gather_restarts(void)
{
	u32 *out = (u32 *)back, bad = 0;
	int i;

	for (i = 0; i < 8; i++) {
		lanes[i] = 64 * i;
		*(u32 *)(low + lanes[i]) = 200 + i;
	}
	for (i = 0; i < 3; i++)
		check("gather-warm", guard(gather, VTEST, (u64)lanes), false);
	lanes[5] = 8192 + 64;
	expect("gather-hole", gather, VTEST, (u64)lanes, (u64)gather_ip, VEC_PF, 0);
	check("  cr2", last_cr2, VTEST + lanes[5]);
	guard(gather_out, (u64)regs_out, 0);
	memcpy(out, regs_out, 64);
	for (i = 0; i < 8; i++)
		bad += out[i] != (out[8 + i] >> 31 ? 0xffffffff : 200u + i);
	check("gather-hole-lanes", bad, 0);
	check("gather-hole-mask", out[13] >> 31, 1);
	lanes[5] = 64 * 5;
	check("gather-again", guard(gather, VTEST, (u64)lanes), false);
	expect("gather-non-canonical", gather, BIT(63), (u64)lanes, (u64)gather_ip, VEC_GP, 0);
	memset(lanes, 0, 32);
	expect("gather-q-non-canonical", gather_q, BIT(63), (u64)lanes, (u64)gather_q_ip, VEC_GP, 0);
	check("gather-q", guard(gather_q, VTEST, (u64)lanes), false);
	expect("gather-q-non-canonical-warm", gather_q, BIT(63), (u64)lanes, (u64)gather_q_ip, VEC_GP, 0);
}

/* The page changes under an instruction that knows it. */
static void gather_remapped(void)
{
	u32 *out = (u32 *)back, bad = 0;
	int i, k;

	for (i = 0; i < 8; i++) {
		lanes[i] = 4096 + 64 * i;
		*(u32 *)(low + 64 * i) = 400 + i;
		*(u32 *)(high + 64 * i) = 500 + i;
	}
	for (k = 0; k < 8; k++) {
		map(EDGE, (u64)(k & 2 ? low : high), P | W | U);
		check("gather-remapped", guard(gather, VTEST, (u64)lanes), false);
		guard(gather_out, (u64)regs_out, 0);
		memcpy(out, regs_out, 64);
		for (i = 0; i < 8; i++)
			bad += out[i] != (k & 2 ? 400u : 500u) + i;
	}
	check("gather-remapped-lanes", bad, 0);
	map(EDGE, (u64)high, P | W | U);
}

/* An address that means something to the host, through a window that is empty. */
static void gather_nowhere(void)
{
	int i;

	memset(lanes, 0, 32);
	for (i = 0; i < 3; i++) {
		expect("gather-q-nowhere", gather_q, 0xffffc00000000000, (u64)lanes, (u64)gather_q_ip, VEC_PF, 0);
		check("  cr2", last_cr2, 0xffffc00000000000);
	}
}

static void gather512s(void)
{
	u32 *out = (u32 *)low, state[10] = { 0 }, bad = 0;
	int i;

	for (i = 0; i < 16; i++) {
		lanes[i] = 64 * i;
		*(u32 *)(high + lanes[i]) = 300 + i;
	}
	for (i = 0; i < 3; i++)
		check("gather512", guard(gather512, EDGE, (u64)lanes), false);
	guard(gather512_out, VTEST, (u64)state);
	for (i = 0; i < 16; i++)
		bad += out[i] != 300u + i;
	check("gather512-lanes", bad, 0);
	check("gather512-mask", state[0], 0);
	lanes[9] = 4096 + 64;
	expect("gather512-hole", gather512, EDGE, (u64)lanes, (u64)gather512_ip, VEC_PF, 0);
	guard(gather512_out, VTEST, (u64)state);
	for (i = 0; i < 16; i++)
		bad += out[i] != (state[0] >> i & 1 ? 0xffffffff : 300u + i);
	check("gather512-hole-lanes", bad, 0);
	check("gather512-hole-mask", state[0] >> 9 & 1, 1);
	for (i = 2; i < 10; i++)
		bad += state[i] != 0xffffffff;
	check("gather512-others-kept", bad, 0);
}

static void avx512s(void)
{
	u32 *out = (u32 *)back, n;
	int i;

	memset(low, 0xee, 4096);
	unmap(EDGE);
	check("mask512-off", guard(masked512, EDGE - 32, (u64)pattern), false);
	check("mask512-data", memcmp(low + 4064, pattern, 32), 0);
	memset(low, 0xee, 4096);
	expect("mask512-on", masked512_bad, EDGE - 32, (u64)pattern, (u64)masked512_bad_ip, VEC_PF, W);
	check("mask512-nothing", low[4064], 0xee);
	check("compress-short", guard(compress, EDGE - 32, (u64)pattern), false);
	check("compress-data", *(u32 *)(low + 4068), *(u32 *)(pattern + 8));
	check("expand-short", guard(expand, EDGE - 8, (u64)back), false);
	check("expand-data", out[8] == *(u32 *)(low + 4092) && out[0] == *(u32 *)(low + 4088) && !out[1],
		true);
	check("broadcast-edge", guard(broadcast, EDGE - 4, (u64)back), false);
	check("broadcast-data", out[15], *(u32 *)(low + 4092));
	check("embedded-edge", guard(embedded, EDGE - 4, (u64)back), false);
	check("embedded-data", out[9], *(u32 *)(low + 4092));
	for (i = 0; i < 16; i++)
		lanes[i] = i < 9 ? 4 * i : 4096 + 4 * i;
	memset(low, 0xee, 4096);
	expect("scatter-faulting-lane", scatter, VTEST, (u64)lanes, (u64)scatter_ip, VEC_PF, W);
	guard(scatter_mask, (u64)&n, 0);
	check("scatter-mask-faulting-set", n >> 9 & 1, 1);
	for (i = 0; i < 9; i++)
		if (!(n >> i & 1))
			check_n("scatter-lane", i, *(u32 *)(low + 4 * i), *(u32 *)(pattern + 4 * i));
	map(EDGE, (u64)high, P | W | U);
	check("scatter", guard(scatter, VTEST, (u64)lanes), false);
	check("scatter-last", *(u32 *)(high + 60), *(u32 *)(pattern + 60));
}

static void vectors(void)
{
	set_up();
	if (avx) {
		masked();
		gathers();
		gather_restarts();
		gather_remapped();
	}
	if (avx512) {
		avx512s();
		gather512s();
	}
}

static void exceptions(void)
{
	set_up();
	if (avx)
		gather_nowhere();
	device_not_available();
	numeric();
	xcr();
}

const struct section sections[] = {
	{"crossings", crossings},
	{"saving", saving},
	{"exceptions", exceptions},
	{"vectors", vectors},
	{NULL, NULL},
};
