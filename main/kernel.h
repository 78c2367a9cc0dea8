/* SPDX-License-Identifier: MIT */
/* What a machine boots: what the config names, or the system on its image, or the default kernel. */
#pragma once

#include <limits.h>

#include "main/machine.h"

struct kernel_files {
	char kernel[PATH_MAX], initrd[PATH_MAX];
};

/* Sets the machine's kernel, initrd and append; found names are kept in files. 0 or -errno. */
int kernel_find(struct machine *m, struct kernel_files *files, struct err *err);
