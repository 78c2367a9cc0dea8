/* SPDX-License-Identifier: MIT */
/*
 * The user's terminal in raw mode: every key goes to the guest. Its old mode
 * comes back at terminal_restore, at exit, and when a signal kills us.
 */
#pragma once

#include <stdbool.h>

/* Makes the terminal behind fd raw (output processing stays on). 0 or -errno. */
int terminal_raw(int fd);
/* Back to the old mode, if it was changed. Async-signal-safe. */
void terminal_restore(void);
