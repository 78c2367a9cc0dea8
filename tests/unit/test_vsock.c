/* SPDX-License-Identifier: MIT */
/*
 * Sockets between host and guest: the test is the guest's driver and the host's
 * programs at once; the loop runs for moments in between.
 */
#include "tests/unit/virtio_fake.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "dev/virtio/vsock.h"
#include "host/loop.h"

#define CID 42u
#define BUFFERS 4u
#define BUFFER_LEN 4096u
#define CREDIT 65536u

enum { REQUEST = 1, RESPONSE, RST, SHUTDOWN, RW, UPDATE };

struct packet { /* virtio 1.2, 5.10.6 */
	u64 src_cid, dst_cid;
	u32 src_port, dst_port, len;
	u16 type, op;
	u32 flags, buf_alloc, fwd_cnt;
} __attribute__((packed));

struct fixture {
	struct vm vm;
	struct loop loop;
	struct loop_timer timer;
	struct fake_driver driver;
	char path[64];
	u64 buffer[256]; /* by chain id */
	u64 tx; /* where packets to send are built */
	u32 alloc, flags; /* in packets that are sent */
	u64 cid; /* whom they are for */
};

static void stop(void *arg)
{
	struct fixture *f = arg;

	loop_timer_taken(&f->timer);
	loop_stop(&f->loop);
}

/* What there is to do is done well within this time. */
static void run(struct fixture *f)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	loop_restart(&f->loop);
	loop_timer_set(&f->timer, (u64)now.tv_sec * 1000000000 + (u64)now.tv_nsec + 20000000);
	assert_int_equal(loop_run(&f->loop), 0);
}

static void give_buffer(struct fixture *f)
{
	struct fake_buf buf = {fake_alloc(BUFFER_LEN, 16), BUFFER_LEN};

	f->buffer[fake_add(&f->driver, 0, &buf, 0, 1)] = buf.gpa;
	fake_kick_if_wanted(&f->driver, 0);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct err err;

	fake_pc_init(&f->vm);
	assert_int_equal(loop_init(&f->loop), 0);
	assert_int_equal(loop_timer_init(&f->loop, &f->timer, stop, f), 0);
	snprintf(f->path, sizeof(f->path), "/tmp/mullion-vsock-%d", getpid());
	assert_int_equal(virtio_vsock_create(&f->vm, NULL, &f->loop, CID, f->path, &err), 0);
	fake_plugged->pci.dev.lock = &f->vm.lock;
	fake_driver_init(&f->driver, fake_plugged, FAKE_EVENTS);
	for (unsigned i = 0; i < 3; i++)
		fake_queue_init(&f->driver, i, 64);
	fake_driver_ready(&f->driver);
	for (unsigned i = 0; i < BUFFERS; i++)
		give_buffer(f);
	f->tx = fake_alloc(sizeof(struct packet) + 2 * CREDIT, 16);
	f->alloc = CREDIT;
	f->flags = 3;
	f->cid = 2;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	fake_plugged->pci.ops->free(&fake_plugged->pci);
	assert_int_equal(access(f->path, F_OK), -1);
	loop_timer_fini(&f->loop, &f->timer);
	loop_fini(&f->loop);
	fake_vm_fini(&f->vm);
	free(f);
	return 0;
}

/* The next packet to the guest; its data is behind it. NULL: none came. */
static struct packet *received(struct fixture *f)
{
	u32 len;
	int id = fake_used(&f->driver, 0, &len);
	struct packet *p;

	if (id < 0)
		return NULL;
	p = (struct packet *)(fake_ram + f->buffer[id]);
	assert_int_equal(len, sizeof(*p) + p->len);
	assert_int_equal(p->src_cid, 2);
	assert_int_equal(p->dst_cid, CID);
	assert_int_equal(p->type, 1);
	give_buffer(f);
	return p;
}

static void send_packet(struct fixture *f, u16 op, u32 from, u32 to, const void *data, u32 len)
{
	struct packet p = {CID, f->cid, from, to, len, 1, op, f->flags, f->alloc, 0};
	struct fake_buf buf = {f->tx, (u32)sizeof(p) + len};
	u32 used;

	memcpy(fake_ram + f->tx, &p, sizeof(p));
	if (len)
		memcpy(fake_ram + f->tx + sizeof(p), data, len);
	fake_add(&f->driver, 1, &buf, 1, 0);
	fake_kick_if_wanted(&f->driver, 1);
	run(f);
	assert_true(fake_used(&f->driver, 1, &used) >= 0);
}

static int host_socket(struct sockaddr_un *addr, const char *path, const char *suffix)
{
	*addr = (struct sockaddr_un){.sun_family = AF_UNIX};
	snprintf(addr->sun_path, sizeof(addr->sun_path), "%s%s", path, suffix);
	return socket(AF_UNIX, SOCK_STREAM, 0);
}

static int host_connect(struct fixture *f, const char *line)
{
	struct sockaddr_un addr;
	int fd = host_socket(&addr, f->path, "");

	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(write(fd, line, strlen(line)), strlen(line));
	fcntl(fd, F_SETFL, O_NONBLOCK);
	run(f); /* accept */
	return fd;
}

/* A stream that the host has begun: its socket, and its port on the host's side. */
static int open_stream(struct fixture *f, u32 *port)
{
	int fd = host_connect(f, "CONNECT 1000\n");
	struct packet *p = received(f);
	char line[64];
	ssize_t n;

	assert_non_null(p);
	assert_int_equal(p->op, REQUEST);
	assert_int_equal(p->dst_port, 1000);
	*port = p->src_port;
	send_packet(f, RESPONSE, 1000, *port, NULL, 0);
	n = read(fd, line, sizeof(line) - 1);
	assert_true(n > 3);
	assert_memory_equal(line, "OK ", 3);
	return fd;
}

static void the_host_reaches_the_guest(void **state)
{
	struct fixture *f = *state;
	char text[16];
	struct packet *p;
	u32 port;
	int fd = open_stream(f, &port);

	assert_int_equal(write(fd, "ping", 4), 4);
	run(f);
	p = received(f);
	assert_non_null(p);
	assert_int_equal(p->op, RW);
	assert_int_equal(p->len, 4);
	assert_memory_equal(p + 1, "ping", 4);
	send_packet(f, RW, 1000, port, "pong!", 5);
	assert_int_equal(read(fd, text, sizeof(text)), 5);
	assert_memory_equal(text, "pong!", 5);
	close(fd);
	run(f);
	p = received(f);
	assert_non_null(p);
	assert_int_equal(p->op, SHUTDOWN);
	send_packet(f, SHUTDOWN, 1000, port, NULL, 0);
	p = received(f);
	assert_non_null(p);
	assert_int_equal(p->op, RST);
	assert_null(received(f));
}

static void the_guest_reaches_the_host(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_un addr;
	int listener = host_socket(&addr, f->path, "_77"), fd;
	char text[16];

	send_packet(f, REQUEST, 5, 77, NULL, 0); /* nobody is there yet */
	assert_int_equal(received(f)->op, RST);
	assert_int_equal(bind(listener, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(listener, 1), 0);
	f->cid = 3; /* another host's */
	send_packet(f, REQUEST, 5, 77, NULL, 0);
	assert_int_equal(received(f)->op, RST);
	f->cid = 2;
	send_packet(f, REQUEST, 5, 77, NULL, 0);
	assert_int_equal(received(f)->op, RESPONSE);
	fd = accept(listener, NULL, NULL);
	send_packet(f, REQUEST, 5, 77, NULL, 0); /* it is there already */
	assert_int_equal(received(f)->op, RST);
	send_packet(f, RW, 5, 77, "data", 4);
	assert_int_equal(read(fd, text, sizeof(text)), 4);
	send_packet(f, SHUTDOWN, 5, 77, NULL, 0);
	assert_int_equal(received(f)->op, RST);
	assert_int_equal(read(fd, text, sizeof(text)), 0);
	close(fd);
	close(listener);
	unlink(addr.sun_path);
}

/* The host's program reads nothing: what it has no room for is kept, up to the credit. */
static void credit_is_kept(void **state)
{
	struct fixture *f = *state;
	static char data[CREDIT];
	u32 port, total = 0, limit = 0;
	int fd = open_stream(f, &port);
	struct packet *p = NULL;

	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &(int){4096}, sizeof(int));
	while (total < 64 * CREDIT && !p) {
		send_packet(f, RW, 1000, port, data, CREDIT / 4);
		total += CREDIT / 4;
		while ((p = received(f)) != NULL && p->op == UPDATE)
			limit = p->fwd_cnt + p->buf_alloc;
	}
	assert_non_null(p); /* it sent more than it may */
	assert_int_equal(p->op, RST);
	assert_true(total > limit);
	close(fd);
}

/* All of it comes through to one who reads only when nothing more fits, in order, and then its end. */
static void much_data(void **state)
{
	enum { TOTAL = 8 * CREDIT };
	struct fixture *f = *state;
	static u8 data[CREDIT / 4];
	u32 port, sent = 0, limit = CREDIT, got = 0;
	int fd = open_stream(f, &port);
	u8 back[3000];
	struct packet *p;
	ssize_t n;

	for (unsigned round = 0; round < 1000 && got < TOTAL; round++) {
		u32 len = MIN(MIN(limit - sent, (u32)sizeof(data)), TOTAL - sent);

		for (u32 i = 0; i < len; i++)
			data[i] = (u8)((sent + i) * 7 >> 3);
		if (len)
			send_packet(f, RW, 1000, port, data, len);
		sent += len;
		f->flags = 2; /* sends no more */
		if (len && sent == TOTAL)
			send_packet(f, SHUTDOWN, 1000, port, NULL, 0);
		for (unsigned i = 0; !len && i < 12 && (n = read(fd, back, sizeof(back))) > 0; i++, got += (u32)n) {
			for (u32 at = 0; at < n; at++) {
				if (back[at] != (u8)((got + at) * 7 >> 3))
					fail_msg("byte %u is wrong", got + at);
			}
		}
		if (!len)
			run(f);
		while ((p = received(f)) != NULL) {
			assert_int_equal(p->op, UPDATE);
			limit = p->fwd_cnt + p->buf_alloc;
		}
	}
	assert_int_equal(got, TOTAL);
	run(f);
	assert_int_equal(read(fd, back, sizeof(back)), 0);
	close(fd);
}

/* The guest sends no more, and what is kept for a slow reader comes all the same. */
static void an_end_with_a_rest(void **state)
{
	struct fixture *f = *state;
	static u8 data[CREDIT / 4];
	u32 port, sent = 0, limit = CREDIT, got = 0;
	int fd = open_stream(f, &port);
	struct packet *p;
	ssize_t n;

	while (sent < limit) {
		send_packet(f, RW, 1000, port, data, MIN(limit - sent, (u32)sizeof(data)));
		sent += MIN(limit - sent, (u32)sizeof(data));
		while ((p = received(f)) != NULL)
			limit = p->fwd_cnt + p->buf_alloc;
	}
	f->flags = 2;
	send_packet(f, SHUTDOWN, 1000, port, NULL, 0);
	for (unsigned i = 0; i < 20 && got < sent; i++) {
		while ((n = read(fd, data, sizeof(data))) > 0)
			got += (u32)n;
		run(f);
	}
	assert_int_equal(got, sent);
	assert_int_equal(read(fd, data, sizeof(data)), 0);
	close(fd);
}

/* The guest's credit is zero: nothing comes until it gives some. */
static void the_guest_may_be_slow(void **state)
{
	struct fixture *f = *state;
	static char data[3 * CREDIT];
	u32 port, total = 0, before = 1;
	int fd = open_stream(f, &port);
	struct packet *p;

	while (total != before) {
		before = total;
		if (write(fd, data, sizeof(data)) < 0)
			assert_int_equal(errno, EAGAIN);
		run(f);
		while ((p = received(f)) != NULL && p->op == RW)
			total += p->len;
	}
	assert_int_equal(total, CREDIT);
	/* Less than it has sent already is no credit. */
	f->alloc = 10;
	send_packet(f, UPDATE, 1000, port, NULL, 0);
	assert_null(received(f));
	f->alloc = CREDIT + 100;
	send_packet(f, UPDATE, 1000, port, NULL, 0);
	p = received(f);
	assert_non_null(p);
	assert_int_equal(p->len, 100);
	close(fd);
}

/* A stream that the host asks for is none before the guest has answered, and only once. */
static void answers(void **state)
{
	struct fixture *f = *state;
	int fd = host_connect(f, "CONNECT 1000\n");
	struct packet *p = received(f);
	char text[16];
	u32 port;

	assert_non_null(p);
	send_packet(f, RW, 1000, p->src_port, "early", 5);
	assert_int_equal(received(f)->op, RST);
	assert_int_equal(read(fd, text, sizeof(text)), 0);
	close(fd);
	fd = open_stream(f, &port);
	send_packet(f, RESPONSE, 1000, port, NULL, 0);
	assert_int_equal(received(f)->op, RST);
	assert_int_equal(read(fd, text, sizeof(text)), 0);
	close(fd);
}

/* The device's reset ends all streams. */
static void a_reset(void **state)
{
	struct fixture *f = *state;
	char text[16];
	u32 port;
	int fd = open_stream(f, &port);

	fake_write(&f->driver, VIRTIO_STATUS, 1, 0);
	assert_int_equal(read(fd, text, sizeof(text)), 0);
	close(fd);
}

/* More packets for streams that there are not than there is room for answers. */
static void a_flood_of_nonsense(void **state)
{
	struct fixture *f = *state;
	unsigned answered = 0;

	for (u32 i = 0; i < BUFFERS + 64 + 4; i++)
		send_packet(f, RW, i, 9, "x", 1);
	while (received(f)) {
		if (++answered % BUFFERS == 0)
			run(f);
	}
	assert_int_equal(answered, BUFFERS + 64);
}

static void a_short_buffer(void **state)
{
	struct fixture *f = *state;
	struct fake_buf buf = {f->tx + CREDIT, 20};

	for (unsigned i = 0; i < BUFFERS; i++)
		send_packet(f, RW, i, 9, "x", 1); /* the answers take the buffers that there are */
	fake_add(&f->driver, 0, &buf, 0, 1);
	send_packet(f, RW, 9, 9, "x", 1);
	assert_true(fake_plugged->broken);
}

static void nonsense_is_refused(void **state)
{
	struct fixture *f = *state;
	static const char *const lines[] = {"CONNECT nowhere\n", "CONNECT 4294967295\n", "CONNECT 1 2\n",
		"CONNECT 00000000000000000000000000000000000000000000000000001\n"};
	struct fake_buf buf = {f->tx, 20};
	struct virtio *mine = fake_plugged;
	struct err err;
	char text[8];

	for (unsigned i = 0; i < ARRAY_SIZE(lines); i++) {
		int fd = host_connect(f, lines[i]);

		errno = 0;
		assert_true(read(fd, text, sizeof(text)) <= 0 && errno != EAGAIN);
		close(fd);
	}
	assert_null(received(f));
	/* The socket of a VM that runs is its own. */
	assert_int_equal(virtio_vsock_create(&f->vm, NULL, &f->loop, CID + 1, f->path, &err), -EADDRINUSE);
	assert_ptr_equal(fake_plugged, mine);
	send_packet(f, RW, 9, 9, "x", 1);
	assert_int_equal(received(f)->op, RST);
	send_packet(f, RST, 9, 9, NULL, 0);
	assert_null(received(f));
	fake_add(&f->driver, 1, &buf, 1, 0); /* not even a header */
	fake_kick_if_wanted(&f->driver, 1);
	run(f);
	assert_true(fake_plugged->broken);
}

/* A header that promises more than there is. */
static void a_false_length(void **state)
{
	struct fixture *f = *state;
	u32 port;
	int fd = open_stream(f, &port);
	struct packet p = {CID, 2, 1000, port, 100, 1, RW, 0, CREDIT, 0};
	struct fake_buf buf = {f->tx, sizeof(p) + 99};
	char text[100];

	memcpy(fake_ram + f->tx, &p, sizeof(p));
	fake_add(&f->driver, 1, &buf, 1, 0);
	fake_kick_if_wanted(&f->driver, 1);
	run(f);
	assert_true(fake_plugged->broken);
	assert_true(read(fd, text, sizeof(text)) <= 0);
	close(fd);
}

/* A driver may give a buffer in any pieces: here, the header's take as many as the device once looked at. */
static void buffers_in_pieces(void **state)
{
	struct fixture *f = *state;
	enum { PIECES = 5, PIECE = sizeof(struct packet) / (PIECES - 1) };
	struct fake_buf bufs[PIECES];
	u32 port, len;
	int fd = open_stream(f, &port), id;

	for (unsigned i = 0; i < PIECES; i++) {
		bufs[i] = (struct fake_buf){fake_alloc(64, 16), i + 1 < PIECES ? PIECE : 64};
		fake_alloc(16, 16); /* no two of them touch */
	}
	id = fake_add(&f->driver, 0, bufs, 0, PIECES);
	for (unsigned i = 0; i < BUFFERS; i++) { /* those before it */
		assert_int_equal(write(fd, "x", 1), 1);
		run(f);
		assert_int_equal(received(f)->op, RW);
	}
	assert_int_equal(write(fd, "ping", 4), 4);
	run(f);
	assert_int_equal(fake_used(&f->driver, 0, &len), id);
	assert_int_equal(len, sizeof(struct packet) + 4);
	assert_memory_equal(fake_ram + bufs[PIECES - 1].gpa, "ping", 4);
	close(fd);
}

static void only_its_owner_connects(void **state)
{
	struct fixture *f = *state;
	struct stat st;

	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_host_reaches_the_guest, setup, teardown),
		cmocka_unit_test_setup_teardown(the_guest_reaches_the_host, setup, teardown),
		cmocka_unit_test_setup_teardown(credit_is_kept, setup, teardown),
		cmocka_unit_test_setup_teardown(much_data, setup, teardown),
		cmocka_unit_test_setup_teardown(an_end_with_a_rest, setup, teardown),
		cmocka_unit_test_setup_teardown(the_guest_may_be_slow, setup, teardown),
		cmocka_unit_test_setup_teardown(answers, setup, teardown),
		cmocka_unit_test_setup_teardown(a_reset, setup, teardown),
		cmocka_unit_test_setup_teardown(a_flood_of_nonsense, setup, teardown),
		cmocka_unit_test_setup_teardown(a_short_buffer, setup, teardown),
		cmocka_unit_test_setup_teardown(nonsense_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(a_false_length, setup, teardown),
		cmocka_unit_test_setup_teardown(buffers_in_pieces, setup, teardown),
		cmocka_unit_test_setup_teardown(only_its_owner_connects, setup, teardown),
	};

	umask(0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
