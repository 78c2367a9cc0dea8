/* SPDX-License-Identifier: MIT */
/* The machine's disks. */
#include "main/machine_disks.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backend/disk_open.h"
#include "dev/ahci.h"
#include "dev/pci/host.h"
#include "dev/virtio/blk.h"

static int open_disk(struct machine *m, const struct disk_config *config, int fd, struct disk **out, struct err *err)
{
	const struct disk_source source = {
		.path = config->path,
		.format = config->format,
		.readonly = config->readonly || config->bus == DISK_BUS_CDROM,
		.snapshot = config->snapshot && config->bus != DISK_BUS_CDROM,
		.direct = config->direct,
		.opened = fd >= 0,
		.fd = fd,
	};

	return disk_open(&source, m->loop, &m->vm.lock, out, err);
}

/* The same disk has the same number in each of its VM's lives. */
static void serial_of(const struct disk_config *config, char *serial, size_t len)
{
	u64 hash = 0xcbf29ce484222325;

	for (const char *c = config->path; *c; c++)
		hash = (hash ^ (u8)*c) * 0x100000001b3; /* FNV-1a */
	if (config->serial)
		snprintf(serial, len, "%s", config->serial);
	else
		snprintf(serial, len, "M%016llX", (unsigned long long)hash);
}

static int attach_virtio(struct machine *m, const char *serial, struct disk *disk)
{
	struct virtio *vdev;
	int ret = virtio_blk_create(&m->vm, disk, serial, m->vm.nvcpus, &vdev);

	return ret ? ret : virtio_plug(vdev, m->pci);
}

/* The drive goes to the newest controller that has a port left. */
static int attach_ahci(struct machine *m, const char *serial, bool cdrom, struct disk *disk)
{
	int ret = m->ahci ? ahci_attach(m->ahci, disk, cdrom, serial) : -ENOSPC;

	if (ret != -ENOSPC)
		return ret;
	ret = ahci_create(&m->vm, &m->ahci);
	if (!ret)
		ret = pci_plug(m->pci, ahci_function(m->ahci), PCI_ANY);
	return ret ? ret : ahci_attach(m->ahci, disk, cdrom, serial);
}

static int attach(struct machine *m, const struct disk_config *config, struct disk *disk)
{
	char serial[32];

	serial_of(config, serial, sizeof(serial));
	switch (config->bus) {
	case DISK_BUS_AHCI:
	case DISK_BUS_CDROM:
		return attach_ahci(m, serial, config->bus == DISK_BUS_CDROM, disk);
	case DISK_BUS_VIRTIO:
		return attach_virtio(m, serial, disk);
	default:
		return -ENODEV;
	}
}

int machine_add_disks(struct machine *m, struct err *err)
{
	const struct vm_config *config = m->config;
	int ret = 0;

	for (unsigned i = 0; !ret && i < config->ndisks; i++) {
		ret = open_disk(m, &config->disk[i], -1, &m->disk[i], err);
		if (ret)
			return ret;
		ret = attach(m, &config->disk[i], m->disk[i]);
		if (ret)
			err_set(err, -ret, "disk %s cannot be added: %s", config->disk[i].path,
				strerror(-ret));
	}
	return ret;
}

void machine_close_disks(struct machine *m)
{
	for (unsigned i = 0; i < ARRAY_SIZE(m->disk); i++) {
		if (m->disk[i])
			m->disk[i]->ops->close(m->disk[i]);
		m->disk[i] = NULL;
	}
}

/* ---- while the VM runs ---- */

static int plug_disk(struct machine *m, struct pci_port *port, const struct disk_config *config, struct disk *disk)
{
	struct virtio *vdev;
	char serial[32];
	int ret;

	serial_of(config, serial, sizeof(serial));
	ret = virtio_blk_create(&m->vm, disk, serial, m->vm.nvcpus, &vdev);
	if (ret)
		return ret;
	pthread_mutex_lock(&m->vm.lock);
	ret = pci_hot_plug(port, &vdev->pci);
	pthread_mutex_unlock(&m->vm.lock);
	if (ret)
		vdev->pci.dev.ops->free(&vdev->pci.dev);
	return ret;
}

int machine_hot_disk(struct machine *m, struct pci_port *port, const struct disk_config *config, int fd,
	unsigned *index, struct err *err)
{
	int ret;

	if (config->bus != DISK_BUS_VIRTIO)
		return err_set(err, ENOTSUP, "disk %s: only a virtio disk can be plugged in while the VM runs",
			config->path);
	for (*index = 0; *index < CONFIG_DISKS && m->disk[*index]; ++*index)
		;
	if (*index == CONFIG_DISKS)
		return err_set(err, ENOSPC, "disk %s: there are %u disks already", config->path, CONFIG_DISKS);
	ret = open_disk(m, config, fd, &m->disk[*index], err);
	if (ret)
		return ret;
	ret = plug_disk(m, port, config, m->disk[*index]);
	if (!ret)
		return 0;
	machine_hot_disk_close(m, *index);
	return err_set(err, -ret, "disk %s cannot be plugged in: %s", config->path, strerror(-ret));
}

void machine_hot_disk_close(struct machine *m, unsigned index)
{
	m->disk[index]->ops->close(m->disk[index]);
	m->disk[index] = NULL;
}
