/* SPDX-License-Identifier: MIT */
/* The event loop: sources that hang up, plain files, timers, signals, stopping. */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "host/loop.h"

#define MS 1000000ull

static u64 now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (u64)t.tv_sec * 1000000000 + (u64)t.tv_nsec;
}

struct fixture {
	struct loop loop;
	struct loop_source source;
	struct loop_timer end, timer;
	struct loop_signals signals;
	unsigned calls, fires, signo;
	unsigned enough; /* stops watching after so many calls */
};

static void ready(void *arg, u32 events)
{
	struct fixture *f = arg;
	char c;

	assert_true(events);
	f->calls++;
	assert_true(read(f->source.fd, &c, 1) >= 0);
	if (f->calls == f->enough)
		loop_watch(&f->loop, &f->source, 0);
}

static void end(void *arg)
{
	struct fixture *f = arg;

	loop_timer_taken(&f->end);
	loop_stop(&f->loop);
}

static void fire(void *arg)
{
	struct fixture *f = arg;

	loop_timer_taken(&f->timer);
	f->fires++;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_int_equal(loop_init(&f->loop), 0);
	assert_int_equal(loop_timer_init(&f->loop, &f->end, end, f), 0);
	assert_int_equal(loop_timer_init(&f->loop, &f->timer, fire, f), 0);
	f->source = (struct loop_source){.fd = -1, .ready = ready, .arg = f};
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	loop_timer_fini(&f->loop, &f->end);
	loop_timer_fini(&f->loop, &f->timer);
	loop_fini(&f->loop);
	free(f);
	return 0;
}

static void run_for(struct fixture *f, u64 ns)
{
	loop_restart(&f->loop);
	loop_timer_set(&f->end, now() + ns);
	assert_int_equal(loop_run(&f->loop), 0);
}

/* A hung-up pipe that nobody watches any more must not be reported for ever. */
static void a_hangup_is_quiet_when_unwatched(void **state)
{
	struct fixture *f = *state;
	int fds[2];

	assert_int_equal(pipe(fds), 0);
	f->source.fd = fds[0];
	f->enough = 2;
	assert_int_equal(write(fds[1], "x", 1), 1);
	close(fds[1]);
	assert_int_equal(loop_add(&f->loop, &f->source, EPOLLIN), 0);
	run_for(f, 20 * MS);
	assert_int_equal(f->calls, 2);
	loop_watch(&f->loop, &f->source, EPOLLIN);
	f->enough = 3;
	run_for(f, 20 * MS);
	assert_int_equal(f->calls, 3);
	loop_remove(&f->loop, &f->source);
	close(fds[0]);
}

struct twin { /* each, when it is called, frees the other, and itself */
	struct fixture *f;
	struct loop_source source;
	struct twin *other;
};

static void end_twin(struct twin *twin)
{
	loop_remove(&twin->f->loop, &twin->source);
	close(twin->source.fd);
	free(twin);
}

static void twin_ready(void *arg, u32 events)
{
	struct twin *twin = arg;

	assert_int_equal(events, EPOLLIN);
	twin->f->calls++;
	end_twin(twin->other);
	end_twin(twin);
}

/* Both are reported at once; whichever is called first, the other is gone then. */
static void one_of_twins_is_called(struct fixture *f, const int fd[2])
{
	struct twin *twin[2];

	for (unsigned i = 0; i < 2; i++) {
		twin[i] = calloc(1, sizeof(*twin[i]));
		twin[i]->f = f;
		twin[i]->source = (struct loop_source){.fd = fd[i], .ready = twin_ready, .arg = twin[i]};
		assert_int_equal(loop_add(&f->loop, &twin[i]->source, EPOLLIN), 0);
	}
	twin[0]->other = twin[1];
	twin[1]->other = twin[0];
	run_for(f, 10 * MS);
	assert_int_equal(f->calls, 1);
}

static void a_removed_source_is_not_called(void **state)
{
	one_of_twins_is_called(*state, (int[]){eventfd(1, EFD_NONBLOCK), eventfd(1, EFD_NONBLOCK)});
}

static void nor_is_a_removed_plain_file(void **state)
{
	const char *name = "/proc/self/exe";

	one_of_twins_is_called(*state, (int[]){open(name, O_RDONLY), open(name, O_RDONLY)});
}

static void a_plain_file_is_always_ready(void **state)
{
	struct fixture *f = *state;

	f->source.fd = open("/proc/self/exe", O_RDONLY);
	f->enough = 5;
	assert_int_equal(loop_add(&f->loop, &f->source, 0), 0);
	assert_true(f->source.always);
	run_for(f, 5 * MS);
	assert_int_equal(f->calls, 0);
	loop_watch(&f->loop, &f->source, EPOLLIN);
	run_for(f, 20 * MS);
	assert_int_equal(f->calls, 5);
	loop_remove(&f->loop, &f->source);
	assert_null(f->loop.always);
	close(f->source.fd);
}

static void timers_fire_once_and_move_earlier(void **state)
{
	struct fixture *f = *state;

	loop_timer_set(&f->timer, now() + 5000 * MS);
	loop_timer_set(&f->timer, now() + 2 * MS);
	run_for(f, 20 * MS);
	assert_int_equal(f->fires, 1);
	assert_true(f->timer.armed == LOOP_NEVER);
	loop_timer_set(&f->timer, now() + 2 * MS);
	loop_timer_set(&f->timer, LOOP_NEVER);
	run_for(f, 10 * MS);
	assert_int_equal(f->fires, 1);
	loop_timer_set(&f->timer, 0); /* long ago */
	run_for(f, 10 * MS);
	assert_int_equal(f->fires, 2);
}

static void *stop_soon(void *arg)
{
	struct timespec moment = {.tv_nsec = 3000000};

	nanosleep(&moment, NULL);
	loop_stop(arg);
	return NULL;
}

static void another_thread_stops_it(void **state)
{
	struct fixture *f = *state;
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, stop_soon, &f->loop), 0);
	assert_int_equal(loop_run(&f->loop), 0);
	pthread_join(thread, NULL);
	assert_int_equal(loop_run(&f->loop), 0); /* it stays stopped */
}

static void got(void *arg, int signo)
{
	struct fixture *f = arg;

	f->signo = (unsigned)signo;
	loop_stop(&f->loop);
}

static void signals_arrive(void **state)
{
	struct fixture *f = *state;
	sigset_t set, mask;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	assert_int_equal(loop_signals_init(&f->loop, &f->signals, &set, got, f), 0);
	raise(SIGUSR1);
	assert_int_equal(loop_run(&f->loop), 0);
	assert_int_equal(f->signo, SIGUSR1);
	loop_signals_fini(&f->loop, &f->signals);
	pthread_sigmask(SIG_BLOCK, NULL, &mask);
	assert_false(sigismember(&mask, SIGUSR1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_hangup_is_quiet_when_unwatched, setup, teardown),
		cmocka_unit_test_setup_teardown(a_removed_source_is_not_called, setup, teardown),
		cmocka_unit_test_setup_teardown(nor_is_a_removed_plain_file, setup, teardown),
		cmocka_unit_test_setup_teardown(a_plain_file_is_always_ready, setup, teardown),
		cmocka_unit_test_setup_teardown(timers_fire_once_and_move_earlier, setup, teardown),
		cmocka_unit_test_setup_teardown(another_thread_stops_it, setup, teardown),
		cmocka_unit_test_setup_teardown(signals_arrive, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
