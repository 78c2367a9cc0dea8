/* SPDX-License-Identifier: MIT */
/*
 * The Linux system on a disk: its kernel, its initrd, and the command line that its
 * boot loader would give. GRUB's first entry counts where GRUB is installed; else
 * /vmlinuz or the newest kernel in /boot.
 */
#pragma once

#include "boot/store.h"

struct boot_inside {
	int kernel, initrd; /* memfds with their contents */
	char kernel_name[256], initrd_name[256]; /* paths on the disk; no initrd: empty */
	char command_line[2048];
};

/* 0 or -errno; boot_inside_fini accepts a half-made one. */
int boot_inside_init(struct boot_inside *inside);
void boot_inside_fini(struct boot_inside *inside);
/* May be repeated; name is for messages. 0, or -errno with a line in err. */
int boot_look_inside(struct boot_store *store, const char *name, struct boot_inside *inside, struct err *err);
