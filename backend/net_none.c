/* SPDX-License-Identifier: MIT */
/* A card with no cable: what it sends is lost. */
#include "backend/net_none.h"

#include <errno.h>
#include <stdlib.h>

static int none_send(struct net_pump *pump, const struct net_frame *frame)
{
	(void)frame;
	pump->tx.dropped++;
	return 0;
}

static void none_drained(struct net_pump *pump)
{
	(void)pump;
}

static void none_close(struct net_pump *pump)
{
	net_pump_fini(pump);
	free(pump);
}

static const struct net_pump_ops none_ops = {
	.send = none_send,
	.drained = none_drained,
	.close = none_close,
};

int net_none_create(const struct net_place *place, struct net_pump **out)
{
	struct net_pump *pump = calloc(1, sizeof(*pump));
	int ret = pump ? net_pump_init(pump, &none_ops, place) : -ENOMEM;

	if (ret && pump)
		none_close(pump);
	if (ret)
		return ret;
	pump->net.up = false;
	*out = pump;
	return 0;
}
