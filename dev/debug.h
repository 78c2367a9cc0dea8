/* SPDX-License-Identifier: MIT */
/* Ports for people who debug guests: characters out at 0xe9 and 0x402, and an exit port. */
#pragma once

#include "backend/console.h"
#include "vm/device.h"
#include "vm/space.h"

struct vm;

#define DEBUG_CONSOLE_PORT 0xe9 /* as in Bochs: reads return 0xe9 */
#define DEBUG_FIRMWARE_PORT 0x402 /* where SeaBIOS and OVMF write; reads as the other */
#define DEBUG_EXIT_PORT 0xf4

struct debug_console {
	struct device dev;
	struct region bochs_region, firmware_region;
	struct console *console; /* may be NULL */
};

struct debug_exit {
	struct device dev;
	struct region region;
	struct vm *vm;
};

int debug_console_create(struct vm *vm, struct console *console, struct debug_console **out);
/* A byte v ends the run with VM_DEBUG_EXIT and code (v << 1) | 1. */
int debug_exit_create(struct vm *vm, struct debug_exit **out);
