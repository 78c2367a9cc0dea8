/* SPDX-License-Identifier: MIT */
/*
 * The hypervisor's own pages: a pool that is part of its image's range, so that
 * what it keeps is known at boot. The hypervisor runs identity mapped: a
 * pointer is the machine's address.
 */
#pragma once

#include "lib/memmap.h"
#include "lib/types.h"

void page_pool_init(hpa_t base, hpa_t end);
/* One zeroed page, or NULL. Any CPU. */
void *page_alloc(void);
/* count pages in a row, for start-up only; all of one size, a power of two, are aligned to it (hv.ld: the pool's start). */
void *page_alloc_row(unsigned count);
void page_free(void *page);
u64 page_free_bytes(void);

/*
 * paging.c: makes the tables for the first 4 GiB and all RAM where they are; the CPU
 * that calls uses them from then on, the others by CR3.
 */
void paging_init(const struct memmap *map);
