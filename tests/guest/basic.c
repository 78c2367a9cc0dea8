/* SPDX-License-Identifier: MIT */
/* Exceptions, rings, system calls, IST stacks. */
#include "rt.h"

#define NONCANON 0x800000000000ull

SNIP_IP(de_div, "xor %eax,%eax; xor %edx,%edx; xor %ecx,%ecx", "div %rcx");
SNIP_IP(de_idiv32, "mov $0x80000000,%eax; cdq; mov $-1,%ecx", "idivl %ecx");
SNIP_IP(de_div8, "mov $0x1000,%eax; mov $1,%ecx", "divb %cl");
SNIP_IP(de_div16_mem, "mov $5,%eax; mov $9,%edx", "divw (%rdi)");
SNIP_IP(ud2, "", "ud2");
SNIP_IP(ud_lock_reg, "", ".byte 0xf0, 0x01, 0xc0");
SNIP_IP(ud_lock_mov, "", ".byte 0xf0, 0x89, 0x07");
SNIP_IP(ud_push_es, "", ".byte 0x06");
SNIP_IP(ud_into, "", ".byte 0xce");
SNIP_IP(ud_aaa, "", ".byte 0x37");
SNIP_IP(ud_lea_reg, "", ".byte 0x8d, 0xc0");
SNIP_IP(ud_far_ptr, "", ".byte 0xea, 0, 0, 0, 0, 0, 0");
SNIP_IP(ud_mov_cs, "", ".byte 0x8e, 0xc8");
SNIP_IP(ud_cr1, "", ".byte 0x0f, 0x20, 0xc8");
SNIP_IP(ud1, "", ".byte 0x0f, 0xb9, 0xc0");
SNIP_IP(gp_load, "movabs $0x800000000000,%rdi", "mov (%rdi),%rax");
SNIP_IP(gp_store, "movabs $0x8000000000000000,%rdi", "mov %rax,(%rdi)");
SNIP_IP(gp_rmw, "movabs $0xffff000000000000,%rdi", "addl $1,(%rdi)");
SNIP_IP(gp_edge, "movabs $0x7ffffffffffd,%rdi", "mov (%rdi),%rax");
SNIP_IP(ss_push, "mov %rsp,%rbp; movabs $0x900000000000,%rsp", "push %rax");
SNIP_IP(ss_rbp, "movabs $0x800000000000,%rbp", "mov (%rbp),%rax");
SNIP_IP(ss_call, "movabs $0x900000000000,%rsp", "call 1f; 1:");
SNIP_IP(ss_ret, "movabs $0x900000000000,%rsp", "ret");
SNIP_IP(gp_ret, "movabs $0x800000000000,%rax; push %rax", "ret");
SNIP_IP(gp_jmp, "movabs $0x800000000000,%rax", "jmp *%rax");
SNIP_IP(gp_call, "movabs $0x800000000000,%rax", "call *%rax");
SNIP_IP(gp_wrmsr_unknown, "mov $0x12345,%ecx; xor %eax,%eax; xor %edx,%edx", "wrmsr");
SNIP_IP(gp_rdmsr_unknown, "mov $0x12345,%ecx", "rdmsr");
SNIP_IP(gp_wrmsr_efer, "mov $0xc0000080,%ecx; xor %edx,%edx; mov $0x80000000,%eax", "wrmsr");
SNIP_IP(gp_wrmsr_lstar, "mov $0xc0000082,%ecx; mov $0x8000,%edx; xor %eax,%eax", "wrmsr");
SNIP_IP(gp_wrmsr_fsbase, "mov $0xc0000100,%ecx; mov $0x8000,%edx; xor %eax,%eax", "wrmsr");
SNIP_IP(gp_cr0, "mov %cr0,%rax; btr $0,%rax", "mov %rax,%cr0");
SNIP_IP(gp_cr0_high, "mov %cr0,%rax; bts $32,%rax", "mov %rax,%cr0");
SNIP_IP(gp_cr0_nw, "mov %cr0,%rax; bts $29,%rax", "mov %rax,%cr0");
SNIP_IP(gp_cr4_pae, "mov %cr4,%rax; btr $5,%rax", "mov %rax,%cr4");
SNIP_IP(gp_cr4_rsvd, "mov %cr4,%rax; bts $31,%rax", "mov %rax,%cr4");
SNIP_IP(gp_cr8, "mov $16,%eax", "mov %rax,%cr8");
SNIP_IP(gp_xsetbv, "xor %ecx,%ecx; xor %edx,%edx; xor %eax,%eax", "xsetbv");
SNIP_IP(gp_sel_limit, "mov $0x1000,%eax", "mov %ax,%ds");
SNIP_IP(gp_sel_ldt, "mov $0x14,%eax", "mov %ax,%es");
SNIP_IP(gp_sel_code, "mov $0x43,%eax", "mov %ax,%ds");
SNIP_IP(np_ds, "mov $0x50,%eax", "mov %ax,%ds");
SNIP_IP(np_fs, "mov $0x50,%eax", "mov %ax,%fs");
SNIP_IP(ss_np, "mov $0x50,%eax", "mov %ax,%ss");
SNIP_IP(gp_ss_rpl, "mov $0x2b,%eax", "mov %ax,%ss");
SNIP_IP(gp_ltr_busy, "mov $0x40,%eax", "ltr %ax");
SNIP_IP(gp_lldt_code, "mov $0x10,%eax", "lldt %ax");
SNIP_IP(np_lret, "pushq $0x78; lea 1f(%rip),%rax; push %rax", "lretq; 1:");
SNIP_IP(gp_lret_null, "pushq $0; lea 1f(%rip),%rax; push %rax", "lretq; 1:");
SNIP_IP(bp_int3, "", "int3");
SNIP_IP(int_55, "", "int $0x55");

static void exceptions(void)
{
	u64 zero = 1;

	EXPECT(de_div, 0, 0, VEC_DE, 0);
	EXPECT(de_idiv32, 0, 0, VEC_DE, 0);
	EXPECT(de_div8, 0, 0, VEC_DE, 0);
	EXPECT(de_div16_mem, (u64)&zero, 0, VEC_DE, 0);
	EXPECT(ud2, 0, 0, VEC_UD, 0);
	EXPECT(ud_lock_reg, 0, 0, VEC_UD, 0);
	EXPECT(ud_lock_mov, (u64)&zero, 0, VEC_UD, 0);
	EXPECT(ud_push_es, 0, 0, VEC_UD, 0);
	EXPECT(ud_into, 0, 0, VEC_UD, 0);
	EXPECT(ud_aaa, 0, 0, VEC_UD, 0);
	EXPECT(ud_lea_reg, 0, 0, VEC_UD, 0);
	EXPECT(ud_far_ptr, 0, 0, VEC_UD, 0);
	EXPECT(ud_mov_cs, 0, 0, VEC_UD, 0);
	EXPECT(ud_cr1, 0, 0, VEC_UD, 0);
	EXPECT(ud1, 0, 0, VEC_UD, 0);
	expect("bp_int3", bp_int3, 0, 0, (u64)bp_int3_ip + 1, VEC_BP, 0);
	expect("int_55", int_55, 0, 0, (u64)int_55_ip + 2, 0x55, 0);
	guard(ud2, 0, 0);
	check("fault-pushes-rf", last.rflags & (FL_RF | FL_IF | FL_TF), FL_RF);
	guard(bp_int3, 0, 0);
	check("trap-pushes-no-rf", last.rflags & (FL_RF | FL_IF | FL_TF), 0);
	check("frame-ss", last.ss, KDATA);
	check("frame-cs", last.cs, KCODE);
}

static void canonical(void)
{
	EXPECT(gp_load, 0, 0, VEC_GP, 0);
	EXPECT(gp_store, 0, 0, VEC_GP, 0);
	EXPECT(gp_rmw, 0, 0, VEC_GP, 0);
	EXPECT(gp_edge, 0, 0, VEC_GP, 0);
	EXPECT(ss_push, 0, 0, VEC_DF, 0);
	EXPECT(ss_rbp, 0, 0, VEC_SS, 0);
	/* With an unusable stack the #SS needs one of its own. */
	gate(VEC_SS, 0, 2);
	EXPECT(ss_push, 0, 0, VEC_SS, 0);
	EXPECT(ss_call, 0, 0, VEC_SS, 0);
	EXPECT(ss_ret, 0, 0, VEC_SS, 0);
	check("ist2-used", last.rsp, 0x900000000000);
	gate(VEC_SS, 0, 0);
	EXPECT(gp_ret, 0, 0, VEC_GP, 0);
	EXPECT(gp_jmp, 0, 0, VEC_GP, 0);
	EXPECT(gp_call, 0, 0, VEC_GP, 0);
}

static void system_registers(void)
{
	EXPECT(gp_wrmsr_unknown, 0, 0, VEC_GP, 0);
	EXPECT(gp_rdmsr_unknown, 0, 0, VEC_GP, 0);
	EXPECT(gp_wrmsr_efer, 0, 0, VEC_GP, 0);
	wr_msr(MSR_EFER, EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE);
	EXPECT(gp_wrmsr_lstar, 0, 0, VEC_GP, 0);
	EXPECT(gp_wrmsr_fsbase, 0, 0, VEC_GP, 0);
	if (is_tcg()) {
		skip("gp_cr0 and gp_cr4", "QEMU TCG accepts the values and dies");
	} else {
		EXPECT(gp_cr0, 0, 0, VEC_GP, 0);
		EXPECT(gp_cr0_high, 0, 0, VEC_GP, 0);
		EXPECT(gp_cr0_nw, 0, 0, VEC_GP, 0);
		EXPECT(gp_cr4_pae, 0, 0, VEC_GP, 0);
		EXPECT(gp_cr4_rsvd, 0, 0, VEC_GP, 0);
	}
	EXPECT(gp_cr8, 0, 0, VEC_GP, 0);
	if (rd_cr4() & CR4_OSXSAVE)
		EXPECT(gp_xsetbv, 0, 0, VEC_GP, 0);
}

static void selectors(void)
{
	EXPECT(gp_sel_limit, 0, 0, VEC_GP, 0x1000);
	EXPECT(gp_sel_ldt, 0, 0, VEC_GP, 0x14);
	EXPECT(gp_sel_code, 0, 0, VEC_GP, 0x40);
	EXPECT(np_ds, 0, 0, VEC_NP, 0x50);
	EXPECT(np_fs, 0, 0, VEC_NP, 0x50);
	EXPECT(ss_np, 0, 0, VEC_SS, 0x50);
	EXPECT(gp_ss_rpl, 0, 0, VEC_GP, 0x28);
	EXPECT(gp_ltr_busy, 0, 0, VEC_GP, 0x40);
	EXPECT(gp_lldt_code, 0, 0, VEC_GP, 0x10);
	EXPECT(np_lret, 0, 0, VEC_NP, 0x78);
	EXPECT(gp_lret_null, 0, 0, VEC_GP, 0);
	__asm__ volatile("mov %0, %%ds; mov %0, %%es" ::"r"(KDATA));
}

/* ---- page faults ---- */

SNIP_IP(pf_read, "", "mov (%rdi),%rax");
SNIP_IP(pf_write, "", "mov %rax,(%rdi)");
SNIP_IP(pf_rmw, "", "incq (%rdi)");
SNIP_IP(pf_locked, "", "lock xaddq %rax,(%rdi)");
SNIP_IP(pf_push, "", "pushq (%rdi)");
SNIP_IP(pf_fp, "", "fldl (%rdi)");
SNIP_IP(pf_sse, "", "movups (%rdi),%xmm0");
SNIP_IP(pf_stos, "", "stosq");
SNIP_IP(pf_cmpxchg, "", "cmpxchgl %ecx,(%rdi)");
SNIP_IP(pf_cmpxchg16b, "", "lock cmpxchg16b (%rdi)");
SNIP(call_rdi, "call *%rdi");
SNIP(just_ret, "nop");

static void pf(const char *name, void *fn, char *ip, u64 pte, u64 err)
{
	if (pte)
		map(VTEST, pte, 0);
	else
		unmap(VTEST);
	last_cr2 = 0;
	expect(name, fn, VTEST + 8, 0, (u64)ip, VEC_PF, err);
	check("  cr2", last_cr2, VTEST + 8);
}

static void page_faults(void)
{
	u64 page = page_alloc();

	pf("pf_read", pf_read, pf_read_ip, 0, 0);
	pf("pf_write", pf_write, pf_write_ip, 0, W);
	pf("pf_rmw", pf_rmw, pf_rmw_ip, 0, W);
	pf("pf_locked", pf_locked, pf_locked_ip, 0, W);
	pf("pf_push", pf_push, pf_push_ip, 0, 0);
	pf("pf_fp", pf_fp, pf_fp_ip, 0, 0);
	pf("pf_sse", pf_sse, pf_sse_ip, 0, 0);
	pf("pf_stos", pf_stos, pf_stos_ip, 0, W);
	pf("pf_cmpxchg", pf_cmpxchg, pf_cmpxchg_ip, 0, W);
	pf("pf_write_ro", pf_write, pf_write_ip, page | P, P | W);
	pf("pf_rmw_ro", pf_rmw, pf_rmw_ip, page | P, P | W);
	pf("pf_cmpxchg_ro", pf_cmpxchg, pf_cmpxchg_ip, page | P, P | W);
	pf("pf_rsvd", pf_read, pf_read_ip, page | P | W | BIT(51), P | PF_RSVD);
	map(VTEST, page, P | W);
	expect("pf_cmpxchg16b_unaligned", pf_cmpxchg16b, VTEST + 8, 0, (u64)pf_cmpxchg16b_ip, VEC_GP, 0);
	*(u8 *)page = 0xc3;
	check("exec-allowed", guard(call_rdi, VTEST, 0), false);
	map(VTEST, page, P | W | NX);
	expect("pf_exec_nx", call_rdi, VTEST, 0, VTEST, VEC_PF, P | PF_FETCH);
	check("  cr2", last_cr2, VTEST);
	unmap(VTEST);
	expect("pf_exec_np", call_rdi, VTEST, 0, VTEST, VEC_PF, PF_FETCH);
	expect("pf_exec_np_noncanon_top", call_rdi, VTEST + 0xfff, 0, VTEST + 0xfff, VEC_PF, PF_FETCH);
	check("  cr2", last_cr2, VTEST + 0xfff);
}

/* Each row is mapped at VTEST and touched from ring 3. */
static void page_faults_user(void)
{
	u64 page = page_alloc();

	unmap(VTEST);
	EXPECT_USER(pf_read, VTEST, 0, VEC_PF, U);
	EXPECT_USER(pf_write, VTEST, 0, VEC_PF, U | W);
	map(VTEST, page, P | W);
	EXPECT_USER(pf_read, VTEST, 0, VEC_PF, P | U);
	EXPECT_USER(pf_write, VTEST, 0, VEC_PF, P | U | W);
	EXPECT_USER(pf_rmw, VTEST, 0, VEC_PF, P | U | W);
	map(VTEST, page, P | U);
	EXPECT_USER(pf_write, VTEST, 0, VEC_PF, P | U | W);
	check("  cr2", last_cr2, VTEST);
	map(VTEST, page, P | W);
	user_at(VTEST, UCODE, 0x202, 0, 0);
	check("user-exec-supervisor", last.vec << 8 | last.err, VEC_PF << 8 | P | U | PF_FETCH);
	map(VTEST, page, P | W | U | NX);
	user_at(VTEST, UCODE, 0x202, 0, 0);
	check("user-exec-nx", last.vec << 8 | last.err, VEC_PF << 8 | P | U | PF_FETCH);
	check("user-exec-nx-rip", last.rip, VTEST);
	/* U must be set at every level. */
	map(VTEST, page, P | W | U);
	*pte_at(VTEST, 4) &= ~(u64)U;
	flush();
	EXPECT_USER(pf_read, VTEST, 0, VEC_PF, P | U);
	*pte_at(VTEST, 4) |= U;
	*pte_at(VTEST, 3) &= ~(u64)W;
	flush();
	EXPECT_USER(pf_write, VTEST, 0, VEC_PF, P | W | U);
	*pte_at(VTEST, 3) |= W;
	flush();
}

/* ---- ring 3 ---- */

SNIP_IP(u_hlt, "", "hlt");
SNIP_IP(u_cli, "", "cli");
SNIP_IP(u_sti, "", "sti");
SNIP_IP(u_in, "mov $0x60,%edx", "in (%dx),%al");
SNIP_IP(u_out, "", "out %al,$0x80");
SNIP_IP(u_rdmsr, "mov $0xc0000080,%ecx", "rdmsr");
SNIP_IP(u_cr3, "", "mov %cr3,%rax");
SNIP_IP(u_cr0_write, "", "mov %rax,%cr0");
SNIP_IP(u_dr7, "", "mov %dr7,%rax");
SNIP_IP(u_lgdt, "", "lgdt (%rsp)");
SNIP_IP(u_invlpg, "", "invlpg (%rsp)");
SNIP_IP(u_clts, "", "clts");
SNIP_IP(u_wbinvd, "", "wbinvd");
SNIP_IP(u_swapgs, "", "swapgs");
SNIP_IP(u_sysret, "", "sysretq");
SNIP_IP(u_int55, "", "int $0x55");
SNIP_IP(u_int3, "", "int3");
SNIP_IP(u_ltr, "", "ltr %ax");
SNIP_IP(u_lmsw, "", "lmsw %ax");
SNIP_IP(u_mov_kdata, "mov $0x18,%eax", "mov %ax,%ds");
SNIP_IP(u_iret_k, "mov %rsp,%rax; pushq $0x18; push %rax; pushfq; pushq $0x10; push %rax", "iretq");
SNIP_IP(u_xsetbv, "xor %ecx,%ecx", "xsetbv");
SNIP_IP(u_rdtsc, "", "rdtsc");
SNIP_IP(u_sgdt, "", "sgdt -64(%rsp)");
SNIP_IP(u_smsw, "", "smsw %eax");
SNIP_IP(u_str, "", "str %eax");
SNIP(u_popf, "pushfq; pop %rax; mov %rax,%rbx; xor $0x3200,%rbx; push %rbx; popfq; pushfq; pop %rcx");
SNIP(u_regs, "mov $1,%eax; mov $2,%ecx; mov $3,%edx; mov $4,%ebx; mov $5,%ebp; mov $6,%r8d; mov $7,%r14d");
SNIP_IP(u_ac, "pushfq; orl $0x40000,(%rsp); popfq", "mov 1(%rsp),%eax");

static void ring3(void)
{
	USER(u_regs, 8, 9);
	check("user-exit", last.vec, UEXIT);
	check("user-regs",
		last.gpr[RAX] | last.gpr[RCX] << 8 | last.gpr[RDX] << 16 | last.gpr[RBX] << 24 |
			last.gpr[RBP] << 32 | last.gpr[R8] << 40 | last.gpr[R14] << 48,
		0x07060504030201);
	check("user-args", last.gpr[RDI] << 8 | last.gpr[RSI], 0x809);
	check("user-cs-ss", last.cs << 16 | last.ss, UCODE << 16 | UDATA);
	check("user-if", last.rflags & FL_IF, FL_IF);
	check("user-rsp", last.rsp, USTACK - 64);
	EXPECT_USER(u_hlt, 0, 0, VEC_GP, 0);
	EXPECT_USER(u_cli, 0, 0, VEC_GP, 0);
	EXPECT_USER(u_sti, 0, 0, VEC_GP, 0);
	EXPECT_USER(u_in, 0, 0, VEC_GP, 0);
	EXPECT_USER(u_out, 0, 0, VEC_GP, 0);
	EXPECT_USER(u_rdmsr, 0, 0, VEC_GP, 0);
	EXPECT_USER(u_cr3, 0, 0, VEC_GP, 0);
	EXPECT_USER(u_cr0_write, 0, 0, VEC_GP, 0);
	EXPECT_USER(u_dr7, 0, 0, VEC_GP, 0);
	EXPECT_USER(u_lgdt, 0, 0, VEC_GP, 0);
	EXPECT_USER(u_invlpg, 0, 0, VEC_GP, 0);
	EXPECT_USER(u_clts, 0, 0, VEC_GP, 0);
	EXPECT_USER(u_wbinvd, 0, 0, VEC_GP, 0);
	EXPECT_USER(u_swapgs, 0, 0, VEC_GP, 0);
	EXPECT_USER(u_sysret, 0, 0, VEC_GP, 0);
	EXPECT_USER(u_ltr, 0, 0, VEC_GP, 0);
	EXPECT_USER(u_lmsw, 0, 0, VEC_GP, 0);
	if (rd_cr4() & CR4_OSXSAVE)
		EXPECT_USER(u_xsetbv, 0, 0, VEC_GP, 0);
	EXPECT_USER(u_mov_kdata, 0, 0, VEC_GP, 0x18);
	EXPECT_USER(u_iret_k, 0, 0, VEC_GP, 0x10);
	EXPECT_USER(u_int55, 0, 0, VEC_GP, 0x55 << 3 | 2);
	USER(u_int3, 0, 0);
	check("user-int3", last.vec << 32 | last.rip, (u64)VEC_BP << 32 | (UTEXT + 1));
	USER(u_popf, 0, 0);
	check("user-popf-keeps-if-iopl", last.gpr[RCX] & 0x3200, 0x200);
}

static void ring3_features(void)
{
	struct cpuid c7 = cpuid(7, 0);
	u64 cr4 = rd_cr4();

	USER(u_rdtsc, 0, 0);
	check("user-rdtsc", last.vec, UEXIT);
	wr_cr4(cr4 | CR4_TSD);
	EXPECT_USER(u_rdtsc, 0, 0, VEC_GP, 0);
	wr_cr4(cr4);
	USER(u_sgdt, 0, 0);
	check("user-sgdt", last.vec, UEXIT);
	if (c7.ecx & BIT(2)) {
		wr_cr4(cr4 | CR4_UMIP);
		EXPECT_USER(u_sgdt, 0, 0, VEC_GP, 0);
		EXPECT_USER(u_smsw, 0, 0, VEC_GP, 0);
		EXPECT_USER(u_str, 0, 0, VEC_GP, 0);
		wr_cr4(cr4);
	} else {
		skip("umip", "no CPUID bit");
	}
	wr_cr0(rd_cr0() | CR0_AM);
	EXPECT_USER(u_ac, 0, 0, VEC_AC, 0);
	wr_cr0(rd_cr0() & ~CR0_AM);
	USER(u_ac, 0, 0);
	check("user-no-ac-without-am", last.vec, UEXIT);
}

/* IOPL and the I/O bitmap end at the TSS limit here, so IOPL alone decides. */
static void iopl(void)
{
	memcpy((void *)(*pte_at(UTEXT, 1) & PTE_ADDR), "\xe6\x80\xfa\xfb\xcd\x80", 6);
	user_at(UTEXT, UCODE, 0x3202, 0, 0);
	check("iopl3-out-cli-sti", last.vec << 32 | last.rip, (u64)UEXIT << 32 | (UTEXT + 6));
	check("iopl3-flags", last.rflags & 0x3200, 0x3200);
}

/* ---- system calls ---- */

extern char syscall_entry[], sysenter_entry[], syscall_seen_end[];
u64 sys_rcx, sys_r11, sys_flags, sys_rsp, sys_count;
__asm__("syscall_entry:\n"
	"mov %rcx,sys_rcx(%rip); mov %r11,sys_r11(%rip); mov %rsp,sys_rsp(%rip)\n"
	"lea ist_stacks+8192(%rip),%rsp\n"
	"pushfq; popq sys_flags(%rip); incq sys_count(%rip)\n"
	"mov sys_rsp(%rip),%rsp; sysretq\n"
	"sysenter_entry:\n"
	"pushfq; popq sys_flags(%rip); mov %rsp,sys_rsp(%rip); incq sys_count(%rip)\n"
	"sysexitq\n");
SNIP_IP(u_syscall, "std; mov $0x77,%eax", "syscall; pushfq; pop %rbx; cld");
SNIP(u_syscall_loop, "mov $1000,%ebp; 1: syscall; dec %ebp; jnz 1b");
SNIP_IP(u_sysenter, "mov %rsp,%rcx; lea 1f(%rip),%rdx", "sysenter; 1: nop");
SNIP_IP(k_syscall, "", "syscall");
SNIP_IP(sysret_noncanon, "movabs $0x800000000000,%rcx; mov $2,%r11d; mov %rsp,%rbp", "sysretq");

static void syscalls(void)
{
	wr_msr(MSR_STAR, (u64)0x23 << 48 | (u64)KCODE << 32);
	wr_msr(MSR_LSTAR, (u64)syscall_entry);
	wr_msr(MSR_SFMASK, FL_IF | FL_DF | FL_TF);
	sys_count = 0;
	USER(u_syscall, 0, 0);
	check("syscall-back", last.vec, UEXIT);
	check("syscall-rcx", sys_rcx, UTEXT + (u_syscall_ip - u_syscall) + 2);
	check("syscall-r11", sys_r11 & 0x700, 0x600);
	check("syscall-masked-flags", sys_flags & 0x700, 0);
	check("syscall-rsp-kept", sys_rsp, USTACK - 64);
	check("sysret-flags", last.gpr[RBX] & 0x700, 0x600);
	check("sysret-cs-ss", last.cs << 16 | last.ss, UCODE << 16 | UDATA);
	check("syscall-rax-kept", last.gpr[RAX], 0x77);
	sys_count = 0;
	USER(u_syscall_loop, 0, 0);
	check("syscall-1000", sys_count, 1000);
	wr_msr(MSR_EFER, rd_msr(MSR_EFER) & ~EFER_SCE);
	EXPECT_USER(u_syscall, 0, 0, VEC_UD, 0);
	wr_msr(MSR_EFER, rd_msr(MSR_EFER) | EFER_SCE);
	if (is_intel())
		EXPECT(sysret_noncanon, 0, 0, VEC_GP, 0);
}

static void sysenter(void)
{
	wr_msr(MSR_SYSENTER_CS, KCODE);
	wr_msr(MSR_SYSENTER_ESP, (u64)ist_stacks[3]);
	wr_msr(MSR_SYSENTER_EIP, (u64)sysenter_entry);
	check("sysenter-msrs", rd_msr(MSR_SYSENTER_CS) + rd_msr(MSR_SYSENTER_ESP) + rd_msr(MSR_SYSENTER_EIP),
		KCODE + (u64)ist_stacks[3] + (u64)sysenter_entry);
	USER(u_sysenter, 0, 0);
	/* AMD's processors refuse it in long mode; an engine may offer it all the same. */
	if (!is_intel() && last.vec == VEC_UD) {
		check("sysenter-ud-rip", last.rip, UTEXT + (u_sysenter_ip - u_sysenter));
		return;
	}
	sys_count = 0;
	USER(u_sysenter, 0, 0);
	check("sysenter-count", sys_count, 1);
	check("sysenter-rsp", sys_rsp, (u64)ist_stacks[3]);
	check("sysenter-clears-if", sys_flags & FL_IF, 0);
	check("sysexit-back", last.vec << 16 | last.cs, UEXIT << 16 | UCODE);
	wr_msr(MSR_SYSENTER_CS, 0);
	EXPECT_USER(u_sysenter, 0, 0, VEC_GP, 0);
}

/* ---- segments and swapgs ---- */

SNIP(u_gs_read, "mov %gs:0,%rax; mov %fs:8,%rbx");
SNIP(u_fsgsbase,
	"wrfsbase %rdi; wrgsbase %rsi; rdfsbase %rax; rdgsbase %rcx; mov %fs:0,%rdx; mov %gs:8,%rbx");

static void segment_bases(void)
{
	u64 page = page_alloc(), got;
	u64 *q = (u64 *)page;

	q[0] = 0x1111;
	q[1] = 0x2222;
	map(VTEST, page, P | W | U);
	wr_msr(MSR_GS_BASE, VTEST);
	wr_msr(MSR_KERNEL_GS_BASE, 0x5000);
	__asm__ volatile("mov %%gs:8, %0" : "=r"(got)::"memory");
	check("gs-base-kernel", got, 0x2222);
	__asm__ volatile("swapgs");
	check("swapgs-gs", rd_msr(MSR_GS_BASE), 0x5000);
	check("swapgs-kernel", rd_msr(MSR_KERNEL_GS_BASE), VTEST);
	__asm__ volatile("swapgs");
	wr_msr(MSR_FS_BASE, VTEST);
	USER(u_gs_read, 0, 0);
	check("gs-fs-user", last.gpr[RAX] << 16 | last.gpr[RBX], 0x11112222);
	__asm__ volatile("mov %0, %%gs" ::"r"(UDATA));
	check("load-gs-clears-base", rd_msr(MSR_GS_BASE), 0);
	if (cpuid(7, 0).ebx & 1) {
		wr_cr4(rd_cr4() | CR4_FSGSBASE);
		USER(u_fsgsbase, VTEST + 8, VTEST);
		check("fsgsbase", last.gpr[RDX] << 16 | last.gpr[RBX], 0x22222222);
		check("rdfsgsbase", last.gpr[RAX] - last.gpr[RCX], 8);
		wr_cr4(rd_cr4() & ~CR4_FSGSBASE);
		USER(u_fsgsbase, 0, 0);
		check("fsgsbase-off", last.vec, VEC_UD);
	}
	wr_msr(MSR_GS_BASE, 0);
	wr_msr(MSR_FS_BASE, 0);
}

/* ---- nested and stack faults ---- */

SNIP_IP(bad_stack, "movabs $0x8000ff0000,%rsp", "ud2");
static u64 nest_depth, nest_cr2;

static bool nested_hook(struct frame *f)
{
	struct frame mine = *f;

	if (nest_depth++ < 5) {
		guard(ud2, 0, 0);
		check_n("nested-vector", nest_depth, last.vec, VEC_UD);
	}
	(void)mine;
	f->rip += 2;
	return true;
}

static bool pf_hook(struct frame *f)
{
	nest_cr2 = rd_cr2();
	map(ALIGN_DOWN(nest_cr2, PAGE_SIZE), page_alloc(), P | W);
	return f->vec == VEC_PF;
}

static void nesting(void)
{
	u64 v;

	/* An unmapped stack: #UD cannot be delivered, #PF cannot either, so #DF on its IST. */
	EXPECT(bad_stack, 0, 0, VEC_DF, 0);
	check("df-rsp", last.rsp, 0x8000ff0000);
	check("df-cr2", last_cr2, 0x8000ff0000 - 8);
	/* The same with #UD on an IST works. */
	gate(VEC_UD, 0, 3);
	EXPECT(bad_stack, 0, 0, VEC_UD, 0);
	gate(VEC_UD, 0, 0);
	/* #PF on an IST while delivering #UD: the page fault wins (contributory on benign). */
	gate(VEC_PF, 0, 4);
	expect("pf-while-ud", bad_stack, 0, 0, (u64)bad_stack_ip, VEC_PF, W);
	gate(VEC_PF, 0, 0);
	hooks[0x60] = nested_hook;
	nest_depth = 0;
	hooks[VEC_PF] = pf_hook;
	unmap(VTEST + 0x5000);
	v = 7;
	*(volatile u64 *)(VTEST + 0x5010) = v;
	check("demand-map", nest_cr2, VTEST + 0x5010);
	check("demand-map-value", *(volatile u64 *)(VTEST + 0x5010), 7);
	hooks[VEC_PF] = NULL;
	hooks[0x60] = NULL;
}

SNIP_IP(int_56, "", "int $0x56");

static void idt_faults(void)
{
	gate_absent(0x56);
	EXPECT(int_56, 0, 0, VEC_NP, 0x56 << 3 | 2);
	gate(0x56, 0, 0);
	expect("int_56-again", int_56, 0, 0, (u64)int_56_ip + 2, 0x56, 0);
}

SNIP_IP(iret_bad_cs,
	"mov %rsp,%rax; pushq $0x18; push %rax; pushfq; pushq $0x18; lea 1f(%rip),%rax; push %rax",
	"iretq; 1:");
SNIP_IP(iret_noncanon,
	"mov %rsp,%rcx; pushq $0x18; push %rcx; pushfq; pushq $0x10; movabs $0x800000000000,%rax; push %rax",
	"iretq");
SNIP(iret_same, "mov %rsp,%rax; pushq $0x18; push %rax; pushfq; pushq $0x10; lea 1f(%rip),%rcx; push %rcx; "
		"iretq; 1:");
SNIP(iret_null_ss, "mov %rsp,%rax; pushq $0; push %rax; pushfq; pushq $0x10; lea 1f(%rip),%rcx; push %rcx; "
		   "iretq; 1: mov $0x18,%eax; mov %ax,%ss");

static void irets(void)
{
	EXPECT(iret_bad_cs, 0, 0, VEC_GP, 0x18);
	EXPECT(iret_noncanon, 0, 0, VEC_GP, 0);
	check("iret-same-ring", guard(iret_same, 0, 0), false);
	check("iret-null-ss", guard(iret_null_ss, 0, 0), false);
}

static void cpuid_msrs(void)
{
	u64 a, b;

	check("cpuid-lm", cpuid(0x80000001, 0).edx >> 29 & 1, 1);
	check("cpuid-apic-id", cpuid(1, 0).ebx >> 24, 0);
	check("cpuid-osxsave", cpuid(1, 0).ecx >> 27 & 1, rd_cr4() >> 18 & 1);
	a = rdtsc();
	b = rdtsc();
	check("tsc-moves", b > a, true);
	wr_msr(MSR_TSC_AUX, 0x1234);
	__asm__ volatile("rdtscp; mov %%ecx, %%eax" : "=a"(a)::"rcx", "rdx");
	check("rdtscp-aux", (u32)a, 0x1234);
	wr_msr(MSR_TSC_AUX, 0);
	check("apic-base", rd_msr(MSR_APIC_BASE) & ~0x400ull, 0xfee00900);
	check("efer", rd_msr(MSR_EFER), EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE);
}

const struct section sections[] = {
	{"exceptions", exceptions},
	{"canonical", canonical},
	{"system", system_registers},
	{"selectors", selectors},
	{"page_faults", page_faults},
	{"page_faults_user", page_faults_user},
	{"ring3", ring3},
	{"ring3_features", ring3_features},
	{"iopl", iopl},
	{"syscalls", syscalls},
	{"sysenter", sysenter},
	{"segment_bases", segment_bases},
	{"nesting", nesting},
	{"idt", idt_faults},
	{"irets", irets},
	{"cpuid", cpuid_msrs},
	{NULL, NULL},
};
