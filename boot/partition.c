/* SPDX-License-Identifier: MIT */
/* Partition tables: GPT (UEFI specification, 5.3) and MBR with its chain of logical partitions. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "boot/store.h"

#define GPT_ENTRY_MAX 4096u
#define MBR_ENTRIES 4u
#define MBR_TABLE 446u
#define MBR_LOGICAL_MAX 60u
#define TYPE_GPT 0xee
#define LOGICAL_FIRST 5u

struct gpt_header {
	char signature[8];
	u32 revision, header_size, crc, reserved;
	u64 self, backup, first, last;
	u8 disk_guid[16];
	u64 entries;
	u32 count, entry_size, entries_crc;
} __attribute__((packed));

struct gpt_entry {
	u8 type[16], guid[16];
	u64 first, last;
} __attribute__((packed));

struct mbr_entry {
	u8 status, chs_first[3], type, chs_last[3];
	u32 first, count;
} __attribute__((packed));

struct list {
	struct boot_store *store;
	struct partition *at;
	unsigned n, max;
};

static void add(struct list *list, u64 first, u64 count, unsigned number, const u8 *guid)
{
	u64 sectors = list->store->size / STORE_SECTOR;
	struct partition *p = &list->at[list->n];

	if (list->n == list->max || !count || first >= sectors || count > sectors - first)
		return;
	*p = (struct partition){.offset = first * STORE_SECTOR, .size = count * STORE_SECTOR, .number = number};
	if (guid) {
		memcpy(p->guid, guid, sizeof(p->guid));
		p->has_guid = true;
	}
	list->n++;
}

static bool all_zero(const u8 *p, size_t n)
{
	while (n && !*p)
		p++, n--;
	return !n;
}

static int read_gpt(struct list *list)
{
	struct gpt_header head;
	struct gpt_entry entry;
	int ret = list->store->read(list->store, STORE_SECTOR, &head, sizeof(head));
	u64 size = list->store->size, at;

	if (ret)
		return ret;
	if (memcmp(head.signature, "EFI PART", 8) || head.entry_size < sizeof(entry) ||
		head.entry_size > GPT_ENTRY_MAX || head.entries >= size / STORE_SECTOR)
		return -EINVAL;
	at = head.entries * STORE_SECTOR;
	for (unsigned i = 0; i < MIN(head.count, PARTITIONS_MAX); i++, at += head.entry_size) {
		if (size - at < head.entry_size)
			return 0;
		ret = list->store->read(list->store, at, &entry, sizeof(entry));
		if (ret)
			return ret;
		if (!all_zero(entry.type, sizeof(entry.type)) && entry.last >= entry.first)
			add(list, entry.first, entry.last - entry.first + 1, i + 1, entry.guid);
	}
	return 0;
}

static bool is_extended(u8 type)
{
	return type == 0x05 || type == 0x0f || type == 0x85;
}

static int read_mbr(struct list *list, u64 sector, struct mbr_entry *entry)
{
	u8 block[STORE_SECTOR];
	int ret;

	if (sector >= list->store->size / STORE_SECTOR)
		return -EINVAL;
	ret = list->store->read(list->store, sector * STORE_SECTOR, block, sizeof(block));
	if (ret)
		return ret;
	memcpy(entry, block + MBR_TABLE, MBR_ENTRIES * sizeof(*entry));
	return block[510] == 0x55 && block[511] == 0xaa ? 0 : -EINVAL;
}

/* Each logical partition stands in a table of its own, with a link to the next one. */
static void read_logical(struct list *list, u32 extended)
{
	struct mbr_entry entry[MBR_ENTRIES];
	u32 next = 0;

	for (unsigned i = 0; i < MBR_LOGICAL_MAX; i++) {
		u64 at = (u64)extended + next;

		if (read_mbr(list, at, entry))
			return;
		add(list, at + entry[0].first, entry[0].count, LOGICAL_FIRST + i, NULL);
		if (!is_extended(entry[1].type) || entry[1].first <= next)
			return;
		next = entry[1].first;
	}
}

int partitions_read(struct boot_store *store, struct partition *out, unsigned max)
{
	struct list list = {.store = store, .at = out, .max = max};
	struct mbr_entry entry[MBR_ENTRIES];
	int ret = read_mbr(&list, 0, entry);

	if (ret && ret != -EINVAL)
		return ret;
	for (unsigned i = 0; !ret && i < MBR_ENTRIES; i++) {
		if (entry[i].type == TYPE_GPT && !read_gpt(&list))
			return (int)list.n;
		if (is_extended(entry[i].type))
			read_logical(&list, entry[i].first);
		else if (entry[i].type)
			add(&list, entry[i].first, entry[i].count, i + 1, NULL);
	}
	if (!list.n)
		add(&list, 0, store->size / STORE_SECTOR, 0, NULL);
	return (int)list.n;
}

void partition_guid_text(const struct partition *p, char text[37])
{
	const u8 *g = p->guid;

	snprintf(text, 37, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", g[3], g[2], g[1],
		g[0], g[5], g[4], g[7], g[6], g[8], g[9], g[10], g[11], g[12], g[13], g[14], g[15]);
}
