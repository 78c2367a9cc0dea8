/* SPDX-License-Identifier: MIT */
/* What a machine boots. */
#include "main/kernel.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/disk.h"
#include "main/images.h"

/* ---- the disk that holds the system ---- */

#define PIECE KIB(256)
#define PIECE_ALIGN 4096 /* for disks past the host's cache */

struct image_store {
	struct boot_store store;
	struct disk *disk;
	u8 *piece;
};

struct read_request {
	struct disk_request request;
	int error;
};

static void read_done(struct disk_request *request, int error)
{
	container_of(request, struct read_request, request)->error = error;
}

/* [offset, offset + len) is whole blocks and fits into the piece. */
static int read_piece(struct image_store *image, u64 offset, u64 len)
{
	const struct iovec iov = {.iov_base = image->piece, .iov_len = len};
	struct read_request read = {
		.request = {.op = DISK_READ, .offset = offset, .len = len, .iov = &iov, .niov = 1, .done = read_done},
		.error = -EIO,
	};
	struct disk *disk = image->disk;

	pthread_mutex_lock(disk->lock);
	disk->ops->submit(disk, &read.request);
	disk->ops->kick(disk);
	disk->ops->drain(disk);
	pthread_mutex_unlock(disk->lock);
	return read.error;
}

static int read_disk(struct boot_store *store, u64 offset, void *to, size_t len)
{
	struct image_store *image = container_of(store, struct image_store, store);
	u8 *p = to;

	while (len) {
		u64 start = ALIGN_DOWN(offset, (u64)PIECE_ALIGN), skip = offset - start;
		u64 end = MIN(ALIGN_UP(offset + len, (u64)PIECE_ALIGN), store->size), size = MIN(end - start, PIECE);
		u64 n = MIN(size - skip, len);
		int ret = read_piece(image, start, size);

		if (ret)
			return ret;
		memcpy(p, image->piece + skip, n);
		p += n;
		offset += n;
		len -= n;
	}
	return 0;
}

static int look_inside(struct machine *m, struct kernel_files *files, struct err *err)
{
	const char *name = m->config->disk[0].path;
	struct image_store image = {.store = {.read = read_disk, .size = m->disk[0]->size}, .disk = m->disk[0]};
	int ret = 0;

	if (!files->inside.kernel)
		ret = boot_inside_init(&files->inside);
	m->inside = &files->inside;
	image.piece = aligned_alloc(PIECE_ALIGN, PIECE);
	if (ret || !image.piece)
		ret = err_set(err, ENOMEM, "no memory for the kernel in %s", name);
	else
		ret = boot_look_inside(&image.store, name, &files->inside, err);
	free(image.piece);
	return ret;
}

/* The guest's last console is /dev/console, and its boot loader did not know which ones there are. */
static void make_command_line(struct machine *m, struct kernel_files *files)
{
	const char *found = files->inside.command_line, *more = m->config->append;

	snprintf(files->append, sizeof(files->append), "%s%s%s%s", found, strstr(found, "console=") ? "" : " console=ttyS0",
		more ? " " : "", more ? more : "");
	m->append = files->append;
}

static int boot_image(struct machine *m, struct kernel_files *files, struct err *err)
{
	int ret = look_inside(m, files, err);

	if (ret) {
		m->inside = NULL;
		return ret;
	}
	m->kernel = files->inside.kernel_name;
	m->initrd = *files->inside.initrd_name ? files->inside.initrd_name : NULL;
	make_command_line(m, files);
	return 0;
}

void kernel_forget(struct kernel_files *files)
{
	boot_inside_fini(&files->inside);
}

/* ---- files of the host ---- */

/* Whole, since a VM in the background goes to another folder, and a reset reads the files again. */
static int find_default(const char *name, char path[PATH_MAX], struct err *err)
{
	char found[PATH_MAX];
	int ret = images_find(name, found, err);

	if (!ret && !realpath(found, path))
		ret = err_set(err, errno, "%s: %s", found, strerror(errno));
	return ret;
}

int kernel_find(struct machine *m, struct kernel_files *files, struct err *err)
{
	const struct vm_config *config = m->config;
	int ret;

	m->kernel = config->kernel;
	m->initrd = config->initrd;
	if (config->append)
		m->append = config->append;
	else
		m->append = config->virtio_console ? DEFAULT_COMMAND_LINE " console=hvc0" : DEFAULT_COMMAND_LINE;
	if (m->kernel)
		return 0;
	if (config->ndisks && config->disk[0].bus != DISK_BUS_CDROM) {
		ret = boot_image(m, files, err);
		if (!ret || ret != -ENOENT || config->image)
			return ret;
		m->append = config->append ? config->append : DEFAULT_COMMAND_LINE;
	}
	m->kernel = files->kernel;
	ret = find_default(DEFAULT_KERNEL, files->kernel, err);
	if (ret || m->initrd)
		return ret;
	m->initrd = files->initrd;
	return find_default(DEFAULT_INITRD, files->initrd, err);
}
