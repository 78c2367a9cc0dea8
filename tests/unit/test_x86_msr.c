/* SPDX-License-Identifier: MIT */
/* Model-specific registers and KVM's clock. */
#include "tests/unit/x86_fixture.h"

static struct x86_state *s = &fx.cpu.s;

static u64 rd(u32 index)
{
	u64 v = 0xbad;

	assert_int_equal(x86_rdmsr(&fx.cpu, index, &v), 0);
	return v;
}

static void wr(u32 index, u64 value)
{
	assert_int_equal(x86_wrmsr(&fx.cpu, index, value), 0);
}

static void plain_state(void **state)
{
	const u32 canonical[] = {0x175, 0x176, 0xc0000082, 0xc0000083, 0xc0000100, 0xc0000101, 0xc0000102};
	const u32 narrow[] = {0x174, 0xc0000084, 0xc0000103};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(canonical); i++) {
		wr(canonical[i], 0xffff888000000000ull + i);
		assert_int_equal(rd(canonical[i]), 0xffff888000000000ull + i);
		assert_fault(x86_wrmsr(&fx.cpu, canonical[i], BIT(47)), VEC_GP, 0);
	}
	assert_int_equal(s->seg[SEG_GS].base, 0xffff888000000005ull);
	for (unsigned i = 0; i < ARRAY_SIZE(narrow); i++) {
		wr(narrow[i], 0x12345 + i);
		assert_int_equal(rd(narrow[i]), 0x12345 + i);
		assert_fault(x86_wrmsr(&fx.cpu, narrow[i], BIT(32)), VEC_GP, 0);
	}
	wr(0xc0000081, ~0ull);
	assert_int_equal(rd(0xc0000081), ~0ull);
}

static void efer(void **state)
{
	(void)state;
	fx.flushes = 0;
	wr(0xc0000080, EFER_SCE | EFER_LME | EFER_NXE);
	assert_int_equal(rd(0xc0000080), EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE);
	assert_int_equal(fx.flushes, 0);
	wr(0xc0000080, EFER_LME);
	assert_int_equal(fx.flush_kind, FLUSH_ALL);
	assert_fault(x86_wrmsr(&fx.cpu, 0xc0000080, EFER_SCE), VEC_GP, 0);
	assert_fault(x86_wrmsr(&fx.cpu, 0xc0000080, EFER_LME | BIT(12)), VEC_GP, 0);
	assert_fault(x86_wrmsr(&fx.cpu, 0xc0000080, EFER_LME | BIT(1)), VEC_GP, 0);
	s->cr0 &= ~CR0_PG;
	s->efer = EFER_LME;
	wr(0xc0000080, 0);
	assert_int_equal(s->efer, 0);
}

static void memory_types(void **state)
{
	(void)state;
	assert_int_equal(rd(0xfe), 0x508);
	wr(0x277, 0x0407050600070106ull);
	assert_int_equal(rd(0x277), 0x0407050600070106ull);
	assert_fault(x86_wrmsr(&fx.cpu, 0x277, 2), VEC_GP, 0);
	assert_fault(x86_wrmsr(&fx.cpu, 0x277, 0x0800000000000000ull), VEC_GP, 0);
	wr(0x2ff, 0xc06);
	assert_int_equal(rd(0x2ff), 0xc06);
	assert_fault(x86_wrmsr(&fx.cpu, 0x2ff, 0xc07), VEC_GP, 0);
	assert_fault(x86_wrmsr(&fx.cpu, 0x2ff, 0x1006), VEC_GP, 0);
	wr(0x200, 0x80000006);
	wr(0x20f, 0xff80000800ull);
	assert_int_equal(s->mtrr_var[15], 0xff80000800ull);
	assert_fault(x86_wrmsr(&fx.cpu, 0x201, BIT(40)), VEC_GP, 0);
	assert_fault(x86_wrmsr(&fx.cpu, 0x200, 0x102), VEC_GP, 0);
	wr(0x250, 0x0606060606060606ull);
	wr(0x259, 0x0101010101010101ull);
	wr(0x26f, 0x0505050505050505ull);
	assert_int_equal(s->mtrr_fixed[0], 0x0606060606060606ull);
	assert_int_equal(s->mtrr_fixed[2], 0x0101010101010101ull);
	assert_int_equal(s->mtrr_fixed[10], 0x0505050505050505ull);
	assert_fault(x86_wrmsr(&fx.cpu, 0x268, 0x0300000000000000ull), VEC_GP, 0);
	assert_fault(x86_wrmsr(&fx.cpu, 0x251, 0), VEC_GP, 0);
	assert_fault(x86_wrmsr(&fx.cpu, 0x210, 0), VEC_GP, 0);
	assert_fault(x86_wrmsr(&fx.cpu, 0x260, 0), VEC_GP, 0);
}

static void boot_memory_types(void **state)
{
	(void)state;
	x86_boot_mtrrs(&fx.cpu);
	assert_int_equal(rd(0x2ff), 0xc06);
	assert_int_equal(rd(0x258), 0x0606060606060606ull);
	assert_int_equal(rd(0x259), 0);
}

static void time_stamp(void **state)
{
	(void)state;
	fx.tsc = 1000;
	assert_int_equal(rd(0x10), 1000);
	wr(0x10, 5000);
	assert_int_equal(rd(0x10), 5000);
	assert_int_equal(rd(0x3b), 4000);
	wr(0x3b, -500ull);
	assert_int_equal(rd(0x10), 500);
	fx.tsc = 1100;
	assert_int_equal(rd(0x10), 600);
}

static void local_apic_is_the_engines(void **state)
{
	(void)state;
	wr(0x1b, 0xfee00900);
	assert_int_equal(rd(0x1b), 0xfee00900);
	wr(0x6e0, 5);
	assert_int_equal(fx.apic_msr, 5 ^ 0x6e0);
	wr(0x8ff, 6);
	assert_int_equal(fx.apic_msr, 6 ^ 0x8ff);
}

static void vendors(void **state)
{
	u64 v;

	(void)state;
	assert_int_equal(rd(0x17), 0);
	assert_int_equal(rd(0x3a), 1);
	assert_true(rd(0x10a) & 1);
	assert_fault(x86_wrmsr(&fx.cpu, 0x49, 1), VEC_GP, 0);
	assert_fault(x86_rdmsr(&fx.cpu, 0xc0010015, &v), VEC_GP, 0);
	fx.table.amd = true;
	fx.table.arch_capabilities = 0;
	assert_true(rd(0xc0010015) & BIT(24));
	wr(0xc0010015, 0);
	assert_int_equal(rd(0xc0011029), 2);
	assert_int_equal(rd(0x8b), 0x01000065);
	assert_fault(x86_rdmsr(&fx.cpu, 0x10a, &v), VEC_GP, 0);
	assert_fault(x86_rdmsr(&fx.cpu, 0x48, &v), VEC_GP, 0);
	assert_fault(x86_rdmsr(&fx.cpu, 0x17, &v), VEC_GP, 0);
	assert_fault(x86_wrmsr(&fx.cpu, 0xc0010114, 0), VEC_GP, 0);
}

static void unknown(void **state)
{
	u64 v;

	(void)state;
	assert_int_equal(rd(0x179), 0);
	assert_fault(x86_rdmsr(&fx.cpu, 0x12345678, &v), VEC_GP, 0);
	assert_fault(x86_wrmsr(&fx.cpu, 0x12345678, 0), VEC_GP, 0);
	assert_fault(x86_wrmsr(&fx.cpu, 0x179, 0), VEC_GP, 0);
	assert_fault(x86_rdmsr(&fx.cpu, 0xda0, &v), VEC_GP, 0);
	s->cpl = 3;
	assert_fault(x86_rdmsr(&fx.cpu, 0x10, &v), VEC_GP, 0);
	assert_fault(x86_wrmsr(&fx.cpu, 0x10, 0), VEC_GP, 0);
}

struct pvclock {
	u32 version, pad;
	u64 tsc, ns;
	u32 mul;
	i8 shift;
	u8 flags;
};

/* As a guest computes the time. */
static u64 guest_ns(u64 at, u64 tsc)
{
	struct pvclock p;
	u64 delta;

	memcpy(&p, fx.ram + at, sizeof(p));
	assert_int_equal(p.version & 1, 0);
	assert_int_equal(p.flags, 1);
	delta = tsc - p.tsc;
	delta = p.shift >= 0 ? delta << p.shift : delta >> -p.shift;
	return p.ns + (u64)((unsigned __int128)delta * p.mul >> 32);
}

static void pvclock(void **state)
{
	const u64 rates[] = {500000, 1000000, 2000000, 2649998, 4999999};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(rates); i++) {
		u64 hour = rates[i] * 1000 * 3600, ns;

		fx.cpu.tsc_khz = rates[i];
		fx.tsc = rates[i] * 1000; /* a second */
		wr(0x4b564d01, 0x60001);
		assert_in_range(guest_ns(0x60000, fx.tsc), 999999990, 1000000000);
		ns = guest_ns(0x60000, fx.tsc + hour);
		assert_in_range(ns, 3600999990000, 3601000010000);
	}
	assert_int_equal(rd(0x4b564d01), 0x60001);
}

static void pvclock_survives_a_tsc_write(void **state)
{
	(void)state;
	fx.tsc = 2000000000;
	wr(0x4b564d01, 0x60001);
	wr(0x10, 77);
	assert_in_range(guest_ns(0x60000, 77), 999999990, 1000000000);
	wr(0x4b564d01, 0);
	memset(fx.ram + 0x60000, 0, 64);
	wr(0x10, 99);
	assert_int_equal(get64(0x60000), 0);
	assert_fault(x86_wrmsr(&fx.cpu, 0x4b564d01, BIT(40) | 1), VEC_GP, 0);
	assert_int_equal(rd(0x4b564d01), 0);
}

static void wall_clock(void **state)
{
	(void)state;
	fx.cpu.wallclock_sec_base = 1700000000123456789ull;
	wr(0x4b564d00, 0x61000);
	assert_int_equal(get64(0x61000) >> 32, 1700000000);
	assert_int_equal(get64(0x61008) & 0xffffffff, 123456789);
	assert_fault(x86_wrmsr(&fx.cpu, 0x4b564d00, RAM_SIZE - 4), VEC_GP, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(plain_state),
		test(efer),
		test(memory_types),
		test(boot_memory_types),
		test(time_stamp),
		test(local_apic_is_the_engines),
		test(vendors),
		test(unknown),
		test(pvclock),
		test(pvclock_survives_a_tsc_write),
		test(wall_clock),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
