/* SPDX-License-Identifier: MIT */
/*
 * The benchmark's driver, the same binary on every machine under test:
 *
 *   bench [-q] [-n RUNS] [-c CLASS] [-l] [PATTERN...]
 *
 * prints "row NAME CLASS NANOSECONDS CHECKSUM" for each row: the median time
 * of an operation. A row that this machine cannot do prints "-".
 */
#include "bench/bench.h"

#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

u8 *arena;

static const struct row *const tables[] = {
	integer_rows,
	structure_rows,
	interpreter_rows,
	memory_rows,
	float_rows,
	vector_rows,
	system_rows,
	jit_rows,
	program_rows,
};

static int runs = 5;
static u64 row_limit = 4000000000ull; /* no further run of a row after so many ns */
static const char *only_class;

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double duration(const char *command)
{
	u64 start = now_ns();

	if (system(command) != 0)
		return -1;
	return now_ns() - start;
}

/* A row that crashes or hangs on an unfinished engine shall not take the others with it. */
static sigjmp_buf next_row;

static void give_up(int signal)
{
	(void)signal;
	siglongjmp(next_row, 1);
}

static void catch_failures(void)
{
	static const int signals[] = {SIGILL, SIGSEGV, SIGBUS, SIGFPE, SIGALRM};
	struct sigaction action = {.sa_handler = give_up};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(signals); i++)
		sigaction(signals[i], &action, NULL);
	alarm(120);
}

static void measure(const struct row *r)
{
	double ns[64];
	u64 sum = 0, spent = 0;
	int i;

	if (r->setup)
		r->setup();
	for (i = 0; i < runs && spent < row_limit; i++) {
		u64 start = now_ns();

		if (r->command) {
			ns[i] = (r->measure ? r->measure : duration)(r->command);
			spent += now_ns() - start;
		} else {
			sum = r->run(r->n);
			spent += now_ns() - start;
			ns[i] = (double)(now_ns() - start) / r->n;
		}
		if (ns[i] < 0) {
			printf("row %s %s - 0\n", r->name, r->class);
			return;
		}
	}
	qsort(ns, i, sizeof(ns[0]), by_value);
	printf("row %s %s %.2f %llx\n", r->name, r->class,
		i & 1 ? ns[i / 2] : (ns[i / 2 - 1] + ns[i / 2]) / 2, (unsigned long long)sum);
}

static void run_row(const struct row *r)
{
	catch_failures();
	if (sigsetjmp(next_row, 1) || (r->able && !r->able()))
		printf("row %s %s - 0\n", r->name, r->class);
	else
		measure(r);
}

static bool picked(const struct row *r, char **patterns)
{
	if (only_class && strcmp(only_class, r->class))
		return false;
	if (!*patterns)
		return true;
	for (; *patterns; patterns++)
		if (strstr(r->name, *patterns))
			return true;
	return false;
}

int main(int argc, char **argv)
{
	const struct row *r;
	bool list = false;
	size_t i;
	int o;

	while ((o = getopt(argc, argv, "qn:c:l")) != -1) {
		if (o == 'q') {
			runs = 3;
			row_limit = 1500000000ull;
		} else if (o == 'n') {
			runs = MIN(MAX(atoi(optarg), 1), 64);
		} else if (o == 'c') {
			only_class = optarg;
		} else if (o == 'l') {
			list = true;
		} else {
			return 2;
		}
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	arena = mmap(
		NULL, ARENA_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (arena == MAP_FAILED) {
		perror("bench: memory");
		return 1;
	}
	/* A child shall not have to copy its page tables: forks are to cost what a small process's do. */
	madvise(arena, ARENA_SIZE, MADV_DONTFORK);
	for (i = 0; i < ARRAY_SIZE(tables); i++) {
		for (r = tables[i]; r->name; r++) {
			if (!picked(r, argv + optind))
				continue;
			if (list)
				printf("%s %s\n", r->name, r->class);
			else
				run_row(r);
		}
	}
	return 0;
}
