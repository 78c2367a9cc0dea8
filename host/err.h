/* SPDX-License-Identifier: MIT */
/*
 * What went wrong, in one line for a person. A function that can fail for
 * reasons a user can mend takes a struct err, fills it, and returns -errno;
 * whoever talks to the user prints it.
 */
#pragma once

struct err {
	char text[512];
};

/* Fills err (which may be NULL) and returns -code. */
__attribute__((format(printf, 3, 4))) int err_set(struct err *err, int code, const char *fmt, ...);
