/* SPDX-License-Identifier: MIT */
/* Devices that come and go while a VM runs: `mullion attach`, `mullion detach`. */
#pragma once

#include "main/command.h"

extern const struct command command_attach, command_detach;
