/* SPDX-License-Identifier: MIT */
/* The few ACPI tables that the hypervisor reads. */
#pragma once

#include "lib/types.h"

struct __attribute__((packed)) acpi_header {
	char signature[4];
	u32 length;
	u8 revision, checksum;
	char oem[6], oem_table[8];
	u32 oem_revision, creator, creator_revision;
};

/*
 * The firmware's own RSDP: by the EFI system table, or (0) where a BIOS puts it. 0: not there.
 * (A boot loader's copy lies in memory that the primary VM is free to use.)
 */
hpa_t acpi_find_rsdp(hpa_t efi_system_table);
/* The first table with this signature and a right checksum, or NULL. */
const void *acpi_table(hpa_t rsdp, const char *signature);
