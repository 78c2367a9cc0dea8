/* SPDX-License-Identifier: MIT */
/*
 * Loads and stores of 1, 2, 4 or 8 bytes in one access each: atomic, if aligned, as
 * another CPU expects of memory, and of the width that a device's register wants.
 * Any alignment. Freestanding.
 */
#pragma once

#include "lib/types.h"

typedef volatile u16 __attribute__((aligned(1), may_alias)) width_u16;
typedef volatile u32 __attribute__((aligned(1), may_alias)) width_u32;
typedef volatile u64 __attribute__((aligned(1), may_alias)) width_u64;

static inline u64 width_load(const void *at, unsigned size)
{
	switch (size) {
	case 1:
		return *(const volatile u8 *)at;
	case 2:
		return *(const width_u16 *)at;
	case 4:
		return *(const width_u32 *)at;
	default:
		return *(const width_u64 *)at;
	}
}

static inline void width_store(void *at, unsigned size, u64 value)
{
	switch (size) {
	case 1:
		*(volatile u8 *)at = (u8)value;
		break;
	case 2:
		*(width_u16 *)at = (u16)value;
		break;
	case 4:
		*(width_u32 *)at = (u32)value;
		break;
	default:
		*(width_u64 *)at = value;
	}
}
