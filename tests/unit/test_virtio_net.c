/* SPDX-License-Identifier: MIT */
/* virtio-net: frames both ways with their headers, mergeable buffers, want of room, the control queue, several pairs. */
#include "tests/unit/virtio_fake.h"

#include "dev/virtio/net.h"

#define F_CSUM BIT(0)
#define F_GUEST_CSUM BIT(1)
#define F_GUEST_TSO4 BIT(7)
#define F_HOST_TSO4 BIT(11)
#define F_MRG BIT(15)
#define F_STATUS BIT(16)
#define F_CTRL (BIT(17) | BIT(18) | BIT(19) | BIT(23))
#define F_MQ BIT(22)
#define F_OFFLOADS BIT(2)
#define F_EXTRA BIT(20)
#define ALL (F_CSUM | F_GUEST_CSUM | F_GUEST_TSO4 | F_HOST_TSO4 | F_MRG | F_STATUS | F_CTRL)
#define HEADER 12

static const u8 own_mac[6] = {0x52, 0x54, 0, 1, 2, 3};
static struct vm vm;
static struct net net;
static struct virtio *card;
static struct fake_driver driver;
static unsigned tx_ready, rx_ready, resets;

static void on_tx_ready(struct net *n)
{
	(void)n;
	tx_ready++;
}

static void on_rx_ready(struct net *n)
{
	(void)n;
	rx_ready++;
}

static void on_reset(struct net *n)
{
	(void)n;
	resets++;
}

static const struct net_ops net_ops = {.tx_ready = on_tx_ready, .rx_ready = on_rx_ready, .reset = on_reset};

static int setup(void **state)
{
	(void)state;
	fake_pc_init(&vm);
	net = (struct net){.ops = &net_ops, .lock = &vm.lock, .up = true};
	memcpy(net.mac, own_mac, 6);
	tx_ready = rx_ready = resets = 0;
	assert_int_equal(virtio_net_create(&vm, &net, 2, &card), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	card->pci.ops->free(&card->pci);
	assert_null(net.device);
	fake_vm_fini(&vm);
	return 0;
}

static void begin(u64 features)
{
	fake_ram_used = PAGE_SIZE;
	fake_driver_init(&driver, card, features);
	for (unsigned i = 0; i < (features & F_MQ ? 5 : 3); i++)
		fake_queue_init(&driver, i, 64);
	fake_driver_ready(&driver);
}

static int add_tx(unsigned queue, u32 len, u8 flags, u8 gso, u16 size)
{
	u64 gpa = fake_alloc(HEADER + len, 2);
	struct fake_buf bufs[] = {
		{gpa, HEADER}, {gpa + HEADER, len / 2}, {gpa + HEADER + len / 2, len - len / 2}};

	fake_ram[gpa] = flags;
	fake_ram[gpa + 1] = gso;
	*fake_u16(gpa + 2) = 54;
	*fake_u16(gpa + 4) = size;
	*fake_u16(gpa + 6) = 34;
	*fake_u16(gpa + 8) = 16;
	for (u32 i = 0; i < len; i++)
		fake_ram[gpa + HEADER + i] = (u8)(i * 3);
	return fake_add(&driver, queue, bufs, 3, 0);
}

static void send_frames(u64 features)
{
	struct net_frame frame[3];
	unsigned done = 0;
	u32 used;

	begin(features);
	add_tx(1, 1000, 1, 0x81, 500); /* with ECN, which we need not know */
	add_tx(1, 3, 0, 0, 0); /* no frame at all: done at once */
	add_tx(1, 60, 0, 0, 0);
	add_tx(1, NET_FRAME_MAX + 1, 0, 0, 0); /* too long */
	fake_kick(&driver, 1);
	assert_true(tx_ready);
	assert_true(net.device->pull(net.arg, &frame[0]));
	assert_true(net.device->pull(net.arg, &frame[1]));
	assert_false(net.device->pull(net.arg, &frame[2]));
	assert_int_equal(iov_length(frame[0].iov, frame[0].niov), 1000);
	assert_int_equal(((u8 *)frame[0].iov[0].iov_base)[5], 15);
	assert_int_equal(frame[0].offload.flags, NET_NEEDS_CSUM);
	assert_int_equal(frame[0].offload.gso, NET_GSO_TCPV4);
	assert_int_equal(frame[0].offload.gso_size, 500);
	assert_int_equal(frame[0].offload.csum_start, 34);
	assert_int_equal(frame[1].offload.flags, 0);
	net.device->sent(net.arg, frame, 2);
	while (fake_used(&driver, 1, &used) >= 0)
		done++;
	assert_int_equal(done, 4);
	/* It has said that it wants kicks again, else nobody would look. */
	add_tx(1, 60, 0, 0, 0);
	tx_ready = 0;
	if (features & FAKE_EVENTS && !(features & FAKE_PACKED))
		fake_kick_if_wanted(&driver, 1);
	else
		fake_kick(&driver, 1);
	assert_int_equal(tx_ready, 1);
}

static void test_send(void **state)
{
	(void)state;
	send_frames(ALL);
	send_frames(ALL | FAKE_EVENTS);
	send_frames(ALL | FAKE_PACKED | FAKE_EVENTS);
	send_frames(ALL | FAKE_INDIRECT);
}

/* Who has not asked for checksums gets none. */
static void test_send_plain(void **state)
{
	struct net_frame frame;

	(void)state;
	begin(F_STATUS);
	add_tx(1, 1000, 1, 1, 500);
	fake_kick(&driver, 1);
	assert_true(net.device->pull(net.arg, &frame));
	assert_int_equal(frame.offload.flags | frame.offload.gso, 0);
}

static u8 incoming[70000];

static bool receive(size_t len, u8 flags, u8 gso)
{
	struct iovec iov = {incoming, len};
	struct net_frame frame = {.iov = &iov,
		.niov = 1,
		.offload = {.flags = flags, .gso = gso, .gso_size = 1460, .hdr_len = 54}};

	for (size_t i = 6; i < len; i++)
		incoming[i] = (u8)(i * 5);
	memcpy(incoming, own_mac, 6);
	return net.device->receive(net.arg, &frame);
}

static u64 add_rx(unsigned queue, u32 len)
{
	struct fake_buf buf = {fake_alloc(len, 1), len};

	fake_add(&driver, queue, &buf, 0, 1);
	return buf.gpa;
}

static void test_merge(void **state)
{
	u64 at[50];
	u32 used, got = 0;

	(void)state;
	begin(ALL | FAKE_EVENTS);
	assert_int_equal(net.accepts, NET_ACCEPTS_CSUM | NET_ACCEPTS_TSO4);
	for (unsigned i = 0; i < 50; i++)
		at[i] = add_rx(0, 1500);
	fake_kick(&driver, 0);
	assert_true(receive(64000, NET_NEEDS_CSUM, NET_GSO_TCPV4));
	assert_int_equal(fake_used(&driver, 0, &used), -1); /* nothing is seen before the end of the batch */
	net.device->received(net.arg);
	assert_int_equal(fake_ram[at[0]], NET_NEEDS_CSUM);
	assert_int_equal(fake_ram[at[0] + 1], NET_GSO_TCPV4);
	assert_int_equal(*fake_u16(at[0] + 4), 1460);
	assert_int_equal(*fake_u16(at[0] + 10), 43);
	for (unsigned i = 0; i < 43; i++) {
		assert_true(fake_used(&driver, 0, &used) >= 0);
		assert_memory_equal(
			fake_ram + at[i] + (i ? 0 : HEADER), incoming + got, used - (i ? 0 : HEADER));
		got += used - (i ? 0 : HEADER);
	}
	assert_int_equal(got, 64000);
	/* Seven buffers are left: too few for another one, which waits, and takes part of it does not spoil. */
	assert_false(receive(64000, NET_NEEDS_CSUM, NET_GSO_TCPV4));
	assert_true(receive(1000, 0, 0));
	net.device->received(net.arg);
	assert_true(fake_used(&driver, 0, &used) >= 0);
	assert_int_equal(used, 1000 + HEADER);
	assert_int_equal(*fake_u16(at[43] + 10), 1);
	rx_ready = 0;
	for (unsigned i = 0; i < 40; i++)
		add_rx(0, 1500);
	fake_kick_if_wanted(&driver, 0);
	assert_int_equal(rx_ready, 1);
	assert_true(receive(64000, NET_NEEDS_CSUM, NET_GSO_TCPV4));
	/* Into those first that were in hand. */
	net.device->received(net.arg);
	assert_int_equal(*fake_u16(at[44] + 10), 43);
	assert_memory_equal(fake_ram + at[45], incoming + 1500 - HEADER, 1500);
	for (got = 0; fake_used(&driver, 0, &used) >= 0; got++)
		;
	assert_int_equal(got, 43);
}

static void give_room(void)
{
	add_rx(0, 2000);
}

/* A buffer that comes while we find that there is none. */
static void test_late_room(void **state)
{
	u32 used;

	(void)state;
	begin(ALL | FAKE_EVENTS);
	fake_come_late(virtio_queue(card, 0), give_room);
	assert_true(receive(1000, 0, 0));
	net.device->received(net.arg);
	assert_true(fake_used(&driver, 0, &used) >= 0);
}

static void test_plain_buffers(void **state)
{
	u64 at;
	u32 used;

	(void)state;
	begin(F_STATUS);
	assert_int_equal(net.accepts, 0);
	at = add_rx(0, 2000);
	add_rx(0, 100);
	fake_kick(&driver, 0);
	assert_true(receive(1514, NET_CSUM_VALID, 0));
	assert_true(receive(1514, 0, 0)); /* does not fit: lost */
	net.device->received(net.arg);
	assert_true(fake_used(&driver, 0, &used) >= 0);
	assert_int_equal(used, 1514 + HEADER);
	assert_int_equal(fake_ram[at], 0); /* not negotiated */
	assert_memory_equal(fake_ram + at + HEADER, incoming, 1514);
}

static int command(unsigned queue, u8 class, u8 code, const void *data, u32 len)
{
	u64 gpa = fake_alloc(3 + len, 1);
	struct fake_buf bufs[] = {{gpa, 2}, {gpa + 2, len}, {gpa + 2 + len, 1}};
	u32 used;

	fake_ram[gpa] = class;
	fake_ram[gpa + 1] = code;
	fake_ram[gpa + 2 + len] = 0xee;
	memcpy(fake_ram + gpa + 2, data, len);
	fake_add(&driver, queue, bufs, 2, 1);
	if (driver.features & FAKE_EVENTS)
		fake_kick_if_wanted(&driver, queue);
	else
		fake_kick(&driver, queue);
	return fake_used(&driver, queue, &used) < 0 ? -1 : fake_ram[gpa + 2 + len];
}

static void test_control(void **state)
{
	const u8 other[6] = {0x52, 0x54, 0, 9, 9, 9}, group[6] = {0x33, 0x33, 0, 0, 0, 1};
	u8 table[4 + 4 + 6] = {0, 0, 0, 0, 1};

	(void)state;
	begin(ALL | FAKE_EVENTS);
	for (unsigned i = 0; i < 10; i++)
		add_rx(0, 2000);
	fake_kick(&driver, 0);
	assert_int_equal(command(2, 0, 0, "\1", 1), 0); /* promiscuous, and off again */
	assert_int_equal(command(2, 0, 0, "\0", 1), 0);
	assert_int_equal(command(2, 0, 77, "\0", 1), 1);
	assert_int_equal(command(2, 99, 0, "\0", 1), 1);
	assert_int_equal(command(2, 1, 1, other, 6), 0);
	assert_true(receive(60, 0, 0)); /* to the address of before */
	assert_int_equal(virtio_net_counters(card)->filtered, 1);
	assert_int_equal(command(2, 1, 1, own_mac, 6), 0);
	assert_true(receive(60, 0, 0));
	assert_int_equal(virtio_net_counters(card)->filtered, 1);
	assert_int_equal(command(2, 1, 1, group, 6), 1);
	memcpy(table + 8, group, 6);
	assert_int_equal(command(2, 1, 0, table, sizeof(table)), 0);
	table[4] = 200; /* more than there are */
	assert_int_equal(command(2, 1, 0, table, sizeof(table)), 1);
	assert_int_equal(command(2, 2, 0, "\5\0", 2), 0);
	assert_int_equal(command(2, 2, 0, "\5\x10", 2), 1);
	assert_int_equal(command(2, 4, 0, "\2\0", 2), 1); /* pairs were not negotiated */
}

/* Does a frame to that address come through? */
static bool comes(const u8 *to, unsigned vlan)
{
	u64 filtered = virtio_net_counters(card)->filtered;
	struct iovec iov = {incoming, 100};
	struct net_frame frame = {.iov = &iov, .niov = 1};
	u32 used;

	memcpy(incoming, to, 6);
	memcpy(incoming + 12, vlan ? "\x81\0" : "\x08\0", 2);
	incoming[14] = (u8)(vlan >> 8);
	incoming[15] = (u8)vlan;
	add_rx(0, 2000);
	assert_true(net.device->receive(net.arg, &frame));
	net.device->received(net.arg);
	fake_used(&driver, 0, &used);
	return virtio_net_counters(card)->filtered == filtered;
}

static void test_filters(void **state)
{
	static const u8 all[6] = {255, 255, 255, 255, 255, 255}, other[6] = {0x52, 0x54, 0, 9, 9, 9},
			group[6] = {0x33, 0x33, 0, 0, 0, 1};
	u8 table[8 + 65 * 6] = {0, 0, 0, 0, 65};
	u64 gpa;
	u32 used;

	(void)state;
	begin(ALL | F_EXTRA);
	assert_true(comes(all, 0) && comes(own_mac, 0));
	assert_false(comes(other, 0) || comes(group, 0));
	assert_int_equal(command(2, 0, 5, "\1", 1), 0); /* no broadcasts */
	assert_false(comes(all, 0));
	assert_int_equal(command(2, 0, 5, "\0", 1), 0);
	assert_int_equal(command(2, 0, 2, "\1", 1), 0); /* all to one */
	assert_true(comes(other, 0));
	assert_int_equal(command(2, 0, 2, "\0", 1), 0);
	assert_false(comes(other, 0));
	/* More groups than the table holds: all of them. */
	for (unsigned i = 0; i < 65; i++)
		memcpy(table + 8 + 6 * i, (u8[6]){1, 0, 0, 0, 0, (u8)i}, 6);
	assert_int_equal(command(2, 1, 0, table, sizeof(table)), 0);
	assert_true(comes(group, 0));
	table[4] = 64;
	assert_int_equal(command(2, 1, 0, table, sizeof(table) - 6), 0);
	assert_false(comes(group, 0));
	assert_true(comes(table + 8 + 6 * 63, 0));
	assert_int_equal(command(2, 1, 1, other, 5), 1);
	/* VLANs, each by itself */
	for (unsigned vlan = 1; vlan < 4096; vlan = vlan * 2 + 1) {
		const u8 id[2] = {(u8)vlan, (u8)(vlan >> 8)};

		assert_false(comes(own_mac, vlan));
		assert_int_equal(command(2, 2, 0, id, 2), 0);
		assert_true(comes(own_mac, vlan | 0xe000));
		assert_false(comes(own_mac, vlan - 1 ? vlan - 1 : 4094));
		assert_int_equal(command(2, 2, 1, id, 2), 0);
	}
	assert_int_equal(command(2, 2, 0, "\5\0", 2), 0);
	/* A command of one byte is none. */
	gpa = fake_alloc(2, 1);
	fake_add(&driver, 2, (struct fake_buf[]){{gpa, 1}, {gpa + 1, 1}}, 1, 1);
	fake_kick(&driver, 2);
	assert_true(fake_used(&driver, 2, &used) >= 0);
	assert_int_equal(fake_ram[gpa + 1], 1);
	/* After a reset, all is as it was. */
	begin(ALL | F_EXTRA);
	assert_false(comes(own_mac, 5));
}

static void test_offloads(void **state)
{
	const u64 wanted = F_GUEST_CSUM | F_GUEST_TSO4;

	(void)state;
	begin(F_CTRL | F_OFFLOADS | F_GUEST_CSUM);
	assert_int_equal(net.accepts, NET_ACCEPTS_CSUM);
	assert_int_equal(command(2, 5, 0, "\0\0\0\0\0\0\0\0", 8), 0);
	assert_int_equal(net.accepts, 0);
	assert_int_equal(command(2, 5, 0, &wanted, 8), 0);
	assert_int_equal(net.accepts, NET_ACCEPTS_CSUM); /* not what was never negotiated */
	assert_int_equal(command(2, 5, 0, &wanted, 7), 1);
}

static void test_pairs(void **state)
{
	struct net_frame frame, both[2];
	u32 used;

	(void)state;
	begin(ALL | F_MQ);
	assert_int_equal(command(4, 4, 0, "\3\0", 2), 1);
	assert_int_equal(command(4, 4, 0, "\0\0", 2), 1);
	assert_int_equal(command(4, 4, 0, "\2\0", 2), 0);
	add_tx(3, 100, 0, 0, 0);
	add_tx(1, 100, 0, 0, 0);
	fake_kick(&driver, 3);
	for (unsigned i = 0; i < 2; i++) {
		assert_true(net.device->pull(net.arg, &frame));
		net.device->sent(net.arg, &frame, 1);
	}
	assert_true(fake_used(&driver, 1, &used) >= 0);
	assert_true(fake_used(&driver, 3, &used) >= 0);
	/* Both at once: both are told. */
	for (unsigned i = 0; i < 2; i++) {
		add_tx(1 + 2 * i, 100, 0, 0, 0);
		fake_kick(&driver, 1 + 2 * i);
	}
	for (unsigned i = 0; i < 2; i++)
		assert_true(net.device->pull(net.arg, &both[i]));
	net.device->sent(net.arg, both, 2);
	assert_true(fake_used(&driver, 1, &used) >= 0);
	assert_true(fake_used(&driver, 3, &used) >= 0);
	/* What was kicked before its pair went out of use is found when it comes back. */
	add_tx(3, 100, 0, 0, 0);
	fake_kick(&driver, 3);
	assert_int_equal(command(4, 4, 0, "\1\0", 2), 0);
	assert_false(net.device->pull(net.arg, &frame));
	tx_ready = 0;
	assert_int_equal(command(4, 4, 0, "\2\0", 2), 0);
	assert_int_equal(tx_ready, 1);
	assert_true(net.device->pull(net.arg, &frame));
}

static void test_link_and_reset(void **state)
{
	struct net_frame frame;

	(void)state;
	begin(ALL | BIT(21));
	assert_int_equal(card->config[6], 1);
	net.device->link(net.arg, net.up = false);
	assert_int_equal(card->config[6], 0);
	net.device->link(net.arg, net.up = true);
	assert_int_equal(card->config[6], 3); /* up, and: announce yourself */
	assert_int_equal(command(2, 3, 0, "", 0), 0);
	assert_int_equal(card->config[6], 1);
	add_tx(1, 100, 0, 0, 0);
	fake_kick(&driver, 1);
	assert_true(net.device->pull(net.arg, &frame));
	assert_false(receive(60, 0, 0));
	resets = rx_ready = 0;
	fake_write(&driver, VIRTIO_STATUS, 1, 0);
	assert_true(resets >= 1);
	assert_int_equal(rx_ready, 1);
	assert_int_equal(net.accepts, 0);
	assert_true(receive(60, 0, 0)); /* nobody is there: it is lost */
	assert_false(net.device->pull(net.arg, &frame));
}

/* Buffers that were in hand at a reset are the guest's again. */
static void test_reset_in_hand(void **state)
{
	u64 old, at;
	u32 used;

	(void)state;
	begin(ALL);
	old = add_rx(0, 100);
	assert_false(receive(1000, 0, 0));
	begin(ALL);
	memset(fake_ram + old, 0x5a, 100);
	fake_ram_used = MIB(1);
	at = add_rx(0, 2000);
	assert_true(receive(1000, 0, 0));
	net.device->received(net.arg);
	assert_true(fake_used(&driver, 0, &used) >= 0);
	assert_int_equal(used, 1000 + HEADER);
	assert_int_equal(*fake_u16(at + 10), 1);
	assert_memory_equal(fake_ram + at + HEADER, incoming, 1000);
	assert_true(fake_used(&driver, 0, &used) < 0);
	assert_int_equal(fake_ram[old], 0x5a);
}

/* A pair that is out of use receives no more, whatever it sent before. */
static void test_fewer_pairs(void **state)
{
	struct net_frame frame;
	u32 used;

	(void)state;
	card->pci.ops->free(&card->pci);
	assert_int_equal(virtio_net_create(&vm, &net, 3, &card), 0);
	fake_ram_used = PAGE_SIZE;
	fake_driver_init(&driver, card, ALL | F_MQ);
	for (unsigned i = 0; i < 7; i++)
		fake_queue_init(&driver, i, 64);
	fake_driver_ready(&driver);
	assert_int_equal(command(6, 4, 0, "\3\0", 2), 0);
	add_tx(5, 100, 0, 0, 0);
	fake_kick(&driver, 5);
	assert_true(net.device->pull(net.arg, &frame));
	net.device->sent(net.arg, &frame, 1);
	for (unsigned i = 0; i < 6; i += 2)
		add_rx(i, 2000);
	assert_true(receive(100, 0, 0));
	net.device->received(net.arg);
	assert_true(fake_used(&driver, 4, &used) >= 0);
	assert_int_equal(command(6, 4, 0, "\2\0", 2), 0);
	add_rx(4, 2000);
	assert_true(receive(100, 0, 0));
	net.device->received(net.arg);
	assert_true(fake_used(&driver, 4, &used) < 0);
	assert_true(fake_used(&driver, 0, &used) >= 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_send, setup, teardown),
		cmocka_unit_test_setup_teardown(test_send_plain, setup, teardown),
		cmocka_unit_test_setup_teardown(test_merge, setup, teardown),
		cmocka_unit_test_setup_teardown(test_late_room, setup, teardown),
		cmocka_unit_test_setup_teardown(test_plain_buffers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_control, setup, teardown),
		cmocka_unit_test_setup_teardown(test_filters, setup, teardown),
		cmocka_unit_test_setup_teardown(test_offloads, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pairs, setup, teardown),
		cmocka_unit_test_setup_teardown(test_link_and_reset, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reset_in_hand, setup, teardown),
		cmocka_unit_test_setup_teardown(test_fewer_pairs, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
