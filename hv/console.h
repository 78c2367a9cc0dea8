/* SPDX-License-Identifier: MIT */
/*
 * The hypervisor's voice: COM1 and a ring in memory. Any CPU, any time; lines
 * of several CPUs do not mix. Verbs: %s %d %u %x, with l, width and zero padding.
 */
#pragma once

#include <stdarg.h>

#include "lib/types.h"

void console_init(void);
void print(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Our own fault: everything that helps to find it, then this machine stops (or with isa-debug-exit, ends). */
_Noreturn void panic(const char *format, ...) __attribute__((format(printf, 1, 2)));
