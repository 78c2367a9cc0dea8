/* SPDX-License-Identifier: MIT */
/* 8042 keyboard controller without devices. Facts: IBM PS/2 technical reference. */
#include "dev/i8042.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vm/vm.h"

enum {
	STATUS_OBF = 0x01,
	STATUS_SYSTEM = 0x04, /* the self-test was passed */
	STATUS_COMMAND = 0x08, /* the last write went to the command port */
	STATUS_UNLOCKED = 0x10,
	STATUS_AUX = 0x20, /* the output buffer's byte is the mouse's */
	STATUS_TIMEOUT = 0x40,

	CTR_KBD_INT = 0x01,
	CTR_SYSTEM = 0x04,
	CTR_KBD_OFF = 0x10,
	CTR_AUX_OFF = 0x20,

	OUT_NO_RESET = 0x01, /* output port bit 0: the CPU's reset line, active low */
	OUT_A20 = 0x02,

	CMD_READ_RAM = 0x20, /* to 0x3f; address 0 is the command byte */
	CMD_WRITE_RAM = 0x60, /* to 0x7f */
	CMD_AUX_OFF = 0xa7,
	CMD_AUX_ON = 0xa8,
	CMD_AUX_TEST = 0xa9,
	CMD_SELF_TEST = 0xaa,
	CMD_KBD_TEST = 0xab,
	CMD_KBD_OFF = 0xad,
	CMD_KBD_ON = 0xae,
	CMD_READ_INPUT = 0xc0,
	CMD_READ_OUTPUT = 0xd0,
	CMD_WRITE_OUTPUT = 0xd1,
	CMD_LOOP_KBD = 0xd2,
	CMD_LOOP_AUX = 0xd3,
	CMD_WRITE_AUX = 0xd4,
	CMD_A20_OFF = 0xdd,
	CMD_A20_ON = 0xdf,
	CMD_PULSE = 0xf0, /* to 0xff: zero bits of the low four are pulsed */

	ANSWER_SELF_TEST = 0x55,
	ANSWER_OK = 0x00,
	ANSWER_CLOCK_STUCK = 0x01, /* there is no mouse port */
	ANSWER_RESEND = 0xfe,
	INPUT_PORT = 0x80, /* keyboard not locked */
};

static void update_irq(struct i8042 *kbc)
{
	bool full = kbc->status & STATUS_OBF && !(kbc->status & STATUS_AUX);

	irq_set(&kbc->irq, full && kbc->ram[0] & CTR_KBD_INT);
}

static void answer(struct i8042 *kbc, u8 value, u8 flags)
{
	kbc->out = value;
	kbc->status &= (u8) ~(STATUS_AUX | STATUS_TIMEOUT);
	kbc->status |= STATUS_OBF | flags;
	update_irq(kbc);
}

static void set_output_port(struct i8042 *kbc, u8 value)
{
	kbc->output_port = value;
	if (!(value & OUT_NO_RESET))
		vm_request_stop(kbc->vm, VM_RESET, 0);
}

static void set_ctr(struct i8042 *kbc, u8 value)
{
	kbc->ram[0] = value;
	kbc->status &= (u8)~STATUS_SYSTEM;
	kbc->status |= value & CTR_SYSTEM;
	update_irq(kbc);
}

static void self_test(struct i8042 *kbc)
{
	set_ctr(kbc, CTR_SYSTEM | CTR_KBD_OFF | CTR_AUX_OFF);
	answer(kbc, ANSWER_SELF_TEST, 0);
}

static void other_command(struct i8042 *kbc, u8 command)
{
	switch (command) {
	case CMD_READ_RAM ... CMD_READ_RAM + 31:
		answer(kbc, kbc->ram[command & 31], 0);
		break;
	case CMD_WRITE_RAM ... CMD_WRITE_RAM + 31:
	case CMD_WRITE_OUTPUT:
	case CMD_LOOP_KBD:
	case CMD_LOOP_AUX:
	case CMD_WRITE_AUX:
		kbc->command = command;
		break;
	case CMD_PULSE ... CMD_PULSE + 15:
		if (!(command & OUT_NO_RESET))
			vm_request_stop(kbc->vm, VM_RESET, 0);
		break;
	default: /* unknown: no answer, as in the silicon */
		break;
	}
}

void i8042_write_command(struct i8042 *kbc, u8 command)
{
	kbc->status |= STATUS_COMMAND;
	kbc->command = 0;
	switch (command) {
	case CMD_SELF_TEST:
		self_test(kbc);
		break;
	case CMD_KBD_TEST:
		answer(kbc, ANSWER_OK, 0);
		break;
	case CMD_AUX_TEST:
		answer(kbc, ANSWER_CLOCK_STUCK, 0);
		break;
	case CMD_KBD_OFF:
		set_ctr(kbc, kbc->ram[0] | CTR_KBD_OFF);
		break;
	case CMD_KBD_ON:
		set_ctr(kbc, kbc->ram[0] & (u8)~CTR_KBD_OFF);
		break;
	case CMD_AUX_OFF:
	case CMD_AUX_ON: /* the bit that would change says "off" for ever: no mouse port */
		break;
	case CMD_READ_INPUT:
		answer(kbc, INPUT_PORT, 0);
		break;
	case CMD_READ_OUTPUT:
		answer(kbc, kbc->output_port, 0);
		break;
	case CMD_A20_OFF:
	case CMD_A20_ON:
		set_output_port(
			kbc, (kbc->output_port & (u8)~OUT_A20) | (command == CMD_A20_ON ? OUT_A20 : 0));
		break;
	default:
		other_command(kbc, command);
		break;
	}
}

void i8042_write_data(struct i8042 *kbc, u8 value)
{
	u8 command = kbc->command;

	kbc->status &= (u8)~STATUS_COMMAND;
	kbc->command = 0;
	switch (command) {
	case CMD_WRITE_RAM:
		set_ctr(kbc, value | CTR_AUX_OFF);
		break;
	case CMD_WRITE_RAM + 1 ... CMD_WRITE_RAM + 31:
		kbc->ram[command & 31] = value;
		break;
	case CMD_WRITE_OUTPUT:
		set_output_port(kbc, value);
		break;
	case CMD_LOOP_KBD:
	case CMD_LOOP_AUX: /* without a mouse port it comes back as the keyboard's */
		answer(kbc, value, 0);
		break;
	case CMD_WRITE_AUX:
	default: /* to a device that is not there */
		answer(kbc, ANSWER_RESEND, STATUS_TIMEOUT);
		break;
	}
}

u8 i8042_read_data(struct i8042 *kbc)
{
	kbc->status &= (u8) ~(STATUS_OBF | STATUS_AUX | STATUS_TIMEOUT);
	update_irq(kbc);
	return kbc->out;
}

u8 i8042_read_status(struct i8042 *kbc)
{
	return kbc->status;
}

void i8042_reset(struct i8042 *kbc)
{
	memset(kbc->ram, 0, sizeof(kbc->ram));
	kbc->status = STATUS_UNLOCKED;
	kbc->output_port = OUT_NO_RESET | OUT_A20;
	kbc->out = kbc->command = 0;
	set_ctr(kbc, CTR_SYSTEM | CTR_KBD_OFF | CTR_AUX_OFF);
}

void i8042_init(struct i8042 *kbc, struct vm *vm, struct irq_line irq)
{
	memset(kbc, 0, sizeof(*kbc));
	kbc->vm = vm;
	kbc->irq = irq;
	i8042_reset(kbc);
}

static struct i8042 *of(struct device *dev)
{
	return container_of(dev, struct i8042, dev);
}

static u64 data_read(struct device *dev, u64 offset, unsigned size)
{
	(void)offset;
	(void)size;
	return i8042_read_data(of(dev));
}

static void data_write(struct device *dev, u64 offset, unsigned size, u64 value)
{
	(void)offset;
	(void)size;
	i8042_write_data(of(dev), (u8)value);
}

static u64 command_read(struct device *dev, u64 offset, unsigned size)
{
	(void)offset;
	(void)size;
	return i8042_read_status(of(dev));
}

static void command_write(struct device *dev, u64 offset, unsigned size, u64 value)
{
	(void)offset;
	(void)size;
	i8042_write_command(of(dev), (u8)value);
}

static const struct region_ops data_ops = {data_read, data_write, 1, 1};
static const struct region_ops command_ops = {command_read, command_write, 1, 1};

static void dev_reset(struct device *dev)
{
	i8042_reset(of(dev));
}

static void dev_free(struct device *dev)
{
	free(of(dev));
}

static const struct device_ops device_ops = {.reset = dev_reset, .free = dev_free};

static struct region port(struct i8042 *kbc, u16 base, const struct region_ops *ops)
{
	return (struct region){.name = "i8042", .base = base, .size = 1, .ops = ops, .dev = &kbc->dev};
}

int i8042_create(struct vm *vm, struct irq_line irq, struct i8042 **out)
{
	struct i8042 *kbc = malloc(sizeof(*kbc));
	int err;

	if (!kbc)
		return -ENOMEM;
	i8042_init(kbc, vm, irq);
	kbc->dev = (struct device){.ops = &device_ops, .name = "i8042"};
	kbc->data_region = port(kbc, I8042_DATA_PORT, &data_ops);
	kbc->command_region = port(kbc, I8042_COMMAND_PORT, &command_ops);
	err = space_add(&vm->io, &kbc->data_region);
	if (err)
		goto fail;
	err = space_add(&vm->io, &kbc->command_region);
	if (err) {
		space_remove(&vm->io, &kbc->data_region);
		goto fail;
	}
	vm_add_device(vm, &kbc->dev);
	*out = kbc;
	return 0;

fail:
	free(kbc);
	return err;
}
