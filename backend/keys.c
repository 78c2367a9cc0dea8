/* SPDX-License-Identifier: MIT */
/* Characters on their way to the guest. */
#include "backend/keys.h"

static void pump(void *arg)
{
	struct keys *keys = arg;
	struct console *console = keys->console;

	while (keys->enabled && keys->len && console->input) {
		unsigned part = MIN(keys->len, KEYS_SIZE - keys->head);
		unsigned n = (unsigned)console->input(console->arg, keys->data + keys->head, part);

		if (!n)
			break;
		keys->head = (keys->head + n) % KEYS_SIZE;
		keys->len -= n;
	}
	if (keys->len < KEYS_SIZE / 2)
		keys->room(keys->arg);
}

void keys_init(
	struct keys *keys, struct console *console, struct clock *clock, void (*room)(void *), void *arg)
{
	*keys = (struct keys){.console = console, .clock = clock, .room = room, .arg = arg};
	timer_init(&keys->timer, pump, keys);
}

void keys_fini(struct keys *keys)
{
	timer_cancel(keys->clock, &keys->timer);
}

void keys_put(struct keys *keys, const u8 *data, size_t len)
{
	while (len-- && keys->len < KEYS_SIZE) {
		keys->data[(keys->head + keys->len) % KEYS_SIZE] = *data++;
		keys->len++;
	}
	pump(keys);
}

void keys_enable(struct keys *keys, bool on)
{
	keys->enabled = on;
	if (on && keys->len)
		timer_arm(keys->clock, &keys->timer, clock_now(keys->clock));
}
