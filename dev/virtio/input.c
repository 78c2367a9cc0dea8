/* SPDX-License-Identifier: MIT */
/* virtio-input: evdev's events as they are. */
#include "dev/virtio/input.h"

#include <errno.h>
#include <linux/input-event-codes.h>
#include <stdlib.h>
#include <string.h>

#define PENDING 64u /* events that wait for buffers */

enum { QUEUE_EVENT, QUEUE_STATUS, QUEUES };

enum {
	SELECT_NAME = 0x01,
	SELECT_SERIAL = 0x02,
	SELECT_IDS = 0x03,
	SELECT_PROPERTIES = 0x10,
	SELECT_EVENTS = 0x11, /* of the type in subselect: a bitmap of codes */
	SELECT_AXIS = 0x12, /* in subselect */

	BUS_VIRTUAL = 6,
	VENDOR = 0x1af4,
};

/* What the guest asks for by writing the first two bytes. */
struct config {
	u8 select, subselect, size, reserved[5];
	union {
		u8 bytes[128];
		struct {
			u32 min, max, fuzz, flat, resolution;
		} axis;
		struct {
			u16 bus, vendor, product, version;
		} ids;
	};
};

struct event {
	u16 type, code;
	u32 value;
};

struct virtio_input {
	struct virtio vdev;
	struct input_sink sink;
	struct config config;
	struct event pending[PENDING];
	unsigned npending, complete; /* complete: how many of them belong to whole groups */
	bool full; /* the group is dropped that did not fit */
};

static const u16 tablet_buttons[] = {BTN_LEFT, BTN_RIGHT, BTN_MIDDLE, BTN_SIDE, BTN_EXTRA};

static struct virtio_input *of(struct virtio *vdev)
{
	return container_of(vdev, struct virtio_input, vdev);
}

/* ---- configuration ---- */

static void set_bit(struct config *config, unsigned bit)
{
	config->bytes[bit / 8] |= (u8)BIT(bit % 8);
	config->size = (u8)MAX(config->size, bit / 8 + 1);
}

static void keyboard_events(struct config *config)
{
	switch (config->subselect) {
	case EV_KEY:
		for (unsigned key = KEY_ESC; key <= KEY_WAKEUP; key++)
			set_bit(config, key);
		break;
	case EV_LED:
		set_bit(config, LED_NUML);
		set_bit(config, LED_CAPSL);
		set_bit(config, LED_SCROLLL);
		break;
	case EV_REP: /* the guest repeats by itself */
		config->size = 1;
		break;
	default:
		break;
	}
}

static void tablet_events(struct config *config)
{
	switch (config->subselect) {
	case EV_KEY:
		for (unsigned i = 0; i < ARRAY_SIZE(tablet_buttons); i++)
			set_bit(config, tablet_buttons[i]);
		break;
	case EV_REL:
		set_bit(config, REL_WHEEL);
		break;
	case EV_ABS:
		set_bit(config, ABS_X);
		set_bit(config, ABS_Y);
		break;
	default:
		break;
	}
}

static void answer(struct virtio_input *input)
{
	struct config *config = &input->config;
	bool tablet = input->sink.kind == INPUT_TABLET;
	const char *name = tablet ? "Mullion tablet" : "Mullion keyboard";

	switch (config->select) {
	case SELECT_NAME:
		config->size = (u8)strlen(name);
		memcpy(config->bytes, name, config->size);
		break;
	case SELECT_IDS:
		config->ids.bus = BUS_VIRTUAL;
		config->ids.vendor = VENDOR;
		config->ids.product = (u16)(1 + input->sink.kind);
		config->ids.version = 1;
		config->size = sizeof(config->ids);
		break;
	case SELECT_EVENTS:
		(tablet ? tablet_events : keyboard_events)(config);
		break;
	case SELECT_AXIS:
		if (!tablet || config->subselect > ABS_Y)
			break;
		config->axis.max = INPUT_ABS_MAX;
		config->size = sizeof(config->axis);
		break;
	default: /* nothing: size is 0 */
		break;
	}
}

static void config_write(struct virtio *vdev, unsigned offset, unsigned size)
{
	struct virtio_input *input = of(vdev);

	(void)offset;
	(void)size;
	/* Only the selectors are the guest's; whatever else it wrote is made again. */
	memset((u8 *)&input->config + 2, 0, sizeof(input->config) - 2);
	answer(input);
}

/* ---- events ---- */

/* Gives whole groups to the driver, as far as it has buffers for them. */
static void flush(struct virtio_input *input)
{
	struct virtq *vq = virtio_queue(&input->vdev, QUEUE_EVENT);
	unsigned done = 0;

	while (done < input->complete) {
		struct vq_chain *chain = vq_next(vq);

		if (!chain)
			break;
		if (chain->write_len < sizeof(struct event)) {
			virtio_broken(&input->vdev, "a buffer of %u bytes for an event", chain->write_len);
			break;
		}
		iov_from_buf(chain->iov + chain->nread, chain->nwrite, 0, &input->pending[done++],
			sizeof(struct event));
		vq_push(chain, sizeof(struct event));
	}
	if (!done)
		return;
	input->npending -= done;
	input->complete -= done;
	memmove(input->pending, input->pending + done, input->npending * sizeof(*input->pending));
	vq_notify(vq);
}

static void sink_event(struct input_sink *sink, u16 type, u16 code, i32 value)
{
	struct virtio_input *input = container_of(sink, struct virtio_input, sink);

	if (!sink->listens(sink) || (type == EV_KEY && value == 2))
		return;
	if (type == EV_SYN && input->npending == input->complete && !input->full)
		return; /* of an empty group */
	if (input->npending == PENDING)
		input->full = true;
	else if (!input->full)
		input->pending[input->npending++] = (struct event){type, code, (u32)value};
	if (type != EV_SYN)
		return;
	if (input->full)
		input->npending = input->complete;
	input->full = false;
	input->complete = input->npending;
	flush(input);
}

static bool sink_listens(const struct input_sink *sink)
{
	struct virtio_input *input = container_of(sink, struct virtio_input, sink);

	return input->vdev.driver_ok && vq_live(virtio_queue(&input->vdev, QUEUE_EVENT));
}

static void kick(struct virtio *vdev, struct virtq *vq)
{
	struct vq_chain *chain;

	if (vq_index(vq) == QUEUE_EVENT) {
		flush(of(vdev));
		return;
	}
	/* LEDs, which nobody sees. */
	while ((chain = vq_next(vq)))
		vq_push(chain, 0);
	vq_notify(vq);
}

/* ---- its life ---- */

static void reset(struct virtio *vdev)
{
	struct virtio_input *input = of(vdev);

	input->npending = input->complete = 0;
	input->full = false;
	memset(&input->config, 0, sizeof(input->config));
}

static void destroy(struct virtio *vdev)
{
	free(of(vdev));
}

static const struct virtio_class keyboard_class = {
	.name = "virtio-keyboard",
	.id = VIRTIO_ID_INPUT,
	.pci_class = 0x090000,
	.queue_size = 64,
	.max_segments = 4,
	.reset = reset,
	.kick = kick,
	.config_write = config_write,
	.free = destroy,
};

static const struct virtio_class tablet_class = {
	.name = "virtio-tablet",
	.id = VIRTIO_ID_INPUT,
	.pci_class = 0x098000,
	.queue_size = 64,
	.max_segments = 4,
	.reset = reset,
	.kick = kick,
	.config_write = config_write,
	.free = destroy,
};

int virtio_input_create(struct vm *vm, enum input_kind kind, struct virtio **out, struct input_sink **sink)
{
	struct virtio_input *input = calloc(1, sizeof(*input));
	int ret;

	if (!input)
		return -ENOMEM;
	input->sink = (struct input_sink){.kind = kind, .listens = sink_listens, .event = sink_event};
	ret = virtio_init(&input->vdev, vm, kind == INPUT_TABLET ? &tablet_class : &keyboard_class, 0, QUEUES,
		&input->config, sizeof(input->config));
	if (ret) {
		free(input);
		return ret;
	}
	*out = &input->vdev;
	*sink = &input->sink;
	return 0;
}
