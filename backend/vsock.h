/* SPDX-License-Identifier: MIT */
/*
 * The host's side of a VM's sockets: UNIX sockets. A program on the host connects to PATH,
 * says "CONNECT port\n", and reads "OK port\n" once the guest has accepted. What the guest
 * connects to (CID 2, a port) is the socket PATH_port, where a program of the host listens.
 *
 * Thread context: all on the loop's thread; accept is called there, without a lock.
 */
#pragma once

#include "host/err.h"
#include "host/loop.h"
#include "lib/types.h"

struct vsock_host;

/* Listens at path; a stale socket there is replaced. 0, or -errno with a line in err. */
int vsock_host_create(struct loop *loop, const char *path, struct vsock_host **out, struct err *err);
/* Who is told of programs that want to reach the guest's port; fd is theirs, non-blocking, from then on. */
void vsock_host_listen(struct vsock_host *host, void (*accept)(void *arg, int fd, u32 port), void *arg);
/* To the program that listens for this port. A non-blocking socket, or -errno. */
int vsock_host_connect(struct vsock_host *host, u32 port);
void vsock_host_free(struct vsock_host *host);
