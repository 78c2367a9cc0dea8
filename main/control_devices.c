/* SPDX-License-Identifier: MIT */
/* Commands of the control socket for devices that come and go, and for the screen. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl/request.h"
#include "main/control.h"
#include "main/screenshot.h"

/* The request's object, read as the only entry of that list in a VM file. */
static int read_device(
	const struct ctl_call *call, const char *kind, struct vm_config *config, struct err *err)
{
	const cJSON *given = cJSON_GetObjectItemCaseSensitive(call->args, kind);
	cJSON *file = cJSON_CreateObject();
	char *text;
	int ret;

	if (given)
		cJSON_AddItemToArray(cJSON_AddArrayToObject(file, kind), cJSON_Duplicate(given, true));
	text = cJSON_PrintUnformatted(file);
	cJSON_Delete(file);
	config_init(config);
	if (!given)
		ret = err_set(err, EINVAL, "%s: an object is wanted, as in a VM file", kind);
	else
		ret = text ? config_parse(config, text, strlen(text), "request", err) : -ENOMEM;
	free(text);
	return ret;
}

static int add(struct ctl_call *call, const char *kind, struct err *err)
{
	struct vmm *vmm = call->ctx;
	int fd = call->client ? call->client->passed : -1;
	struct vm_config config;
	unsigned port;
	int ret = read_device(call, kind, &config, err);

	if (!ret && config.ndisks && !config.disk[0].path)
		ret = err_set(err, EINVAL, "disk: a path is wanted");
	if (!ret)
		ret = hotplug_add(&vmm->hotplug, &config, config.ndisks ? fd : -1, &port, err);
	if (fd >= 0) {
		close(fd);
		call->client->passed = -1;
	}
	config_free(&config);
	if (!ret)
		cJSON_AddNumberToObject(call->result, "port", port);
	return ret;
}

int control_disk_add(struct ctl_call *call, struct err *err)
{
	return add(call, "disk", err);
}

int control_net_add(struct ctl_call *call, struct err *err)
{
	return add(call, "net", err);
}

int control_device_list(struct ctl_call *call, struct err *err)
{
	const struct vmm *vmm = call->ctx;
	cJSON *ports = cJSON_AddArrayToObject(call->result, "ports");

	(void)err;
	for (unsigned i = 0; i < vmm->config.hotplug_ports; i++) {
		const struct hot_device *device = &vmm->hotplug.device[i];
		cJSON *port = cJSON_CreateObject();

		cJSON_AddItemToArray(ports, port);
		cJSON_AddNumberToObject(port, "port", i + 1);
		if (!device->kind)
			continue;
		cJSON_AddStringToObject(port, "kind", device->kind);
		if (device->config.ndisks)
			cJSON_AddStringToObject(port, "path", device->config.disk[0].path);
	}
	return 0;
}

int control_device_remove(struct ctl_call *call, struct err *err)
{
	struct vmm *vmm = call->ctx;
	u64 port = 0;
	int ret = ctl_arg_number(call, "port", CONFIG_PORTS, &port, err);

	return ret ? ret : hotplug_remove(&vmm->hotplug, (unsigned)port, err);
}

int control_screenshot(struct ctl_call *call, struct err *err)
{
	struct vmm *vmm = call->ctx;
	int fd = call->client ? call->client->passed : -1;
	unsigned width, height;
	int ret = machine_screenshot(&vmm->machine, fd, &width, &height, err);

	if (fd >= 0) {
		close(fd);
		call->client->passed = -1;
	}
	if (ret)
		return ret;
	cJSON_AddNumberToObject(call->result, "width", width);
	cJSON_AddNumberToObject(call->result, "height", height);
	return 0;
}
