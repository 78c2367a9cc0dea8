/* SPDX-License-Identifier: MIT */
/*
 * Helpers for instructions that are not run natively: they fetch operands and
 * leave the semantics to x86/. Each returns 0 to go on with the next
 * instruction, 1 to go back to dispatch at s.rip, or -1 for a fault.
 */
#include <Zydis/Mnemonic.h>

#include "engine/translate/cpu.h"
#include "vm/space.h"
#include "vm/vcpu.h"
#include "vm/vm.h"

#define FN(name) static int name(struct cpu *cpu, const struct sysinsn *in)

enum { ZYDIS_MNEMONIC_COUNT = ZYDIS_MNEMONIC_MAX_VALUE + 1 };

/* ---- operands ---- */

static u64 size_mask(unsigned size)
{
	return size >= 8 ? ~0ull : (1ull << 8 * size) - 1;
}

static u64 next_rip(const struct sysinsn *in)
{
	u64 next = in->rip + in->len;

	return in->mode & MODE_CODE32 ? (u32)next : next;
}

gva_t sysinsn_ea(struct cpu *cpu, const struct sysinsn *in)
{
	u64 a = (u64)in->disp;

	if (in->base >= 0)
		a += cpu->x.s.gpr[in->base];
	if (in->index >= 0)
		a += cpu->x.s.gpr[in->index] * in->scale;
	a &= size_mask(in->addrsize);
	if (in->seg == SEG_FS || in->seg == SEG_GS || in->mode & MODE_BASES)
		a += cpu->x.s.seg[in->seg].base;
	return in->mode & MODE_CODE32 ? (u32)a : a;
}

static int load(struct cpu *cpu, gva_t a, unsigned size, u64 *v)
{
	*v = 0;
	return guest_read(cpu, a, v, size, PRIV_CPL);
}

static int store(struct cpu *cpu, gva_t a, unsigned size, u64 v)
{
	return guest_write(cpu, a, &v, size, PRIV_CPL);
}

static void set_reg(struct cpu *cpu, unsigned reg, unsigned size, u64 v)
{
	u64 *r = &cpu->x.s.gpr[reg];

	if (size == 8)
		*r = v;
	else if (size == 4)
		*r = (u32)v;
	else
		*r = (*r & ~size_mask(size)) | (v & size_mask(size));
}

static int read_rm(struct cpu *cpu, const struct sysinsn *in, unsigned size, u64 *v)
{
	if (in->mem)
		return load(cpu, sysinsn_ea(cpu, in), size, v);
	*v = cpu->x.s.gpr[in->rm] & size_mask(size);
	return 0;
}

/* Registers take regsize, memory takes 16 bits: SLDT, STR, SMSW, MOV from a segment register. */
static int write_rm16(struct cpu *cpu, const struct sysinsn *in, u64 v)
{
	if (in->mem)
		return store(cpu, sysinsn_ea(cpu, in), 2, v);
	set_reg(cpu, in->rm, in->opsize, v);
	return 0;
}

static unsigned stack_size(const struct sysinsn *in)
{
	return in->opsize == 2 ? 2 : in->mode & MODE_CODE32 ? 4 : 8;
}

static gva_t stack_at(struct cpu *cpu, const struct sysinsn *in, i64 offset)
{
	u64 a = cpu->x.s.gpr[RSP] + (u64)offset;

	if (in->mode & MODE_CODE32)
		a = (u32)a;
	if (in->mode & MODE_BASES)
		a = (u32)(a + cpu->x.s.seg[SEG_SS].base);
	return a;
}

static void stack_move(struct cpu *cpu, const struct sysinsn *in, i64 n)
{
	u64 sp = cpu->x.s.gpr[RSP] + (u64)n;

	cpu->x.s.gpr[RSP] = in->mode & MODE_CODE32 ? (u32)sp : sp;
}

static int check_stack(struct cpu *cpu, const struct sysinsn *in, i64 offset, unsigned size, bool write)
{
	u64 sp = cpu->x.s.gpr[RSP] + (u64)offset;

	if (likely(!(in->mode & MODE_CHECK)))
		return 0;
	return check_operand(cpu, SEG_SS, in->mode & MODE_CODE32 ? (u32)sp : sp, size, write);
}

/* On the stack a non-canonical address is #SS. */
static int stack_fault(struct cpu *cpu)
{
	if (cpu->x.fault.vector == VEC_GP)
		cpu->x.fault.vector = VEC_SS;
	return -1;
}

static int stack_load(struct cpu *cpu, const struct sysinsn *in, void *buf, unsigned size)
{
	if (check_stack(cpu, in, 0, size, false))
		return -1;
	return guest_read(cpu, stack_at(cpu, in, 0), buf, size, PRIV_CPL) ? stack_fault(cpu) : 0;
}

static int stack_store(struct cpu *cpu, const struct sysinsn *in, i64 offset, const void *buf, unsigned size)
{
	if (check_stack(cpu, in, offset, size, true))
		return -1;
	return guest_write(cpu, stack_at(cpu, in, offset), buf, size, PRIV_CPL) ? stack_fault(cpu) : 0;
}

static int push(struct cpu *cpu, const struct sysinsn *in, u64 v)
{
	unsigned size = stack_size(in);

	if (stack_store(cpu, in, -(i64)size, &v, size))
		return -1;
	stack_move(cpu, in, -(i64)size);
	return 0;
}

static int leave_next(struct cpu *cpu, const struct sysinsn *in)
{
	cpu->x.s.rip = next_rip(in);
	return 1;
}

static int privileged(struct cpu *cpu)
{
	return cpu->x.s.cpl ? x86_fault_code(&cpu->x, VEC_GP, 0) : 0;
}

/* ---- flags ---- */

FN(do_cli)
{
	(void)in;
	return x86_cli(&cpu->x);
}

FN(do_sti)
{
	(void)in;
	return x86_sti(&cpu->x);
}

FN(do_cld)
{
	(void)in;
	cpu->x.s.rflags &= ~(u64)FL_DF;
	return 0;
}

FN(do_std)
{
	(void)in;
	cpu->x.s.rflags |= FL_DF;
	return 0;
}

FN(do_pushf)
{
	return push(cpu, in, (cpu->x.s.rflags | FL_ONE) & ~(u64)(FL_RF | FL_VM));
}

FN(do_popf)
{
	unsigned size = stack_size(in);
	u64 old = cpu->x.s.rflags, v = 0;

	if (stack_load(cpu, in, &v, size))
		return -1;
	cpu->x.s.rflags = x86_popf_merge(&cpu->x, v, in->opsize == 2 ? 2 : size);
	stack_move(cpu, in, size);
	if ((old ^ cpu->x.s.rflags) & (FL_TF | FL_AC))
		mode_update(cpu);
	if (cpu->x.s.rflags & ~old & FL_IF && __atomic_load_n((u32 *)&cpu->vcpu->events, __ATOMIC_ACQUIRE))
		return leave_next(cpu, in);
	return 0;
}

/* Other code may go on behind it: see inline.c. */
FN(do_ac)
{
	if (cpu->x.s.cpl)
		return x86_fault(&cpu->x, VEC_UD);
	if (in->mnemonic == ZYDIS_MNEMONIC_STAC)
		cpu->x.s.rflags |= FL_AC;
	else
		cpu->x.s.rflags &= ~(u64)FL_AC;
	mode_update(cpu);
	return leave_next(cpu, in);
}

/* ---- events and transfers ---- */

FN(do_int)
{
	u8 vector = (u8)in->imm;

	if (in->mnemonic == ZYDIS_MNEMONIC_INTO) {
		if (!(cpu->x.s.rflags & FL_OF))
			return leave_next(cpu, in);
		vector = VEC_OF;
	} else if (in->mnemonic == ZYDIS_MNEMONIC_INT3) {
		vector = VEC_BP;
	}
	cpu->event = true;
	if (x86_int(&cpu->x, vector, next_rip(in))) {
		cpu->event = false;
		return -1;
	}
	mode_update(cpu);
	return 1;
}

FN(do_int1)
{
	struct x86_fault db = { .vector = VEC_DB };

	cpu->x.s.rip = next_rip(in);
	cpu->event = true;
	if (x86_deliver(&cpu->x, EVENT_EXCEPTION, &db))
		cpu->triple_fault = true;
	mode_update(cpu);
	return 1;
}

FN(do_hlt)
{
	if (privileged(cpu))
		return -1;
	cpu->x.s.halted = true;
	return leave_next(cpu, in);
}

FN(do_iret)
{
	return x86_iret(&cpu->x, in->opsize) ? -1 : 1;
}

FN(do_syscall)
{
	cpu->stats.syscalls++;
	if (x86_syscall(&cpu->x, next_rip(in)))
		return -1;
	cpu->event = true; /* a trap for TF is not due if the call clears it */
	return 1;
}

FN(do_sysret)
{
	return x86_sysret(&cpu->x, in->opsize) ? -1 : 1;
}

FN(do_sysenter)
{
	(void)in;
	if (x86_sysenter(&cpu->x))
		return -1;
	cpu->event = true;
	return 1;
}

FN(do_sysexit)
{
	return x86_sysexit(&cpu->x, in->opsize) ? -1 : 1;
}

/* Far CALL and JMP: the pointer is an immediate or in memory. */
static int far_pointer(struct cpu *cpu, const struct sysinsn *in, u16 *sel, u64 *offset)
{
	u64 s;

	if (!in->mem) {
		*sel = (u16)in->imm2;
		*offset = (u64)in->imm & size_mask(in->opsize);
		return 0;
	}
	if (load(cpu, sysinsn_ea(cpu, in), in->opsize, offset) || load(cpu, sysinsn_ea(cpu, in) + in->opsize, 2, &s))
		return -1;
	*sel = (u16)s;
	return 0;
}

FN(do_far_jump)
{
	u64 offset;
	u16 sel;

	if (far_pointer(cpu, in, &sel, &offset))
		return -1;
	return x86_far_jump(&cpu->x, sel, offset, in->opsize) ? -1 : 1;
}

FN(do_far_call)
{
	u64 offset;
	u16 sel;

	if (far_pointer(cpu, in, &sel, &offset))
		return -1;
	return x86_far_call(&cpu->x, sel, offset, in->opsize, next_rip(in)) ? -1 : 1;
}

FN(do_far_ret)
{
	return x86_far_ret(&cpu->x, in->opsize, (u16)in->imm) ? -1 : 1;
}

/* ---- segments ---- */

static int seg_changed(struct cpu *cpu)
{
	mode_update(cpu);
	return 0;
}

FN(do_mov_seg)
{
	u64 v;

	if (in->op == 0x8c)
		return write_rm16(cpu, in, cpu->x.s.seg[in->reg & 7].sel);
	if ((in->reg & 7) == SEG_CS || (in->reg & 7) > SEG_GS)
		return x86_fault(&cpu->x, VEC_UD);
	if (read_rm(cpu, in, 2, &v) || x86_load_seg(&cpu->x, in->reg & 7, (u16)v))
		return -1;
	return seg_changed(cpu);
}

/* clang-format off */
static int seg_of_push(const struct sysinsn *in)
{
	switch (in->op) {
	case 0x06: case 0x07: return SEG_ES;
	case 0x0e: return SEG_CS;
	case 0x16: case 0x17: return SEG_SS;
	case 0x1e: case 0x1f: return SEG_DS;
	case 0xa0: case 0xa1: return SEG_FS;
	default: return SEG_GS;
	}
}
/* clang-format on */

FN(do_push_seg)
{
	return push(cpu, in, cpu->x.s.seg[seg_of_push(in)].sel);
}

FN(do_pop_seg)
{
	u64 v = 0;

	if (stack_load(cpu, in, &v, 2) || x86_load_seg(&cpu->x, (unsigned)seg_of_push(in), (u16)v))
		return -1;
	stack_move(cpu, in, stack_size(in));
	return seg_changed(cpu);
}

/* LDS and its kin: a far pointer into a segment and a general register. */
FN(do_load_far)
{
	unsigned seg = in->mnemonic == ZYDIS_MNEMONIC_LDS ? SEG_DS :
		       in->mnemonic == ZYDIS_MNEMONIC_LES ? SEG_ES :
		       in->mnemonic == ZYDIS_MNEMONIC_LFS ? SEG_FS :
		       in->mnemonic == ZYDIS_MNEMONIC_LGS ? SEG_GS : SEG_SS;
	u64 offset;
	u16 sel;

	if (far_pointer(cpu, in, &sel, &offset) || x86_load_seg(&cpu->x, seg, sel))
		return -1;
	set_reg(cpu, in->reg, in->opsize, offset);
	return seg_changed(cpu);
}

FN(do_table)
{
	bool lgdt = in->mnemonic == ZYDIS_MNEMONIC_LGDT;
	unsigned size = in->mode & MODE_CODE32 ? 4 : 8;
	gva_t ea = sysinsn_ea(cpu, in);
	u64 limit, base;

	if (privileged(cpu) || load(cpu, ea, 2, &limit) || load(cpu, ea + 2, size, &base))
		return -1;
	return lgdt ? x86_lgdt(&cpu->x, base, (u16)limit) : x86_lidt(&cpu->x, base, (u16)limit);
}

FN(do_store_table)
{
	const struct x86_table *t = in->mnemonic == ZYDIS_MNEMONIC_SGDT ? &cpu->x.s.gdt : &cpu->x.s.idt;
	unsigned size = in->mode & MODE_CODE32 ? 4 : 8;
	u8 buf[10];

	if (x86_umip_check(&cpu->x))
		return -1;
	buf[0] = (u8)t->limit;
	buf[1] = (u8)(t->limit >> 8);
	for (unsigned i = 0; i < 8; i++)
		buf[2 + i] = (u8)(t->base >> 8 * i);
	return guest_write(cpu, sysinsn_ea(cpu, in), buf, 2 + size, PRIV_CPL);
}

FN(do_system_seg)
{
	u64 v;

	switch (in->mnemonic) {
	case ZYDIS_MNEMONIC_SLDT:
		return x86_umip_check(&cpu->x) ? -1 : write_rm16(cpu, in, cpu->x.s.seg[SEG_LDTR].sel);
	case ZYDIS_MNEMONIC_STR:
		return x86_umip_check(&cpu->x) ? -1 : write_rm16(cpu, in, cpu->x.s.seg[SEG_TR].sel);
	case ZYDIS_MNEMONIC_SMSW:
		return x86_umip_check(&cpu->x) ? -1 : write_rm16(cpu, in, cpu->x.s.cr0);
	case ZYDIS_MNEMONIC_LMSW:
		return read_rm(cpu, in, 2, &v) ? -1 : x86_lmsw(&cpu->x, (u16)v);
	default: break;
	}
	if (privileged(cpu) || read_rm(cpu, in, 2, &v))
		return -1;
	return in->mnemonic == ZYDIS_MNEMONIC_LLDT ? x86_lldt(&cpu->x, (u16)v) : x86_ltr(&cpu->x, (u16)v);
}

FN(do_selector_query)
{
	u64 sel;
	u32 v = 0;
	bool ok;

	if (read_rm(cpu, in, 2, &sel))
		return -1;
	switch (in->mnemonic) {
	case ZYDIS_MNEMONIC_LAR: ok = x86_lar(&cpu->x, (u16)sel, &v); break;
	case ZYDIS_MNEMONIC_LSL: ok = x86_lsl(&cpu->x, (u16)sel, &v); break;
	case ZYDIS_MNEMONIC_VERR: ok = x86_verr(&cpu->x, (u16)sel, false); break;
	default: ok = x86_verr(&cpu->x, (u16)sel, true); break;
	}
	if (ok && (in->mnemonic == ZYDIS_MNEMONIC_LAR || in->mnemonic == ZYDIS_MNEMONIC_LSL))
		set_reg(cpu, in->reg, in->opsize, v);
	cpu->x.s.rflags = (cpu->x.s.rflags & ~(u64)FL_ZF) | (ok ? FL_ZF : 0);
	return 0;
}

FN(do_arpl)
{
	u64 dst, rpl = cpu->x.s.gpr[in->reg] & 3;
	bool low;

	if (read_rm(cpu, in, 2, &dst))
		return -1;
	low = (dst & 3) < rpl;
	if (low) {
		dst = (dst & ~3ull) | rpl;
		if (in->mem) {
			if (store(cpu, sysinsn_ea(cpu, in), 2, dst))
				return -1;
		} else {
			set_reg(cpu, in->rm, 2, dst);
		}
	}
	cpu->x.s.rflags = (cpu->x.s.rflags & ~(u64)FL_ZF) | (low ? FL_ZF : 0);
	return 0;
}

/* ---- control registers, MSRs, TLB ---- */

FN(do_mov_cr)
{
	u64 v;

	switch (in->op) {
	case 0x20:
		if (x86_read_cr(&cpu->x, in->reg, &v))
			return -1;
		cpu->x.s.gpr[in->rm] = v;
		return 0;
	case 0x21:
		if (x86_read_dr(&cpu->x, in->reg, &v))
			return -1;
		cpu->x.s.gpr[in->rm] = v;
		return 0;
	case 0x22:
		if (x86_write_cr(&cpu->x, in->reg, cpu->x.s.gpr[in->rm]))
			return -1;
		break;
	default:
		if (x86_write_dr(&cpu->x, in->reg, cpu->x.s.gpr[in->rm]))
			return -1;
		cpu->x.s.rflags &= ~(u64)FL_RF; /* it may be left from an IRET when no breakpoint was set */
		break;
	}
	mode_update(cpu);
	return leave_next(cpu, in); /* where the next instruction lies may have changed */
}

FN(do_clts)
{
	(void)in;
	if (x86_clts(&cpu->x))
		return -1;
	mode_update(cpu);
	return 0;
}

FN(do_invlpg)
{
	if (x86_invlpg(&cpu->x, sysinsn_ea(cpu, in)))
		return -1;
	return leave_next(cpu, in);
}

FN(do_invpcid)
{
	gva_t ea = sysinsn_ea(cpu, in);
	u64 low, high;

	if (privileged(cpu) || load(cpu, ea, 8, &low) || load(cpu, ea + 8, 8, &high))
		return -1;
	if (x86_invpcid(&cpu->x, cpu->x.s.gpr[in->reg], low, high))
		return -1;
	return leave_next(cpu, in);
}

FN(do_nothing_privileged)
{
	(void)in;
	return privileged(cpu);
}

static u32 low_reg(struct cpu *cpu, unsigned reg)
{
	return (u32)cpu->x.s.gpr[reg];
}

static void set_edx_eax(struct cpu *cpu, u64 v)
{
	cpu->x.s.gpr[RAX] = (u32)v;
	cpu->x.s.gpr[RDX] = v >> 32;
}

FN(do_rdmsr)
{
	u64 v;

	(void)in;
	if (x86_rdmsr(&cpu->x, low_reg(cpu, RCX), &v))
		return -1;
	set_edx_eax(cpu, v);
	return 0;
}

FN(do_wrmsr)
{
	u64 v = (u64)low_reg(cpu, RDX) << 32 | low_reg(cpu, RAX);

	(void)in;
	return x86_wrmsr(&cpu->x, low_reg(cpu, RCX), v);
}

FN(do_rdtsc)
{
	u64 v;

	if (x86_rdtsc(&cpu->x, &v))
		return -1;
	set_edx_eax(cpu, v);
	if (in->mnemonic == ZYDIS_MNEMONIC_RDTSCP)
		cpu->x.s.gpr[RCX] = (u32)cpu->x.s.tsc_aux;
	return 0;
}

FN(do_rdpid)
{
	cpu->x.s.gpr[in->rm] = cpu->x.s.tsc_aux;
	return 0;
}

FN(do_rdpmc)
{
	(void)in;
	return x86_fault_code(&cpu->x, VEC_GP, 0); /* no counters are shown */
}

FN(do_cpuid)
{
	struct x86_cpuid_regs r;
	u64 *g = cpu->x.s.gpr;

	(void)in;
	x86_cpuid(&cpu->x, (u32)g[RAX], (u32)g[RCX], &r);
	g[RAX] = r.eax;
	g[RBX] = r.ebx;
	g[RCX] = r.ecx;
	g[RDX] = r.edx;
	return 0;
}

FN(do_xsetbv)
{
	(void)in;
	return x86_xsetbv(&cpu->x, low_reg(cpu, RCX), (u64)low_reg(cpu, RDX) << 32 | low_reg(cpu, RAX));
}

FN(do_xgetbv)
{
	u64 v;

	(void)in;
	if (x86_xgetbv(&cpu->x, low_reg(cpu, RCX), &v))
		return -1;
	set_edx_eax(cpu, v);
	return 0;
}

FN(do_swapgs)
{
	(void)in;
	return x86_swapgs(&cpu->x);
}

FN(do_fsgsbase)
{
	unsigned which = in->mnemonic == ZYDIS_MNEMONIC_RDFSBASE ? 0 :
			 in->mnemonic == ZYDIS_MNEMONIC_RDGSBASE ? 1 :
			 in->mnemonic == ZYDIS_MNEMONIC_WRFSBASE ? 2 : 3;

	return x86_fsgsbase(&cpu->x, which, in->opsize, &cpu->x.s.gpr[in->rm]);
}

/* ---- I/O ports ---- */

u64 io_read(struct cpu *cpu, u16 port, unsigned size)
{
	fpu_save(cpu);
	check_port(cpu, port, size);
	cpu->stats.pio++;
	return space_read(&cpu->vm->io, port, size);
}

void io_write(struct cpu *cpu, u16 port, unsigned size, u64 value)
{
	fpu_save(cpu);
	check_port(cpu, port, size);
	cpu->stats.pio++;
	space_write(&cpu->vm->io, port, size, value);
}

static unsigned io_size(const struct sysinsn *in)
{
	return in->op & 1 ? MIN(in->opsize, 4) : 1;
}

FN(do_in)
{
	u16 port = in->op & 8 ? (u16)cpu->x.s.gpr[RDX] : (u8)in->imm;
	unsigned size = io_size(in);

	if (x86_io_check(&cpu->x, port, size))
		return -1;
	set_reg(cpu, RAX, size, io_read(cpu, port, size));
	return 0;
}

FN(do_out)
{
	u16 port = in->op & 8 ? (u16)cpu->x.s.gpr[RDX] : (u8)in->imm;
	unsigned size = io_size(in);

	if (x86_io_check(&cpu->x, port, size))
		return -1;
	io_write(cpu, port, size, cpu->x.s.gpr[RAX] & size_mask(size));
	return leave_next(cpu, in); /* the device may have stopped the VM, or raised an interrupt */
}

/* ---- leftovers of the 8086 and the 286 ---- */

FN(do_xlat)
{
	struct sysinsn at = *in;
	u64 v;

	at.base = RBX;
	at.index = -1;
	at.disp = (u8)cpu->x.s.gpr[RAX];
	if (load(cpu, sysinsn_ea(cpu, &at), 1, &v))
		return -1;
	set_reg(cpu, RAX, 1, v);
	return 0;
}

FN(do_enter)
{
	unsigned size = stack_size(in), level = (unsigned)in->imm2 & 31;
	u64 frame, v, rsp = cpu->x.s.gpr[RSP], rbp = cpu->x.s.gpr[RBP];

	if (push(cpu, in, rbp))
		return -1;
	frame = cpu->x.s.gpr[RSP];
	for (unsigned i = 1; i <= level; i++) {
		v = frame;
		if (i < level && load(cpu, (in->mode & MODE_CODE32 ? (u32)(rbp - size * i) : rbp - size * i), size, &v))
			goto fault;
		if (push(cpu, in, v))
			goto fault;
	}
	/* the new stack must be writable, as the next push will find */
	if (load(cpu, stack_at(cpu, in, -(i64)(u16)in->imm), 1, &v) ||
	    store(cpu, stack_at(cpu, in, -(i64)(u16)in->imm), 1, v))
		goto fault;
	set_reg(cpu, RBP, size, frame);
	stack_move(cpu, in, -(i64)(u16)in->imm);
	return 0;
fault:
	cpu->x.s.gpr[RSP] = rsp;
	return stack_fault(cpu);
}

FN(do_bound)
{
	i64 v = (i32)cpu->x.s.gpr[in->reg];
	u64 lo, hi;
	unsigned size = in->opsize;

	if (load(cpu, sysinsn_ea(cpu, in), size, &lo) || load(cpu, sysinsn_ea(cpu, in) + size, size, &hi))
		return -1;
	if (size == 2)
		return (i16)v < (i16)lo || (i16)v > (i16)hi ? x86_fault(&cpu->x, VEC_BR) : 0;
	return v < (i32)lo || v > (i32)hi ? x86_fault(&cpu->x, VEC_BR) : 0;
}

static void szp_flags(struct cpu *cpu, u8 v, u64 others)
{
	u64 f = others;

	if (!v)
		f |= FL_ZF;
	if (v & 0x80)
		f |= FL_SF;
	if (!(__builtin_popcount(v) & 1))
		f |= FL_PF;
	cpu->x.s.rflags = (cpu->x.s.rflags & ~(u64)FL_ARITH) | f;
}

static void decimal_adjust(struct cpu *cpu, bool sub)
{
	u8 al = (u8)cpu->x.s.gpr[RAX], old = al;
	u64 f = cpu->x.s.rflags, out = 0;
	bool cf = f & FL_CF;

	if ((al & 15) > 9 || f & FL_AF) {
		if (sub ? al < 6 : al > 0xf9)
			out |= FL_CF;
		al = (u8)(sub ? al - 6 : al + 6);
		out |= FL_AF;
		if (cf)
			out |= FL_CF;
	}
	if (old > 0x99 || cf) {
		al = (u8)(sub ? al - 0x60 : al + 0x60);
		out |= FL_CF;
	} else if (!sub) {
		out &= ~(u64)FL_CF;
	}
	set_reg(cpu, RAX, 1, al);
	szp_flags(cpu, al, out);
}

static void ascii_adjust(struct cpu *cpu, bool sub)
{
	u16 ax = (u16)cpu->x.s.gpr[RAX];
	bool adjust = (ax & 15) > 9 || cpu->x.s.rflags & FL_AF;

	if (adjust)
		ax = (u16)(sub ? ax - 0x106 : ax + 0x106);
	ax &= 0xff0f;
	set_reg(cpu, RAX, 2, ax);
	szp_flags(cpu, (u8)ax, adjust ? FL_AF | FL_CF : 0);
}

FN(do_bcd)
{
	u8 al = (u8)cpu->x.s.gpr[RAX], ah = (u8)(cpu->x.s.gpr[RAX] >> 8), n = (u8)in->imm;

	switch (in->mnemonic) {
	case ZYDIS_MNEMONIC_DAA: decimal_adjust(cpu, false); return 0;
	case ZYDIS_MNEMONIC_DAS: decimal_adjust(cpu, true); return 0;
	case ZYDIS_MNEMONIC_AAA: ascii_adjust(cpu, false); return 0;
	case ZYDIS_MNEMONIC_AAS: ascii_adjust(cpu, true); return 0;
	case ZYDIS_MNEMONIC_AAM:
		if (!n)
			return x86_fault(&cpu->x, VEC_DE);
		set_reg(cpu, RAX, 2, (u64)(al / n) << 8 | al % n);
		szp_flags(cpu, al % n, 0);
		return 0;
	case ZYDIS_MNEMONIC_AAD:
		al = (u8)(al + ah * n);
		set_reg(cpu, RAX, 2, al);
		szp_flags(cpu, al, 0);
		return 0;
	default: /* SALC */
		set_reg(cpu, RAX, 1, cpu->x.s.rflags & FL_CF ? 0xff : 0);
		return 0;
	}
}

static const u8 pusha_order[8] = { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI };

FN(do_pusha)
{
	unsigned size = stack_size(in);
	u8 buf[32];

	for (unsigned i = 0; i < 8; i++)
		for (unsigned b = 0; b < size; b++)
			buf[(7 - i) * size + b] = (u8)(cpu->x.s.gpr[pusha_order[i]] >> 8 * b);
	if (stack_store(cpu, in, -8 * (i64)size, buf, 8 * size))
		return -1;
	stack_move(cpu, in, -8 * (i64)size);
	return 0;
}

FN(do_popa)
{
	unsigned size = stack_size(in);
	u8 buf[32];

	if (stack_load(cpu, in, buf, 8 * size))
		return -1;
	for (unsigned i = 0; i < 8; i++) {
		u64 v = 0;

		for (unsigned b = 0; b < size; b++)
			v |= (u64)buf[(7 - i) * size + b] << 8 * b;
		if (pusha_order[i] != RSP)
			set_reg(cpu, pusha_order[i], size, v);
	}
	stack_move(cpu, in, 8 * (i64)size);
	return 0;
}

/* BT and its kin with a register offset: the bit may lie anywhere. */
FN(do_bit)
{
	unsigned size = in->opsize;
	i64 bit = size == 8 ? (i64)cpu->x.s.gpr[in->reg] :
		  size == 4 ? (i32)cpu->x.s.gpr[in->reg] : (i16)cpu->x.s.gpr[in->reg];
	struct sysinsn at = *in;
	gva_t ea;
	gpa_t gpa;
	u8 *host;
	u64 v, old, mask = 1ull << (bit & (8 * size - 1));

	at.disp += (bit >> (size == 8 ? 6 : size == 4 ? 5 : 4)) * size; /* wraps as the address does */
	ea = sysinsn_ea(cpu, &at);
	/* one access, that reads and writes */
	if ((in->mnemonic != ZYDIS_MNEMONIC_BT && tlb_page(cpu, ea, true, PRIV_CPL, &host, &gpa)) ||
	    load(cpu, ea, size, &v)) {
		if (cpu->x.fault.vector == VEC_PF && in->mnemonic != ZYDIS_MNEMONIC_BT)
			cpu->x.fault.error |= PF_W;
		return in->seg == SEG_SS ? stack_fault(cpu) : -1;
	}
	old = v;
	switch (in->mnemonic) {
	case ZYDIS_MNEMONIC_BTS: v |= mask; break;
	case ZYDIS_MNEMONIC_BTR: v &= ~mask; break;
	case ZYDIS_MNEMONIC_BTC: v ^= mask; break;
	default: break;
	}
	if (in->mnemonic != ZYDIS_MNEMONIC_BT && store(cpu, ea, size, v))
		return -1;
	cpu->x.s.rflags = (cpu->x.s.rflags & ~(u64)FL_CF) | (old & mask ? FL_CF : 0);
	return 0;
}

/* ---- vector instructions that are not available ---- */

int raise_nm(struct cpu *cpu, const struct sysinsn *in)
{
	u16 status;

	if (in->mnemonic != ZYDIS_MNEMONIC_FWAIT)
		return x86_fault(&cpu->x, VEC_NM);
	if ((cpu->x.s.cr0 & (CR0_TS | CR0_MP)) == (CR0_TS | CR0_MP))
		return x86_fault(&cpu->x, VEC_NM);
	fpu_restore(cpu);
	__asm__ volatile("fnstsw %0" : "=a"(status));
	return status & 0x80 ? x86_fault(&cpu->x, VEC_MF) : 0;
}

int raise_nm_vector(struct cpu *cpu, const struct sysinsn *in)
{
	(void)in;
	return x86_fault(&cpu->x, cpu->x.s.cr0 & CR0_EM ? VEC_UD : VEC_NM);
}

#define XCR0_SSE_AVX 6ull
#define XCR0_AVX512 0xe6ull

bool vector_allowed(const struct cpu *cpu, unsigned level)
{
	const struct x86_state *s = &cpu->x.s;
	u64 need = level == 3 ? XCR0_AVX512 : XCR0_SSE_AVX;

	if (level < 2)
		return s->cr4 & CR4_OSFXSR;
	return s->cr4 & CR4_OSXSAVE && (s->xcr0 & need) == need;
}

void vector_state_update(struct cpu *cpu)
{
	const struct x86_state *s = &cpu->x.s;
	u64 state = (s->cr4 & (CR4_OSFXSR | CR4_OSXSAVE)) | s->xcr0 << 32;

	if (likely(state == cpu->vector_state))
		return;
	cpu->vector_state = state;
	cpu->vector_changed = true;
}

/* MOV from and to segment, control and debug registers. */
FN(do_mov)
{
	return in->op == 0x8c || in->op == 0x8e ? do_mov_seg(cpu, in) : do_mov_cr(cpu, in);
}

/* ---- which helper ---- */

struct rule {
	sysinsn_fn fn;
	bool ends; /* the block ends here */
};

static const struct rule rules[ZYDIS_MNEMONIC_COUNT] = {
	[ZYDIS_MNEMONIC_CLI] = { do_cli, false },
	[ZYDIS_MNEMONIC_STI] = { do_sti, false },
	[ZYDIS_MNEMONIC_CLD] = { do_cld, false },
	[ZYDIS_MNEMONIC_STD] = { do_std, false },
	[ZYDIS_MNEMONIC_PUSHF] = { do_pushf, false },
	[ZYDIS_MNEMONIC_PUSHFD] = { do_pushf, false },
	[ZYDIS_MNEMONIC_PUSHFQ] = { do_pushf, false },
	[ZYDIS_MNEMONIC_POPF] = { do_popf, false },
	[ZYDIS_MNEMONIC_POPFD] = { do_popf, false },
	[ZYDIS_MNEMONIC_POPFQ] = { do_popf, false },
	[ZYDIS_MNEMONIC_STAC] = { do_ac, false },
	[ZYDIS_MNEMONIC_CLAC] = { do_ac, false },
	[ZYDIS_MNEMONIC_INT] = { do_int, true },
	[ZYDIS_MNEMONIC_INT3] = { do_int, true },
	[ZYDIS_MNEMONIC_INTO] = { do_int, true },
	[ZYDIS_MNEMONIC_INT1] = { do_int1, true },
	[ZYDIS_MNEMONIC_HLT] = { do_hlt, true },
	[ZYDIS_MNEMONIC_IRET] = { do_iret, true },
	[ZYDIS_MNEMONIC_IRETD] = { do_iret, true },
	[ZYDIS_MNEMONIC_IRETQ] = { do_iret, true },
	[ZYDIS_MNEMONIC_SYSCALL] = { do_syscall, true },
	[ZYDIS_MNEMONIC_SYSRET] = { do_sysret, true },
	[ZYDIS_MNEMONIC_SYSENTER] = { do_sysenter, true },
	[ZYDIS_MNEMONIC_SYSEXIT] = { do_sysexit, true },
	[ZYDIS_MNEMONIC_JMP] = { do_far_jump, true },
	[ZYDIS_MNEMONIC_CALL] = { do_far_call, true },
	[ZYDIS_MNEMONIC_RET] = { do_far_ret, true },
	[ZYDIS_MNEMONIC_PUSH] = { do_push_seg, false },
	[ZYDIS_MNEMONIC_POP] = { do_pop_seg, false },
	[ZYDIS_MNEMONIC_LDS] = { do_load_far, false },
	[ZYDIS_MNEMONIC_LES] = { do_load_far, false },
	[ZYDIS_MNEMONIC_LFS] = { do_load_far, false },
	[ZYDIS_MNEMONIC_LGS] = { do_load_far, false },
	[ZYDIS_MNEMONIC_LSS] = { do_load_far, false },
	[ZYDIS_MNEMONIC_LGDT] = { do_table, false },
	[ZYDIS_MNEMONIC_LIDT] = { do_table, false },
	[ZYDIS_MNEMONIC_SGDT] = { do_store_table, false },
	[ZYDIS_MNEMONIC_SIDT] = { do_store_table, false },
	[ZYDIS_MNEMONIC_SLDT] = { do_system_seg, false },
	[ZYDIS_MNEMONIC_STR] = { do_system_seg, false },
	[ZYDIS_MNEMONIC_SMSW] = { do_system_seg, false },
	[ZYDIS_MNEMONIC_LMSW] = { do_system_seg, true },
	[ZYDIS_MNEMONIC_LLDT] = { do_system_seg, false },
	[ZYDIS_MNEMONIC_LTR] = { do_system_seg, false },
	[ZYDIS_MNEMONIC_LAR] = { do_selector_query, false },
	[ZYDIS_MNEMONIC_LSL] = { do_selector_query, false },
	[ZYDIS_MNEMONIC_VERR] = { do_selector_query, false },
	[ZYDIS_MNEMONIC_VERW] = { do_selector_query, false },
	[ZYDIS_MNEMONIC_ARPL] = { do_arpl, false },
	[ZYDIS_MNEMONIC_MOV] = { do_mov, true },
	[ZYDIS_MNEMONIC_CLTS] = { do_clts, true },
	[ZYDIS_MNEMONIC_INVLPG] = { do_invlpg, true },
	[ZYDIS_MNEMONIC_INVPCID] = { do_invpcid, true },
	[ZYDIS_MNEMONIC_INVD] = { do_nothing_privileged, false },
	[ZYDIS_MNEMONIC_WBINVD] = { do_nothing_privileged, false },
	[ZYDIS_MNEMONIC_RDMSR] = { do_rdmsr, false },
	[ZYDIS_MNEMONIC_WRMSR] = { do_wrmsr, true },
	[ZYDIS_MNEMONIC_RDTSC] = { do_rdtsc, false },
	[ZYDIS_MNEMONIC_RDTSCP] = { do_rdtsc, false },
	[ZYDIS_MNEMONIC_RDPID] = { do_rdpid, false },
	[ZYDIS_MNEMONIC_RDPMC] = { do_rdpmc, false },
	[ZYDIS_MNEMONIC_CPUID] = { do_cpuid, false },
	[ZYDIS_MNEMONIC_XSETBV] = { do_xsetbv, true },
	[ZYDIS_MNEMONIC_XGETBV] = { do_xgetbv, false },
	[ZYDIS_MNEMONIC_SWAPGS] = { do_swapgs, false },
	[ZYDIS_MNEMONIC_RDFSBASE] = { do_fsgsbase, false },
	[ZYDIS_MNEMONIC_RDGSBASE] = { do_fsgsbase, false },
	[ZYDIS_MNEMONIC_WRFSBASE] = { do_fsgsbase, false },
	[ZYDIS_MNEMONIC_WRGSBASE] = { do_fsgsbase, false },
	[ZYDIS_MNEMONIC_IN] = { do_in, false },
	[ZYDIS_MNEMONIC_OUT] = { do_out, true },
	[ZYDIS_MNEMONIC_XLAT] = { do_xlat, false },
	[ZYDIS_MNEMONIC_ENTER] = { do_enter, false },
	[ZYDIS_MNEMONIC_BOUND] = { do_bound, false },
	[ZYDIS_MNEMONIC_AAA] = { do_bcd, false },
	[ZYDIS_MNEMONIC_AAS] = { do_bcd, false },
	[ZYDIS_MNEMONIC_AAM] = { do_bcd, false },
	[ZYDIS_MNEMONIC_AAD] = { do_bcd, false },
	[ZYDIS_MNEMONIC_DAA] = { do_bcd, false },
	[ZYDIS_MNEMONIC_DAS] = { do_bcd, false },
	[ZYDIS_MNEMONIC_SALC] = { do_bcd, false },
	[ZYDIS_MNEMONIC_PUSHA] = { do_pusha, false },
	[ZYDIS_MNEMONIC_PUSHAD] = { do_pusha, false },
	[ZYDIS_MNEMONIC_POPA] = { do_popa, false },
	[ZYDIS_MNEMONIC_POPAD] = { do_popa, false },
	[ZYDIS_MNEMONIC_BT] = { do_bit, false },
	[ZYDIS_MNEMONIC_BTS] = { do_bit, false },
	[ZYDIS_MNEMONIC_BTR] = { do_bit, false },
	[ZYDIS_MNEMONIC_BTC] = { do_bit, false },
	[ZYDIS_MNEMONIC_MOVSB] = { string_insn, false },
	[ZYDIS_MNEMONIC_MOVSW] = { string_insn, false },
	[ZYDIS_MNEMONIC_MOVSD] = { string_insn, false },
	[ZYDIS_MNEMONIC_MOVSQ] = { string_insn, false },
	[ZYDIS_MNEMONIC_STOSB] = { string_insn, false },
	[ZYDIS_MNEMONIC_STOSW] = { string_insn, false },
	[ZYDIS_MNEMONIC_STOSD] = { string_insn, false },
	[ZYDIS_MNEMONIC_STOSQ] = { string_insn, false },
	[ZYDIS_MNEMONIC_LODSB] = { string_insn, false },
	[ZYDIS_MNEMONIC_LODSW] = { string_insn, false },
	[ZYDIS_MNEMONIC_LODSD] = { string_insn, false },
	[ZYDIS_MNEMONIC_LODSQ] = { string_insn, false },
	[ZYDIS_MNEMONIC_SCASB] = { string_insn, false },
	[ZYDIS_MNEMONIC_SCASW] = { string_insn, false },
	[ZYDIS_MNEMONIC_SCASD] = { string_insn, false },
	[ZYDIS_MNEMONIC_SCASQ] = { string_insn, false },
	[ZYDIS_MNEMONIC_CMPSB] = { string_insn, false },
	[ZYDIS_MNEMONIC_CMPSW] = { string_insn, false },
	[ZYDIS_MNEMONIC_CMPSD] = { string_insn, false },
	[ZYDIS_MNEMONIC_CMPSQ] = { string_insn, false },
	[ZYDIS_MNEMONIC_INSB] = { string_insn, false },
	[ZYDIS_MNEMONIC_INSW] = { string_insn, false },
	[ZYDIS_MNEMONIC_INSD] = { string_insn, false },
	[ZYDIS_MNEMONIC_OUTSB] = { string_insn, false },
	[ZYDIS_MNEMONIC_OUTSW] = { string_insn, false },
	[ZYDIS_MNEMONIC_OUTSD] = { string_insn, false },
	[ZYDIS_MNEMONIC_XSAVE] = { xsave_insn, false },
	[ZYDIS_MNEMONIC_XSAVE64] = { xsave_insn, false },
	[ZYDIS_MNEMONIC_XSAVEC] = { xsave_insn, false },
	[ZYDIS_MNEMONIC_XSAVEC64] = { xsave_insn, false },
	[ZYDIS_MNEMONIC_XSAVEOPT] = { xsave_insn, false },
	[ZYDIS_MNEMONIC_XSAVEOPT64] = { xsave_insn, false },
	[ZYDIS_MNEMONIC_XRSTOR] = { xrstor_insn, false },
	[ZYDIS_MNEMONIC_XRSTOR64] = { xrstor_insn, false },
	[ZYDIS_MNEMONIC_MASKMOVQ] = { maskmov_insn, false },
	[ZYDIS_MNEMONIC_MASKMOVDQU] = { maskmov_insn, false },
	[ZYDIS_MNEMONIC_VMASKMOVDQU] = { maskmov_insn, false },
};

sysinsn_fn sysinsn_lookup(unsigned mnemonic, bool *ends_block)
{
	const struct rule *r = &rules[mnemonic];

	*ends_block = r->ends;
	return r->fn;
}
