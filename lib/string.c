/* SPDX-License-Identifier: MIT */
/* Memory and strings, by the CPU's own string instructions. */
#include "lib/string.h"

void *memcpy(void *to, const void *from, size_t size)
{
	void *d = to;

	__asm__ volatile("rep movsb" : "+D"(d), "+S"(from), "+c"(size) : : "memory");
	return to;
}

void *memmove(void *to, const void *from, size_t size)
{
	u8 *d = (u8 *)to + size - 1;
	const u8 *s = (const u8 *)from + size - 1;

	if ((u64)to - (u64)from >= size)
		return memcpy(to, from, size);
	__asm__ volatile("std; rep movsb; cld" : "+D"(d), "+S"(s), "+c"(size) : : "memory");
	return to;
}

void *memset(void *to, int byte, size_t size)
{
	void *d = to;

	size_t quads = size / 8, rest = size % 8;
	u64 pattern = (u8)byte * 0x0101010101010101ull;

	/* By quads: an emulated CPU takes one step for each. */
	__asm__ volatile("rep stosq" : "+D"(d), "+c"(quads) : "a"(pattern) : "memory");
	__asm__ volatile("rep stosb" : "+D"(d), "+c"(rest) : "a"(byte) : "memory");
	return to;
}

int memcmp(const void *a, const void *b, size_t size)
{
	const u8 *x = a, *y = b;

	for (size_t i = 0; i < size; i++)
		if (x[i] != y[i])
			return x[i] - y[i];
	return 0;
}

size_t strlen(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}

void copy_string(char *to, const char *from, size_t size)
{
	size_t n = MIN(strlen(from), size - 1);

	memcpy(to, from, n);
	to[n] = 0;
}

bool has_word(const char *line, const char *word)
{
	size_t n = strlen(word);

	while (*line) {
		if (!memcmp(line, word, n) && (!line[n] || line[n] == ' '))
			return true;
		while (*line && *line != ' ')
			line++;
		while (*line == ' ')
			line++;
	}
	return false;
}
