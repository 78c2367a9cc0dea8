/* SPDX-License-Identifier: MIT */
/* A VM's life with an engine that only pretends: halting, kicks, timers, stop, reset. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "host/loop.h"
#include "vm/vm.h"

/* The guest: takes each interrupt at once, and halts again. */
static _Atomic unsigned taken, kicks, made, freed;
static _Atomic bool busy, crash;

static int fake_probe(char *why, size_t len)
{
	(void)why;
	(void)len;
	return 0;
}

static int fake_vm_init(struct vm *vm)
{
	(void)vm;
	made++;
	return 0;
}

/* Devices' threads tell the engine what they have written, with the lock held. */
static void fake_vm_fini(struct vm *vm)
{
	assert_int_equal(pthread_mutex_trylock(&vm->lock), EBUSY);
	freed++;
}

static int fake_vcpu_init(struct vcpu *vcpu)
{
	(void)vcpu;
	return 0;
}

static void fake_nothing(struct vcpu *vcpu)
{
	(void)vcpu;
}

static enum vcpu_exit fake_run(struct vcpu *vcpu)
{
	u32 events;

	do {
		events = atomic_fetch_and(&vcpu->events, ~(u32)VCPU_INTR);
		if (events & VCPU_INTR)
			taken++;
		if (events & VCPU_STOP)
			return VCPU_EXIT_KICKED;
		if (crash)
			return VCPU_EXIT_TRIPLE_FAULT;
	} while (busy);
	return VCPU_EXIT_HLT;
}

static void fake_kick(struct vcpu *vcpu)
{
	(void)vcpu;
	kicks++;
}

static const struct engine_ops fake_engine = {
	.name = "fake",
	.probe = fake_probe,
	.vm_init = fake_vm_init,
	.vm_fini = fake_vm_fini,
	.vcpu_init = fake_vcpu_init,
	.vcpu_fini = fake_nothing,
	.run = fake_run,
	.kick = fake_kick,
	.regs_get = fake_nothing,
	.regs_put = fake_nothing,
};

struct fixture {
	struct vm vm;
	struct loop loop;
	struct loop_timer timer;
	_Atomic unsigned stops, fired;
	struct timer tick;
	u64 period;
};

static void rearm(struct clock *clock)
{
	struct vm *vm = container_of(clock, struct vm, clock);
	struct fixture *f = container_of(vm, struct fixture, vm);
	u64 next = clock_uncovered(clock);

	loop_timer_set(&f->timer, next == CLOCK_NEVER ? LOOP_NEVER : clock->base + next);
}

static void expired(void *arg)
{
	struct fixture *f = arg;

	if (!vm_trylock(&f->vm))
		return;
	loop_timer_taken(&f->timer);
	clock_run(&f->vm.clock);
	rearm(&f->vm.clock);
	pthread_mutex_unlock(&f->vm.lock);
}

static void stopped(struct vm *vm)
{
	struct fixture *f = container_of(vm, struct fixture, vm);

	f->stops++;
	loop_stop(&f->loop);
}

/* A timer that interrupts the vCPU, so many times. */
static void tick(void *arg)
{
	struct fixture *f = arg;

	f->fired++;
	vcpu_kick(f->vm.vcpu, VCPU_INTR);
	if (f->fired < 50)
		timer_arm(&f->vm.clock, &f->tick, clock_now(&f->vm.clock) + f->period);
	else
		vm_request_stop(&f->vm, VM_POWEROFF, 0);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	taken = kicks = made = freed = 0;
	busy = crash = false;
	assert_int_equal(loop_init(&f->loop), 0);
	assert_int_equal(vm_init(&f->vm, "test", &fake_engine, 1), 0);
	assert_int_equal(loop_timer_init(&f->loop, &f->timer, expired, f), 0);
	f->vm.clock.rearm = rearm;
	f->vm.stopped = stopped;
	timer_init(&f->tick, tick, f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	vm_fini(&f->vm);
	loop_timer_fini(&f->loop, &f->timer);
	loop_fini(&f->loop);
	free(f);
	return 0;
}

/* Were a wake-up lost, this would never end. */
static void no_kick_is_lost(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(vm_start(&f->vm), 0);
	for (unsigned i = 0; i < 20000; i++) {
		unsigned before = taken;

		vcpu_kick(f->vm.vcpu, VCPU_INTR);
		while (taken == before)
			;
	}
	vm_request_stop(&f->vm, VM_QUIT, 7);
	vm_request_stop(&f->vm, VM_ERROR, 8);
	vm_join(&f->vm);
	assert_int_equal(f->vm.stop, VM_QUIT);
	assert_int_equal(f->vm.stop_code, 7);
	assert_int_equal(f->stops, 1);
}

static void run_ticks(struct fixture *f)
{
	f->period = 200000;
	pthread_mutex_lock(&f->vm.lock);
	timer_arm(&f->vm.clock, &f->tick, clock_now(&f->vm.clock) + f->period);
	pthread_mutex_unlock(&f->vm.lock);
	assert_int_equal(vm_start(&f->vm), 0);
	assert_int_equal(loop_run(&f->loop), 0);
	vm_join(&f->vm);
	assert_int_equal(f->fired, 50);
	assert_int_equal(f->vm.stop, VM_POWEROFF);
	assert_true(f->vm.clock.covered == CLOCK_NEVER);
}

static void a_halted_vcpu_runs_timers(void **state)
{
	struct fixture *f = *state;

	run_ticks(f);
	assert_true(f->vm.vcpu->halts > 25);
}

static void the_loop_runs_timers_of_a_busy_vcpu(void **state)
{
	busy = true;
	run_ticks(*state);
	assert_true(kicks > 25);
}

static void a_halted_vcpu_is_idle(void **state)
{
	struct fixture *f = *state;
	struct timespec moment = {.tv_nsec = 1000000};

	assert_false(vm_idle(&f->vm));
	assert_int_equal(vm_start(&f->vm), 0);
	while (!vm_idle(&f->vm))
		nanosleep(&moment, NULL);
	vm_request_stop(&f->vm, VM_QUIT, 0);
	vm_join(&f->vm);
}

static void a_reset_starts_afresh(void **state)
{
	struct fixture *f = *state;

	crash = true;
	assert_int_equal(vm_start(&f->vm), 0);
	assert_int_equal(loop_run(&f->loop), 0);
	vm_join(&f->vm);
	assert_int_equal(f->vm.stop, VM_TRIPLE_FAULT);
	vm_reset(&f->vm);
	loop_restart(&f->loop);
	assert_int_equal(f->vm.stop, VM_RUNNING);
	assert_int_equal(made, 1);
	assert_int_equal(freed, 1);
	assert_int_equal(vm_start(&f->vm), 0);
	assert_int_equal(loop_run(&f->loop), 0);
	vm_join(&f->vm);
	assert_int_equal(made, 2);
}

static void a_held_lock_is_not_waited_for(void **state)
{
	struct fixture *f = *state;

	pthread_mutex_lock(&f->vm.lock);
	assert_false(vm_trylock(&f->vm));
	pthread_mutex_unlock(&f->vm.lock);
	assert_true(vm_trylock(&f->vm));
	pthread_mutex_unlock(&f->vm.lock);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(no_kick_is_lost, setup, teardown),
		cmocka_unit_test_setup_teardown(a_halted_vcpu_runs_timers, setup, teardown),
		cmocka_unit_test_setup_teardown(the_loop_runs_timers_of_a_busy_vcpu, setup, teardown),
		cmocka_unit_test_setup_teardown(a_halted_vcpu_is_idle, setup, teardown),
		cmocka_unit_test_setup_teardown(a_reset_starts_afresh, setup, teardown),
		cmocka_unit_test_setup_teardown(a_held_lock_is_not_waited_for, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
