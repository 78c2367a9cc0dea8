/* SPDX-License-Identifier: MIT */
/*
 * An address space: memory or ports, the same type, two instances. A region
 * covers RAM, ROM, MMIO or ports; a region that is added later hides the
 * earlier ones below it.
 *
 * Thread context: space_add, space_move and space_remove run before the VM
 * starts, with every vCPU stopped, or with the machine lock held on the thread of
 * the only vCPU (vm_map_changed follows). space_read and space_write may be called
 * by any vCPU; they take the lock of the region's device around its ops. Other
 * threads hold the machine lock when they look into the space.
 * Accesses that no region claims read all ones and drop writes.
 */
#pragma once

#include "lib/types.h"

struct device;

enum {
	DIRECT_READ = 1,
	DIRECT_WRITE = 2,
};

/* Whatever the guest does, ops see naturally aligned accesses of a size that they take. */
struct region_ops {
	u64 (*read)(struct device *dev, u64 offset, unsigned size);
	void (*write)(struct device *dev, u64 offset, unsigned size, u64 value);
	u8 min_size, max_size; /* bytes; the space splits and widens other sizes; 0 means 1 and 8 */
};

struct region {
	const char *name;
	u64 base, size;
	u8 *host; /* backing memory, or NULL */
	unsigned direct; /* DIRECT_*: accesses that go straight to host */
	const struct region_ops *ops; /* serves every other access; NULL: open bus */
	struct device *dev; /* given to ops; its lock is held around them */
	struct region *next; /* owned by the space: later ones first */
};

/* One piece of the flattened view: [base, end) is served by region. */
struct extent {
	u64 base, end;
	struct region *region;
};

struct space {
	struct region *regions;
	struct extent *extents; /* sorted, no overlaps */
	unsigned nextents;
	u64 limit; /* addresses are below this */
};

int space_init(struct space *space, u64 limit);
void space_fini(struct space *space);
/* The region stays the caller's and must outlive its membership. 0 or -errno. */
int space_add(struct space *space, struct region *region);
/* The same, beneath all others: they hide it where they overlap. (A BAR, which the guest may put anywhere.) */
int space_add_below(struct space *space, struct region *region);
int space_move(struct space *space, struct region *region, u64 base);
void space_remove(struct space *space, struct region *region);

/* size is 1, 2, 4 or 8; no alignment is required. */
u64 space_read(struct space *space, u64 addr, unsigned size);
void space_write(struct space *space, u64 addr, unsigned size, u64 value);

/*
 * The host address behind [addr, addr + len), or NULL unless one region with
 * all the `direct` bits backs the whole range.
 */
void *space_host(const struct space *space, u64 addr, u64 len, unsigned direct);
/* The extent that holds addr, or NULL. */
const struct extent *space_find(const struct space *space, u64 addr);
