/* SPDX-License-Identifier: MIT */
/*
 * The host's TSC frequency, measured against CLOCK_MONOTONIC between two
 * samples. The clock's own TSC read lies inside the sample's bracket at the
 * same place each time, so two samples some milliseconds apart agree with the
 * host's clock to a few parts per million.
 */
#pragma once

#include "lib/types.h"

#define TSC_ROUGH_NS 200000ull /* about 50 parts per million */
#define TSC_EXACT_NS 3000000ull /* a few */

struct tsc_sample {
	u64 tsc;
	u64 ns;
};

u64 tsc_read(void);
void tsc_sample(struct tsc_sample *sample);
/* Takes the second sample now, or as soon as that many ns have passed since the first. */
u64 tsc_khz_since(const struct tsc_sample *first, u64 least_ns);
