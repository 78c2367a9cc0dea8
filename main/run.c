/* SPDX-License-Identifier: MIT */
/* Making VMs and starting them, here or in the background. */
#include "main/run.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/log.h"
#include "host/process.h"
#include "main/define.h"
#include "main/state.h"
#include "main/vmm.h"

static bool detach, forget;

/* ---- the background ---- */

/* Waits until the VM runs, or its process has ended with a message. */
static int wait_ready(int ready, pid_t child, const char *name)
{
	char byte;
	int status = 0;
	ssize_t n;

	do
		n = read(ready, &byte, 1);
	while (n < 0 && errno == EINTR);
	if (n == 1) {
		puts(name);
		return STATUS_OK;
	}
	waitpid(child, &status, 0);
	if (WIFSIGNALED(status))
		log_line("VM %s: its process was killed by signal %d", name, WTERMSIG(status));
	return WIFEXITED(status) && WEXITSTATUS(status) ? WEXITSTATUS(status) : STATUS_FAULT;
}

/* Returns in the starter (*child false), and in the VM's own process when that has ended (*child true). */
static int start_detached(struct vm_config *config, const struct tsc_sample *started, bool *child)
{
	int ready[2], status;
	pid_t pid;

	*child = false;
	fflush(stdout);
	if (pipe2(ready, O_CLOEXEC)) {
		log_line("cannot make a pipe: %s", strerror(errno));
		return STATUS_FAULT;
	}
	pid = fork();
	if (pid < 0) {
		log_line("cannot make a process: %s", strerror(errno));
		return STATUS_FAULT;
	}
	if (!pid) {
		const struct vmm_start start = {.config = config,
			.started = started,
			.named = true,
			.detached = true,
			.ready = ready[1],
			.forget = forget};

		*child = true;
		process_close_all_but(ready[1]); /* the starter's pipes and locks are none of its business */
		setsid();
		umask(077);
		return vmm_run(&start);
	}
	close(ready[1]);
	status = wait_ready(ready[0], pid, config->name);
	close(ready[0]);
	return status;
}

/* ---- the commands ---- */

static int complain(const struct err *err)
{
	log_line("%s", err->text);
	return STATUS_USAGE;
}

static int create(const struct invocation *call)
{
	struct err err;

	if (definition_create(call->config, &err))
		return complain(&err);
	puts(call->config->name);
	return STATUS_OK;
}

static int run_detached(const struct invocation *call)
{
	struct err err;
	bool child;
	int status;

	if (definition_create(call->config, &err))
		return complain(&err);
	status = start_detached(call->config, call->started, &child);
	if (!child && status && !state_running(call->config->name, NULL)) /* nobody else was faster with it */
		state_forget(call->config->name);
	return status;
}

static int run(const struct invocation *call)
{
	struct vmm_start start = {
		.config = call->config, .started = call->started, .named = call->config->name};
	char name[64];
	struct err err;

	if (detach)
		return run_detached(call);
	if (!start.named) {
		state_make_name(name);
		call->config->name = strdup(name);
	} else if (state_defined(call->config->name)) {
		definition_exists(call->config->name, &err);
		return complain(&err);
	}
	return vmm_run(&start);
}

static int start(const struct invocation *call)
{
	int status = STATUS_OK;

	for (unsigned i = 0; i < call->nwords; i++) {
		static struct vm_config config;
		struct err err;
		bool child = false;
		int one = STATUS_OK;

		if (definition_load(call->word[i], &config, &err))
			one = complain(&err);
		else
			one = start_detached(&config, call->started, &child);
		if (child)
			return one;
		config_free(&config);
		status = one ? one : status;
	}
	return status;
}

static const struct option run_options[] = {
	{"detach", 'd', OPTION_FLAG, NULL, "in the background: prints the name, and ends when the VM runs",
		&detach},
	{"rm", 0, OPTION_FLAG, NULL, "with -d: remove the VM when it has ended", &forget},
	{0},
};

const struct command command_run = {
	.name = "run",
	.words = "[IMAGE | FILE.json]",
	.max_words = 1,
	.vm = true,
	.options = run_options,
	.help = "boot a VM; without an image or options, Debian's cloud kernel to a shell on this terminal",
	.more = "Keys: Ctrl-A x quits, Ctrl-A Ctrl-A sends Ctrl-A, Ctrl-A h shows help.\n"
		"Input from a pipe or file is typed; at its end the VM is asked to power off.\n"
		"\n"
		"Exit status: 0 power-off, 2 wrong usage or file, 3 triple fault (with --no-reboot),\n"
		"124 timeout, 128 + N killed by signal N, 1 a fault of mullion itself.\n",
	.run = run,
};

const struct command command_create = {
	.name = "create",
	.words = "[IMAGE | FILE.json]",
	.max_words = 1,
	.vm = true,
	.help = "define a VM, to be started later; prints its name",
	.run = create,
};

const struct command command_start = {
	.name = "start",
	.words = "VM...",
	.min_words = 1,
	.max_words = 64,
	.help = "start VMs that were created, in the background",
	.run = start,
};
