/* SPDX-License-Identifier: MIT */
/* The hypervisor's start, in order. */
#include "hv/acpi.h"
#include "hv/boot.h"
#include "hv/console.h"
#include "hv/cpu.h"
#include "hv/efi.h"
#include "hv/exit.h"
#include "x86/insn.h"
#include "hv/page.h"
#include "lib/string.h"
#include "hv/trap.h"

extern u8 pool_start[];

const struct hvm_ops *hvm = &svm_ops;

static const char *name_of(u32 type)
{
	static const char *const names[] = {"?", "RAM", "reserved", "ACPI tables", "ACPI NVS", "bad"};

	if (type == MEM_HYPERVISOR)
		return "hypervisor";
	return type < ARRAY_SIZE(names) ? names[type] : "reserved (other)";
}

static void print_map(const struct memmap *map, const char *title)
{
	print("%s\n", title);
	for (unsigned i = 0; i < map->count; i++) {
		const struct mem_range *r = &map->range[i];

		print("  %016lx-%016lx %10lu KiB  %s\n", r->base, r->base + r->size - 1, r->size >> 10, name_of(r->type));
	}
}

static u64 ram_of(const struct memmap *map)
{
	u64 sum = 0;

	for (unsigned i = 0; i < map->count; i++)
		if (map->range[i].type == MEM_RAM)
			sum += map->range[i].size;
	return sum;
}

void boot_range(struct boot_info *boot, u64 base, u64 size, u32 type)
{
	if (memmap_add(&boot->map, base, size, type))
		panic("the memory map has more than %d ranges", MEMMAP_MAX);
}

/* The primary VM gets the map without us. */
static void leave_map(struct boot_info *boot)
{
	u64 all = ram_of(&boot->map), size = (u64)(image_end - image_start);

	print_map(&boot->map, "mullion: memory as the firmware has it:");
	if (memmap_set(&boot->map, (u64)image_start, size, MEM_HYPERVISOR))
		panic("no room in the memory map");
	print_map(&boot->map, "mullion: memory with the hypervisor in it; the primary VM has the rest:");
	print("mullion: keeps %lu KiB of %lu MiB\n", size >> 10, all >> 20);
}

void hv_main(struct boot_info *boot)
{
	console_init();
	print("mullion: hypervisor, by %s\n", boot->way);
	trap_init();
	trap_load();
	page_pool_init((hpa_t)pool_start, (hpa_t)image_end);
	if (boot->efi_return)
		efi_take_map(boot);
	leave_map(boot);
	paging_init(&boot->map);
	if (!boot->rsdp)
		boot->rsdp = acpi_find_rsdp(boot->efi_system_table);
	cpu_init_boot();
	if (!hvm->present())
		panic("no %s here", hvm->name);
	if (hvm->cpu_on())
		panic("%s cannot be enabled", hvm->name);
	primary_init(boot);
	cpus_start(boot->rsdp, &boot->map);
	pci_init(boot->rsdp);
	cpu_run(this_cpu());
}
