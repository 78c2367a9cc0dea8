/* SPDX-License-Identifier: MIT */
/*
 * Nested page tables: four levels, with pages of 4 KiB, 2 MiB and 1 GiB, split and
 * merged as the mappings ask for. The entries' format is hvm->pte's; here only
 * what SVM and VT-x have in common is known, and our flags in bits 52 and up,
 * which no CPU looks at.
 *
 * Other CPUs walk the tables meanwhile: an entry changes by one store, and a
 * table that is not used any more is freed after the next flush.
 */
#include <errno.h>
#include <stdatomic.h>

#include "hv/domain.h"
#include "hv/page.h"

enum { ENTRIES = 512, OWNER_SHIFT = 52, FLAGS_SHIFT = 57, FLAGS = NPT_RWX | NPT_UNCACHED };

#define PRESENT 7ull /* SVM: P, W, U; VT-x: R, W, X */
#define LEAF BIT(7) /* at levels 2 and 3 */
#define ADDRESS 0x000ffffffffff000ull
#define GPA_END BIT(48)
#define UNMAP (~0u) /* as flags */

unsigned npt_largest = 3;

static unsigned shift_of(unsigned level)
{
	return PAGE_SHIFT + 9 * (level - 1);
}

static bool is_table(u64 entry, unsigned level)
{
	return level > 1 && entry & PRESENT && !(entry & LEAF);
}

static u64 *table_of(u64 entry)
{
	return (u64 *)(entry & ADDRESS);
}

static u64 leaf(hpa_t hpa, unsigned flags, unsigned level)
{
	u64 ours = (u64)(flags & FLAGS) << FLAGS_SHIFT | (u64)NPT_OWNER_OF(flags) << OWNER_SHIFT;

	if (!(flags & NPT_READ))
		return hpa | ours;
	return hvm->pte(hpa, (flags & FLAGS) | (level > 1 ? NPT_LARGE : 0), level) | ours;
}

static unsigned flags_of(u64 entry)
{
	return (entry >> FLAGS_SHIFT & FLAGS) | NPT_OWNER(entry >> OWNER_SHIFT & 31);
}

static void store(u64 *entry, u64 value)
{
	*(volatile u64 *)entry = value;
}

/* CPUs may still walk it: its first entry links the list, and as a page's address it maps nothing. */
static void retire(struct domain *d, u64 *table, unsigned level)
{
	u64 *head;

	for (unsigned i = 0; i < ENTRIES; i++) {
		if (is_table(table[i], level))
			retire(d, table_of(table[i]), level - 1);
	}
	head = atomic_load(&d->retired);
	do
		store(table, (u64)head);
	while (!atomic_compare_exchange_weak(&d->retired, &head, table));
}

static void replace(struct domain *d, u64 *entry, unsigned level, u64 value)
{
	u64 old = *entry;

	store(entry, value);
	if (is_table(old, level))
		retire(d, table_of(old), level - 1);
}

/* The table below an entry: new, or made of the large page that stood there. */
static u64 *descend(u64 *entry, unsigned level)
{
	u64 old = *entry, *table;

	if (is_table(old, level))
		return table_of(old);
	table = page_alloc();
	if (!table)
		return NULL;
	for (unsigned i = 0; old && i < ENTRIES; i++)
		table[i] = leaf((old & ADDRESS) + ((u64)i << shift_of(level - 1)), flags_of(old), level - 1);
	store(entry, hvm->pte((hpa_t)table, NPT_TABLE, level));
	return table;
}

/*
 * A table whose entries continue each other becomes one large page; in the primary
 * VM, of pages that nobody owns. What a guest has was mapped page by page for a
 * reason, and is given back so, without a table to be made for it.
 */
static void merge(struct domain *d, u64 *entry, unsigned level)
{
	u64 *table = table_of(*entry), first = table[0];
	u64 size = 1ull << shift_of(level - 1);

	if (!d->primary || NPT_OWNER_OF(flags_of(first)))
		return;
	if (level > npt_largest || !(first & PRESENT) || is_table(first, level - 1))
		return;
	if (first & ADDRESS & (size * ENTRIES - 1) || table[ENTRIES - 1] != first + size * (ENTRIES - 1))
		return;
	for (unsigned i = 1; i < ENTRIES; i++) {
		if (table[i] != first + size * i)
			return;
	}
	replace(d, entry, level, leaf(first & ADDRESS, flags_of(first), level));
}

/* [gpa, end) lies in one table. */
static int change(struct domain *d, u64 *table, unsigned level, u64 gpa, u64 end, hpa_t hpa, unsigned flags)
{
	u64 span = 1ull << shift_of(level);

	for (u64 next; gpa < end; hpa += next - gpa, gpa = next) {
		u64 *entry = &table[gpa >> shift_of(level) & (ENTRIES - 1)], *below;
		int err;

		next = MIN(end, ALIGN_DOWN(gpa, span) + span);
		if (next - gpa == span && (flags == UNMAP || (level <= npt_largest && !(hpa & (span - 1))))) {
			replace(d, entry, level, flags == UNMAP ? 0 : leaf(hpa, flags, level));
			continue;
		}
		if (flags == UNMAP && !*entry)
			continue;
		below = descend(entry, level);
		if (!below)
			return -ENOMEM;
		err = change(d, below, level - 1, gpa, next, hpa, flags);
		if (err)
			return err;
		if (flags != UNMAP)
			merge(d, entry, level);
	}
	return 0;
}

int npt_map(struct domain *d, u64 gpa, hpa_t hpa, u64 size, unsigned flags)
{
	if (gpa >= GPA_END || size > GPA_END - gpa)
		return -EINVAL;
	if (!d->root)
		d->root = page_alloc();
	if (!d->root)
		return -ENOMEM;
	return change(d, d->root, 4, gpa, gpa + size, hpa, flags);
}

int npt_unmap(struct domain *d, u64 gpa, u64 size)
{
	return npt_map(d, gpa, 0, size, UNMAP);
}

hpa_t npt_lookup(const struct domain *d, u64 gpa, unsigned *flags, u64 *size)
{
	const u64 *table = d->root;
	unsigned level = 4;
	u64 entry = 0;

	*size = GPA_END;
	for (; table && gpa < GPA_END; level--) {
		entry = table[gpa >> shift_of(level) & (ENTRIES - 1)];
		*size = 1ull << shift_of(level);
		if (!is_table(entry, level))
			break;
		table = table_of(entry);
	}
	*flags = flags_of(entry);
	return entry ? (entry & ADDRESS & ~(*size - 1)) + (gpa & (*size - 1)) : (hpa_t)-1;
}

u64 *npt_retired(struct domain *d)
{
	return atomic_exchange(&d->retired, NULL);
}

void npt_free_list(u64 *table)
{
	while (table) {
		u64 *next = (u64 *)table[0];

		page_free(table);
		table = next;
	}
}

void npt_free(struct domain *d)
{
	if (d->root)
		retire(d, d->root, 4);
	d->root = NULL;
	npt_free_list(npt_retired(d));
}
