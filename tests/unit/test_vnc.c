/* SPDX-License-Identifier: MIT */
/* VNC: keys, addresses, and a small client that watches a picture, types, and misbehaves. */
#include <errno.h>
#include <linux/input-event-codes.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "backend/vnc.h"

static struct err err;
static char file[108];

static void test_keys(void **state)
{
	bool shift;

	(void)state;
	assert_int_equal(vnc_key('a', &shift), KEY_A);
	assert_false(shift);
	assert_int_equal(vnc_key('Z', &shift), KEY_Z);
	assert_true(shift);
	assert_int_equal(vnc_key('?', &shift), KEY_SLASH);
	assert_true(shift);
	assert_int_equal(vnc_key(' ', &shift), KEY_SPACE);
	assert_false(shift);
	assert_int_equal(vnc_key(0xff0d, &shift), KEY_ENTER);
	assert_false(shift);
	assert_int_equal(vnc_key(0xffffffff, &shift), 0);
	for (u32 c = '!'; c <= '~'; c++)
		assert_true(vnc_key(c, &shift));
	assert_int_equal(vnc_key_of_scancode(0x1e), KEY_A);
	assert_int_equal(vnc_key_of_scancode(0x9d), KEY_RIGHTCTRL);
	assert_int_equal(vnc_key_of_scancode(0xffffffff), 0);
}

static void test_addresses(void **state)
{
	static const char *const bad[] = {"", "5900", "x:1", "127.0.0.1:", "127.0.0.1:-1", "127.0.0.1:0",
		"127.0.0.1:70000", ":65000", "[::1:5900", "10.0.0.1:5900", "0.0.0.0:5900", "[::]:5900",
		"unix:", "unix:/no/such/folder/x", "]:1"};
	char path[108];
	int fd, second;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		err.text[0] = 0;
		assert_true(vnc_listen(bad[i], path, &err) < 0);
		assert_true(err.text[0] && !strchr(err.text, '\n'));
	}
	snprintf(file, sizeof(file), "/tmp/test_vnc-%d", getpid());
	char address[120];

	snprintf(address, sizeof(address), "unix:%s", file);
	fd = vnc_listen(address, path, &err);
	assert_true(fd >= 0);
	assert_string_equal(path, file);
	second = vnc_listen(address, path, &err);
	assert_int_equal(second, -EADDRINUSE);
	/* What a dead process left is taken over. */
	close(fd);
	fd = vnc_listen(address, path, &err);
	assert_true(fd >= 0);
	close(fd);
	unlink(file);
}

/* ---- a server ---- */

static struct vm vm;
static struct input input;
static struct input_sink sink;
static struct display_source source;
static struct vnc *vnc;
static unsigned width, height;
static u64 serial;
static u32 colour;
static _Atomic unsigned looks;
static int downs, ups, last_code;
static struct input_sink pointer;
static int pointer_x, pointer_y;

static void look(struct display_source *s, struct display_picture *picture)
{
	(void)s;
	looks++;
	*picture = (struct display_picture){.width = width, .height = height, .serial = serial};
}

static const u32 *row(struct display_source *s, unsigned y, u32 *scratch)
{
	(void)s;
	for (unsigned x = 0; x < width; x++)
		scratch[x] = colour + y;
	return scratch;
}

static const struct display_source_ops source_ops = {.look = look, .row = row};

static bool listens(const struct input_sink *s)
{
	(void)s;
	return true;
}

static void key_event(struct input_sink *s, u16 type, u16 code, i32 value)
{
	(void)s;
	if (type != EV_KEY)
		return;
	downs += value != 0;
	ups += value == 0;
	last_code = code;
}

static void pointer_event(struct input_sink *s, u16 type, u16 code, i32 value)
{
	(void)s;
	if (type == EV_ABS)
		*(code == ABS_X ? &pointer_x : &pointer_y) = value;
	else
		key_event(s, type, code, value);
}

static int setup(void **state)
{
	static char address[120];
	struct vnc_config config = {
		.address = address, .name = "test", .vm = &vm, .source = &source, .input = &input};

	(void)state;
	pthread_mutex_init(&vm.lock, NULL);
	memset(&input, 0, sizeof(input));
	source.ops = &source_ops;
	sink = (struct input_sink){.kind = INPUT_KEYBOARD, .listens = listens, .event = key_event};
	pointer = (struct input_sink){.kind = INPUT_TABLET, .listens = listens, .event = pointer_event};
	input_add(&input, &sink);
	input_add(&input, &pointer);
	downs = ups = last_code = 0;
	looks = 0;
	width = 100;
	height = 50;
	serial = 1;
	colour = 0x102030;
	snprintf(file, sizeof(file), "/tmp/test_vnc-%d", getpid());
	snprintf(address, sizeof(address), "unix:%s", file);
	assert_int_equal(vnc_create(&config, &vnc, &err), 0);
	return 0;
}

static int teardown(void **state)
{
	struct stat st;

	(void)state;
	vnc_destroy(vnc);
	assert_int_equal(stat(file, &st), -1);
	pthread_mutex_destroy(&vm.lock);
	return 0;
}

/* ---- a client ---- */

static void get(int fd, void *to, size_t len)
{
	while (len) {
		ssize_t n = read(fd, to, len);

		assert_true(n > 0);
		to = (u8 *)to + n;
		len -= (size_t)n;
	}
}

static void put(int fd, const void *from, size_t len)
{
	assert_int_equal(write(fd, from, len), (ssize_t)len);
}

#define PUT(fd, ...) put(fd, (const u8[]){__VA_ARGS__}, sizeof((const u8[]){__VA_ARGS__}))

static int dial(void)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(at.sun_path, file);
	assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	return fd;
}

static int join(unsigned *w, unsigned *h)
{
	int fd = dial();
	u8 data[64];

	get(fd, data, 12);
	put(fd, "RFB 003.008\n", 12);
	get(fd, data, 1);
	get(fd, data + 1, data[0]);
	PUT(fd, 1);
	get(fd, data, 4);
	PUT(fd, 1);
	get(fd, data, 24);
	*w = (unsigned)(data[0] << 8 | data[1]);
	*h = (unsigned)(data[2] << 8 | data[3]);
	get(fd, data, data[23]);
	/* Raw, a new size, and keys by scan code; pixels as they come. */
	PUT(fd, 2, 0, 0, 3, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0x21, 0xff, 0xff, 0xfe, 0xfe);
	return fd;
}

struct seen {
	unsigned rectangles, sized, keys, w, h;
	u32 last; /* pixel */
};

static void request(int fd, bool incremental)
{
	PUT(fd, 3, incremental, 0, 0, 0, 0, 0x0f, 0xff, 0x0f, 0xff);
}

/* One update of the picture. */
static void receive(int fd, struct seen *seen)
{
	u8 data[12];
	unsigned n;

	get(fd, data, 4);
	assert_int_equal(data[0], 0);
	n = (unsigned)(data[2] << 8 | data[3]);
	while (n--) {
		unsigned w, h;

		get(fd, data, 12);
		w = (unsigned)(data[4] << 8 | data[5]);
		h = (unsigned)(data[6] << 8 | data[7]);
		if (data[8] == 0xff && data[11] == 0xfe) {
			seen->keys++;
		} else if (data[8] == 0xff) {
			seen->sized++;
			seen->w = w;
			seen->h = h;
		} else {
			seen->rectangles++;
			for (u64 i = 0; i < (u64)w * h; i++)
				get(fd, &seen->last, 4);
		}
	}
}

static void locked(void (*change)(void))
{
	pthread_mutex_lock(&vm.lock);
	change();
	pthread_mutex_unlock(&vm.lock);
}

static void other_colour(void)
{
	colour = 0x405060;
	serial++;
}

static void other_size(void)
{
	width = 200;
	height = 30;
	serial++;
}

/* Nobody can tell, so it compares. */
static void silent_change(void)
{
	serial = 0;
	colour = 0x708090;
}

static void wait_for(const int *what, int value)
{
	for (unsigned i = 0; i < 500; i++) {
		pthread_mutex_lock(&vm.lock);
		bool there = *what == value;
		pthread_mutex_unlock(&vm.lock);
		if (there)
			return;
		usleep(10000);
	}
	fail_msg("%d, not %d", *what, value);
}

static void test_pictures(void **state)
{
	struct seen seen = {0};
	unsigned w, h, before;
	int fd;

	(void)state;
	usleep(100000);
	assert_int_equal(looks, 0); /* nobody is there */
	fd = join(&w, &h);
	receive(fd, &seen);
	assert_int_equal(seen.keys, 1);
	request(fd, false);
	while (!seen.sized || !seen.rectangles) {
		receive(fd, &seen);
		request(fd, false);
	}
	assert_int_equal(seen.w, 100);
	assert_int_equal(seen.h, 50);
	assert_int_equal(seen.last & 0xffffff, 0x102030 + 49);
	receive(fd, &seen);
	request(fd, true);
	usleep(200000);
	locked(other_colour);
	do {
		receive(fd, &seen);
		request(fd, true);
	} while ((seen.last & 0xffffff) != 0x405060 + 49);
	locked(silent_change);
	do {
		receive(fd, &seen);
		request(fd, true);
	} while ((seen.last & 0xffffff) != 0x708090 + 49);
	locked(other_size);
	before = seen.sized;
	while (seen.sized == before)
		receive(fd, &seen);
	assert_int_equal(seen.w, 200);
	assert_int_equal(seen.h, 30);
	close(fd);
	/* Gone: no more looks. */
	usleep(300000);
	before = looks;
	usleep(300000);
	assert_int_equal(looks, before);
}

static void test_input(void **state)
{
	unsigned w, h;
	int fd = join(&w, &h);

	(void)state;
	PUT(fd, 4, 1, 0, 0, 0, 0, 0, 'A'); /* Shift comes with it */
	wait_for(&downs, 2);
	wait_for(&ups, 1);
	PUT(fd, 4, 0, 0, 0, 0, 0, 0, 'A');
	wait_for(&ups, 2);
	assert_int_equal(last_code, KEY_A);
	PUT(fd, 4, 1, 0, 0, 0, 0, 0x12, 0x34); /* unknown */
	PUT(fd, 255, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0x9d);
	wait_for(&downs, 3);
	assert_int_equal(last_code, KEY_RIGHTCTRL);
	PUT(fd, 255, 0, 0, 1, 0, 0, 0, 'b', 0, 0, 0, 0); /* by its symbol */
	wait_for(&downs, 4);
	PUT(fd, 5, 0x01, 0, 100, 0, 50);
	wait_for(&downs, 5);
	wait_for(&pointer_x, 100 * INPUT_ABS_MAX / 719);
	wait_for(&pointer_y, 50 * INPUT_ABS_MAX / 399);
	PUT(fd, 5, 0x00, 0xff, 0xff, 0xff, 0xff);
	wait_for(&pointer_x, INPUT_ABS_MAX);
	wait_for(&ups, 3);
	/* Who goes lets go. */
	close(fd);
	wait_for(&ups, 5);
}

/* Noise, and messages that end early: the server is there for the next one. */
static void test_bad_clients(void **state)
{
	unsigned w, h;
	int fd[20];

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		fd[0] = dial();
		put(fd[0], "GET / HTTP/1.0\r\n\r\n", 18);
		close(fd[0]);
		fd[0] = join(&w, &h);
		PUT(fd[0], 99, 1, 2, 3);
		close(fd[0]);
		fd[0] = join(&w, &h);
		PUT(fd[0], 255, 7, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0x1d);
		close(fd[0]);
		fd[0] = join(&w, &h);
		PUT(fd[0], 4, 1);
		close(fd[0]);
	}
	/* More than there is room for; the others still work. */
	for (unsigned i = 0; i < 16; i++)
		fd[i] = join(&w, &h);
	for (unsigned i = 16; i < 20; i++)
		fd[i] = dial();
	PUT(fd[15], 255, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0x1d);
	wait_for(&last_code, KEY_LEFTCTRL);
	for (unsigned i = 0; i < 20; i++)
		close(fd[i]);
	/* One that is still connected at the end. */
	fd[0] = join(&w, &h);
	teardown(NULL);
	close(fd[0]);
	vnc = NULL;
	setup(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_keys),
		cmocka_unit_test(test_addresses),
		cmocka_unit_test_setup_teardown(test_pictures, setup, teardown),
		cmocka_unit_test_setup_teardown(test_input, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_clients, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
