/* SPDX-License-Identifier: MIT */
/*
 * The machine's time and its timers. Unit: nanoseconds of CLOCK_MONOTONIC
 * since the clock was made; a test supplies its own `now`.
 *
 * Timers are armed, cancelled and run under the machine lock. Whoever notices
 * that a deadline has passed (the loop thread, or an idle vCPU) takes the lock
 * and calls clock_run.
 */
#pragma once

#include "lib/types.h"

#define CLOCK_NEVER UINT64_MAX

struct clock;

struct timer {
	void (*fire)(void *arg); /* machine lock held; may arm timers again */
	void *arg;
	u64 deadline; /* CLOCK_NEVER while idle */
	struct timer *next; /* in the clock's list, earliest first */
};

struct clock {
	u64 (*now)(struct clock *clock);
	void (*rearm)(struct clock *clock); /* the earliest deadline has changed; may be NULL */
	u64 base; /* for `now`: the host's time when the clock was made */
	struct timer *timers;
	/*
	 * A halted vCPU wakes at this time and runs the clock, so that nobody
	 * else need care for later deadlines; CLOCK_NEVER when none halts.
	 */
	u64 covered;
};

/* The host's monotonic clock; `rearm` may be set afterwards. */
void clock_init(struct clock *clock);

static inline u64 clock_now(struct clock *clock)
{
	return clock->now(clock);
}

void timer_init(struct timer *timer, void (*fire)(void *), void *arg);
/* Arms (or moves) the timer. A deadline in the past fires at the next clock_run. */
void timer_arm(struct clock *clock, struct timer *timer, u64 deadline);
void timer_cancel(struct clock *clock, struct timer *timer);

/* The earliest deadline, or CLOCK_NEVER. */
u64 clock_next(const struct clock *clock);
/* The earliest deadline that no halted vCPU takes care of, or CLOCK_NEVER. */
u64 clock_uncovered(const struct clock *clock);
/* Sets `covered`, and has the deadlines that this uncovers taken care of. */
void clock_cover(struct clock *clock, u64 until);
/* Fires everything that is due. */
void clock_run(struct clock *clock);
