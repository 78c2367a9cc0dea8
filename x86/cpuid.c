/* SPDX-License-Identifier: MIT */
/*
 * The guest's CPUID: the host's identity, an allow-list of its features (what
 * the translator can run), those that our own C code provides on any host, one
 * thread per core, and KVM's leaves for the clock.
 */
#include "x86/cpuid.h"
#include "x86/internal.h"

#define B(n) (1u << (n))

/* Leaf 1. */
enum {
	F1C_SSE3 = B(0),
	F1C_PCLMUL = B(1),
	F1C_SSSE3 = B(9),
	F1C_FMA = B(12),
	F1C_CX16 = B(13),
	F1C_PCID = B(17),
	F1C_SSE41 = B(19),
	F1C_SSE42 = B(20),
	F1C_X2APIC = B(21),
	F1C_MOVBE = B(22),
	F1C_POPCNT = B(23),
	F1C_TSC_DEADLINE = B(24),
	F1C_AES = B(25),
	F1C_XSAVE = B(26),
	F1C_OSXSAVE = B(27),
	F1C_AVX = B(28),
	F1C_F16C = B(29),
	F1C_RDRAND = B(30),
};
#define F1C_HYPERVISOR B(31)
enum {
	F1D_FPU = B(0),
	F1D_DE = B(2),
	F1D_PSE = B(3),
	F1D_TSC = B(4),
	F1D_MSR = B(5),
	F1D_PAE = B(6),
	F1D_MCE = B(7),
	F1D_CX8 = B(8),
	F1D_APIC = B(9),
	F1D_SEP = B(11),
	F1D_MTRR = B(12),
	F1D_PGE = B(13),
	F1D_MCA = B(14),
	F1D_CMOV = B(15),
	F1D_PAT = B(16),
	F1D_PSE36 = B(17),
	F1D_CLFLUSH = B(19),
	F1D_MMX = B(23),
	F1D_FXSR = B(24),
	F1D_SSE = B(25),
	F1D_SSE2 = B(26),
	F1D_HTT = B(28),
};

/* Leaf 7. */
enum {
	F7B_FSGSBASE = B(0),
	F7B_TSC_ADJUST = B(1),
	F7B_BMI1 = B(3),
	F7B_AVX2 = B(5),
	F7B_FDP_EXCPTN_ONLY = B(6),
	F7B_SMEP = B(7),
	F7B_BMI2 = B(8),
	F7B_ERMS = B(9),
	F7B_INVPCID = B(10),
	F7B_ZERO_FCS_FDS = B(13),
	F7B_AVX512F = B(16),
	F7B_AVX512DQ = B(17),
	F7B_RDSEED = B(18),
	F7B_ADX = B(19),
	F7B_SMAP = B(20),
	F7B_AVX512IFMA = B(21),
	F7B_CLFLUSHOPT = B(23),
	F7B_CLWB = B(24),
	F7B_AVX512CD = B(28),
	F7B_SHA = B(29),
	F7B_AVX512BW = B(30),
};
#define F7B_AVX512VL B(31)
enum {
	F7C_AVX512VBMI = B(1),
	F7C_UMIP = B(2),
	F7C_AVX512VBMI2 = B(6),
	F7C_GFNI = B(8),
	F7C_VAES = B(9),
	F7C_VPCLMULQDQ = B(10),
	F7C_AVX512VNNI = B(11),
	F7C_AVX512BITALG = B(12),
	F7C_AVX512VPOPCNTDQ = B(14),
	F7C_RDPID = B(22),
};
enum { F7D_FSRM = B(4), F7D_AVX512VP2INTERSECT = B(8), F7D_ARCH_CAPABILITIES = B(29) };
enum { F71A_AVX_VNNI = B(4), F71A_AVX512BF16 = B(5) };

/* Extended leaves 1, 7, 8 and 0x21. */
enum {
	FXC_LAHF = B(0),
	FXC_CMP_LEGACY = B(1),
	FXC_ABM = B(5),
	FXC_MISALIGNSSE = B(7),
	FXC_3DNOWPREFETCH = B(8),
	FXC_TOPOEXT = B(22),
};
enum {
	FXD_SYSCALL = B(11),
	FXD_NX = B(20),
	FXD_MMXEXT = B(22),
	FXD_FXSR_OPT = B(25),
	FXD_PDPE1GB = B(26),
	FXD_RDTSCP = B(27),
	FXD_LM = B(29),
};
enum { FX7D_INVARIANT_TSC = B(8), FX8B_XSAVEERPTR = B(2) };
enum { FX21A_LFENCE_SERIALIZES = B(2), FX21A_NULL_CLEARS_BASE = B(6) };

/* What EDX of the extended leaf repeats of leaf 1 on AMD. */
#define FXD_AMD_COMMON 0x0183f3ffu

#define NEED_AVX_1C (F1C_AVX | F1C_FMA | F1C_F16C)
#define NEED_AVX_7B F7B_AVX2
#define NEED_AVX_7C (F7C_VAES | F7C_VPCLMULQDQ)
#define NEED_AVX512_7B                                                                                       \
	(F7B_AVX512F | F7B_AVX512DQ | F7B_AVX512IFMA | F7B_AVX512CD | F7B_AVX512BW | F7B_AVX512VL)
#define NEED_AVX512_7C                                                                                       \
	(F7C_AVX512VBMI | F7C_AVX512VBMI2 | F7C_AVX512VNNI | F7C_AVX512BITALG | F7C_AVX512VPOPCNTDQ)

#define XCR0_LEGACY 3u
#define XCR0_AVX B(2)
#define XCR0_AVX512 (7u << 5)
enum { XD1_ALLOWED = 7 /* XSAVEOPT, XSAVEC, XGETBV with ECX 1 */, XSAVE_LEGACY_SIZE = 576 };

/*
 * Bugs of which a translated guest is free on any host: it has no real page
 * tables (RDCL, the L1D flush at VM entry, machine checks on page size changes)
 * and no TSX (TAA). Not claimed is freedom from what a guest's user and kernel
 * code share on the host all the same: predictors, buffers, store bypass.
 */
#define ARCH_CAPABILITIES (BIT(0) | BIT(3) | BIT(6) | BIT(8))

#define EFER_FFXSR BIT(14) /* accepted; FXSAVE keeps saving all, which is slower only */

/* One table in the making. */
struct build {
	struct x86_cpuid_table *t;
	const struct x86_host *host;
	u32 max_basic, max_extended;
	u64 tsc_khz;
	bool intel;
};

static void host_leaf(const struct build *b, u32 leaf, u32 subleaf, struct x86_cpuid_regs *out)
{
	u32 max = leaf & 0x80000000 ? b->max_extended : b->max_basic;

	out->eax = out->ebx = out->ecx = out->edx = 0;
	if (leaf <= max)
		b->host->cpuid(leaf, subleaf, out);
}

static void add(const struct build *b, u32 leaf, u32 subleaf, const struct x86_cpuid_regs *regs)
{
	struct x86_cpuid_table *t = b->t;

	if (t->count == X86_CPUID_ENTRIES)
		return;
	t->entry[t->count].leaf = leaf;
	t->entry[t->count].subleaf = subleaf;
	t->entry[t->count].regs = *regs;
	t->count++;
}

static void add4(const struct build *b, u32 leaf, u32 subleaf, u32 eax, u32 ebx, u32 ecx, u32 edx)
{
	const struct x86_cpuid_regs regs = {eax, ebx, ecx, edx};

	add(b, leaf, subleaf, &regs);
}

/* As the host has it. */
static void add_host(const struct build *b, u32 leaf)
{
	struct x86_cpuid_regs r;

	host_leaf(b, leaf, 0, &r);
	add(b, leaf, 0, &r);
}

/* Features that our C code provides on any host, where it is what runs the guest. */
static u32 own(const struct build *b, u32 host, u32 features)
{
	return b->host->native ? host & features : features;
}

/* Bits that number the CPUs. */
static unsigned cpu_bits(const struct build *b)
{
	unsigned bits = 0;

	while ((1u << bits) < b->t->ncpus)
		bits++;
	return bits;
}

static bool has_avx(const struct build *b)
{
	return b->t->xcr0_allowed & XCR0_AVX;
}

static bool has_avx512(const struct build *b)
{
	return b->t->xcr0_allowed & XCR0_AVX512;
}

static void add_leaf1(const struct build *b)
{
	const u32 own_c = F1C_X2APIC | F1C_TSC_DEADLINE | F1C_HYPERVISOR;
	const u32 host_d =
		F1D_FPU | F1D_CX8 | F1D_CMOV | F1D_CLFLUSH | F1D_MMX | F1D_FXSR | F1D_SSE | F1D_SSE2;
	const u32 own_d = F1D_DE | F1D_PSE | F1D_TSC | F1D_MSR | F1D_PAE | F1D_MCE | F1D_APIC | F1D_SEP |
			  F1D_MTRR | F1D_PGE | F1D_MCA | F1D_PAT | F1D_PSE36;
	u32 host_c = F1C_SSE3 | F1C_PCLMUL | F1C_SSSE3 | F1C_CX16 | F1C_SSE41 | F1C_SSE42 | F1C_MOVBE |
		     F1C_POPCNT | F1C_AES | F1C_XSAVE | F1C_RDRAND;
	struct x86_cpuid_regs r;

	if (has_avx(b))
		host_c |= NEED_AVX_1C;
	host_leaf(b, 1, 0, &r);
	r.ecx = (r.ecx & host_c) | own(b, r.ecx, F1C_PCID) | own_c;
	r.edx = (r.edx & host_d) | own_d;
	if (b->t->ncpus > 1)
		r.edx |= F1D_HTT;
	r.ebx = (r.ebx & 0xff00) | MIN(1u << cpu_bits(b), 255u) << 16;
	add(b, 1, 0, &r);
}

/* Caches: leaf 4 on Intel, 0x8000001d on AMD. The last level is everybody's, the others are a core's own. */
static void add_caches(const struct build *b, u32 leaf)
{
	struct x86_cpuid_regs r;
	u32 all = (1u << cpu_bits(b)) - 1;

	for (unsigned i = 0; i < 8; i++) {
		host_leaf(b, leaf, i, &r);
		r.eax &= 0x3ff;
		if (!(r.eax & 0x1f))
			break;
		if ((r.eax >> 5 & 7) >= 3)
			r.eax |= MIN(all, 0xfffu) << 14;
		if (b->intel)
			r.eax |= MIN(all, 0x3fu) << 26;
		add(b, leaf, i, &r);
	}
}

static void add_leaf7(const struct build *b)
{
	const u32 own_b = F7B_FSGSBASE | F7B_SMEP | F7B_INVPCID | F7B_SMAP;
	u32 b_mask = F7B_BMI1 | F7B_FDP_EXCPTN_ONLY | F7B_BMI2 | F7B_ERMS | F7B_ZERO_FCS_FDS | F7B_RDSEED |
		     F7B_ADX | F7B_CLFLUSHOPT | F7B_CLWB | F7B_SHA;
	u32 c_mask = F7C_GFNI | F7C_RDPID, d_mask = F7D_FSRM, a1_mask = 0;
	struct x86_cpuid_regs r, r1;

	if (has_avx(b)) {
		b_mask |= NEED_AVX_7B;
		c_mask |= NEED_AVX_7C;
		a1_mask |= F71A_AVX_VNNI;
	}
	if (has_avx512(b)) {
		b_mask |= NEED_AVX512_7B;
		c_mask |= NEED_AVX512_7C;
		d_mask |= F7D_AVX512VP2INTERSECT;
		a1_mask |= F71A_AVX512BF16;
	}
	host_leaf(b, 7, 0, &r);
	r1.eax = r1.ebx = r1.ecx = r1.edx = 0;
	if (r.eax)
		host_leaf(b, 7, 1, &r1);
	r.eax = r1.eax & a1_mask ? 1 : 0;
	r.ebx = (r.ebx & b_mask) | own(b, r.ebx, own_b) | F7B_TSC_ADJUST;
	r.ecx = (r.ecx & c_mask) | own(b, r.ecx, F7C_UMIP);
	r.edx = (r.edx & d_mask) | (b->t->arch_capabilities ? F7D_ARCH_CAPABILITIES : 0);
	add(b, 7, 0, &r);
	add4(b, 7, 1, r1.eax & a1_mask, 0, 0, 0);
}

/* Leaves 0xb and 0x1f: one thread to a core, all cores in one package. EDX is the asking CPU's. */
static void add_topology(const struct build *b, u32 leaf)
{
	add4(b, leaf, 0, 0, 1, 1 << 8, 0);
	add4(b, leaf, 1, cpu_bits(b), b->t->ncpus, 2 << 8 | 1, 0);
}

/* Leaf 0xd: the components' places are the host's. EBX of the first two depends on XCR0; see below. */
static void add_xsave(const struct build *b)
{
	u64 allowed = b->t->xcr0_allowed;
	u32 size = XSAVE_LEGACY_SIZE;
	struct x86_cpuid_regs r;

	for (unsigned i = 2; i < 63; i++) {
		if (!(allowed >> i & 1))
			continue;
		host_leaf(b, 0xd, i, &r);
		r.ecx &= 2; /* the compacted format aligns it; it is a user component */
		r.edx = 0;
		add(b, 0xd, i, &r);
		size = MAX(size, r.eax + r.ebx);
	}
	add4(b, 0xd, 0, (u32)allowed, size, size, 0);
	host_leaf(b, 0xd, 1, &r);
	add4(b, 0xd, 1, r.eax & XD1_ALLOWED, 0, 0, 0);
}

static void add_frequency(const struct build *b)
{
	struct x86_cpuid_regs r;
	u32 crystal_khz, mhz = (u32)(b->tsc_khz / 1000);

	host_leaf(b, 0x15, 0, &r);
	crystal_khz = r.ecx >= 1000000 ? r.ecx / 1000 : 25000;
	if (b->max_basic >= 0x15)
		add4(b, 0x15, 0, crystal_khz, (u32)b->tsc_khz, crystal_khz * 1000, 0);
	if (b->max_basic >= 0x16)
		add4(b, 0x16, 0, mhz, mhz, 100, 0);
}

static void add_basic(const struct build *b)
{
	struct x86_cpuid_regs r;

	b->host->cpuid(0, 0, &r);
	r.eax = b->max_basic;
	add(b, 0, 0, &r);
	add_leaf1(b);
	if (b->intel) {
		add_host(b, 2);
		add_caches(b, 4);
		add_frequency(b);
	}
	add4(b, 6, 0, B(2), 0, 0, 0); /* ARAT: the APIC timer never stops */
	add_leaf7(b);
	if (b->max_basic >= 0xb)
		add_topology(b, 0xb);
	add_xsave(b);
	if (b->max_basic >= 0x1f)
		add_topology(b, 0x1f);
}

static void add_extended1(const struct build *b)
{
	u32 c_mask = FXC_LAHF | FXC_ABM | FXC_3DNOWPREFETCH, d_mask = FXD_RDTSCP | FXD_LM;
	const u32 own_d = FXD_SYSCALL | FXD_NX | FXD_PDPE1GB;
	const struct x86_cpuid_entry *leaf1 = x86_cpuid_find(b->t, 1, 0);
	struct x86_cpuid_regs r;

	if (!b->intel) {
		c_mask |= FXC_MISALIGNSSE | FXC_TOPOEXT;
		d_mask |= FXD_MMXEXT | FXD_FXSR_OPT;
	}
	host_leaf(b, 0x80000001, 0, &r);
	r.ecx &= c_mask;
	r.edx = (r.edx & d_mask) | own(b, r.edx, own_d);
	if (!b->intel && b->t->ncpus > 1)
		r.ecx |= FXC_CMP_LEGACY;
	if (!b->intel)
		r.edx |= leaf1->regs.edx & FXD_AMD_COMMON;
	add(b, 0x80000001, 0, &r);
}

static void add_extended8(const struct build *b)
{
	struct x86_cpuid_regs r;

	host_leaf(b, 0x80000008, 0, &r);
	r.eax = b->t->phys_bits | 48 << 8;
	r.ebx &= b->intel ? 0 : FX8B_XSAVEERPTR;
	r.ecx = b->intel ? 0 : (b->t->ncpus - 1) | cpu_bits(b) << 12;
	r.edx = 0;
	add(b, 0x80000008, 0, &r);
}

static void add_extended_amd(const struct build *b)
{
	struct x86_cpuid_regs r;

	add_host(b, 0x80000005);
	if (b->max_extended >= 0x8000001e) {
		add_host(b, 0x8000001a);
		add_caches(b, 0x8000001d);
		add4(b, 0x8000001e, 0, 0, 0, 0, 0);
	}
	if (b->max_extended >= 0x80000021) {
		host_leaf(b, 0x80000021, 0, &r);
		r.eax &= FX21A_LFENCE_SERIALIZES;
		add4(b, 0x80000021, 0, r.eax | FX21A_NULL_CLEARS_BASE, 0, 0, 0);
	}
}

static void add_extended(const struct build *b)
{
	struct x86_cpuid_regs r;

	b->host->cpuid(0x80000000, 0, &r);
	r.eax = b->max_extended;
	add(b, 0x80000000, 0, &r);
	add_extended1(b);
	for (u32 leaf = 0x80000002; leaf <= 0x80000004; leaf++)
		add_host(b, leaf);
	add_host(b, 0x80000006);
	add4(b, 0x80000007, 0, 0, 0, 0, FX7D_INVARIANT_TSC);
	add_extended8(b);
	if (!b->intel)
		add_extended_amd(b);
}

static void add_hypervisor(const struct build *b)
{
	/* No delay at port 0x80, clock in the new MSRs, clock stable across CPUs. */
	const u32 features = B(1) | B(3) | B(24);

	add4(b, 0x40000000, 0, 0x40000010, 0x4b4d564b, 0x564b4d56, 0x4d); /* "KVMKVMKVM" */
	add4(b, 0x40000001, 0, features, 0, 0, 0);
	add4(b, 0x40000010, 0, (u32)b->tsc_khz, 0, 0, 0);
}

static u64 allowed_xcr0(const struct build *b)
{
	struct x86_cpuid_regs r;
	u64 xcr0 = XCR0_LEGACY;

	host_leaf(b, 1, 0, &r);
	if (!(r.ecx & F1C_XSAVE) || !(r.ecx & F1C_AVX) || !(b->host->xcr0 & XCR0_AVX))
		return xcr0;
	xcr0 |= XCR0_AVX;
	host_leaf(b, 7, 0, &r);
	if (r.ebx & F7B_AVX512F && (b->host->xcr0 & XCR0_AVX512) == XCR0_AVX512)
		xcr0 |= XCR0_AVX512;
	return xcr0;
}

static void set_limits(struct build *b)
{
	struct x86_cpuid_table *t = b->t;
	struct x86_cpuid_regs r;
	unsigned bits;

	b->host->cpuid(0, 0, &r);
	b->max_basic = MIN(r.eax, 0x1fu);
	b->intel = r.ebx == 0x756e6547; /* "Genu" */
	t->amd = r.ebx == 0x68747541 || r.ebx == 0x6f677948; /* "Auth", "Hygo" */
	b->host->cpuid(0x80000000, 0, &r);
	b->max_extended = MAX(MIN(r.eax, b->intel ? 0x80000008u : 0x80000021u), 0x80000008u);
	b->host->cpuid(0x80000008, 0, &r);
	bits = r.eax & 0xff;
	t->phys_bits = MIN(MAX(bits, 36u), (unsigned)X86_PHYS_BITS_MAX);
	t->arch_capabilities = b->intel && !b->host->native ? ARCH_CAPABILITIES : 0;
	t->xcr0_allowed = allowed_xcr0(b);
	t->efer_allowed = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE;
	if (!b->intel)
		t->efer_allowed |= EFER_FFXSR;
	t->cr4_allowed = CR4_TSD | CR4_DE | CR4_PSE | CR4_PAE | CR4_MCE | CR4_PGE | CR4_PCE | CR4_OSFXSR |
			 CR4_OSXMMEXCPT;
}

/* The bits of CR4 and XCR0 that stand for a feature. */
static void allow_by_features(struct x86_cpuid_table *t)
{
	const struct x86_cpuid_regs *leaf1 = &x86_cpuid_find(t, 1, 0)->regs;
	const struct x86_cpuid_regs *leaf7 = &x86_cpuid_find(t, 7, 0)->regs;

	if (leaf1->ecx & F1C_XSAVE)
		t->cr4_allowed |= CR4_OSXSAVE;
	else
		t->xcr0_allowed = 0;
	if (leaf1->ecx & F1C_PCID)
		t->cr4_allowed |= CR4_PCIDE;
	if (leaf7->ebx & F7B_FSGSBASE)
		t->cr4_allowed |= CR4_FSGSBASE;
	if (leaf7->ebx & F7B_SMEP)
		t->cr4_allowed |= CR4_SMEP;
	if (leaf7->ebx & F7B_SMAP)
		t->cr4_allowed |= CR4_SMAP;
	if (leaf7->ecx & F7C_UMIP)
		t->cr4_allowed |= CR4_UMIP;
}

void x86_cpuid_init(struct x86_cpuid_table *t, const struct x86_host *host, unsigned ncpus, u64 tsc_khz)
{
	struct build b = {.t = t, .host = host, .tsc_khz = tsc_khz};

	t->count = 0;
	t->ncpus = ncpus;
	set_limits(&b);
	add_basic(&b);
	add_extended(&b);
	add_hypervisor(&b);
	allow_by_features(t);
}

/* Leaves whose answer depends on ECX. */
static bool is_indexed(u32 leaf)
{
	return leaf == 4 || leaf == 7 || leaf == 0xb || leaf == 0xd || leaf == 0x1f || leaf == 0x8000001d;
}

const struct x86_cpuid_entry *x86_cpuid_find(const struct x86_cpuid_table *t, u32 leaf, u32 subleaf)
{
	for (unsigned i = 0; i < t->count; i++)
		if (t->entry[i].leaf == leaf && (t->entry[i].subleaf == subleaf || !is_indexed(leaf)))
			return &t->entry[i];
	return NULL;
}

/* Size of an XSAVE area for these components, in the standard or the compacted format. */
static u32 xsave_size(const struct x86_cpuid_table *t, u64 xcr0, bool compacted)
{
	u32 size = XSAVE_LEGACY_SIZE;

	for (unsigned i = 2; i < 63; i++) {
		const struct x86_cpuid_entry *e = xcr0 >> i & 1 ? x86_cpuid_find(t, 0xd, i) : NULL;

		if (!e)
			continue;
		if (!compacted)
			size = MAX(size, e->regs.ebx + e->regs.eax);
		else
			size = (e->regs.ecx & 2 ? ALIGN_UP(size, 64u) : size) + e->regs.eax;
	}
	return size;
}

/* What is not the same for all CPUs at all times. */
static void adjust(const struct x86_cpu *cpu, u32 leaf, u32 subleaf, struct x86_cpuid_regs *r)
{
	switch (leaf) {
	case 1:
		r->ebx |= cpu->apic_id << 24;
		if (cpu->s.cr4 & CR4_OSXSAVE)
			r->ecx |= F1C_OSXSAVE;
		break;
	case 0xb:
	case 0x1f:
		r->ecx = (r->ecx & ~0xffu) | (subleaf & 0xff);
		r->edx = cpu->apic_id;
		break;
	case 0xd:
		if (subleaf == 0)
			r->ebx = xsave_size(cpu->cpuid, cpu->s.xcr0, false);
		if (subleaf == 1 && r->eax & B(1))
			r->ebx = xsave_size(cpu->cpuid, cpu->s.xcr0, true);
		break;
	case 0x8000001e:
		r->eax = cpu->apic_id;
		r->ebx = cpu->apic_id & 0xff;
		break;
	}
}

void x86_cpuid(struct x86_cpu *cpu, u32 leaf, u32 subleaf, struct x86_cpuid_regs *out)
{
	const struct x86_cpuid_entry *e = x86_cpuid_find(cpu->cpuid, leaf, subleaf);

	out->eax = out->ebx = out->ecx = out->edx = 0;
	if (e)
		*out = e->regs;
	else if (leaf != 0xb && leaf != 0x1f)
		return;
	adjust(cpu, leaf, subleaf, out);
}
