/* SPDX-License-Identifier: MIT */
/* A thread for work that blocks. */
#include "host/worker.h"

#include <signal.h>
#include <stdatomic.h>

#include "host/sandbox.h"

static void *work(void *arg)
{
	struct worker *worker = arg;

	for (;;) {
		while (sem_wait(&worker->wake))
			; /* a debugger's EINTR */
		if (atomic_load(&worker->stop))
			return NULL;
		sandbox_join();
		atomic_store(&worker->posted, false); /* before run: what comes during it counts anew */
		worker->run(worker->arg);
	}
}

int worker_init(struct worker *worker, void (*run)(void *), void *arg)
{
	sigset_t all, before;
	int ret;

	*worker = (struct worker){.run = run, .arg = arg};
	sem_init(&worker->wake, 0, 0);
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	ret = pthread_create(&worker->thread, NULL, work, worker);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	worker->started = !ret;
	return -ret;
}

void worker_fini(struct worker *worker)
{
	if (!worker->started)
		return;
	atomic_store(&worker->stop, true);
	sem_post(&worker->wake);
	pthread_join(worker->thread, NULL);
	sem_destroy(&worker->wake);
	worker->started = false;
}

void worker_post(struct worker *worker)
{
	if (!atomic_exchange(&worker->posted, true))
		sem_post(&worker->wake);
}
