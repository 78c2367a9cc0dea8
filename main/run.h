/* SPDX-License-Identifier: MIT */
/* `mullion run`. */
#pragma once

#include "main/command.h"

extern const struct command command_run;
