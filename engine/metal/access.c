/* SPDX-License-Identifier: MIT */
/*
 * The guest's memory as its own instructions see it: through its page tables,
 * to RAM or to devices. The tables are walked anew each time, since the
 * hypervisor does not tell when the guest changes them.
 */
#include <string.h>

#include "engine/metal/metal.h"

/* Of a nested page fault: the access itself had no page, not one of the guest's tables. */
#define NPF_FINAL BIT(32)

enum { APIC_TPR = 0x80 }; /* in its page */

/* RAM that this process may touch, from a physical address to at most the page's end. */
static u8 *ram(struct metal_vcpu *m, gpa_t gpa, u64 len)
{
	const struct metal_vm *mv = m->vm;

	if (mv->private)
		return NULL;
	if (likely(gpa < mv->low_end && len <= mv->low_end - gpa))
		return mv->low + gpa;
	return space_host(&m->vcpu->vm->mem, gpa, len, DIRECT_READ | DIRECT_WRITE);
}

static int walk(struct metal_vcpu *m, gva_t gva, unsigned access, enum x86_priv priv, gpa_t *gpa)
{
	const struct x86_state *s = &m->x.s;
	bool user = priv == PRIV_CPL && s->cpl == 3;
	bool smap_ok = user || priv == PRIV_CPL ? user || s->rflags & FL_AC : false;
	struct x86_walk w;

	if (x86_walk(&m->x, gva, access, user, smap_ok, &w))
		return -1;
	*gpa = w.gpa;
	return 0;
}

/* RAM may be shared with the guest's other vCPUs: an aligned value is one access. */
static void copy(void *to, const void *from, unsigned size)
{
	switch (size) {
	case 1:
		*(u8 *)to = *(const u8 *)from;
		break;
	case 2:
		memcpy(to, from, 2);
		break;
	case 4:
		memcpy(to, from, 4);
		break;
	case 8:
		memcpy(to, from, 8);
		break;
	case CODE_MAX:
		memcpy(to, from, CODE_MAX);
		break;
	default:
		memcpy(to, from, size);
	}
}

static bool whole(unsigned size)
{
	return size == 1 || size == 2 || size == 4 || size == 8;
}

static void device_write(struct metal_vcpu *m, gpa_t gpa, unsigned size, u64 value)
{
	u64 offset = gpa & (PAGE_SIZE - 1);

	space_write(&m->vcpu->vm->mem, gpa, size, value);
	if (unlikely(offset < APIC_TPR + 16 && offset + size > APIC_TPR))
		m->tpr_stale = true; /* if it was the local APIC */
}

/* Within a page. */
static void read_phys(struct metal_vcpu *m, gpa_t gpa, u8 *to, unsigned size)
{
	u8 *host = ram(m, gpa, size);
	u64 value;

	if (host) {
		copy(to, host, size);
	} else if (whole(size)) {
		value = space_read(&m->vcpu->vm->mem, gpa, size);
		memcpy(to, &value, size);
	} else {
		for (unsigned i = 0; i < size; i++)
			to[i] = (u8)space_read(&m->vcpu->vm->mem, gpa + i, 1);
	}
}

static void write_phys(struct metal_vcpu *m, gpa_t gpa, const u8 *from, unsigned size)
{
	u8 *host = ram(m, gpa, size);
	u64 value = 0;

	if (host) {
		copy(host, from, size);
	} else if (whole(size)) {
		memcpy(&value, from, size);
		device_write(m, gpa, size, value);
	} else {
		for (unsigned i = 0; i < size; i++)
			device_write(m, gpa + i, 1, from[i]);
	}
}

/* An access's first page, and its second when it crosses. Both are looked up before either is touched. */
struct span {
	gpa_t gpa[2];
	unsigned len[2];
};

static int find_span(struct metal_vcpu *m, gva_t gva, unsigned size, unsigned access, enum x86_priv priv,
	struct span *span)
{
	u64 rest = PAGE_SIZE - (gva & (PAGE_SIZE - 1));

	span->len[0] = (unsigned)MIN(rest, size);
	span->len[1] = size - span->len[0];
	if (walk(m, gva, access, priv, &span->gpa[0]))
		return -1;
	return span->len[1] ? walk(m, gva + rest, access, priv, &span->gpa[1]) : 0;
}

static int load(struct metal_vcpu *m, gva_t gva, unsigned size, enum x86_priv priv, u64 *value)
{
	struct span span;
	u8 bytes[8] = {0};

	if (find_span(m, gva, size, ACCESS_READ, priv, &span))
		return -1;
	read_phys(m, span.gpa[0], bytes, span.len[0]);
	if (span.len[1])
		read_phys(m, span.gpa[1], bytes + span.len[0], span.len[1]);
	memcpy(value, bytes, sizeof(bytes));
	return 0;
}

static int store(struct metal_vcpu *m, gva_t gva, unsigned size, enum x86_priv priv, u64 value)
{
	struct span span;
	u8 bytes[8];

	if (find_span(m, gva, size, ACCESS_WRITE, priv, &span))
		return -1;
	memcpy(bytes, &value, sizeof(bytes));
	write_phys(m, span.gpa[0], bytes, span.len[0]);
	if (span.len[1])
		write_phys(m, span.gpa[1], bytes + span.len[0], span.len[1]);
	return 0;
}

/*
 * The address of the access that made the exit is known: the CPU has walked the
 * tables, and checked the rights, for a write too if it was one.
 */
static bool is_reported(
	const struct metal_vcpu *m, const struct x86_emul *e, u64 gva, unsigned size, u64 right)
{
	const struct control_record *r = &m->page->record;
	u64 offset = gva & (PAGE_SIZE - 1);

	return e->single && r->reason == REASON_MMIO &&
	       (r->mmio.error & (NPF_FINAL | right)) == (NPF_FINAL | right) &&
	       offset == (r->mmio.gpa & (PAGE_SIZE - 1)) && offset + size <= PAGE_SIZE;
}

int metal_emul_load(struct x86_emul *e, u64 gva, unsigned size, u64 *value)
{
	struct metal_vcpu *m = e->ctx;

	if (!is_reported(m, e, gva, size, 0))
		return load(m, gva, size, PRIV_CPL, value);
	*value = space_read(&m->vcpu->vm->mem, m->page->record.mmio.gpa, size);
	return 0;
}

int metal_emul_store(struct x86_emul *e, u64 gva, unsigned size, u64 value)
{
	struct metal_vcpu *m = e->ctx;

	if (!is_reported(m, e, gva, size, PF_W))
		return store(m, gva, size, PRIV_CPL, value);
	device_write(m, m->page->record.mmio.gpa, size, value);
	return 0;
}

static bool walks_four_levels(const struct x86_state *s, gva_t gva)
{
	return s->cr0 & CR0_PG && s->efer & EFER_LMA && (u64)((i64)(gva << 16) >> 16) == gva;
}

/*
 * The walk for code that the CPU has just run: four levels, all in RAM, A bits set,
 * no right in doubt. False at whatever else: then x86_walk has the say.
 */
static bool find_code(struct metal_vcpu *m, gva_t gva, gpa_t *gpa)
{
	const struct x86_state *s = &m->x.s;
	u64 entry = s->cr3, all = ~0ull, any = 0, offset;
	unsigned shift = 48;

	if (!walks_four_levels(s, gva))
		return false;
	do {
		const u8 *table = ram(m, entry & PTE_ADDRESS, PAGE_SIZE);

		if (unlikely(!table))
			return false;
		shift -= 9;
		entry = __atomic_load_n((const u64 *)(const void *)table + (gva >> shift & 511), __ATOMIC_RELAXED);
		all &= entry;
		any |= entry;
	} while (shift > 12 && !(entry & PTE_PS));
	offset = BIT(shift) - 1;
	if ((all & (PTE_P | PTE_A)) != (PTE_P | PTE_A) || any & PTE_NX)
		return false;
	if (s->cpl == 3 ? !(all & PTE_U) : all & PTE_U && s->cr4 & CR4_SMEP)
		return false;
	/* An address in RAM has no reserved bit; a large page's offset has but PAT in it. */
	if (shift == 39 || entry & PTE_ADDRESS & offset & ~BIT(12))
		return false;
	*gpa = (entry & PTE_ADDRESS & ~offset) | (gva & offset);
	return ram(m, *gpa, 1);
}

int metal_fetch(struct metal_vcpu *m, gva_t gva, u8 *code, unsigned len)
{
	unsigned n = (unsigned)MIN(PAGE_SIZE - (gva & (PAGE_SIZE - 1)), len);
	struct x86_walk w;

	if (unlikely(!find_code(m, gva, &w.gpa)) &&
		x86_walk(&m->x, gva, ACCESS_EXEC, m->x.s.cpl == 3, true, &w))
		return -1;
	read_phys(m, w.gpa, code, n);
	return (int)n;
}

/* ---- the environment of x86/ ---- */

static int env_load(struct x86_cpu *x, gva_t gva, unsigned size, enum x86_priv priv, u64 *value)
{
	return load(metal_of(x), gva, size, priv, value);
}

static int env_store(struct x86_cpu *x, gva_t gva, unsigned size, enum x86_priv priv, u64 value)
{
	return store(metal_of(x), gva, size, priv, value);
}

static u64 *env_entry(struct x86_cpu *x, gpa_t gpa)
{
	return (u64 *)(void *)ram(metal_of(x), gpa, sizeof(u64));
}

/* The hypervisor flushes when the state that says so is set. */
static void env_flush(struct x86_cpu *x, enum x86_flush kind, gva_t gva)
{
	(void)x;
	(void)kind;
	(void)gva;
}

static void env_mode_changed(struct x86_cpu *x)
{
	(void)x;
}

static int env_rdmsr(struct x86_cpu *x, u32 index, u64 *value)
{
	struct vcpu *vcpu = metal_of(x)->vcpu;

	return vcpu->vm->intc->rdmsr(vcpu, index, value) ? x86_fault_code(x, VEC_GP, 0) : 0;
}

static int env_wrmsr(struct x86_cpu *x, u32 index, u64 value)
{
	struct vcpu *vcpu = metal_of(x)->vcpu;

	metal_of(x)->tpr_stale = true;
	return vcpu->vm->intc->wrmsr(vcpu, index, value) ? x86_fault_code(x, VEC_GP, 0) : 0;
}

static u64 env_cr8(struct x86_cpu *x)
{
	return metal_of(x)->page->record.tpr;
}

static void env_set_cr8(struct x86_cpu *x, u64 value)
{
	struct metal_vcpu *m = metal_of(x);

	m->page->record.tpr = m->tpr = value;
	m->vcpu->vm->intc->set_tpr(m->vcpu, value);
}

static u64 env_host_tsc(struct x86_cpu *x)
{
	(void)x;
	return __builtin_ia32_rdtsc();
}

static bool env_write_phys(struct x86_cpu *x, gpa_t gpa, const void *data, size_t len)
{
	u8 *host = ram(metal_of(x), gpa, len);

	if (!host)
		return false;
	memcpy(host, data, len);
	return true;
}

const struct x86_env metal_env = {
	.load = env_load,
	.store = env_store,
	.entry = env_entry,
	.flush = env_flush,
	.mode_changed = env_mode_changed,
	.rdmsr = env_rdmsr,
	.wrmsr = env_wrmsr,
	.cr8 = env_cr8,
	.set_cr8 = env_set_cr8,
	.host_tsc = env_host_tsc,
	.write_phys = env_write_phys,
};
