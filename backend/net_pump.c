/* SPDX-License-Identifier: MIT */
/* Frames between a device and a backend, in batches. */
#include "backend/net_pump.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "host/iov.h"

#define PIECE_ROOM KIB(68)
#define TURNS 8u /* batches */
#define MSS_MIN 48 /* as Linux has it: cutting to less is work that somebody else's VM could make for us */

struct waiting { /* in the backlog, before the frame */
	u32 len;
	struct net_offload offload;
};

static struct net_pump *of(struct net *net)
{
	return container_of(net, struct net_pump, net);
}

/* ---- from the device ---- */

/* Somebody keeps the machine lock for long (vm_trylock): the loop goes on, and comes back. */
static bool lock(struct net_pump *pump)
{
	if (vm_trylock(pump->vm))
		return true;
	loop_event_post(&pump->work);
	return false;
}

/* Says which frames are done, and takes the next ones. */
static void pull(struct net_pump *pump)
{
	struct net *net = &pump->net;
	unsigned n = 0;

	if (!lock(pump))
		return;
	if (pump->nframes)
		net->device->sent(net->arg, pump->frames, pump->nframes);
	while (net->device && n < NET_BATCH && net->device->pull(net->arg, &pump->frames[n]))
		n++;
	pump->nframes = n;
	pump->next = 0;
	pump->tx.batches += n > 0;
	pthread_mutex_unlock(net->lock);
}

/* The guard keeps a reset (and with it the frame's end) away while the frame is looked at. */
static int send_next(struct net_pump *pump)
{
	const struct net_frame *frame;
	int ret = -ENOENT;

	pthread_mutex_lock(&pump->guard);
	if (pump->next < pump->nframes) {
		frame = &pump->frames[pump->next];
		ret = pump->ops->send(pump, frame);
		if (!ret) {
			pump->tx.frames++;
			pump->tx.bytes += iov_length(frame->iov, frame->niov);
			pump->next++;
		}
	}
	pthread_mutex_unlock(&pump->guard);
	return ret;
}

/* Until there is nothing more; but a guest that never stops has only so many turns before others have theirs. */
static void transmit(struct net_pump *pump)
{
	unsigned turns = TURNS;
	int ret;

	do {
		while (!(ret = send_next(pump))) {
			if (pump->ops->sent)
				pump->ops->sent(pump);
		}
		if (ret == -EAGAIN)
			break;
		pull(pump);
	} while (pump->next < pump->nframes && --turns);
	if (!turns)
		loop_event_post(&pump->work);
	if (pump->ops->batch)
		pump->ops->batch(pump);
}

void net_pump_resume(struct net_pump *pump)
{
	transmit(pump);
}

/* ---- to the device ---- */

static bool give(struct net_pump *pump, u8 *data, size_t len, const struct net_offload *offload)
{
	struct net *net = &pump->net;
	struct iovec iov = {.iov_base = data, .iov_len = len};
	struct net_frame frame = {.iov = &iov, .niov = 1, .offload = *offload};
	bool taken = true;

	if (!lock(pump)) {
		atomic_store(&pump->rx_room, true); /* for all that we know */
		return false;
	}
	if (net->device && net->up)
		taken = net->device->receive(net->arg, &frame);
	pthread_mutex_unlock(net->lock);
	pump->received |= taken;
	pump->rx.frames += taken;
	pump->rx.bytes += taken ? len : 0;
	return taken;
}

static bool hold(struct net_pump *pump, const u8 *data, size_t len, const struct net_offload *offload)
{
	struct waiting waiting = {.len = (u32)len, .offload = *offload};

	if (pump->backlog_end + sizeof(waiting) + len > NET_BACKLOG) {
		pump->rx.dropped++;
		return false;
	}
	memcpy(pump->backlog + pump->backlog_end, &waiting, sizeof(waiting));
	memcpy(pump->backlog + pump->backlog_end + sizeof(waiting), data, len);
	pump->backlog_end += sizeof(waiting) + len;
	return false;
}

bool net_pump_waiting(const struct net_pump *pump)
{
	return pump->backlog_end > 0;
}

/* In order: behind what waits already. */
static bool give_or_hold(struct net_pump *pump, u8 *data, size_t len, const struct net_offload *offload)
{
	if (!net_pump_waiting(pump) && give(pump, data, len, offload))
		return true;
	return hold(pump, data, len, offload);
}

static bool accepts_gso(const struct net *net, u8 gso)
{
	unsigned need = gso == NET_GSO_TCPV4 ? NET_ACCEPTS_TSO4 : NET_ACCEPTS_TSO6;

	return (net->accepts & need) && (net->accepts & NET_ACCEPTS_CSUM);
}

static bool receive_pieces(struct net_pump *pump, u8 *frame, size_t len, u16 gso_size)
{
	const struct net_offload done = {.flags = NET_CSUM_VALID};
	struct net_cutter cutter;
	bool room = true;
	size_t size;

	if (gso_size < MSS_MIN || !net_cut_tcp(&cutter, frame, len, gso_size)) {
		pump->rx.dropped++;
		return true;
	}
	while ((size = net_cut_next(&cutter, pump->piece)))
		room = give_or_hold(pump, pump->piece, size, &done) && room;
	return room;
}

bool net_pump_receive(struct net_pump *pump, u8 *frame, size_t len, const struct net_offload *offload)
{
	struct net_offload needed = *offload;

	if (needed.gso != NET_GSO_NONE && needed.gso != NET_GSO_TCPV4 && needed.gso != NET_GSO_TCPV6) {
		pump->rx.dropped++;
		return true;
	}
	if (needed.gso != NET_GSO_NONE && !accepts_gso(&pump->net, needed.gso))
		return receive_pieces(pump, frame, len, needed.gso_size);
	if (!(pump->net.accepts & NET_ACCEPTS_CSUM) && !net_csum_complete(frame, len, &needed)) {
		pump->rx.dropped++;
		return true;
	}
	return give_or_hold(pump, frame, len, &needed);
}

void net_pump_received(struct net_pump *pump)
{
	struct net *net = &pump->net;

	if (!pump->received || !lock(pump))
		return;
	pump->received = false;
	pump->rx.batches++;
	if (net->device)
		net->device->received(net->arg);
	pthread_mutex_unlock(net->lock);
}

/* Gives what waits, as far as there is room. */
static void drain(struct net_pump *pump)
{
	struct waiting waiting;
	u8 *at;

	while (pump->backlog_start < pump->backlog_end) {
		at = pump->backlog + pump->backlog_start;
		memcpy(&waiting, at, sizeof(waiting));
		if (!give(pump, at + sizeof(waiting), waiting.len, &waiting.offload))
			break;
		pump->backlog_start += sizeof(waiting) + waiting.len;
	}
	net_pump_received(pump);
	if (pump->backlog_start < pump->backlog_end)
		return;
	pump->backlog_start = pump->backlog_end = 0;
	pump->ops->drained(pump);
}

static void work(void *arg)
{
	struct net_pump *pump = arg;

	if (atomic_exchange(&pump->rx_room, false) && net_pump_waiting(pump))
		drain(pump);
	net_pump_received(pump); /* if that was not possible before */
	transmit(pump);
}

void net_pump_link(struct net_pump *pump, bool up)
{
	struct net *net = &pump->net;

	pthread_mutex_lock(net->lock);
	if (net->up != up) {
		net->up = up;
		if (net->device)
			net->device->link(net->arg, up);
	}
	pthread_mutex_unlock(net->lock);
}

/* ---- what the device calls ---- */

static void tx_ready(struct net *net)
{
	loop_event_post(&of(net)->work);
}

static void rx_ready(struct net *net)
{
	atomic_store(&of(net)->rx_room, true);
	loop_event_post(&of(net)->work);
}

static void reset(struct net *net)
{
	struct net_pump *pump = of(net);

	pthread_mutex_lock(&pump->guard);
	pump->nframes = pump->next = 0;
	pthread_mutex_unlock(&pump->guard);
}

static void close_pump(struct net *net)
{
	of(net)->ops->close(of(net));
}

static const struct net_ops pump_net_ops = {
	.tx_ready = tx_ready,
	.rx_ready = rx_ready,
	.reset = reset,
	.close = close_pump,
};

/* ---- life ---- */

int net_pump_init(struct net_pump *pump, const struct net_pump_ops *ops, const struct net_place *place)
{
	*pump = (struct net_pump){.net = {.ops = &pump_net_ops, .lock = &place->vm->lock, .up = true},
		.ops = ops,
		.vm = place->vm,
		.loop = place->loop};
	memcpy(pump->net.mac, place->mac, sizeof(pump->net.mac));
	pthread_mutex_init(&pump->guard, NULL);
	pump->backlog = malloc(NET_BACKLOG);
	pump->piece = malloc(PIECE_ROOM);
	if (!pump->backlog || !pump->piece)
		return -ENOMEM;
	return loop_event_init(pump->loop, &pump->work, work, pump);
}

void net_pump_fini(struct net_pump *pump)
{
	if (pump->loop)
		loop_event_fini(pump->loop, &pump->work);
	pthread_mutex_destroy(&pump->guard);
	free(pump->backlog);
	free(pump->piece);
}
