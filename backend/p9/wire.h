/* SPDX-License-Identifier: MIT */
/*
 * 9P on the wire: numbers are little-endian, a string is its 16-bit length and its
 * bytes. A cursor that has run out stays so, and reads give zero; the caller asks once, at the end.
 */
#pragma once

#include <string.h>

#include "lib/types.h"

enum p9_type { /* T messages; an answer is one more */
	P9_RLERROR = 7,
	P9_TSTATFS = 8,
	P9_TLOPEN = 12,
	P9_TLCREATE = 14,
	P9_TSYMLINK = 16,
	P9_TMKNOD = 18,
	P9_TREADLINK = 22,
	P9_TGETATTR = 24,
	P9_TSETATTR = 26,
	P9_TREADDIR = 40,
	P9_TFSYNC = 50,
	P9_TLOCK = 52,
	P9_TGETLOCK = 54,
	P9_TLINK = 70,
	P9_TMKDIR = 72,
	P9_TRENAMEAT = 74,
	P9_TUNLINKAT = 76,
	P9_TVERSION = 100,
	P9_TATTACH = 104,
	P9_TFLUSH = 108,
	P9_TWALK = 110,
	P9_TREAD = 116,
	P9_TWRITE = 118,
	P9_TCLUNK = 120,
	P9_TREMOVE = 122,
	P9_TYPES = 128,
};

#define P9_HEADER 7u /* size[4] type[1] tag[2] */
#define P9_QID 13u
#define P9_NAME_MAX 255u

struct p9_in {
	const u8 *at, *end;
	bool bad; /* it ran out, or a string was not what it must be */
};

struct p9_out {
	u8 *start, *at, *end;
	bool full;
};

static inline const u8 *p9_take(struct p9_in *in, size_t len)
{
	const u8 *at = in->at;

	if (in->bad || (size_t)(in->end - at) < len) {
		in->bad = true;
		return NULL;
	}
	in->at += len;
	return at;
}

static inline u64 p9_get(struct p9_in *in, unsigned size)
{
	const u8 *at = p9_take(in, size);
	u64 value = 0;

	if (at)
		memcpy(&value, at, size);
	return value;
}

static inline u16 p9_get16(struct p9_in *in)
{
	return (u16)p9_get(in, 2);
}

static inline u32 p9_get32(struct p9_in *in)
{
	return (u32)p9_get(in, 4);
}

static inline u64 p9_get64(struct p9_in *in)
{
	return p9_get(in, 8);
}

/* A string with its end, into text[size]; one with a NUL in it, or too long, is bad. */
static inline void p9_get_string(struct p9_in *in, char *text, size_t size)
{
	size_t len = p9_get16(in);
	const u8 *at = p9_take(in, len);

	text[0] = 0;
	if (!at)
		return;
	if (len >= size || memchr(at, 0, len)) {
		in->bad = true;
		return;
	}
	memcpy(text, at, len);
	text[len] = 0;
}

static inline void p9_put_bytes(struct p9_out *out, const void *data, size_t len)
{
	if (out->full || (size_t)(out->end - out->at) < len) {
		out->full = true;
		return;
	}
	memcpy(out->at, data, len);
	out->at += len;
}

static inline void p9_put(struct p9_out *out, unsigned size, u64 value)
{
	p9_put_bytes(out, &value, size);
}

static inline void p9_put_string(struct p9_out *out, const char *text)
{
	size_t len = strlen(text);

	p9_put(out, 2, len);
	p9_put_bytes(out, text, len);
}
