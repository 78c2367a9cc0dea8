/* SPDX-License-Identifier: MIT */
/* The 9P server's inside: fids, calls, and the handlers that its files share. */
#pragma once

#include <dirent.h>
#include <sys/stat.h>

#include "backend/p9/p9.h"
#include "backend/p9/wire.h"

#define P9_FID_BUCKETS 256u
#define P9_REPLY_MAX (64u << 10)
#define P9_REQUEST_MAX (8u << 10) /* but for what Twrite carries */
#define P9_NO_FID UINT32_MAX
#define P9_MODES 01777u /* a guest makes no set-user-ID program of the user's on the host */

/* What the client has a number for. */
struct p9_fid {
	u32 id;
	int path; /* O_PATH: names the file, whatever happens to its name */
	int fd; /* once it is open, else -1 */
	DIR *dir; /* of an open directory; owns fd */
	struct p9_fid *next;
};

struct p9 {
	int root; /* O_PATH */
	u64 root_dev;
	bool readonly;
	u32 msize; /* agreed with the client; 0 before */
	unsigned fids, max_fids;
	struct p9_fid *bucket[P9_FID_BUCKETS];
	u8 request[P9_REQUEST_MAX], reply[P9_REPLY_MAX];
	struct iovec iov[P9_SEGMENTS]; /* of the data being moved */
};

/* One message on its way through a handler. */
struct p9_call {
	struct p9_in in;
	struct p9_out out; /* behind the header */
	const struct iovec *data_in, *data_out; /* the whole messages: for Twrite and Rread */
	unsigned ndata_in, ndata_out;
	size_t data_len; /* bytes that Rread has put behind `out` already */
};

/* Handlers return 0, or -errno for Rlerror. */
typedef int p9_handler(struct p9 *p9, struct p9_call *call);

/* ---- fid.c ---- */

struct p9_fid *p9_fid_find(struct p9 *p9, u32 id);
/* Takes path over (closes it on failure). 0, -EBADF: in use, -EMFILE, -ENOMEM. */
int p9_fid_add(struct p9 *p9, u32 id, int path, struct p9_fid **out);
void p9_fid_close(struct p9_fid *fid); /* the open file, not the fid */
int p9_fid_remove(struct p9 *p9, u32 id); /* 0 or -EBADF */
void p9_fid_remove_all(struct p9 *p9);
/* The next number of the message as a fid: 0 or -EBADF. */
int p9_get_fid(struct p9 *p9, struct p9_call *call, struct p9_fid **fid);

/* ---- shared by the handlers ---- */

/* A file name from the message: one component. 0, -EPROTO, -EINVAL. */
int p9_get_name(struct p9_call *call, char name[P9_NAME_MAX + 1]);
void p9_put_qid(struct p9 *p9, struct p9_call *call, const struct stat *st);
/* The qid of name in dir. 0 or -errno. */
int p9_put_qid_at(struct p9 *p9, struct p9_call *call, int dir, const char *name);
/* The name under which a descriptor's file can be opened, changed, linked: /proc/self/fd/N. */
struct p9_proc {
	char name[32];
};
struct p9_proc p9_proc(int fd);

/* file.c */
p9_handler p9_lopen, p9_lcreate, p9_read, p9_write, p9_fsync, p9_lock, p9_getlock;
/* attr.c */
p9_handler p9_getattr, p9_setattr, p9_statfs, p9_readlink;
/* tree.c */
p9_handler p9_walk, p9_readdir, p9_mkdir, p9_mknod, p9_symlink, p9_link, p9_renameat, p9_unlinkat;
