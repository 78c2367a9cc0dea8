/* SPDX-License-Identifier: MIT */
/* Finding ACPI tables: RSDP, XSDT or RSDT, and what they list. */
#include "hv/acpi.h"

#include "hv/efi.h"
#include "lib/string.h"

enum { EBDA_POINTER = 0x40e, TABLE_MAX = 1 << 20 };

static hpa_t scan(hpa_t base, u64 size)
{
	for (hpa_t at = base; at < base + size; at += 16)
		if (!memcmp((void *)at, "RSD PTR ", 8) && !acpi_sum((void *)at, ACPI_RSDP_V1_SIZE))
			return at;
	return 0;
}

static hpa_t find_bios(void)
{
	hpa_t pointer = EBDA_POINTER;
	hpa_t ebda, found = 0;

	__asm__("" : "+r"(pointer)); /* low memory is no null pointer here */
	ebda = (hpa_t) * (u16 *)pointer << 4;
	if (ebda >= KIB(512) && ebda < KIB(639))
		found = scan(ebda, KIB(1));
	return found ? found : scan(0xe0000, 0x20000);
}

hpa_t acpi_find_rsdp(hpa_t efi_system_table)
{
	static const struct efi_guid guid = EFI_ACPI_20_GUID;
	const struct efi_system_table *efi = (void *)efi_system_table;

	for (u64 i = 0; efi && i < efi->config_count; i++)
		if (!memcmp(&efi->config[i].guid, &guid, sizeof(guid)))
			return efi->config[i].table;
	return efi ? 0 : find_bios();
}

static bool good(const struct acpi_header *table)
{
	return table->length >= sizeof(*table) && table->length <= TABLE_MAX && !acpi_sum(table, table->length);
}

const void *acpi_table(hpa_t at, const char *signature)
{
	const struct acpi_rsdp *rsdp = (void *)at;
	bool wide = at && rsdp->revision >= 2 && rsdp->xsdt;
	unsigned width = wide ? 8 : 4;
	const struct acpi_header *root = at ? (void *)(wide ? rsdp->xsdt : rsdp->rsdt) : NULL;

	if (!root || !good(root))
		return NULL;
	for (u32 i = sizeof(*root); i + width <= root->length; i += width) {
		const struct acpi_header *table;
		hpa_t entry = 0;

		memcpy(&entry, (u8 *)root + i, width);
		table = (void *)entry;
		if (table && !memcmp(table->signature, signature, 4) && good(table))
			return table;
	}
	return NULL;
}
