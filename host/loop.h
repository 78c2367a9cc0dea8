/* SPDX-License-Identifier: MIT */
/*
 * The event loop of the main thread: file descriptors, timers and signals.
 * Everything is embedded in its owner; nothing is allocated.
 *
 * Thread context: callbacks run on the loop's thread and hold no lock.
 * loop_stop, loop_watch and loop_timer_set may be called from any thread.
 */
#pragma once

#include <signal.h>

#include "lib/types.h"

#define LOOP_NEVER UINT64_MAX

struct loop;

struct loop_source {
	int fd;
	_Atomic u32 events; /* EPOLLIN, EPOLLOUT; 0 while nothing is wanted */
	void (*ready)(void *arg, u32 events);
	void *arg;
	bool always; /* a plain file: epoll does not take it, and it never blocks */
	struct loop_source *next; /* among the sources that are always ready */
};

struct loop_timer {
	struct loop_source source;
	void (*fire)(void *arg);
	void *arg;
	u64 armed; /* guarded as loop_timer_set's callers are */
};

struct loop_event {
	struct loop_source source; /* an eventfd */
	void (*run)(void *arg);
	void *arg;
	_Atomic bool posted;
};

struct loop_signals {
	struct loop_source source;
	void (*got)(void *arg, int signo);
	void *arg;
	sigset_t before; /* this thread's mask */
};

struct loop {
	int epoll;
	struct loop_source wake;
	struct loop_source *always;
	_Atomic bool stopped;
};

int loop_init(struct loop *loop);
void loop_fini(struct loop *loop);
/* Runs callbacks until loop_stop. 0 or -errno. */
int loop_run(struct loop *loop);
void loop_stop(struct loop *loop);
/* The next loop_run runs again. */
void loop_restart(struct loop *loop);

/* The source's fd, ready and arg are set; the source stays the caller's, as the fd does. */
int loop_add(struct loop *loop, struct loop_source *source, u32 events);
void loop_watch(struct loop *loop, struct loop_source *source, u32 events);
/* On the loop's thread: ready is not called any more, and the source may be freed. */
void loop_remove(struct loop *loop, struct loop_source *source);

/*
 * Fires once at or after a CLOCK_MONOTONIC time in ns; perhaps earlier, since a
 * move to a later time costs a system call and is not made. Callers of
 * loop_timer_set and loop_timer_taken serialise themselves.
 */
int loop_timer_init(struct loop *loop, struct loop_timer *timer, void (*fire)(void *), void *arg);
void loop_timer_fini(struct loop *loop, struct loop_timer *timer);
void loop_timer_set(struct loop_timer *timer, u64 deadline);
/* fire says that it has seen the expiry: without this it is called again. */
void loop_timer_taken(struct loop_timer *timer);

/*
 * Work for the loop's thread: after loop_event_post, run is called there once (for
 * several posts before it, perhaps only once). Any thread may post; it costs a system
 * call only when the loop has to be woken for it.
 */
int loop_event_init(struct loop *loop, struct loop_event *event, void (*run)(void *), void *arg);
void loop_event_fini(struct loop *loop, struct loop_event *event);
void loop_event_post(struct loop_event *event);

/* Blocks the signals in this thread (and those it creates), and delivers them here. */
int loop_signals_init(struct loop *loop, struct loop_signals *signals, const sigset_t *set,
	void (*got)(void *, int), void *arg);
/* The signals do again what they did before. */
void loop_signals_fini(struct loop *loop, struct loop_signals *signals);
