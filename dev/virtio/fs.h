/* SPDX-License-Identifier: MIT */
/* A folder of the host by virtio-fs (virtio 1.2, 5.11); a virtiofsd does the work. */
#pragma once

#include "backend/vhost_user.h"
#include "host/err.h"
#include "host/loop.h"

struct pci_host;
struct vm;

#define VIRTIO_FS_TAG_MAX 36u

/* What a device is given; the descriptors are its own from then on, also on failure. */
struct virtio_fs_server {
	int fd; /* connected to a virtiofsd */
	pid_t pid; /* that one, for its early end; whoever started it waits for it */
	unsigned patience; /* seconds that it may take to answer; 0: the usual ones */
	const struct vhost_memory *ram; /* all guest RAM */
	unsigned nram;
};

/* 0, or -errno with a line in err. */
int virtio_fs_create(struct vm *vm, struct pci_host *pci, struct loop *loop, const char *tag,
	const struct virtio_fs_server *server, struct err *err);
