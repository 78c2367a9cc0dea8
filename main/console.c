/* SPDX-License-Identifier: MIT */
/* `mullion console`: this terminal, connected to a running VM's console. */
#include "main/console.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backend/terminal.h"
#include "host/log.h"
#include "main/client.h"

#define CTRL_A 1
#define PART 4096
#define QUIET_MS 1000 /* after the end of piped input, so long without output is the end */

struct session {
	int fd;
	bool escape; /* the last key was Ctrl-A */
	bool detached;
	bool input_ended;
};

static bool write_all(int fd, const char *data, size_t len)
{
	while (len) {
		ssize_t n = write(fd, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		data += n;
		len -= (size_t)n;
	}
	return true;
}

/* The key after a Ctrl-A. Returns true when it goes to the guest. */
static bool escaped_key(struct session *session, char key)
{
	switch (key) {
	case CTRL_A:
		return true;
	case 'd':
	case 'x':
		session->detached = true;
		return false;
	default:
		log_line("keys: Ctrl-A d detaches (the VM goes on), Ctrl-A Ctrl-A sends Ctrl-A");
		return false;
	}
}

/* Keys of a terminal: leaves those that go to the guest. */
static size_t take_escapes(struct session *session, char *keys, size_t len)
{
	size_t n = 0;

	for (size_t i = 0; i < len && !session->detached; i++) {
		bool escaped = session->escape;

		session->escape = !escaped && keys[i] == CTRL_A;
		if (!session->escape && (!escaped || escaped_key(session, keys[i])))
			keys[n++] = keys[i];
	}
	return n;
}

static bool typed(struct session *session, bool terminal)
{
	char data[PART];
	ssize_t n = read(STDIN_FILENO, data, sizeof(data));
	size_t len = n > 0 ? (size_t)n : 0;

	if (n < 0 && errno == EINTR)
		return true;
	if (n <= 0)
		session->input_ended = true;
	if (terminal)
		len = take_escapes(session, data, len);
	return !len || write_all(session->fd, data, len);
}

static bool printed(const struct session *session)
{
	char data[PART];
	ssize_t n = read(session->fd, data, sizeof(data));

	if (n < 0 && errno == EINTR)
		return true;
	return n > 0 && write_all(STDOUT_FILENO, data, (size_t)n);
}

/* Until the VM ends, or the user has had enough. */
static void talk(struct session *session, bool terminal)
{
	bool on = true;

	while (on && !session->detached) {
		struct pollfd pfd[2] = {{.fd = session->fd, .events = POLLIN},
			{.fd = session->input_ended ? -1 : STDIN_FILENO, .events = POLLIN}};
		int n = poll(pfd, 2, session->input_ended ? QUIET_MS : -1);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0 || (session->input_ended && terminal))
			return;
		if (pfd[0].revents)
			on = printed(session);
		if (on && pfd[1].revents)
			on = typed(session, terminal);
	}
}

static int console(const struct invocation *call)
{
	bool terminal = isatty(STDIN_FILENO);
	struct client client;
	struct session session = {0};
	struct err err;
	cJSON *result = NULL;

	if (!client_open(&client, call->word[0], &err))
		result = client_call(&client, "console", NULL, &err);
	if (!result) {
		client_close(&client);
		log_line("%s", err.text);
		return STATUS_USAGE;
	}
	cJSON_Delete(result);
	signal(SIGPIPE, SIG_IGN);
	session.fd = client.fd;
	if (terminal) {
		log_line("console of %s; Ctrl-A d detaches", call->word[0]);
		terminal_raw(STDIN_FILENO);
	}
	if (write_all(STDOUT_FILENO, client.text, client.len))
		talk(&session, terminal);
	terminal_restore();
	client_close(&client);
	return STATUS_OK;
}

const struct command command_console = {
	.name = "console",
	.words = "VM",
	.min_words = 1,
	.max_words = 1,
	.help = "connect this terminal to the console of a VM that runs in the background",
	.more = "What was printed before is shown first. Keys: Ctrl-A d detaches, Ctrl-A Ctrl-A sends "
		"Ctrl-A.\n"
		"Input from a pipe or file is sent as it is; a second of silence after its end is the end.\n",
	.run = console,
};
