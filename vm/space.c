/* SPDX-License-Identifier: MIT */
/*
 * Address spaces. The list of overlapping regions is flattened into sorted
 * extents whenever it changes; an access is then a binary search, or nothing
 * at all when this thread's last access was to the same extent.
 */
#include "vm/space.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "lib/width.h"
#include "vm/device.h"

/* Index of the extent that this thread used last, in whichever space. */
static _Thread_local unsigned hint;

/* ---- the flattened view ---- */

static int compare_addresses(const void *a, const void *b)
{
	u64 x = *(const u64 *)a, y = *(const u64 *)b;

	return x < y ? -1 : x > y;
}

static bool covers(const struct region *region, u64 addr)
{
	return addr - region->base < region->size;
}

/* Later regions come first in the list, so the first that covers addr is seen. */
static struct region *visible_at(const struct space *space, u64 addr)
{
	for (struct region *r = space->regions; r; r = r->next) {
		if (covers(r, addr))
			return r;
	}
	return NULL;
}

static unsigned boundaries(const struct space *space, u64 *edges)
{
	unsigned n = 0;

	for (const struct region *r = space->regions; r; r = r->next) {
		edges[n++] = r->base;
		edges[n++] = r->base + r->size;
	}
	qsort(edges, n, sizeof(*edges), compare_addresses);
	return n;
}

static unsigned build_extents(
	const struct space *space, const u64 *edges, unsigned nedges, struct extent *extents)
{
	unsigned n = 0;

	for (unsigned i = 0; i + 1 < nedges; i++) {
		struct region *region;

		if (edges[i] == edges[i + 1])
			continue;
		region = visible_at(space, edges[i]);
		if (!region)
			continue;
		if (n && extents[n - 1].region == region && extents[n - 1].end == edges[i])
			extents[n - 1].end = edges[i + 1];
		else
			extents[n++] = (struct extent){edges[i], edges[i + 1], region};
	}
	return n;
}

static int flatten(struct space *space)
{
	unsigned count = 0;
	struct extent *extents;
	u64 *edges;

	for (const struct region *r = space->regions; r; r = r->next)
		count++;
	edges = calloc(2 * count + 1, sizeof(*edges));
	extents = calloc(2 * count + 1, sizeof(*extents));
	if (!edges || !extents) {
		free(edges);
		free(extents);
		return -ENOMEM;
	}
	space->nextents = build_extents(space, edges, boundaries(space, edges), extents);
	free(edges);
	free(space->extents);
	space->extents = extents;
	return 0;
}

int space_init(struct space *space, u64 limit)
{
	*space = (struct space){.limit = limit};
	return 0;
}

void space_fini(struct space *space)
{
	free(space->extents);
	*space = (struct space){0};
}

static bool fits(const struct space *space, u64 base, u64 size)
{
	return size && base < space->limit && size <= space->limit - base;
}

int space_add(struct space *space, struct region *region)
{
	int ret;

	if (!fits(space, region->base, region->size))
		return -EINVAL;
	region->next = space->regions;
	space->regions = region;
	ret = flatten(space);
	if (ret)
		space->regions = region->next;
	return ret;
}

int space_add_below(struct space *space, struct region *region)
{
	struct region **link = &space->regions;
	int ret;

	if (!fits(space, region->base, region->size))
		return -EINVAL;
	while (*link)
		link = &(*link)->next;
	region->next = NULL;
	*link = region;
	ret = flatten(space);
	if (ret)
		*link = NULL;
	return ret;
}

int space_move(struct space *space, struct region *region, u64 base)
{
	u64 old = region->base;
	int ret;

	if (!fits(space, base, region->size))
		return -EINVAL;
	region->base = base;
	ret = flatten(space);
	if (ret)
		region->base = old;
	return ret;
}

/* Removing cannot fail: without memory for a new view the old one is cut. */
static void cut_extents(struct space *space, const struct region *region)
{
	unsigned n = 0;

	for (unsigned i = 0; i < space->nextents; i++) {
		if (space->extents[i].region != region)
			space->extents[n++] = space->extents[i];
	}
	space->nextents = n;
}

void space_remove(struct space *space, struct region *region)
{
	struct region **link = &space->regions;

	while (*link && *link != region)
		link = &(*link)->next;
	if (!*link)
		return;
	*link = region->next;
	if (flatten(space))
		cut_extents(space, region);
}

/* ---- accesses ---- */

static bool within(const struct extent *extent, u64 addr)
{
	return addr >= extent->base && addr < extent->end;
}

const struct extent *space_find(const struct space *space, u64 addr)
{
	unsigned low = 0, high = space->nextents;

	if (hint < high && within(&space->extents[hint], addr))
		return &space->extents[hint];
	while (low < high) {
		unsigned mid = (low + high) / 2;

		if (addr < space->extents[mid].base) {
			high = mid;
		} else if (addr >= space->extents[mid].end) {
			low = mid + 1;
		} else {
			hint = mid;
			return &space->extents[mid];
		}
	}
	return NULL;
}

void *space_host(const struct space *space, u64 addr, u64 len, unsigned direct)
{
	const struct extent *extent = space_find(space, addr);
	const struct region *region;

	if (!extent || len > extent->end - addr)
		return NULL;
	region = extent->region;
	if (!region->host || (region->direct & direct) != direct)
		return NULL;
	return region->host + (addr - region->base);
}

static u64 ones(unsigned size)
{
	return UINT64_MAX >> (64 - 8 * size);
}

static unsigned min_size(const struct region_ops *ops)
{
	return ops->min_size ? ops->min_size : 1;
}

/* The largest naturally aligned piece at offset that the device takes. */
static unsigned piece_size(const struct region_ops *ops, u64 offset, unsigned left)
{
	unsigned size = ops->max_size ? ops->max_size : 8;

	while (size > left || offset & (size - 1))
		size /= 2;
	return size;
}

/* Reads one aligned piece, widened to the least that the device takes. */
static u64 piece_read(const struct region *region, u64 offset, unsigned size)
{
	const struct region_ops *ops = region->ops;
	unsigned least = min_size(ops);
	u64 start = ALIGN_DOWN(offset, (u64)least);

	if (size >= least)
		return ops->read(region->dev, offset, size) & ones(size);
	return ops->read(region->dev, start, least) >> (8 * (offset - start)) & ones(size);
}

static void piece_write(const struct region *region, u64 offset, unsigned size, u64 value)
{
	const struct region_ops *ops = region->ops;
	unsigned least = min_size(ops);
	u64 start = ALIGN_DOWN(offset, (u64)least);
	unsigned shift = (unsigned)(8 * (offset - start));
	u64 rest;

	if (size >= least) {
		ops->write(region->dev, offset, size, value & ones(size));
		return;
	}
	rest = ops->read ? ops->read(region->dev, start, least) & ones(least) : 0;
	rest &= ~(ones(size) << shift);
	ops->write(region->dev, start, least, rest | (value & ones(size)) << shift);
}

static void lock(const struct region *region)
{
	if (region->dev && region->dev->lock)
		pthread_mutex_lock(region->dev->lock);
}

static void unlock(const struct region *region)
{
	if (region->dev && region->dev->lock)
		pthread_mutex_unlock(region->dev->lock);
}

static u64 pieces_read(const struct region *region, u64 offset, unsigned size)
{
	u64 value = 0;

	for (unsigned done = 0, n; done < size; done += n) {
		n = piece_size(region->ops, offset + done, size - done);
		value |= piece_read(region, offset + done, n) << (8 * done);
	}
	return value;
}

static void pieces_write(const struct region *region, u64 offset, unsigned size, u64 value)
{
	for (unsigned done = 0, n; done < size; done += n) {
		n = piece_size(region->ops, offset + done, size - done);
		piece_write(region, offset + done, n, value >> (8 * done));
	}
}

/* One call of the device does. */
static bool fits_ops(const struct region_ops *ops, u64 offset, unsigned size)
{
	return !(offset & (size - 1)) && size >= ops->min_size && (size <= ops->max_size || !ops->max_size);
}

static u64 region_read(const struct region *region, u64 offset, unsigned size)
{
	const struct region_ops *ops = region->ops;
	u64 value;

	if (region->host && region->direct & DIRECT_READ)
		return width_load(region->host + offset, size);
	if (!ops || !ops->read)
		return ones(size);
	lock(region);
	if (likely(fits_ops(ops, offset, size)))
		value = ops->read(region->dev, offset, size) & ones(size);
	else
		value = pieces_read(region, offset, size);
	unlock(region);
	return value;
}

static void region_write(const struct region *region, u64 offset, unsigned size, u64 value)
{
	if (region->host && region->direct & DIRECT_WRITE) {
		width_store(region->host + offset, size, value);
		return;
	}
	if (!region->ops || !region->ops->write)
		return;
	lock(region);
	if (likely(fits_ops(region->ops, offset, size)))
		region->ops->write(region->dev, offset, size, value & ones(size));
	else
		pieces_write(region, offset, size, value);
	unlock(region);
}

/* Accesses that touch two extents, or a hole, go byte by byte. */
static u64 read_bytes(struct space *space, u64 addr, unsigned size)
{
	u64 value = 0;

	for (unsigned i = 0; i < size; i++) {
		const struct extent *extent = space_find(space, addr + i);
		u64 byte = 0xff;

		if (extent)
			byte = region_read(extent->region, addr + i - extent->region->base, 1);
		value |= byte << (8 * i);
	}
	return value;
}

static void write_bytes(struct space *space, u64 addr, unsigned size, u64 value)
{
	for (unsigned i = 0; i < size; i++) {
		const struct extent *extent = space_find(space, addr + i);

		if (extent)
			region_write(
				extent->region, addr + i - extent->region->base, 1, value >> (8 * i) & 0xff);
	}
}

u64 space_read(struct space *space, u64 addr, unsigned size)
{
	const struct extent *extent = space_find(space, addr);

	if (!extent || size > extent->end - addr)
		return read_bytes(space, addr, size);
	return region_read(extent->region, addr - extent->region->base, size);
}

void space_write(struct space *space, u64 addr, unsigned size, u64 value)
{
	const struct extent *extent = space_find(space, addr);

	if (!extent || size > extent->end - addr)
		write_bytes(space, addr, size, value);
	else
		region_write(extent->region, addr - extent->region->base, size, value);
}
