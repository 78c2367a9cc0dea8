/* SPDX-License-Identifier: MIT */
/* What an operating system does: calls, faults, processes, pipes, signals, files, threads. */
#include "bench/bench.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static u64 null_call(u64 n)
{
	for (; n; n--)
		syscall(SYS_getppid);
	return 0;
}

static u64 clock_call(u64 n)
{
	for (; n; n--)
		now_ns();
	return 0;
}

/* ---- memory ---- */

static u64 page_fault(u64 n)
{
	u64 size = n * 4096, i;
	volatile u8 *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	madvise((void *)p, size, MADV_NOHUGEPAGE);
	for (i = 0; i < size; i += 4096)
		p[i] = 1;
	munmap((void *)p, size);
	return n;
}

static u64 map_unmap(u64 n)
{
	for (; n; n--) {
		volatile u8 *p =
			mmap(NULL, 16384, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		p[0] = 1;
		munmap((void *)p, 16384);
	}
	return 0;
}

static u64 protect(u64 n)
{
	volatile u8 *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	for (; n; n--) {
		p[0] = n;
		mprotect((void *)p, 4096, PROT_READ);
		mprotect((void *)p, 4096, PROT_READ | PROT_WRITE);
	}
	munmap((void *)p, 4096);
	return 0;
}

/* ---- processes ---- */

static u64 fork_wait(u64 n)
{
	for (; n; n--) {
		pid_t child = fork();

		if (!child)
			_exit(0);
		waitpid(child, NULL, 0);
	}
	return 0;
}

static u64 fork_exec(u64 n)
{
	char name[] = "true", *const argv[] = {name, NULL};

	for (; n; n--) {
		pid_t child;

		if (posix_spawn(&child, "/bin/true", NULL, NULL, argv, environ))
			return 1;
		waitpid(child, NULL, 0);
	}
	return 0;
}

static u64 ping_pong(u64 n)
{
	int there[2], back[2];
	pid_t child;
	char c = 0;
	u64 i;

	if (pipe(there) || pipe(back))
		return 1;
	child = fork();
	if (!child) {
		for (i = 0; i < n; i++)
			if (read(there[0], &c, 1) != 1 || write(back[1], &c, 1) != 1)
				_exit(1);
		_exit(0);
	}
	for (i = 0; i < n; i++)
		if (write(there[1], &c, 1) != 1 || read(back[0], &c, 1) != 1)
			break;
	waitpid(child, NULL, 0);
	close(there[0]);
	close(there[1]);
	close(back[0]);
	close(back[1]);
	return i;
}

/* Two processes on one CPU that yield to each other. */
static u64 yields(u64 n)
{
	cpu_set_t old, one;
	pid_t child;
	u64 i;

	sched_getaffinity(0, sizeof(old), &old);
	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	sched_setaffinity(0, sizeof(one), &one);
	child = fork();
	for (i = 0; i < n; i++)
		sched_yield();
	if (!child)
		_exit(0);
	waitpid(child, NULL, 0);
	sched_setaffinity(0, sizeof(old), &old);
	return i;
}

/* Bytes through a pipe in blocks. */
static u64 pipe_stream(u64 n)
{
	static char block[16384];
	int fd[2];
	pid_t child;
	u64 i;

	if (pipe(fd))
		return 1;
	child = fork();
	if (!child) {
		close(fd[0]);
		for (i = 0; i < n; i++)
			if (write(fd[1], block, sizeof(block)) < 0)
				_exit(1);
		_exit(0);
	}
	close(fd[1]);
	while (read(fd[0], block, sizeof(block)) > 0)
		;
	close(fd[0]);
	waitpid(child, NULL, 0);
	return 0;
}

static u64 socket_echo(u64 n)
{
	int s[2];
	char c[64] = {0};

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, s))
		return 1;
	for (; n; n--) {
		struct pollfd p = {s[1], POLLIN, 0};

		if (write(s[0], c, 64) != 64 || poll(&p, 1, -1) != 1 || read(s[1], c, 64) != 64)
			break;
	}
	close(s[0]);
	close(s[1]);
	return n;
}

/* ---- signals ---- */

static volatile u64 signals;
static u8 *trap_page;

static void on_signal(int s)
{
	(void)s;
	signals++;
}

static u64 signal_self(u64 n)
{
	signal(SIGUSR1, on_signal);
	signals = 0;
	for (; n; n--)
		raise(SIGUSR1);
	return signals;
}

static void on_fault(int s)
{
	(void)s;
	signals++;
	mprotect(trap_page, 4096, PROT_READ | PROT_WRITE);
}

static u64 signal_fault(u64 n)
{
	trap_page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	signal(SIGSEGV, on_fault);
	signals = 0;
	for (; n; n--) {
		mprotect(trap_page, 4096, PROT_READ);
		*(volatile u8 *)trap_page = 1;
	}
	signal(SIGSEGV, SIG_DFL);
	munmap(trap_page, 4096);
	return signals;
}

/* ---- threads ---- */

static u32 ball;
static u64 rounds;

static void wait_for(u32 *cell, u32 value)
{
	u32 v;

	while ((v = __atomic_load_n(cell, __ATOMIC_ACQUIRE)) != value)
		syscall(SYS_futex, cell, FUTEX_WAIT_PRIVATE, v, NULL, NULL, 0);
}

static void give(u32 *cell, u32 value)
{
	__atomic_store_n(cell, value, __ATOMIC_RELEASE);
	syscall(SYS_futex, cell, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void *partner(void *unused)
{
	u64 i;

	for (i = 0; i < rounds; i++) {
		wait_for(&ball, 1);
		give(&ball, 0);
	}
	return unused;
}

static u64 futex(u64 n)
{
	pthread_t t;
	u64 i;

	rounds = n;
	ball = 0;
	pthread_create(&t, NULL, partner, NULL);
	for (i = 0; i < n; i++) {
		give(&ball, 1);
		wait_for(&ball, 0);
	}
	pthread_join(t, NULL);
	return i;
}

static void *nothing(void *unused)
{
	return unused;
}

static u64 thread_create(u64 n)
{
	for (; n; n--) {
		pthread_t t;

		pthread_create(&t, NULL, nothing, NULL);
		pthread_join(t, NULL);
	}
	return 0;
}

/* ---- files, in /tmp, which is a tmpfs on every side ---- */

static const char file_name[] = "/tmp/bench-file";

static u64 file_write_read(u64 n)
{
	static char block[65536];
	int fd = open(file_name, O_RDWR | O_CREAT | O_TRUNC, 0600);
	u64 i, sum = 0;

	for (i = 0; i < n; i++)
		sum += write(fd, block, sizeof(block));
	lseek(fd, 0, SEEK_SET);
	for (i = 0; i < n; i++)
		sum += read(fd, block, sizeof(block));
	close(fd);
	unlink(file_name);
	return sum;
}

static u64 small_io(u64 n)
{
	int fd = open(file_name, O_RDWR | O_CREAT | O_TRUNC, 0600);
	char c[100] = {0};
	u64 sum = 0;

	for (; n; n--)
		sum += pwrite(fd, c, 100, (n & 1023) * 100) + pread(fd, c, 100, (n * 7 & 1023) * 100) / 1000;
	close(fd);
	unlink(file_name);
	return sum;
}

static u64 open_stat(u64 n)
{
	struct stat st;

	for (; n; n--) {
		int fd = open("/bench/bench", O_RDONLY);

		if (fd < 0 || stat("/bin/true", &st))
			return 0;
		close(fd);
	}
	return 1;
}

static u64 create_unlink(u64 n)
{
	char name[64];
	u64 i;

	for (i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "/tmp/bench-%llu", (unsigned long long)i & 63);
		close(open(name, O_WRONLY | O_CREAT, 0600));
		unlink(name);
	}
	return i;
}

const struct row system_rows[] = {
	{.name = "null-call", .class = "os", .run = null_call, .n = 200000},
	{.name = "clock", .class = "os", .run = clock_call, .n = 500000},
	{.name = "page-fault", .class = "os", .run = page_fault, .n = 20000},
	{.name = "map-unmap", .class = "os", .run = map_unmap, .n = 10000},
	{.name = "protect", .class = "os", .run = protect, .n = 10000},
	{.name = "fork-wait", .class = "os", .run = fork_wait, .n = 150},
	{.name = "fork-exec", .class = "os", .run = fork_exec, .n = 60},
	{.name = "ping-pong", .class = "os", .run = ping_pong, .n = 3000},
	{.name = "yield", .class = "os", .run = yields, .n = 20000},
	{.name = "pipe-stream", .class = "os", .run = pipe_stream, .n = 4000},
	{.name = "socket-poll", .class = "os", .run = socket_echo, .n = 15000},
	{.name = "signal", .class = "os", .run = signal_self, .n = 20000},
	{.name = "signal-fault", .class = "os", .run = signal_fault, .n = 8000},
	{.name = "futex", .class = "os", .run = futex, .n = 2000},
	{.name = "thread-create", .class = "os", .run = thread_create, .n = 500},
	{.name = "file-64k", .class = "os", .run = file_write_read, .n = 500},
	{.name = "file-100", .class = "os", .run = small_io, .n = 30000},
	{.name = "open-stat", .class = "os", .run = open_stat, .n = 15000},
	{.name = "create-unlink", .class = "os", .run = create_unlink, .n = 5000},
	{.name = NULL},
};
