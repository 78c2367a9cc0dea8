/* SPDX-License-Identifier: MIT */
/* Lines for people, on stderr. */
#include "host/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void log_line(const char *fmt, ...)
{
	char line[1024] = "mullion: ";
	size_t len = strlen(line);
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(line + len, sizeof(line) - len - 1, fmt, args);
	va_end(args);
	if (n < 0)
		return;
	len = strlen(line);
	line[len++] = '\n';
	if (write(STDERR_FILENO, line, len) < 0)
		return; /* nobody is left to tell */
}
