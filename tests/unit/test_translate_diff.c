/* SPDX-License-Identifier: MIT */
/*
 * Random streams of instructions on the silicon and in the translate engine:
 * registers, flags, vector state, memory and faults must be the same.
 *
 *	test_translate_diff [--seed N] [--count N] [--keep-going N] [--show]
 *
 * Without arguments: a fixed set of seeds, then a fresh one that is printed.
 * A case that differs is made shorter and listed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/diff/diff.h"

static struct diff_shared *sh;
static int shared_fd;

static bool shared_init(void)
{
	shared_fd = memfd_create("diff", 0);
	if (shared_fd < 0 || ftruncate(shared_fd, sizeof(*sh)))
		return false;
	sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE, MAP_SHARED, shared_fd, 0);
	return sh != MAP_FAILED;
}

/* ---- one case ---- */

enum verdict { SAME, DIFFERENT, SKIPPED };

/* In a process that has the runners. */
static enum verdict run_case(bool print)
{
	static const char *const modes[GUEST_MODES] = { "cold", "warm", "stepping" };

	native_run(sh);
	if (sh->native.status != DIFF_DONE)
		return SKIPPED;
	for (unsigned mode = 0; mode < GUEST_MODES; mode++) {
		if (mode == GUEST_STEP && sh->test.seed % 4)
			break;
		guest_run(sh, mode);
		if (!diff_compare(sh, false)) {
			if (print) {
				printf("differs (%s run):\n", modes[mode]);
				diff_compare(sh, true);
			}
			return DIFFERENT;
		}
	}
	return SAME;
}

static bool start_runners(void)
{
	return !native_start(sh, shared_fd) && !guest_start();
}

/* The case in sh->test, in a process of its own, since the engine may die of it. */
static enum verdict try_case(bool print)
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		enum verdict v = SKIPPED;

		if (start_runners())
			v = run_case(print);
		native_stop();
		fflush(stdout);
		_exit(v);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return SKIPPED;
	if (WIFSIGNALED(status)) {
		if (print)
			printf("differs: the engine's process died of signal %d\n", WTERMSIG(status));
		return DIFFERENT;
	}
	return (enum verdict)WEXITSTATUS(status);
}

/* ---- making it shorter ---- */

static bool is_gone(const struct diff_case *t, const struct atom *a)
{
	return t->mem[a->at] == 0x90;
}

static bool drop(unsigned first, unsigned n)
{
	struct diff_case *t = &sh->test, saved = *t;
	bool any = false;

	for (unsigned i = first; i < first + n && i < t->natoms; i++) {
		for (unsigned k = 0; k < t->natoms; k++) {
			struct atom *a = &t->atom[k];

			if (k != i && (!a->group || a->group != t->atom[i].group))
				continue;
			any |= !is_gone(t, a);
			memset(t->mem + a->at, 0x90, a->len);
		}
	}
	if (any && try_case(false) == DIFFERENT)
		return true;
	*t = saved;
	return false;
}

static void shrink(void)
{
	for (unsigned n = sh->test.natoms / 2; n >= 1; n /= 2)
		for (unsigned i = 0; i < sh->test.natoms; i += n)
			drop(i, n);
	for (unsigned i = sh->test.natoms; i-- > 0;)
		drop(i, 1);
}

static void explain(u64 seed)
{
	static struct diff_shared saved;

	printf("FAIL seed %llu\n", (unsigned long long)seed);
	saved = *sh;
	diff_generate(&sh->test, seed);
	if (try_case(false) != DIFFERENT) {
		printf("  same when it runs alone: it depends on the cases before it\n");
		diff_disassemble(&saved.test);
		diff_compare(&saved, true);
		return;
	}
	shrink();
	printf("CPL %d, starts at %llx\n", sh->test.kernel ? 0 : 3, (unsigned long long)sh->test.init.rip);
	diff_disassemble(&sh->test);
	try_case(true);
	fflush(stdout);
}

/* ---- many cases ---- */

static int work(u64 seed, u64 count)
{
	if (!start_runners())
		return 2;
	for (u64 i = 0; i < count; i++) {
		sh->progress = i;
		diff_generate(&sh->test, seed + i);
		switch (run_case(false)) {
		case DIFFERENT: return 1;
		case SKIPPED:
			sh->skipped++;
			/* A new runner must not have the engine's memory: start over. */
			if (sh->native.status == DIFF_DIED) {
				native_stop();
				return 3;
			}
			break;
		default: break;
		}
		sh->compared++;
		sh->insns += sh->test.natoms;
		sh->faults += sh->native.vector != VEC_BP;
	}
	native_stop();
	return 0;
}

static int worker(u64 seed, u64 count)
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid)
		_exit(work(seed, count));
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return 2;
	if (!WIFSIGNALED(status))
		return WEXITSTATUS(status);
	printf("the engine's process died of signal %d\n", WTERMSIG(status));
	return 1;
}

/* Returns how many differ; stops after `limit` of them. */
static u64 run_range(u64 seed, u64 count, u64 limit)
{
	u64 failures = 0;

	while (count) {
		u64 done;
		int r = worker(seed, count);

		if (r == 2) {
			printf("FAIL the runners do not start\n");
			return failures + 1;
		}
		if (!r)
			break;
		done = sh->progress + 1;
		if (r == 1) {
			explain(seed + done - 1);
			if (++failures >= limit)
				break;
		}
		seed += done;
		count -= done;
	}
	return failures;
}

static u64 fresh_seed(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return ((u64)ts.tv_sec * 1000000007ull + (u64)ts.tv_nsec) % 1000000000000ull;
}

static int show(u64 seed)
{
	diff_generate(&sh->test, seed);
	diff_disassemble(&sh->test);
	return 0;
}

int main(int argc, char **argv)
{
	u64 seed = 0, count = 0, limit = 5, failures;
	struct timespec a, b;
	bool listing = false;

	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--show"))
			listing = true;
		else if (!strcmp(argv[i], "--seed") && i + 1 < argc)
			seed = strtoull(argv[++i], NULL, 0);
		else if (!strcmp(argv[i], "--count") && i + 1 < argc)
			count = strtoull(argv[++i], NULL, 0);
		else if (!strcmp(argv[i], "--keep-going") && i + 1 < argc)
			limit = strtoull(argv[++i], NULL, 0);
		else
			return fprintf(stderr, "usage: %s [--seed N] [--count N] [--keep-going N] [--show]\n", argv[0]), 2;
	}
	if (!shared_init())
		return perror("shared memory"), 2;
	if (listing)
		return show(seed);
	clock_gettime(CLOCK_MONOTONIC, &a);
	if (seed || count) {
		failures = run_range(seed, count ? count : 1, limit);
	} else {
		seed = fresh_seed();
		printf("fresh seed %llu\n", (unsigned long long)seed);
		failures = run_range(1, 10000, limit) + run_range(seed, 10000, limit);
	}
	clock_gettime(CLOCK_MONOTONIC, &b);
	printf("%s %llu streams, %llu instructions, %llu ended in a fault, %llu skipped, %llu differ, %.1f s\n",
	       failures ? "FAIL" : "ok", (unsigned long long)sh->compared, (unsigned long long)sh->insns,
	       (unsigned long long)sh->faults, (unsigned long long)sh->skipped, (unsigned long long)failures,
	       (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) / 1e9);
	return failures != 0;
}
