/* SPDX-License-Identifier: MIT */
/* Sockets between host and guest (virtio 1.2, 5.10); the host's side is in backend/vsock.h. */
#pragma once

#include "host/err.h"
#include "lib/types.h"

struct loop;
struct pci_host;
struct vm;

/* cid: the guest's address, 3 and up. path: of the host's socket. 0, or -errno with a line in err. */
int virtio_vsock_create(
	struct vm *vm, struct pci_host *pci, struct loop *loop, u64 cid, const char *path, struct err *err);
