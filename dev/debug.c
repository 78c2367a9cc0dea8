/* SPDX-License-Identifier: MIT */
/* Debug console and debug exit ports. */
#include "dev/debug.h"

#include <errno.h>
#include <stdlib.h>

#include "vm/vm.h"

static u64 console_read(struct device *dev, u64 offset, unsigned size)
{
	(void)dev;
	(void)offset;
	(void)size;
	return DEBUG_CONSOLE_PORT; /* says that the port exists */
}

static void console_write(struct device *dev, u64 offset, unsigned size, u64 value)
{
	struct console *console = container_of(dev, struct debug_console, dev)->console;
	u8 c = (u8)value;

	(void)offset;
	(void)size;
	if (console)
		console->ops->write(console, &c, 1);
}

static const struct region_ops console_ops = {console_read, console_write, 1, 1};

static void console_reset(struct device *dev)
{
	(void)dev;
}

static void console_free(struct device *dev)
{
	free(container_of(dev, struct debug_console, dev));
}

static const struct device_ops console_device_ops = {.reset = console_reset, .free = console_free};

int debug_console_create(struct vm *vm, struct console *console, struct debug_console **out)
{
	struct debug_console *debug = calloc(1, sizeof(*debug));
	int err;

	if (!debug)
		return -ENOMEM;
	debug->dev = (struct device){.ops = &console_device_ops, .name = "debug console"};
	debug->console = console;
	debug->bochs_region = (struct region){
		.name = "debug console",
		.base = DEBUG_CONSOLE_PORT,
		.size = 1,
		.ops = &console_ops,
		.dev = &debug->dev,
	};
	debug->firmware_region = debug->bochs_region;
	debug->firmware_region.base = DEBUG_FIRMWARE_PORT;
	err = space_add(&vm->io, &debug->bochs_region);
	if (err)
		goto fail;
	err = space_add(&vm->io, &debug->firmware_region);
	if (err) {
		space_remove(&vm->io, &debug->bochs_region);
		goto fail;
	}
	vm_add_device(vm, &debug->dev);
	*out = debug;
	return 0;

fail:
	free(debug);
	return err;
}

static void exit_write(struct device *dev, u64 offset, unsigned size, u64 value)
{
	(void)offset;
	(void)size;
	vm_request_stop(container_of(dev, struct debug_exit, dev)->vm, VM_DEBUG_EXIT, (u8)value << 1 | 1);
}

static u64 exit_read(struct device *dev, u64 offset, unsigned size)
{
	(void)dev;
	(void)offset;
	(void)size;
	return 0xff;
}

static const struct region_ops exit_ops = {exit_read, exit_write, 1, 1};

static void exit_reset(struct device *dev)
{
	(void)dev;
}

static void exit_free(struct device *dev)
{
	free(container_of(dev, struct debug_exit, dev));
}

static const struct device_ops exit_device_ops = {.reset = exit_reset, .free = exit_free};

int debug_exit_create(struct vm *vm, struct debug_exit **out)
{
	struct debug_exit *debug = calloc(1, sizeof(*debug));
	int err;

	if (!debug)
		return -ENOMEM;
	debug->dev = (struct device){.ops = &exit_device_ops, .name = "debug exit"};
	debug->vm = vm;
	debug->region = (struct region){
		.name = "debug exit",
		.base = DEBUG_EXIT_PORT,
		.size = 1,
		.ops = &exit_ops,
		.dev = &debug->dev,
	};
	err = space_add(&vm->io, &debug->region);
	if (err) {
		free(debug);
		return err;
	}
	vm_add_device(vm, &debug->dev);
	*out = debug;
	return 0;
}
