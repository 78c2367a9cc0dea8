/* SPDX-License-Identifier: MIT */
/* HPET: counter, comparators, routing, legacy replacement. */
#include "tests/unit/dev_fake.h"

#include "dev/hpet.h"

static struct hpet hpet;
static struct clock hpet_clock;
static struct fake_wire irq0, irq8, pins[HPET_PINS];

static u64 rd(u64 offset)
{
	return hpet_read(&hpet, offset, 8);
}

static void wr(u64 offset, u64 value)
{
	hpet_write(&hpet, offset, 8, value);
}

static u64 config_of(unsigned n)
{
	return HPET_TIMER0 + 0x20 * n;
}

static u64 comparator_of(unsigned n)
{
	return config_of(n) + 8;
}

static struct hpet_wires wires(void)
{
	struct hpet_wires w = {.irq0 = fake_line(&irq0), .irq8 = fake_line(&irq8)};

	for (unsigned i = 0; i < HPET_PINS; i++)
		w.pin[i] = (struct irq_line){.set = fake_wire_set, .ctx = pins, .pin = i};
	return w;
}

static int setup(void **state)
{
	struct hpet_wires w = wires();

	(void)state;
	memset(&irq0, 0, sizeof(irq0));
	memset(&irq8, 0, sizeof(irq8));
	memset(pins, 0, sizeof(pins));
	fake_clock(&hpet_clock);
	hpet_init(&hpet, &hpet_clock, &w);
	return 0;
}

static void test_capabilities(void **state)
{
	(void)state;
	assert_int_equal(rd(HPET_CAP), 10000000ull << 32 | 0x8086a201);
	assert_int_equal(hpet_read(&hpet, HPET_CAP + 4, 4), 10000000);
	wr(HPET_CAP, 0);
	assert_int_equal(hpet_read(&hpet, HPET_CAP, 4), 0x8086a201);
	assert_int_equal(rd(config_of(0)) >> 32, HPET_ROUTES);
	assert_int_equal(rd(config_of(3)), 0);
}

static void test_counter(void **state)
{
	(void)state;
	fake_pass(&hpet_clock, 1000);
	assert_int_equal(rd(HPET_COUNTER), 0);
	wr(HPET_COUNTER, 0xfffffffe);
	wr(HPET_CONFIG, 1);
	fake_pass(&hpet_clock, 50);
	assert_int_equal(rd(HPET_COUNTER), 0x100000003);
	assert_int_equal(hpet_read(&hpet, HPET_COUNTER, 4), 3);
	assert_int_equal(hpet_read(&hpet, HPET_COUNTER + 4, 4), 1);
	wr(HPET_COUNTER, 7); /* ignored while it runs */
	assert_int_equal(rd(HPET_COUNTER), 0x100000003);
	wr(HPET_CONFIG, 0);
	fake_pass(&hpet_clock, 1000);
	assert_int_equal(rd(HPET_COUNTER), 0x100000003);
	hpet_write(&hpet, HPET_COUNTER, 4, 9);
	assert_int_equal(rd(HPET_COUNTER), 0x100000009);
}

static void test_one_shot(void **state)
{
	(void)state;
	wr(HPET_CONFIG, 1);
	wr(config_of(2), 20 << 9 | 4);
	wr(comparator_of(2), 1000);
	fake_pass(&hpet_clock, 9999);
	assert_int_equal(pins[20].rises, 0);
	fake_pass(&hpet_clock, 1);
	assert_int_equal(pins[20].rises, 1);
	assert_false(pins[20].level);
	fake_pass(&hpet_clock, 1000000000);
	assert_int_equal(pins[20].rises, 1);
	wr(comparator_of(2), rd(HPET_COUNTER) - 5); /* just missed: fires now */
	fake_pass(&hpet_clock, 1);
	assert_int_equal(pins[20].rises, 2);
}

/* As Linux's hpet_clkevt_set_state_periodic does it, in 32-bit mode with legacy routing. */
static void test_periodic(void **state)
{
	u32 config;

	(void)state;
	hpet_write(&hpet, HPET_CONFIG, 4, 3);
	config = (u32)hpet_read(&hpet, config_of(0), 4) | 4 | 8 | 0x40 | 0x100;
	hpet_write(&hpet, config_of(0), 4, config);
	hpet_write(&hpet, comparator_of(0), 4, 400000);
	fake_pass(&hpet_clock, 1000);
	hpet_write(&hpet, comparator_of(0), 4, 400000);
	fake_pass(&hpet_clock, 1000000000 - 1000);
	assert_int_equal(irq0.rises, 250);
	irq0.rises = 0;
	fake_jump(&hpet_clock, 41000000); /* a late host: one edge, then in phase */
	assert_int_equal(irq0.rises, 1);
	fake_pass(&hpet_clock, 2999999);
	assert_int_equal(irq0.rises, 1);
	fake_pass(&hpet_clock, 1);
	assert_int_equal(irq0.rises, 2);
}

static void test_legacy_replacement(void **state)
{
	struct irq_line pit = hpet_legacy_in(&hpet, 0), rtc = hpet_legacy_in(&hpet, 8);

	(void)state;
	irq_set(&pit, true);
	assert_true(irq0.level);
	irq_set(&rtc, true);
	assert_true(irq8.level);
	wr(HPET_CONFIG, 3);
	assert_false(irq0.level);
	assert_false(irq8.level);
	irq_set(&pit, false);
	irq_set(&pit, true);
	assert_int_equal(irq0.rises, 1);
	wr(config_of(1), 4);
	wr(comparator_of(1), 100);
	fake_pass(&hpet_clock, 1000);
	assert_int_equal(irq8.rises, 2);
	wr(HPET_CONFIG, 0);
	assert_true(irq0.level);
	assert_true(irq8.level);
}

static void test_level(void **state)
{
	(void)state;
	wr(HPET_CONFIG, 1);
	wr(config_of(1), 21 << 9 | 6);
	wr(comparator_of(1), 10);
	fake_pass(&hpet_clock, 100);
	assert_true(pins[21].level);
	assert_int_equal(rd(HPET_STATUS), 2);
	wr(HPET_STATUS, 1);
	assert_true(pins[21].level);
	wr(HPET_STATUS, 2);
	assert_false(pins[21].level);
	assert_int_equal(rd(HPET_STATUS), 0);
}

static void test_bad_route(void **state)
{
	(void)state;
	wr(HPET_CONFIG, 1);
	wr(config_of(1), 31 << 9 | 6);
	wr(comparator_of(1), 10);
	fake_pass(&hpet_clock, 100);
	wr(config_of(1), 3 << 9 | 6);
	for (unsigned i = 0; i < HPET_PINS; i++)
		assert_int_equal(pins[i].rises, 0);
}

static void test_hostile_period(void **state)
{
	(void)state;
	wr(HPET_CONFIG, 1);
	wr(config_of(0), 20 << 9 | 4 | 8 | 0x40);
	wr(comparator_of(0), 1);
	fake_pass(&hpet_clock, 1000000);
	assert_in_range(pins[20].rises, 40, 60);
	wr(config_of(0), 20 << 9 | 4 | 8 | 0x40);
	wr(comparator_of(0), 0); /* no period at all: as one-shot */
	pins[20].rises = 0;
	fake_pass(&hpet_clock, 1000000);
	assert_in_range(pins[20].rises, 0, 1);
}

static void test_create(void **state)
{
	struct hpet_wires w = wires();
	struct hpet *made;
	struct vm vm;

	(void)state;
	fake_vm_init(&vm);
	assert_int_equal(hpet_create(&vm, &w, &made), 0);
	assert_int_equal(space_read(&vm.mem, HPET_BASE, 4), 0x8086a201);
	space_write(&vm.mem, HPET_BASE + HPET_CONFIG, 4, 1);
	fake_pass(&vm.clock, 100);
	assert_int_equal(space_read(&vm.mem, HPET_BASE + HPET_COUNTER, 8), 10);
	made->dev.ops->reset(&made->dev);
	assert_int_equal(space_read(&vm.mem, HPET_BASE + HPET_COUNTER, 8), 0);
	fake_vm_fini(&vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_capabilities, setup),
		cmocka_unit_test_setup(test_counter, setup),
		cmocka_unit_test_setup(test_one_shot, setup),
		cmocka_unit_test_setup(test_periodic, setup),
		cmocka_unit_test_setup(test_legacy_replacement, setup),
		cmocka_unit_test_setup(test_level, setup),
		cmocka_unit_test_setup(test_bad_route, setup),
		cmocka_unit_test_setup(test_hostile_period, setup),
		cmocka_unit_test_setup(test_create, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
