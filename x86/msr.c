/* SPDX-License-Identifier: MIT */
/*
 * Model-specific registers: the architectural ones that Linux uses, and of the
 * others those that it reads or writes without asking whether they exist. All
 * else is #GP. Write-ignored and constant registers are data; the rest are the
 * two switches at the end.
 */
#include "x86/cpuid.h"
#include "x86/internal.h"
#include "x86/msr.h"

enum { VENDOR_ANY, VENDOR_INTEL, VENDOR_AMD };

/* Registers whose value never changes. */
struct constant {
	u32 index;
	u8 vendor;
	bool writable; /* writes are accepted and have no effect */
	u64 value;
};

static const struct constant constants[] = {
	{0x0, VENDOR_ANY, true, 0}, /* P5_MC_ADDR */
	{0x1, VENDOR_ANY, true, 0}, /* P5_MC_TYPE */
	{MSR_PLATFORM_ID, VENDOR_INTEL, false, 0}, {0x2a, VENDOR_INTEL, true, 0}, /* EBL_CR_POWERON */
	{0x35, VENDOR_INTEL, false, 0x10001}, /* CORE_THREAD_COUNT */
	{MSR_FEATURE_CONTROL, VENDOR_INTEL, false, 1}, /* locked, without VMX */
	{MSR_UCODE_WRITE, VENDOR_INTEL, true, 0}, {MSR_UCODE_REV, VENDOR_INTEL, true, 0x100000000},
	{MSR_UCODE_REV, VENDOR_AMD, true, 0x01000065}, {MSR_PLATFORM_INFO, VENDOR_INTEL, false, 0},
	{MSR_MTRR_CAP, VENDOR_ANY, false, 8 | BIT(8) | BIT(10)}, /* variable ones, FIX, WC */
	{MSR_MISC_FEATURES_ENABLES, VENDOR_INTEL, false, 0},
	{MSR_MCG_CAP, VENDOR_ANY, false, 0}, /* no banks */
	{MSR_MCG_STATUS, VENDOR_ANY, true, 0}, {MSR_PERF_STATUS, VENDOR_INTEL, false, 0},
	{MSR_DEBUGCTL, VENDOR_ANY, true, 0}, /* no last-branch records */
	{0x1db, VENDOR_ANY, false, 0}, /* LASTBRANCHFROMIP */
	{0x1dc, VENDOR_ANY, false, 0}, /* LASTBRANCHTOIP */
	{0x1dd, VENDOR_ANY, false, 0}, /* LASTINTFROMIP */
	{0x1de, VENDOR_ANY, false, 0}, /* LASTINTTOIP */
	{0xc0010010, VENDOR_AMD, true, 0}, /* SYSCFG */
	{0xc0010015, VENDOR_AMD, true, BIT(24)}, /* HWCR: the TSC counts at P0's rate */
	{0xc001001a, VENDOR_AMD, false, 0}, /* TOP_MEM */
	{0xc001001d, VENDOR_AMD, false, 0}, /* TOP_MEM2 */
	{0xc001001f, VENDOR_AMD, true, 0}, /* NB_CFG */
	{0xc0010020, VENDOR_AMD, true, 0}, /* PATCH_LOADER */
	{0xc0010055, VENDOR_AMD, true, 0}, /* INT_PENDING_MSG */
	{0xc0010058, VENDOR_AMD, false, 0}, /* MMIO_CONF_BASE */
	{0xc0010114, VENDOR_AMD, false, BIT(4) | BIT(3)}, /* VM_CR: SVM disabled, locked */
	{0xc0010140, VENDOR_AMD, false, 0}, /* OSVW_ID_LENGTH */
	{0xc0010141, VENDOR_AMD, false, 0}, /* OSVW_STATUS */
	{0xc0011020, VENDOR_AMD, true, 0}, /* LS_CFG */
	{0xc0011021, VENDOR_AMD, true, 0}, /* IC_CFG */
	{0xc0011022, VENDOR_AMD, true, 0}, /* DC_CFG */
	{0xc0011029, VENDOR_AMD, true, BIT(1)}, /* DE_CFG: LFENCE serializes */
	{0xc001102a, VENDOR_AMD, true, 0}, /* BU_CFG2 */
};

static const struct constant *find_constant(const struct x86_cpu *cpu, u32 index)
{
	unsigned vendor = cpu->cpuid->amd ? VENDOR_AMD : VENDOR_INTEL;

	for (unsigned i = 0; i < ARRAY_SIZE(constants); i++)
		if (constants[i].index == index &&
			(constants[i].vendor == VENDOR_ANY || constants[i].vendor == vendor))
			return &constants[i];
	return NULL;
}

static bool is_apic(u32 index)
{
	return index == MSR_APIC_BASE || index == MSR_TSC_DEADLINE ||
	       (index >= MSR_X2APIC && index <= MSR_X2APIC_END);
}

/* ---- memory types ---- */

/* UC, WC, WT, WP, WB. */
static bool mtrr_type_ok(u64 type)
{
	return type < 7 && 0x73 >> type & 1;
}

/* PAT has UC- as well. */
static bool pat_ok(u64 value)
{
	for (unsigned i = 0; i < 8; i++, value >>= 8)
		if ((value & 0xff) != 7 && !mtrr_type_ok(value & 0xff))
			return false;
	return true;
}

/* The slot of a fixed-range MTRR (0x250, 0x258, 0x259, 0x268..0x26f), or -1. */
static int mtrr_fixed_slot(u32 index)
{
	if (index == 0x250)
		return 0;
	if (index == 0x258 || index == 0x259)
		return (int)(index - 0x258 + 1);
	return index >= 0x268 ? (int)(index - 0x268 + 3) : -1;
}

static u64 *find_mtrr(struct x86_state *s, u32 index)
{
	int slot;

	if (index >= MSR_MTRR_VAR && index <= MSR_MTRR_VAR_END)
		return &s->mtrr_var[index - MSR_MTRR_VAR];
	if (index == MSR_MTRR_DEF_TYPE)
		return &s->mtrr_def_type;
	if (index < MSR_MTRR_FIXED || index > MSR_MTRR_FIXED_END)
		return NULL;
	slot = mtrr_fixed_slot(index);
	return slot < 0 ? NULL : &s->mtrr_fixed[slot];
}

static bool mtrr_fixed_ok(u64 value)
{
	for (unsigned i = 0; i < 8; i++, value >>= 8)
		if (!mtrr_type_ok(value & 0xff))
			return false;
	return true;
}

static bool mtrr_ok(const struct x86_cpu *cpu, u32 index, u64 value)
{
	u64 address = (BIT(x86_phys_bits(cpu)) - 1) & PAGE_MASK;

	if (index == MSR_MTRR_DEF_TYPE)
		return !(value & ~0xcffull) && mtrr_type_ok(value & 0xff);
	if (index > MSR_MTRR_VAR_END)
		return mtrr_fixed_ok(value);
	if (index & 1)
		return !(value & ~(address | BIT(11)));
	return !(value & ~(address | 0xff)) && mtrr_type_ok(value & 0xff);
}

static int write_mtrr(struct x86_cpu *cpu, u64 *mtrr, u32 index, u64 value)
{
	if (!mtrr_ok(cpu, index, value))
		return x86_gp(cpu, 0);
	*mtrr = value;
	return 0;
}

/* ---- those with consequences ---- */

static int write_efer(struct x86_cpu *cpu, u64 value)
{
	struct x86_state *s = &cpu->s;
	u64 changed;

	/* LMA follows LME and CR0.PG; what is written to it is ignored. */
	value = (value & ~EFER_LMA) | (s->efer & EFER_LMA);
	changed = value ^ s->efer;
	if (value & ~cpu->cpuid->efer_allowed || (changed & EFER_LME && s->cr0 & CR0_PG))
		return x86_gp(cpu, 0);
	s->efer = value;
	if (changed & EFER_NXE)
		cpu->env->flush(cpu, FLUSH_ALL, 0);
	if (changed)
		cpu->env->mode_changed(cpu);
	return 0;
}

static void move_tsc(struct x86_cpu *cpu, u64 delta)
{
	if (!delta)
		return;
	cpu->s.tsc_offset += delta;
	cpu->s.tsc_adjust += delta;
	x86_pvclock_refresh(cpu);
}

static int write_canonical(struct x86_cpu *cpu, u64 *msr, u64 value)
{
	if (unlikely(!x86_canonical(value)))
		return x86_gp(cpu, 0);
	*msr = value;
	return 0;
}

static int write_narrow(struct x86_cpu *cpu, u64 *msr, u64 value)
{
	if (value >> 32)
		return x86_gp(cpu, 0);
	*msr = value;
	return 0;
}

static int write_pat(struct x86_cpu *cpu, u64 value)
{
	if (!pat_ok(value))
		return x86_gp(cpu, 0);
	cpu->s.pat = value;
	return 0;
}

static int write_other(struct x86_cpu *cpu, u32 index, u64 value)
{
	const struct constant *constant = find_constant(cpu, index);
	u64 *mtrr = find_mtrr(&cpu->s, index);

	if (mtrr)
		return write_mtrr(cpu, mtrr, index, value);
	return constant && constant->writable ? 0 : x86_gp(cpu, 0);
}

static int read_other(struct x86_cpu *cpu, u32 index, u64 *value)
{
	const struct constant *constant = find_constant(cpu, index);
	const u64 *mtrr = find_mtrr(&cpu->s, index);

	if (!mtrr && !constant)
		return x86_gp(cpu, 0);
	*value = mtrr ? *mtrr : constant->value;
	return 0;
}

/* Registers that are plain state when read. */
static const u64 *find_state(const struct x86_cpu *cpu, u32 index)
{
	const struct x86_state *s = &cpu->s;

	switch (index) {
	case MSR_TSC_ADJUST:
		return &s->tsc_adjust;
	case MSR_SYSENTER_CS:
		return &s->sysenter_cs;
	case MSR_SYSENTER_ESP:
		return &s->sysenter_esp;
	case MSR_SYSENTER_EIP:
		return &s->sysenter_eip;
	case MSR_MISC_ENABLE:
		return &s->misc_enable;
	case MSR_PAT:
		return &s->pat;
	case MSR_EFER:
		return &s->efer;
	case MSR_STAR:
		return &s->star;
	case MSR_LSTAR:
		return &s->lstar;
	case MSR_CSTAR:
		return &s->cstar;
	case MSR_SFMASK:
		return &s->sfmask;
	case MSR_FS_BASE:
		return &s->seg[SEG_FS].base;
	case MSR_GS_BASE:
		return &s->seg[SEG_GS].base;
	case MSR_KERNEL_GS_BASE:
		return &s->kernel_gs_base;
	case MSR_TSC_AUX:
		return &s->tsc_aux;
	case MSR_KVM_SYSTEM_TIME:
		return &cpu->pvclock_msr;
	}
	return NULL;
}

int x86_rdmsr(struct x86_cpu *cpu, u32 index, u64 *value)
{
	const u64 *state;

	if (x86_check_cpl0(cpu))
		return -1;
	if (is_apic(index))
		return cpu->env->rdmsr(cpu, index, value);
	state = find_state(cpu, index);
	if (state) {
		*value = *state;
		return 0;
	}
	switch (index) {
	case MSR_TSC:
		*value = cpu->env->host_tsc(cpu) + cpu->s.tsc_offset;
		return 0;
	case MSR_KVM_WALL_CLOCK:
		*value = 0;
		return 0;
	case MSR_ARCH_CAPABILITIES:
		*value = cpu->cpuid->arch_capabilities;
		return *value ? 0 : x86_gp(cpu, 0);
	}
	return read_other(cpu, index, value);
}

static int write_plain(struct x86_cpu *cpu, u32 index, u64 value)
{
	struct x86_state *s = &cpu->s;

	switch (index) {
	case MSR_TSC:
		move_tsc(cpu, value - (cpu->env->host_tsc(cpu) + s->tsc_offset));
		return 0;
	case MSR_TSC_ADJUST:
		move_tsc(cpu, value - s->tsc_adjust);
		return 0;
	case MSR_MISC_ENABLE:
		s->misc_enable = value;
		return 0;
	case MSR_STAR:
		s->star = value;
		return 0;
	case MSR_PAT:
		return write_pat(cpu, value);
	case MSR_EFER:
		return write_efer(cpu, value);
	case MSR_KVM_SYSTEM_TIME:
		return x86_pvclock_write(cpu, value);
	case MSR_KVM_WALL_CLOCK:
		return x86_wallclock_write(cpu, value);
	}
	return write_other(cpu, index, value);
}

int x86_wrmsr(struct x86_cpu *cpu, u32 index, u64 value)
{
	struct x86_state *s = &cpu->s;

	if (x86_check_cpl0(cpu))
		return -1;
	if (is_apic(index))
		return cpu->env->wrmsr(cpu, index, value);
	switch (index) {
	case MSR_FS_BASE:
		return write_canonical(cpu, &s->seg[SEG_FS].base, value);
	case MSR_GS_BASE:
		return write_canonical(cpu, &s->seg[SEG_GS].base, value);
	case MSR_KERNEL_GS_BASE:
		return write_canonical(cpu, &s->kernel_gs_base, value);
	case MSR_LSTAR:
		return write_canonical(cpu, &s->lstar, value);
	case MSR_CSTAR:
		return write_canonical(cpu, &s->cstar, value);
	case MSR_SYSENTER_ESP:
		return write_canonical(cpu, &s->sysenter_esp, value);
	case MSR_SYSENTER_EIP:
		return write_canonical(cpu, &s->sysenter_eip, value);
	case MSR_SYSENTER_CS:
		return write_narrow(cpu, &s->sysenter_cs, value);
	case MSR_SFMASK:
		return write_narrow(cpu, &s->sfmask, value);
	case MSR_TSC_AUX:
		return write_narrow(cpu, &s->tsc_aux, value);
	}
	return write_plain(cpu, index, value);
}
