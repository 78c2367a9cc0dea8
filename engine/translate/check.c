/* SPDX-License-Identifier: MIT */
/*
 * Accesses that C code looks at first (MODE_CHECK): segment limits and rights
 * of 32-bit code, alignment checks, data breakpoints. Rare, so it may be slow:
 * generated code calls check_access before each access while any is in force.
 */
#include "engine/translate/cpu.h"

enum { TYPE_RW = 2, TYPE_DOWN = 4, TYPE_CODE = 8 };

/* Nothing that may be done through this segment can fault. */
static bool is_plain(const struct x86_seg *g)
{
	return !(g->attr & SEG_UNUSABLE) && g->limit == 0xffffffff &&
	       (g->attr & (TYPE_CODE | TYPE_DOWN | TYPE_RW)) == TYPE_RW;
}

static bool segments_plain(const struct x86_state *s)
{
	for (unsigned i = SEG_ES; i <= SEG_GS; i++) {
		const struct x86_seg *g = &s->seg[i];

		/* A null FS or GS is common and its use is not: let that pass. */
		if (i == SEG_CS || (i >= SEG_FS && g->attr & SEG_UNUSABLE))
			continue;
		if (!is_plain(g))
			return false;
	}
	return true;
}

static bool alignment_checked(const struct x86_state *s)
{
	return s->cpl == 3 && s->rflags & FL_AC && s->cr0 & CR0_AM;
}

enum { WATCH_EXEC, WATCH_WRITE, WATCH_IO, WATCH_ACCESS };

static unsigned watch_type(const struct x86_state *s, unsigned i)
{
	return s->dr[7] >> (16 + 4 * i) & 3;
}

static bool watch_enabled(const struct x86_state *s, unsigned i)
{
	return s->dr[7] >> 2 * i & 3 && (watch_type(s, i) == WATCH_WRITE || watch_type(s, i) == WATCH_ACCESS);
}

static bool any_watch(const struct x86_state *s)
{
	if (likely(!(s->dr[7] & 0xff)))
		return false;
	return watch_enabled(s, 0) || watch_enabled(s, 1) || watch_enabled(s, 2) || watch_enabled(s, 3);
}

bool check_needed(const struct cpu *cpu)
{
	const struct x86_state *s = &cpu->x.s;

	return any_watch(s) || alignment_checked(s) || s->cpl == 1 || s->cpl == 2 || (!x86_code64(&cpu->x) && !segments_plain(s));
}

static bool within_limit(const struct x86_seg *g, u64 offset, unsigned size)
{
	u64 last = offset + size - 1;

	if (!(g->attr & TYPE_CODE) && g->attr & TYPE_DOWN)
		return offset > g->limit && last <= (g->attr & SEG_DB ? 0xffffffff : 0xffff);
	return last <= g->limit;
}

static bool has_right(const struct x86_seg *g, bool write)
{
	if (g->attr & SEG_UNUSABLE)
		return false;
	if (g->attr & TYPE_CODE)
		return !write && g->attr & TYPE_RW;
	return !write || g->attr & TYPE_RW;
}

/* Whether breakpoint i's range and [address, address + size) meet. */
static bool watch_meets(const struct x86_state *s, unsigned i, u64 address, unsigned size)
{
	static const u8 sizes[4] = { 1, 2, 8, 4 };
	u64 len = sizes[s->dr[7] >> (18 + 4 * i) & 3], from = s->dr[i] & ~(len - 1);

	return address < from + len && from < address + size;
}

static void note_watch(struct cpu *cpu, gva_t gva, unsigned size, bool write)
{
	const struct x86_state *s = &cpu->x.s;

	for (unsigned i = 0; i < 4; i++)
		if (watch_enabled(s, i) && (write || watch_type(s, i) == WATCH_ACCESS) && watch_meets(s, i, gva, size))
			cpu->watch_hits |= 1u << i;
}

void check_port(struct cpu *cpu, u16 port, unsigned size)
{
	const struct x86_state *s = &cpu->x.s;

	if (likely(!(s->dr[7] & 0xff) || !(s->cr4 & CR4_DE)))
		return;
	for (unsigned i = 0; i < 4; i++)
		if (s->dr[7] >> 2 * i & 3 && watch_type(s, i) == WATCH_IO && watch_meets(s, i, port, size))
			cpu->watch_hits |= 1u << i;
}

int check_operand(struct cpu *cpu, unsigned seg, u64 offset, unsigned size, bool write)
{
	const struct x86_state *s = &cpu->x.s;
	const struct x86_seg *g = &s->seg[seg];
	bool code32 = cpu->mode & MODE_CODE32;
	gva_t gva = code32 || seg >= SEG_FS ? offset + g->base : offset;

	if (code32) {
		if (!has_right(g, write) || !within_limit(g, offset, size))
			return x86_fault_code(&cpu->x, seg == SEG_SS ? VEC_SS : VEC_GP, 0);
		gva = (u32)gva;
	}
	/* Wider operands have rules of their own, or none. */
	if (alignment_checked(s) && (size == 2 || size == 4 || size == 8) && gva & (size - 1))
		return x86_fault_code(&cpu->x, VEC_AC, 0);
	note_watch(cpu, gva, size, write);
	return 0;
}

int check_access(struct cpu *cpu, const struct sysinsn *in)
{
	u64 offset = (u64)in->disp;

	if (in->base >= 0)
		offset += cpu->x.s.gpr[in->base];
	if (in->index >= 0)
		offset += cpu->x.s.gpr[in->index] * in->scale;
	if (in->addrsize < 8)
		offset = in->addrsize == 2 ? (u16)offset : (u32)offset;
	return check_operand(cpu, in->seg, offset, (unsigned)in->imm, in->imm2 != 0);
}
