/* SPDX-License-Identifier: MIT */
/* The ACPI tables: what the OS is told about the machine's fixed parts. */
#pragma once

#include "lib/types.h"
#include "vm/space.h"

struct acpi_range {
	u64 first, last;
};

struct acpi_config {
	unsigned nvcpus;
	u32 lapic_base, ioapic_base;
	u8 ioapic_id;
	u64 hpet_base;
	u32 hpet_id;
	u64 ecam_base;
	u64 ecam_size;
	u16 pm1_event_port, pm1_control_port, pm_timer_port, gpe0_port;
	u8 gpe0_len;
	u8 sci_irq;
	u8 sleep_type_s5;
	u16 reset_port;
	u8 reset_value;
	u8 rtc_century; /* index in CMOS */
	u16 rtc_port, com1_port, pci_config_port;
	u8 rtc_irq, com1_irq;
	bool vga;
	u16 kbd_data_port, kbd_command_port; /* 0: no keyboard is to be found */
	u8 kbd_irq, mouse_irq;
	struct acpi_range pci_mem32, pci_mem64; /* where BARs may be */
	u8 pci_gsi; /* INTA to INTD arrive at this GSI and the next three, */
	u8 pci_isa_irq[4]; /* and at these pins of the 8259 */
};

/*
 * Writes all tables to host, which the guest sees at base. Returns the bytes
 * used, or -ENOSPC. The RSDP comes first.
 */
int acpi_build(const struct acpi_config *config, u8 *host, gpa_t base, size_t size);
/* The same, into the guest memory that boot/layout.h sets aside. Sets *rsdp. 0 or -errno. */
int acpi_load(struct space *mem, const struct acpi_config *config, gpa_t *rsdp);
