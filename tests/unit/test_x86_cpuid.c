/* SPDX-License-Identifier: MIT */
/* The guest's CPUID on an AMD host with everything, an Intel one without AVX-512, and one whose AVX is off. */
#include "tests/unit/x86_fixture.h"

static struct x86_cpuid_table table;
static struct x86_cpu cpu;

/* All feature bits of every kind set, so that the allow-list is all that holds them back. */
static void features(u32 leaf, u32 subleaf, struct x86_cpuid_regs *r)
{
	switch (leaf) {
	case 1:
		*r = (struct x86_cpuid_regs){0x00b00f21, 0x01020800, 0xffffffff, 0xffffffff};
		break;
	case 7:
		*r = (struct x86_cpuid_regs){1, 0xffffffff, 0xffffffff, 0xffffffff};
		if (subleaf)
			r->eax = 0xffffffff;
		break;
	case 0xd:
		if (subleaf == 1)
			r->eax = 0xffffffff;
		if (subleaf == 2)
			*r = (struct x86_cpuid_regs){256, 576, 0, 0};
		if (subleaf == 5)
			*r = (struct x86_cpuid_regs){64, 832, 0, 0};
		if (subleaf == 6)
			*r = (struct x86_cpuid_regs){512, 896, 0, 0};
		if (subleaf == 7)
			*r = (struct x86_cpuid_regs){1024, 1408, 2, 0};
		break;
	case 0x80000001:
		*r = (struct x86_cpuid_regs){0x00b00f21, 0x40000000, 0xffffffff, 0xffffffff};
		break;
	case 0x80000021:
		*r = (struct x86_cpuid_regs){0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff};
		break;
	}
}

/* The first four entries of the deterministic cache leaf: L1D, L1I, L2, L3, shared by 16. */
static void caches(u32 subleaf, struct x86_cpuid_regs *r)
{
	static const u32 eax[] = {0x21, 0x22, 0x43, 0x63};

	if (subleaf < 4)
		*r = (struct x86_cpuid_regs){eax[subleaf] | 0x100 | 15 << 14, 0x02c0003f, 63, 0};
}

static void amd_host(u32 leaf, u32 subleaf, struct x86_cpuid_regs *r)
{
	memset(r, 0, sizeof(*r));
	features(leaf, subleaf, r);
	if (leaf == 0)
		*r = (struct x86_cpuid_regs){0x1c, 0x68747541, 0x444d4163, 0x69746e65};
	if (leaf == 0x80000000)
		*r = (struct x86_cpuid_regs){0x80000028, 0x68747541, 0x444d4163, 0x69746e65};
	if (leaf == 0x80000002)
		r->eax = 0x20444d41;
	if (leaf == 0x80000008)
		*r = (struct x86_cpuid_regs){0x3030, 0xffffffff, 0x7001, 0xffff};
	if (leaf == 0x8000001d)
		caches(subleaf, r);
}

static void intel_host(u32 leaf, u32 subleaf, struct x86_cpuid_regs *r)
{
	memset(r, 0, sizeof(*r));
	features(leaf, subleaf, r);
	if (leaf == 0)
		*r = (struct x86_cpuid_regs){0x20, 0x756e6547, 0x6c65746e, 0x49656e69};
	if (leaf == 4)
		caches(subleaf, r);
	if (leaf == 0x15)
		*r = (struct x86_cpuid_regs){2, 200, 24000000, 0};
	if (leaf == 0x80000000)
		r->eax = 0x80000008;
	if (leaf == 0x80000008)
		r->eax = 0x3027;
}

static void build(void (*fn)(u32, u32, struct x86_cpuid_regs *), u64 xcr0, unsigned ncpus)
{
	const struct x86_host host = {.cpuid = fn, .xcr0 = xcr0};

	memset(&table, 0xa5, sizeof(table));
	memset(&cpu, 0, sizeof(cpu));
	cpu.cpuid = &table;
	x86_cpuid_init(&table, &host, ncpus, 2650000);
}

static struct x86_cpuid_regs ask(u32 leaf, u32 subleaf)
{
	struct x86_cpuid_regs r;

	x86_cpuid(&cpu, leaf, subleaf, &r);
	return r;
}

static void assert_regs(u32 leaf, u32 subleaf, u32 eax, u32 ebx, u32 ecx, u32 edx)
{
	struct x86_cpuid_regs r = ask(leaf, subleaf);

	assert_int_equal(r.eax, eax);
	assert_int_equal(r.ebx, ebx);
	assert_int_equal(r.ecx, ecx);
	assert_int_equal(r.edx, edx);
}

static void amd_features(void **state)
{
	(void)state;
	build(amd_host, 0xe7, 1);
	assert_true(table.amd);
	assert_int_equal(table.phys_bits, 46);
	assert_int_equal(table.xcr0_allowed, 0xe7);
	assert_int_equal(table.arch_capabilities, 0);
	assert_regs(0, 0, 0x1c, 0x68747541, 0x444d4163, 0x69746e65);
	assert_regs(1, 0, 0x00b00f21, 0x00010800, 0xf7fa3203, 0x078bfbfd);
	assert_regs(7, 0, 1, 0xf1bf27eb, 0x00405f46, 0x00000110);
	assert_regs(7, 1, 0x30, 0, 0, 0);
	assert_regs(7, 2, 0, 0, 0, 0);
	assert_regs(0xd, 1, 7, 576, 0, 0);
	assert_regs(0x80000000, 0, 0x80000021, 0x68747541, 0x444d4163, 0x69746e65);
	assert_regs(0x80000001, 0, 0x00b00f21, 0x40000000, 0x004001a1, 0x2fd3fbfd);
	assert_regs(0x80000002, 0, 0x20444d41, 0, 0, 0);
	assert_regs(0x80000007, 0, 0, 0, 0, 0x100);
	assert_regs(0x80000008, 0, 0x302e, 4, 0, 0);
	assert_regs(0x8000000a, 0, 0, 0, 0, 0);
	assert_regs(0x8000001f, 0, 0, 0, 0, 0);
	assert_regs(0x80000021, 0, 0x44, 0, 0, 0);
	assert_regs(0x12345678, 0, 0, 0, 0, 0);
}

static void intel_features(void **state)
{
	(void)state;
	build(intel_host, 7, 1);
	assert_false(table.amd);
	assert_int_equal(table.phys_bits, 39);
	assert_int_equal(table.xcr0_allowed, 7);
	assert_int_equal(ask(0, 0).eax, 0x1f);
	assert_regs(7, 0, 1, 0x219c27eb, 0x00400704, 0x20000010);
	assert_regs(7, 1, 0x10, 0, 0, 0);
	assert_regs(0x80000001, 0, 0x00b00f21, 0x40000000, 0x00000121, 0x2c100800);
	assert_regs(0x80000008, 0, 0x3027, 0, 0, 0);
	assert_regs(0x15, 0, 24000, 2650000, 24000000, 0);
	assert_regs(0x16, 0, 2650, 2650, 100, 0);
	assert_int_equal(table.arch_capabilities, 0x149);
}

static void without_avx(void **state)
{
	(void)state;
	build(intel_host, 3, 1);
	assert_int_equal(table.xcr0_allowed, 3);
	assert_int_equal(ask(1, 0).ecx, 0xc7fa2203);
	assert_regs(7, 0, 0, 0x219c27cb, 0x00400104, 0x20000010);
	assert_regs(7, 1, 0, 0, 0, 0);
	assert_true(table.cr4_allowed & CR4_OSXSAVE);
}

static void xsave_areas(void **state)
{
	(void)state;
	build(amd_host, 0xe7, 1);
	cpu.s.xcr0 = 1;
	assert_regs(0xd, 0, 0xe7, 576, 2432, 0);
	cpu.s.xcr0 = 7;
	assert_regs(0xd, 0, 0xe7, 832, 2432, 0);
	assert_int_equal(ask(0xd, 1).ebx, 832);
	cpu.s.xcr0 = 0xe7;
	assert_regs(0xd, 0, 0xe7, 2432, 2432, 0);
	/* 576 + 256 + 64 + 512, aligned to 64, + 1024 */
	assert_int_equal(ask(0xd, 1).ebx, 2432);
	assert_regs(0xd, 2, 256, 576, 0, 0);
	assert_regs(0xd, 7, 1024, 1408, 2, 0);
	assert_regs(0xd, 3, 0, 0, 0, 0);
	assert_regs(0xd, 9, 0, 0, 0, 0);
}

static void osxsave_follows_cr4(void **state)
{
	(void)state;
	build(amd_host, 0xe7, 1);
	assert_false(ask(1, 0).ecx >> 27 & 1);
	cpu.s.cr4 = CR4_OSXSAVE;
	assert_true(ask(1, 0).ecx >> 27 & 1);
}

static void topology(void **state)
{
	(void)state;
	build(amd_host, 0xe7, 3);
	cpu.apic_id = 2;
	assert_int_equal(ask(1, 0).ebx, 0x02040800);
	assert_true(ask(1, 0).edx >> 28 & 1);
	assert_regs(0xb, 0, 0, 1, 0x100, 2);
	assert_regs(0xb, 1, 2, 3, 0x201, 2);
	assert_regs(0xb, 2, 0, 0, 2, 2);
	assert_regs(0x8000001e, 0, 2, 2, 0, 0);
	assert_int_equal(ask(0x80000008, 0).ecx, 0x2002);
	assert_true(ask(0x80000001, 0).ecx & 2);
	assert_regs(0x8000001d, 0, 0x121, 0x02c0003f, 63, 0);
	assert_regs(0x8000001d, 3, 0x163 | 3 << 14, 0x02c0003f, 63, 0);
	assert_regs(0x8000001d, 4, 0, 0, 0, 0);
	build(intel_host, 7, 4);
	assert_int_equal(ask(4, 2).eax, 0x143 | 3u << 26);
	assert_int_equal(ask(4, 3).eax, 0x163 | 3 << 14 | 3u << 26);
	assert_regs(0x1f, 1, 2, 4, 0x201, 0);
}

static void hypervisor(void **state)
{
	(void)state;
	build(amd_host, 0xe7, 1);
	assert_regs(0x40000000, 0, 0x40000010, 0x4b4d564b, 0x564b4d56, 0x4d);
	assert_regs(0x40000001, 0, 1 << 1 | 1 << 3 | 1 << 24, 0, 0, 0);
	assert_regs(0x40000010, 0, 2650000, 0, 0, 0);
	assert_true(ask(1, 0).ecx >> 31);
}

/* Whatever it is, the real host must make a usable table. */
static void this_host(void **state)
{
	const struct x86_host host = {.cpuid = x86_native_cpuid, .xcr0 = x86_native_xcr0()};

	(void)state;
	memset(&cpu, 0, sizeof(cpu));
	cpu.cpuid = &table;
	x86_cpuid_init(&table, &host, 2, 2000000);
	assert_true(table.count > 20 && table.count < X86_CPUID_ENTRIES);
	assert_true(table.phys_bits >= 36 && table.phys_bits <= 46);
	assert_true(ask(1, 0).edx >> 26 & 1);
	cpu.s.xcr0 = table.xcr0_allowed;
	assert_int_equal(ask(0xd, 0).ebx, ask(0xd, 0).ecx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(amd_features),
		cmocka_unit_test(intel_features),
		cmocka_unit_test(without_avx),
		cmocka_unit_test(xsave_areas),
		cmocka_unit_test(osxsave_follows_cr4),
		cmocka_unit_test(topology),
		cmocka_unit_test(hypervisor),
		cmocka_unit_test(this_host),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
