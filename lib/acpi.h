/* SPDX-License-Identifier: MIT */
/* The ACPI tables that are both read and written here (ACPI specification 6.4, chapter 5; MCFG: PCI Firmware 3.2). */
#pragma once

#include "lib/types.h"

struct __attribute__((packed)) acpi_header {
	char signature[4];
	u32 length;
	u8 revision, checksum;
	char oem[6], oem_table[8];
	u32 oem_revision;
	char creator[4];
	u32 creator_revision;
};

struct __attribute__((packed)) acpi_rsdp {
	char signature[8];
	u8 checksum;
	char oem[6];
	u8 revision;
	u32 rsdt, length;
	u64 xsdt;
	u8 extended_checksum, reserved[3];
};

enum { ACPI_RSDP_V1_SIZE = 20 }; /* the part that ACPI 1.0 knew, which checksum is for */

struct __attribute__((packed)) acpi_madt {
	struct acpi_header header;
	u32 lapic, flags;
};

enum { MADT_LAPIC = 0, MADT_IOAPIC = 1, MADT_OVERRIDE = 2, MADT_LAPIC_NMI = 4, MADT_X2APIC = 9 };
enum { MADT_ENABLED = 1 };

struct __attribute__((packed)) madt_lapic {
	u8 type, length, processor, apic_id;
	u32 flags;
};

struct __attribute__((packed)) madt_x2apic {
	u8 type, length;
	u16 reserved;
	u32 apic_id, flags, processor;
};

struct __attribute__((packed)) mcfg_entry {
	u64 base;
	u16 segment;
	u8 first_bus, last_bus;
	u32 reserved;
};

struct __attribute__((packed)) acpi_mcfg {
	struct acpi_header header;
	u64 reserved;
	struct mcfg_entry entry[];
};

/* Of all bytes; 0 for a table whose checksum is right. */
static inline u8 acpi_sum(const void *table, size_t size)
{
	const u8 *byte = table;
	u8 sum = 0;

	while (size--)
		sum += *byte++;
	return sum;
}
