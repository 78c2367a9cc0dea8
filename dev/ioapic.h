/* SPDX-License-Identifier: MIT */
/* IOAPIC (as in the ICH9: version 0x20, 24 pins, EOI register). */
#pragma once

#include "vm/device.h"
#include "vm/irq.h"
#include "vm/space.h"

struct vm;

#define IOAPIC_BASE 0xfec00000ull
#define IOAPIC_SIZE 0x1000
#define IOAPIC_PINS 24
#define IOAPIC_ID 0 /* as in the MADT */

enum {
	IOAPIC_REGSEL = 0x00,
	IOAPIC_WIN = 0x10,
	IOAPIC_EOI = 0x40,
};

/* Redirection entries */
#define IOAPIC_STATUS BIT(12)
#define IOAPIC_LOW BIT(13) /* polarity: active low */
#define IOAPIC_REMOTE_IRR BIT(14)
#define IOAPIC_LEVEL BIT(15)
#define IOAPIC_MASKED BIT(16)

struct ioapic {
	struct device dev;
	struct region region;
	struct msi_sink sink;
	u8 id, select;
	u32 levels; /* the pins as their devices drive them: 1 is asserted */
	u64 entry[IOAPIC_PINS];
};

int ioapic_create(struct vm *vm, struct msi_sink sink, struct ioapic **out);
struct irq_line ioapic_pin(struct ioapic *ioapic, unsigned pin);
/* A local APIC's EOI broadcast for a level-triggered vector. ctx is the struct ioapic. */
void ioapic_eoi(void *ctx, u8 vector);

/* For tests */
void ioapic_init(struct ioapic *ioapic, struct msi_sink sink);
void ioapic_reset(struct ioapic *ioapic);
u32 ioapic_read(struct ioapic *ioapic, u64 offset);
void ioapic_write(struct ioapic *ioapic, u64 offset, u32 value);
