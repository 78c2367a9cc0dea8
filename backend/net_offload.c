/* SPDX-License-Identifier: MIT */
/* Checksums, and cutting of large frames. */
#include "backend/net_offload.h"

#include <endian.h>
#include <netinet/in.h>
#include <string.h>

#define ETH_P_IPV4 0x0800
#define ETH_P_IPV6 0x86dd
#define ETH_P_VLAN 0x8100
#define ETH_P_QINQ 0x88a8
#define MAX_VLANS 2

#define IPV4_LEN 20u
#define IPV6_LEN 40u
#define TCP_LEN 20u
#define UDP_LEN 8u

enum { TCP_FIN = 1, TCP_SYN = 2, TCP_PSH = 8, TCP_CWR = 0x80 };
enum { IP_MORE = 0x2000, IP_FRAGMENT = 0x3fff };

static u16 get16(const u8 *p)
{
	return (u16)(p[0] << 8 | p[1]);
}

static u32 get32(const u8 *p)
{
	return (u32)get16(p) << 16 | get16(p + 2);
}

static void put16(u8 *p, u16 value)
{
	p[0] = (u8)(value >> 8);
	p[1] = (u8)value;
}

static void put32(u8 *p, u32 value)
{
	put16(p, (u16)(value >> 16));
	put16(p + 2, (u16)value);
}

/* ---- headers ---- */

static void parse_l4(const u8 *frame, size_t len, struct net_headers *h)
{
	unsigned size = 0;

	if (h->protocol == IPPROTO_UDP)
		size = UDP_LEN;
	else if (h->protocol == IPPROTO_TCP && h->l4 + TCP_LEN <= len)
		size = MAX(TCP_LEN, (frame[h->l4 + 12] >> 4) * 4u);
	if (size && h->l4 + size <= len)
		h->payload = h->l4 + size;
}

static void parse_ipv4(const u8 *frame, size_t len, struct net_headers *h)
{
	const u8 *ip = frame + h->l3;

	if (h->l3 + IPV4_LEN > len || ip[0] >> 4 != 4 || (ip[0] & 15) < 5)
		return;
	h->version = 4;
	h->l4 = h->l3 + (ip[0] & 15) * 4u;
	if (get16(ip + 6) & IP_FRAGMENT || h->l4 > len)
		return;
	h->protocol = ip[9];
	parse_l4(frame, len, h);
}

static void parse_ipv6(const u8 *frame, size_t len, struct net_headers *h)
{
	if (h->l3 + IPV6_LEN > len || frame[h->l3] >> 4 != 6)
		return;
	h->version = 6;
	h->l4 = h->l3 + IPV6_LEN;
	h->protocol = frame[h->l3 + 6];
	parse_l4(frame, len, h);
}

void net_parse(const u8 *frame, size_t len, struct net_headers *h)
{
	unsigned at = NET_ETH_HLEN - 2, type;

	*h = (struct net_headers){0};
	if (len < NET_ETH_HLEN)
		return;
	type = get16(frame + at);
	for (unsigned i = 0; i < MAX_VLANS && (type == ETH_P_VLAN || type == ETH_P_QINQ) && at + 6 <= len;
		i++) {
		at += 4;
		type = get16(frame + at);
	}
	h->l3 = at + 2;
	if (type == ETH_P_IPV4)
		parse_ipv4(frame, len, h);
	else if (type == ETH_P_IPV6)
		parse_ipv6(frame, len, h);
}

u32 net_flow_hash(const u8 *frame, const struct net_headers *h)
{
	u32 mix;

	if (!h->payload)
		return 0;
	/* Sums do not depend on the direction. */
	mix = get16(frame + h->l4) + get16(frame + h->l4 + 2);
	if (h->version == 4)
		mix += (get32(frame + h->l3 + 12) + get32(frame + h->l3 + 16)) * 31;
	else
		mix += (get32(frame + h->l3 + 20) + get32(frame + h->l3 + 36)) * 31;
	mix = (mix ^ mix >> 16) * 0x45d9f3bu;
	return (mix ^ mix >> 16) | 1;
}

/* ---- checksums ---- */

/*
 * Four bytes a step into 64 bits, in the machine's order: the sum is the same up to the
 * order of its bytes (RFC 1071), which net_fold puts right.
 */
u64 net_sum(const void *data, size_t len, u64 sum)
{
	const u8 *p = data;
	u64 a = 0, b = 0, c = 0, d = 0;
	u32 word[4];
	u16 half;

	for (; len >= sizeof(word); len -= sizeof(word), p += sizeof(word)) {
		memcpy(word, p, sizeof(word));
		a += word[0];
		b += word[1];
		c += word[2];
		d += word[3];
	}
	sum += a + b + c + d;
	for (; len >= sizeof(half); len -= sizeof(half), p += sizeof(half)) {
		memcpy(&half, p, sizeof(half));
		sum += half;
	}
	return len ? sum + *p : sum;
}

u16 net_fold(u64 sum)
{
	sum = (sum >> 32) + (sum & 0xffffffff);
	sum = (sum >> 32) + (sum & 0xffffffff);
	sum = (sum >> 16) + (sum & 0xffff);
	sum = (sum >> 16) + (sum & 0xffff);
	sum = (sum >> 16) + (sum & 0xffff);
	return be16toh((u16)sum);
}

u64 net_pseudo_sum(const u8 *frame, const struct net_headers *h, size_t l4_len)
{
	const u8 *ip = frame + h->l3;
	u8 tail[8] = {[7] = h->protocol};
	u64 sum;

	put32(tail, (u32)l4_len);
	sum = h->version == 4 ? net_sum(ip + 12, 8, 0) : net_sum(ip + 8, 32, 0);
	return net_sum(tail, sizeof(tail), sum);
}

bool net_csum_complete(u8 *frame, size_t len, struct net_offload *offload)
{
	size_t start = offload->csum_start, field = start + offload->csum_offset;
	u16 sum;

	if (!(offload->flags & NET_NEEDS_CSUM))
		return true;
	if (start >= len || field + 2 > len)
		return false;
	/* The field holds the pseudo header's sum, so it is summed along. */
	sum = (u16)~net_fold(net_sum(frame + start, len - start, 0));
	put16(frame + field, sum ? sum : 0xffff);
	offload->flags = NET_CSUM_VALID;
	return true;
}

/* ---- cutting ---- */

bool net_cut_tcp(struct net_cutter *cutter, const u8 *frame, size_t len, u16 gso_size)
{
	*cutter = (struct net_cutter){.frame = frame, .len = len, .size = gso_size};
	net_parse(frame, len, &cutter->h);
	cutter->done = cutter->header = cutter->h.payload;
	return gso_size && cutter->h.payload && cutter->h.protocol == IPPROTO_TCP;
}

bool net_cut_ip(struct net_cutter *cutter, const u8 *frame, size_t len, unsigned mtu)
{
	struct net_headers *h = &cutter->h;
	unsigned header;

	*cutter = (struct net_cutter){.frame = frame, .len = len, .fragments = true};
	net_parse(frame, len, h);
	if (h->version != 4 || h->l4 > len || get16(frame + h->l3 + 6) & IP_FRAGMENT)
		return false;
	header = h->l4 - h->l3;
	if (mtu < header + 8)
		return false;
	cutter->size = (u16)ALIGN_DOWN(MIN(mtu - header, 0xffffu), 8u);
	cutter->done = cutter->header = h->l4;
	return true;
}

static void finish_ipv4(u8 *out, const struct net_headers *h, size_t len)
{
	u8 *ip = out + h->l3;

	put16(ip + 2, (u16)(len - h->l3));
	put16(ip + 10, 0);
	put16(ip + 10, (u16)~net_fold(net_sum(ip, h->l4 - h->l3, 0)));
}

static void finish_fragment(const struct net_cutter *cutter, u8 *out, size_t len, bool last)
{
	u8 *ip = out + cutter->h.l3;

	put16(ip + 6, (u16)((cutter->done - cutter->header) / 8 | (last ? 0 : IP_MORE)));
	finish_ipv4(out, &cutter->h, len);
}

static void finish_segment(const struct net_cutter *cutter, u8 *out, size_t len, bool last)
{
	const struct net_headers *h = &cutter->h;
	size_t before = cutter->done - cutter->header;
	u8 *ip = out + h->l3, *tcp = out + h->l4;

	if (h->version == 4) {
		put16(ip + 4, (u16)(get16(ip + 4) + before / cutter->size)); /* the identification counts */
		finish_ipv4(out, h, len);
	} else {
		put16(ip + 4, (u16)(len - h->l4));
	}
	put32(tcp + 4, get32(tcp + 4) + (u32)before);
	if (!last)
		tcp[13] &= (u8) ~(TCP_FIN | TCP_PSH);
	if (before)
		tcp[13] &= (u8)~TCP_CWR; /* once is enough (RFC 3168, 6.1.2) */
	put16(tcp + 16, 0);
	put16(tcp + 16, (u16)~net_fold(net_sum(tcp, len - h->l4, net_pseudo_sum(out, h, len - h->l4))));
}

size_t net_cut_next(struct net_cutter *cutter, u8 *out)
{
	size_t size = MIN(cutter->size, cutter->len - cutter->done);
	bool last = cutter->done + size == cutter->len;

	if (!size)
		return 0;
	memcpy(out, cutter->frame, cutter->header);
	memcpy(out + cutter->header, cutter->frame + cutter->done, size);
	if (cutter->fragments)
		finish_fragment(cutter, out, cutter->header + size, last);
	else
		finish_segment(cutter, out, cutter->header + size, last);
	cutter->done += size;
	return cutter->header + size;
}

/* ---- the MSS ---- */

/* Where the option's value is; 0: there is none. */
static size_t find_mss(const u8 *frame, size_t at, size_t end)
{
	enum { END = 0, NOP = 1, MSS = 2 };

	while (at + 1 < end && frame[at] != END) {
		unsigned len = frame[at] == NOP ? 1 : frame[at + 1];

		if (frame[at] == MSS && len == 4 && at + 4 <= end)
			return at + 2;
		if (!len || (len == 1 && frame[at] != NOP))
			return 0;
		at += len;
	}
	return 0;
}

u16 net_syn_mss(u8 *frame, size_t len, u16 raise, const struct net_offload *offload)
{
	struct net_headers h;
	u16 mss, sum;
	size_t at;

	net_parse(frame, len, &h);
	if (!h.payload || h.protocol != IPPROTO_TCP || !(frame[h.l4 + 13] & TCP_SYN))
		return 0;
	at = find_mss(frame, h.l4 + TCP_LEN, h.payload);
	if (!at)
		return 0;
	mss = get16(frame + at);
	if (raise <= mss)
		return mss;
	put16(frame + at, raise);
	if (offload->flags & NET_NEEDS_CSUM)
		return mss;
	/* RFC 1624; an option at an odd place weighs its bytes the other way round. */
	sum = (u16)~get16(frame + h.l4 + 16);
	if (at & 1)
		sum = net_fold((u64)htobe16(sum) + htobe16((u16) ~(u16)(mss << 8 | mss >> 8)) +
			       htobe16((u16)(raise << 8 | raise >> 8)));
	else
		sum = net_fold((u64)htobe16(sum) + htobe16((u16)~mss) + htobe16(raise));
	put16(frame + h.l4 + 16, (u16)~sum);
	return mss;
}
