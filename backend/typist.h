/* SPDX-License-Identifier: MIT */
/*
 * Types the contents of a pipe to a guest as a person would: a line when the
 * guest listens, the next one when it listens again, and end-of-input (Ctrl-D)
 * after the last. A state machine over the clock; it knows no device.
 *
 * The guest listens when its serial port takes input and either the last thing
 * it printed looks like a prompt (no newline at its end, then silence), or
 * nothing has happened for a while and every vCPU halts. Typing too early is
 * harmless where the port takes input, since the guest's terminal driver keeps
 * the line; only a Ctrl-D can get lost, so it is repeated until the guest has
 * powered off, and after a few the user's wish is made known in another way
 * (the power button).
 *
 * Thread context: the machine lock is held.
 */
#pragma once

#include "lib/types.h"
#include "vm/clock.h"

#define TYPIST_BUFFER 65536u

struct typist_ops {
	/* Gives characters to the device. Returns how many it took. */
	size_t (*type)(void *ctx, const u8 *data, size_t len);
	bool (*idle)(void *ctx); /* nothing runs in the guest */
	void (*room)(void *ctx); /* the buffer was full and is not any more */
	void (*power_button)(void *ctx);
};

struct typist {
	const struct typist_ops *ops;
	void *ctx;
	struct clock *clock;
	struct timer timer;
	bool enabled; /* the device takes characters */
	bool in_line; /* a line has been begun and is not finished */
	bool ended; /* no more input will come */
	bool printed; /* the guest has printed something since the last line */
	bool full; /* room() is owed */
	u8 last_printed, last_typed;
	unsigned ctrl_ds; /* end-of-inputs typed so far */
	u64 active; /* when something was last printed or typed */
	u8 data[TYPIST_BUFFER];
	unsigned head, len;
};

void typist_init(struct typist *typist, struct clock *clock, const struct typist_ops *ops, void *ctx);
/* Another run of the guest begins: what was not typed yet stays. */
void typist_restart(struct typist *typist);
/* Returns how many characters there was room for. */
size_t typist_feed(struct typist *typist, const u8 *data, size_t len);
void typist_end(struct typist *typist);
void typist_enable(struct typist *typist, bool on);
/* The guest has printed this. */
void typist_printed(struct typist *typist, const u8 *data, size_t len);
