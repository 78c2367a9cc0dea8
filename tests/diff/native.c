/* SPDX-License-Identifier: MIT */
/*
 * Runs cases on the silicon, in a process of its own: whatever a stream does
 * to its memory or registers ends in a signal, whose frame holds the result.
 */
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include <linux/seccomp.h>

#include "tests/diff/diff.h"

static int to_child = -1, from_child = -1;
static pid_t child;

/* ---- in the child ---- */

static struct diff_shared *shared;
static jmp_buf back;
static volatile int running;
u64 native_host_fs __attribute__((visibility("hidden")));

/* native_enter(state, fsgs): loads everything and jumps. */
void native_enter(const struct diff_state *st, u64 fsgs) __attribute__((noreturn));
__asm__(".text\nnative_enter:\n"
	"\ttestq %rsi, %rsi\n\tjz 1f\n"
	"\tmovq 144(%rdi), %rax\n\twrfsbase %rax\n"
	"\tmovq 152(%rdi), %rax\n\twrgsbase %rax\n"
	"1:\tmovl $0xffffffff, %eax\n\tmovl %eax, %edx\n\txrstor64 192(%rdi)\n"
	"\tmovq 128(%rdi), %rax\n\tmovq %rax, native_target(%rip)\n"
	"\tpushq 136(%rdi)\n\tpopfq\n"
	"\tmovq 0(%rdi), %rax\n\tmovq 8(%rdi), %rcx\n\tmovq 16(%rdi), %rdx\n\tmovq 24(%rdi), %rbx\n"
	"\tmovq 32(%rdi), %rsp\n\tmovq 40(%rdi), %rbp\n\tmovq 48(%rdi), %rsi\n"
	"\tmovq 64(%rdi), %r8\n\tmovq 72(%rdi), %r9\n\tmovq 80(%rdi), %r10\n\tmovq 88(%rdi), %r11\n"
	"\tmovq 96(%rdi), %r12\n\tmovq 104(%rdi), %r13\n\tmovq 112(%rdi), %r14\n\tmovq 120(%rdi), %r15\n"
	"\tmovq 56(%rdi), %rdi\n"
	"\tjmp *native_target(%rip)\n"
	".bss\n.balign 8\nnative_target:\t.quad 0\n.text\n");

_Static_assert(offsetof(struct diff_state, rip) == 128, "native_enter");
_Static_assert(offsetof(struct diff_state, fs_base) == 144, "native_enter");
_Static_assert(offsetof(struct diff_state, xsave) == 192, "native_enter");

static void take_result(const ucontext_t *uc)
{
	static const int order[16] = {
		REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
		REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15,
	};
	const greg_t *g = uc->uc_mcontext.gregs;
	struct diff_state *st = &shared->native;

	for (unsigned i = 0; i < 16; i++)
		st->gpr[i] = (u64)g[order[i]];
	st->rip = (u64)g[REG_RIP];
	st->rflags = (u64)g[REG_EFL];
	st->vector = (u32)g[REG_TRAPNO];
	st->error = (u32)g[REG_ERR];
	st->cr2 = (u64)g[REG_CR2];
	memcpy(st->xsave, uc->uc_mcontext.fpregs, 2816);
}

/* Thread-local storage is the stream's until FS is back: no stack protector here. */
__attribute__((no_stack_protector)) static void handler(int sig, siginfo_t *si, void *context)
{
	u64 fs = 0;

	(void)si;
	if (shared->test.fsgs)
		__asm__ volatile("rdfsbase %0\n\twrfsbase %1" : "=&r"(fs) : "r"(native_host_fs));
	if (sig == SIGALRM) {
		if (!running || ++running < 4)
			goto resume;
		shared->native.status = DIFF_TIMEOUT;
	} else {
		shared->native.status = DIFF_DONE;
	}
	take_result(context);
	running = 0;
	_longjmp(back, 1);
resume:
	if (shared->test.fsgs)
		__asm__ volatile("wrfsbase %0" : : "r"(fs)); /* a tick may hit another signal's handler */
}

static void catch_signals(void)
{
	static const int signals[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGALRM };
	static u8 stack[64 << 10] __attribute__((aligned(64)));
	struct sigaction sa = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER | SA_RESTART };
	stack_t ss = { .ss_sp = stack, .ss_size = sizeof(stack) };
	struct itimerval tick = { { 0, 100000 }, { 0, 100000 } };

	sigaltstack(&ss, NULL);
	for (unsigned i = 0; i < ARRAY_SIZE(signals); i++)
		sigaction(signals[i], &sa, NULL);
	setitimer(ITIMER_REAL, &tick, NULL);
}

static bool map_case(int fd)
{
	u64 offset = offsetof(struct diff_shared, mem);

	for (unsigned i = 0; i < MEM_PAGES; i++) {
		int prot = i < PAGE_LOW ? PROT_READ | PROT_EXEC : page_writable(i) ? PROT_READ | PROT_WRITE : PROT_READ;
		void *at = (void *)page_at(i);

		if (mmap(at, 4096, prot, MAP_SHARED | MAP_FIXED_NOREPLACE, fd, (off_t)(offset + i * 4096ull)) != at)
			return false;
		(void)*(volatile u8 *)at; /* present, so that the error code of a fault says so */
	}
	return true;
}

static void serve(int in, int out)
{
	static const u32 mxcsr = 0x1f80;
	char c;

	for (;;) {
		if (read(in, &c, 1) != 1 || c == 'q')
			break;
		if (!_setjmp(back)) {
			running = 1;
			native_enter(&shared->test.init, shared->test.fsgs);
		}
		__asm__ volatile("cld\n\tfninit\n\tldmxcsr %0" : : "m"(mxcsr));
		if (write(out, &c, 1) != 1)
			break;
	}
	_exit(0);
}

static void child_main(int fd, int in, int out)
{
	if (host_has_fsgsbase())
		__asm__ volatile("rdfsbase %0" : "=r"(native_host_fs));
	if (!map_case(fd))
		_exit(1);
	catch_signals();
	/* A stream that goes astray must not make system calls. */
	prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT);
	serve(in, out);
}

/* ---- in the test ---- */

int native_start(struct diff_shared *sh, int fd)
{
	int to[2], from[2];

	if (pipe(to) || pipe(from))
		return -1;
	shared = sh;
	child = fork();
	if (child < 0)
		return -1;
	if (!child) {
		close(to[1]);
		close(from[0]);
		child_main(fd, to[0], from[1]);
	}
	close(to[0]);
	close(from[1]);
	to_child = to[1];
	from_child = from[0];
	return 0;
}

void native_run(struct diff_shared *sh)
{
	char c = 'r';

	memcpy(sh->mem, sh->test.mem, MEM_SIZE);
	sh->native.status = DIFF_DIED;
	if (write(to_child, &c, 1) != 1 || read(from_child, &c, 1) != 1)
		sh->native.status = DIFF_DIED;
}

void native_stop(void)
{
	char c = 'q';

	if (child <= 0)
		return;
	if (write(to_child, &c, 1) != 1)
		kill(child, SIGKILL);
	close(to_child);
	close(from_child);
	waitpid(child, NULL, 0);
	child = 0;
}
