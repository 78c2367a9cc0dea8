/* SPDX-License-Identifier: MIT */
/*
 * A VNC server for a VM's display and input, on libvncserver. It has a thread and an
 * event loop of its own, since a slow client may keep it waiting; while no client
 * is connected, it does nothing.
 */
#pragma once

#include "backend/display.h"
#include "backend/input.h"
#include "host/err.h"
#include "vm/vm.h"

struct vnc;

struct vnc_config {
	const char *address; /* see vnc_listen */
	const char *password_file; /* its first line lets clients in; NULL: they need none */
	const char *name; /* what a client shows; stays the caller's */
	struct vm *vm;
	struct display_source *source;
	struct input *input;
};

/* Listens, and starts its thread. 0, or -errno with a line in err. */
int vnc_create(const struct vnc_config *config, struct vnc **out, struct err *err);
/* Before the VM's devices go. NULL is fine. */
void vnc_destroy(struct vnc *vnc);

/* ---- parts; also for tests ---- */

/*
 * A listening socket for "127.0.0.1:5900", ":1" (display 1: port 5901), "[::1]:5900" or
 * "unix:PATH"; path (of 108 bytes) is what is to be removed at the end, or empty. The
 * socket, or -errno with a line in err.
 */
int vnc_listen(const char *address, char path[108], struct err *err);

/* The key of a keysym on a US keyboard, or 0; *shift: it is typed with Shift. */
u16 vnc_key(u32 keysym, bool *shift);
/* The key of an XT scan code as QEMU's clients send it (0xe0 is bit 7). */
u16 vnc_key_of_scancode(u32 scancode);
