/* SPDX-License-Identifier: MIT */
/* Devices that come and go while a VM runs. */
#include "main/device.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/disk_open.h"
#include "host/log.h"
#include "main/client.h"

static const char *disk, *net;

static int complain(const struct err *err)
{
	log_line("%s", err->text);
	return STATUS_USAGE;
}

/* The VM's process may open no files any more, so we do: plain images only, since others need helpers. */
static int open_disk(const struct disk_config *config, int *fd, struct err *err)
{
	const struct disk_source source = {.path = config->path, .format = config->format};
	const char *format;
	int ret = disk_find_format(&source, &format, err);

	if (ret)
		return ret;
	if (strcmp(format, "raw") || config->snapshot)
		return err_set(err, ENOTSUP,
			"disk %s: only a raw image can be attached to a VM that runs, and without snapshot",
			config->path);
	*fd = open(config->path, (config->readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK);
	return *fd < 0 ? err_set(err, errno, "disk %s: %s", config->path, strerror(errno)) : 0;
}

/* {"disk": {...}} from the option's text. */
static int make_request(struct vm_config *config, cJSON **args, struct err *err)
{
	const char *kind = disk ? "disk" : "net";
	char folder[PATH_MAX], *text;
	cJSON *json;
	int ret = config_option(config, kind, disk ? disk : net, err);

	if (ret)
		return ret;
	if (!getcwd(folder, sizeof(folder)) || config_absolute(config, folder))
		return err_set(err, errno, "the current folder: %s", strerror(errno));
	text = config_print(config, false);
	json = text ? cJSON_Parse(text) : NULL;
	free(text);
	*args = cJSON_CreateObject();
	cJSON_AddItemToObject(*args, kind, cJSON_DetachItemFromArray(cJSON_GetObjectItem(json, kind), 0));
	cJSON_Delete(json);
	return 0;
}

static int add(const char *name, struct vm_config *config, struct err *err)
{
	struct client client;
	cJSON *args = NULL, *result = NULL;
	int fd = -1, ret = client_open(&client, name, err);

	if (!ret)
		ret = make_request(config, &args, err);
	if (!ret && disk)
		ret = open_disk(&config->disk[0], &fd, err);
	client.pass = fd;
	if (!ret)
		result = client_call(&client, disk ? "disk.add" : "net.add", args, err);
	else
		cJSON_Delete(args);
	if (result)
		printf("%.0f\n", cJSON_GetNumberValue(cJSON_GetObjectItem(result, "port")));
	else
		ret = ret ? ret : -EINVAL;
	cJSON_Delete(result);
	if (fd >= 0)
		close(fd);
	client_close(&client);
	return ret;
}

static int attach(const struct invocation *call)
{
	struct vm_config config;
	struct err err;
	int ret;

	config_init(&config);
	if (!disk == !net)
		ret = err_set(&err, EINVAL, "say what: --disk or --net; see mullion attach --help");
	else
		ret = add(call->word[0], &config, &err);
	config_free(&config);
	return ret ? complain(&err) : STATUS_OK;
}

static int detach(const struct invocation *call)
{
	cJSON *args = cJSON_CreateObject(), *result;
	struct err err;
	char *end;
	unsigned long port = strtoul(call->word[1], &end, 10);

	if (*end || end == call->word[1]) {
		cJSON_Delete(args);
		err_set(&err, EINVAL, "%s is not a port; mullion attach printed it", call->word[1]);
		return complain(&err);
	}
	cJSON_AddNumberToObject(args, "port", (double)port);
	result = client_ask(call->word[0], "device.remove", args, &err);
	if (!result)
		return complain(&err);
	cJSON_Delete(result);
	return STATUS_OK;
}

static const struct option attach_options[] = {
	{"disk", 0, OPTION_STRING, "FILE[,KEY=VALUE...]", "a raw image, as for mullion run", &disk},
	{"net", 0, OPTION_STRING, "KIND[,KEY=VALUE...]", "a network card, as for mullion run", &net},
	{0},
};

const struct command command_attach = {
	.name = "attach",
	.words = "VM",
	.min_words = 1,
	.max_words = 1,
	.options = attach_options,
	.help = "plug a disk or a network card into a running VM; prints the port that it is in",
	.more = "The VM needs a free port: --hotplug-ports. Its definition is not changed.\n",
	.run = attach,
};

const struct command command_detach = {
	.name = "detach",
	.words = "VM PORT",
	.min_words = 2,
	.max_words = 2,
	.help = "ask a running VM's system to give back what is plugged into a port",
	.run = detach,
};
