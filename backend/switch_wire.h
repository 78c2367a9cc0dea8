/* SPDX-License-Identifier: MIT */
/*
 * What a switch and its ports say to each other over a UNIX socket of SOCK_SEQPACKET: a hello
 * each way, then frames, one a message, each behind its offload header. Both ends are
 * of one build on one machine, so fields are the machine's own; but neither believes the other.
 */
#pragma once

#include "backend/net.h"

#define SWITCH_MAGIC 0x3157534du /* "MSW1" */

enum switch_hello_kind {
	SWITCH_PORT, /* a VM's card; the answer is the same hello, or an error text and the end */
	SWITCH_INSPECT, /* the answer is one message of JSON */
};

struct switch_hello {
	u32 magic;
	u16 kind;
	u16 isolated;
	u8 mac[6];
	char name[50]; /* the VM's; ends with 0 */
};

struct switch_frame { /* before the Ethernet header */
	struct net_offload offload;
	u16 reserved;
};

#define SWITCH_MESSAGE_MAX (NET_FRAME_MAX + sizeof(struct switch_frame))
