/* SPDX-License-Identifier: MIT */
/* The machine's virtio devices that need nothing of the host but itself. */
#include "main/machine_virtio.h"

#include <errno.h>

#include "backend/console_hub.h"
#include "dev/virtio/balloon.h"
#include "dev/virtio/console.h"
#include "dev/virtio/rng.h"
#include "dev/virtio/transport.h"

static int add_rng(struct machine *m)
{
	struct virtio *vdev;
	int ret = virtio_rng_create(&m->vm, &vdev);

	return ret ? ret : virtio_plug(vdev, m->pci);
}

static int add_balloon(struct machine *m)
{
	struct virtio *vdev;
	int ret = virtio_balloon_create(&m->vm, &vdev);

	if (!ret)
		ret = virtio_plug(vdev, m->pci);
	if (!ret)
		m->balloon = vdev;
	return ret;
}

/* What the user types goes to hvc0 while the guest has it open, else to the serial port. */
static void console_opened(void *arg, bool open)
{
	struct machine *m = arg;

	console_pair_select(&m->console_pair, open);
}

/* Port 0 is what a driver takes for its console, also where there is none. */
static int first_port(struct machine *m, struct virtio_console_port *port)
{
	int ret = 0;

	if (m->config->virtio_console) {
		*port = (struct virtio_console_port){.console = &m->console_pair.end[1],
			.is_console = true,
			.opened = console_opened,
			.arg = m};
	} else {
		ret = console_null_create(&m->virtio_port[0]);
		*port = (struct virtio_console_port){.console = m->virtio_port[0]};
	}
	return ret;
}

static int named_port(struct machine *m, unsigned i, struct virtio_console_port *port, struct err *err)
{
	const struct console_config base = {.vm = &m->vm, .loop = m->loop};
	const struct virtio_port_config *config = &m->config->virtio_port[i];
	struct console **console = &m->virtio_port[i + 1];
	int ret = console_hub_create(&base, NULL, console, err);

	if (ret)
		return ret;
	*port = (struct virtio_console_port){.console = *console, .name = config->name};
	return console_hub_listen(*console, config->path, err);
}

static int add_console(struct machine *m, struct err *err)
{
	struct virtio_console_port port[CONFIG_VIRTIO_PORTS + 1];
	unsigned n = m->config->nvirtio_ports;
	struct virtio *vdev;
	int ret;

	if (!m->config->virtio_console && !n)
		return 0;
	ret = first_port(m, &port[0]);
	for (unsigned i = 0; !ret && i < n; i++)
		ret = named_port(m, i, &port[i + 1], err);
	if (!ret)
		ret = virtio_console_create(&m->vm, port, n + 1, &vdev);
	return ret ? ret : virtio_plug(vdev, m->pci);
}

void machine_close_virtio(struct machine *m)
{
	for (unsigned i = 0; i < ARRAY_SIZE(m->virtio_port); i++) {
		if (m->virtio_port[i])
			m->virtio_port[i]->ops->close(m->virtio_port[i]);
		m->virtio_port[i] = NULL;
	}
}

int machine_add_virtio(struct machine *m, struct err *err)
{
	const struct vm_config *config = m->config;
	int ret;

	err_set(err, EIO, "a virtio device cannot be added");
	ret = add_console(m, err);
	if (!ret && config->rng)
		ret = add_rng(m);
	if (!ret && config->balloon)
		ret = add_balloon(m);
	return ret;
}

/* ---- counters ---- */

static void print_queue(const struct virtio *vdev, const struct virtq *vq, FILE *out)
{
	const struct vq_counters *c = &vq->count;

	if (c->chains || c->kicks)
		fprintf(out, "%s %02x.%x queue %u: kicks %llu chains %llu interrupts %llu quiet %llu\n",
			vdev->class->name, vdev->pci.devfn >> 3, vdev->pci.devfn & 7, vq_index(vq),
			(unsigned long long)c->kicks, (unsigned long long)c->chains,
			(unsigned long long)c->interrupts, (unsigned long long)c->quiet);
}

static void print_stat(FILE *out, const char *name, u64 bytes)
{
	if (bytes != UINT64_MAX)
		fprintf(out, " %s %llu", name, (unsigned long long)(bytes / KIB(1)));
}

static void print_balloon(const struct balloon_figures *f, FILE *out)
{
	fprintf(out, "balloon (KiB):");
	print_stat(out, "target", f->target);
	print_stat(out, "actual", f->actual);
	print_stat(out, "inflated", f->inflated);
	print_stat(out, "deflated", f->deflated);
	print_stat(out, "reported", f->reported);
	print_stat(out, "dropped", f->dropped);
	print_stat(out, "free", f->stat[BALLOON_FREE]);
	print_stat(out, "available", f->stat[BALLOON_AVAILABLE]);
	print_stat(out, "total", f->stat[BALLOON_TOTAL]);
	fprintf(out, "\n");
}

static void print_bus(const struct pci_bus *bus, FILE *out)
{
	for (struct pci_function *fn = bus->functions; fn; fn = fn->next) {
		struct virtio *vdev = virtio_of(fn);

		for (unsigned i = 0; vdev && i < vdev->nqueues; i++)
			print_queue(vdev, virtio_queue(vdev, i), out);
	}
}

void machine_print_virtio(struct machine *m, FILE *out)
{
	print_bus(&m->pci->root, out);
	for (const struct pci_bus *bus = m->pci->buses; bus; bus = bus->next)
		print_bus(bus, out);
	if (!m->balloon)
		return;
	print_balloon(virtio_balloon_figures(m->balloon), out);
	if (vm_trylock(&m->vm)) {
		virtio_balloon_refresh(m->balloon);
		pthread_mutex_unlock(&m->vm.lock);
	}
}
