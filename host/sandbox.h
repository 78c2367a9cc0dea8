/* SPDX-License-Identifier: MIT */
/*
 * What this process may still ask of the system once the guest runs: a seccomp
 * filter of system calls, Landlock's rules on files and TCP ports where the kernel has
 * it, and no capabilities. A guest that takes the process over gets no further
 * than the rights that are kept here on purpose.
 *
 * Thread context: the main thread, before the guest's first instruction. The filter reaches all threads at once;
 * Landlock and capabilities are each thread's own, so one that was made before calls sandbox_join. Later ones inherit.
 */
#pragma once

#include <sys/types.h>

#include "host/err.h"
#include "lib/types.h"

#define SANDBOX_PATHS 64
#define SANDBOX_CHILDREN 32

enum sandbox_right {
	SANDBOX_READ = 1, /* read the file, or what is below the folder */
	SANDBOX_WRITE = 2, /* write to it, or to files below */
	SANDBOX_FILES = 4, /* make, rename and remove files and sockets in the folder */
	SANDBOX_FOLDERS = 8, /* make, rename and remove folders and links, too */
	SANDBOX_RMDIR = 16, /* remove empty folders in it */
	SANDBOX_REMOVE = 32, /* remove files and sockets in it */
};

struct sandbox {
	struct {
		char *path;
		unsigned rights;
	} path[SANDBOX_PATHS];
	unsigned npaths;
	bool overflow; /* more paths than there is room for */
	bool network; /* sockets to anywhere (user-mode network) */
	bool unix_sockets; /* new UNIX sockets (vsock's streams to the host's programs) */
	bool share; /* a file server's calls: owners, modes, links, extended attributes */
	pid_t child[SANDBOX_CHILDREN]; /* helpers that we may stop */
	unsigned nchildren;
};

/* What does not exist is passed over: there is no right to it then. NULL, too. */
void sandbox_allow(struct sandbox *sandbox, const char *path, unsigned rights);
/* The same for the folder that path lies in. */
void sandbox_allow_folder_of(struct sandbox *sandbox, const char *path, unsigned rights);
void sandbox_fini(struct sandbox *sandbox);

/* 0, or -errno with a line in err; the process must not go on then. */
int sandbox_enter(const struct sandbox *sandbox, struct err *err);
/* At the start of each piece of work that a thread does for a guest or a client: gets into the sandbox, once there is one. */
void sandbox_join(void);

/* What this kernel offers: Landlock's version (0: none), and whether filters of system calls work. */
int sandbox_landlock_version(void);
bool sandbox_has_seccomp(void);

/* sandbox_calls.c: loads the filter for all threads. 0 or -errno. */
int sandbox_filter(const struct sandbox *sandbox);
