/* SPDX-License-Identifier: MIT */
/* Lines for people, on stderr. Rare: tracing is something else. */
#pragma once

/* Prints "mullion: ...\n" in one write, so that lines of threads do not mix. */
__attribute__((format(printf, 1, 2))) void log_line(const char *fmt, ...);
