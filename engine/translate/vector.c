/* SPDX-License-Identifier: MIT */
/*
 * Vector instructions whose memory operand is not one piece: gathers,
 * scatters, and the byte-masked stores to [RDI]. They are done lane by lane on
 * copies of the registers; lanes that are done stay done when one faults.
 */
#include <Zydis/Mnemonic.h>

#include "engine/translate/cpu.h"

#define VECTOR_BYTES 64

/* ---- the live registers, by number ---- */

typedef u8 vector_bytes[VECTOR_BYTES];

/* clang-format off */
#define LOW16(op) op(0) op(1) op(2) op(3) op(4) op(5) op(6) op(7) op(8) op(9) op(10) op(11) op(12) op(13) op(14) op(15)
#define HIGH16(op)                                                                                               \
	op(16) op(17) op(18) op(19) op(20) op(21) op(22) op(23) op(24) op(25) op(26) op(27) op(28) op(29) op(30) \
	op(31)
#define LOW8(op) op(0) op(1) op(2) op(3) op(4) op(5) op(6) op(7)

#define GET_ZMM(n) case n: __asm__ volatile("vmovdqu64 %%zmm" #n ", %0" : "=m"(*v)); break;
#define SET_ZMM(n) case n: __asm__ volatile("vmovdqu64 %0, %%zmm" #n : : "m"(*v)); break;
#define GET_YMM(n) case n: __asm__ volatile("vmovdqu %%ymm" #n ", %0" : "=m"(*v)); break;
#define SET_YMM(n) case n: __asm__ volatile("vmovdqu %0, %%ymm" #n : : "m"(*v)); break;
#define GET_XMM(n) case n: __asm__ volatile("movdqu %%xmm" #n ", %0" : "=m"(*v)); break;
#define GET_MMX(n) case n: __asm__ volatile("movq %%mm" #n ", %0" : "=m"(*v)); break;
#define GET_K(n) case n: __asm__ volatile("kmovq %%k" #n ", %0" : "=r"(v)); break;
#define SET_K(n) case n: __asm__ volatile("kmovq %0, %%k" #n : : "r"(v)); break;
/* clang-format on */

static void get_zmm(unsigned r, vector_bytes *v)
{
	switch (r) { LOW16(GET_ZMM) HIGH16(GET_ZMM) }
}

static void set_zmm(unsigned r, const vector_bytes *v)
{
	switch (r) { LOW16(SET_ZMM) HIGH16(SET_ZMM) }
}

static void get_ymm(unsigned r, vector_bytes *v)
{
	switch (r) { LOW16(GET_YMM) }
}

static void set_ymm(unsigned r, const vector_bytes *v)
{
	switch (r) { LOW16(SET_YMM) }
}

static void get_xmm(unsigned r, vector_bytes *v)
{
	switch (r) { LOW16(GET_XMM) }
}

static void get_mmx(unsigned r, vector_bytes *v)
{
	switch (r) { LOW8(GET_MMX) }
}

static u64 get_k(unsigned r)
{
	u64 v = 0;

	switch (r) { LOW8(GET_K) }
	return v;
}

static void set_k(unsigned r, u64 v)
{
	switch (r) { LOW8(SET_K) }
}

/* The widest form that the host has, so that nothing of the register is lost. */
static void get_vector(const struct cpu *cpu, unsigned r, vector_bytes *v)
{
	for (unsigned i = 0; i < VECTOR_BYTES; i++)
		(*v)[i] = 0;
	if ((cpu->xcr0 & XCR0_ZMM) == XCR0_ZMM)
		get_zmm(r, v);
	else
		get_ymm(r, v);
}

static void set_vector(const struct cpu *cpu, unsigned r, const vector_bytes *v)
{
	if ((cpu->xcr0 & XCR0_ZMM) == XCR0_ZMM)
		set_zmm(r, v);
	else
		set_ymm(r, v);
}

/* ---- gather and scatter ---- */

struct gather {
	struct gather_form f;
	vector_bytes data, indexes, vmask;
	u64 active; /* a bit per lane */
	gva_t last; /* of the last lane that was done */
};

/* clang-format off */
static bool is_prefix(u8 b)
{
	switch (b) {
	case 0x66: case 0x67: case 0x2e: case 0x36: case 0x3e: case 0x26: case 0x64: case 0x65: return true;
	default: return false;
	}
}
/* clang-format on */

/* Both return the vector length in bytes. */
static unsigned decode_vex(struct gather_form *f, const u8 *p)
{
	const u8 *modrm = p + 4;

	f->reg = (u8)((~p[1] >> 4 & 8) | (modrm[0] >> 3 & 7));
	f->index = (u8)((~p[1] >> 3 & 8) | (modrm[1] >> 3 & 7));
	f->mask = ~p[2] >> 3 & 15;
	f->lane = p[2] & 0x80 ? 8 : 4;
	f->index_size = p[3] & 1 ? 8 : 4;
	return p[2] & 4 ? 32 : 16;
}

static unsigned decode_evex(struct gather_form *f, const u8 *p)
{
	const u8 *modrm = p + 5;

	f->evex = true;
	f->reg = (u8)((p[1] & 0x10 ? 0 : 16) | (~p[1] >> 4 & 8) | (modrm[0] >> 3 & 7));
	f->index = (u8)((p[3] & 8 ? 0 : 16) | (~p[1] >> 3 & 8) | (modrm[1] >> 3 & 7));
	f->mask = p[3] & 7;
	f->lane = p[2] & 0x80 ? 8 : 4;
	f->index_size = p[4] & 1 ? 8 : 4;
	f->scatter = p[4] >= 0xa0;
	return 16u << (p[3] >> 5 & 3);
}

bool gather_decode(struct gather_form *f, const u8 *bytes)
{
	unsigned i = 0, length;

	while (is_prefix(bytes[i]))
		i++;
	f->evex = f->scatter = false;
	length = bytes[i] == 0x62 ? decode_evex(f, bytes + i) : decode_vex(f, bytes + i);
	f->lanes = (u8)(length / MAX(f->lane, f->index_size));
	if (length > VECTOR_BYTES || (f->evex && !f->mask))
		return false;
	if (f->scatter)
		return true;
	return f->reg != f->index && (f->evex || (f->mask != f->reg && f->mask != f->index));
}

static void load_registers(struct cpu *cpu, struct gather *g)
{
	get_vector(cpu, g->f.reg, &g->data);
	get_vector(cpu, g->f.index, &g->indexes);
	g->active = 0;
	if (g->f.evex) {
		g->active = get_k(g->f.mask) & ((1ull << g->f.lanes) - 1);
		return;
	}
	get_vector(cpu, g->f.mask, &g->vmask);
	for (unsigned i = 0; i < g->f.lanes; i++)
		g->active |= (u64)(g->vmask[(i + 1) * g->f.lane - 1] >> 7) << i;
}

/* The lanes still active are those not done. */
static void store_registers(struct cpu *cpu, struct gather *g)
{
	unsigned used = g->f.lanes * g->f.lane;

	fpu_restore(cpu); /* a device access puts the registers away */
	if (!g->f.scatter) {
		for (unsigned i = used; i < VECTOR_BYTES; i++)
			g->data[i] = 0;
		set_vector(cpu, g->f.reg, &g->data);
	}
	if (g->f.evex) {
		set_k(g->f.mask, g->active);
		return;
	}
	for (unsigned i = 0; i < VECTOR_BYTES; i++)
		g->vmask[i] = i < used && g->active >> i / g->f.lane & 1 ? 0xff : 0;
	set_vector(cpu, g->f.mask, &g->vmask);
}

static int lane_access(struct cpu *cpu, const struct sysinsn *in, struct gather *g, unsigned i)
{
	u64 offset = (u64)in->disp;
	gva_t gva;
	i64 index;

	if (g->f.index_size == 8)
		index = ((const i64 *)g->indexes)[i];
	else
		index = ((const i32 *)g->indexes)[i];
	if (in->base >= 0)
		offset += cpu->x.s.gpr[in->base];
	offset += (u64)index * in->scale;
	if (in->addrsize < 8)
		offset = (u32)offset;
	if (unlikely(in->mode & MODE_CHECK) && check_operand(cpu, in->seg, offset, g->f.lane, g->f.scatter))
		return -1;
	gva = offset;
	if (in->seg == SEG_FS || in->seg == SEG_GS || in->mode & MODE_BASES)
		gva += cpu->x.s.seg[in->seg].base;
	if (in->mode & MODE_CODE32)
		gva = (u32)gva;
	if (g->f.scatter ? guest_write(cpu, gva, g->data + i * g->f.lane, g->f.lane, PRIV_CPL) :
			   guest_read(cpu, gva, g->data + i * g->f.lane, g->f.lane, PRIV_CPL))
		return -1;
	if (in->imm2)
		tlb_note_lane(cpu, gva, g->f.lane, g->f.scatter);
	g->last = gva;
	return 0;
}

int gather_insn(struct cpu *cpu, const struct sysinsn *in)
{
	struct gather g;
	int r = 0;
	u64 first;

	if (!gather_decode(&g.f, in->bytes))
		return x86_fault(&cpu->x, VEC_UD);
	load_registers(cpu, &g);
	first = g.active;
	for (unsigned i = 0; i < g.f.lanes && !r; i++) {
		if (!(g.active >> i & 1))
			continue;
		r = lane_access(cpu, in, &g, i);
		if (!r)
			g.active &= ~(1ull << i);
	}
	store_registers(cpu, &g);
	if (in->imm >= 0 && g.active != first)
		window_set(cpu, &cpu->windows[in->imm], g.last, &g.f, in->scale);
	return r;
}

/* ---- MASKMOVQ, MASKMOVDQU ---- */

struct maskmov {
	unsigned size;
	vector_bytes data, mask;
};

static void load_maskmov(struct maskmov *m, const struct sysinsn *in)
{
	unsigned i = 0, modrm = in->bytes[in->len - 1], rexr = 0, rexb = 0;

	for (; is_prefix(in->bytes[i]); i++)
		;
	if (in->bytes[i] == 0xc5 && !(in->mnemonic == ZYDIS_MNEMONIC_MASKMOVQ)) {
		rexr = ~in->bytes[i + 1] >> 4 & 8;
	} else if (in->bytes[i] == 0xc4) {
		rexr = ~in->bytes[i + 1] >> 4 & 8;
		rexb = ~in->bytes[i + 1] >> 2 & 8;
	} else if (in->bytes[i] != 0x0f && in->mnemonic != ZYDIS_MNEMONIC_MASKMOVQ) {
		rexr = in->bytes[i] << 1 & 8;
		rexb = in->bytes[i] << 3 & 8;
	}
	m->size = in->mnemonic == ZYDIS_MNEMONIC_MASKMOVQ ? 8 : 16;
	if (m->size == 8) {
		get_mmx(modrm >> 3 & 7, &m->data);
		get_mmx(modrm & 7, &m->mask);
	} else {
		get_xmm(rexr | (modrm >> 3 & 7), &m->data);
		get_xmm(rexb | (modrm & 7), &m->mask);
	}
}

/* The bytes [first, first + n) that are to be stored, from `at` on; n is 0 at the end. */
static unsigned next_run(const struct maskmov *m, unsigned at, unsigned *first)
{
	unsigned end;

	while (at < m->size && !(m->mask[at] & 0x80))
		at++;
	*first = end = at;
	while (end < m->size && m->mask[end] & 0x80)
		end++;
	return end - at;
}

/* All pages are looked at before the first byte is stored. */
static int probe(struct cpu *cpu, const struct maskmov *m, gva_t gva)
{
	gpa_t gpa;
	u8 *host;

	for (unsigned i = 0; i < m->size; i++)
		if (m->mask[i] & 0x80 && tlb_page(cpu, gva + i, true, PRIV_CPL, &host, &gpa))
			return -1;
	return 0;
}

/* An unmasked x87 exception waits: the next MMX instruction raises it, which must not be ours. */
static bool x87_error_pending(void)
{
	u16 status;

	__asm__ volatile("fnstsw %0" : "=a"(status));
	return status & 0x80;
}

int maskmov_insn(struct cpu *cpu, const struct sysinsn *in)
{
	u64 offset = in->addrsize == 8 ? cpu->x.s.gpr[RDI] : (u32)cpu->x.s.gpr[RDI];
	struct maskmov m;
	gva_t gva = offset;
	unsigned first, n;

	if (in->mnemonic == ZYDIS_MNEMONIC_MASKMOVQ && x87_error_pending())
		return x86_fault(&cpu->x, VEC_MF);
	load_maskmov(&m, in);
	if (in->seg == SEG_FS || in->seg == SEG_GS || in->mode & MODE_BASES)
		gva += cpu->x.s.seg[in->seg].base;
	if (in->mode & MODE_CODE32)
		gva = (u32)gva;
	for (unsigned at = 0; (n = next_run(&m, at, &first)) != 0; at = first + n)
		if (unlikely(in->mode & MODE_CHECK) && check_operand(cpu, in->seg, offset + first, n, true))
			return -1;
	if (probe(cpu, &m, gva))
		return -1;
	for (unsigned at = 0; (n = next_run(&m, at, &first)) != 0; at = first + n)
		if (guest_write(cpu, gva + first, m.data + first, n, PRIV_CPL))
			return -1;
	return 0;
}
