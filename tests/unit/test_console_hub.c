/* SPDX-License-Identifier: MIT */
/* A console with many ends: what was printed before, slow readers, typing, the log, the pseudo-terminal. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
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

#include "backend/console_hub.h"
#include "host/unix_socket.h"
#include "vm/vm.h"

#define RING KIB(256)

struct fixture {
	struct loop loop;
	struct vm vm;
	struct console *console;
	struct err err;
	char folder[64], log[96], old_log[96], socket[96];
	u8 typed[65536];
	size_t ntyped, room;
};

static size_t input(void *arg, const u8 *data, size_t len)
{
	struct fixture *f = arg;

	len = MIN(len, f->room);
	memcpy(f->typed + f->ntyped, data, len);
	f->ntyped += len;
	f->room -= len;
	return len;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct console_config config = {.vm = &f->vm, .loop = &f->loop};

	*state = f;
	strcpy(f->folder, "/tmp/mullion-hub-XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	snprintf(f->log, sizeof(f->log), "%s/log", f->folder);
	snprintf(f->old_log, sizeof(f->old_log), "%s/log.1", f->folder);
	snprintf(f->socket, sizeof(f->socket), "%s/socket", f->folder);
	assert_int_equal(loop_init(&f->loop), 0);
	assert_int_equal(vm_init(&f->vm, "vm", NULL, 1), 0);
	assert_int_equal(console_hub_create(&config, f->log, &f->console, &f->err), 0);
	assert_true(console_is_hub(f->console));
	f->console->input = input;
	f->console->arg = f;
	f->room = sizeof(f->typed);
	f->console->ops->input_enable(f->console, true);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	f->console->ops->close(f->console);
	vm_fini(&f->vm);
	loop_fini(&f->loop);
	unlink(f->log);
	unlink(f->old_log);
	assert_int_equal(rmdir(f->folder), 0); /* the socket is gone, too */
	free(f);
	return 0;
}

static void turn(struct fixture *f)
{
	struct epoll_event event[8];
	int n;

	for (unsigned i = 0; i < 100 && (n = epoll_wait(f->loop.epoll, event, 8, 0)) > 0; i++) {
		for (int j = 0; j < n; j++) {
			struct loop_source *source = event[j].data.ptr;

			source->ready(source->arg, event[j].events);
		}
	}
}

static void print(struct fixture *f, const char *text)
{
	pthread_mutex_lock(&f->vm.lock);
	f->console->ops->write(f->console, (const u8 *)text, strlen(text));
	pthread_mutex_unlock(&f->vm.lock);
}

static int attach(struct fixture *f)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	if (console_hub_attach(f->console, pair[0])) {
		close(pair[0]);
		close(pair[1]);
		return -1;
	}
	return pair[1];
}

/* What fd has now; "" when its end has come, "-" when there is nothing. */
static const char *seen(struct fixture *f, int fd)
{
	static char text[1024];
	ssize_t n;

	turn(f);
	n = read(fd, text, sizeof(text) - 1);
	if (n < 0)
		return "-";
	text[n] = 0;
	return text;
}

static void before_and_after(void **state)
{
	struct fixture *f = *state;
	int a, b;

	print(f, "one ");
	a = attach(f);
	assert_string_equal(seen(f, a), "one ");
	print(f, "two ");
	b = attach(f);
	assert_string_equal(seen(f, b), "one two ");
	assert_string_equal(seen(f, a), "two ");
	close(a);
	print(f, "three");
	assert_string_equal(seen(f, b), "three");
	close(b);
	turn(f);
	a = attach(f);
	assert_string_equal(seen(f, a), "one two three");
	close(a);
}

static void typing(void **state)
{
	struct fixture *f = *state;
	int a = attach(f), b = attach(f);
	char keys[1024];

	assert_int_equal(write(a, "ab", 2), 2);
	turn(f);
	assert_int_equal(write(b, "cd", 2), 2);
	turn(f);
	assert_int_equal(f->ntyped, 4);
	assert_memory_equal(f->typed, "abcd", 4);
	/* The device takes no more: what does not fit waits in the sockets, in order. */
	f->room = 0;
	for (unsigned i = 0; i < 20; i++) {
		memset(keys, 'a' + (int)i, sizeof(keys));
		assert_int_equal(write(a, keys, sizeof(keys)), sizeof(keys));
		turn(f);
	}
	assert_int_equal(f->ntyped, 4);
	f->room = 20480;
	for (unsigned i = 0; i < 40; i++) {
		pthread_mutex_lock(&f->vm.lock);
		f->console->ops->input_enable(f->console, true);
		clock_run(&f->vm.clock);
		pthread_mutex_unlock(&f->vm.lock);
		turn(f);
	}
	assert_int_equal(f->ntyped, 4 + 20480);
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(f->typed[4 + i * 1024 + 1023], 'a' + i);
	close(a);
	close(b);
}

/* Who does not read misses the middle, and nobody waits for him. */
static void slow_reader(void **state)
{
	struct fixture *f = *state;
	int slow = attach(f), quick = attach(f);
	char block[1001];
	size_t got_slow = 0, got_quick = 0;
	const char *text;

	memset(block, '.', 1000);
	block[1000] = 0;
	for (unsigned i = 0; i < 3000; i++) {
		print(f, block);
		while (*(text = seen(f, quick)) != '-')
			got_quick += strlen(text);
	}
	print(f, "the end");
	while (*(text = seen(f, slow)) != '-')
		got_slow += strlen(text);
	assert_int_equal(got_quick, 3000 * 1000);
	assert_in_range(got_slow, RING, 1500 * 1000);
	close(slow);
	close(quick);
}

static void too_many(void **state)
{
	struct fixture *f = *state;
	int fd[8];

	for (unsigned i = 0; i < 8; i++)
		assert_true((fd[i] = attach(f)) >= 0);
	assert_int_equal(attach(f), -1);
	close(fd[0]);
	turn(f);
	assert_true((fd[0] = attach(f)) >= 0);
	for (unsigned i = 0; i < 8; i++)
		close(fd[i]);
}

static u64 size_of(const char *path)
{
	struct stat st;

	return stat(path, &st) ? 0 : (u64)st.st_size;
}

static void a_log(void **state)
{
	struct fixture *f = *state;
	char block[1001];

	print(f, "hello");
	turn(f);
	assert_int_equal(size_of(f->log), 5);
	memset(block, 'x', 1000);
	block[1000] = 0;
	for (unsigned i = 0; i < 1500; i++) {
		print(f, block);
		turn(f);
	}
	assert_in_range(size_of(f->log), 1, HUB_LOG_LIMIT);
	assert_in_range(size_of(f->old_log), HUB_LOG_LIMIT, HUB_LOG_LIMIT + 20000);
	/* What the loop has not written yet is at the end. */
	print(f, "last words");
	f->console->ops->finish(f->console);
	assert_int_equal(size_of(f->log) + size_of(f->old_log), 5 + 1500 * 1000 + 10);
}

static void a_socket(void **state)
{
	struct fixture *f = *state;
	int fd;

	print(f, "earlier");
	assert_int_equal(console_hub_listen(f->console, f->socket, &f->err), 0);
	fd = unix_connect(f->socket);
	assert_true(fd >= 0);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	turn(f);
	assert_string_equal(seen(f, fd), "earlier");
	assert_int_equal(write(fd, "k", 1), 1);
	turn(f);
	assert_int_equal(f->ntyped, 1);
	close(fd);
	assert_true(console_hub_listen(f->console, "/nowhere/socket", &f->err) < 0);
	assert_non_null(strstr(f->err.text, "/nowhere/socket"));
}

static void see_soon(struct fixture *f, int fd, const char *wanted)
{
	const char *text = "-";

	for (unsigned i = 0; i < 200 && *text == '-'; i++) {
		usleep(5000);
		text = seen(f, fd);
	}
	assert_string_equal(text, wanted);
}

static void a_pty(void **state)
{
	struct fixture *f = *state;
	char name[64];
	int fd;

	print(f, "login: ");
	assert_int_equal(console_hub_pty(f->console, name, sizeof(name), &f->err), 0);
	turn(f);
	fd = open(name, O_RDWR | O_NOCTTY | O_NONBLOCK);
	assert_true(fd >= 0);
	see_soon(f, fd, "login: ");
	assert_int_equal(write(fd, "root\r", 5), 5);
	for (unsigned i = 0; i < 200 && f->ntyped < 5; i++) {
		usleep(5000); /* a terminal takes its time */
		turn(f);
	}
	assert_string_equal(seen(f, fd), "-"); /* no echo: that is the guest's */
	assert_memory_equal(f->typed, "root\r", 5);
	close(fd);
	print(f, "nobody is there");
	turn(f);
	fd = open(name, O_RDWR | O_NOCTTY | O_NONBLOCK);
	see_soon(f, fd, "nobody is there");
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(before_and_after, setup, teardown),
		cmocka_unit_test_setup_teardown(typing, setup, teardown),
		cmocka_unit_test_setup_teardown(slow_reader, setup, teardown),
		cmocka_unit_test_setup_teardown(too_many, setup, teardown),
		cmocka_unit_test_setup_teardown(a_log, setup, teardown),
		cmocka_unit_test_setup_teardown(a_socket, setup, teardown),
		cmocka_unit_test_setup_teardown(a_pty, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
