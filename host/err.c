/* SPDX-License-Identifier: MIT */
/* Error texts. */
#include "host/err.h"

#include <stdarg.h>
#include <stdio.h>

/* One line, whatever a user's file holds. */
static void keep_printable(char *text)
{
	for (; *text; text++) {
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			*text = '?';
	}
}

int err_set(struct err *err, int code, const char *fmt, ...)
{
	va_list args;

	if (err) {
		va_start(args, fmt);
		vsnprintf(err->text, sizeof(err->text), fmt, args);
		va_end(args);
		keep_printable(err->text);
	}
	return -code;
}
