/* SPDX-License-Identifier: MIT */
/* 8042: reset, self-test, what Linux's driver asks of it; and the devices at its two ports. */
#include "tests/unit/dev_fake.h"

#include <linux/input-event-codes.h>

#include "dev/i8042.h"
#include "dev/ps2_keyboard.h"
#include "dev/ps2_mouse.h"

static struct i8042 kbc;
static struct vm vm;
static struct fake_wire irq, aux_irq;
static struct ps2_keyboard keyboard;
static struct ps2_mouse mouse;

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
	memset(&aux_irq, 0, sizeof(aux_irq));
	fake_clock(&vm.clock);
	i8042_init(&kbc, &vm, fake_line(&irq), fake_line(&aux_irq));
	return 0;
}

static int setup_plugged(void **state)
{
	setup(state);
	ps2_keyboard_init(&keyboard);
	ps2_mouse_init(&mouse);
	i8042_plug(&kbc, &keyboard.ps2, &mouse.ps2);
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
	assert_int_equal(i8042_create(&here, fake_line(&irq), fake_line(&aux_irq), &made), 0);
	fake_out(&here, I8042_COMMAND_PORT, 0xaa);
	assert_int_equal(fake_in(&here, I8042_COMMAND_PORT) & 1, 1);
	assert_int_equal(fake_in(&here, I8042_DATA_PORT), 0x55);
	made->dev.ops->reset(&made->dev);
	fake_vm_fini(&here);
}

/* ---- with devices ---- */

static bool full(void)
{
	return i8042_read_status(&kbc) & 0x01;
}

/* All bytes that come, with the pause that each takes, and whose they were: -1 ends. */
static void expect_bytes(bool aux, const int *bytes)
{
	for (unsigned i = 0; bytes[i] >= 0; i++) {
		if (!full())
			fake_pass(&vm.clock, 300000);
		assert_int_equal(i8042_read_status(&kbc) & 0x21, aux ? 0x21 : 0x01);
		assert_int_equal(i8042_read_data(&kbc), bytes[i]);
	}
	fake_pass(&vm.clock, 300000);
	assert_false(full());
}

#define expect_keyboard(...) expect_bytes(false, (const int[]){__VA_ARGS__, -1})
#define expect_mouse(...) expect_bytes(true, (const int[]){__VA_ARGS__, -1})
#define expect_nothing() expect_bytes(false, (const int[]){-1})

static void to_keyboard(u8 value)
{
	i8042_write_data(&kbc, value);
}

static void to_mouse(u8 value)
{
	command(0xd4);
	i8042_write_data(&kbc, value);
}

static void set_ctr(u8 value)
{
	command(0x60);
	i8042_write_data(&kbc, value);
}

static void key(u16 code, bool down)
{
	keyboard.sink.event(&keyboard.sink, EV_KEY, code, down);
}

static void move(i32 x, i32 y, i32 wheel)
{
	mouse.sink.event(&mouse.sink, EV_REL, REL_X, x);
	mouse.sink.event(&mouse.sink, EV_REL, REL_Y, y);
	mouse.sink.event(&mouse.sink, EV_REL, REL_WHEEL, wheel);
	mouse.sink.event(&mouse.sink, EV_SYN, SYN_REPORT, 0);
}

static void button(u16 code, bool down)
{
	mouse.sink.event(&mouse.sink, EV_KEY, code, down);
	mouse.sink.event(&mouse.sink, EV_SYN, SYN_REPORT, 0);
}

static void test_mouse_port(void **state)
{
	(void)state;
	command(0x20);
	assert_int_equal(answer(), 0x65);
	command(0xd3);
	i8042_write_data(&kbc, 0xa5);
	assert_int_equal(i8042_read_status(&kbc) & 0x21, 0x21);
	assert_int_equal(i8042_read_data(&kbc), 0xa5);
	command(0xa9);
	assert_int_equal(answer(), 0);
	command(0xa8);
	command(0x20);
	assert_int_equal(answer() & 0x20, 0);
	command(0xa7);
	command(0x20);
	assert_int_equal(answer() & 0x20, 0x20);
	set_ctr(0x47);
	to_mouse(0xf2);
	assert_true(aux_irq.level);
	assert_false(irq.level);
	command(0xd0);
	assert_int_equal(answer() & 0x30, 0x20);
	expect_mouse(0xfa, 0x00);
	assert_false(aux_irq.level);
}

static void test_scan_sets(void **state)
{
	(void)state;
	key(KEY_A, true);
	assert_true(irq.level);
	expect_keyboard(0x1e);
	key(KEY_A, false);
	key(KEY_F7, true);
	key(KEY_F7, false);
	key(KEY_RIGHT, true);
	key(KEY_RIGHT, false);
	expect_keyboard(0x9e, 0x41, 0xc1, 0xe0, 0x4d, 0xe0, 0xcd);
	key(KEY_PAUSE, true);
	key(KEY_PAUSE, false);
	expect_keyboard(0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5);
	key(KEY_SYSRQ, true);
	key(KEY_SYSRQ, false);
	expect_keyboard(0xe0, 0x2a, 0xe0, 0x37, 0xe0, 0xb7, 0xe0, 0xaa);
	key(KEY_LEFTALT, true);
	key(KEY_SYSRQ, true);
	key(KEY_SYSRQ, false);
	key(KEY_LEFTALT, false);
	expect_keyboard(0x38, 0x54, 0xd4, 0xb8);
	set_ctr(0x25); /* no translation */
	key(KEY_A, true);
	key(KEY_A, false);
	key(KEY_KPENTER, false);
	expect_keyboard(0x1c, 0xf0, 0x1c, 0xe0, 0xf0, 0x5a);
	to_keyboard(0xf0);
	expect_keyboard(0xfa);
	to_keyboard(0x00);
	expect_keyboard(0xfa, 0x02);
	to_keyboard(0xf0);
	to_keyboard(0x01);
	expect_keyboard(0xfa, 0xfa);
	key(KEY_A, false);
	key(KEY_DELETE, true);
	expect_keyboard(0x9e, 0xe0, 0x53);
	to_keyboard(0xf0);
	to_keyboard(0x03);
	expect_keyboard(0xfa, 0xfa);
	key(KEY_A, false);
	key(KEY_DELETE, true);
	key(KEY_102ND, true);
	expect_keyboard(0xf0, 0x1c, 0x64, 0x13);
	to_keyboard(0xf0);
	to_keyboard(0x04);
	expect_keyboard(0xfa, 0xfe);
}

/* Every key of set 1 comes back to itself over set 2 and the translation. */
static void test_translation(void **state)
{
	(void)state;
	for (u16 code = KEY_ESC; code <= KEY_KPDOT; code++) {
		key(code, true);
		key(code, false);
		expect_keyboard(code, code | 0x80);
	}
}

static void test_keyboard_commands(void **state)
{
	(void)state;
	to_keyboard(0xf2);
	expect_keyboard(0xfa, 0xab, 0x41);
	to_keyboard(0xee);
	expect_keyboard(0xee);
	to_keyboard(0xed);
	expect_keyboard(0xfa);
	to_keyboard(0x02);
	expect_keyboard(0xfa);
	assert_int_equal(keyboard.leds, 2);
	to_keyboard(0xf3);
	to_keyboard(0x20);
	expect_keyboard(0xfa, 0xfa);
	to_keyboard(0xfe);
	expect_keyboard(0xfa);
	to_keyboard(0xf5);
	expect_keyboard(0xfa);
	key(KEY_A, true);
	expect_nothing();
	to_keyboard(0xf4);
	expect_keyboard(0xfa);
	key(KEY_A, true);
	expect_keyboard(0x1e);
	to_keyboard(0x12);
	expect_keyboard(0xfe);
	to_keyboard(0xff);
	expect_keyboard(0xfa, 0xaa);
	/* A parameter that does not come, and another command instead. */
	to_keyboard(0xed);
	to_keyboard(0xee);
	expect_keyboard(0xfa, 0xee);
}

/* A reply overtakes keys that nobody has read; they come after it, whole. */
static void test_reply_first(void **state)
{
	(void)state;
	key(KEY_B, false); /* 0xf0 0x32: the mark is gone already */
	assert_true(full());
	to_keyboard(0xf2);
	expect_keyboard(0xfa, 0xab, 0x41, 0xb0);
	key(KEY_B, true);
	command(0x20);
	assert_int_equal(answer(), 0x65);
	expect_keyboard(0x30);
	/* Disabled, it waits. */
	command(0xad);
	key(KEY_C, true);
	expect_nothing();
	command(0xae);
	expect_keyboard(0x2e);
	/* After a reset, an old mark does not count. */
	key(KEY_B, false);
	to_keyboard(0xff);
	expect_keyboard(0xfa, 0xaa);
	key(KEY_B, true);
	expect_keyboard(0x30);
}

/* Two reads in one interrupt see the same byte; the next byte is another edge. */
static void test_timing(void **state)
{
	(void)state;
	key(KEY_A, true);
	key(KEY_B, true);
	assert_int_equal(irq.rises, 1);
	assert_int_equal(i8042_read_data(&kbc), 0x1e);
	assert_false(full());
	assert_int_equal(i8042_read_data(&kbc), 0x1e);
	key(KEY_C, true);
	assert_false(full());
	fake_pass(&vm.clock, 250000);
	assert_int_equal(irq.rises, 2);
	expect_keyboard(0x30, 0x2e);
}

static void test_overrun(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 1000; i++) {
		key(KEY_RIGHT, i & 1);
		button(BTN_LEFT, i & 1);
		move(1000, -1000, 1);
	}
	to_keyboard(0xf2);
	assert_int_equal(answer(), 0xfa);
	i8042_reset(&kbc);
	expect_nothing();
}

static void enable_mouse(u8 id)
{
	command(0xa8);
	for (unsigned i = 0; i < 3 && id; i++) {
		static const u8 wheel[] = {200, 100, 80}, explorer[] = {200, 200, 80};

		to_mouse(0xf3);
		to_mouse(id == 3 ? wheel[i] : explorer[i]);
		expect_mouse(0xfa, 0xfa);
	}
	to_mouse(0xf2);
	expect_mouse(0xfa, id);
	to_mouse(0xf4);
	expect_mouse(0xfa);
}

static void test_mouse_reports(void **state)
{
	(void)state;
	move(1, 1, 0);
	expect_nothing();
	enable_mouse(0);
	move(5, 3, 2);
	expect_mouse(0x28, 0x05, 0xfd);
	move(-5, -3, 0);
	expect_mouse(0x18, 0xfb, 0x03);
	button(BTN_LEFT, true);
	button(BTN_LEFT, false);
	button(BTN_RIGHT, true);
	expect_mouse(0x09, 0, 0, 0x08, 0, 0, 0x0a, 0, 0);
	/* A long way is several reports, and what happens meanwhile is one. */
	move(300, 0, 0);
	move(10, 0, 0);
	move(10, 0, 0);
	expect_mouse(0x0a, 0xff, 0, 0x0a, 65, 0);
	button(BTN_RIGHT, false);
	expect_mouse(0x08, 0, 0);
	to_mouse(0xe7);
	expect_mouse(0xfa);
	move(3, 0, 0);
	expect_mouse(0x08, 3, 0);
	move(20, 0, 0);
	expect_mouse(0x08, 40, 0);
	to_mouse(0xe9);
	expect_mouse(0xfa, 0x30, 2, 100);
}

static void test_wheel(void **state)
{
	(void)state;
	enable_mouse(3);
	move(0, 0, 1);
	expect_mouse(0x08, 0, 0, 0xff);
	move(0, 0, -2);
	expect_mouse(0x08, 0, 0, 2);
	to_mouse(0xff);
	expect_mouse(0xfa, 0xaa, 0);
	enable_mouse(4);
	button(BTN_EXTRA, true);
	expect_mouse(0x08, 0, 0, 0x20);
	move(0, 0, 1);
	expect_mouse(0x08, 0, 0, 0x2f);
	button(BTN_EXTRA, false);
	button(BTN_SIDE, true);
	expect_mouse(0x08, 0, 0, 0, 0x08, 0, 0, 0x10);
}

static void test_mouse_modes(void **state)
{
	(void)state;
	enable_mouse(0);
	to_mouse(0xf0);
	expect_mouse(0xfa);
	move(1, 0, 0);
	expect_nothing();
	to_mouse(0xeb);
	expect_mouse(0xfa, 0x08, 1, 0);
	to_mouse(0xea);
	to_mouse(0xee);
	expect_mouse(0xfa, 0xfa);
	to_mouse(0x55);
	to_mouse(0xf2);
	expect_mouse(0x55, 0xf2);
	to_mouse(0xec);
	expect_mouse(0xfa);
	to_mouse(0xe8);
	to_mouse(0x03);
	expect_mouse(0xfa, 0xfa);
	to_mouse(0xe9);
	expect_mouse(0xfa, 0x20, 3, 100);
	to_mouse(0xf6);
	expect_mouse(0xfa);
	to_mouse(0x01);
	expect_mouse(0xfe);
	/* A command drops the report that it interrupts, but not what it said of the buttons. */
	to_mouse(0xf4);
	expect_mouse(0xfa);
	button(BTN_MIDDLE, true);
	to_mouse(0xe6);
	expect_mouse(0xfa, 0x0c, 0, 0);
}

/* The wires rise only where the command byte lets them, and anew for each byte. */
static void test_interrupts(void **state)
{
	(void)state;
	set_ctr(0x44);
	to_mouse(0xf2);
	fake_pass(&vm.clock, 300000);
	assert_int_equal(i8042_read_status(&kbc) & 0x21, 0x21);
	assert_false(aux_irq.level || irq.level);
	expect_mouse(0xfa, 0x00);
	to_keyboard(0xee);
	fake_pass(&vm.clock, 300000);
	assert_true(full());
	assert_false(irq.level);
	expect_keyboard(0xee);
	set_ctr(0x45);
	irq.rises = 0;
	command(0xab);
	command(0xab); /* the first answer was not read */
	assert_int_equal(irq.rises, 2);
	assert_int_equal(answer(), 0);
}

static void test_lines(void **state)
{
	(void)state;
	/* A byte does not go over one that was not read. */
	set_ctr(0x55); /* the keyboard is off */
	key(KEY_A, true);
	command(0xab);
	set_ctr(0x45);
	fake_pass(&vm.clock, 300000);
	assert_int_equal(answer(), 0);
	expect_keyboard(0x1e);
	/* One that comes while the line is still busy comes when it is free. */
	key(KEY_A, false);
	assert_int_equal(answer(), 0x9e);
	key(KEY_B, true);
	assert_false(full());
	expect_keyboard(0x30);
	/* A byte to a device switches its line on. */
	set_ctr(0x55);
	to_keyboard(0xee);
	expect_keyboard(0xee);
	command(0x20);
	assert_int_equal(answer(), 0x45);
}

/* More than the queue holds: the oldest replies stay. */
static void test_floods(void **state)
{
	static const u8 identity[] = {0xfa, 0xab, 0x83};

	(void)state;
	set_ctr(0x55);
	for (unsigned i = 0; i < 100; i++)
		keyboard.ps2.write(&keyboard.ps2, 0xf2);
	set_ctr(0x05);
	for (unsigned i = 0; i < 3; i++) {
		fake_pass(&vm.clock, 300000);
		assert_int_equal(answer(), identity[i]);
	}
	i8042_reset(&kbc);
	set_ctr(0x45);
	for (unsigned i = 0; i < 3; i++)
		move(INT32_MAX, -INT32_MAX, INT32_MAX);
	enable_mouse(0);
	button(BTN_RIGHT, true);
	button(BTN_MIDDLE, true);
	while (fake_pass(&vm.clock, 300000), full())
		i8042_read_data(&kbc);
	to_mouse(0xe9);
	expect_mouse(0xfa, 0x23, 2, 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_reset_pulse, setup),
		cmocka_unit_test_setup(test_linux_probe, setup),
		cmocka_unit_test_setup(test_ports, setup),
		cmocka_unit_test_setup(test_create, setup),
		cmocka_unit_test_setup(test_mouse_port, setup_plugged),
		cmocka_unit_test_setup(test_scan_sets, setup_plugged),
		cmocka_unit_test_setup(test_translation, setup_plugged),
		cmocka_unit_test_setup(test_keyboard_commands, setup_plugged),
		cmocka_unit_test_setup(test_reply_first, setup_plugged),
		cmocka_unit_test_setup(test_timing, setup_plugged),
		cmocka_unit_test_setup(test_overrun, setup_plugged),
		cmocka_unit_test_setup(test_mouse_reports, setup_plugged),
		cmocka_unit_test_setup(test_wheel, setup_plugged),
		cmocka_unit_test_setup(test_mouse_modes, setup_plugged),
		cmocka_unit_test_setup(test_interrupts, setup_plugged),
		cmocka_unit_test_setup(test_lines, setup_plugged),
		cmocka_unit_test_setup(test_floods, setup_plugged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
