/* SPDX-License-Identifier: MIT */
/* `mullion network create|ls|rm|inspect`, and the life of switches. */
#include "main/network.h"

#include <cjson/cJSON.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backend/switch.h"
#include "backend/switch_wire.h"
#include "host/log.h"
#include "host/process.h"
#include "main/state.h"

#define FOLDER ".networks" /* no VM's name */
#define ANSWER_MS 3000

/* ---- where they are ---- */

static int network_path(enum state_place place, const char *name, char path[PATH_MAX], struct err *err)
{
	if (!state_name_ok(name))
		return err_set(err, EINVAL,
			"network %s: a name has up to 63 letters, digits, _ . or -, a letter or digit first",
			name);
	return state_path(place, FOLDER, name, path, err);
}

static bool is_defined(const char *name)
{
	char path[PATH_MAX];

	return !network_path(STATE_KEPT, name, path, NULL) && !access(path, F_OK);
}

static int unknown(const char *name, struct err *err)
{
	return err_set(
		err, ENOENT, "there is no network %s; `mullion network create %s` makes it", name, name);
}

/* ---- talking to a switch ---- */

static int address(const char *path, struct sockaddr_un *addr, struct err *err)
{
	*addr = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof(addr->sun_path))
		return err_set(err, ENAMETOOLONG,
			"%s is too long for a socket; XDG_RUNTIME_DIR may name a shorter folder", path);
	strcpy(addr->sun_path, path);
	return 0;
}

/* A connection to the network's switch, or -errno. */
static int dial(const char *path, struct err *err)
{
	struct sockaddr_un addr;
	int fd, ret = address(path, &addr, err);

	if (ret)
		return ret;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return err_set(err, errno, "no socket: %s", strerror(errno));
	if (!connect(fd, (const struct sockaddr *)&addr, sizeof(addr)))
		return fd;
	ret = -errno;
	close(fd);
	return err_set(err, -ret, "%s: %s", path, strerror(-ret));
}

/* What the switch says about itself; the caller frees it. NULL: it does not run. */
static char *ask(const char *name)
{
	const struct switch_hello hello = {.magic = SWITCH_MAGIC, .kind = SWITCH_INSPECT};
	char path[PATH_MAX], *text = calloc(1, SWITCH_MESSAGE_MAX + 1);
	struct pollfd poll_fd = {.events = POLLIN};
	ssize_t len = -1;

	if (!network_path(STATE_RUN, name, path, NULL))
		poll_fd.fd = dial(path, NULL);
	else
		poll_fd.fd = -1;
	if (poll_fd.fd >= 0) {
		if (text && send(poll_fd.fd, &hello, sizeof(hello), MSG_NOSIGNAL) > 0 &&
			poll(&poll_fd, 1, ANSWER_MS) > 0)
			len = recv(poll_fd.fd, text, SWITCH_MESSAGE_MAX, 0);
		close(poll_fd.fd);
	}
	if (len > 0)
		return text;
	free(text);
	return NULL;
}

/* The switch's process and ports; the caller deletes it. NULL: it does not run. */
static cJSON *examine(const char *name)
{
	char *text = ask(name);
	cJSON *json = text ? cJSON_Parse(text) : NULL;

	free(text);
	return json;
}

static int ports_of(const cJSON *json)
{
	return cJSON_GetArraySize(cJSON_GetObjectItem(json, "ports"));
}

/* ---- starting one ---- */

static int listen_at(const char *path, struct err *err)
{
	struct sockaddr_un addr;
	int fd, ret = address(path, &addr, err);

	if (ret)
		return ret;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	unlink(path); /* what a killed switch left */
	if (fd >= 0 && !bind(fd, (const struct sockaddr *)&addr, sizeof(addr)) && !chmod(path, 0600) &&
		!listen(fd, 64))
		return fd;
	ret = err_set(err, errno, "network: cannot listen on %s: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return ret;
}

/* The switch's own process: nothing of the caller's but the socket. */
static void serve(int listener, const char *path)
{
	int null = open("/dev/null", O_RDWR);

	setsid();
	for (int fd = 0; fd < 3 && null >= 0; fd++)
		dup2(null, fd);
	process_close_all_but(listener);
	if (chdir("/"))
		_exit(1);
	signal(SIGHUP, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	if (!switch_serve(listener))
		unlink(path);
	_exit(0);
}

/* Twice forked, so that it is nobody's child. */
static int launch(int listener, const char *path, struct err *err)
{
	pid_t child = fork();
	int status;

	if (child < 0)
		return err_set(err, errno, "network: no process for the switch: %s", strerror(errno));
	if (!child) {
		if (!fork())
			serve(listener, path);
		_exit(0);
	}
	waitpid(child, &status, 0);
	return 0;
}

/* One starts it, whoever else comes at the same time. */
static int start_switch(const char *name, const char *path, struct err *err)
{
	char lock_path[PATH_MAX];
	int lock, listener, fd, ret = network_path(STATE_KEPT, name, lock_path, err);

	if (ret)
		return ret;
	lock = open(lock_path, O_RDWR | O_CLOEXEC);
	if (lock < 0 || lockf(lock, F_LOCK, 0)) {
		ret = err_set(err, errno, "network %s: %s", name, strerror(errno));
		if (lock >= 0)
			close(lock);
		return ret;
	}
	fd = dial(path, NULL);
	listener = fd >= 0 ? -1 : listen_at(path, err);
	ret = fd >= 0 ? 0 : listener < 0 ? listener : launch(listener, path, err);
	if (fd >= 0)
		close(fd);
	if (listener >= 0)
		close(listener);
	close(lock);
	return ret;
}

int network_open(const char *name, char path[PATH_MAX], struct err *err)
{
	int fd, ret = network_path(STATE_RUN, name, path, err);

	if (ret)
		return ret;
	if (!is_defined(name))
		return unknown(name, err);
	fd = dial(path, NULL);
	if (fd >= 0) {
		close(fd);
		return 0;
	}
	ret = state_make(STATE_RUN, FOLDER, err);
	return ret ? ret : start_switch(name, path, err);
}

/* ---- commands ---- */

static int complain(const struct err *err)
{
	log_line("%s", err->text);
	return STATUS_USAGE;
}

static int create(const struct invocation *call)
{
	const char *name = call->word[0];
	char path[PATH_MAX];
	cJSON *running;
	struct err err;
	int ret = network_path(STATE_KEPT, name, path, &err);

	if (!ret)
		ret = state_make(STATE_KEPT, FOLDER, &err);
	if (!ret && is_defined(name)) {
		running = examine(name);
		if (running)
			ret = err_set(&err, EEXIST, "network %s exists", name);
		cJSON_Delete(running);
	} else if (!ret) {
		ret = state_write(path, "{}\n", true, &err);
	}
	if (!ret)
		ret = network_open(name, path, &err);
	if (ret)
		return complain(&err);
	puts(name);
	return STATUS_OK;
}

static bool force;

static int remove_one(const char *name, struct err *err)
{
	cJSON *json = examine(name);
	int ports = ports_of(json), pid = (int)cJSON_GetNumberValue(cJSON_GetObjectItem(json, "pid"));
	bool running = json;
	char path[PATH_MAX];

	cJSON_Delete(json);
	if (!is_defined(name))
		return unknown(name, err);
	if (ports && !force)
		return err_set(err, EBUSY,
			"network %s is in use by %d of VMs' cards; --force removes it all the same", name,
			ports);
	if (running && pid > 1)
		kill(pid, SIGTERM);
	if (!network_path(STATE_RUN, name, path, err))
		unlink(path);
	if (!network_path(STATE_KEPT, name, path, err))
		unlink(path);
	return 0;
}

static int remove_networks(const struct invocation *call)
{
	int status = STATUS_OK;
	struct err err;

	for (unsigned i = 0; i < call->nwords; i++) {
		if (remove_one(call->word[i], &err))
			status = complain(&err);
		else
			puts(call->word[i]);
	}
	return status;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_name(const struct dirent *entry)
{
	return state_name_ok(entry->d_name);
}

static int list(const struct invocation *call)
{
	struct dirent **entry = NULL;
	char path[PATH_MAX];
	struct err err;
	int n;

	(void)call;
	if (state_path(STATE_KEPT, FOLDER, NULL, path, &err))
		return complain(&err);
	n = scandir(path, &entry, is_name, by_name);
	printf("%-24s %-10s %s\n", "NAME", "SWITCH", "PORTS");
	for (int i = 0; i < n; i++) {
		cJSON *json = examine(entry[i]->d_name);

		printf("%-24s %-10s %d\n", entry[i]->d_name, json ? "running" : "stopped", ports_of(json));
		cJSON_Delete(json);
		free(entry[i]);
	}
	free(entry);
	return STATUS_OK;
}

static int inspect(const struct invocation *call)
{
	const char *name = call->word[0];
	char path[PATH_MAX], *text;
	struct err err;
	cJSON *json;

	if (network_path(STATE_RUN, name, path, &err))
		return complain(&err);
	if (!is_defined(name)) {
		unknown(name, &err);
		return complain(&err);
	}
	json = examine(name);
	if (!json)
		json = cJSON_CreateObject();
	cJSON_AddStringToObject(json, "name", name);
	cJSON_AddStringToObject(json, "socket", path);
	text = cJSON_Print(json);
	puts(text ? text : "{}");
	cJSON_free(text);
	cJSON_Delete(json);
	return STATUS_OK;
}

const struct command command_network_create = {
	.name = "network create",
	.words = "NAME",
	.min_words = 1,
	.max_words = 1,
	.help = "make a network that joins VMs, and start its switch",
	.more = "VMs join by --net switch:NAME. If its switch has died, this starts it again, and the VMs on "
		"it go on.",
	.run = create,
};

const struct command command_network_ls = {
	.name = "network ls",
	.help = "list networks",
	.run = list,
};

static const struct option rm_options[] = {
	{.name = "force",
		.letter = 'f',
		.kind = OPTION_FLAG,
		.help = "also while VMs are on it",
		.to = &force},
	{0},
};

const struct command command_network_rm = {
	.name = "network rm",
	.words = "NAME...",
	.min_words = 1,
	.max_words = 64,
	.help = "remove networks",
	.options = rm_options,
	.run = remove_networks,
};

const struct command command_network_inspect = {
	.name = "network inspect",
	.words = "NAME",
	.min_words = 1,
	.max_words = 1,
	.help = "show a network's ports and counters, as JSON",
	.run = inspect,
};
