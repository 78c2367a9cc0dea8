/* SPDX-License-Identifier: MIT */
/* Raw files and block devices: opening them, and the system calls that a request takes. */
#include "backend/disk_raw.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "backend/disk_lock.h"
#include "backend/disk_open.h"
#include "host/iov.h"
#include "host/log.h"

#define ZEROES KIB(64)
#define ZERO_PIECES 16

static const u8 zeroes[ZEROES];

/* ---- calls ---- */

static bool is_aligned(const struct disk_raw *raw, const struct disk_call *call)
{
	u64 all = 0;

	if ((call->offset | call->len) & (raw->direct_align - 1))
		return false;
	for (unsigned i = 0; i < call->niov; i++)
		all |= (uintptr_t)call->iov[i].iov_base | call->iov[i].iov_len;
	return !(all & (raw->direct_mem_align - 1));
}

/* What cannot go past the host's cache goes through it: the kernel keeps the two in step. */
static void choose_fd(const struct disk_raw *raw, struct disk_call *call)
{
	call->fd = raw->direct >= 0 && is_aligned(raw, call) ? raw->direct : raw->fd;
}

void disk_call_start(struct disk_raw *raw, struct disk_call *call, struct disk_request *request)
{
	*call = (struct disk_call){
		.request = request,
		.fd = raw->fd,
		.offset = request->offset,
		.len = request->len,
		.iov = request->iov,
		.niov = MIN(request->niov, (unsigned)IOV_MAX),
	};
	switch (request->op) {
	case DISK_READ:
	case DISK_WRITE:
		call->kind = request->op == DISK_READ ? DISK_CALL_READ : DISK_CALL_WRITE;
		call->flags = request->op == DISK_WRITE && request->fua ? RWF_DSYNC : 0;
		choose_fd(raw, call);
		break;
	case DISK_FLUSH:
		call->kind = DISK_CALL_SYNC;
		break;
	case DISK_DISCARD:
	case DISK_WRITE_ZEROES:
		call->kind = DISK_CALL_ALLOCATE;
		call->flags = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE;
		if (request->op == DISK_WRITE_ZEROES && !request->may_unmap)
			call->flags = FALLOC_FL_KEEP_SIZE | FALLOC_FL_ZERO_RANGE;
		break;
	}
}

int disk_call_run(const struct disk_call *call)
{
	ssize_t ret = 0;

	switch (call->kind) {
	case DISK_CALL_READ:
		ret = preadv2(call->fd, call->iov, (int)call->niov, (off_t)call->offset, call->flags);
		break;
	case DISK_CALL_WRITE:
		ret = pwritev2(call->fd, call->iov, (int)call->niov, (off_t)call->offset, call->flags);
		break;
	case DISK_CALL_SYNC:
		ret = fdatasync(call->fd);
		break;
	case DISK_CALL_ALLOCATE:
		ret = fallocate(call->fd, call->flags, (off_t)call->offset, (off_t)call->len);
		break;
	}
	return ret < 0 ? -errno : (int)ret;
}

/* The call's iov becomes what is left of the request's, after a short transfer. */
static int skip_done(struct disk_call *call)
{
	const struct disk_request *request = call->request;
	struct iovec *rest;
	unsigned n = request->niov;

	if (!call->copy) /* allocated while the VM runs: it is rare, and may be of any length */
		call->copy = malloc(n * sizeof(*call->copy));
	if (!call->copy)
		return -ENOMEM;
	memcpy(call->copy, request->iov, n * sizeof(*call->copy));
	rest = call->copy;
	iov_skip(&rest, &n, request->len - call->len);
	call->iov = rest;
	call->niov = MIN(n, (unsigned)IOV_MAX);
	return 0;
}

/* Zeroes are to be written by hand. */
static int gather_zeroes(struct disk_call *call)
{
	u64 left = call->len;

	if (!call->copy)
		call->copy = malloc(ZERO_PIECES * sizeof(*call->copy));
	if (!call->copy)
		return -ENOMEM;
	for (call->niov = 0; left && call->niov < ZERO_PIECES; call->niov++) {
		size_t size = MIN(left, ZEROES);

		call->copy[call->niov] = (struct iovec){.iov_base = (void *)zeroes, .iov_len = size};
		left -= size;
	}
	call->iov = call->copy;
	call->kind = DISK_CALL_WRITE;
	call->flags = call->request->fua ? RWF_DSYNC : 0;
	return 0;
}

static bool is_unsupported(int result)
{
	return result == -EOPNOTSUPP || result == -ENOSYS || result == -ENODEV || result == -EINVAL;
}

/* The host's store cannot do it: a hint may be ignored, zeroes must be written. */
static int go_without(struct disk_call *call)
{
	int ret;

	if (call->request->op == DISK_DISCARD)
		return 0;
	ret = gather_zeroes(call);
	return ret ? ret : 1;
}

/* After a transfer. */
static int advance(struct disk_raw *raw, struct disk_call *call, int result)
{
	int ret;

	call->offset += (u64)result;
	call->len -= (u64)result;
	if (!call->len)
		return 0;
	if (!result)
		return -EIO; /* the file has been made shorter under our hands */
	ret = call->request->op == DISK_WRITE_ZEROES ? gather_zeroes(call) : skip_done(call);
	if (ret)
		return ret;
	choose_fd(raw, call);
	return 1;
}

/* 1: there is more to do; 0: the request is done; or -errno. */
static int digest(struct disk_raw *raw, struct disk_call *call, int result)
{
	if (result == -EINTR || result == -EAGAIN)
		return 1;
	if (call->kind == DISK_CALL_ALLOCATE && is_unsupported(result))
		return go_without(call);
	if (result < 0)
		return result;
	if (call->kind == DISK_CALL_READ || call->kind == DISK_CALL_WRITE)
		return advance(raw, call, result);
	if (call->kind == DISK_CALL_ALLOCATE && call->request->fua) {
		call->kind = DISK_CALL_SYNC;
		return 1;
	}
	return 0;
}

static void complain(struct disk_raw *raw, enum disk_op op, int error)
{
	static const char *const doing[] = {
		[DISK_READ] = "reading",
		[DISK_WRITE] = "writing",
		[DISK_FLUSH] = "flushing",
		[DISK_DISCARD] = "discarding",
		[DISK_WRITE_ZEROES] = "writing zeroes",
	};

	if (!raw->complained)
		log_line("disk %s: %s fails: %s; the guest sees I/O errors (said once)", raw->path, doing[op],
			strerror(-error));
	raw->complained = true;
}

bool disk_call_continues(struct disk_raw *raw, struct disk_call *call, int result, int *error)
{
	int ret = digest(raw, call, result);

	if (ret > 0)
		return true;
	if (ret)
		complain(raw, call->request->op, ret);
	free(call->copy);
	call->copy = NULL;
	*error = ret;
	return false;
}

/* ---- opening ---- */

static int open_error(const char *path, int error, bool write, struct err *err)
{
	if (write && (error == EACCES || error == EPERM || error == EROFS))
		return err_set(err, error,
			"disk %s: may not be written (%s); readonly or snapshot leave it as it is", path,
			strerror(error));
	return err_set(err, error, "disk %s: %s", path, strerror(error));
}

static int size_of_device(struct disk_raw *raw, u64 *size, u32 *block)
{
	unsigned physical = DISK_SECTOR;

	if (ioctl(raw->fd, BLKGETSIZE64, size))
		return -errno;
	if (!ioctl(raw->fd, BLKPBSZGET, &physical))
		*block = physical;
	return 0;
}

static int measure(struct disk_raw *raw, struct err *err)
{
	u32 block = PAGE_SIZE;
	struct statfs fs;
	struct stat st;
	u64 size;
	int ret = fstat(raw->fd, &st) ? -errno : 0;

	size = (u64)st.st_size;
	if (!ret && S_ISDIR(st.st_mode))
		return err_set(err, EISDIR, "disk %s: is a directory; a disk is a file or a block device",
			raw->path);
	if (!ret && !S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return err_set(err, EINVAL, "disk %s: is neither a file nor a block device", raw->path);
	if (!ret && S_ISBLK(st.st_mode))
		ret = size_of_device(raw, &size, &block);
	if (ret)
		return err_set(err, -ret, "disk %s: %s", raw->path, strerror(-ret));
	if (!size)
		return err_set(
			err, EINVAL, "disk %s: is empty; mullion image create makes a disk", raw->path);
	if (size % DISK_SECTOR)
		return err_set(err, EINVAL,
			"disk %s: its size, %llu bytes, is not a whole number of 512-byte sectors", raw->path,
			(unsigned long long)size);
	raw->in_memory = S_ISREG(st.st_mode) && !fstatfs(raw->fd, &fs) && fs.f_type == TMPFS_MAGIC;
	raw->disk.size = size;
	raw->disk.block_size = MIN(MAX(block, DISK_SECTOR), (u32)PAGE_SIZE);
	return 0;
}

/* What O_DIRECT wants here; a page suits every store. */
static void find_alignment(struct disk_raw *raw)
{
	struct statx st;

	raw->direct_align = raw->direct_mem_align = PAGE_SIZE;
	if (statx(raw->direct, "", AT_EMPTY_PATH, STATX_DIOALIGN, &st) || !(st.stx_mask & STATX_DIOALIGN))
		return;
	if (st.stx_dio_offset_align && st.stx_dio_mem_align) {
		raw->direct_align = MAX(st.stx_dio_offset_align, DISK_SECTOR);
		raw->direct_mem_align = st.stx_dio_mem_align;
	}
}

static int open_direct(struct disk_raw *raw, struct err *err)
{
	int flags = (raw->disk.readonly ? O_RDONLY : O_RDWR) | O_DIRECT | O_CLOEXEC;
	char self[32];

	/* The same file, whatever its name has become. */
	snprintf(self, sizeof(self), "/proc/self/fd/%d", raw->fd);
	raw->direct = open(self, flags);
	if (raw->direct < 0)
		return err_set(err, errno, "disk %s: direct: its file system does not allow that: %s",
			raw->path, strerror(errno));
	find_alignment(raw);
	return 0;
}

static int open_file(struct disk_raw *raw, const struct disk_source *source, struct err *err)
{
	if (source->opened) {
		int mode = fcntl(source->fd, F_GETFL) & O_ACCMODE;

		if (mode != O_RDWR && !(source->readonly && mode == O_RDONLY))
			return err_set(err, EACCES, "disk %s: is open for something else", raw->path);
		raw->fd = fcntl(source->fd, F_DUPFD_CLOEXEC, 0);
		return raw->fd < 0 ? err_set(err, errno, "disk %s: %s", raw->path, strerror(errno)) : 0;
	}
	/* Without waiting for a FIFO's other end; later, an io_uring would give up where it had to wait. */
	raw->fd = open(source->path, (source->readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK);
	if (raw->fd < 0 && errno == EISDIR)
		raw->fd = open(source->path, O_RDONLY | O_CLOEXEC); /* measure complains of it */
	if (raw->fd < 0)
		return open_error(source->path, errno, !source->readonly, err);
	return 0;
}

static int open_all(struct disk_raw *raw, const struct disk_source *source, struct err *err)
{
	int ret = open_file(raw, source, err);

	if (ret)
		return ret;
	fcntl(raw->fd, F_SETFL, 0);
	ret = measure(raw, err);
	if (!ret)
		ret = disk_lock(raw->fd, raw->path, !source->readonly, err);
	if (!ret && source->direct)
		ret = open_direct(raw, err);
	return ret;
}

void disk_raw_fini(struct disk_raw *raw)
{
	if (raw->direct >= 0)
		close(raw->direct);
	if (raw->fd >= 0)
		close(raw->fd);
	free(raw->path);
}

int disk_raw_open(const struct disk_source *source, struct loop *loop, pthread_mutex_t *lock,
	struct disk **out, struct err *err)
{
	struct disk_raw *raw = calloc(1, MAX(disk_uring_size, disk_threads_size));
	int ret;

	if (!raw)
		return -ENOMEM;
	raw->fd = raw->direct = -1;
	raw->path = strdup(source->path);
	raw->disk = (struct disk){.lock = lock,
		.name = raw->path,
		.readonly = source->readonly,
		.can_discard = !source->readonly,
		.can_write_zeroes = !source->readonly};
	ret = raw->path ? open_all(raw, source, err) : -ENOMEM;
	/* Of a new ring, the sandbox would make an end. */
	if (!ret && (source->opened || disk_uring_start(raw, loop))) {
		ret = disk_threads_start(raw, loop);
		if (ret)
			err_set(err, -ret, "disk %s: no threads for it: %s", raw->path, strerror(-ret));
	}
	if (ret) {
		disk_raw_fini(raw);
		free(raw);
		return ret;
	}
	*out = &raw->disk;
	return 0;
}
