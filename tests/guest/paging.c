/* SPDX-License-Identifier: MIT */
/* Paging: accessed and dirty bits, protections, TLB maintenance, large pages, page crossings. */
#include "rt.h"

SNIP_IP(load, "", "mov (%rdi),%rax");
SNIP_IP(store, "", "mov %rsi,(%rdi)");
SNIP_IP(rmw, "", "lock addq $1,(%rdi)");
SNIP_IP(cmpxchg_fail, "xor %eax,%eax", "lock cmpxchgq %rsi,(%rdi)");
SNIP_IP(jump, "", "call *%rdi");
SNIP_IP(load_stac, "stac", "mov (%rdi),%rax; clac");
SNIP_IP(store_stac, "stac", "mov %rsi,(%rdi); clac");

#define PTE (*pte_at(VTEST, 1))

static u64 ad(u64 pte)
{
	return pte & (A | D);
}

static u64 ad_after(void *fn, u64 flags)
{
	map(VTEST, *pte_at(VTEST, 1) & PTE_ADDR, flags);
	guard(fn, VTEST, 1);
	return ad(PTE);
}

static void accessed_dirty(void)
{
	u64 page = page_alloc();

	*(u8 *)page = 0xc3;
	*(u64 *)(page + 8) = 5;
	map(VTEST, page, P | W);
	check("ad-untouched", ad(PTE), 0);
	check("ad-load", ad_after(load, P | W), A);
	check("ad-store", ad_after(store, P | W), A | D);
	check("ad-rmw", ad_after(rmw, P | W), A | D);
	check("ad-cmpxchg-fail", ad_after(cmpxchg_fail, P | W), A | D);
	*(u8 *)page = 0xc3;
	check("ad-exec", ad_after(jump, P | W), A);
	check("ad-store-ro", ad_after(store, P) & D, 0);
	map(VTEST, page, P | W);
	*(volatile u64 *)VTEST;
	check("ad-load-then", ad(PTE), A);
	*(volatile u64 *)VTEST = 1;
	check("ad-store-after-load", ad(PTE), A | D);
	PTE &= ~(u64)D;
	invlpg(VTEST);
	*(volatile u64 *)VTEST;
	check("ad-cleared-d", ad(PTE), A);
	*(volatile u64 *)VTEST = 1;
	check("ad-d-again", ad(PTE), A | D);
	PTE &= ~(u64)(A | D);
	flush();
	*(volatile u64 *)VTEST;
	check("ad-a-again", ad(PTE), A);
	*pte_at(VTEST, 2) &= ~(u64)A;
	*pte_at(VTEST, 3) &= ~(u64)A;
	*pte_at(VTEST, 4) &= ~(u64)A;
	flush();
	*(volatile u64 *)VTEST;
	check("ad-upper", (*pte_at(VTEST, 2) & *pte_at(VTEST, 3) & *pte_at(VTEST, 4)) & (A | D), A);
}

static void accessed_dirty_others(void)
{
	u64 big = pages_alloc(512, 21), page = page_alloc();

	*pte_at(VTEST + GIB(1), 2) = big | P | W | PS;
	*(volatile u64 *)(VTEST + GIB(1) + 0x12345);
	check("ad-2m-load", ad(*pte_at(VTEST + GIB(1), 2)), A);
	*(volatile u64 *)(VTEST + GIB(1) + 0x4321) = 1;
	check("ad-2m-store", ad(*pte_at(VTEST + GIB(1), 2)), A | D);
	*pte_at(VTEST + GIB(1), 2) = 0;
	map(VTEST, page, P | W);
	map(VTEST + 0x1000, page, P | W);
	*(volatile u64 *)(VTEST + 0xffc) = 1;
	check("ad-cross-first", ad(PTE), A | D);
	check("ad-cross-second", ad(*pte_at(VTEST + 0x1000, 1)), A | D);
	map(VTEST, page, P | W);
	__asm__ volatile("rep movsb" ::"D"(VTEST), "S"(VTEST), "c"(0) : "memory");
	check("ad-rep-0", ad(PTE), 0);
	map(VTEST, page, P | W | U);
	USER(store, VTEST, 1);
	check("ad-user-store", ad(PTE), A | D);
}

static void write_protect(void)
{
	u64 page = page_alloc();

	map(VTEST, page, P | U);
	EXPECT(store, VTEST, 1, VEC_PF, P | W);
	wr_cr0(rd_cr0() & ~CR0_WP);
	check("wp-off-store", guard(store, VTEST, 0x55), false);
	check("wp-off-value", *(u64 *)page, 0x55);
	check("wp-off-dirty", ad(PTE), A | D);
	EXPECT_USER(store, VTEST, 1, VEC_PF, P | W | U);
	wr_cr0(rd_cr0() | CR0_WP);
	expect("wp-on-again", store, VTEST, 1, (u64)store_ip, VEC_PF, P | W);
	*pte_at(VTEST, 2) &= ~(u64)W;
	map(VTEST, page, P | W | U);
	expect("wp-upper-level", store, VTEST, 1, (u64)store_ip, VEC_PF, P | W);
	*pte_at(VTEST, 2) |= W;
	flush();
	check("wp-upper-writable", guard(store, VTEST, 1), false);
}

SNIP_IP(ldt_stac, "stac; mov $7,%eax", "mov %ax,%fs; clac");

static void smap_implicit(void)
{
	u64 page = page_alloc();

	*(u64 *)page = gdt[UDATA / 8];
	map(VTEST + 0x2000, page, P | W | U);
	gdt[SPARE / 8] = 0x0000820000000fff | ((VTEST + 0x2000) & 0xffffff) << 16;
	gdt[SPARE / 8 + 1] = VTEST >> 32;
	__asm__ volatile("lldt %w0" ::"r"(SPARE));
	expect("smap-implicit", ldt_stac, 0, 0, (u64)ldt_stac_ip, VEC_PF, P);
	__asm__ volatile("lldt %w0" ::"r"(0));
}

static void smap(void)
{
	u64 page = page_alloc();

	if (!(cpuid(7, 0).ebx & BIT(20))) {
		skip("smap", "no CPUID bit");
		return;
	}
	map(VTEST, page, P | W | U);
	check("smap-off", guard(load, VTEST, 0), false);
	wr_cr4(rd_cr4() | CR4_SMAP);
	expect("smap-load", load, VTEST, 0, (u64)load_ip, VEC_PF, P);
	expect("smap-store", store, VTEST, 0, (u64)store_ip, VEC_PF, P | W);
	check("stac-load", guard(load_stac, VTEST, 0), false);
	check("stac-store", guard(store_stac, VTEST, 0x77), false);
	check("stac-value", *(u64 *)page, 0x77);
	expect("smap-after-clac", load, VTEST, 0, (u64)load_ip, VEC_PF, P);
	USER(load, VTEST, 0);
	check("smap-user-load", last.vec << 32 | last.gpr[RAX], (u64)UEXIT << 32 | 0x77);
	map(VTEST, page, P | W);
	check("smap-supervisor-page", guard(load, VTEST, 0), false);
	smap_implicit();
	wr_cr4(rd_cr4() & ~CR4_SMAP);
	map(VTEST, page, P | W | U);
	check("smap-off-again", guard(load, VTEST, 0), false);
}

static void smep(void)
{
	u64 page = page_alloc();

	if (!(cpuid(7, 0).ebx & BIT(7))) {
		skip("smep", "no CPUID bit");
		return;
	}
	*(u8 *)page = 0xc3;
	map(VTEST, page, P | W | U);
	check("smep-off", guard(jump, VTEST, 0), false);
	wr_cr4(rd_cr4() | CR4_SMEP);
	expect("smep-on", jump, VTEST, 0, VTEST, VEC_PF, P | PF_FETCH);
	USER(load, VTEST, 0);
	check("smep-user-runs", last.vec, UEXIT);
	wr_cr4(rd_cr4() & ~CR4_SMEP);
	check("smep-off-again", guard(jump, VTEST, 0), false);
}

static void nxe_off(void)
{
	u64 page = page_alloc();

	map(VTEST, page, P | W | NX);
	check("nx-load", guard(load, VTEST, 0), false);
	wr_msr(MSR_EFER, rd_msr(MSR_EFER) & ~EFER_NXE);
	flush();
	expect("nxe-off-reserved", load, VTEST, 0, (u64)load_ip, VEC_PF, P | PF_RSVD);
	wr_msr(MSR_EFER, rd_msr(MSR_EFER) | EFER_NXE);
	flush();
}

/* ---- TLB maintenance ---- */

static u64 page1, page2;

static void two_pages(void)
{
	page1 = page_alloc();
	page2 = page_alloc();
	*(u64 *)page1 = 1;
	*(u64 *)page2 = 2;
}

static u64 peek(void)
{
	return *(volatile u64 *)VTEST;
}

static void tlb(void)
{
	two_pages();
	map(VTEST, page1, P | W);
	check("tlb-first", peek(), 1);
	PTE = page2 | P | W;
	invlpg(VTEST + 0x123);
	check("tlb-invlpg", peek(), 2);
	PTE = page1 | P | W;
	flush();
	check("tlb-cr3", peek(), 1);
	PTE = page2 | P | W | G;
	flush();
	peek();
	PTE = page1 | P | W | G;
	wr_cr4(rd_cr4() & ~CR4_PGE);
	check("tlb-pge-off", peek(), 1);
	wr_cr4(rd_cr4() | CR4_PGE);
	PTE = page2 | P | W;
	invlpg(VTEST);
	check("tlb-invlpg-global", peek(), 2);
	PTE = 0;
	invlpg(VTEST);
	expect("tlb-unmapped", load, VTEST, 0, (u64)load_ip, VEC_PF, 0);
	PTE = page1 | P | W;
	check("tlb-not-present-is-not-cached", peek(), 1);
	*(u64 *)page1 = 1;
	PTE = page1 | P;
	invlpg(VTEST);
	expect("tlb-ro", store, VTEST, 0, (u64)store_ip, VEC_PF, P | W);
	__asm__ volatile("invlpg (%0)" ::"r"(0x800000000000));
	__asm__ volatile("mov %0, %%cr2" ::"r"(0x1234ull));
	check("cr2-writable", rd_cr2(), 0x1234);
}

/* A whole second address space in which VTEST is another page. */
static void address_spaces(void)
{
	u64 other = page_alloc(), mine = rd_cr3(), sum = 0;
	int i;

	two_pages();
	memcpy((void *)other, pml4, 4096);
	map(VTEST, page1, P | W);
	((u64 *)other)[VTEST >> 39 & 511] = 0;
	{
		u64 l3 = page_alloc(), l2 = page_alloc(), l1 = page_alloc();

		((u64 *)other)[VTEST >> 39 & 511] = l3 | P | W;
		*(u64 *)l3 = l2 | P | W;
		*(u64 *)l2 = l1 | P | W;
		*(u64 *)l1 = page2 | P | W;
	}
	for (i = 0; i < 100; i++) {
		wr_cr3(other);
		sum = sum * 3 + peek();
		wr_cr3(mine);
		sum = sum * 3 + peek();
	}
	{
		u64 want = 0;

		for (i = 0; i < 100; i++)
			want = (want * 3 + 2) * 3 + 1;
		check("two-address-spaces", sum, want);
	}
}

static void invpcid(u64 type, u64 pcid, u64 va)
{
	u64 d[2] = {pcid, va};

	__asm__ volatile("invpcid %0, %1" ::"m"(d), "r"(type) : "memory");
}

SNIP_IP(cr3_bit63, "mov %cr3,%rax; bts $63,%rax", "mov %rax,%cr3");
SNIP_IP(pcide_bad, "mov %cr4,%rax; bts $17,%rax", "mov %rax,%cr4");

static void pcid(void)
{
	u64 base = (u64)pml4;

	if (is_tcg())
		skip("cr3_bit63", "QEMU TCG takes it as an address");
	else
		EXPECT(cr3_bit63, 0, 0, VEC_GP, 0);
	if (!(cpuid(1, 0).ecx & BIT(17))) {
		skip("pcid", "no CPUID bit");
		return;
	}
	wr_cr3(base | 0x18);
	EXPECT(pcide_bad, 0, 0, VEC_GP, 0);
	wr_cr3(base);
	two_pages();
	map(VTEST, page1, P | W);
	wr_cr4(rd_cr4() | CR4_PCIDE);
	wr_cr3(base | 1);
	check("pcid-1", peek(), 1);
	check("pcid-cr3-reads", rd_cr3(), base | 1);
	wr_cr3(base | 2 | BIT(63));
	peek();
	PTE = page2 | P | W;
	wr_cr3(base | 1);
	check("pcid-flushed", peek(), 2);
	check("pcid-bit63-reads-0", rd_cr3() >> 63, 0);
	PTE = page1 | P | W;
	invpcid(0, 1, VTEST);
	check("invpcid-address", peek(), 1);
	PTE = page2 | P | W;
	invpcid(1, 1, 0);
	check("invpcid-context", peek(), 2);
	wr_cr3(base | 2 | BIT(63));
	invpcid(1, 1, 0);
	PTE = page1 | P | W;
	invpcid(1, 1, 0);
	wr_cr3(base | 1 | BIT(63));
	check("invpcid-other-context", peek(), 1);
	PTE = page2 | P | W | G;
	invpcid(3, 0, 0);
	check("invpcid-all-but-global", peek(), 2);
	PTE = page1 | P | W | G;
	invpcid(2, 0, 0);
	check("invpcid-all", peek(), 1);
	wr_cr3(base);
	wr_cr4(rd_cr4() & ~CR4_PCIDE);
	unmap(VTEST);
}

static void large_pages(void)
{
	u64 big = pages_alloc(1024, 21), va = VTEST + GIB(2);

	*pte_at(va, 2) = (big + MIB(2)) | P | W | PS;
	*pte_at(va + MIB(2), 2) = big | P | W | PS;
	*(volatile u64 *)(va + 0x123456) = 0x1111;
	check("2m-store", *(u64 *)(big + MIB(2) + 0x123456), 0x1111);
	*(volatile u64 *)(va + MIB(2) - 4) = 0x2222222233333333;
	check("2m-cross-low", *(u32 *)(big + MIB(4) - 4), 0x33333333);
	check("2m-cross-high", *(u32 *)big, 0x22222222);
	*pte_at(va, 2) |= BIT(13);
	invlpg(va);
	expect("2m-reserved", load, va, 0, (u64)load_ip, VEC_PF, P | PF_RSVD);
	*pte_at(va, 2) = big | P | W | PS;
	invlpg(va + 0x1fffff);
	check("2m-remapped", *(volatile u32 *)va, 0x22222222);
	if (!(cpuid(0x80000001, 0).edx & BIT(26))) {
		skip("1g", "no CPUID bit");
		return;
	}
	*pte_at(VTEST + GIB(3), 3) = P | W | PS;
	check("1g-load", *(volatile u32 *)(VTEST + GIB(3) + big), 0x22222222);
	*(volatile u64 *)(VTEST + GIB(3) + big + 8) = 0x4444;
	check("1g-store", *(u64 *)(big + 8), 0x4444);
	check("1g-ad", ad(*pte_at(VTEST + GIB(3), 3)), A | D);
	*pte_at(VTEST + GIB(3), 3) = P | W | PS | BIT(20);
	flush();
	expect("1g-reserved", load, VTEST + GIB(3), 0, (u64)load_ip, VEC_PF, P | PF_RSVD);
	*pte_at(VTEST + GIB(3), 3) = 0;
	flush();
}

/* ---- page crossings ---- */

SNIP_IP(store1_cross, "mov $0xaabbccddeeff1122,%rax", "mov %rax,(%rdi)");
SNIP_IP(store2_cross, "mov $0xaabb,%eax", "mov %ax,(%rdi)");
SNIP_IP(store4_cross, "mov $0xaabbccdd,%eax", "mov %eax,(%rdi)");
SNIP_IP(rmw_cross, "", "addq $1,(%rdi)");
SNIP_IP(xchg_cross, "mov $0x1234,%eax", "xchg %eax,(%rdi)");
SNIP_IP(sse_cross, "", "movups %xmm0,(%rdi)");
SNIP_IP(push_cross, "mov %rsp,%rbp; lea 8(%rdi),%rsp", "push %rbp; mov %rbp,%rsp");
SNIP_IP(call_cross, "mov %rsp,%rbp; lea 8(%rdi),%rsp", "call 1f; 1: mov %rbp,%rsp");
SNIP_IP(pop_cross, "mov %rsp,%rbp; mov %rdi,%rsp", "pop %rax; mov %rbp,%rsp");

static void store_faults(const char *name, void *fn, char *ip, u64 va, u64 err)
{
	u64 first = page_alloc();

	memset((void *)first, 0x5a, 4096);
	map(VTEST, first, P | W);
	if (err & P)
		map(VTEST + 0x1000, page_alloc(), P);
	else
		unmap(VTEST + 0x1000);
	/* The frame of the trap must not land on the stack under test. */
	gate(VEC_PF, 0, 2);
	expect(name, fn, va, 0, (u64)ip, VEC_PF, err);
	gate(VEC_PF, 0, 0);
	check("  cross-cr2", last_cr2, VTEST + 0x1000);
	check(name, *(u64 *)(first + 0xff8), 0x5a5a5a5a5a5a5a5a);
	/* First page missing instead. */
	unmap(VTEST);
	map(VTEST + 0x1000, first, P | W);
	gate(VEC_PF, 0, 2);
	expect(name, fn, va, 0, (u64)ip, VEC_PF, err & ~(u64)P);
	gate(VEC_PF, 0, 0);
	check("  cross-cr2-first", last_cr2, va);
	check(name, *(u64 *)first, 0x5a5a5a5a5a5a5a5a);
}

static void crossing_faults(void)
{
	store_faults("cross-store8", store1_cross, store1_cross_ip, VTEST + 0xff9, W);
	store_faults("cross-store8-ro", store1_cross, store1_cross_ip, VTEST + 0xffc, P | W);
	store_faults("cross-store2", store2_cross, store2_cross_ip, VTEST + 0xfff, W);
	store_faults("cross-store4", store4_cross, store4_cross_ip, VTEST + 0xffd, W);
	store_faults("cross-rmw", rmw_cross, rmw_cross_ip, VTEST + 0xffc, W);
	store_faults("cross-xchg", xchg_cross, xchg_cross_ip, VTEST + 0xffe, W);
	store_faults("cross-sse", sse_cross, sse_cross_ip, VTEST + 0xff8, W);
	store_faults("cross-push", push_cross, push_cross_ip, VTEST + 0xffc, W);
	store_faults("cross-call", call_cross, call_cross_ip, VTEST + 0xffc, W);
	store_faults("cross-load", load, load_ip, VTEST + 0xffa, 0);
	store_faults("cross-pop", pop_cross, pop_cross_ip, VTEST + 0xffa, 0);
}

static void crossings(void)
{
	u64 a = page_alloc(), gap = page_alloc(), b = page_alloc(), v;
	int off;

	(void)gap;
	map(VTEST, b, P | W);
	map(VTEST + 0x1000, a, P | W);
	for (off = 1; off < 8; off++) {
		u64 want = 0x1122334455667788ull * off;

		*(volatile u64 *)(VTEST + 0x1000 - off) = want;
		memcpy(&v, (void *)(b + 0x1000 - off), off);
		memcpy((u8 *)&v + off, (void *)a, 8 - off);
		check_n("cross-store-value", off, v, want);
		check_n("cross-load-value", off, *(volatile u64 *)(VTEST + 0x1000 - off), want);
		__asm__ volatile("lock xaddq %0, (%1)" : "+r"(want) : "r"(VTEST + 0x1000 - off) : "memory");
		check_n("cross-xadd-value", off, *(volatile u64 *)(VTEST + 0x1000 - off), want * 2);
	}
	check("cross-gap-untouched", *(u64 *)gap, 0);
}

/* mov $imm32,%eax; ret placed so that it crosses into the second page. */
static void put_code(u64 page, u64 next, int off, u32 imm)
{
	u8 code[6] = {0xb8, imm, imm >> 8, imm >> 16, imm >> 24, 0xc3};
	int i;

	for (i = 0; i < 6; i++)
		((u8 *)(off + i < 4096 ? page : next - 4096))[off + i] = code[i];
}

static u32 run(u64 va)
{
	u32 r;

	__asm__ volatile("call *%1" : "=a"(r) : "r"(va) : "memory", "cc");
	return r;
}

static void crossing_fetch(void)
{
	u64 first = page_alloc(), second = page_alloc(), third = page_alloc();
	int off;

	for (off = 4091; off < 4096; off++) {
		put_code(first, second, off, 0x11223344);
		put_code(first, third, off, 0x11223344);
		((u8 *)third)[4096 - off > 4 ? 0 : 4 - (4096 - off)] = off == 4091 ? 0xc3 : 0x99;
		map(VTEST, first, P);
		unmap(VTEST + 0x1000);
		expect("fetch-second-missing", jump, VTEST + off, 0, off == 4091 ? VTEST + 4096 : VTEST + off,
			VEC_PF, PF_FETCH);
		check_n("fetch-cr2", off, last_cr2, VTEST + 0x1000);
		map(VTEST + 0x1000, second, P | NX);
		expect("fetch-second-nx", jump, VTEST + off, 0, off == 4091 ? VTEST + 4096 : VTEST + off,
			VEC_PF, P | PF_FETCH);
		map(VTEST + 0x1000, second, P);
		check_n("fetch-both", off, run(VTEST + off), 0x11223344);
		map(VTEST + 0x1000, third, P);
		check_n("fetch-changed-mapping", off, run(VTEST + off),
			off == 4091 ? 0x11223344 : 0x99223344);
		map(VTEST + 0x1000, second, P);
		check_n("fetch-mapped-back", off, run(VTEST + off), 0x11223344);
		unmap(VTEST);
		expect("fetch-first-missing", jump, VTEST + off, 0, VTEST + off, VEC_PF, PF_FETCH);
	}
}

/* lea 0(%rip),%rax; ret: the same physical code at two addresses. */
static void code_aliases(void)
{
	u64 page = page_alloc(), code2 = page_alloc();
	u64 a, b;
	int i, bad = 0;

	memcpy((void *)page, "\x48\x8d\x05\x00\x00\x00\x00\xc3", 8);
	/* call +0; pop %rax; ret: the pushed return address tells the truth too. */
	memcpy((void *)(page + 16), "\xe8\x00\x00\x00\x00\x58\xc3", 7);
	map(VTEST, page, P);
	map(VTEST + 0x5000, page, P);
	for (i = 0; i < 200; i++) {
		__asm__ volatile("call *%2; mov %%rax,%0; call *%3; mov %%rax,%1"
				 : "=&r"(a), "=&r"(b)
				 : "r"(VTEST), "r"(VTEST + 0x5000)
				 : "rax", "memory");
		bad += a != VTEST + 7 || b != VTEST + 0x5007;
		__asm__ volatile("call *%2; mov %%rax,%0; call *%3; mov %%rax,%1"
				 : "=&r"(a), "=&r"(b)
				 : "r"(VTEST + 16), "r"(VTEST + 0x5010)
				 : "rax", "memory");
		bad += a != VTEST + 21 || b != VTEST + 0x5015;
	}
	check("code-at-two-addresses", bad, 0);
	put_code(page, 0, 64, 1);
	put_code(code2, 0, 64, 2);
	bad = 0;
	for (i = 0; i < 200; i++) {
		map(VTEST, i & 1 ? page : code2, P);
		bad += run(VTEST + 64) != (i & 1 ? 1u : 2u);
	}
	check("code-remapped-200", bad, 0);
}

/* Addresses in one block that look alike but are not: RSP from memory, sums beyond 32 bits. */
static void distances(void)
{
	u64 *page = (u64 *)page_alloc(), a, b, cr0;

	map(VTEST, (u64)page, P | W);
	page[31] = 31;
	page[32] = 32;
	page[33] = 33;
	__asm__ volatile("mov %%rsp, %%rbx; push %2; pop %%rsp; mov (%%rsp), %0; mov 8(%%rsp), %1; mov %%rbx, %%rsp"
			 : "=&a"(a), "=&d"(b)
			 : "c"(VTEST + 256)
			 : "rbx", "memory");
	check("pop-rsp", a << 8 | b, 32 << 8 | 33);
	__asm__ volatile("mov %2, %%r10; add $0x40000000, %%r10; add $0x40000000, %%r10; mov (%%r10), %0; mov 8(%%r10), %1"
			 : "=&a"(a), "=&d"(b)
			 : "c"(VTEST + 256 - 0x80000000ull)
			 : "r10", "memory");
	check("far-sum", a << 8 | b, 32 << 8 | 33);
	__asm__ volatile("mov %2, %%rbx; mov -0x80000000(%%rbx), %0; sub $8, %%rbx; mov -0x80000000(%%rbx), %1"
			 : "=&a"(a), "=&d"(b)
			 : "c"(VTEST + 256 + 0x80000000ull)
			 : "rbx", "memory");
	check("far-displacement", a << 8 | b, 32 << 8 | 31);
	/* FWAIT is C code while CR0.EM or TS is set, and goes on. */
	cr0 = rd_cr0();
	wr_cr0((cr0 & ~2ull) | 4);
	__asm__ volatile("mov (%2), %0; fwait; mov 8(%2), %1" : "=&a"(a), "=&d"(b) : "b"(VTEST + 256) : "memory");
	wr_cr0(cr0);
	check("over-fwait", a << 8 | b, 32 << 8 | 33);
	unmap(VTEST);
}

const struct section sections[] = {
	{"ad", accessed_dirty},
	{"ad_others", accessed_dirty_others},
	{"wp", write_protect},
	{"smap", smap},
	{"smep", smep},
	{"nxe", nxe_off},
	{"tlb", tlb},
	{"spaces", address_spaces},
	{"pcid", pcid},
	{"large", large_pages},
	{"crossings", crossings},
	{"crossing_faults", crossing_faults},
	{"crossing_fetch", crossing_fetch},
	{"code_aliases", code_aliases},
	{"distances", distances},
	{NULL, NULL},
};
