/* SPDX-License-Identifier: MIT */
/* The hypervisor's own exceptions: each is our fault and ends in a dump, but for NMIs. */
#pragma once

#include "lib/types.h"

struct trap_frame {
	u64 gpr[16]; /* in encoding order; RSP is not the one at the exception */
	u64 vector, error;
	u64 rip, cs, rflags, rsp, ss;
};

/* Makes the IDT, once. */
void trap_init(void);
/* Each CPU. */
void trap_load(void);
/* What a panic says beside its message: the stack's return addresses, this CPU's vCPU. */
void dump_state(u64 rbp);
