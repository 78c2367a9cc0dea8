/* SPDX-License-Identifier: MIT */
/*
 * A network cable's end, as a device model sees it. The backend's work is done on the
 * loop's thread: it pulls frames from the device and sends them without the
 * machine lock, so that no vCPU waits for a system call of the host's network.
 *
 * Any backend takes frames with work left to do (struct net_offload); what its far end
 * cannot take, and what the device does not accept, the backend does itself (net_offload.h).
 *
 * Thread context: ops are called with the machine lock held, from any thread; they are short.
 * The device's functions are called from the loop's thread with the machine lock held.
 */
#pragma once

#include <pthread.h>
#include <sys/uio.h>

#include "lib/types.h"

struct net;

#define NET_FRAME_MAX 65562u /* a segment to be cut, with its Ethernet header */

/* What is left to do on a frame; the fields as in virtio 1.2, 5.1.6. */
enum {
	NET_NEEDS_CSUM = 1,
	NET_CSUM_VALID = 2,
};

enum { /* gso */
	NET_GSO_NONE = 0,
	NET_GSO_TCPV4 = 1,
	NET_GSO_UDP = 3,
	NET_GSO_TCPV6 = 4,
};

struct net_offload {
	u8 flags, gso;
	u16 hdr_len, gso_size, csum_start, csum_offset;
};

struct net_frame {
	const struct iovec *iov; /* from the Ethernet header on, without FCS */
	unsigned niov;
	struct net_offload offload;
	void *token; /* the device's */
};

enum { /* what the device takes as it is; the backend does the rest of a frame before */
	NET_ACCEPTS_CSUM = 1, /* NET_NEEDS_CSUM */
	NET_ACCEPTS_TSO4 = 2, /* NET_GSO_TCPV4 */
	NET_ACCEPTS_TSO6 = 4,
};

struct net_device_ops {
	/* The next frame to send, or false. It stays the device's; its memory is valid until sent. */
	bool (*pull)(void *arg, struct net_frame *frame);
	/* The frames that were pulled, in order, are on their way (or were dropped). */
	void (*sent)(void *arg, const struct net_frame *frames, unsigned n);
	/*
	 * A frame came in; the device copies it. False: no room; the backend keeps it, and asks
	 * again after net_ops.rx_ready.
	 */
	bool (*receive)(void *arg, const struct net_frame *frame);
	/* After one or more receives: the guest may be told. */
	void (*received)(void *arg);
	void (*link)(void *arg, bool up);
};

struct net_ops {
	void (*tx_ready)(struct net *net); /* the device has frames to pull */
	void (*rx_ready)(struct net *net); /* the device has room again */
	/* The device was reset: what was pulled is forgotten (no sent will come for it). */
	void (*reset)(struct net *net);
	void (*close)(struct net *net); /* after the device has been freed */
};

struct net {
	const struct net_ops *ops;
	pthread_mutex_t *lock; /* the machine lock */
	u8 mac[6]; /* the device's, as the machine chose it */
	bool up; /* the link; the device's link() is called when that changes */
	/* Set by the device, with the lock held. */
	unsigned accepts; /* NET_ACCEPTS_*: 0 until a driver says what it takes */
	const struct net_device_ops *device; /* NULL before and after its life */
	void *arg;
};
