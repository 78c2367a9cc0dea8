/* SPDX-License-Identifier: MIT */
/* The small ones: debug ports, a fork in a wire. */
#include "tests/unit/dev_fake.h"

#include "dev/debug.h"
#include "dev/irq_fork.h"

static struct vm vm;

static int setup(void **state)
{
	(void)state;
	fake_vm_init(&vm);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fake_vm_fini(&vm);
	return 0;
}

static void test_debug_console(void **state)
{
	struct fake_console fake;
	struct debug_console *debug;

	(void)state;
	fake_console_init(&fake);
	assert_int_equal(debug_console_create(&vm, &fake.console, &debug), 0);
	fake_out(&vm, DEBUG_CONSOLE_PORT, 'a');
	fake_out(&vm, DEBUG_FIRMWARE_PORT, 'b');
	assert_int_equal(fake.len, 2);
	assert_memory_equal(fake.out, "ab", 2);
	assert_int_equal(fake_in(&vm, DEBUG_CONSOLE_PORT), 0xe9);
	assert_int_equal(fake_in(&vm, DEBUG_FIRMWARE_PORT), 0xe9);
}

static void test_debug_exit(void **state)
{
	struct debug_exit *debug;

	(void)state;
	fake_out(&vm, DEBUG_EXIT_PORT, 1);
	assert_int_equal(fake_seen.stops, 0);
	assert_int_equal(debug_exit_create(&vm, &debug), 0);
	fake_out(&vm, DEBUG_EXIT_PORT, 0x10);
	assert_int_equal(fake_seen.reason, VM_DEBUG_EXIT);
	assert_int_equal(fake_seen.code, 0x21);
	fake_out(&vm, DEBUG_EXIT_PORT, 0xff);
	assert_int_equal(fake_seen.code, 0x1ff);
}

static void test_fork(void **state)
{
	struct fake_wire a = {0}, b = {0};
	struct irq_fork fork = {.a = fake_line(&a), .b = fake_line(&b)};
	struct irq_line line = irq_fork_line(&fork);

	(void)state;
	irq_set(&line, true);
	assert_true(a.level && b.level);
	irq_set(&line, false);
	assert_false(a.level || b.level);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_debug_console, setup, teardown),
		cmocka_unit_test_setup_teardown(test_debug_exit, setup, teardown),
		cmocka_unit_test(test_fork),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
