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
static unsigned tx_ready, rx_ready, resets, at;
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
	resets++;
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
	at = tx_ready = rx_ready = resets = 0;
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
	wr(EERD, 0xff << 8 | 1); /* it has 64 */
	assert_int_equal(rd(EERD) >> 16, read_eeprom(63));
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
	wr(MDIC, 1u << 21 | 2 << 16 | 1u << 26 | 0xffff);
	assert_int_equal(phy(2), 0x0141); /* read-only */
	wr(MDIC, 1u << 21 | 4 << 16 | 1u << 26 | 0x123);
	assert_int_equal(phy(4), 0x123);
	wr(MDIC, 1u << 21 | 0 << 16 | 1u << 26 | 0x9340);
	assert_int_equal(phy(0), 0x1140); /* a reset is over at once */
	assert_int_equal(phy(4), 0x0de1);
	rd(ICR);
	wr(CTRL, 0);
	wr(CTRL, CTRL_SLU);
	assert_true(rd(ICR) & CAUSE_LSC);
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

static unsigned io(bool write, unsigned offset, u32 value)
{
	const struct region *ports = fn->bar[1].region;

	if (write)
		ports->ops->write(ports->dev, offset, 4, value);
	return (unsigned)ports->ops->read(ports->dev, offset, 4);
}

static void test_registers(void **state)
{
	(void)state;
	wr(TDLEN, ~0u);
	wr(TDBAL, ~0u);
	wr(TDT, ~0u);
	wr(RDH, ~0u);
	assert_int_equal(rd(TDLEN), 0xfff80);
	assert_int_equal(rd(TDBAL), 0xfffffff0);
	assert_int_equal(rd(TDT) | rd(RDH), 0xffff);
	/* Behind those that there are. */
	wr(E1000_REGS, ~0u);
	wr(E1000_MMIO_SIZE - 4, ~0u);
	assert_int_equal(rd(E1000_REGS) | rd(E1000_MMIO_SIZE - 4), 0);
	assert_int_equal(io(true, 0, ~0u), E1000_MMIO_SIZE - 1);
	assert_int_equal(io(true, 4, ~0u), 0);
	io(true, 0, VET);
	assert_int_equal(io(true, 4, 0x88a8), 0x88a8);
	assert_int_equal(rd(VET), 0x88a8);
	wr(IMS, CAUSE_LSC);
	wr(IMS, CAUSE_RXT0);
	assert_int_equal(rd(IMS), CAUSE_LSC | CAUSE_RXT0);
	/* A transmitter that is off wakes nobody. */
	wr(TCTL, 0);
	tx_ready = 0;
	wr(TDT, 0);
	assert_int_equal(tx_ready, 0);
}

static bool pull(struct net_frame *frame)
{
	return net.device->pull(net.arg, frame);
}

static void sent(const struct net_frame *frames, unsigned n)
{
	net.device->sent(net.arg, frames, n);
}

static u32 length(const struct net_frame *frame)
{
	return (u32)iov_length(frame->iov, frame->niov);
}

#define EOP 0x01000000u
#define RS 0x08000000u
#define DEXT 0x20100000u /* data */

/* Around the ring, one frame at a time. */
static void test_wraps(void **state)
{
	struct net_frame frame;

	(void)state;
	for (unsigned i = 0; i < 3 * RING; i++) {
		desc(DATA, (60 + i) | EOP | RS, 0);
		wr(TDT, at);
		assert_true(pull(&frame));
		assert_int_equal(length(&frame), 60 + i);
		assert_false(pull(&frame));
		sent(&frame, 1);
		assert_int_equal(rd(TDH), at);
		assert_true(rd(ICR) & CAUSE_TXQE);
	}
}

static void test_frame_limits(void **state)
{
	struct net_frame frame;

	(void)state;
	/* The checksum's offset lies above a legacy length; without its bit it says nothing. */
	desc(DATA, 100 | 50 << 16 | EOP, 0);
	wr(TDT, at);
	assert_true(pull(&frame));
	assert_int_equal(length(&frame), 100);
	assert_int_equal(frame.offload.flags, 0);
	sent(&frame, 1);
	desc(0, NET_FRAME_MAX | EOP | DEXT, 0);
	wr(TDT, at);
	assert_true(pull(&frame));
	assert_int_equal(length(&frame), NET_FRAME_MAX);
	sent(&frame, 1);
	/* No frames: too long, too short, nowhere. They are done with nevertheless. */
	rd(ICR);
	desc(0, (NET_FRAME_MAX + 1) | EOP | RS | DEXT, 0);
	desc(DATA, 13 | EOP | RS, 0);
	desc(GIB(8), 100 | EOP | RS, 0);
	wr(TDT, at);
	assert_false(pull(&frame));
	assert_true(done(2) && done(3) && done(4));
	assert_int_equal(rd(TDH), 5);
	assert_true(rd(ICR) & CAUSE_TXDW);
	desc(DATA, 60 | EOP, 0);
	wr(TDT, at);
	assert_true(pull(&frame));
	assert_int_equal(length(&frame), 60);
	/* Switched off in between. */
	desc(DATA, 60 | EOP, 0);
	wr(TDT, at);
	wr(TCTL, 0);
	assert_false(pull(&frame));
}

#define MANY 512u
#define MANY_RING 0x20000u

static void many_desc(unsigned i, u32 lower)
{
	u64 words[2] = {DATA + i, lower};

	memcpy(ram + MANY_RING + i * 16, words, 16);
}

static void many_ring(void)
{
	wr(TDBAL, MANY_RING);
	wr(TDLEN, MANY * 16);
	wr(TDH, 0);
}

/* A frame of more pieces than any driver makes is dropped to its end, and no further. */
static void test_many_pieces(void **state)
{
	struct net_frame frame;

	(void)state;
	many_ring();
	for (unsigned i = 0; i < 300; i++)
		many_desc(i, 1);
	many_desc(300, 1 | EOP);
	many_desc(301, 77 | EOP);
	wr(TDT, 302);
	assert_true(pull(&frame));
	assert_int_equal(length(&frame), 77);
	assert_false(pull(&frame));
}

static void test_many_frames(void **state)
{
	static struct net_frame frames[E1000_SLOTS + 1];

	(void)state;
	many_ring();
	for (unsigned i = 0; i < 100; i++)
		many_desc(i, (60 + i) | EOP | RS);
	wr(TDT, 100);
	for (unsigned i = 0; i < E1000_SLOTS; i++)
		assert_true(pull(&frames[i]));
	assert_false(pull(&frames[E1000_SLOTS]));
	sent(frames, 1);
	assert_int_equal(rd(TDH), 1);
	assert_int_equal(rd(ICR) & (CAUSE_TXQE | CAUSE_TXDW), CAUSE_TXDW);
	assert_true(pull(&frames[E1000_SLOTS]));
	assert_int_equal(length(&frames[E1000_SLOTS]), 60 + E1000_SLOTS);
	/* Another ring: what was under way is forgotten, and its start is where the head is. */
	resets = 0;
	wr(TDH, 90);
	assert_int_equal(resets, 1);
	assert_true(pull(&frames[0]));
	assert_int_equal(length(&frames[0]), 150);
	wr(CTRL, (u32)CTRL_RST);
	assert_int_equal(resets, 2);
	many_ring();
	wr(TCTL, TCTL_EN);
	wr(TDT, 1);
	assert_true(pull(&frames[0]));
	assert_int_equal(length(&frames[0]), 60);
}

struct context {
	u8 ipcss, ipcso;
	u16 ipcse;
	u8 tucss, tucso;
	u8 hdr_len;
	u16 mss;
};

static void context(struct context c, u32 kind)
{
	desc(c.ipcss | (u32)c.ipcso << 8 | (u32)c.ipcse << 16 | (u64)(c.tucss | c.tucso << 8) << 32, kind,
		(u32)c.hdr_len << 8 | (u32)c.mss << 16);
}

#define TSO_4 0x27000000u
#define TSO_6 0x25000000u
#define SUMS 0x20000000u
static const struct context tcp4 = {14, 24, 33, 34, 50, 54, 1000};

/* Contexts that point anywhere make no frame. */
static void test_wrong_segmentation(void **state)
{
	static const struct context wrong[] = {
		{14, 24, 33, 34, 50, 200, 1000}, /* a header longer than the frame */
		{35, 24, 33, 34, 50, 54, 1000},
		{14, 24, 33, 35, 50, 54, 1000},
		{14, 24, 33, 34, 53, 54, 1000},
		{14, 24, 33, 34, 32, 54, 1000}, /* the field is before what is summed */
		{14, 24, 33, 34, 50, 54, 0},
	};
	struct net_frame frame;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++) {
		context(wrong[i], TSO_4);
		desc(DATA, 150 | EOP | RS | DEXT | 1u << 26, 0x300);
		wr(TDT, at);
		if (pull(&frame))
			fail_msg("context %u makes a frame", i);
		assert_int_equal(rd(TDH), at);
	}
	/* One context does for all frames that follow. */
	context(tcp4, TSO_4);
	wr(TDT, at);
	assert_false(pull(&frame));
	for (unsigned i = 0; i < 2; i++) {
		desc(DATA, 3000 | EOP | RS | DEXT | 1u << 26, 0x300);
		wr(TDT, at);
		assert_true(pull(&frame));
		assert_int_equal(frame.offload.gso_size, 1000);
		sent(&frame, 1);
	}
}

static void test_segmentation_6(void **state)
{
	struct net_frame frame;
	u8 flat[128];

	(void)state;
	memcpy(ram + DATA + 12, "\x86\xdd\x60", 3);
	context((struct context){14, 0, 0, 54, 70, 74, 1000}, TSO_6);
	desc(DATA, 3074 | EOP | DEXT | 1u << 26, 0x200);
	wr(TDT, at);
	assert_true(pull(&frame));
	assert_int_equal(frame.offload.gso, NET_GSO_TCPV6);
	iov_to_buf(frame.iov, frame.niov, 0, flat, sizeof(flat));
	assert_int_equal(flat[18] << 8 | flat[19], 3074 - 54);
}

/* The IPv4 header's checksum alone. */
static void test_ip_checksum(void **state)
{
	static const struct context wrong[] = {
		{14, 255, 33, 0, 0, 0, 0}, /* the field is behind the frame's end */
		{14, 24, 150, 0, 0, 0, 0},
		{60, 24, 33, 0, 0, 0, 0}, /* it ends before it begins */
	};
	struct net_frame frame;
	u8 flat[128];

	(void)state;
	memcpy(ram + DATA + 14, "\x45\0\0\x28\1\2\0\0\x40\6\xff\xee\x0a\0\2\x0f\x0a\0\2\2", 20);
	context(tcp4, SUMS);
	desc(DATA, 100 | EOP | DEXT, 0x100);
	wr(TDT, at);
	assert_true(pull(&frame));
	assert_int_equal(iov_to_buf(frame.iov, frame.niov, 0, flat, sizeof(flat)), 100);
	assert_int_equal(net_fold(net_sum(flat + 14, 20, 0)), 0xffff);
	assert_int_equal(frame.offload.flags, 0);
	sent(&frame, 1);
	for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++) {
		context(wrong[i], SUMS);
		desc(DATA, 100 | EOP | DEXT, 0x100);
		wr(TDT, at);
		assert_true(pull(&frame));
		iov_to_buf(frame.iov, frame.niov, 0, flat, sizeof(flat));
		assert_memory_equal(flat, ram + DATA, 100);
		sent(&frame, 1);
	}
}

static void test_vlan_tag(void **state)
{
	struct net_frame frame;
	u8 flat[128];

	(void)state;
	for (unsigned i = 0; i < 100; i++)
		ram[DATA + i] = (u8)i;
	desc(DATA, 100 | EOP | 1u << 30, 0x1234u << 16);
	wr(TDT, at);
	assert_true(pull(&frame));
	assert_int_equal(length(&frame), 100); /* CTRL says nothing of VLANs */
	sent(&frame, 1);
	wr(CTRL, CTRL_SLU | CTRL_VME);
	context(tcp4, TSO_4);
	desc(DATA, 3000 | EOP | DEXT | 1u << 26 | 1u << 30, 0x200 | 0x1234u << 16);
	wr(TDT, at);
	assert_true(pull(&frame));
	assert_int_equal(length(&frame), 3004);
	iov_to_buf(frame.iov, frame.niov, 0, flat, sizeof(flat));
	assert_memory_equal(flat, ram + DATA, 12);
	assert_memory_equal(flat + 12, "\x81\0\x12\x34\x0c\x0d", 6);
	assert_int_equal(frame.offload.csum_start, 38);
	assert_int_equal(frame.offload.csum_offset, 16);
	assert_int_equal(frame.offload.hdr_len, 58);
	sent(&frame, 1);
	/* A checksum's field before what it is for is none. */
	wr(CTRL, CTRL_SLU);
	desc(DATA, 100 | 20 << 16 | EOP | 1u << 26, 34 << 8);
	wr(TDT, at);
	assert_true(pull(&frame));
	assert_int_equal(frame.offload.flags, 0);
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

static void test_filters(void **state)
{
	static const u8 all[6] = {255, 255, 255, 255, 255, 255}, group[6] = {1, 0, 0x5e, 0, 0x34, 0x12};
	static const u16 hash[] = {0x123, 0x246, 0x48d, 0x234};
	unsigned got = 0;

	(void)state;
	assert_true(receive(all, 100, 0));
	assert_int_equal(rd(RDH), ++got);
	wr(RCTL, RCTL_EN);
	assert_true(receive(all, 100, 0));
	assert_int_equal(rd(RDH), got);
	for (unsigned mo = 0; mo < 4; mo++) {
		wr(RCTL, RCTL_EN | mo << 12);
		assert_true(receive(group, 100, 0));
		assert_int_equal(rd(RDH), got);
		wr(MTA + hash[mo] / 32 * 4, 1u << hash[mo] % 32);
		assert_true(receive(group, 100, 0));
		assert_int_equal(rd(RDH), ++got);
		wr(MTA + hash[mo] / 32 * 4, 0);
	}
	wr(RAH, rd(RAH) & ~(u32)BIT(31)); /* not valid any more */
	assert_true(receive(net.mac, 100, 0));
	assert_int_equal(rd(RDH), got);
	/* Statistics: as many as came; read, they begin anew. */
	assert_int_equal(rd(GPRC), got);
	assert_int_equal(rd(GPRC), 0);
	assert_int_equal(rd(BPRC), 1);
	assert_int_equal(rd(MPRC), 4);
}

static bool receive_vlan(u16 tag)
{
	u8 data[100] = {0};
	struct iovec iov = {data, sizeof(data)};
	struct net_frame frame = {.iov = &iov, .niov = 1};
	u32 before = rd(RDH);

	memcpy(data, net.mac, 6);
	memcpy(data + 12, "\x81\0", 2);
	data[14] = (u8)(tag >> 8);
	data[15] = (u8)tag;
	assert_true(net.device->receive(net.arg, &frame));
	return rd(RDH) != before;
}

static void test_receives_vlan(void **state)
{
	(void)state;
	wr(RCTL, RCTL_EN | RCTL_VFE);
	assert_false(receive_vlan(0x2123));
	wr(VFTA + 0x123 / 32 * 4, 1u << 0x123 % 32);
	assert_true(receive_vlan(0x2123));
	assert_int_equal(result(0) & 0xffff, 104);
	wr(CTRL, CTRL_SLU | CTRL_VME);
	assert_true(receive_vlan(0x2123));
	assert_int_equal(result(1) & 0xffff, 100); /* without its tag, which is in the descriptor */
	assert_int_equal(result(1) >> 48, 0x2123);
	assert_int_equal(result(1) >> 32 & 0x0f, 0x0f);
}

static void test_receive_room(void **state)
{
	(void)state;
	/* The FCS needs its place, too. */
	wr(RCTL, RCTL_EN | RCTL_LPE);
	wr(RDT, 1);
	assert_true(receive(net.mac, 2044, 0));
	wr(RDT, 2);
	assert_false(receive(net.mac, 2045, 0));
	wr(RDH, 2); /* no room: nobody is woken */
	wr(RDT, 2);
	wr(RCTL, RCTL_EN | RCTL_LPE);
	assert_int_equal(rx_ready, 0);
	wr(RDH, 1);
	wr(RCTL, RCTL_EN | RCTL_LPE);
	assert_int_equal(rx_ready, 1);
	/* Who waits is woken by a reset, whose receiver is off. */
	assert_false(receive(net.mac, 2045, 0));
	wr(ICS, CAUSE_RXT0);
	wr(IMS, CAUSE_RXT0);
	assert_true(fn->intx);
	wr(CTRL, (u32)CTRL_RST);
	assert_int_equal(rx_ready, 2);
	assert_false(fn->intx);
}

static void test_receive_buffers(void **state)
{
	(void)state;
	/* A size that there is not: 2048 times 16. */
	wr(RCTL, RCTL_EN | RCTL_LPE | RCTL_BSEX);
	assert_true(receive(net.mac, 3000, 0));
	assert_int_equal(rd(RDH), 2);
	wr(RCTL, RCTL_EN | RCTL_LPE | RCTL_BSEX | 1 << 16);
	assert_true(receive(net.mac, 3000, 0));
	assert_int_equal(rd(RDH), 3);
	wr(RCTL, RCTL_EN | RCTL_LPE | 3 << 16); /* 256 */
	assert_true(receive(net.mac, 600, 0));
	assert_int_equal(rd(RDH), 6);
	wr(RCTL, RCTL_EN);
	/* Padding is zeroes, not what lies behind the frame. */
	assert_true(receive(net.mac, 30, 0));
	assert_int_equal(result(6) & 0xffff, 64);
	for (unsigned i = 30; i < 64; i++)
		assert_int_equal(ram[DATA + 0x8000 + 6 * 2048 + i], 0);
	/* A buffer that is nowhere. */
	wr(RDT, 0);
	memset(ram + RX_RING + 7 * 16, 0, 8);
	assert_true(receive(net.mac, 100, 0));
	assert_int_equal(result(7) & 0xffff, 104);
	assert_int_equal(ram[0], 0);
	/* A head outside the ring. */
	wr(RDH, 100);
	assert_false(receive(net.mac, 100, 0));
}

static void test_receive_status(void **state)
{
	(void)state;
	wr(RXCSUM, 0x300);
	assert_true(receive(net.mac, 100, 0));
	assert_int_equal(result(0) >> 32 & 0xff, 0x07); /* nobody has looked at its checksums */
	wr(RXCSUM, 0x100);
	assert_true(receive(net.mac, 100, NET_CSUM_VALID));
	assert_int_equal(result(1) >> 32 & 0xff, 0x43);
	wr(RXCSUM, 0);
	assert_true(receive(net.mac, 100, NET_CSUM_VALID));
	assert_int_equal(result(2) >> 32 & 0xff, 0x07);
	/* Half of the ring is left: the driver is told. */
	net.device->received(net.arg);
	assert_int_equal(rd(ICR) & (CAUSE_RXT0 | CAUSE_RXDMT0), CAUSE_RXT0 | CAUSE_RXDMT0);
	wr(RDT, 2);
	assert_true(receive(net.mac, 100, 0));
	net.device->received(net.arg);
	assert_int_equal(rd(ICR) & (CAUSE_RXT0 | CAUSE_RXDMT0), CAUSE_RXT0);
	/* Without leave to master the bus, nothing is stored. */
	pci_function_write(fn, 4, 2, 3);
	assert_true(receive(net.mac, 100, 0));
	assert_int_equal(rd(RDH), 4);
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
		cmocka_unit_test_setup_teardown(test_registers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_send, setup, teardown),
		cmocka_unit_test_setup_teardown(test_wraps, setup, teardown),
		cmocka_unit_test_setup_teardown(test_frame_limits, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many_pieces, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many_frames, setup, teardown),
		cmocka_unit_test_setup_teardown(test_segmentation, setup, teardown),
		cmocka_unit_test_setup_teardown(test_segmentation_6, setup, teardown),
		cmocka_unit_test_setup_teardown(test_wrong_segmentation, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ip_checksum, setup, teardown),
		cmocka_unit_test_setup_teardown(test_vlan_tag, setup, teardown),
		cmocka_unit_test_setup_teardown(test_receive, setup, teardown),
		cmocka_unit_test_setup_teardown(test_filters, setup, teardown),
		cmocka_unit_test_setup_teardown(test_receives_vlan, setup, teardown),
		cmocka_unit_test_setup_teardown(test_receive_room, setup, teardown),
		cmocka_unit_test_setup_teardown(test_receive_buffers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_receive_status, setup, teardown),
		cmocka_unit_test_setup_teardown(test_throttle, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nonsense, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
