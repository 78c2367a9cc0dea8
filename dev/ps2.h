/* SPDX-License-Identifier: MIT */
/*
 * What the two PS/2 devices have in common: they take bytes from the controller,
 * and have a queue of bytes for it. Replies to the controller's bytes overtake
 * data (key and movement reports).
 *
 * Thread context: the machine lock is held.
 */
#pragma once

#include "lib/types.h"

#define PS2_QUEUE 128u

enum {
	PS2_ACK = 0xfa,
	PS2_RESEND = 0xfe,
	PS2_TEST_PASSED = 0xaa,
};

struct ps2_device {
	void (*write)(struct ps2_device *dev, u8 byte);
	void (*reset)(struct ps2_device *dev); /* power-on */
	void (*drained)(struct ps2_device *dev); /* the queue is empty: is there more? May be NULL. */
	/* Set by the controller: there is something in the queue. */
	void (*ready)(void *arg);
	void *arg;
	u8 queue[PS2_QUEUE];
	unsigned len, replies; /* replies: how many of them at the queue's head */
	u8 last; /* sent, for "resend" */
};

void ps2_reply(struct ps2_device *dev, u8 byte);
/* All of it or, where there is no room, nothing (false). */
bool ps2_report(struct ps2_device *dev, const u8 *bytes, unsigned n);
/* Drops the reports, or everything. */
void ps2_drop_reports(struct ps2_device *dev);
void ps2_clear(struct ps2_device *dev);
/* The controller takes the first byte: len was not 0. */
u8 ps2_pop(struct ps2_device *dev);
