/* SPDX-License-Identifier: MIT */
/*
 * 8042 keyboard controller with nothing plugged in: self-test, command byte,
 * output port with A20 and the reset line. Commands to a keyboard or a mouse
 * are answered with "resend" at once, as a line without a device would end.
 */
#pragma once

#include "vm/device.h"
#include "vm/irq.h"
#include "vm/space.h"

struct vm;

#define I8042_DATA_PORT 0x60
#define I8042_COMMAND_PORT 0x64
#define I8042_IRQ 1

struct i8042 {
	struct device dev;
	struct region data_region, command_region;
	struct vm *vm;
	struct irq_line irq;
	u8 status, output_port;
	u8 out; /* valid while status has OBF */
	u8 command; /* waits for its parameter at the data port; 0: none */
	u8 ram[32]; /* 0: the command byte */
};

int i8042_create(struct vm *vm, struct irq_line irq, struct i8042 **out);

/* For tests */
void i8042_init(struct i8042 *kbc, struct vm *vm, struct irq_line irq);
void i8042_reset(struct i8042 *kbc);
u8 i8042_read_data(struct i8042 *kbc);
u8 i8042_read_status(struct i8042 *kbc);
void i8042_write_data(struct i8042 *kbc, u8 value);
void i8042_write_command(struct i8042 *kbc, u8 value);
