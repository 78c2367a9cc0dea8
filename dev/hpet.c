/* SPDX-License-Identifier: MIT */
/* HPET. Facts: IA-PC HPET specification 1.0a. */
#include "dev/hpet.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vm/vm.h"

#define FEMTOSECONDS_PER_NS 1000000ull
#define CAPABILITIES (HPET_ID | HPET_TICK_NS * FEMTOSECONDS_PER_NS << 32)

#define CONFIG_ENABLE BIT(0)
#define CONFIG_LEGACY BIT(1)
#define CONFIG_VALID (CONFIG_ENABLE | CONFIG_LEGACY)

#define TN_LEVEL BIT(1)
#define TN_INT_ENABLE BIT(2)
#define TN_PERIODIC BIT(3)
#define TN_PERIODIC_CAP BIT(4)
#define TN_SIZE_CAP BIT(5)
#define TN_SET_VALUE BIT(6)
#define TN_32BIT BIT(8)
#define TN_ROUTE_SHIFT 9
#define TN_ROUTE 0x3e00u
#define TN_CAPS (TN_PERIODIC_CAP | TN_SIZE_CAP | (u64)HPET_ROUTES << 32)
#define TN_WRITABLE (TN_LEVEL | TN_INT_ENABLE | TN_PERIODIC | TN_SET_VALUE | TN_32BIT | TN_ROUTE)

/* A guest may ask for a period of 10 ns; the host grants this many. */
#define MIN_PERIOD_NS 20000
#define FAR_TICKS (1ull << 58) /* 91 years: as good as never */

static bool is_running(const struct hpet *hpet)
{
	return hpet->config & CONFIG_ENABLE;
}

static bool is_legacy(const struct hpet *hpet)
{
	return hpet->config & CONFIG_LEGACY;
}

static u64 counter(const struct hpet *hpet)
{
	if (!is_running(hpet))
		return hpet->counter;
	return hpet->counter + (clock_now(hpet->clock) - hpet->start) / HPET_TICK_NS;
}

/* The clock when a running counter shows `ticks` more than it does now. */
static u64 clock_after(const struct hpet *hpet, u64 now, u64 ticks)
{
	return hpet->start + (now - hpet->counter + ticks) * HPET_TICK_NS;
}

static unsigned number(const struct hpet_timer *t)
{
	return (unsigned)(t - t->hpet->timer);
}

/* ---- wires ---- */

static const struct irq_line *wire(const struct hpet_timer *t)
{
	const struct hpet *hpet = t->hpet;
	unsigned pin = (t->config & TN_ROUTE) >> TN_ROUTE_SHIFT;

	if (is_legacy(hpet) && number(t) < 2)
		return number(t) ? &hpet->wires.irq8 : &hpet->wires.irq0;
	return pin < HPET_PINS && HPET_ROUTES & 1u << pin ? &hpet->wires.pin[pin] : NULL;
}

static void drive(struct hpet_timer *t, bool level)
{
	const struct irq_line *line = wire(t);

	if (level == t->level)
		return;
	t->level = level;
	if (line)
		irq_set(line, level);
}

static bool level_wanted(const struct hpet_timer *t)
{
	return t->config & TN_LEVEL && t->config & TN_INT_ENABLE && t->hpet->status >> number(t) & 1;
}

static void interrupt(struct hpet_timer *t)
{
	if (t->config & TN_LEVEL) {
		t->hpet->status |= BIT(number(t));
		drive(t, level_wanted(t));
	} else if (t->config & TN_INT_ENABLE) {
		drive(t, true);
		drive(t, false);
	}
}

static void legacy_in(void *ctx, unsigned pin, bool level)
{
	struct hpet *hpet = ctx;

	hpet->legacy_in[pin] = level;
	if (!is_legacy(hpet))
		irq_set(pin ? &hpet->wires.irq8 : &hpet->wires.irq0, level);
}

struct irq_line hpet_legacy_in(struct hpet *hpet, unsigned irq)
{
	return (struct irq_line){.set = legacy_in, .ctx = hpet, .pin = irq == 8};
}

/* ---- comparators ---- */

static u64 mask(const struct hpet_timer *t)
{
	return t->config & TN_32BIT ? 0xffffffff : UINT64_MAX;
}

/*
 * Ticks until the comparator matches. A match that lies just behind (in the
 * half of the range that is past) counts as due: a guest that was held up
 * between reading the counter and writing the comparator must not wait for a
 * whole turn of the counter.
 */
static u64 ticks_left(const struct hpet_timer *t, u64 now)
{
	u64 left = (t->comparator - now) & mask(t);

	return left > mask(t) / 2 ? 0 : left;
}

static void arm(struct hpet_timer *t)
{
	struct hpet *hpet = t->hpet;
	u64 now = counter(hpet);
	u64 left = ticks_left(t, now);
	u64 earliest = clock_now(hpet->clock);

	/* A one-shot comparator that has matched waits for the next write. */
	if (!is_running(hpet) || left > FAR_TICKS || t->done) {
		timer_cancel(hpet->clock, &t->timer);
		return;
	}
	if (t->config & TN_PERIODIC)
		earliest += MIN_PERIOD_NS;
	timer_arm(hpet->clock, &t->timer, MAX(clock_after(hpet, now, left), earliest));
}

/* The next match of a periodic comparator that lies in the future. */
static void advance(struct hpet_timer *t)
{
	u64 now = counter(t->hpet);
	u64 late = (now - t->comparator) & mask(t);

	t->comparator = (t->comparator + (late / t->period + 1) * t->period) & mask(t);
}

static void match(void *arg)
{
	struct hpet_timer *t = arg;

	if (t->config & TN_PERIODIC && t->period)
		advance(t);
	else
		t->done = true;
	arm(t);
	interrupt(t);
}

/* ---- registers ---- */

static void write_config(struct hpet *hpet, u64 value)
{
	u64 now = counter(hpet);

	for (unsigned i = 0; i < HPET_TIMERS; i++)
		drive(&hpet->timer[i], false); /* off the old wire */
	hpet->counter = now;
	hpet->start = clock_now(hpet->clock);
	hpet->config = value & CONFIG_VALID;
	irq_set(&hpet->wires.irq0, !is_legacy(hpet) && hpet->legacy_in[0]);
	irq_set(&hpet->wires.irq8, !is_legacy(hpet) && hpet->legacy_in[1]);
	for (unsigned i = 0; i < HPET_TIMERS; i++) {
		drive(&hpet->timer[i], level_wanted(&hpet->timer[i]));
		arm(&hpet->timer[i]);
	}
}

static void write_status(struct hpet *hpet, u64 value)
{
	hpet->status &= ~value;
	for (unsigned i = 0; i < HPET_TIMERS; i++)
		if (hpet->timer[i].config & TN_LEVEL)
			drive(&hpet->timer[i], level_wanted(&hpet->timer[i]));
}

static void write_counter(struct hpet *hpet, u64 value)
{
	if (is_running(hpet)) /* may be written only while halted */
		return;
	hpet->counter = value;
	for (unsigned i = 0; i < HPET_TIMERS; i++)
		hpet->timer[i].done = false;
}

static void write_timer_config(struct hpet_timer *t, u64 value)
{
	drive(t, false);
	t->config = (value & TN_WRITABLE) | TN_CAPS;
	t->comparator &= mask(t);
	t->period &= mask(t);
	drive(t, level_wanted(t));
	arm(t);
}

/* In periodic mode a write sets the period; with SET_VALUE also the next match. */
static void write_comparator(struct hpet_timer *t, u64 value)
{
	value &= mask(t);
	if (!(t->config & TN_PERIODIC) || t->config & TN_SET_VALUE)
		t->comparator = value;
	if (t->config & TN_PERIODIC)
		t->period = value;
	t->config &= ~TN_SET_VALUE;
	t->done = false;
	arm(t);
}

static struct hpet_timer *timer_at(struct hpet *hpet, u64 offset)
{
	u64 n = (offset - HPET_TIMER0) / 0x20;

	return offset >= HPET_TIMER0 && n < HPET_TIMERS ? &hpet->timer[n] : NULL;
}

/* offset is a multiple of 8. */
static u64 read_register(struct hpet *hpet, u64 offset)
{
	struct hpet_timer *t = timer_at(hpet, offset);

	if (t && (offset & 0x18) == 0)
		return t->config;
	if (t && (offset & 0x18) == 8)
		return t->comparator;
	switch (offset) {
	case HPET_CAP:
		return CAPABILITIES;
	case HPET_CONFIG:
		return hpet->config;
	case HPET_STATUS:
		return hpet->status;
	case HPET_COUNTER:
		return counter(hpet);
	default:
		return 0;
	}
}

static void write_register(struct hpet *hpet, u64 offset, u64 value)
{
	struct hpet_timer *t = timer_at(hpet, offset);

	if (t && (offset & 0x18) == 0)
		write_timer_config(t, value);
	else if (t && (offset & 0x18) == 8)
		write_comparator(t, value);
	else if (offset == HPET_CONFIG)
		write_config(hpet, value);
	else if (offset == HPET_STATUS)
		write_status(hpet, value);
	else if (offset == HPET_COUNTER)
		write_counter(hpet, value);
}

u64 hpet_read(struct hpet *hpet, u64 offset, unsigned size)
{
	u64 value = read_register(hpet, offset & ~7ull);

	if (offset & (size - 1))
		return 0;
	return size == 8 ? value : value >> (offset & 4) * 8 & 0xffffffff;
}

void hpet_write(struct hpet *hpet, u64 offset, unsigned size, u64 value)
{
	u64 reg = offset & ~7ull;
	u64 old;

	if (offset & (size - 1))
		return;
	if (size == 4) {
		/* The other half stays, except where writing ones means something. */
		old = reg == HPET_STATUS ? 0 : read_register(hpet, reg);
		value &= 0xffffffff;
		value = offset & 4 ? (old & 0xffffffff) | value << 32 : (old & ~0xffffffffull) | value;
	}
	write_register(hpet, reg, value);
}

void hpet_reset(struct hpet *hpet)
{
	for (unsigned i = 0; i < HPET_TIMERS; i++) {
		struct hpet_timer *t = &hpet->timer[i];

		drive(t, false);
		t->config = TN_CAPS;
		t->comparator = UINT64_MAX;
		t->period = 0;
		t->done = false;
	}
	hpet->status = 0;
	write_config(hpet, 0);
	hpet->counter = 0;
}

void hpet_init(struct hpet *hpet, struct clock *clock, const struct hpet_wires *wires)
{
	memset(hpet, 0, sizeof(*hpet));
	hpet->clock = clock;
	hpet->wires = *wires;
	for (unsigned i = 0; i < HPET_TIMERS; i++) {
		hpet->timer[i].hpet = hpet;
		timer_init(&hpet->timer[i].timer, match, &hpet->timer[i]);
	}
	hpet_reset(hpet);
}

static struct hpet *of(struct device *dev)
{
	return container_of(dev, struct hpet, dev);
}

static u64 region_read(struct device *dev, u64 offset, unsigned size)
{
	return hpet_read(of(dev), offset, size);
}

static void region_write(struct device *dev, u64 offset, unsigned size, u64 value)
{
	hpet_write(of(dev), offset, size, value);
}

static const struct region_ops region_ops = {region_read, region_write, 4, 8};

static void dev_reset(struct device *dev)
{
	hpet_reset(of(dev));
}

static void dev_free(struct device *dev)
{
	struct hpet *hpet = of(dev);

	for (unsigned i = 0; i < HPET_TIMERS; i++)
		timer_cancel(hpet->clock, &hpet->timer[i].timer);
	free(hpet);
}

static const struct device_ops device_ops = {.reset = dev_reset, .free = dev_free};

int hpet_create(struct vm *vm, const struct hpet_wires *wires, struct hpet **out)
{
	struct hpet *hpet = malloc(sizeof(*hpet));
	int err;

	if (!hpet)
		return -ENOMEM;
	hpet_init(hpet, &vm->clock, wires);
	hpet->dev = (struct device){.ops = &device_ops, .name = "hpet"};
	hpet->region = (struct region){
		.name = "hpet",
		.base = HPET_BASE,
		.size = HPET_SIZE,
		.ops = &region_ops,
		.dev = &hpet->dev,
	};
	err = space_add(&vm->mem, &hpet->region);
	if (err) {
		dev_free(&hpet->dev);
		return err;
	}
	vm_add_device(vm, &hpet->dev);
	*out = hpet;
	return 0;
}
