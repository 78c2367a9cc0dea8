/* SPDX-License-Identifier: MIT */
/*
 * What a network card's hardware does for its driver, done by us where the far end
 * cannot take frames with work left to do: checksums, and cutting of large frames.
 *
 * Frames are flat, from the Ethernet header on, and their contents are the guest's: nothing in
 * them is believed.
 */
#pragma once

#include "backend/net.h"

#define NET_ETH_HLEN 14u

struct net_headers {
	unsigned l3, l4; /* offsets */
	unsigned payload; /* of TCP or UDP; 0: neither, or not whole */
	u8 version; /* 4, 6; 0: not IP */
	u8 protocol; /* IPPROTO_*; 0: not known, or a later fragment */
};

/* Looks through Ethernet, VLAN tags and IP. */
void net_parse(const u8 *frame, size_t len, struct net_headers *h);
/* The same number for both directions of a flow; 0 for what has no ports. */
u32 net_flow_hash(const u8 *frame, const struct net_headers *h);

/* The ones' complement sum over data, added to a sum so far (not yet folded). */
u64 net_sum(const void *data, size_t len, u64 sum);
u16 net_fold(u64 sum);
/* The sum of the pseudo header, for l4_len bytes of TCP or UDP. */
u64 net_pseudo_sum(const u8 *frame, const struct net_headers *h, size_t l4_len);

/* Does NET_NEEDS_CSUM's work and clears the flag. False: it is not to be done (places beyond the frame). */
bool net_csum_complete(u8 *frame, size_t len, struct net_offload *offload);

/* A large frame, as the frames that belong on the wire. */
struct net_cutter {
	const u8 *frame;
	struct net_headers h;
	size_t len, done, header;
	u16 size; /* payload of each */
	bool fragments; /* of IPv4, else TCP segments */
};

/* TCP segments of at most gso_size bytes. False: it is not TCP. */
bool net_cut_tcp(struct net_cutter *cutter, const u8 *frame, size_t len, u16 gso_size);
/* IPv4 fragments of at most mtu bytes. False: it is not IPv4, or a fragment already. */
bool net_cut_ip(struct net_cutter *cutter, const u8 *frame, size_t len, unsigned mtu);
/* The next piece, with its checksums, into out (as large as the frame); 0: there was the last. */
size_t net_cut_next(struct net_cutter *cutter, u8 *out);

/*
 * The MSS that a SYN announces: 0 if the frame is none. With raise, it becomes that, and
 * the checksum follows (unless NET_NEEDS_CSUM says that it is yet to be made).
 */
u16 net_syn_mss(u8 *frame, size_t len, u16 raise, const struct net_offload *offload);
