/* SPDX-License-Identifier: MIT */
/* The few structures of UEFI 2.10 that are used here, and the start by UEFI itself. */
#pragma once

#include "lib/types.h"

#define EFI_API __attribute__((ms_abi))
#define EFI_ERROR(n) (BIT(63) | (n))

enum {
	EFI_UNSUPPORTED = 3,
	EFI_ALREADY_STARTED = 20,
	EFI_ALLOCATE_BELOW = 1,
};

enum {
	EFI_RESERVED = 0,
	EFI_LOADER_CODE = 1,
	EFI_BOOT_DATA = 4,
	EFI_CONVENTIONAL = 7,
	EFI_UNUSABLE = 8,
	EFI_ACPI_TABLES = 9,
	EFI_ACPI_NVS = 10,
};

struct efi_descriptor {
	u32 type, pad;
	u64 base, virtual, pages, attributes;
};

struct efi_guid {
	u32 a;
	u16 b, c;
	u8 d[8];
};

#define EFI_ACPI_20_GUID {0x8868e871, 0xe4f1, 0x11d3, {0xbc, 0x22, 0x00, 0x80, 0xc7, 0x3c, 0x88, 0x81}}

struct efi_config_table {
	struct efi_guid guid;
	u64 table;
};

struct efi_table_header {
	u64 signature;
	u32 revision, size, crc, reserved;
};

struct efi_boot_services {
	struct efi_table_header header;
	u64 raise_tpl, restore_tpl;
	u64 EFI_API (*allocate_pages)(u32 how, u32 type, u64 pages, u64 *base);
	u64 EFI_API (*free_pages)(u64 base, u64 pages);
	u64 EFI_API (*get_memory_map)(u64 *size, void *map, u64 *key, u64 *descriptor_size, u32 *version);
};

struct efi_system_table {
	struct efi_table_header header;
	u64 vendor;
	u32 vendor_revision, pad;
	u64 con_in_handle, con_in, con_out_handle, con_out, err_handle, err, runtime;
	const struct efi_boot_services *boot;
	u64 config_count;
	const struct efi_config_table *config;
};

struct boot_info;
struct hv_vcpu;
/* In the hypervisor, started by UEFI: the memory map as of then, and the state in which the firmware goes on. */
void efi_take_map(struct boot_info *boot);
int efi_resume_firmware(const struct boot_info *boot, struct hv_vcpu *v);
