/* SPDX-License-Identifier: MIT */
/* libext2fs over a disk that is looked into. */
#include "boot/ext.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ext2fs/ext2fs.h>

/*
 * What one look may read in all. A file system that points to the same blocks again and
 * again costs no more than a kernel and an initrd of the largest kind would.
 */
#define READ_BUDGET GIB(1)
#define NAMES_MAX 65536
#define PIECE KIB(256)

struct ext {
	ext2_filsys fs;
	struct boot_store *store;
	u64 offset, size; /* of the partition */
	u64 budget;
};

/* ---- the library's way to the disk ---- */

static _Thread_local struct ext *opening; /* the library hands on nothing but a name */

static struct struct_io_manager manager;

static errcode_t io_open(const char *name, int flags, io_channel *out)
{
	io_channel io = calloc(1, sizeof(*io));

	(void)flags;
	if (!io)
		return EXT2_ET_NO_MEMORY;
	io->magic = EXT2_ET_MAGIC_IO_CHANNEL;
	io->manager = &manager;
	io->name = strdup(name);
	io->block_size = 1024;
	io->refcount = 1;
	io->private_data = opening;
	*out = io;
	return io->name ? 0 : EXT2_ET_NO_MEMORY;
}

static errcode_t io_close(io_channel io)
{
	if (--io->refcount > 0)
		return 0;
	free(io->name);
	free(io);
	return 0;
}

static errcode_t io_set_blksize(io_channel io, int size)
{
	if (size < 512 || size > 65536)
		return EXT2_ET_UNEXPECTED_BLOCK_SIZE;
	io->block_size = size;
	return 0;
}

/* count: blocks, or negative bytes. */
static errcode_t io_read(io_channel io, unsigned long long block, int count, void *to)
{
	struct ext *ext = io->private_data;
	u64 len = count < 0 ? (u64) - (i64)count : (u64)count * (u64)io->block_size, at;

	if (__builtin_mul_overflow(block, (u64)io->block_size, &at) || at > ext->size || len > ext->size - at ||
		len > ext->budget)
		return EXT2_ET_SHORT_READ;
	ext->budget -= len;
	return ext->store->read(ext->store, ext->offset + at, to, len) ? EXT2_ET_SHORT_READ : 0;
}

static errcode_t io_read_32(io_channel io, unsigned long block, int count, void *to)
{
	return io_read(io, block, count, to);
}

static errcode_t io_refuse(io_channel io, unsigned long block, int count, const void *from)
{
	(void)io;
	(void)block;
	(void)count;
	(void)from;
	return EXT2_ET_RO_FILSYS;
}

static errcode_t io_flush(io_channel io)
{
	(void)io;
	return 0;
}

static struct struct_io_manager manager = {
	.magic = EXT2_ET_MAGIC_IO_MANAGER,
	.name = "mullion",
	.open = io_open,
	.close = io_close,
	.set_blksize = io_set_blksize,
	.read_blk = io_read_32,
	.read_blk64 = io_read,
	.write_blk = io_refuse,
	.flush = io_flush,
};

/* ---- file systems ---- */

static int error_of(errcode_t e)
{
	switch (e) {
	case 0:
		return 0;
	case EXT2_ET_FILE_NOT_FOUND:
	case EXT2_ET_NO_DIRECTORY:
		return -ENOENT;
	case EXT2_ET_NO_MEMORY:
		return -ENOMEM;
	case EXT2_ET_UNSUPP_FEATURE:
	case EXT2_ET_RO_UNSUPP_FEATURE:
		return -EOPNOTSUPP;
	default:
		return -EIO;
	}
}

int ext_open(struct boot_store *store, const struct partition *partition, struct ext **out)
{
	struct ext *ext = calloc(1, sizeof(*ext));
	errcode_t e;

	*out = NULL;
	if (!ext)
		return -ENOMEM;
	*ext = (struct ext){
		.store = store, .offset = partition->offset, .size = partition->size, .budget = READ_BUDGET};
	opening = ext;
	e = ext2fs_open("disk", EXT2_FLAG_64BITS | EXT2_FLAG_SOFTSUPP_FEATURES, 0, 0, &manager, &ext->fs);
	if (e) {
		free(ext);
		return e == EXT2_ET_BAD_MAGIC || e == EXT2_ET_SHORT_READ ? -EINVAL : error_of(e);
	}
	*out = ext;
	return 0;
}

void ext_close(struct ext *ext)
{
	if (!ext)
		return;
	ext2fs_close_free(&ext->fs);
	free(ext);
}

void ext_uuid(const struct ext *ext, char text[37])
{
	const u8 *u = ext->fs->super->s_uuid;

	snprintf(text, 37, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", u[0], u[1], u[2],
		u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12], u[13], u[14], u[15]);
}

static int find(struct ext *ext, const char *path, ext2_ino_t *ino)
{
	return error_of(ext2fs_namei_follow(ext->fs, EXT2_ROOT_INO, EXT2_ROOT_INO, path, ino));
}

struct listing {
	void (*seen)(void *arg, const char *name);
	void *arg;
	unsigned left;
};

static int list_entry(struct ext2_dir_entry *entry, int offset, int block_size, char *block, void *arg)
{
	struct listing *listing = arg;
	int len = ext2fs_dirent_name_len(entry);
	char name[256];

	(void)offset;
	(void)block_size;
	(void)block;
	if (!listing->left--)
		return DIRENT_ABORT;
	memcpy(name, entry->name, (size_t)len);
	name[len] = '\0';
	if (strlen(name) == (size_t)len && !strchr(name, '/'))
		listing->seen(listing->arg, name);
	return 0;
}

int ext_list(struct ext *ext, const char *dir, void (*seen)(void *, const char *), void *arg)
{
	struct listing listing = {.seen = seen, .arg = arg, .left = NAMES_MAX};
	ext2_ino_t ino;
	int ret = find(ext, dir, &ino);

	return ret ? ret : error_of(ext2fs_dir_iterate(ext->fs, ino, 0, NULL, list_entry, &listing));
}

static i64 read_all(ext2_file_t file, u64 size, int (*put)(void *, const void *, size_t), void *arg)
{
	u8 *piece = malloc(PIECE);
	u64 done = 0;
	int ret = piece ? 0 : -ENOMEM;

	while (!ret && done < size) {
		unsigned got = 0;

		ret = error_of(ext2fs_file_read(file, piece, (unsigned)MIN(size - done, PIECE), &got));
		if (!ret)
			ret = got ? put(arg, piece, got) : -EIO;
		done += got;
	}
	free(piece);
	return ret ? ret : (i64)done;
}

i64 ext_read(struct ext *ext, const char *path, u64 max, int (*put)(void *, const void *, size_t), void *arg)
{
	struct ext2_inode inode;
	ext2_file_t file;
	ext2_ino_t ino;
	i64 done;
	u64 size;
	int ret = find(ext, path, &ino);

	if (!ret)
		ret = error_of(ext2fs_read_inode(ext->fs, ino, &inode));
	if (ret)
		return ret;
	if (!LINUX_S_ISREG(inode.i_mode))
		return -EINVAL;
	size = EXT2_I_SIZE(&inode);
	if (size > max)
		return -EFBIG;
	ret = error_of(ext2fs_file_open2(ext->fs, ino, &inode, 0, &file));
	if (ret)
		return ret;
	done = read_all(file, size, put, arg);
	ext2fs_file_close(file);
	return done;
}
