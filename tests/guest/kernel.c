/* SPDX-License-Identifier: MIT */
/* Instructions that kernels use all the time, in the sequences that kernels use: flags, windows to user memory, bases. */
#include "rt.h"

/* A piece whose registers are to be seen: it ends with #UD, and plain flags. */
#define PIECE(name, text) SNIP(name, text "; pushq $2; popfq; ud2")

/* ---- PUSHF, CLI, STI ---- */

#define SEEN (FL_ARITH | FL_IF | FL_DF | FL_AC | FL_ID | FL_ONE)

/* RDI: the flags to start with. */
PIECE(flags_first, "push %rdi; popfq; pushfq; pop %rax");
PIECE(flags_behind_add, "push %rdi; popfq; mov $0x7fffffff,%ecx; add $1,%ecx; pushfq; pop %rax");
PIECE(flags_behind_sub, "push %rdi; popfq; xor %ecx,%ecx; sub $1,%ecx; pushfq; pop %rax");
PIECE(flags_behind_inc, "push %rdi; popfq; mov $-1,%ecx; inc %ecx; pushfq; pop %rax");
PIECE(flags_saved, "push %rdi; popfq; pushfq; pop %rax; cli; sti; cli; pushfq; pop %rbx; mov %rbx,%rcx; push %rax; popfq; pushfq; pop %rdx");
PIECE(flags_16, "push %rdi; popfq; pushfw; pop %ax; movzwl %ax,%eax");

static void flags(void)
{
	static const u64 start[] = {0, FL_CF, FL_ZF | FL_PF, FL_SF | FL_OF, FL_AF | FL_CF, FL_ARITH, FL_DF, FL_AC, FL_ID | FL_OF};

	for (unsigned i = 0; i < ARRAY_SIZE(start); i++) {
		u64 f = start[i], rest = f & ~(u64)FL_ARITH;

		guard(flags_first, f, 0);
		check_n("flags-first", i, last.gpr[RAX] & SEEN, f | FL_ONE);
		guard(flags_behind_add, f, 0);
		check_n("flags-add", i, last.gpr[RAX] & SEEN, rest | FL_ONE | FL_AF | FL_SF | FL_OF | FL_PF);
		guard(flags_behind_sub, f, 0);
		check_n("flags-sub", i, last.gpr[RAX] & SEEN, rest | FL_ONE | FL_AF | FL_SF | FL_CF | FL_PF);
		guard(flags_behind_inc, f, 0);
		check_n("flags-inc", i, last.gpr[RAX] & SEEN, rest | FL_ONE | FL_AF | FL_ZF | FL_PF | (f & FL_CF));
		guard(flags_saved, f, 0);
		check_n("flags-kept", i, last.gpr[RAX] & SEEN, f | FL_ONE);
		check_n("flags-cli", i, last.gpr[RBX] & SEEN, f | FL_ONE);
		check_n("flags-restored", i, last.gpr[RDX] & SEEN, f | FL_ONE);
		guard(flags_16, f, 0);
		check_n("flags-16", i, last.gpr[RAX] & SEEN & 0xffff, (f & 0xffff) | FL_ONE);
	}
}

/* ---- STAC and CLAC ---- */

SNIP_IP(ac_load, "", "mov (%rdi),%rax");
PIECE(ac_window, "stac; mov (%rdi),%rax; clac");
SNIP_IP(ac_shut, "stac; mov (%rdi),%rax; clac", "mov (%rdi),%rbx");
SNIP_IP(ac_twice, "stac; stac; mov (%rdi),%rax; clac; clac", "mov (%rdi),%rbx");
PIECE(ac_flag, "stac; pushfq; pop %rax; clac; pushfq; pop %rbx");
/* A window opened, or shut, by what is called: the return leads to code of the other mode. */
SNIP_IP(ac_opened, "call 1f; jmp 2f; 1: stac; ret; 2: mov (%rdi),%rax; call 3f; jmp 4f; 3: clac; ret; 4:", "mov (%rdi),%rbx");
SNIP_IP(ac_called,
	"stac; call 1f; jmp 2f; 1: call 3f; ret; 3: mov (%rdi),%rax; ret; 2: mov (%rdi),%rcx; clac; call 4f; jmp 5f; 4: ret; 5:",
	"mov (%rdi),%rbx");
/* The same, where RSI says so: code of one mode must not keep what the other may do. */
SNIP_IP(ac_may_open, "call 1f; jmp 2f; 1: test %esi,%esi; jz 3f; stac; 3: ret; 2:", "mov (%rdi),%rax; clac");
SNIP_IP(ac_may_shut, "stac; call 1f; jmp 2f; 1: test %esi,%esi; jz 3f; clac; 3: ret; 2:", "mov (%rdi),%rax; clac");
/* More calls than a prediction of returns has room for, around the window and in it; RSI: a stack for them. */
SNIP_IP(ac_deep,
	"mov %rsp,%r8; mov %rsi,%rsp; mov $20000,%ecx; call 1f; mov %r8,%rsp; jmp 9f; 1: dec %ecx; jz 2f; call 1b; ret;"
	"2: stac; mov $20000,%ecx; call 3f; mov (%rdi),%rax; clac; ret; 3: dec %ecx; jz 4f; call 3b; 4: ret; 9:",
	"mov (%rdi),%rbx");
PIECE(ac_popped, "pushfq; orl $0x40000,(%rsp); popfq; mov (%rdi),%rax; pushfq; andl $~0x40000,(%rsp); popfq");
SNIP_IP(u_stac, "", "stac");
SNIP_IP(u_clac, "", "clac");

static u64 hook_flags;

/* What an interrupt in the window finds, and that its own window does not shut the other. */
static bool on_int(struct frame *f)
{
	u64 now;

	__asm__ volatile("pushfq; pop %0" : "=r"(now));
	hook_flags = now & f->rflags;
	__asm__ volatile("clac");
	return true;
}

PIECE(ac_interrupted, "stac; int $0x44; mov (%rdi),%rax; clac");

static void round(unsigned i)
{
	EXPECT(ac_load, VTEST, 0, VEC_PF, P);
	guard(ac_window, VTEST, 0);
	check_n("ac-window", i, last.gpr[RAX], 0x1234);
	EXPECT(ac_shut, VTEST, 0, VEC_PF, P);
	check_n("ac-before", i, last.gpr[RAX], 0x1234);
	EXPECT(ac_twice, VTEST, 0, VEC_PF, P);
	EXPECT(ac_opened, VTEST, 0, VEC_PF, P);
	check_n("ac-opened", i, last.gpr[RAX], 0x1234);
	EXPECT(ac_called, VTEST, 0, VEC_PF, P);
	check_n("ac-called", i, last.gpr[RAX] << 16 | last.gpr[RCX], 0x12341234);
	check_n("ac-may-open", i, guard(ac_may_open, VTEST, 1), 0);
	EXPECT(ac_may_open, VTEST, 0, VEC_PF, P);
	check_n("ac-may-shut", i, guard(ac_may_shut, VTEST, 0), 0);
	EXPECT(ac_may_shut, VTEST, 1, VEC_PF, P);
	guard(ac_interrupted, VTEST, 0);
	check_n("ac-interrupted", i, last.gpr[RAX] | (hook_flags & FL_AC), 0x1234 | FL_AC);
	guard(ac_popped, VTEST, 0);
	check_n("ac-popped", i, last.gpr[RAX], 0x1234);
}

static void windows(void)
{
	u64 page = page_alloc();

	if (!(cpuid(7, 0).ebx & BIT(20))) {
		skip("windows", "no SMAP");
		return;
	}
	*(u64 *)page = 0x1234;
	map(VTEST, page, P | W | U);
	hooks[0x44] = on_int;
	guard(ac_flag, 0, 0);
	check("stac-without-smap", (last.gpr[RAX] & FL_AC) >> 8 | (last.gpr[RBX] & FL_AC), FL_AC >> 8);
	check("clac-without-smap", guard(ac_shut, VTEST, 0), 0);
	wr_cr4(rd_cr4() | CR4_SMAP);
	for (unsigned i = 0; i < 50; i++)
		round(i);
	EXPECT(ac_deep, VTEST, pages_alloc(128, 12) + 128 * 4096, VEC_PF, P);
	check("ac-deep", last.gpr[RAX], 0x1234);
	EXPECT_USER(u_stac, 0, 0, VEC_UD, 0);
	EXPECT_USER(u_clac, 0, 0, VEC_UD, 0);
	guard(ac_flag, 0, 0);
	check("ac-flag", (last.gpr[RAX] & FL_AC) >> 8 | (last.gpr[RBX] & FL_AC), FL_AC >> 8);
	wr_cr4(rd_cr4() & ~CR4_SMAP);
	check("smap-off-again", guard(ac_shut, VTEST, 0), 0);
	hooks[0x44] = NULL;
}

/* ---- SWAPGS and the bases ---- */

PIECE(swap, "swapgs; mov %gs:0,%rax; swapgs; mov %gs:0,%rbx");
PIECE(bases, "wrgsbase %rdi; rdgsbase %rax; mov %gs:0,%rbx; wrfsbase %rsi; rdfsbase %rcx; mov %fs:0,%rdx");
PIECE(bases_32, "mov $-1,%rax; wrgsbase %rdi; rdgsbase %eax; mov $-1,%rcx; wrgsbase %ecx; rdgsbase %rcx; wrgsbase %rdi");
PIECE(bases_rsp, "mov %rsp,%r8; mov %rdi,%rsp; wrgsbase %rsp; xor %esp,%esp; rdgsbase %rsp; mov %rsp,%rax; mov %r8,%rsp");
PIECE(bases_high, "mov %rdi,%r10; wrgsbase %r10; mov $1,%r15; rdgsbase %r15; mov %r15,%rax; wrfsbase %r15; rdfsbase %r11; mov %r11,%rbx");
SNIP_IP(bad_gs, "mov $0x800000000000,%rax", "wrgsbase %rax");
SNIP_IP(bad_fs, "mov $0x7fffffffffff,%rax; wrfsbase %rax; inc %rax", "wrfsbase %rax");
SNIP_IP(off_gs, "", "rdgsbase %rax");

PIECE(selectors,
	"mov %edi,%ds; mov %edi,%es; mov %edi,%ss; mov $-1,%rax; mov %cs,%eax; mov $-1,%r10; mov %ss,%r10; mov %r10,%rbx; mov $-1,%r15; mov %ds,%r15d;"
	"mov %r15,%rcx; mov $-1,%rdx; mov %es,%dx");

static void segment_bases(void)
{
	u64 a = page_alloc(), b = page_alloc();

	*(u64 *)a = 0x1111;
	*(u64 *)b = 0x2222;
	guard(selectors, KDATA, 0);
	check("selectors", last.gpr[RAX] == KCODE && last.gpr[RBX] == KDATA && last.gpr[RCX] == KDATA, 1);
	check("selector-16", last.gpr[RDX], 0xffffffffffff0000 | KDATA);
	wr_msr(MSR_GS_BASE, a);
	wr_msr(MSR_KERNEL_GS_BASE, b);
	for (unsigned i = 0; i < 3; i++) {
		guard(swap, 0, 0);
		check_n("swapgs", i, last.gpr[RAX] << 16 | last.gpr[RBX], 0x22221111);
	}
	check("swapgs-msr", rd_msr(MSR_GS_BASE) == a && rd_msr(MSR_KERNEL_GS_BASE) == b, 1);
	if (!(cpuid(7, 0).ebx & 1)) {
		skip("bases", "no FSGSBASE");
		return;
	}
	EXPECT(off_gs, 0, 0, VEC_UD, 0);
	wr_cr4(rd_cr4() | CR4_FSGSBASE);
	guard(bases, a, b);
	check("bases-read", last.gpr[RAX] == a && last.gpr[RCX] == b, 1);
	check("bases-used", last.gpr[RBX] << 16 | last.gpr[RDX], 0x11112222);
	guard(bases_32, a, 0);
	check("bases-32", last.gpr[RAX] == (u32)a && last.gpr[RCX] == 0xffffffff, 1);
	guard(bases_rsp, a, 0);
	check("bases-rsp", last.gpr[RAX], a);
	guard(bases_high, a, 0);
	check("bases-high", last.gpr[RAX] == a && last.gpr[RBX] == a, 1);
	EXPECT(bad_gs, 0, 0, VEC_GP, 0);
	EXPECT(bad_fs, 0, 0, VEC_GP, 0);
	check("bases-kept", rd_msr(MSR_FS_BASE), 0x7fffffffffff);
	wr_cr4(rd_cr4() & ~CR4_FSGSBASE);
	EXPECT(off_gs, 0, 0, VEC_UD, 0);
	wr_msr(MSR_GS_BASE, 0);
	wr_msr(MSR_FS_BASE, 0);
}

/* ---- RDTSC ---- */

enum { MSR_TSC = 0x10 };
#define MSR_TSC_AUX 0xc0000103u

#define CLOCKS "rdtsc; shl $32,%rdx; or %rdx,%rax; mov %rax,%rbx; rdtscp; shl $32,%rdx; or %rdx,%rax"
PIECE(clocks, CLOCKS);
SNIP(u_clocks, CLOCKS);
PIECE(clock_flags, "stc; rdtsc; setc %bl; movzbl %bl,%ebx; cmp %eax,%eax; rdtscp; sete %al; movzbl %al,%eax");

static void clock(void)
{
	u64 before = rdtsc();

	wr_msr(MSR_TSC_AUX, 0x12345678);
	for (unsigned i = 0; i < 3; i++) {
		guard(clocks, 0, 0);
		check_n("tsc-grows", i, last.gpr[RBX] >= before && last.gpr[RAX] >= last.gpr[RBX], 1);
		check_n("tsc-aux", i, last.gpr[RCX], 0x12345678);
		before = last.gpr[RAX];
		USER(u_clocks, 0, 0);
		check_n("tsc-user", i, last.gpr[RBX] >= before && last.gpr[RAX] >= last.gpr[RBX], 1);
		guard(clock_flags, 0, 0);
		check_n("tsc-keeps-flags", i, last.gpr[RAX] << 1 | last.gpr[RBX], 3);
	}
	wr_msr(MSR_TSC, 1ull << 40);
	guard(clocks, 0, 0);
	check("tsc-set", last.gpr[RBX] >> 40, 1);
	wr_msr(MSR_TSC, 0xfffffff0);
	guard(clocks, 0, 0);
	check("tsc-carries", last.gpr[RAX] > 0xfffffff0, 1);
}

const struct section sections[] = {
	{"flags", flags},
	{"windows", windows},
	{"bases", segment_bases},
	{"clock", clock},
	{0},
};
