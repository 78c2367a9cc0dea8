/* SPDX-License-Identifier: MIT */
/* A directory of the host as a 9P file system, by virtio (1.2, 5.11's relative; Linux: trans=virtio). */
#pragma once

#include "host/err.h"
#include "lib/types.h"

struct vm;
struct pci_host;

/* tag: what the guest mounts, 1 to 255 bytes. 0, or -errno with a line in err. */
int virtio_9p_create(
	struct vm *vm, struct pci_host *pci, const char *path, const char *tag, bool readonly, struct err *err);
