/* SPDX-License-Identifier: MIT */
/*
 * The local APICs of a machine and what goes between them: messages from
 * devices, interrupts from CPU to CPU, and the memory window, in which every
 * vCPU sees its own.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dev/lapic_internal.h"
#include "vm/vm.h"

enum {
	MODE_FIXED = 0,
	MODE_LOWEST = 1,
	MODE_NMI = 4,

	SHORTHAND_NONE = 0,
	SHORTHAND_SELF = 1,
	SHORTHAND_ALL = 2,

	BROADCAST = 0xff, /* in the 8-bit form; the 32-bit one is all ones */
};

#define DESTINATION_ALL 0xffffffffu

struct message {
	u32 destination;
	bool logical;
	unsigned mode;
	u8 vector;
	bool level;
};

static bool match_logical(const struct lapic *lapic, u32 destination)
{
	u32 id = lapic->ldr >> 24;

	if (lapic_x2apic(lapic))
		return lapic->ldr >> 16 == destination >> 16 && lapic->ldr & destination & 0xffff;
	if (lapic->dfr >> 28 == 0xf)
		return id & destination;
	return id >> 4 == (destination >> 4 & 0xf) && id & destination & 0xf;
}

static bool match(const struct lapic *lapic, const struct message *m)
{
	if (!lapic_hw_enabled(lapic))
		return false;
	if (m->destination == DESTINATION_ALL)
		return true;
	return m->logical ? match_logical(lapic, m->destination) : m->destination == lapic->id;
}

/*
 * INIT and SIPI are for CPUs that wait to be started; the only CPU of this
 * machine runs from the start, so they are dropped like SMI, which has no
 * memory to run in.
 */
static void deliver(struct lapic *lapic, const struct message *m)
{
	if (m->mode == MODE_FIXED || m->mode == MODE_LOWEST)
		lapic_accept(lapic, m->vector, m->level);
	else if (m->mode == MODE_NMI)
		vcpu_kick(lapic->vcpu, VCPU_NMI);
}

/* `except` is left out; NULL: nobody. */
static void route(struct lapic_bus *bus, const struct message *m, const struct lapic *except)
{
	struct lapic *lowest = NULL;

	for (unsigned i = 0; i < bus->count; i++) {
		struct lapic *lapic = &bus->lapic[i];

		if (lapic == except || !match(lapic, m))
			continue;
		if (m->mode != MODE_LOWEST)
			deliver(lapic, m);
		else if (!lowest || lapic->tpr < lowest->tpr)
			lowest = lapic;
	}
	if (lowest)
		deliver(lowest, m);
}

void lapic_send_ipi(struct lapic *from, u64 icr)
{
	unsigned shorthand = icr >> 18 & 3;
	u32 destination = (u32)(icr >> 32);
	struct message m = {.mode = icr >> 8 & 7, .vector = (u8)icr, .logical = icr >> 11 & 1};

	if (!lapic_x2apic(from)) {
		destination >>= 24;
		if (destination == BROADCAST)
			destination = DESTINATION_ALL;
	}
	m.destination = shorthand == SHORTHAND_NONE ? destination : DESTINATION_ALL;
	if (shorthand == SHORTHAND_SELF)
		deliver(from, &m);
	else
		route(from->bus, &m, shorthand == SHORTHAND_NONE || shorthand == SHORTHAND_ALL ? NULL : from);
}

static void receive_msi(void *ctx, struct msi msi)
{
	u32 destination = msi.addr >> 12 & 0xff;
	struct message m = {
		.destination = destination == BROADCAST ? DESTINATION_ALL : destination,
		.logical = msi.addr >> 2 & 1,
		.mode = msi.data >> 8 & 7,
		.vector = (u8)msi.data,
		.level = msi.data >> 15 & 1,
	};

	route(ctx, &m, NULL);
}

struct msi_sink lapic_msi_sink(struct lapic_bus *bus)
{
	return (struct msi_sink){.send = receive_msi, .ctx = bus};
}

static void set_lint(void *ctx, unsigned n, bool level)
{
	lapic_set_lint(ctx, n, level);
}

struct irq_line lapic_lint(struct lapic_bus *bus, unsigned vcpu, unsigned n)
{
	if (vcpu >= bus->count || n > 1)
		return (struct irq_line){0};
	return (struct irq_line){.set = set_lint, .ctx = &bus->lapic[vcpu], .pin = n};
}

void lapic_link(struct lapic_bus *bus, const struct lapic_links *links)
{
	bus->links = *links;
}

void lapic_bus_reset(struct lapic_bus *bus)
{
	for (unsigned i = 0; i < bus->count; i++)
		lapic_reset(&bus->lapic[i]);
}

static u64 guest_tsc(struct lapic *lapic)
{
	return __builtin_ia32_rdtsc() + lapic->vcpu->regs.tsc_offset;
}

int lapic_bus_init(struct lapic_bus *bus, struct vm *vm, u64 tsc_khz)
{
	memset(bus, 0, sizeof(*bus));
	if (!tsc_khz)
		return -EINVAL;
	bus->lapic = calloc(vm->nvcpus, sizeof(*bus->lapic));
	if (!bus->lapic)
		return -ENOMEM;
	bus->vm = vm;
	bus->count = vm->nvcpus;
	bus->ns_per_tick = (1000000ull << 32) / tsc_khz;
	for (unsigned i = 0; i < bus->count; i++) {
		struct lapic *lapic = &bus->lapic[i];

		lapic->bus = bus;
		lapic->vcpu = &vm->vcpu[i];
		lapic->id = lapic->vcpu->id;
		lapic->tsc = guest_tsc;
		lapic->vcpu->lapic = lapic;
		lapic_timer_init(lapic);
	}
	vm->intc = &lapic_intc_ops;
	lapic_bus_reset(bus);
	return 0;
}

void lapic_bus_fini(struct lapic_bus *bus)
{
	for (unsigned i = 0; i < bus->count; i++)
		timer_cancel(&bus->vm->clock, &bus->lapic[i].timer);
	free(bus->lapic);
}

static struct lapic_bus *of(struct device *dev)
{
	return container_of(dev, struct lapic_bus, dev);
}

/* Which vCPU is it that touches the window? Region ops run on its thread. */
static struct lapic *current(struct lapic_bus *bus)
{
	for (unsigned i = 1; i < bus->count; i++)
		if (pthread_equal(bus->lapic[i].vcpu->thread, pthread_self()))
			return &bus->lapic[i];
	return &bus->lapic[0];
}

static u64 region_read(struct device *dev, u64 offset, unsigned size)
{
	(void)size;
	return lapic_mmio_read(current(of(dev)), offset);
}

static void region_write(struct device *dev, u64 offset, unsigned size, u64 value)
{
	(void)size;
	lapic_mmio_write(current(of(dev)), offset, (u32)value);
}

static const struct region_ops region_ops = {region_read, region_write, 4, 4};

static void dev_reset(struct device *dev)
{
	lapic_bus_reset(of(dev));
}

static void dev_free(struct device *dev)
{
	lapic_bus_fini(of(dev));
	free(of(dev));
}

static const struct device_ops device_ops = {.reset = dev_reset, .free = dev_free};

int lapic_create(struct vm *vm, u64 tsc_khz, struct lapic_bus **out)
{
	struct lapic_bus *bus = malloc(sizeof(*bus));
	int err;

	if (!bus)
		return -ENOMEM;
	err = lapic_bus_init(bus, vm, tsc_khz);
	if (err)
		goto fail;
	bus->dev = (struct device){.ops = &device_ops, .name = "lapic"};
	bus->region = (struct region){
		.name = "lapic",
		.base = LAPIC_BASE,
		.size = LAPIC_SIZE,
		.ops = &region_ops,
		.dev = &bus->dev,
	};
	err = space_add(&vm->mem, &bus->region);
	if (err)
		goto fail;
	vm_add_device(vm, &bus->dev);
	*out = bus;
	return 0;

fail:
	lapic_bus_fini(bus);
	free(bus);
	return err;
}
