/* SPDX-License-Identifier: MIT */
/* Network cards and what they are plugged into. */
#include "main/machine_nets.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backend/net_none.h"
#include "backend/net_switch.h"
#include "backend/net_tap.h"
#include "backend/net_user.h"
#include "dev/e1000.h"
#include "dev/pci/host.h"
#include "dev/virtio/net.h"
#include "main/network.h"

#define ROM_MAX KIB(512)

/* ---- addresses ---- */

/* Locally administered, and the same at each start: made from the VM's name and the card's number. */
static void make_mac(const char *name, unsigned index, u8 mac[6])
{
	u32 hash = 2166136261u; /* FNV-1a */

	for (const char *p = name; *p; p++)
		hash = (hash ^ (u8)*p) * 16777619u;
	hash = (hash ^ index) * 16777619u;
	mac[0] = 0x52;
	mac[1] = 0x4d;
	memcpy(mac + 2, &hash, sizeof(hash));
}

static int choose_mac(
	const struct net_config *config, const char *name, unsigned index, u8 mac[6], struct err *err)
{
	unsigned byte[6];
	char end;

	if (!config->mac) {
		make_mac(name, index, mac);
		return 0;
	}
	if (strlen(config->mac) != 17 || sscanf(config->mac, "%2x:%2x:%2x:%2x:%2x:%2x%c", &byte[0], &byte[1],
						 &byte[2], &byte[3], &byte[4], &byte[5], &end) != 6)
		return err_set(
			err, EINVAL, "--net: mac=%s must be six bytes as 52:54:00:12:34:56", config->mac);
	if (byte[0] & 1)
		return err_set(err, EINVAL,
			"--net: mac=%s is a multicast address; a card's first byte is even", config->mac);
	for (unsigned i = 0; i < 6; i++)
		mac[i] = (u8)byte[i];
	return 0;
}

/* ---- the parts ---- */

static int open_switch(struct machine *m, const struct net_config *config, const struct net_place *place,
	struct net_pump **out, struct err *err)
{
	char path[PATH_MAX];
	const struct net_switch_config cable = {
		.path = path, .vm = m->config->name ? m->config->name : "", .isolated = config->isolated};
	int ret = 0;

	if (strchr(config->name, '/'))
		snprintf(path, sizeof(path), "%s", config->name);
	else
		ret = network_open(config->name, path, err);
	return ret ? ret : net_switch_create(place, &cable, out, err);
}

static int open_backend(struct machine *m, const struct net_config *config, const struct net_place *place,
	struct net_pump **out, struct err *err)
{
	const struct net_user_config user = {
		.hostname = m->config->name,
		.restricted = config->restricted,
		.forward = config->forward,
		.nforwards = config->nforwards,
	};
	int ret;

	switch (config->kind) {
	case NET_USER:
		return net_user_create(place, &user, out, err);
	case NET_TAP:
		return net_tap_create(place, config->name, out, err);
	case NET_SWITCH:
		return open_switch(m, config, place, out, err);
	default:
		ret = net_none_create(place, out);
		return ret ? err_set(err, -ret, "out of memory") : 0;
	}
}

/* The card's boot program, where Debian's ipxe-qemu is installed; without it there is none. */
static void *read_rom(size_t *len)
{
	FILE *file = fopen("/usr/lib/ipxe/qemu/pxe-e1000.rom", "re");
	void *rom = file ? malloc(ROM_MAX) : NULL;

	*len = rom ? fread(rom, 1, ROM_MAX, file) : 0;
	if (file)
		fclose(file);
	if (*len)
		return rom;
	free(rom);
	return NULL;
}

static int add_e1000(struct machine *m, struct machine_net *net)
{
	size_t len;
	void *rom = read_rom(&len);
	int ret = e1000_create(&m->vm, &net->pump->net, rom, len, &net->e1000);

	free(rom);
	if (ret)
		return ret;
	ret = pci_plug(m->pci, net->e1000, PCI_ANY);
	if (!ret)
		return 0;
	net->e1000->ops->free(net->e1000);
	net->e1000 = NULL;
	return ret;
}

static int add_card(struct machine *m, const struct net_config *config, struct machine_net *net)
{
	int ret;

	if (config->model == NET_MODEL_E1000)
		return add_e1000(m, net);
	ret = virtio_net_create(&m->vm, &net->pump->net, MAX(1u, config->queues), &net->virtio);

	if (!ret)
		ret = virtio_plug(net->virtio, m->pci);
	if (ret)
		net->virtio = NULL;
	return ret;
}

int machine_add_nets(struct machine *m, struct err *err)
{
	const struct vm_config *config = m->config;
	int ret = 0;

	for (unsigned i = 0; !ret && i < config->nnets; i++) {
		struct net_place place = {.vm = &m->vm, .loop = m->loop};
		struct machine_net *net = &m->net[i];

		ret = choose_mac(&config->net[i], config->name ? config->name : "", i, place.mac, err);
		if (!ret)
			ret = open_backend(m, &config->net[i], &place, &net->pump, err);
		if (ret)
			return ret;
		ret = add_card(m, &config->net[i], net);
		if (ret)
			err_set(err, -ret, "network card %u cannot be added: %s", i, strerror(-ret));
	}
	return ret;
}

void machine_close_nets(struct machine *m)
{
	for (unsigned i = 0; i < ARRAY_SIZE(m->net); i++) {
		if (m->net[i].pump)
			m->net[i].pump->ops->close(m->net[i].pump);
		m->net[i].pump = NULL;
	}
}

/* ---- while the VM runs ---- */

static int plug_card(struct machine *m, struct pci_port *port, const struct net_config *config, struct machine_net *net)
{
	int ret = virtio_net_create(&m->vm, &net->pump->net, MAX(1u, config->queues), &net->virtio);

	if (ret)
		return ret;
	pthread_mutex_lock(&m->vm.lock);
	ret = pci_hot_plug(port, &net->virtio->pci);
	pthread_mutex_unlock(&m->vm.lock);
	if (ret) {
		net->virtio->pci.dev.ops->free(&net->virtio->pci.dev);
		net->virtio = NULL;
	}
	return ret;
}

int machine_hot_net(struct machine *m, struct pci_port *port, const struct net_config *config, unsigned *index,
	struct err *err)
{
	struct net_place place = {.vm = &m->vm, .loop = m->loop};
	int ret;

	if (config->model != NET_MODEL_VIRTIO)
		return err_set(err, ENOTSUP, "only a virtio card can be plugged in while the VM runs");
	for (*index = 0; *index < CONFIG_NETS && m->net[*index].pump; ++*index)
		;
	if (*index == CONFIG_NETS)
		return err_set(err, ENOSPC, "there are %u network cards already", CONFIG_NETS);
	ret = choose_mac(config, m->config->name ? m->config->name : "", *index, place.mac, err);
	if (!ret)
		ret = open_backend(m, config, &place, &m->net[*index].pump, err);
	if (ret)
		return ret;
	ret = plug_card(m, port, config, &m->net[*index]);
	if (!ret)
		return 0;
	machine_hot_net_close(m, *index);
	return err_set(err, -ret, "the network card cannot be plugged in: %s", strerror(-ret));
}

void machine_hot_net_close(struct machine *m, unsigned index)
{
	m->net[index].pump->ops->close(m->net[index].pump);
	m->net[index] = (struct machine_net){0};
}

/* ---- counters ---- */

static void print_counters(FILE *out, unsigned i, const char *what, const struct net_counters *c)
{
	fprintf(out, "net %u %s: frames %llu bytes %llu batches %llu dropped %llu\n", i, what,
		(unsigned long long)c->frames, (unsigned long long)c->bytes, (unsigned long long)c->batches,
		(unsigned long long)c->dropped);
}

void machine_print_nets(const struct machine *m, FILE *out)
{
	for (unsigned i = 0; i < ARRAY_SIZE(m->net); i++) {
		const struct machine_net *net = &m->net[i];

		if (!net->pump)
			continue;

		print_counters(out, i, "sent", &net->pump->tx);
		print_counters(out, i, "received", &net->pump->rx);
		if (net->virtio) {
			const struct virtio_net_counters *c = virtio_net_counters(net->virtio);

			fprintf(out, "net %u virtio: kicks %llu notifies %llu starved %llu filtered %llu\n",
				i, (unsigned long long)c->kicks, (unsigned long long)c->notifies,
				(unsigned long long)c->starved, (unsigned long long)c->filtered);
		}
		if (net->e1000) {
			const struct e1000_counters *c = e1000_counters(net->e1000);

			fprintf(out,
				"net %u e1000: tail_writes %llu interrupts %llu throttled %llu cause_reads "
				"%llu "
				"starved %llu filtered %llu\n",
				i, (unsigned long long)c->tail_writes, (unsigned long long)c->interrupts,
				(unsigned long long)c->throttled, (unsigned long long)c->cause_reads,
				(unsigned long long)c->starved, (unsigned long long)c->filtered);
		}
	}
}
