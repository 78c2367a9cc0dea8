/* SPDX-License-Identifier: MIT */
/* Files in an ext2, ext3 or ext4 file system on a disk that is looked into; read-only, by libext2fs. */
#pragma once

#include "boot/store.h"

struct ext;

/* -EINVAL: it is none; other errors mean one that cannot be read. */
int ext_open(struct boot_store *store, const struct partition *partition, struct ext **out);
void ext_close(struct ext *ext); /* NULL is fine */
void ext_uuid(const struct ext *ext, char text[37]);
/* Calls seen for each name in the directory. 0, -ENOENT or another error. */
int ext_list(struct ext *ext, const char *dir, void (*seen)(void *arg, const char *name), void *arg);
/*
 * The file at path (links are followed), given to put piece by piece; -EFBIG above max bytes.
 * Its size, or -errno (put's, too).
 */
i64 ext_read(struct ext *ext, const char *path, u64 max, int (*put)(void *arg, const void *data, size_t len), void *arg);
