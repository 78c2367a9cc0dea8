/* SPDX-License-Identifier: MIT */
/*
 * A thread for work that blocks (files of a shared directory). It sleeps until
 * somebody posts, then calls run once, for one post or for several.
 *
 * Thread context: post from any thread; run holds no lock.
 */
#pragma once

#include <pthread.h>
#include <semaphore.h>

#include "lib/types.h"

struct worker {
	pthread_t thread;
	sem_t wake;
	_Atomic bool posted, stop;
	bool started;
	void (*run)(void *arg);
	void *arg;
};

/* Starts the thread, with all signals blocked. 0 or -errno. */
int worker_init(struct worker *worker, void (*run)(void *), void *arg);
/* Waits for the call of run that is under way. Accepts a half-made worker. */
void worker_fini(struct worker *worker);
void worker_post(struct worker *worker);
