/* SPDX-License-Identifier: MIT */
/* `mullion completion SHELL`: what a shell needs to complete our command line. */
#include <string.h>

#include "host/log.h"
#include "main/config_keys.h"
#include "main/show.h"

/* The part that is the same whatever the tables hold. Each function answers in $reply. */
static const char frame[] =
	"_mullion()\n"
	"{\n"
	"	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} i command= reply=\n"
	"	COMPREPLY=()\n"
	"	for ((i = 1; i < COMP_CWORD && i < 3; i++)); do\n"
	"		case ${COMP_WORDS[i]} in -*) break ;; esac\n"
	"		_mullion_command \"${command:+$command }${COMP_WORDS[i]}\" || break\n"
	"		command=${command:+$command }${COMP_WORDS[i]}\n"
	"	done\n"
	"	_mullion_words \"$command\"\n"
	"	if [[ $cur == *,* && $prev == --* ]]; then\n"
	"		_mullion_keys \"$prev\"\n"
	"		COMPREPLY=($(compgen -P \"${cur%,*},\" -W \"$reply\" -- \"${cur##*,}\"))\n"
	"		return\n"
	"	elif [[ $cur == -* ]]; then\n"
	"		_mullion_options \"$command\"\n"
	"	elif [[ $prev == -* ]] && _mullion_values \"$prev\"; then\n"
	"		:\n"
	"	fi\n"
	"	case $reply in\n"
	"	FILE) compopt -o filenames 2>/dev/null; local IFS=$'\\n'; COMPREPLY=($(compgen -f -- "
	"\"$cur\")) ;;\n"
	"	VM) COMPREPLY=($(compgen -W \"$(mullion ps -a -q 2>/dev/null)\" -- \"$cur\")) ;;\n"
	"	*) COMPREPLY=($(compgen -W \"$reply\" -- \"$cur\")) ;;\n"
	"	esac\n"
	"}\n"
	"complete -F _mullion mullion\n";

/* zsh runs bash's functions itself. */
static const char zsh_first[] =
	"autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit\n";

/* fish asks bash. */
static const char fish[] = "function __mullion_complete\n"
			   "	bash -c 'source <(mullion completion bash); COMP_WORDS=(\"$@\"); "
			   "COMP_CWORD=$(($# - 1)); _mullion\n"
			   "		[ ${#COMPREPLY[@]} = 0 ] || printf \"%s\\n\" \"${COMPREPLY[@]}\"' "
			   "bash (commandline -opc) (commandline -ct)\n"
			   "end\n"
			   "complete -c mullion -f -a '(__mullion_complete)'\n";

/* ---- the commands ---- */

static bool begins_group(unsigned i, size_t len)
{
	return commands[i]->name[len] == ' ' &&
	       (!i || strncmp(commands[i - 1]->name, commands[i]->name, len + 1) != 0);
}

/* First words; second words of a group. */
static void show_subcommands(const char *group)
{
	size_t skip = group ? strlen(group) + 1 : 0;

	for (unsigned i = 0; commands[i]; i++) {
		const char *name = commands[i]->name;
		size_t len;

		if (group && (strncmp(name, group, skip - 1) || name[skip - 1] != ' '))
			continue;
		len = strcspn(name + skip, " ");
		if (group || !name[len] || begins_group(i, len))
			printf("%.*s ", (int)len, name + skip);
	}
}

static void each_group(void (*show)(const char *group))
{
	for (unsigned i = 0; commands[i]; i++) {
		char group[32];
		size_t len = strcspn(commands[i]->name, " ");

		snprintf(group, sizeof(group), "%.*s", (int)len, commands[i]->name);
		if (begins_group(i, len))
			show(group);
	}
}

static void show_group_word(const char *group)
{
	printf("|\"%s\"", group);
}

static void show_group_case(const char *group)
{
	printf("	\"%s\") reply=\"", group);
	show_subcommands(group);
	printf("\" ;;\n");
}

static void show_commands(void)
{
	printf("_mullion_command()\n{\n	case $1 in\n	");
	for (unsigned i = 0; commands[i]; i++)
		printf("%s\"%s\"", i ? "|" : "", commands[i]->name);
	each_group(show_group_word);
	printf(") return 0 ;;\n	*) return 1 ;;\n	esac\n}\n");
}

/* What stands where no option does. */
static void show_words(void)
{
	printf("_mullion_words()\n{\n	case $1 in\n	\"\") reply=\"");
	show_subcommands(NULL);
	printf("help\" ;;\n");
	each_group(show_group_case);
	for (unsigned i = 0; commands[i]; i++) {
		const char *words = commands[i]->words;

		if (words)
			printf("	\"%s\") reply=%s ;;\n", commands[i]->name,
				strstr(words, "VM")				  ? "VM"
				: strstr(words, "FILE") || strstr(words, "IMAGE") ? "FILE"
				: strstr(words, "SHELL")			  ? "'bash zsh fish'"
										  : "");
	}
	printf("	esac\n}\n");
}

/* ---- their options ---- */

static void show_option_names(const struct command *command)
{
	for (const struct option *option = command->options; option && option->name; option++)
		printf("--%s ", option->name);
	for (unsigned i = 0; command->vm && i < config_table.nkeys; i++) {
		printf("--%s ", config_table.keys[i].name);
		if (config_table.keys[i].kind == KEY_SWITCH)
			printf("--no-%s ", config_table.keys[i].name);
	}
}

static void show_options(void)
{
	printf("_mullion_options()\n{\n	case $1 in\n");
	for (unsigned i = 0; commands[i]; i++) {
		printf("	\"%s\") reply=\"", commands[i]->name);
		show_option_names(commands[i]);
		printf("--help\" ;;\n");
	}
	printf("	*) reply=--help ;;\n	esac\n}\n");
}

/* "auto metal" from "auto|metal"; of "tap:NAME" only "tap:". */
static void show_alternatives(const char *text)
{
	for (; *text; text++) {
		if (*text == ':' || *text == '[') {
			printf("%s", *text == ':' ? ":" : "");
			text += strcspn(text, "|") - 1;
		} else {
			putchar(*text == '|' ? ' ' : *text);
		}
	}
}

static void show_key_value(const struct config_key *key)
{
	char choices[128];
	const char *value;

	if (key->kind == KEY_LIST)
		key = key->list->keys;
	if (key->choices)
		value = config_choice_list(key, choices, sizeof(choices));
	else
		value = key->value;
	if (key->kind == KEY_PATH)
		printf("FILE");
	else if (value && strchr(value, '|'))
		show_alternatives(value);
}

static bool takes_value(const struct config_key *key)
{
	return key->kind != KEY_FLAG && key->kind != KEY_SWITCH;
}

/* By the option's name alone: one name means one thing in all commands, as far as it matters here. */
static void show_values(void)
{
	printf("_mullion_values()\n{\n	case $1 in\n");
	for (unsigned i = 0; i < config_table.nkeys; i++) {
		if (!takes_value(&config_table.keys[i]))
			continue;
		printf("	--%s) reply=\"", config_table.keys[i].name);
		show_key_value(&config_table.keys[i]);
		printf("\" ;;\n");
	}
	for (unsigned i = 0; commands[i]; i++) {
		for (const struct option *option = commands[i]->options; option && option->name; option++) {
			if (option->kind == OPTION_FLAG || config_option_takes_value(option->name) > 0)
				continue;
			printf("	--%s) reply=\"", option->name);
			if (option->value && (strchr(option->value, '|') || !strcmp(option->value, "FILE")))
				show_alternatives(option->value);
			printf("\" ;;\n");
		}
	}
	printf("	*) return 1 ;;\n	esac\n}\n");
}

/* After the comma of --disk PATH, and the like. */
static void show_keys(void)
{
	printf("_mullion_keys()\n{\n	reply=\n	case $1 in\n");
	for (unsigned i = 0; i < config_table.nkeys; i++) {
		const struct config_key *key = &config_table.keys[i];

		if (key->kind != KEY_LIST)
			continue;
		printf("	--%s) reply=\"", key->name);
		for (unsigned j = 1; j < key->list->nkeys; j++)
			printf("%s%s ", key->list->keys[j].name, takes_value(&key->list->keys[j]) ? "=" : "");
		printf("\" ;;\n");
	}
	printf("	esac\n}\n");
}

static void show_bash(void)
{
	show_commands();
	show_words();
	show_options();
	show_values();
	show_keys();
	fputs(frame, stdout);
}

static int completion(const struct invocation *call)
{
	const char *shell = call->word[0];
	bool is_bash = !strcmp(shell, "bash"), is_zsh = !strcmp(shell, "zsh"),
	     is_fish = !strcmp(shell, "fish");

	if (!is_bash && !is_zsh && !is_fish) {
		log_line("completion for %s: there are bash, zsh and fish", shell);
		return STATUS_USAGE;
	}
	printf("# Completion of mullion's command line for %s; made by mullion completion %s.\n", shell,
		shell);
	if (is_zsh)
		fputs(zsh_first, stdout);
	if (is_fish)
		fputs(fish, stdout);
	else
		show_bash();
	return STATUS_OK;
}

const struct command command_completion = {
	.name = "completion",
	.words = "SHELL",
	.min_words = 1,
	.max_words = 1,
	.help = "print a script that completes mullion's command line in a shell",
	.more = "source <(mullion completion bash) has it at once, and so it is in zsh; in fish:\n"
		"mullion completion fish | source. make install puts bash's where bash looks for it.\n",
	.run = completion,
};
