/* SPDX-License-Identifier: MIT */
/* 8259 pair: initialization, priorities, cascade, EOIs, modes. */
#include "tests/unit/dev_fake.h"

#include "dev/i8259.h"

static struct i8259 pic;
static struct fake_wire intr;

static void wr(unsigned chip, unsigned offset, u8 value)
{
	i8259_write(&pic, chip, offset, value);
}

static void pin(unsigned n, bool level)
{
	struct irq_line line = i8259_pin(&pic, n);

	irq_set(&line, level);
}

static void pulse(unsigned n)
{
	pin(n, true);
	pin(n, false);
}

static int inta(void)
{
	return i8259_inta(&pic);
}

static void program(u8 icw4)
{
	wr(0, 0, 0x11);
	wr(0, 1, 0x30);
	wr(0, 1, 0x04);
	wr(0, 1, icw4);
	wr(1, 0, 0x11);
	wr(1, 1, 0x38);
	wr(1, 1, 0x02);
	wr(1, 1, icw4);
}

static int setup(void **state)
{
	(void)state;
	memset(&intr, 0, sizeof(intr));
	i8259_init(&pic, fake_line(&intr));
	program(0x01);
	return 0;
}

static void test_masked_after_reset(void **state)
{
	(void)state;
	i8259_init(&pic, fake_line(&intr));
	pulse(0);
	assert_false(intr.level);
	/* Linux's probe_8259A: the mask register holds what was written. */
	wr(1, 1, 0xff);
	wr(0, 1, 0xfb);
	assert_int_equal(i8259_read(&pic, 0, 1), 0xfb);
}

static void test_edge_and_eoi(void **state)
{
	(void)state;
	pin(4, true);
	assert_true(intr.level);
	assert_int_equal(i8259_read(&pic, 0, 0), 0x10); /* IRR */
	assert_int_equal(inta(), 0x34);
	assert_false(intr.level);
	wr(0, 0, 0x0b);
	assert_int_equal(i8259_read(&pic, 0, 0), 0x10); /* ISR */
	pin(4, false);
	pin(4, true);
	assert_false(intr.level); /* in service still */
	wr(0, 0, 0x20);
	assert_true(intr.level);
	assert_int_equal(inta(), 0x34);
	wr(0, 0, 0x64); /* specific */
	assert_int_equal(i8259_read(&pic, 0, 0), 0);
	assert_false(intr.level); /* the wire is high, but there was no edge */
}

static void test_priority_and_mask(void **state)
{
	(void)state;
	pulse(5);
	pulse(3);
	pulse(1);
	wr(0, 1, 0x02);
	assert_int_equal(inta(), 0x33);
	wr(0, 1, 0x00);
	assert_int_equal(inta(), 0x31); /* more urgent: nests */
	wr(0, 0, 0x20);
	assert_false(intr.level); /* 5 waits for 3 */
	wr(0, 0, 0x20);
	assert_int_equal(inta(), 0x35);
}

static void test_cascade(void **state)
{
	(void)state;
	pulse(8);
	pulse(3);
	assert_int_equal(inta(), 0x38); /* the slave is at 2, before 3 */
	assert_int_equal(pic.chip[0].isr, 0x04);
	pulse(9);
	assert_false(intr.level);
	wr(1, 0, 0x20);
	assert_false(intr.level); /* the master has 2 in service */
	wr(0, 0, 0x20);
	assert_int_equal(inta(), 0x39);
	wr(1, 0, 0x20);
	wr(0, 0, 0x20);
	assert_int_equal(inta(), 0x33);
}

static void test_special_fully_nested(void **state)
{
	(void)state;
	wr(0, 0, 0x11);
	wr(0, 1, 0x30);
	wr(0, 1, 0x04);
	wr(0, 1, 0x11);
	pulse(12);
	assert_int_equal(inta(), 0x3c);
	pulse(8); /* more urgent on the same slave */
	assert_true(intr.level);
	assert_int_equal(inta(), 0x38);
}

static void test_spurious(void **state)
{
	(void)state;
	assert_int_equal(inta(), 0x37);
	assert_int_equal(pic.chip[0].isr, 0);
	/* A slave's request that goes away after the master took it */
	i8259_elcr_write(&pic, 1, 0x02);
	pin(9, true);
	assert_true(intr.level);
	pin(9, false);
	assert_false(intr.level);
	assert_int_equal(inta(), 0x37);
}

static void test_level(void **state)
{
	(void)state;
	i8259_elcr_write(&pic, 0, 0xff);
	assert_int_equal(i8259_elcr_read(&pic, 0), 0xf8);
	i8259_elcr_write(&pic, 1, 0xff);
	assert_int_equal(i8259_elcr_read(&pic, 1), 0xde);
	pin(5, true);
	assert_int_equal(inta(), 0x35);
	wr(0, 0, 0x20);
	assert_true(intr.level); /* still asserted: again */
	assert_int_equal(inta(), 0x35);
	pin(5, false);
	wr(0, 0, 0x20);
	assert_false(intr.level);
}

static void test_auto_eoi(void **state)
{
	(void)state;
	program(0x03);
	pulse(3);
	pulse(4);
	assert_int_equal(inta(), 0x33);
	assert_int_equal(pic.chip[0].isr, 0);
	assert_int_equal(inta(), 0x34);
	wr(0, 0, 0x80); /* rotate in automatic EOI mode */
	pulse(0);
	assert_int_equal(inta(), 0x30);
	pulse(0);
	pulse(1);
	assert_int_equal(inta(), 0x31);
	assert_int_equal(inta(), 0x30);
}

static void test_rotation(void **state)
{
	(void)state;
	wr(0, 0, 0xc3); /* 3 is the lowest, so 4 is the highest */
	pulse(3);
	pulse(4);
	pulse(0);
	assert_int_equal(inta(), 0x34);
	wr(0, 0, 0xa0); /* rotate on non-specific EOI: 4 becomes the lowest */
	assert_int_equal(inta(), 0x30);
	wr(0, 0, 0xe0); /* rotate on specific EOI of 0 */
	assert_int_equal(pic.chip[0].lowest, 0);
	assert_int_equal(inta(), 0x33);
}

static void test_special_mask(void **state)
{
	(void)state;
	pulse(1);
	assert_int_equal(inta(), 0x31);
	pulse(6);
	assert_false(intr.level);
	wr(0, 1, 0x02);
	wr(0, 0, 0x68);
	assert_true(intr.level); /* the masked one in service no longer blocks */
	assert_int_equal(inta(), 0x36);
	wr(0, 0, 0x20); /* ends 6: 1 is masked */
	assert_int_equal(pic.chip[0].isr, 0x02);
	wr(0, 0, 0x48);
	wr(0, 0, 0x20);
	assert_int_equal(pic.chip[0].isr, 0);
}

static void test_poll(void **state)
{
	(void)state;
	wr(0, 0, 0x0c);
	assert_int_equal(i8259_read(&pic, 0, 0), 0);
	pulse(6);
	wr(0, 0, 0x0c);
	assert_int_equal(i8259_read(&pic, 0, 0), 0x86);
	assert_false(intr.level);
	assert_int_equal(pic.chip[0].isr, 0x40);
}

static void test_create(void **state)
{
	struct i8259 *made;
	struct vm vm;

	(void)state;
	fake_vm_init(&vm);
	assert_int_equal(i8259_create(&vm, fake_line(&intr), &made), 0);
	fake_out(&vm, I8259_MASTER_PORT + 1, 0x5a);
	fake_out(&vm, I8259_SLAVE_PORT + 1, 0xa5);
	fake_out(&vm, I8259_ELCR_PORT + 1, 0x02);
	assert_int_equal(fake_in(&vm, I8259_MASTER_PORT + 1), 0x5a);
	assert_int_equal(fake_in(&vm, I8259_SLAVE_PORT + 1), 0xa5);
	assert_int_equal(fake_in(&vm, I8259_ELCR_PORT + 1), 0x02);
	assert_null(i8259_pin(made, I8259_CASCADE).set);
	fake_vm_fini(&vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_masked_after_reset, setup),
		cmocka_unit_test_setup(test_edge_and_eoi, setup),
		cmocka_unit_test_setup(test_priority_and_mask, setup),
		cmocka_unit_test_setup(test_cascade, setup),
		cmocka_unit_test_setup(test_special_fully_nested, setup),
		cmocka_unit_test_setup(test_spurious, setup),
		cmocka_unit_test_setup(test_level, setup),
		cmocka_unit_test_setup(test_auto_eoi, setup),
		cmocka_unit_test_setup(test_rotation, setup),
		cmocka_unit_test_setup(test_special_mask, setup),
		cmocka_unit_test_setup(test_poll, setup),
		cmocka_unit_test_setup(test_create, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
