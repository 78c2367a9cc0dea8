/* SPDX-License-Identifier: MIT */
/* Ending VMs: `mullion stop`, `kill`, `rm`; and `rename`. */
#pragma once

#include "main/command.h"

extern const struct command command_stop, command_kill, command_rm, command_rename;
