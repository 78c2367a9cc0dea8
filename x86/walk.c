/* SPDX-License-Identifier: MIT */
/*
 * The guest's paging (SDM vol. 3 chapter 4): 4-level and PAE tables, and the
 * two-level tables of 32-bit paging. Rights are gathered over all levels,
 * checked once, and only then are A and D bits set, each with a
 * compare-exchange: another CPU may be changing the entry, and then the walk
 * starts again.
 */
#include "x86/cpuid.h"
#include "x86/internal.h"

/* One access's way down the tables. */
struct walk {
	struct x86_cpu *cpu;
	gva_t gva;
	unsigned access;
	bool user, smap_ok;
	unsigned depth; /* entries visited */
	void *entry[4];
	u64 value[4];
	bool narrow; /* entries are 4 bytes */
};

static int page_fault(const struct walk *w, u32 error)
{
	const struct x86_state *s = &w->cpu->s;

	if (w->access == ACCESS_WRITE)
		error |= PF_W;
	if (w->user)
		error |= PF_U;
	if (w->access == ACCESS_EXEC && (s->efer & EFER_NXE || s->cr4 & CR4_SMEP))
		error |= PF_I;
	return x86_fault_page(w->cpu, w->gva, error);
}

/* Bits that must be clear in an entry; level 1 is the page table. */
static u64 reserved_bits(const struct x86_cpu *cpu, unsigned level, u64 entry)
{
	u64 reserved = PTE_ADDRESS & ~(BIT(x86_phys_bits(cpu)) - 1);

	if (!(cpu->s.efer & EFER_NXE))
		reserved |= PTE_NX;
	if (!x86_long_mode(cpu))
		reserved |= 0x7ff0000000000000ull;
	if (level == 4)
		return reserved | PTE_PS;
	if (level > 1 && entry & PTE_PS)
		reserved |= (BIT(12 + 9 * (level - 1)) - 1) & ~0x1fffull;
	return reserved;
}

static int check_rights(const struct walk *w, const struct x86_walk *out)
{
	const struct x86_state *s = &w->cpu->s;
	bool denied;

	if (w->user)
		denied = !out->user || (w->access == ACCESS_WRITE && !out->writable);
	else if (w->access == ACCESS_EXEC)
		denied = out->user && s->cr4 & CR4_SMEP;
	else
		denied = (out->user && s->cr4 & CR4_SMAP && !w->smap_ok) ||
			 (w->access == ACCESS_WRITE && !out->writable && s->cr0 & CR0_WP);
	if (w->access == ACCESS_EXEC && out->nx)
		denied = true;
	return denied ? page_fault(w, PF_P) : 0;
}

static void combine(struct x86_walk *out, u64 entry)
{
	out->writable = out->writable && entry & PTE_W;
	out->user = out->user && entry & PTE_U;
	out->nx = out->nx || entry & PTE_NX;
}

static void finish(const struct walk *w, struct x86_walk *out, u64 frame, unsigned shift)
{
	u64 offset = BIT(shift) - 1;
	u64 leaf = w->value[w->depth - 1];

	out->page_size = BIT(shift);
	out->gpa = (frame & ~offset) | (w->gva & offset);
	out->global = leaf & PTE_G && w->cpu->s.cr4 & CR4_PGE;
	out->dirty = leaf & PTE_D || w->access == ACCESS_WRITE;
}

/* The value of an entry of the table at this physical address; remembers where it stands. */
static bool read_entry(struct walk *w, gpa_t gpa, u64 *value)
{
	u64 *slot = w->cpu->env->entry(w->cpu, gpa & ~7ull);

	if (unlikely(!slot))
		return false;
	if (w->narrow) {
		w->entry[w->depth] = (char *)slot + (gpa & 4);
		*value = __atomic_load_n((u32 *)w->entry[w->depth], __ATOMIC_RELAXED);
	} else {
		w->entry[w->depth] = slot;
		*value = __atomic_load_n(slot, __ATOMIC_RELAXED);
	}
	w->value[w->depth++] = *value;
	return true;
}

/* 4-level paging, or PAE from its page directory pointers on. */
static int descend(struct walk *w, struct x86_walk *out)
{
	bool pae = !x86_long_mode(w->cpu);
	unsigned level = pae ? 3 : 4;
	u64 table = w->cpu->s.cr3 & (pae ? 0xffffffe0ull : PTE_ADDRESS);

	for (;; level--) {
		unsigned shift = 12 + 9 * (level - 1);
		u64 entry;

		/* A table outside of RAM reads as all ones, and ones are reserved bits. */
		if (!read_entry(w, table + (w->gva >> shift & 511) * 8, &entry))
			return page_fault(w, PF_P | PF_RSVD);
		if (!(entry & PTE_P))
			return page_fault(w, 0);
		if (pae && level == 3) {
			/* The four pointers have no rights and no A bit. */
			w->depth--;
			table = entry & PTE_ADDRESS;
			continue;
		}
		if (unlikely(entry & reserved_bits(w->cpu, level, entry)))
			return page_fault(w, PF_P | PF_RSVD);
		combine(out, entry);
		if (level == 1 || entry & PTE_PS) {
			finish(w, out, entry & PTE_ADDRESS, shift);
			return 0;
		}
		table = entry & PTE_ADDRESS;
	}
}

/* 32-bit paging: 4 KiB pages, and 4 MiB ones with the PSE-36 address bits. */
static int descend_narrow(struct walk *w, struct x86_walk *out)
{
	u64 entry;

	w->narrow = true;
	if (!read_entry(w, (w->cpu->s.cr3 & 0xfffff000u) + (w->gva >> 22 & 1023) * 4, &entry))
		return page_fault(w, PF_P | PF_RSVD);
	if (!(entry & PTE_P))
		return page_fault(w, 0);
	combine(out, entry);
	if (entry & PTE_PS && w->cpu->s.cr4 & CR4_PSE) {
		if (entry & BIT(21))
			return page_fault(w, PF_P | PF_RSVD);
		finish(w, out, (entry & 0xffc00000u) | (entry & 0x1fe000) << 19, 22);
		return 0;
	}
	if (!read_entry(w, (entry & 0xfffff000u) + (w->gva >> 12 & 1023) * 4, &entry))
		return page_fault(w, PF_P | PF_RSVD);
	if (!(entry & PTE_P))
		return page_fault(w, 0);
	combine(out, entry);
	finish(w, out, entry & 0xfffff000u, 12);
	return 0;
}

static bool swap_entry(const struct walk *w, unsigned i, u64 value)
{
	if (w->narrow) {
		u32 old = (u32)w->value[i];

		return __atomic_compare_exchange_n(
			(u32 *)w->entry[i], &old, (u32)value, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
	}
	u64 old = w->value[i];

	return __atomic_compare_exchange_n(
		(u64 *)w->entry[i], &old, value, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
}

/* Sets A everywhere and D in the leaf. False when an entry has changed meanwhile. */
static bool mark(const struct walk *w)
{
	for (unsigned i = 0; i < w->depth; i++) {
		u64 value = w->value[i] | PTE_A;

		if (i == w->depth - 1 && w->access == ACCESS_WRITE)
			value |= PTE_D;
		if (value != w->value[i] && !swap_entry(w, i, value))
			return false;
	}
	return true;
}

static void walk_identity(gva_t gva, struct x86_walk *out)
{
	out->gpa = (u32)gva;
	out->page_size = PAGE_SIZE;
	out->user = true;
	out->writable = true;
	out->nx = false;
	out->global = false;
	out->dirty = true;
}

int x86_walk(struct x86_cpu *cpu, gva_t gva, unsigned access, bool user, bool smap_ok, struct x86_walk *out)
{
	struct walk w;

	if (unlikely(!(cpu->s.cr0 & CR0_PG))) {
		walk_identity(gva, out);
		return 0;
	}
	if (unlikely(x86_long_mode(cpu) && !x86_canonical(gva)))
		return x86_gp(cpu, 0);
	w.cpu = cpu;
	w.gva = gva;
	w.access = access;
	w.user = user;
	w.smap_ok = smap_ok;
	do {
		w.depth = 0;
		w.narrow = false;
		out->user = true;
		out->writable = true;
		out->nx = false;
		if (likely(cpu->s.cr4 & CR4_PAE) ? descend(&w, out) : descend_narrow(&w, out))
			return -1;
		if (check_rights(&w, out))
			return -1;
	} while (!mark(&w));
	return 0;
}
