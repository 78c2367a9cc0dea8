/* SPDX-License-Identifier: MIT */
/*
 * A chip's surroundings for its unit test: a clock that moves when told,
 * wires that remember, a console that collects, and a VM that only notes what
 * was asked of it. Included once by each test program.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backend/console.h"
#include "vm/vm.h"

/* ---- time ---- */

static u64 fake_ns;

static u64 fake_now(struct clock *clock)
{
	(void)clock;
	return fake_ns;
}

static inline void fake_clock(struct clock *clock)
{
	clock_init(clock);
	clock->now = fake_now;
	fake_ns = 1000000000;
}

/* Time passes, and every timer fires exactly at its deadline. */
static inline void fake_pass(struct clock *clock, u64 ns)
{
	u64 end = fake_ns + ns;

	while (clock_next(clock) <= end) {
		fake_ns = MAX(fake_ns, clock_next(clock));
		clock_run(clock);
	}
	fake_ns = end;
}

/* Time passes, and nobody looks at the timers before its end. */
static inline void fake_jump(struct clock *clock, u64 ns)
{
	fake_ns += ns;
	clock_run(clock);
}

/* ---- wires ---- */

struct fake_wire {
	bool level;
	unsigned rises;
};

static void fake_wire_set(void *ctx, unsigned pin, bool level)
{
	struct fake_wire *wire = (struct fake_wire *)ctx + pin;

	wire->rises += level && !wire->level;
	wire->level = level;
}

static inline struct irq_line fake_line(struct fake_wire *wire)
{
	return (struct irq_line){.set = fake_wire_set, .ctx = wire};
}

/* ---- a console ---- */

struct fake_console {
	struct console console;
	u8 out[256];
	size_t len;
	bool input_on;
};

static void fake_console_write(struct console *console, const u8 *data, size_t len)
{
	struct fake_console *fake = container_of(console, struct fake_console, console);

	assert_true(fake->len + len <= sizeof(fake->out));
	memcpy(fake->out + fake->len, data, len);
	fake->len += len;
}

static void fake_console_enable(struct console *console, bool on)
{
	container_of(console, struct fake_console, console)->input_on = on;
}

static const struct console_ops fake_console_ops = {
	.write = fake_console_write,
	.input_enable = fake_console_enable,
};

static inline void fake_console_init(struct fake_console *fake)
{
	memset(fake, 0, sizeof(*fake));
	fake->console.ops = &fake_console_ops;
}

/* ---- a VM ---- */

static struct {
	unsigned stops;
	enum vm_stop reason;
	int code;
	u32 kicked; /* events of all kicks */
	unsigned map_changes;
} fake_seen;

void vm_request_stop(struct vm *vm, enum vm_stop reason, int code)
{
	(void)vm;
	fake_seen.stops++;
	fake_seen.reason = reason;
	fake_seen.code = code;
}

void vm_add_device(struct vm *vm, struct device *dev)
{
	dev->next = vm->devices;
	vm->devices = dev;
}

void vcpu_kick(struct vcpu *vcpu, u32 events)
{
	(void)vcpu;
	fake_seen.kicked |= events;
}

void vm_map_changed(struct vm *vm)
{
	(void)vm;
	fake_seen.map_changes++;
}

static const struct engine_ops fake_no_engine = {.name = "fake"};

static inline void fake_vm_init(struct vm *vm)
{
	memset(vm, 0, sizeof(*vm));
	memset(&fake_seen, 0, sizeof(fake_seen));
	vm->engine = &fake_no_engine;
	fake_clock(&vm->clock);
	pthread_mutex_init(&vm->lock, NULL);
	assert_int_equal(space_init(&vm->mem, BIT(40)), 0);
	assert_int_equal(space_init(&vm->io, 0x10000), 0);
}

static inline void fake_vm_fini(struct vm *vm)
{
	while (vm->devices) {
		struct device *dev = vm->devices;

		vm->devices = dev->next;
		dev->ops->free(dev);
	}
	space_fini(&vm->mem);
	space_fini(&vm->io);
	pthread_mutex_destroy(&vm->lock);
}

static inline u8 fake_in(struct vm *vm, u16 port)
{
	return (u8)space_read(&vm->io, port, 1);
}

static inline void fake_out(struct vm *vm, u16 port, u8 value)
{
	space_write(&vm->io, port, 1, value);
}
