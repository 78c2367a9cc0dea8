/* SPDX-License-Identifier: MIT */
/* Disks and network cards that come and go while the VM runs. */
#include "main/hotplug.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "main/machine_disks.h"
#include "main/machine_nets.h"

static struct hot_device *free_port(struct hotplug *hot, unsigned *port)
{
	for (*port = 0; *port < hot->m->config->hotplug_ports; ++*port) {
		if (!hot->device[*port].kind && pci_port_empty(hot->m->port[*port]))
			return &hot->device[*port];
	}
	return NULL;
}

static int no_port(const struct hotplug *hot, struct err *err)
{
	const struct vm_config *config = hot->m->config;

	if (!config->hotplug_ports)
		return err_set(err, ENOTSUP, "%s has no hot-plug ports; --hotplug-ports gives it some",
			config->name);
	return err_set(
		err, EBUSY, "all %u hot-plug ports of %s are taken", config->hotplug_ports, config->name);
}

/* Locks tell open files apart, so one that comes twice has to be noticed here. Readers may share it. */
static int note_file(struct hotplug *hot, struct hot_device *device, int fd, const struct disk_config *disk,
	struct err *err)
{
	struct stat st = {0};

	if (fd >= 0 && fstat(fd, &st))
		return err_set(err, errno, "disk %s: %s", disk->path, strerror(errno));
	for (unsigned i = 0; st.st_ino && i < CONFIG_PORTS; i++) {
		const struct hot_device *other = &hot->device[i];

		if (other->kind && other->file_ino == st.st_ino && other->file_dev == st.st_dev &&
			!(disk->readonly && other->config.disk[0].readonly))
			return err_set(err, EBUSY, "disk %s: is in port %u already", disk->path, i + 1);
	}
	device->file_dev = st.st_dev;
	device->file_ino = st.st_ino;
	return 0;
}

int hotplug_add(struct hotplug *hot, struct vm_config *config, int fd, unsigned *port, struct err *err)
{
	struct machine *m = hot->m;
	struct hot_device *device = free_port(hot, port);
	int ret;

	if (config->ndisks + config->nnets != 1)
		return err_set(err, EINVAL, "one disk or one net is wanted");
	if (!device)
		return no_port(hot, err);
	ret = note_file(hot, device, fd, &config->disk[0], err);
	if (ret)
		return ret;
	if (config->ndisks)
		ret = machine_hot_disk(m, m->port[*port], &config->disk[0], fd, &device->index, err);
	else
		ret = machine_hot_net(m, m->port[*port], &config->net[0], &device->index, err);
	if (ret)
		return ret;
	device->config = *config;
	device->hot = hot;
	device->kind = config->ndisks ? "disk" : "net";
	device->gone = NULL;
	config_init(config);
	++*port;
	return 0;
}

/* On a vCPU's thread, with the machine lock held: the loop closes what was behind it. */
static void let_go(void *arg, struct pci_function *fn)
{
	struct hot_device *device = arg;

	device->gone = fn;
	loop_event_post(&device->hot->closing);
}

static void close_gone(void *arg)
{
	struct hotplug *hot = arg;

	for (unsigned i = 0; i < CONFIG_PORTS; i++) {
		struct hot_device *device = &hot->device[i];

		if (!device->kind || !device->gone)
			continue;
		device->gone->dev.ops->free(&device->gone->dev);
		if (device->config.ndisks)
			machine_hot_disk_close(hot->m, device->index);
		else
			machine_hot_net_close(hot->m, device->index);
		config_free(&device->config);
		device->kind = NULL;
	}
}

int hotplug_remove(struct hotplug *hot, unsigned port, struct err *err)
{
	int ret;

	if (!port || port > hot->m->config->hotplug_ports || !hot->device[port - 1].kind)
		return err_set(err, ENOENT, "nothing was plugged into port %u", port);
	pthread_mutex_lock(&hot->m->vm.lock);
	ret = pci_hot_unplug(hot->m->port[port - 1], let_go, &hot->device[port - 1]);
	pthread_mutex_unlock(&hot->m->vm.lock);
	return ret ? err_set(err, -ret, "port %u: the guest has been asked already", port) : 0;
}

int hotplug_init(struct hotplug *hot, struct machine *m)
{
	hot->m = m;
	return loop_event_init(m->loop, &hot->closing, close_gone, hot);
}

/* What is still plugged in is the machine's to free and to close. */
void hotplug_fini(struct hotplug *hot)
{
	if (!hot->m)
		return;
	close_gone(hot);
	loop_event_fini(hot->m->loop, &hot->closing);
	for (unsigned i = 0; i < CONFIG_PORTS; i++) {
		if (hot->device[i].kind)
			config_free(&hot->device[i].config);
	}
	hot->m = NULL;
}
