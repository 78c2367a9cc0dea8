/* SPDX-License-Identifier: MIT */
/*
 * libslirp on our loop. Its sockets are in an epoll instance of their own, which is one source of
 * the loop: all that is ready is handled in one go. Watches that are no longer wanted
 * are taken back only when they fire, since slirp changes its mind with every segment.
 *
 * slirp is told of an interface with a large MTU and of a guest with a large MSS: TCP data comes and
 * goes in pieces of many wire-sized segments, at the cost of one. What goes to the guest says
 * the MSS that the guest announced (struct net_offload), or is cut to it.
 */
#include "backend/net_user.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <slirp/libslirp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "host/iov.h"
#include "host/log.h"

#define FLAT_ROOM (NET_FRAME_MAX + 64)
#define SLIRP_MTU 65521 /* its maximum */
#define GUEST_MTU 1500u
#define GUEST_MSS 1460
/* Several to the window of 64 KiB (slirp knows no window scaling), and each a whole number of segments. */
#define RAISED_MSS (GUEST_MSS * 11)
#define READY_BATCH 32
#define MSS_SLOTS 256u
#define NS_PER_MS 1000000

struct watched { /* by descriptor */
	u32 armed, wanted, ready; /* EPOLL* */
	bool known; /* to epoll */
};

struct user {
	struct net_pump pump;
	Slirp *slirp;
	int epoll;
	struct loop_source ready; /* the epoll instance */
	struct loop_timer timer;
	struct loop_timer ra_timer; /* router advertisements */
	bool ra_timer_made;
	void *ra_opaque;
	struct watched *fd;
	int nfds, highest;
	u8 *flat; /* a frame of the guest */
	size_t flat_len;
	u16 mss[MSS_SLOTS]; /* what the guest announced, by flow */
	struct net_offload offload; /* the flat frame's */
};

static u64 now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (u64)now.tv_sec * 1000000000 + (u64)now.tv_nsec;
}

static struct user *of(struct net_pump *pump)
{
	return container_of(pump, struct user, pump);
}

/* ---- frames of the guest ---- */

/* The guest's SYN says how large its segments may be: we remember it, and slirp is told something else. */
static void raise_mss(struct user *user)
{
	u16 mss = net_syn_mss(user->flat, user->flat_len, RAISED_MSS, &user->offload);
	struct net_headers h;

	if (!mss)
		return;
	net_parse(user->flat, user->flat_len, &h);
	user->mss[net_flow_hash(user->flat, &h) % MSS_SLOTS] = mss;
}

static int user_send(struct net_pump *pump, const struct net_frame *frame)
{
	struct user *user = of(pump);

	user->flat_len = iov_to_buf(frame->iov, frame->niov, 0, user->flat, NET_FRAME_MAX);
	user->offload = frame->offload;
	return 0;
}

static void user_sent(struct net_pump *pump)
{
	struct user *user = of(pump);

	raise_mss(user);
	if (!net_csum_complete(user->flat, user->flat_len, &user->offload)) {
		pump->tx.dropped++;
		return;
	}
	/* slirp looks at the whole header of whatever it is. */
	if (user->flat_len < 64)
		memset(user->flat + user->flat_len, 0, 64 - user->flat_len);
	slirp_input(user->slirp, user->flat, (int)user->flat_len);
}

/* ---- frames of slirp ---- */

/* Large TCP segments get what a device needs to take them, or the pump to cut them. */
static bool receive_tcp(struct user *user, u8 *frame, size_t len, const struct net_headers *h)
{
	u16 mss = user->mss[net_flow_hash(frame, h) % MSS_SLOTS];
	struct net_offload offload = {.flags = NET_CSUM_VALID};
	u16 sum;

	if (!mss)
		mss = GUEST_MSS;
	if (len - h->payload > mss) {
		offload = (struct net_offload){.flags = NET_NEEDS_CSUM,
			.gso = h->version == 4 ? NET_GSO_TCPV4 : NET_GSO_TCPV6,
			.hdr_len = (u16)h->payload,
			.gso_size = mss,
			.csum_start = (u16)h->l4,
			.csum_offset = 16};
		sum = net_fold(net_pseudo_sum(frame, h, len - h->l4));
		frame[h->l4 + 16] = (u8)(sum >> 8);
		frame[h->l4 + 17] = (u8)sum;
	}
	return net_pump_receive(&user->pump, frame, len, &offload);
}

/* Datagrams that the real interface would never have seen whole. */
static void receive_fragments(struct user *user, const u8 *frame, size_t len)
{
	const struct net_offload none = {0};
	struct net_cutter cutter;
	size_t size;

	if (!net_cut_ip(&cutter, frame, len, GUEST_MTU)) {
		user->pump.rx.dropped++;
		return;
	}
	while ((size = net_cut_next(&cutter, user->flat)))
		net_pump_receive(&user->pump, user->flat, size, &none);
}

static ssize_t send_packet(const void *data, size_t len, void *arg)
{
	const struct net_offload none = {0};
	struct user *user = arg;
	struct net_headers h;
	u8 *frame = (u8 *)(uintptr_t)data; /* slirp's own copy for us */

	net_parse(frame, len, &h);
	if (h.payload && h.protocol == IPPROTO_TCP)
		receive_tcp(user, frame, len, &h);
	else if (len > GUEST_MTU + NET_ETH_HLEN)
		receive_fragments(user, frame, len);
	else
		net_pump_receive(&user->pump, frame, len, &none);
	return (ssize_t)len;
}

/* ---- slirp's sockets and time ---- */

static bool grow(struct user *user, int fd)
{
	int n = MAX(64, user->nfds);
	struct watched *more;

	if (fd < user->nfds)
		return true;
	while (n <= fd)
		n *= 2;
	more = realloc(user->fd, (size_t)n * sizeof(*more)); /* only when there are more sockets than ever */
	if (!more)
		return false;
	memset(more + user->nfds, 0, (size_t)(n - user->nfds) * sizeof(*more));
	user->fd = more;
	user->nfds = n;
	return true;
}

static void arm(struct user *user, int fd, u32 events)
{
	struct watched *w = &user->fd[fd];
	struct epoll_event event = {.events = events, .data.fd = fd};

	w->armed = events;
	if (!events) { /* epoll would still tell of hang-ups */
		epoll_ctl(user->epoll, EPOLL_CTL_DEL, fd, NULL);
		w->known = false;
		return;
	}
	if (w->known && epoll_ctl(user->epoll, EPOLL_CTL_MOD, fd, &event) && errno == ENOENT)
		w->known = false; /* it is another file by now */
	if (!w->known && epoll_ctl(user->epoll, EPOLL_CTL_ADD, fd, &event) && errno == EEXIST)
		epoll_ctl(user->epoll, EPOLL_CTL_MOD, fd, &event);
	w->known = true;
}

static int add_poll(int fd, int events, void *arg)
{
	struct user *user = arg;
	u32 want = (events & SLIRP_POLL_IN ? EPOLLIN : 0) | (events & SLIRP_POLL_OUT ? EPOLLOUT : 0) |
		   (events & SLIRP_POLL_PRI ? EPOLLPRI : 0);

	if (!grow(user, fd))
		return -1;
	user->fd[fd].wanted = want;
	user->highest = MAX(user->highest, fd);
	if (want & ~user->fd[fd].armed)
		arm(user, fd, want | user->fd[fd].armed);
	return fd;
}

static int get_revents(int fd, void *arg)
{
	struct user *user = arg;
	u32 ready = fd < 0 || fd >= user->nfds ? 0 : user->fd[fd].ready;

	return (ready & EPOLLIN ? SLIRP_POLL_IN : 0) | (ready & EPOLLOUT ? SLIRP_POLL_OUT : 0) |
	       (ready & EPOLLPRI ? SLIRP_POLL_PRI : 0) | (ready & EPOLLERR ? SLIRP_POLL_ERR : 0) |
	       (ready & EPOLLHUP ? SLIRP_POLL_HUP : 0);
}

/* What slirp waits for now. */
static void plan(struct user *user)
{
	u32 timeout = UINT32_MAX;

	for (int i = 0; i <= user->highest; i++)
		user->fd[i].wanted = 0;
	user->highest = -1;
	slirp_pollfds_fill(user->slirp, &timeout, add_poll, user);
	/* A whole second is its way to say that nothing is due. */
	if (timeout < 1000)
		loop_timer_set(&user->timer, now_ns() + (u64)timeout * NS_PER_MS);
}

/* Its clock goes on, and it does what is due; error: no socket is looked at. */
static void step(struct user *user, bool error)
{
	slirp_pollfds_poll(user->slirp, error, get_revents, user);
	net_pump_received(&user->pump);
	plan(user);
}

static void user_batch(struct net_pump *pump)
{
	step(of(pump), true);
}

static void timer_fired(void *arg)
{
	struct user *user = arg;

	loop_timer_taken(&user->timer);
	step(user, true);
}

/* The guest has no room: slirp is not asked for more, and TCP's windows tell the senders. */
static void hold_on(struct user *user)
{
	loop_watch(user->pump.loop, &user->ready, 0);
}

static void sockets_ready(void *arg, u32 events)
{
	struct epoll_event event[READY_BATCH];
	struct user *user = arg;
	int n = epoll_wait(user->epoll, event, READY_BATCH, 0);

	(void)events;
	for (int i = 0; i < n; i++) {
		struct watched *w = &user->fd[event[i].data.fd];

		w->ready = event[i].events & (w->wanted | EPOLLERR | EPOLLHUP);
		if (event[i].events & ~w->wanted)
			arm(user, event[i].data.fd, w->wanted);
	}
	step(user, false);
	for (int i = 0; i < n; i++)
		user->fd[event[i].data.fd].ready = 0;
	if (net_pump_waiting(&user->pump))
		hold_on(user);
}

static void user_drained(struct net_pump *pump)
{
	loop_watch(pump->loop, &of(pump)->ready, EPOLLIN);
}

static void register_fd(int fd, void *arg)
{
	struct user *user = arg;

	if (grow(user, fd))
		user->fd[fd] = (struct watched){0};
}

static void unregister_fd(int fd, void *arg)
{
	struct user *user = arg;

	if (fd < 0 || fd >= user->nfds)
		return;
	if (user->fd[fd].known)
		epoll_ctl(user->epoll, EPOLL_CTL_DEL, fd, NULL);
	user->fd[fd] = (struct watched){0};
}

static int64_t get_clock(void *arg)
{
	(void)arg;
	return (int64_t)now_ns();
}

/* ---- the one timer that slirp asks for ---- */

static void ra_fired(void *arg)
{
	struct user *user = arg;

	loop_timer_taken(&user->ra_timer);
	slirp_handle_timer(user->slirp, SLIRP_TIMER_RA, user->ra_opaque);
	step(user, true);
}

static void *timer_new(SlirpTimerId id, void *cb_opaque, void *arg)
{
	struct user *user = arg;

	(void)id;
	user->ra_opaque = cb_opaque;
	user->ra_timer_made = !loop_timer_init(user->pump.loop, &user->ra_timer, ra_fired, user);
	return &user->ra_timer;
}

static void timer_free(void *timer, void *arg)
{
	struct user *user = arg;

	(void)timer;
	if (user->ra_timer_made)
		loop_timer_fini(user->pump.loop, &user->ra_timer);
	user->ra_timer_made = false;
}

static void timer_mod(void *timer, int64_t expire_ms, void *arg)
{
	struct user *user = arg;

	(void)timer;
	if (user->ra_timer_made)
		loop_timer_set(&user->ra_timer, (u64)expire_ms * NS_PER_MS);
}

static void guest_error(const char *message, void *arg)
{
	(void)message; /* of its making, and as many as it likes */
	(void)arg;
}

static void notify(void *arg)
{
	(void)arg;
}

static const SlirpCb callbacks = {
	.send_packet = send_packet,
	.guest_error = guest_error,
	.clock_get_ns = get_clock,
	.timer_new_opaque = timer_new,
	.timer_free = timer_free,
	.timer_mod = timer_mod,
	.register_poll_fd = register_fd,
	.unregister_poll_fd = unregister_fd,
	.notify = notify,
};

/* ---- forwards ---- */

static int parse_port(const char *text, u16 *port)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	*port = (u16)value;
	return *text < '0' || *text > '9' || *end || !value || value > 65535 ? -EINVAL : 0;
}

int net_forward_parse(const char *text, struct net_forward *forward, struct err *err)
{
	char copy[128], *field[4] = {copy}, *rest = copy;
	unsigned n = 0;
	struct in_addr addr = {.s_addr = htonl(INADDR_LOOPBACK)};

	*forward = (struct net_forward){0};
	if (strlen(text) >= sizeof(copy))
		return err_set(err, EINVAL, "forward %.40s...: too long", text);
	strcpy(copy, text);
	while (rest && n < ARRAY_SIZE(field))
		field[n++] = strsep(&rest, ":");
	forward->udp = !strcmp(field[0], "udp");
	if (rest || n < 3 || (!forward->udp && strcmp(field[0], "tcp")) ||
		parse_port(field[n - 2], &forward->host_port) ||
		parse_port(field[n - 1], &forward->guest_port) || (n == 4 && !inet_aton(field[1], &addr)))
		return err_set(err, EINVAL,
			"forward %s: must be tcp:[HOST_ADDRESS:]HOST_PORT:GUEST_PORT, or udp:...", text);
	forward->host_addr = addr.s_addr;
	return 0;
}

static int add_forward(struct user *user, const char *text, struct err *err)
{
	struct net_forward forward;
	struct in_addr host, guest = {0};
	int ret = net_forward_parse(text, &forward, err);

	if (ret)
		return ret;
	host.s_addr = forward.host_addr;
	errno = 0;
	if (!slirp_add_hostfwd(user->slirp, forward.udp, host, forward.host_port, guest, forward.guest_port))
		return 0;
	return err_set(err, errno ? errno : EADDRINUSE,
		"forward %s: %s port %u of this host cannot be used: %s", text, forward.udp ? "udp" : "tcp",
		forward.host_port, strerror(errno ? errno : EADDRINUSE));
}

/* ---- life ---- */

static void user_close(struct net_pump *pump)
{
	struct user *user = of(pump);

	if (user->slirp)
		slirp_cleanup(user->slirp);
	if (user->ready.fd >= 0)
		loop_remove(pump->loop, &user->ready);
	if (user->timer.source.fd > 0)
		loop_timer_fini(pump->loop, &user->timer);
	if (user->ra_timer_made)
		loop_timer_fini(pump->loop, &user->ra_timer);
	if (user->epoll >= 0)
		close(user->epoll);
	net_pump_fini(pump);
	free(user->fd);
	free(user->flat);
	free(user);
}

static const struct net_pump_ops user_ops = {
	.send = user_send,
	.sent = user_sent,
	.batch = user_batch,
	.drained = user_drained,
	.close = user_close,
};

static int start_slirp(struct user *user, const struct net_user_config *config)
{
	SlirpConfig slirp = {
		.version = SLIRP_CONFIG_VERSION_MAX,
		.restricted = config->restricted,
		.in_enabled = true,
		.vhostname = config->hostname,
		.in6_enabled = true,
		.vprefix_len = 64,
		.if_mtu = SLIRP_MTU,
		.if_mru = SLIRP_MTU,
	};

	inet_pton(AF_INET, "10.0.2.0", &slirp.vnetwork);
	inet_pton(AF_INET, "255.255.255.0", &slirp.vnetmask);
	inet_pton(AF_INET, "10.0.2.2", &slirp.vhost);
	inet_pton(AF_INET, "10.0.2.15", &slirp.vdhcp_start);
	inet_pton(AF_INET, "10.0.2.3", &slirp.vnameserver);
	inet_pton(AF_INET6, "fec0::", &slirp.vprefix_addr6);
	inet_pton(AF_INET6, "fec0::2", &slirp.vhost6);
	inet_pton(AF_INET6, "fec0::3", &slirp.vnameserver6);
	user->slirp = slirp_new(&slirp, &callbacks, user);
	return user->slirp ? 0 : -ENOMEM;
}

static int init(struct user *user, const struct net_place *place, const struct net_user_config *config)
{
	int ret = net_pump_init(&user->pump, &user_ops, place);

	user->epoll = user->ready.fd = -1;
	user->highest = -1;
	user->flat = malloc(FLAT_ROOM);
	if (ret || !user->flat)
		return ret ? ret : -ENOMEM;
	user->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (user->epoll < 0)
		return -errno;
	ret = loop_timer_init(place->loop, &user->timer, timer_fired, user);
	if (ret)
		return ret;
	user->ready = (struct loop_source){.fd = user->epoll, .ready = sockets_ready, .arg = user};
	ret = loop_add(place->loop, &user->ready, EPOLLIN);
	return ret ? ret : start_slirp(user, config);
}

int net_user_create(const struct net_place *place, const struct net_user_config *config,
	struct net_pump **out, struct err *err)
{
	struct user *user = calloc(1, sizeof(*user));
	int ret = user ? init(user, place, config) : -ENOMEM;

	if (ret)
		err_set(err, -ret, "the user-mode network cannot be made: %s", strerror(-ret));
	for (unsigned i = 0; !ret && i < config->nforwards; i++)
		ret = add_forward(user, config->forward[i], err);
	if (ret && user)
		user_close(&user->pump);
	if (ret)
		return ret;
	plan(user);
	*out = &user->pump;
	return 0;
}
