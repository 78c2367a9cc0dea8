/* SPDX-License-Identifier: MIT */
/* What VMs there are and how they are: `mullion ps`, `inspect`, `stats`. */
#pragma once

#include "main/command.h"

extern const struct command command_ps, command_inspect, command_stats;
