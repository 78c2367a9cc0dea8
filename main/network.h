/* SPDX-License-Identifier: MIT */
/*
 * Networks of VMs: `mullion network`. Each is a switch in a process of its own, which listens on
 * a socket in the user's runtime directory. A network is known from create to rm; its
 * switch is started by create and by the first VM that finds none.
 */
#pragma once

#include <limits.h>

#include "host/err.h"
#include "main/command.h"

extern const struct command command_network_create, command_network_ls, command_network_rm, command_network_inspect;

/* The socket of a network that exists, its switch running. 0 or -errno. */
int network_open(const char *name, char path[PATH_MAX], struct err *err);
