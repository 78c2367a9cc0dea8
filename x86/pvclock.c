/* SPDX-License-Identifier: MIT */
/*
 * KVM's paravirtual clock: the guest gives an address, and finds there how to
 * turn its TSC into nanoseconds. The TSC never changes its rate here, so the
 * page is written when it is asked for, and again only when the guest moves
 * its TSC.
 */
#include "x86/internal.h"

enum { PVCLOCK_ENABLE = 1, PVCLOCK_STABLE = 1 };

/* Both layouts are the guest's ABI. */
struct pvclock_time {
	u32 version; /* odd while being written */
	u32 pad;
	u64 tsc_timestamp;
	u64 system_time; /* ns at tsc_timestamp */
	u32 mul; /* ns = (delta << shift, or >> -shift) * mul >> 32 */
	i8 shift;
	u8 flags;
	u8 pad2[2];
};

struct pvclock_wall {
	u32 version, sec, nsec;
};

/* num << 64 / den, which fits when num is less than den. No library division in freestanding code. */
static u64 fraction(u64 num, u64 den)
{
	u64 quotient, rest;

	__asm__("divq %4" : "=a"(quotient), "=d"(rest) : "0"(0ull), "1"(num), "r"(den) : "cc");
	return quotient;
}

/* The scale from TSC ticks to ns, with the mul's top bit set. */
static void set_scale(struct pvclock_time *t, u64 tsc_khz)
{
	u64 num = 1000000, den = tsc_khz ? tsc_khz : 1000000;

	t->shift = 0;
	while (num >= den) {
		den <<= 1;
		t->shift++;
	}
	while (num * 2 < den) {
		num <<= 1;
		t->shift--;
	}
	t->mul = (u32)(fraction(num, den) >> 32);
}

static u64 to_ns(const struct pvclock_time *t, u64 ticks)
{
	unsigned __int128 scaled = ticks;

	scaled = t->shift >= 0 ? scaled << t->shift : scaled >> -t->shift;
	return (u64)(scaled * t->mul >> 32);
}

/* The version is odd while the rest is being written: other CPUs read this page too. */
static bool publish(struct x86_cpu *cpu)
{
	const struct x86_env *env = cpu->env;
	gpa_t gpa = cpu->pvclock_msr & ~1ull;
	struct pvclock_time t;
	u32 version = cpu->pvclock_version | 1;

	set_scale(&t, cpu->tsc_khz);
	t.version = version;
	t.pad = 0;
	t.flags = PVCLOCK_STABLE;
	t.pad2[0] = t.pad2[1] = 0;
	t.tsc_timestamp = env->host_tsc(cpu) + cpu->s.tsc_offset;
	/* What the guest added to its TSC is not time that passed. */
	t.system_time = to_ns(&t, t.tsc_timestamp - cpu->s.tsc_adjust);
	cpu->pvclock_version = version + 1;
	if (!env->write_phys(cpu, gpa, &version, sizeof(version)) ||
		!env->write_phys(cpu, gpa, &t, sizeof(t)))
		return false;
	return env->write_phys(cpu, gpa, &cpu->pvclock_version, sizeof(version));
}

int x86_pvclock_write(struct x86_cpu *cpu, u64 value)
{
	u64 old = cpu->pvclock_msr;

	cpu->pvclock_msr = value;
	if (!(value & PVCLOCK_ENABLE))
		return 0;
	if ((value & 2) || !publish(cpu)) {
		cpu->pvclock_msr = old;
		return x86_gp(cpu, 0);
	}
	return 0;
}

void x86_pvclock_refresh(struct x86_cpu *cpu)
{
	if (cpu->pvclock_msr & PVCLOCK_ENABLE)
		publish(cpu);
}

int x86_wallclock_write(struct x86_cpu *cpu, u64 value)
{
	const u64 second = 1000000000;
	struct pvclock_wall w;

	w.version = 2;
	w.sec = (u32)(cpu->wallclock_sec_base / second);
	w.nsec = (u32)(cpu->wallclock_sec_base % second);
	return cpu->env->write_phys(cpu, value, &w, sizeof(w)) ? 0 : x86_gp(cpu, 0);
}
