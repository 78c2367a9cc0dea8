/* SPDX-License-Identifier: MIT */
/* A line that shows how far something long has come: on a terminal only. */
#pragma once

#include "lib/types.h"

struct progress {
	const char *what;
	bool shown;
	int last; /* percent */
};

void progress_begin(struct progress *progress, const char *what);
/* 0 to 100 */
void progress_show(struct progress *progress, double percent);
/* Takes the line away. */
void progress_end(struct progress *progress);
