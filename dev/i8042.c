/* SPDX-License-Identifier: MIT */
/* 8042 keyboard controller. Facts: IBM PS/2 technical reference. */
#include "dev/i8042.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dev/ps2_keyboard.h"
#include "vm/vm.h"

#define BYTE_NS 200000 /* between two bytes of a device; a real line takes five times that */

enum {
	STATUS_OBF = 0x01,
	STATUS_SYSTEM = 0x04, /* the self-test was passed */
	STATUS_COMMAND = 0x08, /* the last write went to the command port */
	STATUS_UNLOCKED = 0x10,
	STATUS_AUX = 0x20, /* the output buffer's byte is the mouse's */
	STATUS_TIMEOUT = 0x40,

	CTR_KBD_INT = 0x01,
	CTR_AUX_INT = 0x02,
	CTR_SYSTEM = 0x04,
	CTR_KBD_OFF = 0x10,
	CTR_AUX_OFF = 0x20,
	CTR_TRANSLATE = 0x40,

	OUT_NO_RESET = 0x01, /* output port bit 0: the CPU's reset line, active low */
	OUT_A20 = 0x02,
	OUT_KBD_FULL = 0x10,
	OUT_AUX_FULL = 0x20,

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
	RELEASED = 0xf0, /* set 2's mark before a released key */
};

static void update_irq(struct i8042 *kbc)
{
	bool full = kbc->status & STATUS_OBF;
	bool aux = kbc->status & STATUS_AUX;

	irq_set(&kbc->irq, full && !aux && kbc->ram[0] & CTR_KBD_INT);
	irq_set(&kbc->aux_irq, full && aux && kbc->ram[0] & CTR_AUX_INT);
}

static void show(struct i8042 *kbc, struct ps2_device *source, u8 value, u8 flags)
{
	kbc->source = source;
	kbc->out = value;
	kbc->status &= (u8) ~(STATUS_AUX | STATUS_TIMEOUT);
	kbc->status |= STATUS_OBF | flags;
	update_irq(kbc);
}

/* The controller's own byte. A device's that it hides is still in the device's queue. */
static void answer(struct i8042 *kbc, u8 value, u8 flags)
{
	/* Another byte is another edge. */
	kbc->status &= (u8)~STATUS_OBF;
	update_irq(kbc);
	show(kbc, NULL, value, flags);
}

/* ---- the devices' bytes ---- */

static bool waits(const struct i8042 *kbc, const struct ps2_device *dev)
{
	u8 off = dev == kbc->mouse ? CTR_AUX_OFF : CTR_KBD_OFF;

	return dev && dev->len && !(kbc->ram[0] & off);
}

/* The keyboard's next byte as the guest is to see it; false: there was only a mark. */
static bool keyboard_byte(struct i8042 *kbc, u8 *byte)
{
	struct ps2_device *keyboard = kbc->keyboard;

	*byte = keyboard->queue[0];
	if (!(kbc->ram[0] & CTR_TRANSLATE))
		return true;
	if (*byte == RELEASED && !keyboard->replies) {
		kbc->released = true;
		ps2_pop(keyboard);
		if (!keyboard->len)
			return false;
		*byte = keyboard->queue[0];
	}
	*byte = ps2_translate(*byte);
	if (kbc->released && !keyboard->replies)
		*byte |= 0x80;
	return true;
}

/* Takes a byte over from a device, if there is one and room for it. */
static void fill(struct i8042 *kbc)
{
	u8 byte;

	if (kbc->status & STATUS_OBF)
		return;
	if (waits(kbc, kbc->keyboard) && keyboard_byte(kbc, &byte))
		show(kbc, kbc->keyboard, byte, 0);
	else if (waits(kbc, kbc->mouse))
		show(kbc, kbc->mouse, kbc->mouse->queue[0], STATUS_AUX);
}

static void next_byte(void *arg)
{
	fill(arg);
}

static void device_ready(void *arg)
{
	struct i8042 *kbc = arg;
	struct clock *clock = &kbc->vm->clock;

	if (kbc->status & STATUS_OBF)
		return;
	if (clock_now(clock) >= kbc->line_free)
		fill(kbc);
	else if (kbc->next.deadline == CLOCK_NEVER)
		timer_arm(clock, &kbc->next, kbc->line_free);
}

/*
 * A byte to a device. Its line is free then, whatever the command byte said before; and if
 * the guest has not read the device's last byte, the reply comes first.
 */
static void send(struct i8042 *kbc, struct ps2_device *dev, u8 off, u8 value)
{
	if (!dev) {
		answer(kbc, ANSWER_RESEND, STATUS_TIMEOUT);
		return;
	}
	kbc->ram[0] &= (u8)~off;
	if (kbc->source == dev) {
		kbc->source = NULL;
		kbc->status &= (u8) ~(STATUS_OBF | STATUS_AUX);
		update_irq(kbc);
	}
	dev->write(dev, value);
	if (dev == kbc->keyboard && dev->len == dev->replies)
		kbc->released = false;
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
	if (!kbc->mouse)
		kbc->ram[0] |= CTR_AUX_OFF; /* for ever: there is no such port */
	update_irq(kbc);
	fill(kbc);
}

static u8 output_port(const struct i8042 *kbc)
{
	if (!(kbc->status & STATUS_OBF))
		return kbc->output_port;
	return kbc->output_port | (kbc->status & STATUS_AUX ? OUT_AUX_FULL : OUT_KBD_FULL);
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
		answer(kbc, kbc->mouse ? ANSWER_OK : ANSWER_CLOCK_STUCK, 0);
		break;
	case CMD_KBD_OFF:
		set_ctr(kbc, kbc->ram[0] | CTR_KBD_OFF);
		break;
	case CMD_KBD_ON:
		set_ctr(kbc, kbc->ram[0] & (u8)~CTR_KBD_OFF);
		break;
	case CMD_AUX_OFF:
		set_ctr(kbc, kbc->ram[0] | CTR_AUX_OFF);
		break;
	case CMD_AUX_ON:
		set_ctr(kbc, kbc->ram[0] & (u8)~CTR_AUX_OFF);
		break;
	case CMD_READ_INPUT:
		answer(kbc, INPUT_PORT, 0);
		break;
	case CMD_READ_OUTPUT:
		answer(kbc, output_port(kbc), 0);
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
		set_ctr(kbc, value);
		break;
	case CMD_WRITE_RAM + 1 ... CMD_WRITE_RAM + 31:
		kbc->ram[command & 31] = value;
		break;
	case CMD_WRITE_OUTPUT:
		set_output_port(kbc, value);
		break;
	case CMD_LOOP_KBD:
		answer(kbc, value, 0);
		break;
	case CMD_LOOP_AUX: /* without a mouse port it comes back as the keyboard's */
		answer(kbc, value, kbc->mouse ? STATUS_AUX : 0);
		break;
	case CMD_WRITE_AUX:
		send(kbc, kbc->mouse, CTR_AUX_OFF, value);
		break;
	default:
		send(kbc, kbc->keyboard, CTR_KBD_OFF, value);
		break;
	}
}

/* The byte in out was read. */
static void taken(struct i8042 *kbc)
{
	struct ps2_device *source = kbc->source;
	struct clock *clock = &kbc->vm->clock;

	kbc->source = NULL;
	if (source && source == kbc->keyboard && !source->replies)
		kbc->released = false;
	if (source) {
		kbc->line_free = clock_now(clock) + BYTE_NS;
		ps2_pop(source);
	}
	if (waits(kbc, kbc->keyboard) || waits(kbc, kbc->mouse))
		timer_arm(clock, &kbc->next, kbc->line_free);
}

u8 i8042_read_data(struct i8042 *kbc)
{
	bool was_full = kbc->status & STATUS_OBF;

	kbc->status &= (u8) ~(STATUS_OBF | STATUS_AUX | STATUS_TIMEOUT);
	update_irq(kbc);
	if (was_full && (kbc->keyboard || kbc->mouse))
		taken(kbc);
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
	kbc->source = NULL;
	kbc->released = false;
	timer_cancel(&kbc->vm->clock, &kbc->next);
	if (kbc->keyboard)
		kbc->keyboard->reset(kbc->keyboard);
	if (kbc->mouse)
		kbc->mouse->reset(kbc->mouse);
	/* With a keyboard, as firmware leaves it. */
	if (kbc->keyboard)
		set_ctr(kbc, CTR_KBD_INT | CTR_SYSTEM | CTR_AUX_OFF | CTR_TRANSLATE);
	else
		set_ctr(kbc, CTR_SYSTEM | CTR_KBD_OFF | CTR_AUX_OFF);
}

void i8042_init(struct i8042 *kbc, struct vm *vm, struct irq_line irq, struct irq_line aux_irq)
{
	memset(kbc, 0, sizeof(*kbc));
	kbc->vm = vm;
	kbc->irq = irq;
	kbc->aux_irq = aux_irq;
	timer_init(&kbc->next, next_byte, kbc);
	i8042_reset(kbc);
}

static void plug(struct i8042 *kbc, struct ps2_device *dev)
{
	if (!dev)
		return;
	dev->ready = device_ready;
	dev->arg = kbc;
}

void i8042_plug(struct i8042 *kbc, struct ps2_device *keyboard, struct ps2_device *mouse)
{
	kbc->keyboard = keyboard;
	kbc->mouse = mouse;
	plug(kbc, keyboard);
	plug(kbc, mouse);
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

int i8042_create(struct vm *vm, struct irq_line irq, struct irq_line aux_irq, struct i8042 **out)
{
	struct i8042 *kbc = malloc(sizeof(*kbc));
	int err;

	if (!kbc)
		return -ENOMEM;
	i8042_init(kbc, vm, irq, aux_irq);
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
