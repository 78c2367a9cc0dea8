/* SPDX-License-Identifier: MIT */
/* Config space with the control function in it: ports, ECAM, the BAR's moves. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>

#include <cmocka.h>

#include "hv_fake.h"

/* A machine with devices in slots 0x1e and 0, and an address register. */
#define inl insn_inl
#define outl insn_outl
#include "x86/insn.h"
#undef inl
#undef outl
static u32 address_register;

static u32 inl(u16 port)
{
	unsigned slot = address_register >> 11 & 31;

	if (port == 0xcf8)
		return address_register;
	return slot == 0x1e || !slot ? 0x12348086 : UINT32_MAX;
}

static void outl(u16 port, u32 value)
{
	if (port == 0xcf8)
		address_register = value;
}

#include "hv/pci.c"

#define ECAM 0xb0000000ull
#define OUR_ADDRESS (0x80000000u | 0x1d << 11)
#define OUR_ECAM (ECAM + (0x1d << 15))
#define HOLE 0xe0000000ull

static const struct hvm_ops ops = {.name = "fake", .pte = fake_pte};
const struct hvm_ops *hvm = &ops;

static u8 shown_page[PAGE_SIZE] __attribute__((aligned(4096)));

const void *acpi_table(hpa_t rsdp, const char *signature)
{
	static struct {
		struct acpi_header header;
		u64 reserved;
		struct mcfg_entry entry[2];
	} __attribute__((packed)) table = {
		.header.length = sizeof(table),
		.entry = {{.base = 1, .segment = 1}, {.base = ECAM, .last_bus = 255}},
	};

	(void)rsdp;
	assert_string_equal(signature, "MCFG");
	return &table;
}

void control_init(hpa_t *page)
{
	memset(shown_page, 0xa5, sizeof(shown_page));
	*page = (hpa_t)shown_page;
}

static int setup(void **state)
{
	(void)state;
	memset(&pci, 0, sizeof(pci));
	memset(&primary_map, 0, sizeof(primary_map));
	memmap_add(&primary_map, 0, MIB(128), MEM_RAM);
	memmap_set(&primary_map, MIB(1), MIB(15), MEM_HYPERVISOR);
	npt_map(&primary_domain, 0, 0, GIB(4), NPT_RWX);
	pci_init(0);
	flushes = 0;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	npt_free(&primary_domain);
	assert_int_equal(pages_out, 0);
	return 0;
}

static u32 port_in(unsigned reg, unsigned size)
{
	u32 value = 0xdeadbeef;

	address_register = OUR_ADDRESS | (reg & 0xfc);
	assert_true(pci_port_access(0xcfc + reg % 4, size, true, &value));
	return value;
}

static void port_out(unsigned reg, unsigned size, u32 value)
{
	address_register = OUR_ADDRESS | (reg & 0xfc);
	assert_true(pci_port_access(0xcfc + reg % 4, size, false, &value));
}

static u64 ecam_in(unsigned reg, unsigned size)
{
	u64 value = 0xdeadbeefdeadbeef;

	assert_true(pci_memory_access(OUR_ECAM + reg, size, false, &value));
	return value;
}

static void move_bar(u64 gpa)
{
	port_out(0x04, 2, 0);
	port_out(0x10, 4, gpa);
	port_out(0x14, 4, gpa >> 32);
	port_out(0x04, 2, 2);
}

static hpa_t mapped_at(u64 gpa)
{
	unsigned flags;
	u64 size;

	return npt_lookup(&primary_domain, gpa, &flags, &size);
}

static void takes_a_free_slot(void **state)
{
	(void)state;
	assert_int_equal(pci.slot, 0x1d);
	assert_int_equal(mapped_at(OUR_ECAM), (hpa_t)-1);
	assert_int_equal(mapped_at(OUR_ECAM + PAGE_SIZE), OUR_ECAM + PAGE_SIZE);
	assert_int_equal(mapped_at(OUR_ECAM - PAGE_SIZE), OUR_ECAM - PAGE_SIZE);
}

static void has_a_header(void **state)
{
	(void)state;
	assert_int_equal(port_in(0, 4), CONTROL_DEVICE << 16 | CONTROL_VENDOR);
	assert_int_equal(port_in(0, 2), CONTROL_VENDOR);
	assert_int_equal(port_in(2, 2), CONTROL_DEVICE);
	assert_int_equal(port_in(3, 1), CONTROL_DEVICE >> 8);
	assert_int_equal(port_in(8, 4) >> 8, CONTROL_CLASS);
	assert_int_equal(port_in(0x0e, 1), 0);
	assert_int_equal(port_in(0x06, 2), 0);
	assert_int_equal(port_in(0x34, 1), 0);
	assert_int_equal(port_in(0x3d, 1), 0);
	assert_int_equal(port_in(0x2c, 4), CONTROL_DEVICE << 16 | CONTROL_VENDOR);
	for (unsigned reg = 0; reg < 256; reg += 4)
		assert_int_equal(ecam_in(reg, 4), port_in(reg, 4));
	assert_int_equal(ecam_in(0, 8), (u64)port_in(4, 4) << 32 | port_in(0, 4));
	assert_int_equal(ecam_in(1, 4), (port_in(0, 4) >> 8) | port_in(4, 1) << 24);
	assert_int_equal(ecam_in(0x100, 4), 0);
	assert_int_equal(ecam_in(0xffc, 8), 0);
}

static void leaves_others_alone(void **state)
{
	u32 value = 77;
	u64 wide = 77;

	(void)state;
	address_register = OUR_ADDRESS;
	assert_false(pci_port_access(0xcf8, 4, true, &value));
	assert_false(pci_port_access(0xcf9, 1, false, &value));
	address_register = OUR_ADDRESS & ~0x80000000u; /* not enabled */
	assert_false(pci_port_access(0xcfc, 4, true, &value));
	address_register = OUR_ADDRESS + 0x100; /* function 1 */
	assert_false(pci_port_access(0xcfc, 4, true, &value));
	address_register = OUR_ADDRESS + 0x10000; /* bus 1 */
	assert_false(pci_port_access(0xcfc, 4, true, &value));
	address_register = OUR_ADDRESS - 0x800; /* another slot */
	assert_false(pci_port_access(0xcfc, 4, true, &value));
	assert_false(pci_memory_access(OUR_ECAM + PAGE_SIZE, 4, false, &wide));
	assert_false(pci_memory_access(OUR_ECAM - 4, 4, false, &wide));
	assert_int_equal(value, 77);
	/* beyond the data port */
	address_register = OUR_ADDRESS;
	assert_true(pci_port_access(0xcfe, 4, true, &value));
	assert_int_equal(value, UINT32_MAX);
}

static void only_some_bits_are_writable(void **state)
{
	(void)state;
	for (unsigned reg = 0; reg < 256; reg += 4) {
		u32 before = port_in(reg, 4);

		port_out(reg, 4, 0xffffffff);
		switch (reg) {
		case 0x04:
			assert_int_equal(port_in(reg, 4), 2);
			break;
		case 0x10:
			assert_int_equal(port_in(reg, 4), 0xfffff004); /* 4 KiB, 64-bit, not prefetchable */
			break;
		case 0x14:
			assert_int_equal(port_in(reg, 4), 0xffffffff);
			break;
		case 0x3c:
			assert_int_equal(port_in(reg, 4), 0xff);
			break;
		default:
			assert_int_equal(port_in(reg, 4), before);
		}
	}
	port_out(0x11, 1, 0x20);
	assert_int_equal(port_in(0x10, 4), 0xffff2004);
}

static void the_bar_moves(void **state)
{
	u64 value;

	(void)state;
	move_bar(HOLE);
	assert_int_equal(mapped_at(HOLE), (hpa_t)shown_page);
	assert_int_equal(entry_flags(&primary_domain, HOLE), NPT_READ);
	assert_int_not_equal(flushes, 0);
	move_bar(GIB(16) + 0x5000);
	assert_int_equal(mapped_at(HOLE), HOLE);
	assert_int_equal(mapped_at(GIB(16) + 0x5000), (hpa_t)shown_page);
	port_out(0x04, 2, 0);
	assert_int_equal(mapped_at(GIB(16) + 0x5000), (hpa_t)-1);
	/* stores to it come here, and do nothing */
	move_bar(HOLE);
	value = 0;
	assert_true(pci_memory_access(HOLE + 8, 4, true, &value));
	assert_true(pci_memory_access(HOLE + 8, 4, false, &value));
	assert_int_equal(value, 0xa5a5a5a5);
}

static void the_bar_shows_nothing_over_memory(void **state)
{
	static const u64 bad[] = {0, 0x9000, MIB(1), MIB(2), MIB(16), MIB(100), MIB(128) - PAGE_SIZE, OUR_ECAM,
		0xfee00000, 0xfffff000, BIT(40), ~0xfffull};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		hpa_t before = mapped_at(bad[i]);

		move_bar(bad[i]);
		assert_int_equal(mapped_at(bad[i]), before);
		assert_int_equal(pci.shown, NOWHERE);
		assert_int_equal(port_in(0x10, 4), (u32)bad[i] | 4); /* it reads back all the same */
	}
	move_bar(MIB(128));
	assert_int_equal(mapped_at(MIB(128)), (hpa_t)shown_page);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(takes_a_free_slot),
		TEST(has_a_header),
		TEST(leaves_others_alone),
		TEST(only_some_bits_are_writable),
		TEST(the_bar_moves),
		TEST(the_bar_shows_nothing_over_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
