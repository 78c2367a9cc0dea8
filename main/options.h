/* SPDX-License-Identifier: MIT */
/* The command line. */
#pragma once

#include <stdio.h>

#include "host/err.h"
#include "lib/types.h"

#define DEFAULT_MEMORY MIB(512)
#define DEFAULT_COMMAND_LINE "console=ttyS0 quiet"

enum command {
	COMMAND_HELP,
	COMMAND_VERSION,
	COMMAND_RUN,
	COMMAND_RUN_HELP,
	COMMAND_DOCTOR,
};

enum console_kind {
	CONSOLE_STDIO,
	CONSOLE_FILE,
	CONSOLE_NONE,
};

struct options {
	enum command command;
	const char *kernel, *initrd; /* NULL: not given */
	const char *append;
	u64 memory; /* bytes */
	unsigned cpus;
	const char *engine; /* NULL: auto */
	enum console_kind console;
	const char *console_path;
	bool no_reboot, debug_exit, stats, private_memory;
	u64 timeout_ns; /* 0: none */
};

/* Strings stay argv's. 0, or -EINVAL with a line in err. */
int options_parse(struct options *options, int argc, char **argv, struct err *err);
/* "512M", "2G", "65536K"; a bare number is MiB. 0 or -EINVAL. */
int options_parse_size(const char *text, u64 *bytes);
void options_help(FILE *out);
void options_run_help(FILE *out);
