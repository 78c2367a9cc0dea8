/* SPDX-License-Identifier: MIT */
/*
 * The instruction emulator against the silicon: random forms of every
 * instruction that it knows run natively and emulated, and must leave the same
 * registers, flags and memory. Then what the silicon of a process cannot show:
 * 16-bit addresses, faults, and encodings that are not whole or not known.
 */
#include <asm/prctl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "x86/emulate.h"
#include "x86/state.h"

enum {
	BUF = 0x20000000, /* what the instructions work on */
	BUF_SIZE = 8192,
	ARENA = 0x20010000, /* code and the register image below it */
	ROUNDS = 500, /* of each template and mode */
};

#define GS_BASE 0x123450000ull /* addresses wrap around 2^64 to BUF */

struct regs {
	u64 gpr[16];
	u64 flags;
	u64 host_sp;
	u32 far_offset;
	u16 far_selector;
};

static struct arena {
	struct regs r;
	u8 code[1024] __attribute__((aligned(64)));
} * arena;

static u8 shadow[BUF_SIZE]; /* the emulator's memory */
static u64 seed = 0x9e3779b97f4a7c15;

static u64 rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static u64 rnd_below(u64 n)
{
	return (rnd() >> 11) % n;
}

/* ---- the silicon ---- */

struct out {
	u8 *p;
};

static void put(struct out *o, const char *bytes, unsigned n)
{
	memcpy(o->p, bytes, n);
	o->p += n;
}

#define PUT(o, bytes) put(o, bytes, sizeof(bytes) - 1)

static void put32(struct out *o, u32 v)
{
	memcpy(o->p, &v, 4);
	o->p += 4;
}

/* MOV between a register and an absolute address. */
static void put_mov(struct out *o, bool load, unsigned reg, const void *at)
{
	*o->p++ = (u8)(0x48 | (reg & 8) >> 1);
	*o->p++ = load ? 0x8b : 0x89;
	*o->p++ = (u8)(4 | (reg & 7) << 3);
	*o->p++ = 0x25;
	put32(o, (u32)(uintptr_t)at);
}

static void put_prologue(struct out *o, struct regs *r)
{
	PUT(o, "\x53\x55\x41\x54\x41\x55\x41\x56\x41\x57"); /* push rbx rbp r12..r15 */
	put_mov(o, false, RSP, &r->host_sp);
	PUT(o, "\xff\x34\x25"); /* push flags; popfq */
	put32(o, (u32)(uintptr_t)&r->flags);
	PUT(o, "\x9d");
	for (unsigned i = 0; i < 16; i++)
		put_mov(o, true, i, &r->gpr[i]);
}

static void put_epilogue(struct out *o, struct regs *r)
{
	for (unsigned i = 0; i < 16; i++)
		put_mov(o, false, i, &r->gpr[i]);
	put_mov(o, true, RSP, &r->host_sp);
	PUT(o, "\x9c\x8f\x04\x25"); /* pushfq; pop flags */
	put32(o, (u32)(uintptr_t)&r->flags);
	PUT(o, "\xfc\x41\x5f\x41\x5e\x41\x5d\x41\x5c\x5d\x5b\xc3"); /* cld, pops, ret */
}

/* Builds the code around an instruction; returns where the instruction is. */
static u8 *build(const u8 *code, unsigned len, unsigned bits)
{
	struct out o = {arena->code};
	struct regs *r = &arena->r;
	u8 *at;

	put_prologue(&o, r);
	if (bits == 32) {
		PUT(&o, "\xff\x2c\x25"); /* jmp far */
		put32(&o, (u32)(uintptr_t)&r->far_offset);
		r->far_offset = (u32)(uintptr_t)o.p;
		r->far_selector = 0x23;
	}
	at = o.p;
	put(&o, (const char *)code, len);
	if (bits == 32) {
		PUT(&o, "\xea");
		put32(&o, (u32)(uintptr_t)o.p + 6);
		PUT(&o, "\x33\x00");
	}
	put_epilogue(&o, r);
	return at;
}

/* ---- the emulator ---- */

static bool outside; /* an access left the buffer: the form is not comparable */
static int fail_store; /* the next store faults */

static u8 *host(u64 gva, unsigned size)
{
	u64 at = gva - BUF;

	if (at < BUF_SIZE - size)
		return shadow + at;
	outside = true;
	return NULL;
}

static int emul_load(struct x86_emul *e, u64 gva, unsigned size, u64 *value)
{
	u8 *p = host(gva, size);

	(void)e;
	*value = 0;
	if (!p)
		return -1;
	memcpy(value, p, size);
	return 0;
}

static int emul_store(struct x86_emul *e, u64 gva, unsigned size, u64 value)
{
	u8 *p = host(gva, size);

	(void)e;
	if (!p || fail_store)
		return -1;
	memcpy(p, &value, size);
	return 0;
}

static struct x86_emul emul_of(const u8 *code, unsigned len, unsigned bits, u64 *gpr)
{
	return (struct x86_emul){.code = code,
		.len = len,
		.bits = bits,
		.gpr = gpr,
		.rip = (uintptr_t)code,
		.rflags = 2,
		.load = emul_load,
		.store = emul_store};
}

/* ---- random forms ---- */

enum {
	T_RM = 1, /* ModRM */
	T_IMM8 = 2,
	T_IMM = 4,
	T_MOFFS = 8,
	T_STRING = 16,
	T_LOCK = 32, /* LOCK is allowed with memory */
	T_BITREG = 64, /* ModRM.reg holds a bit offset */
	T_MEMORY = 128, /* memory only */
	T_64 = 256, /* this opcode means something else in 32-bit code */
	T_NO16 = 512, /* no operands of 16 bits */
};

struct template
{
	u8 map; /* 0: one byte, 1: 0f, 2: 0f 38 */
	u8 op, last; /* a range of opcodes */
	unsigned flags;
	i8 group_first, group_last; /* ModRM.reg, or -1: any */
};

/* clang-format off */
static const struct template templates[] = {
	{0, 0x00, 0x01, T_RM | T_LOCK, -1, 0}, {0, 0x02, 0x03, T_RM, -1, 0},
	{0, 0x08, 0x09, T_RM | T_LOCK, -1, 0}, {0, 0x0a, 0x0b, T_RM, -1, 0},
	{0, 0x10, 0x11, T_RM | T_LOCK, -1, 0}, {0, 0x12, 0x13, T_RM, -1, 0},
	{0, 0x18, 0x19, T_RM | T_LOCK, -1, 0}, {0, 0x1a, 0x1b, T_RM, -1, 0},
	{0, 0x20, 0x21, T_RM | T_LOCK, -1, 0}, {0, 0x22, 0x23, T_RM, -1, 0},
	{0, 0x28, 0x29, T_RM | T_LOCK, -1, 0}, {0, 0x2a, 0x2b, T_RM, -1, 0},
	{0, 0x30, 0x31, T_RM | T_LOCK, -1, 0}, {0, 0x32, 0x33, T_RM, -1, 0},
	{0, 0x38, 0x3b, T_RM, -1, 0},
	{0, 0x63, 0x63, T_RM | T_64, -1, 0},
	{0, 0x80, 0x80, T_RM | T_IMM8 | T_LOCK, 0, 6}, {0, 0x81, 0x81, T_RM | T_IMM | T_LOCK, 0, 6},
	{0, 0x83, 0x83, T_RM | T_IMM8 | T_LOCK, 0, 6}, {0, 0x80, 0x80, T_RM | T_IMM8, 7, 7},
	{0, 0x81, 0x81, T_RM | T_IMM, 7, 7},
	{0, 0x84, 0x85, T_RM, -1, 0}, {0, 0x86, 0x87, T_RM | T_LOCK, -1, 0}, {0, 0x88, 0x8b, T_RM, -1, 0},
	{0, 0xa0, 0xa3, T_MOFFS, -1, 0},
	{0, 0xa4, 0xa7, T_STRING, -1, 0}, {0, 0xaa, 0xaf, T_STRING, -1, 0},
	{0, 0xc6, 0xc6, T_RM | T_IMM8, 0, 0}, {0, 0xc7, 0xc7, T_RM | T_IMM, 0, 0},
	{0, 0xf6, 0xf6, T_RM | T_IMM8, 0, 1}, {0, 0xf7, 0xf7, T_RM | T_IMM, 0, 1},
	{0, 0xf6, 0xf7, T_RM | T_LOCK, 2, 3}, {0, 0xfe, 0xff, T_RM | T_LOCK, 0, 1},
	{1, 0x40, 0x4f, T_RM, -1, 0}, {1, 0x90, 0x9f, T_RM, -1, 0},
	{1, 0xa3, 0xa3, T_RM | T_BITREG, -1, 0}, {1, 0xab, 0xab, T_RM | T_BITREG | T_LOCK, -1, 0},
	{1, 0xb3, 0xb3, T_RM | T_BITREG | T_LOCK, -1, 0}, {1, 0xbb, 0xbb, T_RM | T_BITREG | T_LOCK, -1, 0},
	{1, 0xba, 0xba, T_RM | T_IMM8, 4, 4}, {1, 0xba, 0xba, T_RM | T_IMM8 | T_LOCK, 5, 7},
	{1, 0xb0, 0xb1, T_RM | T_LOCK, -1, 0}, {1, 0xc0, 0xc1, T_RM | T_LOCK, -1, 0},
	{1, 0xb6, 0xb7, T_RM, -1, 0}, {1, 0xbe, 0xbf, T_RM, -1, 0},
	{1, 0xc3, 0xc3, T_RM | T_MEMORY | T_NO16, -1, 0},
	{2, 0xf0, 0xf1, T_RM | T_MEMORY, -1, 0},
};
/* clang-format on */

struct form {
	u8 code[16];
	unsigned len, bits;
	u8 rex;
	bool addr32, opsize16, gs;
	u64 anchor; /* what a base register holds */
	struct regs r;
	bool fixed[16]; /* the register's value is part of an address */
	unsigned rip_disp; /* where a displacement is that is to be made relative, or 0 */
};

static void byte(struct form *f, unsigned b)
{
	f->code[f->len++] = (u8)b;
}

static void immediate(struct form *f, unsigned size, u64 v)
{
	for (unsigned i = 0; i < size; i++)
		byte(f, v >> 8 * i & 0xff);
}

static u64 interesting(void)
{
	static const u64 edge[] = {0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0x7fffffff, 0x80000000, ~0ull,
		0x8000000000000000, 0x7fffffffffffffff};

	return rnd_below(3) ? rnd() : edge[rnd_below(ARRAY_SIZE(edge))];
}

static void random_state(struct form *f)
{
	for (unsigned i = 0; i < 16; i++)
		f->r.gpr[i] = interesting();
	f->r.flags = 0x202 | (rnd() & (FL_ARITH | FL_DF));
	for (unsigned i = 0; i < BUF_SIZE; i += 8) {
		u64 v = interesting();

		memcpy(shadow + i, &v, 8);
	}
}

/* An anchor is in the middle of the buffer, less the segment's base. */
static void prefixes(struct form *f, const struct template *t)
{
	f->addr32 = f->bits == 64 && !rnd_below(5);
	f->opsize16 = !(t->flags & T_NO16) && !rnd_below(3);
	f->gs = f->bits == 64 && !f->addr32 && !(t->flags & T_STRING) && !rnd_below(4);
	if (f->opsize16)
		byte(f, 0x66);
	if (f->addr32)
		byte(f, 0x67);
	if (f->gs)
		byte(f, 0x65);
	else if (!rnd_below(8))
		byte(f, 0x3e);
	f->anchor = BUF + BUF_SIZE / 2 + rnd_below(64);
	if (f->gs)
		f->anchor -= GS_BASE;
	if (f->bits == 64 && rnd_below(3))
		f->rex = (u8)(0x40 | rnd_below(16));
}

/* Memory operands have a base register; an index is small. */
static void memory_operand(struct form *f, unsigned reg)
{
	unsigned mod = (unsigned)rnd_below(3), rm = (unsigned)rnd_below(8), base = rm, index = RSP;
	unsigned scale = (unsigned)rnd_below(4);

	if (rm == 4) {
		base = (unsigned)rnd_below(8);
		index = (unsigned)rnd_below(8);
	}
	if (mod == 0 && base == 5)
		mod = 1;
	byte(f, mod << 6 | reg << 3 | rm);
	if (rm == 4)
		byte(f, scale << 6 | index << 3 | base);
	base |= f->rex & 1 ? 8 : 0;
	if (rm == 4 && (index != 4 || f->rex & 2)) {
		index |= f->rex & 2 ? 8 : 0;
		f->fixed[index] = true;
		f->r.gpr[index] = f->addr32 ? (u32)(rnd_below(64) - 32) : rnd_below(64) - 32;
		if (index == base) /* both at once: small enough by luck, or not compared */
			f->anchor /= 1 + (1u << scale);
	}
	f->fixed[base] = true;
	f->r.gpr[base] = f->anchor;
	if (mod)
		immediate(f, mod == 1 ? 1 : 4, rnd_below(200) - 100);
}

static void absolute_operand(struct form *f, unsigned reg)
{
	byte(f, reg << 3 | (f->bits == 64 ? 4 : 5));
	if (f->bits == 64)
		byte(f, 0x25);
	immediate(f, 4, f->gs ? 0x60 : f->anchor); /* outside with GS: not compared */
}

static void rip_operand(struct form *f, unsigned reg)
{
	byte(f, reg << 3 | 5);
	f->rip_disp = f->len;
	immediate(f, 4, f->anchor);
}

static void operands(struct form *f, const struct template *t)
{
	unsigned reg = (unsigned)rnd_below(8), full;

	if (t->group_first >= 0)
		reg = (unsigned)t->group_first +
		      (unsigned)rnd_below((u64)(t->group_last - t->group_first + 1));
	full = reg | (f->rex & 4 ? 8 : 0);
	if (t->flags & T_BITREG)
		f->r.gpr[full] = rnd_below(2048) - 1024;
	if (!(t->flags & (T_MEMORY | T_LOCK)) && !rnd_below(6))
		byte(f, 0xc0 | reg << 3 | (unsigned)rnd_below(8));
	else if (!rnd_below(8))
		absolute_operand(f, reg);
	else if (f->bits == 64 && !f->gs && !rnd_below(8))
		rip_operand(f, reg);
	else
		memory_operand(f, reg);
}

static void string_operands(struct form *f)
{
	f->r.gpr[RSI] = BUF + BUF_SIZE / 2 + rnd_below(64);
	f->r.gpr[RDI] = BUF + BUF_SIZE / 2 + rnd_below(64);
	f->r.gpr[RCX] = 1 + rnd_below(20);
}

static void make(struct form *f, const struct template *t, unsigned bits)
{
	unsigned op = t->op + (unsigned)rnd_below((u64)(t->last - t->op + 1)), size;

	*f = (struct form){.bits = bits};
	random_state(f);
	if (t->flags & T_LOCK && rnd_below(2))
		byte(f, 0xf0);
	if (t->flags & T_STRING && rnd_below(2))
		byte(f, 0xf2 + (unsigned)rnd_below(2));
	prefixes(f, t);
	if (f->rex)
		byte(f, f->rex);
	if (t->map)
		byte(f, 0x0f);
	if (t->map == 2)
		byte(f, 0x38);
	byte(f, op);
	if (t->flags & T_RM)
		operands(f, t);
	if (t->flags & T_STRING)
		string_operands(f);
	if (t->flags & T_MOFFS)
		immediate(f, f->bits == 64 && !f->addr32 ? 8 : 4, f->anchor);
	size = f->rex & 8 ? 4 : f->opsize16 ? 2 : 4;
	if (t->flags & (T_IMM | T_IMM8))
		immediate(f, t->flags & T_IMM ? size : 1, interesting());
	if (rnd_below(2) && op >= 0xb0 && t->map == 1 && !f->fixed[RAX]) /* CMPXCHG: make them equal */
		memset(shadow, (int)f->r.gpr[RAX] & 0xff, BUF_SIZE),
			f->r.gpr[RAX] = 0x0101010101010101ull * (f->r.gpr[RAX] & 0xff);
	for (unsigned i = 0; bits == 32 && i < 16; i++)
		f->r.gpr[i] = (u32)f->r.gpr[i];
}

/* ---- the comparison ---- */

static void show(const struct form *f, const char *what)
{
	fprintf(stderr, "%s differs, %u-bit:", what, f->bits);
	for (unsigned i = 0; i < f->len; i++)
		fprintf(stderr, " %02x", f->code[i]);
	fprintf(stderr, "\n");
}

static void check_equal(const struct form *f, const u64 *gpr, u64 flags)
{
	const struct regs *r = &arena->r;
	u64 keep = f->bits == 64 ? ~0ull : 0xffffffff;

	for (unsigned i = 0; i < (f->bits == 64 ? 16 : 8); i++) {
		if ((r->gpr[i] ^ gpr[i]) & keep) {
			show(f, "a register");
			fprintf(stderr, "r%u: was %llx, silicon %llx, emulated %llx\n", i,
				(unsigned long long)f->r.gpr[i], (unsigned long long)r->gpr[i],
				(unsigned long long)gpr[i]);
			fail();
		}
	}
	if ((r->flags ^ flags) & (FL_ARITH | FL_DF)) {
		show(f, "a flag");
		fprintf(stderr, "was %llx, silicon %llx, emulated %llx\n", (unsigned long long)f->r.flags,
			(unsigned long long)r->flags, (unsigned long long)flags);
		fail();
	}
	if (memcmp((void *)(uintptr_t)BUF, shadow, BUF_SIZE)) {
		show(f, "memory");
		fail();
	}
}

static int emulate(struct form *f, const u8 *code, u64 *gpr, u64 *flags)
{
	struct x86_emul e = emul_of(code, f->len, f->bits, gpr);
	int ret;

	e.rflags = f->r.flags;
	e.seg_base[SEG_GS] = GS_BASE;
	outside = false;
	do
		ret = x86_emulate(&e);
	while (!ret && e.rip == (uintptr_t)code);
	*flags = e.rflags;
	if (!ret)
		assert_int_equal(e.rip - (uintptr_t)code, f->len);
	return ret;
}

/* True if the form could be compared. */
static bool try_form(struct form *f)
{
	u64 gpr[16], flags;
	u8 *code = build(f->code, f->len, f->bits);
	int ret;

	if (f->rip_disp) {
		u8 *at = code + f->rip_disp;
		u32 disp;

		memcpy(&disp, at, 4);
		disp -= (u32)(uintptr_t)(code + f->len);
		memcpy(at, &disp, 4);
	}
	memcpy(gpr, f->r.gpr, sizeof(gpr));
	memcpy((void *)(uintptr_t)BUF, shadow, BUF_SIZE);
	ret = emulate(f, code, gpr, &flags);
	if (ret == EMUL_FAULT && outside)
		return false;
	if (ret)
		show(f, "the answer");
	assert_int_equal(ret, EMUL_DONE);
	memcpy(arena->r.gpr, f->r.gpr, sizeof(gpr));
	arena->r.flags = f->r.flags;
	((void (*)(void))(uintptr_t)arena->code)();
	check_equal(f, gpr, flags);
	return true;
}

static void compare_with_silicon(unsigned bits)
{
	unsigned tried = 0, done = 0;
	struct form f;

	for (unsigned t = 0; t < ARRAY_SIZE(templates); t++) {
		if (bits == 32 && templates[t].flags & T_64)
			continue;
		for (unsigned i = 0; i < ROUNDS; i++) {
			make(&f, &templates[t], bits);
			tried++;
			done += try_form(&f);
		}
	}
	print_message("%u-bit: %u forms of %u compared\n", bits, done, tried);
	assert_true(done > tried * 3 / 4);
}

static void long_mode(void **state)
{
	(void)state;
	compare_with_silicon(64);
}

static void compatibility_mode(void **state)
{
	(void)state;
	compare_with_silicon(32);
}

/* ---- what the silicon cannot show here ---- */

static void addresses_of_16_bits(void **state)
{
	/* mov al, [form] */
	static const u16 base[8] = {0x1010, 0x1020, 0x2010, 0x2020, 0x10, 0x20, 0x2000, 0x1000};
	u64 gpr[16] = {[RBX] = 0xabc1000, [RBP] = 0x2000, [RSI] = 0x10, [RDI] = 0x20};

	(void)state;
	for (unsigned rm = 0; rm < 8; rm++) {
		u8 code[] = {0x8a, (u8)(0x40 | rm), 0xff};
		struct x86_emul e = emul_of(code, sizeof(code), 16, gpr);
		bool stack = rm == 2 || rm == 3 || rm == 6;
		u64 seg = BUF + 8 - (u16)(base[rm] - 1);

		e.seg_base[stack ? SEG_SS : SEG_DS] = seg & 0xffffffff;
		shadow[8] = (u8)(rm + 77);
		assert_int_equal(x86_emulate(&e), EMUL_DONE);
		assert_int_equal(gpr[RAX], rm + 77);
		assert_int_equal(e.rip, (u32)(uintptr_t)code + 3);
	}
}

static void wants_more_bytes(void **state)
{
	static const u8 code[] = {0x66, 0xc7, 0x84, 0x08, 0x34, 0x12, 0, 0, 0x78, 0x56};
	u64 gpr[16] = {[RAX] = BUF - 0x1234};

	(void)state;
	for (unsigned len = 0; len < sizeof(code); len++) {
		struct x86_emul e = emul_of(code, len, 64, gpr);

		assert_int_equal(x86_emulate(&e), EMUL_SHORT);
		assert_int_equal(e.rip, (uintptr_t)code);
	}
}

static void refuses(const char *code, unsigned len)
{
	u64 gpr[16] = {[RAX] = BUF};
	struct x86_emul e = emul_of((const u8 *)code, len, 64, gpr);

	assert_int_equal(x86_emulate(&e), EMUL_UNKNOWN);
	assert_int_equal(gpr[RAX], BUF);
}

static void refuses_what_it_does_not_know(void **state)
{
	(void)state;
	refuses("\x0f\x0b", 2); /* UD2 */
	refuses("\xf0\x89\x00", 3); /* LOCK MOV */
	refuses("\xf0\x01\xc0", 3); /* LOCK with a register */
	refuses("\xf0\x3b\x00", 3); /* LOCK CMP */
	refuses("\xf2\x0f\x38\xf0\x00", 5); /* CRC32 */
	refuses("\xc7\x48\x00\x00\x00\x00\x00", 7); /* group 11, 1 */
	refuses("\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x90", 16);
	refuses("\x6c", 1); /* INSB with nobody to ask */
}

static void a_fault_changes_nothing(void **state)
{
	/* xchg; xadd; cmpxchg; movsb; add */
	static const char *const code[] = {
		"\x48\x87\x08", "\x48\x0f\xc1\x08", "\x48\x0f\xb1\x08", "\xa4", "\x48\x01\x08"};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(code); i++) {
		u64 gpr[16] = {[RAX] = BUF, [RCX] = 5, [RSI] = BUF, [RDI] = BUF + 64}, before[16];
		struct x86_emul e = emul_of((const u8 *)code[i], 15, 64, gpr);

		memcpy(before, gpr, sizeof(gpr));
		fail_store = 1;
		assert_int_equal(x86_emulate(&e), EMUL_FAULT);
		fail_store = 0;
		assert_memory_equal(gpr, before, sizeof(gpr));
		assert_int_equal(e.rflags, 2);
		assert_int_equal(e.rip, (uintptr_t)code[i]);
	}
}

/* ---- string I/O ---- */

static u64 port_value;
static u16 port_seen;

static void port_in(struct x86_emul *e, u16 port, unsigned size, u64 *value)
{
	(void)e;
	(void)size;
	port_seen = port;
	*value = port_value++;
}

static void port_out(struct x86_emul *e, u16 port, unsigned size, u64 value)
{
	(void)e;
	(void)size;
	port_seen = port;
	port_value = value;
}

static void moves_strings_through_ports(void **state)
{
	static const u8 ins[] = {0xf3, 0x6d}, outs[] = {0x66, 0x6f};
	u64 gpr[16] = {[RCX] = 3, [RDX] = 0x1f0, [RSI] = BUF, [RDI] = BUF};
	struct x86_emul e = emul_of(ins, sizeof(ins), 64, gpr);
	u32 got[3];

	(void)state;
	e.in = port_in;
	e.out = port_out;
	port_value = 0x11223344;
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(e.rip, (uintptr_t)ins);
		assert_int_equal(x86_emulate(&e), EMUL_DONE);
	}
	assert_int_equal(e.rip, (uintptr_t)ins + 2);
	memcpy(got, shadow, sizeof(got));
	assert_int_equal(got[2], 0x11223346);
	assert_int_equal(port_seen, 0x1f0);
	assert_int_equal(gpr[RDI], BUF + 12);
	e.code = outs;
	gpr[RDX] = 0x80;
	assert_int_equal(x86_emulate(&e), EMUL_DONE);
	assert_int_equal(port_value, 0x3344);
	assert_int_equal(port_seen, 0x80);
	assert_int_equal(gpr[RSI], BUF + 2);
}

static int set_up(void **state)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
	int rights = PROT_READ | PROT_WRITE;

	(void)state;
	arena = mmap((void *)(uintptr_t)ARENA, 4096, rights | PROT_EXEC, flags, -1, 0);
	if (arena == MAP_FAILED || mmap((void *)(uintptr_t)BUF, BUF_SIZE, rights, flags, -1, 0) == MAP_FAILED)
		return -1;
	/* 32-bit code needs data segments; 64-bit code does not look at them. */
	__asm__ volatile("mov %0, %%ds; mov %0, %%es" : : "r"(0x2b));
	return (int)syscall(SYS_arch_prctl, ARCH_SET_GS, GS_BASE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(long_mode),
		cmocka_unit_test(compatibility_mode),
		cmocka_unit_test(addresses_of_16_bits),
		cmocka_unit_test(wants_more_bytes),
		cmocka_unit_test(refuses_what_it_does_not_know),
		cmocka_unit_test(a_fault_changes_nothing),
		cmocka_unit_test(moves_strings_through_ports),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
