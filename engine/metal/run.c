/* SPDX-License-Identifier: MIT */
/*
 * The loop: events in, the guest, its exit out. It is left by a kick: the
 * record's flag, which the hypervisor looks at before it enters the guest, and
 * a signal to the thread, whose interrupt brings a CPU out of the guest.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "engine/metal/metal.h"
#include "host/log.h"

/* ---- kicks ---- */

static int kick_signal(void)
{
	return SIGRTMIN;
}

static void on_signal(int signo)
{
	(void)signo;
}

static void begin(struct metal_vcpu *m)
{
	struct sigaction action = {.sa_handler = on_signal};
	sigset_t set;

	sigaction(kick_signal(), &action, NULL);
	sigemptyset(&set);
	sigaddset(&set, kick_signal());
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	metal_exit_init(m);
	m->tid = gettid();
}

/* Flag, then look who runs; the other side says that it runs, then the hypervisor looks at the flag. */
void metal_kick(struct vcpu *vcpu)
{
	struct metal_vcpu *m = vcpu->engine;

	if (!m)
		return;
	__atomic_store_n(&m->page->record.kick, 1, __ATOMIC_SEQ_CST);
	if (!atomic_load(&m->running))
		return;
	m->stats.signals++;
	syscall(SYS_tgkill, getpid(), m->tid, kick_signal());
}

/* ---- events ---- */

static bool interruptible(const struct control_record *r)
{
	return r->rflags & FL_IF && !r->shadow;
}

static void inject(struct metal_vcpu *m, u32 event)
{
	m->page->record.inject = INJECT_VALID | event;
	m->halted = false;
}

static void take_interrupt(struct metal_vcpu *m)
{
	const struct intc_ops *intc = m->vcpu->vm->intc;
	struct control_record *r = &m->page->record;
	int vector;

	atomic_fetch_and(&m->vcpu->events, ~(u32)VCPU_INTR);
	vector = intc->ack(m->vcpu);
	if (intc->peek(m->vcpu) >= 0) {
		atomic_fetch_or(&m->vcpu->events, VCPU_INTR);
		r->want_window = 1;
	}
	if (vector < 0)
		return;
	m->stats.interrupts++;
	inject(m, (u32)vector);
}

/* An event that an exit interrupted goes first; what cannot be taken now asks for a window. */
static void take_events(struct metal_vcpu *m, u32 events)
{
	struct control_record *r = &m->page->record;
	bool busy = r->inject & INJECT_VALID;

	if (events & VCPU_NMI && !busy && !r->shadow) {
		atomic_fetch_and(&m->vcpu->events, ~(u32)VCPU_NMI);
		inject(m, INJECT_NMI | VEC_NMI);
		busy = true;
	}
	if (!(events & VCPU_INTR))
		return;
	if (busy || !interruptible(r))
		r->want_window = 1;
	else
		take_interrupt(m);
}

/* False: something is for the VMM. */
static bool prepare(struct metal_vcpu *m)
{
	struct control_record *r = &m->page->record;
	u32 events;

	__atomic_store_n(&r->kick, 0, __ATOMIC_SEQ_CST);
	r->want_window = 0;
	events = atomic_load(&m->vcpu->events);
	if (events & (VCPU_STOP | VCPU_STATS))
		return false;
	if (events)
		take_events(m, events);
	return true;
}

/* ---- the guest ---- */

static int enter(struct metal_vcpu *m)
{
	const struct intc_ops *intc = m->vcpu->vm->intc;
	struct control_record *r = &m->page->record;
	i64 ret;

	if (m->tpr_stale)
		r->tpr = m->tpr = intc->tpr(m->vcpu);
	m->tpr_stale = false;
	/* An interrupt that TPR holds back comes as soon as TPR lets it. */
	r->watch_tpr = r->tpr || r->want_window;
	atomic_store(&m->running, true);
	ret = metal_call(&m->vm->dev, CALL_VCPU_RUN, m->handle, 0, 0, 0);
	atomic_store_explicit(&m->running, false, memory_order_release);
	if (r->tpr != m->tpr) {
		m->tpr = r->tpr;
		intc->set_tpr(m->vcpu, m->tpr);
	}
	if (ret >= 0)
		return 0;
	log_line("the hypervisor does not run vcpu %u: %s", m->vcpu->id, metal_error(ret));
	return -EIO;
}

enum vcpu_exit metal_run(struct vcpu *vcpu)
{
	struct metal_vcpu *m = vcpu->engine;
	int ret;

	if (!m->tid)
		begin(m);
	for (;;) {
		if (!prepare(m))
			return VCPU_EXIT_KICKED;
		if (m->halted)
			return VCPU_EXIT_HLT;
		if (enter(m))
			return VCPU_EXIT_ERROR;
		ret = metal_exit(m);
		if (ret != EXIT_AGAIN)
			return (enum vcpu_exit)ret;
	}
}
