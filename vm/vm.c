/* SPDX-License-Identifier: MIT */
/* The life of a virtual machine. */
#include "vm/vm.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#define MEM_LIMIT BIT(46) /* what page tables and MTRRs of any x86-64 CPU can hold */
#define IO_LIMIT 0x10000

#define TRYLOCK_NS 20000000

int vm_init(struct vm *vm, const char *name, const struct engine_ops *engine, unsigned nvcpus)
{
	int ret;

	*vm = (struct vm){.name = name, .engine = engine};
	pthread_mutex_init(&vm->lock, NULL);
	clock_init(&vm->clock);
	ret = space_init(&vm->mem, MEM_LIMIT);
	if (!ret)
		ret = space_init(&vm->io, IO_LIMIT);
	if (ret)
		return ret;
	vm->vcpu = calloc(nvcpus, sizeof(*vm->vcpu));
	if (!vm->vcpu)
		return -ENOMEM;
	vm->nvcpus = nvcpus;
	for (unsigned i = 0; i < nvcpus; i++) {
		vm->vcpu[i].vm = vm;
		vm->vcpu[i].id = i;
	}
	return 0;
}

static void engine_fini(struct vm *vm)
{
	if (!vm->engine_ready)
		return;
	for (unsigned i = 0; i < vm->nvcpus; i++)
		vm->engine->vcpu_fini(&vm->vcpu[i]);
	vm->engine->vm_fini(vm);
	vm->engine_ready = false;
}

static int engine_init(struct vm *vm)
{
	int ret;

	if (vm->engine_ready)
		return 0;
	vm->engine_ready = true; /* also when half-made: see engine_ops */
	ret = vm->engine->vm_init(vm);
	for (unsigned i = 0; !ret && i < vm->nvcpus; i++)
		ret = vm->engine->vcpu_init(&vm->vcpu[i]);
	return ret;
}

static void free_devices(struct vm *vm)
{
	while (vm->devices) {
		struct device *dev = vm->devices;

		vm->devices = dev->next;
		if (dev->ops->free)
			dev->ops->free(dev);
	}
}

void vm_fini(struct vm *vm)
{
	pthread_mutex_lock(&vm->lock); /* a device's own thread may be at work, and tell the engine */
	engine_fini(vm);
	pthread_mutex_unlock(&vm->lock);
	/* Nothing fires any more, whichever device's timer is still in the list. */
	vm->clock.timers = NULL;
	vm->clock.rearm = NULL;
	/* A device that takes its regions out must not meet those of one that is gone. */
	vm->mem.regions = vm->io.regions = NULL;
	free_devices(vm);
	space_fini(&vm->mem);
	space_fini(&vm->io);
	free(vm->vcpu);
	vm->vcpu = NULL;
	vm->nvcpus = 0;
	pthread_mutex_destroy(&vm->lock);
}

void vm_add_device(struct vm *vm, struct device *dev)
{
	dev->lock = &vm->lock;
	dev->next = vm->devices;
	vm->devices = dev;
}

int vm_start(struct vm *vm)
{
	int ret = engine_init(vm);

	for (unsigned i = 0; !ret && i < vm->nvcpus; i++)
		ret = vcpu_start(&vm->vcpu[i]);
	return ret;
}

void vm_request_stop(struct vm *vm, enum vm_stop reason, int code)
{
	int running = VM_RUNNING;

	if (!atomic_compare_exchange_strong(&vm->stop, &running, (int)reason))
		return;
	vm->stop_code = code;
	for (unsigned i = 0; i < vm->nvcpus; i++)
		vcpu_kick(&vm->vcpu[i], VCPU_STOP);
	if (vm->stopped)
		vm->stopped(vm);
}

void vm_join(struct vm *vm)
{
	for (unsigned i = 0; i < vm->nvcpus; i++)
		vcpu_join(&vm->vcpu[i]);
}

void vm_reset(struct vm *vm)
{
	pthread_mutex_lock(&vm->lock);
	engine_fini(vm);
	for (struct device *dev = vm->devices; dev; dev = dev->next) {
		if (dev->ops->reset)
			dev->ops->reset(dev);
	}
	pthread_mutex_unlock(&vm->lock);
	for (unsigned i = 0; i < vm->nvcpus; i++)
		vm->vcpu[i].events = 0;
	vm->stop_code = 0;
	vm->stop = VM_RUNNING;
}

bool vm_idle(const struct vm *vm)
{
	for (unsigned i = 0; i < vm->nvcpus; i++) {
		if (!vm->vcpu[i].halting || vm->vcpu[i].events)
			return false;
	}
	return true;
}

bool vm_trylock(struct vm *vm)
{
	struct timespec until;

	if (!pthread_mutex_trylock(&vm->lock))
		return true;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += TRYLOCK_NS;
	if (until.tv_nsec >= 1000000000) {
		until.tv_nsec -= 1000000000;
		until.tv_sec++;
	}
	return pthread_mutex_clocklock(&vm->lock, CLOCK_MONOTONIC, &until) == 0;
}

void vm_map_changed(struct vm *vm)
{
	if (vm->engine_ready && vm->engine->map_changed)
		vm->engine->map_changed(vm);
}
