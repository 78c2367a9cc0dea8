/* SPDX-License-Identifier: MIT */
/*
 * The ACPI tables: checksums, the way from the RSDP to each of them, and what
 * the reference tool says: iasl disassembles every table, and compiles the
 * result again without a word of complaint.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "boot/acpi.h"
#include "boot/aml.h"
#include "boot/layout.h"

static u8 tables[BOOT_ACPI_SIZE];

static const struct acpi_config config = {
	.nvcpus = 2,
	.lapic_base = 0xfee00000,
	.ioapic_base = 0xfec00000,
	.hpet_base = 0xfed00000,
	.hpet_id = 0x8086a201,
	.ecam_base = 0xb0000000,
	.ecam_size = MIB(256),
	.pm1_event_port = 0x600,
	.pm1_control_port = 0x604,
	.pm_timer_port = 0x608,
	.gpe0_port = 0x620,
	.gpe0_len = 4,
	.sci_irq = 9,
	.sleep_type_s5 = 5,
	.reset_port = 0xcf9,
	.reset_value = 6,
	.rtc_century = 0x32,
	.rtc_port = 0x70,
	.rtc_irq = 8,
	.com1_port = 0x3f8,
	.com1_irq = 4,
	.pci_config_port = 0xcf8,
	.pci_mem32 = {0xc0000000, 0xfebfffff},
	.pci_mem64 = {GIB(256), GIB(512) - 1},
	.pci_gsi = 16,
	.pci_isa_irq = {10, 11, 5, 14},
};

static u64 get(const u8 *p, unsigned size)
{
	u64 value = 0;

	memcpy(&value, p, size);
	return value;
}

static const u8 *at(u64 address)
{
	assert_true(address >= BOOT_ACPI && address < BOOT_ACPI + sizeof(tables));
	return tables + (address - BOOT_ACPI);
}

static u8 sum(const u8 *p, size_t len)
{
	u8 total = 0;

	while (len--)
		total += *p++;
	return total;
}

static int build(void **state)
{
	(void)state;
	return acpi_build(&config, tables, BOOT_ACPI, sizeof(tables)) > 0 ? 0 : -1;
}

static const u8 *xsdt(void)
{
	return at(get(tables + 24, 8));
}

/* The table of that name in the XSDT (or the DSDT, through the FADT). */
static const u8 *find(const char *name)
{
	const u8 *list = xsdt();

	for (u64 i = 36; i < get(list + 4, 4); i += 8) {
		const u8 *table = at(get(list + i, 8));

		if (!memcmp(table, name, 4))
			return table;
		if (!memcmp(table, "FACP", 4) && !strcmp(name, "DSDT"))
			return at(get(table + 140, 8));
	}
	fail_msg("no table %s", name);
	return NULL;
}

static void checksums_are_right(void **state)
{
	static const char *const names[] = {"FACP", "APIC", "HPET", "MCFG", "DSDT"};

	(void)state;
	assert_memory_equal(tables, "RSD PTR ", 8);
	assert_int_equal(sum(tables, 20), 0);
	assert_int_equal(sum(tables, 36), 0);
	assert_int_equal(sum(xsdt(), get(xsdt() + 4, 4)), 0);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		const u8 *table = find(names[i]);

		assert_int_equal(sum(table, get(table + 4, 4)), 0);
	}
}

static void fadt_says_what_is_there(void **state)
{
	const u8 *fadt = find("FACP");

	(void)state;
	assert_int_equal(get(fadt + 4, 4), 276); /* revision 6 */
	assert_int_equal(get(fadt + 46, 2), 9);
	assert_int_equal(get(fadt + 48, 4), 0); /* no SMI: always in ACPI mode */
	assert_int_equal(get(fadt + 56, 4), 0x600);
	assert_int_equal(get(fadt + 108, 1), 0x32);
	assert_int_equal(get(fadt + 109, 2) & 2, 0); /* no 8042 */
	assert_int_equal(get(fadt + 120, 8), 0xcf9);
	assert_int_equal(get(fadt + 128, 1), 6);
	assert_memory_equal(at(get(fadt + 36, 4)), "FACS", 4);
	assert_int_equal(get(fadt + 36, 4) % 64, 0);
}

static bool dsdt_names(const char *name)
{
	const u8 *dsdt = find("DSDT");

	return memmem(dsdt, get(dsdt + 4, 4), name, 4);
}

static int build_with_screen(void **state)
{
	struct acpi_config with = config;

	(void)state;
	with.vga = true;
	with.kbd_data_port = 0x60;
	with.kbd_command_port = 0x64;
	with.kbd_irq = 1;
	with.mouse_irq = 12;
	return acpi_build(&with, tables, BOOT_ACPI, sizeof(tables)) > 0 ? 0 : -1;
}

static void no_keyboard_is_told(void **state)
{
	(void)state;
	assert_int_equal(get(find("FACP") + 109, 2) & 6, 4); /* no 8042, no VGA */
	assert_false(dsdt_names("KBD0") || dsdt_names("MOU0"));
}

static void screen_and_keyboard_are_told(void **state)
{
	(void)state;
	assert_int_equal(get(find("FACP") + 109, 2) & 6, 2);
	assert_true(dsdt_names("KBD0") && dsdt_names("MOU0"));
}

static void madt_lists_every_cpu(void **state)
{
	const u8 *madt = find("APIC"), *end = madt + get(madt + 4, 4);
	unsigned seen[8] = {0};

	(void)state;
	for (const u8 *p = madt + 44; p < end; p += p[1]) {
		assert_true(p[0] < 8 && p[1]);
		seen[p[0]]++;
	}
	assert_int_equal(seen[0], 2);
	assert_int_equal(seen[1], 1);
	assert_int_equal(seen[2], 2);
	assert_int_equal(seen[4], 1);
}

static void too_little_room_is_an_error(void **state)
{
	u8 small[1024];

	(void)state;
	for (size_t size = 0; size < sizeof(small); size += 60)
		assert_int_equal(acpi_build(&config, small, BOOT_ACPI, size), -ENOSPC);
}

static void aml_overflow_is_noticed(void **state)
{
	u8 buf[8];
	struct aml aml;

	(void)state;
	aml_init(&aml, buf, sizeof(buf));
	aml_scope(&aml, "\\_SB");
	aml_name(&aml, "_UID");
	aml_close(&aml);
	assert_true(aml.overflow);
	aml_init(&aml, buf, sizeof(buf));
	aml_eisa_id(&aml, "PNP0A03");
	assert_int_equal(get(buf + 1, 4), 0x030ad041);
}

/* ---- iasl ---- */

static int command(const char *fmt, const char *dir, const char *name)
{
	char line[512];

	snprintf(line, sizeof(line), fmt, dir, name, name);
	return system(line);
}

static void iasl_accepts(const char *dir, const char *name)
{
	const u8 *table = find(name);
	char path[64];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s.aml", dir, name);
	file = fopen(path, "wb");
	assert_non_null(file);
	assert_int_equal(fwrite(table, 1, get(table + 4, 4), file), get(table + 4, 4));
	fclose(file);
	assert_int_equal(command("cd %s && iasl -d %s.aml >%s.log 2>&1", dir, name), 0);
	assert_int_equal(command("cd %s && ! grep -i error %s.log >&2; : %s", dir, name), 0);
	assert_int_equal(
		command("cd %s && iasl -we -p %s.new %s.dsl >new.log 2>&1 || { cat new.log >&2; false; }",
			dir, name),
		0);
	assert_int_equal(
		command("cd %s && grep -q ' 0 Errors, 0 Warnings' new.log || { : %s %s; cat new.log >&2; "
			"grep -q 'Compilation successful' new.log; }",
			dir, name),
		0);
}

static void iasl_accepts_all(void **state)
{
	static const char *const names[] = {"FACP", "APIC", "HPET", "MCFG", "DSDT"};
	char dir[] = "/tmp/test_acpi.XXXXXX";

	(void)state;
	if (system("iasl -v >/dev/null 2>&1"))
		skip();
	assert_non_null(mkdtemp(dir));
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		iasl_accepts(dir, names[i]);
	assert_int_equal(command("rm -r %s; : %s %s", dir, ""), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(checksums_are_right),
		cmocka_unit_test(fadt_says_what_is_there),
		cmocka_unit_test(madt_lists_every_cpu),
		cmocka_unit_test(iasl_accepts_all),
		cmocka_unit_test(no_keyboard_is_told),
		cmocka_unit_test_setup_teardown(screen_and_keyboard_are_told, build_with_screen, build),
		cmocka_unit_test_setup_teardown(iasl_accepts_all, build_with_screen, build),
		cmocka_unit_test(aml_overflow_is_noticed),
		cmocka_unit_test(too_little_room_is_an_error),
	};

	return cmocka_run_group_tests(tests, build, NULL);
}
