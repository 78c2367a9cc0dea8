/* SPDX-License-Identifier: MIT */
/* The command `mullion`. Only this file exits. */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "host/log.h"
#include "host/tsc.h"
#include "main/doctor.h"
#include "main/options.h"
#include "main/run.h"

#define STATUS_USAGE 2

/* A closed standard descriptor would be taken by the next file that we open. */
static void fill_standard_descriptors(void)
{
	while (1) {
		int fd = open("/dev/null", O_RDWR);

		if (fd < 0)
			return;
		if (fd > STDERR_FILENO) {
			close(fd);
			return;
		}
	}
}

int main(int argc, char **argv)
{
	struct tsc_sample started;
	struct options options;
	struct err err;

	tsc_sample(&started);
	fill_standard_descriptors();
	if (options_parse(&options, argc, argv, &err)) {
		log_line("%s", err.text);
		return STATUS_USAGE;
	}
	switch (options.command) {
	case COMMAND_RUN:
		return run(&options, &started);
	case COMMAND_DOCTOR:
		return doctor();
	case COMMAND_VERSION:
		puts("mullion " MULLION_VERSION);
		return 0;
	case COMMAND_RUN_HELP:
		options_run_help(stdout);
		return 0;
	default:
		options_help(stdout);
		return 0;
	}
}
