/* SPDX-License-Identifier: MIT */
/* Devices' access to guest memory. */
#include "vm/dma.h"

#include <errno.h>
#include <string.h>

#include "vm/vm.h"

/* The piece at gpa that one region backs; its length is at most *len. NULL: no RAM is there. */
static u8 *piece(struct vm *vm, u64 gpa, u64 *len, bool write)
{
	const struct extent *extent = space_find(&vm->mem, gpa);
	unsigned direct = write ? DIRECT_WRITE : DIRECT_READ;

	if (!extent || !extent->region->host || !(extent->region->direct & direct) || vm->private_memory)
		return NULL;
	*len = MIN(*len, extent->end - gpa);
	return extent->region->host + (gpa - extent->region->base);
}

static int append(struct iovec *iov, unsigned *n, unsigned max, u8 *host, size_t len)
{
	if (*n && (u8 *)iov[*n - 1].iov_base + iov[*n - 1].iov_len == host) {
		iov[*n - 1].iov_len += len;
		return 0;
	}
	if (*n == max)
		return -E2BIG;
	iov[(*n)++] = (struct iovec){.iov_base = host, .iov_len = len};
	return 0;
}

int dma_map(struct vm *vm, u64 gpa, u64 len, bool write, struct iovec *iov, unsigned *n, unsigned max)
{
	while (len) {
		u64 size = len;
		u8 *host = piece(vm, gpa, &size, write);
		int ret = host ? append(iov, n, max, host, size) : -EFAULT;

		if (ret)
			return ret;
		gpa += size;
		len -= size;
	}
	return 0;
}

#define COPY_PIECES 8 /* more regions side by side than any machine of ours has */

int dma_read(struct vm *vm, u64 gpa, void *data, size_t len)
{
	struct iovec iov[COPY_PIECES];
	unsigned n = 0;
	u8 *to = data;

	if (dma_map(vm, gpa, len, false, iov, &n, COPY_PIECES))
		return -EFAULT;
	for (unsigned i = 0; i < n; i++) {
		memcpy(to, iov[i].iov_base, iov[i].iov_len);
		to += iov[i].iov_len;
	}
	return 0;
}

int dma_write(struct vm *vm, u64 gpa, const void *data, size_t len)
{
	struct iovec iov[COPY_PIECES];
	const u8 *from = data;
	unsigned n = 0;

	if (dma_map(vm, gpa, len, true, iov, &n, COPY_PIECES))
		return -EFAULT;
	for (unsigned i = 0; i < n; i++) {
		memcpy(iov[i].iov_base, from, iov[i].iov_len);
		from += iov[i].iov_len;
	}
	dma_wrote_iov(vm, iov, n, len);
	return 0;
}

void dma_wrote(struct vm *vm, const void *host, size_t len)
{
	if (vm->engine->ram_written)
		vm->engine->ram_written(vm, host, len);
}

void dma_wrote_iov(struct vm *vm, const struct iovec *iov, unsigned n, size_t len)
{
	for (unsigned i = 0; i < n && len; i++) {
		size_t size = MIN(len, iov[i].iov_len);

		dma_wrote(vm, iov[i].iov_base, size);
		len -= size;
	}
}
