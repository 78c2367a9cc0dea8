/* SPDX-License-Identifier: MIT */
/* The machine's console, as the config has it. */
#pragma once

#include "main/machine.h"

/* 0 or -errno. */
int machine_open_console(struct machine *m, struct err *err);
/* arg: the machine. Machine lock held. */
void machine_power_button(void *arg);
