/* SPDX-License-Identifier: MIT */
/* ACPI fixed hardware: power-off, events and the SCI, the PM timer. */
#include "tests/unit/dev_fake.h"

#include "dev/acpi_pm.h"

static struct vm vm;
static struct acpi_pm pm;
static struct fake_wire sci;

static int setup(void **state)
{
	(void)state;
	fake_vm_init(&vm);
	memset(&sci, 0, sizeof(sci));
	acpi_pm_init(&pm, &vm, &vm.clock, fake_line(&sci));
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fake_vm_fini(&vm);
	return 0;
}

static void test_power_off(void **state)
{
	(void)state;
	assert_int_equal(acpi_pm_read(&pm, 4, 2), 0x0001);
	acpi_pm_write(&pm, 4, 2, 1 << 10 | 1 << 13); /* S1: not offered */
	assert_int_equal(fake_seen.stops, 0);
	assert_int_equal(acpi_pm_read(&pm, 4, 2), 0x0401);
	acpi_pm_write(&pm, 4, 2, 5 << 10);
	assert_int_equal(fake_seen.stops, 0);
	acpi_pm_write(&pm, 4, 2, 5 << 10 | 1 << 13);
	assert_int_equal(fake_seen.reason, VM_POWEROFF);
	assert_int_equal(acpi_pm_read(&pm, 4, 4), 0x1401); /* SLP_EN reads 0 */
}

static void test_power_button(void **state)
{
	(void)state;
	acpi_pm_power_button(&pm);
	assert_false(sci.level);
	acpi_pm_write(&pm, 2, 2, 0x0100);
	assert_true(sci.level);
	assert_int_equal(acpi_pm_read(&pm, 0, 4), 0x01000100);
	acpi_pm_write(&pm, 0, 2, 0x0001);
	assert_true(sci.level);
	acpi_pm_write(&pm, 1, 1, 0x01); /* the byte where the button is */
	assert_false(sci.level);
	assert_int_equal(acpi_pm_read(&pm, 0, 2), 0);
	assert_int_equal(acpi_pm_read(&pm, 3, 1), 0x01);
}

static void test_gpe(void **state)
{
	(void)state;
	acpi_pm_gpe(&pm, 3);
	acpi_pm_gpe(&pm, 99);
	assert_int_equal(acpi_pm_read(&pm, 0x20, 2), 0x0008);
	acpi_pm_write(&pm, 0x22, 1, 0xff);
	assert_true(sci.level);
	acpi_pm_write(&pm, 0x20, 1, 0x08);
	assert_false(sci.level);
}

static void test_timer(void **state)
{
	u32 before = acpi_pm_read(&pm, 8, 4);

	(void)state;
	fake_pass(&vm.clock, 1000000000);
	assert_in_range(acpi_pm_read(&pm, 8, 4) - before, ACPI_PM_TIMER_HZ - 1, ACPI_PM_TIMER_HZ);
	assert_int_equal(acpi_pm_read(&pm, 9, 1), acpi_pm_read(&pm, 8, 4) >> 8 & 0xff);
}

static void test_timer_overflow(void **state)
{
	u64 half = (1ull << 31) * 1000000000 / ACPI_PM_TIMER_HZ;

	(void)state;
	fake_pass(&vm.clock, half);
	assert_int_equal(acpi_pm_read(&pm, 0, 2), 1); /* seen by who polls */
	acpi_pm_write(&pm, 0, 2, 1);
	assert_true(clock_next(&vm.clock) == CLOCK_NEVER);
	acpi_pm_write(&pm, 2, 2, 1);
	assert_false(sci.level);
	fake_pass(&vm.clock, half);
	assert_true(sci.level);
	acpi_pm_write(&pm, 0, 2, 1);
	assert_false(sci.level);
	fake_pass(&vm.clock, half);
	assert_true(sci.level);
}

static void test_create(void **state)
{
	struct acpi_pm *made;

	(void)state;
	assert_int_equal(acpi_pm_create(&vm, fake_line(&sci), &made), 0);
	space_write(&vm.io, ACPI_PM1_CNT_PORT, 2, 5 << 10 | 1 << 13);
	assert_int_equal(fake_seen.reason, VM_POWEROFF);
	space_write(&vm.io, ACPI_PM1_EVT_PORT + 2, 2, 1);
	made->dev.ops->reset(&made->dev);
	assert_int_equal(space_read(&vm.io, ACPI_PM1_EVT_PORT, 4), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_power_off, setup, teardown),
		cmocka_unit_test_setup_teardown(test_power_button, setup, teardown),
		cmocka_unit_test_setup_teardown(test_gpe, setup, teardown),
		cmocka_unit_test_setup_teardown(test_timer, setup, teardown),
		cmocka_unit_test_setup_teardown(test_timer_overflow, setup, teardown),
		cmocka_unit_test_setup_teardown(test_create, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
