/* SPDX-License-Identifier: MIT */
/*
 * What fuzzers share: reading values from the input, and a VM without vCPUs for
 * devices to live in. Input that has ended reads as zeroes. Included once by
 * each fuzzer. What the guest may do must not end the process: the sanitizers
 * and `fuzz_check` tell when it does.
 */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vm/vm.h"

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

#define fuzz_check(condition) \
	do { \
		if (!(condition)) { \
			fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition); \
			abort(); \
		} \
	} while (0)

/* ---- the input ---- */

struct fuzz {
	const u8 *data;
	size_t left;
};

static inline bool fuzz_more(const struct fuzz *fuzz)
{
	return fuzz->left;
}

static inline void fuzz_bytes(struct fuzz *fuzz, void *to, size_t len)
{
	size_t n = MIN(len, fuzz->left);

	memcpy(to, fuzz->data, n);
	memset((u8 *)to + n, 0, len - n);
	fuzz->data += n;
	fuzz->left -= n;
}

static inline u64 fuzz_int(struct fuzz *fuzz, unsigned bytes)
{
	u64 value = 0;

	fuzz_bytes(fuzz, &value, bytes);
	return value;
}

static inline u8 fuzz_u8(struct fuzz *fuzz)
{
	return (u8)fuzz_int(fuzz, 1);
}

static inline u16 fuzz_u16(struct fuzz *fuzz)
{
	return (u16)fuzz_int(fuzz, 2);
}

static inline u32 fuzz_u32(struct fuzz *fuzz)
{
	return (u32)fuzz_int(fuzz, 4);
}

static inline u64 fuzz_u64(struct fuzz *fuzz)
{
	return fuzz_int(fuzz, 8);
}

/* ---- the VM ---- */

#define FUZZ_RAM MIB(1)

static const struct engine_ops fuzz_engine = {.name = "fuzz"};
static _Alignas(4096) u8 fuzz_ram[FUZZ_RAM];
static struct region fuzz_ram_region;

/* RAM from address 0, with whatever the last input left in it. */
static inline void fuzz_vm_init(struct vm *vm)
{
	fuzz_check(!vm_init(vm, "fuzz", &fuzz_engine, 1));
	fuzz_ram_region = (struct region){
		.name = "ram", .size = FUZZ_RAM, .host = fuzz_ram, .direct = DIRECT_READ | DIRECT_WRITE};
	fuzz_check(!space_add(&vm->mem, &fuzz_ram_region));
}
