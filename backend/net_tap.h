/* SPDX-License-Identifier: MIT */
/* A cable to a tap device of this host that exists and that we may open. */
#pragma once

#include "backend/net_pump.h"
#include "host/err.h"

int net_tap_create(const struct net_place *place, const char *name, struct net_pump **out, struct err *err);
