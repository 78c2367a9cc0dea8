/* SPDX-License-Identifier: MIT */
/*
 * Helper programs: started with nothing of ours but what they are given, and ended
 * with us.
 *
 * Thread context: the main thread, before the VM runs (process_kill: any, at any time); the child gets
 * SIGTERM when that thread ends, however it ends.
 */
#pragma once

#include <sys/types.h>

#include "host/err.h"
#include "lib/types.h"

struct process_spec {
	const char *const *argv; /* [0] is looked for in PATH */
	int out, err; /* become its standard output and error; -1: /dev/null */
	int listen; /* handed over as systemd hands sockets over (LISTEN_FDS); -1: none */
	int pass; /* becomes its descriptor 3; -1: none; not together with listen */
};

/* In a child that is to live longer than we do: nothing of ours but its standard descriptors and fd (3 or more). */
void process_close_all_but(int fd);
/* Those that process_start has started and nobody has waited for. Returns how many. */
unsigned process_list(pid_t *pids, unsigned max);
/* 0 or -errno (the fork's); a program that cannot be run says so on err and ends with 127. */
int process_start(const struct process_spec *spec, pid_t *pid);
/* Waits for its end. Its status as a shell has it: 128 + N killed by signal N. */
int process_wait(pid_t pid);
/* Asks it to end, and makes it when it has not after so long. */
void process_stop(pid_t pid, unsigned seconds);

/* It and all that it has started end at once; process_wait or process_stop come afterwards, as ever. */
void process_kill(pid_t pid);

/*
 * Runs a program to its end. out (may be NULL) and err get what it printed, ended by
 * zero, as far as it fits. Its status, or -errno.
 */
int process_run(const char *const *argv, char *out, size_t out_len, char *err, size_t err_len);
