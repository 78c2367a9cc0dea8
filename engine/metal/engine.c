/* SPDX-License-Identifier: MIT */
/* The metal engine's life cycle: the VM and its vCPUs in the hypervisor, and engine_ops. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/metal/metal.h"
#include "host/log.h"

static int probe(char *why, size_t len)
{
	struct metal_device dev;
	struct err err = {""};
	int ret = metal_open(&dev, &err);

	if (ret)
		snprintf(why, len, "%s", err.text);
	else
		snprintf(why, len,
			"Mullion's hypervisor (%.15s) runs this system, with %llu MiB free for VMs",
			dev.page->engine, (unsigned long long)(dev.page->free_bytes / MIB(1)));
	metal_close(&dev);
	return ret;
}

/* ---- guest RAM ---- */

static void ram_unmap(struct vm *vm)
{
	struct metal_vm *mv = vm->engine_data;

	if (!mv)
		return;
	metal_keeper_end(&mv->keeper);
	metal_memory_fini(&mv->memory);
	metal_close(&mv->dev);
	free(mv);
	vm->engine_data = NULL;
}

static int ram_map(struct vm *vm, u64 size, u8 **ram, struct err *err)
{
	struct metal_vm *mv = calloc(1, sizeof(*mv));
	int ret;

	if (!mv)
		return err_set(err, ENOMEM, "out of memory");
	mv->vm = vm;
	mv->keeper.pipe = mv->memory.fd = -1;
	vm->engine_data = mv;
	ret = metal_open(&mv->dev, err);
	if (!ret)
		ret = metal_memory_init(&mv->memory, size, err);
	if (!ret) {
		ret = metal_keeper_start(&mv->keeper, &mv->dev, &mv->memory);
		if (ret)
			err_set(err, -ret, "the keeper process could not be started: %s", strerror(-ret));
	}
	if (ret) {
		ram_unmap(vm);
		return ret;
	}
	mv->batch = metal_shared_page(&mv->memory);
	mv->vcpu_pages = mv->memory.free;
	*ram = mv->memory.base;
	return 0;
}

static void ram_clear(struct vm *vm)
{
	struct metal_vm *mv = vm->engine_data;

	memset(mv->memory.base, 0, mv->memory.ram_size);
}

/* ---- the VM ---- */

static i64 call_again(struct metal_vm *mv, u64 call, u64 a, u64 b, u64 c, u64 d)
{
	i64 ret;

	do
		ret = metal_call(&mv->dev, call, a, b, c, d);
	while (ret == -CONTROL_AGAIN);
	return ret;
}

static int refused(const char *what, i64 ret)
{
	log_line("the hypervisor refuses %s: %s", what, metal_error(ret));
	return -EIO;
}

/* As many pages as one call takes; returns their bytes. */
static u64 map_batch(struct metal_vm *mv, gpa_t gpa, const u8 *host, u64 size, unsigned flags, i64 *ret)
{
	u64 *frame = mv->batch, done = 0;
	unsigned n = 0;

	while (done < size && n < CONTROL_BATCH) {
		bool large = mv->memory.huge && !((gpa + done) % MIB(2)) &&
			     !((u64)(host + done - mv->memory.base) % MIB(2)) && size - done >= MIB(2);

		frame[n++] = metal_hpa(&mv->memory, host + done) | flags | (large ? FRAME_2M : 0);
		done += large ? MIB(2) : PAGE_SIZE;
	}
	*ret = call_again(mv, CALL_VM_MAP, mv->handle, gpa, metal_hpa(&mv->memory, frame), n);
	return done;
}

/* RAM only: what else there is exits as MMIO. */
static int map_extent(struct metal_vm *mv, const struct extent *e)
{
	const struct region *r = e->region;
	u8 *host = r->host + (e->base - r->base);
	u64 size = e->end - e->base;
	i64 ret = 0;

	if (!r->host || r->direct != (DIRECT_READ | DIRECT_WRITE) || host < mv->memory.base ||
		host >= mv->memory.base + mv->memory.ram_size)
		return 0;
	if (!e->base) {
		mv->low = host;
		mv->low_end = size;
	}
	for (u64 done = 0; done < size && ret >= 0;)
		done += map_batch(mv, e->base + done, host + done, size - done, FRAME_WRITE, &ret);
	return ret < 0 ? refused("the VM's memory", ret) : 0;
}

/* Leaves that say the same on every vCPU at any time are answered without us. */
static bool is_constant(u32 leaf)
{
	return leaf != 1 && leaf != 0xb && leaf != 0xd && leaf != 0x1f && leaf != 0x8000001e;
}

static bool has_subleaves(const struct x86_cpuid_table *t, u32 leaf)
{
	unsigned n = 0;

	for (unsigned i = 0; i < t->count; i++)
		n += t->entry[i].leaf == leaf;
	return n > 1 || leaf == 4 || leaf == 7 || leaf == 0x8000001d;
}

static int set_cpuid(struct metal_vm *mv)
{
	const struct x86_host host = {.cpuid = x86_native_cpuid, .xcr0 = x86_native_xcr0(), .native = true};
	struct x86_cpuid_table *t = &mv->cpuid;
	struct control_cpuid *out = mv->batch;
	unsigned n = 0;
	i64 ret;

	x86_cpuid_init(t, &host, mv->vm->nvcpus, mv->vm->tsc_khz);
	for (unsigned i = 0; i < t->count && n < PAGE_SIZE / sizeof(*out); i++) {
		const struct x86_cpuid_entry *e = &t->entry[i];

		if (!is_constant(e->leaf))
			continue;
		out[n++] = (struct control_cpuid){
			.leaf = e->leaf,
			.subleaf = e->subleaf,
			.any_subleaf = !has_subleaves(t, e->leaf),
			.eax = e->regs.eax,
			.ebx = e->regs.ebx,
			.ecx = e->regs.ecx,
			.edx = e->regs.edx,
		};
	}
	ret = call_again(mv, CALL_VM_CPUID, mv->handle, metal_hpa(&mv->memory, out), n, 0);
	return ret < 0 ? refused("the CPUID table", ret) : 0;
}

static int metal_vm_init(struct vm *vm)
{
	struct metal_vm *mv = vm->engine_data;
	i64 ret;
	int err;

	if (!mv)
		return -EINVAL;
	mv->private = vm->private_memory;
	ret = call_again(mv, CALL_VM_CREATE, mv->private ? VM_PRIVATE : 0, 0, 0, 0);
	if (ret < 0)
		return refused("a VM", ret);
	mv->handle = (u64)ret;
	*mv->keeper.vm = mv->handle;
	err = set_cpuid(mv);
	for (unsigned i = 0; !err && i < vm->mem.nextents; i++)
		err = map_extent(mv, &vm->mem.extents[i]);
	return err;
}

static void metal_vm_fini(struct vm *vm)
{
	struct metal_vm *mv = vm->engine_data;

	if (!mv || !mv->handle)
		return;
	metal_destroy(&mv->dev, mv->handle);
	mv->handle = 0;
	*mv->keeper.vm = 0;
	mv->memory.free = mv->vcpu_pages;
}

/* ---- vCPUs ---- */

static u64 wallclock_base(const struct vm *vm, u64 tsc_offset)
{
	u64 tsc = __builtin_ia32_rdtsc() + tsc_offset;
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (u64)ts.tv_sec * 1000000000 + (u64)ts.tv_nsec -
	       (u64)((__uint128_t)tsc * 1000000 / vm->tsc_khz);
}

static void vcpu_fini(struct vcpu *vcpu)
{
	free(vcpu->engine);
	vcpu->engine = NULL;
}

static int vcpu_init(struct vcpu *vcpu)
{
	struct metal_vm *mv = vcpu->vm->engine_data;
	struct metal_vcpu *m = calloc(1, sizeof(*m));
	void *xsave;
	i64 ret;

	if (!m)
		return -ENOMEM;
	m->vcpu = vcpu;
	m->vm = mv;
	m->x.env = &metal_env;
	m->x.cpuid = &mv->cpuid;
	m->x.tsc_khz = vcpu->vm->tsc_khz;
	m->x.apic_id = vcpu->id;
	m->tpr_stale = true;
	m->page = metal_shared_page(&mv->memory);
	xsave = metal_shared_page(&mv->memory);
	vcpu->engine = m;
	if (!m->page || !xsave)
		return -ENOSPC;
	memset(m->page, 0, PAGE_SIZE);
	memset(xsave, 0, PAGE_SIZE);
	ret = call_again(mv, CALL_VCPU_CREATE, mv->handle, metal_hpa(&mv->memory, m->page),
		metal_hpa(&mv->memory, xsave), 0);
	if (ret < 0)
		return refused("a vCPU", ret);
	m->handle = (u64)ret;
	return 0;
}

static void regs_get(struct vcpu *vcpu)
{
	struct metal_vcpu *m = vcpu->engine;

	if (metal_pull(m, STATE_REGS))
		return;
	memcpy(m->x.s.gpr, m->page->gpr, sizeof(m->x.s.gpr));
	m->x.s.irq_shadow = m->page->record.shadow;
	m->x.s.halted = m->halted;
	vcpu->regs = m->x.s;
}

static void regs_put(struct vcpu *vcpu)
{
	struct metal_vcpu *m = vcpu->engine;

	m->x.s = vcpu->regs;
	m->x.s.xcr0 |= 1; /* of a state that never had one */
	m->x.wallclock_sec_base = wallclock_base(vcpu->vm, m->x.s.tsc_offset);
	memcpy(m->page->gpr, m->x.s.gpr, sizeof(m->x.s.gpr));
	m->page->record.shadow = m->x.s.irq_shadow;
	m->halted = m->x.s.halted;
	m->tpr_stale = true;
	if (metal_push(m, STATE_REGS))
		vm_request_stop(vcpu->vm, VM_ERROR, 0);
}

/* ---- counters ---- */

static void print_vcpu(const struct vcpu *vcpu, FILE *out)
{
	const struct metal_vcpu *m = vcpu->engine;

	if (!m)
		return;
	fprintf(out, "vcpu %u metal:\n", vcpu->id);
	for (unsigned i = 0; i < REASON_COUNT; i++)
		fprintf(out, "  %-16s %14" PRIu64 "%s", metal_reason_names[i], m->stats.exits[i],
			i % 3 == 2 ? "\n" : "");
	fprintf(out, "  %-16s %14" PRIu64 "  %-16s %14" PRIu64 "\n  %-16s %14" PRIu64 "\n", "(interrupts)",
		m->stats.interrupts, "(signals)", m->stats.signals, "(state calls)", m->stats.state_calls);
}

static void stats(struct vm *vm, FILE *out)
{
	for (unsigned i = 0; i < vm->nvcpus; i++)
		print_vcpu(&vm->vcpu[i], out);
}

const struct engine_ops metal_engine = {
	.name = "metal",
	.private_memory = true,
	.probe = probe,
	.ram_map = ram_map,
	.ram_clear = ram_clear,
	.ram_unmap = ram_unmap,
	.vm_init = metal_vm_init,
	.vm_fini = metal_vm_fini,
	.vcpu_init = vcpu_init,
	.vcpu_fini = vcpu_fini,
	.run = metal_run,
	.kick = metal_kick,
	.regs_get = regs_get,
	.regs_put = regs_put,
	.stats = stats,
};
