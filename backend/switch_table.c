/* SPDX-License-Identifier: MIT */
/* Where frames go: the switch's memory of addresses, and its limits. */
#include <errno.h>
#include <string.h>

#include "backend/switch.h"

#define PROBES 8u /* places in the table that an address may be at */

static bool is_free(const struct switch_mac *m, u64 now)
{
	return !m->used || now - m->seen > SWITCH_AGE_NS;
}

static unsigned hash(const u8 mac[6])
{
	u32 h = 2166136261u;

	for (unsigned i = 0; i < 6; i++)
		h = (h ^ mac[i]) * 16777619u;
	return h ^ h >> 15;
}

static struct switch_mac *find(struct switch_table *table, const u8 mac[6], u64 now)
{
	unsigned at = hash(mac);

	for (unsigned i = 0; i < PROBES; i++) {
		struct switch_mac *m = &table->mac[(at + i) % SWITCH_MACS];

		if (!is_free(m, now) && !memcmp(m->mac, mac, 6))
			return m;
	}
	return NULL;
}

/* A place for the address: a free one, else the one that was used longest ago. */
static struct switch_mac *place(struct switch_table *table, const u8 mac[6], u64 now)
{
	struct switch_mac *oldest = NULL;
	unsigned at = hash(mac);

	for (unsigned i = 0; i < PROBES; i++) {
		struct switch_mac *m = &table->mac[(at + i) % SWITCH_MACS];

		if (is_free(m, now))
			return m;
		if (!oldest || m->seen < oldest->seen)
			oldest = m;
	}
	return oldest;
}

static void drop(struct switch_table *table, struct switch_mac *m)
{
	if (m->used)
		table->port[m->port].macs--;
	m->used = false;
}

/* Whose own address is that? SWITCH_PORTS: nobody's. */
static unsigned owner(const struct switch_table *table, const u8 mac[6])
{
	unsigned i = 0;

	while (i < SWITCH_PORTS && !(table->port[i].used && !memcmp(table->port[i].mac, mac, 6)))
		i++;
	return i;
}

static bool is_group(const u8 mac[6])
{
	return mac[0] & 1;
}

/* False: the port has no right to that source address. */
static bool learn(struct switch_table *table, unsigned port, const u8 mac[6], u64 now)
{
	struct switch_mac *m = find(table, mac, now);
	unsigned own;

	if (m && m->port == port) {
		m->seen = now;
		return true;
	}
	if (is_group(mac) || (m && now - m->seen < SWITCH_HOLD_NS))
		return false;
	own = owner(table, mac);
	if (own != SWITCH_PORTS && own != port)
		return false;
	if (table->port[port].macs >= SWITCH_PORT_MACS)
		return false;
	if (!m)
		m = place(table, mac, now);
	drop(table, m);
	*m = (struct switch_mac){.port = (u8)port, .used = true, .seen = now};
	memcpy(m->mac, mac, 6);
	table->port[port].macs++;
	return true;
}

int switch_join(struct switch_table *table, const u8 mac[6], bool isolated, u64 now)
{
	struct switch_port *p;
	unsigned i = 0;

	if (owner(table, mac) != SWITCH_PORTS)
		return -EEXIST;
	while (i < SWITCH_PORTS && table->port[i].used)
		i++;
	if (i == SWITCH_PORTS)
		return -EBUSY;
	p = &table->port[i];
	*p = (struct switch_port){.used = true,
		.isolated = isolated,
		.flooded = now,
		.floods = SWITCH_FLOODS * SWITCH_FLOOD_NS};
	memcpy(p->mac, mac, 6);
	return (int)i;
}

void switch_leave(struct switch_table *table, unsigned port)
{
	for (unsigned i = 0; i < SWITCH_MACS; i++) {
		if (table->mac[i].used && table->mac[i].port == port)
			table->mac[i].used = false;
	}
	table->port[port] = (struct switch_port){0};
}

static bool may_flood(struct switch_port *p, u64 now)
{
	p->floods = MIN(p->floods + (now - p->flooded), SWITCH_FLOODS * SWITCH_FLOOD_NS);
	p->flooded = now;
	if (p->floods < SWITCH_FLOOD_NS)
		return false;
	p->floods -= SWITCH_FLOOD_NS;
	return true;
}

static bool may_reach(const struct switch_table *table, unsigned from, unsigned to)
{
	return from != to && table->port[to].used &&
	       !(table->port[from].isolated && table->port[to].isolated);
}

static u64 everybody(const struct switch_table *table, unsigned from)
{
	u64 mask = 0;

	for (unsigned i = 0; i < SWITCH_PORTS; i++)
		mask |= (u64)may_reach(table, from, i) << i;
	return mask;
}

u64 switch_route(struct switch_table *table, unsigned port, const u8 *frame, size_t len, u64 now)
{
	struct switch_port *p = &table->port[port];
	const struct switch_mac *to;

	p->in++;
	if (len < 14 || !learn(table, port, frame + 6, now)) {
		p->spoofed++;
		return 0;
	}
	to = is_group(frame) ? NULL : find(table, frame, now);
	if (to)
		return may_reach(table, port, to->port) ? BIT(to->port) : 0;
	if (!may_flood(p, now)) {
		p->limited++;
		return 0;
	}
	return everybody(table, port);
}
