/* SPDX-License-Identifier: MIT */
/*
 * HPET (IA-PC HPET specification 1.0a): three comparators on a 64-bit 100 MHz
 * counter. In legacy replacement mode it takes IRQ 0 and IRQ 8 over, so the
 * 8254 and the RTC are wired through it.
 */
#pragma once

#include "vm/clock.h"
#include "vm/device.h"
#include "vm/irq.h"
#include "vm/space.h"

struct vm;

#define HPET_BASE 0xfed00000ull
#define HPET_SIZE 0x400
#define HPET_TIMERS 3
#define HPET_TICK_NS 10
#define HPET_ID 0x8086a201u /* low half of the capabilities; also in the ACPI table */
#define HPET_PINS 24
#define HPET_ROUTES 0x00f00000u /* IOAPIC pins that a timer may use: 20..23 */

enum {
	HPET_CAP = 0x000,
	HPET_CONFIG = 0x010,
	HPET_STATUS = 0x020,
	HPET_COUNTER = 0x0f0,
	HPET_TIMER0 = 0x100, /* timer n at + 0x20 * n: config, comparator */
};

struct hpet_wires {
	struct irq_line irq0, irq8; /* where the 8254 and the RTC would go */
	struct irq_line pin[HPET_PINS]; /* IOAPIC pins; those in HPET_ROUTES are used */
};

struct hpet_timer {
	struct hpet *hpet;
	struct timer timer;
	u64 config;
	u64 comparator; /* next match */
	u64 period; /* periodic mode: last value written */
	bool done; /* one-shot mode: has matched since the last write */
	bool level; /* what the timer drives its wire to */
};

struct hpet {
	struct device dev;
	struct region region;
	struct clock *clock;
	struct hpet_wires wires;
	u64 config, status;
	u64 counter; /* the value when it was stopped or written */
	u64 start; /* clock when it began to run from there */
	bool legacy_in[2]; /* levels of the 8254's and the RTC's outputs */
	struct hpet_timer timer[HPET_TIMERS];
};

int hpet_create(struct vm *vm, const struct hpet_wires *wires, struct hpet **out);
/* Where the 8254 (irq 0) and the RTC (irq 8) put their outputs. */
struct irq_line hpet_legacy_in(struct hpet *hpet, unsigned irq);

/* For tests */
void hpet_init(struct hpet *hpet, struct clock *clock, const struct hpet_wires *wires);
void hpet_reset(struct hpet *hpet);
u64 hpet_read(struct hpet *hpet, u64 offset, unsigned size);
void hpet_write(struct hpet *hpet, u64 offset, unsigned size, u64 value);
