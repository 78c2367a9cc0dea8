/* SPDX-License-Identifier: MIT */
/*
 * Keys and pointers, on their way from a display to the guest's devices. Events
 * are evdev's (linux/input-event-codes.h): EV_KEY with KEY_* or BTN_*, EV_REL,
 * EV_ABS with 0 to INPUT_ABS_MAX, and EV_SYN after each group.
 *
 * A device is a sink of one kind. Of several, the one that was added last among
 * those whose driver listens gets the events; what is held down when that
 * changes is released where it was pressed.
 *
 * Thread context: the machine lock is held, or the VM does not run.
 */
#pragma once

#include "lib/types.h"

#define INPUT_ABS_MAX 0x7fff
#define INPUT_KEYS 512 /* codes are below */

enum input_kind {
	INPUT_KEYBOARD,
	INPUT_MOUSE, /* relative */
	INPUT_TABLET, /* absolute; preferred to a mouse */
	INPUT_KINDS,
};

struct input_sink {
	enum input_kind kind;
	bool (*listens)(const struct input_sink *sink);
	void (*event)(struct input_sink *sink, u16 type, u16 code, i32 value);
	struct input_sink *next;
};

/* Where a pointer stands in a picture of that size, which buttons it presses, and how its wheel moved. */
struct input_pointer {
	unsigned x, y, width, height;
	bool left, right, middle, side, extra;
	int wheel; /* away from the user: positive */
};

struct input {
	struct input_sink *sinks;
	struct input_sink *owner[INPUT_KEYS]; /* of each key or button that is down */
	unsigned x, y; /* of the pointer */
	bool placed; /* x and y are known */
};

/* The sink stays the caller's. */
void input_add(struct input *input, struct input_sink *sink);
/* A key that is down and goes down again repeats. */
void input_key(struct input *input, u16 code, bool down);
void input_point(struct input *input, const struct input_pointer *pointer);
/* Nobody holds anything down any more: the user has gone. */
void input_release(struct input *input);
