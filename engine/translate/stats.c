/* SPDX-License-Identifier: MIT */
/* The engine's counters for people. */
#include <inttypes.h>
#include <stdio.h>

#include "engine/translate/cpu.h"
#include "engine/translate/engine.h"
#include "vm/vm.h"

/* clang-format off */
#define ROW(name) { #name, offsetof(struct translate_stats, name) }

static const struct row {
	const char *name;
	size_t offset;
} rows[] = {
	ROW(fragments), ROW(insns), ROW(host_bytes), ROW(cold_bytes), ROW(rebases), ROW(purges), ROW(plain_sites), ROW(dispatches), ROW(links), ROW(slot_links), ROW(ibl_misses),
	ROW(site_misses_c), ROW(fills), ROW(walks), ROW(bounces), ROW(mmio_reads), ROW(mmio_writes), ROW(pio),
	ROW(smc_stores), ROW(smc_invalidated), ROW(helpers), ROW(syscalls), ROW(strings), ROW(faults),
	ROW(page_faults), ROW(interrupts), ROW(host_signals), ROW(polls), ROW(fpu_saves), ROW(flush_page),
	ROW(flush_nonglobal), ROW(flush_switch), ROW(flush_all), ROW(code_flushes), ROW(dma_over_code),
	ROW(map_changes),
};
/* clang-format on */

static void print_vcpu(const struct vcpu *vcpu, FILE *out)
{
	const struct cpu *cpu = vcpu->engine;

	if (!cpu)
		return;
	fprintf(out, "vcpu %u translate:\n", vcpu->id);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const u64 *v = (const u64 *)((const u8 *)&cpu->stats + rows[i].offset);

		fprintf(out, "  %-16s %14" PRIu64 "%s", rows[i].name, *v, i % 3 == 2 ? "\n" : "");
	}
	fprintf(out, "\n");
}

void translate_stats_print(struct vm *vm, FILE *out)
{
	for (unsigned i = 0; i < vm->nvcpus; i++)
		print_vcpu(&vm->vcpu[i], out);
}
