/* SPDX-License-Identifier: MIT */
/*
 * The virtio network card. A kick only wakes the loop's thread, which takes the frames out
 * of the transmit queues and is not kicked again while it does; received frames are
 * copied into the driver's buffers there, too, and told in batches.
 */
#include "dev/virtio/net.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backend/net_offload.h"

enum { /* features, virtio 1.2, 5.1.3 */
	F_CSUM = 0,
	F_GUEST_CSUM = 1,
	F_CTRL_GUEST_OFFLOADS = 2,
	F_MAC = 5,
	F_GUEST_TSO4 = 7,
	F_GUEST_TSO6 = 8,
	F_GUEST_ECN = 9,
	F_HOST_TSO4 = 11,
	F_HOST_TSO6 = 12,
	F_HOST_ECN = 13,
	F_MRG_RXBUF = 15,
	F_STATUS = 16,
	F_CTRL_VQ = 17,
	F_CTRL_RX = 18,
	F_CTRL_VLAN = 19,
	F_CTRL_RX_EXTRA = 20,
	F_GUEST_ANNOUNCE = 21,
	F_MQ = 22,
	F_CTRL_MAC_ADDR = 23,
};

#define FEATURES                                                                                             \
	(BIT(F_CSUM) | BIT(F_GUEST_CSUM) | BIT(F_CTRL_GUEST_OFFLOADS) | BIT(F_MAC) | BIT(F_GUEST_TSO4) |     \
		BIT(F_GUEST_TSO6) | BIT(F_GUEST_ECN) | BIT(F_HOST_TSO4) | BIT(F_HOST_TSO6) |                 \
		BIT(F_HOST_ECN) | BIT(F_MRG_RXBUF) | BIT(F_STATUS) | BIT(F_CTRL_VQ) | BIT(F_CTRL_RX) |       \
		BIT(F_CTRL_VLAN) | BIT(F_CTRL_RX_EXTRA) | BIT(F_GUEST_ANNOUNCE) | BIT(F_CTRL_MAC_ADDR))

enum { STATUS_LINK_UP = 1, STATUS_ANNOUNCE = 2 };
enum { GSO_ECN = 0x80 }; /* beside the type */

enum { /* control classes and their commands, 5.1.6.5 */
	CTRL_RX = 0,
	CTRL_MAC = 1,
	CTRL_MAC_TABLE_SET = 0,
	CTRL_MAC_ADDR_SET = 1,
	CTRL_VLAN = 2,
	CTRL_VLAN_ADD = 0,
	CTRL_VLAN_DEL = 1,
	CTRL_ANNOUNCE = 3,
	CTRL_MQ = 4,
	CTRL_MQ_PAIRS_SET = 0,
	CTRL_GUEST_OFFLOADS = 5,
};

enum rx_mode { /* the commands of CTRL_RX, and the bits that they set */
	RX_PROMISCUOUS,
	RX_ALL_MULTICAST,
	RX_ALL_UNICAST,
	RX_NO_MULTICAST,
	RX_NO_UNICAST,
	RX_NO_BROADCAST,
	RX_MODES,
};

#define QUEUE_SIZE 256
#define MAX_SEGMENTS 64 /* Linux: 19 */
#define MAX_BUFFERS 64u /* that one received frame goes to */
#define MACS 64u
#define VLANS 4096u
#define CTRL_MAX 1024u /* of a control command; the longest is a table of MACs */
#define FLOWS 256u

struct config {
	u8 mac[6];
	u16 status, max_pairs, mtu;
} __attribute__((packed));

struct header { /* before each frame */
	u8 flags, gso;
	u16 hdr_len, gso_size, csum_start, csum_offset, buffers;
} __attribute__((packed));

struct card {
	struct virtio vdev;
	struct net *net;
	struct config config;
	unsigned pairs; /* in use */
	unsigned next_tx; /* the pair that is looked at first */
	u32 touched; /* pairs whose receive queue has something new */
	bool starved; /* the backend waits for room */
	u16 rx_mode; /* bits of enum rx_mode */
	u8 mac[6]; /* as the driver set it */
	unsigned nmacs;
	u8 macs[MACS][6];
	bool macs_overflow; /* more multicast addresses than we remember */
	bool vlan_filter;
	u32 vlans[VLANS / 32];
	u8 flow[FLOWS]; /* by hash: the pair that sent last for it */
	struct vq_chain *hand[VIRTIO_NET_MAX_PAIRS][MAX_BUFFERS]; /* taken from the queue, not filled yet */
	unsigned nhand[VIRTIO_NET_MAX_PAIRS];
	struct virtio_net_counters counters;
};

static struct card *of(const struct virtio *vdev)
{
	return container_of((struct virtio *)(uintptr_t)vdev, struct card, vdev);
}

static struct virtq *rx_queue(struct card *card, unsigned pair)
{
	return virtio_queue(&card->vdev, pair * 2);
}

static struct virtq *tx_queue(struct card *card, unsigned pair)
{
	return virtio_queue(&card->vdev, pair * 2 + 1);
}

/* ---- transmit ---- */

/* The pair that sends for a flow is the one that is to receive for it (5.1.5.1). */
static void note_flow(struct card *card, const struct vq_chain *chain, unsigned pair)
{
	struct net_headers h;
	u8 start[128];
	size_t len;

	if (card->pairs == 1)
		return;
	len = iov_to_buf(chain->iov, chain->nread, 0, start, sizeof(start));
	net_parse(start, len, &h);
	card->flow[net_flow_hash(start, &h) % FLOWS] = (u8)pair;
}

static void read_offload(struct card *card, const struct header *header, struct net_offload *offload)
{
	*offload = (struct net_offload){0};
	if (!virtio_has(&card->vdev, F_CSUM) || !(header->flags & NET_NEEDS_CSUM))
		return;
	offload->flags = NET_NEEDS_CSUM;
	offload->gso = header->gso & (u8)~GSO_ECN;
	offload->hdr_len = le16toh(header->hdr_len);
	offload->gso_size = le16toh(header->gso_size);
	offload->csum_start = le16toh(header->csum_start);
	offload->csum_offset = le16toh(header->csum_offset);
}

/* False: that is no frame. */
static bool make_frame(struct card *card, struct vq_chain *chain, unsigned pair, struct net_frame *frame)
{
	struct iovec *iov = chain->iov;
	unsigned n = chain->nread;
	struct header header;

	if (chain->read_len < sizeof(header) + NET_ETH_HLEN ||
		chain->read_len > sizeof(header) + NET_FRAME_MAX)
		return false;
	iov_to_buf(iov, n, 0, &header, sizeof(header));
	iov_skip(&iov, &n, sizeof(header));
	read_offload(card, &header, &frame->offload);
	frame->iov = iov;
	frame->niov = n;
	frame->token = chain;
	chain->iov = iov;
	chain->nread = (u16)n;
	note_flow(card, chain, pair);
	return true;
}

static bool pull_from(struct card *card, unsigned pair, struct net_frame *frame)
{
	struct virtq *vq = tx_queue(card, pair);
	struct vq_chain *chain;
	unsigned bad = 0;

	while (bad < QUEUE_SIZE && (chain = vq_next(vq))) {
		if (make_frame(card, chain, pair, frame))
			return true;
		vq_push(chain, 0);
		bad++;
	}
	vq_notify(vq);
	if (bad == QUEUE_SIZE) /* and perhaps for ever: others are to have their turn */
		card->net->ops->tx_ready(card->net);
	return false;
}

static bool net_pull(void *arg, struct net_frame *frame)
{
	struct card *card = arg;

	for (unsigned i = 0; i < card->pairs; i++) {
		unsigned pair = (card->next_tx + i) % card->pairs;

		if (pull_from(card, pair, frame)) {
			card->next_tx = pair + 1;
			return true;
		}
	}
	return false;
}

static void net_sent(void *arg, const struct net_frame *frames, unsigned n)
{
	struct card *card = arg;
	struct virtq *vq = NULL;

	for (unsigned i = 0; i < n; i++) {
		struct vq_chain *chain = frames[i].token;

		if (vq && chain->vq != vq)
			vq_notify(vq);
		vq = chain->vq;
		vq_push(chain, 0);
	}
	if (vq)
		vq_notify(vq);
	card->counters.notifies += n > 0;
}

/* ---- what is received at all ---- */

static bool mode(const struct card *card, enum rx_mode bit)
{
	return card->rx_mode >> bit & 1;
}

static bool in_table(const struct card *card, const u8 *mac)
{
	for (unsigned i = 0; i < card->nmacs; i++) {
		if (!memcmp(card->macs[i], mac, 6))
			return true;
	}
	return false;
}

static bool wanted_address(const struct card *card, const u8 *mac)
{
	static const u8 broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

	if (mode(card, RX_PROMISCUOUS))
		return true;
	if (!memcmp(mac, broadcast, 6))
		return !mode(card, RX_NO_BROADCAST);
	if (mac[0] & 1)
		return !mode(card, RX_NO_MULTICAST) &&
		       (mode(card, RX_ALL_MULTICAST) || card->macs_overflow || in_table(card, mac));
	return !mode(card, RX_NO_UNICAST) &&
	       (mode(card, RX_ALL_UNICAST) || !memcmp(mac, card->mac, 6) || in_table(card, mac));
}

static bool wanted_vlan(const struct card *card, const u8 *frame, size_t len)
{
	unsigned vlan;

	if (!card->vlan_filter || len < NET_ETH_HLEN + 4 || frame[12] != 0x81 || frame[13] != 0)
		return true;
	vlan = (frame[14] << 8 | frame[15]) & (VLANS - 1);
	return card->vlans[vlan / 32] >> (vlan % 32) & 1;
}

/* ---- receive ---- */

/* Takes buffers until there is room for size bytes. False: the driver has given too few. */
static bool take_buffers(struct card *card, unsigned pair, size_t size, unsigned *n)
{
	struct virtq *vq = rx_queue(card, pair);
	bool mergeable = virtio_has(&card->vdev, F_MRG_RXBUF);
	size_t room = 0;

	for (*n = 0; room < size && *n < (mergeable ? MAX_BUFFERS : 1); (*n)++) {
		struct vq_chain **chain = &card->hand[pair][*n];

		if (*n == card->nhand[pair]) {
			*chain = vq_pop(vq);
			if (!*chain)
				return false;
			card->nhand[pair]++;
		}
		room += (*chain)->write_len;
	}
	return true;
}

/* The header, and the frame over n buffers. Returns false if they were too small after all. */
static bool fill_buffers(
	struct card *card, unsigned pair, const struct net_frame *frame, size_t len, unsigned n)
{
	const u8 *data = frame->iov[0].iov_base;
	const struct net_offload *o = &frame->offload;
	struct header header = {
		.flags = o->flags,
		.gso = o->gso,
		.hdr_len = htole16(o->hdr_len),
		.gso_size = htole16(o->gso_size),
		.csum_start = htole16(o->csum_start),
		.csum_offset = htole16(o->csum_offset),
		.buffers = htole16((u16)n),
	};
	size_t at = 0, before = sizeof(header);

	if (!virtio_has(&card->vdev, F_GUEST_CSUM))
		header.flags = 0;
	for (unsigned i = 0; i < n; i++) {
		struct vq_chain *chain = card->hand[pair][i];
		struct iovec *iov = chain->iov + chain->nread;
		size_t size;

		if (before && iov_from_buf(iov, chain->nwrite, 0, &header, before) < before)
			n = i + 1; /* not even the header: the frame is lost */
		size = iov_from_buf(iov, chain->nwrite, before, data + at, len - at);
		vq_push(chain, (u32)(before + size));
		at += size;
		before = 0;
	}
	card->nhand[pair] -= n;
	memmove(card->hand[pair], card->hand[pair] + n, card->nhand[pair] * sizeof(card->hand[pair][0]));
	return at == len;
}

static unsigned choose_pair(const struct card *card, const u8 *data, size_t len)
{
	struct net_headers h;
	unsigned pair;

	if (card->pairs == 1)
		return 0;
	net_parse(data, len, &h);
	pair = card->flow[net_flow_hash(data, &h) % FLOWS];
	return pair < card->pairs ? pair : 0;
}

/* The backends give flat frames. */
static bool net_receive(void *arg, const struct net_frame *frame)
{
	struct card *card = arg;
	const u8 *data = frame->iov[0].iov_base;
	size_t len = frame->iov[0].iov_len;
	unsigned pair = choose_pair(card, data, len), n;

	if (!vq_live(rx_queue(card, pair)))
		return true; /* nobody is there */
	if (len < NET_ETH_HLEN || !wanted_address(card, data) || !wanted_vlan(card, data, len)) {
		card->counters.filtered++;
		return true;
	}
	while (!take_buffers(card, pair, sizeof(struct header) + len, &n)) {
		if (vq_want_kicks(rx_queue(card, pair), true))
			continue;
		card->starved = true;
		card->counters.starved++;
		return false;
	}
	card->touched |= 1u << pair;
	fill_buffers(card, pair, frame, len, n);
	return true;
}

static void net_received(void *arg)
{
	struct card *card = arg;

	for (unsigned pair = 0; card->touched; pair++) {
		if (card->touched >> pair & 1)
			vq_notify(rx_queue(card, pair));
		card->touched &= ~(1u << pair);
		card->counters.notifies++;
	}
}

static void net_link(void *arg, bool up)
{
	struct card *card = arg;
	u16 status = up ? STATUS_LINK_UP : 0;

	/* Back again, perhaps elsewhere: switches should hear of the guest before it has something to say. */
	if (up && virtio_has(&card->vdev, F_GUEST_ANNOUNCE))
		status |= STATUS_ANNOUNCE;
	card->config.status = htole16(status);
	virtio_config_changed(&card->vdev);
}

static const struct net_device_ops device_ops = {
	.pull = net_pull,
	.sent = net_sent,
	.receive = net_receive,
	.received = net_received,
	.link = net_link,
};

/* ---- control ---- */

/* Two lists of addresses, unicast and multicast, each behind its length. */
static bool set_mac_table(struct card *card, const u8 *data, size_t len)
{
	u32 count;

	card->nmacs = 0;
	card->macs_overflow = false;
	for (unsigned list = 0; list < 2; list++) {
		if (len < sizeof(count))
			return false;
		memcpy(&count, data, sizeof(count));
		count = le32toh(count);
		data += sizeof(count);
		len -= sizeof(count);
		if (count > len / 6)
			return false;
		for (u32 i = 0; i < count; i++, data += 6, len -= 6) {
			if (card->nmacs == MACS)
				card->macs_overflow = true;
			else
				memcpy(card->macs[card->nmacs++], data, 6);
		}
	}
	return true;
}

static bool control_mac(struct card *card, u8 command, const u8 *data, size_t len)
{
	if (command == CTRL_MAC_TABLE_SET)
		return set_mac_table(card, data, len);
	if (command != CTRL_MAC_ADDR_SET || len < 6 || data[0] & 1)
		return false;
	memcpy(card->mac, data, 6);
	memcpy(card->config.mac, data, 6);
	return true;
}

static bool control_rx(struct card *card, u8 command, const u8 *data, size_t len)
{
	if (command >= RX_MODES || len < 1)
		return false;
	card->rx_mode = (u16)((card->rx_mode & ~(1u << command)) | (unsigned)!!data[0] << command);
	return true;
}

static bool control_vlan(struct card *card, u8 command, const u8 *data, size_t len)
{
	unsigned vlan;

	if (command > CTRL_VLAN_DEL || len < 2)
		return false;
	vlan = data[0] | data[1] << 8;
	if (vlan >= VLANS)
		return false;
	if (command == CTRL_VLAN_ADD)
		card->vlans[vlan / 32] |= 1u << (vlan % 32);
	else
		card->vlans[vlan / 32] &= ~(1u << (vlan % 32));
	return true;
}

static bool control_pairs(struct card *card, u8 command, const u8 *data, size_t len)
{
	unsigned pairs;

	if (command != CTRL_MQ_PAIRS_SET || len < 2 || !virtio_has(&card->vdev, F_MQ))
		return false;
	pairs = data[0] | data[1] << 8;
	if (!pairs || pairs > le16toh(card->config.max_pairs))
		return false;
	card->pairs = pairs;
	card->net->ops->tx_ready(card->net); /* a queue that was not looked at may be without kicks, and not empty */
	return true;
}

static void set_accepts(struct card *card, u64 features)
{
	card->net->accepts = (features & BIT(F_GUEST_CSUM) ? NET_ACCEPTS_CSUM : 0) |
			     (features & BIT(F_GUEST_TSO4) ? NET_ACCEPTS_TSO4 : 0) |
			     (features & BIT(F_GUEST_TSO6) ? NET_ACCEPTS_TSO6 : 0);
}

static bool control_offloads(struct card *card, const u8 *data, size_t len)
{
	u64 features;

	if (len < sizeof(features) || !virtio_has(&card->vdev, F_CTRL_GUEST_OFFLOADS))
		return false;
	memcpy(&features, data, sizeof(features));
	set_accepts(card, le64toh(features) & card->vdev.features);
	return true;
}

static bool control(struct card *card, u8 class, u8 command, const u8 *data, size_t len)
{
	switch (class) {
	case CTRL_RX:
		return control_rx(card, command, data, len);
	case CTRL_MAC:
		return control_mac(card, command, data, len);
	case CTRL_VLAN:
		return control_vlan(card, command, data, len);
	case CTRL_ANNOUNCE:
		card->config.status &= htole16((u16)~STATUS_ANNOUNCE);
		return true;
	case CTRL_MQ:
		return control_pairs(card, command, data, len);
	case CTRL_GUEST_OFFLOADS:
		return control_offloads(card, data, len);
	default:
		return false;
	}
}

static void run_command(struct card *card, struct vq_chain *chain)
{
	u8 command[CTRL_MAX], status;
	size_t len = iov_to_buf(chain->iov, chain->nread, 0, command, sizeof(command));

	status = !(len >= 2 && control(card, command[0], command[1], command + 2, len - 2));
	vq_push(chain, (u32)iov_from_buf(chain->iov + chain->nread, chain->nwrite, 0, &status, 1));
}

static void control_kick(struct card *card, struct virtq *vq)
{
	struct vq_chain *chain;

	while ((chain = vq_next(vq)))
		run_command(card, chain);
	vq_notify(vq);
}

/* ---- the class ---- */

static void net_kick(struct virtio *vdev, struct virtq *vq)
{
	struct card *card = of(vdev);
	unsigned index = vq_index(vq);

	card->counters.kicks++;
	if (index == (virtio_has(vdev, F_MQ) ? vdev->nqueues - 1 : 2)) {
		control_kick(card, vq);
	} else if (index & 1) {
		vq_want_kicks(vq, false); /* the loop's thread looks until there is nothing more */
		card->net->ops->tx_ready(card->net);
	} else if (card->starved) {
		card->starved = false;
		vq_want_kicks(vq, false);
		card->net->ops->rx_ready(card->net);
	}
}

static void net_ready(struct virtio *vdev)
{
	struct card *card = of(vdev);

	set_accepts(card, vdev->features);
	card->vlan_filter = virtio_has(vdev, F_CTRL_VLAN);
	if (!virtio_has(vdev, F_CTRL_RX))
		card->rx_mode = 1 << RX_PROMISCUOUS;
	/* Buffers to receive into interest us only when we miss some. */
	for (unsigned pair = 0; pair * 2 + 1 < vdev->nqueues; pair++) {
		if (vq_live(rx_queue(card, pair)))
			vq_want_kicks(rx_queue(card, pair), false);
	}
	card->net->ops->tx_ready(card->net);
}

static void forget(struct card *card)
{
	card->net->ops->reset(card->net);
	memset(card->nhand, 0, sizeof(card->nhand));
	card->touched = 0;
	card->net->accepts = 0;
	/* What waits for room is dropped. */
	if (card->starved)
		card->net->ops->rx_ready(card->net);
	card->starved = false;
}

static void net_reset(struct virtio *vdev)
{
	struct card *card = of(vdev);

	forget(card);
	card->pairs = 1;
	card->next_tx = 0;
	card->rx_mode = 0;
	card->nmacs = 0;
	card->macs_overflow = false;
	memset(card->vlans, 0, sizeof(card->vlans));
	memset(card->flow, 0, sizeof(card->flow));
	memcpy(card->mac, card->net->mac, 6);
	memcpy(card->config.mac, card->net->mac, 6);
	card->config.status = htole16(card->net->up ? STATUS_LINK_UP : 0);
}

static void net_free(struct virtio *vdev)
{
	struct card *card = of(vdev);

	pthread_mutex_lock(card->net->lock);
	forget(card);
	card->net->device = NULL;
	pthread_mutex_unlock(card->net->lock);
	free(card);
}

static const struct virtio_class class = {
	.name = "virtio-net",
	.id = VIRTIO_ID_NET,
	.pci_class = 0x020000,
	.queue_size = QUEUE_SIZE,
	.max_segments = MAX_SEGMENTS,
	.reset = net_reset,
	.ready = net_ready,
	.kick = net_kick,
	.free = net_free,
};

int virtio_net_create(struct vm *vm, struct net *net, unsigned pairs, struct virtio **out)
{
	struct card *card = calloc(1, sizeof(*card));
	int ret;

	if (!card)
		return -ENOMEM;
	pairs = MAX(1u, MIN(pairs, VIRTIO_NET_MAX_PAIRS));
	card->net = net;
	card->config.max_pairs = htole16((u16)pairs);
	ret = virtio_init(&card->vdev, vm, &class, FEATURES | (pairs > 1 ? BIT(F_MQ) : 0), pairs * 2 + 1,
		&card->config, pairs > 1 ? offsetof(struct config, mtu) : offsetof(struct config, max_pairs));
	if (ret) {
		free(card);
		return ret;
	}
	net_reset(&card->vdev);
	net->arg = card;
	net->device = &device_ops;
	*out = &card->vdev;
	return 0;
}

const struct virtio_net_counters *virtio_net_counters(const struct virtio *vdev)
{
	return &of(vdev)->counters;
}
