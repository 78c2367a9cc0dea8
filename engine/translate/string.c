/* SPDX-License-Identifier: MIT */
/*
 * String instructions, in steps of at most a page: each step runs the host's
 * own REP instruction on host addresses, so the registers are exact whenever a
 * step faults or an event is pending.
 */
#include "engine/translate/cpu.h"

struct str {
	struct cpu *cpu;
	const struct sysinsn *in;
	unsigned size; /* of an element */
	u64 mask; /* of the address size */
	bool down;
	u64 count; /* elements left; 1 without REP */
};

static u64 size_mask(unsigned size)
{
	return size >= 8 ? ~0ull : (1ull << 8 * size) - 1;
}

static u64 reg(const struct str *s, unsigned r)
{
	return s->cpu->x.s.gpr[r] & s->mask;
}

static void set_reg(const struct str *s, unsigned r, u64 v)
{
	u64 *g = &s->cpu->x.s.gpr[r];

	/* a 32-bit address size zero-extends, a 16-bit one merges */
	*g = s->mask == 0xffff ? (*g & ~0xffffull) | (v & 0xffff) : v & s->mask;
}

static void advance(const struct str *s, unsigned r, u64 elements)
{
	u64 n = elements * s->size;

	set_reg(s, r, reg(s, r) + (s->down ? -n : n));
}

static gva_t linear(const struct str *s, unsigned r, unsigned seg)
{
	u64 a = reg(s, r);

	if (seg == SEG_FS || seg == SEG_GS || s->in->mode & MODE_BASES)
		a += s->cpu->x.s.seg[seg].base;
	return s->in->mode & MODE_CODE32 ? (u32)a : a;
}

static gva_t source(const struct str *s)
{
	return linear(s, RSI, s->in->seg);
}

static gva_t dest(const struct str *s)
{
	return linear(s, RDI, SEG_ES);
}

/* Elements from `a` on, in the string's direction, that lie on one page; 0: the first one crosses. */
static u64 on_page(const struct str *s, gva_t a)
{
	u64 off = a & 0xfff;

	if (off + s->size > PAGE_SIZE)
		return 0;
	return s->down ? off / s->size + 1 : (PAGE_SIZE - off) / s->size;
}

/* Host address of n elements from `a` on one page, ready for the access; NULL: not RAM; -1: fault. */
static u8 *direct(const struct str *s, gva_t a, u64 n, bool write)
{
	u64 len = n * s->size;
	struct cpu *cpu = s->cpu;
	gpa_t gpa;
	u8 *host;

	if (tlb_page(cpu, a, write, PRIV_CPL, &host, &gpa))
		return (u8 *)-1;
	if (!host)
		return NULL;
	if (write && !tlb_direct_write(cpu, a)) {
		if (!ram_host(cpu, gpa, true))
			return NULL;
		frag_invalidate(cpu, s->down ? gpa + s->size - len : gpa, (unsigned)len);
	}
	return host + (a & 0xfff);
}

/* How many elements one step may do. */
static u64 limit(const struct str *s, u64 n)
{
	return MIN(n, s->in->mode & (MODE_STEP | MODE_CHECK) ? 1 : s->count);
}

static void consume(struct str *s, u64 n)
{
	s->count -= n;
	if (s->in->rep)
		set_reg(s, RCX, s->count);
}

/* clang-format off */
#define REP(insn, ...)                                       \
	do {                                                 \
		if (s->down)                                 \
			__asm__ volatile("std\n\t" insn "\n\tcld" __VA_ARGS__); \
		else                                         \
			__asm__ volatile(insn __VA_ARGS__);   \
	} while (0)
/* clang-format on */

static void host_movs(const struct str *s, u8 *d, const u8 *from, u64 n)
{
	switch (s->size) {
	case 1: REP("rep movsb", : "+D"(d), "+S"(from), "+c"(n) : : "memory", "cc"); break;
	case 2: REP("rep movsw", : "+D"(d), "+S"(from), "+c"(n) : : "memory", "cc"); break;
	case 4: REP("rep movsl", : "+D"(d), "+S"(from), "+c"(n) : : "memory", "cc"); break;
	default: REP("rep movsq", : "+D"(d), "+S"(from), "+c"(n) : : "memory", "cc"); break;
	}
}

static void host_stos(const struct str *s, u8 *d, u64 v, u64 n)
{
	switch (s->size) {
	case 1: REP("rep stosb", : "+D"(d), "+c"(n) : "a"(v) : "memory", "cc"); break;
	case 2: REP("rep stosw", : "+D"(d), "+c"(n) : "a"(v) : "memory", "cc"); break;
	case 4: REP("rep stosl", : "+D"(d), "+c"(n) : "a"(v) : "memory", "cc"); break;
	default: REP("rep stosq", : "+D"(d), "+c"(n) : "a"(v) : "memory", "cc"); break;
	}
}

/* One step each: 0, or -1 for a fault. */

static int step_movs(struct str *s)
{
	gva_t src = source(s), dst = dest(s);
	u64 n = MIN(on_page(s, src), on_page(s, dst)), v = 0;
	u8 *from, *to;

	n = limit(s, n);
	if (n) {
		from = direct(s, src, n, false);
		if (from == (u8 *)-1)
			return -1;
		to = from ? direct(s, dst, n, true) : NULL;
		if (to == (u8 *)-1)
			return -1;
		if (to) {
			host_movs(s, to, from, n);
			goto done;
		}
	}
	n = 1;
	if (guest_read(s->cpu, src, &v, s->size, PRIV_CPL) || guest_write(s->cpu, dst, &v, s->size, PRIV_CPL))
		return -1;
done:
	advance(s, RSI, n);
	advance(s, RDI, n);
	consume(s, n);
	return 0;
}

static int step_stos(struct str *s)
{
	gva_t dst = dest(s);
	u64 n = limit(s, on_page(s, dst)), v = s->cpu->x.s.gpr[RAX];
	u8 *to = NULL;

	if (n) {
		to = direct(s, dst, n, true);
		if (to == (u8 *)-1)
			return -1;
	}
	if (to) {
		host_stos(s, to, v, n);
	} else {
		n = 1;
		if (guest_write(s->cpu, dst, &v, s->size, PRIV_CPL))
			return -1;
	}
	advance(s, RDI, n);
	consume(s, n);
	return 0;
}

static int step_lods(struct str *s)
{
	u64 v = 0, *rax = &s->cpu->x.s.gpr[RAX];

	if (guest_read(s->cpu, source(s), &v, s->size, PRIV_CPL))
		return -1;
	*rax = s->size == 8 ? v : s->size == 4 ? (u32)v : (*rax & ~size_mask(s->size)) | v;
	advance(s, RSI, 1);
	consume(s, 1);
	return 0;
}

/* Sets the flags as CMP a, b of the element's size does; true when equal. */
static bool compare(struct str *s, u64 a, u64 b)
{
	unsigned shift = 64 - 8 * s->size;
	u64 f, af;

	/* the upper bits decide all but AF and PF, which the low byte does */
	__asm__("cmpq %2, %1\n\tpushfq\n\tpopq %0" : "=r"(f) : "r"(a << shift), "r"(b << shift) : "cc", "memory");
	__asm__("cmpb %b2, %b1\n\tpushfq\n\tpopq %0" : "=r"(af) : "q"(a), "q"(b) : "cc", "memory");
	f = (f & ~(u64)(FL_AF | FL_PF)) | (af & (FL_AF | FL_PF));
	s->cpu->x.s.rflags = (s->cpu->x.s.rflags & ~(u64)FL_ARITH) | (f & FL_ARITH);
	return f & FL_ZF;
}

/* REPE ends at a difference, REPNE at a match. */
static int step_compare(struct str *s, bool scas)
{
	u64 a = 0, b = 0;
	bool equal;

	if (scas)
		a = s->cpu->x.s.gpr[RAX] & size_mask(s->size);
	else if (guest_read(s->cpu, source(s), &a, s->size, PRIV_CPL))
		return -1;
	if (guest_read(s->cpu, dest(s), &b, s->size, PRIV_CPL))
		return -1;
	equal = compare(s, a, b);
	if (!scas)
		advance(s, RSI, 1);
	advance(s, RDI, 1);
	consume(s, 1);
	if (s->in->rep && equal == (s->in->rep == 0xf2))
		s->count = 0;
	return 0;
}

static int step_io(struct str *s)
{
	u16 port = (u16)s->cpu->x.s.gpr[RDX];
	bool out = s->in->op & 2;
	u64 v = 0;
	u8 *host;
	gpa_t gpa;

	if (x86_io_check(&s->cpu->x, port, s->size))
		return -1;
	if (out) {
		if (guest_read(s->cpu, source(s), &v, s->size, PRIV_CPL))
			return -1;
		io_write(s->cpu, port, s->size, v);
		advance(s, RSI, 1);
	} else {
		/* do not take from the device what cannot be stored */
		if (tlb_page(s->cpu, dest(s), true, PRIV_CPL, &host, &gpa))
			return -1;
		v = io_read(s->cpu, port, s->size);
		if (guest_write(s->cpu, dest(s), &v, s->size, PRIV_CPL))
			return -1;
		advance(s, RDI, 1);
	}
	consume(s, 1);
	return 0;
}

static int check_element(const struct str *s)
{
	u8 op = s->in->op & 0xfe;
	bool reads = op == 0xa4 || op == 0xa6 || op == 0xac || op == 0x6e;
	bool dst = op != 0xac && op != 0x6e, writes = op == 0xa4 || op == 0xaa || op == 0x6c;

	if (reads && check_operand(s->cpu, s->in->seg, reg(s, RSI), s->size, false))
		return -1;
	return dst ? check_operand(s->cpu, SEG_ES, reg(s, RDI), s->size, writes) : 0;
}

static int step(struct str *s)
{
	if (unlikely(s->in->mode & MODE_CHECK) && check_element(s))
		return -1;
	switch (s->in->op & 0xfe) {
	case 0xa4: return step_movs(s);
	case 0xa6: return step_compare(s, false);
	case 0xaa: return step_stos(s);
	case 0xac: return step_lods(s);
	case 0xae: return step_compare(s, true);
	default: return step_io(s); /* 6c, 6e */
	}
}

int string_insn(struct cpu *cpu, const struct sysinsn *in)
{
	struct str s = {
		.cpu = cpu,
		.in = in,
		.size = in->op & 1 ? in->opsize : 1,
		.mask = size_mask(in->addrsize),
		.down = cpu->x.s.rflags & FL_DF,
		.count = 1,
	};

	cpu->stats.strings++;
	if ((in->op & 0xfc) == 0x6c)
		s.size = MIN(s.size, 4u);
	if (in->rep)
		s.count = reg(&s, RCX);
	while (s.count) {
		if (step(&s))
			return -1;
		/* not over: rip stays here, and dispatch sees to events and single steps */
		if (s.count && (cpu->poll || in->op < 0x70 || in->mode & MODE_STEP))
			return 1;
	}
	return 0;
}
