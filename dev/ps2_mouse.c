/* SPDX-License-Identifier: MIT */
/* PS/2 mouse. Facts: IBM PS/2 technical reference, Microsoft's IntelliMouse notes. */
#include "dev/ps2_mouse.h"

#include <linux/input-event-codes.h>

enum {
	CMD_SCALING_OFF = 0xe6,
	CMD_SCALING_ON = 0xe7,
	CMD_RESOLUTION = 0xe8,
	CMD_STATUS = 0xe9,
	CMD_STREAM = 0xea,
	CMD_READ = 0xeb,
	CMD_WRAP_OFF = 0xec,
	CMD_WRAP_ON = 0xee,
	CMD_REMOTE = 0xf0,
	CMD_IDENTIFY = 0xf2,
	CMD_RATE = 0xf3,
	CMD_ENABLE = 0xf4,
	CMD_DISABLE = 0xf5,
	CMD_DEFAULTS = 0xf6,
	CMD_RESEND = 0xfe,
	CMD_RESET = 0xff,

	ID_PLAIN = 0,
	ID_WHEEL = 3,
	ID_EXPLORER = 4,

	MOVE_MAX = 255,
};

/* The most that is kept of a movement that nobody fetches. */
#define BACKLOG 4096

static i32 take(i32 *from, i32 low, i32 high)
{
	i32 value = MIN(MAX(*from, low), high);

	*from -= value;
	return value;
}

/* With 2:1 scaling, slow movements are finer and fast ones double. */
static i32 scaled(const struct ps2_mouse *mouse, i32 move)
{
	static const u8 small[] = {0, 1, 1, 3, 6, 9};
	i32 size = move < 0 ? -move : move;

	if (!mouse->scaling || mouse->remote)
		return move;
	size = size < (i32)ARRAY_SIZE(small) ? small[size] : MIN(2 * size, MOVE_MAX);
	return move < 0 ? -size : size;
}

/* The report of what has happened since the last one; its length. */
static unsigned make_report(struct ps2_mouse *mouse, u8 report[4])
{
	i32 x = scaled(mouse, take(&mouse->x, -MOVE_MAX, MOVE_MAX));
	i32 y = scaled(mouse, take(&mouse->y, -MOVE_MAX, MOVE_MAX));

	mouse->pressed = false;
	report[0] = (u8)((mouse->buttons & 7) | 0x08 | (x < 0 ? 0x10 : 0) | (y < 0 ? 0x20 : 0));
	report[1] = (u8)x;
	report[2] = (u8)y;
	if (mouse->id == ID_PLAIN) {
		mouse->wheel = 0;
		return 3;
	}
	if (mouse->id == ID_WHEEL)
		report[3] = (u8)take(&mouse->wheel, -127, 127);
	else
		report[3] = (u8)((take(&mouse->wheel, -8, 7) & 0x0f) | (mouse->buttons & 0x18) << 1);
	return 4;
}

static bool has_news(const struct ps2_mouse *mouse)
{
	return mouse->pressed || mouse->x || mouse->y || mouse->wheel;
}

static void report(struct ps2_mouse *mouse)
{
	u8 bytes[4];

	if (mouse->reporting && !mouse->remote && !mouse->wrap && has_news(mouse) &&
		mouse->ps2.len + sizeof(bytes) < PS2_QUEUE / 2) {
		unsigned n = make_report(mouse, bytes);

		ps2_report(&mouse->ps2, bytes, n);
	}
}

static void drained(struct ps2_device *ps2)
{
	report(container_of(ps2, struct ps2_mouse, ps2));
}

/* ---- what the user does ---- */

static void button(struct ps2_mouse *mouse, u16 code, bool down)
{
	static const u16 codes[] = {BTN_LEFT, BTN_RIGHT, BTN_MIDDLE, BTN_SIDE, BTN_EXTRA};

	for (unsigned i = 0; i < ARRAY_SIZE(codes); i++) {
		if (codes[i] != code)
			continue;
		mouse->buttons = (u8)((mouse->buttons & ~BIT(i)) | (down ? BIT(i) : 0));
		mouse->pressed = true;
	}
}

static void add(i32 *to, i32 move)
{
	move = MIN(MAX(move, -BACKLOG), BACKLOG);
	*to = MIN(MAX(*to + move, -BACKLOG), BACKLOG);
}

static void sink_event(struct input_sink *sink, u16 type, u16 code, i32 value)
{
	struct ps2_mouse *mouse = container_of(sink, struct ps2_mouse, sink);

	if (type == EV_KEY)
		button(mouse, code, value);
	else if (type == EV_REL && code == REL_X)
		add(&mouse->x, value);
	else if (type == EV_REL && code == REL_Y)
		add(&mouse->y, -value);
	else if (type == EV_REL && code == REL_WHEEL)
		add(&mouse->wheel, -value);
	/* Movements wait for the last report to be fetched; buttons do not, lest a click be lost. */
	else if (type == EV_SYN && (mouse->pressed || !mouse->ps2.len))
		report(mouse);
}

static bool sink_listens(const struct input_sink *sink)
{
	(void)sink;
	return true;
}

/* ---- commands ---- */

static void forget(struct ps2_mouse *mouse)
{
	mouse->x = mouse->y = mouse->wheel = 0;
}

static void defaults(struct ps2_mouse *mouse)
{
	mouse->reporting = mouse->remote = mouse->wrap = mouse->scaling = false;
	mouse->rate = 100;
	mouse->resolution = 2;
	mouse->command = 0;
	mouse->rates = 0;
	forget(mouse);
}

static void set_rate(struct ps2_mouse *mouse, u8 rate)
{
	/* 200, 100, 80 is the knock of a wheel's driver; 200, 200, 80 that of five buttons'. */
	if (rate == 80 && mouse->rates == 2)
		mouse->id = ID_WHEEL;
	else if (rate == 80 && mouse->rates == 3)
		mouse->id = ID_EXPLORER;
	if (rate == 200)
		mouse->rates = mouse->rates == 1 || mouse->rates == 3 ? 3 : 1;
	else
		mouse->rates = rate == 100 && mouse->rates & 1 ? 2 : 0;
	mouse->rate = rate;
}

static void parameter(struct ps2_mouse *mouse, u8 value)
{
	u8 command = mouse->command;

	mouse->command = 0;
	ps2_reply(&mouse->ps2, PS2_ACK);
	if (command == CMD_RATE)
		set_rate(mouse, value);
	else
		mouse->resolution = value & 3;
}

static void reply_status(struct ps2_mouse *mouse)
{
	u8 flags = (u8)(mouse->remote << 6 | mouse->reporting << 5 | mouse->scaling << 4);
	u8 buttons = (u8)((mouse->buttons & 1) << 2 | (mouse->buttons & 4) >> 1 | (mouse->buttons & 2) >> 1);

	ps2_reply(&mouse->ps2, flags | buttons);
	ps2_reply(&mouse->ps2, mouse->resolution);
	ps2_reply(&mouse->ps2, mouse->rate);
}

static void reply_report(struct ps2_mouse *mouse)
{
	u8 bytes[4];
	unsigned n = make_report(mouse, bytes);

	for (unsigned i = 0; i < n; i++)
		ps2_reply(&mouse->ps2, bytes[i]);
}

/* A command that only sets something; false: no such command. */
static bool set_mode(struct ps2_mouse *mouse, u8 command)
{
	switch (command) {
	case CMD_SCALING_OFF:
	case CMD_SCALING_ON:
		mouse->scaling = command == CMD_SCALING_ON;
		return true;
	case CMD_STREAM:
	case CMD_REMOTE:
		mouse->remote = command == CMD_REMOTE;
		forget(mouse);
		return true;
	case CMD_WRAP_OFF:
	case CMD_WRAP_ON:
		mouse->wrap = command == CMD_WRAP_ON;
		return true;
	case CMD_ENABLE:
	case CMD_DISABLE:
		mouse->reporting = command == CMD_ENABLE;
		forget(mouse);
		return true;
	case CMD_DEFAULTS:
		defaults(mouse);
		return true;
	case CMD_RESOLUTION:
	case CMD_RATE:
		mouse->command = command;
		return true;
	default:
		return false;
	}
}

static void command(struct ps2_mouse *mouse, u8 byte)
{
	struct ps2_device *ps2 = &mouse->ps2;

	switch (byte) {
	case CMD_STATUS:
		ps2_reply(ps2, PS2_ACK);
		reply_status(mouse);
		break;
	case CMD_READ:
		ps2_reply(ps2, PS2_ACK);
		reply_report(mouse);
		break;
	case CMD_IDENTIFY:
		ps2_reply(ps2, PS2_ACK);
		ps2_reply(ps2, mouse->id);
		break;
	case CMD_RESEND:
		ps2_reply(ps2, ps2->last);
		break;
	case CMD_RESET:
		ps2_clear(ps2);
		defaults(mouse);
		mouse->id = ID_PLAIN;
		ps2_reply(ps2, PS2_ACK);
		ps2_reply(ps2, PS2_TEST_PASSED);
		ps2_reply(ps2, ID_PLAIN);
		break;
	default:
		ps2_reply(ps2, set_mode(mouse, byte) ? PS2_ACK : PS2_RESEND);
		break;
	}
}

static void mouse_write(struct ps2_device *ps2, u8 byte)
{
	struct ps2_mouse *mouse = container_of(ps2, struct ps2_mouse, ps2);

	/* A report that the controller interrupts is not finished later; the next one tells the buttons. */
	if (ps2->len > ps2->replies)
		mouse->pressed = true;
	ps2_drop_reports(ps2);
	if (mouse->wrap && byte != CMD_RESET && byte != CMD_WRAP_OFF)
		ps2_reply(ps2, byte);
	else if (mouse->command)
		parameter(mouse, byte);
	else
		command(mouse, byte);
}

static void mouse_reset(struct ps2_device *ps2)
{
	struct ps2_mouse *mouse = container_of(ps2, struct ps2_mouse, ps2);

	ps2_clear(ps2);
	defaults(mouse);
	mouse->id = ID_PLAIN;
	mouse->pressed = false;
}

void ps2_mouse_init(struct ps2_mouse *mouse)
{
	*mouse = (struct ps2_mouse){
		.ps2 = {.write = mouse_write, .reset = mouse_reset, .drained = drained},
		.sink = {.kind = INPUT_MOUSE, .listens = sink_listens, .event = sink_event},
	};
	mouse_reset(&mouse->ps2);
}
