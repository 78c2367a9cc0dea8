/* SPDX-License-Identifier: MIT */
/*
 * A VMM of a few lines, in ring 0 of the primary VM: finds the control function,
 * calls it, makes small guests and runs them.
 */
#pragma once

#include "abi/control.h"
#include "rt.h"

#define BAR_ADDRESS 0xe0000000ull
#define HV_PAGE 0x200000ull /* belongs to the hypervisor */
#define RAM_END 0x40000000ull /* with 1 GiB */

/* Where a guest's things are in its 2 MiB of memory. */
enum { GUEST_PML4 = 0x1000, GUEST_PDPT = 0x2000, GUEST_PD = 0x3000, GUEST_CODE = 0x10000, GUEST_STACK = 0x20000 };
#define GUEST_SIZE MIB(2)
#define GUEST_MMIO 0x300000ull /* mapped by its page tables, to nothing */

struct guest {
	i64 vm, vcpu;
	struct control_vcpu *page;
	u8 *xsave, *ram;
};

extern volatile const struct control_page *control;

u32 config_in(u8 slot, u8 reg);
void config_out(u8 slot, u8 reg, u32 value);
/* The control function's slot; its BAR is put to BAR_ADDRESS. */
u8 find_control(void);

i64 call_with(u64 key, u64 call, u64 a, u64 b, u64 c, u64 d);
i64 call(u64 nr, u64 a, u64 b, u64 c, u64 d);
/* Until it does not say CONTROL_AGAIN. */
i64 call_again(u64 nr, u64 a, u64 b, u64 c, u64 d);
i64 map_one(i64 vm, u64 gpa, u64 frame);

/* A VM with one vCPU and GUEST_SIZE of memory for it. */
void guest_make(struct guest *g, u64 flags, u64 cpuid_page, u64 entries);
void guest_end(struct guest *g);
/* Maps the memory at 0; 64-bit mode, interrupts off, at code that is copied in. */
void guest_load(struct guest *g, const void *from, const void *to);
/* Its page tables alone; its state alone. */
void guest_tables(struct guest *g);
void guest_reset(struct guest *g);
i64 guest_run(struct guest *g);
#define GUEST_LOAD(g, name) guest_load(g, name, name##_end)

/* A periodic interrupt; ticks counts. */
extern u64 ticks;
void timer_start(u32 count);
void timer_stop(void);

void put_number(u64 n);
u64 random_u64(void);
