/* SPDX-License-Identifier: MIT */
/* AT keyboard. Facts: IBM PS/2 technical reference; evdev's codes below 0x54 are those of set 1. */
#include "dev/ps2_keyboard.h"

#include <linux/input-event-codes.h>
#include <string.h>

enum {
	CMD_LEDS = 0xed,
	CMD_ECHO = 0xee,
	CMD_SCAN_SET = 0xf0,
	CMD_IDENTIFY = 0xf2,
	CMD_TYPEMATIC = 0xf3,
	CMD_ENABLE = 0xf4,
	CMD_DISABLE = 0xf5,
	CMD_DEFAULTS = 0xf6,
	CMD_ALL_KEYS_FIRST = 0xf7, /* to 0xfd: which keys of set 3 repeat or report releases */
	CMD_ALL_KEYS_LAST = 0xfd,
	CMD_RESEND = 0xfe,
	CMD_RESET = 0xff,

	EXTENDED = 0xe0,
	RELEASED = 0xf0,
};

/* Set 2's byte for one of set 1; what the controller's translation inverts. */
static const u8 set2_of_set1[128] = {
	0x00,
	0x76,
	0x16,
	0x1e,
	0x26,
	0x25,
	0x2e,
	0x36,
	0x3d,
	0x3e,
	0x46,
	0x45,
	0x4e,
	0x55,
	0x66,
	0x0d,
	0x15,
	0x1d,
	0x24,
	0x2d,
	0x2c,
	0x35,
	0x3c,
	0x43,
	0x44,
	0x4d,
	0x54,
	0x5b,
	0x5a,
	0x14,
	0x1c,
	0x1b,
	0x23,
	0x2b,
	0x34,
	0x33,
	0x3b,
	0x42,
	0x4b,
	0x4c,
	0x52,
	0x0e,
	0x12,
	0x5d,
	0x1a,
	0x22,
	0x21,
	0x2a,
	0x32,
	0x31,
	0x3a,
	0x41,
	0x49,
	0x4a,
	0x59,
	0x7c,
	0x11,
	0x29,
	0x58,
	0x05,
	0x06,
	0x04,
	0x0c,
	0x03,
	0x0b,
	0x02,
	0x0a,
	0x01,
	0x09,
	0x77,
	0x7e,
	0x6c,
	0x75,
	0x7d,
	0x7b,
	0x6b,
	0x73,
	0x74,
	0x79,
	0x69,
	0x72,
	0x7a,
	0x70,
	0x71,
	0x7f,
	0x60,
	0x61,
	0x78,
	0x07,
	0x0f,
	0x17,
	0x1f,
	0x27,
	0x2f,
	0x37,
	0x3f,
	0x47,
	0x4f,
	0x56,
	0x5e,
	0x08,
	0x10,
	0x18,
	0x20,
	0x28,
	0x30,
	0x38,
	0x40,
	0x48,
	0x50,
	0x57,
	0x6f,
	0x13,
	0x19,
	0x39,
	0x51,
	0x53,
	0x5c,
	0x5f,
	0x62,
	0x63,
	0x64,
	0x65,
	0x67,
	0x68,
	0x6a,
	0x6d,
	0x6e,
};

/* Two keys of set 2 are off the table's rule; each has one in it that is not used. */
#define SET1_F7 0x41
#define SET2_F7 0x83
#define SET1_SYSRQ 0x54
#define SET2_SYSRQ 0x84

/* Keys whose code in set 1 is not evdev's. */
static const struct {
	u8 code, set1;
	bool extended;
} other_keys[] = {
	{KEY_ZENKAKUHANKAKU, 0x76, false},
	{KEY_RO, 0x73, false},
	{KEY_HENKAN, 0x79, false},
	{KEY_KATAKANAHIRAGANA, 0x70, false},
	{KEY_MUHENKAN, 0x7b, false},
	{KEY_YEN, 0x7d, false},
	{KEY_KPEQUAL, 0x59, false},
	{KEY_KPCOMMA, 0x7e, false},
	{KEY_KPENTER, 0x1c, true},
	{KEY_RIGHTCTRL, 0x1d, true},
	{KEY_KPSLASH, 0x35, true},
	{KEY_RIGHTALT, 0x38, true},
	{KEY_HOME, 0x47, true},
	{KEY_UP, 0x48, true},
	{KEY_PAGEUP, 0x49, true},
	{KEY_LEFT, 0x4b, true},
	{KEY_RIGHT, 0x4d, true},
	{KEY_END, 0x4f, true},
	{KEY_DOWN, 0x50, true},
	{KEY_PAGEDOWN, 0x51, true},
	{KEY_INSERT, 0x52, true},
	{KEY_DELETE, 0x53, true},
	{KEY_MUTE, 0x20, true},
	{KEY_VOLUMEDOWN, 0x2e, true},
	{KEY_VOLUMEUP, 0x30, true},
	{KEY_POWER, 0x5e, true},
	{KEY_SLEEP, 0x5f, true},
	{KEY_WAKEUP, 0x63, true},
	{KEY_LEFTMETA, 0x5b, true},
	{KEY_RIGHTMETA, 0x5c, true},
	{KEY_COMPOSE, 0x5d, true},
};

/* Set 3, where it differs from the byte that set 2 has for the key (with or without 0xe0). */
static const struct {
	u8 code, set3;
} set3_keys[] = {
	{KEY_ESC, 0x08},
	{KEY_F1, 0x07},
	{KEY_F2, 0x0f},
	{KEY_F3, 0x17},
	{KEY_F4, 0x1f},
	{KEY_F5, 0x27},
	{KEY_F6, 0x2f},
	{KEY_F7, 0x37},
	{KEY_F8, 0x3f},
	{KEY_F9, 0x47},
	{KEY_F10, 0x4f},
	{KEY_F11, 0x56},
	{KEY_F12, 0x5e},
	{KEY_SYSRQ, 0x57},
	{KEY_SCROLLLOCK, 0x5f},
	{KEY_PAUSE, 0x62},
	{KEY_CAPSLOCK, 0x14},
	{KEY_BACKSLASH, 0x5c},
	{KEY_LEFTCTRL, 0x11},
	{KEY_LEFTALT, 0x19},
	{KEY_RIGHTALT, 0x39},
	{KEY_RIGHTCTRL, 0x58},
	{KEY_102ND, 0x13},
	{KEY_INSERT, 0x67},
	{KEY_HOME, 0x6e},
	{KEY_PAGEUP, 0x6f},
	{KEY_DELETE, 0x64},
	{KEY_END, 0x65},
	{KEY_PAGEDOWN, 0x6d},
	{KEY_UP, 0x63},
	{KEY_LEFT, 0x61},
	{KEY_DOWN, 0x60},
	{KEY_RIGHT, 0x6a},
	{KEY_NUMLOCK, 0x76},
	{KEY_KPSLASH, 0x77},
	{KEY_KPASTERISK, 0x7e},
	{KEY_KPMINUS, 0x84},
	{KEY_KPPLUS, 0x7c},
	{KEY_KPENTER, 0x79},
	{KEY_LEFTMETA, 0x8b},
	{KEY_RIGHTMETA, 0x8c},
	{KEY_COMPOSE, 0x8d},
};

u8 ps2_translate(u8 byte)
{
	if (byte == SET2_F7)
		return SET1_F7;
	if (byte == SET2_SYSRQ)
		return SET1_SYSRQ;
	for (unsigned i = 1; i < ARRAY_SIZE(set2_of_set1); i++) {
		if (set2_of_set1[i] == byte)
			return (u8)i;
	}
	return byte;
}

static u8 set2_of(u8 set1)
{
	return set1 == SET1_F7 ? SET2_F7 : set1 == SET1_SYSRQ ? SET2_SYSRQ : set2_of_set1[set1];
}

/* The key's byte in set 1, or 0. */
static u8 set1_of(u16 code, bool *extended)
{
	*extended = false;
	if (code <= KEY_KPDOT || code == KEY_102ND || code == KEY_F11 || code == KEY_F12)
		return (u8)code;
	for (unsigned i = 0; i < ARRAY_SIZE(other_keys); i++) {
		if (other_keys[i].code != code)
			continue;
		*extended = other_keys[i].extended;
		return other_keys[i].set1;
	}
	return 0;
}

static u8 set3_of(u16 code)
{
	bool extended;

	for (unsigned i = 0; i < ARRAY_SIZE(set3_keys); i++) {
		if (set3_keys[i].code == code)
			return set3_keys[i].set3;
	}
	return set2_of_set1[set1_of(code, &extended)];
}

struct codes {
	u8 byte[16];
	unsigned n;
};

static void put(struct codes *codes, u8 byte)
{
	codes->byte[codes->n++] = byte;
}

/* One key of the AT keyboard's set 1 or 2, given by its byte in set 1. */
static void put_key(struct codes *codes, u8 set, u8 set1, bool extended, bool down)
{
	if (extended)
		put(codes, EXTENDED);
	if (set == 1) {
		put(codes, down ? set1 : set1 | 0x80);
		return;
	}
	if (!down)
		put(codes, RELEASED);
	put(codes, set2_of(set1));
}

/* Pause has no release: it sends both at once, with a prefix of its own. */
static void put_pause(struct codes *codes, u8 set)
{
	static const u8 set1[] = {0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5};
	static const u8 set2[] = {0xe1, 0x14, 0x77, 0xe1, 0xf0, 0x14, 0xf0, 0x77};

	codes->n = set == 1 ? sizeof(set1) : sizeof(set2);
	memcpy(codes->byte, set == 1 ? set1 : set2, codes->n);
}

/* Print comes with a Shift that nobody pressed; with Alt, it is another key. */
static void put_print(struct codes *codes, const struct ps2_keyboard *keyboard, bool down)
{
	if (keyboard->alt) {
		put_key(codes, keyboard->set, SET1_SYSRQ, false, down);
	} else if (down) {
		put_key(codes, keyboard->set, KEY_LEFTSHIFT, true, true);
		put_key(codes, keyboard->set, KEY_KPASTERISK, true, true);
	} else {
		put_key(codes, keyboard->set, KEY_KPASTERISK, true, false);
		put_key(codes, keyboard->set, KEY_LEFTSHIFT, true, false);
	}
}

static void put_set3(struct codes *codes, u16 code, bool down)
{
	u8 byte = set3_of(code);

	if (byte && !down)
		put(codes, RELEASED);
	if (byte)
		put(codes, byte);
}

static void key(struct ps2_keyboard *keyboard, u16 code, bool down)
{
	struct codes codes = {.n = 0};
	bool extended;
	u8 set1;

	if (code == KEY_LEFTALT || code == KEY_RIGHTALT)
		keyboard->alt = down;
	if (!keyboard->scanning)
		return;
	if (keyboard->set == 3) {
		put_set3(&codes, code, down);
	} else if (code == KEY_PAUSE) {
		if (down)
			put_pause(&codes, keyboard->set);
	} else if (code == KEY_SYSRQ) {
		put_print(&codes, keyboard, down);
	} else {
		set1 = set1_of(code, &extended);
		if (set1)
			put_key(&codes, keyboard->set, set1, extended, down);
	}
	ps2_report(&keyboard->ps2, codes.byte, codes.n);
}

static void sink_event(struct input_sink *sink, u16 type, u16 code, i32 value)
{
	if (type == EV_KEY)
		key(container_of(sink, struct ps2_keyboard, sink), code, value);
}

/* Always: who has no driver for another keyboard, has one for this. */
static bool sink_listens(const struct input_sink *sink)
{
	(void)sink;
	return true;
}

/* ---- commands ---- */

static void defaults(struct ps2_keyboard *keyboard, bool scanning)
{
	ps2_drop_reports(&keyboard->ps2);
	keyboard->scanning = scanning;
	keyboard->set = 2;
	keyboard->leds = 0;
	keyboard->command = 0;
}

static void parameter(struct ps2_keyboard *keyboard, u8 value)
{
	u8 command = keyboard->command;

	keyboard->command = 0;
	if (command == CMD_SCAN_SET && value > 3) {
		ps2_reply(&keyboard->ps2, PS2_RESEND);
		return;
	}
	ps2_reply(&keyboard->ps2, PS2_ACK);
	if (command == CMD_LEDS)
		keyboard->leds = value & 7;
	else if (command == CMD_SCAN_SET && value)
		keyboard->set = value;
	else if (command == CMD_SCAN_SET)
		ps2_reply(&keyboard->ps2, keyboard->set);
}

static void other_command(struct ps2_keyboard *keyboard, u8 command)
{
	struct ps2_device *ps2 = &keyboard->ps2;

	switch (command) {
	case CMD_ENABLE:
		keyboard->scanning = true;
		break;
	case CMD_DISABLE:
		defaults(keyboard, false);
		break;
	case CMD_DEFAULTS:
		defaults(keyboard, keyboard->scanning);
		break;
	case CMD_LEDS:
	case CMD_SCAN_SET:
	case CMD_TYPEMATIC:
		keyboard->command = command;
		break;
	case CMD_ALL_KEYS_FIRST ... CMD_ALL_KEYS_LAST:
		break;
	default:
		ps2_reply(ps2, PS2_RESEND);
		return;
	}
	ps2_reply(ps2, PS2_ACK);
}

static void keyboard_write(struct ps2_device *ps2, u8 byte)
{
	struct ps2_keyboard *keyboard = container_of(ps2, struct ps2_keyboard, ps2);

	if (keyboard->command && byte < CMD_LEDS) {
		parameter(keyboard, byte);
		return;
	}
	keyboard->command = 0;
	switch (byte) {
	case CMD_ECHO:
		ps2_reply(ps2, CMD_ECHO);
		break;
	case CMD_IDENTIFY:
		ps2_reply(ps2, PS2_ACK);
		ps2_reply(ps2, 0xab);
		ps2_reply(ps2, 0x83);
		break;
	case CMD_RESEND:
		ps2_reply(ps2, ps2->last);
		break;
	case CMD_RESET:
		ps2_clear(ps2);
		defaults(keyboard, true);
		ps2_reply(ps2, PS2_ACK);
		ps2_reply(ps2, PS2_TEST_PASSED);
		break;
	default:
		other_command(keyboard, byte);
		break;
	}
}

static void keyboard_reset(struct ps2_device *ps2)
{
	struct ps2_keyboard *keyboard = container_of(ps2, struct ps2_keyboard, ps2);

	ps2_clear(ps2);
	defaults(keyboard, true);
	keyboard->alt = false;
}

void ps2_keyboard_init(struct ps2_keyboard *keyboard)
{
	*keyboard = (struct ps2_keyboard){
		.ps2 = {.write = keyboard_write, .reset = keyboard_reset},
		.sink = {.kind = INPUT_KEYBOARD, .listens = sink_listens, .event = sink_event},
	};
	keyboard_reset(&keyboard->ps2);
}
