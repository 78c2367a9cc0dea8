/* SPDX-License-Identifier: MIT */
/*
 * Consoles that go to the user's terminal (or pipes), to a file, or nowhere.
 *
 * On a terminal every key goes to the guest, except after Ctrl-A: x quits,
 * h shows help, and a second Ctrl-A is sent. Input from a pipe or a file is
 * typed (backend/typist.h), and at its end the guest is asked to power off.
 */
#pragma once

#include "backend/console.h"
#include "host/err.h"
#include "host/loop.h"

struct vm;

struct console_config {
	struct vm *vm;
	struct loop *loop;
	void (*power_button)(void *arg); /* machine lock held */
	void *arg;
};

/* All return 0 or -errno; close frees. The VM must not run while one is opened or closed. */
int console_stdio_create(const struct console_config *config, struct console **out, struct err *err);
int console_file_create(
	const struct console_config *config, const char *path, struct console **out, struct err *err);
int console_null_create(struct console **out);
/* Between two runs of the guest: the device has been reset. */
void console_stdio_restart(struct console *console);
