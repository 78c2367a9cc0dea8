/* SPDX-License-Identifier: MIT */
/*
 * A CPU in 64-bit mode over 8 MiB of memory for the tests of x86/: identity
 * page tables, a GDT, an IDT, a TSS, and an environment that reads them
 * through x86_walk as an engine would.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "x86/cpuid.h"

#define MAYBE_UNUSED __attribute__((unused))

enum {
	RAM_SIZE = 8 << 20,
	/* page tables */
	PML4 = 0x1000,
	PDPT = 0x2000,
	PD = 0x3000,
	PT = 0x4000, /* the first 2 MiB in 4 KiB pages; the rest are 2 MiB pages */
	/* tables and stacks, all below 2 MiB */
	GDT = 0x10000,
	IDT = 0x12000,
	TSS = 0x14000,
	LDT = 0x15000,
	STACK = 0x20000, /* current */
	STACK_RSP0 = 0x30000,
	STACK_IST1 = 0x40000,
	HANDLER = 0x50000,
	/* selectors */
	KCODE = 0x10,
	KDATA = 0x18,
	UCODE32 = 0x23,
	UDATA = 0x2b,
	UCODE64 = 0x33,
	TSS_SEL = 0x40,
	LDT_SEL = 0x50,
	CONFORMING = 0x60,
	GATE_SEL = 0x70,
	SPARE = 0x80, /* for a test's own descriptor */
	GDT_LIMIT = 0xff,
};

/* Attribute words as in struct x86_seg. */
enum {
	A_CODE64 = 0xa09b,
	A_CODE32 = 0xc09b,
	A_DATA = 0xc093,
	A_USER = 0x60,
};

static struct fixture {
	u8 ram[RAM_SIZE] __attribute__((aligned(4096)));
	struct x86_cpu cpu;
	struct x86_cpuid_table table;
	unsigned flushes, mode_changes;
	enum x86_flush flush_kind;
	u64 flush_gva, cr8, tsc;
	u64 apic_msr;
} fx;

static MAYBE_UNUSED u64 get64(u64 at)
{
	u64 v;

	memcpy(&v, fx.ram + at, 8);
	return v;
}

static MAYBE_UNUSED void put64(u64 at, u64 v)
{
	memcpy(fx.ram + at, &v, 8);
}

static MAYBE_UNUSED void put32(u64 at, u32 v)
{
	memcpy(fx.ram + at, &v, 4);
}

static int fx_access(struct x86_cpu *cpu, gva_t gva, unsigned size, enum x86_priv priv, bool write, u8 *data)
{
	bool user = priv == PRIV_CPL && cpu->s.cpl == 3;
	bool smap_ok = user || (priv == PRIV_CPL && cpu->s.rflags & FL_AC);

	for (unsigned i = 0; i < size; i++) {
		struct x86_walk w;

		if (x86_walk(cpu, gva + i, write ? ACCESS_WRITE : ACCESS_READ, user, smap_ok, &w))
			return -1;
		assert_true(w.gpa < RAM_SIZE);
		if (write)
			fx.ram[w.gpa] = data[i];
		else
			data[i] = fx.ram[w.gpa];
	}
	return 0;
}

static int fx_load(struct x86_cpu *cpu, gva_t gva, unsigned size, enum x86_priv priv, u64 *value)
{
	u64 v = 0;

	if (fx_access(cpu, gva, size, priv, false, (u8 *)&v))
		return -1;
	*value = v;
	return 0;
}

static int fx_store(struct x86_cpu *cpu, gva_t gva, unsigned size, enum x86_priv priv, u64 value)
{
	return fx_access(cpu, gva, size, priv, true, (u8 *)&value);
}

static u64 *fx_entry(struct x86_cpu *cpu, gpa_t gpa)
{
	(void)cpu;
	return gpa < RAM_SIZE ? (u64 *)(fx.ram + gpa) : NULL;
}

static void fx_flush(struct x86_cpu *cpu, enum x86_flush kind, gva_t gva)
{
	(void)cpu;
	fx.flushes++;
	fx.flush_kind = kind;
	fx.flush_gva = gva;
}

static void fx_mode_changed(struct x86_cpu *cpu)
{
	(void)cpu;
	fx.mode_changes++;
}

static int fx_rdmsr(struct x86_cpu *cpu, u32 index, u64 *value)
{
	(void)cpu;
	*value = fx.apic_msr ^ index;
	return 0;
}

static int fx_wrmsr(struct x86_cpu *cpu, u32 index, u64 value)
{
	(void)cpu;
	fx.apic_msr = value ^ index;
	return 0;
}

static u64 fx_cr8(struct x86_cpu *cpu)
{
	(void)cpu;
	return fx.cr8;
}

static void fx_set_cr8(struct x86_cpu *cpu, u64 value)
{
	(void)cpu;
	fx.cr8 = value;
}

static u64 fx_host_tsc(struct x86_cpu *cpu)
{
	(void)cpu;
	return fx.tsc;
}

static bool fx_write_phys(struct x86_cpu *cpu, gpa_t gpa, const void *data, size_t len)
{
	(void)cpu;
	if (gpa > RAM_SIZE || len > RAM_SIZE - gpa)
		return false;
	memcpy(fx.ram + gpa, data, len);
	return true;
}

static const struct x86_env fx_env = {
	.load = fx_load,
	.store = fx_store,
	.entry = fx_entry,
	.flush = fx_flush,
	.mode_changed = fx_mode_changed,
	.rdmsr = fx_rdmsr,
	.wrmsr = fx_wrmsr,
	.cr8 = fx_cr8,
	.set_cr8 = fx_set_cr8,
	.host_tsc = fx_host_tsc,
	.write_phys = fx_write_phys,
};

/* Writes a descriptor; limit is in the unit that the attributes say. */
static MAYBE_UNUSED void put_desc(u64 table, u16 sel, u32 base, u32 limit, u32 attr)
{
	u64 d = (limit & 0xffff) | (u64)(base & 0xffffff) << 16 | (u64)attr << 40 |
		(u64)(limit >> 16 & 15) << 48 | (u64)(base >> 24) << 56;

	put64(table + (sel & ~7u), d);
}

static MAYBE_UNUSED void put_system_desc(u16 sel, u64 base, u32 limit, u32 attr)
{
	put_desc(GDT, sel, (u32)base, limit, attr);
	put64(GDT + (sel & ~7u) + 8, base >> 32);
}

/* attr: 0x8e interrupt gate, 0x8f trap gate, plus the DPL. */
static MAYBE_UNUSED void put_idt(u8 vector, u16 sel, u64 rip, unsigned ist, u32 attr)
{
	put64(IDT + vector * 16u, (rip & 0xffff) | (u64)sel << 16 | (u64)ist << 32 | (u64)attr << 40 |
					  (rip >> 16 & 0xffff) << 48);
	put64(IDT + vector * 16u + 8, rip >> 32);
}

static MAYBE_UNUSED void fx_pages(void)
{
	put64(PML4, PDPT | 7);
	put64(PDPT, PD | 7);
	put64(PD, PT | 7);
	for (u64 i = 1; i < 4; i++)
		put64(PD + 8 * i, i << 21 | 0x87);
	for (u64 i = 0; i < 512; i++)
		put64(PT + 8 * i, i << 12 | 7);
}

static void fx_descriptors(void)
{
	put_desc(GDT, KCODE, 0, 0xfffff, A_CODE64);
	put_desc(GDT, KDATA, 0, 0xfffff, A_DATA);
	put_desc(GDT, UCODE32, 0, 0xfffff, A_CODE32 | A_USER);
	put_desc(GDT, UDATA, 0, 0xfffff, A_DATA | A_USER);
	put_desc(GDT, UCODE64, 0, 0xfffff, A_CODE64 | A_USER);
	put_desc(GDT, CONFORMING, 0, 0xfffff, A_CODE64 | 4);
	put_system_desc(TSS_SEL, TSS, 0x67, 0x89);
	put_system_desc(LDT_SEL, LDT, 0xff, 0x82);
	put64(TSS + 4, STACK_RSP0);
	put64(TSS + 36, STACK_IST1);
	for (unsigned v = 0; v < 256; v++)
		put_idt((u8)v, KCODE, HANDLER + v * 16u, 0, 0x8e);
}

static void fx_set_seg(unsigned seg, u16 sel, u32 attr)
{
	fx.cpu.s.seg[seg].sel = sel;
	fx.cpu.s.seg[seg].attr = attr;
	fx.cpu.s.seg[seg].limit = 0xffffffff;
	fx.cpu.s.seg[seg].base = 0;
}

static MAYBE_UNUSED void fx_user64(void)
{
	fx_set_seg(SEG_CS, UCODE64, A_CODE64 | A_USER);
	fx_set_seg(SEG_SS, UDATA, A_DATA | A_USER);
	fx.cpu.s.cpl = 3;
}

static MAYBE_UNUSED void fx_user32(void)
{
	fx_set_seg(SEG_CS, UCODE32, A_CODE32 | A_USER);
	fx_set_seg(SEG_SS, UDATA, A_DATA | A_USER);
	fx.cpu.s.cpl = 3;
}

/* A fake Intel host with AVX-512; tests of CPUID bring their own. */
static void fx_host_cpuid(u32 leaf, u32 subleaf, struct x86_cpuid_regs *r)
{
	memset(r, 0, sizeof(*r));
	switch (leaf) {
	case 0:
		*r = (struct x86_cpuid_regs){0x16, 0x756e6547, 0x6c65746e, 0x49656e69};
		break;
	case 1:
		*r = (struct x86_cpuid_regs){0x50654, 0x800, 0xffffffff, 0xffffffff};
		break;
	case 7:
		if (!subleaf)
			*r = (struct x86_cpuid_regs){0, 0xffffffff, 0xffffffff, 0xffffffff};
		break;
	case 0xd:
		if (subleaf == 2)
			*r = (struct x86_cpuid_regs){256, 576, 0, 0};
		break;
	case 0x80000000:
		r->eax = 0x80000008;
		break;
	case 0x80000001:
		*r = (struct x86_cpuid_regs){0, 0, 0xffffffff, 0xffffffff};
		break;
	case 0x80000008:
		r->eax = 0x3028;
		break;
	}
}

static MAYBE_UNUSED int fx_setup(void **state)
{
	const struct x86_host host = {.cpuid = fx_host_cpuid, .xcr0 = 7};
	struct x86_state *s = &fx.cpu.s;

	(void)state;
	memset(&fx, 0, sizeof(fx));
	x86_cpuid_init(&fx.table, &host, 1, 2000000);
	fx.cpu.env = &fx_env;
	fx.cpu.cpuid = &fx.table;
	fx.cpu.tsc_khz = 2000000;
	x86_reset(&fx.cpu);
	fx_pages();
	fx_descriptors();
	s->cr0 = CR0_PE | CR0_PG | CR0_WP | CR0_NE | CR0_ET;
	s->cr3 = PML4;
	s->cr4 = CR4_PAE | CR4_PGE;
	s->efer = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE;
	s->gdt.base = GDT;
	s->gdt.limit = GDT_LIMIT;
	s->idt.base = IDT;
	s->idt.limit = 0xfff;
	for (unsigned i = 0; i < SEG_LDTR; i++)
		fx_set_seg(i, KDATA, A_DATA);
	fx_set_seg(SEG_CS, KCODE, A_CODE64);
	s->seg[SEG_LDTR].attr = SEG_UNUSABLE;
	s->seg[SEG_TR].sel = TSS_SEL;
	s->seg[SEG_TR].base = TSS;
	s->seg[SEG_TR].limit = 0x67;
	s->seg[SEG_TR].attr = 0x8b;
	s->gpr[RSP] = STACK;
	s->rip = 0x100000;
	s->rflags = FL_ONE | FL_IF;
	return 0;
}

#define assert_fault(call, vec, err)                                                                         \
	do {                                                                                                 \
		assert_int_equal(call, -1);                                                                  \
		assert_int_equal(fx.cpu.fault.vector, vec);                                                  \
		assert_int_equal(fx.cpu.fault.error, err);                                                   \
	} while (0)
#define test(f) cmocka_unit_test_setup(f, fx_setup)
