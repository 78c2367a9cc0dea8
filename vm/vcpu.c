/* SPDX-License-Identifier: MIT */
/*
 * A virtual CPU's thread: runs the guest, sleeps when it halts, and leaves
 * when the VM stops.
 */
#include "vm/vcpu.h"

#include <linux/futex.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "vm/vm.h"

/* ---- sleeping ---- */

/* Waits while *word is `value`, until a CLOCK_MONOTONIC time in ns or for ever (0). */
static void futex_wait(_Atomic u32 *word, u32 value, u64 until)
{
	struct timespec time = {
		.tv_sec = (time_t)(until / 1000000000),
		.tv_nsec = (long)(until % 1000000000),
	};

	syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, value, until ? &time : NULL, NULL,
		FUTEX_BITSET_MATCH_ANY);
}

static void futex_wake(_Atomic u32 *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

/*
 * The halted vCPU wakes at the earliest deadline and runs the timers itself:
 * a wake-up of another thread, which would then wake this one, costs far more.
 * One vCPU does so for all. Returns the time, or CLOCK_NEVER.
 */
static u64 cover_deadline(struct vm *vm)
{
	u64 next;

	pthread_mutex_lock(&vm->lock);
	clock_run(&vm->clock);
	next = vm->clock.covered == CLOCK_NEVER ? clock_next(&vm->clock) : CLOCK_NEVER;
	if (next != CLOCK_NEVER)
		clock_cover(&vm->clock, next);
	pthread_mutex_unlock(&vm->lock);
	return next;
}

static void uncover_deadline(struct vm *vm)
{
	pthread_mutex_lock(&vm->lock);
	vm->clock.covered = CLOCK_NEVER;
	clock_run(&vm->clock);
	clock_cover(&vm->clock, CLOCK_NEVER);
	pthread_mutex_unlock(&vm->lock);
}

/* One sleep: until an event, a deadline, or nothing at all (a spurious wake-up). */
static void sleep_once(struct vcpu *vcpu)
{
	struct vm *vm = vcpu->vm;
	u64 until = cover_deadline(vm);

	atomic_store(&vcpu->sleeping, 1);
	/* Whoever raises an event after this look sees `sleeping`, and wakes us. */
	if (!atomic_load(&vcpu->events))
		futex_wait(&vcpu->sleeping, 1, until == CLOCK_NEVER ? 0 : vm->clock.base + until);
	atomic_store(&vcpu->sleeping, 0);
	if (until != CLOCK_NEVER)
		uncover_deadline(vm);
}

static void halt(struct vcpu *vcpu)
{
	vcpu->halts++;
	vcpu->halting = true;
	while (!atomic_load(&vcpu->events))
		sleep_once(vcpu);
	vcpu->halting = false;
}

/* ---- running ---- */

static void handle_exit(struct vcpu *vcpu, enum vcpu_exit why)
{
	switch (why) {
	case VCPU_EXIT_HLT:
		halt(vcpu);
		break;
	case VCPU_EXIT_KICKED:
		atomic_fetch_and(&vcpu->events, ~(u32)VCPU_STATS);
		break;
	case VCPU_EXIT_TRIPLE_FAULT:
		vm_request_stop(vcpu->vm, VM_TRIPLE_FAULT, 0);
		break;
	case VCPU_EXIT_ERROR:
		vm_request_stop(vcpu->vm, VM_ERROR, 0);
		break;
	}
}

static void *vcpu_main(void *arg)
{
	struct vcpu *vcpu = arg;
	struct vm *vm = vcpu->vm;
	const struct engine_ops *engine = vm->engine;
	char name[16];

	snprintf(name, sizeof(name), "vcpu%u", vcpu->id);
	pthread_setname_np(pthread_self(), name);
	engine->regs_put(vcpu);
	while (atomic_load(&vm->stop) == VM_RUNNING)
		handle_exit(vcpu, engine->run(vcpu));
	engine->regs_get(vcpu);
	return NULL;
}

/*
 * `started` is set before the thread exists, because the engine's kick must
 * work from its first moment on, and cleared when it has ended.
 */
int vcpu_start(struct vcpu *vcpu)
{
	int ret;

	vcpu->started = true;
	ret = pthread_create(&vcpu->thread, NULL, vcpu_main, vcpu);
	if (ret) {
		vcpu->started = false;
		return -ret;
	}
	return 0;
}

void vcpu_join(struct vcpu *vcpu)
{
	if (!vcpu->started)
		return;
	pthread_join(vcpu->thread, NULL);
	/* Threads of backends kick with the machine lock held: from here on, none reaches the engine. */
	pthread_mutex_lock(&vcpu->vm->lock);
	vcpu->started = false;
	pthread_mutex_unlock(&vcpu->vm->lock);
}

void vcpu_kick(struct vcpu *vcpu, u32 events)
{
	atomic_fetch_or(&vcpu->events, events);
	if (!vcpu->started)
		return;
	/* Clearing the word makes a wait fail that has been decided on, but not begun. */
	if (atomic_exchange(&vcpu->sleeping, 0))
		futex_wake(&vcpu->sleeping);
	else
		vcpu->vm->engine->kick(vcpu);
}
