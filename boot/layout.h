/* SPDX-License-Identifier: MIT */
/* Where the loader puts things in the guest's first megabyte. */
#pragma once

#include "lib/types.h"

#define BOOT_GDT 0x1000ull
#define BOOT_PARAMS 0x2000ull /* Linux's zero page */
#define BOOT_START_INFO 0x3000ull /* PVH: start info, module list, memory map */
#define BOOT_RANDOM 0x4000ull /* setup_data with a seed */
#define BOOT_STACK 0x8ff0ull
#define BOOT_PAGE_TABLES 0x9000ull /* six pages: 4 GiB mapped 1:1 in 2 MiB pages */
#define BOOT_COMMAND_LINE 0x20000ull
#define BOOT_COMMAND_LINE_MAX 0x10000ull
#define BOOT_LOW_END 0x9fc00ull /* conventional memory ends where a PC's EBDA would begin */
#define BOOT_ACPI 0xe0000ull /* also where an OS looks for the RSDP by itself */
#define BOOT_ACPI_SIZE 0x20000ull
#define BOOT_HIGH 0x100000ull /* kernels are loaded from here on */
