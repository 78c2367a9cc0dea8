/* SPDX-License-Identifier: MIT */
/*
 * Opening disks: what a user named becomes a struct disk.
 *
 * Which format a file has, when nobody said: its name's ending (.raw, .qcow2, .vmdk, .vdi,
 * .vhdx) is believed, since no guest can rename it. Else its first bytes are, but only where
 * that can do no harm: a guest of a raw disk may write there what it likes, so a header
 * that refers to other files of the host is taken only when the user named the format.
 *
 * Thread context: before the VM runs, or on the loop's thread without the machine lock.
 */
#pragma once

#include "backend/disk.h"
#include "host/err.h"
#include "host/loop.h"

struct disk_source {
	const char
		*path; /* a file, a block device, or an NBD URI; kept by the caller while the disk is open */
	const char *format; /* NULL: found out; raw, qcow2, vmdk, vdi, vhdx, nbd */
	bool readonly;
	bool snapshot; /* writes go to a file that vanishes at the end */
	bool direct; /* past the host's cache */
	unsigned patience; /* seconds that a server may be silent while we wait for it; 0: the usual ones */
	bool opened; /* fd is path, opened for us by somebody who may; raw only; stays the caller's */
	int fd;
};

/* lock is the machine lock. 0, or -errno with a line in err. */
int disk_open(const struct disk_source *source, struct loop *loop, pthread_mutex_t *lock, struct disk **out,
	struct err *err);

/* The format that a file's first len bytes show ("qcow2", "vmdk", "vdi", "vhdx"), or "raw". */
const char *disk_format_of(const u8 *head, size_t len);
/* Does the header refer to files other than its own? */
bool disk_header_refers(const char *format, const u8 *head, size_t len);
/* By source->format, the name, the first bytes: "raw", "qcow2", ... 0, or -errno with a line in err. */
int disk_find_format(const struct disk_source *source, const char **format, struct err *err);
/* Is the image whole, and are those that it rests upon? Raw ones always are. 0, or -errno with a line in err. */
int disk_check_image(const struct disk_source *source, const char *format, struct err *err);
/* What qemu-img or qemu-nbd complained of: shortened in place to the line that helps. */
#define DISK_TOOL_TEXT 2048u /* at least */
void disk_tool_complaint(char text[DISK_TOOL_TEXT]);
/* Did it fail because an image is in use? Then *path becomes that image's, which lies in text, if it is named. */
bool disk_tool_locked(char *text, const char **path);
/* The format that a file's name states, or NULL. */
const char *disk_format_of_name(const char *path);

/* One kind each; the same contract. */
int disk_raw_open(const struct disk_source *source, struct loop *loop, pthread_mutex_t *lock,
	struct disk **out, struct err *err);
int disk_nbd_open(const struct disk_source *source, struct loop *loop, pthread_mutex_t *lock,
	struct disk **out, struct err *err);
/* By a qemu-nbd of our own; format is never NULL. */
int disk_qemu_open(const struct disk_source *source, const char *format, struct loop *loop,
	pthread_mutex_t *lock, struct disk **out, struct err *err);
