/* SPDX-License-Identifier: MIT */
/*
 * A UNIX socket that takes requests, one a line, and answers with a line each. A
 * client that is slow, talks too much or too long is dropped; it holds up nobody.
 *
 * Thread context: everything happens on the loop's thread.
 */
#pragma once

#include "host/err.h"
#include "host/loop.h"

#define CTL_CLIENTS 16
#define CTL_LINE_MAX 65536u /* of a request */
#define CTL_ANSWERS_MAX KIB(512) /* of answers that the client has not taken yet */

struct ctl_server;

struct ctl_client {
	struct ctl_server *server;
	struct loop_source source; /* fd -1: free */
	bool events; /* wants to know what happens */
	int passed; /* the last descriptor that came with a request, or -1; its taker sets -1 */
	char *in, *out; /* buffers while there is a connection */
	size_t in_len, out_len;
};

struct ctl_server {
	struct loop *loop;
	struct loop_source listener;
	/* A request without its newline, zero-terminated; it may be changed. */
	void (*request)(void *ctx, struct ctl_client *client, char *line, size_t len);
	void *ctx;
	struct ctl_client client[CTL_CLIENTS];
};

/* path is unlinked by whoever owns the folder. ctl_close accepts a server whose ctl_listen failed. */
int ctl_listen(struct ctl_server *server, struct loop *loop, const char *path,
	void (*request)(void *, struct ctl_client *, char *, size_t), void *ctx, struct err *err);
void ctl_close(struct ctl_server *server);
/* A connection (non-blocking) from elsewhere. NULL: there are too many; fd stays the caller's. */
struct ctl_client *ctl_add_client(struct ctl_server *server, int fd);
/* An answer; its newline is added. */
void ctl_send(struct ctl_client *client, const char *line);
/* To all clients with .events. */
void ctl_broadcast(struct ctl_server *server, const char *line);
/*
 * From within a request, after its answer: the connection is no client any more.
 * Its descriptor, now the caller's, or -EAGAIN when the answer could not be sent whole.
 */
int ctl_take(struct ctl_client *client);
