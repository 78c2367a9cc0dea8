/* SPDX-License-Identifier: MIT */
/* Columns of text. */
#include "main/table.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

void table_init(struct table *table, unsigned columns)
{
	*table = (struct table){.columns = columns};
}

/* A file's name may hold anything; a row is one line. */
static void make_printable(char *text)
{
	for (; *text; text++) {
		if (iscntrl((unsigned char)*text))
			*text = '?';
	}
}

void table_add(struct table *table, const char *fmt, ...)
{
	char **cell = realloc(table->cell, (table->cells + 1) * sizeof(*cell));
	va_list args;

	if (!cell)
		return;
	table->cell = cell;
	va_start(args, fmt);
	if (vasprintf(&cell[table->cells], fmt, args) >= 0)
		make_printable(cell[table->cells++]);
	va_end(args);
}

static size_t width(const struct table *table, unsigned column)
{
	size_t most = 0;

	for (unsigned i = column; i < table->cells; i += table->columns)
		most = MAX(most, strlen(table->cell[i]));
	return most;
}

void table_print(struct table *table, FILE *out)
{
	for (unsigned i = 0; i < table->cells; i++) {
		if (i % table->columns == table->columns - 1)
			fprintf(out, "%s\n", table->cell[i]);
		else
			fprintf(out, "%-*s  ", (int)width(table, i % table->columns), table->cell[i]);
	}
	for (unsigned i = 0; i < table->cells; i++)
		free(table->cell[i]);
	free(table->cell);
	table_init(table, table->columns);
}

const char *text_of_size(u64 bytes, char text[32])
{
	static const char units[] = "BKMGT";
	unsigned unit = 0;
	double n = (double)bytes;

	while (n >= 1024 && unit < 4) {
		n /= 1024;
		unit++;
	}
	snprintf(text, 32, n < 10 && n != (double)(u64)n ? "%.1f%c" : "%.0f%c", n, units[unit]);
	return text;
}

const char *text_of_seconds(double seconds, char text[32])
{
	u64 s = (u64)seconds, min = s / 60, h = min / 60;

	if (s < 60)
		snprintf(text, 32, "%u s", (unsigned)s);
	else if (min < 60)
		snprintf(text, 32, "%u min", (unsigned)min);
	else if (h < 24)
		snprintf(text, 32, "%u h %u min", (unsigned)h, (unsigned)(min % 60));
	else
		snprintf(text, 32, "%u d %u h", (unsigned)(h / 24), (unsigned)(h % 24));
	return text;
}
