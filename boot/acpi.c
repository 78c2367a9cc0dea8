/* SPDX-License-Identifier: MIT */
/* The ACPI tables (ACPI specification 6.4, chapter 5; HPET and MCFG in their own papers). */
#include "boot/acpi.h"

#include <errno.h>
#include <string.h>

#include "boot/aml.h"
#include "boot/layout.h"
#include "lib/acpi.h"

#define PACKED __attribute__((packed))

/* Generic address structure. */
struct gas {
	u8 space, width, offset, access;
	u64 address;
} PACKED;

enum { GAS_MEMORY = 0, GAS_IO = 1 };

struct fadt {
	struct acpi_header header;
	u32 facs, dsdt;
	u8 reserved0, profile;
	u16 sci;
	u32 smi_command;
	u8 acpi_enable, acpi_disable, s4bios, pstate;
	u32 pm1a_event, pm1b_event, pm1a_control, pm1b_control, pm2_control, pm_timer, gpe0, gpe1;
	u8 pm1_event_len, pm1_control_len, pm2_control_len, pm_timer_len, gpe0_len, gpe1_len, gpe1_base, cst;
	u16 c2_latency, c3_latency, flush_size, flush_stride;
	u8 duty_offset, duty_width, day_alarm, month_alarm, century;
	u16 boot_flags;
	u8 reserved1;
	u32 flags;
	struct gas reset;
	u8 reset_value;
	u16 arm_boot_flags;
	u8 minor_revision;
	u64 x_facs, x_dsdt;
	struct gas x_pm1a_event, x_pm1b_event, x_pm1a_control, x_pm1b_control, x_pm2_control, x_pm_timer,
		x_gpe0, x_gpe1;
	struct gas sleep_control, sleep_status;
	u64 hypervisor;
} PACKED;

enum {
	FADT_WBINVD = 1 << 0,
	FADT_PROC_C1 = 1 << 2,
	FADT_SLEEP_BUTTON = 1 << 5, /* no fixed-feature one */
	FADT_FIXED_RTC = 1 << 6, /* RTC wake status is not in the fixed registers */
	FADT_TIMER_32BIT = 1 << 8,
	FADT_RESET = 1 << 10,
	BOOT_LEGACY_DEVICES = 1 << 0, /* but no 8042: a keyboard is not there to be found */
	BOOT_NO_VGA = 1 << 2,
	BOOT_NO_ASPM = 1 << 4,
	LATENCY_NO_C2 = 101,
	LATENCY_NO_C3 = 1001,
};

struct facs {
	char signature[4];
	u32 length, hardware, waking_vector, lock, flags;
	u64 x_waking_vector;
	u8 version, reserved[31];
} PACKED;

struct madt_ioapic {
	u8 type, length, id, reserved;
	u32 address, gsi_base;
} PACKED;

struct madt_override {
	u8 type, length, bus, irq;
	u32 gsi;
	u16 flags;
} PACKED;

struct madt_nmi {
	u8 type, length, processor;
	u16 flags;
	u8 lint;
} PACKED;

enum {
	MADT_PCAT_COMPAT = 1,
	MADT_ACTIVE_HIGH_LEVEL = 0xd,
	MADT_ALL_PROCESSORS = 0xff,
};

struct hpet_table {
	struct acpi_header header;
	u32 id;
	struct gas address;
	u8 number;
	u16 minimum_tick;
	u8 protection;
} PACKED;

#define TABLES_MAX 8

/* Where the tables are being written. */
struct builder {
	const struct acpi_config *config;
	u8 *host;
	gpa_t base;
	size_t used, size;
	u64 table[TABLES_MAX]; /* addresses for the XSDT */
	unsigned tables;
	bool overflow;
};

/* Zeroed room, aligned for the FACS, or a dummy when there is none left. */
static void *take(struct builder *b, size_t len, gpa_t *where)
{
	static u8 dummy[4096];
	size_t at = ALIGN_UP(b->used, (size_t)64);

	if (len > sizeof(dummy) || at > b->size || len > b->size - at) {
		b->overflow = true;
		return dummy;
	}
	b->used = at + len;
	*where = b->base + at;
	return memset(b->host + at, 0, len);
}

static struct acpi_header *begin(struct builder *b, const char *signature, u8 revision, size_t len, gpa_t *where)
{
	struct acpi_header *header = take(b, len, where);

	memcpy(header->signature, signature, 4);
	header->length = (u32)len;
	header->revision = revision;
	memcpy(header->oem, "MULION", 6);
	memcpy(header->oem_table, "MULLION ", 8);
	header->oem_revision = 1;
	memcpy(header->creator, "MULN", 4);
	header->creator_revision = 1;
	return header;
}

static void end(struct acpi_header *header)
{
	header->checksum = 0;
	header->checksum = (u8)-acpi_sum(header, header->length);
}

static void list(struct builder *b, gpa_t table)
{
	b->table[b->tables++] = table;
}

/* ---- DSDT ---- */

static void device_com1(struct aml *aml, const struct acpi_config *config)
{
	aml_device(aml, "COM1");
	aml_name(aml, "_HID");
	aml_eisa_id(aml, "PNP0501");
	aml_name(aml, "_UID");
	aml_int(aml, 1);
	aml_name(aml, "_CRS");
	aml_resources(aml);
	aml_io(aml, config->com1_port, 8);
	aml_irq(aml, config->com1_irq);
	aml_close_resources(aml);
	aml_close(aml);
}

static void device_rtc(struct aml *aml, const struct acpi_config *config)
{
	aml_device(aml, "RTC0");
	aml_name(aml, "_HID");
	aml_eisa_id(aml, "PNP0B00");
	aml_name(aml, "_CRS");
	aml_resources(aml);
	aml_io(aml, config->rtc_port, 2);
	aml_irq(aml, config->rtc_irq);
	aml_close_resources(aml);
	aml_close(aml);
}

#define PCI_MMIO_LAST 0xfebfffffull /* the IOAPIC comes next */
#define PCI_HIGH_SIZE GIB(256)

/* All of the I/O space but config access; memory between ECAM and IOAPIC, and above RAM. */
static void pci_windows(struct aml *aml, const struct acpi_config *config)
{
	u64 high = ALIGN_UP(GIB(4) + config->above_4g, GIB(256));

	aml_name(aml, "_CRS");
	aml_resources(aml);
	aml_bus_range(aml, 0, (u16)(config->ecam_size / MIB(1) - 1));
	aml_io(aml, config->pci_config_port, 8);
	aml_io_range(aml, 0, config->pci_config_port - 1);
	aml_io_range(aml, config->pci_config_port + 8, 0xffff);
	aml_memory_range(aml, 0xa0000, 0xbffff);
	aml_memory_range(aml, config->ecam_base + config->ecam_size, PCI_MMIO_LAST);
	aml_memory_range(aml, high, high + PCI_HIGH_SIZE - 1);
	aml_close_resources(aml);
}

static void device_pci0(struct aml *aml, const struct acpi_config *config)
{
	aml_device(aml, "PCI0");
	aml_name(aml, "_HID");
	aml_eisa_id(aml, "PNP0A08"); /* PCI Express */
	aml_name(aml, "_CID");
	aml_eisa_id(aml, "PNP0A03");
	aml_name(aml, "_UID");
	aml_int(aml, 0);
	aml_name(aml, "_SEG");
	aml_int(aml, 0);
	aml_name(aml, "_BBN");
	aml_int(aml, 0);
	pci_windows(aml, config);
	aml_name(aml, "_PRT"); /* no function has an INTx wire */
	aml_package(aml, 0);
	aml_close(aml);
	device_com1(aml, config);
	device_rtc(aml, config);
	aml_close(aml);
}

static size_t dsdt_body(const struct acpi_config *config, u8 *buf, size_t cap)
{
	struct aml aml;

	aml_init(&aml, buf, cap);
	aml_name(&aml, "\\_S5");
	aml_package(&aml, 4);
	aml_int(&aml, config->sleep_type_s5);
	aml_int(&aml, config->sleep_type_s5);
	aml_int(&aml, 0);
	aml_int(&aml, 0);
	aml_close(&aml);
	aml_scope(&aml, "\\_SB");
	device_pci0(&aml, config);
	aml_close(&aml);
	return aml.overflow ? 0 : aml.len;
}

static gpa_t build_dsdt(struct builder *b)
{
	u8 body[2048];
	size_t len = dsdt_body(b->config, body, sizeof(body));
	gpa_t where = 0;
	struct acpi_header *header = begin(b, "DSDT", 2, sizeof(*header) + len, &where);

	if (!len)
		b->overflow = true;
	memcpy(header + 1, body, len);
	end(header);
	return where;
}

/* ---- the other tables ---- */

static gpa_t build_facs(struct builder *b)
{
	gpa_t where = 0;
	struct facs *facs = take(b, sizeof(*facs), &where);

	memcpy(facs->signature, "FACS", 4);
	facs->length = sizeof(*facs);
	facs->version = 2;
	return where;
}

static struct gas io_gas(u16 port, unsigned bytes)
{
	return (struct gas){.space = GAS_IO, .width = (u8)(8 * bytes), .access = 0, .address = port};
}

static void fadt_ports(struct fadt *fadt, const struct acpi_config *config)
{
	fadt->pm1a_event = config->pm1_event_port;
	fadt->pm1_event_len = 4;
	fadt->pm1a_control = config->pm1_control_port;
	fadt->pm1_control_len = 2;
	fadt->pm_timer = config->pm_timer_port;
	fadt->pm_timer_len = 4;
	fadt->gpe0 = config->gpe0_port;
	fadt->gpe0_len = config->gpe0_len;
	fadt->x_pm1a_event = io_gas(config->pm1_event_port, 4);
	fadt->x_pm1a_control = io_gas(config->pm1_control_port, 2);
	fadt->x_pm_timer = io_gas(config->pm_timer_port, 4);
	fadt->x_gpe0 = io_gas(config->gpe0_port, config->gpe0_len);
	fadt->reset = io_gas(config->reset_port, 1);
	fadt->reset_value = config->reset_value;
}

static void build_fadt(struct builder *b)
{
	gpa_t where = 0, facs = build_facs(b), dsdt = build_dsdt(b);
	struct fadt *fadt = (struct fadt *)begin(b, "FACP", 6, sizeof(*fadt), &where);

	fadt->minor_revision = 4;
	fadt->facs = (u32)facs;
	fadt->dsdt = (u32)dsdt;
	fadt->x_dsdt = dsdt;
	fadt->profile = 1; /* desktop */
	fadt->sci = b->config->sci_irq;
	fadt->c2_latency = LATENCY_NO_C2;
	fadt->c3_latency = LATENCY_NO_C3;
	fadt->century = b->config->rtc_century;
	fadt->boot_flags = BOOT_LEGACY_DEVICES | BOOT_NO_VGA | BOOT_NO_ASPM;
	fadt->flags = FADT_WBINVD | FADT_PROC_C1 | FADT_SLEEP_BUTTON | FADT_FIXED_RTC | FADT_TIMER_32BIT |
		      FADT_RESET;
	memcpy(&fadt->hypervisor, "MULLION", 8);
	fadt_ports(fadt, b->config);
	end(&fadt->header);
	list(b, where);
}

static void madt_wires(const struct acpi_config *config, struct madt_override *wire, struct madt_nmi *nmi)
{
	/* The 8254 is wired to pin 2; the SCI is level-triggered. */
	wire[0] = (struct madt_override){MADT_OVERRIDE, sizeof(*wire), 0, 0, 2, 0};
	wire[1] = (struct madt_override){
		MADT_OVERRIDE, sizeof(*wire), 0, config->sci_irq, config->sci_irq, MADT_ACTIVE_HIGH_LEVEL};
	*nmi = (struct madt_nmi){MADT_LAPIC_NMI, sizeof(*nmi), MADT_ALL_PROCESSORS, 0, 1};
}

static void build_madt(struct builder *b)
{
	const struct acpi_config *config = b->config;
	size_t len = sizeof(struct acpi_madt) + config->nvcpus * sizeof(struct madt_lapic) +
		     sizeof(struct madt_ioapic) + 2 * sizeof(struct madt_override) + sizeof(struct madt_nmi);
	gpa_t where = 0;
	struct acpi_madt *madt = (struct acpi_madt *)begin(b, "APIC", 5, len, &where);
	struct madt_lapic *lapic = (struct madt_lapic *)(madt + 1);
	struct madt_ioapic *ioapic;
	struct madt_override *wires;

	if (b->overflow)
		return;
	madt->lapic = config->lapic_base;
	madt->flags = MADT_PCAT_COMPAT;
	for (unsigned i = 0; i < config->nvcpus; i++)
		*lapic++ = (struct madt_lapic){MADT_LAPIC, sizeof(*lapic), (u8)i, (u8)i, MADT_ENABLED};
	ioapic = (struct madt_ioapic *)lapic;
	*ioapic = (struct madt_ioapic){
		MADT_IOAPIC, sizeof(*ioapic), config->ioapic_id, 0, config->ioapic_base, 0};
	wires = (struct madt_override *)(ioapic + 1);
	madt_wires(config, wires, (struct madt_nmi *)(wires + 2));
	end(&madt->header);
	list(b, where);
}

static void build_hpet(struct builder *b)
{
	gpa_t where = 0;
	struct hpet_table *hpet = (struct hpet_table *)begin(b, "HPET", 1, sizeof(*hpet), &where);

	hpet->id = b->config->hpet_id;
	hpet->address = (struct gas){.space = GAS_MEMORY, .width = 64, .address = b->config->hpet_base};
	hpet->minimum_tick = 100;
	end(&hpet->header);
	list(b, where);
}

static void build_mcfg(struct builder *b)
{
	gpa_t where = 0;
	struct acpi_mcfg *mcfg = (struct acpi_mcfg *)begin(b, "MCFG", 1, sizeof(*mcfg) + sizeof(mcfg->entry[0]), &where);

	mcfg->entry[0].base = b->config->ecam_base;
	mcfg->entry[0].last_bus = (u8)(b->config->ecam_size / MIB(1) - 1);
	end(&mcfg->header);
	list(b, where);
}

static gpa_t build_xsdt(struct builder *b)
{
	gpa_t where = 0;
	size_t len = b->tables * sizeof(b->table[0]);
	struct acpi_header *header = begin(b, "XSDT", 1, sizeof(*header) + len, &where);

	memcpy(header + 1, b->table, len);
	end(header);
	return where;
}

static void fill_rsdp(struct acpi_rsdp *rsdp, gpa_t xsdt)
{
	memcpy(rsdp->signature, "RSD PTR ", 8);
	memcpy(rsdp->oem, "MULION", 6);
	rsdp->revision = 2;
	rsdp->length = sizeof(*rsdp);
	rsdp->xsdt = xsdt;
	rsdp->checksum = (u8)-acpi_sum(rsdp, ACPI_RSDP_V1_SIZE);
	rsdp->extended_checksum = (u8)-acpi_sum(rsdp, sizeof(*rsdp));
}

int acpi_build(const struct acpi_config *config, u8 *host, gpa_t base, size_t size)
{
	struct builder b = {.config = config, .host = host, .base = base, .size = size};
	gpa_t where = 0;
	struct acpi_rsdp *rsdp = take(&b, sizeof(*rsdp), &where);

	build_fadt(&b);
	build_madt(&b);
	build_hpet(&b);
	build_mcfg(&b);
	fill_rsdp(rsdp, build_xsdt(&b));
	return b.overflow ? -ENOSPC : (int)b.used;
}

int acpi_load(struct space *mem, const struct acpi_config *config, gpa_t *rsdp)
{
	u8 *host = space_host(mem, BOOT_ACPI, BOOT_ACPI_SIZE, DIRECT_READ | DIRECT_WRITE);
	int used;

	if (!host)
		return -ENOSPC;
	used = acpi_build(config, host, BOOT_ACPI, BOOT_ACPI_SIZE);
	*rsdp = BOOT_ACPI;
	return used < 0 ? used : 0;
}
