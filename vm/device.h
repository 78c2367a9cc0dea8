/* SPDX-License-Identifier: MIT */
/* What every device model has: a name, its machine's lock, and its life cycle. */
#pragma once

#include <pthread.h>

#include "lib/types.h"

struct device;

struct device_ops {
	void (*reset)(struct device *dev); /* to the power-on state; lock held */
	void (*free)(struct device *dev); /* releases what the device owns, and itself */
};

struct device {
	const struct device_ops *ops;
	const char *name;
	pthread_mutex_t *lock; /* taken by the space and the loop, never by the device */
	struct device *next; /* in vm->devices */
};
