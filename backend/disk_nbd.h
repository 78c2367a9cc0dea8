/* SPDX-License-Identifier: MIT */
/* Disks behind an NBD server: the network's, or a qemu-nbd of our own (disk_qemu.c). */
#pragma once

#include "backend/disk_open.h"

struct nbd_handle;

/* Whoever keeps the server, if it is ours. */
struct disk_server {
	void (*close)(struct disk_server *server); /* after the connection has been closed */
};

/*
 * Waits until a handle that connects has done so: 0, or -errno, -ETIMEDOUT after a silence that is too long.
 */
int disk_nbd_connected(struct nbd_handle *nbd, const struct disk_source *source);
/*
 * Makes a disk of a connected handle. It owns both handle and server (which may be NULL) from
 * here, also when it fails. 0, or -errno with a line in err.
 */
int disk_nbd_start(const struct disk_source *source, struct nbd_handle *nbd, struct disk_server *server,
	struct loop *loop, pthread_mutex_t *lock, struct disk **out, struct err *err);
