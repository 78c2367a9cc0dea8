/* SPDX-License-Identifier: MIT */
/*
 * The 82540EM's descriptor rings. The loop's thread pulls frames out of the transmit ring and puts
 * received ones into the receive ring. Descriptors are read anew each time: what they
 * say is the guest's, and may change.
 */
#include <string.h>

#include "backend/net_offload.h"
#include "dev/e1000_internal.h"
#include "host/iov.h"
#include "vm/dma.h"

#define DESC_SIZE 16u
#define FCS_LEN 4u
#define MIN_FRAME 60u
#define MAX_DESCS 256u /* to one frame; further ones are skipped to its end */

struct desc {
	u64 addr;
	u32 lower, upper;
};

enum { /* lower, transmit */
	TX_EOP = BIT(24),
	TX_IC = BIT(26), /* legacy: checksum; else: segmentation */
	TX_TSE = BIT(26),
	TX_RS = BIT(27),
	TX_DEXT = BIT(29),
	TX_VLE = BIT(30),
	TX_DATA = BIT(20), /* with TX_DEXT: data, not context */
	TX_DONE = BIT(0), /* upper */
	TX_IXSM = BIT(8),
	TX_TXSM = BIT(9),
};

enum { /* status, receive */
	RX_DD = BIT(0),
	RX_EOP = BIT(1),
	RX_IXSM = BIT(2),
	RX_VP = BIT(3),
	RX_TCPCS = BIT(5),
	RX_IPCS = BIT(6),
	RXCSUM_IPOFL = BIT(8),
	RXCSUM_TUOFL = BIT(9),
};

static u64 ring_base(const struct e1000 *e, u32 base_low)
{
	return e1000_reg(e, base_low) | (u64)e1000_reg(e, base_low + 4) << 32;
}

static u32 ring_size(const struct e1000 *e, u32 base_low)
{
	return e1000_reg(e, base_low + 8) / DESC_SIZE;
}

static u16 after(u16 index, u32 size)
{
	return (u16)(index + 1u >= size ? 0 : index + 1u);
}

static bool read_desc(struct e1000 *e, u32 base_low, u16 index, struct desc *desc)
{
	return !dma_read(e->vm, ring_base(e, base_low) + index * (u64)DESC_SIZE, desc, sizeof(*desc));
}

/* Length, status and the rest in one store, since the driver may be looking. */
static void write_back(struct e1000 *e, u32 base_low, u16 index, u64 result)
{
	if (pci_bus_master(&e->pci)) /* no more, perhaps, for a frame that was under way */
		dma_write(e->vm, ring_base(e, base_low) + index * (u64)DESC_SIZE + 8, &result,
			sizeof(result));
}

/* ---- transmit: from descriptors to a frame ---- */

struct gather { /* of one frame, while its descriptors are walked */
	struct iovec *iov;
	unsigned n;
	u32 len;
	u32 lower, upper; /* of the first data descriptor; of the last, for VLAN */
	u32 last_lower, last_upper;
	struct e1000_context context;
	bool any, bad;
};

static void load_context(struct e1000_context *c, const struct desc *desc)
{
	u32 tu = (u32)(desc->addr >> 32), ip = (u32)desc->addr;

	*c = (struct e1000_context){
		.ipcss = (u8)ip,
		.ipcso = (u8)(ip >> 8),
		.ipcse = (u16)(ip >> 16),
		.tucss = (u8)tu,
		.tucso = (u8)(tu >> 8),
		.tcp = desc->lower >> 24 & 1,
		.ipv4 = desc->lower >> 25 & 1,
		.tse = desc->lower & TX_TSE,
		.hdr_len = (u8)(desc->upper >> 8),
		.mss = (u16)(desc->upper >> 16),
	};
}

static bool is_context(const struct desc *desc)
{
	return (desc->lower & TX_DEXT) && !(desc->lower & TX_DATA);
}

static void add_data(struct e1000 *e, struct gather *g, const struct desc *desc)
{
	u32 len = desc->lower & (desc->lower & TX_DEXT ? 0xfffff : 0xffff);

	if (!g->any) {
		g->lower = desc->lower;
		g->upper = desc->upper;
	}
	g->any = true;
	g->last_lower = desc->lower;
	g->last_upper = desc->upper;
	g->len += len;
	if (g->len > NET_FRAME_MAX || dma_map(e->vm, desc->addr, len, false, g->iov, &g->n, E1000_PIECES))
		g->bad = true;
}

/*
 * Walks one frame's descriptors from tx_next on. False: the ring ends before the frame does, and
 * nothing is consumed. Else *end is the index behind it.
 */
static bool walk_frame(struct e1000 *e, struct gather *g, u16 *end)
{
	u32 size = ring_size(e, TDBAL), tail = e1000_reg(e, TDT);
	u16 at = e->tx_next;
	struct desc desc;

	g->context = e->context;
	if (tail >= size) /* would never be reached */
		return false;
	for (unsigned i = 0; at != tail && at < size; i++) {
		if (!read_desc(e, TDBAL, at, &desc)) {
			g->bad = true;
			desc = (struct desc){.lower = TX_EOP};
		}
		at = after(at, size);
		*end = at;
		if (is_context(&desc)) {
			load_context(&g->context, &desc);
		} else {
			add_data(e, g, &desc);
			if (desc.lower & TX_EOP)
				return true;
		}
		if (i >= MAX_DESCS) { /* consumed so far; what follows belongs to the same frame */
			e->tx_skip = true;
			g->bad = true;
			return true;
		}
	}
	/* A context alone may be taken already; half a frame is not. */
	return !g->any && at != e->tx_next;
}

/* ---- transmit: what the card does to a frame ---- */

static void put16(u8 *p, unsigned value)
{
	p[0] = (u8)(value >> 8);
	p[1] = (u8)value;
}

static u16 get16(const u8 *p)
{
	return (u16)(p[0] << 8 | p[1]);
}

/* Lengths and what depends on them, as the first segment's header has to have them before the cutting. */
static bool prepare_segmentation(
	const struct gather *g, u8 *header, unsigned len, struct net_offload *offload)
{
	const struct e1000_context *c = &g->context;
	unsigned pseudo = c->tucso;

	if (c->hdr_len > len || c->ipcss + 20u > c->hdr_len || c->tucss + 20u > c->hdr_len ||
		c->tucso + 2u > c->hdr_len || c->tucso < c->tucss || !c->mss)
		return false;
	if (c->ipv4)
		put16(header + c->ipcss + 2, g->len - c->ipcss);
	else
		put16(header + c->ipcss + 4, g->len - c->ipcss - 40);
	/* The driver's pseudo header has no length yet. */
	put16(header + pseudo, net_fold(net_sum(&(u16){__builtin_bswap16((u16)(g->len - c->tucss))}, 2,
				       net_sum(header + pseudo, 2, 0))));
	if (g->len - c->hdr_len <= c->mss)
		return true;
	offload->gso = c->ipv4 ? NET_GSO_TCPV4 : NET_GSO_TCPV6;
	offload->gso_size = c->mss;
	offload->hdr_len = c->hdr_len;
	return true;
}

static void sum_ip_header(const struct e1000_context *c, u8 *header, unsigned len)
{
	unsigned end = c->ipcse + 1u;

	if (c->ipcso + 2u > len || end > len || c->ipcss >= end)
		return;
	put16(header + c->ipcso, 0);
	put16(header + c->ipcso, (u16)~net_fold(net_sum(header + c->ipcss, end - c->ipcss, 0)));
}

static void insert_vlan(struct e1000 *e, const struct gather *g, struct e1000_tx *tx, unsigned *len,
	struct net_offload *offload)
{
	memmove(tx->header + 16, tx->header + 12, *len - 12);
	put16(tx->header + 12, e1000_reg(e, VET) & 0xffff);
	put16(tx->header + 14, g->last_upper >> 16);
	*len += 4;
	if (offload->flags)
		offload->csum_start += 4;
	if (offload->gso)
		offload->hdr_len += 4;
}

static void ask_checksum(struct net_offload *offload, unsigned start, unsigned field)
{
	if (field < start)
		return;
	offload->flags = NET_NEEDS_CSUM;
	offload->csum_start = (u16)start;
	offload->csum_offset = (u16)(field - start);
}

/* The frame's start, copied so that it can be changed; the rest stays where it is. */
static unsigned copy_header(struct e1000_tx *tx, struct gather *g)
{
	unsigned len = (unsigned)iov_to_buf(tx->iov + 1, g->n, 0, tx->header, E1000_HEADER);
	struct iovec *rest = tx->iov + 1;
	unsigned n = g->n;

	iov_skip(&rest, &n, len);
	g->iov = rest - 1; /* in front of it there is always a place */
	g->n = n + 1;
	return len;
}

static bool finish_frame(struct e1000 *e, struct e1000_tx *tx, struct gather *g, struct net_offload *offload)
{
	bool extended = g->lower & TX_DEXT, tse = extended && (g->lower & TX_TSE) && g->context.tcp;
	bool ip = extended && (g->upper & TX_IXSM),
	     vlan = (g->last_lower & TX_VLE) && (e1000_reg(e, CTRL) & CTRL_VME);
	unsigned len;

	*offload = (struct net_offload){0};
	if (g->len < NET_ETH_HLEN)
		return false;
	if (extended && (g->upper & TX_TXSM))
		ask_checksum(offload, g->context.tucss, g->context.tucso);
	else if (!extended && (g->lower & TX_IC))
		ask_checksum(offload, g->upper >> 8 & 0xff, g->lower >> 16 & 0xff);
	if (!tse && !ip && !vlan)
		return true;
	len = copy_header(tx, g);
	if (tse && !prepare_segmentation(g, tx->header, len, offload))
		return false;
	if (ip)
		sum_ip_header(&g->context, tx->header, len);
	if (vlan)
		insert_vlan(e, g, tx, &len, offload);
	g->iov[0] = (struct iovec){.iov_base = tx->header, .iov_len = len};
	return true;
}

/* ---- transmit ---- */

/* The descriptors up to end are the card's no more. */
static void complete(struct e1000 *e, u16 end)
{
	u32 size = ring_size(e, TDBAL);
	struct desc desc;

	for (u32 i = 0; e1000_reg(e, TDH) != end && i < size; i++) {
		u16 at = (u16)e1000_reg(e, TDH);

		if (read_desc(e, TDBAL, at, &desc) && (desc.lower & TX_RS)) {
			write_back(e, TDBAL, at, desc.lower | (u64)(desc.upper | TX_DONE) << 32);
			e->told |= CAUSE_TXDW;
		}
		e->reg[TDH / 4] = after(at, size);
	}
}

static void count_sent(struct e1000 *e, u32 len)
{
	u64 octets = e1000_reg(e, GOTCL) | (u64)e1000_reg(e, GOTCL + 4) << 32;

	octets += len + FCS_LEN;
	e->reg[GPTC / 4]++;
	e->reg[TPT / 4]++;
	e->reg[GOTCL / 4] = e->reg[TOTL / 4] = (u32)octets;
	e->reg[GOTCL / 4 + 1] = e->reg[TOTL / 4 + 1] = (u32)(octets >> 32);
}

/* One frame into the slot; false: it was none (but perhaps descriptors were consumed). */
static bool pull_frame(struct e1000 *e, struct e1000_tx *tx, struct net_frame *frame)
{
	struct gather g = {.iov = tx->iov + 1};
	bool skipping = e->tx_skip;
	u16 end = e->tx_next;

	e->tx_skip = false;
	if (!walk_frame(e, &g, &end)) {
		e->tx_skip = skipping;
		return false;
	}
	e->tx_next = end;
	e->context = g.context;
	tx->end = end;
	if (!g.any || g.bad || skipping || !finish_frame(e, tx, &g, &frame->offload))
		return false;
	count_sent(e, g.len);
	frame->iov = g.iov;
	frame->niov = g.n;
	frame->token = tx;
	return true;
}

static bool e1000_pull(void *arg, struct net_frame *frame)
{
	struct e1000 *e = arg;

	if (!(e1000_reg(e, TCTL) & TCTL_EN) || !pci_bus_master(&e->pci))
		return false;
	while (e->busy < E1000_SLOTS) {
		struct e1000_tx *tx = &e->slots[(e->head + e->busy) % E1000_SLOTS];
		u16 before = e->tx_next;

		if (pull_frame(e, tx, frame)) {
			e->busy++;
			return true;
		}
		if (e->tx_next == before)
			break;
		if (!e->busy) { /* nothing before it is under way */
			complete(e, e->tx_next);
			e1000_raise(e, e->told);
			e->told = 0;
		}
	}
	return false;
}

static void e1000_sent(void *arg, const struct net_frame *frames, unsigned n)
{
	struct e1000 *e = arg;

	for (unsigned i = 0; i < n; i++) {
		const struct e1000_tx *tx = frames[i].token;

		complete(e, tx->end);
		e->head = (e->head + 1) % E1000_SLOTS;
		e->busy--;
	}
	if (!e->busy)
		complete(e, e->tx_next); /* what was no frame, behind the last one */
	if (e1000_reg(e, TDH) == e1000_reg(e, TDT))
		e->told |= CAUSE_TXQE;
	e1000_raise(e, e->told);
	e->told = 0;
}

void e1000_forget_frames(struct e1000 *e)
{
	e->net->ops->reset(e->net);
	e->head = e->busy = 0;
	e->tx_next = 0;
	e->tx_skip = false;
	e->told = 0;
	e->context = (struct e1000_context){0};
}

/* ---- what is received at all ---- */

static bool wanted_multicast(const struct e1000 *e, const u8 *mac)
{
	static const u8 shift[] = {4, 3, 2, 0};
	unsigned s = shift[e1000_reg(e, RCTL) >> 12 & 3];
	unsigned hash = (mac[4] >> s | (unsigned)mac[5] << (8 - s)) & 0xfff;

	return e1000_reg(e, MTA + hash / 32 * 4) >> (hash % 32) & 1;
}

static bool wanted_address(const struct e1000 *e, const u8 *mac)
{
	static const u8 broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
	u32 rctl = e1000_reg(e, RCTL), low;
	u16 high;

	if (!memcmp(mac, broadcast, 6))
		return rctl & (RCTL_BAM | RCTL_MPE);
	if (rctl & (mac[0] & 1 ? RCTL_MPE : RCTL_UPE))
		return true;
	memcpy(&low, mac, 4);
	memcpy(&high, mac + 4, 2);
	for (unsigned i = 0; i < 16; i++) {
		u32 rah = e1000_reg(e, RAH + i * 8);

		if (rah >> 31 && e1000_reg(e, RAL + i * 8) == low && (u16)rah == high)
			return true;
	}
	return (mac[0] & 1) && wanted_multicast(e, mac);
}

static bool has_tag(const struct e1000 *e, const u8 *frame, size_t len)
{
	return len >= NET_ETH_HLEN + 4 && get16(frame + 12) == (e1000_reg(e, VET) & 0xffff);
}

static bool wanted(const struct e1000 *e, const u8 *frame, size_t len)
{
	u32 rctl = e1000_reg(e, RCTL);
	unsigned vlan;

	if (len < NET_ETH_HLEN || len > (rctl & RCTL_LPE ? 16384 - FCS_LEN : 1518u))
		return false;
	if ((rctl & RCTL_VFE) && has_tag(e, frame, len)) {
		vlan = get16(frame + 14) & 0xfff;
		if (!(e1000_reg(e, VFTA + vlan / 32 * 4) >> (vlan % 32) & 1))
			return false;
	}
	return wanted_address(e, frame);
}

/* ---- receive ---- */

static u32 buffer_size(const struct e1000 *e)
{
	u32 rctl = e1000_reg(e, RCTL), size = 2048u >> (rctl >> 16 & 3);

	return rctl & RCTL_BSEX && size < 2048 ? size * 16 : size;
}

/* How many descriptors the card has. */
static u32 rx_free(const struct e1000 *e)
{
	u32 size = ring_size(e, RDBAL), head = e1000_reg(e, RDH), tail = e1000_reg(e, RDT);

	if (!size || head >= size || tail >= size)
		return 0;
	return tail >= head ? tail - head : size - head + tail;
}

bool e1000_rx_room(const struct e1000 *e)
{
	return rx_free(e) > 0;
}

static u64 checksum_status(const struct e1000 *e, const struct net_frame *frame, const u8 *data, size_t len)
{
	u32 on = e1000_reg(e, RXCSUM);
	struct net_headers h;
	u64 status = 0;

	if (!(frame->offload.flags & NET_CSUM_VALID))
		return RX_IXSM;
	net_parse(data, len, &h);
	if (h.version == 4 && (on & RXCSUM_IPOFL))
		status |= RX_IPCS;
	if (h.payload && (on & RXCSUM_TUOFL))
		status |= RX_TCPCS;
	return status ? status : RX_IXSM;
}

/* size bytes, of which the last beyond the data are zeroes (padding, and the place of the FCS). */
static void fill(struct e1000 *e, u64 addr, const u8 *data, size_t len, size_t size)
{
	static const u8 zeroes[MIN_FRAME + FCS_LEN];
	size_t copied = MIN(len, size);

	if (!addr) /* the driver's way to say: nowhere */
		return;
	if (copied)
		dma_write(e->vm, addr, data, copied);
	if (size > copied)
		dma_write(e->vm, addr + copied, zeroes, MIN(size - copied, sizeof(zeroes)));
}

static void put_frame(struct e1000 *e, const u8 *data, size_t len, size_t total, u64 status, u16 tag)
{
	u32 room = buffer_size(e), size = ring_size(e, RDBAL);
	struct desc desc;

	for (size_t at = 0; at < total;) {
		size_t piece = MIN(room, total - at);
		u16 index = (u16)e1000_reg(e, RDH);
		bool last = at + piece == total;

		if (read_desc(e, RDBAL, index, &desc))
			fill(e, desc.addr, data + at, len > at ? len - at : 0, piece);
		write_back(e, RDBAL, index,
			piece | (status | RX_DD | (last ? RX_EOP : 0)) << 32 | (u64)tag << 48);
		e->reg[RDH / 4] = after(index, size);
		at += piece;
	}
}

static void count_received(struct e1000 *e, const u8 *data, size_t len)
{
	u64 octets = e1000_reg(e, GORCL) | (u64)e1000_reg(e, GORCL + 4) << 32;

	octets += len;
	e->reg[GPRC / 4]++;
	e->reg[TPR / 4]++;
	e->reg[GORCL / 4] = e->reg[TORL / 4] = (u32)octets;
	e->reg[GORCL / 4 + 1] = e->reg[TORL / 4 + 1] = (u32)(octets >> 32);
	if (data[0] == 0xff)
		e->reg[BPRC / 4]++;
	else if (data[0] & 1)
		e->reg[MPRC / 4]++;
}

/* Fewer than that many are left: the driver is told early. */
static bool below_threshold(const struct e1000 *e)
{
	return rx_free(e) <= ring_size(e, RDBAL) >> ((e1000_reg(e, RCTL) >> 8 & 3) + 1);
}

/* The tag goes to the descriptor; the addresses, in front of it, move up to what follows it. */
static u64 strip_vlan(const struct e1000 *e, u8 **data, size_t *len, u16 *tag)
{
	if (!(e1000_reg(e, CTRL) & CTRL_VME) || !has_tag(e, *data, *len))
		return 0;
	*tag = get16(*data + 14);
	memmove(*data + 4, *data, 12);
	*data += 4;
	*len -= 4;
	return RX_VP;
}

/* The backends give flat frames, which may be changed. */
static bool e1000_receive(void *arg, const struct net_frame *frame)
{
	struct e1000 *e = arg;
	u8 *data = frame->iov[0].iov_base;
	size_t len = frame->iov[0].iov_len, total;
	u64 status;
	u16 tag = 0;

	if (!(e1000_reg(e, RCTL) & RCTL_EN) || !pci_bus_master(&e->pci))
		return true; /* nobody is there */
	if (!wanted(e, data, len)) {
		e->counters.filtered++;
		return true;
	}
	if ((u64)rx_free(e) * buffer_size(e) < MAX(len, MIN_FRAME) + FCS_LEN) {
		e->starved = true;
		e->counters.starved++;
		return false;
	}
	status = checksum_status(e, frame, data, len);
	count_received(e, data, len);
	status |= strip_vlan(e, &data, &len, &tag);
	total = MAX(len, MIN_FRAME) + (e1000_reg(e, RCTL) & RCTL_SECRC ? 0 : FCS_LEN);
	put_frame(e, data, len, total, status, tag);
	e->told |= CAUSE_RXT0 | (below_threshold(e) ? CAUSE_RXDMT0 : 0);
	return true;
}

static void e1000_received(void *arg)
{
	struct e1000 *e = arg;

	e1000_raise(e, e->told);
	e->told = 0;
}

static void e1000_link(void *arg, bool up)
{
	struct e1000 *e = arg;

	(void)up; /* STATUS and the PHY ask net itself */
	e1000_raise(e, CAUSE_LSC);
}

const struct net_device_ops e1000_net_ops = {
	.pull = e1000_pull,
	.sent = e1000_sent,
	.receive = e1000_receive,
	.received = e1000_received,
	.link = e1000_link,
};
