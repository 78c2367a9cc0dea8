/* SPDX-License-Identifier: MIT */
/* What the three ways into the hypervisor (multiboot 1 and 2, UEFI) have in common. */
#pragma once

#include "hv/multiboot.h"
#include "lib/memmap.h"
#include "lib/types.h"

enum { BOOT_MODULES = 8 };

struct boot_module {
	hpa_t base;
	u64 size;
	char args[512]; /* what stands behind the file's name */
};

struct boot_info {
	const char *way; /* "multiboot 1", "multiboot 2 (BIOS)", "multiboot 2 (UEFI)", "UEFI" */
	char args[512]; /* the hypervisor's own command line */
	struct memmap map; /* as the firmware has it */
	struct boot_module module[BOOT_MODULES]; /* 0: the primary VM's kernel, 1: its initrd */
	unsigned modules;
	hpa_t rsdp; /* 0: to be looked for */
	/* for the primary VM's screen_info; all zero: none */
	struct mb_frame_buffer screen;
	struct mb_colours colours;
	/* UEFI, when its run-time services go on: for boot_params.efi_info; 0: none */
	u64 efi_system_table, efi_map, efi_map_size, efi_desc_size;
	u32 efi_desc_version;
	/* started by UEFI: the state in which the firmware goes on as the primary VM; NULL otherwise */
	const struct control_state *efi_return;
	u64 efi_stack;
};

/* Adds to the map, or panics. */
void boot_range(struct boot_info *boot, u64 base, u64 size, u32 type);

/* The image's own range: from its first byte to the end of the page pool. */
extern u8 image_start[], image_end[];

/* C entry, on the BSP with our stack, long mode and identity map; never returns. */
_Noreturn void hv_main(struct boot_info *boot);
