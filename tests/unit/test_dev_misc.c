/* SPDX-License-Identifier: MIT */
/* The small ones: debug ports, the PCI host bridge, a fork in a wire. */
#include "tests/unit/dev_fake.h"

#include <errno.h>

#include "dev/debug.h"
#include "dev/irq_fork.h"
#include "dev/pci/host.h"

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

static void address(u32 value)
{
	space_write(&vm.io, PCI_CONFIG_PORT, 4, value);
}

static u64 data(unsigned offset, unsigned size)
{
	return space_read(&vm.io, PCI_CONFIG_PORT + 4 + offset, size);
}

static void test_pci_ports(void **state)
{
	struct pci_host *host;

	(void)state;
	assert_int_equal(pci_host_create(&vm, &host), 0);
	/* Linux's pci_check_type1 */
	fake_out(&vm, 0xcfb, 1);
	address(0x80000000);
	assert_int_equal(space_read(&vm.io, PCI_CONFIG_PORT, 4), 0x80000000);
	assert_int_equal(data(0, 4), 0x29c08086);
	assert_int_equal(data(2, 2), 0x29c0);
	assert_int_equal(data(1, 1), 0x80);
	address(0x80000008);
	assert_int_equal(data(2, 2), 0x0600);
	address(0x80000800); /* device 1 */
	assert_int_equal(data(0, 4), 0xffffffff);
	assert_int_equal(data(0, 2), 0xffff);
	address(0x80010000); /* bus 1 */
	assert_int_equal(data(0, 4), 0xffffffff);
	address(0); /* not enabled */
	assert_int_equal(data(0, 4), 0xffffffff);
	address(0xffffffff);
	assert_int_equal(space_read(&vm.io, PCI_CONFIG_PORT, 4), 0x80fffffc);
}

static void test_pci_ecam(void **state)
{
	struct pci_host *host;

	(void)state;
	assert_int_equal(pci_host_create(&vm, &host), 0);
	assert_int_equal(space_read(&vm.mem, PCI_ECAM_BASE, 4), 0x29c08086);
	assert_int_equal(space_read(&vm.mem, PCI_ECAM_BASE + 0xb, 1), 0x06);
	assert_int_equal(space_read(&vm.mem, PCI_ECAM_BASE + 0x60, 4), 0xb0000001);
	assert_int_equal(space_read(&vm.mem, PCI_ECAM_BASE + 0x1000, 4), 0xffffffff);
	assert_int_equal(space_read(&vm.mem, PCI_ECAM_BASE + PCI_ECAM_SIZE - 4, 4), 0xffffffff);
	space_write(&vm.mem, PCI_ECAM_BASE, 4, 0);
	assert_int_equal(space_read(&vm.mem, PCI_ECAM_BASE, 4), 0x29c08086);
	assert_int_equal(pci_ecam_read(host, 1, 4), 0xffffffff); /* not aligned */
}

static u32 seen_offset, seen_value;

static u32 function_read(struct pci_function *fn, unsigned offset, unsigned size)
{
	(void)fn;
	(void)size;
	return 0xabcd0000 | offset;
}

static void function_write(struct pci_function *fn, unsigned offset, unsigned size, u32 value)
{
	(void)fn;
	(void)size;
	seen_offset = offset;
	seen_value = value;
}

static void test_pci_function(void **state)
{
	static const struct pci_function_ops ops = {function_read, function_write};
	struct pci_function fn = {.ops = &ops, .bus = 0, .devfn = PCI_DEVFN(3, 1)};
	struct pci_function again = fn;
	struct pci_host *host;

	(void)state;
	assert_int_equal(pci_host_create(&vm, &host), 0);
	assert_int_equal(pci_add(host, &fn), 0);
	assert_int_equal(pci_add(host, &again), -EBUSY);
	address(0x80001940);
	assert_int_equal(data(0, 4), 0xabcd0040);
	space_write(&vm.io, PCI_CONFIG_PORT + 6, 2, 0x1234);
	assert_int_equal(seen_offset, 0x42);
	assert_int_equal(seen_value, 0x1234);
	assert_int_equal(space_read(&vm.mem, PCI_ECAM_BASE + 0x19ffc, 4), 0xabcd0ffc);
}

static void test_reset_control(void **state)
{
	struct pci_host *host;

	(void)state;
	assert_int_equal(pci_host_create(&vm, &host), 0);
	fake_out(&vm, PCI_RESET_PORT, 0x02);
	assert_int_equal(fake_seen.stops, 0);
	fake_out(&vm, PCI_RESET_PORT, PCI_RESET_VALUE);
	assert_int_equal(fake_seen.stops, 1);
	assert_int_equal(fake_seen.reason, VM_RESET);
	assert_int_equal(fake_in(&vm, PCI_RESET_PORT), 0x06);
	fake_out(&vm, PCI_RESET_PORT, 0x0e);
	assert_int_equal(fake_seen.stops, 1);
	host->dev.ops->reset(&host->dev);
	assert_int_equal(fake_in(&vm, PCI_RESET_PORT), 0);
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
		cmocka_unit_test_setup_teardown(test_pci_ports, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pci_ecam, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pci_function, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reset_control, setup, teardown),
		cmocka_unit_test(test_fork),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
