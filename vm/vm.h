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
	bool private_memory; /* guest RAM is to be out of this system's reach, where the engine can */
	bool packed_rings; /* virtio devices offer them */
	u64 tsc_khz; /* the host's and the guest's TSC; set before vm_start */
	bool engine_ready; /* the engine's objects exist: from the first vm_start to a reset */
	_Atomic int stop; /* enum vm_stop; the first request wins */
	int stop_code;
	void (*stopped)(struct vm *vm); /* told once, from the thread that asked; may be NULL */
};

/* name stays the caller's. 0 or -errno. */
int vm_init(struct vm *vm, const char *name, const struct engine_ops *engine, unsigned nvcpus);
void vm_fini(struct vm *vm); /* frees devices too; accepts a half-made VM */

/* Makes the device part of the VM: gives it the machine lock and its reset. */
void vm_add_device(struct vm *vm, struct device *dev);
/*
 * Makes the engine's objects, then starts the vCPU threads; memory and the
 * regs of vCPU 0 must have been set. 0 or -errno.
 */
int vm_start(struct vm *vm);
/* From any thread (also a vCPU's): end this run for the given reason. */
void vm_request_stop(struct vm *vm, enum vm_stop reason, int code);
/* Waits until every vCPU thread has ended. */
void vm_join(struct vm *vm);
/*
 * With the vCPUs ended: every device to its power-on state, ready for new
 * memory contents and vm_start. The engine starts afresh too, since what it
 * derived from memory is stale.
 */
void vm_reset(struct vm *vm);
/*
 * After regions were added, moved or removed while the VM runs: on the thread of
 * the vCPU whose access did it, with the machine lock held. (With every vCPU
 * stopped, too.)
 */
void vm_map_changed(struct vm *vm);
/* Every vCPU halts and waits for an event. From any thread; true only for now. */
bool vm_idle(const struct vm *vm);
/*
 * Takes the machine lock unless somebody holds it for longer than 20 ms (a
 * vCPU thread that waits for a slow console): then the loop has other things to do.
 */
bool vm_trylock(struct vm *vm);
