/* SPDX-License-Identifier: MIT */
/*
 * A raw disk's calls by a few threads: where the host forbids io_uring, as
 * containers do. The same contract as disk_uring.c.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "backend/disk_raw.h"
#include "host/sandbox.h"

#define THREADS 4
#define DEPTH 64

struct disk_threads {
	struct disk_raw raw;
	struct loop *loop;
	struct loop_event event; /* there are done calls */
	struct disk_call call[DEPTH], *free;
	struct disk_request *waiting, **last; /* for a call, in order */
	unsigned busy; /* calls under way */
	bool running; /* done may submit and kick */

	pthread_t thread[THREADS];
	unsigned nthreads;
	pthread_mutex_t lock; /* of what follows; never held while the machine lock is taken */
	pthread_cond_t work, idle;
	struct disk_call *queued, **queued_last, *done;
	bool stop;
};

const size_t disk_threads_size = sizeof(struct disk_threads);

static struct disk_threads *of(struct disk *disk)
{
	return container_of(disk, struct disk_threads, raw.disk);
}

/* ---- the threads ---- */

static struct disk_call *take(struct disk_threads *t)
{
	struct disk_call *call;

	while (!t->queued && !t->stop)
		pthread_cond_wait(&t->work, &t->lock);
	call = t->queued;
	if (call)
		t->queued = call->next;
	if (!t->queued)
		t->queued_last = &t->queued;
	return call;
}

static void *worker(void *arg)
{
	struct disk_threads *t = arg;
	struct disk_call *call;

	pthread_mutex_lock(&t->lock);
	while ((call = take(t))) {
		pthread_mutex_unlock(&t->lock);
		sandbox_join();
		call->result = disk_call_run(call);
		pthread_mutex_lock(&t->lock);
		call->next = t->done;
		t->done = call;
		pthread_cond_signal(&t->idle);
		loop_event_post(&t->event);
	}
	pthread_mutex_unlock(&t->lock);
	return NULL;
}

static void push(struct disk_threads *t, struct disk_call *call)
{
	pthread_mutex_lock(&t->lock);
	call->next = NULL;
	*t->queued_last = call;
	t->queued_last = &call->next;
	pthread_cond_signal(&t->work);
	pthread_mutex_unlock(&t->lock);
}

/* All done calls; waits for one if `wait`. */
static struct disk_call *take_done(struct disk_threads *t, bool wait)
{
	struct disk_call *done;

	pthread_mutex_lock(&t->lock);
	while (wait && !t->done)
		pthread_cond_wait(&t->idle, &t->lock);
	done = t->done;
	t->done = NULL;
	pthread_mutex_unlock(&t->lock);
	return done;
}

/* ---- under the machine lock ---- */

static void submit(struct disk *disk, struct disk_request *request)
{
	struct disk_threads *t = of(disk);

	request->next = NULL;
	*t->last = request;
	t->last = &request->next;
}

static void begin_waiting(struct disk_threads *t)
{
	while (t->waiting && t->free) {
		struct disk_request *request = t->waiting;
		struct disk_call *call = t->free;

		t->waiting = request->next;
		if (!t->waiting)
			t->last = &t->waiting;
		t->free = call->next;
		t->busy++;
		disk_call_start(&t->raw, call, request);
		push(t, call);
	}
}

static void complete(struct disk_threads *t, struct disk_call *call)
{
	struct disk_request *request = call->request;
	int error;

	if (disk_call_continues(&t->raw, call, call->result, &error)) {
		push(t, call);
		return;
	}
	call->next = t->free;
	t->free = call;
	t->busy--;
	request->done(request, error);
}

static void run(struct disk_threads *t, bool wait)
{
	struct disk_call *call, *next;
	bool any = false;

	if (t->running)
		return; /* done kicks: the outer call sees to it */
	t->running = true;
	begin_waiting(t);
	while ((call = take_done(t, wait && t->busy))) {
		for (; call; call = next) {
			next = call->next;
			complete(t, call);
		}
		begin_waiting(t);
		any = true;
	}
	t->running = false;
	if (any)
		disk_settled(&t->raw.disk);
}

static void kick(struct disk *disk)
{
	run(of(disk), false);
}

static void drain(struct disk *disk)
{
	run(of(disk), true);
}

static void done_calls(void *arg)
{
	struct disk_threads *t = arg;

	pthread_mutex_lock(t->raw.disk.lock);
	run(t, false);
	pthread_mutex_unlock(t->raw.disk.lock);
}

static void stop_threads(struct disk_threads *t)
{
	pthread_mutex_lock(&t->lock);
	t->stop = true;
	pthread_cond_broadcast(&t->work);
	pthread_mutex_unlock(&t->lock);
	while (t->nthreads)
		pthread_join(t->thread[--t->nthreads], NULL);
}

static void fini(struct disk_threads *t)
{
	stop_threads(t);
	loop_event_fini(t->loop, &t->event);
	pthread_cond_destroy(&t->work);
	pthread_cond_destroy(&t->idle);
	pthread_mutex_destroy(&t->lock);
}

static void close_disk(struct disk *disk)
{
	struct disk_threads *t = of(disk);

	drain(disk);
	fini(t);
	disk_raw_fini(&t->raw);
	free(t);
}

static const struct disk_ops ops = {submit, kick, drain, close_disk};

/* Signals are for the loop's thread. */
static int start_threads(struct disk_threads *t)
{
	sigset_t all, before;
	int ret = 0;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	while (!ret && t->nthreads < THREADS) {
		ret = -pthread_create(&t->thread[t->nthreads], NULL, worker, t);
		t->nthreads += !ret;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return t->nthreads ? 0 : ret;
}

int disk_threads_start(struct disk_raw *raw, struct loop *loop)
{
	struct disk_threads *t = container_of(raw, struct disk_threads, raw);
	int ret;

	*t = (struct disk_threads){.raw = *raw, .loop = loop}; /* an io_uring may have been tried here */
	t->last = &t->waiting;
	t->queued_last = &t->queued;
	for (unsigned i = 0; i < DEPTH; i++) {
		t->call[i].next = t->free;
		t->free = &t->call[i];
	}
	pthread_mutex_init(&t->lock, NULL);
	pthread_cond_init(&t->work, NULL);
	pthread_cond_init(&t->idle, NULL);
	ret = loop_event_init(loop, &t->event, done_calls, t);
	if (!ret)
		ret = start_threads(t);
	if (ret) {
		fini(t);
		return ret;
	}
	raw->disk.ops = &ops;
	return 0;
}
