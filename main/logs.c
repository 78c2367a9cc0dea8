/* SPDX-License-Identifier: MIT */
/* `mullion logs`: what a VM's console has printed. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/log.h"
#include "main/client.h"
#include "main/console.h"
#include "main/define.h"
#include "main/state.h"

#define PART 65536
#define POLL_US 100000

static bool follow;
static unsigned tail;

/* Of a VM that runs, its process knows; of another one, or one that is silent, its definition, or it is the usual one. */
static int log_path(const char *name, char path[PATH_MAX], struct err *err)
{
	cJSON *status = client_ask(name, "status", NULL, NULL);
	const cJSON *log = cJSON_GetObjectItem(status, "console-log");
	bool silent = !status && state_defined(name);
	struct vm_config config;
	int ret;

	if (cJSON_IsString(log)) {
		snprintf(path, PATH_MAX, "%s", log->valuestring);
		cJSON_Delete(status);
		return 0;
	}
	cJSON_Delete(status);
	if (state_running(name, NULL) && !silent)
		return err_set(err, ENOENT, "VM %s keeps no log of its console", name);
	ret = definition_load(name, &config, err);
	if (!ret && config.console_log)
		snprintf(path, PATH_MAX, "%s", config.console_log);
	else if (!ret)
		ret = state_path(STATE_KEPT, name, "console.log", path, err);
	config_free(&config);
	return ret;
}

/* Prints what is left of fd; returns false when nobody reads. */
static bool copy(int fd)
{
	static char data[PART];
	ssize_t n;

	while ((n = read(fd, data, sizeof(data))) > 0) {
		if (fwrite(data, 1, (size_t)n, stdout) != (size_t)n)
			return false;
	}
	return !fflush(stdout);
}

/* Moves to where the last lines begin. */
static void seek_tail(int fd, unsigned lines)
{
	off_t at = lseek(fd, 0, SEEK_END);
	char c = 0;

	for (unsigned found = 0; at > 0; at--) {
		if (pread(fd, &c, 1, at - 1) == 1 && c == '\n' && found++ == lines)
			break;
	}
	lseek(fd, at, SEEK_SET);
}

static void print_old(const char *path, off_t from)
{
	char old[PATH_MAX + 2];
	int fd;

	snprintf(old, sizeof(old), "%s.1", path);
	fd = open(old, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	lseek(fd, from, SEEK_SET);
	copy(fd);
	close(fd);
}

/* A full log was moved to PATH.1: there is the rest of what we were reading. */
static void follow_move(int fd, const char *path)
{
	off_t at = lseek(fd, 0, SEEK_CUR);
	struct stat st;

	if (fstat(fd, &st) || st.st_size >= at)
		return;
	print_old(path, at);
	lseek(fd, 0, SEEK_SET);
}

/* As long as the VM runs. */
static void follow_log(int fd, const char *path, const char *name)
{
	bool running = true;

	while (copy(fd) && running) {
		running = state_running(name, NULL); /* then once more */
		if (running)
			usleep(POLL_US);
		follow_move(fd, path);
	}
}

static int logs(const struct invocation *call)
{
	const char *name = call->word[0];
	char path[PATH_MAX];
	struct err err;
	int fd = -1, ret = log_path(name, path, &err);

	if (!ret)
		fd = open(path, O_RDONLY | O_CLOEXEC);
	if (!ret && fd < 0 && errno == ENOENT)
		return STATUS_OK; /* it has never run */
	if (!ret && fd < 0)
		ret = err_set(&err, errno, "cannot read %s: %s", path, strerror(errno));
	if (ret) {
		log_line("%s", err.text);
		return STATUS_USAGE;
	}
	if (tail)
		seek_tail(fd, tail);
	else
		print_old(path, 0);
	if (follow)
		follow_log(fd, path, name);
	else
		copy(fd);
	close(fd);
	return STATUS_OK;
}

static const struct option logs_options[] = {
	{"follow", 'f', OPTION_FLAG, NULL, "go on until the VM ends", &follow},
	{"tail", 'n', OPTION_NUMBER, "LINES", "only the last ones", &tail},
	{0},
};

const struct command command_logs = {
	.name = "logs",
	.words = "VM",
	.min_words = 1,
	.max_words = 1,
	.options = logs_options,
	.help = "print what the console of a VM in the background has shown",
	.run = logs,
};
