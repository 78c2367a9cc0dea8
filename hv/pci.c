/* SPDX-License-Identifier: MIT */
/*
 * The primary VM's PCI config space: the machine's, with the control function
 * added in a free slot of bus 0. By the ports, accesses whose address names our
 * function are answered here; by ECAM, our function's page is left out of the
 * primary VM's tables. Host and ISA bridges of bus 0 are read-only: their
 * registers say where DRAM, ECAM and the chipset's own memory are, which could be
 * put over ours. Everything else is the machine's own.
 */
#include "hv/acpi.h"
#include "hv/console.h"
#include "hv/exit.h"
#include "x86/insn.h"

enum { PORT_ADDRESS = 0xcf8, PORT_DATA = 0xcfc, LAST_SLOT = 0x1e };
enum {
	REG_COMMAND = 0x04,
	REG_CLASS = 0x08,
	REG_BAR = 0x10,
	REG_BAR_HIGH = 0x14,
	REG_SUBSYSTEM = 0x2c,
	REG_LINE = 0x3c
};
enum { CLASS_HOST_BRIDGE = 0x0600, CLASS_ISA_BRIDGE = 0x0601 };
enum { COMMAND_MEMORY = 2, BAR_64BIT = 4 };

#define NOWHERE ((u64)-1)
#define CHIPSET_BASE 0xfec00000ull /* IOAPIC, HPET, LAPIC, firmware: no place for a BAR */
#define CHIPSET_END GIB(4)

static struct {
	struct spinlock lock;
	unsigned slot; /* 0: there is no function */
	u64 ecam; /* our function's page, or NOWHERE */
	u8 chipset[32]; /* a bit for each function of bus 0 that is read-only */
	u32 config[64];
	hpa_t page; /* what BAR 0 shows */
	u64 shown; /* where it is mapped now, or NOWHERE */
	hpa_t hidden; /* what was mapped there before, and how */
	unsigned hidden_flags;
} pci;

/* ---- the BAR ---- */
static u64 bar_address(void)
{
	if (!(pci.config[REG_COMMAND / 4] & COMMAND_MEMORY))
		return NOWHERE;
	return (u64)pci.config[REG_BAR_HIGH / 4] << 32 | (pci.config[REG_BAR / 4] & (u32)PAGE_MASK);
}

/* Only where the firmware's map has nothing: so never over memory, ours or the primary VM's. */
static bool bar_may_be_at(u64 gpa)
{
	if (gpa >= physical_end() || gpa == pci.ecam || (gpa >= CHIPSET_BASE && gpa < CHIPSET_END) ||
		gpa < MIB(1))
		return false;
	for (unsigned i = 0; i < primary_map.count; i++) {
		const struct mem_range *r = &primary_map.range[i];

		if (gpa + PAGE_SIZE > r->base && gpa < r->base + r->size)
			return false;
	}
	return true;
}

static void bar_hide(void)
{
	if (pci.shown == NOWHERE)
		return;
	if (pci.hidden == NOWHERE)
		npt_unmap(&primary_domain, pci.shown, PAGE_SIZE);
	else
		npt_map(&primary_domain, pci.shown, pci.hidden, PAGE_SIZE, pci.hidden_flags);
	pci.shown = NOWHERE;
}

static void bar_show(u64 gpa)
{
	u64 size;

	if (gpa == NOWHERE || !bar_may_be_at(gpa))
		return;
	primary_map_more(gpa);
	pci.hidden = npt_lookup(&primary_domain, gpa, &pci.hidden_flags, &size);
	if (!npt_map(&primary_domain, gpa, pci.page, PAGE_SIZE, NPT_READ))
		pci.shown = gpa;
}

/* True: the tables have changed, and must be flushed. */
static bool bar_update(void)
{
	u64 gpa = bar_address();

	if (gpa == pci.shown)
		return false;
	lock(&primary_domain.lock);
	bar_hide();
	bar_show(gpa);
	unlock(&primary_domain.lock);
	return true;
}

/* ---- our function's config space ---- */
static u32 writable(unsigned reg)
{
	switch (reg) {
	case REG_COMMAND:
		return COMMAND_MEMORY;
	case REG_BAR:
		return (u32)PAGE_MASK;
	case REG_BAR_HIGH:
		return UINT32_MAX;
	case REG_LINE:
		return 0xff;
	default:
		return 0;
	}
}

static u32 size_mask(unsigned size)
{
	return size >= 4 ? UINT32_MAX : (1u << size * 8) - 1;
}

/* offset is within the function's 4 KiB; size 1, 2, 4, within a dword. */
static u32 config_read(unsigned offset, unsigned size)
{
	u32 value = offset < sizeof(pci.config) ? pci.config[offset / 4] : 0;

	return value >> offset % 4 * 8 & size_mask(size);
}

static void config_write(unsigned offset, unsigned size, u32 value)
{
	unsigned shift = offset % 4 * 8;
	u32 mask, *reg;
	bool flush;

	if (offset >= sizeof(pci.config))
		return;
	mask = writable(offset & ~3u) & size_mask(size) << shift;
	lock(&pci.lock);
	reg = &pci.config[offset / 4];
	*reg = (*reg & ~mask) | (value << shift & mask);
	flush = mask && bar_update();
	unlock(&pci.lock);
	if (flush)
		domain_flush(&primary_domain);
}

static void config_init(void)
{
	pci.config[0] = CONTROL_VENDOR | CONTROL_DEVICE << 16;
	/*
	 * Decoding is on, with the BAR at 0 where it shows nothing: user space maps
	 * what the primary VM has assigned, without a driver that would turn it on.
	 */
	pci.config[REG_COMMAND / 4] = COMMAND_MEMORY;
	pci.config[REG_CLASS / 4] = CONTROL_CLASS << 8 | CONTROL_VERSION;
	pci.config[REG_BAR / 4] = BAR_64BIT;
	pci.config[REG_SUBSYSTEM / 4] = CONTROL_VENDOR | CONTROL_DEVICE << 16;
}

/* ---- accesses ---- */
static u32 config_address(unsigned slot)
{
	return 0x80000000 | slot << 11;
}

/* function: device and function of bus 0 */
static bool is_chipset(unsigned function)
{
	return pci.chipset[function / 8] & 1u << function % 8;
}

static void find_chipset(void)
{
	for (unsigned function = 0; function < 256; function++) {
		u32 class;

		outl(PORT_ADDRESS, 0x80000000 | function << 8 | REG_CLASS);
		class = inl(PORT_DATA) >> 16;
		if (class == CLASS_HOST_BRIDGE || class == CLASS_ISA_BRIDGE)
			pci.chipset[function / 8] |= 1u << function % 8;
	}
}

static void protect_ecam(u64 base)
{
	for (unsigned function = 0; function < 256; function++) {
		u64 page = base + ((u64)function << PAGE_SHIFT);

		if (is_chipset(function) && npt_map(&primary_domain, page, page, PAGE_SIZE, NPT_READ))
			panic("no memory for the primary VM's tables");
	}
}

/* Nobody comes between this and the real access: the caller holds a lock for all of these ports. */
bool pci_port_access(u16 port, unsigned size, bool in, u32 *value)
{
	u32 address;

	if (port < PORT_DATA && port + size > PORT_DATA) { /* into the data, but not of it */
		*value = UINT32_MAX;
		return true;
	}
	if (port < PORT_DATA || port > PORT_DATA + 3)
		return false;
	address = inl(PORT_ADDRESS);
	if (!in && (address & 0x80ff0000) == 0x80000000 && is_chipset(address >> 8 & 0xff))
		return true;
	if (!pci.slot || (address & 0x80ffff00) != config_address(pci.slot))
		return false;
	if (port % 4 + size > 4) { /* runs out of the register */
		*value = in ? size_mask(size) : *value;
		return true;
	}
	if (in)
		*value = config_read((address & 0xfc) | port % 4, size);
	else
		config_write((address & 0xfc) | port % 4, size, *value);
	return true;
}

static void ecam_access(unsigned offset, unsigned size, bool write, u64 *value)
{
	if (offset % 4 + size > 4) { /* 8 bytes, or across registers: as bytes */
		u64 sum = 0;

		for (unsigned i = 0; i < size && offset + i < PAGE_SIZE; i++) {
			if (write)
				config_write(offset + i, 1, *value >> i * 8);
			else
				sum |= (u64)config_read(offset + i, 1) << i * 8;
		}
		*value = write ? *value : sum;
	} else if (write) {
		config_write(offset, size, *value);
	} else {
		*value = config_read(offset, size);
	}
}

static u64 ecam_base(void)
{
	return pci.ecam - ((u64)pci.slot << 15);
}

bool pci_memory_access(u64 gpa, unsigned size, bool write, u64 *value)
{
	u64 page = gpa & PAGE_MASK, offset = gpa & ~PAGE_MASK;

	if (!pci.slot)
		return false;
	if (write && pci.ecam != NOWHERE && page - ecam_base() < 256 * PAGE_SIZE &&
		is_chipset((page - ecam_base()) >> PAGE_SHIFT))
		return true;
	if (page == pci.ecam) {
		ecam_access(offset, size, write, value);
		return true;
	}
	if (page != pci.shown)
		return false;
	if (!write) { /* of an instruction that also writes; the page itself is read-only */
		*value = 0;
		for (unsigned i = 0; i < size && offset + i < PAGE_SIZE; i++)
			*value |= (u64)((const u8 *)pci.page)[offset + i] << i * 8;
	}
	return true;
}

/* ---- start-up ---- */
static u64 find_ecam(hpa_t rsdp)
{
	const struct acpi_mcfg *table = acpi_table(rsdp, "MCFG");
	unsigned n = table ? (table->header.length - sizeof(*table)) / sizeof(table->entry[0]) : 0;

	for (unsigned i = 0; i < n; i++) {
		if (!table->entry[i].segment && !table->entry[i].first_bus)
			return table->entry[i].base + ((u64)pci.slot << 15);
	}
	return NOWHERE;
}

static unsigned find_slot(void)
{
	for (unsigned slot = LAST_SLOT; slot; slot--) {
		outl(PORT_ADDRESS, config_address(slot));
		if (inl(PORT_DATA) == UINT32_MAX)
			return slot;
	}
	return 0;
}

void pci_init(hpa_t rsdp)
{
	pci.shown = pci.ecam = NOWHERE;
	control_init(&pci.page);
	find_chipset();
	pci.slot = find_slot();
	if (!pci.slot) {
		print("mullion: no free slot on PCI bus 0: no control function\n");
		return;
	}
	config_init();
	pci.ecam = find_ecam(rsdp);
	primary_map_more(pci.ecam);
	if (pci.ecam != NOWHERE) {
		protect_ecam(ecam_base());
		if (npt_unmap(&primary_domain, pci.ecam, PAGE_SIZE))
			panic("no memory for the primary VM's tables");
	}
	print("mullion: control function at 00:%02x.0\n", pci.slot);
}
