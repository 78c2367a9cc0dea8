/* SPDX-License-Identifier: MIT */
/*
 * AT keyboard with 105 keys: scan code sets 1, 2 and 3, LEDs, identification.
 * A held key repeats as its display repeats it, so the typematic rate
 * is taken and not used.
 */
#pragma once

#include "backend/input.h"
#include "dev/ps2.h"

struct ps2_keyboard {
	struct ps2_device ps2;
	struct input_sink sink;
	bool scanning;
	u8 set; /* 1, 2 or 3 */
	u8 command; /* waits for its parameter; 0: none */
	u8 leds;
	bool alt; /* is held: it changes what Print sends */
};

void ps2_keyboard_init(struct ps2_keyboard *keyboard);
/* What the controller makes of a byte of set 2; 0xf0, the mark of a release, is the controller's to handle. */
u8 ps2_translate(u8 byte);
