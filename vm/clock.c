/* SPDX-License-Identifier: MIT */
/* The machine's time and its timers: a sorted list, since a machine has a dozen. */
#include "vm/clock.h"

#include <time.h>

static u64 host_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (u64)now.tv_sec * 1000000000 + (u64)now.tv_nsec;
}

static u64 monotonic_now(struct clock *clock)
{
	return host_ns() - clock->base;
}

void clock_init(struct clock *clock)
{
	*clock = (struct clock){.now = monotonic_now, .base = host_ns(), .covered = CLOCK_NEVER};
}

void timer_init(struct timer *timer, void (*fire)(void *), void *arg)
{
	*timer = (struct timer){.fire = fire, .arg = arg, .deadline = CLOCK_NEVER};
}

static void unlink_timer(struct clock *clock, struct timer *timer)
{
	struct timer **link = &clock->timers;

	if (timer->deadline == CLOCK_NEVER)
		return;
	while (*link && *link != timer)
		link = &(*link)->next;
	if (*link)
		*link = timer->next;
	timer->next = NULL;
	timer->deadline = CLOCK_NEVER;
}

static void rearm(struct clock *clock)
{
	if (clock->rearm)
		clock->rearm(clock);
}

void timer_arm(struct clock *clock, struct timer *timer, u64 deadline)
{
	u64 before = clock_next(clock);
	struct timer **link = &clock->timers;

	unlink_timer(clock, timer);
	if (deadline != CLOCK_NEVER) {
		while (*link && (*link)->deadline <= deadline)
			link = &(*link)->next;
		timer->deadline = deadline;
		timer->next = *link;
		*link = timer;
	}
	if (clock_next(clock) != before)
		rearm(clock);
}

void timer_cancel(struct clock *clock, struct timer *timer)
{
	timer_arm(clock, timer, CLOCK_NEVER);
}

u64 clock_next(const struct clock *clock)
{
	return clock->timers ? clock->timers->deadline : CLOCK_NEVER;
}

u64 clock_uncovered(const struct clock *clock)
{
	u64 next = clock_next(clock);

	return next < clock->covered ? next : CLOCK_NEVER;
}

void clock_cover(struct clock *clock, u64 until)
{
	clock->covered = until;
	rearm(clock);
}

/* A timer that arms itself no later than it stood waits for the next run, so that this one ends. */
void clock_run(struct clock *clock)
{
	u64 now = clock_now(clock);
	bool fired = false;

	while (clock->timers && clock->timers->deadline <= now) {
		struct timer *timer = clock->timers;
		u64 deadline = timer->deadline;

		unlink_timer(clock, timer);
		fired = true;
		timer->fire(timer->arg);
		if (timer->deadline <= deadline)
			break;
	}
	if (fired)
		rearm(clock);
}
