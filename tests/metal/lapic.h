/* SPDX-License-Identifier: MIT */
/* The local APIC by its page, as the programs here use it. */
#pragma once

#include "rt.h"

#define LAPIC 0xfee00000ull
enum {
	ICR = 0x300,
	ICR_HIGH = 0x310,
	ICR_NMI = 0x4400,
	ICR_INIT = 0x4500,
	ICR_SIPI = 0x4600,
	ICR_SELF = 1 << 18
};

static inline u32 lapic_read(unsigned reg)
{
	return *(volatile u32 *)(LAPIC + reg);
}

static inline void lapic_write(unsigned reg, u32 value)
{
	*(volatile u32 *)(LAPIC + reg) = value;
}

static inline void send(u32 to, u32 command)
{
	lapic_write(ICR_HIGH, to << 24);
	lapic_write(ICR, command);
}
