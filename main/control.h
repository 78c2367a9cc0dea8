/* SPDX-License-Identifier: MIT */
/* What the control socket of a running VM offers; docs/control.md says how. */
#pragma once

#include "main/vmm.h"

int control_open(struct vmm *vmm, const char *path, struct err *err);
/* Tells those who subscribed. how may be NULL. Loop's thread, or after the loop. */
void control_event(struct vmm *vmm, const char *event, const char *how, int status);

/* control_devices.c */
struct ctl_call;
int control_disk_add(struct ctl_call *call, struct err *err);
int control_net_add(struct ctl_call *call, struct err *err);
int control_device_list(struct ctl_call *call, struct err *err);
int control_device_remove(struct ctl_call *call, struct err *err);
int control_screenshot(struct ctl_call *call, struct err *err);
