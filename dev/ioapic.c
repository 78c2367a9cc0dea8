/* SPDX-License-Identifier: MIT */
/* IOAPIC. Facts: Intel 82093AA data sheet; ICH9 data sheet for version 0x20 and the EOI register. */
#include "dev/ioapic.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vm/vm.h"

enum {
	REG_ID = 0x00,
	REG_VERSION = 0x01,
	REG_ARBITRATION = 0x02,
	REG_ENTRIES = 0x10,

	VERSION = 0x20 | (IOAPIC_PINS - 1) << 16,
};

#define ENTRY_READ_ONLY (IOAPIC_STATUS | IOAPIC_REMOTE_IRR)
#define ENTRY_VALID 0xff0000000001ffffull /* destination and the defined low bits */

/*
 * A wire says "asserted" whatever the polarity bit says: active high or low is
 * a matter of voltage, and both ends were set up by the same tables.
 */
static struct msi message(u64 entry)
{
	u64 destination = entry >> 56;
	bool logical = entry & BIT(11);
	u32 trigger = (u32)(entry & IOAPIC_LEVEL);

	return (struct msi){
		.addr = 0xfee00000 | destination << 12 | (u64)logical << 2,
		.data = (u32)(entry & 0x7ff) | 1u << 14 | trigger,
	};
}

static void deliver_level(struct ioapic *ioapic, unsigned pin)
{
	u64 *entry = &ioapic->entry[pin];

	if (!(*entry & IOAPIC_LEVEL) || *entry & (IOAPIC_MASKED | IOAPIC_REMOTE_IRR))
		return;
	if (!(ioapic->levels & 1u << pin))
		return;
	*entry |= IOAPIC_REMOTE_IRR;
	msi_send(&ioapic->sink, message(*entry));
}

static void set_pin(void *ctx, unsigned pin, bool level)
{
	struct ioapic *ioapic = ctx;
	u32 bit = 1u << pin;
	bool rises = level && !(ioapic->levels & bit);

	ioapic->levels = level ? ioapic->levels | bit : ioapic->levels & ~bit;
	/* An edge that meets a mask is lost, as in the silicon. */
	if (rises && !(ioapic->entry[pin] & (IOAPIC_LEVEL | IOAPIC_MASKED)))
		msi_send(&ioapic->sink, message(ioapic->entry[pin]));
	deliver_level(ioapic, pin);
}

struct irq_line ioapic_pin(struct ioapic *ioapic, unsigned pin)
{
	if (pin >= IOAPIC_PINS)
		return (struct irq_line){0};
	return (struct irq_line){.set = set_pin, .ctx = ioapic, .pin = pin};
}

void ioapic_eoi(void *ctx, u8 vector)
{
	struct ioapic *ioapic = ctx;

	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
		u64 *entry = &ioapic->entry[pin];

		if (!(*entry & IOAPIC_REMOTE_IRR) || (u8)*entry != vector)
			continue;
		*entry &= ~IOAPIC_REMOTE_IRR;
		deliver_level(ioapic, pin);
	}
}

static void write_entry(struct ioapic *ioapic, unsigned reg, u32 value)
{
	unsigned pin = (reg - REG_ENTRIES) / 2;
	u64 old = ioapic->entry[pin];
	u64 entry;

	if (reg & 1)
		entry = (old & 0xffffffff) | (u64)value << 32;
	else
		entry = (old & ~0xffffffffull) | value;
	entry = (entry & ENTRY_VALID & ~ENTRY_READ_ONLY) | (old & ENTRY_READ_ONLY);
	/* Edge mode has no remote IRR; OSes use this to force an EOI. */
	if (!(entry & IOAPIC_LEVEL))
		entry &= ~IOAPIC_REMOTE_IRR;
	ioapic->entry[pin] = entry;
	deliver_level(ioapic, pin);
}

static bool is_entry(unsigned reg)
{
	return reg >= REG_ENTRIES && reg < REG_ENTRIES + 2 * IOAPIC_PINS;
}

static u32 read_register(const struct ioapic *ioapic)
{
	unsigned reg = ioapic->select;
	u64 entry;

	if (is_entry(reg)) {
		entry = ioapic->entry[(reg - REG_ENTRIES) / 2];
		return (u32)(reg & 1 ? entry >> 32 : entry);
	}
	if (reg == REG_ID || reg == REG_ARBITRATION)
		return (u32)ioapic->id << 24;
	return reg == REG_VERSION ? VERSION : 0;
}

static void write_register(struct ioapic *ioapic, u32 value)
{
	if (is_entry(ioapic->select))
		write_entry(ioapic, ioapic->select, value);
	else if (ioapic->select == REG_ID)
		ioapic->id = value >> 24 & 0xf;
}

u32 ioapic_read(struct ioapic *ioapic, u64 offset)
{
	switch (offset) {
	case IOAPIC_REGSEL:
		return ioapic->select;
	case IOAPIC_WIN:
		return read_register(ioapic);
	default:
		return 0;
	}
}

void ioapic_write(struct ioapic *ioapic, u64 offset, u32 value)
{
	switch (offset) {
	case IOAPIC_REGSEL:
		ioapic->select = (u8)value;
		break;
	case IOAPIC_WIN:
		write_register(ioapic, value);
		break;
	case IOAPIC_EOI:
		ioapic_eoi(ioapic, (u8)value);
		break;
	default:
		break;
	}
}

void ioapic_reset(struct ioapic *ioapic)
{
	ioapic->id = IOAPIC_ID;
	ioapic->select = 0;
	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++)
		ioapic->entry[pin] = IOAPIC_MASKED;
}

void ioapic_init(struct ioapic *ioapic, struct msi_sink sink)
{
	memset(ioapic, 0, sizeof(*ioapic));
	ioapic->sink = sink;
	ioapic_reset(ioapic);
}

static struct ioapic *of(struct device *dev)
{
	return container_of(dev, struct ioapic, dev);
}

static u64 region_read(struct device *dev, u64 offset, unsigned size)
{
	(void)size;
	return ioapic_read(of(dev), offset);
}

static void region_write(struct device *dev, u64 offset, unsigned size, u64 value)
{
	(void)size;
	ioapic_write(of(dev), offset, (u32)value);
}

static const struct region_ops region_ops = {
	.read = region_read,
	.write = region_write,
	.min_size = 4,
	.max_size = 4,
};

static void dev_reset(struct device *dev)
{
	ioapic_reset(of(dev));
}

static void dev_free(struct device *dev)
{
	free(of(dev));
}

static const struct device_ops device_ops = {.reset = dev_reset, .free = dev_free};

int ioapic_create(struct vm *vm, struct msi_sink sink, struct ioapic **out)
{
	struct ioapic *ioapic = malloc(sizeof(*ioapic));
	int err;

	if (!ioapic)
		return -ENOMEM;
	ioapic_init(ioapic, sink);
	ioapic->dev = (struct device){.ops = &device_ops, .name = "ioapic"};
	ioapic->region = (struct region){
		.name = "ioapic",
		.base = IOAPIC_BASE,
		.size = IOAPIC_SIZE,
		.ops = &region_ops,
		.dev = &ioapic->dev,
	};
	err = space_add(&vm->mem, &ioapic->region);
	if (err) {
		free(ioapic);
		return err;
	}
	vm_add_device(vm, &ioapic->dev);
	*out = ioapic;
	return 0;
}
