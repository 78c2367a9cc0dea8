/* SPDX-License-Identifier: MIT */
/*
 * UNIX sockets that only their owner (and root) may use: mode 0600, and the peer's
 * user is asked for. Paths may be longer than sockaddr_un's. All sockets are
 * SOCK_STREAM, non-blocking and close-on-exec, but for unix_connect's, which blocks.
 */
#pragma once

#include "host/err.h"

/* Listens. Takes the place of a socket that nobody listens on any more. A descriptor, or -errno. */
int unix_listen(const char *path, struct err *err);
/* The next connection: -EAGAIN when there is none, -EACCES when it was another user's (and is closed). */
int unix_accept(int fd);
/* A descriptor, or -errno; -EAGAIN: there is a server, and it accepts nobody for seconds. */
int unix_connect(const char *path);
