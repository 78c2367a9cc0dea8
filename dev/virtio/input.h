/* SPDX-License-Identifier: MIT */
/* virtio input devices (virtio 1.2, 5.8): a keyboard, and a tablet with buttons and a wheel. */
#pragma once

#include "backend/input.h"
#include "dev/virtio/virtio.h"

/*
 * kind: INPUT_KEYBOARD or INPUT_TABLET. The sink (for input_add) is the device's, and listens while
 * the guest's driver does. Plug the device in afterwards. 0 or -errno.
 */
int virtio_input_create(struct vm *vm, enum input_kind kind, struct virtio **out, struct input_sink **sink);
