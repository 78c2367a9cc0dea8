/* SPDX-License-Identifier: MIT */
/* Making VMs and starting them: `mullion run`, `create`, `start`. */
#pragma once

#include "main/command.h"

extern const struct command command_run, command_create, command_start;
