/* SPDX-License-Identifier: MIT */
/* virtio over PCI: where its structures are, for the transport and for whoever plays the driver. */
#pragma once

#include "dev/virtio/virtq.h"

#define VIRTIO_PCI_VENDOR 0x1af4
#define VIRTIO_PCI_DEVICE 0x1040 /* plus the class's id */

enum { /* BARs */
	VIRTIO_BAR_MSIX = 1,
	VIRTIO_BAR = 4, /* and 5: 64 bits */
};

enum { /* in VIRTIO_BAR; a page each, so that a driver may map them apart */
	VIRTIO_COMMON = 0x0000,
	VIRTIO_ISR = 0x1000,
	VIRTIO_CONFIG = 0x2000,
	VIRTIO_NOTIFY = 0x3000,
	VIRTIO_BAR_SIZE = 0x4000,
	VIRTIO_NOTIFY_STEP = 4,
};

enum { /* cfg_type of the capabilities */
	VIRTIO_CAP_COMMON = 1,
	VIRTIO_CAP_NOTIFY = 2,
	VIRTIO_CAP_ISR = 3,
	VIRTIO_CAP_CONFIG = 4,
	VIRTIO_CAP_PCI = 5,
};

enum { /* a capability's fields */
	VIRTIO_CAP_LEN = 2,
	VIRTIO_CAP_TYPE = 3,
	VIRTIO_CAP_BAR = 4,
	VIRTIO_CAP_OFFSET = 8,
	VIRTIO_CAP_LENGTH = 12,
	VIRTIO_CAP_MORE = 16, /* notify: the step; PCI: data */
};

enum { /* the common structure */
	VIRTIO_DEVICE_FEATURE_SELECT = 0x00,
	VIRTIO_DEVICE_FEATURE = 0x04,
	VIRTIO_DRIVER_FEATURE_SELECT = 0x08,
	VIRTIO_DRIVER_FEATURE = 0x0c,
	VIRTIO_CONFIG_VECTOR = 0x10,
	VIRTIO_NUM_QUEUES = 0x12,
	VIRTIO_STATUS = 0x14,
	VIRTIO_GENERATION = 0x15,
	VIRTIO_QUEUE_SELECT = 0x16,
	VIRTIO_QUEUE_SIZE = 0x18,
	VIRTIO_QUEUE_VECTOR = 0x1a,
	VIRTIO_QUEUE_ENABLE = 0x1c,
	VIRTIO_QUEUE_NOTIFY_OFF = 0x1e,
	VIRTIO_QUEUE_DESC = 0x20,
	VIRTIO_QUEUE_DRIVER = 0x28,
	VIRTIO_QUEUE_DEVICE = 0x30,
	VIRTIO_QUEUE_NOTIFY_DATA = 0x38,
	VIRTIO_QUEUE_RESET = 0x3a,
	VIRTIO_COMMON_SIZE = 0x3c,
};

enum { /* status */
	VIRTIO_ACKNOWLEDGE = 1,
	VIRTIO_DRIVER = 2,
	VIRTIO_DRIVER_OK = 4,
	VIRTIO_FEATURES_OK = 8,
	VIRTIO_NEEDS_RESET = 64,
	VIRTIO_FAILED = 128,
};

enum { /* ISR */
	VIRTIO_ISR_QUEUE = 1,
	VIRTIO_ISR_CONFIG = 2,
};

/* The virtio device whose function this is, or NULL. */
struct virtio *virtio_of(struct pci_function *fn);

struct virtio_pci {
	struct region region;
	u64 driver_features; /* as written so far */
	u32 device_select, driver_select;
	u16 queue_select, config_vector;
	u8 status, generation, isr;
	unsigned window; /* the PCI access capability */
	unsigned complaints;
};
