/* SPDX-License-Identifier: MIT */
/* The few structures of UEFI 2.10 that are read without calling the firmware. */
#pragma once

#include "lib/types.h"

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

struct efi_system_table {
	struct efi_table_header header;
	u64 vendor;
	u32 vendor_revision, pad;
	u64 con_in_handle, con_in, con_out_handle, con_out, err_handle, err, runtime, boot;
	u64 config_count;
	const struct efi_config_table *config;
};
