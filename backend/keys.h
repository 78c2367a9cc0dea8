/* SPDX-License-Identifier: MIT */
/*
 * Characters on their way to the guest, as fast as its device takes them.
 *
 * Thread context: the machine lock is held.
 */
#pragma once

#include "backend/console.h"
#include "vm/clock.h"

#define KEYS_SIZE 4096u

struct keys {
	struct console *console;
	struct clock *clock;
	void (*room)(void *arg); /* half of the buffer is free again */
	void *arg;
	struct timer timer;
	bool enabled; /* the device takes characters */
	u8 data[KEYS_SIZE];
	unsigned head, len;
};

void keys_init(
	struct keys *keys, struct console *console, struct clock *clock, void (*room)(void *), void *arg);
void keys_fini(struct keys *keys);
static inline unsigned keys_free(const struct keys *keys)
{
	return KEYS_SIZE - keys->len;
}
/* What doesn't fit vanishes. */
void keys_put(struct keys *keys, const u8 *data, size_t len);
/* console_ops.input_enable: called from within the device, so the characters follow from a timer. */
void keys_enable(struct keys *keys, bool on);
