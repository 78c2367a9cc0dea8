/* SPDX-License-Identifier: MIT */
/*
 * What runs the vCPUs. An engine knows the machine's spaces and the vCPU's
 * interrupt controller by their interfaces only; it never knows a device.
 */
#pragma once

#include <stdio.h>

#include "host/err.h"
#include "lib/types.h"

struct vm;
struct vcpu;

enum vcpu_exit {
	VCPU_EXIT_HLT, /* the vCPU halted; run again when an event is pending */
	VCPU_EXIT_KICKED, /* vcpu->events has something that is not the engine's */
	VCPU_EXIT_TRIPLE_FAULT,
	VCPU_EXIT_ERROR, /* our own fault; recorded with a state dump */
};

struct engine_ops {
	const char *name;
	bool private_memory; /* can keep guest RAM out of this system's reach (vm->private_memory) */
	/* May this host run the engine? 0, or -errno with one line in why. */
	int (*probe)(char *why, size_t len);
	/*
	 * Guest RAM of the engine's own kind; all three NULL: any memory will do. Before
	 * vm_init, and after vm_fini; clear is for a reset. 0, or -errno with a line in err.
	 */
	int (*ram_map)(struct vm *vm, u64 size, u8 **ram, struct err *err);
	void (*ram_clear)(struct vm *vm);
	void (*ram_unmap)(struct vm *vm);
	/* All return 0 or -errno; _fini accepts a half-made object. */
	int (*vm_init)(struct vm *vm);
	void (*vm_fini)(struct vm *vm);
	int (*vcpu_init)(struct vcpu *vcpu);
	void (*vcpu_fini)(struct vcpu *vcpu);
	/* On the vCPU's thread: run the guest until something is for the VMM. */
	enum vcpu_exit (*run)(struct vcpu *vcpu);
	/* From any thread, after vcpu->events was set: make run notice soon. */
	void (*kick)(struct vcpu *vcpu);
	/* vcpu->regs from and to the engine; on the vCPU's thread, outside run. */
	void (*regs_get)(struct vcpu *vcpu);
	void (*regs_put)(struct vcpu *vcpu);
	/*
	 * A device has filled guest RAM at this host address: before the guest is told. From any
	 * thread. NULL: the engine derives nothing from memory.
	 */
	void (*ram_written)(struct vm *vm, const void *host, size_t len);
	/*
	 * vm->mem has another shape (space_add, _move, _remove). On a vCPU's thread, which may be
	 * in the midst of the guest's instruction that did it, or with every vCPU stopped.
	 */
	void (*map_changed)(struct vm *vm);
	/* Counters for people; from any thread, so figures may be a little old. */
	void (*stats)(struct vm *vm, FILE *out);
};

extern const struct engine_ops translate_engine;
extern const struct engine_ops metal_engine;
