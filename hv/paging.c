/* SPDX-License-Identifier: MIT */
/*
 * The identity map: 1 GiB pages, or 2 MiB where the CPU has no larger ones.
 * What is not RAM is uncached by the MTRRs.
 */
#include "hv/page.h"

#include "hv/console.h"
#include "x86/insn.h"

enum { PTE_P = 1, PTE_W = 2, PTE_PS = 0x80 };

static u64 *table(u64 *entry)
{
	if (!*entry) {
		void *page = page_alloc();

		if (!page)
			panic("no memory for page tables");
		*entry = (u64)page | PTE_W | PTE_P;
	}
	return (u64 *)(*entry & PAGE_MASK);
}

static void map_gib(u64 *root, u64 base, bool large)
{
	u64 *entry = &table(&root[base >> 39])[base >> 30 & 511];

	if (large) {
		*entry = base | PTE_PS | PTE_W | PTE_P;
		return;
	}
	for (u64 i = 0; i < 512; i++)
		table(entry)[i] = (base + i * MIB(2)) | PTE_PS | PTE_W | PTE_P;
}

void paging_init(const struct memmap *map)
{
	bool large = cpuid(0x80000000, 0).eax >= 0x80000001 && cpuid(0x80000001, 0).edx & BIT(26);
	u64 *root = page_alloc();

	if (!root)
		panic("no memory for page tables");
	for (u64 base = 0; base < MAX(memmap_top(map), GIB(4)); base += GIB(1))
		map_gib(root, base, large);
	write_cr3((u64)root);
}
