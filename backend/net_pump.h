/* SPDX-License-Identifier: MIT */
/*
 * What all network backends have in common: the loop's thread pulls frames from the device in
 * batches and hands them to the backend one by one; frames that come in go to the device
 * in the form that it accepts, and wait here when it has no room.
 *
 * Thread context: all on the loop's thread, without the machine lock.
 */
#pragma once

#include "backend/net.h"
#include "backend/net_offload.h"
#include "host/loop.h"
#include "vm/vm.h"

#define NET_BATCH 64
#define NET_BACKLOG KIB(512)

struct net_pump;

struct net_pump_ops {
	/*
	 * Sends a frame, or takes what it wants of it; its memory is the guest's. 0: done (or
	 * dropped); -EAGAIN: not now, net_pump_resume follows. No lock may be taken here: a
	 * reset of the device waits for it, with the machine lock held.
	 */
	int (*send)(struct net_pump *pump, const struct net_frame *frame);
	void (*sent)(struct net_pump *pump); /* after each send that was done; may be NULL */
	void (*batch)(struct net_pump *pump); /* after the last one for now; may be NULL */
	void (*drained)(struct net_pump *pump); /* all that had to wait went in */
	void (*close)(struct net_pump *pump);
};

/* Where a backend stands. */
struct net_place {
	struct vm *vm;
	struct loop *loop;
	u8 mac[6];
};

struct net_counters {
	u64 frames, bytes, batches, dropped;
};

struct net_pump {
	struct net net;
	const struct net_pump_ops *ops;
	struct vm *vm;
	struct loop *loop;
	struct loop_event work; /* tx_ready and rx_ready */
	_Atomic bool rx_room; /* the device has room again */
	pthread_mutex_t guard; /* around ops->send, and what a reset forgets; inside the machine lock */
	struct net_frame frames[NET_BATCH];
	unsigned nframes, next;
	bool received; /* the device has frames that it was not told of yet */
	u8 *backlog; /* NET_BACKLOG bytes: what waits for room */
	size_t backlog_start, backlog_end;
	u8 *piece; /* room for one frame that is being cut */
	struct net_counters tx, rx;
};

int net_pump_init(struct net_pump *pump, const struct net_pump_ops *ops, const struct net_place *place);
void net_pump_fini(struct net_pump *pump);
/* After -EAGAIN: the far end takes frames again. */
void net_pump_resume(struct net_pump *pump);

/*
 * A frame from outside, flat; it may be changed. False: it waits, so read no more until
 * drained.
 */
bool net_pump_receive(struct net_pump *pump, u8 *frame, size_t len, const struct net_offload *offload);
/* After one or more of those. */
void net_pump_received(struct net_pump *pump);
bool net_pump_waiting(const struct net_pump *pump);
void net_pump_link(struct net_pump *pump, bool up);
