/* SPDX-License-Identifier: MIT */
/*
 * Accesses of the primary VM that we do for it: the instruction is fetched
 * through the guest's own page tables, decoded, and its operands go to the
 * hooked local APIC, to our PCI function, or where they would have gone anyway.
 */
#include "hv/console.h"
#include "hv/exit.h"
#include "hv/primary.h"
#include "lib/width.h"
#include "x86/cpuid.h"
#include "x86/emulate.h"

struct access {
	struct cpu *cpu;
	struct hv_vcpu *v;
	struct control_state s;
	struct x86_cpu walker;
};

/* Where a guest-physical byte of the primary VM is, if that is memory; NULL: it is not. */
static void *ram(u64 gpa)
{
	u64 size;
	unsigned flags;
	hpa_t hpa;

	lock(&primary_domain.lock);
	hpa = npt_lookup(&primary_domain, gpa, &flags, &size);
	unlock(&primary_domain.lock);
	if (hpa == (hpa_t)-1 || !(flags & NPT_WRITE))
		return NULL;
	/* Our own pages are the sink here. */
	if (!memmap_is(&primary_map, gpa, 1, MEM_RAM) && !memmap_is(&primary_map, gpa, 1, MEM_HYPERVISOR))
		return NULL;
	return (void *)hpa;
}

static u64 *entry(struct x86_cpu *walker, gpa_t gpa)
{
	(void)walker;
	return ram(gpa);
}

static const struct x86_env walk_env = {.entry = entry};

static void walker_init(struct access *a)
{
	static struct x86_cpuid_table table;
	struct x86_cpu *w = &a->walker;

	table.phys_bits = (unsigned)__builtin_ctzll(physical_end());
	w->env = &walk_env;
	w->cpuid = &table;
	w->s.cr0 = a->s.cr0;
	w->s.cr3 = a->s.cr3;
	w->s.cr4 = a->s.cr4;
	w->s.efer = a->s.efer;
}

static bool walk(struct access *a, u64 gva, unsigned access, u64 *gpa)
{
	struct x86_walk out;

	if (x86_walk(&a->walker, gva, access, a->s.cpl == 3, true, &out))
		return false;
	*gpa = out.gpa;
	return true;
}

/*
 * Devices below 4 GiB that are not hooked: the local APIC, when another CPU has ended
 * the hook since the exit. No instruction of a sane system reaches others. Never a
 * guest's private page.
 */
static void *device(u64 gpa, unsigned size)
{
	return gpa < GIB(4) - size && !memmap_is(&primary_map, gpa, 1, MEM_RAM) ? (void *)gpa : NULL;
}

static bool access_one(struct access *a, u64 gva, unsigned size, bool write, u64 *value)
{
	u64 gpa;
	void *host;

	if ((gva & (PAGE_SIZE - 1)) + size > PAGE_SIZE ||
		!walk(a, gva, write ? ACCESS_WRITE : ACCESS_READ, &gpa))
		return false;
	if (lapic_is_hooked(gpa)) {
		lapic_access(a->cpu, gpa, size, write, value);
		return true;
	}
	if (pci_memory_access(gpa, size, write, value))
		return true;
	host = ram(gpa);
	if (!host)
		host = device(gpa, size);
	if (host && write)
		width_store(host, size, *value);
	else if (host)
		*value = width_load(host, size);
	return host;
}

static int load(struct x86_emul *e, u64 gva, unsigned size, u64 *value)
{
	return access_one(e->ctx, gva, size, false, value) ? 0 : -1;
}

static int store(struct x86_emul *e, u64 gva, unsigned size, u64 value)
{
	return access_one(e->ctx, gva, size, true, &value) ? 0 : -1;
}

static unsigned fetch(struct access *a, u64 rip, u8 *code, unsigned room)
{
	unsigned len = 0;

	for (; len < room; len++) {
		u8 *byte;
		u64 gpa;

		if (!walk(a, rip + len, ACCESS_EXEC, &gpa))
			break;
		byte = ram(gpa);
		if (!byte)
			break;
		code[len] = *byte;
	}
	return len;
}

static unsigned code_bits(const struct control_state *s)
{
	enum { ATTR_L = 1 << 9, ATTR_DB = 1 << 10 };

	if (s->efer & EFER_LMA && s->cs.attr & ATTR_L)
		return 64;
	return s->cs.attr & ATTR_DB ? 32 : 16;
}

bool mmio_emulate(struct cpu *cpu, struct hv_vcpu *v)
{
	struct access a = {.cpu = cpu, .v = v};
	struct x86_emul e = {.gpr = v->gpr, .load = load, .store = store, .ctx = &a};
	u8 code[15];

	hvm->save(v); /* FS, GS */
	hvm->get(v, &a.s, STATE_SEGMENTS | STATE_CONTROL);
	walker_init(&a);
	e.bits = code_bits(&a.s);
	e.rip = a.s.rip;
	e.rflags = a.s.rflags;
	e.seg_base[0] = a.s.es.base;
	e.seg_base[1] = a.s.cs.base;
	e.seg_base[2] = a.s.ss.base;
	e.seg_base[3] = a.s.ds.base;
	e.seg_base[4] = a.s.fs.base;
	e.seg_base[5] = a.s.gs.base;
	e.code = code;
	e.len = fetch(&a, (e.bits == 64 ? 0 : a.s.cs.base) + e.rip, code, sizeof(code));
	if (x86_emulate(&e) != EMUL_DONE)
		return false;
	hvm->resume_at(v, e.rip, e.rflags);
	return true;
}
