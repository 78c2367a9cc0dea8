/* SPDX-License-Identifier: MIT */
/* The switch: what it learns and refuses, and cards on it over real sockets. */
#include "tests/unit/net_fake.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backend/net_switch.h"
#include "backend/switch.h"
#include "backend/switch_wire.h"

#define SECOND 1000000000ull

static const u8 broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
static struct switch_table table;
static u64 now;

static const u8 *mac(unsigned i)
{
	static u8 macs[16][6];
	static unsigned next;
	u8 *m = macs[next++ % 16];

	m[0] = 0x52;
	m[3] = (u8)(i >> 16);
	m[4] = (u8)(i >> 8);
	m[5] = (u8)i;
	return m;
}

static u64 send_frame(unsigned port, const u8 *from, const u8 *to)
{
	u8 frame[60] = {0};

	memcpy(frame, to, 6);
	memcpy(frame + 6, from, 6);
	return switch_route(&table, port, frame, sizeof(frame), now);
}

static int setup(void **state)
{
	(void)state;
	memset(&table, 0, sizeof(table));
	now = 1000 * SECOND;
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(switch_join(&table, mac(i), i >= 2, now), i);
	return 0;
}

static void test_learning(void **state)
{
	(void)state;
	assert_int_equal(send_frame(0, mac(0), broadcast), 0xe);
	assert_int_equal(send_frame(1, mac(1), mac(0)), 1);
	assert_int_equal(send_frame(0, mac(0), mac(1)), 2);
	assert_int_equal(send_frame(0, mac(0), mac(9)), 0xe); /* not known: to all */
	assert_int_equal(send_frame(0, mac(0), mac(0)), 0); /* it is there already */
	now += SWITCH_AGE_NS + 1;
	assert_int_equal(send_frame(0, mac(0), mac(1)), 0xe);
	/* A bridge behind port 1 has addresses of its own; they may move, but not at once. */
	assert_int_equal(send_frame(1, mac(77), mac(0)), 1);
	assert_int_equal(send_frame(0, mac(77), mac(1)), 0);
	assert_int_equal(table.port[0].spoofed, 1);
	now += SWITCH_HOLD_NS;
	assert_int_equal(send_frame(0, mac(77), broadcast), 0xe);
	assert_int_equal(send_frame(1, mac(1), mac(77)), 1);
	switch_leave(&table, 0);
	assert_int_equal(send_frame(1, mac(1), mac(77)), 0xc);
}

static void test_spoofing(void **state)
{
	(void)state;
	/* A card's own address is its, even if it has not said a word. */
	assert_int_equal(send_frame(1, mac(0), broadcast), 0);
	assert_int_equal(send_frame(1, broadcast, mac(0)), 0);
	assert_int_equal(table.port[1].spoofed, 2);
	assert_int_equal(switch_join(&table, mac(2), false, now), -EEXIST);
	/* No more addresses than its share, so that the table stays usable for others. */
	for (unsigned i = 0; i < 5000; i++)
		send_frame(1, mac(1000 + i), mac(0));
	assert_int_equal(table.port[1].macs, SWITCH_PORT_MACS);
	assert_int_equal(send_frame(0, mac(0), mac(1063)), 2);
	assert_int_not_equal(send_frame(2, mac(2), mac(0)), 0);
	for (unsigned i = 0; i < SWITCH_MACS; i++)
		assert_true(!table.mac[i].used || table.port[table.mac[i].port].used);
}

static void test_flooding(void **state)
{
	unsigned passed = 0;

	(void)state;
	for (unsigned i = 0; i < 3 * SWITCH_FLOODS; i++)
		passed += send_frame(0, mac(0), broadcast) != 0;
	assert_int_equal(passed, SWITCH_FLOODS);
	assert_int_equal(table.port[0].limited, 2 * SWITCH_FLOODS);
	send_frame(1, mac(1), broadcast);
	assert_int_equal(send_frame(0, mac(0), mac(1)), 2); /* what is not flooded passes */
	now += 10 * SWITCH_FLOOD_NS;
	for (unsigned i = passed = 0; i < 100; i++)
		passed += send_frame(0, mac(0), broadcast) != 0;
	assert_int_equal(passed, 10);
}

static void test_isolation(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 4; i++)
		send_frame(i, mac(i), broadcast);
	assert_int_equal(send_frame(2, mac(2), mac(3)), 0);
	assert_int_equal(send_frame(3, mac(3), mac(2)), 0);
	assert_int_equal(send_frame(2, mac(2), broadcast), 0x3);
	assert_int_equal(send_frame(2, mac(2), mac(0)), 1);
	assert_int_equal(send_frame(0, mac(0), mac(2)), 4);
}

static void test_full(void **state)
{
	(void)state;
	for (unsigned i = 4; i < SWITCH_PORTS; i++)
		assert_int_equal(switch_join(&table, mac(i), false, now), i);
	assert_int_equal(switch_join(&table, mac(100), false, now), -EBUSY);
	switch_leave(&table, 7);
	assert_int_equal(switch_join(&table, mac(100), false, now), 7);
}

/* ---- over sockets ---- */

static char path[64];
static pid_t server;
static struct vm vm;
static struct loop loop;
static struct fake_card card[3];
static struct net_pump *pump[3];

static void start_server(void)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);

	unlink(path);
	strcpy(addr.sun_path, path);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(fd, 8), 0);
	server = fork();
	if (!server) {
		prctl(PR_SET_PDEATHSIG, SIGKILL); /* a failed test leaves nobody */
		_exit(switch_serve(fd) ? 1 : 0);
	}
	close(fd);
}

static void stop_server(int signo)
{
	kill(server, signo);
	waitpid(server, NULL, 0);
}

static int plug(unsigned i, unsigned address, bool isolated, struct err *err)
{
	const struct net_switch_config config = {.path = path, .vm = "box", .isolated = isolated};
	struct net_place place = {.vm = &vm, .loop = &loop};
	int ret;

	memcpy(place.mac, mac(address), 6);
	ret = net_switch_create(&place, &config, &pump[i], err);
	if (!ret)
		fake_card_init(&card[i], &pump[i]->net);
	return ret;
}

static void unplug(unsigned i)
{
	fake_card_fini(&card[i]);
	pump[i]->net.ops->close(&pump[i]->net);
}

static void open_all(void)
{
	snprintf(path, sizeof(path), "/tmp/test-switch-%d", getpid());
	memset(&vm, 0, sizeof(vm));
	pthread_mutex_init(&vm.lock, NULL);
	assert_int_equal(loop_init(&loop), 0);
	start_server();
}

static size_t make_frame(u8 *f, unsigned to, unsigned from, size_t len)
{
	memcpy(f, mac(to), 6);
	memcpy(f + 6, mac(from), 6);
	for (size_t i = 12; i < len; i++)
		f[i] = (u8)(i * 31);
	return len;
}

/* All sizes arrive as they were, also that of a hello. */
static void test_frames(void **state)
{
	static const size_t sizes[] = {14, 49, 50, 51, 60, 64, 1514, 9000, 65000, NET_FRAME_MAX};
	static u8 f[NET_FRAME_MAX];
	struct err err;

	(void)state;
	open_all();
	assert_int_equal(plug(0, 1, false, &err), 0);
	assert_int_equal(plug(1, 2, false, &err), 0);
	assert_int_equal(plug(2, 2, false, &err), -EBUSY);
	assert_non_null(strstr(err.text, "MAC"));
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++)
		fake_send(&card[0], f, make_frame(f, 2, 1, sizes[i]));
	card[0].out[3].offload = (struct net_offload){.flags = NET_CSUM_VALID};
	assert_true(fake_run(&loop, &card[1].nin, ARRAY_SIZE(sizes), 5000));
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		assert_int_equal(card[1].in[i].len, sizes[i]);
		make_frame(f, 2, 1, sizes[i]);
		assert_memory_equal(card[1].in[i].data, f, sizes[i]);
		assert_int_equal(card[1].in[i].offload.flags, i == 3 ? NET_CSUM_VALID : 0);
	}
	unplug(0);
	unplug(1);
	stop_server(SIGTERM);
	loop_fini(&loop);
}

/* One card does not read: the other one's frames to a third arrive all the same, and none are lost to a reader. */
static void test_stuck(void **state)
{
	static u8 f[2000];
	struct err err;
	unsigned sent = 0;

	(void)state;
	open_all();
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(plug(i, i + 1, false, &err), 0);
	fake_send(&card[0], f, make_frame(f, 9, 1, 60)); /* to all: from here on, the switch knows where it is */
	assert_true(fake_run(&loop, &card[2].nin, 1, 5000));
	fake_send(&card[1], f, make_frame(f, 1, 2, 60));
	fake_send(&card[2], f, make_frame(f, 1, 3, 60));
	assert_true(fake_run(&loop, &card[0].nin, 2, 5000));
	card[1].room = 0;
	while (sent < 10000) {
		for (unsigned i = 0; i < 100; i++)
			fake_send(&card[0], f, make_frame(f, i % 10 ? 2 : 3, 1, sizeof(f)));
		sent += 100;
		assert_true(fake_run(&loop, &card[0].sent, sent + 1, 5000));
	}
	assert_true(fake_run(&loop, &card[2].nin, sent / 10 + 1, 5000));
	assert_int_equal(card[2].nin, sent / 10 + 1);
	for (unsigned i = 0; i < 3; i++)
		unplug(i);
	stop_server(SIGTERM);
	loop_fini(&loop);
}

/* ---- what comes for a card, before it gets it ---- */

static unsigned drained;

static int lose(struct net_pump *p, const struct net_frame *frame)
{
	(void)p;
	(void)frame;
	return 0;
}

static void on_drained(struct net_pump *p)
{
	(void)p;
	drained++;
}

/* A TCP frame of that many bytes of data. */
static size_t make_tcp(u8 *f, size_t n)
{
	memset(f, 0, 54 + n);
	memcpy(f + 12, "\x08\0\x45\0", 4);
	f[16] = (u8)((40 + n) >> 8);
	f[17] = (u8)(40 + n);
	memcpy(f + 22, "\x40\6", 2);
	f[46] = 5 << 4;
	return 54 + n;
}

static void test_pump(void **state)
{
	static const struct net_pump_ops ops = {.send = lose, .drained = on_drained};
	struct net_offload none = {0}, sum = {.flags = NET_NEEDS_CSUM, .csum_start = 34, .csum_offset = 16};
	struct net_offload cut = {.flags = NET_NEEDS_CSUM, .gso = NET_GSO_TCPV4, .gso_size = 1000,
		.csum_start = 34, .csum_offset = 16, .hdr_len = 54};
	struct net_place place = {.vm = &vm, .loop = &loop};
	static u8 f[NET_FRAME_MAX];
	struct net_pump p;
	u64 dropped;

	(void)state;
	memset(&vm, 0, sizeof(vm));
	pthread_mutex_init(&vm.lock, NULL);
	assert_int_equal(loop_init(&loop), 0);
	assert_int_equal(net_pump_init(&p, &ops, &place), 0);
	fake_card_init(&card[0], &p.net);
	/* What waits keeps its place. */
	card[0].room = 1;
	assert_true(net_pump_receive(&p, f, 61, &none));
	assert_false(net_pump_receive(&p, f, 62, &none));
	card[0].room = 100;
	assert_false(net_pump_receive(&p, f, 63, &none));
	assert_int_equal(card[0].nin, 1);
	p.net.ops->rx_ready(&p.net);
	assert_true(fake_run(&loop, &card[0].nin, 3, 1000));
	assert_int_equal(card[0].in[1].len, 62);
	assert_int_equal(card[0].in[2].len, 63);
	assert_int_equal(drained, 1);
	/* Cut, and summed, for a card that does not do so itself. */
	assert_true(net_pump_receive(&p, f, make_tcp(f, 2500), &cut));
	assert_int_equal(card[0].nin, 6);
	assert_int_equal(card[0].in[5].len, 554);
	assert_int_equal(card[0].in[5].offload.flags, NET_CSUM_VALID);
	assert_int_equal(card[0].in[5].offload.gso, NET_GSO_NONE);
	assert_true(net_pump_receive(&p, f, make_tcp(f, 100), &sum));
	assert_int_equal(card[0].in[6].offload.flags, NET_CSUM_VALID);
	assert_int_not_equal(card[0].in[6].data[50] | card[0].in[6].data[51], 0);
	p.net.accepts = NET_ACCEPTS_CSUM | NET_ACCEPTS_TSO4;
	assert_true(net_pump_receive(&p, f, make_tcp(f, 2500), &cut));
	assert_int_equal(card[0].nin, 8);
	assert_int_equal(card[0].in[7].offload.gso, NET_GSO_TCPV4);
	p.net.accepts = 0;
	/* What makes no sense, or a piece for each byte, is dropped. */
	dropped = p.rx.dropped;
	cut.gso_size = 10;
	net_pump_receive(&p, f, make_tcp(f, 2500), &cut);
	cut.gso = 7;
	net_pump_receive(&p, f, make_tcp(f, 2500), &cut);
	sum.csum_start = 5000;
	net_pump_receive(&p, f, make_tcp(f, 2500), &sum);
	assert_int_equal(p.rx.dropped, dropped + 3);
	assert_int_equal(card[0].nin, 8);
	/* The cable is out. */
	p.net.up = false;
	net_pump_receive(&p, f, 60, &none);
	assert_int_equal(card[0].nin, 8);
	p.net.up = true;
	/* The place to wait is not without end. */
	card[0].room = 0;
	for (unsigned i = 0; i < 2 * NET_BACKLOG / 60000; i++)
		assert_false(net_pump_receive(&p, f, 60000, &none));
	assert_true(p.rx.dropped > dropped + 3);
	fake_card_fini(&card[0]);
	net_pump_fini(&p);
	loop_fini(&loop);
}

/* What the switch answers to a first message; 0: it ends the connection. */
static ssize_t greet(const struct switch_hello *hello, size_t len, int *fd)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	char answer[200];

	*fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
	strcpy(addr.sun_path, path);
	assert_int_equal(connect(*fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(send(*fd, hello, len, 0), len);
	return recv(*fd, answer, sizeof(answer), 0);
}

/* The switch believes no client: names are printed for others, addresses are one card's. */
static void test_hellos(void **state)
{
	const struct switch_hello good = {
		.magic = SWITCH_MAGIC, .kind = SWITCH_PORT, .mac = {0x52, 0x54, 0, 0, 0, 1}, .name = "box"};
	struct switch_hello hello = good;
	int fd, other;

	(void)state;
	open_all();
	strcpy(hello.name, "a\", \"b");
	assert_int_equal(greet(&hello, sizeof(hello), &fd), 0);
	close(fd);
	memset(hello.name, 'a', sizeof(hello.name));
	assert_int_equal(greet(&hello, sizeof(hello), &fd), 0);
	close(fd);
	hello = good;
	hello.mac[0] = 0x53;
	assert_int_equal(greet(&hello, sizeof(hello), &fd), 0);
	close(fd);
	hello = good;
	assert_int_equal(greet(&hello, sizeof(hello) - 1, &fd), 0);
	close(fd);
	hello.magic++;
	assert_int_equal(greet(&hello, sizeof(hello), &fd), 0);
	close(fd);
	/* What is no frame is none, and the connection goes on. */
	assert_int_equal(greet(&good, sizeof(good), &fd), sizeof(good));
	for (size_t len = 1; len < sizeof(struct switch_frame) + 14; len++)
		assert_int_equal(send(fd, &good, len, 0), len);
	assert_true(greet(&good, sizeof(good), &other) > 0); /* there is one with that address */
	close(other);
	close(fd);
	stop_server(SIGTERM);
	unlink(path);
	loop_fini(&loop);
}

static unsigned link_seen;

/* The switch is killed: the link goes down, and up with the next one. */
static void test_restart(void **state)
{
	static u8 f[100];
	struct err err;

	(void)state;
	open_all();
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(plug(i, i + 1, false, &err), 0);
	fake_send(&card[0], f, make_frame(f, 2, 1, 60));
	assert_true(fake_run(&loop, &card[1].nin, 1, 5000));
	stop_server(SIGKILL);
	assert_false(fake_run(&loop, &link_seen, 1, 100));
	assert_int_equal(card[0].link, 0);
	assert_int_equal(card[1].link, 0);
	fake_send(&card[0], f, make_frame(f, 2, 1, 60)); /* is lost, and holds up nothing */
	assert_true(fake_run(&loop, &card[0].sent, 2, 1000));
	start_server();
	assert_false(fake_run(&loop, &link_seen, 1, 800));
	assert_int_equal(card[0].link, 1);
	assert_int_equal(card[1].link, 1);
	fake_send(&card[0], f, make_frame(f, 2, 1, 60));
	assert_true(fake_run(&loop, &card[1].nin, 2, 5000));
	unplug(0);
	unplug(1);
	stop_server(SIGTERM);
	assert_int_equal(plug(0, 1, false, &err), -ECONNREFUSED);
	unlink(path);
	assert_int_equal(plug(0, 1, false, &err), -ENOENT);
	loop_fini(&loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_learning, setup),
		cmocka_unit_test_setup(test_spoofing, setup),
		cmocka_unit_test_setup(test_flooding, setup),
		cmocka_unit_test_setup(test_isolation, setup),
		cmocka_unit_test_setup(test_full, setup),
		cmocka_unit_test(test_frames),
		cmocka_unit_test(test_stuck),
		cmocka_unit_test(test_hellos),
		cmocka_unit_test(test_pump),
		cmocka_unit_test(test_restart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
