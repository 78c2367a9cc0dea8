/* SPDX-License-Identifier: MIT */
/* Checksums against a plain implementation, cutting against its definition, and the MSS in SYNs. */
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backend/net_offload.h"

static u8 frame[NET_FRAME_MAX], piece[NET_FRAME_MAX + 64], whole[NET_FRAME_MAX];

/* By the book: big-endian words, carries folded in. */
static u16 plain_sum(const u8 *data, size_t len, u32 sum)
{
	for (size_t i = 0; i < len; i++)
		sum += i & 1 ? data[i] : (u32)data[i] << 8;
	while (sum >> 16)
		sum = (sum >> 16) + (sum & 0xffff);
	return (u16)sum;
}

static u16 be16(const u8 *p)
{
	return (u16)(p[0] << 8 | p[1]);
}

static void set16(u8 *p, unsigned v)
{
	p[0] = (u8)(v >> 8);
	p[1] = (u8)v;
}

static void test_sum(void **state)
{
	(void)state;
	srand(1);
	for (unsigned i = 0; i < sizeof(frame); i++)
		frame[i] = (u8)rand();
	for (unsigned i = 0; i < 2000; i++) {
		unsigned start = (unsigned)rand() % 64, len = (unsigned)rand() % 3000;

		assert_int_equal(net_fold(net_sum(frame + start, len, 0)), plain_sum(frame + start, len, 0));
	}
	memset(whole, 0xff, sizeof(whole));
	assert_int_equal(net_fold(net_sum(whole, 65536, 0)), 0xffff);
}

/* A TCP frame with n bytes of data; IPv6 if so; returns its length. */
static size_t make_tcp(unsigned n, bool six, u8 flags)
{
	unsigned l3 = 14, l4 = l3 + (six ? 40 : 20), total = l4 + 24 + n;

	memset(frame, 0, l4 + 24);
	set16(frame + 12, six ? 0x86dd : 0x0800);
	if (six) {
		frame[l3] = 0x60;
		set16(frame + l3 + 4, total - l4);
		frame[l3 + 6] = IPPROTO_TCP;
		memset(frame + l3 + 8, 0x11, 16);
		memset(frame + l3 + 24, 0x22, 16);
	} else {
		frame[l3] = 0x45;
		set16(frame + l3 + 2, total - l3);
		set16(frame + l3 + 4, 0xfffe);
		frame[l3 + 8] = 64;
		frame[l3 + 9] = IPPROTO_TCP;
		memcpy(frame + l3 + 12, "\x0a\x00\x02\x0f\x0a\x00\x02\x02", 8);
	}
	set16(frame + l4, 40000);
	set16(frame + l4 + 2, 80);
	memcpy(frame + l4 + 4, "\xff\xff\xff\xf0", 4);
	frame[l4 + 12] = 6 << 4;
	frame[l4 + 13] = flags;
	memcpy(frame + l4 + 20, "\x02\x04\x05\xb4", 4); /* MSS 1460 */
	for (unsigned i = 0; i < n; i++)
		frame[l4 + 24 + i] = (u8)(i * 7 + i / 256);
	return total;
}

/* Is the TCP checksum right, by the plain sum? */
static bool tcp_right(const u8 *f, size_t len)
{
	bool six = be16(f + 12) == 0x86dd;
	unsigned l4 = six ? 54 : 34;
	u32 sum = (u32)(len - l4) + IPPROTO_TCP;

	sum += six ? plain_sum(f + 22, 32, 0) : plain_sum(f + 26, 8, 0);
	return plain_sum(f + l4, len - l4, sum) == 0xffff;
}

static void test_complete(void **state)
{
	struct net_offload offload;
	struct net_headers h;
	size_t len;

	(void)state;
	for (unsigned six = 0; six < 2; six++) {
		len = make_tcp(1001, six, 0x18);
		net_parse(frame, len, &h);
		assert_int_equal(h.version, six ? 6 : 4);
		assert_int_equal(h.payload, h.l4 + 24);
		set16(frame + h.l4 + 16, net_fold(net_pseudo_sum(frame, &h, len - h.l4)));
		offload = (struct net_offload){
			.flags = NET_NEEDS_CSUM, .csum_start = (u16)h.l4, .csum_offset = 16};
		assert_true(net_csum_complete(frame, len, &offload));
		assert_true(tcp_right(frame, len));
		assert_int_equal(offload.flags, NET_CSUM_VALID);
	}
	/* Places that are not in the frame. */
	offload = (struct net_offload){.flags = NET_NEEDS_CSUM, .csum_start = 100, .csum_offset = 65535};
	assert_false(net_csum_complete(frame, 200, &offload));
	offload = (struct net_offload){.flags = NET_NEEDS_CSUM, .csum_start = 200, .csum_offset = 0};
	assert_false(net_csum_complete(frame, 200, &offload));
	offload.csum_start = 199;
	assert_false(net_csum_complete(frame, 200, &offload));
}

static void cut(bool six, unsigned n, u16 mss)
{
	size_t len = make_tcp(n, six, 0x80 | 0x19), size, got = 0;
	unsigned header = six ? 78 : 58, l4 = header - 24, count = 0;
	struct net_cutter cutter;

	assert_true(net_cut_tcp(&cutter, frame, len, mss));
	while ((size = net_cut_next(&cutter, piece))) {
		u32 seq = (u32)be16(piece + l4 + 4) << 16 | be16(piece + l4 + 6);
		bool last = got + size - header == n;

		assert_int_equal(seq, (u32)(0xfffffff0u + got));
		assert_true(last || size - header == mss);
		assert_int_equal(piece[l4 + 13], (got ? 0 : 0x80) | (last ? 0x19 : 0x10));
		assert_true(tcp_right(piece, size));
		if (six) {
			assert_int_equal(be16(piece + 18), size - l4);
		} else {
			assert_int_equal(be16(piece + 16), size - 14);
			assert_int_equal(be16(piece + 18), (u16)(0xfffe + count));
			assert_int_equal(plain_sum(piece + 14, 20, 0), 0xffff);
		}
		memcpy(whole + got, piece + header, size - header);
		got += size - header;
		count++;
	}
	assert_int_equal(got, n);
	assert_int_equal(count, (n + mss - 1) / mss);
	assert_memory_equal(whole, frame + header, n);
}

static void test_segments(void **state)
{
	struct net_cutter cutter;
	size_t len;

	(void)state;
	for (unsigned six = 0; six < 2; six++) {
		cut(six, 1460, 1460);
		cut(six, 1461, 1460);
		cut(six, 64000, 1460);
		cut(six, 65400, 535);
		cut(six, 7, 1);
	}
	len = make_tcp(100, false, 0);
	assert_false(net_cut_tcp(&cutter, frame, len, 0));
	frame[23] = IPPROTO_UDP;
	assert_false(net_cut_tcp(&cutter, frame, len, 1000));
	/* Every truncation is refused or cut, never more than that. */
	for (len = make_tcp(100, false, 0); len; len--) {
		if (net_cut_tcp(&cutter, frame, len, 10)) {
			while (net_cut_next(&cutter, piece))
				;
		}
	}
}

static void test_fragments(void **state)
{
	size_t len = make_tcp(5000, false, 0), size, got = 0;
	struct net_cutter cutter;

	(void)state;
	assert_true(net_cut_ip(&cutter, frame, len, 1500));
	while ((size = net_cut_next(&cutter, piece))) {
		unsigned at = be16(piece + 20);

		assert_true(size <= 1514);
		assert_int_equal((at & 0x1fff) * 8, got);
		assert_int_equal(at >> 13, got + size - 34 == len - 34 ? 0 : 1);
		assert_int_equal(plain_sum(piece + 14, 20, 0), 0xffff);
		memcpy(whole + got, piece + 34, size - 34);
		got += size - 34;
	}
	assert_int_equal(got, len - 34);
	assert_memory_equal(whole, frame + 34, got);
	assert_false(net_cut_ip(&cutter, piece, 600, 100)); /* the last piece is a fragment */
}

static void test_mss(void **state)
{
	const struct net_offload none = {0};
	struct net_headers h;
	size_t len;

	(void)state;
	for (unsigned odd = 0; odd < 2; odd++) {
		len = make_tcp(0, false, 2);
		if (odd) /* NOP, MSS, and one byte less of what follows */
			memcpy(frame + 54, "\x01\x02\x04\x05", 4), len += 4,
				frame[58] = 0xb4, frame[46] = 7 << 4, set16(frame + 16, (unsigned)len - 14),
				memset(frame + 59, 0, 3);
		net_parse(frame, len, &h);
		set16(frame + h.l4 + 16, 0);
		set16(frame + h.l4 + 16, (u16)~net_fold(net_sum(frame + h.l4, len - h.l4,
						 net_pseudo_sum(frame, &h, len - h.l4))));
		assert_true(tcp_right(frame, len));
		assert_int_equal(net_syn_mss(frame, len, 0, &none), 1460);
		assert_int_equal(net_syn_mss(frame, len, 16060, &none), 1460);
		assert_int_equal(net_syn_mss(frame, len, 0, &none), 16060);
		assert_true(tcp_right(frame, len));
	}
	make_tcp(0, false, 0x10);
	assert_int_equal(net_syn_mss(frame, len, 16060, &none), 0);
	/* Options that lie about their length. */
	len = make_tcp(0, false, 2);
	for (unsigned i = 0; i < 256; i++) {
		frame[55] = (u8)i;
		net_syn_mss(frame, len, 16060, &none);
	}
}

/* A frame cut off at any place, in memory that ends where it does. */
static void use_all(const u8 *from, size_t len)
{
	struct net_offload offload = {.flags = NET_NEEDS_CSUM, .csum_start = 34, .csum_offset = 16};
	u8 *exact = malloc(MAX(len, (size_t)1));
	struct net_cutter cutter;
	struct net_headers h;

	memcpy(exact, from, len);
	net_parse(exact, len, &h);
	assert_true(h.payload <= len && h.l4 >= (h.version ? h.l3 + 20 : 0));
	if (h.payload && h.protocol == IPPROTO_TCP)
		assert_true(h.payload >= h.l4 + 20);
	net_flow_hash(exact, &h);
	if (net_cut_tcp(&cutter, exact, len, 100))
		while (net_cut_next(&cutter, piece))
			;
	if (net_cut_ip(&cutter, exact, len, 100))
		while (net_cut_next(&cutter, piece))
			;
	net_syn_mss(exact, len, 16060, &offload);
	assert_int_equal(net_csum_complete(exact, len, &offload), len >= 52);
	free(exact);
}

static void test_cut_off(void **state)
{
	static u8 tagged[200];

	(void)state;
	for (unsigned kind = 0; kind < 256; kind++) {
		size_t len = make_tcp(40, kind & 1, 2);
		unsigned l4 = kind & 1 ? 54 : 34;

		if (kind & 2)
			frame[kind & 1 ? 20 : 23] = IPPROTO_UDP;
		if (kind & 4)
			frame[14] = kind & 1 ? 0x40 : 0x4f; /* the longest header, or the wrong version */
		if (kind & 8)
			frame[14] = 0x42; /* too short a header */
		frame[l4 + 12] = (u8)(kind & 0xf0); /* all lengths of TCP's header */
		for (size_t n = 0; n <= len; n++)
			use_all(frame, n);
		memcpy(tagged, frame, 12);
		for (unsigned tags = 1; tags < 4; tags++) {
			for (unsigned i = 0; i < tags; i++)
				memcpy(tagged + 12 + 4 * i, i ? "\x81\0\0\1" : "\x88\xa8\0\1", 4);
			memcpy(tagged + 12 + 4 * tags, frame + 12, len - 12);
			for (size_t n = 12; n < 64; n++)
				use_all(tagged, n);
		}
	}
}

static void test_parse(void **state)
{
	struct net_offload offload = {.flags = NET_NEEDS_CSUM, .csum_start = 0, .csum_offset = 2};
	size_t len = make_tcp(40, false, 2);
	struct net_cutter cutter;
	struct net_headers h;
	u8 flat[8] = {0xff, 0xff};

	(void)state;
	frame[20] = 0x20; /* a fragment: what looks like TCP's header may be none */
	net_parse(frame, len, &h);
	assert_int_equal(h.payload, 0);
	frame[20] = 0;
	frame[14] = 0x44;
	net_parse(frame, len, &h);
	assert_int_equal(h.version, 0);
	frame[14] = 0x4f; /* a header that the frame does not hold */
	assert_false(net_cut_ip(&cutter, frame, 60, 100));
	/* Zero means: there is no checksum. */
	assert_true(net_csum_complete(flat, sizeof(flat), &offload));
	assert_int_equal(be16(flat + 2), 0xffff);
}

static void test_flow(void **state)
{
	struct net_headers h;
	size_t len = make_tcp(10, false, 0);
	u8 back[100];
	u32 hash;

	(void)state;
	net_parse(frame, len, &h);
	hash = net_flow_hash(frame, &h);
	memcpy(back, frame, len);
	memcpy(back + 26, frame + 30, 4);
	memcpy(back + 30, frame + 26, 4);
	memcpy(back + 34, frame + 36, 2);
	memcpy(back + 36, frame + 34, 2);
	assert_int_equal(net_flow_hash(back, &h), hash);
	back[37] ^= 1;
	assert_int_not_equal(net_flow_hash(back, &h), hash);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sum),
		cmocka_unit_test(test_complete),
		cmocka_unit_test(test_segments),
		cmocka_unit_test(test_fragments),
		cmocka_unit_test(test_mss),
		cmocka_unit_test(test_cut_off),
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_flow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
