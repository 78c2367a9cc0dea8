/* SPDX-License-Identifier: MIT */
/*
 * A virtual machine: its spaces, its clock, its vCPUs and its devices.
 *
 * One machine lock covers all devices, interrupt controllers and timers. It is
 * taken by the spaces around region ops, by the loop around timers and backend
 * input, and by intc_ops; device code never takes it.
 */
#pragma once

#include <pthread.h>

#include "lib/types.h"
#include "vm/clock.h"
#include "vm/device.h"
#include "vm/engine.h"
#include "vm/irq.h"
#include "vm/space.h"
#include "vm/vcpu.h"

enum vm_stop {
	VM_RUNNING,
	VM_POWEROFF, /* the guest asked (ACPI S5) */
	VM_RESET, /* the guest asked (reset register, i8042, 0xcf9) */
	VM_TRIPLE_FAULT,
	VM_DEBUG_EXIT, /* stop_code is the exit status */
	VM_QUIT, /* the user asked */
	VM_TIMEOUT,
	VM_ERROR, /* our own fault */
};

struct vm {
	const char *name;
	const struct engine_ops *engine;
	void *engine_data; /* owned by the engine */
	const struct intc_ops *intc;
	struct space mem, io;
	struct clock clock;
	pthread_mutex_t lock; /* the machine lock */
	struct device *devices; /* newest first */
	struct vcpu *vcpu; /* array of nvcpus */
	unsigned nvcpus;
	_Atomic int stop; /* enum vm_stop; the first request wins */
	int stop_code;
	void (*stopped)(struct vm *vm); /* told once, from the thread that asked; may be NULL */
};

/* name stays the caller's. 0 or -errno. */
int vm_init(struct vm *vm, const char *name, const struct engine_ops *engine, unsigned nvcpus);
void vm_fini(struct vm *vm); /* frees devices too; accepts a half-made VM */

/* Makes the device part of the VM: gives it the machine lock and its reset. */
void vm_add_device(struct vm *vm, struct device *dev);
/* Starts the vCPU threads; regs of vCPU 0 must have been set. 0 or -errno. */
int vm_start(struct vm *vm);
/* From any thread (also a vCPU's): end this run for the given reason. */
void vm_request_stop(struct vm *vm, enum vm_stop reason, int code);
/* Waits until every vCPU thread has ended. */
void vm_join(struct vm *vm);
/* With the vCPUs ended: every device to its power-on state, ready for vm_start. */
void vm_reset(struct vm *vm);
