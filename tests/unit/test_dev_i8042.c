/* SPDX-License-Identifier: MIT */
/* 8042: reset, self-test, and what Linux's driver asks of it. */
#include "tests/unit/dev_fake.h"

#include "dev/i8042.h"

static struct i8042 kbc;
static struct vm vm;
static struct fake_wire irq;

static void command(u8 value)
{
	i8042_write_command(&kbc, value);
}

static u8 answer(void)
{
	assert_int_equal(i8042_read_status(&kbc) & 0x01, 0x01);
	return i8042_read_data(&kbc);
}

static int setup(void **state)
{
	(void)state;
	memset(&fake_seen, 0, sizeof(fake_seen));
	memset(&irq, 0, sizeof(irq));
	i8042_init(&kbc, &vm, fake_line(&irq));
	return 0;
}

static void test_reset_pulse(void **state)
{
	(void)state;
	command(0xff);
	assert_int_equal(fake_seen.stops, 0);
	command(0xfe);
	assert_int_equal(fake_seen.stops, 1);
	assert_int_equal(fake_seen.reason, VM_RESET);
	command(0xd1);
	i8042_write_data(&kbc, 0x02);
	assert_int_equal(fake_seen.stops, 2);
}

static void test_linux_probe(void **state)
{
	(void)state;
	assert_int_equal(i8042_read_status(&kbc) & 0x03, 0);
	command(0x20);
	assert_int_equal(answer(), 0x34);
	command(0xaa);
	assert_int_equal(answer(), 0x55);
	command(0x60);
	i8042_write_data(&kbc, 0x75);
	command(0x20);
	assert_int_equal(answer(), 0x75);
	/* The mouse port: the loop answers as the keyboard, the test says it is broken. */
	command(0xd3);
	i8042_write_data(&kbc, 0x5a);
	assert_int_equal(i8042_read_status(&kbc) & 0x21, 0x01);
	assert_int_equal(answer(), 0x5a);
	command(0xa9);
	assert_int_equal(answer(), 0x01);
	command(0xa8); /* enabling it does nothing */
	command(0x20);
	assert_int_equal(answer() & 0x20, 0x20);
	/* A keyboard that is not there answers at once. */
	command(0x60);
	i8042_write_data(&kbc, 0x65);
	i8042_write_data(&kbc, 0xf2);
	assert_true(irq.level);
	assert_int_equal(answer(), 0xfe);
	assert_false(irq.level);
	command(0xd4);
	i8042_write_data(&kbc, 0xf2);
	assert_int_equal(answer(), 0xfe);
}

static void test_ports(void **state)
{
	(void)state;
	command(0xab);
	assert_int_equal(answer(), 0);
	command(0xc0);
	assert_int_equal(answer(), 0x80);
	command(0xdd);
	command(0xd0);
	assert_int_equal(answer(), 0x01);
	command(0xdf);
	command(0xd0);
	assert_int_equal(answer(), 0x03);
	command(0x65);
	i8042_write_data(&kbc, 0x99);
	command(0x25);
	assert_int_equal(answer(), 0x99);
	command(0xad);
	command(0x20);
	assert_int_equal(answer() & 0x10, 0x10);
	command(0xae);
	command(0x20);
	assert_int_equal(answer() & 0x10, 0);
	command(0x00);
	assert_int_equal(i8042_read_status(&kbc) & 0x01, 0);
}

static void test_create(void **state)
{
	struct i8042 *made;
	struct vm here;

	(void)state;
	fake_vm_init(&here);
	assert_int_equal(i8042_create(&here, fake_line(&irq), &made), 0);
	fake_out(&here, I8042_COMMAND_PORT, 0xaa);
	assert_int_equal(fake_in(&here, I8042_COMMAND_PORT) & 1, 1);
	assert_int_equal(fake_in(&here, I8042_DATA_PORT), 0x55);
	made->dev.ops->reset(&made->dev);
	fake_vm_fini(&here);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_reset_pulse, setup),
		cmocka_unit_test_setup(test_linux_probe, setup),
		cmocka_unit_test_setup(test_ports, setup),
		cmocka_unit_test_setup(test_create, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
