/* SPDX-License-Identifier: MIT */
/* The command line. */
#include "main/options.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define TIMEOUT_MAX 1e9 /* seconds */

struct option {
	const char *name;
	bool takes_value;
	int (*set)(struct options *options, const char *value, struct err *err);
};

int options_parse_size(const char *text, u64 *bytes)
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

static int set_kernel(struct options *options, const char *value, struct err *err)
{
	(void)err;
	options->kernel = value;
	return 0;
}

static int set_initrd(struct options *options, const char *value, struct err *err)
{
	(void)err;
	options->initrd = value;
	return 0;
}

static int set_append(struct options *options, const char *value, struct err *err)
{
	(void)err;
	options->append = value;
	return 0;
}

static int set_memory(struct options *options, const char *value, struct err *err)
{
	if (options_parse_size(value, &options->memory))
		return err_set(err, EINVAL, "--memory %s is not a size; say for example 512M or 2G", value);
	return 0;
}

static int set_cpus(struct options *options, const char *value, struct err *err)
{
	if (strcmp(value, "1"))
		return err_set(err, EINVAL, "--cpus %s: this version runs exactly 1 vCPU", value);
	options->cpus = 1;
	return 0;
}

static int set_engine(struct options *options, const char *value, struct err *err)
{
	if (!strcmp(value, "auto"))
		options->engine = NULL;
	else if (!strcmp(value, "translate") || !strcmp(value, "metal"))
		options->engine = value;
	else if (!strcmp(value, "kvm"))
		return err_set(err, EINVAL, "--engine kvm: not built yet; use metal, translate or auto");
	else
		return err_set(err, EINVAL,
			"--engine %s: no such engine; there are auto, metal and translate", value);
	return 0;
}

static int set_console(struct options *options, const char *value, struct err *err)
{
	if (!*value)
		return err_set(err, EINVAL, "--console needs stdio, a file name, or none");
	options->console = CONSOLE_FILE;
	if (!strcmp(value, "stdio"))
		options->console = CONSOLE_STDIO;
	else if (!strcmp(value, "none"))
		options->console = CONSOLE_NONE;
	options->console_path = value;
	return 0;
}

static int set_timeout(struct options *options, const char *value, struct err *err)
{
	char *end;
	double seconds = strtod(value, &end);

	if (*end || end == value || !(seconds > 0 && seconds <= TIMEOUT_MAX))
		return err_set(err, EINVAL, "--timeout %s is not a number of seconds above 0", value);
	options->timeout_ns = (u64)(seconds * 1e9);
	return 0;
}

static int set_no_reboot(struct options *options, const char *value, struct err *err)
{
	(void)value;
	(void)err;
	options->no_reboot = true;
	return 0;
}

static int set_debug_exit(struct options *options, const char *value, struct err *err)
{
	(void)value;
	(void)err;
	options->debug_exit = true;
	return 0;
}

static int set_stats(struct options *options, const char *value, struct err *err)
{
	(void)value;
	(void)err;
	options->stats = true;
	return 0;
}

static int set_private_memory(struct options *options, const char *value, struct err *err)
{
	(void)value;
	(void)err;
	options->private_memory = true;
	return 0;
}

static int set_help(struct options *options, const char *value, struct err *err)
{
	(void)value;
	(void)err;
	options->command = COMMAND_RUN_HELP;
	return 0;
}

static const struct option run_options[] = {
	{"kernel", true, set_kernel},
	{"initrd", true, set_initrd},
	{"append", true, set_append},
	{"memory", true, set_memory},
	{"cpus", true, set_cpus},
	{"engine", true, set_engine},
	{"console", true, set_console},
	{"timeout", true, set_timeout},
	{"no-reboot", false, set_no_reboot},
	{"debug-exit", false, set_debug_exit},
	{"stats", false, set_stats},
	{"private-memory", false, set_private_memory},
	{"help", false, set_help},
};

static const struct option *find_option(const char *name, size_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(run_options); i++) {
		const struct option *option = &run_options[i];

		if (strlen(option->name) == len && !memcmp(option->name, name, len))
			return option;
	}
	return NULL;
}

/* One option at argv[0], perhaps with its value in argv[1]. Returns how many were used, or -EINVAL. */
static int parse_one(struct options *options, int argc, char **argv, struct err *err)
{
	const char *name = argv[0] + 2, *equals, *value = NULL;
	const struct option *option;
	int used = 1, ret;

	if (!strcmp(argv[0], "-h"))
		name = "help";
	else if (strncmp(argv[0], "--", 2))
		return err_set(err, EINVAL, "unexpected argument %s; see mullion run --help", argv[0]);
	equals = strchr(name, '=');
	option = find_option(name, equals ? (size_t)(equals - name) : strlen(name));
	if (!option)
		return err_set(err, EINVAL, "unknown option %s; see mullion run --help", argv[0]);
	if (equals)
		value = equals + 1;
	else if (option->takes_value && argc > 1)
		value = argv[used++];
	if (option->takes_value && !value)
		return err_set(err, EINVAL, "--%s needs a value", option->name);
	if (!option->takes_value && value)
		return err_set(err, EINVAL, "--%s takes no value", option->name);
	ret = option->set(options, value, err);
	return ret ? ret : used;
}

static int parse_run(struct options *options, int argc, char **argv, struct err *err)
{
	while (argc > 0) {
		int used = parse_one(options, argc, argv, err);

		if (used < 0)
			return used;
		argc -= used;
		argv += used;
	}
	return 0;
}

static bool is_one_of(const char *word, const char *a, const char *b)
{
	return !strcmp(word, a) || !strcmp(word, b);
}

int options_parse(struct options *options, int argc, char **argv, struct err *err)
{
	*options = (struct options){
		.append = DEFAULT_COMMAND_LINE,
		.memory = DEFAULT_MEMORY,
		.cpus = 1,
	};
	if (argc < 2)
		return err_set(err, EINVAL, "say what to do: mullion run, mullion doctor, or mullion --help");
	if (!strcmp(argv[1], "run")) {
		options->command = COMMAND_RUN;
		return parse_run(options, argc - 2, argv + 2, err);
	}
	if (!strcmp(argv[1], "doctor"))
		options->command = COMMAND_DOCTOR;
	else if (is_one_of(argv[1], "--version", "-V"))
		options->command = COMMAND_VERSION;
	else if (is_one_of(argv[1], "--help", "-h") || !strcmp(argv[1], "help"))
		options->command = COMMAND_HELP;
	else
		return err_set(err, EINVAL, "no command %s; there are run and doctor", argv[1]);
	if (argc > 2 && options->command == COMMAND_DOCTOR && is_one_of(argv[2], "--help", "-h"))
		options->command = COMMAND_HELP;
	else if (argc > 2)
		return err_set(err, EINVAL, "unexpected argument %s", argv[2]);
	return 0;
}

void options_help(FILE *out)
{
	fputs("usage: mullion run [OPTION...]   boot a VM (mullion run --help lists the options)\n"
	      "       mullion doctor            say which engines this machine can run\n"
	      "       mullion --version | --help\n",
		out);
}

void options_run_help(FILE *out)
{
	fputs("usage: mullion run [OPTION...]\n"
	      "\n"
	      "Boots a VM. Without options: Debian's cloud kernel to a shell on this terminal.\n"
	      "\n"
	      "  --kernel FILE     bzImage, or ELF with a PVH note (default: the image that make run made)\n"
	      "  --initrd FILE     initial RAM disk\n"
	      "  --append STRING   kernel command line (default: \"" DEFAULT_COMMAND_LINE "\")\n"
	      "  --memory SIZE     guest memory, for example 512M (the default) or 2G\n"
	      "  --cpus N          vCPUs; 1 for now\n"
	      "  --engine NAME     auto (the default), metal (Mullion's own hypervisor) or translate\n"
	      "  --console WHERE   the serial port: stdio (the default), a file name, or none\n"
	      "  --no-reboot       end instead of resetting the VM\n"
	      "  --timeout SECS    end after this time, with status 124\n"
	      "  --debug-exit      a byte v written to port 0xf4 ends with status (v << 1) | 1\n"
	      "  --private-memory  with metal: take the VM's memory out of this system's reach\n"
	      "  --stats           print counters at the end (SIGUSR1 prints them at any time)\n"
	      "\n"
	      "Keys: Ctrl-A x quits, Ctrl-A Ctrl-A sends Ctrl-A, Ctrl-A h shows help.\n"
	      "Input from a pipe or file is typed; at its end the VM is asked to power off.\n"
	      "\n"
	      "Exit status: 0 power-off, 2 wrong usage or file, 3 triple fault (with --no-reboot),\n"
	      "124 timeout, 128 + N killed by signal N, 1 a fault of mullion itself.\n",
		out);
}
