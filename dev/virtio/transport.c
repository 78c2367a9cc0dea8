/* SPDX-License-Identifier: MIT */
/* virtio over PCI, without the legacy interface (virtio 1.2, 4.1). */
#include "dev/virtio/transport.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/log.h"
#include "vm/vm.h"

#define PCI_CAP_VENDOR 0x09
#define COMPLAINTS_MAX 8 /* a driver can break the rules all day long */

static struct virtio *of(struct pci_function *fn)
{
	return container_of(fn, struct virtio, pci);
}

/* ---- interrupts ---- */

static void interrupt(struct virtio *vdev, u16 vector, u8 reason)
{
	struct virtio_pci *pci = vdev->transport;

	if (pci_msix_on(&vdev->pci)) {
		if (vector != VIRTIO_NO_VECTOR)
			pci_send_msi(&vdev->pci, vector);
		return;
	}
	pci->isr |= reason;
	pci_set_intx(&vdev->pci, true);
}

void virtio_interrupt(struct virtio *vdev, u16 vector)
{
	interrupt(vdev, vector, VIRTIO_ISR_QUEUE);
}

void virtio_config_changed(struct virtio *vdev)
{
	struct virtio_pci *pci = vdev->transport;

	pci->generation++;
	if (vdev->driver_ok)
		interrupt(vdev, pci->config_vector, VIRTIO_ISR_CONFIG);
}

void virtio_broken(struct virtio *vdev, const char *format, ...)
{
	struct virtio_pci *pci = vdev->transport;
	char text[160];
	va_list args;

	if (vdev->broken)
		return;
	vdev->broken = true;
	pci->status |= VIRTIO_NEEDS_RESET;
	if (vdev->driver_ok)
		interrupt(vdev, pci->config_vector, VIRTIO_ISR_CONFIG);
	if (pci->complaints++ >= COMPLAINTS_MAX)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	log_line("%s (device %02x.%x): the driver broke the rules and must reset it: %s%s", vdev->class->name,
		vdev->pci.devfn >> 3, vdev->pci.devfn & 7, text,
		pci->complaints == COMPLAINTS_MAX ? " (no more lines about this device)" : "");
}

/* ---- reset and status ---- */

/* Not live any more, so that what the class finishes now is not shown to the driver. */
static void reset(struct virtio *vdev)
{
	struct virtio_pci *pci = vdev->transport;

	vdev->driver_ok = false;
	vdev->class->reset(vdev);
	for (unsigned i = 0; i < vdev->nqueues; i++)
		virtq_reset(&vdev->queues[i]);
	vdev->features = pci->driver_features = 0;
	vdev->broken = false;
	pci->device_select = pci->driver_select = 0;
	pci->queue_select = 0;
	pci->config_vector = VIRTIO_NO_VECTOR;
	pci->status = pci->isr = 0;
	pci_set_intx(&vdev->pci, false);
}

static bool features_fit(const struct virtio *vdev)
{
	u64 features = vdev->transport->driver_features;

	return !(features & ~vdev->offered) && features & BIT(VIRTIO_F_VERSION_1);
}

/* Chains may have been announced, or done, while the device could not look at the rings. */
static void kick_all(struct virtio *vdev)
{
	for (unsigned i = 0; i < vdev->nqueues; i++) {
		virtq_kick(&vdev->queues[i]);
		vq_notify(&vdev->queues[i]);
	}
}

static void start(struct virtio *vdev)
{
	vdev->driver_ok = true;
	if (vdev->class->ready)
		vdev->class->ready(vdev);
	kick_all(vdev);
}

/* Bits are only ever added, but for 0, which is a reset. */
static void write_status(struct virtio *vdev, u8 value)
{
	struct virtio_pci *pci = vdev->transport;
	u8 rise = value & (u8)~pci->status;

	if (!value) {
		reset(vdev);
		return;
	}
	if (rise & VIRTIO_FEATURES_OK && !features_fit(vdev))
		rise &= (u8)~VIRTIO_FEATURES_OK;
	if (rise & VIRTIO_FEATURES_OK)
		vdev->features = pci->driver_features;
	pci->status |= rise & (VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK | VIRTIO_FAILED);
	if (rise & VIRTIO_DRIVER_OK && pci->status & VIRTIO_FEATURES_OK) {
		pci->status |= VIRTIO_DRIVER_OK;
		start(vdev);
	}
}

/* ---- the common structure ---- */

struct common {
	u32 device_select, device_feature, driver_select, driver_feature;
	u16 config_vector, nqueues;
	u8 status, generation;
	u16 queue_select, size, vector, enable, notify_off;
	u64 desc, driver, device;
	u16 notify_data, reset;
} __attribute__((packed));

_Static_assert(sizeof(struct common) == VIRTIO_COMMON_SIZE, "as in the specification");

static u32 half(u64 value, u32 select)
{
	return select < 2 ? (u32)(value >> 32 * select) : 0;
}

static struct virtq *selected(struct virtio *vdev)
{
	u16 select = vdev->transport->queue_select;

	return select < vdev->nqueues ? &vdev->queues[select] : NULL;
}

static u64 common_read(struct virtio *vdev, unsigned offset, unsigned size)
{
	const struct virtio_pci *pci = vdev->transport;
	const struct virtq *vq = selected(vdev);
	u64 value = 0;
	struct common common = {
		.device_select = pci->device_select,
		.device_feature = half(vdev->offered, pci->device_select),
		.driver_select = pci->driver_select,
		.driver_feature = half(pci->driver_features, pci->driver_select),
		.config_vector = pci->config_vector,
		.nqueues = (u16)vdev->nqueues,
		.status = pci->status,
		.generation = pci->generation,
		.queue_select = pci->queue_select,
	};

	if (vq) {
		common.size = vq->size;
		common.vector = vq->vector;
		common.enable = !!vq->ops;
		common.notify_off = common.notify_data = vq->index;
		common.desc = vq->desc_gpa;
		common.driver = vq->driver_gpa;
		common.device = vq->device_gpa;
	}
	if (offset + size <= sizeof(common))
		memcpy(&value, (u8 *)&common + offset, size);
	return value;
}

static u16 vector_of(const struct virtio *vdev, u32 value)
{
	return value <= vdev->nqueues ? (u16)value : VIRTIO_NO_VECTOR;
}

static void set_half(u64 *field, unsigned which, u32 value)
{
	*field = which ? (*field & 0xffffffff) | (u64)value << 32 : (*field & ~0xffffffffull) | value;
}

static void write_features(struct virtio *vdev, u32 value)
{
	struct virtio_pci *pci = vdev->transport;

	if (pci->driver_select < 2 && !(pci->status & VIRTIO_FEATURES_OK))
		set_half(&pci->driver_features, pci->driver_select, value);
}

static void reset_queue(struct virtio *vdev, struct virtq *vq)
{
	if (!virtio_has(vdev, VIRTIO_F_RING_RESET))
		return;
	vq->ops = NULL;
	vdev->class->queue_reset(vdev, vq);
	virtq_reset(vq);
}

static void set_queue_size(struct virtio *vdev, struct virtq *vq, u32 value)
{
	if (value && value <= vq->size_max)
		vq->size = (u16)value;
	else
		virtio_broken(vdev, "queue %u of %u entries", vq->index, value);
}

#define FIELD(offset, size) ((offset) << 4 | (size))

/* A queue that is not enabled. */
static void set_up_queue(struct virtio *vdev, struct virtq *vq, unsigned field, u32 value)
{
	switch (field) {
	case FIELD(VIRTIO_QUEUE_SIZE, 2):
		set_queue_size(vdev, vq, value);
		break;
	case FIELD(VIRTIO_QUEUE_ENABLE, 2):
		if (value == 1 && vdev->transport->status & VIRTIO_FEATURES_OK && !vdev->broken)
			virtq_enable(vq);
		break;
	case FIELD(VIRTIO_QUEUE_DESC, 4):
	case FIELD(VIRTIO_QUEUE_DESC + 4, 4):
		set_half(&vq->desc_gpa, field == FIELD(VIRTIO_QUEUE_DESC + 4, 4), value);
		break;
	case FIELD(VIRTIO_QUEUE_DRIVER, 4):
	case FIELD(VIRTIO_QUEUE_DRIVER + 4, 4):
		set_half(&vq->driver_gpa, field == FIELD(VIRTIO_QUEUE_DRIVER + 4, 4), value);
		break;
	case FIELD(VIRTIO_QUEUE_DEVICE, 4):
	case FIELD(VIRTIO_QUEUE_DEVICE + 4, 4):
		set_half(&vq->device_gpa, field == FIELD(VIRTIO_QUEUE_DEVICE + 4, 4), value);
		break;
	default: /* read-only, or not of the field's width */
		break;
	}
}

static void write_queue(struct virtio *vdev, struct virtq *vq, unsigned field, u32 value)
{
	if (field == FIELD(VIRTIO_QUEUE_VECTOR, 2))
		vq->vector = vector_of(vdev, value);
	else if (field == FIELD(VIRTIO_QUEUE_RESET, 2) && value == 1)
		reset_queue(vdev, vq);
	else if (!vq->ops)
		set_up_queue(vdev, vq, field, value);
}

static void common_write(struct virtio *vdev, unsigned offset, unsigned size, u32 value)
{
	struct virtio_pci *pci = vdev->transport;

	switch (FIELD(offset, size)) {
	case FIELD(VIRTIO_DEVICE_FEATURE_SELECT, 4):
		pci->device_select = value;
		break;
	case FIELD(VIRTIO_DRIVER_FEATURE_SELECT, 4):
		pci->driver_select = value;
		break;
	case FIELD(VIRTIO_DRIVER_FEATURE, 4):
		write_features(vdev, value);
		break;
	case FIELD(VIRTIO_CONFIG_VECTOR, 2):
		pci->config_vector = vector_of(vdev, value);
		break;
	case FIELD(VIRTIO_STATUS, 1):
		write_status(vdev, (u8)value);
		break;
	case FIELD(VIRTIO_QUEUE_SELECT, 2):
		pci->queue_select = (u16)value;
		break;
	default:
		if (selected(vdev))
			write_queue(vdev, selected(vdev), FIELD(offset, size), value);
		break;
	}
}

/* ---- the other structures ---- */

static u64 isr_read(struct virtio *vdev)
{
	struct virtio_pci *pci = vdev->transport;
	u8 isr = pci->isr;

	pci->isr = 0;
	pci_set_intx(&vdev->pci, false);
	return isr;
}

static u64 config_read(struct virtio *vdev, unsigned offset, unsigned size)
{
	u64 value = 0;

	if (offset + size > vdev->config_size)
		return 0;
	if (vdev->class->config_read)
		vdev->class->config_read(vdev, offset, size);
	memcpy(&value, vdev->config + offset, size);
	return value;
}

static void config_write(struct virtio *vdev, unsigned offset, unsigned size, u32 value)
{
	if (!vdev->class->config_write || offset + size > vdev->config_size)
		return;
	memcpy(vdev->config + offset, &value, size);
	vdev->class->config_write(vdev, offset, size);
}

static void notify(struct virtio *vdev, unsigned index)
{
	struct virtq *vq;

	if (index >= vdev->nqueues)
		return;
	vq = &vdev->queues[index];
	vq->count.kicks++;
	virtq_kick(vq);
}

static u64 bar_read(struct device *dev, u64 offset, unsigned size)
{
	struct virtio *vdev = of(container_of(dev, struct pci_function, dev));

	switch (offset & ~0xfffull) {
	case VIRTIO_COMMON:
		return common_read(vdev, (unsigned)offset, size);
	case VIRTIO_ISR:
		return offset == VIRTIO_ISR ? isr_read(vdev) : 0;
	case VIRTIO_CONFIG:
		return config_read(vdev, (unsigned)offset & 0xfff, size);
	default:
		return 0;
	}
}

static void bar_write(struct device *dev, u64 offset, unsigned size, u64 value)
{
	struct virtio *vdev = of(container_of(dev, struct pci_function, dev));

	if (likely(offset >= VIRTIO_NOTIFY))
		notify(vdev, ((unsigned)offset - VIRTIO_NOTIFY) / VIRTIO_NOTIFY_STEP);
	else if (offset < VIRTIO_ISR)
		common_write(vdev, (unsigned)offset, size, (u32)value);
	else if (offset >= VIRTIO_CONFIG)
		config_write(vdev, (unsigned)offset & 0xfff, size, (u32)value);
}

static const struct region_ops bar_ops = {bar_read, bar_write, 1, 4};

/* ---- the way through config space, for firmware that has not mapped the BAR ---- */

/* The access that the window's registers name. False: none that would do, or the data was not touched. */
static bool window_access(const struct virtio *vdev, unsigned offset, unsigned size, u32 *at, u32 *len)
{
	unsigned window = vdev->transport->window, data = window + VIRTIO_CAP_MORE;

	if (!window || offset + size <= data || offset >= data + 4)
		return false;
	*at = pci_config_get(&vdev->pci, window + VIRTIO_CAP_OFFSET, 4);
	*len = pci_config_get(&vdev->pci, window + VIRTIO_CAP_LENGTH, 4);
	return pci_config_get(&vdev->pci, window + VIRTIO_CAP_BAR, 1) == VIRTIO_BAR &&
	       (*len == 1 || *len == 2 || *len == 4) && !(*at & (*len - 1)) && *at < VIRTIO_BAR_SIZE;
}

static void config_reading(struct pci_function *fn, unsigned offset, unsigned size)
{
	struct virtio *vdev = of(fn);
	u32 at, len;

	if (window_access(vdev, offset, size, &at, &len))
		pci_config_set(
			fn, vdev->transport->window + VIRTIO_CAP_MORE, 4, (u32)bar_read(&fn->dev, at, len));
}

static void config_written(struct pci_function *fn, unsigned offset, unsigned size)
{
	struct virtio *vdev = of(fn);
	u32 at, len;

	if (window_access(vdev, offset, size, &at, &len))
		bar_write(&fn->dev, at, len,
			pci_config_get(fn, vdev->transport->window + VIRTIO_CAP_MORE, len));
	else
		kick_all(vdev); /* it may have become a bus master, or awake */
}

/* ---- its life ---- */

static void pci_reset(struct pci_function *fn)
{
	reset(of(fn));
}

static void free_queues(struct virtq *queues, unsigned n)
{
	for (unsigned i = 0; queues && i < n; i++)
		virtq_fini(&queues[i]);
	free(queues);
}

/* A thread of the class may look into the queues until class->free has ended it. */
static void pci_free(struct pci_function *fn)
{
	struct virtio *vdev = of(fn);
	struct virtio_pci *transport = vdev->transport;
	struct virtq *queues = vdev->queues;
	unsigned nqueues = vdev->nqueues;

	if (fn->dev.lock)
		pthread_mutex_lock(fn->dev.lock);
	reset(vdev);
	if (fn->dev.lock)
		pthread_mutex_unlock(fn->dev.lock);
	vdev->class->free(vdev);
	free_queues(queues, nqueues);
	free(transport);
}

static const struct pci_function_ops function_ops = {
	.config_reading = config_reading,
	.config_written = config_written,
	.reset = pci_reset,
	.free = pci_free,
};

struct virtio *virtio_of(struct pci_function *fn)
{
	return fn->ops == &function_ops ? of(fn) : NULL;
}

/* Its offset, or -ENOSPC. */
static int add_capability(struct virtio *vdev, u8 type, u32 offset, u32 length, u8 size)
{
	struct pci_function *fn = &vdev->pci;
	int ret = pci_add_capability(fn, PCI_CAP_VENDOR, size);
	unsigned at = (unsigned)ret;

	if (ret < 0)
		return ret;
	pci_config_set(fn, at + VIRTIO_CAP_LEN, 1, size);
	pci_config_set(fn, at + VIRTIO_CAP_TYPE, 1, type);
	pci_config_set(fn, at + VIRTIO_CAP_BAR, 1, VIRTIO_BAR);
	pci_config_set(fn, at + VIRTIO_CAP_OFFSET, 4, offset);
	pci_config_set(fn, at + VIRTIO_CAP_LENGTH, 4, length);
	return ret;
}

static int add_window(struct virtio *vdev)
{
	int ret = add_capability(vdev, VIRTIO_CAP_PCI, 0, 0, 20);
	unsigned at = (unsigned)ret;

	if (ret < 0)
		return ret;
	vdev->transport->window = at;
	pci_config_writable(&vdev->pci, at + VIRTIO_CAP_BAR, 1, 0xff);
	pci_config_writable(&vdev->pci, at + VIRTIO_CAP_OFFSET, 4, 0xffffffff);
	pci_config_writable(&vdev->pci, at + VIRTIO_CAP_LENGTH, 4, 0xffffffff);
	pci_config_writable(&vdev->pci, at + VIRTIO_CAP_MORE, 4, 0xffffffff);
	return 0;
}

static int add_capabilities(struct virtio *vdev)
{
	u32 doorbells = vdev->nqueues * VIRTIO_NOTIFY_STEP;
	int ret = add_capability(vdev, VIRTIO_CAP_COMMON, VIRTIO_COMMON, VIRTIO_COMMON_SIZE, 16);

	if (ret >= 0)
		ret = add_capability(vdev, VIRTIO_CAP_ISR, VIRTIO_ISR, 1, 16);
	if (ret >= 0 && vdev->config_size)
		ret = add_capability(vdev, VIRTIO_CAP_CONFIG, VIRTIO_CONFIG, vdev->config_size, 16);
	if (ret >= 0)
		ret = add_capability(vdev, VIRTIO_CAP_NOTIFY, VIRTIO_NOTIFY, doorbells, 20);
	if (ret < 0)
		return ret;
	pci_config_set(&vdev->pci, (unsigned)ret + VIRTIO_CAP_MORE, 4, VIRTIO_NOTIFY_STEP);
	return add_window(vdev);
}

static int make_function(struct virtio *vdev)
{
	const struct virtio_class *class = vdev->class;
	const struct pci_ident ident = {
		.vendor = VIRTIO_PCI_VENDOR,
		.device = VIRTIO_PCI_DEVICE + class->id,
		.subvendor = VIRTIO_PCI_VENDOR,
		.subsystem = 0x1100,
		.class = class->pci_class,
		.revision = 1,
	};
	struct region *region = &vdev->transport->region;
	int ret = pci_function_init(&vdev->pci, vdev->vm, class->name, &ident, &function_ops);

	*region = (struct region){.name = class->name, .ops = &bar_ops, .dev = &vdev->pci.dev};
	if (!ret)
		ret = pci_add_bar(&vdev->pci, VIRTIO_BAR, PCI_BAR_MEM64_PREFETCH, VIRTIO_BAR_SIZE, region);
	if (!ret)
		ret = pci_add_msix(&vdev->pci, vdev->nqueues + 1, VIRTIO_BAR_MSIX);
	return ret ? ret : add_capabilities(vdev);
}

static int make_queues(struct virtio *vdev)
{
	int ret = 0;

	vdev->queues = calloc(vdev->nqueues, sizeof(*vdev->queues));
	vdev->transport = calloc(1, sizeof(*vdev->transport));
	if (!vdev->queues || !vdev->transport)
		return -ENOMEM;
	vdev->transport->config_vector = VIRTIO_NO_VECTOR;
	for (unsigned i = 0; !ret && i < vdev->nqueues; i++)
		ret = virtq_init(&vdev->queues[i], vdev, (u16)i);
	return ret;
}

int virtio_init(struct virtio *vdev, struct vm *vm, const struct virtio_class *class, u64 features,
	unsigned nqueues, void *config, unsigned config_size)
{
	u64 rings = BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_F_INDIRECT_DESC) | BIT(VIRTIO_F_EVENT_IDX) |
		    (vm->packed_rings ? BIT(VIRTIO_F_RING_PACKED) : 0) |
		    (class->queue_reset ? BIT(VIRTIO_F_RING_RESET) : 0);
	int ret;

	*vdev = (struct virtio){
		.vm = vm,
		.class = class,
		.offered = features | rings,
		.nqueues = nqueues,
		.config = config,
		.config_size = config_size,
	};
	ret = make_queues(vdev);
	if (!ret)
		ret = make_function(vdev);
	if (ret) {
		pci_function_fini(&vdev->pci);
		free_queues(vdev->queues, nqueues);
		free(vdev->transport);
	}
	return ret;
}

int virtio_plug(struct virtio *vdev, struct pci_host *host)
{
	int ret = pci_plug(host, &vdev->pci, PCI_ANY);

	if (ret) {
		pci_function_fini(&vdev->pci);
		pci_free(&vdev->pci);
	}
	return ret;
}
