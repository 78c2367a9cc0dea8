/* SPDX-License-Identifier: MIT */
/*
 * What a line on the control socket means: a JSON object with the command's name, its
 * arguments, and an id that comes back in the answer. See docs/control.md.
 */
#pragma once

#include <cjson/cJSON.h>

#include "ctl/server.h"

#define CTL_PROTOCOL 1

struct ctl_call {
	void *ctx;
	struct ctl_client *client; /* NULL when nobody is there (fuzzing) */
	const cJSON *args; /* the request */
	cJSON *result; /* an object to be filled */
	/* Called after the answer with the connection's descriptor, which becomes the callee's. */
	void (*taken)(void *ctx, int fd);
};

struct ctl_command {
	const char *name;
	/* 0, or -errno with a line in err. */
	int (*run)(struct ctl_call *call, struct err *err);
};

/* Answers the request. The table ends with a NULL name. */
char *ctl_answer(const struct ctl_command *table, struct ctl_call *call, const char *line, size_t len);
/* As ctl_server.request: with the table's commands, whose ctx is ctx. */
void ctl_handle(
	const struct ctl_command *table, void *ctx, struct ctl_client *client, const char *line, size_t len);

/* An argument. It is left alone where the request has none; -EINVAL for one of the wrong kind. */
int ctl_arg_number(const struct ctl_call *call, const char *name, u64 max, u64 *value, struct err *err);
int ctl_arg_bool(const struct ctl_call *call, const char *name, bool *value, struct err *err);
int ctl_arg_string(const struct ctl_call *call, const char *name, const char **value, struct err *err);
