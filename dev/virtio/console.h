/* SPDX-License-Identifier: MIT */
/*
 * virtio console (virtio 1.2, 5.3): ports, each a console or a named channel of bytes. Port 0 is
 * what a driver without multiport gets.
 */
#pragma once

#include "backend/console.h"
#include "dev/virtio/virtio.h"

#define VIRTIO_CONSOLE_PORTS 8 /* at most */

struct virtio_console_port {
	struct console *console; /* stays the caller's, who closes it after the device has been freed */
	const char *name; /* /dev/virtio-ports/NAME in Linux; NULL: none. Stays the caller's. */
	bool is_console; /* hvc; else a plain port */
	/* The guest has opened or closed the port; may be NULL. Machine lock held. */
	void (*opened)(void *arg, bool open);
	void *arg;
};

/* Plug it in afterwards. 0 or -errno. */
int virtio_console_create(
	struct vm *vm, const struct virtio_console_port *ports, unsigned nports, struct virtio **out);
