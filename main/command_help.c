/* SPDX-License-Identifier: MIT */
/* --help of the commands, from their tables. */
#include <string.h>

#include "main/command.h"
#include "main/config_keys.h"

#define COLUMN 26

/* "  --name VALUE     help", the help on a line of its own when the name is long. */
static void show_line(FILE *out, unsigned indent, const char *name, const char *value, const char *help)
{
	int used = fprintf(out, "%*s%s%s%s", (int)indent, "", name, value ? " " : "", value ? value : "");

	if (used + 2 > COLUMN) {
		fputc('\n', out);
		used = 0;
	}
	fprintf(out, "%*s%s\n", COLUMN - used, "", help);
}

static void show_option(const struct option *option, FILE *out)
{
	char name[64];

	if (option->letter)
		snprintf(name, sizeof(name), "-%c, --%s", option->letter, option->name);
	else
		snprintf(name, sizeof(name), "--%s", option->name);
	show_line(out, 2, name, option->kind == OPTION_FLAG ? NULL : option->value, option->help);
}

static const char *value_name(const struct config_key *key, char *text, size_t len)
{
	return key->value ? key->value : key->choices ? config_choice_list(key, text, len) : NULL;
}

/* "bus=virtio|ahci|cdrom", and the like, below the option of the list. */
static void show_item_key(const struct config_key *key, FILE *out)
{
	char choices[128], name[192];
	const char *value = value_name(key, choices, sizeof(choices));

	snprintf(name, sizeof(name), "%s%s%s", key->name, value ? "=" : "", value ? value : "");
	show_line(out, 6, name, NULL, key->help);
}

static void show_key(const struct config_key *key, FILE *out)
{
	char name[64], choices[128];
	const char *value = value_name(key, choices, sizeof(choices));
	const struct config_key *first;

	snprintf(name, sizeof(name), key->kind == KEY_SWITCH ? "--[no-]%s" : "--%s", key->name);
	if (key->kind != KEY_LIST) {
		show_line(out, 2, name, value, key->help);
		return;
	}
	first = key->list->keys;
	value = value_name(first, choices, sizeof(choices));
	fprintf(out, "  %s %s[,KEY=VALUE...]\n", name, value);
	fprintf(out, "%*s%s: %s\n", COLUMN, "", key->help, first->help);
	for (unsigned i = 1; i < key->list->nkeys; i++)
		show_item_key(&key->list->keys[i], out);
}

void command_help(const struct command *command, FILE *out)
{
	bool options = command->vm || command->options;

	fprintf(out, "usage: mullion %s%s%s%s\n\n%s\n", command->name, options ? " [OPTION...]" : "",
		command->words ? " " : "", command->words ? command->words : "", command->help);
	if (options)
		fputc('\n', out);
	for (const struct option *option = command->options; option && option->name; option++)
		show_option(option, out);
	for (unsigned i = 0; command->vm && i < config_table.nkeys; i++)
		show_key(&config_table.keys[i], out);
	if (command->more)
		fprintf(out, "\n%s", command->more);
}

static bool in_group(const char *name, const char *group)
{
	size_t len = strlen(group);

	return !strncmp(name, group, len) && name[len] == ' ';
}

void command_list(command_table table, const char *group, FILE *out)
{
	fprintf(out, "usage: mullion %s%sCOMMAND [OPTION...]\n\n", group ? group : "", group ? " " : "");
	for (; *table; table++) {
		if (!group || in_group((*table)->name, group))
			show_line(out, 2, (*table)->name, (*table)->words, (*table)->help);
	}
	fprintf(out, "\nmullion COMMAND --help says more%s.\n",
		group ? "" : "; mullion --version says which version this is");
}
