/* SPDX-License-Identifier: MIT */
/*
 * A 9P2000.L server for one directory of the host: requests in, replies out, no
 * transport. (The protocol is what Linux's net/9p and fs/9p speak; diod's
 * protocol.md describes it.)
 *
 * The client cannot leave the directory: each name is one component, looked up
 * without following symbolic links, and ".." is refused. Only plain files and directories
 * are opened. What the client creates belongs to the user who runs the VM.
 *
 * Thread context: one thread at a time; calls may block as file I/O does.
 */
#pragma once

#include <sys/uio.h>

#include "host/err.h"
#include "lib/types.h"

struct p9;

#define P9_SEGMENTS 130u /* buffers of one message, each way */
#define P9_MSIZE (512u << 10) /* the longest message */

/* Opens the directory. 0, or -errno with a line in err. */
int p9_create(const char *path, bool readonly, struct p9 **out, struct err *err);
void p9_free(struct p9 *p9);
/* The client has gone (the device was reset): every fid is closed. */
void p9_reset(struct p9 *p9);
/*
 * Serves the message in `in`, at most P9_SEGMENTS entries each. Returns the length of the reply in `out`,
 * or -EPROTO when there is no message that one could answer or no room for the answer.
 */
ssize_t p9_serve(struct p9 *p9, const struct iovec *in, unsigned nin, const struct iovec *out, unsigned nout);
