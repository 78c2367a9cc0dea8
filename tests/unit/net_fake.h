/* SPDX-License-Identifier: MIT */
/* A network card for the backends' unit tests: it sends what the test gives it, and keeps what it gets. */
#pragma once

#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backend/net_pump.h"
#include "host/iov.h"

#define FAKE_FRAMES 256u

struct fake_frame {
	u8 data[NET_FRAME_MAX];
	size_t len;
	struct net_offload offload;
	struct iovec iov[2];
};

struct fake_card {
	struct net *net;
	struct fake_frame *out, *in; /* FAKE_FRAMES each */
	unsigned nout, pulled, sent, nin, notified, room;
	int link; /* -1: not told */
};

static inline bool fake_pull(void *arg, struct net_frame *frame)
{
	struct fake_card *card = arg;
	struct fake_frame *f = &card->out[card->pulled % FAKE_FRAMES];
	size_t first;

	if (card->pulled == card->nout)
		return false;
	card->pulled++;
	first = f->len / 3;
	f->iov[0] = (struct iovec){f->data, first};
	f->iov[1] = (struct iovec){f->data + first, f->len - first};
	*frame = (struct net_frame){.iov = f->iov, .niov = 2, .offload = f->offload, .token = f};
	return true;
}

static inline void fake_sent(void *arg, const struct net_frame *frames, unsigned n)
{
	struct fake_card *card = arg;

	for (unsigned i = 0; i < n; i++)
		assert_ptr_equal(frames[i].token, &card->out[card->sent++ % FAKE_FRAMES]);
}

static inline bool fake_receive(void *arg, const struct net_frame *frame)
{
	struct fake_card *card = arg;
	struct fake_frame *f = &card->in[card->nin % FAKE_FRAMES];

	if (!card->room)
		return false;
	card->room--;
	card->nin++;
	f->len = iov_to_buf(frame->iov, frame->niov, 0, f->data, sizeof(f->data));
	f->offload = frame->offload;
	return true;
}

static inline void fake_received(void *arg)
{
	((struct fake_card *)arg)->notified++;
}

static inline void fake_link(void *arg, bool up)
{
	((struct fake_card *)arg)->link = up;
}

static const struct net_device_ops fake_card_ops = {
	.pull = fake_pull,
	.sent = fake_sent,
	.receive = fake_receive,
	.received = fake_received,
	.link = fake_link,
};

static inline void fake_card_init(struct fake_card *card, struct net *net)
{
	*card = (struct fake_card){.net = net, .room = UINT32_MAX, .link = -1};
	card->out = calloc(FAKE_FRAMES, sizeof(*card->out));
	card->in = calloc(FAKE_FRAMES, sizeof(*card->in));
	assert_non_null(card->out);
	assert_non_null(card->in);
	net->arg = card;
	net->device = &fake_card_ops;
}

static inline void fake_card_fini(struct fake_card *card)
{
	card->net->device = NULL;
	free(card->out);
	free(card->in);
}

/* The card's driver sends a frame. */
static inline void fake_send(struct fake_card *card, const void *data, size_t len)
{
	struct fake_frame *f = &card->out[card->nout % FAKE_FRAMES];

	memcpy(f->data, data, len);
	f->len = len;
	f->offload = (struct net_offload){0};
	card->nout++;
	card->net->ops->tx_ready(card->net);
}

/* ---- a loop that runs until something has come ---- */

struct fake_deadline {
	struct loop *loop;
	struct loop_timer timer;
	unsigned *counter, until;
	bool late;
	u64 end;
};

static inline u64 fake_clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (u64)now.tv_sec * 1000000000 + (u64)now.tv_nsec;
}

static inline void fake_tick(void *arg)
{
	struct fake_deadline *d = arg;

	loop_timer_taken(&d->timer);
	d->late = fake_clock_ns() > d->end;
	if (d->late || *d->counter >= d->until)
		loop_stop(d->loop);
	else
		loop_timer_set(&d->timer, fake_clock_ns() + 2000000);
}

/* False: it did not come within the time. */
static inline bool fake_run(struct loop *loop, unsigned *counter, unsigned until, unsigned ms)
{
	struct fake_deadline d = {
		.loop = loop, .counter = counter, .until = until, .end = fake_clock_ns() + ms * 1000000ull};

	assert_int_equal(loop_timer_init(loop, &d.timer, fake_tick, &d), 0);
	loop_restart(loop);
	loop_timer_set(&d.timer, fake_clock_ns() + 1000000);
	assert_int_equal(loop_run(loop), 0);
	loop_timer_fini(loop, &d.timer);
	return *counter >= until;
}
