/* SPDX-License-Identifier: MIT */
/*
 * virtio console. What the device has to tell about a port is a set of bits, sent
 * when the driver gives a buffer for it; so nothing piles up.
 */
#include "dev/virtio/console.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { /* features */
	F_SIZE = 0,
	F_MULTIPORT = 1,
	F_EMERG_WRITE = 2,
};

enum { /* queues; port n > 0 has its pair at 2 * n + 2 */
	CONTROL_IN = 2,
	CONTROL_OUT = 3,

	QUEUE_SIZE = 64,
	SEGMENTS = 34,
	OUTPUT_MAX = 1 << 20, /* bytes in one request; Linux: 32 KiB */
	NAME_MAX_LEN = 64,
};

enum event { /* control messages */
	DEVICE_READY = 0,
	DEVICE_ADD = 1,
	DEVICE_REMOVE = 2,
	PORT_READY = 3,
	CONSOLE_PORT = 4,
	RESIZE = 5,
	PORT_OPEN = 6,
	PORT_NAME = 7,
	EVENTS = 8,
};

struct control {
	u32 id;
	u16 event, value;
};

struct size {
	u16 columns, rows;
};

struct console_config {
	u16 columns, rows;
	u32 max_ports, emergency;
};

struct port {
	struct virtio_console_port is;
	struct virtio_console *owner;
	struct size size;
	bool ready, open; /* by the driver */
	u32 pending; /* events to be sent, as bits */
};

struct virtio_console {
	struct virtio vdev;
	struct console_config config;
	unsigned nports;
	struct port port[VIRTIO_CONSOLE_PORTS];
};

static struct virtio_console *of(struct virtio *vdev)
{
	return container_of(vdev, struct virtio_console, vdev);
}

static unsigned index_of(const struct port *port)
{
	return (unsigned)(port - port->owner->port);
}

static struct virtq *in_queue(const struct port *port)
{
	unsigned i = index_of(port);

	return virtio_queue(&port->owner->vdev, i ? 2 * i + 2 : 0);
}

/* The port of a data queue, or NULL. */
static struct port *port_of(struct virtio_console *con, unsigned queue)
{
	unsigned i = queue < 2 ? 0 : queue / 2 - 1;

	return (queue < 2 || queue > CONTROL_OUT) && i < con->nports ? &con->port[i] : NULL;
}

static bool multiport(const struct virtio_console *con)
{
	return virtio_has(&con->vdev, F_MULTIPORT);
}

/* ---- characters to the guest ---- */

/* From the backend. Without a buffer, it is asked to wait until the driver kicks. */
static size_t input(void *arg, const u8 *data, size_t len)
{
	struct port *port = arg;
	struct virtq *vq = in_queue(port);
	struct vq_chain *chain;
	size_t done = 0;

	while (port->open && done < len && (chain = vq_next(vq))) {
		size_t n = iov_from_buf(chain->iov + chain->nread, chain->nwrite, 0, data + done, len - done);

		vq_push(chain, (u32)n);
		done += n;
		if (!n)
			virtio_broken(&port->owner->vdev, "a buffer for characters that holds none");
	}
	vq_notify(vq);
	if (done < len)
		port->is.console->ops->input_enable(port->is.console, false);
	return done;
}

static void update_input(struct port *port)
{
	port->is.console->ops->input_enable(port->is.console, port->open);
}

static void set_open(struct port *port, bool open)
{
	port->open = open;
	if (port->is.opened)
		port->is.opened(port->is.arg, open);
	update_input(port);
}

/* ---- characters from the guest ---- */

static void output(struct port *port, struct virtq *vq)
{
	struct vq_chain *chain;

	while ((chain = vq_next(vq))) {
		if (chain->read_len > OUTPUT_MAX) {
			virtio_broken(&port->owner->vdev, "%u characters at once", chain->read_len);
			break;
		}
		for (unsigned i = 0; i < chain->nread; i++)
			port->is.console->ops->write(
				port->is.console, chain->iov[i].iov_base, chain->iov[i].iov_len);
		vq_push(chain, 0);
	}
	vq_notify(vq);
}

/* ---- control ---- */

/* The message's bytes. */
static size_t compose(const struct port *port, enum event event, u8 *message)
{
	struct control control = {.id = index_of(port), .event = (u16)event, .value = 1};
	size_t len = sizeof(control);

	if (event == RESIZE) {
		memcpy(message + len, &port->size, sizeof(port->size));
		len += sizeof(port->size);
	} else if (event == PORT_NAME) {
		size_t n = strnlen(port->is.name, NAME_MAX_LEN);

		memcpy(message + len, port->is.name, n);
		len += n;
	}
	memcpy(message, &control, sizeof(control));
	return len;
}

/* False: the driver has given no buffer. */
static bool send(const struct port *port, enum event event)
{
	struct virtq *vq = virtio_queue(&port->owner->vdev, CONTROL_IN);
	struct vq_chain *chain = vq_next(vq);
	u8 message[sizeof(struct control) + NAME_MAX_LEN];
	size_t len = compose(port, event, message);

	if (!chain)
		return false;
	vq_push(chain, (u32)iov_from_buf(chain->iov + chain->nread, chain->nwrite, 0, message, len));
	return true;
}

static void send_pending(struct virtio_console *con)
{
	struct virtq *vq = virtio_queue(&con->vdev, CONTROL_IN);

	for (unsigned i = 0; i < con->nports; i++) {
		struct port *port = &con->port[i];

		for (unsigned event = 0; event < EVENTS; event++) {
			if (!(port->pending & BIT(event)))
				continue;
			if (!send(port, event))
				goto out;
			port->pending &= ~(u32)BIT(event);
		}
	}
out:
	vq_notify(vq);
}

static void port_ready(struct port *port)
{
	port->ready = true;
	port->pending |= BIT(PORT_OPEN); /* the host's end always is */
	if (port->is.name)
		port->pending |= BIT(PORT_NAME);
	if (port->is.is_console)
		port->pending |= BIT(CONSOLE_PORT) | (port->size.rows ? BIT(RESIZE) : 0);
}

static void obey(struct virtio_console *con, const struct control *control)
{
	struct port *port = control->id < con->nports ? &con->port[control->id] : NULL;

	if (control->event == DEVICE_READY) {
		for (unsigned i = 0; control->value && i < con->nports; i++)
			con->port[i].pending |= BIT(DEVICE_ADD);
	} else if (control->event == PORT_READY && port && control->value) {
		port_ready(port);
	} else if (control->event == PORT_OPEN && port) {
		set_open(port, control->value);
	}
}

static void take_control(struct virtio_console *con, struct virtq *vq)
{
	struct vq_chain *chain;

	while ((chain = vq_next(vq))) {
		struct control control;

		if (iov_to_buf(chain->iov, chain->nread, 0, &control, sizeof(control)) == sizeof(control))
			obey(con, &control);
		vq_push(chain, 0);
	}
	vq_notify(vq);
	send_pending(con);
}

static void console_kick(struct virtio *vdev, struct virtq *vq)
{
	struct virtio_console *con = of(vdev);
	unsigned queue = vq_index(vq);
	struct port *port = port_of(con, queue);

	if (queue == CONTROL_IN)
		send_pending(con);
	else if (queue == CONTROL_OUT)
		take_control(con, vq);
	else if (port && queue % 2)
		output(port, vq);
	else if (port)
		update_input(port);
}

static void take_size(struct port *port)
{
	const struct console *console = port->is.console;
	struct virtio_console *con = port->owner;

	port->size = (struct size){.rows = console->rows, .columns = console->columns};
	if (!index_of(port)) {
		con->config.columns = console->columns;
		con->config.rows = console->rows;
	}
}

/* From the backend. */
static void resized(void *arg)
{
	struct port *port = arg;
	struct virtio_console *con = port->owner;

	take_size(port);
	if (multiport(con) && port->ready && port->is.is_console) {
		port->pending |= BIT(RESIZE);
		send_pending(con);
	} else if (!index_of(port)) {
		virtio_config_changed(&con->vdev);
	}
}

/* ---- config ---- */

/* A character printed before there are queues. Nothing else takes a write. */
static void console_config_write(struct virtio *vdev, unsigned offset, unsigned size)
{
	struct virtio_console *con = of(vdev);
	u8 c = (u8)con->config.emergency;

	(void)size;
	if (offset == offsetof(struct console_config, emergency))
		con->port[0].is.console->ops->write(con->port[0].is.console, &c, 1);
	con->config = (struct console_config){.columns = con->port[0].size.columns,
		.rows = con->port[0].size.rows,
		.max_ports = con->nports};
}

/* ---- its life ---- */

static void console_ready(struct virtio *vdev)
{
	struct virtio_console *con = of(vdev);

	if (!multiport(con))
		set_open(&con->port[0], true);
}

static void console_reset(struct virtio *vdev)
{
	struct virtio_console *con = of(vdev);

	for (unsigned i = 0; i < con->nports; i++) {
		struct port *port = &con->port[i];

		if (port->open)
			set_open(port, false);
		port->ready = false;
		port->pending = 0;
	}
}

static void console_free(struct virtio *vdev)
{
	struct virtio_console *con = of(vdev);

	for (unsigned i = 0; i < con->nports; i++) {
		con->port[i].is.console->input = NULL;
		con->port[i].is.console->resized = NULL;
	}
	free(con);
}

static const struct virtio_class console_class = {
	.name = "virtio-console",
	.id = VIRTIO_ID_CONSOLE,
	.pci_class = 0x078000,
	.queue_size = QUEUE_SIZE,
	.max_segments = SEGMENTS,
	.reset = console_reset,
	.ready = console_ready,
	.kick = console_kick,
	.config_write = console_config_write,
	.free = console_free,
};

int virtio_console_create(
	struct vm *vm, const struct virtio_console_port *ports, unsigned nports, struct virtio **out)
{
	struct virtio_console *con = calloc(1, sizeof(*con));
	u64 features = BIT(F_SIZE) | BIT(F_MULTIPORT) | BIT(F_EMERG_WRITE);
	int ret;

	if (!con)
		return -ENOMEM;
	con->nports = MIN(nports, (unsigned)VIRTIO_CONSOLE_PORTS);
	con->config.max_ports = con->nports;
	ret = virtio_init(&con->vdev, vm, &console_class, features, 2 * con->nports + 2, &con->config,
		sizeof(con->config));
	if (ret) {
		free(con);
		return ret;
	}
	for (unsigned i = 0; i < con->nports; i++) {
		struct port *port = &con->port[i];

		*port = (struct port){.is = ports[i], .owner = con};
		port->is.console->input = input;
		port->is.console->resized = resized;
		port->is.console->arg = port;
		take_size(port);
	}
	*out = &con->vdev;
	return 0;
}
