/* SPDX-License-Identifier: MIT */
/* A card with no cable. */
#pragma once

#include "backend/net_pump.h"

int net_none_create(const struct net_place *place, struct net_pump **out);
