/* SPDX-License-Identifier: MIT */
/* The other end of a VM's control socket. */
#pragma once

#include <cjson/cJSON.h>

#include "host/err.h"
#include "lib/types.h"

struct client {
	const char *name; /* of the VM */
	int fd;
	int pass; /* a descriptor that goes along with the next request, or -1 */
	char *text; /* received, not used yet */
	size_t len;
	bool silent; /* an answer did not come in time */
};

#define CLIENT_MS 3000 /* how long a VM that works may take to answer */

/* -ENOENT: there is no such VM; -ESRCH: it does not run. */
int client_open(struct client *client, const char *name, struct err *err);
void client_close(struct client *client);
/* Sends {"command": command, ...args} (args may be NULL; it is freed). The result, or NULL. */
cJSON *client_call(struct client *client, const char *command, cJSON *args, struct err *err);
/* Until the VM's process ends. 0 or -ETIMEDOUT. */
int client_wait_end(struct client *client, u64 ms);
/* All three for one question. */
cJSON *client_ask(const char *name, const char *command, cJSON *args, struct err *err);
