/* SPDX-License-Identifier: MIT */
/*
 * A small emulator for instructions that touch device memory: what compilers and
 * kernels use on MMIO (MOV and its kin, string instructions, arithmetic and logic
 * with a memory operand, bit tests, XCHG, XADD, CMPXCHG, CMOV, SETcc), and string
 * I/O. For engines whose hardware reports the address of an access but not the
 * instruction. Freestanding.
 */
#pragma once

#include "lib/types.h"

struct x86_emul {
	const u8 *code; /* from rip */
	unsigned len; /* bytes known, at most 15 */
	unsigned bits; /* 16, 32 or 64: the default of the code segment */
	u64 *gpr; /* 16, in encoding order; changed only when all is well */
	u64 rip, rflags;
	u64 seg_base[6]; /* ES CS SS DS FS GS */
	/* size 1, 2, 4 or 8. 0, or -1: the access faults, and what follows from it is the caller's. */
	int (*load)(struct x86_emul *e, u64 gva, unsigned size, u64 *value);
	int (*store)(struct x86_emul *e, u64 gva, unsigned size, u64 value);
	/* For INS and OUTS, whose rights the caller has checked; NULL: they are unknown. */
	void (*in)(struct x86_emul *e, u16 port, unsigned size, u64 *value);
	void (*out)(struct x86_emul *e, u16 port, unsigned size, u64 value);
	void *ctx;
	bool single; /* for load and store: the instruction has no other memory operand */
};

enum { EMUL_DONE = 0, EMUL_FAULT = -1, EMUL_UNKNOWN = -2, EMUL_SHORT = -3 /* more bytes are needed */ };

/*
 * One instruction; of a REP string, one iteration (rip stays until the count is
 * zero, so that interrupts get their turn). On anything but EMUL_DONE nothing has
 * changed. The destination of a read-modify-write is loaded, then stored: LOCK is
 * as good as the caller makes it.
 */
int x86_emulate(struct x86_emul *e);
