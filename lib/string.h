/* SPDX-License-Identifier: MIT */
/* What compilers call by themselves, and a little more. */
#pragma once

#include "lib/types.h"

void *memcpy(void *to, const void *from, size_t size);
void *memmove(void *to, const void *from, size_t size);
void *memset(void *to, int byte, size_t size);
int memcmp(const void *a, const void *b, size_t size);
size_t strlen(const char *s);
/* Is the word among those of a command line? */
bool has_word(const char *line, const char *word);
/* At most size - 1 characters and a zero. */
void copy_string(char *to, const char *from, size_t size);
