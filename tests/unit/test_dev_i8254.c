/* SPDX-License-Identifier: MIT */
/* 8254: all modes against the clock, latches, port 0x61, and Linux's calibration loops. */
#include "tests/unit/dev_fake.h"

#include "dev/i8254.h"

static struct i8254 pit;
static struct clock pit_clock;
static struct fake_wire irq;

static int setup(void **state)
{
	(void)state;
	memset(&irq, 0, sizeof(irq));
	fake_clock(&pit_clock);
	i8254_init(&pit, &pit_clock, fake_line(&irq));
	return 0;
}

/* Moves time to the middle of the tick that is `ticks` after the current one. */
static void ticks(u64 n)
{
	u64 tick = fake_ns * I8254_HZ / 1000000000 + n;

	fake_pass(&pit_clock, (tick * 1000000000 + 500000000) / I8254_HZ - fake_ns);
}

static void program(unsigned channel, unsigned mode, u16 count)
{
	ticks(0);
	i8254_write(&pit, 3, (u8)(channel << 6 | 0x30 | mode << 1));
	i8254_write(&pit, channel, (u8)count);
	i8254_write(&pit, channel, (u8)(count >> 8));
}

static u16 live(unsigned channel)
{
	u8 low = i8254_read(&pit, channel);

	return (u16)(low | i8254_read(&pit, channel) << 8);
}

static bool out2(void)
{
	return i8254_read_61(&pit) & 0x20;
}

static void test_mode0(void **state)
{
	(void)state;
	i8254_write_61(&pit, 1);
	program(2, 0, 100);
	assert_false(out2());
	assert_int_equal(live(2), 100);
	ticks(40);
	assert_int_equal(live(2), 60);
	i8254_write_61(&pit, 0); /* the gate holds the count */
	ticks(1000);
	assert_int_equal(live(2), 60);
	i8254_write_61(&pit, 1);
	ticks(59);
	assert_false(out2());
	ticks(1);
	assert_true(out2());
	assert_int_equal(live(2), 0);
	ticks(1);
	assert_int_equal(live(2), 0xffff);
	assert_true(out2());
	i8254_write(&pit, 2, 5); /* the first byte stops it, output low */
	assert_false(out2());
	i8254_write(&pit, 2, 0);
	ticks(5);
	assert_true(out2());
}

static void test_mode0_interrupt(void **state)
{
	unsigned before;

	(void)state;
	program(0, 0, 1193);
	before = irq.rises;
	assert_false(irq.level);
	ticks(1192);
	assert_int_equal(irq.rises, before);
	ticks(1);
	assert_int_equal(irq.rises, before + 1);
}

static void test_mode1(void **state)
{
	(void)state;
	program(2, 1, 50);
	assert_true(out2());
	ticks(10);
	assert_true(out2()); /* waits for its trigger */
	i8254_write_61(&pit, 1);
	assert_false(out2());
	ticks(30);
	i8254_write_61(&pit, 0);
	i8254_write_61(&pit, 1); /* again */
	ticks(49);
	assert_false(out2());
	ticks(1);
	assert_true(out2());
}

static void test_mode2(void **state)
{
	(void)state;
	i8254_write_61(&pit, 1);
	program(2, 2, 10);
	assert_int_equal(live(2), 10);
	ticks(9);
	assert_int_equal(live(2), 1);
	assert_false(out2());
	ticks(1);
	assert_int_equal(live(2), 10);
	assert_true(out2());
	/* A new count waits for the end of the period. */
	i8254_write(&pit, 2, 20);
	i8254_write(&pit, 2, 0);
	ticks(5);
	assert_int_equal(live(2), 5);
	ticks(5);
	assert_int_equal(live(2), 20);
	ticks(20);
	assert_int_equal(live(2), 20);
}

static void test_mode2_interrupts(void **state)
{
	(void)state;
	program(0, 2, 11932); /* 100 Hz */
	irq.rises = 0;
	fake_pass(&pit_clock, 1000000000);
	assert_in_range(irq.rises, 99, 100);
	/* A late host gets one edge, then the old phase. */
	irq.rises = 0;
	fake_jump(&pit_clock, 55000000);
	assert_int_equal(irq.rises, 1);
	fake_pass(&pit_clock, 10000000);
	assert_int_equal(irq.rises, 2);
}

static void test_mode3(void **state)
{
	(void)state;
	i8254_write_61(&pit, 1);
	program(2, 3, 10);
	assert_int_equal(live(2), 10);
	ticks(4);
	assert_int_equal(live(2), 2);
	assert_true(out2());
	ticks(1);
	assert_false(out2());
	assert_int_equal(live(2), 10);
	ticks(5);
	assert_true(out2());
	i8254_write_61(&pit, 0); /* gate low: output high, and the count starts anew */
	ticks(7);
	assert_true(out2());
	i8254_write_61(&pit, 1);
	assert_int_equal(live(2), 10);
}

static void test_mode4_interrupt(void **state)
{
	(void)state;
	program(0, 4, 100);
	irq.rises = 0;
	ticks(100);
	assert_int_equal(irq.rises, 0);
	ticks(1);
	assert_int_equal(irq.rises, 1);
	ticks(70000);
	assert_int_equal(irq.rises, 1);
}

static void test_mode5(void **state)
{
	(void)state;
	program(2, 5, 10);
	i8254_write_61(&pit, 1);
	ticks(9);
	assert_true(out2());
	ticks(1);
	assert_false(out2());
	ticks(1);
	assert_true(out2());
}

static void test_latch_and_read_back(void **state)
{
	u8 status, low;

	(void)state;
	program(0, 2, 1000);
	ticks(100);
	i8254_write(&pit, 3, 0x00); /* latch channel 0 */
	ticks(50);
	i8254_write(&pit, 3, 0x00); /* ignored: not read yet */
	low = i8254_read(&pit, 0);
	assert_int_equal(low | i8254_read(&pit, 0) << 8, 900);
	assert_int_equal(live(0), 850);
	i8254_write(&pit, 3, 0xc2); /* read back status and count of channel 0 */
	ticks(10);
	status = i8254_read(&pit, 0);
	assert_int_equal(status, 0xb4);
	low = i8254_read(&pit, 0);
	assert_int_equal(low | i8254_read(&pit, 0) << 8, 850);
	i8254_write(&pit, 3, 0x34);
	i8254_write(&pit, 3, 0xe2);
	assert_int_equal(i8254_read(&pit, 0) & 0x40, 0x40); /* null count */
}

static void test_access_modes(void **state)
{
	(void)state;
	ticks(0);
	i8254_write(&pit, 3, 0x14); /* low byte only, mode 2 */
	i8254_write(&pit, 0, 200);
	ticks(50);
	assert_int_equal(i8254_read(&pit, 0), 150);
	i8254_write(&pit, 3, 0x24); /* high byte only */
	i8254_write(&pit, 0, 2);
	assert_int_equal(i8254_read(&pit, 0), 2);
	ticks(1);
	assert_int_equal(i8254_read(&pit, 0), 1);
}

static void test_bcd(void **state)
{
	(void)state;
	ticks(0);
	i8254_write(&pit, 3, 0x35);
	i8254_write(&pit, 0, 0x00);
	i8254_write(&pit, 0, 0x10); /* 1000 */
	ticks(1);
	assert_int_equal(live(0), 0x0999);
	ticks(999);
	assert_int_equal(live(0), 0x1000);
}

/* Linux: quick_pit_calibrate waits for each value of the count's high byte in turn. */
static void test_linux_quick_calibrate(void **state)
{
	unsigned expect = 0xff, seen = 0;
	u64 start = 0;

	(void)state;
	i8254_write_61(&pit, (u8)((i8254_read_61(&pit) & ~2) | 1));
	i8254_write(&pit, 3, 0xb0);
	i8254_write(&pit, 2, 0xff);
	i8254_write(&pit, 2, 0xff);
	while (expect > 0xe0) {
		i8254_read(&pit, 2);
		if (i8254_read(&pit, 2) == expect) {
			seen++;
		} else {
			assert_true(seen > 100);
			if (expect == 0xff)
				start = fake_ns;
			expect--;
			seen = 1; /* this read has the next value already */
		}
		fake_ns += 1500;
	}
	/* 30 turns of 256 ticks */
	assert_in_range(fake_ns - start, 30 * 256 * 838ull - 3000, 30 * 256 * 838ull + 6000);
}

static void test_linux_slow_calibrate(void **state)
{
	u64 start = fake_ns;

	(void)state;
	i8254_write_61(&pit, 1);
	i8254_write(&pit, 3, 0xb0);
	i8254_write(&pit, 2, 11931 & 0xff);
	i8254_write(&pit, 2, 11931 >> 8);
	while (!out2())
		fake_ns += 1000;
	assert_in_range(fake_ns - start, 9998000, 10001000);
}

/* The fastest rate that can be asked for must not keep the host busy for ever. */
static void test_hostile_rate(void **state)
{
	(void)state;
	program(0, 2, 1);
	irq.rises = 0;
	fake_pass(&pit_clock, 1000000);
	assert_in_range(irq.rises, 40, 60);
}

static void test_port_61(void **state)
{
	u8 first = i8254_read_61(&pit) & 0x10;

	(void)state;
	fake_ns += 15085;
	assert_int_not_equal(i8254_read_61(&pit) & 0x10, first);
	i8254_write_61(&pit, 3);
	assert_int_equal(i8254_read_61(&pit) & 0x0f, 3);
}

static void test_create(void **state)
{
	struct i8254 *made;
	struct vm vm;

	(void)state;
	fake_vm_init(&vm);
	assert_int_equal(i8254_create(&vm, fake_line(&irq), &made), 0);
	fake_out(&vm, 0x43, 0x34);
	fake_out(&vm, 0x40, 0);
	fake_out(&vm, 0x40, 0);
	assert_true(clock_next(&vm.clock) != CLOCK_NEVER);
	fake_out(&vm, 0x61, 1);
	assert_int_equal(fake_in(&vm, 0x61) & 1, 1);
	made->dev.ops->reset(&made->dev);
	assert_true(clock_next(&vm.clock) != CLOCK_NEVER); /* 18.2 Hz, as firmware leaves it */
	fake_vm_fini(&vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_mode0, setup),
		cmocka_unit_test_setup(test_mode0_interrupt, setup),
		cmocka_unit_test_setup(test_mode1, setup),
		cmocka_unit_test_setup(test_mode2, setup),
		cmocka_unit_test_setup(test_mode2_interrupts, setup),
		cmocka_unit_test_setup(test_mode3, setup),
		cmocka_unit_test_setup(test_mode4_interrupt, setup),
		cmocka_unit_test_setup(test_mode5, setup),
		cmocka_unit_test_setup(test_latch_and_read_back, setup),
		cmocka_unit_test_setup(test_access_modes, setup),
		cmocka_unit_test_setup(test_bcd, setup),
		cmocka_unit_test_setup(test_linux_quick_calibrate, setup),
		cmocka_unit_test_setup(test_linux_slow_calibrate, setup),
		cmocka_unit_test_setup(test_hostile_rate, setup),
		cmocka_unit_test_setup(test_port_61, setup),
		cmocka_unit_test_setup(test_create, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
