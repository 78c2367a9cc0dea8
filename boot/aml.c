/* SPDX-License-Identifier: MIT */
/* Writes ACPI Machine Language. */
#include "boot/aml.h"

#include <string.h>

enum {
	OP_ZERO = 0x00,
	OP_ONE = 0x01,
	OP_NAME = 0x08,
	OP_BYTE = 0x0a,
	OP_WORD = 0x0b,
	OP_DWORD = 0x0c,
	OP_QWORD = 0x0e,
	OP_SCOPE = 0x10,
	OP_BUFFER = 0x11,
	OP_PACKAGE = 0x12,
	OP_METHOD = 0x14,
	OP_EXT = 0x5b,
	OP_EXT_DEVICE = 0x82,
	OP_IF = 0xa0,
	METHOD_SERIALIZED = 8,
};

enum {
	RES_IRQ = 0x22, /* small, two bytes, no flags: edge, active high */
	RES_IO = 0x47,
	RES_END = 0x79,
	RES_DWORD_RANGE = 0x87,
	RES_WORD_RANGE = 0x88,
	RES_QWORD_RANGE = 0x8a,
	RES_IO_DECODE16 = 1,
};

enum {
	RANGE_MEMORY = 0,
	RANGE_IO = 1,
	RANGE_BUS = 2,
	RANGE_FIXED = 0x0c, /* minimum and maximum are fixed, positive decode, producer */
	RANGE_MEMORY_WRITABLE = 1,
	RANGE_IO_ENTIRE = 3,
};

#define LENGTH_BYTES 3 /* PkgLength is always written in its three-byte form */

void aml_init(struct aml *aml, u8 *buf, size_t cap)
{
	*aml = (struct aml){.buf = buf, .cap = cap};
}

static void put(struct aml *aml, u64 value, unsigned bytes)
{
	if (bytes > aml->cap - aml->len) {
		aml->overflow = true;
		return;
	}
	for (unsigned i = 0; i < bytes; i++)
		aml->buf[aml->len++] = (u8)(value >> (8 * i));
}

static void put_name(struct aml *aml, const char *name)
{
	while (*name == '\\')
		put(aml, (u8)*name++, 1);
	for (unsigned i = 0; i < 4; i++)
		put(aml, *name ? (u8)*name++ : '_', 1);
}

/* ---- things with a length ---- */

static void open_length(struct aml *aml)
{
	if (aml->depth == AML_DEPTH) {
		aml->overflow = true;
		return;
	}
	aml->open[aml->depth++] = aml->len;
	put(aml, 0, LENGTH_BYTES);
}

void aml_close(struct aml *aml)
{
	size_t at, len;

	if (aml->overflow || !aml->depth)
		return;
	at = aml->open[--aml->depth];
	len = aml->len - at; /* counts its own bytes */
	aml->buf[at] = (u8)((LENGTH_BYTES - 1) << 6 | (len & 0xf));
	aml->buf[at + 1] = (u8)(len >> 4);
	aml->buf[at + 2] = (u8)(len >> 12);
}

void aml_scope(struct aml *aml, const char *name)
{
	put(aml, OP_SCOPE, 1);
	open_length(aml);
	put_name(aml, name);
}

void aml_device(struct aml *aml, const char *name)
{
	put(aml, OP_EXT, 1);
	put(aml, OP_EXT_DEVICE, 1);
	open_length(aml);
	put_name(aml, name);
}

void aml_package(struct aml *aml, u8 elements)
{
	put(aml, OP_PACKAGE, 1);
	open_length(aml);
	put(aml, elements, 1);
}

void aml_method(struct aml *aml, const char *name, u8 args)
{
	put(aml, OP_METHOD, 1);
	open_length(aml);
	put_name(aml, name);
	put(aml, METHOD_SERIALIZED | args, 1);
}

void aml_if(struct aml *aml)
{
	put(aml, OP_IF, 1);
	open_length(aml);
}

void aml_resources(struct aml *aml)
{
	put(aml, OP_BUFFER, 1);
	open_length(aml);
	put(aml, OP_WORD, 1);
	aml->buffer = aml->len;
	put(aml, 0, 2);
}

void aml_close_resources(struct aml *aml)
{
	size_t len;

	put(aml, RES_END, 1);
	put(aml, 0, 1); /* a checksum of zero counts as right */
	if (aml->overflow)
		return;
	len = aml->len - aml->buffer - 2;
	aml->buf[aml->buffer] = (u8)len;
	aml->buf[aml->buffer + 1] = (u8)(len >> 8);
	aml_close(aml);
}

/* ---- objects ---- */

void aml_name(struct aml *aml, const char *name)
{
	put(aml, OP_NAME, 1);
	put_name(aml, name);
}

void aml_int(struct aml *aml, u64 value)
{
	if (value <= 1) {
		put(aml, value ? OP_ONE : OP_ZERO, 1);
	} else if (value <= UINT8_MAX) {
		put(aml, OP_BYTE, 1);
		put(aml, value, 1);
	} else if (value <= UINT16_MAX) {
		put(aml, OP_WORD, 1);
		put(aml, value, 2);
	} else if (value <= UINT32_MAX) {
		put(aml, OP_DWORD, 1);
		put(aml, value, 4);
	} else {
		put(aml, OP_QWORD, 1);
		put(aml, value, 8);
	}
}

void aml_bytes(struct aml *aml, const void *data, u8 len)
{
	put(aml, OP_BUFFER, 1);
	open_length(aml);
	put(aml, OP_BYTE, 1);
	put(aml, len, 1);
	for (u8 i = 0; i < len; i++)
		put(aml, ((const u8 *)data)[i], 1);
	aml_close(aml);
}

void aml_ref(struct aml *aml, const char *name)
{
	put_name(aml, name);
}

void aml_op(struct aml *aml, enum aml_op op)
{
	put(aml, op, 1);
}

static u32 hex_digit(char c)
{
	return (u32)(c <= '9' ? c - '0' : c - 'A' + 10);
}

/* Three letters of five bits and four hex digits, big-endian. */
void aml_eisa_id(struct aml *aml, const char *id)
{
	u32 value = (u32)(id[0] & 0x1f) << 26 | (u32)(id[1] & 0x1f) << 21 | (u32)(id[2] & 0x1f) << 16;

	for (unsigned i = 0; i < 4; i++)
		value |= hex_digit(id[3 + i]) << (12 - 4 * i);
	put(aml, OP_DWORD, 1);
	put(aml, __builtin_bswap32(value), 4);
}

/* ---- resources ---- */

void aml_io(struct aml *aml, u16 port, u8 len)
{
	put(aml, RES_IO, 1);
	put(aml, RES_IO_DECODE16, 1);
	put(aml, port, 2);
	put(aml, port, 2);
	put(aml, 1, 1); /* alignment */
	put(aml, len, 1);
}

void aml_irq(struct aml *aml, unsigned irq)
{
	put(aml, RES_IRQ, 1);
	put(aml, BIT(irq), 2);
}

/* Granularity, minimum, maximum, translation and length, in `width` bytes each. */
static void put_range(struct aml *aml, u8 type, u8 flags, u64 first, u64 last, unsigned width)
{
	u8 tag = width == 2 ? RES_WORD_RANGE : width == 4 ? RES_DWORD_RANGE : RES_QWORD_RANGE;

	put(aml, tag, 1);
	put(aml, 3 + 5 * width, 2);
	put(aml, type, 1);
	put(aml, RANGE_FIXED, 1);
	put(aml, flags, 1);
	put(aml, 0, width);
	put(aml, first, width);
	put(aml, last, width);
	put(aml, 0, width);
	put(aml, last - first + 1, width);
}

void aml_bus_range(struct aml *aml, u16 first, u16 last)
{
	put_range(aml, RANGE_BUS, 0, first, last, 2);
}

void aml_io_range(struct aml *aml, u16 first, u16 last)
{
	put_range(aml, RANGE_IO, RANGE_IO_ENTIRE, first, last, 2);
}

void aml_memory_range(struct aml *aml, u64 first, u64 last)
{
	put_range(aml, RANGE_MEMORY, RANGE_MEMORY_WRITABLE, first, last, last > UINT32_MAX ? 8 : 4);
}
