/* SPDX-License-Identifier: MIT */
/* What VMs there are and how they are. */
#include "main/ps.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "host/log.h"
#include "main/client.h"
#include "main/define.h"
#include "main/state.h"
#include "main/table.h"

static bool all, quiet;
static const char *format;
static struct option_strings filters;

static int complain(const struct err *err)
{
	log_line("%s", err->text);
	return STATUS_USAGE;
}

static int check_format(bool *json, struct err *err)
{
	*json = format && !strcmp(format, "json");
	if (format && !*json && strcmp(format, "table"))
		return err_set(err, EINVAL, "--format %s: there are table and json", format);
	return 0;
}

static int print_json(cJSON *json)
{
	char *text = cJSON_Print(json);

	puts(text ? text : "");
	free(text);
	cJSON_Delete(json);
	return STATUS_OK;
}

/* ---- one VM ---- */

/* How it ended, from the file that its process has left. */
static void add_last(cJSON *vm, const char *name)
{
	char path[PATH_MAX], text[256] = "";
	cJSON *last, *status = NULL;
	FILE *file = NULL;

	if (!state_path(STATE_KEPT, name, "last.json", path, NULL))
		file = fopen(path, "re");
	if (file && !fread(text, 1, sizeof(text) - 1, file))
		*text = 0;
	if (file)
		fclose(file);
	last = cJSON_Parse(text);
	status = cJSON_DetachItemFromObject(last, "status");
	cJSON_AddStringToObject(vm, "state", state_crashed(name) ? "crashed" : status ? "exited" : "created");
	if (status && !state_crashed(name))
		cJSON_AddItemToObject(vm, "status", status);
	else
		cJSON_Delete(status);
	cJSON_Delete(last);
}

static void add_definition(cJSON *vm, const char *name)
{
	struct vm_config config;
	cJSON *labels = cJSON_AddArrayToObject(vm, "labels");

	if (!definition_load(name, &config, NULL) && !config_finish(&config, NULL)) {
		cJSON_AddNumberToObject(vm, "memory", (double)config.memory);
		if (config.image || config.kernel)
			cJSON_AddStringToObject(vm, "image", config.image ? config.image : config.kernel);
		for (unsigned i = 0; i < config.nlabels; i++)
			cJSON_AddItemToArray(labels, cJSON_CreateString(config.label[i]));
	}
	config_free(&config);
}

/* The same keys as the control socket's "status", as far as they are known. */
static cJSON *look_at(const char *name)
{
	cJSON *vm;

	if (state_running(name, NULL)) {
		vm = client_ask(name, "status", NULL, NULL);
		if (vm)
			return vm;
	}
	vm = cJSON_CreateObject();
	cJSON_AddStringToObject(vm, "name", name);
	if (state_running(name, NULL))
		cJSON_AddStringToObject(vm, "state", "silent"); /* its process is there, and doesn't answer */
	else
		add_last(vm, name);
	add_definition(vm, name);
	return vm;
}

static const char *text_in(const cJSON *vm, const char *key)
{
	const cJSON *value = cJSON_GetObjectItem(vm, key);

	return cJSON_IsString(value) ? value->valuestring : "-";
}

static double number_in(const cJSON *vm, const char *key)
{
	return cJSON_GetNumberValue(cJSON_GetObjectItem(vm, key));
}

/* ---- ps ---- */

static bool has_label(const cJSON *vm, const char *wanted)
{
	size_t len = strlen(wanted);
	const cJSON *label;

	cJSON_ArrayForEach(label, cJSON_GetObjectItem(vm, "labels"))
	{
		const char *text = label->valuestring;

		if (!strcmp(text, wanted) ||
			(!strchr(wanted, '=') && !strncmp(text, wanted, len) && text[len] == '='))
			return true;
	}
	return false;
}

static int check_filters(struct err *err)
{
	for (unsigned i = 0; i < filters.n; i++) {
		const char *text = filters.text[i];

		if (strncmp(text, "label=", 6) && strncmp(text, "state=", 6) && strncmp(text, "name=", 5))
			return err_set(err, EINVAL,
				"--filter %s: there are label=KEY, label=KEY=VALUE, state=STATE and "
				"name=PART",
				text);
	}
	return 0;
}

static bool passes(const cJSON *vm)
{
	for (unsigned i = 0; i < filters.n; i++) {
		const char *text = filters.text[i], *value = strchr(text, '=') + 1;
		bool good = *text == 'l'   ? has_label(vm, value)
			    : *text == 's' ? !strcmp(text_in(vm, "state"), value)
					   : strstr(text_in(vm, "name"), value) != NULL;

		if (!good)
			return false;
	}
	return true;
}

/* The VMs that are asked for. */
static cJSON *collect(struct err *err)
{
	cJSON *list;
	char **names;
	unsigned n;

	if (state_list(&names, &n, err))
		return NULL;
	list = cJSON_CreateArray();
	for (unsigned i = 0; i < n; i++) {
		cJSON *vm;

		if (!all && !filters.n && !state_running(names[i], NULL))
			continue;
		vm = look_at(names[i]);
		if (passes(vm))
			cJSON_AddItemToArray(list, vm);
		else
			cJSON_Delete(vm);
	}
	state_free_list(names, n);
	return list;
}

static void add_row(struct table *table, const cJSON *vm)
{
	const cJSON *status = cJSON_GetObjectItem(vm, "status");
	char text[32];

	table_add(table, "%s", text_in(vm, "name"));
	if (status)
		table_add(table, "%s (%d)", text_in(vm, "state"), status->valueint);
	else
		table_add(table, "%s", text_in(vm, "state"));
	table_add(table, "%s", text_in(vm, "engine"));
	table_add(table, "%s",
		cJSON_GetObjectItem(vm, "uptime") ? text_of_seconds(number_in(vm, "uptime"), text) : "-");
	table_add(table, "%s",
		cJSON_GetObjectItem(vm, "memory") ? text_of_size((u64)number_in(vm, "memory"), text) : "-");
	table_add(table, "%s", text_in(vm, "image"));
}

static void print_table(const cJSON *list)
{
	static const char *const heading[] = {"NAME", "STATE", "ENGINE", "UPTIME", "MEMORY", "IMAGE"};
	struct table table;
	const cJSON *vm;

	table_init(&table, ARRAY_SIZE(heading));
	for (size_t i = 0; i < ARRAY_SIZE(heading); i++)
		table_add(&table, "%s", heading[i]);
	cJSON_ArrayForEach(vm, list) add_row(&table, vm);
	table_print(&table, stdout);
}

static int ps(const struct invocation *call)
{
	struct err err;
	const cJSON *vm;
	cJSON *list;
	bool json;

	(void)call;
	if (check_format(&json, &err) || check_filters(&err))
		return complain(&err);
	list = collect(&err);
	if (!list)
		return complain(&err);
	if (json)
		return print_json(list);
	if (quiet) {
		cJSON_ArrayForEach(vm, list) puts(text_in(vm, "name"));
	} else {
		print_table(list);
	}
	cJSON_Delete(list);
	return STATUS_OK;
}

/* ---- inspect ---- */

static cJSON *config_of(const char *name, struct err *err)
{
	struct vm_config config;
	char *text = NULL;
	cJSON *json;

	if (!state_defined(name)) {
		cJSON *result = client_ask(name, "inspect", NULL, err);

		json = cJSON_DetachItemFromObject(result, "config");
		cJSON_Delete(result);
		return json;
	}
	if (!definition_load(name, &config, err) && !config_finish(&config, err))
		text = config_print(&config, true);
	json = text ? cJSON_Parse(text) : NULL;
	free(text);
	config_free(&config);
	return json;
}

static void add_path(cJSON *vm, const char *key, enum state_place place, const char *name, const char *file)
{
	char path[PATH_MAX];

	if (!state_path(place, name, file, path, NULL))
		cJSON_AddStringToObject(vm, key, path);
}

static int inspect(const struct invocation *call)
{
	cJSON *list = cJSON_CreateArray();
	struct err err;

	for (unsigned i = 0; i < call->nwords; i++) {
		const char *name = call->word[i];
		cJSON *config = config_of(name, &err), *vm;

		if (!config) {
			cJSON_Delete(list);
			return complain(&err);
		}
		vm = look_at(name);
		cJSON_AddItemToObject(vm, "config", config);
		if (state_defined(name))
			add_path(vm, "definition", STATE_DEFINITION, name, NULL);
		add_path(vm, "log", STATE_KEPT, name, "vmm.log");
		if (state_running(name, NULL))
			add_path(vm, "control", STATE_RUN, name, "control.sock");
		cJSON_AddItemToArray(list, vm);
	}
	return print_json(list);
}

/* ---- stats ---- */

static void add_stats_row(struct table *table, const cJSON *vm)
{
	double uptime = number_in(vm, "uptime");
	char text[32];

	table_add(table, "%s", text_in(vm, "name"));
	table_add(table, "%.0f%%", uptime > 0 ? 100 * number_in(vm, "cpu-seconds") / uptime : 0);
	table_add(table, "%.1f s", number_in(vm, "cpu-seconds"));
	table_add(table, "%s", text_of_size((u64)number_in(vm, "resident"), text));
	table_add(table, "%s", text_of_size((u64)number_in(vm, "memory"), text));
	table_add(table, "%s", text_of_seconds(uptime, text));
}

static int print_stats(cJSON *list, bool json)
{
	static const char *const heading[] = {"NAME", "CPU", "CPU TIME", "RESIDENT", "MEMORY", "UPTIME"};
	struct table table;
	const cJSON *vm;

	if (json)
		return print_json(list);
	table_init(&table, ARRAY_SIZE(heading));
	for (size_t i = 0; i < ARRAY_SIZE(heading); i++)
		table_add(&table, "%s", heading[i]);
	cJSON_ArrayForEach(vm, list) add_stats_row(&table, vm);
	table_print(&table, stdout);
	cJSON_Delete(list);
	return STATUS_OK;
}

static int add_stats(cJSON *list, const char *name, struct err *err)
{
	cJSON *vm = client_ask(name, "stats", NULL, err);

	if (!vm)
		return -EINVAL;
	cJSON_AddStringToObject(vm, "name", name);
	cJSON_AddItemToArray(list, vm);
	return 0;
}

static int stats(const struct invocation *call)
{
	cJSON *list = cJSON_CreateArray();
	char **names = NULL;
	unsigned n = 0;
	struct err err;
	bool json;
	int ret = check_format(&json, &err);

	for (unsigned i = 0; !ret && i < call->nwords; i++)
		ret = add_stats(list, call->word[i], &err);
	if (!ret && !call->nwords)
		ret = state_list(&names, &n, &err);
	for (unsigned i = 0; !ret && i < n; i++) {
		if (state_running(names[i], NULL))
			add_stats(list, names[i], &err);
	}
	state_free_list(names, n);
	if (!ret)
		return print_stats(list, json);
	cJSON_Delete(list);
	return complain(&err);
}

static const struct option ps_options[] = {
	{"all", 'a', OPTION_FLAG, NULL, "also those that do not run", &all},
	{"filter", 'f', OPTION_STRINGS, "KEY=VALUE",
		"only those with label=KEY[=VALUE], state=STATE, or name=PART", &filters},
	{"format", 0, OPTION_STRING, "table|json", "(default: table)", &format},
	{"quiet", 'q', OPTION_FLAG, NULL, "names only", &quiet},
	{0},
};

static const struct option stats_options[] = {
	{"format", 0, OPTION_STRING, "table|json", "(default: table); json has the engine's counters, too",
		&format},
	{0},
};

const struct command command_ps = {
	.name = "ps",
	.options = ps_options,
	.help = "list VMs that run",
	.run = ps,
};

const struct command command_inspect = {
	.name = "inspect",
	.words = "VM...",
	.min_words = 1,
	.max_words = 64,
	.help = "print VMs' state and every key of their definitions, as JSON",
	.run = inspect,
};

const struct command command_stats = {
	.name = "stats",
	.words = "[VM...]",
	.max_words = 64,
	.options = stats_options,
	.help = "what running VMs use of this machine",
	.run = stats,
};
