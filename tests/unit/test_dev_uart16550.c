/* SPDX-License-Identifier: MIT */
/* 16550: registers, FIFOs, interrupts, and what Linux's 8250 driver probes. */
#include "tests/unit/dev_fake.h"

#include "dev/uart16550.h"

static struct uart16550 uart;
static struct fake_wire irq;
static struct fake_console console;

static u8 rd(unsigned offset)
{
	return uart16550_read(&uart, offset);
}

static void wr(unsigned offset, u8 value)
{
	uart16550_write(&uart, offset, value);
}

static int setup(void **state)
{
	(void)state;
	memset(&irq, 0, sizeof(irq));
	fake_console_init(&console);
	uart16550_init(&uart, fake_line(&irq), &console.console);
	return 0;
}

static void test_power_on(void **state)
{
	(void)state;
	assert_int_equal(rd(UART_LSR), 0x60);
	assert_int_equal(rd(UART_IIR), 0x01);
	assert_int_equal(rd(UART_MSR), 0xb0);
	assert_int_equal(rd(UART_IER), 0);
	assert_true(console.input_on);
	assert_false(irq.level);
}

static void test_divisor(void **state)
{
	(void)state;
	wr(UART_LCR, 0x83);
	wr(UART_DATA, 0x34);
	wr(UART_IER, 0x12);
	assert_int_equal(rd(UART_DATA), 0x34);
	assert_int_equal(rd(UART_IER), 0x12);
	wr(UART_LCR, 0x03);
	assert_int_equal(rd(UART_IER), 0);
	assert_int_equal(console.len, 0);
}

/* The steps of Linux's autoconfig() up to "16550A". */
static void test_linux_probe(void **state)
{
	(void)state;
	wr(UART_IER, 0);
	assert_int_equal(rd(UART_IER) & 0xf, 0);
	wr(UART_IER, 0xf);
	assert_int_equal(rd(UART_IER), 0xf); /* no bits above: not an XScale */
	wr(UART_IER, 0);
	wr(UART_MCR, 0x1a);
	assert_int_equal(rd(UART_MSR) & 0xf0, 0x90);
	wr(UART_MCR, 0);
	wr(UART_LCR, 0xbf);
	wr(UART_IIR, 0);
	wr(UART_LCR, 0);
	wr(UART_IIR, 0x01);
	assert_int_equal(rd(UART_IIR) >> 6, 3);
	wr(UART_IIR, 0x21);
	assert_int_equal(rd(UART_IIR) >> 5, 6); /* not a TI16750 */
	wr(UART_SCR, 0xa5);
	assert_int_equal(rd(UART_SCR), 0xa5);
}

/* Linux's test for UARTs that do not raise THRE again. */
static void test_thre_rises_with_its_enable(void **state)
{
	(void)state;
	wr(UART_MCR, 0x08);
	wr(UART_IER, 0x02);
	assert_true(irq.level);
	assert_int_equal(rd(UART_IIR), 0x02);
	assert_false(irq.level);
	assert_int_equal(rd(UART_IIR), 0x01);
	wr(UART_IER, 0);
	wr(UART_IER, 0x02);
	assert_int_equal(rd(UART_IIR), 0x02);
}

static void test_transmit(void **state)
{
	(void)state;
	wr(UART_MCR, 0x08);
	wr(UART_IER, 0x02);
	rd(UART_IIR);
	for (unsigned i = 0; i < 16; i++)
		wr(UART_DATA, (u8)('a' + i));
	assert_int_equal(console.len, 16);
	assert_memory_equal(console.out, "abcdefghijklmnop", 16);
	assert_int_equal(rd(UART_LSR), 0x60);
	assert_true(irq.level);
	/* Every character is a new edge. */
	assert_int_equal(irq.rises, 17);
}

static void test_interrupt_needs_out2(void **state)
{
	(void)state;
	wr(UART_IER, 0x02);
	assert_false(irq.level);
	wr(UART_MCR, 0x08);
	assert_true(irq.level);
}

static void test_receive_one(void **state)
{
	(void)state;
	wr(UART_MCR, 0x08);
	wr(UART_IER, 0x01);
	assert_int_equal(console.console.input(console.console.arg, (const u8 *)"xy", 2), 1);
	assert_false(console.input_on);
	assert_true(irq.level);
	assert_int_equal(rd(UART_IIR), 0x04);
	assert_int_equal(rd(UART_LSR), 0x61);
	assert_int_equal(rd(UART_DATA), 'x');
	assert_false(irq.level);
	assert_true(console.input_on);
	assert_int_equal(rd(UART_LSR), 0x60);
}

static void test_receive_fifo(void **state)
{
	(void)state;
	wr(UART_MCR, 0x08);
	wr(UART_IIR, 0x81); /* FIFOs, trigger at 8 */
	wr(UART_IER, 0x01);
	assert_int_equal(uart16550_receive(&uart, (const u8 *)"0123456", 7), 7);
	assert_int_equal(rd(UART_IIR), 0xcc); /* below the trigger: character timeout */
	assert_int_equal(uart16550_receive(&uart, (const u8 *)"789abcdefgh", 11), 9);
	assert_false(console.input_on);
	assert_int_equal(rd(UART_IIR), 0xc4);
	for (unsigned i = 0; i < 16; i++)
		assert_int_equal(rd(UART_DATA), "0123456789abcdef"[i]);
	assert_false(irq.level);
	assert_true(console.input_on);
	assert_int_equal(rd(UART_IIR), 0xc1);
	uart16550_receive(&uart, (const u8 *)"zz", 2);
	wr(UART_IIR, 0x83); /* clear */
	assert_int_equal(rd(UART_LSR), 0x60);
}

static void test_loopback(void **state)
{
	(void)state;
	wr(UART_MCR, 0x10);
	assert_false(console.input_on);
	wr(UART_DATA, 'L');
	assert_int_equal(console.len, 0);
	assert_int_equal(rd(UART_DATA), 'L');
	wr(UART_DATA, 'a');
	wr(UART_DATA, 'b');
	assert_int_equal(rd(UART_LSR) & 0x02, 0x02); /* overrun without FIFOs */
	assert_int_equal(rd(UART_LSR) & 0x02, 0);
	assert_int_equal(rd(UART_DATA), 'b');
	assert_int_equal(uart16550_receive(&uart, (const u8 *)"x", 1), 0);
	/* Modem lines come from our own outputs, with their changes noted. */
	rd(UART_MSR);
	wr(UART_MCR, 0x13);
	assert_int_equal(rd(UART_MSR), 0x33);
	assert_int_equal(rd(UART_MSR), 0x30);
	wr(UART_LCR, 0x43);
	assert_int_equal(rd(UART_LSR) & 0x11, 0x11); /* break */
}

static void test_priorities(void **state)
{
	(void)state;
	wr(UART_MCR, 0x1f); /* loop, all outputs: MSR changes */
	wr(UART_IER, 0x0f);
	wr(UART_DATA, 'a');
	wr(UART_DATA, 'b');
	assert_int_equal(rd(UART_IIR), 0x06);
	rd(UART_LSR);
	assert_int_equal(rd(UART_IIR), 0x04);
	rd(UART_DATA);
	assert_int_equal(rd(UART_IIR), 0x02);
	wr(UART_MCR, 0x1b); /* RI falls: the one change that counts for it */
	assert_int_equal(rd(UART_IIR), 0x00);
	assert_int_equal(rd(UART_MSR) & 0x04, 0x04);
	assert_int_equal(rd(UART_IIR), 0x01);
}

static void test_create(void **state)
{
	struct uart16550 *made;
	struct vm vm;

	(void)state;
	fake_vm_init(&vm);
	assert_int_equal(uart16550_create(&vm, UART_COM1_PORT, fake_line(&irq), NULL, &made), 0);
	fake_out(&vm, UART_COM1_PORT, 'x');
	assert_int_equal(fake_in(&vm, UART_COM1_PORT + UART_LSR), 0x60);
	made->dev.ops->reset(&made->dev);
	fake_vm_fini(&vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_power_on, setup),
		cmocka_unit_test_setup(test_divisor, setup),
		cmocka_unit_test_setup(test_linux_probe, setup),
		cmocka_unit_test_setup(test_thre_rises_with_its_enable, setup),
		cmocka_unit_test_setup(test_transmit, setup),
		cmocka_unit_test_setup(test_interrupt_needs_out2, setup),
		cmocka_unit_test_setup(test_receive_one, setup),
		cmocka_unit_test_setup(test_receive_fifo, setup),
		cmocka_unit_test_setup(test_loopback, setup),
		cmocka_unit_test_setup(test_priorities, setup),
		cmocka_unit_test_setup(test_create, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
