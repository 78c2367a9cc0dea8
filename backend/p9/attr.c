/* SPDX-License-Identifier: MIT */
/* 9P: attributes of files and of the file system, and symbolic links' targets. */
#include "backend/p9/server.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#define GETATTR_BASIC 0x7ffull /* mode to blocks */
#define V9FS_MAGIC 0x01021997u

enum { /* Tsetattr's valid bits */
	SET_MODE = 0x1,
	SET_UID = 0x2,
	SET_GID = 0x4,
	SET_SIZE = 0x8,
	SET_ATIME = 0x10,
	SET_MTIME = 0x20,
	SET_ATIME_TO = 0x80, /* to the given time, not to now */
	SET_MTIME_TO = 0x100,
};

static void put_time(struct p9_call *call, const struct timespec *time)
{
	p9_put(&call->out, 8, (u64)time->tv_sec);
	p9_put(&call->out, 8, (u64)time->tv_nsec);
}

int p9_getattr(struct p9 *p9, struct p9_call *call)
{
	static const struct timespec never;
	struct p9_fid *fid;
	struct stat st;
	int ret = p9_get_fid(p9, call, &fid);

	if (ret)
		return ret;
	if (fstat(fid->path, &st))
		return -errno;
	p9_put(&call->out, 8, GETATTR_BASIC);
	p9_put_qid(p9, call, &st);
	p9_put(&call->out, 4, st.st_mode);
	p9_put(&call->out, 4, st.st_uid);
	p9_put(&call->out, 4, st.st_gid);
	p9_put(&call->out, 8, st.st_nlink);
	p9_put(&call->out, 8, st.st_rdev);
	p9_put(&call->out, 8, (u64)st.st_size);
	p9_put(&call->out, 8, (u64)st.st_blksize);
	p9_put(&call->out, 8, (u64)st.st_blocks);
	put_time(call, &st.st_atim);
	put_time(call, &st.st_mtim);
	put_time(call, &st.st_ctim);
	put_time(call, &never); /* birth, generation, data version: not in the valid mask */
	p9_put(&call->out, 8, 0);
	p9_put(&call->out, 8, 0);
	return 0;
}

struct attributes {
	u32 valid, mode, uid, gid;
	u64 size;
	struct timespec time[2]; /* access, modification */
};

static struct timespec get_time(struct p9_call *call, bool set, bool given)
{
	struct timespec time;

	time.tv_sec = (time_t)p9_get64(&call->in);
	time.tv_nsec = (long)p9_get64(&call->in);
	if (!set)
		time.tv_nsec = UTIME_OMIT;
	else if (!given)
		time.tv_nsec = UTIME_NOW;
	return time;
}

static void get_attributes(struct p9_call *call, struct attributes *a)
{
	a->valid = p9_get32(&call->in);
	a->mode = p9_get32(&call->in);
	a->uid = p9_get32(&call->in);
	a->gid = p9_get32(&call->in);
	a->size = p9_get64(&call->in);
	a->time[0] = get_time(call, a->valid & SET_ATIME, a->valid & SET_ATIME_TO);
	a->time[1] = get_time(call, a->valid & SET_MTIME, a->valid & SET_MTIME_TO);
}

static int set_owner(int path, const struct attributes *a)
{
	uid_t uid = a->valid & SET_UID ? a->uid : (uid_t)-1;
	gid_t gid = a->valid & SET_GID ? a->gid : (gid_t)-1;

	return fchownat(path, "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW);
}

static int set_size(const struct p9_fid *fid, u64 size)
{
	if (size > INT64_MAX) {
		errno = EINVAL;
		return -1;
	}
	if (fid->fd >= 0 && !fid->dir && !ftruncate(fid->fd, (off_t)size))
		return 0; /* else it was not opened to write: by name */
	return truncate(p9_proc(fid->path).name, (off_t)size);
}

/* A symbolic link's own attributes cannot be reached through /proc; only its owner and times matter. */
static int set_attributes(const struct p9_fid *fid, const struct attributes *a)
{
	struct stat st;

	if (fstat(fid->path, &st))
		return -1;
	if (S_ISLNK(st.st_mode))
		return a->valid & (SET_UID | SET_GID) ? set_owner(fid->path, a) : 0;
	if (a->valid & (SET_UID | SET_GID) && set_owner(fid->path, a))
		return -1;
	if (a->valid & SET_MODE && chmod(p9_proc(fid->path).name, a->mode & P9_MODES))
		return -1;
	if (a->valid & SET_SIZE && set_size(fid, a->size))
		return -1;
	if (!(a->valid & (SET_ATIME | SET_MTIME)))
		return 0;
	return utimensat(AT_FDCWD, p9_proc(fid->path).name, a->time, 0);
}

int p9_setattr(struct p9 *p9, struct p9_call *call)
{
	struct attributes a;
	struct p9_fid *fid;
	int ret = p9_get_fid(p9, call, &fid);

	get_attributes(call, &a);
	if (ret || call->in.bad)
		return ret ? ret : -EPROTO;
	return set_attributes(fid, &a) ? -errno : 0;
}

int p9_statfs(struct p9 *p9, struct p9_call *call)
{
	struct p9_fid *fid;
	struct statfs fs;
	int ret = p9_get_fid(p9, call, &fid);

	if (ret)
		return ret;
	if (fstatfs(fid->path, &fs))
		return -errno;
	p9_put(&call->out, 4, V9FS_MAGIC);
	p9_put(&call->out, 4, (u32)fs.f_bsize);
	p9_put(&call->out, 8, fs.f_blocks);
	p9_put(&call->out, 8, fs.f_bfree);
	p9_put(&call->out, 8, fs.f_bavail);
	p9_put(&call->out, 8, fs.f_files);
	p9_put(&call->out, 8, fs.f_ffree);
	p9_put(&call->out, 8, 0);
	p9_put(&call->out, 4, (u32)fs.f_namelen);
	return 0;
}

int p9_readlink(struct p9 *p9, struct p9_call *call)
{
	char target[PATH_MAX];
	struct p9_fid *fid;
	ssize_t len;
	int ret = p9_get_fid(p9, call, &fid);

	if (ret)
		return ret;
	len = readlinkat(fid->path, "", target, sizeof(target) - 1);
	if (len < 0)
		return -errno;
	target[len] = 0;
	p9_put_string(&call->out, target);
	return 0;
}
