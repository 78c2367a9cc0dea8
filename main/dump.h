/* SPDX-License-Identifier: MIT */
/* A vCPU's registers, for people. */
#pragma once

#include <stdio.h>

#include "x86/state.h"

void dump_registers(FILE *out, const struct x86_state *regs);
