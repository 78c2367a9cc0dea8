/* SPDX-License-Identifier: MIT */
/* VM files: a definition as one JSON object. */
#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "main/config_keys.h"

#define FILE_MAX MIB(1)

/*
 * cJSON forgets where things were. Its tree is walked in the text's order, and
 * keys are counted on the way, so that a complaint finds its line again.
 */
struct reader {
	const char *file, *text;
	unsigned keys;
	struct err *err;
};

/* ---- where ---- */

/* Behind the string that begins at text. */
static const char *skip_string(const char *text)
{
	for (text++; *text && *text != '"'; text++) {
		if (*text == '\\' && text[1])
			text++;
	}
	return *text ? text + 1 : text;
}

static unsigned line_of(const char *text, const char *at)
{
	unsigned line = 1;

	for (; text < at; text++)
		line += *text == '\n';
	return line;
}

/* The line of the n-th key (from 1) of a well-formed text. */
static unsigned line_of_key(const char *text, unsigned n)
{
	const char *at = text;

	while (*at) {
		const char *start = at;

		if (*at != '"') {
			at++;
			continue;
		}
		at = skip_string(at);
		if (at[strspn(at, " \t\r\n")] == ':' && !--n)
			return line_of(text, start);
	}
	return line_of(text, at);
}

__attribute__((format(printf, 2, 3))) static int complain(const struct reader *r, const char *fmt, ...)
{
	char what[400];
	va_list args;

	va_start(args, fmt);
	vsnprintf(what, sizeof(what), fmt, args);
	va_end(args);
	return err_set(r->err, EINVAL, "%s:%u: %s", r->file, line_of_key(r->text, r->keys), what);
}

/* ---- reading ---- */

static int read_object(struct reader *r, const struct config_list *list, void *object, const cJSON *json,
	const char *prefix);

static int wrong_kind(struct reader *r, const char *who, const char *wanted)
{
	return complain(r, "%s: %s is wanted", who, wanted);
}

static int set_text(
	struct reader *r, const struct config_key *key, void *object, const char *text, const char *who)
{
	struct err err;

	return config_set(key, object, text, who, &err) ? complain(r, "%s", err.text) : 0;
}

static int read_number(
	struct reader *r, const struct config_key *key, void *object, double n, const char *who)
{
	char text[64];

	if (key->kind == KEY_SECONDS)
		snprintf(text, sizeof(text), "%.9g", n);
	else if (n != floor(n) || n < 0 || n > 1e15)
		return wrong_kind(r, who, "a whole number");
	else
		snprintf(text, sizeof(text), "%.0f", n);
	return set_text(r, key, object, text, who);
}

static int read_array(
	struct reader *r, const struct config_key *key, void *object, const cJSON *json, const char *who)
{
	struct err err;
	const cJSON *item;
	int ret = 0;

	if (!cJSON_IsArray(json))
		return wrong_kind(r, who, key->kind == KEY_LIST ? "a list of objects" : "a list of strings");
	cJSON_ArrayForEach(item, json)
	{
		if (key->kind == KEY_STRINGS) {
			ret = cJSON_IsString(item) ? set_text(r, key, object, item->valuestring, who)
						   : wrong_kind(r, who, "a list of strings");
		} else {
			void *entry = config_add(key, object, who, &err);

			ret = entry ? read_object(r, key->list, entry, item, who)
				    : complain(r, "%s", err.text);
		}
		if (ret)
			break;
	}
	return ret;
}

static int read_value(
	struct reader *r, const struct config_key *key, void *object, const cJSON *json, const char *who)
{
	switch (key->kind) {
	case KEY_FLAG:
	case KEY_SWITCH:
		if (!cJSON_IsBool(json))
			return wrong_kind(r, who, "true or false");
		return config_set_bool(key, object, cJSON_IsTrue(json));
	case KEY_SECONDS:
	case KEY_COUNT:
		return cJSON_IsNumber(json) ? read_number(r, key, object, json->valuedouble, who)
					    : wrong_kind(r, who, "a number");
	case KEY_SIZE:
		if (cJSON_IsNumber(json))
			return read_number(r, key, object, json->valuedouble, who);
		break;
	case KEY_STRINGS:
	case KEY_LIST:
		return read_array(r, key, object, json, who);
	default:
		break;
	}
	return cJSON_IsString(json)
		       ? set_text(r, key, object, json->valuestring, who)
		       : wrong_kind(r, who, key->kind == KEY_SIZE ? "a size such as \"2G\"" : "a string");
}

static int unknown_key(struct reader *r, const struct config_list *list, const char *name, const char *prefix)
{
	const struct config_key *near = config_nearest_key(list, name);

	return complain(r, "unknown key %.100s%s%s%s%s%s", name, *prefix ? " of " : "", prefix,
		near ? "; did you mean " : "", near ? near->name : "", near ? "?" : "");
}

static int read_object(
	struct reader *r, const struct config_list *list, void *object, const cJSON *json, const char *prefix)
{
	const cJSON *value;
	u64 seen = 0;
	int ret = 0;

	if (!cJSON_IsObject(json))
		return wrong_kind(r, *prefix ? prefix : "the file", "an object");
	cJSON_ArrayForEach(value, json)
	{
		const struct config_key *key = config_find_key(list, value->string, strlen(value->string));
		char who[128];

		r->keys++;
		if (!key)
			return unknown_key(r, list, value->string, prefix);
		snprintf(who, sizeof(who), "%s%s%s", prefix, *prefix ? "." : "", key->name);
		if (seen & BIT(key - list->keys))
			return complain(r, "%s is given twice", who);
		seen |= BIT(key - list->keys);
		ret = read_value(r, key, object, value, who);
		if (ret)
			return ret;
	}
	if (list == &config_table)
		((struct vm_config *)object)->given |= seen;
	return 0;
}

int config_parse(struct vm_config *config, const char *text, size_t len, const char *file, struct err *err)
{
	struct reader r = {.file = file, .text = text, .err = err};
	const char *end = text;
	cJSON *json;
	int ret;

	if (memchr(text, 0, len))
		return err_set(err, EINVAL, "%s is not a JSON text", file);
	json = cJSON_ParseWithLengthOpts(text, len + 1, &end, true);
	if (!json)
		return err_set(err, EINVAL, "%s:%u: not valid JSON here: %.20s", file, line_of(text, end),
			*end ? end : "the end of the file");
	ret = read_object(&r, &config_table, config, json, "");
	cJSON_Delete(json);
	return ret;
}

/* The file's text with a zero behind it, or NULL. */
static char *read_file(const char *path, size_t *len, struct err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	char *text = NULL;
	ssize_t n = -1;

	if (fd < 0 || fstat(fd, &st)) {
		err_set(err, errno, "cannot read VM file %s: %s", path, strerror(errno));
	} else if (!S_ISREG(st.st_mode) || (u64)st.st_size > FILE_MAX) {
		err_set(err, EINVAL, "VM file %s is %s", path,
			S_ISREG(st.st_mode) ? "larger than 1 MiB" : "not a plain file");
	} else {
		text = malloc((size_t)st.st_size + 1);
		n = text ? read(fd, text, (size_t)st.st_size) : -1;
		if (n < 0)
			err_set(err, errno, "cannot read VM file %s: %s", path, strerror(errno));
	}
	if (fd >= 0)
		close(fd);
	if (n < 0) {
		free(text);
		return NULL;
	}
	text[n] = 0;
	*len = (size_t)n;
	return text;
}

int config_load(struct vm_config *config, const char *path, struct err *err)
{
	char dir[PATH_MAX], *slash;
	size_t len;
	char *text = read_file(path, &len, err);
	int ret;

	if (!text)
		return -EINVAL;
	ret = config_parse(config, text, len, path, err);
	free(text);
	snprintf(dir, sizeof(dir), "%s", path);
	slash = strrchr(dir, '/');
	if (!ret && slash) {
		*slash = 0;
		ret = config_absolute(config, dir);
	}
	return ret;
}

/* ---- writing ---- */

static cJSON *value_of(const struct config_key *key, const void *object, bool all);

static cJSON *object_of(const struct config_list *list, const void *object, u64 given, bool all)
{
	cJSON *json = cJSON_CreateObject();

	for (unsigned i = 0; i < list->nkeys; i++) {
		cJSON *value = all || given & BIT(i) ? value_of(&list->keys[i], object, all) : NULL;

		if (value)
			cJSON_AddItemToObject(json, list->keys[i].name, value);
	}
	return json;
}

static cJSON *array_of(const struct config_key *key, const void *object, bool all)
{
	unsigned n = *(unsigned *)config_field(object, key->list->count);
	const char *items = config_field(object, key->offset);
	cJSON *array;

	if (!n && !all && key->kind == KEY_STRINGS)
		return NULL;
	array = cJSON_CreateArray();
	for (unsigned i = 0; i < n; i++, items += key->list->size)
		cJSON_AddItemToArray(array, key->kind == KEY_LIST
						    ? object_of(key->list, items, UINT64_MAX, all)
						    : cJSON_CreateString(*(char *const *)items));
	return array;
}

/* Devices' keys are not marked as given: what is as it was by itself is left out. */
static cJSON *value_of(const struct config_key *key, const void *object, bool all)
{
	char buffer[PATH_MAX + 64];
	const char *text;
	bool on;

	switch (key->kind) {
	case KEY_FLAG:
	case KEY_SWITCH:
		on = *(bool *)config_field(object, key->offset);
		return on || all || key->kind == KEY_SWITCH ? cJSON_CreateBool(on) : NULL;
	case KEY_STRINGS:
	case KEY_LIST:
		return array_of(key, object, all);
	default:
		text = config_text(key, object, buffer, sizeof(buffer));
	}
	if (!text)
		return NULL;
	if (key->kind == KEY_SECONDS || key->kind == KEY_COUNT)
		return strcmp(text, "0") ? cJSON_CreateNumber(strtod(text, NULL)) : NULL;
	return cJSON_CreateString(text);
}

char *config_print(const struct vm_config *config, bool all)
{
	cJSON *json = object_of(&config_table, config, config->given, all);
	char *text = cJSON_Print(json);

	cJSON_Delete(json);
	return text;
}
