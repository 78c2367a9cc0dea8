/* SPDX-License-Identifier: MIT */
/* A file that is read straight into guest memory. */
#pragma once

#include "host/err.h"
#include "lib/types.h"

struct image {
	const char *path;
	const char *what; /* for error lines: "kernel", "initrd" */
	int fd;
	u64 size;
};

/* A regular, non-empty file, by its path, or open already as fd (else -1), which stays the caller's. 0 or -errno. */
int image_open(struct image *image, const char *what, const char *path, int fd, struct err *err);
void image_close(struct image *image); /* accepts one that is not open */
/* Reads exactly len bytes; a file that ends before is truncated. 0 or -errno. */
int image_read(const struct image *image, u64 offset, void *to, u64 len, struct err *err);
