/* SPDX-License-Identifier: MIT */
/* Definitions of VMs that have been created. */
#include "main/define.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "main/state.h"

/* Paths as they are from anywhere, and a name. */
static int settle(struct vm_config *config, struct err *err)
{
	char folder[PATH_MAX], name[64];

	if (!getcwd(folder, sizeof(folder)) || config_absolute(config, folder))
		return err_set(err, errno, "the current folder: %s", strerror(errno));
	if (config->name)
		return 0;
	state_make_name(name);
	config->name = strdup(name);
	return config->name ? 0 : err_set(err, ENOMEM, "out of memory");
}

int definition_exists(const char *name, struct err *err)
{
	return err_set(err, EEXIST,
		"there is a VM %s already; mullion rm removes it, --name gives another name", name);
}

/* The file's name is the VM's, so that it need not be in it. */
static char *print(struct vm_config *config)
{
	char *name = config->name, *text;

	config->name = NULL;
	text = config_print(config, false);
	config->name = name;
	return text;
}

int definition_create(struct vm_config *config, struct err *err)
{
	char path[PATH_MAX], *text;
	int ret = settle(config, err);

	if (!ret)
		ret = state_path(STATE_DEFINITION, config->name, NULL, path, err);
	if (!ret)
		ret = state_make(STATE_DEFINITION, config->name, err);
	if (ret)
		return ret;
	if (state_running(config->name, NULL))
		return definition_exists(config->name, err);
	text = print(config);
	ret = text ? state_write(path, text, true, err) : err_set(err, ENOMEM, "out of memory");
	free(text);
	return ret == -EEXIST ? definition_exists(config->name, err) : ret;
}

int definition_load(const char *name, struct vm_config *config, struct err *err)
{
	char path[PATH_MAX];
	int ret;

	config_init(config);
	if (!state_defined(name))
		return err_set(err, ENOENT, "there is no VM %s; mullion ps -a lists them", name);
	ret = state_path(STATE_DEFINITION, name, NULL, path, err);
	if (!ret)
		ret = config_load(config, path, err);
	return ret ? ret : config_option(config, "name", name, err);
}
