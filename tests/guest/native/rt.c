/* SPDX-License-Identifier: MIT */
/*
 * The runtime of the guest images as an ordinary process, for the sections
 * that need no privilege: the same checks on the silicon itself. Physical
 * memory is a shared file, page tables are mmap, traps are signals.
 */
#define _GNU_SOURCE
#include "../rt.h"

#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#define RAM 0x20000000ull
#define RAM_SIZE MIB(256)

struct frame last;
u64 last_cr2, guard_rsp, pml4[512], gdt[GDT_SLOTS];
bool (*hooks[256])(struct frame *f);
char ist_stacks[8][4096], enter_iret[1], guard_out[1];

static int ram_fd;
static u64 next_page = RAM, fault_address;
static u32 passed, failed, skipped;
static sigjmp_buf *escape;

static const int reg_of[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI, REG_R8,
	REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};

void put(const char *s)
{
	fputs(s, stdout);
}

void put_hex(u64 v)
{
	printf("0x%llx", (unsigned long long)v);
}

/* Checks come between the steps of tests of the vector state: printing shall not touch it. */
static void vector_state(const void *area, bool restore)
{
	if (restore)
		__asm__ volatile("xrstor64 (%0)" ::"r"(area), "a"(-1), "d"(-1) : "memory");
	else
		__asm__ volatile("xsave64 (%0)" ::"r"(area), "a"(-1), "d"(-1) : "memory");
}

static void verdict(const char *name, bool ok, u64 got, u64 want)
{
	static u8 kept[16384] __attribute__((aligned(64)));

	vector_state(kept, false);
	printf(ok ? "ok %s\n" : "FAIL %s: got 0x%llx want 0x%llx\n", name, (unsigned long long)got,
		(unsigned long long)want);
	*(ok ? &passed : &failed) += 1;
	vector_state(kept, true);
}

void check(const char *name, u64 got, u64 want)
{
	verdict(name, got == want, got, want);
}

void check_n(const char *name, u64 index, u64 got, u64 want)
{
	char full[128];

	snprintf(full, sizeof(full), "%s.0x%llx", name, (unsigned long long)index);
	verdict(full, got == want, got, want);
}

void skip(const char *name, const char *why)
{
	printf("skip %s: %s\n", name, why);
	skipped++;
}

void expect(const char *name, void *fn, u64 a, u64 b, u64 rip, u64 vec, u64 err)
{
	if (!guard(fn, a, b))
		last.vec = 0x100;
	verdict(name, last.vec == vec && last.rip == rip && last.err == err,
		last.vec << 56 | last.err << 48 | last.rip, vec << 56 | err << 48 | rip);
}

void expect_user(
	const char *name, const void *from, const void *to, const void *ip, u64 a, u64 b, u64 vec, u64 err)
{
	(void)from, (void)to, (void)ip, (void)a, (void)b, (void)vec, (void)err;
	skip(name, "not in a process");
}

void user(const void *from, const void *to, u64 rdi, u64 rsi)
{
	(void)from, (void)to, (void)rdi, (void)rsi;
	memset(&last, 0, sizeof(last));
}

void gate(int vec, int dpl, int ist)
{
	(void)vec, (void)dpl, (void)ist;
}

void finish(void)
{
	printf("result: %s 0x%x ok, 0x%x failed, 0x%x skipped\n", failed ? "FAIL" : "pass", passed, failed,
		skipped);
	exit(failed ? 3 : 1);
}

/* ---- memory ---- */

u64 pages_alloc(int n, int align_log2)
{
	u64 pa = ALIGN_UP(next_page, BIT(align_log2));

	next_page = pa + n * PAGE_SIZE;
	return pa;
}

u64 page_alloc(void)
{
	return pages_alloc(1, 12);
}

void map(u64 va, u64 pa, u64 flags)
{
	int prot = PROT_READ | (flags & W ? PROT_WRITE : 0) | (flags & NX ? 0 : PROT_EXEC);

	if (!(flags & P)) {
		unmap(va);
	} else if (mmap((void *)va, 4096, prot, MAP_SHARED | MAP_FIXED | MAP_POPULATE, ram_fd, pa - RAM) ==
		   MAP_FAILED) {
		perror("map");
		exit(2);
	}
}

void unmap(u64 va)
{
	munmap((void *)va, 4096);
}

u64 *pte_at(u64 va, int level)
{
	static u64 none;

	(void)va, (void)level;
	return &none;
}

/* ---- traps ---- */

/* Privileged instructions of the runtime's header, as far as these sections use them. */
static bool emulate(greg_t *r)
{
	const u8 *p = (u8 *)r[REG_RIP];
	u64 cr[8] = {[0] = 0x80050033, [2] = fault_address, [4] = CR4_OSXSAVE};

	if (p[0] == 0x0f && p[1] == 0x01 && p[2] == 0xd1) { /* xsetbv */
		r[REG_RIP] += 3;
		return true;
	}
	if (p[0] != 0x0f || (p[1] != 0x20 && p[1] != 0x22))
		return false;
	if (p[1] == 0x20)
		r[reg_of[p[2] & 7]] = cr[p[2] >> 3 & 7];
	r[REG_RIP] += 3;
	return true;
}

static void to_frame(struct frame *f, const greg_t *r)
{
	int i;

	for (i = 0; i < 16; i++)
		f->gpr[i] = r[reg_of[i]];
	f->vec = r[REG_TRAPNO];
	/* As ring 0 would see it. */
	f->err = f->vec == VEC_PF ? r[REG_ERR] & ~(u64)U : (u64)r[REG_ERR];
	f->rip = r[REG_RIP];
	f->rflags = r[REG_EFL];
	f->rsp = r[REG_RSP];
	f->cs = KCODE;
	f->ss = KDATA;
}

static void on_signal(int signal, siginfo_t *info, void *context)
{
	greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;
	struct frame f;
	int i;

	(void)signal;
	if (r[REG_TRAPNO] == VEC_PF)
		fault_address = (u64)info->si_addr;
	if (r[REG_TRAPNO] == VEC_GP && emulate(r))
		return;
	to_frame(&f, r);
	if (hooks[f.vec] && hooks[f.vec](&f)) {
		for (i = 0; i < 16; i++)
			if (i != RSP)
				r[reg_of[i]] = f.gpr[i];
		r[REG_RIP] = f.rip;
		return;
	}
	last = f;
	last_cr2 = fault_address;
	if (!escape) {
		verdict("unexpected-trap", false, f.vec << 56 | f.rip, 0);
		finish();
	}
	vector_state(((ucontext_t *)context)->uc_mcontext.fpregs, true);
	siglongjmp(*escape, 1);
}

bool guard(void *fn, u64 a, u64 b)
{
	sigjmp_buf here, *outer = escape;
	bool trapped = sigsetjmp(here, 1);

	if (!trapped) {
		escape = &here;
		/* Assembly that need not keep what a C function must. */
		__asm__ volatile("call *%2"
				 : "+D"(a), "+S"(b)
				 : "r"(fn)
				 : "rax", "rcx", "rdx", "rbx", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
				 "r15", "memory", "cc");
	}
	__asm__ volatile("cld");
	escape = outer;
	return trapped;
}

bool is_tcg(void)
{
	return false;
}

static bool wanted(const char *name, int argc, char **argv)
{
	int i;

	for (i = 1; i < argc; i++)
		if (!strcmp(argv[i], name))
			return true;
	return argc == 1;
}

int main(int argc, char **argv)
{
	static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP};
	static char alternate[65536];
	stack_t stack = {.ss_sp = alternate, .ss_size = sizeof(alternate)};
	struct sigaction action = {
		.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK};
	const struct section *s;
	size_t i;

	ram_fd = memfd_create("ram", 0);
	if (ram_fd < 0 || ftruncate(ram_fd, RAM_SIZE) ||
		mmap((void *)RAM, RAM_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_SHARED | MAP_FIXED,
			ram_fd, 0) == MAP_FAILED) {
		perror("memory");
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	sigaltstack(&stack, NULL);
	for (i = 0; i < ARRAY_SIZE(signals); i++)
		sigaction(signals[i], &action, NULL);
	for (s = sections; s->name; s++) {
		if (wanted(s->name, argc, argv)) {
			printf("section %s\n", s->name);
			s->run();
		}
	}
	finish();
}
