/* SPDX-License-Identifier: MIT */
/*
 * The control socket: whatever a client sends, in whatever pieces, each line gets one
 * answer that is a JSON object with a result or an error, and nothing else.
 */
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ctl/request.h"

static struct loop loop;

static int take_all(struct ctl_call *call, struct err *err)
{
	u64 number = 5;
	bool on = false;
	const char *text = "";
	int ret = ctl_arg_number(call, "time", 86400, &number, err);

	if (!ret)
		ret = ctl_arg_bool(call, "on", &on, err);
	if (!ret)
		ret = ctl_arg_string(call, "name", &text, err);
	if (ret)
		return ret;
	fuzz_check(number <= 86400);
	cJSON_AddNumberToObject(call->result, "time", (double)number);
	cJSON_AddBoolToObject(call->result, "on", on);
	cJSON_AddStringToObject(call->result, "name", text);
	return 0;
}

static int fail(struct ctl_call *call, struct err *err)
{
	const char *text = "";

	ctl_arg_string(call, "name", &text, err);
	return err_set(err, EIO, "no: %s", text);
}

static const struct ctl_command table[] = {{"stop", take_all}, {"fail", fail}, {0}};

static void request(void *ctx, struct ctl_client *client, char *line, size_t len)
{
	struct ctl_call call = {.ctx = ctx, .client = client};
	char *text = ctl_answer(table, &call, line, len);
	cJSON *answer = cJSON_Parse(text);

	fuzz_check(text && !strchr(text, '\n') && cJSON_IsObject(answer));
	fuzz_check(!cJSON_GetObjectItem(answer, "result") != !cJSON_GetObjectItem(answer, "error"));
	cJSON_Delete(answer);
	ctl_send(client, text);
	free(text);
}

/* The input is cut into what arrives at once: a length, then so many bytes. */
int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	static struct ctl_server server;
	struct fuzz fuzz = {data, size};
	struct ctl_client *client;
	int pair[2];

	if (!loop.epoll)
		fuzz_check(!loop_init(&loop));
	server = (struct ctl_server){.loop = &loop, .request = request, .listener.fd = -1};
	for (unsigned i = 0; i < CTL_CLIENTS; i++)
		server.client[i] = (struct ctl_client){.server = &server, .source.fd = -1, .passed = -1};
	fuzz_check(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair));
	client = ctl_add_client(&server, pair[0]);
	fuzz_check(client);
	while (fuzz_more(&fuzz) && client->source.fd >= 0) {
		char part[256];
		size_t len = fuzz_u8(&fuzz);

		len = MIN(len, fuzz.left);
		fuzz_bytes(&fuzz, part, len);
		fuzz_check(!len || send(pair[1], part, len, MSG_NOSIGNAL) == (ssize_t)len);
		client->source.ready(client, 1 /* EPOLLIN */);
		while (recv(pair[1], part, sizeof(part), MSG_DONTWAIT) > 0)
			;
	}
	close(pair[1]);
	if (client->source.fd >= 0)
		client->source.ready(client, 1);
	fuzz_check(client->source.fd < 0);
	return 0;
}
