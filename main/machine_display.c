/* SPDX-License-Identifier: MIT */
/* Screen, keyboard and pointer. */
#include "main/machine_display.h"

#include <errno.h>

#include "backend/vnc.h"
#include "dev/i8042.h"
#include "dev/pci/host.h"
#include "dev/vga.h"
#include "dev/virtio/input.h"

bool machine_has_display(const struct machine *m)
{
	return m->config->vga || m->config->vnc;
}

static void add_ps2(struct machine *m)
{
	struct machine_display *d = &m->display;

	ps2_keyboard_init(&d->keyboard);
	ps2_mouse_init(&d->mouse);
	input_add(&d->input, &d->keyboard.sink);
	input_add(&d->input, &d->mouse.sink);
	i8042_plug(m->kbc, &d->keyboard.ps2, &d->mouse.ps2);
}

static int add_vga(struct machine *m)
{
	int ret = vga_create(&m->vm, &m->display.vga);

	return ret ? ret : pci_plug(m->pci, &m->display.vga->pci, PCI_ANY);
}

static int add_virtio(struct machine *m, enum input_kind kind)
{
	struct input_sink *sink;
	struct virtio *vdev;
	int ret = virtio_input_create(&m->vm, kind, &vdev, &sink);

	if (!ret)
		ret = virtio_plug(vdev, m->pci);
	if (!ret)
		input_add(&m->display.input, sink);
	return ret;
}

static int open_vnc(struct machine *m, struct err *err)
{
	const struct vnc_config vnc = {
		.address = m->config->vnc,
		.password_file = m->config->vnc_password_file,
		.name = m->config->name ? m->config->name : "mullion",
		.vm = &m->vm,
		.source = &m->display.vga->display,
		.input = &m->display.input,
	};

	return m->config->vnc ? vnc_create(&vnc, &m->display.vnc, err) : 0;
}

int machine_add_display(struct machine *m, struct err *err)
{
	int ret;

	if (m->config->vnc_password_file && !m->config->vnc)
		return err_set(err, EINVAL, "--vnc-password-file: there is no --vnc that it could be for");
	if (!machine_has_display(m))
		return 0;
	add_ps2(m);
	ret = add_vga(m);
	if (!ret && m->config->virtio_input)
		ret = add_virtio(m, INPUT_KEYBOARD);
	if (!ret && m->config->virtio_input)
		ret = add_virtio(m, INPUT_TABLET);
	return ret ? ret : open_vnc(m, err);
}

void machine_close_display(struct machine *m)
{
	vnc_destroy(m->display.vnc);
	m->display.vnc = NULL;
}
