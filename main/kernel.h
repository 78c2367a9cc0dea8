/* SPDX-License-Identifier: MIT */
/* What a machine boots: what the config names, or the system on its image, or the default kernel. */
#pragma once

#include <limits.h>

#include "boot/inside.h"
#include "main/machine.h"

struct kernel_files {
	char kernel[PATH_MAX], initrd[PATH_MAX], append[4096];
	struct boot_inside inside;
};

/*
 * Sets the machine's kernel, initrd and append; what was found is kept in files. Again at each reset,
 * since the guest may have installed another kernel. 0 or -errno with a line in err.
 */
int kernel_find(struct machine *m, struct kernel_files *files, struct err *err);
void kernel_forget(struct kernel_files *files);
