/* SPDX-License-Identifier: MIT */
/*
 * What an exit to the VMM and back costs, by the TSC: the least of many rounds,
 * without what RDTSC itself takes. Where the TSC counts instructions (QEMU's
 * -icount shift=0), the figures repeat exactly; bench/metal prints them.
 */
#include "rt.h"

enum { ROUNDS = 64 };

#define HPET 0xfed00000ull
#define HOLE 0xfeb00000ull /* a bus without anything on it */

/* RAX: ticks of one round; RDI is the address. */
#define TIMED(name, instruction)                                                                             \
	SNIP(name, "push %rbx\n lfence\n rdtsc\n mov %eax, %r8d\n xor %eax, %eax\n xor %ecx, %ecx\n"        \
		   " mov $0x3ff, %edx\n" instruction                                                          \
		   "\n rdtsc\n sub %r8d, %eax\n pop %rbx\n ret\n")

TIMED(cost_nothing, "");
TIMED(cost_cpuid, "cpuid");
TIMED(cost_out, "out %al, %dx"); /* the scratch register of COM1 */
TIMED(cost_load, "mov (%rdi), %eax");
TIMED(cost_store, "mov %ecx, (%rdi)");

static u32 least(const void *code, u64 address)
{
	u32 (*round)(u64) = (u32(*)(u64))(u64)code;
	u32 best = ~0u;

	for (int i = 0; i < ROUNDS; i++) {
		u32 ticks = round(address);

		best = ticks < best ? ticks : best;
	}
	return best;
}

static void cost(const char *name, const void *code, u64 address)
{
	u32 nothing = least(cost_nothing, 0), all = least(code, address);

	put("cost ");
	put(name);
	put(" ");
	put_hex(all > nothing ? all - nothing : 0);
	put("\n");
	check(name, all > 0, true); /* it came back; where time is no count of instructions, it says no more */
}

static void costs(void)
{
	map(LOW_WINDOW, HPET, P | W | PCD);
	map(LOW_WINDOW + 4096, HOLE, P | W | PCD);
	cost("cpuid", cost_cpuid, 0);
	cost("out", cost_out, 0);
	cost("load", cost_load, LOW_WINDOW);
	cost("store", cost_store, LOW_WINDOW + 0x20); /* of its interrupt status: nothing to clear */
	cost("load-hole", cost_load, LOW_WINDOW + 4096);
	cost("store-hole", cost_store, LOW_WINDOW + 4096);
}

const struct section sections[] = {{"costs", costs}, {0}};
