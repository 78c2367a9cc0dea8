/* SPDX-License-Identifier: MIT */
/* Code that writes code, as just-in-time compilers do. */
#include "bench/bench.h"

#include <string.h>
#include <sys/mman.h>

#define CODE_SIZE MIB(1)

static u8 *code;
static bool failed;

static void code_setup(void)
{
	if (code)
		return;
	code = mmap(NULL, CODE_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	failed = code == MAP_FAILED;
}

static bool code_able(void)
{
	code_setup();
	return !failed;
}

typedef u32 (*function)(u32);

static u8 *emit(u8 *p, const char *bytes, int n)
{
	memcpy(p, bytes, n);
	return p + n;
}

static u8 *emit32(u8 *p, u32 v)
{
	memcpy(p, &v, 4);
	return p + 4;
}

/* A function of `steps` steps of arithmetic; returns its end. */
static u8 *compile(u8 *p, u32 seed, int steps)
{
	p = emit(p, "\x89\xf8", 2); /* mov %edi,%eax */
	for (; steps; steps--) {
		switch (next_random(&seed) & 3) {
		case 0:
			p = emit32(emit(p, "\x05", 1), seed);
			break; /* add $imm,%eax */
		case 1:
			p = emit32(emit(p, "\x35", 1), seed);
			break; /* xor $imm,%eax */
		case 2:
			p = emit32(emit(p, "\x69\xc0", 2), seed | 1);
			break; /* imul $imm,%eax,%eax */
		default:
			p = emit(p, "\xc1\xc0\x07", 3);
			break; /* rol $7,%eax */
		}
	}
	return emit(p, "\xc3", 1);
}

/* Compiles a function, calls it ten times, compiles the next over it. */
static u64 rewrite(u64 n)
{
	u32 x = 1;
	u64 i;
	int k;

	for (i = 0; i < n; i++) {
		compile(code, i + 1, 20);
		for (k = 0; k < 10; k++)
			x = ((function)code)(x);
	}
	return x;
}

/* Many functions, each into fresh memory (a ring of it), called a hundred times. */
static u64 fresh(u64 n)
{
	u8 *p = code;
	u32 x = 1;
	u64 i;
	int k;

	for (i = 0; i < n; i++) {
		u8 *f = p;

		p = compile(p, i + 7, 40);
		for (k = 0; k < 100; k++)
			x = ((function)f)(x);
		if (p > code + CODE_SIZE - 4096)
			p = code;
	}
	return x;
}

/* One immediate is patched before each call, as inline caches do. */
static u64 patch(u64 n)
{
	u32 x = 1;
	u64 i;

	compile(code, 99, 20);
	memcpy(code + 2, "\x05\0\0\0\0", 5);
	compile(code + 7, 99, 20);
	for (i = 0; i < n; i++) {
		u32 v = i;

		memcpy(code + 3, &v, 4);
		x = ((function)code)(x);
	}
	return x;
}

/* Data that lives beside the code and is written by it. */
static u64 data_beside(u64 n)
{
	/* mov %edi,%eax; add 64(%rip),%eax; mov %eax,64-6(%rip); ret */
	static const u8 bytes[] = {0x89, 0xf8, 0x03, 0x05, 0x40, 0, 0, 0, 0x89, 0x05, 0x3a, 0, 0, 0, 0xc3};
	u32 x = 1;

	memset(code, 0, 4096);
	memcpy(code, bytes, sizeof(bytes));
	for (; n; n--)
		x = ((function)code)(x);
	return x;
}

/* Write, make executable, run, make writable: W^X discipline. */
static u64 toggled(u64 n)
{
	u32 x = 1;
	u64 i;
	int k;

	for (i = 0; i < n; i++) {
		mprotect(code, 4096, PROT_READ | PROT_WRITE);
		compile(code, i + 3, 20);
		mprotect(code, 4096, PROT_READ | PROT_EXEC);
		for (k = 0; k < 100; k++)
			x = ((function)code)(x);
	}
	mprotect(code, 4096, PROT_READ | PROT_WRITE | PROT_EXEC);
	return x;
}

const struct row jit_rows[] = {
	{.name = "jit-rewrite", .class = "jit", .run = rewrite, .n = 20000, .able = code_able},
	{.name = "jit-fresh", .class = "jit", .run = fresh, .n = 2000, .able = code_able},
	{.name = "jit-patch", .class = "jit", .run = patch, .n = 20000, .able = code_able},
	{.name = "jit-data-beside", .class = "jit", .run = data_beside, .n = 50000, .able = code_able},
	{.name = "jit-toggled", .class = "jit", .run = toggled, .n = 1000, .able = code_able},
	{.name = "luajit", .class = "jit", .command = "luajit /bench/work.lua 1 >/dev/null"},
	{.name = "luajit-flush", .class = "jit", .command = "luajit /bench/work.lua flush >/dev/null"},
	{.name = NULL},
};
