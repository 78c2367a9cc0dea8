/* SPDX-License-Identifier: MIT */
/*
 * A primary VM that attacks the hypervisor: its memory, its registers, its ports.
 * Whatever it tries, the next check still runs.
 */
#include "lapic.h"

enum { HV_BASE = 0x100000, HV_END = 0x1000000 };

/* ---- identity ---- */
static void identity(void)
{
	struct cpuid c = cpuid(0x40000000, 0);

	check("signature", c.ebx == 0x6c6c754d && c.ecx == 0x4d6e6f69 && c.edx == 0x696c6c75, true);
	check("svm-hidden", cpuid(0x80000001, 0).ecx & (BIT(2) | BIT(12)), 0);
	check("svm-leaf-hidden", cpuid(0x8000000a, 0).eax | cpuid(0x8000000a, 0).ebx | cpuid(0x8000000a, 0).edx, 0);
	check("osxsave-is-ours", !!(cpuid(1, 0).ecx & BIT(27)), !!(rd_cr4() & CR4_OSXSAVE));
	wr_cr4(rd_cr4() & ~CR4_OSXSAVE);
	check("osxsave-follows", cpuid(1, 0).ecx & BIT(27), 0);
	wr_cr4(rd_cr4() | CR4_OSXSAVE);
	check("efer-svme-reads-0", rd_msr(MSR_EFER) & BIT(12), 0);
}

/* ---- instructions ---- */
SNIP_IP(t_vmrun, "xorl %eax, %eax", "vmrun %rax");
SNIP_IP(t_vmload, "xorl %eax, %eax", "vmload %rax");
SNIP_IP(t_vmsave, "xorl %eax, %eax", "vmsave %rax");
SNIP_IP(t_stgi, "", "stgi");
SNIP_IP(t_clgi, "", "clgi");
SNIP_IP(t_skinit, "", "skinit %eax");
SNIP_IP(t_invlpga, "", "invlpga %rax, %ecx");
SNIP_IP(t_vmmcall, "xorl %edi, %edi; xorl %eax, %eax", "vmmcall");
SNIP_IP(t_vmcall, "", "vmcall");
SNIP(t_invd, "invd");
SNIP(t_step, "pushfq; orq $0x100, (%rsp); popfq; cpuid; nop; nop");

static u64 step_rip[8];
static unsigned steps;

static bool on_step(struct frame *f)
{
	if (steps < 8)
		step_rip[steps] = f->rip;
	if (++steps >= 3)
		f->rflags &= ~(u64)FL_TF;
	return true;
}

static void instructions(void)
{
	EXPECT(t_vmrun, 0, 0, VEC_UD, 0);
	EXPECT(t_vmload, 0, 0, VEC_UD, 0);
	EXPECT(t_vmsave, 0, 0, VEC_UD, 0);
	EXPECT(t_stgi, 0, 0, VEC_UD, 0);
	EXPECT(t_clgi, 0, 0, VEC_UD, 0);
	EXPECT(t_skinit, 0, 0, VEC_UD, 0);
	EXPECT(t_invlpga, 0, 0, VEC_UD, 0);
	EXPECT(t_vmmcall, 0, 0, VEC_UD, 0);
	EXPECT(t_vmcall, 0, 0, VEC_UD, 0);
	check("invd", guard(t_invd, 0, 0), false);
	hooks[VEC_DB] = on_step;
	guard(t_step, 0, 0);
	hooks[VEC_DB] = NULL;
	check("step-over-cpuid", step_rip[1] - step_rip[0], 1); /* from behind CPUID to behind the NOP */
}

/* ---- memory ---- */
static void memory(void)
{
	volatile u64 *hv = (u64 *)HV_BASE, *end = (u64 *)HV_END;
	u64 sum = 0;

	for (volatile u64 *p = hv; p < end; p++)
		sum |= *p;
	check("hv-reads-zero", sum, 0);
	for (volatile u64 *p = hv; p < end; p++)
		*p = 0x4141414141414141;
	check("hv-written", cpuid(0x40000000, 0).ebx, 0x6c6c754d);
	for (u64 i = 0; i < PAGE_SIZE / 8; i++)
		hv[i] = 0xcccccccccccccccc;
	guard((void *)(HV_BASE + 0x3000), 0, 0);
	check("hv-executed", cpuid(0x40000000, 0).ebx, 0x6c6c754d);
}

/* Page tables in the hypervisor's memory: the walk finds the sink. */
static void tables(void)
{
	u64 old = *pte_at(VTEST, 4);

	*pte_at(VTEST, 4) = 0x200000 | P | W | U;
	flush();
	check("walk-in-hv", guard((void *)t_invd, 0, 0) || cpuid(0x40000000, 0).ebx != 0x6c6c754d, false);
	*pte_at(VTEST, 4) = old;
	flush();
}

/* Addresses that nothing is at, up to the end and beyond. */
static void far_memory(void)
{
	u64 sum = 0;

	for (unsigned bit = 32; bit < 40; bit++) {
		map(VTEST, BIT(bit) + 0x5000, P | W | PCD);
		sum += *(volatile u32 *)VTEST;
		*(volatile u32 *)VTEST = 1;
	}
	unmap(VTEST);
	check("far-memory", cpuid(0x40000000, 0).ebx, 0x6c6c754d);
}

/* ---- MSRs ---- */
static void read_back(u64 index, u64 unused)
{
	(void)unused;
	wr_msr(index, rd_msr(index));
}

static void write_value(u64 index, u64 value)
{
	wr_msr(index, value);
}

static void read_only(u64 index, u64 unused)
{
	(void)unused;
	rd_msr(index);
}

static void check_gp(const char *name, void *fn, u64 index, u64 value)
{
	check(name, guard(fn, index, value) ? last.vec : 0, VEC_GP);
}

static void msrs(void)
{
	static const u32 base[] = {0, 0xc0000000, 0xc0010000};
	static const u32 fixed[] = {0xc0010010, 0xc0010016, 0xc001001a, 0xc001001d, 0xc0010058, 0xc0010111,
		0xc0010112, 0xc0010113, 0xc0010114, 0xc0010020};

	check_gp("efer-svme", write_value, MSR_EFER, rd_msr(MSR_EFER) | BIT(12));
	check_gp("efer-reserved", write_value, MSR_EFER, rd_msr(MSR_EFER) | BIT(63));
	check_gp("efer-lme-off", write_value, MSR_EFER, rd_msr(MSR_EFER) & ~EFER_LME);
	check_gp("hsave-read", read_only, 0xc0010117, 0);
	check_gp("hsave-write", write_value, 0xc0010117, 0x200000);
	check_gp("apic-base-moved", write_value, MSR_APIC_BASE, HV_BASE | 0x900);
	check_gp("apic-off", write_value, MSR_APIC_BASE, rd_msr(MSR_APIC_BASE) & ~BIT(11));
	check("vm-cr", rd_msr(0xc0010114), 0x18);
	for (unsigned i = 0; i < ARRAY_SIZE(fixed); i++)
		guard(write_value, fixed[i], ~0ull);
	for (unsigned i = 0; i < 3; i++) {
		for (u32 index = 0; index < 0x2000; index++)
			guard(read_back, base[i] + index, 0);
	}
	guard(read_back, 0x4b564d00, 0);
	guard(read_back, 0xffffffff, 0);
	check("msrs-survived", cpuid(0x40000000, 0).ebx, 0x6c6c754d);
}

/* ---- control registers ---- */
static void set_cr0(u64 value, u64 unused)
{
	(void)unused;
	wr_cr0(value);
}

static void set_cr4(u64 value, u64 unused)
{
	(void)unused;
	wr_cr4(value);
}

static void set_xcr0(u64 value, u64 unused)
{
	(void)unused;
	__asm__ volatile("xsetbv" : : "c"(0), "a"((u32)value), "d"((u32)(value >> 32)));
}

static void control_registers(void)
{
	u64 cr0 = rd_cr0(), cr4 = rd_cr4();

	for (unsigned bit = 0; bit < 64; bit++) {
		if (BIT(bit) != CR0_PG && BIT(bit) != CR0_PE && BIT(bit) != CR0_WP)
			guard(set_cr0, cr0 ^ BIT(bit), 0);
		wr_cr0(cr0);
	}
	for (unsigned bit = 0; bit <= 21;
		bit++) { /* QEMU 7.2 hangs on bits that it has not, also without us */
		if (0x3707df & ~CR4_PAE & BIT(bit))
			guard(set_cr4, cr4 ^ BIT(bit), 0);
		cpuid(1, 0);
		wr_cr4(cr4);
	}
	for (u64 xcr0 = 0; xcr0 < 0x400; xcr0++)
		guard(set_xcr0, xcr0, 0);
	guard(set_xcr0, 7, 0);
	for (unsigned i = 0; i < 16; i++)
		wr_cr8(i);
	wr_cr8(0);
	check("control-registers-survived", cpuid(0x40000000, 0).ebx, 0x6c6c754d);
}

/* ---- ports ---- */
SNIP(t_insb, "movl $0xcf8, %edx; movl $4, %ecx; leaq -64(%rsp), %rdi; rep insb");
SNIP(t_outsl, "movl $0xcfc, %edx; movl $4, %ecx; leaq -64(%rsp), %rsi; rep outsl");

static void ports(void)
{
	for (u32 port = 0; port < 0x10000; port++)
		inb(port);
	for (u32 port = 0xcf0; port < 0xd00; port++)
		inl(port);
	for (u32 i = 0; i < 256; i++) {
		outl(0xcf8, 0x80000000 | i << 8);
		inl(0xcfc);
		inl(0xcfd);
		inb(0xcff);
	}
	outb(0x92, 0);
	check("a20-stays", cpuid(0x40000000, 0).ebx, 0x6c6c754d);
	guard(t_insb, 0, 0);
	guard(t_outsl, 0, 0);
	check("ports-survived", cpuid(0x40000000, 0).ebx, 0x6c6c754d);
}

/* The chipset's registers say where DRAM, ECAM and SMRAM are: ECAM over the hypervisor would be its end. */
static void chipset(void)
{
	outl(0xcf8, 0x80000060); /* PCIEXBAR of a q35's host bridge */
	outl(0xcfc, 1);
	outl(0xcf8, 0x8000009c);
	outb(0xcfd, 0x4a); /* SMRAMC: open */
	*(volatile u32 *)0xb0000060 = 1; /* the same by ECAM, where QEMU's firmware puts it */
	*(volatile u32 *)0xb00f80f0 = 1; /* and RCBA of the ISA bridge */
	check("chipset-survived", cpuid(0x40000000, 0).ebx, 0x6c6c754d);
	outl(0xcf8, 0x80000060);
	check("ecam-stays", inl(0xcfc) != 1, true);
}

/* ---- NMIs ---- */
static volatile unsigned nmis;

static bool on_nmi(struct frame *f)
{
	(void)f;
	nmis++;
	return true;
}

static void nmi(void)
{
	enum { STORM = 2000 };

	hooks[VEC_NMI] = on_nmi;
	lapic_write(0xf0, 0x1ff);
	for (unsigned i = 0; i < 10; i++) {
		unsigned before = nmis;

		lapic_write(ICR, ICR_NMI | ICR_SELF);
		for (unsigned spin = 0; nmis == before && spin < 100000; spin++)
			__asm__ volatile("pause");
	}
	check("nmis", nmis, 10);
	for (unsigned i = 0; i < STORM; i++)
		lapic_write(ICR, ICR_NMI | ICR_SELF);
	check("nmi-storm", nmis > 10 && nmis <= STORM + 10, true);
}

const struct section sections[] = {{"identity", identity}, {"instructions", instructions}, {"memory", memory},
	{"tables", tables}, {"far", far_memory}, {"msrs", msrs}, {"control", control_registers},
	{"ports", ports}, {"chipset", chipset}, {"nmi", nmi}, {NULL, NULL}};
