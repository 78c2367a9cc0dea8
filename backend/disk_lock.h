/* SPDX-License-Identifier: MIT */
/*
 * Locks on image files, so that one writer is alone with an image and readers share
 * it: by OFD locks on the bytes that QEMU and its tools use, too (block/file-posix.c
 * there documents them). They end with the file descriptor, so a killed process leaves none.
 */
#pragma once

#include <sys/types.h>

#include "host/err.h"
#include "lib/types.h"

/* Locks the open image. 0; -EBUSY with a line in err that names the process where it can be found. */
int disk_lock(int fd, const char *path, bool write, struct err *err);
/* The process that holds a lock on the file, or 0. */
pid_t disk_lock_holder(const char *path);
/* The line for an image that is in use. Returns -EBUSY. */
int disk_lock_complain(const char *path, struct err *err);
