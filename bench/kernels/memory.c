/* SPDX-License-Identifier: MIT */
/* Memory: copying, scanning, latency, streams, random access. */
#include "bench/bench.h"

#include <string.h>

/* By hand, so that no library decides how. */
static NOINLINE void copy_words(u64 *d, const u64 *s, u64 words)
{
	for (; words >= 2; words -= 2, d += 2, s += 2) {
		u64 x = s[0], y = s[1];

		HIDE(x);
		d[0] = x;
		d[1] = y;
	}
}

static u64 copy_loop(u64 n)
{
	u64 i, sum = 0;

	for (i = 0; i < n; i++) {
		arena[i & 8191] = i;
		copy_words((u64 *)(arena + 65536 + (i & 7)), (u64 *)(arena + (i & 15)), 2000);
		sum += arena[65536 + (i & 4095)];
	}
	return sum;
}

static u64 library_copy(u64 n, u64 size, u64 apart)
{
	u64 i;

	for (i = 0; i < n; i++) {
		u8 *from = arena + (i & 31), *to = arena + apart + (i * 7 & 31);

		HIDE(to);
		memcpy(to, from, size);
	}
	return size;
}

static u64 copy_100(u64 n)
{
	return library_copy(n, 100, KIB(4));
}

static u64 copy_4k(u64 n)
{
	return library_copy(n, 4096, KIB(64));
}

static u64 copy_8m(u64 n)
{
	return library_copy(n, MIB(8), MIB(16));
}

static u64 fill(u64 n)
{
	u64 i;

	for (i = 0; i < n; i++) {
		u8 *to = arena + (i & 63);

		HIDE(to);
		memset(to, i, 20000);
	}
	return arena[100];
}

static u64 rep_copy(u64 n)
{
	for (; n; n--) {
		void *d = arena + MIB(1) + (n & 7), *s = arena + (n & 15);
		u64 c = 16384;

		__asm__ volatile("rep movsb" : "+D"(d), "+S"(s), "+c"(c)::"memory");
	}
	return 0;
}

static NOINLINE u64 length_bytes(const u8 *s)
{
	const u8 *p = s;

	while (*p)
		p++;
	return p - s;
}

static u64 string_length(u64 n)
{
	u64 i, sum = 0;

	memset(arena, 'a', 8192);
	for (i = 0; i < n; i++) {
		u64 end = 20 + (i * 97 & 1023);

		arena[end] = 0;
		sum += length_bytes(arena) + strlen((char *)arena + 3);
		arena[end] = 'b';
	}
	return sum;
}

/* ---- a random cycle through nodes of 64 bytes ---- */

static u64 chain_size;

static void chain(u64 nodes)
{
	u32 *order = (u32 *)(arena + nodes * 64), seed = 1234567;
	u64 i;

	for (i = 0; i < nodes; i++)
		order[i] = i;
	for (i = nodes - 1; i > 0; i--) {
		u64 j = next_random(&seed) % i;
		u32 t = order[i];

		order[i] = order[j];
		order[j] = t;
	}
	for (i = 0; i < nodes; i++)
		*(u64 **)(arena + order[i] * 64ull) = (u64 *)(arena + order[(i + 1) % nodes] * 64ull);
	chain_size = nodes;
}

static void chain_64k(void)
{
	chain(1024);
}

static void chain_1m(void)
{
	chain(16384);
}

static void chain_64m(void)
{
	chain(1 << 20);
}

static u64 chase(u64 n)
{
	u64 **p = (u64 **)arena;

	for (; n; n--)
		p = (u64 **)*p;
	return (u64)((u8 *)p - arena) + chain_size;
}

/* ---- streams and scatter ---- */

static u64 triad(u64 n)
{
	u64 *a = (u64 *)arena, *b = a + 500000, *c = b + 500000, i;

	for (i = 0; i < 500000; i++)
		b[i] = i, c[i] = i * 3;
	for (; n; n--) {
		for (i = 0; i < 500000; i++)
			a[i] = b[i] + c[i] * n;
		HIDE(a);
	}
	return a[1234];
}

static u64 random_reads(u64 n)
{
	const u32 *table = (u32 *)arena;
	u32 seed = 77;
	u64 sum = 0;

	memset(arena, 1, MIB(32));
	for (; n; n--)
		sum += table[next_random(&seed) & ((8 << 20) - 1)];
	return sum;
}

static u64 random_updates(u64 n)
{
	u64 *table = (u64 *)arena;
	u32 seed = 78;

	memset(arena, 0, MIB(4));
	for (; n; n--)
		table[next_random(&seed) & ((1 << 19) - 1)] ^= n;
	return table[99] ^ table[1000];
}

static u64 atomics(u64 n)
{
	u64 *cell = (u64 *)arena, i;

	memset(arena, 0, 64);
	for (i = 0; i < n; i++) {
		__atomic_fetch_add(&cell[i & 7], i, __ATOMIC_SEQ_CST);
		__atomic_compare_exchange_n(&cell[0], &cell[1], i, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	}
	return cell[3];
}

const struct row memory_rows[] = {
	{.name = "copy-loop", .class = "mem", .run = copy_loop, .n = 20000},
	{.name = "memcpy-100", .class = "mem", .run = copy_100, .n = 3000000},
	{.name = "memcpy-4k", .class = "mem", .run = copy_4k, .n = 400000},
	{.name = "memcpy-8m", .class = "mem", .run = copy_8m, .n = 16},
	{.name = "memset", .class = "mem", .run = fill, .n = 100000},
	{.name = "rep-movsb", .class = "mem", .run = rep_copy, .n = 50000},
	{.name = "strlen", .class = "mem", .run = string_length, .n = 80000},
	{.name = "chase-64k", .class = "mem", .run = chase, .n = 10000000, .setup = chain_64k},
	{.name = "chase-1m", .class = "mem", .run = chase, .n = 5000000, .setup = chain_1m},
	{.name = "chase-64m", .class = "mem", .run = chase, .n = 400000, .setup = chain_64m},
	{.name = "triad", .class = "mem", .run = triad, .n = 40},
	{.name = "random-read", .class = "mem", .run = random_reads, .n = 5000000},
	{.name = "random-update", .class = "mem", .run = random_updates, .n = 10000000},
	{.name = "atomics", .class = "mem", .run = atomics, .n = 3000000},
	{.name = NULL},
};
