/* SPDX-License-Identifier: MIT */
/* Integer kernels on data structures: hash table, sorting, trees, a heap, compression. */
#include "bench/bench.h"

#include <string.h>

static u64 hash(u64 n)
{
	struct entry {
		u64 key, value;
	} *table = (struct entry *)arena;
	const u64 mask = 65535;
	u64 i, sum = 0;
	u32 seed = 99;

	memset(arena, 0, (mask + 1) * sizeof(*table));
	for (i = 0; i < n; i++) {
		u64 key = (next_random(&seed) & 0x7fff) + 1;
		u64 h = key * 0x9e3779b97f4a7c15ull >> 48;

		while (table[h].key && table[h].key != key)
			h = (h + 1) & mask;
		table[h].key = key;
		sum += table[h].value += i;
	}
	return sum;
}

static NOINLINE void quick(int *v, long lo, long hi)
{
	while (lo < hi) {
		int pivot = v[(lo + hi) / 2];
		long i = lo, j = hi;

		while (i <= j) {
			while (v[i] < pivot)
				i++;
			while (v[j] > pivot)
				j--;
			if (i <= j) {
				int t = v[i];

				v[i++] = v[j];
				v[j--] = t;
			}
		}
		quick(v, lo, j);
		lo = i;
	}
}

static u64 quicksort(u64 n)
{
	int *v = (int *)arena, i;
	u32 seed = 5;
	u64 sum = 0;

	for (; n; n--) {
		for (i = 0; i < 20000; i++)
			v[i] = next_random(&seed);
		quick(v, 0, 19999);
		sum += (u32)v[777];
	}
	return sum;
}

/* Sorting with a comparison through a pointer, as qsort(3) does. */
static int compare(const void *a, const void *b)
{
	u64 x = *(const u64 *)a, y = *(const u64 *)b;

	return (x > y) - (x < y);
}

static u64 heapsort(u64 n)
{
	int (*volatile order)(const void *, const void *) = compare;
	u64 *v = (u64 *)arena, sum = 0;
	u32 seed = 11;

	for (; n; n--) {
		int count = 10000, i, root, child;

		for (i = 0; i < count; i++)
			v[i] = next_random(&seed);
		for (i = count / 2 - 1, root = i; count > 1;) {
			u64 t;

			for (; (child = 2 * root + 1) < count; root = child) {
				if (child + 1 < count && order(&v[child], &v[child + 1]) < 0)
					child++;
				if (order(&v[root], &v[child]) >= 0)
					break;
				t = v[root];
				v[root] = v[child];
				v[child] = t;
			}
			if (i > 0) {
				root = --i;
				continue;
			}
			count--;
			t = v[0];
			v[0] = v[count];
			v[count] = t;
			root = 0;
		}
		sum += v[123];
	}
	return sum;
}

struct tree {
	struct tree *left, *right;
	u64 key;
};

static NOINLINE struct tree *insert(struct tree *t, u64 key, struct tree **pool)
{
	if (!t) {
		t = (*pool)++;
		*t = (struct tree){NULL, NULL, key};
	} else if (key < t->key) {
		t->left = insert(t->left, key, pool);
	} else if (key > t->key) {
		t->right = insert(t->right, key, pool);
	}
	return t;
}

static NOINLINE u64 visit(const struct tree *t, u64 (*f)(u64))
{
	return t ? visit(t->left, f) + f(t->key) + visit(t->right, f) : 0;
}

static u64 triple(u64 x)
{
	return 3 * x + 1;
}

static u64 shift(u64 x)
{
	return x ^ x >> 3;
}

static u64 tree(u64 n)
{
	u64 sum = 0, i;
	u32 seed = 17;
	int j;

	for (i = 0; i < n; i++) {
		struct tree *pool = (struct tree *)arena, *t = NULL;

		for (j = 0; j < 2000; j++)
			t = insert(t, next_random(&seed) & 0xffff, &pool);
		sum += visit(t, i & 1 ? triple : shift);
	}
	return sum;
}

/* A small LZ77: compress 64 KiB of text-like bytes, expand it again. */
static u32 pack(const u8 *in, u32 size, u8 *out)
{
	static u32 heads[4096];
	u32 i = 0, o = 0;

	memset(heads, 0, sizeof(heads));
	while (i + 4 < size) {
		u32 word, slot, at, len = 0;

		memcpy(&word, in + i, 4);
		slot = word * 2654435761u >> 20;
		at = heads[slot];
		heads[slot] = i + 1;
		if (at && i + 1 - at < 65535)
			while (i + len < size && len < 255 && in[at - 1 + len] == in[i + len])
				len++;
		if (len >= 4) {
			out[o++] = len;
			out[o++] = i + 1 - at;
			out[o++] = (i + 1 - at) >> 8;
			i += len;
		} else {
			out[o++] = 0;
			out[o++] = in[i++];
		}
	}
	return o;
}

static u32 expand(const u8 *in, u32 size, u8 *out)
{
	u32 i = 0, o = 0, k;

	while (i < size) {
		if (in[i]) {
			u32 distance = in[i + 1] | in[i + 2] << 8;

			for (k = 0; k < in[i]; k++, o++)
				out[o] = out[o - distance];
			i += 3;
		} else {
			out[o++] = in[i + 1];
			i += 2;
		}
	}
	return o;
}

static u64 lz(u64 n)
{
	u8 *text = arena, *packed = arena + 65536, *back = arena + 262144;
	u32 seed = 21, i, size;
	u64 sum = 0;

	for (i = 0; i < 65536; i++)
		text[i] = "etaoin shrdlu, the quick brown fox"[(next_random(&seed) & 0xff) < 200
								       ? i % 31
								       : next_random(&seed) % 34];
	for (; n; n--) {
		size = pack(text, 65536, packed);
		sum += size + expand(packed, size, back) + back[n & 0x3fff];
		text[n & 0xffff] ^= 1;
	}
	return sum;
}

const struct row structure_rows[] = {
	{.name = "hash", .class = "int", .run = hash, .n = 3000000},
	{.name = "quicksort", .class = "int", .run = quicksort, .n = 30},
	{.name = "heapsort", .class = "int", .run = heapsort, .n = 30},
	{.name = "tree", .class = "int", .run = tree, .n = 120},
	{.name = "lz", .class = "int", .run = lz, .n = 60},
	{.name = NULL},
};
