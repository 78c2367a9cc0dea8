/* SPDX-License-Identifier: MIT */
/*
 * Disks behind an NBD server, by libnbd. When the connection ends, the guest sees
 * I/O errors from there on: reconnecting would be silent about writes that were
 * acknowledged and not yet flushed. A server that is silent for too long while the machine waits for
 * it loses its connection.
 */
#include "backend/disk_nbd.h"

#include <errno.h>
#include <libnbd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "host/iov.h"
#include "host/log.h"

#define DATA_PART MIB(16) /* of one NBD command; servers take at least 32 MiB */
#define RANGE_PART MIB(1024)
#define PATIENCE 60u /* seconds: a flush of much on a slow disk takes as long, and the guest's disk is lost afterwards */
#define COPIES_MAX MIB(256) /* of data under way: a guest's requests may name the same memory again and again */

struct disk_nbd {
	struct disk disk;
	struct loop *loop;
	struct loop_source source; /* the connection */
	struct nbd_handle *nbd;
	struct disk_server *server;
	struct disk_request *waiting, **last_waiting; /* for room for a copy, in order */
	u64 copied; /* bytes */
	struct disk_request *finished, **last; /* their done is to be called */
	struct job *flushing; /* they take a flush next */
	unsigned busy; /* requests that are not finished */
	bool can_flush, can_fua, can_zero, can_trim;
	bool dead, complained, running;
	int patience; /* ms */
	char *path;
};

/* A request under way: the commands that it takes. */
struct job {
	struct disk_nbd *n;
	struct disk_request *request;
	unsigned parts; /* commands under way, and one while they are being made */
	int error;
	bool flush; /* it takes a flush in the end */
	struct job *next; /* among those that flush */
	u8 *bounce; /* all its data, when its buffers are not one piece */
};

static struct disk_nbd *of(struct disk *disk)
{
	return container_of(disk, struct disk_nbd, disk);
}

/* ---- requests ---- */

/* How much of its data is copied: NBD's library takes no lists. */
static u64 copy_len(const struct disk_request *request)
{
	bool data = request->op == DISK_READ || request->op == DISK_WRITE;

	return data && request->niov > 1 ? request->len : 0;
}

static void finish(struct disk_nbd *n, struct disk_request *request, int error)
{
	request->backend = (void *)(intptr_t)error;
	request->next = NULL;
	*n->last = request;
	n->last = &request->next;
}

static void complain(struct disk_nbd *n, const char *what)
{
	if (!n->complained)
		log_line("disk %s: %s; the guest sees I/O errors (said once)", n->path, what);
	n->complained = true;
}

static void note_error(struct job *job, int error)
{
	if (!job->error)
		job->error = error == ENOSPC ? -ENOSPC : -EIO;
	/* A connection that ends is complained of once, by check_connection. */
	if (error != ENOTCONN && error != ECONNRESET && error != EPIPE)
		complain(job->n, strerror(error));
}

static int part_done(void *arg, int *error);

static nbd_completion_callback completion(struct job *job)
{
	job->parts++;
	return (nbd_completion_callback){.callback = part_done, .user_data = job};
}

/* The command could not be made: nobody will call part_done. */
static void part_failed(struct job *job)
{
	job->parts--;
	note_error(job, nbd_get_errno());
}

/* Perhaps from one of the library's callbacks, in which it must not be called: run makes the flush. */
static void job_end(struct job *job)
{
	struct disk_request *request = job->request;

	if (job->flush && !job->error) {
		job->next = job->n->flushing;
		job->n->flushing = job;
		return;
	}
	if (job->bounce && request->op == DISK_READ && !job->error)
		iov_from_buf(request->iov, request->niov, 0, job->bounce, request->len);
	job->n->copied -= copy_len(request);
	finish(job->n, request, job->error);
	free(job->bounce);
	free(job);
}

static void begin_flushes(struct disk_nbd *n)
{
	struct job *job;

	while ((job = n->flushing)) {
		n->flushing = job->next;
		job->flush = false;
		job->parts = 1;
		if (nbd_aio_flush(n->nbd, completion(job), 0) < 0)
			part_failed(job);
		if (!--job->parts)
			job_end(job);
	}
}

/* May come while commands are made, too, when the connection breaks then. */
static int part_done(void *arg, int *error)
{
	struct job *job = arg;

	if (*error)
		note_error(job, *error);
	if (!--job->parts)
		job_end(job);
	return 1;
}

static bool make_part(struct job *job, u8 *data, u64 offset, u64 len)
{
	const struct disk_request *request = job->request;
	struct nbd_handle *nbd = job->n->nbd;
	u32 fua = request->fua && job->n->can_fua ? LIBNBD_CMD_FLAG_FUA : 0;

	switch (request->op) {
	case DISK_READ:
		return nbd_aio_pread(nbd, data, len, offset, completion(job), 0) >= 0;
	case DISK_WRITE:
		return nbd_aio_pwrite(nbd, data, len, offset, completion(job), fua) >= 0;
	case DISK_DISCARD:
		return nbd_aio_trim(nbd, len, offset, completion(job), 0) >= 0;
	default:
		return nbd_aio_zero(nbd, len, offset, completion(job),
			       fua | (request->may_unmap ? 0 : LIBNBD_CMD_FLAG_NO_HOLE)) >= 0;
	}
}

/* Data that lies in one piece goes as it is. */
static int find_data(struct job *job, u8 **data)
{
	struct disk_request *request = job->request;

	*data = NULL;
	if (request->op != DISK_READ && request->op != DISK_WRITE)
		return 0;
	*data = request->iov[0].iov_base;
	if (!copy_len(request))
		return 0;
	/* Allocated while the VM runs: requests are of any length. The library allocates, too. */
	*data = job->bounce = malloc(request->len);
	if (!*data)
		return -ENOMEM;
	if (request->op == DISK_WRITE)
		iov_to_buf(request->iov, request->niov, 0, *data, request->len);
	return 0;
}

static void make_parts(struct job *job)
{
	const struct disk_request *request = job->request;
	u64 max, pos = 0;
	u8 *data;

	if (find_data(job, &data)) {
		note_error(job, ENOMEM);
		return;
	}
	for (max = data ? DATA_PART : RANGE_PART; pos < request->len && !job->error; pos += max) {
		if (!make_part(job, data ? data + pos : NULL, request->offset + pos,
			    MIN(max, request->len - pos)))
			part_failed(job);
	}
}

/* What the server cannot do and nobody has to: hints, and flushes of what it does not hold back. */
static bool is_nothing(const struct disk_nbd *n, const struct disk_request *request)
{
	return (request->op == DISK_FLUSH && !n->can_flush) || (request->op == DISK_DISCARD && !n->can_trim);
}

static void begin(struct disk_nbd *n, struct disk_request *request)
{
	struct job *job =
		n->dead || is_nothing(n, request) ? NULL : calloc(1, sizeof(*job)); /* see find_data */

	if (!job) {
		finish(n, request, n->dead ? -EIO : is_nothing(n, request) ? 0 : -ENOMEM);
		return;
	}
	*job = (struct job){.n = n, .request = request, .parts = 1};
	n->copied += copy_len(request);
	job->flush = request->op == DISK_FLUSH || (request->fua && !n->can_fua && n->can_flush);
	if (request->op != DISK_FLUSH)
		make_parts(job);
	if (!--job->parts)
		job_end(job);
}

/* One request may be longer than all may be together. */
static void begin_waiting(struct disk_nbd *n)
{
	struct disk_request *request;

	while ((request = n->waiting) && (!n->copied || n->copied + copy_len(request) <= COPIES_MAX)) {
		n->waiting = request->next;
		if (!n->waiting)
			n->last_waiting = &n->waiting;
		begin(n, request);
	}
}

static void submit(struct disk *disk, struct disk_request *request)
{
	struct disk_nbd *n = of(disk);

	n->busy++;
	request->next = NULL;
	*n->last_waiting = request;
	n->last_waiting = &request->next;
	begin_waiting(n);
}

/* ---- the connection ---- */

static void check_connection(struct disk_nbd *n)
{
	if (n->dead || !(nbd_aio_is_dead(n->nbd) || nbd_aio_is_closed(n->nbd)))
		return;
	n->dead = true;
	n->complained = false;
	complain(n, n->server ? "its qemu-nbd has ended" : "its NBD server has ended the connection");
}

static void watch(struct disk_nbd *n)
{
	unsigned direction = n->dead ? 0 : nbd_aio_get_direction(n->nbd);

	loop_watch(n->loop, &n->source,
		(direction & LIBNBD_AIO_DIRECTION_READ ? (u32)EPOLLIN : 0) |
			(direction & LIBNBD_AIO_DIRECTION_WRITE ? (u32)EPOLLOUT : 0));
}

/* Begins what can begin; a request whose done is to be called, or NULL. */
static struct disk_request *next_finished(struct disk_nbd *n)
{
	struct disk_request *request;

	begin_waiting(n);
	begin_flushes(n);
	request = n->finished;
	if (!request)
		return NULL;
	n->finished = request->next;
	if (!n->finished)
		n->last = &n->finished;
	return request;
}

static void run(struct disk_nbd *n)
{
	struct disk_request *request;
	bool any = false;

	if (n->running)
		return; /* done kicks: the outer call sees to it */
	n->running = true;
	check_connection(n);
	while ((request = next_finished(n))) {
		n->busy--;
		request->done(request, (int)(intptr_t)request->backend);
		any = true;
	}
	watch(n);
	n->running = false;
	if (any)
		disk_settled(&n->disk);
}

static void kick(struct disk *disk)
{
	run(of(disk));
}

static void ready(void *arg, u32 events)
{
	struct disk_nbd *n = arg;
	unsigned direction;

	pthread_mutex_lock(n->disk.lock);
	direction = n->dead ? 0 : nbd_aio_get_direction(n->nbd);
	/* Their errors show as a dead connection. */
	if (events & ~(u32)EPOLLOUT && direction & LIBNBD_AIO_DIRECTION_READ)
		nbd_aio_notify_read(n->nbd);
	else if (events && direction & LIBNBD_AIO_DIRECTION_WRITE)
		nbd_aio_notify_write(n->nbd);
	run(n);
	pthread_mutex_unlock(n->disk.lock);
}

/* It hangs. Without a connection the library ends all commands, and no late answer gets into the guest's memory. */
static void give_up(struct disk_nbd *n)
{
	n->complained = n->dead;
	n->dead = true;
	complain(n, n->server ? "its qemu-nbd does not answer" : "its NBD server does not answer");
	shutdown(nbd_aio_get_fd(n->nbd), SHUT_RDWR);
}

static void drain(struct disk *disk)
{
	struct disk_nbd *n = of(disk);

	run(n);
	while (n->busy) {
		if (!nbd_poll(n->nbd, n->patience))
			give_up(n);
		run(n);
	}
}

/* ---- opening ---- */

/* The library's text without its function's name in front. */
static const char *why(void)
{
	const char *text = nbd_get_error(), *colon;

	if (!text)
		return "unknown error";
	colon = strstr(text, ": ");
	return !strncmp(text, "nbd_", 4) && colon ? colon + 2 : text;
}

static void free_disk(struct disk_nbd *n)
{
	nbd_close(n->nbd);
	if (n->server)
		n->server->close(n->server);
	free(n->path);
	free(n);
}

static void close_disk(struct disk *disk)
{
	struct disk_nbd *n = of(disk);

	drain(disk);
	loop_remove(n->loop, &n->source);
	/* Says good-bye, so that the server knows that this was no crash. */
	if (!n->dead && !nbd_aio_disconnect(n->nbd, 0)) {
		while (!nbd_aio_is_closed(n->nbd) && nbd_poll(n->nbd, n->patience) > 0)
			;
	}
	free_disk(n);
}

static const struct disk_ops ops = {submit, kick, drain, close_disk};

static int patience(const struct disk_source *source)
{
	return (int)(source->patience ? source->patience : PATIENCE) * 1000;
}

int disk_nbd_connected(struct nbd_handle *nbd, const struct disk_source *source)
{
	while (nbd_aio_is_connecting(nbd)) {
		int ret = nbd_poll(nbd, patience(source));

		if (ret <= 0)
			return ret ? -EIO : -ETIMEDOUT;
	}
	return nbd_aio_is_ready(nbd) ? 0 : -EIO;
}

static int measure(struct disk_nbd *n, const struct disk_source *source, struct err *err)
{
	int64_t size = nbd_get_size(n->nbd), block = nbd_get_block_size(n->nbd, LIBNBD_SIZE_MINIMUM);
	int64_t best = nbd_get_block_size(n->nbd, LIBNBD_SIZE_PREFERRED);

	if (size < 0)
		return err_set(err, EIO, "disk %s: %s", n->path, why());
	if (!size)
		return err_set(err, EINVAL, "disk %s: is empty", n->path);
	if (size % DISK_SECTOR)
		return err_set(err, EINVAL,
			"disk %s: its size, %lld bytes, is not a whole number of 512-byte sectors", n->path,
			(long long)size);
	if (block > (int)DISK_SECTOR)
		return err_set(err, EINVAL, "disk %s: its server takes no blocks of 512 bytes, only of %lld",
			n->path, (long long)block);
	if (!source->readonly && nbd_is_read_only(n->nbd) == 1)
		return err_set(err, EROFS, "disk %s: its server offers it read-only; say readonly", n->path);
	n->disk.size = (u64)size;
	n->disk.block_size = best >= (int)DISK_SECTOR && best <= (int)PAGE_SIZE ? (u32)best : PAGE_SIZE;
	return 0;
}

static void ask_abilities(struct disk_nbd *n)
{
	n->can_flush = nbd_can_flush(n->nbd) == 1;
	n->can_fua = nbd_can_fua(n->nbd) == 1;
	n->can_trim = nbd_can_trim(n->nbd) == 1;
	n->can_zero = nbd_can_zero(n->nbd) == 1;
	n->disk.can_discard = n->can_trim && !n->disk.readonly;
	n->disk.can_write_zeroes = n->can_zero && !n->disk.readonly;
}

int disk_nbd_start(const struct disk_source *source, struct nbd_handle *nbd, struct disk_server *server,
	struct loop *loop, pthread_mutex_t *lock, struct disk **out, struct err *err)
{
	struct disk_nbd *n = calloc(1, sizeof(*n));
	int ret = -ENOMEM;

	if (!n) {
		nbd_close(nbd);
		if (server)
			server->close(server);
		return ret;
	}
	*n = (struct disk_nbd){.nbd = nbd, .server = server, .loop = loop, .path = strdup(source->path)};
	n->last = &n->finished;
	n->last_waiting = &n->waiting;
	n->patience = patience(source);
	n->source = (struct loop_source){.fd = nbd_aio_get_fd(nbd), .ready = ready, .arg = n};
	n->disk = (struct disk){.ops = &ops, .lock = lock, .name = n->path, .readonly = source->readonly};
	if (n->path)
		ret = measure(n, source, err);
	if (!ret)
		ret = loop_add(loop, &n->source, EPOLLIN);
	if (ret) {
		free_disk(n);
		return ret;
	}
	ask_abilities(n);
	*out = &n->disk;
	return 0;
}

int disk_nbd_open(const struct disk_source *source, struct loop *loop, pthread_mutex_t *lock,
	struct disk **out, struct err *err)
{
	struct nbd_handle *nbd = nbd_create();
	int ret;

	if (!nbd)
		return -ENOMEM;
	ret = nbd_aio_connect_uri(nbd, source->path) ? -EIO : disk_nbd_connected(nbd, source);
	if (ret) {
		if (ret != -ETIMEDOUT && nbd_get_errno())
			ret = -nbd_get_errno();
		err_set(err, EIO, "disk %s: no NBD server answers: %s", source->path,
			ret == -ETIMEDOUT ? "it is silent" : why());
		nbd_close(nbd);
		return ret;
	}
	return disk_nbd_start(source, nbd, NULL, loop, lock, out, err);
}
