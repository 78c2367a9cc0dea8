/* SPDX-License-Identifier: MIT */
/*
 * The command line: a table of commands, each with its words and options. Help,
 * complaints and shell completion are made from it.
 */
#pragma once

#include <stdio.h>

#include "host/err.h"
#include "host/tsc.h"
#include "main/config.h"

enum {
	STATUS_OK = 0,
	STATUS_FAULT = 1, /* our own */
	STATUS_USAGE = 2,
	STATUS_TRIPLE_FAULT = 3,
	STATUS_TIMEOUT = 124,
	STATUS_SIGNAL = 128,
};

enum option_kind {
	OPTION_FLAG, /* to: bool */
	OPTION_STRING, /* const char *; stays argv's */
	OPTION_STRINGS, /* struct option_strings */
	OPTION_NUMBER, /* unsigned */
	OPTION_SIZE, /* u64, bytes */
};

#define OPTION_STRINGS_MAX 32

struct option_strings {
	const char *text[OPTION_STRINGS_MAX];
	unsigned n;
};

struct option {
	const char *name; /* NULL ends a list */
	char letter; /* 0: none */
	enum option_kind kind;
	const char *value; /* what help calls it; "FILE" and "VM" are completed */
	const char *help;
	void *to; /* a variable of the command's own file */
};

struct invocation {
	char **word; /* what is no option */
	unsigned nwords;
	struct vm_config *config; /* commands with .vm */
	const struct tsc_sample *started;
};

struct command {
	const char *name; /* "run"; "image create" is found below "image" */
	const char *words; /* for help: "[IMAGE | FILE.json]"; "VM", "FILE" are completed */
	unsigned min_words, max_words;
	bool vm; /* every key of a VM's definition is an option, and words[0] may be its image or file */
	const char *help; /* a line */
	const char *more; /* paragraphs below the options */
	const struct option *options;
	int (*run)(const struct invocation *call); /* returns the exit status */
};

/* A table ends with NULL. The one in main.c holds all, those of a group side by side. */
typedef const struct command *const *command_table;

/*
 * Finds the command and sets its options. *command is NULL and *help true for help about all of them,
 * or about those whose first word is argv[1]. 0, or -EINVAL with a line in err.
 */
int command_parse(command_table table, int argc, char **argv, struct invocation *call,
	const struct command **command, bool *help, struct err *err);
/* One command's help; all commands' (group: only those that begin with that word). */
void command_help(const struct command *command, FILE *out);
void command_list(command_table table, const char *group, FILE *out);

extern const struct command *const commands[];
