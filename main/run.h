/* SPDX-License-Identifier: MIT */
/* `mullion run`. */
#pragma once

#include "host/tsc.h"
#include "main/options.h"

/* Returns the exit status. started: taken when the process began. */
int run(const struct options *options, const struct tsc_sample *started);
