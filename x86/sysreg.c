/* SPDX-License-Identifier: MIT */
/*
 * Control and debug registers, translation invalidation, XCR0, the FS and GS
 * bases, the interrupt flag and I/O permission (SDM vol. 3 chapters 2, 4, 17
 * and 19; vol. 2 for each instruction's checks).
 */
#include "x86/cpuid.h"
#include "x86/internal.h"

enum {
	DR6_FIXED = 0xffff0ff0u,
	DR6_WRITABLE = 0xe00f,
	DR6_BD = 1 << 13,
	DR7_FIXED = 0x400,
	DR7_WRITABLE = 0xffff2bffu,
	DR7_GD = 1 << 13,
};

#define CR0_KNOWN                                                                                            \
	(CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD | CR0_PG)
#define CR3_KEEP BIT(63) /* with PCIDs: keep the new PCID's translations */

enum {
	XCR0_X87 = 1 << 0,
	XCR0_SSE = 1 << 1,
	XCR0_AVX = 1 << 2,
	XCR0_AVX512 = 7 << 5,
};

/* ---- control registers ---- */

int x86_read_cr(struct x86_cpu *cpu, unsigned nr, u64 *value)
{
	const struct x86_state *s = &cpu->s;

	if (x86_check_cpl0(cpu))
		return -1;
	switch (nr) {
	case 0:
		*value = s->cr0;
		return 0;
	case 2:
		*value = s->cr2;
		return 0;
	case 3:
		*value = s->cr3;
		return 0;
	case 4:
		*value = s->cr4;
		return 0;
	case 8:
		*value = cpu->env->cr8(cpu);
		return 0;
	}
	return x86_fault(cpu, VEC_UD);
}

/* Whether paging may be switched on, or off, in this state. */
static bool paging_change_ok(const struct x86_state *s, bool on)
{
	bool code64 = s->efer & EFER_LMA && s->seg[SEG_CS].attr & SEG_L;

	if (!on)
		return !code64 && !(s->cr4 & CR4_PCIDE);
	if (!(s->efer & EFER_LME))
		return true;
	return s->cr4 & CR4_PAE && !(s->seg[SEG_CS].attr & SEG_L);
}

static int write_cr0(struct x86_cpu *cpu, u64 value)
{
	struct x86_state *s = &cpu->s;
	u64 changed;

	if (value >> 32)
		return x86_gp(cpu, 0);
	value = (value & CR0_KNOWN) | CR0_ET;
	changed = value ^ s->cr0;
	if ((value & CR0_PG && !(value & CR0_PE)) || (value & CR0_NW && !(value & CR0_CD)))
		return x86_gp(cpu, 0);
	if (changed & CR0_PG && !paging_change_ok(s, value & CR0_PG))
		return x86_gp(cpu, 0);
	s->cr0 = value;
	if (changed & CR0_PG) {
		s->efer &= ~EFER_LMA;
		if (value & CR0_PG && s->efer & EFER_LME)
			s->efer |= EFER_LMA;
	}
	if (changed & (CR0_PG | CR0_WP))
		cpu->env->flush(cpu, FLUSH_ALL, 0);
	if (changed)
		cpu->env->mode_changed(cpu);
	return 0;
}

static int write_cr3(struct x86_cpu *cpu, u64 value)
{
	struct x86_state *s = &cpu->s;
	bool keep = s->cr4 & CR4_PCIDE && value & CR3_KEEP;

	if (keep)
		value &= ~CR3_KEEP;
	if (unlikely(value >> x86_phys_bits(cpu)))
		return x86_gp(cpu, 0);
	s->cr3 = value;
	cpu->env->flush(cpu, keep ? FLUSH_SWITCH : FLUSH_NONGLOBAL, 0);
	return 0;
}

static int write_cr4(struct x86_cpu *cpu, u64 value)
{
	/* The engine's cached rights are those of one setting of these. */
	const u64 flushing = CR4_PSE | CR4_PAE | CR4_PGE | CR4_PCIDE | CR4_SMEP | CR4_SMAP;
	struct x86_state *s = &cpu->s;
	u64 changed = value ^ s->cr4;

	if (value & ~cpu->cpuid->cr4_allowed)
		return x86_gp(cpu, 0);
	if (x86_long_mode(cpu) && !(value & CR4_PAE))
		return x86_gp(cpu, 0);
	if (changed & value & CR4_PCIDE && (!x86_long_mode(cpu) || s->cr3 & 0xfff))
		return x86_gp(cpu, 0);
	s->cr4 = value;
	if (changed & flushing)
		cpu->env->flush(cpu, FLUSH_ALL, 0);
	if (changed)
		cpu->env->mode_changed(cpu);
	return 0;
}

static int write_cr8(struct x86_cpu *cpu, u64 value)
{
	if (value & ~15ull)
		return x86_gp(cpu, 0);
	cpu->env->set_cr8(cpu, value);
	return 0;
}

int x86_write_cr(struct x86_cpu *cpu, unsigned nr, u64 value)
{
	if (x86_check_cpl0(cpu))
		return -1;
	switch (nr) {
	case 0:
		return write_cr0(cpu, value);
	case 2:
		cpu->s.cr2 = value;
		return 0;
	case 3:
		return write_cr3(cpu, value);
	case 4:
		return write_cr4(cpu, value);
	case 8:
		return write_cr8(cpu, value);
	}
	return x86_fault(cpu, VEC_UD);
}

int x86_clts(struct x86_cpu *cpu)
{
	if (x86_check_cpl0(cpu))
		return -1;
	if (cpu->s.cr0 & CR0_TS) {
		cpu->s.cr0 &= ~CR0_TS;
		cpu->env->mode_changed(cpu);
	}
	return 0;
}

int x86_lmsw(struct x86_cpu *cpu, u16 value)
{
	const u64 mask = CR0_MP | CR0_EM | CR0_TS;

	if (x86_check_cpl0(cpu))
		return -1;
	/* LMSW can set PE, not clear it. */
	return write_cr0(cpu, (cpu->s.cr0 & ~mask) | (value & (mask | CR0_PE)));
}

/* ---- debug registers ---- */

/* Privilege, existence and DR7.GD; *nr becomes the register behind an alias. */
static int check_dr(struct x86_cpu *cpu, unsigned *nr)
{
	if (*nr > 7 || ((*nr & ~1u) == 4 && cpu->s.cr4 & CR4_DE))
		return x86_fault(cpu, VEC_UD);
	if (x86_check_cpl0(cpu))
		return -1;
	if (cpu->s.dr[7] & DR7_GD)
		return x86_fault_record(cpu, VEC_DB, false, 0, DR6_BD);
	if ((*nr & ~1u) == 4)
		*nr += 2;
	return 0;
}

int x86_read_dr(struct x86_cpu *cpu, unsigned nr, u64 *value)
{
	if (check_dr(cpu, &nr))
		return -1;
	*value = cpu->s.dr[nr];
	return 0;
}

int x86_write_dr(struct x86_cpu *cpu, unsigned nr, u64 value)
{
	if (check_dr(cpu, &nr))
		return -1;
	if (nr >= 6 && value >> 32)
		return x86_gp(cpu, 0);
	if (nr == 6)
		value = (value & DR6_WRITABLE) | DR6_FIXED;
	if (nr == 7)
		value = (value & DR7_WRITABLE) | DR7_FIXED;
	cpu->s.dr[nr] = value;
	if (nr == 7)
		cpu->env->mode_changed(cpu);
	return 0;
}

/* ---- invalidation ---- */

int x86_invlpg(struct x86_cpu *cpu, gva_t gva)
{
	if (x86_check_cpl0(cpu))
		return -1;
	if (x86_canonical(gva))
		cpu->env->flush(cpu, FLUSH_PAGE, gva);
	return 0;
}

int x86_invpcid(struct x86_cpu *cpu, u64 type, u64 pcid, u64 gva)
{
	const struct x86_state *s = &cpu->s;
	bool current = pcid == (s->cr4 & CR4_PCIDE ? s->cr3 & 0xfff : 0);

	if (x86_check_cpl0(cpu))
		return -1;
	if (type > 3 || pcid > 0xfff || (type < 2 && pcid && !(s->cr4 & CR4_PCIDE)))
		return x86_gp(cpu, 0);
	if (type == 0 && !x86_canonical(gva))
		return x86_gp(cpu, 0);
	/* What concerns other address spaces is rare, and may flush too much. */
	if (type == 0 && current)
		cpu->env->flush(cpu, FLUSH_PAGE, gva);
	else if (type == 1 && current)
		cpu->env->flush(cpu, FLUSH_NONGLOBAL, 0);
	else
		cpu->env->flush(cpu, FLUSH_ALL, 0);
	return 0;
}

/* ---- XCR0 ---- */

int x86_xsetbv(struct x86_cpu *cpu, u32 index, u64 value)
{
	if (!(cpu->s.cr4 & CR4_OSXSAVE))
		return x86_fault(cpu, VEC_UD);
	if (x86_check_cpl0(cpu))
		return -1;
	if (index || !(value & XCR0_X87) || value & ~cpu->cpuid->xcr0_allowed)
		return x86_gp(cpu, 0);
	if (value & XCR0_AVX && !(value & XCR0_SSE))
		return x86_gp(cpu, 0);
	if (value & XCR0_AVX512 && ((value & XCR0_AVX512) != XCR0_AVX512 || !(value & XCR0_AVX)))
		return x86_gp(cpu, 0);
	cpu->s.xcr0 = value;
	cpu->env->mode_changed(cpu);
	return 0;
}

int x86_xgetbv(struct x86_cpu *cpu, u32 index, u64 *value)
{
	if (!(cpu->s.cr4 & CR4_OSXSAVE))
		return x86_fault(cpu, VEC_UD);
	/* Index 1 asks which components are in use; any of them may be said to be. */
	if (index > 1)
		return x86_gp(cpu, 0);
	*value = cpu->s.xcr0;
	return 0;
}

/* ---- the rest ---- */

int x86_rdtsc(struct x86_cpu *cpu, u64 *value)
{
	if (cpu->s.cr4 & CR4_TSD && cpu->s.cpl)
		return x86_gp(cpu, 0);
	*value = cpu->env->host_tsc(cpu) + cpu->s.tsc_offset;
	return 0;
}

int x86_swapgs(struct x86_cpu *cpu)
{
	struct x86_state *s = &cpu->s;
	u64 base = s->seg[SEG_GS].base;

	if (unlikely(!x86_code64(cpu)))
		return x86_fault(cpu, VEC_UD);
	if (x86_check_cpl0(cpu))
		return -1;
	s->seg[SEG_GS].base = s->kernel_gs_base;
	s->kernel_gs_base = base;
	return 0;
}

int x86_fsgsbase(struct x86_cpu *cpu, unsigned which, unsigned opsize, u64 *value)
{
	struct x86_seg *seg = &cpu->s.seg[which & 1 ? SEG_GS : SEG_FS];
	u64 new;

	if (!(cpu->s.cr4 & CR4_FSGSBASE) || !x86_code64(cpu))
		return x86_fault(cpu, VEC_UD);
	if (which < 2) {
		*value = opsize == 8 ? seg->base : (u32)seg->base;
		return 0;
	}
	new = opsize == 8 ? *value : (u32)*value;
	if (!x86_canonical(new))
		return x86_gp(cpu, 0);
	seg->base = new;
	return 0;
}

static unsigned iopl(const struct x86_state *s)
{
	return (s->rflags & FL_IOPL) >> 12;
}

u64 x86_popf_merge(const struct x86_cpu *cpu, u64 value, unsigned opsize)
{
	const struct x86_state *s = &cpu->s;
	u64 mask = FL_ARITH | FL_TF | FL_DF | FL_NT | FL_AC | FL_ID;

	if (s->cpl == 0)
		mask |= FL_IOPL;
	if (s->cpl <= iopl(s))
		mask |= FL_IF;
	if (opsize == 2)
		mask &= 0xffff;
	return (((s->rflags & ~mask) | (value & mask)) & ~(u64)FL_RF) | FL_ONE;
}

int x86_cli(struct x86_cpu *cpu)
{
	struct x86_state *s = &cpu->s;

	if (unlikely(s->cpl > iopl(s)))
		return x86_gp(cpu, 0);
	s->rflags &= ~(u64)FL_IF;
	return 0;
}

int x86_sti(struct x86_cpu *cpu)
{
	struct x86_state *s = &cpu->s;

	if (unlikely(s->cpl > iopl(s)))
		return x86_gp(cpu, 0);
	if (!(s->rflags & FL_IF))
		s->irq_shadow = true;
	s->rflags |= FL_IF;
	return 0;
}

/* The TSS's bitmap; two bytes are read at once, as on hardware, so that a last byte of ones is needed. */
static int check_bitmap(struct x86_cpu *cpu, u16 port, unsigned size)
{
	const struct x86_seg *tss = &cpu->s.seg[SEG_TR];
	u64 base, bits;
	u32 offset;

	if (tss->attr & SEG_UNUSABLE || tss->limit < 103)
		return x86_gp(cpu, 0);
	if (x86_load_system(cpu, tss->base + 102, 2, &base))
		return -1;
	offset = (u32)base + port / 8u;
	if (offset + 1 > tss->limit)
		return x86_gp(cpu, 0);
	if (x86_load_system(cpu, tss->base + offset, 2, &bits))
		return -1;
	return bits >> (port & 7) & (BIT(size) - 1) ? x86_gp(cpu, 0) : 0;
}

int x86_io_check(struct x86_cpu *cpu, u16 port, unsigned size)
{
	const struct x86_state *s = &cpu->s;

	if (likely(!(s->cr0 & CR0_PE) || s->cpl <= iopl(s)))
		return 0;
	return check_bitmap(cpu, port, size);
}
