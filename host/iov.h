/* SPDX-License-Identifier: MIT */
/* Lists of buffers, as readv and writev take them: copies in and out, and moving on. */
#pragma once

#include <sys/uio.h>

#include "lib/types.h"

size_t iov_length(const struct iovec *iov, unsigned n);
/* Between a list, from offset on, and flat memory. Return the bytes copied. */
size_t iov_to_buf(const struct iovec *iov, unsigned n, size_t offset, void *buf, size_t len);
size_t iov_from_buf(const struct iovec *iov, unsigned n, size_t offset, const void *buf, size_t len);
/* Drops the first len bytes: moves *iov and *n on, and changes the first entry that stays. */
void iov_skip(struct iovec **iov, unsigned *n, size_t len);
/* Drops all but the first len bytes. Returns the new number of entries. */
unsigned iov_trim(struct iovec *iov, unsigned n, size_t len);
