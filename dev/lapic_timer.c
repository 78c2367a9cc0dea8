/* SPDX-License-Identifier: MIT */
/*
 * The local APIC's timer. The counter is not kept: what is kept is the clock
 * at which it reaches zero, and everything else follows from that.
 */
#include "dev/lapic_internal.h"
#include "vm/vm.h"

/* A guest may ask for a period of 1 ns; the host grants this many. */
#define MIN_PERIOD_NS 20000
/* Deadlines further away than this (146 years) are as good as never. */
#define FAR_NS (1ull << 62)

static struct clock *clock_of(struct lapic *lapic)
{
	return &lapic->bus->vm->clock;
}

static u32 mode(const struct lapic *lapic)
{
	return lapic->lvt[LVT_TIMER] & LVT_TIMER_MODE;
}

/* Nanoseconds a count: the bus runs at 1 GHz. */
static u64 count_ns(const struct lapic *lapic)
{
	u32 code = (lapic->timer_divide & 3) | (lapic->timer_divide >> 1 & 4);

	return 1ull << ((code + 1) & 7);
}

u32 lapic_timer_current(struct lapic *lapic)
{
	u64 now = clock_now(clock_of(lapic));
	u64 unit = count_ns(lapic);

	if (!lapic->timer_initial || lapic->timer_zero <= now)
		return 0;
	return (u32)MIN((lapic->timer_zero - now + unit - 1) / unit, lapic->timer_initial);
}

static void disarm(struct lapic *lapic)
{
	lapic->timer_zero = 0;
	lapic->tsc_deadline = 0;
	timer_cancel(clock_of(lapic), &lapic->timer);
}

void lapic_timer_start(struct lapic *lapic, u32 initial)
{
	if (mode(lapic) == LVT_TIMER_DEADLINE)
		return;
	lapic->timer_initial = initial;
	if (!initial) {
		disarm(lapic);
		return;
	}
	lapic->timer_zero = clock_now(clock_of(lapic)) + initial * count_ns(lapic);
	timer_arm(clock_of(lapic), &lapic->timer, lapic->timer_zero);
}

/* A new divider: the count stays, its speed changes. */
void lapic_timer_divide(struct lapic *lapic, u32 divide)
{
	u32 current = lapic_timer_current(lapic);

	lapic->timer_divide = divide;
	if (!current || mode(lapic) == LVT_TIMER_DEADLINE)
		return;
	lapic->timer_zero = clock_now(clock_of(lapic)) + current * count_ns(lapic);
	timer_arm(clock_of(lapic), &lapic->timer, lapic->timer_zero);
}

void lapic_timer_mode_changed(struct lapic *lapic, u32 old)
{
	if (mode(lapic) == (old & LVT_TIMER_MODE))
		return;
	if (mode(lapic) == LVT_TIMER_DEADLINE || (old & LVT_TIMER_MODE) == LVT_TIMER_DEADLINE) {
		lapic->timer_initial = 0;
		disarm(lapic);
	}
}

/* ---- TSC deadline ---- */

static u64 ns_of_tsc(const struct lapic *lapic, u64 ticks)
{
	unsigned __int128 ns = ((unsigned __int128)ticks * lapic->bus->ns_per_tick >> 32) + 1;

	return ns < FAR_NS ? (u64)ns : FAR_NS;
}

static void deadline_reached(struct lapic *lapic)
{
	lapic->tsc_deadline = 0;
	lapic_local(lapic, LVT_TIMER);
}

/* Fires at once, or arms the timer for what is left. */
static void check_deadline(struct lapic *lapic)
{
	u64 tsc = lapic->tsc(lapic);

	if (tsc >= lapic->tsc_deadline) {
		timer_cancel(clock_of(lapic), &lapic->timer);
		deadline_reached(lapic);
		return;
	}
	timer_arm(clock_of(lapic), &lapic->timer,
		clock_now(clock_of(lapic)) + ns_of_tsc(lapic, lapic->tsc_deadline - tsc));
}

void lapic_timer_deadline(struct lapic *lapic, u64 tsc)
{
	if (mode(lapic) != LVT_TIMER_DEADLINE)
		return;
	lapic->tsc_deadline = tsc;
	if (tsc)
		check_deadline(lapic);
	else
		timer_cancel(clock_of(lapic), &lapic->timer);
}

/* ---- expiry ---- */

/* The next zero keeps the phase, skipping those that have been missed. */
static void next_period(struct lapic *lapic)
{
	u64 period = lapic->timer_initial * count_ns(lapic);
	u64 now = clock_now(clock_of(lapic));

	lapic->timer_zero += period;
	if (lapic->timer_zero <= now)
		lapic->timer_zero += ((now - lapic->timer_zero) / period + 1) * period;
	timer_arm(clock_of(lapic), &lapic->timer, MAX(lapic->timer_zero, now + MIN_PERIOD_NS));
}

static void expired(void *arg)
{
	struct lapic *lapic = arg;

	if (mode(lapic) == LVT_TIMER_DEADLINE) {
		check_deadline(lapic);
		return;
	}
	if (mode(lapic) == LVT_TIMER_PERIODIC && lapic->timer_initial)
		next_period(lapic);
	lapic_local(lapic, LVT_TIMER);
}

void lapic_timer_reset(struct lapic *lapic)
{
	lapic->timer_initial = lapic->timer_divide = 0;
	disarm(lapic);
}

void lapic_timer_init(struct lapic *lapic)
{
	timer_init(&lapic->timer, expired, lapic);
}
