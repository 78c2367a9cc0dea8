/* SPDX-License-Identifier: MIT */
/*
 * 8042 keyboard controller: self-test, command byte, output port with A20 and the
 * reset line, and two ports for PS/2 devices. With nothing plugged in there is no
 * mouse port, and commands to a keyboard are answered with "resend" at once, as a
 * line without a device would end.
 *
 * One byte waits for the guest at a time. After it was read, the next one of a
 * device comes a little later, as over a real line: a driver that reads twice in
 * one interrupt gets the same byte twice. The controller's own answers come at once,
 * and before a device's byte that has not been read yet.
 */
#pragma once

#include "dev/ps2.h"
#include "vm/clock.h"
#include "vm/device.h"
#include "vm/irq.h"
#include "vm/space.h"

struct vm;

#define I8042_DATA_PORT 0x60
#define I8042_COMMAND_PORT 0x64
#define I8042_IRQ 1
#define I8042_AUX_IRQ 12

struct i8042 {
	struct device dev;
	struct region data_region, command_region;
	struct vm *vm;
	struct irq_line irq, aux_irq;
	struct ps2_device *keyboard, *mouse; /* or NULL */
	struct timer next; /* time for another byte of a device */
	u64 line_free; /* not before this time */
	struct ps2_device *source; /* of the byte in out; NULL: the controller's own */
	bool released; /* translation: the keyboard sent 0xf0 */
	u8 status, output_port;
	u8 out; /* valid while status has OBF */
	u8 command; /* waits for its parameter at the data port; 0: none */
	u8 ram[32]; /* 0: the command byte */
};

int i8042_create(struct vm *vm, struct irq_line irq, struct irq_line aux_irq, struct i8042 **out);
/* Before the VM runs. The devices stay the caller's; either may be NULL. */
void i8042_plug(struct i8042 *kbc, struct ps2_device *keyboard, struct ps2_device *mouse);

/* For tests */
void i8042_init(struct i8042 *kbc, struct vm *vm, struct irq_line irq, struct irq_line aux_irq);
void i8042_reset(struct i8042 *kbc);
u8 i8042_read_data(struct i8042 *kbc);
u8 i8042_read_status(struct i8042 *kbc);
void i8042_write_data(struct i8042 *kbc, u8 value);
void i8042_write_command(struct i8042 *kbc, u8 value);
