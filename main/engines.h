/* SPDX-License-Identifier: MIT */
/* Which engines there are, and which one to take. */
#pragma once

#include <stddef.h>

#include "vm/engine.h"

/*
 * The engine of that name, or the best one that this machine can run (NULL).
 * why gets the reason, for people. NULL when there is none.
 */
const struct engine_ops *engines_choose(const char *name, char *why, size_t len);

struct engine_report {
	const char *name;
	bool usable;
	char why[256]; /* also what to do about it */
};

#define ENGINES 3

/* Best first. */
void engines_examine(struct engine_report report[ENGINES]);
