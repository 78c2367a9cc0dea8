/* SPDX-License-Identifier: MIT */
/* The first vCPU's state at a kernel's entry point, as boot protocols ask for it. */
#include <errno.h>
#include <string.h>

#include "boot/boot.h"
#include "boot/layout.h"
#include "host/tsc.h"

/* Selectors as the Linux boot protocol fixes them. */
#define SEL_CODE 0x10
#define SEL_DATA 0x18
#define SEL_TSS 0x20

#define ATTR_CODE 0x9b /* present, code, readable, accessed */
#define ATTR_DATA 0x93 /* present, data, writable, accessed */
#define ATTR_TSS 0x8b /* present, busy 32- or 64-bit TSS */
#define ATTR_LDT 0x82

#define PTE_P BIT(0)
#define PTE_W BIT(1)
#define PTE_PS BIT(7)

#define TABLES 4 /* page directories: one GiB each */

/* What every CPU has after its firmware: SDM vol. 3, table 10-1, with MTRRs on and write-back. */
static void reset_state(struct x86_state *regs)
{
	*regs = (struct x86_state){0};
	regs->rflags = FL_ONE;
	regs->xcr0 = 1;
	regs->dr[6] = 0xffff0ff0;
	regs->dr[7] = 0x400;
	regs->pat = 0x0007040600070406;
	regs->mtrr_def_type = BIT(11) | 6;
	regs->misc_enable = 1;
	regs->tsc_offset = 0 - tsc_read();
	regs->gdt.limit = regs->idt.limit = 0xffff;
	regs->seg[SEG_LDTR] = (struct x86_seg){.attr = ATTR_LDT, .limit = 0xffff};
	regs->seg[SEG_TR] = (struct x86_seg){.sel = SEL_TSS, .attr = ATTR_TSS, .limit = 0x67};
}

static void flat_segments(struct x86_state *regs, u32 code_bits)
{
	static const u8 data[] = {SEG_ES, SEG_SS, SEG_DS, SEG_FS, SEG_GS};

	regs->seg[SEG_CS] =
		(struct x86_seg){.sel = SEL_CODE, .attr = ATTR_CODE | SEG_G | code_bits, .limit = UINT32_MAX};
	for (size_t i = 0; i < ARRAY_SIZE(data); i++)
		regs->seg[data[i]] = (struct x86_seg){
			.sel = SEL_DATA, .attr = ATTR_DATA | SEG_G | SEG_DB, .limit = UINT32_MAX};
}

/* A flat segment's descriptor with these SEG_ attributes. */
static u64 descriptor(u32 attr)
{
	return 0x000f00000000ffff | (u64)attr << 40;
}

static int put_gdt(struct boot *boot, u32 code_bits)
{
	u64 gdt[6] = {
		[SEL_CODE / 8] = descriptor(ATTR_CODE | SEG_G | code_bits),
		[SEL_DATA / 8] = descriptor(ATTR_DATA | SEG_G | SEG_DB),
		[SEL_TSS / 8] = (u64)ATTR_TSS << 40 | 0x67,
	};
	void *to = boot_ram(boot, BOOT_GDT, sizeof(gdt));

	if (!to)
		return err_set(boot->err, ENOSPC, "no memory for the boot GDT");
	memcpy(to, gdt, sizeof(gdt));
	boot->regs->gdt = (struct x86_table){.base = BOOT_GDT, .limit = sizeof(gdt) - 1};
	return 0;
}

static int put_page_tables(struct boot *boot)
{
	u64 *table = boot_ram(boot, BOOT_PAGE_TABLES, (2 + TABLES) * PAGE_SIZE);
	u64 *pdpt, *directory;

	if (!table)
		return err_set(boot->err, ENOSPC, "no memory for the boot page tables");
	pdpt = table + 512;
	directory = pdpt + 512;
	table[0] = (BOOT_PAGE_TABLES + PAGE_SIZE) | PTE_P | PTE_W;
	for (u64 i = 0; i < TABLES; i++)
		pdpt[i] = (BOOT_PAGE_TABLES + (2 + i) * PAGE_SIZE) | PTE_P | PTE_W;
	for (u64 i = 0; i < TABLES * 512; i++)
		directory[i] = i * MIB(2) | PTE_P | PTE_W | PTE_PS;
	return 0;
}

int entry_long_mode(struct boot *boot, gpa_t rip, u64 rsi)
{
	struct x86_state *regs = boot->regs;
	int ret;

	reset_state(regs);
	flat_segments(regs, SEG_L);
	regs->cr0 = CR0_PE | CR0_ET | CR0_NE | CR0_PG;
	regs->cr3 = BOOT_PAGE_TABLES;
	regs->cr4 = CR4_PAE;
	regs->efer = EFER_LME | EFER_LMA;
	regs->rip = rip;
	regs->gpr[RSI] = rsi;
	regs->gpr[RSP] = BOOT_STACK;
	ret = put_gdt(boot, SEG_L);
	return ret ? ret : put_page_tables(boot);
}

int entry_protected_mode(struct boot *boot, gpa_t rip, u64 rbx)
{
	struct x86_state *regs = boot->regs;

	reset_state(regs);
	flat_segments(regs, SEG_DB);
	regs->cr0 = CR0_PE | CR0_ET;
	regs->rip = rip;
	regs->gpr[RBX] = rbx;
	regs->gpr[RSP] = BOOT_STACK;
	return put_gdt(boot, SEG_DB);
}
