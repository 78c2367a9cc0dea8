/* SPDX-License-Identifier: MIT */
/* Segment registers and descriptor tables (SDM vol. 3 chapters 3 and 5, vol. 2 for each instruction's checks). */
#include "x86/internal.h"

bool x86_desc_address(const struct x86_cpu *cpu, u16 sel, unsigned size, gva_t *address)
{
	const struct x86_seg *ldt = &cpu->s.seg[SEG_LDTR];
	unsigned offset = sel & ~7u;
	u32 limit = cpu->s.gdt.limit;
	u64 base = cpu->s.gdt.base;

	if (sel & SEL_TI) {
		if (ldt->attr & SEG_UNUSABLE)
			return false;
		limit = ldt->limit;
		base = ldt->base;
	}
	*address = base + offset;
	return offset + size - 1 <= limit;
}

void x86_desc_decode(u64 desc, u16 sel, struct x86_seg *seg)
{
	seg->sel = sel;
	seg->pad = 0;
	seg->attr = (u32)(desc >> 40) & 0xf0ff;
	seg->limit = (desc & 0xffff) | (desc >> 32 & 0xf0000);
	if (seg->attr & SEG_G)
		seg->limit = seg->limit << 12 | 0xfff;
	seg->pad2 = 0;
	seg->base = (desc >> 16 & 0xffffff) | (desc >> 32 & 0xff000000);
}

int x86_desc_read(struct x86_cpu *cpu, u16 sel, u8 vector, u32 ext, struct x86_seg *seg)
{
	gva_t address;
	u64 desc;

	if (!x86_desc_address(cpu, sel, 8, &address))
		return x86_fault_code(cpu, vector, (sel & ~SEL_RPL) | ext);
	if (x86_load_system(cpu, address, 8, &desc))
		return -1;
	x86_desc_decode(desc, sel, seg);
	return 0;
}

int x86_desc_read_system(struct x86_cpu *cpu, u16 sel, u8 vector, struct x86_seg *seg, u64 *raw)
{
	unsigned size = x86_long_mode(cpu) ? 16 : 8;
	gva_t address;
	u64 high;

	if (!x86_desc_address(cpu, sel, size, &address))
		return x86_fault_code(cpu, vector, sel & ~SEL_RPL);
	if (x86_load_system(cpu, address, 8, raw))
		return -1;
	x86_desc_decode(*raw, sel, seg);
	if (size == 8)
		return 0;
	if (x86_load_system(cpu, address + 8, 8, &high))
		return -1;
	/* The type field of the upper half must be zero, or it would be a descriptor of its own. */
	if (high >> 40 & 0x1f)
		return x86_fault_code(cpu, vector, sel & ~SEL_RPL);
	seg->base |= high << 32;
	return 0;
}

int x86_desc_touch(struct x86_cpu *cpu, struct x86_seg *seg)
{
	gva_t address;

	if (seg->attr & TYPE_ACCESSED)
		return 0;
	if (!x86_desc_address(cpu, seg->sel, 8, &address))
		return x86_gp(cpu, seg->sel & ~SEL_RPL);
	if (cpu->env->store(cpu, address + 5, 1, PRIV_SYSTEM, (seg->attr & 0xff) | TYPE_ACCESSED))
		return -1;
	seg->attr |= TYPE_ACCESSED;
	return 0;
}

void x86_null_ss(struct x86_seg *ss, unsigned cpl)
{
	ss->sel = (u16)cpl;
	ss->pad = 0;
	ss->attr = SEG_UNUSABLE | cpl << SEG_DPL_SHIFT;
	ss->limit = 0;
	ss->pad2 = 0;
	ss->base = 0;
}

void x86_flat_seg(struct x86_seg *seg, u16 sel, u32 attr, unsigned dpl)
{
	seg->sel = sel;
	seg->pad = 0;
	seg->attr = attr | dpl << SEG_DPL_SHIFT;
	seg->limit = 0xffffffff;
	seg->pad2 = 0;
	seg->base = 0;
}

int x86_check_ss(struct x86_cpu *cpu, u16 sel, unsigned cpl, bool null_ok, struct x86_seg *ss)
{
	u32 error = sel & ~SEL_RPL;

	if (sel_null(sel)) {
		if (!null_ok || sel_rpl(sel) != cpl)
			return x86_gp(cpu, 0);
		x86_null_ss(ss, cpl);
		return 0;
	}
	if (x86_desc_read(cpu, sel, VEC_GP, 0, ss))
		return -1;
	if (sel_rpl(sel) != cpl || !seg_is_writable(ss) || seg_dpl(ss) != cpl)
		return x86_gp(cpu, error);
	if (!(ss->attr & SEG_P))
		return x86_fault_code(cpu, VEC_SS, error);
	return x86_desc_touch(cpu, ss);
}

static int load_ss(struct x86_cpu *cpu, u16 sel)
{
	struct x86_seg ss;
	bool null_ok = x86_code64(cpu) && cpu->s.cpl < 3;

	if (x86_check_ss(cpu, sel, cpu->s.cpl, null_ok, &ss))
		return -1;
	cpu->s.seg[SEG_SS] = ss;
	cpu->s.irq_shadow = true;
	return 0;
}

static int load_data(struct x86_cpu *cpu, unsigned seg, u16 sel)
{
	struct x86_seg new;

	if (sel_null(sel)) {
		x86_null_ss(&new, 0);
		new.sel = sel;
		cpu->s.seg[seg] = new;
		return 0;
	}
	if (x86_desc_read(cpu, sel, VEC_GP, 0, &new))
		return -1;
	if (!seg_is_readable(&new))
		return x86_gp(cpu, sel & ~SEL_RPL);
	if (!seg_is_conforming(&new) && (seg_dpl(&new) < cpu->s.cpl || seg_dpl(&new) < sel_rpl(sel)))
		return x86_gp(cpu, sel & ~SEL_RPL);
	if (!(new.attr &SEG_P))
		return x86_fault_code(cpu, VEC_NP, sel & ~SEL_RPL);
	if (x86_desc_touch(cpu, &new))
		return -1;
	cpu->s.seg[seg] = new;
	return 0;
}

static void load_real(struct x86_cpu *cpu, unsigned seg, u16 sel)
{
	cpu->s.seg[seg].sel = sel;
	cpu->s.seg[seg].base = (u64)sel << 4;
	if (seg == SEG_SS)
		cpu->s.irq_shadow = true;
}

int x86_load_seg(struct x86_cpu *cpu, unsigned seg, u16 sel)
{
	int r = 0;

	if (!(cpu->s.cr0 & CR0_PE))
		load_real(cpu, seg, sel);
	else
		r = seg == SEG_SS ? load_ss(cpu, sel) : load_data(cpu, seg, sel);
	/* 64-bit code sees no base or limit of these. */
	if (!r && seg < SEG_FS && !x86_code64(cpu))
		cpu->env->mode_changed(cpu);
	return r;
}

/* What LLDT and LTR check alike; *seg is the descriptor. */
static int system_segment(struct x86_cpu *cpu, u16 sel, unsigned type, struct x86_seg *seg)
{
	u32 error = sel & ~SEL_RPL;
	u64 raw;

	if (sel & SEL_TI)
		return x86_gp(cpu, error);
	if (x86_desc_read_system(cpu, sel, VEC_GP, seg, &raw))
		return -1;
	if ((seg->attr & (SEG_S | SEG_TYPE)) != type)
		return x86_gp(cpu, error);
	if (!(seg->attr & SEG_P))
		return x86_fault_code(cpu, VEC_NP, error);
	if (x86_long_mode(cpu) && !x86_canonical(seg->base))
		return x86_gp(cpu, error);
	return 0;
}

/* LLDT, LTR and their kin exist in protected mode only. */
static int check_protected(struct x86_cpu *cpu)
{
	if (!(cpu->s.cr0 & CR0_PE))
		return x86_fault(cpu, VEC_UD);
	return x86_check_cpl0(cpu);
}

int x86_lldt(struct x86_cpu *cpu, u16 sel)
{
	struct x86_seg ldt;

	if (check_protected(cpu))
		return -1;
	if (sel_null(sel)) {
		x86_null_ss(&ldt, 0);
		ldt.sel = sel;
	} else if (system_segment(cpu, sel, TYPE_LDT, &ldt)) {
		return -1;
	}
	cpu->s.seg[SEG_LDTR] = ldt;
	return 0;
}

int x86_ltr(struct x86_cpu *cpu, u16 sel)
{
	struct x86_seg tss;
	gva_t address;

	if (check_protected(cpu))
		return -1;
	if (sel_null(sel))
		return x86_gp(cpu, 0);
	if (system_segment(cpu, sel, TYPE_TSS, &tss))
		return -1;
	tss.attr |= TYPE_TSS_BUSY;
	if (!x86_desc_address(cpu, sel, 8, &address))
		return x86_gp(cpu, sel & ~SEL_RPL);
	if (cpu->env->store(cpu, address + 5, 1, PRIV_SYSTEM, tss.attr & 0xff))
		return -1;
	cpu->s.seg[SEG_TR] = tss;
	return 0;
}

static int load_table(struct x86_cpu *cpu, struct x86_table *table, u64 base, u16 limit)
{
	if (x86_check_cpl0(cpu))
		return -1;
	if (x86_long_mode(cpu) && !x86_canonical(base))
		return x86_gp(cpu, 0);
	table->base = base;
	table->limit = limit;
	return 0;
}

int x86_lgdt(struct x86_cpu *cpu, u64 base, u16 limit)
{
	return load_table(cpu, &cpu->s.gdt, base, limit);
}

int x86_lidt(struct x86_cpu *cpu, u64 base, u16 limit)
{
	return load_table(cpu, &cpu->s.idt, base, limit);
}

/* System descriptor types that LAR (and, without gates, LSL) shows. */
static bool visible_type(const struct x86_cpu *cpu, unsigned type, bool gates)
{
	unsigned types = BIT(TYPE_LDT) | BIT(TYPE_TSS) | BIT(TYPE_TSS_BUSY);

	if (!x86_long_mode(cpu))
		types |= BIT(1) | BIT(3); /* 16-bit TSS */
	if (gates)
		types |= BIT(TYPE_CALL_GATE);
	if (gates && !x86_long_mode(cpu))
		types |= BIT(4) | BIT(5); /* 16-bit call gate, task gate */
	return types >> type & 1;
}

/* Reads what a program may see of a selector. */
static bool peek(struct x86_cpu *cpu, u16 sel, bool gates, struct x86_seg *seg, u64 *raw)
{
	gva_t address;

	if (sel_null(sel) || !x86_desc_address(cpu, sel, 8, &address))
		return false;
	if (x86_load_system(cpu, address, 8, raw))
		return false;
	x86_desc_decode(*raw, sel, seg);
	if (!(seg->attr & SEG_S)) {
		if (!visible_type(cpu, seg->attr & SEG_TYPE, gates))
			return false;
		if (x86_desc_read_system(cpu, sel, VEC_GP, seg, raw))
			return false;
	}
	return seg_is_conforming(seg) || (seg_dpl(seg) >= cpu->s.cpl && seg_dpl(seg) >= sel_rpl(sel));
}

bool x86_lar(struct x86_cpu *cpu, u16 sel, u32 *value)
{
	struct x86_seg seg;
	u64 raw;

	if (!peek(cpu, sel, true, &seg, &raw))
		return false;
	*value = (u32)(raw >> 32) & 0x00f0ff00;
	return true;
}

bool x86_lsl(struct x86_cpu *cpu, u16 sel, u32 *value)
{
	struct x86_seg seg;
	u64 raw;

	if (!peek(cpu, sel, false, &seg, &raw))
		return false;
	*value = seg.limit;
	return true;
}

bool x86_verr(struct x86_cpu *cpu, u16 sel, bool write)
{
	struct x86_seg seg;
	u64 raw;

	if (!peek(cpu, sel, true, &seg, &raw))
		return false;
	return write ? seg_is_writable(&seg) : seg_is_readable(&seg);
}

int x86_umip_check(struct x86_cpu *cpu)
{
	return cpu->s.cpl && cpu->s.cr4 & CR4_UMIP ? x86_gp(cpu, 0) : 0;
}
