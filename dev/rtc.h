/* SPDX-License-Identifier: MIT */
/*
 * MC146818 real-time clock with 128 bytes of CMOS. The time is UTC: the clock
 * plus a fixed distance to the host's real time, which guest writes move.
 */
#pragma once

#include "vm/clock.h"
#include "vm/device.h"
#include "vm/irq.h"
#include "vm/space.h"

struct vm;

#define RTC_PORT 0x70
#define RTC_IRQ 8
#define RTC_CENTURY 0x32 /* also in the FADT */
#define RTC_CMOS_SIZE 128

enum {
	RTC_SECONDS = 0x0,
	RTC_SECONDS_ALARM = 0x1,
	RTC_MINUTES = 0x2,
	RTC_MINUTES_ALARM = 0x3,
	RTC_HOURS = 0x4,
	RTC_HOURS_ALARM = 0x5,
	RTC_WEEKDAY = 0x6,
	RTC_DAY = 0x7,
	RTC_MONTH = 0x8,
	RTC_YEAR = 0x9,
	RTC_A = 0xa,
	RTC_B = 0xb,
	RTC_C = 0xc,
	RTC_D = 0xd,
};

struct rtc_config {
	u64 ram_below_4g; /* bytes, from address 0 */
	u64 ram_above_4g; /* bytes, from 4 GiB */
};

struct rtc {
	struct device dev;
	struct region region;
	struct clock *clock;
	struct irq_line irq;
	i64 offset_sec, offset_ns; /* guest's time since 1970 minus the clock; ns from 0 */
	struct timer periodic, update;
	u64 seen_ticks; /* the crystal's ticks up to which register C knows */
	i64 seen; /* the guest's second up to which it knows */
	u8 index; /* port 0x70: bits 6:0 */
	bool nmi_masked; /* port 0x70: bit 7 */
	u8 cmos[RTC_CMOS_SIZE];
};

int rtc_create(struct vm *vm, struct irq_line irq, const struct rtc_config *config, struct rtc **out);

/* For tests: start is the guest's time in ns at clock_now. */
void rtc_init(struct rtc *rtc, struct clock *clock, struct irq_line irq, const struct rtc_config *config,
	i64 start);
void rtc_reset(struct rtc *rtc);
u8 rtc_read(struct rtc *rtc, u8 index);
void rtc_write(struct rtc *rtc, u8 index, u8 value);
