/* SPDX-License-Identifier: MIT */
/*
 * What a user's VMs leave on disk, in folders of his own (the XDG base directories):
 *
 *   $XDG_CONFIG_HOME/mullion/vms/NAME.json   a definition: a VM that has been created
 *   $XDG_RUNTIME_DIR/mullion/NAME/           while it runs: lock, pid, control.sock
 *   $XDG_STATE_HOME/mullion/NAME/            console.log, vmm.log, last.json (how it ended)
 *
 * A VM runs as long as its process holds the lock; what a killed process left behind
 * counts as nothing and is swept away by the next start.
 */
#pragma once

#include <limits.h>
#include <sys/types.h>

#include "host/err.h"
#include "lib/types.h"

enum state_place {
	STATE_DEFINITION, /* file is ignored */
	STATE_RUN,
	STATE_KEPT,
};

/* The path of a VM's file; NULL: its folder. Makes nothing. 0 or -errno. */
int state_path(
	enum state_place place, const char *name, const char *file, char path[PATH_MAX], struct err *err);
/* Makes the folders that hold the VM's files. */
int state_make(enum state_place place, const char *name, struct err *err);

/* May a VM have this name? */
bool state_name_ok(const char *name);
bool state_defined(const char *name);
/* Is its process there? pid may be NULL. */
bool state_running(const char *name, pid_t *pid);
/* Its process was there, and has ended without a word. */
bool state_crashed(const char *name);

/* The VMM's hold on its name. */
struct state_claim {
	char name[64];
	int lock; /* -1: none */
};

/* -EBUSY when such a VM runs. */
int state_claim(struct state_claim *claim, const char *name, struct err *err);
/* The process (a child of the claimer, perhaps) that runs it. */
int state_write_pid(const struct state_claim *claim, struct err *err);
/* The folder in the runtime directory goes; nothing, when there is no claim. */
void state_release(struct state_claim *claim);

/* Writes a small file whole or not at all, mode 0600. new: -EEXIST if it is there. */
int state_write(const char *path, const char *text, bool new, struct err *err);
/* Removes what was kept of it, the definition too. */
void state_forget(const char *name);

/* Every VM that is defined or running or has crashed, sorted. The caller frees the list and its names. */
int state_list(char ***names, unsigned *n, struct err *err);
void state_free_list(char **names, unsigned n);

/* A name that no VM has: "quiet_heron". */
void state_make_name(char name[64]);
