/* SPDX-License-Identifier: MIT */
/*
 * A raw disk's calls by io_uring: kick hands the kernel all that was submitted in
 * one system call, and takes what is complete at once (what was in the host's
 * cache). The rest comes by the ring's eventfd to the loop's thread.
 */
#include <errno.h>
#include <liburing.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "backend/disk_raw.h"
#include "host/log.h"

#define DEPTH 128 /* calls under way; more requests wait */
#define LARGE KIB(256) /* a read that is worth one of the kernel's threads */
#define PROBE 1024 /* one of so many large reads tries that */
#define DEEP 32 /* so many that the guest waits for in turn end that */

struct disk_uring {
	struct disk_raw raw;
	struct loop *loop;
	struct io_uring ring;
	struct loop_source source; /* the ring's eventfd */
	struct disk_call call[DEPTH], *free;
	struct disk_request *waiting, **last; /* for a call, in order */
	struct disk_call *made; /* calls that were made at once */
	unsigned busy; /* calls under way */
	bool running; /* done may submit and kick */
	unsigned deep; /* above 0: the guest asks for more while a large read is under way */
	u64 large; /* how many large reads there were */
	unsigned aside; /* those under way on a thread */
	u64 large_at[DEPTH]; /* `large` when the call was given to a thread, or 0 */
	bool complained; /* that the kernel takes no calls; once is enough */
};

const size_t disk_uring_size = sizeof(struct disk_uring);

static struct disk_uring *of(struct disk *disk)
{
	return container_of(disk, struct disk_uring, raw.disk);
}

/*
 * A large read from the host's cache is a long copy, which a thread of the kernel's
 * can make while the guest goes on. A guest that waits for each would lose by that:
 * to wake the thread, and then the guest, takes as long as the copy. So some reads
 * are given to a thread to see what the guest does meanwhile. (Writes gain nothing:
 * the file's lock lets in one at a time.)
 */
static bool give_to_thread(struct disk_uring *u, const struct disk_call *call)
{
	if (call->kind != DISK_CALL_READ || call->len < LARGE || (++u->large % PROBE && !u->deep))
		return false;
	u->large_at[call - u->call] = u->large;
	u->aside++;
	return true;
}

static void take_from_thread(struct disk_uring *u, const struct disk_call *call)
{
	u64 *at = &u->large_at[call - u->call];

	if (!*at)
		return;
	if (--u->aside || u->large != *at)
		u->deep = DEEP;
	else if (u->deep)
		u->deep--;
	*at = 0;
}

/* The ring has an entry for each call. */
static void push(struct disk_uring *u, struct disk_call *call)
{
	bool thread = give_to_thread(u, call);
	struct io_uring_sqe *sqe;

	if (u->raw.in_memory && !thread) {
		call->result = disk_call_run(call);
		call->next = u->made;
		u->made = call;
		return;
	}
	sqe = io_uring_get_sqe(&u->ring);
	switch (call->kind) {
	case DISK_CALL_READ:
		io_uring_prep_readv2(sqe, call->fd, call->iov, call->niov, call->offset, call->flags);
		break;
	case DISK_CALL_WRITE:
		io_uring_prep_writev2(sqe, call->fd, call->iov, call->niov, call->offset, call->flags);
		break;
	case DISK_CALL_SYNC:
		io_uring_prep_fsync(sqe, call->fd, IORING_FSYNC_DATASYNC);
		break;
	case DISK_CALL_ALLOCATE:
		io_uring_prep_fallocate(sqe, call->fd, call->flags, (off_t)call->offset, (off_t)call->len);
		break;
	}
	io_uring_sqe_set_data(sqe, call);
	if (thread)
		io_uring_sqe_set_flags(sqe, IOSQE_ASYNC);
}

static void begin(struct disk_uring *u, struct disk_request *request)
{
	struct disk_call *call = u->free;

	u->free = call->next;
	u->busy++;
	disk_call_start(&u->raw, call, request);
	push(u, call);
}

static void submit(struct disk *disk, struct disk_request *request)
{
	struct disk_uring *u = of(disk);

	if (u->free && !u->waiting) {
		begin(u, request);
		return;
	}
	request->next = NULL;
	*u->last = request;
	u->last = &request->next;
}

static void begin_waiting(struct disk_uring *u)
{
	while (u->waiting && u->free) {
		struct disk_request *request = u->waiting;

		u->waiting = request->next;
		if (!u->waiting)
			u->last = &u->waiting;
		begin(u, request);
	}
}

static void complete(struct disk_uring *u, struct disk_call *call, int result)
{
	struct disk_request *request = call->request;
	int error;

	take_from_thread(u, call);
	if (disk_call_continues(&u->raw, call, result, &error)) {
		push(u, call);
		return;
	}
	call->next = u->free;
	u->free = call;
	u->busy--;
	request->done(request, error);
}

/* Completes what is complete. False: nothing was. */
static bool reap(struct disk_uring *u)
{
	struct io_uring_cqe *cqe;
	struct disk_call *made;
	bool any = false;

	while ((made = u->made)) {
		u->made = made->next;
		complete(u, made, made->result);
		any = true;
	}
	while (!io_uring_peek_cqe(&u->ring, &cqe)) {
		struct disk_call *call = io_uring_cqe_get_data(cqe);
		int result = cqe->res;

		io_uring_cqe_seen(&u->ring, cqe);
		complete(u, call, result);
		any = true;
	}
	return any;
}

/*
 * The kernel takes no calls, for want of memory or whatever else: those in the ring are taken back and
 * made here, each to its end. Slow, but whoever waits for them does not wait for ever.
 */
static void make_here(struct disk_uring *u, int error)
{
	struct io_uring_sq *sq = &u->ring.sq;
	unsigned head = *sq->khead;

	if (!u->complained)
		log_line("disk %s: io_uring takes no calls (%s); they are made one by one (said once)", u->raw.path,
			strerror(-error));
	u->complained = true;
	for (unsigned i = head; i != sq->sqe_tail; i++) {
		struct disk_call *call = (void *)(uintptr_t)sq->sqes[i & sq->ring_mask].user_data;

		call->result = disk_call_run(call);
		call->next = u->made;
		u->made = call;
	}
	sq->sqe_head = sq->sqe_tail = head;
	io_uring_smp_store_release(sq->ktail, head);
}

/* Starts and completes until nothing more is complete. False: nothing was. */
static bool work(struct disk_uring *u)
{
	bool any = false, again;

	do {
		int taken = 1;

		begin_waiting(u);
		if (io_uring_sq_ready(&u->ring))
			taken = io_uring_submit(&u->ring);
		again = reap(u);
		if (taken <= 0 && !again)
			make_here(u, taken);
		any |= again;
	} while (again || u->made || io_uring_sq_ready(&u->ring));
	return any;
}

static void run(struct disk_uring *u)
{
	bool any;

	if (u->running)
		return; /* done kicks: the outer call sees to it */
	u->running = true;
	io_uring_cq_eventfd_toggle(&u->ring, false); /* no news of what is taken here */
	any = work(u);
	io_uring_cq_eventfd_toggle(&u->ring, true);
	atomic_thread_fence(memory_order_seq_cst); /* the kernel looks at that after it has stored a completion */
	any |= work(u); /* what completed between the last look and now */
	u->running = false;
	if (any)
		disk_settled(&u->raw.disk);
}

static void kick(struct disk *disk)
{
	run(of(disk));
}

static void ready(void *arg, u32 events)
{
	struct disk_uring *u = arg;
	eventfd_t count;

	(void)events;
	eventfd_read(u->source.fd, &count);
	pthread_mutex_lock(u->raw.disk.lock);
	run(u);
	pthread_mutex_unlock(u->raw.disk.lock);
}

static void drain(struct disk *disk)
{
	struct disk_uring *u = of(disk);

	run(u);
	while (u->busy) {
		struct io_uring_cqe *cqe;

		io_uring_submit_and_wait(&u->ring, 1);
		if (io_uring_peek_cqe(&u->ring, &cqe))
			continue; /* interrupted */
		run(u);
	}
}

static void fini(struct disk_uring *u)
{
	if (u->source.fd >= 0) {
		loop_remove(u->loop, &u->source);
		close(u->source.fd);
	}
	io_uring_queue_exit(&u->ring);
}

static void close_disk(struct disk *disk)
{
	struct disk_uring *u = of(disk);

	drain(disk);
	fini(u);
	disk_raw_fini(&u->raw);
	free(u);
}

static const struct disk_ops ops = {submit, kick, drain, close_disk};

static int watch(struct disk_uring *u)
{
	int ret;

	u->source =
		(struct loop_source){.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), .ready = ready, .arg = u};
	if (u->source.fd < 0)
		return -errno;
	ret = io_uring_register_eventfd(&u->ring, u->source.fd);
	if (!ret)
		ret = loop_add(u->loop, &u->source, EPOLLIN);
	if (ret) {
		close(u->source.fd);
		u->source.fd = -1;
	}
	return ret;
}

/* The sandbox's filter does not see what a ring does: this one reads, writes, flushes and makes holes, for ever. */
static int restrict_ring(struct io_uring *ring)
{
	struct io_uring_restriction allowed[] = {
		{.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_READV},
		{.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_WRITEV},
		{.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_FSYNC},
		{.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_FALLOCATE},
		{.opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED, .sqe_flags = IOSQE_ASYNC},
	};

	/* Debian's liburing declares functions for these two, but has none. */
	if (syscall(SYS_io_uring_register, ring->ring_fd, IORING_REGISTER_RESTRICTIONS, allowed, ARRAY_SIZE(allowed)) ||
		syscall(SYS_io_uring_register, ring->ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0))
		return -errno;
	return 0;
}

int disk_uring_start(struct disk_raw *raw, struct loop *loop)
{
	struct disk_uring *u = container_of(raw, struct disk_uring, raw);
	int ret;

	u->loop = loop;
	u->source.fd = -1;
	u->last = &u->waiting;
	ret = io_uring_queue_init(DEPTH, &u->ring, IORING_SETUP_R_DISABLED);
	if (ret)
		return ret;
	ret = watch(u);
	if (!ret)
		ret = restrict_ring(&u->ring);
	if (ret) {
		fini(u);
		return ret;
	}
	for (unsigned i = 0; i < DEPTH; i++) {
		u->call[i].next = u->free;
		u->free = &u->call[i];
	}
	raw->disk.ops = &ops;
	return 0;
}
