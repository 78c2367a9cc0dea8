/* SPDX-License-Identifier: MIT */
/* Counters of the translate engine, shown by --stats. */
#pragma once

#include "lib/types.h"

struct translate_stats {
	u64 fragments, insns, host_bytes, cold_bytes, rebases, purges, plain_sites; /* translated */
	u64 dispatches, links, slot_links, ibl_misses;
	u64 site_misses_c; /* slow_access calls */
	u64 fills, walks;
	u64 bounces, mmio_reads, mmio_writes, pio;
	u64 smc_stores, smc_invalidated;
	u64 helpers, faults, page_faults, interrupts, host_signals;
	u64 flush_page, flush_nonglobal, flush_all, flush_switch, code_flushes;
	u64 polls, syscalls, fpu_saves, strings;
	u64 dma_over_code, map_changes;
};
