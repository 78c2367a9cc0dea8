/* SPDX-License-Identifier: MIT */
/* Lines of text to COM1 and into a ring in memory; and panic. */
#include "hv/console.h"

#include "x86/insn.h"
#include "hv/lock.h"
#include "hv/trap.h"
#include "lib/string.h"

enum {
	COM1 = 0x3f8,
	LINE_STATUS = 5,
	TRANSMITTER_EMPTY = 0x20,
	RING = 16384,
	PATIENCE = 100000, /* polls for a UART that takes no characters */
	DEBUG_EXIT = 0xf4,
};

static struct spinlock console_lock;
static bool uart, broken; /* broken: a CPU panics, and may have held the lock */
static char ring[RING]; /* for a debugger, or a memory dump */
static unsigned ring_at;

void console_init(void)
{
	outb(COM1 + 1, 0); /* no interrupts */
	outb(COM1 + 3, 0x80);
	outb(COM1 + 0, 1); /* 115200 baud */
	outb(COM1 + 1, 0);
	outb(COM1 + 3, 3); /* 8n1 */
	outb(COM1 + 2, 7); /* FIFOs */
	outb(COM1 + 4, 3); /* DTR, RTS */
	uart = inb(COM1 + LINE_STATUS) != 0xff;
}

static void put_byte(char c)
{
	unsigned polls = 0;

	if (!uart)
		return;
	while (!(inb(COM1 + LINE_STATUS) & TRANSMITTER_EMPTY))
		if (++polls == PATIENCE)
			return;
	outb(COM1, (u8)c);
}

static void put(char c)
{
	ring[ring_at++ % RING] = c;
	if (c == '\n')
		put_byte('\r');
	put_byte(c);
}

static void put_text(const char *s, unsigned width)
{
	for (size_t len = strlen(s); len < width; len++)
		put(' ');
	while (*s)
		put(*s++);
}

static void put_number(u64 value, unsigned base, bool negative, unsigned width, bool zeroes)
{
	char text[24];
	unsigned at = sizeof(text) - 1;

	text[at] = 0;
	do {
		text[--at] = "0123456789abcdef"[value % base];
		value /= base;
	} while (value);
	for (unsigned len = sizeof(text) - 1 - at; zeroes && len < width && at > 1; len++)
		text[--at] = '0';
	if (negative)
		text[--at] = '-';
	put_text(text + at, width);
}

struct verb {
	unsigned width, longs;
	bool zeroes;
	char kind;
};

static const char *parse(const char *f, struct verb *v)
{
	*v = (struct verb){0};
	for (; *f == '0'; f++)
		v->zeroes = true;
	for (; *f >= '0' && *f <= '9'; f++)
		v->width = v->width * 10 + (unsigned)(*f - '0');
	for (; *f == 'l'; f++)
		v->longs++;
	v->kind = *f;
	return *f ? f + 1 : f;
}

static void put_verb(const struct verb *v, va_list *args)
{
	i64 number;

	switch (v->kind) {
	case 's':
		put_text(va_arg(*args, const char *), v->width);
		break;
	case 'd':
		number = v->longs ? va_arg(*args, i64) : va_arg(*args, int);
		put_number(number < 0 ? 0 - (u64)number : (u64)number, 10, number < 0, v->width, v->zeroes);
		break;
	case 'u':
	case 'x':
		put_number(v->longs ? va_arg(*args, u64) : va_arg(*args, u32), v->kind == 'x' ? 16 : 10, false,
			v->width, v->zeroes);
		break;
	default:
		put(v->kind);
	}
}

static void vprint(const char *format, va_list *args)
{
	struct verb v;

	while (*format) {
		if (*format != '%') {
			put(*format++);
			continue;
		}
		format = parse(format + 1, &v);
		put_verb(&v, args);
	}
}

void print(const char *format, ...)
{
	va_list args;

	if (!broken)
		lock(&console_lock);
	va_start(args, format);
	vprint(format, &args);
	va_end(args);
	if (!broken)
		unlock(&console_lock);
}

void panic(const char *format, ...)
{
	static _Atomic u32 panics;
	va_list args;

	if (atomic_fetch_add(&panics, 1) == 0) {
		broken = true;
		print("\nmullion: panic: ");
		va_start(args, format);
		vprint(format, &args);
		va_end(args);
		print("\n");
		dump_state((u64)__builtin_frame_address(0));
		outb(DEBUG_EXIT, 1);
	}
	for (;;)
		__asm__ volatile("cli; hlt");
}
