/* SPDX-License-Identifier: MIT */
/* What other programs are told about ours: `mullion schema`, `mullion completion`. */
#pragma once

#include "main/command.h"

extern const struct command command_schema, command_completion;
