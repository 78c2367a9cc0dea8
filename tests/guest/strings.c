/* SPDX-License-Identifier: MIT */
/* String instructions: all sizes, both directions, page crossings, faults in the middle, overlaps. */
#include "rt.h"

struct regs {
	u64 a, c, si, di, flags;
};

/* Runs one string instruction with these registers and gives what they became. */
#define STRING_OP(name, text)                                                                                \
	static struct regs name(struct regs r, bool down)                                                    \
	{                                                                                                    \
		__asm__ volatile("testb %b5,%b5; jz 1f; std; 1:\n" text "\npushfq; cld; popq %4"             \
				 : "+a"(r.a), "+c"(r.c), "+S"(r.si), "+D"(r.di), "=&r"(r.flags)              \
				 : "r"((u64)down)                                                            \
				 : "memory", "cc");                                                          \
		return r;                                                                                    \
	}

STRING_OP(movs1, "rep movsb")
STRING_OP(movs2, "rep movsw")
STRING_OP(movs4, "rep movsl")
STRING_OP(movs8, "rep movsq")
STRING_OP(stos1, "rep stosb")
STRING_OP(stos2, "rep stosw")
STRING_OP(stos4, "rep stosl")
STRING_OP(stos8, "rep stosq")
STRING_OP(lods1, "rep lodsb")
STRING_OP(lods2, "rep lodsw")
STRING_OP(lods4, "rep lodsl")
STRING_OP(lods8, "rep lodsq")
STRING_OP(scas1, "repne scasb")
STRING_OP(scas2, "repne scasw")
STRING_OP(scas4, "repne scasl")
STRING_OP(scas8, "repne scasq")
STRING_OP(scase1, "repe scasb")
STRING_OP(scase8, "repe scasq")
STRING_OP(cmps1, "repe cmpsb")
STRING_OP(cmps2, "repe cmpsw")
STRING_OP(cmps4, "repe cmpsl")
STRING_OP(cmps8, "repe cmpsq")
STRING_OP(cmpsn1, "repne cmpsb")
STRING_OP(one_movs, "movsb; movsw; movsl; movsq")
STRING_OP(one_stos_lods, "stosb; lodsw; stosl; lodsq")
STRING_OP(a32_movs, "addr32 rep movsb")
STRING_OP(a32_stos, "addr32 rep stosl")
STRING_OP(a32_lods, "addr32 lodsb")

typedef struct regs op(struct regs r, bool down);

#define SIZE 0x4000 /* of each window, in pages that do not follow each other */
#define SRC VTEST
#define DST (VTEST + 0x100000)

static u8 model[SIZE], source[SIZE];

static void window(u64 va)
{
	u64 i;

	for (i = 0; i < SIZE; i += PAGE_SIZE) {
		u64 page = page_alloc();

		page_alloc();
		map(va + i, page, P | W | U);
	}
	unmap(va + SIZE);
	unmap(va - PAGE_SIZE);
}

static void fill(void)
{
	u32 x = 12345;
	int i;

	for (i = 0; i < SIZE; i++) {
		x = x * 1103515245 + 12345;
		source[i] = x >> 16;
		model[i] = ~(x >> 20);
	}
	memcpy((void *)SRC, source, SIZE);
	memcpy((void *)DST, model, SIZE);
}

/* The reference: one element at a time, byte by byte. */
static void model_move(u8 *d, const u8 *s, int size, u64 n, bool down)
{
	int step = down ? -size : size, i;

	for (; n; n--, d += step, s += step) {
		u8 t[8];

		for (i = 0; i < size; i++)
			t[i] = s[i];
		for (i = 0; i < size; i++)
			d[i] = t[i];
	}
}

static op *const movs[] = {movs1, movs2, movs4, movs8}, *const stos[] = {stos1, stos2, stos4, stos8},
		 *const lods[] = {lods1, lods2, lods4, lods8}, *const scas[] = {scas1, scas2, scas4, scas8},
		 *const cmps[] = {cmps1, cmps2, cmps4, cmps8};

static void moves(void)
{
	static const u64 lengths[] = {0, 1, 7, 100, 4096, 9000};
	int k, down;
	size_t l;

	window(SRC);
	window(DST);
	for (k = 0; k < 4; k++) {
		for (down = 0; down < 2; down++) {
			u64 bad = 0;

			for (l = 0; l < ARRAY_SIZE(lengths); l++) {
				int size = 1 << k;
				u64 n = lengths[l] / size, s0 = 0x123 + k, d0 = 0x345;
				u64 back = down && n ? (n - 1) * size : 0;
				struct regs r = {.c = n, .si = SRC + s0 + back, .di = DST + d0 + back};
				i64 moved = (down ? -1 : 1) * (i64)(n * size);

				fill();
				model_move(model + d0 + back, source + s0 + back, size, n, down);
				r = movs[k](r, down);
				bad += r.c != 0 || r.si != SRC + s0 + back + moved ||
				       r.di != DST + d0 + back + moved;
				bad += memcmp((void *)DST, model, SIZE) != 0;
			}
			check_n(down ? "movs-down" : "movs-up", 1 << k, bad, 0);
		}
	}
}

static void stores_loads(void)
{
	int k, down, i;

	for (k = 0; k < 4; k++) {
		for (down = 0; down < 2; down++) {
			int size = 1 << k;
			u64 n = 9000 / size, start = down ? 0x200 + (n - 1) * size : 0x200,
			    value = 0x8877665544332211;
			u8 pattern[8];
			struct regs r = {.a = value, .c = n, .di = DST + start};

			fill();
			memcpy(pattern, &value, 8);
			for (i = 0; i < (int)n * size; i++)
				model[0x200 + i] = pattern[i % size];
			r = stos[k](r, down);
			check_n(down ? "stos-down" : "stos-up", size,
				r.c != 0 || memcmp((void *)DST, model, SIZE) ||
					r.di != DST + start + (down ? -1 : 1) * (i64)(n * size),
				0);
			r = (struct regs){.a = value, .c = n, .si = SRC + start};
			r = lods[k](r, down);
			value = k == 2 ? 0 : value;
			memcpy(&value, source + (down ? 0x200 : 0x200 + (n - 1) * size), size);
			check_n(down ? "lods-down" : "lods-up", size, (r.a ^ value) | r.c, 0);
		}
	}
}

static void scans(void)
{
	int k, down;

	for (k = 0; k < 4; k++) {
		for (down = 0; down < 2; down++) {
			int size = 1 << k;
			u64 at = down ? 0x100 : 0x3000, from = down ? 0x3000 : 0x100,
			    want = (from > at ? from - at : at - from) / size + 1;
			struct regs r = {.a = 0x0101010101010101, .c = SIZE, .di = DST + from};

			memset((void *)DST, 0, SIZE);
			memset((void *)(DST + at), 1, size);
			r = scas[k](r, down);
			check_n(down ? "scas-down" : "scas-up", size, SIZE - r.c, want);
			check_n("scas-zf", size, r.flags & FL_ZF, FL_ZF);
			check_n("scas-rdi", size, r.di, DST + at + (down ? -size : size));
			memcpy((void *)SRC, (void *)DST, SIZE);
			*(u8 *)(SRC + at) ^= 0x80;
			r = (struct regs){.c = SIZE, .si = SRC + from, .di = DST + from};
			r = cmps[k](r, down);
			check_n(down ? "cmps-down" : "cmps-up", size, SIZE - r.c, want);
			check_n("cmps-flags", size, r.flags & (FL_ZF | FL_CF), k ? 0 : 0);
		}
	}
	{
		struct regs r = {.a = 0, .c = 0x50, .di = DST + 0x3100};

		r = scase1(r, false);
		check("repe-scasb", r.c << 16 | (r.flags & FL_ZF), FL_ZF);
		r = (struct regs){.a = 1, .c = 0x50, .di = DST + 0x200};
		r = scase8(r, false);
		check("repe-scasq", r.c << 16 | (r.flags & (FL_ZF | FL_CF)), 0x4f << 16);
		r = (struct regs){.c = 0x50, .si = SRC + 0x3000, .di = DST + 0x3010};
		r = cmpsn1(r, false);
		check("repne-cmpsb", r.flags & FL_ZF, FL_ZF);
		r = (struct regs){.c = 0, .si = SRC, .di = DST, .a = 5};
		r = scas1(r, false);
		check("rep-0-keeps", r.di << 8 | r.c | r.a, DST << 8 | 5);
	}
}

static void singles(void)
{
	struct regs r = {.a = 0x1122334455667788, .si = SRC + 0xffa, .di = DST + 0xffb};

	fill();
	r = one_movs(r, false);
	memcpy(model + 0xffb, source + 0xffa, 15);
	check("single-movs", memcmp((void *)DST, model, SIZE), 0);
	check("single-movs-regs", (r.si - SRC) << 16 | (r.di - DST), 0x1009 << 16 | 0x100a);
	r = (struct regs){.a = 0x11, .si = SRC + 0x1ffd, .di = DST + 0x1ffe};
	r = one_stos_lods(r, false);
	check("single-stos-lods", (r.si - SRC) << 16 | (r.di - DST), 0x2007 << 16 | 0x2003);
	check("single-lods-value", r.a, *(volatile u64 *)(SRC + 0x1fff));
}

static void overlaps(void)
{
	static const int shifts[] = {1, 2, 3, 8, 9, 63};
	size_t i;
	int k, down;

	for (k = 0; k < 4; k++) {
		for (down = 0; down < 2; down++) {
			u64 bad = 0;

			for (i = 0; i < ARRAY_SIZE(shifts); i++) {
				int size = 1 << k;
				u64 n = 6000 / size, s0 = 0x900, d0 = down ? s0 - shifts[i] : s0 + shifts[i];
				u64 back = down ? (n - 1) * size : 0;
				struct regs r = {.c = n, .si = DST + s0 + back, .di = DST + d0 + back};

				fill();
				model_move(model + d0 + back, model + s0 + back, size, n, down);
				movs[k](r, down);
				bad += memcmp((void *)DST, model, SIZE) != 0;
			}
			check_n(down ? "overlap-down" : "overlap-up", 1 << k, bad, 0);
		}
	}
}

/* ---- faults in the middle ---- */

SNIP_IP(f_movsb, "", "rep movsb");
SNIP_IP(f_movsq, "", "rep movsq");
SNIP_IP(f_stosb, "", "rep stosb");
SNIP_IP(f_stosl, "", "rep stosl");
SNIP_IP(f_lodsw, "", "rep lodsw");
SNIP_IP(f_scasb, "", "repe scasb");
SNIP_IP(f_cmpsb, "", "repe cmpsb");
SNIP_IP(f_movsb_down, "std", "rep movsb");

static void string_frame(void *fn, struct regs r)
{
	__asm__ volatile("call *%0" ::"r"(fn), "a"(r.a), "c"(r.c), "S"(r.si), "D"(r.di)
			 : "rdx", "memory", "cc");
}

static struct regs wanted;

static void stub(u64 fn, u64 unused)
{
	(void)unused;
	string_frame((void *)fn, wanted);
}

/* The fault is where `bad` says, after `done` elements. */
static void middle(const char *name, void *fn, char *ip, struct regs r, u64 done, int size, u64 err, u64 cr2)
{
	i64 step = fn == (void *)f_movsb_down ? -1 : size;
	bool uses_si = fn != (void *)f_stosb && fn != (void *)f_stosl && fn != (void *)f_scasb;
	bool uses_di = fn != (void *)f_lodsw;

	wanted = r;
	expect(name, stub, (u64)fn, 0, (u64)ip, VEC_PF, err);
	check("  cr2", last_cr2, cr2);
	check("  rcx", last.gpr[RCX], r.c - done);
	check("  rsi", last.gpr[RSI], r.si + (uses_si ? step * (i64)done : 0));
	check("  rdi", last.gpr[RDI], r.di + (uses_di ? step * (i64)done : 0));
	check("  df", last.rflags & FL_DF, step < 0 ? FL_DF : 0);
}

static void faults(void)
{
	u64 end_s = SRC + SIZE, end_d = DST + SIZE;

	fill();
	middle("fault-movsb-dst", f_movsb, f_movsb_ip, (struct regs){.c = 500, .si = SRC, .di = end_d - 100},
		100, 1, W, end_d);
	check("  written", memcmp((void *)(end_d - 100), source, 100), 0);
	middle("fault-movsb-src", f_movsb, f_movsb_ip, (struct regs){.c = 500, .si = end_s - 70, .di = DST},
		70, 1, 0, end_s);
	check("  written", memcmp((void *)DST, source + SIZE - 70, 70), 0);
	middle("fault-movsq-dst-straddles", f_movsq, f_movsq_ip,
		(struct regs){.c = 500, .si = SRC, .di = end_d - 20}, 2, 8, W, end_d);
	middle("fault-movsq-src-straddles", f_movsq, f_movsq_ip,
		(struct regs){.c = 500, .si = end_s - 20, .di = DST}, 2, 8, 0, end_s);
	middle("fault-stosb", f_stosb, f_stosb_ip, (struct regs){.a = 9, .c = 10000, .di = end_d - 5000},
		5000, 1, W, end_d);
	middle("fault-stosl-straddles", f_stosl, f_stosl_ip,
		(struct regs){.a = 9, .c = 1000, .di = end_d - 42}, 10, 4, W, end_d);
	middle("fault-lodsw", f_lodsw, f_lodsw_ip, (struct regs){.c = 1000, .si = end_s - 60}, 30, 2, 0,
		end_s);
	memset((void *)(end_d - 64), 0, 64);
	memset((void *)(end_s - 64), 0, 64);
	middle("fault-scasb", f_scasb, f_scasb_ip, (struct regs){.c = 1000, .di = end_d - 64}, 64, 1, 0,
		end_d);
	middle("fault-movsb-down", f_movsb_down, f_movsb_down_ip,
		(struct regs){.c = 500, .si = SRC + 1000, .di = DST + 99}, 100, 1, W, DST - 1);
}

static void cmps_faults(void)
{
	u64 end_s = SRC + SIZE;

	memset((void *)DST, 0, SIZE);
	memset((void *)(end_s - 64), 0, 64);
	middle("fault-cmpsb-src", f_cmpsb, f_cmpsb_ip, (struct regs){.c = 1000, .si = end_s - 64, .di = DST},
		64, 1, 0, end_s);
	middle("fault-cmpsb-dst", f_cmpsb, f_cmpsb_ip,
		(struct regs){.c = 1000, .si = end_s - 64, .di = DST + SIZE - 10}, 10, 1, 0, DST + SIZE);
}

/* A handler that maps the missing page; the instruction must then go on to its end. */
static u64 maps;

static bool mapper(struct frame *f)
{
	(void)f;
	maps++;
	map(ALIGN_DOWN(rd_cr2(), PAGE_SIZE), page_alloc(), P | W);
	return true;
}

static void resumed(void)
{
	struct regs r = {.c = SIZE, .si = SRC, .di = VTEST + 0x200800};
	u64 i;

	for (i = 0; i < 6; i++)
		unmap(VTEST + 0x200000 + i * PAGE_SIZE);
	fill();
	hooks[VEC_PF] = mapper;
	r = movs1(r, false);
	hooks[VEC_PF] = NULL;
	check("resumed-faults", maps, 5);
	check("resumed-data", memcmp((void *)(VTEST + 0x200800), source, SIZE), 0);
	check("resumed-regs", r.c | (r.di - (VTEST + 0x200800 + SIZE)), 0);
}

static void address_size(void)
{
	u64 page = page_alloc(), other = page_alloc();
	struct regs r = {
		.c = 0xffffffff00000010, .si = 0x5500000000000000 | page, .di = 0x6600000000000000 | other};

	memcpy((void *)page, "0123456789abcdef", 16);
	r = a32_movs(r, false);
	check("addr32-movs", memcmp((void *)page, (void *)other, 16), 0);
	check("addr32-movs-rcx", r.c, 0);
	check("addr32-movs-rsi", r.si, page + 16);
	r = (struct regs){.a = 0x1234, .c = 0xffffffff00000000, .di = 0x6600000000000000 | other};
	r = a32_stos(r, false);
	check("addr32-rep-0", *(u32 *)other, 0x33323130);
	r = (struct regs){.si = 0xff00000000000000 | page, .a = 0x100};
	r = a32_lods(r, false);
	check("addr32-lods", r.a << 32 | r.si, 0x130ull << 32 | (page + 1));
}

const struct section sections[] = {
	{"moves", moves},
	{"stores_loads", stores_loads},
	{"scans", scans},
	{"singles", singles},
	{"overlaps", overlaps},
	{"faults", faults},
	{"cmps_faults", cmps_faults},
	{"resumed", resumed},
	{"address_size", address_size},
	{NULL, NULL},
};
