/* SPDX-License-Identifier: MIT */
/* PS/2 mouse; as an IntelliMouse with a wheel, or an IntelliMouse Explorer with five buttons, if asked. */
#pragma once

#include "backend/input.h"
#include "dev/ps2.h"

struct ps2_mouse {
	struct ps2_device ps2;
	struct input_sink sink;
	bool reporting, remote, wrap, scaling;
	u8 id; /* 0, 3 (wheel), 4 (and five buttons) */
	u8 rate, resolution;
	u8 rates; /* how far the driver is with the rates that ask for another id */
	u8 command; /* waits for its parameter; 0: none */
	u8 buttons; /* bit 0 left, 1 right, 2 middle, 3 and 4 the side's */
	bool pressed; /* buttons have changed since the last report */
	i32 x, y, wheel; /* since then; y upwards */
};

void ps2_mouse_init(struct ps2_mouse *mouse);
