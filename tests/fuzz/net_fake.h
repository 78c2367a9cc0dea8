/* SPDX-License-Identifier: MIT */
/*
 * A network backend for fuzzers of cards: takes what is sent when the input says so, and reads every byte
 * of it, so that memory which is not the guest's shows; cuts it as real ones would.
 */
#pragma once

#include "backend/net_offload.h"
#include "host/iov.h"
#include "tests/fuzz/fuzz.h"

#define FAKE_BATCH 64u

static struct {
	struct net net;
	struct net_frame frame[FAKE_BATCH];
	unsigned n;
	u8 flat[NET_FRAME_MAX + 64], piece[NET_FRAME_MAX + 64];
} fake;

static inline void fake_ready(struct net *net)
{
	(void)net;
}

static inline void fake_reset(struct net *net)
{
	(void)net;
	fake.n = 0;
}

static const struct net_ops fake_net_ops = {
	.tx_ready = fake_ready, .rx_ready = fake_ready, .reset = fake_reset, .close = fake_ready};

static inline void fake_net_init(struct vm *machine)
{
	memset(&fake, 0, sizeof(fake));
	fake.net = (struct net){
		.ops = &fake_net_ops, .lock = &machine->lock, .up = true, .mac = {0x52, 0x54, 0, 1, 2, 3}};
}

static inline void fake_use(const struct net_frame *frame)
{
	size_t len = iov_to_buf(frame->iov, frame->niov, 0, fake.flat, sizeof(fake.flat));
	struct net_offload offload = frame->offload;
	struct net_cutter cutter;
	size_t size, total = 0;

	fuzz_check(iov_length(frame->iov, frame->niov) <= NET_FRAME_MAX + 4 && len >= NET_ETH_HLEN);
	if (offload.gso && net_cut_tcp(&cutter, fake.flat, len, offload.gso_size)) {
		while ((size = net_cut_next(&cutter, fake.piece))) {
			fuzz_check(size <= len);
			total += size - cutter.header;
		}
		fuzz_check(total == len - cutter.header);
	}
	net_syn_mss(fake.flat, len, 9000, &offload);
	net_csum_complete(fake.flat, len, &offload);
}

static inline void fake_pull(void)
{
	struct net *net = &fake.net;

	while (fake.n < FAKE_BATCH && net->device->pull(net->arg, &fake.frame[fake.n]))
		fake_use(&fake.frame[fake.n++]);
}

static inline void fake_sent(unsigned most)
{
	struct net *net = &fake.net;
	unsigned n = MIN(most, fake.n);

	if (!n)
		return;
	net->device->sent(net->arg, fake.frame, n);
	fake.n = n < fake.n ? fake.n - n : 0;
	memmove(fake.frame, fake.frame + n, fake.n * sizeof(fake.frame[0]));
}

/* A frame of len bytes whose first ones are the input's. */
static inline void fake_receive(struct fuzz *fuzz, size_t len)
{
	static u8 data[NET_FRAME_MAX];
	struct iovec iov = {data, MAX(len, (size_t)1)};
	struct net_frame frame = {.iov = &iov, .niov = 1, .offload.flags = NET_CSUM_VALID};
	struct net *net = &fake.net;

	fuzz_bytes(fuzz, data, 20);
	if (net->device->receive(net->arg, &frame))
		net->device->received(net->arg);
}
