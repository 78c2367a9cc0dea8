/* SPDX-License-Identifier: MIT */
/* The benchmark's rows: what each file of kernels offers to the driver. */
#pragma once

#include <time.h>

#include "lib/types.h"

struct row {
	const char *name;
	const char *class;
	u64 (*run)(u64 n); /* does n operations and returns a checksum that every machine must agree on */
	u64 n; /* operations of one measurement: some 10 to 50 ms natively */
	void (*setup)(void); /* not measured; once */
	bool (*able)(void); /* can this machine do it? */
	const char *command; /* or else: a command line for the shell, */
	double (*measure)(const char *
			command); /* which this turns into nanoseconds an operation; the default: its duration */
};

extern const struct row integer_rows[], structure_rows[], interpreter_rows[], memory_rows[], float_rows[],
	vector_rows[], system_rows[], jit_rows[], program_rows[]; /* each ends with a null name */

#define NOINLINE __attribute__((noinline))
#define ARENA_SIZE MIB(80)

extern u8 *arena; /* scratch memory, page aligned, touched before the first row */

static inline u32 next_random(u32 *state)
{
	u32 x = *state;

	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	return *state = x;
}

static inline u64 now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

/* Keeps the compiler from seeing through a value. */
#define HIDE(x) __asm__ volatile("" : "+r"(x)::"memory")
