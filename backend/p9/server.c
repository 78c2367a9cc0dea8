/* SPDX-License-Identifier: MIT */
/* The 9P server's frame: session, dispatch, and replies. */
#include "backend/p9/server.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "host/iov.h"

#define VERSION "9P2000.L"
#define MSIZE_MIN 4096u
#define TWRITE_HEAD 23u /* Twrite up to its data */

enum { /* qid types */
	QID_FILE = 0,
	QID_SYMLINK = 0x02,
	QID_DIR = 0x80,
};

/* ---- what handlers share ---- */

int p9_get_name(struct p9_call *call, char name[P9_NAME_MAX + 1])
{
	p9_get_string(&call->in, name, P9_NAME_MAX + 1);
	if (call->in.bad)
		return -EPROTO;
	if (!name[0] || strchr(name, '/') || !strcmp(name, ".") || !strcmp(name, ".."))
		return -EINVAL;
	return 0;
}

static u8 qid_type(mode_t mode)
{
	return S_ISDIR(mode) ? QID_DIR : S_ISLNK(mode) ? QID_SYMLINK : QID_FILE;
}

/* Inode numbers are unique in one file system; others that are mounted below are told apart at the top. */
static u64 qid_path(const struct p9 *p9, const struct stat *st)
{
	return st->st_ino ^ ((u64)st->st_dev ^ p9->root_dev) << 40;
}

void p9_put_qid(struct p9 *p9, struct p9_call *call, const struct stat *st)
{
	p9_put(&call->out, 1, qid_type(st->st_mode));
	p9_put(&call->out, 4, (u32)st->st_mtim.tv_sec ^ (u32)st->st_mtim.tv_nsec);
	p9_put(&call->out, 8, qid_path(p9, st));
}

int p9_put_qid_at(struct p9 *p9, struct p9_call *call, int dir, const char *name)
{
	struct stat st;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
		return -errno;
	p9_put_qid(p9, call, &st);
	return 0;
}

struct p9_proc p9_proc(int fd)
{
	struct p9_proc proc;

	snprintf(proc.name, sizeof(proc.name), "/proc/self/fd/%d", fd);
	return proc;
}

/* ---- the session ---- */

static int version(struct p9 *p9, struct p9_call *call)
{
	u32 msize = p9_get32(&call->in);
	char name[32];

	p9_get_string(&call->in, name, sizeof(name));
	if (call->in.bad || msize < MSIZE_MIN)
		return -EINVAL;
	p9_fid_remove_all(p9);
	p9->msize = MIN(msize, P9_MSIZE);
	p9_put(&call->out, 4, p9->msize);
	p9_put_string(&call->out, strcmp(name, VERSION) ? "unknown" : VERSION);
	return 0;
}

/* The user's name and the tree's do not matter: there is one tree, and one user. */
static int attach(struct p9 *p9, struct p9_call *call)
{
	u32 id = p9_get32(&call->in);
	int path, ret;

	if (call->in.bad)
		return -EPROTO;
	path = fcntl(p9->root, F_DUPFD_CLOEXEC, 0);
	if (path < 0)
		return -errno;
	ret = p9_fid_add(p9, id, path, NULL);
	return ret ? ret : p9_put_qid_at(p9, call, p9->root, "");
}

/* Requests are served one after the other: what is to be flushed has been answered. */
static int flush(struct p9 *p9, struct p9_call *call)
{
	(void)p9;
	(void)call;
	return 0;
}

static int clunk(struct p9 *p9, struct p9_call *call)
{
	return p9_fid_remove(p9, p9_get32(&call->in));
}

/* The client knows the newer Tunlinkat; but the fid is gone in any case. */
static int remove_fid(struct p9 *p9, struct p9_call *call)
{
	p9_fid_remove(p9, p9_get32(&call->in));
	return -EOPNOTSUPP;
}

static p9_handler *const handlers[P9_TYPES] = {
	[P9_TVERSION] = version,
	[P9_TATTACH] = attach,
	[P9_TFLUSH] = flush,
	[P9_TCLUNK] = clunk,
	[P9_TREMOVE] = remove_fid,
	[P9_TWALK] = p9_walk,
	[P9_TLOPEN] = p9_lopen,
	[P9_TLCREATE] = p9_lcreate,
	[P9_TREAD] = p9_read,
	[P9_TWRITE] = p9_write,
	[P9_TFSYNC] = p9_fsync,
	[P9_TLOCK] = p9_lock,
	[P9_TGETLOCK] = p9_getlock,
	[P9_TGETATTR] = p9_getattr,
	[P9_TSETATTR] = p9_setattr,
	[P9_TSTATFS] = p9_statfs,
	[P9_TREADLINK] = p9_readlink,
	[P9_TREADDIR] = p9_readdir,
	[P9_TMKDIR] = p9_mkdir,
	[P9_TMKNOD] = p9_mknod,
	[P9_TSYMLINK] = p9_symlink,
	[P9_TLINK] = p9_link,
	[P9_TRENAMEAT] = p9_renameat,
	[P9_TUNLINKAT] = p9_unlinkat,
};

/* What changes files, for shares that may not be changed. (Opening to write is p9_lopen's to refuse.) */
static bool changes(u8 type)
{
	switch (type) {
	case P9_TLCREATE:
	case P9_TWRITE:
	case P9_TSETATTR:
	case P9_TMKDIR:
	case P9_TMKNOD:
	case P9_TSYMLINK:
	case P9_TLINK:
	case P9_TRENAMEAT:
	case P9_TUNLINKAT:
		return true;
	default:
		return false;
	}
}

static int handle(struct p9 *p9, struct p9_call *call, u8 type)
{
	if (type >= P9_TYPES || !handlers[type])
		return -EOPNOTSUPP;
	if (!p9->msize && type != P9_TVERSION)
		return -EPROTO;
	if (p9->readonly && changes(type))
		return -EROFS;
	return handlers[type](p9, call);
}

/* ---- messages ---- */

static void start_reply(struct p9 *p9, struct p9_call *call)
{
	call->out = (struct p9_out){p9->reply, p9->reply + P9_HEADER, p9->reply + sizeof(p9->reply), false};
	call->data_len = 0;
}

static ssize_t finish_reply(struct p9_call *call, u8 type, u16 tag)
{
	size_t head = (size_t)(call->out.at - call->out.start), len = head + call->data_len;
	u8 *start = call->out.start;

	call->out.at = start;
	p9_put(&call->out, 4, len);
	p9_put(&call->out, 1, type);
	p9_put(&call->out, 2, tag);
	if (iov_from_buf(call->data_out, call->ndata_out, 0, start, head) != head)
		return -EPROTO;
	return (ssize_t)len;
}

/* Copies what is not Twrite's data. -EPROTO: that is no message. */
static int start_request(struct p9 *p9, struct p9_call *call, u8 *type, u16 *tag)
{
	size_t len = iov_to_buf(call->data_in, call->ndata_in, 0, p9->request, sizeof(p9->request));
	u32 size;

	call->in = (struct p9_in){p9->request, p9->request + len, false};
	size = p9_get32(&call->in);
	*type = (u8)p9_get(&call->in, 1);
	*tag = p9_get16(&call->in);
	if (call->in.bad || size < P9_HEADER || size > P9_MSIZE ||
		size > iov_length(call->data_in, call->ndata_in))
		return -EPROTO;
	call->in.end = p9->request + MIN(size, *type == P9_TWRITE ? TWRITE_HEAD : len);
	return 0;
}

ssize_t p9_serve(struct p9 *p9, const struct iovec *in, unsigned nin, const struct iovec *out, unsigned nout)
{
	struct p9_call call = {.data_in = in, .ndata_in = nin, .data_out = out, .ndata_out = nout};
	u16 tag;
	u8 type;
	int ret;

	if (nin > P9_SEGMENTS || nout > P9_SEGMENTS || start_request(p9, &call, &type, &tag))
		return -EPROTO;
	start_reply(p9, &call);
	ret = handle(p9, &call, type);
	if (!ret && call.out.full)
		ret = -EMSGSIZE;
	if (!ret)
		return finish_reply(&call, type + 1, tag);
	start_reply(p9, &call);
	p9_put(&call.out, 4, (u32)-ret);
	return finish_reply(&call, P9_RLERROR, tag);
}

/* ---- life ---- */

/* Half of the process's descriptors, so that disks and networks keep theirs. */
static unsigned fid_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return 256;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	return (unsigned)MIN(limit.rlim_max / 4, (rlim_t)1 << 17); /* an open file has two */
}

int p9_create(const char *path, bool readonly, struct p9 **out, struct err *err)
{
	struct p9 *p9;
	struct stat st;
	int root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (root < 0 || fstat(root, &st))
		return err_set(err, errno, "--share %s: %s", path, strerror(errno));
	p9 = calloc(1, sizeof(*p9));
	if (!p9) {
		close(root);
		return -ENOMEM;
	}
	p9->root = root;
	p9->root_dev = st.st_dev;
	p9->readonly = readonly;
	p9->max_fids = fid_limit();
	*out = p9;
	return 0;
}

void p9_reset(struct p9 *p9)
{
	p9_fid_remove_all(p9);
	p9->msize = 0;
}

void p9_free(struct p9 *p9)
{
	if (!p9)
		return;
	p9_fid_remove_all(p9);
	close(p9->root);
	free(p9);
}
