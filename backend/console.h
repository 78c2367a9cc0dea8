/* SPDX-License-Identifier: MIT */
/*
 * Where a serial port's characters go and come from. The device calls ops;
 * the backend calls `input` from the loop thread with the machine lock held.
 */
#pragma once

#include <pthread.h>

#include "lib/types.h"

struct console;

struct console_ops {
	/* Takes characters for the user; never blocks for long, never fails. */
	void (*write)(struct console *console, const u8 *data, size_t len);
	/* The device has room (true) or none (false): start or stop calling input. */
	void (*input_enable)(struct console *console, bool on);
	/* With the VM stopped for good: what was written is out, the terminal is the user's again. */
	void (*finish)(struct console *console);
	void (*close)(struct console *console); /* after the device has been freed */
};

struct console {
	const struct console_ops *ops;
	pthread_mutex_t *lock; /* the machine lock */
	/* Set by the device. Returns how many characters it took. */
	size_t (*input)(void *arg, const u8 *data, size_t len);
	void (*resized)(void *arg); /* may be NULL */
	void *arg;
	u16 columns, rows; /* of the terminal behind it; 0: unknown */
};
