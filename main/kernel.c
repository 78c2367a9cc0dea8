/* SPDX-License-Identifier: MIT */
/* What a machine boots. */
#include "main/kernel.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "main/images.h"

/* Whole, since a VM in the background goes to another folder, and a reset reads the files again. */
static int find_default(const char *name, char path[PATH_MAX], struct err *err)
{
	char found[PATH_MAX];
	int ret = images_find(name, found, err);

	if (!ret && !realpath(found, path))
		ret = err_set(err, errno, "%s: %s", found, strerror(errno));
	return ret;
}

int kernel_find(struct machine *m, struct kernel_files *files, struct err *err)
{
	const struct vm_config *config = m->config;
	int ret;

	m->kernel = config->kernel;
	m->initrd = config->initrd;
	m->append = config->append ? config->append : DEFAULT_COMMAND_LINE;
	if (m->kernel)
		return 0;
	if (config->image && !strstr(config->image, "://") && access(config->image, R_OK))
		return err_set(err, errno, "cannot open image %s: %s", config->image, strerror(errno));
	m->kernel = files->kernel;
	ret = find_default(DEFAULT_KERNEL, files->kernel, err);
	if (ret || m->initrd)
		return ret;
	m->initrd = files->initrd;
	return find_default(DEFAULT_INITRD, files->initrd, err);
}
