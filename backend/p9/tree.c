/* SPDX-License-Identifier: MIT */
/* 9P: names: walking, listing, making, moving, and removing. */
#include "backend/p9/server.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define WALK_MAX 16u /* names in one Twalk */
#define READDIR_ENTRY (P9_QID + 8u + 1u + 2u) /* without its name */

/* Goes on from path (consumed) by one name: the new descriptor, or -errno. */
static int step(int path, const char *name)
{
	int next = openat(path, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	int ret = next < 0 ? -errno : next;

	close(path);
	return ret;
}

/* As far as the names go. Sets *walked, and returns a descriptor, or -errno when there is none. */
static int walk_names(struct p9 *p9, struct p9_call *call, int path, unsigned n, unsigned *walked)
{
	char name[P9_NAME_MAX + 1];

	for (*walked = 0; *walked < n && path >= 0; (*walked)++) {
		int ret = p9_get_name(call, name);

		if (ret) {
			close(path);
			return ret;
		}
		path = step(path, name);
		ret = path < 0 ? 0 : p9_put_qid_at(p9, call, path, "");
		if (ret) {
			close(path);
			return ret;
		}
		if (path < 0)
			return path;
	}
	return path;
}

/* A walk that fails behind its first name is answered with what there was, and makes no fid. */
int p9_walk(struct p9 *p9, struct p9_call *call)
{
	struct p9_fid *fid;
	unsigned n, walked;
	u32 new_id;
	u8 *count = call->out.at;
	int path, ret = p9_get_fid(p9, call, &fid);

	new_id = p9_get32(&call->in);
	n = p9_get16(&call->in);
	if (ret || call->in.bad || n > WALK_MAX)
		return ret ? ret : -EPROTO;
	p9_put(&call->out, 2, 0);
	path = fcntl(fid->path, F_DUPFD_CLOEXEC, 0);
	if (path < 0)
		return -errno;
	path = walk_names(p9, call, path, n, &walked);
	if (path < 0 && !walked)
		return path;
	count[0] = (u8)walked;
	if (path < 0)
		return 0;
	if (new_id != fid->id)
		return p9_fid_add(p9, new_id, path, NULL);
	p9_fid_close(fid);
	close(fid->path);
	fid->path = path;
	return 0;
}

/* ---- listing ---- */

/* False: no room. Only the type of the qid is right (the client does not keep it); its number is the inode's. */
static bool put_entry(struct p9_call *call, const struct dirent *entry, size_t room)
{
	size_t used = (size_t)(call->out.at - call->out.start);

	if (used + READDIR_ENTRY + strlen(entry->d_name) > room)
		return false;
	p9_put(&call->out, 1, entry->d_type == DT_DIR ? 0x80 : entry->d_type == DT_LNK ? 0x02 : 0);
	p9_put(&call->out, 4, 0);
	p9_put(&call->out, 8, entry->d_ino);
	p9_put(&call->out, 8, (u64)entry->d_off);
	p9_put(&call->out, 1, entry->d_type);
	p9_put_string(&call->out, entry->d_name);
	return true;
}

/* Entries as long as there is room; one that found none is the next call's first. */
static int put_entries(struct p9_call *call, DIR *dir, size_t room)
{
	for (;;) {
		long before = telldir(dir);
		struct dirent *entry;

		errno = 0;
		entry = readdir(dir);
		if (!entry)
			return -errno;
		if (!put_entry(call, entry, room)) {
			seekdir(dir, before);
			return -EINVAL; /* unless there was room for others */
		}
	}
}

int p9_readdir(struct p9 *p9, struct p9_call *call)
{
	struct p9_fid *fid;
	u64 offset;
	u32 count;
	u8 *length = call->out.at;
	size_t head = P9_HEADER + 4;
	int ret = p9_get_fid(p9, call, &fid);

	offset = p9_get64(&call->in);
	count = p9_get32(&call->in);
	if (ret || call->in.bad || !fid->dir)
		return -EBADF;
	p9_put(&call->out, 4, 0);
	if (offset)
		seekdir(fid->dir, (long)offset);
	else
		rewinddir(fid->dir);
	ret = put_entries(call, fid->dir, MIN((size_t)count + head, (size_t)MIN(p9->msize, P9_REPLY_MAX)));
	count = (u32)(call->out.at - call->out.start - head);
	memcpy(length, &count, 4);
	return count ? 0 : ret;
}

/* ---- making ---- */

/* The directory and the new name that such a message begins with. */
static int get_place(struct p9 *p9, struct p9_call *call, struct p9_fid **dir, char name[P9_NAME_MAX + 1])
{
	int ret = p9_get_fid(p9, call, dir);

	return ret ? ret : p9_get_name(call, name);
}

int p9_mkdir(struct p9 *p9, struct p9_call *call)
{
	char name[P9_NAME_MAX + 1];
	struct p9_fid *dir;
	u32 mode;
	int ret = get_place(p9, call, &dir, name);

	mode = p9_get32(&call->in);
	if (ret || call->in.bad)
		return ret ? ret : -EPROTO;
	if (mkdirat(dir->path, name, mode & P9_MODES))
		return -errno;
	return p9_put_qid_at(p9, call, dir->path, name);
}

int p9_mknod(struct p9 *p9, struct p9_call *call)
{
	char name[P9_NAME_MAX + 1];
	struct p9_fid *dir;
	u32 mode, major_nr, minor_nr;
	int ret = get_place(p9, call, &dir, name);

	mode = p9_get32(&call->in);
	major_nr = p9_get32(&call->in);
	minor_nr = p9_get32(&call->in);
	if (ret || call->in.bad)
		return ret ? ret : -EPROTO;
	/* A device of the guest's choice on the host's disk: no. */
	if (S_ISBLK(mode) || S_ISCHR(mode))
		return -EPERM;
	if (mknodat(dir->path, name, mode & (S_IFMT | P9_MODES), makedev(major_nr, minor_nr)))
		return -errno;
	return p9_put_qid_at(p9, call, dir->path, name);
}

int p9_symlink(struct p9 *p9, struct p9_call *call)
{
	char name[P9_NAME_MAX + 1], target[PATH_MAX];
	struct p9_fid *dir;
	int ret = get_place(p9, call, &dir, name);

	p9_get_string(&call->in, target, sizeof(target));
	if (ret || call->in.bad)
		return ret ? ret : -EPROTO;
	if (symlinkat(target, dir->path, name))
		return -errno;
	return p9_put_qid_at(p9, call, dir->path, name);
}

/* Through /proc, since linkat's AT_EMPTY_PATH asks for a capability; a symbolic link cannot be linked so. */
int p9_link(struct p9 *p9, struct p9_call *call)
{
	char name[P9_NAME_MAX + 1];
	struct p9_fid *dir, *fid;
	struct stat st;
	int ret = p9_get_fid(p9, call, &dir);

	if (!ret)
		ret = get_place(p9, call, &fid, name);
	if (ret)
		return ret;
	if (fstat(fid->path, &st))
		return -errno;
	if (S_ISLNK(st.st_mode))
		return -EPERM;
	if (linkat(AT_FDCWD, p9_proc(fid->path).name, dir->path, name, AT_SYMLINK_FOLLOW))
		return -errno;
	return 0;
}

int p9_renameat(struct p9 *p9, struct p9_call *call)
{
	char from[P9_NAME_MAX + 1], to[P9_NAME_MAX + 1];
	struct p9_fid *from_dir, *to_dir;
	int ret = get_place(p9, call, &from_dir, from);

	if (!ret)
		ret = get_place(p9, call, &to_dir, to);
	if (ret)
		return ret;
	return renameat(from_dir->path, from, to_dir->path, to) ? -errno : 0;
}

int p9_unlinkat(struct p9 *p9, struct p9_call *call)
{
	char name[P9_NAME_MAX + 1];
	struct p9_fid *dir;
	u32 flags;
	int ret = get_place(p9, call, &dir, name);

	flags = p9_get32(&call->in);
	if (ret || call->in.bad)
		return ret ? ret : -EPROTO;
	return unlinkat(dir->path, name, flags & AT_REMOVEDIR) ? -errno : 0;
}
