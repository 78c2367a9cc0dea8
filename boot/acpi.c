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
	BOOT_LEGACY_DEVICES = 1 << 0,
	BOOT_8042 = 1 << 1,
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
#define DSDT_MAX 16384

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
	static u8 dummy[DSDT_MAX + sizeof(struct acpi_header)];
	size_t at = ALIGN_UP(b->used, (size_t)64);

	if (len > sizeof(dummy) || at > b->size || len > b->size - at) {
		b->overflow = true;
		return dummy;
	}
	b->used = at + len;
	*where = b->base + at;
	return memset(b->host + at, 0, len);
}

static struct acpi_header *begin(
	struct builder *b, const char *signature, u8 revision, size_t len, gpa_t *where)
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

static void device_keyboard(struct aml *aml, const struct acpi_config *config)
{
	aml_device(aml, "KBD0");
	aml_name(aml, "_HID");
	aml_eisa_id(aml, "PNP0303");
	aml_name(aml, "_CRS");
	aml_resources(aml);
	aml_io(aml, config->kbd_data_port, 1);
	aml_io(aml, config->kbd_command_port, 1);
	aml_irq(aml, config->kbd_irq);
	aml_close_resources(aml);
	aml_close(aml);
	aml_device(aml, "MOU0");
	aml_name(aml, "_HID");
	aml_eisa_id(aml, "PNP0F13");
	aml_name(aml, "_CRS");
	aml_resources(aml);
	aml_irq(aml, config->mouse_irq);
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

/* All of the I/O space but config access; memory between ECAM and IOAPIC, and above RAM. */
static void pci_windows(struct aml *aml, const struct acpi_config *config)
{
	aml_name(aml, "_CRS");
	aml_resources(aml);
	aml_bus_range(aml, 0, (u16)(config->ecam_size / MIB(1) - 1));
	aml_io(aml, config->pci_config_port, 8);
	aml_io_range(aml, 0, config->pci_config_port - 1);
	aml_io_range(aml, config->pci_config_port + 8, 0xffff);
	aml_memory_range(aml, 0xa0000, 0xbffff);
	aml_memory_range(aml, config->pci_mem32.first, config->pci_mem32.last);
	aml_memory_range(aml, config->pci_mem64.first, config->pci_mem64.last);
	aml_close_resources(aml);
}

#define PCI_PINS 4
#define PCI_DEVICES 32

/* One routing table: where each pin of each device on the root bus arrives, as pci_intx_line has it. */
static void pci_routes(struct aml *aml, const char *name, const u8 interrupts[PCI_PINS])
{
	aml_name(aml, name);
	aml_package(aml, PCI_DEVICES * PCI_PINS);
	for (u32 dev = 0; dev < PCI_DEVICES; dev++) {
		for (u32 pin = 0; pin < PCI_PINS; pin++) {
			aml_package(aml, 4);
			aml_int(aml, dev << 16 | 0xffff);
			aml_int(aml, pin);
			aml_int(aml, 0); /* no link device: wired */
			aml_int(aml, interrupts[(dev + pin) % PCI_PINS]);
			aml_close(aml);
		}
	}
	aml_close(aml);
}

/* _PRT for the interrupt controller that the OS has chosen (\_PIC). */
static void pci_routing(struct aml *aml, const struct acpi_config *config)
{
	u8 gsi[PCI_PINS];

	for (u8 i = 0; i < PCI_PINS; i++)
		gsi[i] = config->pci_gsi + i;
	pci_routes(aml, "PRTA", gsi);
	pci_routes(aml, "PRTP", config->pci_isa_irq);
	aml_method(aml, "_PRT", 0);
	aml_if(aml);
	aml_ref(aml, "PICF");
	aml_op(aml, AML_RETURN);
	aml_ref(aml, "PRTA");
	aml_close(aml);
	aml_op(aml, AML_RETURN);
	aml_ref(aml, "PRTP");
	aml_close(aml);
}

/* \_PIC(1): the OS uses the IOAPIC. */
static void pic_mode(struct aml *aml)
{
	aml_name(aml, "\\PICF");
	aml_int(aml, 0);
	aml_method(aml, "\\_PIC", 1);
	aml_op(aml, AML_STORE);
	aml_op(aml, AML_ARG0);
	aml_ref(aml, "PICF");
	aml_close(aml);
}

enum {
	OSC_BAD_UUID = 0x04, /* in the first word */
	OSC_BAD_REVISION = 0x08,
	OSC_HOTPLUG = 0x01, /* in the third: native hot-plug, PME, the PCI Express capability */
	OSC_PME = 0x04,
	OSC_EXPRESS = 0x10,
};

static void osc_complain(struct aml *aml, u8 bit)
{
	aml_op(aml, AML_OR);
	aml_ref(aml, "CDW1");
	aml_int(aml, bit);
	aml_ref(aml, "CDW1");
}

static void osc_field(struct aml *aml, u8 offset, const char *name)
{
	aml_op(aml, AML_CREATE_DWORD_FIELD);
	aml_op(aml, AML_ARG3);
	aml_int(aml, offset);
	aml_ref(aml, name);
}

/* The OS may have what firmware has no part in: 33DB4D5B-1FF7-401C-9657-7441C03DD766 is PCI. */
static void pci_control(struct aml *aml)
{
	static const u8 uuid[16] = {0x5b, 0x4d, 0xdb, 0x33, 0xf7, 0x1f, 0x1c, 0x40, 0x96, 0x57, 0x74, 0x41,
		0xc0, 0x3d, 0xd7, 0x66};

	aml_method(aml, "_OSC", 4);
	osc_field(aml, 0, "CDW1");
	aml_if(aml);
	aml_op(aml, AML_NOT);
	aml_op(aml, AML_EQUAL);
	aml_op(aml, AML_ARG0);
	aml_bytes(aml, uuid, sizeof(uuid));
	osc_complain(aml, OSC_BAD_UUID);
	aml_op(aml, AML_RETURN);
	aml_op(aml, AML_ARG3);
	aml_close(aml);
	osc_field(aml, 8, "CDW3");
	aml_op(aml, AML_AND);
	aml_ref(aml, "CDW3");
	aml_int(aml, OSC_HOTPLUG | OSC_PME | OSC_EXPRESS);
	aml_ref(aml, "CDW3");
	aml_if(aml);
	aml_op(aml, AML_NOT);
	aml_op(aml, AML_EQUAL);
	aml_op(aml, AML_ARG1);
	aml_int(aml, 1);
	osc_complain(aml, OSC_BAD_REVISION);
	aml_close(aml);
	aml_op(aml, AML_RETURN);
	aml_op(aml, AML_ARG3);
	aml_close(aml);
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
	pci_routing(aml, config);
	pci_control(aml);
	device_com1(aml, config);
	device_rtc(aml, config);
	if (config->kbd_data_port)
		device_keyboard(aml, config);
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
	pic_mode(&aml);
	aml_scope(&aml, "\\_SB");
	device_pci0(&aml, config);
	aml_close(&aml);
	return aml.overflow ? 0 : aml.len;
}

static gpa_t build_dsdt(struct builder *b)
{
	u8 body[DSDT_MAX];
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
	fadt->boot_flags = BOOT_LEGACY_DEVICES | BOOT_NO_ASPM;
	fadt->boot_flags |= b->config->vga ? 0 : BOOT_NO_VGA;
	fadt->boot_flags |= b->config->kbd_data_port ? BOOT_8042 : 0;
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
	struct acpi_mcfg *mcfg =
		(struct acpi_mcfg *)begin(b, "MCFG", 1, sizeof(*mcfg) + sizeof(mcfg->entry[0]), &where);

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
