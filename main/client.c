/* SPDX-License-Identifier: MIT */
/* The other end of a VM's control socket. */
#include "main/client.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/unix_socket.h"
#include "main/state.h"
#include "main/vmm.h"

#define ANSWER_MAX MIB(4)
#define PART 16384

/* A VM that is just starting has no socket yet. */
static int connect_to(const char *path, const char *name)
{
	int fd = unix_connect(path);

	for (unsigned ms = 0; ms < CLIENT_MS && (fd == -ENOENT || fd == -ECONNREFUSED); ms += 20) {
		if (!state_running(name, NULL))
			return -ESRCH;
		usleep(20000);
		fd = unix_connect(path);
	}
	return fd;
}

static int not_running(const char *name, struct err *err)
{
	return state_defined(name) || state_crashed(name)
		       ? err_set(err, ESRCH, "VM %s does not run", name)
		       : err_set(err, ENOENT, "there is no VM %s; mullion ps -a lists them", name);
}

int client_open(struct client *client, const char *name, struct err *err)
{
	char path[PATH_MAX];
	int ret;

	*client = (struct client){.name = name, .fd = -1, .pass = -1};
	if (!state_running(name, NULL))
		return not_running(name, err);
	ret = state_path(STATE_RUN, name, "control.sock", path, err);
	if (ret)
		return ret;
	client->fd = connect_to(path, name);
	if (client->fd == -ESRCH)
		return not_running(name, err);
	if (client->fd < 0)
		return err_set(err, ETIMEDOUT, "VM %s does not answer; mullion kill %s ends it", name, name);
	return 0;
}

void client_close(struct client *client)
{
	if (client->fd >= 0)
		close(client->fd);
	free(client->text);
	*client = (struct client){.fd = -1, .pass = -1};
}

/* More text, or -ETIMEDOUT, or -EPIPE at the end. */
static int receive(struct client *client, u64 deadline)
{
	struct pollfd pfd = {.fd = client->fd, .events = POLLIN};
	u64 now = vmm_now();
	char *text;
	ssize_t n;

	n = poll(&pfd, 1, now < deadline ? (int)MIN((deadline - now) / 1000000 + 1, INT_MAX) : 0);
	if (n < 0 && errno == EINTR)
		return 0;
	if (n <= 0)
		return -ETIMEDOUT;
	text = client->len < ANSWER_MAX ? realloc(client->text, client->len + PART) : NULL;
	if (!text)
		return -ENOMEM;
	client->text = text;
	n = recv(client->fd, text + client->len, PART, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0)
		return -EPIPE;
	client->len += (size_t)n;
	return 0;
}

/* The next line as JSON. */
static cJSON *next_line(struct client *client, u64 deadline)
{
	char *end;
	cJSON *json;

	while (!client->len || !(end = memchr(client->text, '\n', client->len))) {
		int ret = receive(client, deadline);

		client->silent = ret == -ETIMEDOUT;
		if (ret)
			return NULL;
	}
	json = cJSON_ParseWithLength(client->text, (size_t)(end - client->text));
	client->len -= (size_t)(end + 1 - client->text);
	memmove(client->text, end + 1, client->len);
	return json;
}

static ssize_t send_with(int socket, const char *text, size_t len, int fd)
{
	alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {0};
	struct iovec part = {(char *)text, len};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
	struct cmsghdr *header = (struct cmsghdr *)control;

	if (fd >= 0) {
		message.msg_control = control;
		message.msg_controllen = sizeof(control);
		*header = (struct cmsghdr){
			.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
		memcpy(CMSG_DATA(header), &fd, sizeof(fd));
	}
	return sendmsg(socket, &message, MSG_NOSIGNAL);
}

static int send_request(struct client *client, const char *command, cJSON *args)
{
	char *text;
	int ret = -ENOMEM;

	if (!args)
		args = cJSON_CreateObject();
	cJSON_AddStringToObject(args, "command", command);
	text = cJSON_PrintUnformatted(args);
	cJSON_Delete(args);
	if (text) {
		size_t len = strlen(text);

		text[len] = '\n'; /* in the place of the zero */
		ret = send_with(client->fd, text, len + 1, client->pass) == (ssize_t)len + 1 ? 0 : -EPIPE;
		client->pass = -1;
	}
	free(text);
	return ret;
}

/* Takes the answer apart. Events may come before it. */
static cJSON *result_of(struct client *client, struct err *err)
{
	u64 deadline = vmm_now() + CLIENT_MS * 1000000ull;
	cJSON *answer, *result, *error;

	do {
		answer = next_line(client, deadline);
		result = cJSON_DetachItemFromObject(answer, "result");
		error = cJSON_GetObjectItem(answer, "error");
		if (!answer)
			err_set(err, ETIMEDOUT,
				client->silent ? "VM %s does not answer; mullion kill %s ends it"
					       : "VM %s has ended the connection",
				client->name, client->name);
		else if (error)
			err_set(err, EINVAL, "%s", cJSON_IsString(error) ? error->valuestring : "failed");
		if (!answer || error)
			break;
		cJSON_Delete(answer);
		answer = NULL;
	} while (!result);
	cJSON_Delete(answer);
	return result;
}

cJSON *client_call(struct client *client, const char *command, cJSON *args, struct err *err)
{
	if (send_request(client, command, args)) {
		err_set(err, EPIPE, "VM %s does not listen", client->name);
		return NULL;
	}
	return result_of(client, err);
}

int client_wait_end(struct client *client, u64 ms)
{
	u64 deadline = vmm_now() + ms * 1000000;
	int ret;

	do {
		client->len = 0;
		ret = receive(client, deadline);
	} while (!ret);
	return ret == -ETIMEDOUT ? ret : 0;
}

cJSON *client_ask(const char *name, const char *command, cJSON *args, struct err *err)
{
	struct client client;
	cJSON *result;

	if (client_open(&client, name, err)) {
		cJSON_Delete(args);
		return NULL;
	}
	result = client_call(&client, command, args, err);
	client_close(&client);
	return result;
}
