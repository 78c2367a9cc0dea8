/* SPDX-License-Identifier: MIT */
/* Instructions that C has no words for. */
#pragma once

#include "lib/types.h"

struct __attribute__((packed)) table_register {
	u16 limit;
	u64 base;
};

static inline u8 inb(u16 port)
{
	u8 value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static inline u16 inw(u16 port)
{
	u16 value;

	__asm__ volatile("inw %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static inline u32 inl(u16 port)
{
	u32 value;

	__asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static inline void outb(u16 port, u8 value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline void outw(u16 port, u16 value)
{
	__asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port));
}

static inline void outl(u16 port, u32 value)
{
	__asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port));
}

static inline u64 rdmsr(u32 index)
{
	u32 low, high;

	__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(index));
	return (u64)high << 32 | low;
}

static inline void wrmsr(u32 index, u64 value)
{
	__asm__ volatile("wrmsr" : : "c"(index), "a"((u32)value), "d"((u32)(value >> 32)) : "memory");
}

struct cpuid {
	u32 eax, ebx, ecx, edx;
};

static inline struct cpuid cpuid(u32 leaf, u32 subleaf)
{
	struct cpuid r;

	__asm__ volatile("cpuid"
		: "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx)
		: "a"(leaf), "c"(subleaf));
	return r;
}

static inline u64 rdtsc(void)
{
	u32 low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return (u64)high << 32 | low;
}

static inline void pause(void)
{
	__builtin_ia32_pause();
}

static inline u64 read_cr2(void)
{
	u64 value;

	__asm__ volatile("mov %%cr2, %0" : "=r"(value));
	return value;
}

static inline u64 read_cr3(void)
{
	u64 value;

	__asm__ volatile("mov %%cr3, %0" : "=r"(value));
	return value;
}

static inline void write_cr3(u64 value)
{
	__asm__ volatile("mov %0, %%cr3" : : "r"(value) : "memory");
}

static inline u64 read_cr4(void)
{
	u64 value;

	__asm__ volatile("mov %%cr4, %0" : "=r"(value));
	return value;
}

static inline void write_cr4(u64 value)
{
	__asm__ volatile("mov %0, %%cr4" : : "r"(value) : "memory");
}
