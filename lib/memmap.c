/* SPDX-License-Identifier: MIT */
/* The map of physical memory: a sorted list of ranges without overlaps. */
#include "lib/memmap.h"

#include <errno.h>

static int insert(struct memmap *map, unsigned at, struct mem_range range)
{
	if (map->count == MEMMAP_MAX)
		return -ENOSPC;
	for (unsigned i = map->count++; i > at; i--)
		map->range[i] = map->range[i - 1];
	map->range[at] = range;
	return 0;
}

static void delete(struct memmap *map, unsigned at)
{
	map->count--;
	for (unsigned i = at; i < map->count; i++)
		map->range[i] = map->range[i + 1];
}

static u64 end_of(const struct mem_range *range)
{
	return range->base + range->size;
}

/* If a range holds addr in its middle, it becomes two. */
static int split(struct memmap *map, u64 addr)
{
	for (unsigned i = 0; i < map->count; i++) {
		struct mem_range *r = &map->range[i];
		struct mem_range tail = {addr, end_of(r) - addr, r->type};

		if (r->base >= addr || end_of(r) <= addr)
			continue;
		r->size -= tail.size;
		return insert(map, i + 1, tail);
	}
	return 0;
}

/* Neighbours of one type become one range. */
static void join(struct memmap *map)
{
	for (unsigned i = 0; i + 1 < map->count;) {
		struct mem_range *r = &map->range[i];

		if (end_of(r) == r[1].base && r->type == r[1].type) {
			r->size += r[1].size;
			delete (map, i + 1);
		} else {
			i++;
		}
	}
}

int memmap_set(struct memmap *map, u64 base, u64 size, u32 type)
{
	unsigned at = 0;
	int ret;

	if (size > UINT64_MAX - base)
		size = UINT64_MAX - base;
	if (!size)
		return 0;
	ret = split(map, base);
	if (!ret)
		ret = split(map, base + size);
	if (ret)
		return ret;
	while (at < map->count && map->range[at].base < base)
		at++;
	while (at < map->count && map->range[at].base < base + size)
		delete (map, at);
	ret = insert(map, at, (struct mem_range){base, size, type});
	join(map);
	return ret;
}

/* RAM takes only what no range has yet. */
static int add_ram(struct memmap *map, u64 base, u64 end)
{
	for (unsigned i = 0; base < end; i++) {
		struct mem_range next = i < map->count ? map->range[i] : (struct mem_range){end, 0, 0};
		u64 gap = MIN(next.base, end);
		int ret;

		if (end_of(&next) <= base && next.size)
			continue;
		if (base < gap) {
			ret = insert(map, i++, (struct mem_range){base, gap - base, MEM_RAM});
			if (ret)
				return ret;
		}
		base = MAX(base, end_of(&next));
	}
	join(map);
	return 0;
}

int memmap_add(struct memmap *map, u64 base, u64 size, u32 type)
{
	if (size > UINT64_MAX - base)
		size = UINT64_MAX - base;
	return type == MEM_RAM ? add_ram(map, base, base + size) : memmap_set(map, base, size, type);
}

bool memmap_is(const struct memmap *map, u64 base, u64 size, u32 type)
{
	for (unsigned i = 0; i < map->count; i++) {
		const struct mem_range *r = &map->range[i];

		if (base >= r->base && base < end_of(r))
			return r->type == type && size <= end_of(r) - base;
	}
	return false;
}

u64 memmap_top(const struct memmap *map)
{
	for (unsigned i = map->count; i-- > 0;)
		if (map->range[i].type == MEM_RAM)
			return end_of(&map->range[i]);
	return 0;
}
