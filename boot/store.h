/* SPDX-License-Identifier: MIT */
/*
 * A disk that is looked into before a guest runs, and its partitions. Everything that
 * is read from it may be hostile: numbers are checked, and the work is bounded.
 */
#pragma once

#include "host/err.h"
#include "lib/types.h"

#define STORE_SECTOR 512u
#define PARTITIONS_MAX 128u

struct boot_store {
	/* Reads inside [0, size). 0 or -errno. */
	int (*read)(struct boot_store *store, u64 offset, void *to, size_t len);
	u64 size;
};

struct partition {
	u64 offset, size; /* bytes, inside the store */
	unsigned number; /* as the system in the guest counts; 0: the whole disk */
	u8 guid[16]; /* of a GPT's */
	bool has_guid;
};

/* A GPT's or an MBR's; without either, the whole disk as one. How many there are, or -errno. */
int partitions_read(struct boot_store *store, struct partition *list, unsigned max);
/* As Linux takes it for PARTUUID=. */
void partition_guid_text(const struct partition *partition, char text[37]);
