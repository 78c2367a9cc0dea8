/* SPDX-License-Identifier: MIT */
/* MSI-X: a table of messages and a bit array of pending ones, in a BAR of their own. */
#include <errno.h>
#include <linux/pci_regs.h>
#include <stdlib.h>
#include <string.h>

#include "dev/pci/host.h"
#include "lib/width.h"

enum {
	CAP_SIZE = 12,
	MAX_VECTORS = 2048,
	ENTRY_SIZE = PCI_MSIX_ENTRY_SIZE,
};

struct pci_msix {
	struct region region;
	struct pci_function *fn;
	unsigned vectors;
	u32 pba; /* offset of the pending bits */
	bool was_off; /* as control said before: disabled or all masked; or the function slept */
	u64 pending[MAX_VECTORS / 64];
	u8 table[]; /* ENTRY_SIZE each: address, data, vector control */
};

static u32 entry_get(const struct pci_msix *msix, unsigned vector, unsigned field)
{
	return (u32)width_load(msix->table + vector * ENTRY_SIZE + field, 4);
}

static bool all_masked(const struct pci_function *fn)
{
	u32 flags = pci_config_get(fn, fn->msix_cap + PCI_MSIX_FLAGS, 2);

	return !(flags & PCI_MSIX_FLAGS_ENABLE) || flags & PCI_MSIX_FLAGS_MASKALL || !pci_awake(fn);
}

static bool masked(const struct pci_msix *msix, unsigned vector)
{
	return all_masked(msix->fn) ||
	       entry_get(msix, vector, PCI_MSIX_ENTRY_VECTOR_CTRL) & PCI_MSIX_ENTRY_CTRL_MASKBIT;
}

static void send(struct pci_msix *msix, unsigned vector)
{
	u64 addr = entry_get(msix, vector, PCI_MSIX_ENTRY_LOWER_ADDR);

	addr |= (u64)entry_get(msix, vector, PCI_MSIX_ENTRY_UPPER_ADDR) << 32;
	pci_message(msix->fn, addr, entry_get(msix, vector, PCI_MSIX_ENTRY_DATA));
}

static void send_pending(struct pci_msix *msix, unsigned vector)
{
	u64 bit = BIT(vector % 64);

	if (!(msix->pending[vector / 64] & bit) || masked(msix, vector))
		return;
	msix->pending[vector / 64] &= ~bit;
	send(msix, vector);
}

void pci_msix_raise(struct pci_function *fn, unsigned vector)
{
	struct pci_msix *msix = fn->msix;

	if (vector >= msix->vectors)
		return; /* a guest's driver may have asked for one that is not there */
	if (masked(msix, vector))
		msix->pending[vector / 64] |= BIT(vector % 64);
	else
		send(msix, vector);
}

void pci_msix_written(struct pci_function *fn)
{
	struct pci_msix *msix = fn->msix;
	bool off;

	if (!msix)
		return;
	off = all_masked(fn);
	if (msix->was_off && !off) {
		for (unsigned i = 0; i < msix->vectors; i++)
			send_pending(msix, i);
	}
	msix->was_off = off;
}

/* ---- the BAR ---- */

static struct pci_msix *of(struct device *dev)
{
	return container_of(dev, struct pci_function, dev)->msix;
}

static u64 msix_read(struct device *dev, u64 offset, unsigned size)
{
	const struct pci_msix *msix = of(dev);
	u64 table = (u64)msix->vectors * ENTRY_SIZE;

	if (offset + size <= table)
		return width_load(msix->table + offset, size);
	if (offset >= msix->pba && offset - msix->pba + size <= sizeof(msix->pending))
		return width_load((const u8 *)msix->pending + (offset - msix->pba), size);
	return 0;
}

static void msix_write(struct device *dev, u64 offset, unsigned size, u64 value)
{
	struct pci_msix *msix = of(dev);
	unsigned vector = (unsigned)(offset / ENTRY_SIZE);
	u8 *control;

	if (offset + size > (u64)msix->vectors * ENTRY_SIZE)
		return; /* the pending bits are read-only */
	width_store(msix->table + offset, size, value);
	control = msix->table + vector * ENTRY_SIZE + PCI_MSIX_ENTRY_VECTOR_CTRL;
	width_store(control, 4, *control & PCI_MSIX_ENTRY_CTRL_MASKBIT);
	send_pending(msix, vector);
}

static const struct region_ops msix_ops = {msix_read, msix_write, 4, 8};

/* ---- life ---- */

void pci_msix_reset(struct pci_function *fn)
{
	struct pci_msix *msix = fn->msix;

	if (!msix)
		return;
	memset(msix->pending, 0, sizeof(msix->pending));
	memset(msix->table, 0, (size_t)msix->vectors * ENTRY_SIZE);
	for (unsigned i = 0; i < msix->vectors; i++)
		msix->table[i * ENTRY_SIZE + PCI_MSIX_ENTRY_VECTOR_CTRL] = PCI_MSIX_ENTRY_CTRL_MASKBIT;
	msix->was_off = true;
}

/* Half of the BAR is the table's, half the pending bits': at least 2 KiB each. */
static void lay_out(struct pci_msix *msix, u64 *size)
{
	*size = PAGE_SIZE;
	while (*size / 2 < (u64)msix->vectors * ENTRY_SIZE)
		*size *= 2;
	msix->pba = (u32)(*size / 2);
}

static int add_cap(struct pci_function *fn, unsigned bar)
{
	int cap = pci_add_capability(fn, PCI_CAP_ID_MSIX, CAP_SIZE);

	if (cap < 0)
		return cap;
	fn->msix_cap = (u16)cap;
	pci_config_set(fn, fn->msix_cap + PCI_MSIX_FLAGS, 2, fn->msix->vectors - 1);
	pci_config_writable(fn, fn->msix_cap + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	pci_config_set(fn, fn->msix_cap + PCI_MSIX_TABLE, 4, bar);
	pci_config_set(fn, fn->msix_cap + PCI_MSIX_PBA, 4, fn->msix->pba | bar);
	return 0;
}

int pci_add_msix(struct pci_function *fn, unsigned vectors, unsigned bar)
{
	struct pci_msix *msix;
	u64 size;
	int ret;

	if (!vectors || vectors > MAX_VECTORS || fn->msix)
		return -EINVAL;
	msix = calloc(1, sizeof(*msix) + (size_t)vectors * ENTRY_SIZE);
	if (!msix)
		return -ENOMEM;
	msix->fn = fn;
	msix->vectors = vectors;
	lay_out(msix, &size);
	msix->region = (struct region){.name = "msi-x table", .ops = &msix_ops, .dev = &fn->dev};
	fn->msix = msix;
	ret = pci_add_bar(fn, bar, PCI_BAR_MEM32, size, &msix->region);
	if (!ret)
		ret = add_cap(fn, bar);
	pci_msix_reset(fn);
	return ret; /* pci_function_fini releases it in any case */
}

void pci_msix_fini(struct pci_function *fn)
{
	free(fn->msix);
	fn->msix = NULL;
	fn->msix_cap = 0; /* and no vector is sent any more */
}
