/* SPDX-License-Identifier: MIT */
/*
 * 8254 programmable interval timer, and port 0x61 with channel 2's gate and
 * output. Nothing counts: outputs and counts are computed from the clock when
 * somebody asks, and a timer is armed for channel 0's next edge only.
 */
#pragma once

#include "vm/clock.h"
#include "vm/device.h"
#include "vm/irq.h"
#include "vm/space.h"

struct vm;

#define I8254_PORT 0x40
#define I8254_PORT_61 0x61
#define I8254_IRQ 0
#define I8254_HZ 1193182

struct i8254_channel {
	u16 reload; /* the count register as written; 0 stands for the modulus */
	u8 mode, access; /* 0..5; 1 low byte, 2 high byte, 3 both */
	bool bcd;
	bool gate;
	bool null_count; /* a count was written (in part) and is not loaded yet */
	bool counting; /* a count has been loaded, and triggered where the mode wants it */
	bool armed; /* modes 1 and 5: a count has been written */
	bool write_high, read_high; /* the next byte of a two-byte access is the high one */
	u8 write_low;
	bool count_latched, status_latched;
	u16 count_latch;
	u8 status_latch;
	u64 start; /* the tick at which the count was loaded */
	u64 frozen; /* ticks counted when the gate went low */
	bool halted; /* gate low in a mode that it stops */
	u32 period; /* the loaded count, 1..65536 */
	u32 next_period; /* modes 2 and 3: takes over when the current one ends; 0: none */
};

struct i8254 {
	struct device dev;
	struct region region, region_61;
	struct clock *clock;
	struct irq_line irq; /* channel 0's output */
	struct timer timer; /* channel 0's next edge */
	struct i8254_channel channel[3];
	bool speaker; /* port 0x61 bit 1 */
	bool irq_level;
};

int i8254_create(struct vm *vm, struct irq_line irq, struct i8254 **out);

/* For tests. offset 0..3 are ports 0x40..0x43. */
void i8254_init(struct i8254 *pit, struct clock *clock, struct irq_line irq);
void i8254_reset(struct i8254 *pit);
u8 i8254_read(struct i8254 *pit, unsigned offset);
void i8254_write(struct i8254 *pit, unsigned offset, u8 value);
u8 i8254_read_61(struct i8254 *pit);
void i8254_write_61(struct i8254 *pit, u8 value);
