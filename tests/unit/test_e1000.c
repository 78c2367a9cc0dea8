/* SPDX-License-Identifier: MIT */
/* The e1000 as its driver sees it: EEPROM, PHY, both rings, filters, interrupts and their throttling. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backend/net_offload.h"
#include "dev/e1000_internal.h"
#include "dev/pci/host.h"
#include "host/iov.h"

#define RAM MIB(1)
#define TX_RING 0x1000
#define RX_RING 0x2000
#define RING 8u
#define DATA 0x10000u

static _Alignas(4096) u8 ram[RAM];
static const struct engine_ops engine = {.name = "fake"};
static struct region ram_region;
static struct vm vm;
static struct pci_host *host;
static struct pci_function *fn;
static struct net net;
static unsigned tx_ready, rx_ready, at;
static u64 ns;

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
}

static const struct net_ops net_ops = {.tx_ready = on_tx_ready, .rx_ready = on_rx_ready, .reset = on_reset};

static u64 fake_now(struct clock *clock)
{
	(void)clock;
	return ns;
}

static void wr(u32 offset, u32 value)
{
	fn->bar[0].region->ops->write(fn->bar[0].region->dev, offset, 4, value);
}

static u32 rd(u32 offset)
{
	return (u32)fn->bar[0].region->ops->read(fn->bar[0].region->dev, offset, 4);
}

static int setup(void **state)
{
	const struct pci_wiring wiring = {0};

	(void)state;
	memset(ram, 0, sizeof(ram));
	ns = 1000000000;
	at = tx_ready = rx_ready = 0;
	assert_int_equal(vm_init(&vm, "test", &engine, 1), 0);
	vm.clock.now = fake_now;
	ram_region = (struct region){
		.name = "ram", .size = RAM, .host = ram, .direct = DIRECT_READ | DIRECT_WRITE};
	assert_int_equal(space_add(&vm.mem, &ram_region), 0);
	net = (struct net){.ops = &net_ops, .lock = &vm.lock, .up = true, .mac = {0x52, 0x54, 0, 1, 2, 3}};
	assert_int_equal(pci_host_create(&vm, &wiring, &host), 0);
	assert_int_equal(e1000_create(&vm, &net, NULL, 0, &fn), 0);
	assert_int_equal(pci_plug(host, fn, PCI_ANY), 0);
	pci_function_write(fn, 4, 2, 7);
	wr(CTRL, CTRL_SLU);
	wr(TDBAL, TX_RING);
	wr(TDLEN, RING * 16);
	wr(TCTL, TCTL_EN);
	wr(RDBAL, RX_RING);
	wr(RDLEN, RING * 16);
	for (unsigned i = 0; i < RING; i++)
		*(u64 *)(ram + RX_RING + i * 16) = DATA + 0x8000 + i * 2048;
	wr(RDT, RING - 1);
	wr(RCTL, RCTL_EN | RCTL_BAM);
	rd(ICR);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	vm_fini(&vm);
	assert_null(net.device);
	return 0;
}

static u16 read_eeprom(unsigned word)
{
	u32 command = 6u << 6 | word;
	u16 value = 0;

	wr(EECD, 0x40);
	assert_true(rd(EECD) & 0x80);
	wr(EECD, 0x42);
	for (int i = 8; i >= 0; i--) {
		u32 in = command >> i & 1 ? 4 : 0;

		wr(EECD, 0x42 | in);
		wr(EECD, 0x43 | in);
		wr(EECD, 0x42 | in);
	}
	for (unsigned i = 0; i < 16; i++) {
		wr(EECD, 0x43);
		value = (u16)(value << 1 | !!(rd(EECD) & 8));
		wr(EECD, 0x42);
	}
	wr(EECD, 0x40);
	return value;
}

static void test_eeprom(void **state)
{
	u16 sum = 0;

	(void)state;
	assert_int_equal(read_eeprom(0), 0x5452);
	assert_int_equal(read_eeprom(2), 0x0302);
	for (unsigned i = 0; i < 64; i++) {
		wr(EERD, i << 8 | 1);
		assert_true(rd(EERD) & 0x10);
		assert_int_equal(rd(EERD) >> 16, read_eeprom(i));
		sum = (u16)(sum + read_eeprom(i));
	}
	assert_int_equal(sum, 0xbaba);
}

static u16 phy(unsigned reg)
{
	wr(MDIC, 1u << 21 | reg << 16 | 1u << 27);
	assert_true(rd(MDIC) & 1u << 28);
	return (u16)rd(MDIC);
}

static void test_phy_and_link(void **state)
{
	(void)state;
	assert_int_equal(phy(2), 0x0141);
	assert_int_equal(phy(3), 0x0c20);
	assert_true(phy(1) & 4);
	assert_true(rd(STATUS) & STATUS_LU);
	wr(MDIC, 2u << 21 | 1u << 27);
	assert_true(rd(MDIC) & 1u << 30); /* no such PHY */
	wr(IMS, CAUSE_LSC);
	net.device->link(net.arg, net.up = false);
	assert_true(fn->intx);
	assert_int_equal(rd(ICR), CAUSE_LSC);
	assert_false(fn->intx);
	assert_false(rd(STATUS) & STATUS_LU);
	assert_false(phy(1) & 4);
}

static void desc(u64 addr, u32 lower, u32 upper)
{
	memcpy(ram + TX_RING + at * 16, &addr, 8);
	memcpy(ram + TX_RING + at * 16 + 8, &lower, 4);
	memcpy(ram + TX_RING + at * 16 + 12, &upper, 4);
	at = (at + 1) % RING;
}

static u8 done(unsigned i)
{
	return ram[TX_RING + i * 16 + 12] & 1;
}

static void test_send(void **state)
{
	struct net_frame frame;

	(void)state;
	for (unsigned i = 0; i < 300; i++)
		ram[DATA + i] = (u8)i;
	desc(DATA, 100, 0);
	wr(TDT, at);
	assert_int_equal(tx_ready, 2); /* TCTL, and this */
	assert_false(net.device->pull(net.arg, &frame)); /* half a frame */
	desc(DATA + 200, 50 | 0x09000000, 0);
	wr(TDT, at);
	assert_true(net.device->pull(net.arg, &frame));
	assert_int_equal(iov_length(frame.iov, frame.niov), 150);
	assert_int_equal(((u8 *)frame.iov[1].iov_base)[0], 200);
	assert_false(net.device->pull(net.arg, &frame));
	assert_false(done(1));
	wr(IMS, CAUSE_TXDW);
	net.device->sent(net.arg, &(struct net_frame){.token = frame.token}, 1);
	assert_true(done(1) && !done(0));
	assert_int_equal(rd(TDH), 2);
	assert_true(fn->intx);
	assert_true(rd(ICR) & CAUSE_TXDW);
	/* Nothing comes through when the command register forbids it. */
	desc(DATA, 100 | 0x09000000, 0);
	wr(TDT, at);
	pci_function_write(fn, 4, 2, 3);
	assert_false(net.device->pull(net.arg, &frame));
	tx_ready = 0;
	pci_function_write(fn, 4, 2, 7);
	assert_int_equal(tx_ready, 1);
	assert_true(net.device->pull(net.arg, &frame));
	pci_function_write(fn, 4, 2, 3);
	net.device->sent(net.arg, &(struct net_frame){.token = frame.token}, 1);
	assert_false(done(2));
}

/* Segmentation: a context as Linux writes it, and a header whose lengths are for the card to fill in. */
static void test_segmentation(void **state)
{
	static u8 flat[8192], piece[8192];
	struct net_cutter cutter;
	struct net_frame frame;
	unsigned pieces = 0;
	size_t len;

	(void)state;
	memcpy(ram + DATA + 12, "\x08\x00\x45\x00\x00\x00", 6);
	ram[DATA + 22] = 64;
	ram[DATA + 23] = 6;
	memcpy(ram + DATA + 26, "\x0a\x00\x02\x0f\x0a\x00\x02\x02", 8);
	ram[DATA + 46] = 5 << 4;
	{ /* the pseudo header's sum, without the length */
		u16 sum = net_fold(net_sum(ram + DATA + 26, 8, net_sum("\0\6", 2, 0)));

		ram[DATA + 50] = (u8)(sum >> 8);
		ram[DATA + 51] = (u8)sum;
	}
	desc(14 | 24 << 8 | 33 << 16 | (u64)(34 | 50 << 8) << 32, 0x27000000 | 5000, 54 << 8 | 1000u << 16);
	desc(DATA, 54 | 0x24100000, 0x300);
	desc(DATA + 54, 5000 | 0x2d100000, 0x300);
	wr(TDT, at);
	assert_true(net.device->pull(net.arg, &frame));
	assert_int_equal(frame.offload.gso, NET_GSO_TCPV4);
	assert_int_equal(frame.offload.gso_size, 1000);
	len = iov_to_buf(frame.iov, frame.niov, 0, flat, sizeof(flat));
	assert_int_equal(len, 5054);
	assert_int_equal(flat[16] << 8 | flat[17], 5040);
	assert_int_equal(net_fold(net_sum(flat + 14, 20, 0)), 0xffff);
	/* Its checksum, once completed, is right for the whole; and for each piece. */
	assert_true(net_csum_complete(flat, len, &frame.offload));
	net_parse(flat, len, &cutter.h);
	assert_int_equal(
		net_fold(net_sum(flat + 34, len - 34, net_pseudo_sum(flat, &cutter.h, len - 34))), 0xffff);
	assert_true(net_cut_tcp(&cutter, flat, len, 1000));
	while (net_cut_next(&cutter, piece))
		pieces++;
	assert_int_equal(pieces, 5);
}

static bool receive(const u8 *to, size_t len, u8 flags)
{
	static u8 data[4096];
	struct iovec iov = {data, len};
	struct net_frame frame = {.iov = &iov, .niov = 1, .offload.flags = flags};

	memset(data, 0xab, sizeof(data));
	memcpy(data, to, 6);
	memcpy(data + 12, "\x08\x00\x45\x00\x00\x30", 6);
	data[20] = data[21] = 0;
	data[23] = 6;
	data[46] = 5 << 4;
	return net.device->receive(net.arg, &frame);
}

static u64 result(unsigned i)
{
	return *(u64 *)(ram + RX_RING + i * 16 + 8);
}

static void test_receive(void **state)
{
	static const u8 other[6] = {0x52, 0x54, 0, 9, 9, 9};

	(void)state;
	wr(RXCSUM, 0x300);
	wr(IMS, CAUSE_RXT0);
	assert_true(receive(net.mac, 100, NET_CSUM_VALID));
	assert_int_equal(result(0) & 0xffff, 104); /* the FCS counts */
	assert_int_equal(result(0) >> 32 & 0xff, 0x63);
	assert_memory_equal(ram + DATA + 0x8000, net.mac, 6);
	assert_false(fn->intx);
	net.device->received(net.arg);
	assert_true(fn->intx);
	assert_true(rd(ICR) & CAUSE_RXT0);
	/* Not for us: dropped. To anybody, once it is said so. */
	assert_true(receive(other, 100, 0));
	assert_int_equal(rd(RDH), 1);
	wr(RCTL, RCTL_EN | RCTL_UPE | RCTL_SECRC);
	assert_true(receive(other, 30, 0));
	assert_int_equal(result(1) & 0xffff, 60); /* padded */
	assert_int_equal(result(1) >> 32 & 0xff, 0x07); /* checksums not looked at */
	/* Long frames only when allowed; then over several buffers. */
	assert_true(receive(other, 3000, 0));
	assert_int_equal(rd(RDH), 2);
	wr(RCTL, RCTL_EN | RCTL_UPE | RCTL_SECRC | RCTL_LPE);
	assert_true(receive(other, 3000, 0));
	assert_int_equal(result(2) >> 32 & 3, 1);
	assert_int_equal(result(3) >> 32 & 3, 3);
	assert_int_equal((result(2) & 0xffff) + (result(3) & 0xffff), 3000);
	/* The ring is full: it waits until the driver gives buffers. */
	for (unsigned i = 0; i < 3; i++)
		assert_true(receive(other, 100, 0));
	assert_false(receive(other, 100, 0));
	assert_int_equal(rx_ready, 0);
	wr(RDT, 3);
	assert_int_equal(rx_ready, 1);
	assert_true(receive(other, 100, 0));
}

static void test_throttle(void **state)
{
	(void)state;
	wr(ITR, 1000); /* 256 us */
	wr(IMS, CAUSE_RXT0);
	wr(ICS, CAUSE_RXT0);
	assert_true(fn->intx);
	rd(ICR);
	wr(ICS, CAUSE_RXT0);
	assert_false(fn->intx);
	ns += 255000;
	clock_run(&vm.clock);
	assert_false(fn->intx);
	ns += 1000;
	clock_run(&vm.clock);
	assert_true(fn->intx);
	wr(IMC, CAUSE_RXT0);
	assert_false(fn->intx);
}

/* Rings that are nonsense harm nobody. */
static void test_nonsense(void **state)
{
	struct net_frame frame;

	(void)state;
	wr(TDBAL, 0xfffffff0);
	wr(TDLEN, 0xfffff);
	wr(TDT, 0xffff);
	while (net.device->pull(net.arg, &frame))
		;
	wr(TDLEN, 0);
	wr(TDT, 5);
	assert_false(net.device->pull(net.arg, &frame));
	wr(RDLEN, 0);
	assert_false(receive(net.mac, 100, 0));
	wr(CTRL, (u32)CTRL_RST);
	assert_int_equal(rd(RDLEN), 0);
	assert_true(receive(net.mac, 100, 0)); /* nobody is there */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_eeprom, setup, teardown),
		cmocka_unit_test_setup_teardown(test_phy_and_link, setup, teardown),
		cmocka_unit_test_setup_teardown(test_send, setup, teardown),
		cmocka_unit_test_setup_teardown(test_segmentation, setup, teardown),
		cmocka_unit_test_setup_teardown(test_receive, setup, teardown),
		cmocka_unit_test_setup_teardown(test_throttle, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nonsense, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
