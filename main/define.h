/* SPDX-License-Identifier: MIT */
/* Definitions of VMs that have been created. */
#pragma once

#include "main/config.h"

/* Reads one; its name is the one it is kept under. config_free in any case. 0 or -errno. */
int definition_load(const char *name, struct vm_config *config, struct err *err);
/* Keeps a new one: gives it a name if it has none, and makes its paths absolute. 0 or -errno. */
int definition_create(struct vm_config *config, struct err *err);
int definition_exists(const char *name, struct err *err);
