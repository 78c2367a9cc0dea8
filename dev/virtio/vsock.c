/* SPDX-License-Identifier: MIT */
/*
 * virtio-vsock: streams between programs of the guest and UNIX sockets of the host.
 *
 * All work is done on the loop's thread with the machine lock held; kicks only post. A
 * stream's flow control is credit (5.10.6.3): each side says how much it has room for. Ours is
 * a buffer for what a slow program of the host has not taken yet; a guest that sends
 * more than that has its stream reset.
 */
#include "dev/virtio/vsock.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backend/vsock.h"
#include "dev/virtio/virtio.h"

#define HOST_CID 2u
#define STREAMS 256u
#define SEGMENTS 32u /* of a buffer */
#define RESETS 64u /* for streams that do not exist; more are forgotten */
#define BUFFER 65536u
#define BATCH 128u /* packets each way, before others have their turn on the loop */
#define HEADER sizeof(struct header)
#define FIRST_PORT BIT(30) /* our side of streams that the host begins */

enum { RX, TX, EVENT, QUEUES };

enum op {
	OP_REQUEST = 1,
	OP_RESPONSE,
	OP_RST,
	OP_SHUTDOWN,
	OP_RW,
	OP_CREDIT_UPDATE,
	OP_CREDIT_REQUEST,
};

enum {
	TYPE_STREAM = 1,
	SHUTDOWN_RECEIVE = 1, /* the sender will take no more */
	SHUTDOWN_SEND = 2, /* the sender will send no more */
};

struct header { /* little-endian, as this host is */
	u64 src_cid, dst_cid;
	u32 src_port, dst_port, len;
	u16 type, op;
	u32 flags, buf_alloc, fwd_cnt;
} __attribute__((packed));

struct stream {
	struct vsock *dev;
	struct loop_source source; /* fd < 0: free */
	u32 guest_port, host_port;
	u32 owed; /* BIT(op): packets to the guest that wait for a buffer */
	bool open, from_host; /* from_host: the program waits for its "OK" */
	bool readable, ended; /* there is data; its end was read */
	bool guest_sends_no_more, guest_takes_no_more;
	u32 peer_alloc, peer_forwarded, sent; /* the guest's credit, and what we used of it */
	u32 forwarded, told; /* bytes that the program took; as the guest knows it */
	u8 *data; /* what it has not taken yet */
	u32 head, len;
};

struct vsock {
	struct virtio vdev;
	struct vsock_host *host;
	struct loop *loop;
	struct loop_event work;
	u64 cid; /* its config */
	u32 next_port;
	unsigned turn; /* which stream may send next */
	struct stream stream[STREAMS];
	struct header reset[RESETS];
	unsigned resets;
};

static struct vsock *of(struct virtio *vdev)
{
	return container_of(vdev, struct vsock, vdev);
}

static void lock(struct vsock *dev)
{
	pthread_mutex_lock(dev->vdev.pci.dev.lock);
}

static void unlock(struct vsock *dev)
{
	pthread_mutex_unlock(dev->vdev.pci.dev.lock);
}

/* ---- streams ---- */

static struct stream *find(struct vsock *dev, u32 guest_port, u32 host_port)
{
	for (unsigned i = 0; i < STREAMS; i++) {
		struct stream *s = &dev->stream[i];

		if (s->source.fd >= 0 && s->guest_port == guest_port && s->host_port == host_port)
			return s;
	}
	return NULL;
}

static void stream_ready(void *arg, u32 events);

static struct stream *stream_new(struct vsock *dev, int fd, u32 guest_port, u32 host_port)
{
	for (unsigned i = 0; i < STREAMS; i++) {
		struct stream *s = &dev->stream[i];

		if (s->source.fd >= 0)
			continue;
		*s = (struct stream){.dev = dev, .guest_port = guest_port, .host_port = host_port};
		s->source = (struct loop_source){.fd = -1, .ready = stream_ready, .arg = s};
		s->data = malloc(BUFFER);
		if (!s->data)
			return NULL;
		s->source.fd = fd;
		if (!loop_add(dev->loop, &s->source, 0))
			return s;
		s->source.fd = -1;
		free(s->data);
		return NULL;
	}
	return NULL;
}

static void stream_close(struct stream *s)
{
	int fd = s->source.fd;

	loop_remove(s->dev->loop, &s->source);
	s->source.fd = -1;
	close(fd);
	free(s->data);
	s->data = NULL;
}

static void owe(struct stream *s, enum op op)
{
	s->owed |= (u32)BIT(op);
}

static u32 credit(const struct stream *s)
{
	u32 used = s->sent - s->peer_forwarded;

	return used < s->peer_alloc ? s->peer_alloc - used : 0;
}

/* What the socket is to tell us. */
static void watch(struct stream *s)
{
	u32 events = 0;

	if (s->owed & BIT(OP_RST)) {
		loop_watch(s->dev->loop, &s->source, 0);
		return;
	}
	if (s->open && !s->ended && !s->readable && !s->guest_takes_no_more)
		events |= EPOLLIN;
	if (s->len)
		events |= EPOLLOUT;
	loop_watch(s->dev->loop, &s->source, events);
}

/* ---- to the guest ---- */

static void fill_header(const struct stream *s, enum op op, u32 len, struct header *h)
{
	*h = (struct header){
		.src_cid = HOST_CID,
		.dst_cid = s->dev->cid,
		.src_port = s->host_port,
		.dst_port = s->guest_port,
		.len = len,
		.type = TYPE_STREAM,
		.op = (u16)op,
		.flags = op == OP_SHUTDOWN ? SHUTDOWN_SEND : 0,
		.buf_alloc = BUFFER,
		.fwd_cnt = s->forwarded,
	};
}

static void send_header(struct vq_chain *chain, const struct header *h, u32 len)
{
	iov_from_buf(chain->iov + chain->nread, chain->nwrite, 0, h, HEADER);
	vq_push(chain, (u32)HEADER + len);
}

/* The stream is over for the guest when this was sent. */
static void send_owed(struct stream *s, struct vq_chain *chain)
{
	static const enum op order[] = {
		OP_RST, OP_REQUEST, OP_RESPONSE, OP_CREDIT_UPDATE, OP_CREDIT_REQUEST, OP_SHUTDOWN};
	struct header h;

	for (unsigned i = 0; i < ARRAY_SIZE(order); i++) {
		enum op op = order[i];

		if (!(s->owed & BIT(op)))
			continue;
		s->owed &= ~(u32)BIT(op);
		fill_header(s, op, 0, &h);
		s->told = s->forwarded;
		send_header(chain, &h, 0);
		if (op == OP_RST)
			stream_close(s);
		return;
	}
}

/* From the socket straight into the guest's buffer. False: there was nothing; the buffer is not used. */
static bool send_data(struct stream *s, struct vq_chain *chain)
{
	struct iovec iov[SEGMENTS], *at = iov;
	unsigned n = chain->nwrite;
	struct header h;
	ssize_t got;

	memcpy(iov, chain->iov + chain->nread, n * sizeof(*iov));
	iov_skip(&at, &n, HEADER);
	n = iov_trim(at, n, MIN(credit(s), BUFFER));
	if (!n) /* to read nothing would look like the stream's end */
		return false;
	got = readv(s->source.fd, at, (int)n);
	if (got > 0) {
		fill_header(s, OP_RW, (u32)got, &h);
		s->sent += (u32)got;
		s->told = s->forwarded;
		send_header(chain, &h, (u32)got);
		return true;
	}
	s->readable = false;
	if (!got) {
		s->ended = true;
		owe(s, OP_SHUTDOWN);
	} else if (errno != EAGAIN) {
		owe(s, OP_RST);
	}
	return false;
}

static bool wants_to_send(const struct stream *s)
{
	return s->owed || (s->readable && s->open && !s->guest_takes_no_more && credit(s));
}

/* Uses the chain for one packet of the next stream in turn. */
static bool send_one(struct vsock *dev, struct vq_chain *chain)
{
	if (dev->resets) {
		send_header(chain, &dev->reset[--dev->resets], 0);
		return true;
	}
	for (unsigned i = 0; i < STREAMS; i++) {
		struct stream *s = &dev->stream[dev->turn++ % STREAMS];

		if (s->source.fd < 0 || !wants_to_send(s))
			continue;
		if (!s->owed && send_data(s, chain))
			return true;
		if (!s->owed)
			continue;
		send_owed(s, chain);
		return true;
	}
	return false;
}

static void send_all(struct vsock *dev)
{
	struct virtq *vq = virtio_queue(&dev->vdev, RX);
	struct vq_chain *chain;
	unsigned sent = 0;

	while (sent < BATCH && (chain = vq_next(vq)) != NULL) {
		if (chain->write_len < HEADER) {
			virtio_broken(&dev->vdev, "a buffer of %u bytes is too short for a header",
				chain->write_len);
			return;
		}
		if (!send_one(dev, chain)) {
			vq_unpop(chain);
			break;
		}
		sent++;
	}
	vq_notify(vq);
	if (sent == BATCH)
		loop_event_post(&dev->work);
	for (unsigned i = 0; i < STREAMS; i++) {
		if (dev->stream[i].source.fd >= 0)
			watch(&dev->stream[i]);
	}
}

/* ---- to the program on the host ---- */

/* Once the program has everything: what the guest's ends of the stream mean for the socket. */
static void follow_shutdown(struct stream *s)
{
	if (s->len || !s->guest_sends_no_more)
		return;
	if (s->guest_takes_no_more)
		owe(s, OP_RST);
	else
		shutdown(s->source.fd, SHUT_WR);
}

static void took(struct stream *s, u32 len)
{
	s->forwarded += len;
	if (s->forwarded - s->told >= BUFFER / 2)
		owe(s, OP_CREDIT_UPDATE);
}

static void write_rest(struct stream *s)
{
	ssize_t n = send(s->source.fd, s->data + s->head, s->len, MSG_NOSIGNAL);

	if (n < 0) {
		if (errno != EAGAIN)
			owe(s, OP_RST);
		return;
	}
	s->head += (u32)n;
	s->len -= (u32)n;
	took(s, (u32)n);
	follow_shutdown(s);
}

static bool keep(struct stream *s, const struct iovec *iov, unsigned n, u32 len)
{
	if (len > BUFFER - s->len)
		return false;
	if (s->head + s->len + len > BUFFER) {
		memmove(s->data, s->data + s->head, s->len);
		s->head = 0;
	}
	iov_to_buf(iov, n, 0, s->data + s->head + s->len, len);
	s->len += len;
	return true;
}

static void write_data(struct stream *s, struct iovec *iov, unsigned n, u32 len)
{
	ssize_t done = 0;

	n = iov_trim(iov, n, len);
	if (!s->len) {
		struct msghdr msg = {.msg_iov = iov, .msg_iovlen = n};

		done = sendmsg(s->source.fd, &msg, MSG_NOSIGNAL);
		if (done < 0 && errno != EAGAIN) {
			owe(s, OP_RST);
			return;
		}
		done = MAX(done, 0);
		took(s, (u32)done);
		iov_skip(&iov, &n, (size_t)done);
	}
	if (!keep(s, iov, n, len - (u32)done))
		owe(s, OP_RST); /* more than it had credit for */
}

static void stream_ready(void *arg, u32 events)
{
	struct stream *s = arg;
	struct vsock *dev = s->dev;

	lock(dev);
	if (s->source.fd >= 0) {
		if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
			s->readable = !s->ended;
		if (events & EPOLLOUT && s->len)
			write_rest(s);
		send_all(dev);
	}
	unlock(dev);
}

/* ---- from the guest ---- */

static void refuse(struct vsock *dev, const struct header *h)
{
	if (h->op == OP_RST || dev->resets == RESETS)
		return;
	dev->reset[dev->resets++] = (struct header){
		.src_cid = HOST_CID,
		.dst_cid = dev->cid,
		.src_port = h->dst_port,
		.dst_port = h->src_port,
		.type = h->type,
		.op = OP_RST,
	};
}

static void on_request(struct vsock *dev, const struct header *h)
{
	struct stream *s;
	int fd = find(dev, h->src_port, h->dst_port) ? -EEXIST : vsock_host_connect(dev->host, h->dst_port);

	s = fd < 0 ? NULL : stream_new(dev, fd, h->src_port, h->dst_port);
	if (!s) {
		if (fd >= 0)
			close(fd);
		refuse(dev, h);
		return;
	}
	s->open = true;
	s->peer_alloc = h->buf_alloc;
	s->peer_forwarded = h->fwd_cnt;
	owe(s, OP_RESPONSE);
}

static void on_response(struct stream *s)
{
	char line[32];
	int len = snprintf(line, sizeof(line), "OK %u\n", s->host_port);

	if (s->open || !s->from_host || send(s->source.fd, line, (size_t)len, MSG_NOSIGNAL) != len)
		owe(s, OP_RST);
	else
		s->open = true;
}

static void on_shutdown(struct stream *s, u32 flags)
{
	s->guest_takes_no_more |= flags & SHUTDOWN_RECEIVE;
	s->guest_sends_no_more |= flags & SHUTDOWN_SEND;
	follow_shutdown(s);
}

static void on_packet(struct vsock *dev, const struct header *h, struct iovec *iov, unsigned n)
{
	struct stream *s = find(dev, h->src_port, h->dst_port);

	if (h->op == OP_REQUEST && h->type == TYPE_STREAM && h->dst_cid == HOST_CID) {
		on_request(dev, h);
		return;
	}
	if (!s || h->type != TYPE_STREAM) {
		refuse(dev, h);
		return;
	}
	s->peer_alloc = h->buf_alloc;
	s->peer_forwarded = h->fwd_cnt;
	switch (h->op) {
	case OP_RESPONSE:
		on_response(s);
		break;
	case OP_RST:
		stream_close(s);
		break;
	case OP_SHUTDOWN:
		on_shutdown(s, h->flags);
		break;
	case OP_RW:
		if (s->open)
			write_data(s, iov, n, h->len);
		else
			owe(s, OP_RST); /* it has not answered to ours */
		break;
	case OP_CREDIT_REQUEST:
		owe(s, OP_CREDIT_UPDATE);
		break;
	default: /* a credit update says all in its header */
		break;
	}
}

static bool receive_one(struct vsock *dev, struct vq_chain *chain)
{
	struct iovec *iov = chain->iov;
	unsigned n = chain->nread;
	struct header h;

	if (iov_to_buf(iov, n, 0, &h, HEADER) < HEADER || h.len > chain->read_len - HEADER) {
		virtio_broken(&dev->vdev, "a packet is shorter than its header says");
		return false;
	}
	iov_skip(&iov, &n, HEADER);
	on_packet(dev, &h, iov, n);
	vq_push(chain, 0);
	return true;
}

static void receive_all(struct vsock *dev)
{
	struct virtq *vq = virtio_queue(&dev->vdev, TX);
	struct vq_chain *chain;
	unsigned n = 0;

	while (n < BATCH && (chain = vq_next(vq)) != NULL && receive_one(dev, chain))
		n++;
	vq_notify(vq);
	if (n == BATCH)
		loop_event_post(&dev->work);
}

static void work(void *arg)
{
	struct vsock *dev = arg;

	lock(dev);
	receive_all(dev);
	send_all(dev);
	unlock(dev);
}

/* ---- from the host ---- */

static void on_accept(void *arg, int fd, u32 port)
{
	struct vsock *dev = arg;
	struct stream *s = NULL;

	lock(dev);
	if (dev->vdev.driver_ok)
		s = stream_new(dev, fd, port, dev->next_port++ | (u32)FIRST_PORT);
	if (s) {
		s->from_host = true;
		owe(s, OP_REQUEST);
		send_all(dev);
	} else {
		close(fd);
	}
	unlock(dev);
}

/* ---- life ---- */

static void kick(struct virtio *vdev, struct virtq *vq)
{
	(void)vq;
	loop_event_post(&of(vdev)->work);
}

static void close_all(struct vsock *dev)
{
	for (unsigned i = 0; i < STREAMS; i++) {
		if (dev->stream[i].source.fd >= 0)
			stream_close(&dev->stream[i]);
	}
	dev->resets = 0;
}

static void reset(struct virtio *vdev)
{
	close_all(of(vdev));
}

static void release(struct virtio *vdev)
{
	struct vsock *dev = of(vdev);

	close_all(dev);
	loop_event_fini(dev->loop, &dev->work);
	vsock_host_free(dev->host);
	free(dev);
}

static const struct virtio_class class_vsock = {
	.name = "virtio-vsock",
	.id = VIRTIO_ID_VSOCK,
	.pci_class = 0x028000,
	.queue_size = 128,
	.max_segments = SEGMENTS,
	.reset = reset,
	.kick = kick,
	.free = release,
};

static struct vsock *vsock_new(struct loop *loop, u64 cid, struct vsock_host *host)
{
	struct vsock *dev = calloc(1, sizeof(*dev));

	if (!dev)
		return NULL;
	dev->loop = loop;
	dev->cid = cid;
	dev->host = host;
	for (unsigned i = 0; i < STREAMS; i++)
		dev->stream[i].source.fd = -1;
	return dev;
}

int virtio_vsock_create(
	struct vm *vm, struct pci_host *pci, struct loop *loop, u64 cid, const char *path, struct err *err)
{
	struct vsock_host *host;
	struct vsock *dev;
	int ret = vsock_host_create(loop, path, &host, err);

	if (ret)
		return ret;
	dev = vsock_new(loop, cid, host);
	if (!dev) {
		vsock_host_free(host);
		return -ENOMEM;
	}
	ret = loop_event_init(loop, &dev->work, work, dev);
	if (!ret)
		ret = virtio_init(&dev->vdev, vm, &class_vsock, 0, QUEUES, &dev->cid, sizeof(dev->cid));
	if (ret) {
		release(&dev->vdev);
		return ret;
	}
	vsock_host_listen(host, on_accept, dev);
	return virtio_plug(&dev->vdev, pci);
}
