/* SPDX-License-Identifier: MIT */
/*
 * Tap devices. Frames go to the kernel with their offload header straight from guest memory, and come
 * with one: it cuts and sums where its far end needs that, and joins segments for us.
 */
#include "backend/net_tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#define BURST 64
#define PIECES 128u
#define ROOM (NET_FRAME_MAX + 64)

struct tap_header { /* struct virtio_net_hdr: what the kernel puts before a frame without mergeable buffers */
	u8 flags, gso;
	u16 hdr_len, gso_size, csum_start, csum_offset;
} __attribute__((packed));

enum { GSO_ECN = 0x80 };

struct tap {
	struct net_pump pump;
	struct loop_source source;
	u8 *buffer; /* ROOM */
	bool blocked;
};

static struct tap *of(struct net_pump *pump)
{
	return container_of(pump, struct tap, pump);
}

static void rewatch(struct tap *tap)
{
	loop_watch(tap->pump.loop, &tap->source,
		(net_pump_waiting(&tap->pump) ? 0 : EPOLLIN) | (tap->blocked ? EPOLLOUT : 0));
}

static int tap_send(struct net_pump *pump, const struct net_frame *frame)
{
	const struct net_offload *o = &frame->offload;
	struct tap_header header = {o->flags, o->gso, o->hdr_len, o->gso_size, o->csum_start, o->csum_offset};
	struct tap *tap = of(pump);
	struct iovec iov[PIECES];

	if (frame->niov >= PIECES) {
		pump->tx.dropped++;
		return 0;
	}
	iov[0] = (struct iovec){.iov_base = &header, .iov_len = sizeof(header)};
	memcpy(iov + 1, frame->iov, frame->niov * sizeof(*iov));
	if (writev(tap->source.fd, iov, (int)frame->niov + 1) >= 0)
		return 0;
	if (errno == EAGAIN) {
		tap->blocked = true;
		return -EAGAIN;
	}
	pump->tx.dropped++; /* a header that the kernel does not like, or the interface is down */
	return 0;
}

static void tap_batch(struct net_pump *pump)
{
	rewatch(of(pump));
}

/* False: no more for now. */
static bool receive_one(struct tap *tap)
{
	ssize_t len = read(tap->source.fd, tap->buffer, ROOM);
	struct tap_header header;
	struct net_offload offload;

	if (len < (ssize_t)(sizeof(header) + NET_ETH_HLEN))
		return false;
	memcpy(&header, tap->buffer, sizeof(header));
	offload = (struct net_offload){.flags = header.flags & (NET_NEEDS_CSUM | NET_CSUM_VALID),
		.gso = header.gso & (u8)~GSO_ECN,
		.hdr_len = header.hdr_len,
		.gso_size = header.gso_size,
		.csum_start = header.csum_start,
		.csum_offset = header.csum_offset};
	return net_pump_receive(
		&tap->pump, tap->buffer + sizeof(header), (size_t)len - sizeof(header), &offload);
}

static void tap_ready(void *arg, u32 events)
{
	struct tap *tap = arg;

	for (unsigned i = 0; i < BURST && !net_pump_waiting(&tap->pump) && receive_one(tap); i++)
		;
	net_pump_received(&tap->pump);
	if ((events & EPOLLOUT) && tap->blocked) {
		tap->blocked = false;
		net_pump_resume(&tap->pump);
	}
	rewatch(tap);
}

static void tap_drained(struct net_pump *pump)
{
	rewatch(of(pump));
}

static void tap_close(struct net_pump *pump)
{
	struct tap *tap = of(pump);

	if (tap->source.fd >= 0) {
		loop_remove(pump->loop, &tap->source);
		close(tap->source.fd);
	}
	net_pump_fini(pump);
	free(tap->buffer);
	free(tap);
}

static const struct net_pump_ops tap_ops = {
	.send = tap_send,
	.batch = tap_batch,
	.drained = tap_drained,
	.close = tap_close,
};

/* The device's descriptor, or -errno with a line in err. */
static int open_tap(const char *name, struct err *err)
{
	struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR};
	int size = sizeof(struct tap_header), fd, ret = 0;

	if (!*name || strlen(name) >= sizeof(request.ifr_name))
		return err_set(err, EINVAL, "tap %s: the name of an interface has 1 to %zu characters", name,
			sizeof(request.ifr_name) - 1);
	/* Opening would make one that does not exist. */
	if (!if_nametoindex(name))
		return err_set(err, ENODEV,
			"tap %s: this host has no such interface; `ip tuntap add %s mode tap` makes it", name,
			name);
	strcpy(request.ifr_name, name);
	fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return err_set(err, errno, "tap %s: cannot open /dev/net/tun: %s", name, strerror(errno));
	if (ioctl(fd, TUNSETIFF, &request))
		ret = err_set(err, errno, "tap %s: %s", name,
			errno == EINVAL ? "that is no tap device with one queue" : strerror(errno));
	else
		ioctl(fd, TUNSETVNETHDRSZ, &size);
	if (ret)
		close(fd);
	return ret ? ret : fd;
}

static int init(struct tap *tap, const struct net_place *place, const char *name, struct err *err)
{
	int ret = net_pump_init(&tap->pump, &tap_ops, place), fd;

	tap->source.fd = -1;
	tap->buffer = malloc(ROOM);
	if (ret || !tap->buffer)
		return err_set(err, ENOMEM, "out of memory");
	fd = open_tap(name, err);
	if (fd < 0)
		return fd;
	/* What the pump can undo when the guest does not take it; an older kernel gives whole frames. */
	ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6);
	tap->source = (struct loop_source){.fd = fd, .ready = tap_ready, .arg = tap};
	ret = loop_add(place->loop, &tap->source, EPOLLIN);
	if (!ret)
		return 0;
	close(fd);
	tap->source.fd = -1;
	return err_set(err, -ret, "tap %s: %s", name, strerror(-ret));
}

int net_tap_create(const struct net_place *place, const char *name, struct net_pump **out, struct err *err)
{
	struct tap *tap = calloc(1, sizeof(*tap));
	int ret = tap ? init(tap, place, name, err) : err_set(err, ENOMEM, "out of memory");

	if (ret && tap)
		tap_close(&tap->pump);
	if (!ret)
		*out = &tap->pump;
	return ret;
}
