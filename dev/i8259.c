/* SPDX-License-Identifier: MIT */
/* Two cascaded 8259A. Facts: Intel 8259A data sheet, 1988; ICH9 data sheet for the ELCR. */
#include "dev/i8259.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vm/vm.h"

enum {
	MASTER,
	SLAVE,

	ICW1 = 0x10,
	ICW1_ICW4 = 0x01,
	ICW1_SINGLE = 0x02,
	ICW4_AEOI = 0x02,
	ICW4_SFNM = 0x10,

	OCW3 = 0x08,
	OCW3_READ_ISR = 0x01,
	OCW3_READ = 0x02,
	OCW3_POLL = 0x04,
	OCW3_SMM = 0x20,
	OCW3_ESMM = 0x40,

	ELCR_MASTER = 0xf8, /* 0, 1 and 2 are always edges */
	ELCR_SLAVE = 0xde, /* so are 8 and 13 */
	SPURIOUS = 7,
};

/* Rank of the most urgent pin in the set: 0 is the most urgent, 8 means none. */
static unsigned rank(const struct i8259_chip *chip, u8 pins)
{
	unsigned i;

	for (i = 0; i < 8; i++)
		if (pins & 1u << ((chip->lowest + 1 + i) & 7))
			break;
	return i;
}

static unsigned pin_of_rank(const struct i8259_chip *chip, unsigned r)
{
	return (chip->lowest + 1 + r) & 7;
}

/* The pin that may interrupt now, or -1. */
static int resolve(const struct i8259_chip *chip)
{
	u8 requests = chip->irr & (u8)~chip->imr;
	u8 blocking = chip->isr;
	unsigned want;

	if (!requests)
		return -1;
	if (chip->special_mask)
		blocking &= (u8)~chip->imr;
	if (chip->special_nested && chip->is_master)
		blocking &= (u8) ~(1u << I8259_CASCADE);
	want = rank(chip, requests);
	return want < rank(chip, blocking) ? (int)pin_of_rank(chip, want) : -1;
}

/* The slave's INT is the master's pin 2 and INTR follows the master's. */
static void update(struct i8259 *pic)
{
	struct i8259_chip *master = &pic->chip[MASTER];
	const u8 cascade = 1u << I8259_CASCADE;
	bool level;

	if (resolve(&pic->chip[SLAVE]) >= 0)
		master->irr |= cascade;
	else
		master->irr &= (u8)~cascade;
	level = resolve(master) >= 0;
	if (level == pic->intr_level)
		return;
	pic->intr_level = level;
	irq_set(&pic->intr, level);
}

static void set_pin(void *ctx, unsigned pin, bool level)
{
	struct i8259 *pic = ctx;
	struct i8259_chip *chip = &pic->chip[pin >> 3];
	u8 bit = (u8)(1u << (pin & 7));

	if (level) {
		/* An edge is held until it is taken, even if its wire falls again. */
		if (!(chip->lines & bit) || chip->elcr & bit)
			chip->irr |= bit;
		chip->lines |= bit;
	} else {
		if (chip->elcr & bit)
			chip->irr &= (u8)~bit;
		chip->lines &= (u8)~bit;
	}
	update(pic);
}

struct irq_line i8259_pin(struct i8259 *pic, unsigned pin)
{
	if (pin >= I8259_PINS || pin == I8259_CASCADE)
		return (struct irq_line){0};
	return (struct irq_line){.set = set_pin, .ctx = pic, .pin = pin};
}

static void acknowledge(struct i8259_chip *chip, unsigned pin)
{
	u8 bit = (u8)(1u << pin);

	if (!(chip->elcr & bit))
		chip->irr &= (u8)~bit;
	if (!chip->auto_eoi)
		chip->isr |= bit;
	else if (chip->rotate_on_aeoi)
		chip->lowest = (u8)pin;
}

static int take(struct i8259_chip *chip)
{
	int pin = resolve(chip);

	if (pin >= 0)
		acknowledge(chip, (unsigned)pin);
	return pin;
}

static int take_vector(struct i8259_chip *chip)
{
	int pin = take(chip);

	return chip->vector_base + (pin < 0 ? SPURIOUS : pin);
}

int i8259_inta(void *ctx)
{
	struct i8259 *pic = ctx;
	int pin = take(&pic->chip[MASTER]);
	int vector;

	if (pin == I8259_CASCADE)
		vector = take_vector(&pic->chip[SLAVE]);
	else
		vector = pic->chip[MASTER].vector_base + (pin < 0 ? SPURIOUS : pin);
	update(pic);
	return vector;
}

static void write_icw1(struct i8259_chip *chip, u8 value)
{
	chip->irr = chip->lines & chip->elcr;
	chip->isr = chip->imr = 0;
	chip->lowest = 7;
	chip->special_mask = chip->read_isr = chip->poll = false;
	chip->auto_eoi = chip->rotate_on_aeoi = chip->special_nested = false;
	chip->need_icw4 = value & ICW1_ICW4;
	chip->single = value & ICW1_SINGLE;
	chip->icw_next = 2;
}

static void write_icw(struct i8259_chip *chip, u8 value)
{
	switch (chip->icw_next) {
	case 2:
		chip->vector_base = value & 0xf8;
		chip->icw_next = !chip->single ? 3 : chip->need_icw4 ? 4 : 0;
		break;
	case 3: /* the cascade is soldered */
		chip->icw_next = chip->need_icw4 ? 4 : 0;
		break;
	default:
		chip->auto_eoi = value & ICW4_AEOI;
		chip->special_nested = value & ICW4_SFNM;
		chip->icw_next = 0;
		break;
	}
}

static void end_of_interrupt(struct i8259_chip *chip, bool specific, unsigned pin, bool rotate)
{
	u8 served = chip->isr;
	unsigned r;

	if (!specific) {
		if (chip->special_mask)
			served &= (u8)~chip->imr;
		r = rank(chip, served);
		if (r == 8)
			return;
		pin = pin_of_rank(chip, r);
	}
	chip->isr &= (u8) ~(1u << pin);
	if (rotate)
		chip->lowest = (u8)pin;
}

static void write_ocw2(struct i8259_chip *chip, u8 value)
{
	unsigned pin = value & 7;

	switch (value >> 5) {
	case 0:
	case 4:
		chip->rotate_on_aeoi = value >> 7;
		break;
	case 1:
	case 5:
		end_of_interrupt(chip, false, 0, value >> 7);
		break;
	case 3:
	case 7:
		end_of_interrupt(chip, true, pin, value >> 7);
		break;
	case 6:
		chip->lowest = (u8)pin;
		break;
	default:
		break;
	}
}

static void write_ocw3(struct i8259_chip *chip, u8 value)
{
	if (value & OCW3_POLL)
		chip->poll = true;
	if (value & OCW3_READ)
		chip->read_isr = value & OCW3_READ_ISR;
	if (value & OCW3_ESMM)
		chip->special_mask = value & OCW3_SMM;
}

void i8259_write(struct i8259 *pic, unsigned n, unsigned offset, u8 value)
{
	struct i8259_chip *chip = &pic->chip[n];

	if (offset == 0) {
		if (value & ICW1)
			write_icw1(chip, value);
		else if (value & OCW3)
			write_ocw3(chip, value);
		else
			write_ocw2(chip, value);
	} else if (chip->icw_next) {
		write_icw(chip, value);
	} else {
		chip->imr = value;
	}
	update(pic);
}

/* A poll is an acknowledge by reading. */
static u8 read_poll(struct i8259 *pic, struct i8259_chip *chip)
{
	int pin = take(chip);

	chip->poll = false;
	update(pic);
	return pin < 0 ? 0 : (u8)(0x80 | pin);
}

u8 i8259_read(struct i8259 *pic, unsigned n, unsigned offset)
{
	struct i8259_chip *chip = &pic->chip[n];

	if (chip->poll)
		return read_poll(pic, chip);
	if (offset)
		return chip->imr;
	return chip->read_isr ? chip->isr : chip->irr;
}

u8 i8259_elcr_read(struct i8259 *pic, unsigned n)
{
	return pic->chip[n].elcr;
}

void i8259_elcr_write(struct i8259 *pic, unsigned n, u8 value)
{
	struct i8259_chip *chip = &pic->chip[n];

	chip->elcr = value & chip->elcr_mask;
	chip->irr = (u8)((chip->irr & ~chip->elcr) | (chip->lines & chip->elcr));
	update(pic);
}

void i8259_set_level_triggered(struct i8259 *pic, unsigned pin)
{
	unsigned n = pin / 8;

	i8259_elcr_write(pic, n, (u8)(pic->chip[n].elcr | 1u << pin % 8));
}

/* Everything is masked, as firmware leaves it; the wires keep their levels. */
void i8259_reset(struct i8259 *pic)
{
	for (unsigned n = 0; n < 2; n++) {
		struct i8259_chip *chip = &pic->chip[n];

		chip->elcr = 0;
		write_icw1(chip, 0);
		chip->icw_next = 0;
		chip->vector_base = 0;
		chip->imr = 0xff;
	}
	update(pic);
}

void i8259_init(struct i8259 *pic, struct irq_line intr)
{
	memset(pic, 0, sizeof(*pic));
	pic->intr = intr;
	pic->chip[MASTER].is_master = true;
	pic->chip[MASTER].elcr_mask = ELCR_MASTER;
	pic->chip[SLAVE].elcr_mask = ELCR_SLAVE;
	i8259_reset(pic);
}

static struct i8259 *of(struct device *dev)
{
	return container_of(dev, struct i8259, dev);
}

static u64 master_read(struct device *dev, u64 offset, unsigned size)
{
	(void)size;
	return i8259_read(of(dev), MASTER, (unsigned)offset);
}

static void master_write(struct device *dev, u64 offset, unsigned size, u64 value)
{
	(void)size;
	i8259_write(of(dev), MASTER, (unsigned)offset, (u8)value);
}

static u64 slave_read(struct device *dev, u64 offset, unsigned size)
{
	(void)size;
	return i8259_read(of(dev), SLAVE, (unsigned)offset);
}

static void slave_write(struct device *dev, u64 offset, unsigned size, u64 value)
{
	(void)size;
	i8259_write(of(dev), SLAVE, (unsigned)offset, (u8)value);
}

static u64 elcr_read(struct device *dev, u64 offset, unsigned size)
{
	(void)size;
	return i8259_elcr_read(of(dev), (unsigned)offset);
}

static void elcr_write(struct device *dev, u64 offset, unsigned size, u64 value)
{
	(void)size;
	i8259_elcr_write(of(dev), (unsigned)offset, (u8)value);
}

static const struct region_ops master_ops = {master_read, master_write, 1, 1};
static const struct region_ops slave_ops = {slave_read, slave_write, 1, 1};
static const struct region_ops elcr_ops = {elcr_read, elcr_write, 1, 1};

static void dev_reset(struct device *dev)
{
	i8259_reset(of(dev));
}

static void dev_free(struct device *dev)
{
	free(of(dev));
}

static const struct device_ops device_ops = {.reset = dev_reset, .free = dev_free};

static struct region ports(struct i8259 *pic, u16 base, const struct region_ops *ops)
{
	return (struct region){.name = "i8259", .base = base, .size = 2, .ops = ops, .dev = &pic->dev};
}

static int add_regions(struct i8259 *pic, struct space *io)
{
	int err;

	pic->master_region = ports(pic, I8259_MASTER_PORT, &master_ops);
	pic->slave_region = ports(pic, I8259_SLAVE_PORT, &slave_ops);
	pic->elcr_region = ports(pic, I8259_ELCR_PORT, &elcr_ops);
	err = space_add(io, &pic->master_region);
	if (err)
		return err;
	err = space_add(io, &pic->slave_region);
	if (err)
		goto no_slave;
	err = space_add(io, &pic->elcr_region);
	if (err)
		goto no_elcr;
	return 0;

no_elcr:
	space_remove(io, &pic->slave_region);
no_slave:
	space_remove(io, &pic->master_region);
	return err;
}

int i8259_create(struct vm *vm, struct irq_line intr, struct i8259 **out)
{
	struct i8259 *pic = malloc(sizeof(*pic));
	int err;

	if (!pic)
		return -ENOMEM;
	i8259_init(pic, intr);
	pic->dev = (struct device){.ops = &device_ops, .name = "i8259"};
	err = add_regions(pic, &vm->io);
	if (err) {
		free(pic);
		return err;
	}
	vm_add_device(vm, &pic->dev);
	*out = pic;
	return 0;
}
