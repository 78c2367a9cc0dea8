/* SPDX-License-Identifier: MIT */
/*
 * What a round trip costs, in instructions: under QEMU's -icount shift=0 the TSC
 * counts them exactly.
 */
#include "vmm.h"
#include "x86/emulate.h"

static struct guest g;

static void cost(const char *name, u64 got, u64 limit)
{
	put("cost ");
	put(name);
	put(" ");
	put_number(got);
	put(" (limit ");
	put_number(limit);
	put(")\n");
	check(name, got > 0 && got <= limit, true);
}

static void of_primary(void)
{
	u64 start, end = 0;

	find_control();
	check("magic", control->magic, CONTROL_MAGIC);
	for (int i = 0; i < 3; i++) {
		start = rdtsc();
		cpuid(0, 0);
		end = rdtsc();
	}
	cost("primary/cpuid", end - start, 400);
	for (int i = 0; i < 3; i++) {
		start = rdtsc();
		call(CALL_VERSION, 0, 0, 0, 0);
		end = rdtsc();
	}
	cost("primary/null-call", end - start, 400);
}

/* ---- in a guest: the last of eight rounds counts; the sum is in R9 ---- */
#define TIMED(name, instruction)                                                                             \
	SNIP(name, "mov $8, %r15d\n1: rdtsc\n mov %eax, %r8d\n" instruction                                  \
		   "\nrdtsc\n sub %r8d, %eax\n mov %eax, %r9d\n dec %r15d\n jnz 1b\n hlt\n")

TIMED(code_nothing, "");
TIMED(code_cpuid, "xor %eax, %eax\n xor %ecx, %ecx\n cpuid");
TIMED(code_cpuid_last, "mov $0x80000008, %eax\n xor %ecx, %ecx\n cpuid");
TIMED(code_out, "mov $0xe9, %dx\n out %al, %dx");
TIMED(code_store, "mov $0x300000, %edx\n mov %eax, (%rdx)");
TIMED(code_load, "mov $0x300000, %edx\n mov 8(%rdx), %eax");
TIMED(code_msr, "mov $0x1b, %ecx\n rdmsr");
TIMED(code_hlt, "hlt");

static u64 cpuid_table(void)
{
	struct control_cpuid *c = (struct control_cpuid *)page_alloc();

	/* as many as a real guest has, in no order */
	for (u32 i = 0; i < 64; i++)
		c[i] = (struct control_cpuid){.leaf = (i & 1 ? 0x80000000 : 0) | (63 - i) / 2, .any_subleaf = true, .eax = i};
	return (u64)c;
}

static int mmio_load(struct x86_emul *e, u64 gva, unsigned size, u64 *value)
{
	(void)e;
	(void)size;
	*value = gva;
	return 0;
}

static int mmio_store(struct x86_emul *e, u64 gva, unsigned size, u64 value)
{
	(void)e;
	(void)gva;
	(void)size;
	(void)value;
	return 0;
}

static void do_mmio(struct control_record *r)
{
	struct x86_emul e = {.code = g.ram + r->rip,
		.len = 15,
		.bits = 64,
		.gpr = g.page->gpr,
		.rip = r->rip,
		.rflags = r->rflags,
		.load = mmio_load,
		.store = mmio_store};

	if (x86_emulate(&e) == EMUL_DONE)
		r->rip = e.rip;
}

/* What a VMM does, for as long as the guest goes on. */
static i64 serve(void)
{
	struct control_record *r = &g.page->record;
	i64 reason;

	for (;;) {
		reason = guest_run(&g);
		switch (reason) {
		case REASON_IO:
		case REASON_MSR:
			r->rip = r->next_rip;
			break;
		case REASON_MMIO:
			do_mmio(r);
			break;
		case REASON_HLT:
			if (!g.page->gpr[R15] || g.ram[r->rip] == 0xc3)
				return reason;
			break;
		default:
			return reason;
		}
	}
}

static u64 measure(const char *name, const void *from, const void *to)
{
	memcpy(g.ram + GUEST_CODE, from, (u64)to - (u64)from);
	g.ram[GUEST_CODE + ((u64)to - (u64)from)] = 0xc3;
	g.page->record.rip = GUEST_CODE;
	check_n(name, 0, serve(), REASON_HLT);
	return (u32)g.page->gpr[R9];
}

#define MEASURE(name, limit) cost(#name, measure(#name, code_##name, code_##name##_end) - nothing, limit)

static void of_guest(void)
{
	u64 nothing;

	guest_make(&g, 0, cpuid_table(), 64);
	GUEST_LOAD(&g, code_nothing);
	nothing = measure("nothing", code_nothing, code_nothing_end);
	MEASURE(cpuid, 400);
	MEASURE(cpuid_last, 400);
	MEASURE(out, 1500);
	MEASURE(store, 2500);
	MEASURE(load, 2500);
	MEASURE(msr, 1500);
	MEASURE(hlt, 1500);
	check("cpuid/answer", g.page->gpr[R9] != 0, true);
	guest_end(&g);
}

/* What the hypervisor has counted: nothing of ours is there but what we did. */
static void counters(void)
{
	struct control_stats *s = (struct control_stats *)page_alloc();

	check("stats", call(CALL_STATS, (u64)s, 0, 0, 0), 0);
	for (unsigned i = 0; i < STATS_REASONS; i++) {
		if (!s->primary[i] && !s->guests[i])
			continue;
		put("count ");
		put(s->names[i]);
		put(": primary ");
		put_number(s->primary[i]);
		put(", guests ");
		put_number(s->guests[i]);
		put("\n");
	}
	check("stats/vms", s->vms, 0);
	check("stats/pages", s->pages_mapped, 0);
}

const struct section sections[] = {
	{"primary", of_primary},
	{"guest", of_guest},
	{"counters", counters},
	{0},
};
