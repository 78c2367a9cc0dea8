/* SPDX-License-Identifier: MIT */
/* The host's TSC frequency. */
#include "host/tsc.h"

#include <time.h>
#include <x86intrin.h>

#define TRIES 16

u64 tsc_read(void)
{
	return __rdtsc();
}

static u64 monotonic_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (u64)now.tv_sec * 1000000000 + (u64)now.tv_nsec;
}

void tsc_sample(struct tsc_sample *sample)
{
	u64 best = UINT64_MAX;

	for (unsigned i = 0; i < TRIES; i++) {
		unsigned aux;
		u64 before = __rdtscp(&aux);
		u64 ns = monotonic_ns();
		u64 width = __rdtscp(&aux) - before;

		if (width < best) {
			best = width;
			sample->tsc = before + width / 2;
			sample->ns = ns;
		}
	}
}

u64 tsc_khz_since(const struct tsc_sample *first, u64 least_ns)
{
	struct tsc_sample second;
	u64 passed = monotonic_ns() - first->ns;

	if (passed < least_ns) {
		struct timespec rest = {.tv_nsec = (long)(least_ns - passed)};

		nanosleep(&rest, NULL);
	}
	tsc_sample(&second);
	return (u64)((unsigned __int128)(second.tsc - first->tsc) * 1000000 / (second.ns - first->ns));
}
