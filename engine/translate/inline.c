/* SPDX-License-Identifier: MIT */
/*
 * System instructions that kernels use all the time, done by generated code:
 * a call of a C helper costs some 30 ns, and entering a Linux kernel takes a
 * dozen of them. Only in 64-bit mode with nothing unusual on; each falls back
 * to its helper where the answer is not the common one.
 *
 * STAC and CLAC change what code may do, and so the fragments that may go on
 * (MODE_AC): they end their block, with a link to a fragment of the other mode.
 * Returns that were predicted in one mode are void in the other: STAC puts a
 * barrier on the prediction stack, CLAC takes it away.
 */
#include <Zydis/Mnemonic.h>

#include "engine/translate/tr.h"
#include "vm/vcpu.h"

static struct mem rflags(const struct tr *t)
{
	return mem_at(&t->cpu->x.s.rflags);
}

/* op [m], imm32: with ext as in opcode 81. */
static void op_mi(struct emit *e, unsigned ext, struct mem m, u32 v)
{
	op_rm_imm(e, false, 0x81, ext, m, 4);
	e4(e, v);
}

enum { EXT_OR = 1, EXT_AND = 4, EXT_CMP = 7, EXT_SHL = 4, EXT_SHR = 5, EXT_SAR = 7 };

static void test_mi(struct emit *e, struct mem m, u32 v)
{
	op_rm_imm(e, false, 0xf7, 0, m, 4);
	e4(e, v);
}

/* What is not the common case goes to the helper, and both go on behind it. */
static void helper_for(struct tr *t, const struct insn *in, u8 *const *slow, unsigned n)
{
	u8 *done = jmp_fwd(&t->e);
	bool ends;

	for (unsigned i = 0; i < n; i++)
		fix_to(slow[i], t->e.p);
	emit_helper(t, in, sysinsn_lookup(in->mnemonic, &ends));
	fix_to(done, t->e.p);
}

static void emit_cli(struct tr *t)
{
	op_mi(&t->e, EXT_AND, rflags(t), ~(u32)FL_IF);
}

/* With an event pending, the helper sees to the shadow. One that comes just now has raised cpu->poll. */
static void emit_sti(struct tr *t, const struct insn *in)
{
	struct emit *e = &t->e;
	u8 *slow;

	mov_imm(e, S0, (u64)&t->cpu->vcpu->events);
	op_mi(e, EXT_CMP, mem_base(S0, 0), 0);
	slow = jcc_fwd(e, CC_NE);
	op_mi(e, EXT_OR, rflags(t), FL_IF);
	helper_for(t, in, &slow, 1);
}

/* The arithmetic flags are in cpu->flags, the others in rflags. */
static void emit_pushf(struct tr *t, const struct insn *in)
{
	struct emit *e = &t->e;

	op_rm(e, false, 0x0fb7, S1, mem_at(&t->cpu->flags));
	op_rr(e, false, 0x8b, S0, S1);
	op_ri(e, false, EXT_AND, S0, 1);
	op_rr(e, false, 0xc1, EXT_SHL, S0), e1(e, 11); /* OF */
	op_rr(e, false, 0xc1, EXT_SHR, S1), e1(e, 8); /* the others, and bit 1 */
	op_rr(e, false, 0x0b, S0, S1);
	op_rm(e, false, 0x8b, S1, rflags(t));
	op_ri(e, false, EXT_AND, S1, (i32)~(u32)(FL_ARITH | FL_RF | FL_VM));
	op_rr(e, false, 0x0b, S0, S1);
	st(e, mem_at(&t->cpu->tmp1), S0);
	t->insns[in - t->insns].fl_read = 0; /* they have been read */
	emit_push_tmp1(t, in);
}

static void emit_rdtsc(struct tr *t, const struct insn *in)
{
	struct emit *e = &t->e;
	u8 *slow = NULL;

	if (t->mode & MODE_USER) {
		test_mi(e, mem_at(&t->cpu->x.s.cr4), CR4_TSD);
		slow = jcc_fwd(e, CC_NE);
	}
	if (in->mnemonic == ZYDIS_MNEMONIC_RDTSCP) {
		e1(e, 0x0f), e1(e, 0xae), e1(e, 0xe8); /* lfence */
		op_rm(e, false, 0x8b, RCX, mem_at(&t->cpu->x.s.tsc_aux));
	}
	e1(e, 0x0f), e1(e, 0x31);
	op_rr(e, true, 0xc1, EXT_SHL, RDX), e1(e, 32);
	op_rr(e, true, 0x0b, RDX, RAX);
	op_rm(e, true, 0x03, RDX, mem_at(&t->cpu->x.s.tsc_offset));
	op_rr(e, false, 0x8b, RAX, RDX);
	op_rr(e, true, 0xc1, EXT_SHR, RDX), e1(e, 32);
	if (slow)
		helper_for(t, in, &slow, 1);
}

static void emit_swapgs(struct tr *t)
{
	struct mem gs = mem_at(&t->cpu->x.s.seg[SEG_GS].base), other = mem_at(&t->cpu->x.s.kernel_gs_base);

	ld(&t->e, S0, gs);
	ld(&t->e, S1, other);
	st(&t->e, gs, S1);
	st(&t->e, other, S0);
}

static unsigned rm_reg(const struct insn *in)
{
	return (in->bytes[in->modrm_at] & 7u) | (in->rex & 1u) << 3;
}

static void guest_load(struct tr *t, unsigned guest, unsigned op, bool wide, struct mem m)
{
	int h = host_reg((int)guest);

	op_rm(&t->e, wide, op, h >= 0 ? (unsigned)h : S0, m);
	if (h < 0)
		home_store(t, guest, S0);
}

/* MOV r32 or r64, sreg */
static bool reads_selector(const struct insn *in)
{
	return in->bytes[in->opcode_at] == 0x8c && !in->mem && in->opsize >= 4 && (in->bytes[in->modrm_at] >> 3 & 7) < 6;
}

static void emit_selector(struct tr *t, const struct insn *in)
{
	guest_load(t, rm_reg(in), 0x0fb7, false, mem_at(&t->cpu->x.s.seg[in->bytes[in->modrm_at] >> 3 & 7].sel));
}

/* RDFSBASE, RDGSBASE, WRFSBASE, WRGSBASE with 64 bits. */
static void emit_fsgsbase(struct tr *t, const struct insn *in)
{
	struct emit *e = &t->e;
	unsigned guest = rm_reg(in), op = in->bytes[in->modrm_at] >> 3 & 7;
	struct mem base = mem_at(&t->cpu->x.s.seg[op & 1 ? SEG_GS : SEG_FS].base);
	u8 *slow[2];
	unsigned n = 0;

	test_mi(e, mem_at(&t->cpu->x.s.cr4), CR4_FSGSBASE);
	slow[n++] = jcc_fwd(e, CC_E);
	if (op < 2) {
		guest_load(t, guest, 0x8b, true, base);
	} else {
		unsigned value = reg_value(t, guest, S0);

		mov_rr(e, S1, value);
		op_rr(e, true, 0xc1, EXT_SHL, S1), e1(e, 16);
		op_rr(e, true, 0xc1, EXT_SAR, S1), e1(e, 16);
		op_rr(e, true, 0x3b, S1, value);
		slow[n++] = jcc_fwd(e, CC_NE); /* not canonical */
		st(e, base, value);
	}
	helper_for(t, in, slow, n);
}

/* The mode that generated code is in: what mode_update would do for MODE_AC alone. */
static void emit_mode(struct tr *t, u32 mode)
{
	struct emit *e = &t->e;
	struct cpu *cpu = t->cpu;

	st32_imm(e, mem_at(&cpu->mode), mode);
	mov_imm(e, S0, (u64)cpu->tlbs[mode & MODE_AC ? TLB_KERNEL_AC : TLB_KERNEL]);
	st(e, mem_at(&cpu->tlb), S0);
	mov_imm(e, S0, cpu->fn_ibl[ibl_index(mode)]);
	st(e, mem_at(&cpu->ras_lookup), S0);
	t->turned = MODE_AC;
}

static void emit_ac(struct tr *t, const struct insn *in)
{
	struct emit *e = &t->e;
	bool set = in->mnemonic == ZYDIS_MNEMONIC_STAC;
	u32 mode = t->mode & (u32)~MODE_SINGLE;
	u8 *slow[2];
	unsigned n = 0;

	test_mi(e, mem_at(&t->cpu->x.s.cr4), CR4_SMAP);
	slow[n++] = jcc_fwd(e, CC_E);
	if (inline_turns(t, in)) {
		if (set) {
			e1(e, 0x68), e4(e, t->cpu->fn_ras_barrier); /* push */
			op_mi(e, EXT_OR, rflags(t), FL_AC);
		} else {
			op_rm_imm(e, true, 0x81, EXT_CMP, mem_base(RSP, 0), 4);
			e4(e, t->cpu->fn_ras_barrier);
			slow[n++] = jcc_fwd(e, CC_NE);
			lea(e, RSP, mem_base(RSP, 8));
			op_mi(e, EXT_AND, rflags(t), ~(u32)FL_AC);
		}
		emit_mode(t, mode ^ MODE_AC);
	}
	helper_for(t, in, slow, n);
}

bool inline_turns(const struct tr *t, const struct insn *in)
{
	return (in->mnemonic == ZYDIS_MNEMONIC_STAC && !(t->mode & MODE_AC)) ||
	       (in->mnemonic == ZYDIS_MNEMONIC_CLAC && t->mode & MODE_AC);
}

static bool can_inline(const struct tr *t, const struct insn *in)
{
	if (t->mode & (MODE_CODE32 | MODE_STEP | MODE_CHECK))
		return false;
	switch (in->mnemonic) {
	case ZYDIS_MNEMONIC_RDTSC: case ZYDIS_MNEMONIC_RDTSCP: return true;
	case ZYDIS_MNEMONIC_RDFSBASE: case ZYDIS_MNEMONIC_RDGSBASE:
	case ZYDIS_MNEMONIC_WRFSBASE: case ZYDIS_MNEMONIC_WRGSBASE: return in->opsize == 8;
	case ZYDIS_MNEMONIC_MOV: return reads_selector(in);
	case ZYDIS_MNEMONIC_PUSHFQ: return !(t->mode & MODE_USER);
	case ZYDIS_MNEMONIC_CLI: case ZYDIS_MNEMONIC_STI: case ZYDIS_MNEMONIC_STAC: case ZYDIS_MNEMONIC_CLAC:
	case ZYDIS_MNEMONIC_SWAPGS: return !(t->mode & MODE_USER); /* CPL 0: the rings between have MODE_CHECK */
	default: return false;
	}
}

bool emit_inline(struct tr *t, const struct insn *in)
{
	if (!can_inline(t, in))
		return false;
	flags_put_away(t, FL_ARITH);
	switch (in->mnemonic) {
	case ZYDIS_MNEMONIC_MOV: emit_selector(t, in); break;
	case ZYDIS_MNEMONIC_CLI: emit_cli(t); break;
	case ZYDIS_MNEMONIC_STI: emit_sti(t, in); break;
	case ZYDIS_MNEMONIC_PUSHFQ: emit_pushf(t, in); break;
	case ZYDIS_MNEMONIC_STAC: case ZYDIS_MNEMONIC_CLAC: emit_ac(t, in); break;
	case ZYDIS_MNEMONIC_SWAPGS: emit_swapgs(t); break;
	case ZYDIS_MNEMONIC_RDTSC: case ZYDIS_MNEMONIC_RDTSCP: emit_rdtsc(t, in); break;
	default: emit_fsgsbase(t, in); break;
	}
	return true;
}
