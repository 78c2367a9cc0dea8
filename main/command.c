/* SPDX-License-Identifier: MIT */
/* The command line. */
#include "main/command.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "main/config_keys.h"

struct parser {
	const struct command *command;
	struct invocation *call;
	bool apply; /* false: only sort out the words */
	bool help;
	struct err *err;
};

/* ---- finding the command ---- */

/* How many of argv's words the command's name takes, if it is meant; else 0. */
static int name_words(const char *name, int argc, char **argv)
{
	int used = 0;

	while (used < argc) {
		size_t len = strlen(argv[used]);

		if (strncmp(name, argv[used], len))
			return 0;
		used++;
		name += len;
		if (!*name)
			return used;
		if (*name++ != ' ')
			return 0;
	}
	return 0;
}

static bool is_group(command_table table, const char *word)
{
	size_t len = strlen(word);

	for (; *table; table++) {
		if (len && !strncmp((*table)->name, word, len) && (*table)->name[len] == ' ')
			return true;
	}
	return false;
}

static bool is_one_of(const char *word, const char *a, const char *b)
{
	return !strcmp(word, a) || !strcmp(word, b);
}

/* ---- options ---- */

static const struct option *find_option(const struct command *command, const char *name, size_t len)
{
	for (const struct option *option = command->options; option && option->name; option++) {
		if (strlen(option->name) == len && !memcmp(option->name, name, len))
			return option;
	}
	return NULL;
}

static const struct option *find_letter(const struct command *command, char letter)
{
	for (const struct option *option = command->options; option && option->name; option++) {
		if (option->letter == letter)
			return option;
	}
	return NULL;
}

static int set_number(unsigned *to, const char *name, const char *value, struct err *err)
{
	char *end;
	unsigned long n = strtoul(value, &end, 10);

	if (end == value || *end || *value == '-' || n > 1000000000)
		return err_set(err, EINVAL, "--%s %s is not a number", name, value);
	*to = (unsigned)n;
	return 0;
}

static int set_own(const struct option *option, const char *value, struct err *err)
{
	struct option_strings *strings = option->to;

	switch (option->kind) {
	case OPTION_FLAG:
		*(bool *)option->to = true;
		return 0;
	case OPTION_STRING:
		*(const char **)option->to = value;
		return 0;
	case OPTION_STRINGS:
		if (strings->n == OPTION_STRINGS_MAX)
			return err_set(
				err, EINVAL, "more than %u times --%s", OPTION_STRINGS_MAX, option->name);
		strings->text[strings->n++] = value;
		return 0;
	case OPTION_NUMBER:
		return set_number(option->to, option->name, value, err);
	default:
		if (!config_parse_size(value, option->to))
			return 0;
		return err_set(err, EINVAL, "--%s %s is not a size; say for example 512M or 2G", option->name,
			value);
	}
}

static int unknown_option(const struct parser *p, const char *word, const char *name)
{
	const char *near = p->command->vm ? config_nearest_option(name) : NULL;
	unsigned least = near ? word_distance(name, near) : word_far(name);

	for (const struct option *option = p->command->options; option && option->name; option++) {
		if (word_distance(name, option->name) < least) {
			near = option->name;
			least = word_distance(name, near);
		}
	}
	if (near && *name)
		return err_set(p->err, EINVAL, "unknown option %s; did you mean --%s? See mullion %s --help",
			word, near, p->command->name);
	return err_set(p->err, EINVAL, "unknown option %s; see mullion %s --help", word, p->command->name);
}

static int unknown_command(command_table table, const char *word, struct err *err)
{
	unsigned least = word_far(word);
	const char *near = NULL;

	for (; *table; table++) {
		unsigned d = word_distance(word, (*table)->name);

		if (d < least) {
			near = (*table)->name;
			least = d;
		}
	}
	if (near)
		return err_set(err, EINVAL, "no command %s; did you mean %s? See mullion --help", word, near);
	return err_set(err, EINVAL, "no command %s; see mullion --help", word);
}

/* One option at argv[0], perhaps with its value in argv[1]. Returns how many were used, or -EINVAL. */
static int take_option(struct parser *p, int argc, char **argv)
{
	const struct option *own;
	char name[64] = "";
	const char *value = NULL, *equals = NULL;
	int takes, used = 1, ret = 0;

	if (argv[0][1] == '-') {
		equals = strchr(argv[0], '=');
		snprintf(name, sizeof(name), "%.*s", equals ? (int)(equals - argv[0] - 2) : 63, argv[0] + 2);
		own = find_option(p->command, name, strlen(name));
	} else {
		own = argv[0][2] ? NULL : find_letter(p->command, argv[0][1]);
		if (own)
			snprintf(name, sizeof(name), "%s", own->name);
	}
	if (!strcmp(name, "help") || !strcmp(argv[0], "-h")) {
		p->help = true;
		return 1;
	}
	takes = own ? own->kind != OPTION_FLAG : p->command->vm ? config_option_takes_value(name) : -ENOENT;
	if (takes < 0)
		return unknown_option(p, argv[0], name);
	if (equals)
		value = equals + 1;
	else if (takes && argc > 1)
		value = argv[used++];
	if (takes && !value)
		return err_set(p->err, EINVAL, "--%s needs a value", name);
	if (!takes && value)
		return err_set(p->err, EINVAL, "--%s takes no value", name);
	if (p->apply)
		ret = own ? set_own(own, value, p->err) : config_option(p->call->config, name, value, p->err);
	return ret ? ret : used;
}

/* Words move to the front of argv. */
static int parse_all(struct parser *p, int argc, char **argv)
{
	struct invocation *call = p->call;
	bool only_words = false;

	call->nwords = 0;
	for (int i = 0; i < argc;) {
		int used = 1;

		if (!only_words && !strcmp(argv[i], "--"))
			only_words = true;
		else if (!only_words && argv[i][0] == '-' && argv[i][1])
			used = take_option(p, argc - i, argv + i);
		else if (p->apply)
			call->word[call->nwords++] = argv[i];
		else if (call->nwords++ == p->command->max_words)
			return err_set(p->err, EINVAL, "unexpected argument %s; see mullion %s --help",
				argv[i], p->command->name);
		else
			call->word[call->nwords - 1] = argv[i];
		if (used < 0)
			return used;
		i += used;
	}
	return 0;
}

static bool is_vm_file(const char *word)
{
	size_t len = strlen(word);

	return len > 5 && !strcmp(word + len - 5, ".json");
}

/* A VM file is what the options are put on top of. */
static int take_image(const struct parser *p, const char *word)
{
	if (is_vm_file(word))
		return config_load(p->call->config, word, p->err);
	return config_option(p->call->config, "image", word, p->err);
}

static int parse_command(struct parser *p, int argc, char **argv)
{
	static char *words[64];
	int ret;

	if (p->command->max_words > ARRAY_SIZE(words))
		return err_set(p->err, EINVAL, "too many words");
	p->call->word = words;
	ret = parse_all(p, argc, argv);
	if (ret || p->help)
		return ret;
	if (p->call->nwords < p->command->min_words)
		return err_set(p->err, EINVAL, "mullion %s needs %s; see mullion %s --help", p->command->name,
			p->command->words, p->command->name);
	if (p->command->vm && p->call->nwords)
		ret = take_image(p, words[0]);
	p->apply = true;
	return ret ? ret : parse_all(p, argc, argv);
}

/* Returns how many words its name has, or 0. */
static int find_command(command_table table, int argc, char **argv, const struct command **command)
{
	int used = 0;

	for (; *table && !used; table++) {
		used = name_words((*table)->name, argc - 1, argv + 1);
		*command = *table;
	}
	return used;
}

/* mullion help COMMAND is mullion COMMAND --help. */
static int help_on(command_table table, int argc, char **argv, const struct command **command, bool *help,
	struct err *err)
{
	const struct command *found;
	int used = find_command(table, argc, argv, &found);

	*help = true;
	if (used)
		*command = found;
	else if (is_group(table, argv[1]))
		used = 1;
	else
		return unknown_command(table, argv[1], err);
	return argc > used + 1 ? err_set(err, EINVAL, "unexpected argument %s", argv[used + 1]) : 0;
}

int command_parse(command_table table, int argc, char **argv, struct invocation *call,
	const struct command **command, bool *help, struct err *err)
{
	struct parser p = {.call = call, .err = err};
	int used = 0, ret;

	*command = NULL;
	*help = false;
	if (argc < 2)
		return err_set(err, EINVAL, "say what to do: mullion run, mullion doctor, or mullion --help");
	used = find_command(table, argc, argv, &p.command);
	if (used) {
		ret = parse_command(&p, argc - 1 - used, argv + 1 + used);
		*command = p.command;
		*help = p.help;
		return ret;
	}
	if (!strcmp(argv[1], "help") && argc > 2)
		return help_on(table, argc - 1, argv + 1, command, help, err);
	if (is_one_of(argv[1], "--help", "-h") || !strcmp(argv[1], "help"))
		*help = true;
	else if (is_group(table, argv[1]) && (argc < 3 || is_one_of(argv[2], "--help", "-h")))
		*help = true;
	else if (is_group(table, argv[1]))
		return err_set(
			err, EINVAL, "no command %s %s; see mullion %s --help", argv[1], argv[2], argv[1]);
	else
		return unknown_command(table, argv[1], err);
	if (argc > 2 && !is_group(table, argv[1]))
		return err_set(err, EINVAL, "unexpected argument %s", argv[2]);
	return 0;
}
