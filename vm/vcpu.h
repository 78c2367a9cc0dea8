/* SPDX-License-Identifier: MIT */
/*
 * A virtual CPU: a thread, its architectural state, its events, and its
 * interrupt controller (seen only through intc_ops).
 */
#pragma once

#include <pthread.h>

#include "lib/types.h"
#include "x86/state.h"

struct vm;

enum {
	VCPU_INTR = 1, /* the interrupt controller may have a vector: ask intc->peek */
	VCPU_NMI = 2,
	VCPU_STOP = 4, /* vm->stop is set: leave the run loop */
	VCPU_STATS = 8, /* somebody wants the counters printed */
};

struct vcpu {
	struct vm *vm;
	unsigned id; /* also the initial APIC ID */
	pthread_t thread; /* the one thread that may touch regs */
	bool started; /* the thread exists */
	struct x86_state regs;
	_Atomic u32 events; /* VCPU_*; set by vcpu_kick, cleared by the vCPU */
	_Atomic u32 sleeping; /* futex: 1 while the thread sleeps */
	_Atomic bool halting; /* the guest has halted; the thread sleeps, or runs timers in between */
	void *lapic; /* owned by the interrupt controller */
	void *engine; /* owned by the engine */
	u64 halts; /* counter: HLT exits */
};

/*
 * What a vCPU asks of its local interrupt controller. The engine calls these
 * from the vCPU's thread; they take the machine lock themselves.
 */
struct intc_ops {
	int (*peek)(struct vcpu *vcpu); /* highest deliverable vector, or -1 */
	/* Takes the vector that a peek showed for delivery; returns it (the 8259's may differ), or -1. */
	int (*ack)(struct vcpu *vcpu);
	u64 (*tpr)(struct vcpu *vcpu); /* CR8: bits 3:0 */
	void (*set_tpr)(struct vcpu *vcpu, u64 cr8);
	/* APIC base, TSC deadline and x2APIC registers. 0, or -1: #GP. */
	int (*rdmsr)(struct vcpu *vcpu, u32 index, u64 *value);
	int (*wrmsr)(struct vcpu *vcpu, u32 index, u64 value);
};

/* From any thread: raises events, and wakes or interrupts the vCPU. */
void vcpu_kick(struct vcpu *vcpu, u32 events);
/* Creates the thread that runs until the VM stops. 0 or -errno. */
int vcpu_start(struct vcpu *vcpu);
void vcpu_join(struct vcpu *vcpu);
