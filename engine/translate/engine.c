/* SPDX-License-Identifier: MIT */
/* The translate engine's life cycle: its arena, its tables, and engine_ops. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "engine/translate/cpu.h"
#include "engine/translate/engine.h"
#include "vm/vm.h"
#include "x86/cpuid.h"

/* ---- the arena ---- */

struct carve {
	u8 *base;
	size_t used;
};

static void *carve(struct carve *c, size_t size)
{
	void *p = c->base + c->used;

	c->used += ALIGN_UP(size, PAGE_SIZE);
	return p;
}

static size_t lay_out(struct cpu *cpu, u8 *base)
{
	struct carve c = { base, 0 };

	cpu->max_sites = SITES_MAX;
	cpu->max_exits = EXITS_MAX;
	cpu->max_frags = FRAGS_MAX;
	cpu->max_sysinsns = SYSINSNS_MAX;
	cpu->max_pcmap = PCMAP_MAX;
	cpu->max_pages = PAGES_MAX;
	cpu->max_windows = WINDOWS_MAX;
	/* first what generated code touches: it gets large pages */
	carve(&c, sizeof(struct cpu));
	cpu->sites = carve(&c, SITES_MAX * sizeof(struct site));
	cpu->exits = carve(&c, EXITS_MAX * sizeof(struct exit));
	cpu->windows = carve(&c, WINDOWS_MAX * sizeof(struct window));
	c.used = ALIGN_UP(c.used, MIB(2));
	cpu->hot_size = c.used;
	cpu->site_meta = carve(&c, SITES_MAX * sizeof(struct site_meta));
	cpu->live_windows = carve(&c, WINDOWS_MAX * sizeof(u32));
	cpu->log = carve(&c, SITES_MAX * sizeof(u32));
	cpu->log_global = carve(&c, SITES_MAX * sizeof(u32));
	cpu->links = carve(&c, EXITS_MAX * sizeof(u32));
	cpu->links_global = carve(&c, EXITS_MAX * sizeof(u32));
	cpu->frags = carve(&c, FRAGS_MAX * sizeof(struct fragment));
	cpu->frag_hash = carve(&c, sizeof(u32) << FRAG_HASH_BITS);
	cpu->sysinsns = carve(&c, SYSINSNS_MAX * sizeof(struct sysinsn));
	cpu->pcmap = carve(&c, PCMAP_MAX * sizeof(struct pcmap));
	cpu->code_marks = carve(&c, CODE_MARKS);
	cpu->pages = carve(&c, sizeof(void *) << PAGES_HASH_BITS);
	cpu->page_pool = carve(&c, PAGES_MAX * sizeof(struct codepage));
	c.used = ALIGN_UP(c.used, MIB(2));
	cpu->code = carve(&c, CODE_SIZE);
	cpu->code_end = cpu->code + CODE_SIZE;
	cpu->cold = carve(&c, COLD_SIZE);
	cpu->cold_end = cpu->cold + COLD_SIZE;
	return c.used;
}

static void *map_low(size_t size)
{
	for (u64 at = 0x10000000; at + size < 0x7fff0000; at += 0x4000000) {
		void *p = mmap((void *)at, size, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);

		if (p == (void *)at)
			return p;
		if (p != MAP_FAILED)
			munmap(p, size);
	}
	return NULL;
}

static struct cpu *cpu_map(void)
{
	struct cpu *cpu = map_low(ARENA_SIZE);

	if (!cpu)
		return NULL;
	cpu->arena = cpu;
	cpu->arena_size = ARENA_SIZE;
	if (lay_out(cpu, (u8 *)cpu) > ARENA_SIZE ||
	    mprotect(cpu->code, CODE_SIZE + COLD_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC)) {
		munmap(cpu, ARENA_SIZE);
		return NULL;
	}
	madvise(cpu, cpu->hot_size, MADV_HUGEPAGE);
	madvise(cpu->code, CODE_SIZE + COLD_SIZE, MADV_HUGEPAGE);
	return cpu;
}

/* ---- prediction stacks ---- */

static int ras_init(struct cpu *cpu)
{
	u8 *p = mmap(NULL, RAS_TOTAL, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return -ENOMEM;
	cpu->ras = p;
	for (unsigned i = 0; i < 2; i++) {
		u8 *stack = p + i * (RAS_GUARD + RAS_SIZE) + RAS_GUARD;

		if (mprotect(stack, RAS_SIZE, PROT_READ | PROT_WRITE))
			return -errno;
		cpu->ras_base[i] = (u64)(stack + RAS_SIZE - 64);
		for (unsigned k = 0; k < 8; k++)
			((u64 *)cpu->ras_base[i])[k] = cpu->fn_ras_empty;
	}
	cpu->ras_user = 0;
	cpu->ras_empty = cpu->ras_sp = cpu->ras_base[0];
	cpu->ras_saved_user = cpu->ras_base[1];
	return 0;
}

/* ---- FPU ---- */

#define XSTATE_USED 0xe7ull /* x87, SSE, AVX, opmask, ZMM_Hi256, Hi16_ZMM */

static void fpu_init(struct cpu *cpu)
{
	struct x86_cpuid_regs r;
	u32 mask;

	cpu->xcr0 = x86_native_xcr0() & XSTATE_USED;
	for (u32 i = 2; i < 8; i++) {
		if (!(cpu->xcr0 >> i & 1))
			continue;
		x86_native_cpuid(0xd, i, &r);
		cpu->xsize[i] = r.eax;
		cpu->xoffset[i] = r.ebx;
		if (r.ecx & 2)
			cpu->xaligned |= BIT(i);
	}
	__asm__ volatile("fxsave64 %0" : "=m"(cpu->xsave));
	mask = *(u32 *)(cpu->xsave + 28);
	cpu->mxcsr_mask = mask ? mask : 0xffbf;
	memset(cpu->xsave, 0, sizeof(cpu->xsave));
	*(u16 *)cpu->xsave = 0x37f;
	*(u32 *)(cpu->xsave + 24) = 0x1f80;
	fpu_levels(cpu);
}

/* ---- vCPU ---- */

static u64 realtime_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (u64)ts.tv_sec * 1000000000ull + (u64)ts.tv_nsec;
}

/* Host realtime at guest TSC zero. */
static u64 wallclock_base(const struct vm *vm, u64 tsc_offset)
{
	u64 tsc = __builtin_ia32_rdtsc() + tsc_offset;

	return realtime_ns() - (u64)((__uint128_t)tsc * 1000000 / vm->tsc_khz);
}

static int cpuid_init(struct cpu *cpu)
{
	const struct x86_host host = { .cpuid = x86_native_cpuid, .xcr0 = x86_native_xcr0() };
	struct x86_cpuid_table *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	x86_cpuid_init(t, &host, cpu->vm->nvcpus, cpu->vm->tsc_khz);
	cpu->x.cpuid = t;
	return 0;
}

static void translate_vcpu_fini(struct vcpu *vcpu)
{
	struct cpu *cpu = vcpu->engine;

	if (!cpu)
		return;
	free((void *)(u64)cpu->x.cpuid);
	free(cpu->signal_stack);
	decoder_free(cpu->decoder);
	if (cpu->ras)
		munmap(cpu->ras, RAS_TOTAL);
	ram_fini(cpu);
	munmap(cpu->arena, cpu->arena_size);
	vcpu->engine = NULL;
}

static int translate_vcpu_init(struct vcpu *vcpu)
{
	struct cpu *cpu = cpu_map();
	int r;

	if (!cpu)
		return -ENOMEM;
	vcpu->engine = cpu;
	cpu->vcpu = vcpu;
	cpu->vm = vcpu->vm;
	cpu->x.env = &translate_env;
	cpu->x.tsc_khz = vcpu->vm->tsc_khz;
	cpu->x.apic_id = vcpu->id;
	cpu->decoder = decoder_new();
	r = cpu->decoder ? 0 : -ENOMEM;
	if (!r)
		r = cpuid_init(cpu);
	if (!r)
		r = ram_init(cpu);
	if (!r) {
		common_routines(cpu);
		r = ras_init(cpu);
	}
	if (r) {
		translate_vcpu_fini(vcpu);
		return r;
	}
	fpu_init(cpu);
	cpu->write_epoch = 1;
	frag_reset(cpu);
	cpu->stats.code_flushes = 0;
	return 0;
}

static enum vcpu_exit run(struct vcpu *vcpu)
{
	struct cpu *cpu = vcpu->engine;

	if (!cpu->signals_ready) {
		if (signal_init(cpu))
			return VCPU_EXIT_ERROR;
		cpu->signals_ready = true;
	}
	return translate_run(vcpu);
}

static void kick(struct vcpu *vcpu)
{
	struct cpu *cpu = vcpu->engine;

	if (cpu)
		__atomic_store_n((u32 *)&cpu->poll, 1, __ATOMIC_SEQ_CST);
}

static void regs_get(struct vcpu *vcpu)
{
	struct cpu *cpu = vcpu->engine;

	flags_sync(cpu);
	vcpu->regs = cpu->x.s;
}

static void regs_put(struct vcpu *vcpu)
{
	struct cpu *cpu = vcpu->engine;

	cpu->x.s = vcpu->regs;
	cpu->x.wallclock_sec_base = wallclock_base(cpu->vm, cpu->x.s.tsc_offset);
	flags_unsync(cpu);
	mode_update(cpu);
	tlb_flush_all(cpu);
	cpu->stats.flush_all = 0;
}

static int probe(char *why, size_t len)
{
	const char *text = "runs everywhere, without KVM or privileges";

	if (len)
		strncpy(why, text, len - 1)[len - 1] = '\0';
	return 0;
}

static int vm_none(struct vm *vm)
{
	(void)vm;
	return 0;
}

static void vm_nothing(struct vm *vm)
{
	(void)vm;
}

const struct engine_ops translate_engine = {
	.name = "translate",
	.probe = probe,
	.vm_init = vm_none,
	.vm_fini = vm_nothing,
	.vcpu_init = translate_vcpu_init,
	.vcpu_fini = translate_vcpu_fini,
	.run = run,
	.kick = kick,
	.regs_get = regs_get,
	.regs_put = regs_put,
	.ram_written = ram_written,
	.map_changed = ram_map_changed,
	.stats = translate_stats_print,
};
