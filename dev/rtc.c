/* SPDX-License-Identifier: MIT */
/*
 * MC146818 RTC. Facts: Motorola MC146818 data sheet; ICH9 data sheet.
 *
 * Nothing ticks: the time registers are computed when they are read, the flags
 * in register C catch up when somebody looks (catch_up), and a timer runs only
 * for interrupts that are enabled.
 */
#include "dev/rtc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "vm/vm.h"

#define NS_PER_SEC 1000000000ll
#define UIP_NS 244000 /* "update in progress" warns this long before the update */
#define DAY_SEC 86400
#define XTAL_HZ 32768
#define NEVER INT64_MAX

enum {
	A_UIP = 0x80,
	A_DV = 0x70,
	A_DV_RESET = 0x60, /* and 0x70: the divider chain is held */
	A_RS = 0x0f,
	B_SET = 0x80,
	B_PIE = 0x40,
	B_AIE = 0x20,
	B_UIE = 0x10,
	B_BINARY = 0x04,
	B_24H = 0x02,
	C_IRQ = 0x80,
	C_PF = 0x40,
	C_AF = 0x20,
	C_UF = 0x10,
	C_FLAGS = C_PF | C_AF | C_UF,
	D_VALID = 0x80,

	HOUR_PM = 0x80,
	ALARM_ANY = 0xc0, /* both top bits: matches every value */

	/* Memory sizes where a BIOS stores them */
	CMOS_BASE_KIB = 0x15,
	CMOS_EXT_KIB = 0x17,
	CMOS_EXT_KIB_2 = 0x30,
	CMOS_ABOVE_16M = 0x34, /* in 64 KiB */
	CMOS_ABOVE_4G = 0x5b, /* in 64 KiB, 3 bytes */
};

struct civil {
	i64 year;
	unsigned month, day, hour, minute, second, weekday; /* 1.., 1.., weekday 1 is Sunday */
};

static i64 floor_div(i64 a, i64 b)
{
	return a / b - (a % b < 0);
}

/* Days since 1970-01-01 of a Gregorian date; months are counted from March. */
static i64 days_of(i64 year, unsigned month, unsigned day)
{
	i64 y = month <= 2 ? year - 1 : year;
	i64 era = floor_div(y, 400);
	i64 year_of_era = y - era * 400;
	i64 day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;

	return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719468;
}

static void date_of(i64 days, struct civil *c)
{
	i64 z = days + 719468;
	i64 era = floor_div(z, 146097);
	i64 doe = z - era * 146097;
	i64 yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	i64 doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	i64 mp = (5 * doy + 2) / 153;

	c->day = (unsigned)(doy - (153 * mp + 2) / 5 + 1);
	c->month = (unsigned)(mp < 10 ? mp + 3 : mp - 9);
	c->year = yoe + era * 400 + (c->month <= 2);
	c->weekday = (unsigned)((days % 7 + 7 + 4) % 7 + 1);
}

static void civil_of(i64 seconds, struct civil *c)
{
	i64 days = floor_div(seconds, DAY_SEC);
	unsigned rest = (unsigned)(seconds - days * DAY_SEC);

	date_of(days, c);
	c->hour = rest / 3600;
	c->minute = rest / 60 % 60;
	c->second = rest % 60;
}

static bool is_held(const struct rtc *rtc)
{
	return rtc->cmos[RTC_B] & B_SET;
}

struct instant {
	i64 sec, ns;
};

/* The guest's time. Its years reach further than 64 bits of nanoseconds. */
static struct instant utc(const struct rtc *rtc)
{
	i64 now = (i64)clock_now(rtc->clock);
	i64 ns = now % NS_PER_SEC + rtc->offset_ns;

	return (struct instant){
		.sec = now / NS_PER_SEC + rtc->offset_sec + ns / NS_PER_SEC,
		.ns = ns % NS_PER_SEC,
	};
}

static i64 utc_sec(const struct rtc *rtc)
{
	return utc(rtc).sec;
}

/* The clock when the guest's second begins. */
static u64 clock_at(const struct rtc *rtc, i64 sec)
{
	return (u64)((sec - rtc->offset_sec) * NS_PER_SEC - rtc->offset_ns);
}

static void set_offset(struct rtc *rtc, i64 sec, i64 ns)
{
	i64 now = (i64)clock_now(rtc->clock);

	rtc->offset_sec = sec - now / NS_PER_SEC;
	rtc->offset_ns = ns - now % NS_PER_SEC;
	if (rtc->offset_ns < 0) {
		rtc->offset_ns += NS_PER_SEC;
		rtc->offset_sec--;
	}
}

/* ---- numbers as the guest wants them: BCD or binary, 24 or 12 hours ---- */

static u8 encode(const struct rtc *rtc, unsigned v)
{
	return (u8)(rtc->cmos[RTC_B] & B_BINARY ? v : v / 10 << 4 | v % 10);
}

static unsigned decode(const struct rtc *rtc, u8 v)
{
	return rtc->cmos[RTC_B] & B_BINARY ? v : (v >> 4) * 10u + (v & 0xf);
}

static u8 encode_hour(const struct rtc *rtc, unsigned hour)
{
	if (rtc->cmos[RTC_B] & B_24H)
		return encode(rtc, hour);
	return encode(rtc, hour % 12 ? hour % 12 : 12) | (hour >= 12 ? HOUR_PM : 0);
}

static unsigned decode_hour(const struct rtc *rtc, u8 v)
{
	if (rtc->cmos[RTC_B] & B_24H)
		return decode(rtc, v);
	return decode(rtc, v & (u8)~HOUR_PM) % 12 + (v & HOUR_PM ? 12 : 0);
}

/* Writes the time of day into the registers. */
static void store_time(struct rtc *rtc, i64 seconds)
{
	struct civil c;

	civil_of(seconds, &c);
	rtc->cmos[RTC_SECONDS] = encode(rtc, c.second);
	rtc->cmos[RTC_MINUTES] = encode(rtc, c.minute);
	rtc->cmos[RTC_HOURS] = encode_hour(rtc, c.hour);
	rtc->cmos[RTC_WEEKDAY] = encode(rtc, c.weekday);
	rtc->cmos[RTC_DAY] = encode(rtc, c.day);
	rtc->cmos[RTC_MONTH] = encode(rtc, c.month);
	rtc->cmos[RTC_YEAR] = encode(rtc, (unsigned)(c.year % 100));
	rtc->cmos[RTC_CENTURY] = encode(rtc, (unsigned)(c.year / 100 % 100));
}

/* Reads it back; what is no date or time is taken as the nearest that is. */
static i64 fetch_time(const struct rtc *rtc)
{
	unsigned month = decode(rtc, rtc->cmos[RTC_MONTH]);
	unsigned day = decode(rtc, rtc->cmos[RTC_DAY]);
	i64 year = decode(rtc, rtc->cmos[RTC_CENTURY]) % 100 * 100 + decode(rtc, rtc->cmos[RTC_YEAR]) % 100;
	i64 days = days_of(year, MIN(MAX(month, 1u), 12u), MIN(MAX(day, 1u), 31u));

	return days * DAY_SEC + MIN(decode_hour(rtc, rtc->cmos[RTC_HOURS]), 23u) * 3600 +
	       MIN(decode(rtc, rtc->cmos[RTC_MINUTES]), 59u) * 60 +
	       MIN(decode(rtc, rtc->cmos[RTC_SECONDS]), 59u);
}

/* ---- flags and interrupts ---- */

/*
 * The first second after `from` that the alarm matches, or NEVER when its
 * registers hold no time of day.
 */
static i64 next_alarm(const struct rtc *rtc, i64 from)
{
	u8 h = rtc->cmos[RTC_HOURS_ALARM], m = rtc->cmos[RTC_MINUTES_ALARM], s = rtc->cmos[RTC_SECONDS_ALARM];
	unsigned second = decode(rtc, s);
	i64 t = from + 1;
	struct civil c;

	if (s < ALARM_ANY && second > 59)
		return NEVER;
	while (t <= from + DAY_SEC) {
		civil_of(t, &c);
		if (h < ALARM_ANY && decode_hour(rtc, h) != c.hour)
			t += 3600 - c.minute * 60 - c.second;
		else if (m < ALARM_ANY && decode(rtc, m) != c.minute)
			t += 60 - c.second;
		else if (s < ALARM_ANY && second != c.second)
			t += (second + 60 - c.second) % 60;
		else
			return t;
	}
	return NEVER;
}

/* Half-seconds and so on down: the period of the periodic interrupt in crystal ticks, or 0. */
static u32 periodic_ticks(const struct rtc *rtc)
{
	unsigned rate = rtc->cmos[RTC_A] & A_RS;

	if (!rate)
		return 0;
	return 1u << ((rate <= 2 ? rate + 7 : rate) - 1);
}

static u64 xtal_of(u64 ns)
{
	return (u64)((unsigned __int128)ns * XTAL_HZ / NS_PER_SEC);
}

static u64 ns_of_xtal(u64 ticks)
{
	return (u64)(((unsigned __int128)ticks * NS_PER_SEC + XTAL_HZ - 1) / XTAL_HZ);
}

static void update_irq(struct rtc *rtc)
{
	u8 *c = &rtc->cmos[RTC_C];
	bool level = *c & rtc->cmos[RTC_B] & C_FLAGS; /* flags and enables have the same places */

	*c = (u8)((*c & C_FLAGS) | (level ? C_IRQ : 0));
	irq_set(&rtc->irq, level);
}

/* Sets the flags of everything that has happened since the last call. */
static void catch_up(struct rtc *rtc)
{
	u64 ticks = xtal_of(clock_now(rtc->clock));
	u32 period = periodic_ticks(rtc);
	i64 now = utc_sec(rtc);

	if (period && ticks / period != rtc->seen_ticks / period)
		rtc->cmos[RTC_C] |= C_PF;
	rtc->seen_ticks = ticks;
	if (!is_held(rtc) && now > rtc->seen) {
		rtc->cmos[RTC_C] |= C_UF;
		if (next_alarm(rtc, rtc->seen) <= now)
			rtc->cmos[RTC_C] |= C_AF;
	}
	rtc->seen = now;
	update_irq(rtc);
}

static void arm_periodic(struct rtc *rtc)
{
	u32 period = periodic_ticks(rtc);

	if (period && rtc->cmos[RTC_B] & B_PIE)
		timer_arm(rtc->clock, &rtc->periodic, ns_of_xtal((rtc->seen_ticks / period + 1) * period));
	else
		timer_cancel(rtc->clock, &rtc->periodic);
}

static void arm_update(struct rtc *rtc)
{
	u8 b = rtc->cmos[RTC_B];
	i64 at = rtc->seen + 1;

	if (!(b & B_UIE))
		at = b & B_AIE ? next_alarm(rtc, rtc->seen) : NEVER;
	if (is_held(rtc) || at == NEVER)
		timer_cancel(rtc->clock, &rtc->update);
	else
		timer_arm(rtc->clock, &rtc->update, clock_at(rtc, at));
}

/* After any change of the time or the registers that timers depend on. */
static void rearm(struct rtc *rtc)
{
	arm_periodic(rtc);
	arm_update(rtc);
}

static void fire(void *arg)
{
	struct rtc *rtc = arg;

	catch_up(rtc);
	rearm(rtc);
}

/* ---- registers ---- */

/* The guest's time becomes `seconds` and the given part of one. */
static void set_time(struct rtc *rtc, i64 seconds, i64 fraction)
{
	set_offset(rtc, seconds, fraction);
	rtc->seen = seconds;
	rearm(rtc);
}

static bool is_time(u8 index)
{
	return index == RTC_CENTURY || (index <= RTC_YEAR && (index >= RTC_WEEKDAY || !(index & 1)));
}

static u8 read_a(const struct rtc *rtc)
{
	bool uip = !is_held(rtc) && utc(rtc).ns >= NS_PER_SEC - UIP_NS;

	return rtc->cmos[RTC_A] | (uip ? A_UIP : 0);
}

static u8 read_c(struct rtc *rtc)
{
	u8 value;

	catch_up(rtc);
	value = rtc->cmos[RTC_C];
	rtc->cmos[RTC_C] = 0;
	update_irq(rtc);
	return value;
}

u8 rtc_read(struct rtc *rtc, u8 index)
{
	index &= RTC_CMOS_SIZE - 1;
	if (is_time(index) && !is_held(rtc))
		store_time(rtc, utc_sec(rtc));
	if (index == RTC_A)
		return read_a(rtc);
	if (index == RTC_C)
		return read_c(rtc);
	return rtc->cmos[index];
}

static void write_a(struct rtc *rtc, u8 value)
{
	bool was_reset = (rtc->cmos[RTC_A] & A_DV_RESET) == A_DV_RESET;

	rtc->cmos[RTC_A] = value & (u8)~A_UIP;
	/* The first update comes half a second after the divider is let go. */
	if (was_reset && (value & A_DV_RESET) != A_DV_RESET)
		set_time(rtc, utc_sec(rtc), NS_PER_SEC / 2);
}

static void write_b(struct rtc *rtc, u8 value)
{
	bool held = is_held(rtc);

	if (value & B_SET) {
		if (!held)
			store_time(rtc, utc_sec(rtc));
		value &= (u8)~B_UIE;
	}
	if (held && !(value & B_SET)) {
		rtc->cmos[RTC_B] = value; /* its mode bits say how to read the registers */
		set_time(rtc, fetch_time(rtc), utc(rtc).ns);
	}
	rtc->cmos[RTC_B] = value;
	update_irq(rtc);
}

static void write_time(struct rtc *rtc, u8 index, u8 value)
{
	if (is_held(rtc)) {
		rtc->cmos[index] = value;
		return;
	}
	store_time(rtc, utc_sec(rtc));
	rtc->cmos[index] = value;
	set_time(rtc, fetch_time(rtc), utc(rtc).ns);
}

void rtc_write(struct rtc *rtc, u8 index, u8 value)
{
	index &= RTC_CMOS_SIZE - 1;
	catch_up(rtc);
	if (is_time(index))
		write_time(rtc, index, value);
	else if (index == RTC_A)
		write_a(rtc, value);
	else if (index == RTC_B)
		write_b(rtc, value);
	else if (index != RTC_C && index != RTC_D)
		rtc->cmos[index] = value;
	rearm(rtc);
}

static void put16(u8 *at, u64 value)
{
	u64 v = MIN(value, 0xffffu);

	at[0] = (u8)v;
	at[1] = (u8)(v >> 8);
}

static void store_config(struct rtc *rtc, const struct rtc_config *config)
{
	u64 low = config->ram_below_4g, high = config->ram_above_4g / KIB(64);
	u64 ext = low > MIB(1) ? (low - MIB(1)) / KIB(1) : 0;

	put16(&rtc->cmos[CMOS_BASE_KIB], MIN(low, KIB(640)) / KIB(1));
	put16(&rtc->cmos[CMOS_EXT_KIB], ext);
	put16(&rtc->cmos[CMOS_EXT_KIB_2], ext);
	put16(&rtc->cmos[CMOS_ABOVE_16M], low > MIB(16) ? (low - MIB(16)) / KIB(64) : 0);
	put16(&rtc->cmos[CMOS_ABOVE_4G], high & 0xffff);
	rtc->cmos[CMOS_ABOVE_4G + 2] = (u8)(high >> 16);
}

/* The battery keeps time and memory: a reset only stops the interrupts. */
void rtc_reset(struct rtc *rtc)
{
	if (is_held(rtc))
		write_b(rtc, rtc->cmos[RTC_B] & (u8)~B_SET);
	catch_up(rtc);
	rtc->index = 0;
	rtc->nmi_masked = false;
	rtc->cmos[RTC_B] &= (u8) ~(B_PIE | B_AIE | B_UIE);
	rtc->cmos[RTC_C] = 0;
	update_irq(rtc);
	rearm(rtc);
}

void rtc_init(
	struct rtc *rtc, struct clock *clock, struct irq_line irq, const struct rtc_config *config, i64 start)
{
	memset(rtc, 0, sizeof(*rtc));
	rtc->clock = clock;
	rtc->irq = irq;
	timer_init(&rtc->periodic, fire, rtc);
	timer_init(&rtc->update, fire, rtc);
	set_offset(rtc, floor_div(start, NS_PER_SEC), start - floor_div(start, NS_PER_SEC) * NS_PER_SEC);
	rtc->seen = utc_sec(rtc);
	rtc->seen_ticks = xtal_of(clock_now(clock));
	rtc->cmos[RTC_A] = 0x26; /* 32 kHz crystal, 1024 Hz */
	rtc->cmos[RTC_B] = B_24H;
	rtc->cmos[RTC_D] = D_VALID;
	store_config(rtc, config);
	rtc_reset(rtc);
}

static struct rtc *of(struct device *dev)
{
	return container_of(dev, struct rtc, dev);
}

static u64 region_read(struct device *dev, u64 offset, unsigned size)
{
	struct rtc *rtc = of(dev);

	(void)size;
	return offset ? rtc_read(rtc, rtc->index) : 0xff; /* the index port is write-only */
}

static void region_write(struct device *dev, u64 offset, unsigned size, u64 value)
{
	struct rtc *rtc = of(dev);

	(void)size;
	if (offset) {
		rtc_write(rtc, rtc->index, (u8)value);
		return;
	}
	rtc->index = value & 0x7f;
	rtc->nmi_masked = value & 0x80;
}

static const struct region_ops region_ops = {region_read, region_write, 1, 1};

static void dev_reset(struct device *dev)
{
	rtc_reset(of(dev));
}

static void dev_free(struct device *dev)
{
	struct rtc *rtc = of(dev);

	timer_cancel(rtc->clock, &rtc->periodic);
	timer_cancel(rtc->clock, &rtc->update);
	free(rtc);
}

static const struct device_ops device_ops = {.reset = dev_reset, .free = dev_free};

int rtc_create(struct vm *vm, struct irq_line irq, const struct rtc_config *config, struct rtc **out)
{
	struct rtc *rtc = malloc(sizeof(*rtc));
	struct timespec ts;
	int err;

	if (!rtc)
		return -ENOMEM;
	clock_gettime(CLOCK_REALTIME, &ts);
	rtc_init(rtc, &vm->clock, irq, config, ts.tv_sec * NS_PER_SEC + ts.tv_nsec);
	rtc->dev = (struct device){.ops = &device_ops, .name = "rtc"};
	rtc->region = (struct region){
		.name = "rtc",
		.base = RTC_PORT,
		.size = 2,
		.ops = &region_ops,
		.dev = &rtc->dev,
	};
	err = space_add(&vm->io, &rtc->region);
	if (err) {
		dev_free(&rtc->dev);
		return err;
	}
	vm_add_device(vm, &rtc->dev);
	*out = rtc;
	return 0;
}
