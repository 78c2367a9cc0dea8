/* SPDX-License-Identifier: MIT */
/*
 * A console that any number of people may look at, one after the other or at the
 * same time: by UNIX sockets, a pseudo-terminal, and a log file. A ring keeps what
 * was printed, and shows it to who connects. Nobody who reads slowly holds
 * up the guest: he misses what the ring has no room for.
 */
#pragma once

#include "backend/console_stdio.h"

#define HUB_LOG_LIMIT MIB(1) /* then PATH becomes PATH.1, and a new one begins */

/* log: a file that gets everything, or NULL. 0 or -errno. */
int console_hub_create(
	const struct console_config *config, const char *log, struct console **out, struct err *err);
bool console_is_hub(const struct console *console);
/* The rest: before the VM runs, or on the loop's thread. */
int console_hub_listen(struct console *console, const char *path, struct err *err);
/* name: of the pseudo-terminal, "/dev/pts/3". */
int console_hub_pty(struct console *console, char *name, size_t len, struct err *err);
/* A connected socket, which becomes the hub's. 0 or -EBUSY (it stays the caller's). */
int console_hub_attach(struct console *console, int fd);
