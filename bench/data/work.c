/* SPDX-License-Identifier: MIT */
/* What the compilers' rows compile: a table of functions with loops, switches and structures. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct item {
	struct item *next;
	char name[24];
	long key, value[4];
};

#define FUNCTIONS(n)                                                                                  \
	static struct item *find##n(struct item *list, long key)                                      \
	{                                                                                             \
		for (; list; list = list->next)                                                       \
			if ((list->key ^ n) % 97 == key % 97 && list->value[n & 3] > key)             \
				return list;                                                          \
		return NULL;                                                                          \
	}                                                                                             \
	static long walk##n(struct item *list, const char *text)                                      \
	{                                                                                             \
		long sum = n;                                                                         \
		for (; *text; text++) {                                                               \
			struct item *i = find##n(list, *text * n + sum);                              \
			switch (*text % 8) {                                                          \
			case 0: sum += n; break;                                                      \
			case 1: sum ^= i ? i->key : 3; break;                                         \
			case 2: sum = sum * 31 + *text; break;                                        \
			case 3: sum -= sum >> 3; break;                                               \
			case 4: sum = i ? sum / (i->value[1] | 1) : sum; break;                       \
			case 5: sum += strlen(text); break;                                           \
			case 6: if (i) i->value[n & 3] = sum; break;                                  \
			default: sum = -sum;                                                          \
			}                                                                             \
		}                                                                                     \
		return sum;                                                                           \
	}                                                                                             \
	static void matrix##n(double m[n + 4][n + 4], double f)                                       \
	{                                                                                             \
		for (int i = 0; i < n + 4; i++)                                                       \
			for (int j = 0; j < n + 4; j++)                                               \
				m[i][j] = i == j ? f : m[j][i] * f + m[i][(j + n) % (n + 4)];         \
	}                                                                                             \
	long entry##n(struct item *list, const char *text)                                            \
	{                                                                                             \
		double m[n + 4][n + 4];                                                               \
		memset(m, 0, sizeof(m));                                                              \
		matrix##n(m, n * 0.5);                                                                \
		matrix##n(m, n * 0.25);                                                               \
		return walk##n(list, text) + (long)m[1][2];                                           \
	}

FUNCTIONS(1) FUNCTIONS(2) FUNCTIONS(3) FUNCTIONS(4) FUNCTIONS(5) FUNCTIONS(6) FUNCTIONS(7) FUNCTIONS(8)
FUNCTIONS(9) FUNCTIONS(10) FUNCTIONS(11) FUNCTIONS(12)

int main(int argc, char **argv)
{
	struct item *list = calloc(1, sizeof(*list));

	list->key = argc;
	printf("%ld %ld\n", entry1(list, argv[0]), entry12(list, argv[0]));
	return 0;
}
