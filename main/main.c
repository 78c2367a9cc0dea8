/* SPDX-License-Identifier: MIT */
/* The command `mullion`. Only this file exits. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "host/log.h"
#include "host/tsc.h"
#include "main/command.h"
#include "main/console.h"
#include "main/device.h"
#include "main/doctor.h"
#include "main/image.h"
#include "main/network.h"
#include "main/ps.h"
#include "main/run.h"
#include "main/screenshot.h"
#include "main/show.h"
#include "main/stop.h"

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

/* In the order of --help. */
const struct command *const commands[] = {
	&command_run,
	&command_create,
	&command_start,
	&command_stop,
	&command_kill,
	&command_rm,
	&command_ps,
	&command_logs,
	&command_console,
	&command_inspect,
	&command_stats,
	&command_rename,
	&command_attach,
	&command_detach,
	&command_screenshot,
	&command_image_build,
	&command_image_create,
	&command_image_convert,
	&command_image_info,
	&command_image_resize,
	&command_image_list,
	&command_network_create,
	&command_network_ls,
	&command_network_rm,
	&command_network_inspect,
	&command_doctor,
	&command_schema,
	&command_completion,
	NULL,
};

/* What could not be printed, on a full disk for example, is a failure. */
static int end(int status)
{
	if (!fflush(stdout) && !ferror(stdout))
		return status;
	log_line("standard output: not everything could be written");
	return status ? status : STATUS_FAULT;
}

/* Of "--help", "help", "help image" and "image --help": the group, or NULL. */
static const char *group_in(char **word)
{
	if (!strcmp(*word, "help"))
		word++;
	return *word && **word != '-' ? *word : NULL;
}

int main(int argc, char **argv)
{
	struct tsc_sample started;
	static struct vm_config config;
	struct invocation call = {.config = &config, .started = &started};
	const struct command *command;
	struct err err;
	bool help;

	tsc_sample(&started);
	fill_standard_descriptors();
	if (argc == 2 && (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V"))) {
		puts("mullion " MULLION_VERSION);
		return end(STATUS_OK);
	}
	config_init(&config);
	if (command_parse(commands, argc, argv, &call, &command, &help, &err)) {
		log_line("%s", err.text);
		return STATUS_USAGE;
	}
	if (!help)
		return end(command->run(&call));
	if (command)
		command_help(command, stdout);
	else
		command_list(commands, group_in(argv + 1), stdout);
	return end(STATUS_OK);
}
