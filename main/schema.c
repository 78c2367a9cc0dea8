/* SPDX-License-Identifier: MIT */
/* `mullion schema`: the JSON schema (draft 2020-12) of VM files. */
#include "main/show.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "main/config_keys.h"

static cJSON *object_schema(const struct config_list *list);

static cJSON *typed(const char *type)
{
	cJSON *schema = cJSON_CreateObject();

	cJSON_AddStringToObject(schema, "type", type);
	return schema;
}

/* "^(user|tap:.+|socket(:.+)?)$" */
static cJSON *choice_schema(const struct config_key *key)
{
	cJSON *schema = typed("string");
	char pattern[256] = "^(";

	if (key->other) {
		cJSON_AddNumberToObject(schema, "minLength", 1);
		return schema;
	}
	for (unsigned i = 0; key->choices[i]; i++) {
		const char *choice = key->choices[i];
		size_t len = config_choice_len(choice), used = strlen(pattern);

		snprintf(pattern + used, sizeof(pattern) - used, "%s%.*s%s", i ? "|" : "", (int)len, choice,
			choice[len] == ':'   ? ":.+"
			: choice[len] == '[' ? "(:.+)?"
					     : "");
	}
	strncat(pattern, ")$", sizeof(pattern) - strlen(pattern) - 1);
	cJSON_AddStringToObject(schema, "pattern", pattern);
	return schema;
}

static cJSON *size_schema(void)
{
	cJSON *schema = cJSON_CreateObject(), *type = cJSON_AddArrayToObject(schema, "type");

	cJSON_AddItemToArray(type, cJSON_CreateString("string"));
	cJSON_AddItemToArray(type, cJSON_CreateString("integer")); /* MiB */
	cJSON_AddStringToObject(schema, "pattern", "^[0-9]+([KMGTkmgt]([iI]?[bB])?)?$");
	cJSON_AddNumberToObject(schema, "minimum", 0);
	return schema;
}

static cJSON *number_schema(const struct config_key *key)
{
	cJSON *schema = typed(key->kind == KEY_COUNT ? "integer" : "number");

	if (key->kind == KEY_SECONDS) {
		cJSON_AddNumberToObject(schema, "exclusiveMinimum", 0);
		return schema;
	}
	cJSON_AddNumberToObject(schema, "minimum", (double)key->min);
	cJSON_AddNumberToObject(schema, "maximum", (double)key->max);
	return schema;
}

static cJSON *array_schema(const struct config_key *key)
{
	cJSON *schema = typed("array");

	cJSON_AddNumberToObject(schema, "maxItems", key->list->max);
	cJSON_AddItemToObject(
		schema, "items", key->kind == KEY_LIST ? object_schema(key->list) : typed("string"));
	return schema;
}

static cJSON *key_schema(const struct config_key *key)
{
	switch (key->kind) {
	case KEY_FLAG:
	case KEY_SWITCH:
		return typed("boolean");
	case KEY_SIZE:
		return size_schema();
	case KEY_SECONDS:
	case KEY_COUNT:
		return number_schema(key);
	case KEY_CHOICE:
		return choice_schema(key);
	case KEY_STRINGS:
	case KEY_LIST:
		return array_schema(key);
	default:
		return typed("string");
	}
}

static cJSON *object_schema(const struct config_list *list)
{
	cJSON *schema = typed("object"), *properties = cJSON_AddObjectToObject(schema, "properties");

	for (unsigned i = 0; i < list->nkeys; i++) {
		cJSON *property = key_schema(&list->keys[i]);

		cJSON_AddStringToObject(property, "description", list->keys[i].help);
		cJSON_AddItemToObject(properties, list->keys[i].name, property);
	}
	cJSON_AddBoolToObject(schema, "additionalProperties", false);
	return schema;
}

static int schema(const struct invocation *call)
{
	cJSON *json = object_schema(&config_table);
	char *text;

	(void)call;
	cJSON_AddStringToObject(json, "$schema", "https://json-schema.org/draft/2020-12/schema");
	cJSON_AddStringToObject(json, "title", "Mullion VM file");
	text = cJSON_Print(json);
	puts(text ? text : "");
	free(text);
	cJSON_Delete(json);
	return STATUS_OK;
}

const struct command command_schema = {
	.name = "schema",
	.help = "print the JSON schema of VM files",
	.run = schema,
};
