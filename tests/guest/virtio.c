/* SPDX-License-Identifier: MIT */
/*
 * A virtio driver that breaks every rule, on each virtio device that the machine has
 * (without any, there is little to check). What counts is that the machine is still
 * there, that a device says so when it needs a reset, and that it works after one.
 */
#include "rt.h"

#define ECAM 0xb0000000ull
#define DEVICES 16
#define ROUNDS 400
#define QUEUE_SIZE 16
#define NOWHERE 0xd0000000ull

enum { /* the common structure, and the other ones' places as the device's capabilities say */
	DEVICE_SELECT = 0x00,
	DEVICE_FEATURE = 0x04,
	DRIVER_SELECT = 0x08,
	DRIVER_FEATURE = 0x0c,
	NUM_QUEUES = 0x12,
	STATUS = 0x14,
	QUEUE_SELECT = 0x16,
	QUEUE_SIZE_REG = 0x18,
	QUEUE_ENABLE = 0x1c,
	QUEUE_DESC = 0x20,
	QUEUE_DRIVER = 0x28,
	QUEUE_DEVICE = 0x30,
	QUEUE_RESET = 0x3a,

	NEEDS_RESET = 64,
	READY = 15,
};

enum { NEXT = 1, WRITE = 2, INDIRECT = 4 };

struct device {
	u64 common, isr, config, notify;
	u32 step;
	u16 id;
};

static struct device devices[DEVICES];
static unsigned ndevices;
static u64 scratch; /* 64 pages: rings in the first ones, buffers behind */
static u64 seed = 88172645463325252;

static u64 random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

/* ---- finding them ---- */

static u32 config32(unsigned devfn, unsigned at)
{
	return *(volatile u32 *)(ECAM + (devfn << 12) + at);
}

static u64 bar_base(unsigned devfn, unsigned bar)
{
	u32 low = config32(devfn, 0x10 + 4 * bar);

	return (low & ~15ull) | ((low & 6) == 4 ? (u64)config32(devfn, 0x14 + 4 * bar) << 32 : 0);
}

static void add_capability(struct device *d, unsigned devfn, unsigned cap, u64 window)
{
	u64 at = window + config32(devfn, cap + 8);

	switch (config32(devfn, cap) >> 24) {
	case 1:
		d->common = at;
		break;
	case 2:
		d->notify = at;
		d->step = config32(devfn, cap + 16);
		break;
	case 3:
		d->isr = at;
		break;
	case 4:
		d->config = at;
		break;
	}
}

/* All of its structures are in one BAR, which is mapped at a place of its own. */
static void add_device(unsigned devfn)
{
	struct device *d = &devices[ndevices];
	u64 window = VTEST + ndevices * 0x10000ull;
	unsigned bar = 4;

	d->id = (u16)(config32(devfn, 0) >> 16);
	*(volatile u16 *)(ECAM + (devfn << 12) + 4) = 6;
	for (u64 at = 0; at < 0x4000; at += 0x1000)
		map(window + at, bar_base(devfn, bar) + at, P | W | PCD);
	for (unsigned cap = config32(devfn, 0x34) & 0xfc; cap; cap = config32(devfn, cap) >> 8 & 0xfc)
		if ((config32(devfn, cap) & 0xff) == 9 && (config32(devfn, cap + 4) & 0xff) == bar)
			add_capability(d, devfn, cap, window);
	ndevices += d->common && d->notify;
}

static void find(void)
{
	for (unsigned devfn = 0; devfn < 256; devfn += 8) {
		u32 id = config32(devfn, 0);

		if ((id & 0xffff) == 0x1af4 && id >> 16 >= 0x1040 && id >> 16 < 0x1080 && ndevices < DEVICES)
			add_device(devfn);
	}
	scratch = pages_alloc(64, 12);
	put("virtio devices: ");
	put_hex(ndevices);
	put("\n");
}

/* ---- registers ---- */

static u8 status(struct device *d)
{
	return *(volatile u8 *)(d->common + STATUS);
}

static void set_status(struct device *d, u8 value)
{
	*(volatile u8 *)(d->common + STATUS) = value;
}

static void set16(struct device *d, unsigned at, u16 value)
{
	*(volatile u16 *)(d->common + at) = value;
}

static void set32(struct device *d, unsigned at, u32 value)
{
	*(volatile u32 *)(d->common + at) = value;
}

static void set64(struct device *d, unsigned at, u64 value)
{
	set32(d, at, (u32)value);
	set32(d, at + 4, (u32)(value >> 32));
}

static u64 offered(struct device *d)
{
	u64 features;

	set32(d, DEVICE_SELECT, 0);
	features = *(volatile u32 *)(d->common + DEVICE_FEATURE);
	set32(d, DEVICE_SELECT, 1);
	return features | (u64) * (volatile u32 *)(d->common + DEVICE_FEATURE) << 32;
}

static void kick(struct device *d, unsigned queue)
{
	*(volatile u16 *)(d->notify + queue * d->step) = (u16)queue;
}

static unsigned nqueues(struct device *d)
{
	unsigned n = *(volatile u16 *)(d->common + NUM_QUEUES);

	return n < 8 ? n : 8;
}

static u64 page_of(unsigned queue)
{
	return scratch + queue * 0x1000;
}

/* By the rules up to here. */
static void set_up(struct device *d, u64 features)
{
	set_status(d, 0);
	memset((void *)scratch, 0, 8 * 4096);
	set_status(d, 3);
	features &= offered(d);
	for (unsigned i = 0; i < 2; i++) {
		set32(d, DRIVER_SELECT, i);
		set32(d, DRIVER_FEATURE, (u32)(features >> 32 * i) | (i ? 1 : 0));
	}
	set_status(d, 11);
	for (unsigned i = 0; i < nqueues(d); i++) {
		set16(d, QUEUE_SELECT, (u16)i);
		set16(d, QUEUE_SIZE_REG, QUEUE_SIZE);
		set64(d, QUEUE_DESC, page_of(i));
		set64(d, QUEUE_DRIVER, page_of(i) + 0x400);
		set64(d, QUEUE_DEVICE, page_of(i) + 0x500);
		set16(d, QUEUE_ENABLE, 1);
	}
	set_status(d, READY);
}

static void desc(unsigned queue, unsigned slot, u64 addr, u32 len, u16 flags, u16 next)
{
	u64 at = page_of(queue) + 16 * slot;

	*(volatile u64 *)at = addr;
	*(volatile u32 *)(at + 8) = len;
	*(volatile u16 *)(at + 12) = flags;
	*(volatile u16 *)(at + 14) = next;
}

static void avail(unsigned queue, u16 head, u16 index)
{
	*(volatile u16 *)(page_of(queue) + 0x404) = head;
	*(volatile u16 *)(page_of(queue) + 0x402) = index;
}

/* ---- one broken rule each, on queue 0 with split rings and indirect descriptors ---- */

static void bad_head(void)
{
	avail(0, QUEUE_SIZE, 1);
}

static void bad_index(void)
{
	avail(0, 0, 0x8000);
}

static void bad_loop(void)
{
	desc(0, 0, scratch + 0x8000, 0, NEXT, 1);
	desc(0, 1, scratch + 0x8000, 0, NEXT, 0);
	avail(0, 0, 1);
}

static void bad_hole(void)
{
	desc(0, 0, NOWHERE, 64, WRITE, 0);
	avail(0, 0, 1);
}

static void bad_wrap(void)
{
	desc(0, 0, -32ull, 64, WRITE, 0);
	avail(0, 0, 1);
}

static void bad_registers(void)
{
	desc(0, 0, ECAM, 64, WRITE, 0);
	avail(0, 0, 1);
}

static void bad_order(void)
{
	desc(0, 0, scratch + 0x8000, 16, WRITE | NEXT, 1);
	desc(0, 1, scratch + 0x8100, 16, 0, 0);
	avail(0, 0, 1);
}

static void bad_length(void)
{
	desc(0, 0, 0, 0xffffffff, 0, 0);
	avail(0, 0, 1);
}

static void bad_table(void)
{
	desc(0, 0, page_of(0) + 0x600, 17, INDIRECT, 0);
	avail(0, 0, 1);
}

static void bad_nesting(void)
{
	desc(0, 0, page_of(0), 16, INDIRECT, 0);
	avail(0, 0, 1);
}

static void (*const wrongs[])(void) = {
	bad_head,
	bad_index,
	bad_loop,
	bad_hole,
	bad_wrap,
	bad_registers,
	bad_order,
	bad_length,
	bad_table,
	bad_nesting,
};

/* Queue 0 of a console without multiport is looked at only when somebody types. */
static bool looks(const struct device *d)
{
	return d->id != 0x1043;
}

static void rules(void)
{
	for (unsigned i = 0; i < ndevices; i++) {
		struct device *d = &devices[i];

		for (unsigned w = 0; w < sizeof(wrongs) / sizeof(wrongs[0]); w++) {
			set_up(d, BIT(28));
			check_n("ready", w, status(d), READY);
			wrongs[w]();
			kick(d, 0);
			if (looks(d))
				check_n("needs-reset", w, status(d), READY | NEEDS_RESET);
			kick(d, 0);
		}
		set_status(d, 0);
		check("reset", status(d), 0);
	}
}

/* Rings where no RAM is, or which end behind it; sizes that there are not. */
static void rings(void)
{
	static const u64 places[] = {NOWHERE, -16ull, ECAM, BIT(45), 0xfffffff0, 0xfed00000};

	for (unsigned i = 0; i < ndevices; i++) {
		struct device *d = &devices[i];

		for (unsigned p = 0; p < 3 * sizeof(places) / sizeof(places[0]); p++) {
			set_status(d, 0);
			set_status(d, 3);
			set32(d, DRIVER_SELECT, 1);
			set32(d, DRIVER_FEATURE, 1);
			set_status(d, 11);
			set16(d, QUEUE_SELECT, 0);
			set64(d, QUEUE_DESC, page_of(0));
			set64(d, QUEUE_DRIVER, page_of(0) + 0x400);
			set64(d, QUEUE_DEVICE, page_of(0) + 0x500);
			set64(d, QUEUE_DESC + 8 * (p % 3), places[p / 3]);
			set16(d, QUEUE_ENABLE, 1);
			set_status(d, READY);
			kick(d, 0);
			check_n("ring-refused", p, *(volatile u16 *)(d->common + QUEUE_ENABLE), 0);
		}
	}
}

/* ---- anything ---- */

static u64 any_address(void)
{
	u64 r = random();

	switch (r & 15) {
	case 0:
		return r;
	case 1:
		return NOWHERE + (r >> 4 & 0xfffff);
	case 2:
		return page_of(r >> 4 & 7); /* a ring as a buffer */
	default:
		return scratch + 0x8000 + (r >> 8 & 0x1ffff);
	}
}

/* What a device fills stays in the scratch pages: addresses there leave room for the length. */
static void any_ring(unsigned queue)
{
	for (unsigned slot = 0; slot < QUEUE_SIZE; slot++) {
		u64 r = random();
		u32 len = r & 0x10000 ? (u32)r & 0xffff : (u32)r & 0x1fff;

		desc(queue, slot, any_address(), len, (u16)(r >> 32 & (r & 0x20000 ? 0xffff : 0x8083)),
			(u16)(r >> 48 & (r & 0x40000 ? 0xffff : QUEUE_SIZE - 1)));
		*(volatile u16 *)(page_of(queue) + 0x404 + 2 * slot) = random() & QUEUE_SIZE;
	}
	*(volatile u16 *)(page_of(queue) + 0x402) += (u16)(random() % (QUEUE_SIZE + 2));
}

static void any_register(struct device *d)
{
	u64 r = random();

	switch (r & 7) {
	case 0:
		set16(d, QUEUE_SELECT, (u16)(r >> 8 & 15));
		break;
	case 1:
		set16(d, QUEUE_RESET, 1);
		break;
	case 2:
		set_status(d, (u8)(r >> 8));
		break;
	case 3:
		if (d->config)
			*(volatile u32 *)(d->config + (r >> 8 & 0x3c)) = (u32)random();
		break;
	case 4:
		(void)*(volatile u8 *)d->isr;
		break;
	case 5:
		set16(d, 0x10 + (r >> 8 & 0xe), (u16)random());
		break;
	default:
		kick(d, r >> 8 & 7);
		break;
	}
}

static void anything(void)
{
	for (unsigned round = 0; round < ROUNDS; round++) {
		for (unsigned i = 0; i < ndevices; i++) {
			struct device *d = &devices[i];

			set_up(d, random() | (round & 1 ? BIT(34) : 0));
			for (unsigned q = 0; q < nqueues(d); q++) {
				any_ring(q);
				kick(d, q);
			}
			for (unsigned n = random() & 7; n; n--)
				any_register(d);
			set_status(d, 0);
		}
	}
	check("alive", ndevices <= DEVICES, true);
}

/* ---- and then, by the rules ---- */

static void again(void)
{
	for (unsigned i = 0; i < ndevices; i++) {
		struct device *d = &devices[i];

		if (d->id != 0x1044) /* random numbers */
			continue;
		set_up(d, 0);
		desc(0, 0, scratch + 0x8000, 64, WRITE, 0);
		avail(0, 0, 1);
		kick(d, 0);
		check("used", *(volatile u16 *)(page_of(0) + 0x502), 1);
		check("used-length", *(volatile u32 *)(page_of(0) + 0x508), 64);
		set_status(d, 0);
	}
}

const struct section sections[] = {
	{"find", find},
	{"rules", rules},
	{"rings", rings},
	{"anything", anything},
	{"again", again},
	{NULL, NULL},
};
