/* SPDX-License-Identifier: MIT */
/*
 * How devices reach guest memory: by address (small structures), or by the host
 * memory behind it (data, without a copy).
 *
 * Thread context: the machine lock (vm/vm.h) is held, since the map may change under
 * a vCPU's hands. What dma_map gave may be used without the lock until the
 * device lets go of it: RAM does not move while a VM exists.
 */
#pragma once

#include <sys/uio.h>

#include "lib/types.h"

struct vm;

/*
 * The host memory behind [gpa, gpa + len), which a device is to read (write: false)
 * or to fill. Appends to iov[*n .. max); neighbours are joined. 0; -EFAULT: not all
 * of it is RAM, or the VM's memory is private; -E2BIG: more pieces than max.
 */
int dma_map(struct vm *vm, u64 gpa, u64 len, bool write, struct iovec *iov, unsigned *n, unsigned max);
/* Copies. 0, or -EFAULT with nothing copied. */
int dma_read(struct vm *vm, u64 gpa, void *data, size_t len);
int dma_write(struct vm *vm, u64 gpa, const void *data, size_t len);
/*
 * A device has filled memory that dma_map gave: the engine drops what it derived
 * from the old bytes. Before anything tells the guest (a used index, an
 * interrupt). dma_write does this itself. On any thread; while the VM runs, no lock is needed.
 */
void dma_wrote(struct vm *vm, const void *host, size_t len);
/* The same for the first len bytes of a list. */
void dma_wrote_iov(struct vm *vm, const struct iovec *iov, unsigned n, size_t len);
