/* SPDX-License-Identifier: MIT */
/* Columns of text, as wide as they must be. */
#pragma once

#include <stdio.h>

#include "lib/types.h"

#define TABLE_COLUMNS 8

struct table {
	unsigned columns, cells;
	char **cell; /* row by row */
};

/* The first row is the heading. */
void table_init(struct table *table, unsigned columns);
/* One more cell, row by row. */
__attribute__((format(printf, 2, 3))) void table_add(struct table *table, const char *fmt, ...);
/* Prints and frees it. */
void table_print(struct table *table, FILE *out);

/* "512M", "1.5G" */
const char *text_of_size(u64 bytes, char text[32]);
/* "3 s", "12 min", "2 h 5 min", "3 d 4 h" */
const char *text_of_seconds(double seconds, char text[32]);
