/* SPDX-License-Identifier: MIT */
/* The event loop of the main thread, over epoll. */
#include "host/loop.h"

#include <errno.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define BATCH 8

/* What this thread's loop is still to call: what epoll has reported, and the plain files from `always` on. */
static _Thread_local struct {
	struct epoll_event *event;
	int n;
	struct loop_source *always;
} reported;

static void drain_counter(const struct loop_source *source)
{
	u64 count;

	if (read(source->fd, &count, sizeof(count)) < 0)
		return; /* EAGAIN: somebody was faster */
}

static void woken(void *arg, u32 events)
{
	(void)events;
	drain_counter(arg);
}

static void raise_counter(const struct loop_source *source)
{
	u64 one = 1;

	if (write(source->fd, &one, sizeof(one)) < 0)
		return; /* EAGAIN: it is raised already */
}

static void wake(struct loop *loop)
{
	raise_counter(&loop->wake);
}

int loop_init(struct loop *loop)
{
	*loop = (struct loop){.epoll = -1, .wake = {.fd = -1}};
	loop->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll < 0)
		return -errno;
	loop->wake.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (loop->wake.fd < 0)
		return -errno;
	loop->wake.ready = woken;
	loop->wake.arg = &loop->wake;
	return loop_add(loop, &loop->wake, EPOLLIN);
}

void loop_fini(struct loop *loop)
{
	if (loop->wake.fd >= 0)
		close(loop->wake.fd);
	if (loop->epoll >= 0)
		close(loop->epoll);
	loop->wake.fd = loop->epoll = -1;
}

/* ---- sources ---- */

/* epoll reports a hang-up even to those who want nothing, so such a source is taken out. */
static int set_events(struct loop *loop, struct loop_source *source, u32 before, u32 events)
{
	struct epoll_event event = {.events = events, .data.ptr = source};
	int op = !events ? EPOLL_CTL_DEL : before ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;

	return epoll_ctl(loop->epoll, op, source->fd, &event) ? -errno : 0;
}

int loop_add(struct loop *loop, struct loop_source *source, u32 events)
{
	int ret = set_events(loop, source, 0, EPOLLIN);

	source->always = ret == -EPERM;
	source->events = events;
	if (!ret)
		return events == EPOLLIN ? 0 : set_events(loop, source, EPOLLIN, events);
	if (!source->always)
		return ret;
	source->next = loop->always;
	loop->always = source;
	return 0;
}

void loop_watch(struct loop *loop, struct loop_source *source, u32 events)
{
	u32 before = atomic_exchange(&source->events, events);

	if (before == events)
		return;
	if (source->always)
		wake(loop);
	else
		set_events(loop, source, before, events);
}

void loop_remove(struct loop *loop, struct loop_source *source)
{
	struct loop_source **link = &loop->always;

	loop_watch(loop, source, 0);
	for (int i = 0; i < reported.n; i++) {
		if (reported.event[i].data.ptr == source)
			reported.event[i].data.ptr = NULL;
	}
	if (!source->always)
		return;
	if (reported.always == source)
		reported.always = source->next;
	while (*link && *link != source)
		link = &(*link)->next;
	if (*link)
		*link = source->next;
}

static bool any_always(const struct loop *loop)
{
	for (const struct loop_source *s = loop->always; s; s = s->next) {
		if (s->events)
			return true;
	}
	return false;
}

static void run_always(struct loop *loop)
{
	struct loop_source *s;

	for (reported.always = loop->always; (s = reported.always);) {
		u32 events = s->events;

		reported.always = s->next; /* which ready may remove */
		if (events)
			s->ready(s->arg, events);
	}
}

int loop_run(struct loop *loop)
{
	struct epoll_event event[BATCH];

	while (!atomic_load(&loop->stopped)) {
		int n = epoll_wait(loop->epoll, event, BATCH, any_always(loop) ? 0 : -1);

		if (n < 0 && errno != EINTR)
			return -errno;
		reported.event = event;
		reported.n = n;
		for (int i = 0; i < n; i++) {
			struct loop_source *source = event[i].data.ptr;

			if (source) /* else an earlier one has removed it */
				source->ready(source->arg, event[i].events);
		}
		reported.n = 0;
		run_always(loop);
	}
	return 0;
}

void loop_stop(struct loop *loop)
{
	atomic_store(&loop->stopped, true);
	wake(loop);
}

void loop_restart(struct loop *loop)
{
	atomic_store(&loop->stopped, false);
}

/* ---- timers ---- */

static void timer_ready(void *arg, u32 events)
{
	struct loop_timer *timer = arg;

	(void)events;
	timer->fire(timer->arg);
}

int loop_timer_init(struct loop *loop, struct loop_timer *timer, void (*fire)(void *), void *arg)
{
	*timer = (struct loop_timer){.fire = fire, .arg = arg, .armed = LOOP_NEVER};
	timer->source.ready = timer_ready;
	timer->source.arg = timer;
	timer->source.fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (timer->source.fd < 0)
		return -errno;
	return loop_add(loop, &timer->source, EPOLLIN);
}

void loop_timer_fini(struct loop *loop, struct loop_timer *timer)
{
	if (timer->source.fd <= 0)
		return;
	loop_remove(loop, &timer->source);
	close(timer->source.fd);
	timer->source.fd = -1;
}

void loop_timer_set(struct loop_timer *timer, u64 deadline)
{
	struct itimerspec when = {0};

	/* A later time is not worth a system call; none at all is. */
	if (deadline == timer->armed || (deadline > timer->armed && deadline != LOOP_NEVER))
		return;
	timer->armed = deadline;
	if (deadline != LOOP_NEVER) {
		when.it_value.tv_sec = (time_t)(deadline / 1000000000);
		when.it_value.tv_nsec = (long)(deadline % 1000000000);
		if (!deadline)
			when.it_value.tv_nsec = 1; /* zero would disarm it */
	}
	timerfd_settime(timer->source.fd, TFD_TIMER_ABSTIME, &when, NULL);
}

void loop_timer_taken(struct loop_timer *timer)
{
	timer->armed = LOOP_NEVER;
	drain_counter(&timer->source);
}

/* ---- work from other threads ---- */

static void event_ready(void *arg, u32 events)
{
	struct loop_event *event = arg;

	(void)events;
	drain_counter(&event->source);
	atomic_store(&event->posted, false); /* before run: what comes during it counts anew */
	event->run(event->arg);
}

int loop_event_init(struct loop *loop, struct loop_event *event, void (*run)(void *), void *arg)
{
	*event = (struct loop_event){.run = run, .arg = arg};
	event->source.ready = event_ready;
	event->source.arg = event;
	event->source.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (event->source.fd < 0)
		return -errno;
	return loop_add(loop, &event->source, EPOLLIN);
}

void loop_event_fini(struct loop *loop, struct loop_event *event)
{
	if (event->source.fd <= 0)
		return;
	loop_remove(loop, &event->source);
	close(event->source.fd);
	event->source.fd = -1;
}

void loop_event_post(struct loop_event *event)
{
	if (!atomic_exchange(&event->posted, true))
		raise_counter(&event->source);
}

/* ---- signals ---- */

static void signal_ready(void *arg, u32 events)
{
	struct loop_signals *signals = arg;
	struct signalfd_siginfo info;

	(void)events;
	if (read(signals->source.fd, &info, sizeof(info)) == sizeof(info))
		signals->got(signals->arg, (int)info.ssi_signo);
}

int loop_signals_init(struct loop *loop, struct loop_signals *signals, const sigset_t *set,
	void (*got)(void *, int), void *arg)
{
	*signals = (struct loop_signals){.got = got, .arg = arg};
	signals->source.ready = signal_ready;
	signals->source.arg = signals;
	if (pthread_sigmask(SIG_BLOCK, set, &signals->before))
		return -errno;
	signals->source.fd = signalfd(-1, set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (signals->source.fd < 0)
		return -errno;
	return loop_add(loop, &signals->source, EPOLLIN);
}

void loop_signals_fini(struct loop *loop, struct loop_signals *signals)
{
	if (signals->source.fd <= 0)
		return;
	pthread_sigmask(SIG_SETMASK, &signals->before, NULL);
	loop_remove(loop, &signals->source);
	close(signals->source.fd);
	signals->source.fd = -1;
}
