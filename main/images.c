/* SPDX-License-Identifier: MIT */
/* Where the default kernel and initrd are. */
#include "main/images.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static bool try_path(char path[PATH_MAX], const char *dir, const char *below, const char *name)
{
	int len;

	if (!dir || !*dir)
		return false;
	len = snprintf(path, PATH_MAX, "%s%s/%s", dir, below, name);
	return len > 0 && len < PATH_MAX && access(path, F_OK) == 0;
}

int images_find(const char *name, char path[PATH_MAX], struct err *err)
{
	const char *chosen = getenv("MULLION_IMAGES");

	if (chosen && *chosen) {
		if (try_path(path, chosen, "", name))
			return 0;
		return err_set(err, ENOENT, "no %s in %s (MULLION_IMAGES)", name, chosen);
	}
	if (try_path(path, MULLION_IMAGE_DIR, "", name) ||
		try_path(path, getenv("XDG_DATA_HOME"), "/mullion", name) ||
		try_path(path, getenv("HOME"), "/.local/share/mullion", name) ||
		try_path(path, MULLION_DATA_DIR, "", name))
		return 0;
	return err_set(err, ENOENT, "no default %s: make run makes it (in %s), or give --kernel", name,
		MULLION_IMAGE_DIR);
}
