/* SPDX-License-Identifier: MIT */
/* The PC's two cascaded 8259A interrupt controllers with edge/level control registers. */
#pragma once

#include "vm/device.h"
#include "vm/irq.h"
#include "vm/space.h"

struct vm;

#define I8259_MASTER_PORT 0x20
#define I8259_SLAVE_PORT 0xa0
#define I8259_ELCR_PORT 0x4d0
#define I8259_CASCADE 2 /* the master's pin that the slave is on */
#define I8259_PINS 16

struct i8259_chip {
	u8 irr, isr, imr;
	u8 lines; /* the pins' levels, for edge detection */
	u8 elcr, elcr_mask; /* level-triggered pins; those that may be */
	u8 vector_base;
	u8 lowest; /* the pin with the lowest priority */
	u8 icw_next; /* 0, or the ICW (2..4) expected at the data port */
	bool need_icw4, single;
	bool read_isr, poll, special_mask;
	bool auto_eoi, rotate_on_aeoi, special_nested;
	bool is_master;
};

struct i8259 {
	struct device dev;
	struct region master_region, slave_region, elcr_region;
	struct irq_line intr;
	struct i8259_chip chip[2]; /* master, slave */
	bool intr_level;
};

/* intr: the INTR wire to the CPU (through LINT0 or the IOAPIC's pin 0, or directly). */
int i8259_create(struct vm *vm, struct irq_line intr, struct i8259 **out);
/* Pin 0..15 as ISA interrupts are numbered; 2 is the cascade and not connected. */
struct irq_line i8259_pin(struct i8259 *pic, unsigned pin);
/* What firmware does for a pin that PCI devices share: sets its bit in the ELCR. */
void i8259_set_level_triggered(struct i8259 *pic, unsigned pin);
/* The CPU's INTA cycle: the vector (a spurious one when nothing is requested). ctx is the struct i8259. */
int i8259_inta(void *ctx);

/* For tests: chip 0 is the master; offset 0 the command port, 1 the data port. */
void i8259_init(struct i8259 *pic, struct irq_line intr);
void i8259_reset(struct i8259 *pic);
u8 i8259_read(struct i8259 *pic, unsigned chip, unsigned offset);
void i8259_write(struct i8259 *pic, unsigned chip, unsigned offset, u8 value);
u8 i8259_elcr_read(struct i8259 *pic, unsigned chip);
void i8259_elcr_write(struct i8259 *pic, unsigned chip, u8 value);
