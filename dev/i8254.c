/* SPDX-License-Identifier: MIT */
/* 8254 PIT and port 0x61. Facts: Intel 8254 data sheet; ICH9 data sheet for port 0x61. */
#include "dev/i8254.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vm/vm.h"

#define NS_PER_SEC 1000000000ull
#define REFRESH_NS 15085 /* half a period of the DRAM refresh request */
/* A guest may ask for an edge every 840 ns; the host grants this many ns. */
#define MIN_EDGE_NS 20000

enum {
	ACCESS_LATCH = 0,
	ACCESS_LOW = 1,
	ACCESS_HIGH = 2,
	ACCESS_BOTH = 3,

	SELECT_READ_BACK = 3,
	READ_BACK_NO_COUNT = 1 << 5,
	READ_BACK_NO_STATUS = 1 << 4,

	STATUS_OUT = 1 << 7,
	STATUS_NULL = 1 << 6,

	PORT_61_GATE = 1 << 0,
	PORT_61_SPEAKER = 1 << 1,
	PORT_61_REFRESH = 1 << 4,
	PORT_61_OUT2 = 1 << 5,
};

static u64 tick_of(u64 ns)
{
	return (u64)((unsigned __int128)ns * I8254_HZ / NS_PER_SEC);
}

/* The first nanosecond at which tick_of gives this tick. */
static u64 ns_of(u64 tick)
{
	return (u64)(((unsigned __int128)tick * NS_PER_SEC + I8254_HZ - 1) / I8254_HZ);
}

static u32 modulus(const struct i8254_channel *ch)
{
	return ch->bcd ? 10000 : 65536;
}

static u32 from_bcd(u16 v)
{
	return (v & 0xfu) + (v >> 4 & 0xfu) * 10 + (v >> 8 & 0xfu) * 100 + (v >> 12 & 0xfu) * 1000;
}

static u16 to_bcd(u32 v)
{
	return (u16)(v % 10 | v / 10 % 10 << 4 | v / 100 % 10 << 8 | v / 1000 % 10 << 12);
}

static u32 period_of(const struct i8254_channel *ch)
{
	u32 n = ch->bcd ? from_bcd(ch->reload) : ch->reload;

	return n ? n : modulus(ch);
}

static bool is_periodic(const struct i8254_channel *ch)
{
	return ch->mode == 2 || ch->mode == 3;
}

static bool is_triggered(const struct i8254_channel *ch)
{
	return ch->mode == 1 || ch->mode == 5;
}

/* Ticks since the count was loaded. */
static u64 elapsed(const struct i8254_channel *ch, u64 now)
{
	return ch->halted ? ch->frozen : now - ch->start;
}

static void load(struct i8254_channel *ch, u64 now)
{
	ch->period = period_of(ch);
	ch->next_period = 0;
	ch->start = now;
	ch->frozen = 0;
	ch->halted = !ch->gate && !is_triggered(ch);
	ch->counting = true;
	ch->null_count = false;
}

/* A count written to a running rate generator begins with its next cycle. */
static void load_later(struct i8254_channel *ch, u64 now)
{
	u64 e = elapsed(ch, now);

	ch->start += e - e % ch->period;
	ch->next_period = period_of(ch);
}

static void sync(struct i8254_channel *ch, u64 now)
{
	if (!ch->next_period || ch->halted || now - ch->start < ch->period)
		return;
	ch->start += ch->period;
	ch->period = ch->next_period;
	ch->next_period = 0;
	ch->null_count = false;
}

static bool output(const struct i8254_channel *ch, u64 now)
{
	u64 e = elapsed(ch, now);

	switch (ch->mode) {
	case 0:
		return ch->counting && e >= ch->period;
	case 1:
		return !ch->counting || e >= ch->period;
	case 2:
		return !ch->counting || ch->halted || e % ch->period != ch->period - 1;
	case 3:
		return !ch->counting || ch->halted || e % ch->period < (ch->period + 1) / 2;
	default:
		return !ch->counting || e != ch->period;
	}
}

static u32 square_wave_count(const struct i8254_channel *ch, u64 e)
{
	u32 phase = (u32)(e % ch->period);
	u32 high = (ch->period + 1) / 2;

	if (phase >= high)
		phase -= high;
	return (ch->period & ~1u) - 2 * phase;
}

/* The counting element as a read sees it. */
static u16 count(const struct i8254_channel *ch, u64 now)
{
	u64 e = elapsed(ch, now);
	u32 value;

	if (!ch->counting)
		return ch->reload;
	if (ch->mode == 3)
		value = square_wave_count(ch, e);
	else if (ch->mode == 2)
		value = ch->period - (u32)(e % ch->period);
	else
		value = ch->period + modulus(ch) - (u32)(e % modulus(ch));
	value %= modulus(ch);
	return ch->bcd ? to_bcd(value) : (u16)value;
}

/* The tick of channel 0's next rising output edge after now, or 0 when none will come. */
static u64 next_edge(const struct i8254_channel *ch, u64 now)
{
	u64 e = elapsed(ch, now);
	u64 n = ch->period;

	if (!ch->counting || ch->halted)
		return 0;
	if (is_periodic(ch))
		return ch->start + (e / n + 1) * n;
	if (ch->mode >= 4)
		n++; /* the strobe is low for one tick */
	return e < n ? ch->start + n : 0;
}

static void arm(struct i8254 *pit)
{
	struct i8254_channel *ch = &pit->channel[0];
	u64 now = clock_now(pit->clock);
	u64 edge = next_edge(ch, tick_of(now));
	u64 deadline;

	if (!edge) {
		timer_cancel(pit->clock, &pit->timer);
		return;
	}
	deadline = ns_of(edge);
	if (is_periodic(ch) && deadline < now + MIN_EDGE_NS)
		deadline = now + MIN_EDGE_NS;
	timer_arm(pit->clock, &pit->timer, deadline);
}

static void drive(struct i8254 *pit, bool level)
{
	if (level == pit->irq_level)
		return;
	pit->irq_level = level;
	irq_set(&pit->irq, level);
}

/* Only rising edges matter to the far end, so the low phase before is made up here. */
static void edge(void *arg)
{
	struct i8254 *pit = arg;

	sync(&pit->channel[0], tick_of(clock_now(pit->clock)));
	drive(pit, false);
	drive(pit, true);
	arm(pit);
}

/* Channel 0 was programmed: its output may have moved, its next edge has. */
static void reprogrammed(struct i8254 *pit)
{
	drive(pit, output(&pit->channel[0], tick_of(clock_now(pit->clock))));
	arm(pit);
}

static void count_written(struct i8254_channel *ch, u16 value, u64 now)
{
	ch->reload = value;
	ch->null_count = true;
	if (is_triggered(ch))
		ch->armed = true;
	else if (is_periodic(ch) && ch->counting)
		load_later(ch, now);
	else
		load(ch, now);
}

static void write_count(struct i8254_channel *ch, u8 value, u64 now)
{
	switch (ch->access) {
	case ACCESS_LOW:
		count_written(ch, value, now);
		break;
	case ACCESS_HIGH:
		count_written(ch, (u16)(value << 8), now);
		break;
	default:
		ch->write_high = !ch->write_high;
		if (!ch->write_high) {
			count_written(ch, (u16)(value << 8 | ch->write_low), now);
			break;
		}
		ch->write_low = value;
		if (ch->mode == 0) /* the first byte stops the count, output low */
			ch->counting = false;
		break;
	}
}

static void latch_count(struct i8254_channel *ch, u64 now)
{
	if (ch->count_latched)
		return;
	ch->count_latched = true;
	ch->count_latch = count(ch, now);
}

static void latch_status(struct i8254_channel *ch, u64 now)
{
	if (ch->status_latched)
		return;
	ch->status_latched = true;
	ch->status_latch = (u8)((output(ch, now) ? STATUS_OUT : 0) | (ch->null_count ? STATUS_NULL : 0) |
				ch->access << 4 | ch->mode << 1 | ch->bcd);
}

static void read_back(struct i8254 *pit, u8 command, u64 now)
{
	for (unsigned i = 0; i < 3; i++) {
		struct i8254_channel *ch = &pit->channel[i];

		if (!(command & 2u << i))
			continue;
		sync(ch, now);
		if (!(command & READ_BACK_NO_COUNT))
			latch_count(ch, now);
		if (!(command & READ_BACK_NO_STATUS))
			latch_status(ch, now);
	}
}

static void set_mode(struct i8254_channel *ch, u8 command)
{
	bool gate = ch->gate;
	u8 mode = command >> 1 & 7;

	memset(ch, 0, sizeof(*ch));
	ch->gate = gate;
	ch->access = command >> 4 & 3;
	ch->mode = mode > 5 ? mode & 3 : mode;
	ch->bcd = command & 1;
	ch->null_count = true;
	ch->period = period_of(ch);
}

static void write_command(struct i8254 *pit, u8 command, u64 now)
{
	unsigned select = command >> 6;

	if (select == SELECT_READ_BACK) {
		read_back(pit, command, now);
		return;
	}
	if ((command >> 4 & 3) == ACCESS_LATCH) {
		latch_count(&pit->channel[select], now);
		return;
	}
	set_mode(&pit->channel[select], command);
	if (select == 0)
		reprogrammed(pit);
}

void i8254_write(struct i8254 *pit, unsigned offset, u8 value)
{
	u64 now = tick_of(clock_now(pit->clock));

	if (offset < 3)
		sync(&pit->channel[offset], now);
	if (offset == 3)
		write_command(pit, value, now);
	else
		write_count(&pit->channel[offset], value, now);
	if (offset == 0)
		reprogrammed(pit);
}

/* The next byte of a 16-bit value by the channel's access mode; *last: the value is used up. */
static u8 next_byte(struct i8254_channel *ch, u16 value, bool *last)
{
	*last = true;
	if (ch->access == ACCESS_LOW)
		return (u8)value;
	if (ch->access == ACCESS_HIGH)
		return (u8)(value >> 8);
	ch->read_high = !ch->read_high;
	*last = !ch->read_high;
	return (u8)(ch->read_high ? value : value >> 8);
}

u8 i8254_read(struct i8254 *pit, unsigned offset)
{
	u64 now = tick_of(clock_now(pit->clock));
	struct i8254_channel *ch;
	bool last;
	u8 byte;

	if (offset == 3) /* the control word cannot be read */
		return 0xff;
	ch = &pit->channel[offset];
	sync(ch, now);
	if (ch->status_latched) {
		ch->status_latched = false;
		return ch->status_latch;
	}
	if (!ch->count_latched)
		return next_byte(ch, count(ch, now), &last);
	byte = next_byte(ch, ch->count_latch, &last);
	if (last)
		ch->count_latched = false;
	return byte;
}

static void gate_rises(struct i8254_channel *ch, u64 now)
{
	if (is_triggered(ch)) {
		if (ch->armed)
			load(ch, now);
	} else if (!ch->counting) {
		return;
	} else if (is_periodic(ch)) {
		load(ch, now);
	} else {
		ch->start = now - ch->frozen;
		ch->halted = false;
	}
}

static void set_gate(struct i8254_channel *ch, bool gate, u64 now)
{
	if (gate == ch->gate)
		return;
	sync(ch, now);
	ch->gate = gate;
	if (gate) {
		gate_rises(ch, now);
	} else if (!is_triggered(ch)) {
		ch->frozen = elapsed(ch, now);
		ch->halted = true;
	}
}

u8 i8254_read_61(struct i8254 *pit)
{
	u64 ns = clock_now(pit->clock);
	u64 now = tick_of(ns);
	struct i8254_channel *ch = &pit->channel[2];
	u8 value = 0;

	sync(ch, now);
	if (ch->gate)
		value |= PORT_61_GATE;
	if (pit->speaker)
		value |= PORT_61_SPEAKER;
	if (ns / REFRESH_NS & 1)
		value |= PORT_61_REFRESH;
	if (output(ch, now))
		value |= PORT_61_OUT2;
	return value;
}

void i8254_write_61(struct i8254 *pit, u8 value)
{
	pit->speaker = value & PORT_61_SPEAKER;
	set_gate(&pit->channel[2], value & PORT_61_GATE, tick_of(clock_now(pit->clock)));
}

void i8254_reset(struct i8254 *pit)
{
	for (unsigned i = 0; i < 3; i++) {
		pit->channel[i].gate = i != 2;
		set_mode(&pit->channel[i], ACCESS_BOTH << 4);
	}
	/* as firmware leaves it: 18.2 Hz; Linux's entropy code waits for a loaded count */
	set_mode(&pit->channel[0], ACCESS_BOTH << 4 | 3 << 1);
	load(&pit->channel[0], tick_of(clock_now(pit->clock)));
	pit->speaker = false;
	reprogrammed(pit);
}

void i8254_init(struct i8254 *pit, struct clock *clock, struct irq_line irq)
{
	memset(pit, 0, sizeof(*pit));
	pit->clock = clock;
	pit->irq = irq;
	timer_init(&pit->timer, edge, pit);
	i8254_reset(pit);
}

static struct i8254 *of(struct device *dev)
{
	return container_of(dev, struct i8254, dev);
}

static u64 region_read(struct device *dev, u64 offset, unsigned size)
{
	(void)size;
	return i8254_read(of(dev), (unsigned)offset);
}

static void region_write(struct device *dev, u64 offset, unsigned size, u64 value)
{
	(void)size;
	i8254_write(of(dev), (unsigned)offset, (u8)value);
}

static u64 read_61(struct device *dev, u64 offset, unsigned size)
{
	(void)offset;
	(void)size;
	return i8254_read_61(of(dev));
}

static void write_61(struct device *dev, u64 offset, unsigned size, u64 value)
{
	(void)offset;
	(void)size;
	i8254_write_61(of(dev), (u8)value);
}

static const struct region_ops region_ops = {region_read, region_write, 1, 1};
static const struct region_ops region_61_ops = {read_61, write_61, 1, 1};

static void dev_reset(struct device *dev)
{
	i8254_reset(of(dev));
}

static void dev_free(struct device *dev)
{
	struct i8254 *pit = of(dev);

	timer_cancel(pit->clock, &pit->timer);
	free(pit);
}

static const struct device_ops device_ops = {.reset = dev_reset, .free = dev_free};

static int add_regions(struct i8254 *pit, struct space *io)
{
	int err;

	pit->region = (struct region){
		.name = "i8254",
		.base = I8254_PORT,
		.size = 4,
		.ops = &region_ops,
		.dev = &pit->dev,
	};
	pit->region_61 = (struct region){
		.name = "port 0x61",
		.base = I8254_PORT_61,
		.size = 1,
		.ops = &region_61_ops,
		.dev = &pit->dev,
	};
	err = space_add(io, &pit->region);
	if (err)
		return err;
	err = space_add(io, &pit->region_61);
	if (err)
		space_remove(io, &pit->region);
	return err;
}

int i8254_create(struct vm *vm, struct irq_line irq, struct i8254 **out)
{
	struct i8254 *pit = malloc(sizeof(*pit));
	int err;

	if (!pit)
		return -ENOMEM;
	i8254_init(pit, &vm->clock, irq);
	pit->dev = (struct device){.ops = &device_ops, .name = "i8254"};
	err = add_regions(pit, &vm->io);
	if (err) {
		dev_free(&pit->dev);
		return err;
	}
	vm_add_device(vm, &pit->dev);
	*out = pit;
	return 0;
}
