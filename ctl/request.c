/* SPDX-License-Identifier: MIT */
/* Requests on the control socket. */
#include "ctl/request.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- arguments ---- */

static const cJSON *find(const struct ctl_call *call, const char *name)
{
	return cJSON_GetObjectItemCaseSensitive(call->args, name);
}

int ctl_arg_number(const struct ctl_call *call, const char *name, u64 max, u64 *value, struct err *err)
{
	const cJSON *json = find(call, name);

	if (!json)
		return 0;
	if (!cJSON_IsNumber(json) || json->valuedouble != floor(json->valuedouble) || json->valuedouble < 0 ||
		json->valuedouble > (double)max)
		return err_set(err, EINVAL, "%s: a whole number up to %llu is wanted", name,
			(unsigned long long)max);
	*value = (u64)json->valuedouble;
	return 0;
}

int ctl_arg_bool(const struct ctl_call *call, const char *name, bool *value, struct err *err)
{
	const cJSON *json = find(call, name);

	if (!json)
		return 0;
	if (!cJSON_IsBool(json))
		return err_set(err, EINVAL, "%s: true or false is wanted", name);
	*value = cJSON_IsTrue(json);
	return 0;
}

int ctl_arg_string(const struct ctl_call *call, const char *name, const char **value, struct err *err)
{
	const cJSON *json = find(call, name);

	if (!json)
		return 0;
	if (!cJSON_IsString(json))
		return err_set(err, EINVAL, "%s: a string is wanted", name);
	*value = json->valuestring;
	return 0;
}

/* ---- commands ---- */

static const struct ctl_command *find_command(const struct ctl_command *table, const char *name)
{
	for (; table->name; table++) {
		if (!strcmp(table->name, name))
			return table;
	}
	return NULL;
}

static int run(const struct ctl_command *table, struct ctl_call *call, struct err *err)
{
	const struct ctl_command *command;
	u64 protocol = CTL_PROTOCOL;
	const char *name = NULL;
	int ret;

	if (!cJSON_IsObject(call->args))
		return err_set(err, EINVAL, "not a JSON object");
	ret = ctl_arg_string(call, "command", &name, err);
	if (!ret)
		ret = ctl_arg_number(call, "protocol", 1000, &protocol, err);
	if (ret)
		return ret;
	if (!name)
		return err_set(err, EINVAL, "no command");
	if (protocol != CTL_PROTOCOL)
		return err_set(err, EPROTO, "protocol %llu is not spoken here; %d is",
			(unsigned long long)protocol, CTL_PROTOCOL);
	command = find_command(table, name);
	if (!command)
		return err_set(err, EINVAL, "no command %.60s", name);
	return command->run(call, err);
}

char *ctl_answer(const struct ctl_command *table, struct ctl_call *call, const char *line, size_t len)
{
	struct err err = {"failed"};
	cJSON *request = cJSON_ParseWithLengthOpts(line, len + 1, NULL, true);
	cJSON *answer = cJSON_CreateObject();
	const cJSON *id = cJSON_GetObjectItemCaseSensitive(request, "id");
	char *text;

	call->args = request;
	call->result = cJSON_CreateObject();
	if (id)
		cJSON_AddItemToObject(answer, "id", cJSON_Duplicate(id, true));
	if (!run(table, call, &err)) {
		cJSON_AddItemToObject(answer, "result", call->result);
	} else {
		cJSON_Delete(call->result);
		cJSON_AddStringToObject(answer, "error", err.text);
		call->taken = NULL;
	}
	text = cJSON_PrintUnformatted(answer);
	cJSON_Delete(answer);
	cJSON_Delete(request);
	call->args = call->result = NULL;
	return text;
}

void ctl_handle(
	const struct ctl_command *table, void *ctx, struct ctl_client *client, const char *line, size_t len)
{
	struct ctl_call call = {.ctx = ctx, .client = client};
	char *text = ctl_answer(table, &call, line, len);
	int fd;

	ctl_send(client, text ? text : "{\"error\":\"out of memory\"}");
	free(text);
	if (!call.taken)
		return;
	fd = ctl_take(client);
	if (fd >= 0)
		call.taken(ctx, fd);
}
