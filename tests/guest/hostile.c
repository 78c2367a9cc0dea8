/* SPDX-License-Identifier: MIT */
/*
 * Touches whatever a guest can reach: ports, every MSR that some CPU has, device
 * memory in every width, nested paging's holes. Most answers are open; what counts
 * is that the machine, and whoever runs it, is still there.
 */
#include "rt.h"

#define HPET 0xfed00000ull
#define IOAPIC 0xfec00000ull
#define LAPIC 0xfee00000ull
#define ECAM 0xb0000000ull
#define NOTHING 0xd0000000ull

static void alive(const char *name)
{
	check(name, cpuid(0, 0).eax != 0, true);
}

/* ---- ports ---- */

/* Those that print, or end the run. */
static bool spared(u32 port)
{
	return port == 0xf4 || port == 0xe9 || port == 0x402 || (port >= 0x3f8 && port <= 0x3ff);
}

/* Each where chips are, samples of the others. */
static u32 next_port(u32 port)
{
	return port + (port < 0x1000 ? 1 : 61);
}

static void in_all(u16 port)
{
	u32 v;

	__asm__ volatile("inb %1, %b0; inw %1, %w0; inl %1, %0" : "=&a"(v) : "d"(port));
}

static void out_all(u16 port)
{
	__asm__ volatile("outb %b0, %1; outw %w0, %1; outl %0, %1" : : "a"(0), "d"(port));
}

static void ports(void)
{
	static u8 buf[256];
	void *to = buf;
	u64 n = sizeof(buf);

	for (u32 port = 0; port < 0x10000; port = next_port(port))
		in_all(port);
	alive("ports-in");
	for (u32 port = 0; port < 0x10000; port = next_port(port))
		if (!spared(port) && !spared(port + 1) && !spared(port + 2) && !spared(port + 3))
			out_all(port);
	alive("ports-out");
	__asm__ volatile("rep insb" : "+D"(to), "+c"(n) : "d"(0x71) : "memory");
	check("rep-insb", n, 0);
	to = buf;
	n = sizeof(buf) / 4;
	__asm__ volatile("rep outsl" : "+S"(to), "+c"(n) : "d"(0x5678) : "memory");
	check("rep-outsl", n, 0);
}

/* The buffer ends where memory does, in the middle of the string. */
SNIP(h_insb, "mov %rdi,%rax; mov %rax,%rdi; mov $16,%ecx; mov $0x71,%edx; cld; rep insb");

static void ports_into_nothing(void)
{
	u64 page = page_alloc();

	map(0x40000000000, page, 3);
	check("insb-faults", guard(h_insb, 0x40000000000 + 4088, 0), true);
	check("insb-vector", last.vec, VEC_PF);
	check("insb-address", last_cr2, 0x40000001000);
	check("insb-rcx", last.gpr[RCX], 8);
}

/* ---- registers ---- */

u64 msr_value;
SNIP(h_rdmsr, "mov %edi,%ecx; rdmsr; shl $32,%rdx; mov %eax,%eax; or %rdx,%rax; mov %rax,msr_value(%rip)");
SNIP(h_wrmsr, "mov %edi,%ecx; mov %esi,%eax; mov %rsi,%rdx; shr $32,%rdx; wrmsr");

static void msr_range(const char *name, u32 first, u32 count)
{
	for (u32 i = 0; i < count; i++) {
		if (!guard(h_rdmsr, first + i, 0))
			guard(h_wrmsr, first + i, msr_value);
		else
			guard(h_wrmsr, first + i, 0);
	}
	alive(name);
}

static void registers(void)
{
	msr_range("msrs-low", 0, 0x1000);
	msr_range("msrs-hypervisor", 0x40000000, 0x200);
	msr_range("msrs-extended", 0xc0000000, 0x200);
	msr_range("msrs-amd", 0xc0010000, 0x400);
	msr_range("msrs-amd-debug", 0xc0011000, 0x100);
	for (u32 i = 0; i < 0x100; i++)
		for (u32 sub = 0; sub < 4; sub++) {
			cpuid(i, sub);
			cpuid(0x40000000 + i, sub);
			cpuid(0x80000000 + i, sub);
		}
	alive("cpuids");
}

/* ---- device memory ---- */

static void touch(u64 base, bool write)
{
	for (u64 at = base; at < base + 0x1000; at += 4) {
		u64 v;

		__asm__ volatile("movb (%1), %b0; movw (%1), %w0; movl (%1), %k0; movq (%1), %0"
				 : "=&r"(v)
				 : "r"(at)
				 : "memory");
		if (write)
			__asm__ volatile("movb %b0, (%1); movw %w0, (%1); movl %k0, (%1); movq %0, (%1); "
					 "lock orl %k0, (%1); xchg %0, 1(%1)"
					 : "+r"(v)
					 : "r"(at)
					 : "memory");
	}
}

static void device_memory(void)
{
	void *to = (void *)(NOTHING + 0xf00), *from;
	u64 n = 0x400, page = page_alloc();

	touch(HPET, false);
	touch(IOAPIC, false);
	touch(LAPIC, false);
	alive("devices-read");
	touch(ECAM, true);
	touch(ECAM + 0x8000, true);
	touch(NOTHING, true);
	touch(0xfed40000, true);
	alive("holes-written");
	__asm__ volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(0x55) : "memory");
	check("stos-to-nothing", n, 0);
	to = (void *)page;
	from = (void *)NOTHING;
	n = 0x200;
	__asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
	check("movs-from-nothing", *(u64 *)page, ~0ull);
}

/* Physical addresses beyond all memory, and page tables there. */
SNIP(h_load, "mov (%rdi),%rax");

static void beyond(void)
{
	map(0x50000000000, 0x3ffffff000, 3);
	guard(h_load, 0x50000000000, 0);
	alive("beyond-memory");
	*pte_at(0x50000200000, 2) = NOTHING | 3;
	flush();
	check("table-in-nothing", guard(h_load, 0x50000200000, 0), true);
	check("table-in-nothing-vector", last.vec, VEC_PF);
	*pte_at(0x50000200000, 2) = 0;
	flush();
}

const struct section sections[] = {
	{"ports", ports},
	{"ports_into_nothing", ports_into_nothing},
	{"registers", registers},
	{"device_memory", device_memory},
	{"beyond", beyond},
	{NULL, NULL},
};
