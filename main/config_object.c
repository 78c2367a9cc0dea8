/* SPDX-License-Identifier: MIT */
/* A whole definition: its defaults, its options one by one, and its end. */
#include "main/config_keys.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "main/image.h"

#define IMAGE_MEMORY GIB(1)

/* ---- every string in it ---- */

struct visit {
	int (*string)(char **at, const struct config_key *key, void *ctx);
	void *ctx;
};

static int visit_list(const struct config_list *list, void *object, const struct visit *visit);

static int visit_items(const struct config_key *key, void *object, const struct visit *visit)
{
	unsigned n = *(unsigned *)config_field(object, key->list->count);
	char *items = config_field(object, key->offset);
	int ret = 0;

	for (unsigned i = 0; !ret && i < n; i++, items += key->list->size)
		ret = key->kind == KEY_LIST ? visit_list(key->list, items, visit)
					    : visit->string((char **)items, key, visit->ctx);
	return ret;
}

static int visit_key(const struct config_key *key, void *object, const struct visit *visit)
{
	switch (key->kind) {
	case KEY_STRING:
	case KEY_PATH:
		return visit->string(config_field(object, key->offset), key, visit->ctx);
	case KEY_CHOICE:
		return key->rest ? visit->string(config_field(object, key->rest), key, visit->ctx) : 0;
	case KEY_STRINGS:
	case KEY_LIST:
		return visit_items(key, object, visit);
	default:
		return 0;
	}
}

static int visit_list(const struct config_list *list, void *object, const struct visit *visit)
{
	int ret = 0;

	for (unsigned i = 0; !ret && i < list->nkeys; i++)
		ret = visit_key(&list->keys[i], object, visit);
	return ret;
}

static int free_string(char **at, const struct config_key *key, void *ctx)
{
	(void)key;
	(void)ctx;
	free(*at);
	*at = NULL;
	return 0;
}

void config_init(struct vm_config *config)
{
	*config = (struct vm_config){.cpus = 1};
}

void config_free(struct vm_config *config)
{
	visit_list(&config_table, config, &(struct visit){free_string, NULL});
	config_init(config);
}

/* ---- paths ---- */

/* Where in the string a file's name begins, or NULL: URLs are none, and of a net's names only those that look like paths. */
static char *file_in(const struct config_key *key, char *text)
{
	size_t len = key->file_after ? strlen(key->file_after) : 0;

	if (!text || strstr(text, "://") || !strncmp(text, "nbd:", 4) || !strncmp(text, "nbd+", 4))
		return NULL;
	if (len)
		return strncmp(text, key->file_after, len) ? NULL : text + len;
	if (key->kind == KEY_CHOICE)
		return key->other || strchr(text, '/') ? text : NULL;
	return key->kind == KEY_PATH ? text : NULL;
}

/* An image may be a name in the user's folder of images, too. */
static bool is_stored(
	const struct config_key *key, const char *file, const char *joined, char found[PATH_MAX])
{
	return key->image && access(joined, F_OK) && !image_find(file, found, NULL) && *found == '/';
}

static int absolute_string(char **at, const struct config_key *key, void *ctx)
{
	char *file = file_in(key, *at), *joined, found[PATH_MAX];

	if (!file || *file == '/')
		return 0;
	if (asprintf(&joined, "%.*s%s/%s", (int)(file - *at), *at, (const char *)ctx, file) < 0)
		return -ENOMEM;
	if (is_stored(key, file, joined, found)) {
		free(joined);
		joined = strdup(found);
		if (!joined)
			return -ENOMEM;
	}
	free(*at);
	*at = joined;
	return 0;
}

int config_absolute(struct vm_config *config, const char *dir)
{
	return visit_list(&config_table, config, &(struct visit){absolute_string, (void *)dir});
}

/* ---- options ---- */

/* Copies the part up to a comma (two commas are one that counts); returns what follows it, or NULL. */
static const char *take_part(const char *text, char *part, size_t len)
{
	size_t n = 0;

	for (; *text; text++) {
		if (*text == ',' && *++text != ',') {
			part[n] = 0;
			return text;
		}
		if (n + 1 < len)
			part[n++] = *text;
	}
	part[n] = 0;
	return NULL;
}

static int unknown_part(const struct config_key *list, const char *name, struct err *err)
{
	const struct config_key *near = config_nearest_key(list->list, name);

	return err_set(err, EINVAL, "--%s: unknown key %s%s%s%s", list->name, name,
		near ? "; did you mean " : "", near ? near->name : "", near ? "?" : "");
}

static int set_part(const struct config_key *list, void *item, char *part, bool first, struct err *err)
{
	char *value = strchr(part, '='), who[128];
	const struct config_key *key = config_find_key(list->list, part, strcspn(part, "="));

	snprintf(who, sizeof(who), "--%s", list->name);
	if (first && !(key && value)) /* the first key's value, whatever is in it */
		return config_set(&list->list->keys[0], item, part, who, err);
	if (value)
		*value++ = 0;
	if (!key)
		return unknown_part(list, part, err);
	snprintf(who, sizeof(who), "--%s %s", list->name, key->name);
	if (value)
		return config_set(key, item, value, who, err);
	if (key->kind == KEY_FLAG)
		return config_set_bool(key, item, true);
	return err_set(err, EINVAL, "%s needs a value", who);
}

/* PATH,key=value,flag */
static int add_item(const struct config_key *key, void *object, const char *text, struct err *err)
{
	char part[PATH_MAX], who[64];
	void *item;
	int ret = 0;

	snprintf(who, sizeof(who), "--%s", key->name);
	item = config_add(key, object, who, err);
	if (!item)
		return -EINVAL;
	for (bool first = true; !ret && text; first = false) {
		text = take_part(text, part, sizeof(part));
		ret = set_part(key, item, part, first, err);
	}
	return ret;
}

/* on: false for the "no-" form of a KEY_SWITCH. */
static const struct config_key *find_option(const char *name, bool *on)
{
	const struct config_key *key = config_find_key(&config_table, name, strlen(name));

	*on = true;
	if (key || strncmp(name, "no-", 3))
		return key;
	*on = false;
	key = config_find_key(&config_table, name + 3, strlen(name + 3));
	return key && key->kind == KEY_SWITCH ? key : NULL;
}

int config_option_takes_value(const char *name)
{
	bool on;
	const struct config_key *key = find_option(name, &on);

	if (!key)
		return -ENOENT;
	return key->kind != KEY_FLAG && key->kind != KEY_SWITCH;
}

int config_option(struct vm_config *config, const char *name, const char *text, struct err *err)
{
	bool on;
	const struct config_key *key = find_option(name, &on);
	char who[64];

	if (!key)
		return err_set(err, EINVAL, "unknown option --%s", name);
	config->given |= BIT(key - config_table.keys);
	snprintf(who, sizeof(who), "--%s", name);
	if (!text)
		return config_set_bool(key, config, on);
	if (key->kind == KEY_LIST)
		return add_item(key, config, text, err);
	return config_set(key, config, text, who, err);
}

/* ---- the end ---- */

static bool given(const struct vm_config *config, const char *name)
{
	return config->given & BIT(config_find_key(&config_table, name, strlen(name)) - config_table.keys);
}

/* A bare name is that of an image in the user's folder; a file that is not there is complained of later. */
static int find_image(char **path)
{
	char found[PATH_MAX], *copy;

	if (image_find(*path, found, NULL))
		return 0;
	copy = strdup(found);
	if (!copy)
		return -ENOMEM;
	free(*path);
	*path = copy;
	return 0;
}

static int image_first(struct vm_config *config, struct err *err)
{
	char *path = strdup(config->image);

	if (!path || config->ndisks == CONFIG_DISKS) {
		free(path);
		return err_set(err, EINVAL, "image %s: more than %u disks", config->image, CONFIG_DISKS);
	}
	memmove(config->disk + 1, config->disk, config->ndisks++ * sizeof(*config->disk));
	config->disk[0] = (struct disk_config){.path = path};
	return 0;
}

/* A whole system wants more than a kernel does. */
static int image_defaults(struct vm_config *config, struct err *err)
{
	if (!given(config, "rng"))
		config->rng = true;
	if (!given(config, "balloon"))
		config->balloon = true;
	if (!given(config, "net"))
		config->net[config->nnets++] = (struct net_config){.kind = NET_USER};
	if (!config->memory)
		config->memory = IMAGE_MEMORY;
	return image_first(config, err);
}

int config_finish(struct vm_config *config, struct err *err)
{
	int ret = 0;

	if (config->image)
		ret = find_image(&config->image);
	if (config->image && !ret)
		ret = image_defaults(config, err);
	for (unsigned i = 0; config->snapshot && i < config->ndisks; i++)
		config->disk[i].snapshot = true;
	if (!given(config, "memory") && !config->memory)
		config->memory = DEFAULT_MEMORY;
	if (config->engine && !strcmp(config->engine, "auto")) {
		free(config->engine);
		config->engine = NULL;
	}
	for (unsigned i = 0; !ret && i < config->ndisks; i++) {
		if (!config->disk[i].path)
			ret = err_set(err, EINVAL, "disk %u has no path", i);
		else
			ret = find_image(&config->disk[i].path);
	}
	for (unsigned i = 0; !ret && i < config->nshares; i++) {
		if (!config->share[i].path || !config->share[i].tag)
			ret = err_set(err, EINVAL, "share %u has no %s; --share FOLDER,tag=NAME", i,
				config->share[i].path ? "tag" : "path");
	}
	for (unsigned i = 0; !ret && i < config->nvirtio_ports; i++) {
		if (!config->virtio_port[i].name || !config->virtio_port[i].path)
			ret = err_set(err, EINVAL, "virtio-port %u has no %s; --virtio-port NAME,path=SOCKET", i,
				config->virtio_port[i].name ? "path" : "name");
	}
	return ret;
}
