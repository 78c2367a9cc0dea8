/* SPDX-License-Identifier: MIT */
/* Finding the machine's ACPI tables. */
#pragma once

#include "lib/acpi.h"
#include "lib/types.h"

/*
 * The firmware's own RSDP: by the EFI system table, or (0) where a BIOS puts it. 0: not there.
 * (A boot loader's copy lies in memory that the primary VM is free to use.)
 */
hpa_t acpi_find_rsdp(hpa_t efi_system_table);
/* The first table with this signature and a right checksum, or NULL. */
const void *acpi_table(hpa_t rsdp, const char *signature);
