/* SPDX-License-Identifier: MIT */
/*
 * Parts of the self-check that need C: each prints one or a few lines that
 * are the same on every correct machine. Linked statically.
 */
#include <errno.h>
#include <fcntl.h>
#include <immintrin.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

typedef uint8_t u8;
typedef uint32_t u32;
typedef uint64_t u64;

static const char *scratch; /* a directory that may be written */
static const char *self;

static u64 mix(u64 hash, u64 value)
{
	hash = (hash ^ value) * 0x9e3779b97f4a7c15;
	return hash ^ hash >> 29;
}

static void fail(const char *what)
{
	printf("%s: %s\n", what, strerror(errno));
	exit(1);
}

/* ---- processes ---- */

static void part_fork(void)
{
	unsigned sum = 0;
	int status;

	for (int i = 0; i < 300; i++) {
		pid_t pid = fork();

		if (pid == 0)
			_exit(i * 7 % 251);
		if (pid < 0 || waitpid(pid, &status, 0) != pid)
			fail("fork");
		sum += WEXITSTATUS(status);
	}
	for (int i = 0; i < 100; i++) /* all at once */
		if (fork() == 0)
			_exit(i);
	while (wait(&status) > 0)
		sum += WEXITSTATUS(status);
	printf("fork: %u\n", sum);
}

static void part_exec(void)
{
	volatile int good = 0;
	int status;

	for (volatile int i = 0; i < 40; i++) {
		pid_t pid = vfork();

		if (pid == 0) {
			execl(self, self, "nothing", scratch, NULL);
			_exit(99);
		}
		waitpid(pid, &status, 0);
		good += WIFEXITED(status) && WEXITSTATUS(status) == 0;
	}
	printf("exec: %d\n", good);
}

static void part_pipe(void)
{
	static u8 data[4096];
	u64 hash = 0;
	ssize_t n;
	int fd[2];

	if (pipe(fd))
		fail("pipe");
	if (fork() == 0) {
		close(fd[0]);
		for (int i = 0; i < 500; i++) {
			memset(data, i, sizeof(data));
			for (size_t done = 0; done < sizeof(data); done += (size_t)n)
				if ((n = write(fd[1], data + done, sizeof(data) - done)) <= 0)
					_exit(1);
		}
		_exit(0);
	}
	close(fd[1]);
	u64 total = 0;
	while ((n = read(fd[0], data, 1000)) > 0)
		for (ssize_t i = 0; i < n; i++, total++)
			hash = mix(hash, data[i]);
	wait(NULL);
	printf("pipe: %lu %016lx\n", total, hash);
}

/* ---- signals and faults ---- */

static volatile sig_atomic_t caught[65];
static sigjmp_buf escape;

static void count(int sig)
{
	caught[sig]++;
}

static void part_signal(void)
{
	struct sigaction action = {.sa_handler = count};
	struct itimerval timer = {{0, 2000}, {0, 2000}};
	sigset_t set, old;
	int status;

	sigaction(SIGUSR1, &action, NULL);
	sigaction(SIGALRM, &action, NULL);
	for (int i = 0; i < 1000; i++)
		raise(SIGUSR1);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, &old);
	raise(SIGUSR1);
	int blocked = caught[SIGUSR1];
	sigprocmask(SIG_SETMASK, &old, NULL);
	printf("signal: %d while blocked, %d after\n", blocked, (int)caught[SIGUSR1]);

	setitimer(ITIMER_REAL, &timer, NULL);
	while (caught[SIGALRM] < 20)
		pause();
	timer = (struct itimerval){0};
	setitimer(ITIMER_REAL, &timer, NULL);
	printf("signal: timer came\n");

	pid_t pid = fork();
	if (pid == 0)
		for (;;)
			pause();
	kill(pid, SIGTERM);
	waitpid(pid, &status, 0);
	printf("signal: child ended by %d\n", WTERMSIG(status));
}

static void leave_info(int sig, siginfo_t *info, void *context)
{
	(void)context;
	printf("fault: signal %d code %d\n", sig, info->si_code);
	siglongjmp(escape, 1);
}

/* One instruction each that must trap, with what Linux reports for it. */
static void trap(int which)
{
	switch (which) {
	case 0:
		__asm__ volatile("xorl %%eax, %%eax; cltd; divl %%eax" ::: "eax", "edx", "cc");
		break;
	case 1:
		__asm__ volatile("ud2");
		break;
	case 2:
		__asm__ volatile("int3");
		break;
	case 3:
		__asm__ volatile("hlt");
		break;
	case 4:
		__asm__ volatile("movl $1, 8");
		break;
	case 5: /* not canonical */
		__asm__ volatile("movl $1, (%0)" ::"r"(1ul << 63) : "memory");
		break;
	case 6:
		((void (*)(void))scratch)(); /* not executable */
		break;
	case 7:
		__asm__ volatile("pushf; orl $0x100, (%%rsp); popf; nop" ::: "memory", "cc");
		break;
	case 8:
		__asm__ volatile("int $0x81");
		break;
	case 9: /* alignment, at a vector load */
		__asm__ volatile("movaps 1(%%rsp), %%xmm0" ::: "xmm0", "memory");
		break;
	}
}

static volatile u8 *cow_page;
static int cow_faults;

static void allow(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)context;
	u8 *page = (u8 *)((uintptr_t)info->si_addr & ~4095ul);

	cow_faults++;
	if (mprotect(page, 4096, PROT_READ | PROT_WRITE))
		_exit(3);
}

static void part_fault(void)
{
	static u8 stack[65536];
	stack_t alt = {.ss_sp = stack, .ss_size = sizeof(stack)};
	struct sigaction action = {.sa_sigaction = leave_info, .sa_flags = SA_SIGINFO | SA_ONSTACK};
	const int signals[] = {SIGFPE, SIGILL, SIGTRAP, SIGSEGV, SIGBUS};

	sigaltstack(&alt, NULL);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaction(signals[i], &action, NULL);
	for (volatile int i = 0; i < 10; i++)
		if (sigsetjmp(escape, 1) == 0)
			trap(i);

	/* A handler that mends the fault; the store is then run again. */
	action.sa_sigaction = allow;
	sigaction(SIGSEGV, &action, NULL);
	cow_page = mmap(NULL, 64 * 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	u64 sum = 0;
	for (int i = 0; i < 64 * 4096; i += 64)
		cow_page[i] = (u8)(i >> 6);
	for (int i = 0; i < 64 * 4096; i++)
		sum += cow_page[i];
	/* The same with a store that crosses into a protected page. */
	mprotect((void *)(cow_page + 4096), 4096, PROT_READ);
	*(volatile u64 *)(cow_page + 4096 - 3) = 0x0102030405060708;
	printf("fault: %d mended, sum %lu, %02x %02x\n", cow_faults, sum, cow_page[4095], cow_page[4097]);
}

/* ---- memory ---- */

static void part_mmap(void)
{
	char name[4096];
	u64 hash = 0;

	snprintf(name, sizeof(name), "%s/mmap.%d", scratch, (int)getpid());
	int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (fd < 0 || ftruncate(fd, 1 << 20))
		fail("mmap");
	u32 *shared = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	u32 *private = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	for (u32 i = 0; i < 1 << 18; i++)
		shared[i] = i * 2654435761u;
	if (fork() == 0) {
		for (u32 i = 0; i < 1 << 18; i += 3)
			shared[i] ^= 0xffff;
		for (u32 i = 0; i < 1 << 18; i += 1000)
		private[i] = 0; /* seen by this process alone */
		_exit(0);
	}
	wait(NULL);
	for (u32 i = 0; i < 1 << 18; i++)
		hash = mix(hash, shared[i] + (u64) private[i]);
	private = mremap(private, 1 << 20, 2 << 20, MREMAP_MAYMOVE);
	hash = mix(hash, private[1000]);
	madvise(private, 1 << 20, MADV_DONTNEED);
	hash = mix(hash, private[1000]);
	unlink(name);

	/* Move the same page through many addresses: stale translations show. */
	u64 sum = 0;
	for (int i = 0; i < 500; i++) {
		volatile u64 *p = mmap((void *)0x10000000ul, 8192, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

		sum += p[0] + p[512];
		p[0] = p[512] = (u64)i;
		munmap((void *)p, 8192);
	}
	printf("mmap: %016lx %lu\n", hash, sum);
}

/* ---- threads ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turn_changed = PTHREAD_COND_INITIALIZER;
static int turn;
static u64 guarded, atomic_sum;
static __thread u64 mine;

static void *thread(void *arg)
{
	int id = (int)(intptr_t)arg;

	for (int i = 0; i < 20000; i++) {
		mine += (u64)(i ^ id);
		__atomic_fetch_add(&atomic_sum, 3, __ATOMIC_SEQ_CST);
		pthread_mutex_lock(&lock);
		guarded++;
		pthread_mutex_unlock(&lock);
	}
	for (int i = 0; i < 100; i++) { /* strictly in turn */
		pthread_mutex_lock(&lock);
		while (turn % 4 != id)
			pthread_cond_wait(&turn_changed, &lock);
		turn++;
		pthread_cond_broadcast(&turn_changed);
		pthread_mutex_unlock(&lock);
	}
	return (void *)mine;
}

static void part_threads(void)
{
	pthread_t id[4];
	u64 sum = 0;

	for (intptr_t i = 0; i < 4; i++)
		if (pthread_create(&id[i], NULL, thread, (void *)i))
			fail("threads");
	for (int i = 0; i < 4; i++) {
		void *result;

		pthread_join(id[i], &result);
		sum += (u64)result;
	}
	printf("threads: %lu %lu %lu %d\n", guarded, atomic_sum, sum, turn);
}

/* ---- vectors and floating point ---- */

enum { N = 4096 };
static int vec_a[N], vec_b[N], vec_c[N];

__attribute__((target("avx2"))) static void multiply_avx2(void)
{
	for (int i = 0; i < N; i += 8) {
		__m256i a = _mm256_loadu_si256((__m256i *)&vec_a[i]);
		__m256i b = _mm256_loadu_si256((__m256i *)&vec_b[i]);

		_mm256_storeu_si256((__m256i *)&vec_c[i],
			_mm256_add_epi32(_mm256_mullo_epi32(a, b), _mm256_permutevar8x32_epi32(a, b)));
	}
}

__attribute__((target("avx512f"))) static void multiply_avx512(void)
{
	const __m512i low = _mm512_set1_epi32(7);

	for (int i = 0; i < N; i += 16) {
		__m512i a = _mm512_loadu_si512(&vec_a[i]);
		__m512i b = _mm512_loadu_si512(&vec_b[i]);
		/* the same permutation within each half of eight */
		__m512i index = _mm512_or_si512(_mm512_and_si512(b, low), _mm512_maskz_set1_epi32(0xff00, 8));

		_mm512_storeu_si512(&vec_c[i],
			_mm512_add_epi32(_mm512_mullo_epi32(a, b), _mm512_permutexvar_epi32(index, a)));
	}
}

static void multiply_plain(void)
{
	for (int i = 0; i < N; i++)
		vec_c[i] = (int)((u32)vec_a[i] * (u32)vec_b[i] + (u32)vec_a[(i & ~7) + (vec_b[i] & 7)]);
}

static u64 vector_run(void (*multiply)(void))
{
	u64 hash = 0;

	memset(vec_c, 0, sizeof(vec_c));
	multiply();
	for (int i = 0; i < N; i++)
		hash = mix(hash, (u32)vec_c[i]);
	return hash;
}

static void part_vector(void)
{
	for (int i = 0; i < N; i++) {
		vec_a[i] = (int)((u32)i * 2654435761u);
		vec_b[i] = (int)((u32)i * 40503u ^ 0x5bd1e995u);
	}
	u64 plain = vector_run(multiply_plain);

	if (__builtin_cpu_supports("avx2") && vector_run(multiply_avx2) != plain)
		printf("vector: AVX2 differs\n");
	if (__builtin_cpu_supports("avx512f") && vector_run(multiply_avx512) != plain)
		printf("vector: AVX-512 differs\n");

	double sum = 0;
	float single = 1;
	for (int i = 1; i < 100000; i++) {
		sum += (double)i / (i + 3.5) - __builtin_sqrt(i);
		single = single * 0.75f + 1.0f / (float)i;
	}
	printf("vector: %016lx %.17g %.9g\n", plain, sum, (double)single);
}

static void part_x87(void)
{
	long double x = 1, sum = 0;
	u64 bits[2] = {0};

	for (int i = 1; i < 20000; i++) {
		x = x * 1.00001L + 1.0L / i;
		sum += __builtin_sqrtl(x) / (i * 1.0L);
	}
	memcpy(bits, &sum, 10);
	printf("x87: %.21Lg %04lx%016lx\n", sum, bits[1], bits[0]);

	/* Directed rounding and the exception flags, in both units. */
	unsigned short control = 0xf7f, status; /* up */
	unsigned mxcsr = 0x1f80 | 0x4000, old = _mm_getcsr(); /* up */
	volatile double three = 3;
	double up;
	__asm__ volatile("fninit; fldcw %2; fld1; fdivl %3; fstpl %0; fnstsw %1; fninit"
			 : "=m"(up), "=a"(status)
			 : "m"(control), "m"(three));
	_mm_setcsr(mxcsr);
	volatile double third = 1 / three;
	unsigned after = _mm_getcsr();
	_mm_setcsr(old);
	printf("x87: %a %04x, SSE %a %04x\n", up, status & 0x3f, third, after & 0x3f);
}

/* Vector registers of two processes that take turns on the CPU. */
static void part_switch(void)
{
	int wrong = 0, status;
	pid_t pid = fork();
	__m128i mark = _mm_set1_epi64x(pid ? 0x1111111111111111 : 0x2222222222222222);

	for (int i = 0; i < 3000; i++) {
		__m128i now;
		long result;

		__asm__ volatile("movdqa %2, %%xmm9; syscall; movdqa %%xmm9, %0"
				 : "=x"(now), "=a"(result)
				 : "x"(mark), "a"(24 /* sched_yield */)
				 : "xmm9", "rcx", "r11", "memory");
		wrong += _mm_movemask_epi8(_mm_cmpeq_epi8(now, mark)) != 0xffff;
	}
	if (pid == 0)
		_exit(wrong != 0);
	waitpid(pid, &status, 0);
	printf("switch: %d %d\n", wrong, WEXITSTATUS(status));
}

/* ---- code that writes code ---- */

static void part_jit(void)
{
	/* mov $imm32, %eax; add %edi, %eax; ret */
	static const u8 pattern[] = {0xb8, 0, 0, 0, 0, 0x01, 0xf8, 0xc3};
	u8 *code = mmap(NULL, 8192, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	u64 sum = 0;

	if (code == MAP_FAILED)
		fail("jit");
	u8 *crossing = code + 4096 - 3;
	for (u32 i = 0; i < 300; i++) {
		u8 *at = i % 3 == 0 ? code : i % 3 == 1 ? code + 64 : crossing;

		memcpy(at, pattern, sizeof(pattern));
		memcpy(at + 1, &i, 4);
		for (int again = 0; again < 5; again++)
			sum += (u64)((int (*)(int))(uintptr_t)at)(again);
	}
	/* One code page never written while it may run. */
	for (u32 i = 0; i < 50; i++) {
		mprotect(code, 4096, PROT_READ | PROT_WRITE);
		memcpy(code, pattern, sizeof(pattern));
		memcpy(code + 1, &i, 4);
		mprotect(code, 4096, PROT_READ | PROT_EXEC);
		sum += (u64)((int (*)(int))(uintptr_t)code)(1);
	}
	printf("jit: %lu\n", sum);
}

/* ---- time ---- */

static void part_time(void)
{
	struct timespec a, b;
	struct timespec nap = {0, 30000000};
	int back = 0;

	clock_gettime(CLOCK_MONOTONIC, &a);
	for (int i = 0; i < 20000; i++) {
		clock_gettime(CLOCK_MONOTONIC, &b);
		back += b.tv_sec < a.tv_sec || (b.tv_sec == a.tv_sec && b.tv_nsec < a.tv_nsec);
		a = b;
	}
	nanosleep(&nap, NULL);
	clock_gettime(CLOCK_MONOTONIC, &b);
	double slept = (double)(b.tv_sec - a.tv_sec) + 1e-9 * (double)(b.tv_nsec - a.tv_nsec);
	printf("time: %d steps back, slept %s\n", back, slept >= 0.03 && slept < 3 ? "well" : "badly");
}

/* For the host to compare with its own clock: a line every 20 ms for a minute. */
static void part_clock(void)
{
	struct timespec now, nap = {0, 20000000};
	char source[64] = "none\n";

	sleep(2); /* the kernel measures before it chooses */
	int fd = open("/sys/devices/system/clocksource/clocksource0/current_clocksource", O_RDONLY);
	ssize_t len = read(fd, source, sizeof(source) - 1);
	if (len > 0)
		source[len] = 0;
	printf("clocksource: %s", source);

	for (int i = 0; i < 3000; i++) {
		clock_gettime(CLOCK_MONOTONIC, &now);
		printf("clock: %ld\n", now.tv_sec * 1000000000 + now.tv_nsec);
		nanosleep(&nap, NULL);
	}
}

/* Ends the VM with status 11 where the debug-exit port is on. */
static void part_debug_exit(void)
{
	if (ioperm(0xf4, 1, 1))
		fail("ioperm");
	outb(5, 0xf4);
	printf("debug-exit: still here\n");
}

static void part_nothing(void)
{
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} parts[] = {
		{"fork", part_fork},
		{"exec", part_exec},
		{"pipe", part_pipe},
		{"signal", part_signal},
		{"fault", part_fault},
		{"threads", part_threads},
		{"mmap", part_mmap},
		{"vector", part_vector},
		{"x87", part_x87},
		{"switch", part_switch},
		{"jit", part_jit},
		{"time", part_time},
		{"clock", part_clock},
		{"debug-exit", part_debug_exit},
		{"nothing", part_nothing},
	};

	if (argc != 3)
		return 2;
	self = argv[0];
	scratch = argv[2];
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		if (strcmp(argv[1], parts[i].name) == 0) {
			parts[i].run();
			return 0;
		}
	return 2;
}
