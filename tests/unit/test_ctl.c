/* SPDX-License-Identifier: MIT */
/* The control socket: lines in pieces, answers, and clients that misbehave. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "ctl/request.h"
#include "host/unix_socket.h"

struct fixture {
	struct loop loop;
	struct ctl_server server;
	char folder[64], path[96];
	struct err err;
	int taken;
};

static int say(struct ctl_call *call, struct err *err)
{
	const char *text = "nothing";
	u64 n = 7;
	bool on = true;

	if (ctl_arg_string(call, "text", &text, err) || ctl_arg_number(call, "n", 10, &n, err) ||
		ctl_arg_bool(call, "on", &on, err))
		return -EINVAL;
	cJSON_AddStringToObject(call->result, "text", text);
	cJSON_AddNumberToObject(call->result, "n", (double)n);
	return on ? 0 : err_set(err, EIO, "it is off");
}

static void took(void *ctx, int fd)
{
	((struct fixture *)ctx)->taken = fd;
}

static int take(struct ctl_call *call, struct err *err)
{
	(void)err;
	call->taken = took;
	return 0;
}

static int take_and_fail(struct ctl_call *call, struct err *err)
{
	call->taken = took;
	return err_set(err, EIO, "it was not to be");
}

static int subscribe(struct ctl_call *call, struct err *err)
{
	(void)err;
	call->client->events = true;
	return 0;
}

static const struct ctl_command table[] = {{"say", say}, {"take", take}, {"take-and-fail", take_and_fail}, {"subscribe", subscribe}, {0}};

static void request(void *ctx, struct ctl_client *client, char *line, size_t len)
{
	ctl_handle(table, ctx, client, line, len);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	*state = f;
	f->taken = -1;
	strcpy(f->folder, "/tmp/mullion-ctl-XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	snprintf(f->path, sizeof(f->path), "%s/control.sock", f->folder);
	assert_int_equal(loop_init(&f->loop), 0);
	assert_int_equal(ctl_listen(&f->server, &f->loop, f->path, request, f, &f->err), 0);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	ctl_close(&f->server);
	loop_fini(&f->loop);
	unlink(f->path);
	rmdir(f->folder);
	free(f);
	return 0;
}

/* Whatever can be done now. */
static void turn(struct fixture *f)
{
	struct epoll_event event[8];
	int n;

	while ((n = epoll_wait(f->loop.epoll, event, 8, 0)) > 0) {
		for (int i = 0; i < n; i++) {
			struct loop_source *source = event[i].data.ptr;

			source->ready(source->arg, event[i].events);
		}
	}
}

static int join(struct fixture *f)
{
	int fd = unix_connect(f->path);

	assert_true(fd >= 0);
	turn(f);
	return fd;
}

/* Sends, and returns what has come by then; "" at the end of the connection. */
static const char *ask(struct fixture *f, int fd, const char *text)
{
	static char answer[4096];
	ssize_t n;

	send(fd, text, strlen(text), MSG_NOSIGNAL);
	turn(f);
	n = recv(fd, answer, sizeof(answer) - 1, MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN ? "-" : "";
	answer[n] = 0;
	return answer;
}

static void requests(void **state)
{
	struct fixture *f = *state;
	int fd = join(f);

	assert_string_equal(ask(f, fd, "{\"command\":\"say\",\"id\":\"x\"}\n"),
		"{\"id\":\"x\",\"result\":{\"text\":\"nothing\",\"n\":7}}\n");
	assert_string_equal(ask(f, fd, "{\"command\":\"sa"), "-");
	assert_string_equal(ask(f, fd, "y\",\"n\":10}\n{\"command\":\"say\",\"on\":false}\n{"),
		"{\"result\":{\"text\":\"nothing\",\"n\":10}}\n{\"error\":\"it is off\"}\n");
	assert_string_equal(ask(f, fd, "}\n"), "{\"error\":\"no command\"}\n");
	close(fd);
	turn(f);
	assert_int_equal(f->server.client[0].source.fd, -1);
}

static void wrong_requests(void **state)
{
	static const struct {
		const char *line, *complaint;
	} wrong[] = {{"x\n", "not a JSON object"}, {"[]\n", "not a JSON object"},
		{"{} {}\n", "not a JSON object"}, {"{\"command\":3}\n", "command: a string"},
		{"{\"command\":\"sing\"}\n", "no command sing"},
		{"{\"command\":\"say\",\"n\":11}\n", "n: a whole number up to 10"},
		{"{\"command\":\"say\",\"n\":1.5}\n", "n: a whole number"},
		{"{\"command\":\"say\",\"n\":-1}\n", "n: a whole number"},
		{"{\"command\":\"take-and-fail\"}\n", "not to be"},
		{"{\"command\":\"say\",\"n\":\"1\"}\n", "n: a whole"},
		{"{\"command\":\"say\",\"on\":1}\n", "on: true or false"},
		{"{\"command\":\"say\",\"text\":1}\n", "text: a string"},
		{"{\"command\":\"say\",\"protocol\":2}\n", "protocol 2 is not spoken here; 1 is"}};
	struct fixture *f = *state;
	int fd = join(f);

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		const char *answer = ask(f, fd, wrong[i].line);

		if (strncmp(answer, "{\"error\":", 9) || !strstr(answer, wrong[i].complaint))
			fail_msg("%s: %s", wrong[i].line, answer);
	}
	assert_int_equal(f->taken, -1);
	close(fd);
}

static unsigned open_files(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void pass(int fd, int passed)
{
	alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {0};
	struct iovec part = {(char[]){" "}, 1};
	struct msghdr message = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);

	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(header), &passed, sizeof(int));
	assert_int_equal(sendmsg(fd, &message, 0), 1);
}

/* Descriptors that come and that nobody asked for: one is kept, until the client goes. */
static void passed_descriptors(void **state)
{
	struct fixture *f = *state;
	unsigned before = open_files();
	int fd = join(f);

	for (unsigned i = 0; i < 5; i++) {
		pass(fd, f->loop.epoll);
		turn(f);
		assert_int_equal(open_files(), before + 3);
	}
	close(fd);
	turn(f);
	assert_int_equal(open_files(), before);
}

/* What was answered goes out first: who does not listen cannot take the connection. */
static void taking_too_early(void **state)
{
	struct fixture *f = *state;
	int fd = join(f);
	char line[3000];

	snprintf(line, sizeof(line), "{\"command\":\"say\",\"text\":\"%02000d\"}\n", 0);
	for (unsigned i = 0; i < 10000 && !f->server.client[0].out_len; i++) {
		send(fd, line, strlen(line), MSG_NOSIGNAL | MSG_DONTWAIT);
		turn(f);
	}
	assert_true(f->server.client[0].out_len > 0);
	send(fd, "{\"command\":\"take\"}\n", 19, MSG_NOSIGNAL);
	turn(f);
	assert_int_equal(f->taken, -1);
	assert_true(f->server.client[0].source.fd >= 0);
	close(fd);
}

static void endless_lines(void **state)
{
	struct fixture *f = *state;
	int fd = join(f);
	char text[4096];

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = 0;
	for (unsigned i = 0; i < 2 + CTL_LINE_MAX / sizeof(text); i++)
		ask(f, fd, text);
	assert_string_equal(ask(f, fd, "\n"), "");
	assert_int_equal(f->server.client[0].source.fd, -1);
	close(fd);
}

/* It asks, and does not listen. */
static void deaf_client(void **state)
{
	struct fixture *f = *state;
	int fd = join(f), other = join(f);
	char line[3000];
	unsigned i;

	snprintf(line, sizeof(line), "{\"command\":\"say\",\"text\":\"%02000d\"}\n", 0);
	for (i = 0; i < 10000 && f->server.client[0].source.fd >= 0; i++) {
		send(fd, line, strlen(line), MSG_NOSIGNAL | MSG_DONTWAIT);
		turn(f);
	}
	assert_in_range(i, 100, 9999);
	assert_non_null(strstr(ask(f, other, "{\"command\":\"say\"}\n"), "result"));
	close(fd);
	close(other);
}

static void too_many(void **state)
{
	struct fixture *f = *state;
	int fd[CTL_CLIENTS + 1];

	for (unsigned i = 0; i <= CTL_CLIENTS; i++)
		fd[i] = join(f);
	assert_string_equal(ask(f, fd[CTL_CLIENTS], "{\"command\":\"say\"}\n"), "");
	assert_non_null(strstr(ask(f, fd[0], "{\"command\":\"say\"}\n"), "result"));
	close(fd[3]);
	turn(f);
	close(fd[CTL_CLIENTS]);
	fd[CTL_CLIENTS] = join(f);
	assert_non_null(strstr(ask(f, fd[CTL_CLIENTS], "{\"command\":\"say\"}\n"), "result"));
	for (unsigned i = 0; i <= CTL_CLIENTS; i++) {
		if (i != 3)
			close(fd[i]);
	}
}

static void events_and_taking(void **state)
{
	struct fixture *f = *state;
	int fd = join(f), other = join(f);

	ask(f, fd, "{\"command\":\"subscribe\"}\n");
	ctl_broadcast(&f->server, "{\"event\":\"x\"}");
	assert_string_equal(ask(f, fd, ""), "{\"event\":\"x\"}\n");
	assert_string_equal(ask(f, other, ""), "-");
	assert_string_equal(ask(f, other, "{\"command\":\"take\"}\nrest"), "{\"result\":{}}\n");
	assert_true(f->taken >= 0);
	assert_int_equal(f->server.client[1].source.fd, -1);
	assert_int_equal(write(f->taken, "raw", 3), 3);
	assert_string_equal(ask(f, other, ""), "raw");
	close(f->taken);
	close(other);
	close(fd);
}

static void the_socket_itself(void **state)
{
	struct fixture *f = *state;
	char folder[512] = "", path[600];
	struct stat st;
	struct err err;
	int fd;

	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	/* It is in use. */
	assert_int_equal(unix_listen(f->path, &err), -EADDRINUSE);
	assert_non_null(strstr(err.text, f->path));
	assert_int_equal(unix_connect("/nowhere/x"), -ENOENT);
	/* Longer than an address; then left behind, and listened on again. */
	snprintf(folder, sizeof(folder), "%s/%0200d", f->folder, 1);
	snprintf(path, sizeof(path), "%s/socket", folder);
	assert_int_equal(mkdir(folder, 0700), 0);
	for (unsigned i = 0; i < 2; i++) {
		fd = unix_listen(path, &err);
		assert_true(fd >= 0);
		assert_int_equal(unix_accept(fd), -EAGAIN);
		close(fd);
	}
	unlink(path);
	rmdir(folder);
}

/* One that hangs accepts nobody; nor are those who ask it held up. */
static void a_server_that_hangs(void **state)
{
	struct fixture *f = *state;
	int fd[100], n = 0;

	alarm(30);
	while (n < 100 && (fd[n] = unix_connect(f->path)) >= 0)
		n++;
	alarm(0);
	assert_true(n > 0 && n < 100);
	assert_int_equal(fd[n], -EAGAIN);
	while (n)
		close(fd[--n]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(requests, setup, teardown),
		cmocka_unit_test_setup_teardown(wrong_requests, setup, teardown),
		cmocka_unit_test_setup_teardown(passed_descriptors, setup, teardown),
		cmocka_unit_test_setup_teardown(taking_too_early, setup, teardown),
		cmocka_unit_test_setup_teardown(endless_lines, setup, teardown),
		cmocka_unit_test_setup_teardown(deaf_client, setup, teardown),
		cmocka_unit_test_setup_teardown(too_many, setup, teardown),
		cmocka_unit_test_setup_teardown(events_and_taking, setup, teardown),
		cmocka_unit_test_setup_teardown(the_socket_itself, setup, teardown),
		cmocka_unit_test_setup_teardown(a_server_that_hangs, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
