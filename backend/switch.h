/* SPDX-License-Identifier: MIT */
/*
 * An Ethernet switch whose ports are VMs' cards, connected by a UNIX socket. It learns addresses and
 * forgets them with age; a port can neither take another one's address nor flood the others
 * without limit, and isolated ports reach only those that are not isolated.
 *
 * switch_table is the part that decides; it knows no sockets.
 */
#pragma once

#include "backend/net.h"
#include "host/err.h"

#define SWITCH_PORTS 64u
#define SWITCH_MACS 1024u /* remembered in all */
#define SWITCH_PORT_MACS 64u /* of one port */
#define SWITCH_AGE_NS (300ull * 1000000000)
#define SWITCH_HOLD_NS (5ull * 1000000000) /* an address that was used so lately moves to no other port */
#define SWITCH_FLOODS 2000u /* frames to many ports: at once, */
#define SWITCH_FLOOD_NS 100000ull /* and one more in each of these */

struct switch_mac {
	u8 mac[6];
	u8 port;
	bool used;
	u64 seen;
};

struct switch_port {
	bool used, isolated;
	u8 mac[6]; /* the card's own: no other port may send from it */
	unsigned macs;
	u64 floods; /* what may be flooded: time in ns that has been saved up to SWITCH_FLOODS frames */
	u64 flooded; /* when that was last counted */
	u64 in, out, spoofed, limited, lost; /* frames */
};

struct switch_table {
	struct switch_port port[SWITCH_PORTS];
	struct switch_mac mac[SWITCH_MACS];
};

/* A free port's number, or -EBUSY: all are taken; -EEXIST: the MAC is another port's. */
int switch_join(struct switch_table *table, const u8 mac[6], bool isolated, u64 now);
void switch_leave(struct switch_table *table, unsigned port);
/* The ports that a frame from port goes to, as a mask; 0: it is dropped. */
u64 switch_route(struct switch_table *table, unsigned port, const u8 *frame, size_t len, u64 now);

/*
 * Serves the listening socket until SIGTERM or SIGINT. 0 or -errno. The process is the
 * switch's alone.
 */
int switch_serve(int listener);
