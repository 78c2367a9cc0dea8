/* SPDX-License-Identifier: MIT */
/* The first C code that runs: makes the image's pointers right where it lies. */
#include "lib/types.h"

struct rela {
	u64 offset, info;
	i64 addend;
};

enum { LINKED_AT = 0x100000, R_X86_64_RELATIVE = 8 };

extern const struct rela rela_start[], rela_end[];
void relocate(u64 base);

/* From boot.S. Uses no pointer that is relocated. */
void relocate(u64 base)
{
	u64 delta = base - LINKED_AT;

	for (const struct rela *r = rela_start; r < rela_end; r++)
		if ((u32)r->info == R_X86_64_RELATIVE)
			*(u64 *)(r->offset + delta) = (u64)r->addend + delta;
}
