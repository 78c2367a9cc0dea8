/* SPDX-License-Identifier: MIT */
/* 32-bit code in compatibility mode, in ring 3 and in ring 0. */
#include "rt.h"

#define CODE LOW_WINDOW
#define DATA (LOW_WINDOW + 0x4000)
#define STACK (LOW_WINDOW + 0x3f00)

#define SNIP32(name, text) SNIP(name, ".code32\n" text "\n.code64")

static u8 *data;
static bool in_ring0;

/* Runs [from, to) as 32-bit code with ebx = DATA; ends with int $UEXIT or a trap. */
static void run32_cs(const void *from, const void *to, u64 cs)
{
	static const u8 tail[] = {0xcd, UEXIT};
	u64 n = (u64)to - (u64)from;
	u64 seg = in_ring0 ? KDATA : UDATA;
	u8 *code = (u8 *)(*pte_at(CODE, 1) & PTE_ADDR);
	struct frame f = {.rip = CODE, .cs = cs, .rflags = 0x202, .rsp = STACK, .ss = seg};

	memcpy(code, from, n);
	memcpy(code + n, tail, sizeof(tail));
	f.gpr[RAX] = 0x1122334455667788;
	f.gpr[RBX] = DATA;
	f.gpr[RCX] = 0xffffffff00000003;
	f.gpr[RBP] = STACK - 0x40;
	f.gpr[RSI] = DATA + 0x100;
	f.gpr[RDI] = DATA + 0x200;
	f.rflags = in_ring0 ? 2 : 0x202;
	__asm__ volatile("mov %0, %%ds; mov %0, %%es" ::"r"((u64)UDATA));
	guard(enter, (u64)&f, 0);
	__asm__ volatile("mov %0, %%ds; mov %0, %%es" ::"r"((u64)KDATA));
}

static void run32(const void *from, const void *to)
{
	run32_cs(from, to, in_ring0 ? KCODE32 : UCODE32);
}

#define RUN(name) run32(name, name##_end)
#define EAX ((u32)last.gpr[RAX])

static void set_up(void)
{
	int i;

	for (i = 0; i < 5; i++)
		map(LOW_WINDOW + i * PAGE_SIZE, page_alloc(), P | W | U);
	map(LOW_WINDOW + 5 * PAGE_SIZE, 0, 0);
	data = (u8 *)(*pte_at(DATA, 1) & PTE_ADDR);
}

/* Name, code, expected eax; every row runs in ring 3 and in ring 0. */
SNIP32(c_inc, "mov $0xffffffff,%eax; .byte 0x40; .byte 0x40; .byte 0x48");
SNIP32(c_incw, "mov $0x1ffff,%eax; .byte 0x66,0x40");
SNIP32(c_inc_keeps_cf, "mov $0x7f,%eax; stc; inc %eax; sbb %eax,%eax");
SNIP32(c_push_pop, "push $0x1234; push $-1; pop %ecx; pop %eax; add %ecx,%eax");
SNIP32(c_push_size, "mov %esp,%eax; push %eax; sub %esp,%eax; push %ax; pop %cx; pop %ecx");
SNIP32(c_pusha, "mov $1,%eax; mov $2,%ecx; mov $4,%edx; pusha; xor %eax,%eax; xor %ecx,%ecx; xor %edx,%edx; "
		"popa; add %ecx,%eax; add %edx,%eax");
SNIP32(c_pusha_esp, "mov %esp,%eax; pusha; sub 12(%esp),%eax; add $32,%esp");
SNIP32(c_daa, "mov $0x38,%al; add $0x45,%al; daa; movzx %al,%eax");
SNIP32(c_das, "mov $0x35,%al; sub $0x47,%al; das; movzx %al,%eax");
SNIP32(c_aaa, "mov $0x0008,%ax; add $0x09,%al; aaa; movzx %ax,%eax");
SNIP32(c_aas, "mov $0x0203,%ax; sub $0x08,%al; aas; movzx %ax,%eax");
SNIP32(c_aam, "mov $0x3f,%eax; aam; movzx %ax,%eax");
SNIP32(c_aad, "mov $0x0607,%eax; aad; movzx %ax,%eax");
SNIP32(c_salc, "stc; .byte 0xd6; movzx %al,%eax");
SNIP32(c_les, "movl $0x12345678,(%ebx); movw $0x2b,4(%ebx); les (%ebx),%eax; mov %es,%ecx; add %ecx,%eax");
SNIP32(c_seg, "push %ds; pop %eax; mov %ss,%ecx; push %es; push %cs; pop %ecx; pop %es; add %ecx,%eax; sub "
	      "%ecx,%eax");
SNIP32(c_arpl, "mov $0x10,%eax; mov $3,%ecx; arpl %cx,%ax; movzx %ax,%eax");
SNIP32(c_call, "call 1f; jmp 2f; 1: mov $77,%eax; ret; 2:");
SNIP32(c_call_pc, "call 1f; 1: pop %eax");
SNIP32(c_ret_imm, "mov %esp,%ecx; push $5; call 1f; jmp 2f; 1: mov 4(%esp),%eax; ret $4; 2: sub %esp,%ecx; "
		  "add %ecx,%eax");
SNIP32(c_loop, "mov $10,%ecx; xor %eax,%eax; 1: add %ecx,%eax; loop 1b");
SNIP32(c_jecxz, "xor %ecx,%ecx; mov $1,%eax; jecxz 1f; mov $2,%eax; 1:");
SNIP32(c_jcxz16, "mov $0x10000,%ecx; mov $1,%eax; jcxz 1f; mov $2,%eax; 1:");
SNIP32(c_addr16, "mov $0x12340000,%eax; .byte 0x67,0x8d,0x46,0x10; sub %esi,%eax; mov %esi,%ecx; and "
		 "$0xffff0000,%ecx; add %ecx,%eax");
SNIP32(c_lea_wrap, "mov $0xffffffff,%ecx; lea 2(%ecx,%ecx),%eax");
SNIP32(c_upper, "mov $0x80000000,%eax; add %eax,%eax; adc $0,%eax");
SNIP32(c_string, "cld; mov $4,%ecx; mov $0x61,%al; rep stosb; mov $4,%ecx; sub $4,%edi; mov %edi,%esi; lea "
		 "8(%edi),%edi; rep movsb; mov -4(%edi),%eax");
SNIP32(c_moffs, "movl $0x600d,0x60004010; .byte 0xa1; .long 0x60004010");
SNIP32(c_abs, "movl $0x99,0x60004020; mov %ds:0x60004020,%eax");
SNIP32(c_enter, "mov %esp,%ecx; enter $16,$0; mov %esp,%eax; leave; sub %esp,%ecx; sub %ebp,%eax; mov "
		"$0x2c,%eax; add %ecx,%eax");
SNIP32(c_xlat, "movb $0x5c,7(%ebx); mov $7,%eax; xlat; movzx %al,%eax");
SNIP32(c_sse, "movl $0x40490fdb,(%ebx); movss (%ebx),%xmm7; addss %xmm7,%xmm7; movd %xmm7,%eax");
SNIP32(c_x87, "fld1; fld1; faddp; fistpl (%ebx); mov (%ebx),%eax");
SNIP32(c_jmp_mem, "call 3f; 3: pop %eax; add $2f-3b,%eax; mov %eax,(%ebx); jmp *(%ebx); hlt; 2: mov $9,%eax");
SNIP32(c_bound_ok, "movl $1,(%ebx); movl $9,4(%ebx); mov $5,%eax; bound %eax,(%ebx)");
SNIP32(c_imul, "mov $-3,%eax; mov $7,%ecx; imul %ecx; sub %edx,%eax");
SNIP32(c_lds, "movl $0x55,(%ebx); movw $0x2b,4(%ebx); lds (%ebx),%eax");
SNIP32(c_lss, "mov %esp,(%ebx); mov %ss,4(%ebx); lss (%ebx),%esp; mov $0x66,%eax; push %eax; pop %eax");

static void rows(void)
{
	static const struct {
		const char *name;
		const char *from, *to;
		u32 want;
	} row[] = {
#define ROW(n, w) {#n, n, n##_end, w}
		ROW(c_inc, 0),
		ROW(c_incw, 0x10000),
		ROW(c_inc_keeps_cf, 0xffffffff),
		ROW(c_push_pop, 0x1233),
		ROW(c_push_size, 4),
		ROW(c_pusha, 7),
		ROW(c_pusha_esp, 0),
		ROW(c_daa, 0x83),
		ROW(c_das, 0x88),
		ROW(c_aaa, 0x107),
		ROW(c_aas, 0x105),
		ROW(c_aam, 0x603),
		ROW(c_aad, 0x43),
		ROW(c_salc, 0xff),
		ROW(c_les, 0x123456a3),
		ROW(c_seg, UDATA),
		ROW(c_arpl, 0x13),
		ROW(c_call, 77),
		ROW(c_call_pc, (u32)CODE + 5),
		ROW(c_ret_imm, 5),
		ROW(c_loop, 55),
		ROW(c_jecxz, 1),
		ROW(c_jcxz16, 1),
		ROW(c_lea_wrap, 0),
		ROW(c_upper, 1),
		ROW(c_string, 0x61616161),
		ROW(c_moffs, 0x600d),
		ROW(c_abs, 0x99),
		ROW(c_enter, 0x2c),
		ROW(c_xlat, 0x5c),
		ROW(c_sse, 0x40c90fdb),
		ROW(c_x87, 2),
		ROW(c_jmp_mem, 9),
		ROW(c_bound_ok, 5),
		ROW(c_imul, 0xffffffec),
		ROW(c_lds, 0x55),
		ROW(c_lss, 0x66),
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(row); i++) {
		run32(row[i].from, row[i].to);
		check(row[i].name, last.vec << 32 | EAX, (u64)UEXIT << 32 | row[i].want);
		check_n("  esp", i, last.gpr[RSP], STACK);
	}
}

SNIP32(f_into, "mov $0x7fffffff,%eax; inc %eax; into");
SNIP32(f_into_no, "xor %eax,%eax; into");
SNIP32(f_bound, "movl $1,(%ebx); movl $9,4(%ebx); mov $10,%eax; bound %eax,(%ebx)");
SNIP32(f_aam0, ".byte 0xd4,0x00");
SNIP32(f_load, "mov 0x1000(%ebx),%eax");
SNIP32(f_int3, "int3");
SNIP32(f_null_ds, "xor %eax,%eax; mov %eax,%ds; mov (%ebx),%eax");
SNIP32(f_null_es, "xor %eax,%eax; mov %eax,%es; mov %es:(%ebx),%eax");
SNIP32(f_limit, "mov $0x63,%eax; mov %eax,%es; mov %es:0x0ffd,%eax");
SNIP32(f_cs_write, "mov %eax,%cs:(%ebx)");
SNIP32(f_jmp_high, "mov $0xfffffff0,%eax; jmp *%eax");

static void faults(void)
{
	RUN(f_into);
	check("into", last.vec << 32 | last.rip, (u64)VEC_OF << 32 | (CODE + (f_into_end - f_into)));
	RUN(f_into_no);
	check("into-no", last.vec, UEXIT);
	RUN(f_bound);
	check("bound", last.vec << 32 | last.rip, (u64)VEC_BR << 32 | (CODE + (f_bound_end - f_bound) - 2));
	RUN(f_aam0);
	check("aam-0", last.vec << 32 | last.rip, (u64)VEC_DE << 32 | CODE);
	RUN(f_load);
	check("pf", last.vec << 32 | last.err, (u64)VEC_PF << 32 | (in_ring0 ? 0 : U));
	check("pf-cr2", last_cr2, DATA + 0x1000);
	RUN(f_int3);
	check("int3", last.vec << 32 | last.rip, (u64)VEC_BP << 32 | (CODE + 1));
	RUN(f_null_ds);
	check("null-ds", last.vec << 32 | last.err, (u64)VEC_GP << 32);
	RUN(f_null_es);
	check("null-es", last.vec << 32 | last.err, (u64)VEC_GP << 32);
	RUN(f_limit);
	check("segment-limit", last.vec << 32 | last.err, (u64)VEC_GP << 32);
	RUN(f_cs_write);
	check("write-to-code-segment", last.vec << 32 | last.err, (u64)VEC_GP << 32);
	RUN(f_jmp_high);
	check("jump-high", last.vec << 32 | last.rip, (u64)VEC_PF << 32 | 0xfffffff0);
}

/* ---- segment bases, far transfers, the edge of 4 GiB ---- */

SNIP32(s_fs, "mov %fs:4,%eax; mov %gs:(%ecx),%ecx; add %ecx,%eax");
SNIP32(far_64, ".byte 0xea; .long 0x60001000; .word 0x33");
SNIP32(far_64_k, ".byte 0xea; .long 0x60001000; .word 0x10");
SNIP32(far_call_64, "lcall $0x33,$0x60001000; mov $0x31,%ecx; add %ecx,%eax");
SNIP32(far_call_64_k, "lcall $0x10,$0x60001000; mov $0x31,%ecx; add %ecx,%eax");
SNIP(in_64, "mov $0x123456789,%rax; shr $4,%rax; mov %cs,%r8d");
SNIP(in_64_lret, "mov $0x100000000,%rax; shr $28,%rax; .byte 0xcb");
SNIP32(wrap_disp, "mov $0xfffffff0,%ecx; movzbl 0x14(%ecx),%eax");

static void bases(void)
{
	u64 page = page_alloc();

	*(u32 *)(page + 4) = 0x1000;
	*(u32 *)(page + 11) = 0x234;
	map(LOW_WINDOW + 0x8000, page, P | W | U);
	gdt[SPARE / 8] =
		0x00cff3000000ffff | ((LOW_WINDOW + 0x8000) & 0xffffff) << 16 | (LOW_WINDOW >> 24) << 56;
	gdt[SPARE / 8 + 1] =
		0x00cff3000000ffff | ((LOW_WINDOW + 0x8008) & 0xffffff) << 16 | (LOW_WINDOW >> 24) << 56;
	__asm__ volatile("mov %0, %%fs; mov %1, %%gs" ::"r"((u64)SPARE | 3), "r"((u64)(SPARE + 8) | 3));
	check("fs-base-loaded", rd_msr(MSR_FS_BASE), LOW_WINDOW + 0x8000);
	RUN(s_fs);
	check("segment-bases", last.vec << 32 | EAX, (u64)UEXIT << 32 | 0x1234);
	__asm__ volatile("mov %0, %%fs; mov %0, %%gs" ::"r"(0ull));
}

static void far(void)
{
	u8 *page = (u8 *)(*pte_at(LOW_WINDOW + 0x1000, 1) & PTE_ADDR);

	memcpy(page, in_64, in_64_end - in_64);
	memcpy(page + (in_64_end - in_64), "\xcd\x80", 2);
	if (in_ring0)
		RUN(far_64_k);
	else
		RUN(far_64);
	check("far-jump-to-64", last.vec << 40 | last.gpr[RAX], (u64)UEXIT << 40 | 0x12345678);
	check("far-jump-cs", last.cs, in_ring0 ? KCODE : UCODE);
	memcpy(page, in_64_lret, in_64_lret_end - in_64_lret);
	if (in_ring0)
		RUN(far_call_64_k);
	else
		RUN(far_call_64);
	check("far-call-and-back", last.vec << 32 | EAX, (u64)UEXIT << 32 | 0x41);
	check("far-call-cs", last.cs, in_ring0 ? KCODE32 : UCODE32);
	check("far-call-esp", last.gpr[RSP], STACK);
}

static void edge(void)
{
	u64 top = page_alloc(), low = page_alloc();
	u64 old = *pte_at(0, 2), rest = page_alloc();
	int i;

	((u8 *)low)[4] = 0x77;
	/* Page 0 is in a large page: split that for a while. */
	for (i = 0; i < 512; i++)
		((u64 *)rest)[i] = i * PAGE_SIZE | P | W;
	((u64 *)rest)[0] = low | P | W | U;
	*pte_at(0, 2) = rest | P | W | U;
	map(0xfffff000, top, P | W | U);
	flush();
	RUN(wrap_disp);
	check("address-wraps-at-4g", last.vec << 32 | EAX, (u64)UEXIT << 32 | 0x77);
	*pte_at(0, 2) = old;
	unmap(0xfffff000);
	flush();
}

/* ---- system calls from 32-bit code ---- */

u64 c_sys_rcx, c_sys_r11, c_sys_rsp;
extern char c_sys_entry[], c_sysenter_entry[];
__asm__("c_sys_entry: mov %rcx,c_sys_rcx(%rip); mov %r11,c_sys_r11(%rip); mov %rsp,c_sys_rsp(%rip)\n"
	"mov $0x5150,%eax; sysretl\n"
	"c_sysenter_entry: mov $0x5151,%eax; sysexitl\n");
SNIP32(c_syscall, "syscall");
SNIP32(c_sysenter, "mov $0x60000100,%edx; mov %esp,%ecx; sysenter");
SNIP32(c_int80, "mov $4,%eax; int $0x80");

static void system_calls(void)
{
	RUN(c_int80);
	check("int-80", last.vec << 32 | EAX, (u64)UEXIT << 32 | 4);
	check("int-80-rip", last.rip, CODE + (c_int80_end - c_int80));
	if (in_ring0)
		return;
	wr_msr(MSR_STAR, (u64)0x23 << 48 | (u64)KCODE << 32);
	wr_msr(MSR_CSTAR, (u64)c_sys_entry);
	wr_msr(MSR_SFMASK, FL_IF | FL_DF | FL_TF);
	RUN(c_syscall);
	if (is_intel()) {
		check("syscall-32", last.vec, VEC_UD);
	} else {
		check("syscall-32", last.vec << 32 | EAX, (u64)UEXIT << 32 | 0x5150);
		check("syscall-32-rcx", c_sys_rcx, CODE + 2);
		check("syscall-32-cs", last.cs << 16 | last.ss, UCODE32 << 16 | UDATA);
	}
	memcpy((void *)((*pte_at(CODE, 1) & PTE_ADDR) + 0x100), "\xcd\x80", 2);
	wr_msr(MSR_SYSENTER_CS, KCODE);
	wr_msr(MSR_SYSENTER_ESP, (u64)ist_stacks[3]);
	wr_msr(MSR_SYSENTER_EIP, (u64)c_sysenter_entry);
	RUN(c_sysenter);
	/* AMD's processors refuse it in long mode; an engine may offer it all the same. */
	if (!is_intel() && last.vec == VEC_UD)
		return;
	check("sysenter-32", last.vec << 32 | EAX, (u64)UEXIT << 32 | 0x5151);
	check("sysexit-32-cs", last.cs, UCODE32);
}

/* The same bytes mean other things in the two modes; the engine must keep their translations apart. */
static void both_modes(void)
{
	/* 48 89 c8: mov %rcx,%rax in 64-bit code; dec %eax; mov %ecx,%eax in 32-bit code. */
	static const u8 bytes[] = {0x48, 0x89, 0xc8, 0x40, 0x90};
	int i, bad = 0;

	if (in_ring0)
		return;
	for (i = 0; i < 50; i++) {
		run32_cs(bytes, bytes + 5, UCODE32);
		bad += last.gpr[RAX] != 4;
		run32_cs(bytes, bytes + 5, UCODE);
		bad += last.gpr[RAX] != 0xffffffff00000003;
	}
	check("same-bytes-two-modes", bad, 0);
}

static void all(void)
{
	rows();
	faults();
	bases();
	far();
	edge();
	system_calls();
	both_modes();
}

static void ring3(void)
{
	in_ring0 = false;
	set_up();
	gate(4, 3, 0);
	all();
}

static void ring0(void)
{
	in_ring0 = true;
	set_up();
	all();
}

const struct section sections[] = {{"ring3", ring3}, {"ring0", ring0}, {NULL, NULL}};
