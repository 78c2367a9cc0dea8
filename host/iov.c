/* SPDX-License-Identifier: MIT */
/* Lists of buffers. */
#include "host/iov.h"

#include <string.h>

size_t iov_length(const struct iovec *iov, unsigned n)
{
	size_t len = 0;

	for (unsigned i = 0; i < n; i++)
		len += iov[i].iov_len;
	return len;
}

/* Copies one way or the other; exactly one of to and from is given. */
static size_t copy(const struct iovec *iov, unsigned n, size_t offset, u8 *to, const u8 *from, size_t len)
{
	size_t done = 0;

	for (unsigned i = 0; i < n && done < len; i++) {
		u8 *piece = (u8 *)iov[i].iov_base + offset;
		size_t size;

		if (offset >= iov[i].iov_len) {
			offset -= iov[i].iov_len;
			continue;
		}
		size = MIN(len - done, iov[i].iov_len - offset);
		if (to)
			memcpy(to + done, piece, size);
		else
			memcpy(piece, from + done, size);
		done += size;
		offset = 0;
	}
	return done;
}

size_t iov_to_buf(const struct iovec *iov, unsigned n, size_t offset, void *buf, size_t len)
{
	return copy(iov, n, offset, buf, NULL, len);
}

size_t iov_from_buf(const struct iovec *iov, unsigned n, size_t offset, const void *buf, size_t len)
{
	return copy(iov, n, offset, NULL, buf, len);
}

void iov_skip(struct iovec **iov, unsigned *n, size_t len)
{
	while (*n && len >= (*iov)->iov_len) {
		len -= (*iov)->iov_len;
		(*iov)++;
		(*n)--;
	}
	if (!*n)
		return;
	(*iov)->iov_base = (u8 *)(*iov)->iov_base + len;
	(*iov)->iov_len -= len;
}

unsigned iov_trim(struct iovec *iov, unsigned n, size_t len)
{
	for (unsigned i = 0; i < n; i++) {
		if (len <= iov[i].iov_len) {
			iov[i].iov_len = len;
			return len ? i + 1 : i;
		}
		len -= iov[i].iov_len;
	}
	return n;
}
