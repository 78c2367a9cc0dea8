/* SPDX-License-Identifier: MIT */
/*
 * The differential test: a case is a stream of instructions with a start
 * state. It runs on the silicon (native.c) and in the translate engine
 * (guest.c) at the same addresses with the same memory; compare.c tells what
 * differs. gen.c makes a case from a seed.
 */
#pragma once

#include "x86/state.h"

/* Memory of a case, by virtual address. Whatever lies between is not mapped. */
enum {
	CODE_PAGES = 2,
	DATA_PAGES = 3, /* two writable ones and a read-only one, then a hole */
	STACK_PAGES = 2,
	PAGE_CODE0 = 0,
	PAGE_LOW = PAGE_CODE0 + CODE_PAGES,
	PAGE_HIGH = PAGE_LOW + DATA_PAGES,
	PAGE_STACK = PAGE_HIGH + DATA_PAGES,
	MEM_PAGES = PAGE_STACK + STACK_PAGES,
};
#define MEM_SIZE (MEM_PAGES * 4096u)
#define CODE_AT 0x600000000ull
#define LOW_AT 0x70000000ull /* 32-bit addresses and absolute displacements reach it */
#define HIGH_AT 0x610000000ull
#define STACK_AT 0x620000000ull
#define CODE_BYTES (CODE_PAGES * 4096u)

static inline u64 page_at(unsigned page)
{
	if (page < PAGE_LOW)
		return CODE_AT + (page - PAGE_CODE0) * 4096ull;
	if (page < PAGE_HIGH)
		return LOW_AT + (page - PAGE_LOW) * 4096ull;
	if (page < PAGE_STACK)
		return HIGH_AT + (page - PAGE_HIGH) * 4096ull;
	return STACK_AT + (page - PAGE_STACK) * 4096ull;
}

static inline bool page_writable(unsigned page)
{
	return page >= PAGE_LOW && page != PAGE_LOW + 2 && page != PAGE_HIGH + 2;
}

#define XSTATE_MASK 0xe7ull
#define XSAVE_SIZE 4096u

struct diff_state {
	u64 gpr[16];
	u64 rip, rflags;
	u64 fs_base, gs_base;
	u64 cr2;
	u32 vector, error;
	u32 status; /* DIFF_* */
	u32 pad;
	_Alignas(64) u8 xsave[XSAVE_SIZE];
};

enum { DIFF_DONE, DIFF_TIMEOUT, DIFF_ENGINE_ERROR, DIFF_TRIPLE_FAULT, DIFF_DIED };

/* What shrinking takes out as a whole. */
struct atom {
	u16 at; /* offset in the code */
	u16 len;
	u16 group; /* nonzero: with the others of the group */
};

#define ATOMS_MAX 400

struct diff_case {
	u64 seed;
	bool kernel; /* the guest runs it at CPL 0 */
	bool fsgs;
	unsigned natoms;
	struct atom atom[ATOMS_MAX];
	struct diff_state init;
	_Alignas(64) u8 mem[MEM_SIZE];
};

/* The memory that the native runner shares with the test. */
struct diff_shared {
	struct diff_case test;
	struct diff_state native, guest;
	_Alignas(4096) u8 mem[MEM_SIZE]; /* mapped at the case's addresses in the native process */
	u8 guest_mem[MEM_SIZE];
	u64 progress; /* cases begun by the worker */
	u64 compared, faults, insns, skipped;
};

/* gen.c */
void diff_generate(struct diff_case *test, u64 seed);
bool host_has_fsgsbase(void);

/* native.c: a process that runs cases; -1 when it cannot be had. */
int native_start(struct diff_shared *sh, int fd);
void native_run(struct diff_shared *sh); /* test and mem to native and mem */
void native_stop(void);

/* guest.c */
int guest_start(void);
/* Warm: what the engine knows from the run before stays. Step: a breakpoint makes it go by single instructions. */
enum guest_mode { GUEST_COLD, GUEST_WARM, GUEST_STEP, GUEST_MODES };
void guest_run(struct diff_shared *sh, enum guest_mode mode);

/* compare.c: true when they are the same; else says what differs (out may be NULL). */
bool diff_compare(const struct diff_shared *sh, bool print);
void diff_disassemble(const struct diff_case *test);
