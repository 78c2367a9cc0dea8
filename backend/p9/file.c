/* SPDX-License-Identifier: MIT */
/* 9P: opening, creating, data, and locks. */
#include "backend/p9/server.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "host/iov.h"

/* 9P2000.L's open flags have Linux's values for x86. These have a meaning for us. */
#define OPEN_FLAGS (O_ACCMODE | O_TRUNC | O_APPEND | O_DIRECTORY | O_SYNC | O_DSYNC)
#define READ_HEAD 11u /* Rread up to its data */
#define WRITE_HEAD 23u

enum { /* Tlock */
	P9_LOCK_READ = 0,
	P9_LOCK_WRITE = 1,
	P9_LOCK_UNLOCK = 2,
	P9_LOCK_SUCCESS = 0,
	P9_LOCK_BLOCKED = 1,
};

static int host_flags(u32 flags)
{
	return (int)(flags & OPEN_FLAGS) | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
}

static bool writes(u32 flags)
{
	return (flags & O_ACCMODE) != O_RDONLY || flags & O_TRUNC;
}

/* Nothing but files and directories: the guest has its own pipes and devices. */
static int check_kind(int fd, struct stat *st)
{
	if (fstat(fd, st))
		return -errno;
	return S_ISREG(st->st_mode) || S_ISDIR(st->st_mode) ? 0 : -EACCES;
}

static int opened(struct p9 *p9, struct p9_call *call, struct p9_fid *fid, int fd, const struct stat *st)
{
	fid->fd = fd;
	if (S_ISDIR(st->st_mode)) {
		fid->dir = fdopendir(fd);
		if (!fid->dir) {
			p9_fid_close(fid);
			return -ENOMEM;
		}
	}
	p9_put_qid(p9, call, st);
	p9_put(&call->out, 4, 0); /* iounit: as long as a message allows */
	return 0;
}

int p9_lopen(struct p9 *p9, struct p9_call *call)
{
	struct p9_fid *fid;
	struct stat st;
	u32 flags;
	int fd, ret = p9_get_fid(p9, call, &fid);

	flags = p9_get32(&call->in);
	if (ret || call->in.bad || fid->fd >= 0)
		return -EBADF;
	if (p9->readonly && writes(flags))
		return -EROFS;
	ret = check_kind(fid->path, &st);
	if (ret)
		return ret;
	fd = open(p9_proc(fid->path).name, host_flags(flags) & ~O_NOFOLLOW);
	return fd < 0 ? -errno : opened(p9, call, fid, fd, &st);
}

/* The fid, a directory until now, becomes the new file. */
static int become(struct p9_fid *fid, int dir, const char *name)
{
	int path = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);

	if (path < 0)
		return -errno;
	close(fid->path);
	fid->path = path;
	return 0;
}

/* A file that is there already is opened like any other, so that no pipe or device is touched. */
static int open_existing(int dir, const char *name, u32 flags)
{
	int path = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC), fd, ret;
	struct stat st;

	if (path < 0)
		return -errno;
	ret = check_kind(path, &st);
	fd = ret ? ret : open(p9_proc(path).name, host_flags(flags) & ~O_NOFOLLOW);
	if (fd == -1)
		fd = -errno;
	close(path);
	return fd;
}

static int create(int dir, const char *name, u32 flags, mode_t mode)
{
	int fd = openat(dir, name, host_flags(flags) | O_CREAT | O_EXCL, mode & P9_MODES);

	if (fd >= 0)
		return fd;
	return errno == EEXIST && !(flags & O_EXCL) ? open_existing(dir, name, flags) : -errno;
}

int p9_lcreate(struct p9 *p9, struct p9_call *call)
{
	char name[P9_NAME_MAX + 1];
	struct p9_fid *fid;
	struct stat st;
	u32 flags, mode;
	int fd, ret = p9_get_fid(p9, call, &fid);

	if (!ret && fid->fd >= 0)
		ret = -EBADF;
	if (!ret)
		ret = p9_get_name(call, name);
	flags = p9_get32(&call->in) & ~(u32)O_DIRECTORY;
	mode = p9_get32(&call->in);
	if (ret || call->in.bad)
		return ret ? ret : -EPROTO;
	fd = create(fid->path, name, flags, mode);
	if (fd < 0)
		return fd;
	ret = check_kind(fd, &st);
	if (!ret)
		ret = become(fid, fid->path, name);
	if (ret) {
		close(fd);
		return ret;
	}
	return opened(p9, call, fid, fd, &st);
}

/* The data part of a message, as many as count bytes of it. */
static unsigned data_part(struct p9 *p9, const struct iovec *whole, unsigned n, size_t head, u32 count)
{
	struct iovec *iov = p9->iov;
	unsigned left = n;

	memcpy(iov, whole, n * sizeof(*iov));
	iov_skip(&iov, &left, head);
	memmove(p9->iov, iov, left * sizeof(*iov));
	return iov_trim(p9->iov, left, count);
}

/* What Tread and Twrite have in common: an open file, a place in it, and how much. */
static int get_range(struct p9 *p9, struct p9_call *call, struct p9_fid **fid, off_t *offset, u32 *count)
{
	int ret = p9_get_fid(p9, call, fid);

	*offset = (off_t)p9_get64(&call->in);
	*count = p9_get32(&call->in);
	return ret || call->in.bad || (*fid)->fd < 0 || (*fid)->dir ? -EBADF : 0;
}

int p9_read(struct p9 *p9, struct p9_call *call)
{
	struct p9_fid *fid;
	off_t offset;
	u32 count;
	ssize_t done;
	unsigned n;
	int ret = get_range(p9, call, &fid, &offset, &count);

	if (ret)
		return ret;
	n = data_part(p9, call->data_out, call->ndata_out, READ_HEAD, count);
	done = preadv(fid->fd, p9->iov, (int)n, offset);
	if (done < 0)
		return -errno;
	p9_put(&call->out, 4, (u32)done);
	call->data_len = (size_t)done;
	return 0;
}

int p9_write(struct p9 *p9, struct p9_call *call)
{
	struct p9_fid *fid;
	off_t offset;
	u32 count;
	ssize_t done;
	unsigned n;
	int ret = get_range(p9, call, &fid, &offset, &count);

	if (ret)
		return ret;
	n = data_part(p9, call->data_in, call->ndata_in, WRITE_HEAD, count);
	done = pwritev(fid->fd, p9->iov, (int)n, offset);
	if (done < 0)
		return -errno;
	p9_put(&call->out, 4, (u32)done);
	return 0;
}

int p9_fsync(struct p9 *p9, struct p9_call *call)
{
	struct p9_fid *fid;
	u32 data_only;
	int ret = p9_get_fid(p9, call, &fid);

	data_only = p9_get32(&call->in);
	if (ret || fid->fd < 0)
		return -EBADF;
	return (data_only ? fdatasync(fid->fd) : fsync(fid->fd)) ? -errno : 0;
}

/* ---- locks: the host's, of the open file, so that two VMs and the host see each other's ---- */

struct lock {
	struct p9_fid *fid;
	u8 type;
	struct flock host;
	u32 process;
	char client[P9_NAME_MAX + 1];
};

static int get_lock(struct p9 *p9, struct p9_call *call, bool flags, struct lock *lock)
{
	static const short types[] = {[P9_LOCK_READ] = F_RDLCK, [P9_LOCK_WRITE] = F_WRLCK, [P9_LOCK_UNLOCK] = F_UNLCK};
	int ret = p9_get_fid(p9, call, &lock->fid);

	lock->type = (u8)p9_get(&call->in, 1);
	if (flags)
		p9_get32(&call->in);
	lock->host = (struct flock){.l_whence = SEEK_SET};
	lock->host.l_start = (off_t)p9_get64(&call->in);
	lock->host.l_len = (off_t)p9_get64(&call->in);
	lock->process = p9_get32(&call->in);
	p9_get_string(&call->in, lock->client, sizeof(lock->client));
	if (ret || call->in.bad || lock->fid->fd < 0)
		return -EBADF;
	if (lock->type > P9_LOCK_UNLOCK)
		return -EINVAL;
	lock->host.l_type = types[lock->type];
	return 0;
}

int p9_lock(struct p9 *p9, struct p9_call *call)
{
	struct lock lock;
	int ret = get_lock(p9, call, true, &lock);

	if (ret)
		return ret;
	if (!fcntl(lock.fid->fd, F_OFD_SETLK, &lock.host))
		p9_put(&call->out, 1, P9_LOCK_SUCCESS);
	else if (errno == EAGAIN || errno == EACCES)
		p9_put(&call->out, 1, P9_LOCK_BLOCKED);
	else
		return -errno;
	return 0;
}

int p9_getlock(struct p9 *p9, struct p9_call *call)
{
	struct lock lock;
	int ret = get_lock(p9, call, false, &lock);

	if (ret)
		return ret;
	if (fcntl(lock.fid->fd, F_OFD_GETLK, &lock.host))
		return -errno;
	p9_put(&call->out, 1, lock.host.l_type == F_UNLCK ? P9_LOCK_UNLOCK : lock.host.l_type == F_WRLCK);
	p9_put(&call->out, 8, (u64)lock.host.l_start);
	p9_put(&call->out, 8, (u64)lock.host.l_len);
	p9_put(&call->out, 4, lock.process);
	p9_put_string(&call->out, lock.client);
	return 0;
}
