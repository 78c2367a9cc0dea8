/* SPDX-License-Identifier: MIT */
/* Disks and network cards that come and go while the VM runs, each in a hot-plug port. */
#pragma once

#include <sys/types.h>

#include "main/machine.h"

struct hotplug;

struct hot_device {
	struct hotplug *hot;
	const char *kind; /* "disk", "net"; NULL: the port is free */
	struct vm_config config; /* its one disk or net */
	dev_t file_dev; /* the disk's file, if that came open */
	ino_t file_ino;
	unsigned index; /* in the machine's disks or nets */
	struct pci_function *gone; /* the guest has let go of it: the loop's thread frees it, and closes what is behind it */
};

struct hotplug {
	struct machine *m;
	struct loop_event closing;
	struct hot_device device[CONFIG_PORTS];
};

/* All on the loop's thread. 0 or -errno. */
int hotplug_init(struct hotplug *hot, struct machine *m);
void hotplug_fini(struct hotplug *hot);
/*
 * The config has one disk, or one net; it becomes the device's when that succeeds. fd: the disk's file, already
 * open (stays the caller's), or -1. port: where it went, from 1.
 */
int hotplug_add(struct hotplug *hot, struct vm_config *config, int fd, unsigned *port, struct err *err);
/* Asks the guest to let go; it may take seconds. */
int hotplug_remove(struct hotplug *hot, unsigned port, struct err *err);
