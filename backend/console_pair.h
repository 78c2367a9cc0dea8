/* SPDX-License-Identifier: MIT */
/*
 * Two devices on one console: what either prints is shown, and what the user types
 * goes to one of them.
 */
#pragma once

#include "backend/console.h"

struct console_pair {
	struct console end[2]; /* for the devices */
	struct console *under;
	bool on[2]; /* the end's device wants input */
	unsigned current; /* the end that gets it */
};

/* under stays the caller's, who closes it; so does the pair. */
void console_pair_init(struct console_pair *pair, struct console *under);
/* From here on input goes to that end. Machine lock held. */
void console_pair_select(struct console_pair *pair, unsigned end);
