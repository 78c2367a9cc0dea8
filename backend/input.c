/* SPDX-License-Identifier: MIT */
/* Chooses the device that a key or a pointer's movement goes to. */
#include "backend/input.h"

#include <linux/input-event-codes.h>

void input_add(struct input *input, struct input_sink *sink)
{
	sink->next = input->sinks;
	input->sinks = sink;
}

static struct input_sink *find(const struct input *input, enum input_kind kind)
{
	struct input_sink *sink = input->sinks;

	while (sink && (sink->kind != kind || !sink->listens(sink)))
		sink = sink->next;
	return sink;
}

static void sync(struct input_sink *sink)
{
	sink->event(sink, EV_SYN, SYN_REPORT, 0);
}

/* True: the sink was told. A repetition tells it again, unless it is a button's. */
static bool press(struct input *input, struct input_sink *sink, u16 code, bool down)
{
	struct input_sink *owner = input->owner[code];

	if (!down) {
		if (!owner)
			return false;
		input->owner[code] = NULL;
		owner->event(owner, EV_KEY, code, 0);
		if (owner != sink)
			sync(owner);
		return owner == sink;
	}
	if (!sink || (owner && code >= BTN_MISC && code <= BTN_GEAR_UP))
		return false;
	if (owner && owner != sink) {
		owner->event(owner, EV_KEY, code, 0);
		sync(owner);
	}
	sink->event(sink, EV_KEY, code, owner == sink ? 2 : 1);
	input->owner[code] = sink;
	return true;
}

void input_key(struct input *input, u16 code, bool down)
{
	struct input_sink *sink = find(input, INPUT_KEYBOARD);

	if (code < INPUT_KEYS && press(input, sink, code, down))
		sync(sink);
}

static i32 scale(unsigned at, unsigned size)
{
	if (size < 2)
		return 0;
	return (i32)((u64)MIN(at, size - 1) * INPUT_ABS_MAX / (size - 1));
}

static bool move(struct input *input, struct input_sink *sink, const struct input_pointer *p)
{
	bool moved = !input->placed || p->x != input->x || p->y != input->y;

	if (moved && sink->kind == INPUT_TABLET) {
		sink->event(sink, EV_ABS, ABS_X, scale(p->x, p->width));
		sink->event(sink, EV_ABS, ABS_Y, scale(p->y, p->height));
	} else if (moved && input->placed) {
		sink->event(sink, EV_REL, REL_X, (i32)p->x - (i32)input->x);
		sink->event(sink, EV_REL, REL_Y, (i32)p->y - (i32)input->y);
	}
	input->x = p->x;
	input->y = p->y;
	input->placed = true;
	return moved;
}

void input_point(struct input *input, const struct input_pointer *p)
{
	const struct {
		u16 code;
		bool down;
	} buttons[] = {{BTN_LEFT, p->left}, {BTN_RIGHT, p->right}, {BTN_MIDDLE, p->middle},
		{BTN_SIDE, p->side}, {BTN_EXTRA, p->extra}};
	struct input_sink *sink = find(input, INPUT_TABLET);
	bool told = false;

	if (!sink)
		sink = find(input, INPUT_MOUSE);
	if (sink)
		told = move(input, sink, p);
	for (unsigned i = 0; i < ARRAY_SIZE(buttons); i++)
		told |= press(input, sink, buttons[i].code, buttons[i].down);
	if (sink && p->wheel) {
		sink->event(sink, EV_REL, REL_WHEEL, p->wheel);
		told = true;
	}
	if (told && sink)
		sync(sink);
}

void input_release(struct input *input)
{
	for (unsigned code = 0; code < INPUT_KEYS; code++) {
		struct input_sink *owner = input->owner[code];

		if (!owner)
			continue;
		input->owner[code] = NULL;
		owner->event(owner, EV_KEY, (u16)code, 0);
		sync(owner);
	}
	input->placed = false;
}
