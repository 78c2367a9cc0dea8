/* SPDX-License-Identifier: MIT */
/* One value of a VM's definition: from text and back. */
#include "main/config_keys.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define SECONDS_MAX 1e9
#define NS 1e9

int config_parse_size(const char *text, u64 *bytes)
{
	static const char units[] = "KMGT";
	unsigned shift = 20;
	char *end;
	u64 n;

	if (!isdigit((unsigned char)*text))
		return -EINVAL;
	errno = 0;
	n = strtoull(text, &end, 10);
	if (*end) {
		const char *unit = strchr(units, toupper((unsigned char)*end));

		if (!unit || (end[1] && strcasecmp(end + 1, "B") && strcasecmp(end + 1, "iB")))
			return -EINVAL;
		shift = 10 * (unsigned)(unit - units + 1);
	}
	if (errno || n > UINT64_MAX >> shift)
		return -EINVAL;
	*bytes = n << shift;
	return 0;
}

int config_parse_mac(const char *text, u8 mac[6])
{
	for (unsigned i = 0; i < 6; i++, text += 3) {
		if (!isxdigit((unsigned char)text[0]) || !isxdigit((unsigned char)text[1]) ||
			text[2] != (i < 5 ? ':' : 0))
			return -EINVAL;
		mac[i] = (u8)strtoul(text, NULL, 16);
	}
	return mac[0] & 1 ? -EINVAL : 0;
}

/* ---- from text ---- */

static int set_string(char **field, const char *text)
{
	char *copy = strdup(text);

	if (!copy)
		return -ENOMEM;
	free(*field);
	*field = copy;
	return 0;
}

static int set_count(
	const struct config_key *key, void *field, const char *text, const char *who, struct err *err)
{
	char *end;
	u64 n;

	errno = 0;
	n = strtoull(text, &end, 10);
	if (!isdigit((unsigned char)*text) || *end || errno || n < key->min || n > key->max)
		return err_set(err, EINVAL, "%s %s: a number from %llu to %llu is wanted", who, text,
			(unsigned long long)key->min, (unsigned long long)key->max);
	if (key->max > UINT32_MAX / 2)
		*(u64 *)field = n;
	else
		*(unsigned *)field = (unsigned)n;
	return 0;
}

static int set_seconds(u64 *field, const char *text, const char *who, struct err *err)
{
	char *end;
	double seconds = strtod(text, &end);

	if (*end || end == text || !(seconds > 0 && seconds <= SECONDS_MAX))
		return err_set(err, EINVAL, "%s %s is not a number of seconds above 0", who, text);
	*field = (u64)(seconds * NS);
	return 0;
}

/* The choice that text begins with, or -1. */
static int find_choice(const struct config_key *key, const char *text)
{
	for (int i = 0; key->choices[i]; i++) {
		size_t len = config_choice_len(key->choices[i]);

		if (!strncmp(text, key->choices[i], len) && (!text[len] || text[len] == ':'))
			return i;
	}
	return -1;
}

static int set_choice(
	const struct config_key *key, void *object, const char *text, const char *who, struct err *err)
{
	char list[256];
	const char *choice, *name = NULL;
	int i = find_choice(key, text);

	if (i >= 0) {
		name = strchr(text, ':');
		name = name ? name + 1 : NULL;
	} else if (key->other && *text) {
		i = find_choice(key, key->other);
		name = text;
	}
	if (i < 0)
		return err_set(err, EINVAL, *text ? "%s %s: there are %s" : "%s%s needs one of %s", who, text,
			config_choice_list(key, list, sizeof(list)));
	choice = key->choices[i] + config_choice_len(key->choices[i]);
	if ((*choice == ':' && !name) || (!*choice && name) || (name && !*name))
		return err_set(err, EINVAL, "%s %s: it is written %s", who, text, key->choices[i]);
	*(unsigned *)config_field(object, key->offset) = (unsigned)i;
	if (!key->rest)
		return 0;
	free(*(char **)config_field(object, key->rest));
	*(char **)config_field(object, key->rest) = name ? strdup(name) : NULL;
	return 0;
}

static int add_string(
	const struct config_key *key, void *object, const char *text, const char *who, struct err *err)
{
	unsigned *count = config_field(object, key->list->count);
	char **strings = config_field(object, key->offset);

	if (*count == key->list->max)
		return err_set(err, EINVAL, "%s: more than %u of them", who, key->list->max);
	strings[*count] = NULL;
	return set_string(&strings[(*count)++], text);
}

static int set_flag(
	const struct config_key *key, void *object, const char *text, const char *who, struct err *err)
{
	static const char *const on[] = {"", "yes", "on", "true"}, *const off[] = {"", "no", "off", "false"};

	for (size_t i = 1; i < ARRAY_SIZE(on); i++) {
		if (!strcmp(text, on[i]))
			return config_set_bool(key, object, true);
		if (!strcmp(text, off[i]))
			return config_set_bool(key, object, false);
	}
	return err_set(err, EINVAL, "%s=%s: yes or no is wanted", who, text);
}

int config_set_bool(const struct config_key *key, void *object, bool on)
{
	*(bool *)config_field(object, key->offset) = on;
	return 0;
}

static int set_checked(
	const struct config_key *key, void *object, const char *text, const char *who, struct err *err)
{
	void *field = config_field(object, key->offset);

	switch (key->kind) {
	case KEY_STRING:
		return set_string(field, text);
	case KEY_PATH:
		return *text ? set_string(field, text) : err_set(err, EINVAL, "%s needs a file", who);
	case KEY_SIZE:
		return config_parse_size(text, field)
			       ? err_set(err, EINVAL, "%s %s is not a size; say for example 512M or 2G", who,
					 text)
			       : 0;
	case KEY_SECONDS:
		return set_seconds(field, text, who, err);
	case KEY_COUNT:
		return set_count(key, field, text, who, err);
	case KEY_FLAG:
	case KEY_SWITCH:
		return set_flag(key, object, text, who, err);
	case KEY_CHOICE:
		return set_choice(key, object, text, who, err);
	case KEY_STRINGS:
		return add_string(key, object, text, who, err);
	default:
		return err_set(err, EINVAL, "%s is a list", who);
	}
}

int config_set(const struct config_key *key, void *object, const char *text, const char *who, struct err *err)
{
	struct err why;

	if (key->check && key->check(text, &why))
		return err_set(err, EINVAL, "%s %.100s: %.300s", who, text, why.text);
	return set_checked(key, object, text, who, err);
}

void *config_add(const struct config_key *key, void *object, const char *who, struct err *err)
{
	unsigned *count = config_field(object, key->list->count);
	void *item;

	if (*count == key->list->max) {
		err_set(err, EINVAL, "%s: more than %u of them", who, key->list->max);
		return NULL;
	}
	item = (char *)config_field(object, key->offset) + (*count)++ * key->list->size;
	memset(item, 0, key->list->size);
	return item;
}

/* ---- to text ---- */

static const char *size_text(u64 bytes, char *buffer, size_t len)
{
	unsigned unit = 0; /* K */

	if (!bytes)
		return NULL;
	for (bytes >>= 10; !(bytes & 1023) && unit < 3; bytes >>= 10)
		unit++;
	snprintf(buffer, len, "%llu%c", (unsigned long long)bytes, "KMGT"[unit]);
	return buffer;
}

static const char *choice_text(const struct config_key *key, const void *object, char *buffer, size_t len)
{
	const char *choice = key->choices[*(unsigned *)config_field(object, key->offset)];
	const char *rest = key->rest ? *(char **)config_field(object, key->rest) : NULL;

	snprintf(buffer, len, "%.*s%s%s", (int)config_choice_len(choice), choice, rest ? ":" : "",
		rest ? rest : "");
	return buffer;
}

const char *config_text(const struct config_key *key, const void *object, char *buffer, size_t len)
{
	void *field = config_field(object, key->offset);

	switch (key->kind) {
	case KEY_STRING:
	case KEY_PATH:
		return *(char **)field;
	case KEY_SIZE:
		return size_text(*(u64 *)field, buffer, len);
	case KEY_SECONDS:
		snprintf(buffer, len, "%.9g", (double)*(u64 *)field / NS);
		return *(u64 *)field ? buffer : NULL;
	case KEY_COUNT:
		snprintf(buffer, len, "%llu",
			key->max > UINT32_MAX / 2 ? (unsigned long long)*(u64 *)field : *(unsigned *)field);
		return buffer;
	case KEY_CHOICE:
		return choice_text(key, object, buffer, len);
	default:
		return NULL;
	}
}
