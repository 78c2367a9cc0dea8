/* SPDX-License-Identifier: MIT */
/* Ending VMs. */
#include "main/stop.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/log.h"
#include "main/client.h"
#include "main/state.h"

#define STOP_SECONDS 30
#define GRACE_MS 5000 /* from the last order to the process's end */

static unsigned stop_time = STOP_SECONDS;
static bool all, force;

static int complain(const struct err *err)
{
	log_line("%s", err->text);
	return STATUS_USAGE;
}

/* ---- for each VM that is named, or all ---- */

static int each(const struct invocation *call, int (*act)(const char *name, struct err *err), bool running)
{
	int status = STATUS_OK;
	struct err err;
	char **names;
	unsigned n;

	if (!all && !call->nwords) {
		err_set(&err, EINVAL, "say which VM, or --all");
		return complain(&err);
	}
	for (unsigned i = 0; i < call->nwords; i++) {
		if (act(call->word[i], &err))
			status = complain(&err);
		else
			puts(call->word[i]);
	}
	if (!all)
		return status;
	if (state_list(&names, &n, &err))
		return complain(&err);
	for (unsigned i = 0; i < n; i++) {
		if (running && !state_running(names[i], NULL))
			continue;
		if (act(names[i], &err))
			status = complain(&err);
		else
			puts(names[i]);
	}
	state_free_list(names, n);
	return status;
}

/* ---- stop and kill ---- */

/* A process that doesn't answer any more. */
static int kill_process(const char *name, struct err *err)
{
	pid_t pid = 0;

	for (unsigned i = 0; i < 50; i++) {
		if (!state_running(name, &pid))
			return 0;
		if (pid > 1)
			kill(pid, SIGKILL);
		usleep(20000);
	}
	return err_set(err, EIO, "VM %s: process %ld does not end", name, (long)pid);
}

/* CLIENT_MS have passed without a word. */
static int wait_silent(const char *name, u64 ms, struct err *err)
{
	for (u64 passed = CLIENT_MS; passed < ms && state_running(name, NULL); passed += 20)
		usleep(20000);
	return kill_process(name, err);
}

/* Until nobody holds the name any more. */
static int wait_gone(struct client *client, const char *name, u64 ms, struct err *err)
{
	if (client_wait_end(client, ms))
		return kill_process(name, err);
	for (unsigned i = 0; i < 100 && state_running(name, NULL); i++)
		usleep(20000);
	return state_running(name, NULL) ? kill_process(name, err) : 0;
}

/* ms: how long the guest may take; a process that says nothing has no more than that, either. */
static int order(const char *name, const char *command, cJSON *args, u64 ms, struct err *err)
{
	struct client client;
	int ret = client_open(&client, name, err);
	cJSON *result;

	if (ret) {
		cJSON_Delete(args);
		return ret == -ENOENT || ret == -ESRCH ? ret : wait_silent(name, ms, err);
	}
	result = client_call(&client, command, args, err);
	if (result)
		ret = wait_gone(&client, name, ms + GRACE_MS, err);
	else if (client.silent || !strcmp(command, "kill"))
		ret = wait_silent(name, ms, err);
	else if (!state_running(name, NULL))
		ret = 0; /* somebody else was faster */
	else
		ret = -EIO;
	cJSON_Delete(result);
	client_close(&client);
	return ret;
}

static int stop_one(const char *name, struct err *err)
{
	cJSON *args = cJSON_CreateObject();

	cJSON_AddNumberToObject(args, "time", stop_time);
	return order(name, "stop", args, stop_time * 1000ull, err);
}

static int kill_one(const char *name, struct err *err)
{
	return order(name, "kill", NULL, 0, err);
}

static int stop(const struct invocation *call)
{
	return each(call, stop_one, true);
}

static int kill_them(const struct invocation *call)
{
	return each(call, kill_one, true);
}

/* ---- rm and rename ---- */

static int rm_one(const char *name, struct err *err)
{
	if (state_running(name, NULL)) {
		int ret = force ? kill_one(name, err)
				: err_set(err, EBUSY,
					  "VM %s runs; mullion stop %s ends it, rm --force kills it", name,
					  name);

		if (ret)
			return ret;
	} else if (!state_defined(name) && !state_crashed(name)) {
		return force ? 0 : err_set(err, ENOENT, "there is no VM %s; mullion ps -a lists them", name);
	}
	state_forget(name);
	return 0;
}

static int rm(const struct invocation *call)
{
	return each(call, rm_one, false);
}

static int check_rename(const char *from, const char *to, struct err *err)
{
	if (!state_defined(from))
		return err_set(err, ENOENT, "there is no VM %s; mullion ps -a lists them", from);
	if (!state_name_ok(to))
		return err_set(err, EINVAL,
			"%s: a name has up to 63 letters, digits, _ . or -, a letter or digit first", to);
	if (state_running(from, NULL))
		return err_set(err, EBUSY, "VM %s runs; only a stopped one can be renamed", from);
	if (state_defined(to) || state_running(to, NULL))
		return err_set(err, EEXIST, "there is a VM %s already", to);
	return 0;
}

/* A definition does not hold its own name. */
static int rename_files(const char *from, const char *to, struct err *err)
{
	char old[PATH_MAX], new[PATH_MAX];
	int ret = state_path(STATE_DEFINITION, from, NULL, old, err);

	if (!ret)
		ret = state_path(STATE_DEFINITION, to, NULL, new, err);
	if (ret)
		return ret;
	if (link(old, new))
		return err_set(err, errno, "cannot write %s: %s", new, strerror(errno));
	if (!state_path(STATE_KEPT, from, NULL, old, err) && !state_path(STATE_KEPT, to, NULL, new, err))
		rename(old, new); /* the logs; there need not be any */
	state_forget(from);
	return 0;
}

static int rename_vm(const struct invocation *call)
{
	struct err err;

	if (check_rename(call->word[0], call->word[1], &err) ||
		rename_files(call->word[0], call->word[1], &err))
		return complain(&err);
	return STATUS_OK;
}

static const struct option stop_options[] = {
	{"time", 't', OPTION_NUMBER, "SECS", "then it is killed (default: 30)", &stop_time},
	{"all", 'a', OPTION_FLAG, NULL, "all VMs of this user that run, those on terminals, too", &all},
	{0},
};

static const struct option kill_options[] = {
	{"all", 'a', OPTION_FLAG, NULL, "all VMs of this user that run, those on terminals, too", &all},
	{0},
};

static const struct option rm_options[] = {
	{"force", 'f', OPTION_FLAG, NULL, "kill it if it runs; be content if there is none", &force},
	{"all", 'a', OPTION_FLAG, NULL, "all VMs", &all},
	{0},
};

const struct command command_stop = {
	.name = "stop",
	.words = "VM...",
	.max_words = 64,
	.options = stop_options,
	.help = "press VMs' power button, and wait until they are off",
	.run = stop,
};

const struct command command_kill = {
	.name = "kill",
	.words = "VM...",
	.max_words = 64,
	.options = kill_options,
	.help = "end VMs at once",
	.run = kill_them,
};

const struct command command_rm = {
	.name = "rm",
	.words = "VM...",
	.max_words = 64,
	.options = rm_options,
	.help = "remove VMs' definitions and logs; disk images stay",
	.run = rm,
};

const struct command command_rename = {
	.name = "rename",
	.words = "VM NAME",
	.min_words = 2,
	.max_words = 2,
	.help = "give a stopped VM another name",
	.run = rename_vm,
};
