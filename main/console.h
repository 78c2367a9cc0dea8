/* SPDX-License-Identifier: MIT */
/* Looking at VMs' consoles: `mullion console` and `mullion logs`. */
#pragma once

#include "main/command.h"

extern const struct command command_console, command_logs;
