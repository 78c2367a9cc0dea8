/* SPDX-License-Identifier: MIT */
/* `mullion doctor`. */
#pragma once

#include "main/command.h"

extern const struct command command_doctor;
