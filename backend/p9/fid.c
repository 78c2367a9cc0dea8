/* SPDX-License-Identifier: MIT */
/* The client's numbers for files. Each holds a descriptor of the host's, so there is a limit. */
#include "backend/p9/server.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static struct p9_fid **bucket(struct p9 *p9, u32 id)
{
	return &p9->bucket[id % P9_FID_BUCKETS];
}

struct p9_fid *p9_fid_find(struct p9 *p9, u32 id)
{
	struct p9_fid *fid = *bucket(p9, id);

	while (fid && fid->id != id)
		fid = fid->next;
	return fid;
}

static int can_add(struct p9 *p9, u32 id)
{
	if (id == P9_NO_FID || p9_fid_find(p9, id))
		return -EBADF;
	return p9->fids < p9->max_fids ? 0 : -EMFILE;
}

int p9_fid_add(struct p9 *p9, u32 id, int path, struct p9_fid **out)
{
	int ret = can_add(p9, id);
	struct p9_fid *fid = ret ? NULL : malloc(sizeof(*fid));

	if (!fid) {
		close(path);
		return ret ? ret : -ENOMEM;
	}
	*fid = (struct p9_fid){.id = id, .path = path, .fd = -1, .next = *bucket(p9, id)};
	*bucket(p9, id) = fid;
	p9->fids++;
	if (out)
		*out = fid;
	return 0;
}

void p9_fid_close(struct p9_fid *fid)
{
	if (fid->dir)
		closedir(fid->dir);
	else if (fid->fd >= 0)
		close(fid->fd);
	fid->dir = NULL;
	fid->fd = -1;
}

int p9_fid_remove(struct p9 *p9, u32 id)
{
	struct p9_fid **link = bucket(p9, id), *fid;

	while (*link && (*link)->id != id)
		link = &(*link)->next;
	fid = *link;
	if (!fid)
		return -EBADF;
	*link = fid->next;
	p9_fid_close(fid);
	close(fid->path);
	free(fid);
	p9->fids--;
	return 0;
}

void p9_fid_remove_all(struct p9 *p9)
{
	for (unsigned i = 0; i < P9_FID_BUCKETS; i++) {
		while (p9->bucket[i])
			p9_fid_remove(p9, p9->bucket[i]->id);
	}
}

int p9_get_fid(struct p9 *p9, struct p9_call *call, struct p9_fid **fid)
{
	*fid = p9_fid_find(p9, p9_get32(&call->in));
	return *fid && !call->in.bad ? 0 : -EBADF;
}
