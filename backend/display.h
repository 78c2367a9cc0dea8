/* SPDX-License-Identifier: MIT */
/*
 * What a display (VNC, a screenshot) asks of the device that makes the picture. The
 * display looks when it likes, and as often; a device does nothing of its own accord.
 *
 * Thread context: the machine lock is held. The guest may draw into the device's
 * memory meanwhile, so a row may be half new.
 */
#pragma once

#include "lib/types.h"

#define DISPLAY_MAX_WIDTH 4096u
#define DISPLAY_MAX_HEIGHT 4096u

struct display_source;

struct display_picture {
	unsigned width, height; /* 1 to DISPLAY_MAX_* */
	/* The same number twice: nothing has changed. 0: the device cannot tell, so compare. */
	u64 serial;
};

struct display_source_ops {
	void (*look)(struct display_source *source, struct display_picture *picture);
	/*
	 * One row, width pixels of 0x00RRGGBB (the high byte is undefined): in the device's
	 * memory, or in scratch. y is below the height of the last look.
	 */
	const u32 *(*row)(struct display_source *source, unsigned y, u32 *scratch);
	/* The user's screen has this size now, if the guest cares; may be NULL. */
	void (*resize)(struct display_source *source, unsigned width, unsigned height);
};

struct display_source {
	const struct display_source_ops *ops;
};
