/* SPDX-License-Identifier: MIT */
/* Where the default kernel and initrd are. */
#pragma once

#include <limits.h>

#include "host/err.h"

#define DEFAULT_KERNEL "vmlinuz-cloud"
#define DEFAULT_INITRD "initrd.img"

/*
 * Finds a default image by its name: in $MULLION_IMAGES when that is set, else
 * in the folder of the source tree that this binary was built from, else in
 * $XDG_DATA_HOME/mullion, else where it was installed. 0 or -ENOENT.
 */
int images_find(const char *name, char path[PATH_MAX], struct err *err);
