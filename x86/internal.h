/* SPDX-License-Identifier: MIT */
/*
 * What the files of x86/ share among themselves: descriptors, selectors and
 * stacks. Not for engines.
 */
#pragma once

#include "x86/cpu.h"

/* The type field of a code or data descriptor. */
enum {
	TYPE_ACCESSED = 1,
	TYPE_RW = 2, /* data: writable; code: readable */
	TYPE_DOWN = 4, /* data: expand-down */
	TYPE_CONFORMING = 4, /* code */
	TYPE_CODE = 8,
};

/* The type field of a system descriptor, with the meaning of long mode. */
enum {
	TYPE_LDT = 0x2,
	TYPE_TSS = 0x9,
	TYPE_TSS_BUSY = 0xb,
	TYPE_CALL_GATE = 0xc,
	TYPE_INT_GATE = 0xe,
	TYPE_TRAP_GATE = 0xf,
};

enum {
	SEL_RPL = 3,
	SEL_TI = 4,
	ERR_EXT = 1, /* error code: the event was not asked for by an instruction */
	ERR_IDT = 2, /* error code: the selector is an IDT vector */
};

/* Flat segments as SYSCALL and its kin load them; or in the DPL. */
enum {
	ATTR_CODE64 = 0xb | SEG_S | SEG_P | SEG_L | SEG_G,
	ATTR_CODE32 = 0xb | SEG_S | SEG_P | SEG_DB | SEG_G,
	ATTR_DATA = 0x3 | SEG_S | SEG_P | SEG_DB | SEG_G,
};

static inline bool x86_canonical(u64 address)
{
	return (u64)((i64)(address << 16) >> 16) == address;
}

static inline unsigned sel_rpl(u16 sel)
{
	return sel & SEL_RPL;
}

static inline bool sel_null(u16 sel)
{
	return !(sel & ~SEL_RPL);
}

static inline unsigned seg_dpl(const struct x86_seg *seg)
{
	return seg->attr >> SEG_DPL_SHIFT & 3;
}

static inline bool seg_is_code(const struct x86_seg *seg)
{
	return seg->attr & SEG_S && seg->attr & TYPE_CODE;
}

static inline bool seg_is_conforming(const struct x86_seg *seg)
{
	return seg_is_code(seg) && seg->attr & TYPE_CONFORMING;
}

static inline bool seg_is_writable(const struct x86_seg *seg)
{
	return (seg->attr & (SEG_S | TYPE_CODE | TYPE_RW)) == (SEG_S | TYPE_RW);
}

static inline bool seg_is_readable(const struct x86_seg *seg)
{
	return seg->attr & SEG_S && (!(seg->attr & TYPE_CODE) || seg->attr & TYPE_RW);
}

static inline int x86_gp(struct x86_cpu *cpu, u32 error)
{
	return x86_fault_code(cpu, VEC_GP, error);
}

/* CPL 0, or #GP(0). */
static inline int x86_check_cpl0(struct x86_cpu *cpu)
{
	return likely(cpu->s.cpl == 0) ? 0 : x86_gp(cpu, 0);
}

static inline int x86_load_system(struct x86_cpu *cpu, gva_t gva, unsigned size, u64 *value)
{
	return cpu->env->load(cpu, gva, size, PRIV_SYSTEM, value);
}

/* Linear address of a descriptor of this size, or false when the table ends before it. */
bool x86_desc_address(const struct x86_cpu *cpu, u16 sel, unsigned size, gva_t *address);
void x86_desc_decode(u64 desc, u16 sel, struct x86_seg *seg);
/* Reads a code or data descriptor. ext is ERR_EXT or 0, for #GP beyond the table (with vector for that fault). */
int x86_desc_read(struct x86_cpu *cpu, u16 sel, u8 vector, u32 ext, struct x86_seg *seg);
/* Reads a system descriptor: 16 bytes in long mode. raw gets the lower 8. */
int x86_desc_read_system(struct x86_cpu *cpu, u16 sel, u8 vector, struct x86_seg *seg, u64 *raw);
/* Sets the accessed bit in the table and in *seg. */
int x86_desc_touch(struct x86_cpu *cpu, struct x86_seg *seg);
/* A null SS for this CPL. */
void x86_null_ss(struct x86_seg *ss, unsigned cpl);
/* A flat segment. */
void x86_flat_seg(struct x86_seg *seg, u16 sel, u32 attr, unsigned dpl);
/* Checks that a selector may become SS at this new CPL; fills *ss and touches the descriptor. */
int x86_check_ss(struct x86_cpu *cpu, u16 sel, unsigned cpl, bool null_ok, struct x86_seg *ss);
/* RSPn (n 0..2) or, with ist 1..7, an IST entry of the 64-bit TSS. */
int x86_tss_stack(struct x86_cpu *cpu, unsigned cpl, unsigned ist, u32 ext, u64 *rsp);

int x86_pvclock_write(struct x86_cpu *cpu, u64 value);
int x86_wallclock_write(struct x86_cpu *cpu, u64 value);
/* The guest's TSC moved: the published clock is stale. */
void x86_pvclock_refresh(struct x86_cpu *cpu);
