/* SPDX-License-Identifier: MIT */
/*
 * vCPUs of any VM: their making, and their state in and out with the checks that
 * a CPU makes (APM vol. 2, 15.5.1 "Canonicalization and consistency checks").
 */
#include <errno.h>

#include "hv/cpu.h"
#include "hv/domain.h"
#include "x86/insn.h"
#include "hv/page.h"
#include "lib/string.h"
#include "hv/xstate.h"
#include "x86/state.h"

enum { ATTR_L = 1 << 9, ATTR_DB = 1 << 10 }; /* struct control_segment */

#define RFLAGS_KNOWN 0x3f7fd7ull

#define CR0_KNOWN                                                                                            \
	(CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD | CR0_PG)

static struct {
	u64 cr4, efer, spec_ctrl; /* bits that this machine's CPUs have */
	u64 physical; /* addresses beyond */
} known;

static u32 max_extended(void)
{
	return cpuid(0x80000000, 0).eax;
}

static u64 known_cr4(void)
{
	struct cpuid one = cpuid(1, 0), seven = cpuid(7, 0);
	u64 cr4 = CR4_VME | CR4_PVI | CR4_TSD | CR4_DE | CR4_PSE | CR4_PAE | CR4_MCE | CR4_PGE | CR4_PCE |
		  CR4_OSFXSR | CR4_OSXMMEXCPT;

	if (cpuid(0, 0).eax < 7)
		seven.ebx = seven.ecx = 0;
	cr4 |= one.ecx & BIT(17) ? CR4_PCIDE : 0;
	cr4 |= one.ecx & BIT(26) ? CR4_OSXSAVE : 0;
	cr4 |= seven.ebx & BIT(0) ? CR4_FSGSBASE : 0;
	cr4 |= seven.ebx & BIT(7) ? CR4_SMEP : 0;
	cr4 |= seven.ebx & BIT(20) ? CR4_SMAP : 0;
	cr4 |= seven.ecx & BIT(2) ? CR4_UMIP : 0;
	cr4 |= seven.ecx & BIT(3) ? BIT(22) : 0; /* PKE */
	return cr4;
}

static u64 known_efer(void)
{
	struct cpuid r = cpuid(0x80000001, 0);
	u64 efer = EFER_SCE | EFER_LME | EFER_LMA;

	efer |= r.edx & BIT(20) ? EFER_NXE : 0;
	efer |= r.edx & BIT(25) ? BIT(14) : 0; /* FFXSR */
	efer |= r.ecx & BIT(17) ? BIT(15) : 0; /* TCE */
	if (max_extended() >= 0x80000021)
		efer |= cpuid(0x80000021, 0).eax & BIT(8) ? BIT(21) : 0; /* automatic IBRS */
	return efer;
}

static void find_known(void)
{
	u32 ebx = 0;

	known.physical = BIT(36);
	if (max_extended() >= 0x80000008) {
		struct cpuid r = cpuid(0x80000008, 0);

		known.physical = BIT(r.eax & 0xff);
		ebx = r.ebx;
	}
	known.spec_ctrl = (ebx >> 14 & 3) | (ebx >> 24 & 1) << 2 | (ebx >> 28 & 1) << 7;
	known.efer = known_efer();
	known.cr4 = known_cr4();
}

u64 physical_end(void)
{
	if (!known.physical)
		find_known();
	return known.physical;
}

u64 efer_known(void)
{
	if (!known.physical)
		find_known();
	return known.efer;
}

/* ---- checks ---- */
static bool canonical(u64 address)
{
	return (u64)((i64)(address << 16) >> 16) == address;
}

static bool pat_ok(u64 pat)
{
	for (unsigned i = 0; i < 64; i += 8) {
		u8 type = pat >> i;

		if (type > 7 || type == 2 || type == 3)
			return false;
	}
	return true;
}

static bool control_ok(const struct control_state *s)
{
	bool long_mode = s->efer & EFER_LME && s->cr0 & CR0_PG;

	if (s->cr0 & ~CR0_KNOWN || s->cr4 & ~known.cr4 || s->efer & ~known.efer)
		return false;
	if (s->cr0 & CR0_NW && !(s->cr0 & CR0_CD))
		return false;
	if (s->cr0 & CR0_PG && !(s->cr0 & CR0_PE))
		return false;
	if (long_mode != !!(s->efer & EFER_LMA) || (long_mode && !(s->cr4 & CR4_PAE)))
		return false;
	if (s->cr4 & CR4_PCIDE && !long_mode)
		return false;
	if (s->cr3 >= known.physical || s->rflags & ~RFLAGS_KNOWN || !(s->rflags & FL_ONE))
		return false;
	return xstate_xcr0_ok(s->xcr0) && canonical(s->rip);
}

/* A present TSS: no CPU ever has another TR, and an emulated one dies of it. */
static bool tr_ok(u16 attr)
{
	return (attr & 0x95) == 0x81; /* P, not S; types 1, 3, 9, 11 */
}

static bool segments_ok(const struct control_state *s)
{
	if (s->cpl > 3 || !tr_ok(s->tr.attr) || !canonical(s->fs.base) || !canonical(s->gs.base))
		return false;
	return !(s->efer & EFER_LMA && s->cs.attr & ATTR_L && s->cs.attr & ATTR_DB);
}

static bool msrs_ok(const struct control_state *s)
{
	return canonical(s->lstar) && canonical(s->cstar) && canonical(s->kernel_gs_base) &&
	       canonical(s->sysenter_esp) && canonical(s->sysenter_eip) && pat_ok(s->pat) &&
	       s->tsc_aux <= UINT32_MAX && !(s->spec_ctrl & ~known.spec_ctrl);
}

int vcpu_set(struct hv_vcpu *v, const struct control_state *s, u32 mask)
{
	struct control_state all = *s;

	if (!known.physical)
		find_known();
	hvm->get(v, &all, STATE_ALL & ~mask); /* rules join fields of different groups */
	if (!control_ok(&all) || !segments_ok(&all) || !msrs_ok(&all) || (all.dr6 | all.dr7) >> 32)
		return -EINVAL;
	hvm->set(v, &all, mask);
	return 0;
}

/* ---- making one ---- */
enum { ATTR_CODE = 0x9b, ATTR_DATA = 0x93, ATTR_LDT = 0x82, ATTR_TSS = 0x8b };

void vcpu_reset_state(struct control_state *s)
{
	static const struct control_segment data = {.attr = ATTR_DATA, .limit = 0xffff};

	memset(s, 0, sizeof(*s));
	s->es = s->ss = s->ds = s->fs = s->gs = data;
	s->cs = (struct control_segment){0xf000, ATTR_CODE, 0xffff, 0xffff0000};
	s->ldtr = (struct control_segment){0, ATTR_LDT, 0xffff, 0};
	s->tr = (struct control_segment){0, ATTR_TSS, 0xffff, 0};
	s->gdtr.limit = s->idtr.limit = 0xffff;
	s->cr0 = CR0_CD | CR0_NW | CR0_ET;
	s->rip = 0xfff0;
	s->rflags = FL_ONE;
	s->xcr0 = 1;
	s->dr6 = 0xffff0ff0;
	s->dr7 = 0x400;
	s->pat = 0x0007040600070406;
}

int vcpu_make(struct hv_vcpu *v)
{
	struct control_state s;

	v->xsave = page_alloc();
	if (!v->xsave)
		return -ENOMEM;
	if (hvm->vcpu_init(v)) {
		vcpu_free(v);
		return -ENOMEM;
	}
	xstate_reset(v->xsave);
	vcpu_reset_state(&s);
	return vcpu_set(v, &s, STATE_ALL);
}

void vcpu_free(struct hv_vcpu *v)
{
	hvm->vcpu_fini(v);
	if (v->xsave)
		page_free(v->xsave);
	v->xsave = NULL;
}

/* ---- translations ---- */
void domain_flush(struct domain *d)
{
	struct cpu *self = this_cpu();
	u64 *tables = npt_retired(d);

	atomic_fetch_add(&d->generation, 1);
	for (unsigned i = 0; i < ncpus; i++) {
		if (cpus[i] && cpus[i] != self)
			cpu_kick(cpus[i], CPU_KICK_FLUSH);
	}
	npt_free_list(tables);
}
