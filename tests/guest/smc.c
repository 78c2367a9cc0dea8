/* SPDX-License-Identifier: MIT */
/*
 * Code that changes: in the same block, in the next, on another page, across
 * pages, through an alias, by every kind of store.
 */
#include "rt.h"

/* The code page is at VTEST (and the next page after it); its frames are also seen 1:1. */
static u8 *frame0, *frame1;

static void fresh(u64 flags)
{
	frame0 = (u8 *)page_alloc();
	frame1 = (u8 *)page_alloc();
	map(VTEST, (u64)frame0, flags);
	map(VTEST + 0x1000, (u64)frame1, flags);
}

/* Calls code at `va` with its arguments in rdi, rsi and rcx; the result is eax. */
static u32 run(u64 va, u64 rdi, u64 rsi, u64 rcx)
{
	u32 r;

	__asm__ volatile("call *%4"
			 : "=a"(r), "+D"(rdi), "+S"(rsi), "+c"(rcx)
			 : "r"(va), "0"(0)
			 : "rdx", "memory", "cc");
	return r;
}

static u32 call(u64 va)
{
	return run(va, 0, 0, 0);
}

static void put_bytes(u64 off, const void *p, int n)
{
	const u8 *s = p;
	int i;

	for (i = 0; i < n; i++)
		(off + i < 4096 ? frame0 : frame1 - 4096)[off + i] = s[i];
}

/* mov $imm,%eax; ret */
static void put_const(u64 off, u32 imm)
{
	u8 c[6] = {0xb8, imm, imm >> 8, imm >> 16, imm >> 24, 0xc3};

	put_bytes(off, c, 6);
}

/* movb %sil,1f+1(%rip); 1: mov $0,%eax; ret -- with `gap` nops in between. */
static void put_store_ahead(u64 off, int gap)
{
	u8 c[7] = {0x40, 0x88, 0x35, 1 + gap, 0, 0, 0};
	int i;

	put_bytes(off, c, 7);
	for (i = 0; i < gap; i++)
		put_bytes(off + 7 + i, "\x90", 1);
	put_const(off + 7 + gap, 0);
}

static void same_block(void)
{
	int gap, i, bad;

	for (gap = 0; gap < 24; gap += 1 + gap / 3) {
		fresh(P | W);
		put_store_ahead(0x100, gap);
		for (i = bad = 0; i < 300; i++)
			bad += run(VTEST + 0x100, 0, i & 0x7f, 0) != (i & 0x7fu);
		check_n("same-block-ahead", gap, bad, 0);
	}
	/* The same, with a page boundary between the store and its target, and inside the target. */
	for (gap = 0xff5; gap < 0xffa; gap++) {
		fresh(P | W);
		put_store_ahead(gap - 4, 0);
		for (i = bad = 0; i < 300; i++)
			bad += run(VTEST + gap - 4, 0, i & 0x7f, 0) != (i & 0x7fu);
		check_n("same-block-across-page", gap, bad, 0);
	}
}

static void same_block_behind(void)
{
	/* 1: mov $0,%eax; addb $1,1b+1(%rip); dec %ecx; jnz 1b; ret */
	static const u8 code[] = {
		0xb8, 0, 0, 0, 0, 0x80, 0x05, 0xf5, 0xff, 0xff, 0xff, 1, 0xff, 0xc9, 0x75, 0xf0, 0xc3};

	fresh(P | W);
	put_bytes(0x40, code, sizeof(code));
	check("loop-changes-itself", run(VTEST + 0x40, 0, 0, 100), 99);
	check("loop-changed", frame0[0x41], 100);
	check("loop-changes-itself-again", run(VTEST + 0x40, 0, 0, 50), 149);
}

static void next_block(void)
{
	/* movb %sil,1f+1(%rip); jmp 1f; nop*3; 1: mov $0,%eax; ret */
	static const u8 near_code[] = {
		0x40, 0x88, 0x35, 6, 0, 0, 0, 0xeb, 3, 0x90, 0x90, 0x90, 0xb8, 0, 0, 0, 0, 0xc3};
	/* movb %sil,0x1001(rip...): the target is on the next page, reached by a jump. */
	u8 far_code[] = {0x40, 0x88, 0x35, 0, 0, 0, 0, 0xe9, 0, 0, 0, 0};
	u32 rel;
	int i, bad;

	fresh(P | W);
	put_bytes(0, near_code, sizeof(near_code));
	for (i = bad = 0; i < 500; i++)
		bad += run(VTEST, 0, i & 0x7f, 0) != (i & 0x7fu);
	check("next-block", bad, 0);
	rel = 0x1000 + 0x81 - 7;
	memcpy(far_code + 3, &rel, 4);
	rel = 0x1000 + 0x80 - 12;
	memcpy(far_code + 8, &rel, 4);
	fresh(P | W);
	put_bytes(0, far_code, sizeof(far_code));
	put_const(0x1080, 0);
	for (i = bad = 0; i < 500; i++)
		bad += run(VTEST, 0, i & 0x7f, 0) != (i & 0x7fu);
	check("other-page", bad, 0);
}

static void alias(void)
{
	/* mov %sil,(%rdi); jmp .+2; mov $0,%eax; ret: rdi is the alias of the immediate */
	static const u8 code[] = {0x40, 0x88, 0x37, 0xeb, 0, 0xb8, 0, 0, 0, 0, 0xc3};
	int i, bad;

	fresh(P | W);
	put_bytes(0x200, code, sizeof(code));
	for (i = bad = 0; i < 500; i++)
		bad += run(VTEST + 0x200, (u64)frame0 + 0x206, i & 0x7f, 0) != (i & 0x7fu);
	check("alias-same-block", bad, 0);
	fresh(P);
	for (i = bad = 0; i < 500; i++) {
		put_const(0x300, i);
		bad += call(VTEST + 0x300) != (u32)i;
	}
	check("alias-of-read-only", bad, 0);
	fresh(P | W);
	map(VTEST + 0x7000, (u64)frame0, P | W);
	for (i = bad = 0; i < 500; i++) {
		*(volatile u32 *)(VTEST + (i & 1 ? 0x7000 : 0) + 0x401) = i;
		*(volatile u8 *)(VTEST + 0x400) = 0xb8;
		*(volatile u8 *)(VTEST + 0x405) = 0xc3;
		bad += call(VTEST + (i & 2 ? 0x7000 : 0) + 0x400) != (u32)i;
	}
	check("two-aliases", bad, 0);
}

static void hot(void)
{
	int i, bad = 0;
	u32 sum = 0;

	fresh(P | W);
	put_const(0x10, 3);
	for (i = 0; i < 5000; i++)
		sum += call(VTEST + 0x10);
	check("hot-before", sum, 15000);
	*(volatile u8 *)(VTEST + 0x11) = 5;
	for (sum = i = 0; i < 5000; i++)
		sum += call(VTEST + 0x10);
	check("hot-after", sum, 25000);
	for (i = 0; i < 1000; i++) {
		put_const(0x10 + (i & 3), i * 3);
		bad += call(VTEST + 0x10 + (i & 3)) != (u32)i * 3;
	}
	check("rewritten-1000", bad, 0);
	for (i = bad = 0; i < 1000; i++) {
		*(volatile u32 *)(VTEST + 0x11) = i;
		*(volatile u8 *)(VTEST + 0x10) = 0xb8;
		*(volatile u8 *)(VTEST + 0x15) = 0xc3;
		bad += call(VTEST + 0x10) != (u32)i;
	}
	check("rewritten-direct-1000", bad, 0);
}

static void across_page(void)
{
	int off, i, bad;

	for (off = 0xffb; off < 0x1000; off++) {
		fresh(P | W);
		for (i = bad = 0; i < 200; i++) {
			put_const(off, i * 0x01010101u);
			bad += call(VTEST + off) != i * 0x01010101u;
		}
		check_n("across-page", off, bad, 0);
		for (i = bad = 0; i < 200; i++) {
			*(volatile u32 *)(VTEST + off + 1) = i * 0x01030507u;
			bad += call(VTEST + off) != i * 0x01030507u;
		}
		check_n("across-page-direct", off, bad, 0);
	}
}

/* Data on the code's page must neither be slow nor upset the code. */
static void data_beside_code(void)
{
	/* 1: add %ecx,(%rdi); dec %ecx; jnz 1b; mov $7,%eax; ret */
	static const u8 code[] = {0x01, 0x0f, 0xff, 0xc9, 0x75, 0xfa, 0xb8, 7, 0, 0, 0, 0xc3};

	fresh(P | W);
	put_bytes(0x800, code, sizeof(code));
	check("data-beside-code", run(VTEST + 0x800, VTEST + 0x10, 0, 20000), 7);
	check("data-beside-code-sum", *(u32 *)(frame0 + 0x10), 20000u * 20001 / 2);
	frame0[0x807] = 9;
	check("data-beside-code-changed", run(VTEST + 0x800, VTEST + 0x10, 0, 20), 9);
	/* The stack on the code's page. */
	{
		u64 r;

		put_const(0x900, 0x33);
		__asm__ volatile("mov %%rsp,%%rbx; mov %1,%%rsp; mov $2000,%%ecx\n"
				 "1: call *%2; dec %%ecx; jnz 1b; mov %%rbx,%%rsp"
				 : "=&a"(r)
				 : "r"(VTEST + 0x600), "r"(VTEST + 0x900)
				 : "rbx", "rcx", "memory");
		check("stack-on-code-page", r, 0x33);
	}
}

/* Every kind of store, each changing the immediate of mov $imm,%eax; ret at VTEST + 0x500. */
#define STORE(name, text) SNIP(name, text)
STORE(st_rmw, "lock addl %esi,(%rdi)");
STORE(st_xchg, "xchg %esi,(%rdi)");
STORE(st_cmpxchg, "mov (%rdi),%eax; lock cmpxchg %esi,(%rdi)");
STORE(st_push, "mov %rsp,%rcx; lea 8(%rdi),%rsp; mov %esi,%esi; movabs $0xc300000000,%rax; or %rax,%rsi; "
	       "push %rsi; mov %rcx,%rsp");
STORE(st_sse, "movd %esi,%xmm0; movd %xmm0,(%rdi)");
STORE(st_nt, "movnti %esi,(%rdi)");
STORE(st_stosd, "mov %esi,%eax; stosl");
STORE(st_rep_stosb, "mov %esi,%eax; mov $1,%ecx; rep stosb");
STORE(st_rep_movsb, "push %rsi; mov %rsp,%rsi; mov $4,%ecx; rep movsb; pop %rsi");
STORE(st_fist, "push %rsi; fildl (%rsp); fistpl (%rdi); pop %rsi");
STORE(st_bts, "btsl $7,(%rdi)");
STORE(st_x16, "mov (%rdi),%rax; mov 8(%rdi),%rdx; mov %rax,%rbx; mov %esi,%ebx; movabs $0xc300000000,%rcx; "
	      "or %rcx,%rbx;"
	      "mov %rdx,%rcx; push %rbx; pop %rbx; lock cmpxchg16b (%rdi)");

static u64 via_rbx(void *fn, u64 a, u64 b)
{
	__asm__ volatile("push %%rbx; call *%2; pop %%rbx"
			 : "+D"(a), "+S"(b)
			 : "r"(fn)
			 : "rax", "rcx", "rdx", "memory", "cc");
	return 0;
}

static void kind(const char *name, void *fn, bool adds, u32 off)
{
	u32 i, want, bad = 0;

	fresh(P | W);
	for (i = 1; i < 100; i++) {
		put_const(off, 0x100);
		bad += call(VTEST + off) != 0x100;
		via_rbx(fn, VTEST + off + 1, i);
		want = fn == (void *)st_bts ? 0x180 : adds ? 0x100 + i : i;
		if (fn == (void *)st_rep_stosb)
			want = 0x100 + i;
		bad += call(VTEST + off) != want;
	}
	check(name, bad, 0);
}

static void store_kinds(void)
{
	kind("by-lock-add", st_rmw, true, 0x500);
	kind("by-xchg", st_xchg, false, 0x500);
	kind("by-cmpxchg", st_cmpxchg, false, 0x500);
	kind("by-push", st_push, false, 0x500);
	kind("by-sse", st_sse, false, 0x500);
	kind("by-movnti", st_nt, false, 0x500);
	kind("by-stosd", st_stosd, false, 0x500);
	kind("by-rep-stosb", st_rep_stosb, false, 0x500);
	kind("by-rep-movsb", st_rep_movsb, false, 0x500);
	kind("by-fistp", st_fist, false, 0x500);
	kind("by-bts", st_bts, false, 0x500);
	kind("by-cmpxchg16b", st_x16, false, 0x50f);
	/* Half of the store on a data page, half on the code page. */
	kind("by-xchg-across", st_xchg, false, 0xffd);
	kind("by-lock-add-across", st_rmw, true, 0xffd);
	kind("by-sse-across", st_sse, false, 0xffd);
	kind("by-rep-movsb-across", st_rep_movsb, false, 0xffd);
}

static void string_jit(void)
{
	/* cld; rep stosb (rdi, al, rcx given) over the nops that follow it; then mov %edx,%eax; ret */
	static const u8 code[] = {
		0xfc, 0x89, 0xf0, 0x31, 0xd2, 0xf3, 0xaa, 0x90, 0x90, 0x90, 0x90, 0x89, 0xd0, 0xc3};
	u8 block[64];
	int i, bad = 0;

	/* Overwrites the four nops that follow with 0x42.. prefixes (harmless) or nops. */
	fresh(P | W);
	put_bytes(0x20, code, sizeof(code));
	check("rep-stosb-next-1", run(VTEST + 0x20, VTEST + 0x27, 0xf8, 4), 0);
	check("rep-stosb-next-bytes", frame0[0x27] | frame0[0x2a] << 8, 0xf8f8);
	/* inc %edx is ff c2: two-byte, so write the pair by words from a buffer instead. */
	for (i = 0; i < 64; i += 2) {
		block[i] = 0xff;
		block[i + 1] = 0xc0; /* inc %eax */
	}
	for (i = 0; i < 200; i++) {
		int n = 2 * (i % 30);

		memcpy((void *)(VTEST + 0x60), "\x31\xc0", 2);
		memcpy((void *)(VTEST + 0x62), block, n);
		*(volatile u8 *)(VTEST + 0x62 + n) = 0xc3;
		bad += call(VTEST + 0x60) != (u32)n / 2;
	}
	check("rep-movsb-jit", bad, 0);
}

static void indirect(void)
{
	u64 targets[4] = {VTEST + 0x100, VTEST + 0x110, VTEST + 0x1ffb - 0xff8, VTEST + 0x130};
	int i, bad = 0;
	u32 rel;

	fresh(P | W);
	for (i = 0; i < 800; i++) {
		u64 t = targets[i & 3];

		put_const(t - VTEST, i);
		bad += call(t) != (u32)i;
	}
	check("indirect-through-changed", bad, 0);
	/* A direct jump whose displacement changes. */
	frame0[0x700] = 0xe9;
	put_const(0x720, 20);
	put_const(0x740, 40);
	put_const(0x1040, 60);
	for (i = bad = 0; i < 300; i++) {
		static const u32 at[3] = {0x720, 0x740, 0x1040};

		rel = at[i % 3] - 0x705;
		*(volatile u32 *)(VTEST + 0x701) = rel;
		bad += call(VTEST + 0x700) != (u32)(i % 3 + 1) * 20;
	}
	check("jump-retargeted", bad, 0);
}

static u64 probes;

static bool bp_hook(struct frame *f)
{
	probes++;
	f->gpr[RAX] = 0x1000;
	f->rip += 4;
	return true;
}

/* As a kernel's probes do: int3 over an instruction, then the instruction again. */
static void breakpoints(void)
{
	int i, bad = 0;

	fresh(P | W);
	put_const(0x80, 5);
	hooks[VEC_BP] = bp_hook;
	for (i = 0; i < 100; i++) {
		bad += call(VTEST + 0x80) != 5;
		frame0[0x80] = 0xcc;
		bad += call(VTEST + 0x80) != 0x1000;
		frame0[0x80] = 0xb8;
	}
	hooks[VEC_BP] = NULL;
	check("int3-patching", bad, 0);
	check("int3-count", probes, 100);
}

/* mov %sil,1f+1(%rip); 1: mov $0,%eax in ring 3. */
SNIP(u_smc, "mov $100,%ecx; xor %ebx,%ebx; 2: movb %cl,1f+1(%rip); 1: mov $0,%eax; add %eax,%ebx; dec %ecx; "
	    "jnz 2b");

static void in_ring3(void)
{
	USER(u_smc, 0, 0);
	check("ring3-smc", last.vec << 32 | last.gpr[RBX], (u64)UEXIT << 32 | 5050);
}

/* A page of code becomes data and then other code. */
static void reused(void)
{
	int i, j, bad = 0;

	for (j = 0; j < 20; j++) {
		fresh(P | W);
		for (i = 0; i < 64; i++)
			put_const(i * 16, i + j);
		for (i = 0; i < 64; i++)
			bad += call(VTEST + i * 16) != (u32)(i + j);
		memset((void *)VTEST, j, 4096);
		for (i = 0; i < 4096; i++)
			bad += frame0[i] != j;
		for (i = 0; i < 64; i++)
			put_const(i * 16 + 3, i * j);
		for (i = 0; i < 64; i++)
			bad += call(VTEST + i * 16 + 3) != (u32)(i * j);
	}
	check("page-reused", bad, 0);
}

/* One page of code at two addresses, each with data of its own beside it. */
static void data_by_address(void)
{
	const u8 load[7] = {0x8b, 0x05, 0xfa, 0x0f, 0, 0, 0xc3}; /* mov 0xffa(%rip),%eax; ret */
	u32 *first, *second, bad = 0;
	int i;

	fresh(P | W);
	first = (u32 *)frame1;
	second = (u32 *)page_alloc();
	map(VTEST + 0x10000, (u64)frame0, P | W);
	map(VTEST + 0x11000, (u64)second, P | W);
	put_bytes(0, load, 7);
	*first = 1;
	*second = 2;
	for (i = 0; i < 10; i++)
		bad += (call(VTEST) != 1) + (call(VTEST + 0x10000) != 2);
	check("data-by-address", bad, 0);
}

/* A loop that fills memory runs into code that has been run, and then jumps there. */
static void loop_into_code(void)
{
	/* 1: mov %sil,(%rdi); inc %rdi; dec %rcx; jne 1b; jmp .-0x110 */
	const u8 loop[16] = {0x40, 0x88, 0x37, 0x48, 0xff, 0xc7, 0x48, 0xff, 0xc9, 0x75, 0xf5, 0xe9, 0xf0, 0xfe, 0xff, 0xff};
	int i, j, bad = 0;

	fresh(P | W);
	put_bytes(0x1100, loop, 16);
	for (i = 0; i < 40; i++) {
		put_const(0x1000, i);
		bad += call(VTEST + 0x1000) != (u32)i;
		bad += run(VTEST + 0x1100, VTEST + 0x100 + i, 0xb8, 0xf05 - i) != 0xb8b8b8b8;
		for (j = 0x100 + i; j < 0x1000; j++)
			bad += frame0[j] != 0xb8;
		memset(frame0, 0, 4096);
	}
	check("loop-into-code", bad, 0);
}

const struct section sections[] = {
	{"same_block", same_block},
	{"behind", same_block_behind},
	{"next_block", next_block},
	{"alias", alias},
	{"hot", hot},
	{"across_page", across_page},
	{"data", data_beside_code},
	{"kinds", store_kinds},
	{"strings", string_jit},
	{"indirect", indirect},
	{"breakpoints", breakpoints},
	{"ring3", in_ring3},
	{"reused", reused},
	{"data_by_address", data_by_address},
	{"loop_into_code", loop_into_code},
	{NULL, NULL},
};
