/* SPDX-License-Identifier: MIT */
/* MSI: one message for all vectors of a function, with a mask bit and a pending bit for each. */
#include <errno.h>
#include <linux/pci_regs.h>

#include "dev/pci/host.h"

enum {
	SIZE = 0x18, /* 64-bit address, per-vector masking */
	MAX_VECTORS = 32,
};

int pci_add_msi(struct pci_function *fn, unsigned vectors)
{
	unsigned log = 0;
	int cap;

	while (log < 5 && 1u << log < vectors)
		log++;
	if (!vectors || vectors > MAX_VECTORS || 1u << log != vectors || fn->msi)
		return -EINVAL;
	cap = pci_add_capability(fn, PCI_CAP_ID_MSI, SIZE);
	if (cap < 0)
		return cap;
	fn->msi = (u16)cap;
	pci_config_set(fn, fn->msi + PCI_MSI_FLAGS, 2, PCI_MSI_FLAGS_64BIT | PCI_MSI_FLAGS_MASKBIT | log << 1);
	pci_config_writable(fn, fn->msi + PCI_MSI_FLAGS, 2, PCI_MSI_FLAGS_ENABLE | PCI_MSI_FLAGS_QSIZE);
	pci_config_writable(fn, fn->msi + PCI_MSI_ADDRESS_LO, 4, ~3u);
	pci_config_writable(fn, fn->msi + PCI_MSI_ADDRESS_HI, 4, ~0u);
	pci_config_writable(fn, fn->msi + PCI_MSI_DATA_64, 2, 0xffff);
	pci_config_writable(fn, fn->msi + PCI_MSI_MASK_64, 4, (u32)(BIT(vectors) - 1));
	return 0;
}

/* Vectors that the OS has enabled: never more than there are. */
static unsigned enabled(const struct pci_function *fn)
{
	u32 flags = pci_config_get(fn, fn->msi + PCI_MSI_FLAGS, 2);
	u32 have = (flags & PCI_MSI_FLAGS_QMASK) >> 1, want = (flags & PCI_MSI_FLAGS_QSIZE) >> 4;

	return 1u << MIN(have, want);
}

static void send(struct pci_function *fn, unsigned vector)
{
	u64 addr = pci_config_get(fn, fn->msi + PCI_MSI_ADDRESS_LO, 4);
	u32 data = pci_config_get(fn, fn->msi + PCI_MSI_DATA_64, 2);

	addr |= (u64)pci_config_get(fn, fn->msi + PCI_MSI_ADDRESS_HI, 4) << 32;
	/* The low bits of the data are the vector's. */
	pci_message(fn, addr, (data & ~(enabled(fn) - 1)) | vector);
}

void pci_msi_raise(struct pci_function *fn, unsigned vector)
{
	u32 masks = pci_config_get(fn, fn->msi + PCI_MSI_MASK_64, 4);
	unsigned pending = fn->msi + PCI_MSI_PENDING_64;

	vector &= enabled(fn) - 1; /* what the OS did not enable shares */
	if (masks >> vector & 1 || !pci_awake(fn))
		pci_config_set(fn, pending, 4, pci_config_get(fn, pending, 4) | 1u << vector);
	else
		send(fn, vector);
}

/* A vector that is unmasked sends what was pending, and so do all when the function wakes. */
void pci_msi_written(struct pci_function *fn)
{
	unsigned pending = fn->msi + PCI_MSI_PENDING_64;
	u32 due;

	if (!fn->msi || !pci_msi_on(fn) || !pci_awake(fn))
		return;
	due = pci_config_get(fn, pending, 4) & ~pci_config_get(fn, fn->msi + PCI_MSI_MASK_64, 4);
	pci_config_set(fn, pending, 4, pci_config_get(fn, pending, 4) & ~due);
	for (unsigned i = 0; i < enabled(fn); i++) {
		if (due >> i & 1)
			send(fn, i);
	}
}
