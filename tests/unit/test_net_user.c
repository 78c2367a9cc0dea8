/* SPDX-License-Identifier: MIT */
/* User-mode network: a card that asks by DHCP and ARP, forwards and what may be wrong with them. */
#include "tests/unit/net_fake.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backend/net_user.h"

static const u8 mac[6] = {0x52, 0x54, 0, 1, 2, 3};

static struct vm vm;
static struct loop loop;
static struct net_pump *pump;
static struct fake_card card;

static int open_net(const struct net_user_config *config, struct err *err)
{
	struct net_place place = {.vm = &vm, .loop = &loop};
	int ret;

	memcpy(place.mac, mac, 6);
	memset(&vm, 0, sizeof(vm));
	pthread_mutex_init(&vm.lock, NULL);
	assert_int_equal(loop_init(&loop), 0);
	ret = net_user_create(&place, config, &pump, err);
	if (ret)
		loop_fini(&loop);
	else
		fake_card_init(&card, &pump->net);
	return ret;
}

static void close_net(void)
{
	fake_card_fini(&card);
	pump->net.ops->close(&pump->net);
	loop_fini(&loop);
}

static size_t dhcp_discover(u8 *f)
{
	u8 *ip = f + 14, *udp = f + 34, *bootp = f + 42;

	memset(f, 0, 342);
	memset(f, 0xff, 6);
	memcpy(f + 6, mac, 6);
	f[12] = 0x08;
	ip[0] = 0x45;
	ip[2] = 328 >> 8;
	ip[3] = 328 & 0xff;
	ip[8] = 64;
	ip[9] = IPPROTO_UDP;
	memset(ip + 16, 0xff, 4);
	*(u16 *)(ip + 10) = htons((u16)~net_fold(net_sum(ip, 20, 0)));
	udp[1] = 68;
	udp[3] = 67;
	udp[4] = 308 >> 8;
	udp[5] = 308 & 0xff;
	bootp[0] = 1;
	bootp[1] = 1;
	bootp[2] = 6;
	memcpy(bootp + 4, "abcd", 4);
	memcpy(bootp + 28, mac, 6);
	memcpy(bootp + 236, "\x63\x82\x53\x63\x35\x01\x01\xff", 8);
	return 342;
}

static void test_dhcp(void **state)
{
	const struct net_user_config config = {.hostname = "box"};
	u8 f[400];
	struct fake_frame *in;

	(void)state;
	assert_int_equal(open_net(&config, NULL), 0);
	fake_send(&card, f, dhcp_discover(f));
	assert_true(fake_run(&loop, &card.nin, 1, 5000));
	assert_int_equal(card.sent, 1);
	assert_true(card.notified >= 1);
	in = &card.in[0];
	assert_memory_equal(in->data + 42 + 4, "abcd", 4);
	assert_memory_equal(in->data + 42 + 16, "\x0a\x00\x02\x0f", 4); /* yours is 10.0.2.15 */
	assert_memory_equal(in->data + 42 + 236, "\x63\x82\x53\x63\x35\x01\x02", 7); /* an offer */
	close_net();
}

static size_t arp(u8 *f)
{
	memset(f, 0, 42);
	memset(f, 0xff, 6);
	memcpy(f + 6, mac, 6);
	memcpy(f + 12, "\x08\x06\x00\x01\x08\x00\x06\x04\x00\x01", 10);
	memcpy(f + 22, mac, 6);
	memcpy(f + 28, "\x0a\x00\x02\x0f", 4);
	memcpy(f + 38, "\x0a\x00\x02\x02", 4);
	return 42;
}

/* A driver that never stops sending does not keep the loop from others: here, from a timer. */
static void test_endless(void **state)
{
	const struct net_user_config config = {0};
	unsigned never = 0;

	(void)state;
	assert_int_equal(open_net(&config, NULL), 0);
	for (unsigned i = 0; i < FAKE_FRAMES; i++)
		card.out[i].len = 60; /* of no protocol */
	card.nout = UINT32_MAX;
	pump->net.ops->tx_ready(&pump->net);
	assert_false(fake_run(&loop, &never, 1, 20));
	assert_in_range(card.sent, 1, UINT32_MAX - 1);
	close_net();
}

/* The card has no room: nothing is lost, and it goes on when there is some. */
static void test_no_room(void **state)
{
	const struct net_user_config config = {0};
	unsigned never = 0;
	u8 f[64];

	(void)state;
	assert_int_equal(open_net(&config, NULL), 0);
	card.room = 1;
	for (unsigned i = 0; i < 10; i++)
		fake_send(&card, f, arp(f));
	assert_false(fake_run(&loop, &never, 1, 50));
	assert_int_equal(card.nin, 1);
	assert_int_equal(card.sent, 10);
	card.room = 100;
	pump->net.ops->rx_ready(&pump->net);
	assert_true(fake_run(&loop, &card.nin, 10, 5000));
	assert_memory_equal(card.in[9].data + 28, "\x0a\x00\x02\x02", 4);
	close_net();
}

/* A reset in the midst: no frame of before it is given back. */
static void test_reset(void **state)
{
	const struct net_user_config config = {0};
	u8 f[64];

	(void)state;
	assert_int_equal(open_net(&config, NULL), 0);
	fake_send(&card, f, arp(f));
	pthread_mutex_lock(&vm.lock);
	assert_true(fake_pull(&card, &pump->frames[0]));
	pump->nframes = 1;
	pump->net.ops->reset(&pump->net);
	pthread_mutex_unlock(&vm.lock);
	card.sent = 1; /* would be counted on from here */
	fake_send(&card, f, arp(f));
	assert_true(fake_run(&loop, &card.nin, 1, 5000));
	assert_int_equal(card.sent, 2);
	close_net();
}

static int listener(u16 *port)
{
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(addr);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
	*port = ntohs(addr.sin_port);
	return fd;
}

static void test_port_in_use(void **state)
{
	char text[64], number[16], *forward[] = {text};
	const struct net_user_config config = {.forward = forward, .nforwards = 1};
	struct err err;
	u16 port;
	int fd = listener(&port);

	(void)state;
	snprintf(text, sizeof(text), "tcp:%u:22", port);
	snprintf(number, sizeof(number), "port %u ", port);
	assert_int_not_equal(open_net(&config, &err), 0);
	assert_non_null(strstr(err.text, number));
	close(fd);
	assert_int_equal(open_net(&config, &err), 0);
	close_net();
}

static void test_forwards(void **state)
{
	static const char *const bad[] = {"", "tcp", "tcp:1", "tcp:1:", "tcp:0:22", "tcp:1:65536", "sctp:1:2",
		"tcp::1:2", "tcp:1.2.3.4.5:1:2", "tcp:1:2:3:4:5", "tcp:-1:2", "tcp: 1:2", "tcp:host:1:2"};
	struct net_forward forward;
	struct err err;

	(void)state;
	assert_int_equal(net_forward_parse("tcp:2222:22", &forward, &err), 0);
	assert_false(forward.udp);
	assert_int_equal(forward.host_addr, htonl(INADDR_LOOPBACK));
	assert_int_equal(forward.host_port, 2222);
	assert_int_equal(forward.guest_port, 22);
	assert_int_equal(net_forward_parse("udp:0.0.0.0:53:5353", &forward, &err), 0);
	assert_true(forward.udp);
	assert_int_equal(forward.host_addr, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		err.text[0] = 0;
		assert_int_equal(net_forward_parse(bad[i], &forward, &err), -EINVAL);
		assert_non_null(strstr(err.text, "forward"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dhcp),
		cmocka_unit_test(test_endless),
		cmocka_unit_test(test_no_room),
		cmocka_unit_test(test_reset),
		cmocka_unit_test(test_port_in_use),
		cmocka_unit_test(test_forwards),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
