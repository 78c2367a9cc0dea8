/* SPDX-License-Identifier: MIT */
/*
 * What hv/ stands on, faked for the host: pages from malloc, nested tables in
 * the hardware's format without hardware, a machine memory at a fixed address
 * (the hypervisor takes addresses for pointers), hvm_ops that note their calls.
 */
#pragma once

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "hv/console.h"
#include "hv/cpu.h"
#include "hv/domain.h"
#include "hv/exit.h"
#include "hv/page.h"

#define RAM_BASE 0x10000000ull
#define RAM_SIZE MIB(32)

struct domain primary_domain = {.primary = true};
struct memmap primary_map;
struct cpu *cpus[CPU_MAX];
unsigned ncpus = 1;
static unsigned pages_left = UINT32_MAX, pages_out, flushes;

void print(const char *format, ...)
{
	(void)format;
}

void panic(const char *format, ...)
{
	(void)format;
	abort();
}

void *page_alloc(void)
{
	void *page;

	if (!pages_left)
		return NULL;
	pages_left--;
	pages_out++;
	page = aligned_alloc(PAGE_SIZE, PAGE_SIZE);
	return memset(page, 0, PAGE_SIZE);
}

void page_free(void *page)
{
	pages_out--;
	free(page);
}

u64 page_free_bytes(void)
{
	return 4096;
}

u64 physical_end(void)
{
	return BIT(40);
}

bool primary_map_more(u64 gpa)
{
	(void)gpa;
	return true;
}

void domain_flush(struct domain *d)
{
	flushes++;
	npt_free_list(npt_retired(d));
}

/* As svm_ops has it. */
static inline u64 fake_pte(hpa_t hpa, unsigned flags, unsigned level)
{
	return hpa | 5 | (flags & (NPT_TABLE | NPT_WRITE) ? 2 : 0) | (level > 1 && flags & NPT_LARGE ? 128 : 0);
}

static inline u64 entry_flags(const struct domain *d, u64 gpa)
{
	unsigned flags;
	u64 size;

	return npt_lookup(d, gpa, &flags, &size) == (hpa_t)-1 ? 0 : flags;
}

/* RAM in the middle of nothing, all the primary VM's. */
static inline void machine_memory(void)
{
	void *ram = mmap((void *)RAM_BASE, RAM_SIZE, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	if (ram != (void *)RAM_BASE)
		abort();
	memmap_add(&primary_map, RAM_BASE, RAM_SIZE, MEM_RAM);
	if (npt_map(&primary_domain, 0, 0, GIB(1), NPT_RWX))
		abort();
}
