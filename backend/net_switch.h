/* SPDX-License-Identifier: MIT */
/* A cable to a switch (switch.h). When that goes away, the link is down until it is back. */
#pragma once

#include "backend/net_pump.h"
#include "host/err.h"

struct net_switch_config {
	const char *path; /* of the switch's socket */
	const char *vm; /* for `mullion network inspect` */
	bool isolated;
};

int net_switch_create(const struct net_place *place, const struct net_switch_config *config,
	struct net_pump **out, struct err *err);
