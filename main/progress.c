/* SPDX-License-Identifier: MIT */
/* How far something long has come. */
#include "main/progress.h"

#include <stdio.h>
#include <unistd.h>

#define WIDTH 40

void progress_begin(struct progress *progress, const char *what)
{
	*progress = (struct progress){.what = what, .last = -1, .shown = isatty(STDERR_FILENO)};
	progress_show(progress, 0);
}

void progress_show(struct progress *progress, double percent)
{
	int now = (int)percent;
	char bar[WIDTH + 1];

	if (!progress->shown || now == progress->last || now < 0 || now > 100)
		return;
	progress->last = now;
	for (int i = 0; i < WIDTH; i++)
		bar[i] = i * 100 < now * WIDTH ? '#' : '.';
	bar[WIDTH] = 0;
	fprintf(stderr, "\r%s [%s] %3d %%", progress->what, bar, now);
	fflush(stderr);
}

void progress_end(struct progress *progress)
{
	if (progress->shown)
		fputs("\r\033[K", stderr);
	fflush(stderr);
	progress->shown = false;
}
