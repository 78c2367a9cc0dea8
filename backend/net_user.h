/* SPDX-License-Identifier: MIT */
/*
 * User-mode networking without any rights, by libslirp: the guest sees a router at 10.0.2.2 that
 * is this host, DNS at 10.0.2.3, and DHCP that gives it 10.0.2.15; connections out are the
 * host's own sockets. Forwards let connections in.
 */
#pragma once

#include "backend/net_pump.h"
#include "host/err.h"

struct net_user_config {
	const char *hostname; /* for DHCP; may be NULL */
	bool restricted; /* no way out but the forwards */
	char *const *forward; /* "tcp:[HOST_ADDRESS:]HOST_PORT:GUEST_PORT" */
	unsigned nforwards;
};

int net_user_create(const struct net_place *place, const struct net_user_config *config,
	struct net_pump **out, struct err *err);

struct net_forward {
	bool udp;
	u32 host_addr; /* in network order, as in_addr; 127.0.0.1 unless given */
	u16 host_port, guest_port;
};

/* 0, or -EINVAL with a line in err. */
int net_forward_parse(const char *text, struct net_forward *forward, struct err *err);
