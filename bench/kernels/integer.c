/* SPDX-License-Identifier: MIT */
/* Integer kernels without much memory: a CoreMark-like mix, checksums, arithmetic, recursion. */
#include "bench/bench.h"

#include <string.h>

/* ---- the mix: lists, a matrix, a state machine, a checksum ---- */

struct node {
	struct node *next;
	i16 value, index;
};

static NOINLINE u16 crc16(u16 value, u16 crc)
{
	int i;

	for (i = 0; i < 16; i++) {
		bool bit = (value ^ crc) & 1;

		value >>= 1;
		crc >>= 1;
		if (bit)
			crc ^= 0xa001;
	}
	return crc;
}

static NOINLINE struct node *find(struct node *list, int value)
{
	while (list && list->value != value)
		list = list->next;
	return list;
}

static NOINLINE struct node *reverse(struct node *list)
{
	struct node *done = NULL, *next;

	for (; list; list = next) {
		next = list->next;
		list->next = done;
		done = list;
	}
	return done;
}

static struct node *merge(struct node *a, struct node *b)
{
	struct node head, *tail = &head;

	while (a && b) {
		struct node **less = a->value <= b->value ? &a : &b;

		tail = tail->next = *less;
		*less = (*less)->next;
	}
	tail->next = a ? a : b;
	return head.next;
}

static NOINLINE struct node *sort(struct node *list)
{
	struct node *slow = list, *fast, *rest;

	if (!list || !list->next)
		return list;
	for (fast = list->next; fast && fast->next; fast = fast->next->next)
		slow = slow->next;
	rest = slow->next;
	slow->next = NULL;
	return merge(sort(list), sort(rest));
}

static NOINLINE u32 multiply(i32 *c, const i16 *a, const i16 *b, int n)
{
	u32 sum = 0;
	int i, j, k;

	for (i = 0; i < n; i++) {
		for (j = 0; j < n; j++) {
			i32 s = 0;

			for (k = 0; k < n; k++)
				s += a[i * n + k] * b[k * n + j];
			c[i * n + j] = s;
			sum += s;
		}
	}
	return sum;
}

enum state { START, SIGN, WHOLE, FRACTION, EXPONENT, POWER, INVALID, STATES };

static NOINLINE enum state scan(const char **text)
{
	enum state s = START;
	const char *p = *text;

	for (; *p && *p != ','; p++) {
		bool digit = *p >= '0' && *p <= '9', sign = *p == '+' || *p == '-';

		switch (s) {
		case START:
			s = digit ? WHOLE : sign ? SIGN : *p == '.' ? FRACTION : INVALID;
			break;
		case SIGN:
			s = digit ? WHOLE : *p == '.' ? FRACTION : INVALID;
			break;
		case WHOLE:
			s = digit ? WHOLE : *p == '.' ? FRACTION : INVALID;
			break;
		case FRACTION:
			s = digit ? FRACTION : *p == 'e' || *p == 'E' ? EXPONENT : INVALID;
			break;
		case EXPONENT:
			s = digit || sign ? POWER : INVALID;
			break;
		case POWER:
			s = digit ? POWER : INVALID;
			break;
		default:
			break;
		}
	}
	*text = *p ? p + 1 : p;
	return s;
}

static u64 mix(u64 n)
{
	static const char numbers[] = "5012,1234,-874,+122,35.54,.1234500,-110.7,+0.644,5.5e+3,-.123e-2,-87e+"
				      "8x,+0.6e-12,T0.3e-1F,1T3.4e4z";
	struct node *nodes = (struct node *)arena, *list;
	i16 *a = (i16 *)(arena + 65536), *b = a + 1024;
	u32 seed = 7, i, count[STATES] = {0};
	u16 crc = 0;
	u64 it;

	for (i = 0; i < 200; i++)
		nodes[i] = (struct node){i < 199 ? &nodes[i + 1] : NULL, next_random(&seed) & 0x7ff, i};
	for (i = 0; i < 2048; i++)
		a[i] = next_random(&seed) & 255;
	list = nodes;
	for (it = 0; it < n; it++) {
		const char *p = numbers;

		for (i = 0; i < 40; i++) {
			struct node *f = find(list, i * 37 & 0x7ff);

			if (f)
				crc = crc16(f->index, crc);
			else
				list = reverse(list);
		}
		list = sort(list);
		for (struct node *q = list; q; q = q->next)
			q->value = (q->value * 13 + it) & 0x7ff;
		crc = crc16(multiply((i32 *)(arena + 131072), a, b, 20), crc);
		while (*p)
			count[scan(&p)]++;
		crc = crc16(count[INVALID], crc16(count[POWER], crc));
	}
	return crc;
}

/* ---- CRC-32 by table ---- */

static u32 crc_table[256];

static void crc_setup(void)
{
	u32 i, k, c;

	for (i = 0; i < 256; i++) {
		for (c = i, k = 0; k < 8; k++)
			c = c & 1 ? c >> 1 ^ 0xedb88320 : c >> 1;
		crc_table[i] = c;
	}
	for (i = 0; i < 4096; i++)
		arena[i] = i * 7;
}

static u64 crc32(u64 n)
{
	u32 c = ~0u, i;

	for (; n; n--)
		for (i = 0; i < 4096; i++)
			c = crc_table[(c ^ arena[i]) & 255] ^ c >> 8;
	return c;
}

/* ---- SHA-256 ---- */

static u32 sha_k[64];

/* The constants are the fractional parts of the cube roots of the first primes. */
static void sha_setup(void)
{
	u32 p = 2, found = 0, d;

	for (; found < 64; p++) {
		for (d = 2; d * d <= p && p % d; d++)
			;
		if (d * d > p) {
			/* floor(cbrt(p) * 2^32), by bisection in integers */
			unsigned __int128 lo = 0, hi = (unsigned __int128)8 << 32;

			while (hi - lo > 1) {
				unsigned __int128 mid = (lo + hi) / 2, sq = mid * mid;

				/* mid^3 <= p * 2^96, without overflow */
				if ((sq >> 32) * mid >> 32 <= ((unsigned __int128)p << 32))
					lo = mid;
				else
					hi = mid;
			}
			sha_k[found++] = (u32)lo;
		}
	}
	for (d = 0; d < 4096; d++)
		arena[d] = d;
}

#define ROR(x, n) ((x) >> (n) | (x) << (32 - (n)))

static NOINLINE void sha_block(u32 *h, const u8 *p)
{
	u32 w[64], s[8], t1, t2;
	int i;

	for (i = 0; i < 16; i++) {
		memcpy(&w[i], p + 4 * i, 4);
		w[i] = __builtin_bswap32(w[i]);
	}
	for (; i < 64; i++)
		w[i] = w[i - 16] + w[i - 7] + (ROR(w[i - 15], 7) ^ ROR(w[i - 15], 18) ^ w[i - 15] >> 3) +
		       (ROR(w[i - 2], 17) ^ ROR(w[i - 2], 19) ^ w[i - 2] >> 10);
	memcpy(s, h, sizeof(s));
	for (i = 0; i < 64; i++) {
		t1 = s[7] + (ROR(s[4], 6) ^ ROR(s[4], 11) ^ ROR(s[4], 25)) +
		     ((s[4] & s[5]) ^ (~s[4] & s[6])) + sha_k[i] + w[i];
		t2 = (ROR(s[0], 2) ^ ROR(s[0], 13) ^ ROR(s[0], 22)) +
		     ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
		memmove(s + 1, s, 28);
		s[4] += t1;
		s[0] = t1 + t2;
	}
	for (i = 0; i < 8; i++)
		h[i] += s[i];
}

static u64 sha256(u64 n)
{
	u32 h[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab,
		0x5be0cd19};
	u64 i;

	for (i = 0; i < n; i++)
		sha_block(h, arena + (i * 64 & 4095));
	return (u64)h[0] << 32 | h[7];
}

/* ---- long multiplication and division ---- */

static u64 bignum(u64 n)
{
	u64 a[32], r[64];
	u32 seed = 3;
	int i, j;

	for (i = 0; i < 32; i++)
		a[i] = (u64)next_random(&seed) << 32 | next_random(&seed);
	for (; n; n--) {
		memset(r, 0, sizeof(r));
		for (i = 0; i < 32; i++) {
			u64 carry = 0;

			for (j = 0; j < 32; j++) {
				unsigned __int128 t = (unsigned __int128)a[i] * a[j] + r[i + j] + carry;

				r[i + j] = t;
				carry = t >> 64;
			}
			r[i + 32] = carry;
		}
		memcpy(a, r + 16, sizeof(a));
		a[0] |= 1;
	}
	return a[31] ^ a[7];
}

static u64 divide(u64 n)
{
	u64 x = 0x123456789abcdef, sum = 0;
	u32 y = 77;

	for (; n; n--) {
		sum += x / (y | 1) + (u32)x % ((y & 0xffff) | 3);
		x = x * 6364136223846793005ull + 1442695040888963407ull;
		y = y * 1664525 + 1013904223;
	}
	return sum;
}

/* ---- recursion, bits, branches ---- */

static NOINLINE u64 fib_of(u64 n)
{
	return n < 2 ? n : fib_of(n - 1) + fib_of(n - 2);
}

static u64 fib(u64 n)
{
	u64 sum = 0;

	for (; n; n--)
		sum += fib_of(22);
	return sum;
}

static NOINLINE u32 place(u32 columns, u32 left, u32 right, u32 all)
{
	u32 free = all & ~(columns | left | right), count = 0;

	if (columns == all)
		return 1;
	while (free) {
		u32 bit = free & -free;

		free ^= bit;
		count += place(columns | bit, (left | bit) << 1, (right | bit) >> 1, all);
	}
	return count;
}

static u64 queens(u64 n)
{
	u64 sum = 0;

	for (; n; n--)
		sum += place(0, 0, 0, (1 << 8) - 1);
	return sum;
}

static u64 sieve(u64 n)
{
	u64 count = 0, i, j;

	for (; n; n--) {
		memset(arena, 1, 100000);
		for (i = 2; i < 100000; i++) {
			if (!arena[i])
				continue;
			count++;
			for (j = i * i; j < 100000; j += i)
				arena[j] = 0;
		}
	}
	return count;
}

static u64 collatz(u64 n)
{
	u64 best = 0, i, x, steps;

	for (i = 1; i <= n; i++) {
		for (x = i, steps = 0; x != 1; steps++)
			x = x & 1 ? 3 * x + 1 : x >> 1;
		if (steps > best)
			best = steps;
	}
	return best;
}

const struct row integer_rows[] = {
	{.name = "coremark", .class = "int", .run = mix, .n = 800},
	{.name = "crc32", .class = "int", .run = crc32, .n = 4000, .setup = crc_setup},
	{.name = "sha256", .class = "int", .run = sha256, .n = 100000, .setup = sha_setup},
	{.name = "bignum", .class = "int", .run = bignum, .n = 50000},
	{.name = "divide", .class = "int", .run = divide, .n = 8000000},
	{.name = "fib", .class = "int", .run = fib, .n = 500},
	{.name = "queens", .class = "int", .run = queens, .n = 1000},
	{.name = "sieve", .class = "int", .run = sieve, .n = 150},
	{.name = "collatz", .class = "int", .run = collatz, .n = 200000},
	{.name = NULL},
};
