/* SPDX-License-Identifier: MIT */
/* Single-step, breakpoints, the debug registers. */
#include "rt.h"

static u64 steps[64], step_dr6[64], step_cs[64];
static int n_steps;

static inline u64 rd_dr6(void)
{
	u64 v;
	__asm__ volatile("mov %%dr6, %0" : "=r"(v));
	return v;
}
static inline u64 rd_dr7(void)
{
	u64 v;
	__asm__ volatile("mov %%dr7, %0" : "=r"(v));
	return v;
}
static inline void wr_dr6(u64 v)
{
	__asm__ volatile("mov %0, %%dr6" ::"r"(v));
}
static inline void wr_dr7(u64 v)
{
	__asm__ volatile("mov %0, %%dr7" ::"r"(v));
}
static inline void wr_dr0(u64 v)
{
	__asm__ volatile("mov %0, %%dr0" ::"r"(v));
}
static inline void wr_dr1(u64 v)
{
	__asm__ volatile("mov %0, %%dr1" ::"r"(v));
}

static bool on_db(struct frame *f)
{
	if (n_steps < 64) {
		steps[n_steps] = f->rip;
		step_cs[n_steps] = f->cs;
		step_dr6[n_steps++] = rd_dr6();
	}
	wr_dr6(0xffff0ff0);
	if (n_steps >= 64)
		f->rflags &= ~(u64)FL_TF;
	/* An instruction breakpoint faults again unless RF lets it by. */
	f->rflags |= FL_RF;
	return true;
}

/* Steps from the label NAME_0; the labels NAME_1.. are where #DB is to be seen. */
#define TF_ON "pushfq; orl $0x100,(%rsp); popfq\n"
#define TF_OFF "pushfq; andl $~0x100,(%rsp); popfq\n"

SNIP(s_mov, TF_ON "mov $1,%eax\n s_mov_1: .global s_mov_1\n nop\n s_mov_2: .global s_mov_2\n" TF_OFF);
SNIP(s_rep, "mov %rsp,%rsi; mov %rsp,%rdi; mov $3,%ecx\n" TF_ON
	    "s_rep_0: .global s_rep_0\n rep movsb\n s_rep_1: .global s_rep_1\n" TF_OFF);
SNIP(s_jcc, "xor %eax,%eax\n" TF_ON
	    "test %eax,%eax\n s_jcc_1: .global s_jcc_1\n jz 1f\n nop\n 1: s_jcc_2: .global s_jcc_2\n jnz 1b\n"
	    "s_jcc_3: .global s_jcc_3\n" TF_OFF);
SNIP(s_call, TF_ON "call 2f\n s_call_2: .global s_call_2\n jmp 3f\n 2: s_call_1: .global s_call_1\n ret\n 3: "
		   "s_call_3: .global s_call_3\n" TF_OFF);
SNIP(s_pushf, TF_ON "pushfq\n pop %rax\n" TF_OFF "mov %rax,(%rdi)");
SNIP(s_popf, TF_ON "pushfq\n pushfq\n s_popf_2: .global s_popf_2\n andl $~0x100,(%rsp)\n s_popf_3: .global "
		   "s_popf_3\n popfq\n nop\n nop\n popfq; "
		   "pushfq; andl $~0x100,(%rsp); popfq");
SNIP(s_movss,
	"mov $0x18,%eax\n" TF_ON
	"mov %ax,%ss\n s_movss_0: .global s_movss_0\n nop\n s_movss_1: .global s_movss_1\n nop\n" TF_OFF);
SNIP(s_int3, TF_ON "int3\n s_int3_1: .global s_int3_1\n nop\n" TF_OFF);
SNIP(s_iret, "mov %rsp,%rax; pushq $0x18; push %rax; pushfq; orl $0x100,(%rsp); pushq $0x10; lea "
	     "1f(%rip),%rcx; push %rcx\n"
	     "iretq\n 1: nop\n s_iret_1: .global s_iret_1\n nop\n" TF_OFF);
SNIP(s_loop, "mov $3,%ecx\n" TF_ON
	     "1: s_loop_0: .global s_loop_0\n loop 1b\n s_loop_1: .global s_loop_1\n" TF_OFF);
SNIP(s_fault, TF_ON "mov (%rdi),%rax\n s_fault_1: .global s_fault_1\n nop\n" TF_OFF);
SNIP(s_cpuid, "xor %eax,%eax\n" TF_ON
	      "cpuid\n s_cpuid_1: .global s_cpuid_1\n rdtsc\n s_cpuid_2: .global s_cpuid_2\n mov %cr0,%rax\n"
	      "s_cpuid_3: .global s_cpuid_3\n" TF_OFF);
SNIP(s_sse, TF_ON "movups %xmm0,(%rdi)\n s_sse_1: .global s_sse_1\n xorps %xmm0,%xmm0\n s_sse_2: .global "
		  "s_sse_2\n" TF_OFF);

extern char s_mov_1[], s_mov_2[], s_rep_0[], s_rep_1[], s_jcc_1[], s_jcc_2[], s_jcc_3[], s_call_1[],
	s_call_2[], s_call_3[], s_popf_2[], s_popf_3[], s_movss_0[], s_movss_1[], s_int3_1[], s_iret_1[],
	s_loop_0[], s_loop_1[], s_fault_1[], s_cpuid_1[], s_cpuid_2[], s_cpuid_3[], s_sse_1[], s_sse_2[];

/* Runs fn with the recorder on; guard() must not take #DB, so it is called directly. */
static void trace(void *fn, u64 arg)
{
	hooks[VEC_DB] = on_db;
	n_steps = 0;
	wr_dr6(0xffff0ff0);
	__asm__ volatile("push %%rbx; call *%1; pop %%rbx"
			 : "+D"(arg)
			 : "r"(fn)
			 : "rax", "rcx", "rdx", "rsi", "memory", "cc");
}

static void step_is(const char *name, int i, void *want)
{
	check_n(name, i, i < n_steps ? steps[i] : 0, (u64)want);
}

static bool skip_int3(struct frame *f)
{
	(void)f;
	return true;
}

static bool map_it(struct frame *f)
{
	(void)f;
	map(VTEST, page_alloc(), P | W);
	return true;
}

static void single_step(void)
{
	u64 flags, space[4];

	trace(s_mov, 0);
	step_is("step-mov", 0, s_mov_1);
	step_is("step-mov", 1, s_mov_2);
	check("step-dr6", step_dr6[0], 0xffff4ff0);
	check("step-mov-count", n_steps, 5);
	trace(s_rep, 0);
	step_is("step-rep", 0, s_rep_0);
	step_is("step-rep", 1, s_rep_0);
	step_is("step-rep", 2, s_rep_1);
	trace(s_jcc, 0);
	step_is("step-jcc", 0, s_jcc_1);
	step_is("step-jcc", 1, s_jcc_2);
	step_is("step-jcc", 2, s_jcc_3);
	trace(s_call, 0);
	step_is("step-call", 0, s_call_1);
	step_is("step-call", 1, s_call_2);
	step_is("step-call", 2, s_call_3);
	trace(s_pushf, (u64)&flags);
	check("pushf-shows-tf", flags & FL_TF, FL_TF);
	trace(s_popf, 0);
	step_is("step-popf", 1, s_popf_2);
	step_is("step-popf", 2, s_popf_3);
	trace(s_movss, 0);
	step_is("step-mov-ss", 0, s_movss_1);
	trace(s_iret, 0);
	step_is("step-iret", 0, s_iret_1);
	trace(s_loop, 0);
	step_is("step-loop", 0, s_loop_0);
	step_is("step-loop", 1, s_loop_0);
	step_is("step-loop", 2, s_loop_1);
	trace(s_cpuid, 0);
	step_is("step-cpuid", 0, s_cpuid_1);
	step_is("step-rdtsc", 1, s_cpuid_2);
	step_is("step-mov-cr", 2, s_cpuid_3);
	trace(s_sse, (u64)space);
	step_is("step-sse", 0, s_sse_1);
	step_is("step-sse", 1, s_sse_2);
	/* Traps on the way: their handlers run with TF clear and the step comes after. */
	hooks[VEC_BP] = skip_int3;
	trace(s_int3, 0);
	hooks[VEC_BP] = NULL;
	step_is("step-int3", n_steps - 4, s_int3_1 + 1);
	unmap(VTEST);
	hooks[VEC_PF] = map_it;
	trace(s_fault, VTEST);
	hooks[VEC_PF] = NULL;
	step_is("step-fault", 0, s_fault_1);
	step_is("step-fault", 1, s_fault_1 + 1);
}

SNIP(u_steps, "nop; nop; mov $7,%eax");

static void ring3_steps(void)
{
	hooks[VEC_DB] = on_db;
	n_steps = 0;
	memcpy((void *)(*pte_at(UTEXT, 1) & PTE_ADDR), "\x90\x90\xb8\x07\x00\x00\x00\xcd\x80", 9);
	user_at(UTEXT, UCODE, 0x302, 0, 0);
	check("ring3-end", last.vec, UEXIT);
	check("ring3-tf-saved", last.rflags & FL_TF, FL_TF);
	step_is("ring3-step", 0, (void *)(UTEXT + 1));
	step_is("ring3-step", 1, (void *)(UTEXT + 2));
	step_is("ring3-step", 2, (void *)(UTEXT + 7));
	check("ring3-steps", n_steps, 3);
	check("ring3-step-cs", step_cs[0], UCODE);
}

extern char dbg_syscall[];
__asm__("dbg_syscall: nop; nop; sysretq");

static void syscall_steps(void)
{
	int i, in_kernel = 0;

	wr_msr(MSR_STAR, (u64)0x23 << 48 | (u64)KCODE << 32);
	wr_msr(MSR_LSTAR, (u64)dbg_syscall);
	wr_msr(MSR_SFMASK, FL_IF | FL_DF | FL_TF);
	n_steps = 0;
	memcpy((void *)(*pte_at(UTEXT, 1) & PTE_ADDR), "\x90\x0f\x05\x90\x90\xcd\x80", 7);
	user_at(UTEXT, UCODE, 0x302, 0, 0);
	check("syscall-tf-end", last.vec, UEXIT);
	for (i = 0; i < n_steps; i++)
		in_kernel += step_cs[i] == KCODE;
	check("syscall-tf-not-in-kernel", in_kernel, 0);
	check("syscall-tf-last", n_steps ? steps[n_steps - 1] : 0, UTEXT + 5);
}

/* ---- breakpoints ---- */

SNIP(bp_code, "mov $1,%eax\n bp_at: .global bp_at\n mov $2,%eax\n bp_at2: .global bp_at2\n mov $3,%eax");
SNIP(wp_code, "mov (%rdi),%rax\n wp_1: .global wp_1\n mov %rax,(%rdi)\n wp_2: .global wp_2\n mov "
	      "%al,8(%rdi)\n nop");
extern char bp_at[], bp_at2[], wp_1[], wp_2[];

static void breakpoints(void)
{
	u64 r;

	trace(s_mov, 0);
	wr_dr0((u64)bp_at);
	wr_dr1((u64)bp_at2);
	wr_dr7(0x400 | 1 | 4);
	n_steps = 0;
	__asm__ volatile("call *%1" : "=a"(r) : "r"(bp_code) : "memory");
	wr_dr7(0x400);
	check("exec-bp-count", n_steps, 2);
	step_is("exec-bp", 0, bp_at);
	step_is("exec-bp", 1, bp_at2);
	check("exec-bp-dr6", step_dr6[0], 0xffff0ff1);
	check("exec-bp-dr6-1", step_dr6[1], 0xffff0ff2);
	check("exec-bp-goes-on", r, 3);
	n_steps = 0;
	__asm__ volatile("call *%1" : "=a"(r) : "r"(bp_code) : "memory");
	check("exec-bp-off", n_steps, 0);
	wr_dr7(0x401);
	__asm__ volatile("call *%1" : "=a"(r) : "r"(bp_code) : "memory");
	check("exec-bp-on-again", n_steps, 1);
	wr_dr7(0x400);
}

static void watchpoints(void)
{
	u64 cell[4] __attribute__((aligned(16))) = {1, 2, 3, 4};

	wr_dr0((u64)cell);
	wr_dr7(0x400 | 1 | 1 << 16 | 2 << 18); /* write, 8 bytes */
	n_steps = 0;
	trace(wp_code, (u64)cell);
	check("watch-write-count", n_steps, 1);
	step_is("watch-write", 0, wp_2);
	check("watch-write-dr6", step_dr6[0], 0xffff0ff1);
	wr_dr7(0x400 | 1 | 3 << 16 | 2 << 18); /* read or write */
	trace(wp_code, (u64)cell);
	check("watch-rw-count", n_steps, 2);
	step_is("watch-rw", 0, wp_1);
	wr_dr7(0x400);
	trace(wp_code, (u64)cell);
	check("watch-off", n_steps, 0);
}

SNIP_IP(dr4_read, "", "mov %dr4,%rax");
SNIP_IP(dr6_high, "mov $1,%eax; shl $32,%rax", "mov %rax,%dr6");
SNIP_IP(gd_read, "mov $0x2400,%eax; mov %rax,%dr7", "mov %dr0,%rax");
SNIP_IP(icebp, "", ".byte 0xf1");

static void registers(void)
{
	u64 v;

	hooks[VEC_DB] = NULL;
	wr_dr6(0);
	check("dr6-fixed-bits", rd_dr6(), 0xffff0ff0);
	wr_dr7(0);
	check("dr7-fixed-bits", rd_dr7(), 0x400);
	wr_dr0(0x123456789abcdef0);
	__asm__ volatile("mov %%dr0, %0" : "=r"(v));
	check("dr0-64-bits", v, 0x123456789abcdef0);
	check("dr4-is-dr6", guard(dr4_read, 0, 0), false);
	wr_cr4(rd_cr4() | CR4_DE);
	EXPECT(dr4_read, 0, 0, VEC_UD, 0);
	wr_cr4(rd_cr4() & ~CR4_DE);
	EXPECT(dr6_high, 0, 0, VEC_GP, 0);
	EXPECT(gd_read, 0, 0, VEC_DB, 0);
	check("gd-dr6", rd_dr6() & 0x2000, 0x2000);
	check("gd-cleared", rd_dr7() & 0x2000, 0);
	wr_dr6(0xffff0ff0);
	expect("icebp", icebp, 0, 0, (u64)icebp_ip + 1, VEC_DB, 0);
	check("icebp-dr6", rd_dr6(), 0xffff0ff0);
}

const struct section sections[] = {
	{"single_step", single_step},
	{"ring3", ring3_steps},
	{"syscall", syscall_steps},
	{"breakpoints", breakpoints},
	{"watchpoints", watchpoints},
	{"registers", registers},
	{NULL, NULL},
};
