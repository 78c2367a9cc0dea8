/* SPDX-License-Identifier: MIT */
/* RTC: the calendar, setting it, alarms, periodic and update interrupts, CMOS. */
#include "tests/unit/dev_fake.h"

#include <time.h>

#include "dev/rtc.h"

#define SEC 1000000000ull
#define START 1704067199ll /* 2023-12-31 23:59:59 UTC, a Sunday */

static struct rtc rtc;
static struct clock rtc_clock;
static struct fake_wire irq;
static const struct rtc_config config = {.ram_below_4g = MIB(512), .ram_above_4g = GIB(2)};

static u8 rd(u8 index)
{
	return rtc_read(&rtc, index);
}

static void wr(u8 index, u8 value)
{
	rtc_write(&rtc, index, value);
}

static int setup(void **state)
{
	(void)state;
	memset(&irq, 0, sizeof(irq));
	fake_clock(&rtc_clock);
	rtc_init(&rtc, &rtc_clock, fake_line(&irq), &config, START * (i64)SEC);
	return 0;
}

static void assert_time(u8 century, u8 year, u8 month, u8 day, u8 hour, u8 minute, u8 second)
{
	assert_int_equal(rd(RTC_CENTURY), century);
	assert_int_equal(rd(RTC_YEAR), year);
	assert_int_equal(rd(RTC_MONTH), month);
	assert_int_equal(rd(RTC_DAY), day);
	assert_int_equal(rd(RTC_HOURS), hour);
	assert_int_equal(rd(RTC_MINUTES), minute);
	assert_int_equal(rd(RTC_SECONDS), second);
}

static void test_reads(void **state)
{
	(void)state;
	assert_time(0x20, 0x23, 0x12, 0x31, 0x23, 0x59, 0x59);
	assert_int_equal(rd(RTC_WEEKDAY), 1);
	fake_pass(&rtc_clock, SEC);
	assert_time(0x20, 0x24, 0x01, 0x01, 0x00, 0x00, 0x00);
	assert_int_equal(rd(RTC_WEEKDAY), 2);
	assert_int_equal(rd(RTC_D), 0x80);
}

static void test_formats(void **state)
{
	(void)state;
	wr(RTC_B, 0x06); /* binary */
	assert_time(20, 23, 12, 31, 23, 59, 59);
	wr(RTC_B, 0x00); /* BCD, 12 hours */
	assert_time(0x20, 0x23, 0x12, 0x31, 0x91, 0x59, 0x59);
	fake_pass(&rtc_clock, SEC);
	assert_int_equal(rd(RTC_HOURS), 0x12); /* midnight is 12 AM */
	wr(RTC_HOURS, 0x92); /* 12 PM is noon */
	wr(RTC_B, 0x02);
	assert_int_equal(rd(RTC_HOURS), 0x12);
	wr(RTC_HOURS, 0x15);
	wr(RTC_B, 0x00);
	assert_int_equal(rd(RTC_HOURS), 0x83);
}

/* The calendar against the C library's, over three centuries. */
static void test_calendar(void **state)
{
	(void)state;
	wr(RTC_B, 0x06);
	for (i64 t = -2000000000; t < 9000000000; t += 86400 * 13 + 3607) {
		time_t lib = t;
		struct tm tm;

		rtc_init(&rtc, &rtc_clock, fake_line(&irq), &config, t * (i64)SEC);
		wr(RTC_B, 0x06);
		gmtime_r(&lib, &tm);
		assert_time((u8)((tm.tm_year + 1900) / 100), (u8)((tm.tm_year + 1900) % 100),
			(u8)(tm.tm_mon + 1), (u8)tm.tm_mday, (u8)tm.tm_hour, (u8)tm.tm_min, (u8)tm.tm_sec);
		assert_int_equal(rd(RTC_WEEKDAY), tm.tm_wday + 1);
		/* And back: writing what was read changes nothing. */
		for (u8 i = 0; i <= RTC_YEAR; i++)
			if (i != 1 && i != 3 && i != 5)
				wr(i, rd(i));
		assert_int_equal(rtc.offset_sec, t - 1);
		assert_int_equal(rtc.offset_ns, 0);
	}
}

static void test_update_in_progress(void **state)
{
	(void)state;
	assert_int_equal(rd(RTC_A), 0x26);
	fake_pass(&rtc_clock, SEC - 200000);
	assert_int_equal(rd(RTC_A), 0xa6);
	fake_pass(&rtc_clock, 200000);
	assert_int_equal(rd(RTC_A), 0x26);
}

/* As Linux's mc146818_set_time does it. */
static void test_set_time(void **state)
{
	(void)state;
	fake_pass(&rtc_clock, 700000000);
	wr(RTC_B, 0x82);
	wr(RTC_A, 0x76);
	fake_pass(&rtc_clock, 5000000);
	wr(RTC_YEAR, 0x30);
	wr(RTC_MONTH, 0x02);
	wr(RTC_DAY, 0x28);
	wr(RTC_HOURS, 0x12);
	wr(RTC_MINUTES, 0x34);
	wr(RTC_SECONDS, 0x56);
	wr(RTC_CENTURY, 0x20);
	wr(RTC_B, 0x02);
	wr(RTC_A, 0x26);
	assert_time(0x20, 0x30, 0x02, 0x28, 0x12, 0x34, 0x56);
	/* The next update is half a second away. */
	fake_pass(&rtc_clock, 499999999);
	assert_int_equal(rd(RTC_SECONDS), 0x56);
	fake_pass(&rtc_clock, 1);
	assert_int_equal(rd(RTC_SECONDS), 0x57);
	/* The time outlives a reset. */
	rtc_reset(&rtc);
	assert_time(0x20, 0x30, 0x02, 0x28, 0x12, 0x34, 0x57);
}

/* From one end of the calendar to the other */
static void test_extreme_years(void **state)
{
	(void)state;
	wr(RTC_CENTURY, 0x99);
	wr(RTC_YEAR, 0x99);
	wr(RTC_B, 0x32);
	assert_time(0x99, 0x99, 0x12, 0x31, 0x23, 0x59, 0x59);
	fake_pass(&rtc_clock, SEC);
	assert_time(0x00, 0x00, 0x01, 0x01, 0x00, 0x00, 0x00); /* the registers wrap */
	wr(RTC_CENTURY, 0x00);
	fake_pass(&rtc_clock, SEC);
	assert_time(0x00, 0x00, 0x01, 0x01, 0x00, 0x00, 0x01);
	assert_true(irq.level);
}

static void test_garbage_is_a_date(void **state)
{
	(void)state;
	for (u8 i = 0; i <= RTC_YEAR; i++)
		wr(i, 0xff);
	wr(RTC_CENTURY, 0xff);
	assert_in_range(rd(RTC_MONTH), 0x01, 0x12);
	assert_in_range(rd(RTC_DAY), 0x01, 0x31);
	assert_in_range(rd(RTC_SECONDS), 0x00, 0x59);
	wr(RTC_B, 0x72);
	fake_pass(&rtc_clock, 3 * SEC);
	for (u8 i = 0; i <= RTC_YEAR; i++)
		wr(i, 0x00);
	assert_int_equal(rd(RTC_DAY), 0x01);
}

static void test_update_interrupt(void **state)
{
	(void)state;
	wr(RTC_B, 0x12);
	assert_false(irq.level);
	fake_pass(&rtc_clock, SEC);
	assert_true(irq.level);
	fake_pass(&rtc_clock, 3 * SEC);
	assert_int_equal(irq.rises, 1);
	assert_int_equal(rd(RTC_C) & 0xd0, 0xd0);
	assert_false(irq.level);
	fake_pass(&rtc_clock, SEC);
	assert_int_equal(irq.rises, 2);
	wr(RTC_B, 0x92); /* SET clears UIE and stops the updates */
	assert_int_equal(rd(RTC_B), 0x82);
	rd(RTC_C);
	fake_pass(&rtc_clock, 2 * SEC);
	assert_int_equal(rd(RTC_C) & 0x10, 0);
	assert_time(0x20, 0x24, 0x01, 0x01, 0x00, 0x00, 0x04);
}

/* Flags are set without their enables, for those who poll. */
static void test_polled_flags(void **state)
{
	(void)state;
	rd(RTC_C);
	fake_pass(&rtc_clock, SEC);
	assert_int_equal(rd(RTC_C) & 0xd0, 0x50);
	assert_int_equal(rd(RTC_C), 0);
	assert_int_equal(irq.rises, 0);
	assert_true(clock_next(&rtc_clock) == CLOCK_NEVER); /* nothing ticks for nobody */
}

static void test_alarm(void **state)
{
	(void)state;
	wr(RTC_HOURS_ALARM, 0x00);
	wr(RTC_MINUTES_ALARM, 0x01);
	wr(RTC_SECONDS_ALARM, 0x05);
	wr(RTC_B, 0x22);
	fake_pass(&rtc_clock, 65 * SEC);
	assert_false(irq.level);
	fake_pass(&rtc_clock, SEC);
	assert_true(irq.level);
	assert_int_equal(rd(RTC_C) & 0xa0, 0xa0);
	fake_pass(&rtc_clock, 86400 * SEC);
	assert_int_equal(irq.rises, 2);
	rd(RTC_C);
	/* Every minute at second 5 */
	wr(RTC_HOURS_ALARM, 0xc0);
	wr(RTC_MINUTES_ALARM, 0xff);
	irq.rises = 0;
	for (unsigned i = 0; i < 3; i++) {
		fake_pass(&rtc_clock, 60 * SEC);
		rd(RTC_C);
	}
	assert_int_equal(irq.rises, 3);
	/* One that never matches */
	wr(RTC_SECONDS_ALARM, 0x75);
	fake_pass(&rtc_clock, 2 * 86400 * SEC);
	assert_int_equal(irq.rises, 3);
}

static void test_periodic(void **state)
{
	(void)state;
	wr(RTC_A, 0x2f); /* 2 Hz */
	wr(RTC_B, 0x42);
	for (unsigned i = 0; i < 10; i++) {
		fake_pass(&rtc_clock, SEC / 2);
		assert_true(irq.level);
		assert_int_equal(rd(RTC_C) & 0xc0, 0xc0);
	}
	irq.rises = 0;
	wr(RTC_A, 0x23); /* 8192 Hz */
	for (unsigned i = 0; i < 8192; i++) {
		fake_pass(&rtc_clock, SEC / 8192);
		rd(RTC_C);
	}
	assert_in_range(irq.rises, 8190, 8192);
	wr(RTC_A, 0x20);
	irq.rises = 0;
	fake_pass(&rtc_clock, SEC);
	assert_int_equal(irq.rises, 0);
}

static void test_cmos(void **state)
{
	(void)state;
	assert_int_equal(rd(0x15) | rd(0x16) << 8, 640);
	assert_int_equal(rd(0x17) | rd(0x18) << 8, 0xffff);
	assert_int_equal(rd(0x34) | rd(0x35) << 8, (512 - 16) * 16);
	assert_int_equal(rd(0x5b) | rd(0x5c) << 8 | rd(0x5d) << 16, 2048 * 16);
	wr(0x50, 0xaa);
	rtc_reset(&rtc);
	assert_int_equal(rd(0x50), 0xaa);
}

static void test_create(void **state)
{
	struct rtc *made;
	struct vm vm;
	time_t now = time(NULL);
	struct tm tm;

	(void)state;
	fake_vm_init(&vm);
	assert_int_equal(rtc_create(&vm, fake_line(&irq), &config, &made), 0);
	fake_out(&vm, RTC_PORT, 0x80 | RTC_B);
	assert_true(made->nmi_masked);
	fake_out(&vm, RTC_PORT + 1, 0x06);
	gmtime_r(&now, &tm);
	fake_out(&vm, RTC_PORT, RTC_CENTURY);
	assert_int_equal(fake_in(&vm, RTC_PORT + 1), (tm.tm_year + 1900) / 100);
	assert_int_equal(fake_in(&vm, RTC_PORT), 0xff);
	fake_vm_fini(&vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_reads, setup),
		cmocka_unit_test_setup(test_formats, setup),
		cmocka_unit_test_setup(test_calendar, setup),
		cmocka_unit_test_setup(test_update_in_progress, setup),
		cmocka_unit_test_setup(test_set_time, setup),
		cmocka_unit_test_setup(test_extreme_years, setup),
		cmocka_unit_test_setup(test_garbage_is_a_date, setup),
		cmocka_unit_test_setup(test_update_interrupt, setup),
		cmocka_unit_test_setup(test_polled_flags, setup),
		cmocka_unit_test_setup(test_alarm, setup),
		cmocka_unit_test_setup(test_periodic, setup),
		cmocka_unit_test_setup(test_cmos, setup),
		cmocka_unit_test_setup(test_create, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
