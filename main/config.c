/* SPDX-License-Identifier: MIT */
/*
 * Every key of a VM's definition. Options of `mullion run`, VM files, the JSON
 * schema, help and completion are made from these tables.
 */
#include "main/config_keys.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* ---- checks that only one key has ---- */

static int check_cpus(const char *text, struct err *why)
{
	return strcmp(text, "1") ? err_set(why, EINVAL, "this version runs exactly 1 vCPU") : 0;
}

static int check_engine(const char *text, struct err *why)
{
	if (!strcmp(text, "kvm"))
		return err_set(why, EINVAL, "not built yet; use metal, translate or auto");
	if (strcmp(text, "auto") && strcmp(text, "translate") && strcmp(text, "metal"))
		return err_set(why, EINVAL, "no such engine; there are auto, metal and translate");
	return 0;
}

static int check_name(const char *text, struct err *why)
{
	size_t len = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-");

	if (text[len] || !isalnum((unsigned char)*text) || len > 63)
		return err_set(why, EINVAL,
			"a name has up to 63 letters, digits, _ . or -, a letter or digit first");
	return 0;
}

static int check_mac(const char *text, struct err *why)
{
	u8 mac[6];

	if (config_parse_mac(text, mac))
		return err_set(why, EINVAL, "a MAC address is like 52:54:00:12:34:56, its first byte even");
	return 0;
}

static int check_label(const char *text, struct err *why)
{
	return *text == '=' || !strchr(text, '=') ? err_set(why, EINVAL, "a label is KEY=VALUE") : 0;
}

/* ---- the tables ---- */

/* clang-format off */
#define AT(field) .offset = offsetof(struct OBJECT, field)
#define KEYS(array) .keys = (array), .nkeys = ARRAY_SIZE(array)

#define OBJECT disk_config
static const char *const bus_choices[] = {"virtio", "ahci", "cdrom", NULL};
static const char *const format_choices[] = {"raw", "qcow2", "vmdk", "vdi", "vhdx", "nbd", NULL};

static int check_format(const char *text, struct err *why)
{
	for (size_t i = 0; format_choices[i]; i++) {
		if (!strcmp(text, format_choices[i]))
			return 0;
	}
	return err_set(why, EINVAL, "there are raw, qcow2, vmdk, vdi, vhdx and nbd");
}

static const struct config_key disk_keys[] = {
	{"path", KEY_PATH, AT(path), .value = "FILE", .image = true, .help = "image file or block device, or an nbd:// URL"},
	{"format", KEY_STRING, AT(format), .value = "raw|qcow2|vmdk|vdi|vhdx|nbd", .check = check_format,
		.help = "of the image (default: found out)"},
	{"bus", KEY_CHOICE, AT(bus), .choices = bus_choices, .help = "how the guest sees it (default: virtio)"},
	{"readonly", KEY_FLAG, AT(readonly), .help = "the guest cannot write to it"},
	{"snapshot", KEY_FLAG, AT(snapshot), .help = "what the guest writes is thrown away at the end"},
	{"direct", KEY_FLAG, AT(direct), .help = "past the host's page cache"},
	{"serial", KEY_STRING, AT(serial), .value = "TEXT", .help = "serial number that the guest sees"},
};
static const struct config_list disk_list = {CONFIG_DISKS, offsetof(struct vm_config, ndisks),
	sizeof(struct disk_config), KEYS(disk_keys)};
#undef OBJECT

#define OBJECT net_config
static const char *const net_choices[] = {"user", "tap:NAME", "switch:NAME", "none", NULL};
static const char *const model_choices[] = {"virtio", "e1000", NULL};
static const struct config_list forward_list = {CONFIG_FORWARDS, offsetof(struct net_config, nforwards), sizeof(char *), NULL, 0};
static const struct config_key net_keys[] = {
	{"kind", KEY_CHOICE, AT(kind), .choices = net_choices, .rest = offsetof(struct net_config, name),
		.help = "user mode, a tap device, a switch of mullion network or its socket's path, or no cable"},
	{"model", KEY_CHOICE, AT(model), .choices = model_choices, .help = "the card (default: virtio)"},
	{"mac", KEY_STRING, AT(mac), .value = "ADDRESS", .check = check_mac, .help = "(default: made from the VM's name)"},
	{"forward", KEY_STRINGS, AT(forward), .value = "tcp:[ADDRESS:]PORT:GUESTPORT", .list = &forward_list,
		.help = "user: a port of the host (or udp:) that leads to the guest"},
	{"isolated", KEY_FLAG, AT(isolated), .help = "switch: reaches no other isolated port"},
	{"restricted", KEY_FLAG, AT(restricted), .help = "user: no way out but the forwards"},
	{"queues", KEY_COUNT, AT(queues), .value = "N", .min = 1, .max = 8, .help = "virtio: pairs of queues"},
};
static const struct config_list net_list = {CONFIG_NETS, offsetof(struct vm_config, nnets),
	sizeof(struct net_config), KEYS(net_keys)};
#undef OBJECT

#define OBJECT share_config
static const char *const share_choices[] = {"auto", "virtiofs", "9p", NULL};
static const struct config_key share_keys[] = {
	{"path", KEY_PATH, AT(path), .value = "FOLDER", .help = "the host's folder"},
	{"tag", KEY_STRING, AT(tag), .value = "NAME", .help = "what the guest mounts it by"},
	{"kind", KEY_CHOICE, AT(kind), .choices = share_choices, .help = "(default: virtiofs where virtiofsd is installed)"},
	{"readonly", KEY_FLAG, AT(readonly), .help = "the guest cannot write to it"},
};
static const struct config_list share_list = {CONFIG_SHARES, offsetof(struct vm_config, nshares),
	sizeof(struct share_config), KEYS(share_keys)};
#undef OBJECT

#define OBJECT virtio_port_config
static const struct config_key virtio_port_keys[] = {
	{"name", KEY_STRING, AT(name), .value = "NAME", .help = "in the guest: /dev/virtio-ports/NAME"},
	{"path", KEY_PATH, AT(path), .value = "SOCKET", .help = "where programs of the host connect"},
};
static const struct config_list virtio_port_list = {CONFIG_VIRTIO_PORTS, offsetof(struct vm_config, nvirtio_ports),
	sizeof(struct virtio_port_config), KEYS(virtio_port_keys)};
#undef OBJECT

#define OBJECT vm_config
static const char *const console_choices[] = {"stdio", "file:PATH", "pty", "socket[:PATH]", "none", NULL};
static const struct config_list label_list = {CONFIG_LABELS, offsetof(struct vm_config, nlabels), sizeof(char *), NULL, 0};
static const struct config_key vm_keys[] = {
	{"name", KEY_STRING, AT(name), .value = "NAME", .check = check_name, .help = "what commands call the VM (default: made up)"},
	{"label", KEY_STRINGS, AT(label), .value = "KEY=VALUE", .list = &label_list, .check = check_label,
		.help = "a note that mullion ps can select by"},
	{"image", KEY_PATH, AT(image), .value = "FILE", .image = true, .help = "the first disk, whose system boots"},
	{"kernel", KEY_PATH, AT(kernel), .value = "FILE",
		.help = "bzImage, or ELF with a PVH note (default: the image's, or the one that make run made)"},
	{"initrd", KEY_PATH, AT(initrd), .value = "FILE", .help = "initial RAM disk"},
	{"append", KEY_STRING, AT(append), .value = "STRING",
		.help = "kernel command line (default: \"" DEFAULT_COMMAND_LINE "\")"},
	{"memory", KEY_SIZE, AT(memory), .value = "SIZE", .help = "guest memory, such as 2G (default: 512M, with an image 1G)"},
	{"cpus", KEY_COUNT, AT(cpus), .value = "N", .min = 1, .max = 255, .check = check_cpus, .help = "vCPUs; 1 for now"},
	{"engine", KEY_STRING, AT(engine), .value = "auto|metal|translate", .check = check_engine,
		.help = "what runs the vCPU (default: auto, the best that works)"},
	{"console", KEY_CHOICE, AT(console), .choices = console_choices, .rest = offsetof(struct vm_config, console_path),
		.other = "file", .help = "the serial port (default: stdio)"},
	{"console-log", KEY_PATH, AT(console_log), .value = "FILE",
		.help = "gets what a pty or socket console prints; at 1 MiB it becomes FILE.1"},
	{"virtio-console", KEY_FLAG, AT(virtio_console), .help = "the console is hvc0, too"},
	{"virtio-port", KEY_LIST, AT(virtio_port), .list = &virtio_port_list, .help = "a channel between a socket and the guest"},
	{"disk", KEY_LIST, AT(disk), .list = &disk_list, .help = "a disk"},
	{"net", KEY_LIST, AT(net), .list = &net_list, .help = "a network card"},
	{"share", KEY_LIST, AT(share), .list = &share_list, .help = "a folder of the host"},
	{"snapshot", KEY_FLAG, AT(snapshot), .help = "what the guest writes to any disk is thrown away at the end"},
	{"vnc", KEY_STRING, AT(vnc), .value = "ADDRESS", .file_after = "unix:", .help = "show the screen: 127.0.0.1:5900, :0, or unix:PATH"},
	{"vnc-password-file", KEY_PATH, AT(vnc_password_file), .value = "FILE", .help = "VNC clients have to know its first line, of 1 to 8 bytes"},
	{"vga", KEY_FLAG, AT(vga), .help = "a VGA card, also when nobody looks"},
	{"virtio-input", KEY_FLAG, AT(virtio_input), .help = "keyboard and tablet by virtio, too"},
	{"rng", KEY_SWITCH, AT(rng), .help = "random numbers from the host (on with an image)"},
	{"balloon", KEY_SWITCH, AT(balloon), .help = "memory goes back to the host (on with an image)"},
	{"packed-rings", KEY_FLAG, AT(packed_rings), .help = "virtio drivers may choose packed rings (default: split ones)"},
	{"vsock", KEY_COUNT, AT(vsock_cid), .value = "CID", .min = 3, .max = 0xfffffffe, .help = "sockets between host and guest"},
	{"vsock-path", KEY_PATH, AT(vsock_path), .value = "SOCKET", .help = "where programs of the host connect to the guest's ports"},
	{"hotplug-ports", KEY_COUNT, AT(hotplug_ports), .value = "N", .max = CONFIG_PORTS, .help = "empty PCI Express ports (default: 0)"},
	{"no-reboot", KEY_FLAG, AT(no_reboot), .help = "end instead of resetting the VM"},
	{"timeout", KEY_SECONDS, AT(timeout_ns), .value = "SECS", .help = "end after this time, with status 124"},
	{"debug-exit", KEY_FLAG, AT(debug_exit), .help = "a byte v written to port 0xf4 ends with status (v << 1) | 1"},
	{"private-memory", KEY_FLAG, AT(private_memory), .help = "with metal: take the VM's memory out of this system's reach"},
	{"no-sandbox", KEY_FLAG, AT(no_sandbox), .help = "for debugging: the process keeps all of its rights"},
	{"stats", KEY_FLAG, AT(stats), .help = "print counters at the end (SIGUSR1 prints them at any time)"},
};
const struct config_list config_table = {1, 0, sizeof(struct vm_config), KEYS(vm_keys)};
#undef OBJECT
/* clang-format on */

_Static_assert(ARRAY_SIZE(vm_keys) <= 64, "vm_config.given has a bit for each");

/* ---- finding keys ---- */

const struct config_key *config_find_key(const struct config_list *list, const char *name, size_t len)
{
	for (unsigned i = 0; i < list->nkeys; i++) {
		const struct config_key *key = &list->keys[i];

		if (strlen(key->name) == len && !memcmp(key->name, name, len))
			return key;
	}
	return NULL;
}

#define WORD 32

/* By Levenshtein. */
unsigned word_distance(const char *a, const char *b)
{
	unsigned row[WORD];
	size_t len = strlen(b);

	if (len >= WORD)
		return WORD;
	for (unsigned j = 0; j <= len; j++)
		row[j] = j;
	for (; *a; a++) {
		unsigned left_above = row[0]++;

		for (unsigned j = 1; j <= len; j++) {
			unsigned changed = left_above + (*a != b[j - 1]);

			left_above = row[j];
			row[j] = MIN(changed, MIN(row[j], row[j - 1]) + 1);
		}
	}
	return row[len];
}

unsigned word_far(const char *word)
{
	return (unsigned)strlen(word) / 2 + 1;
}

const struct config_key *config_nearest_key(const struct config_list *list, const char *name)
{
	const struct config_key *best = NULL;
	unsigned least = word_far(name);

	for (unsigned i = 0; i < list->nkeys; i++) {
		unsigned d = word_distance(name, list->keys[i].name);

		if (d < least) {
			least = d;
			best = &list->keys[i];
		}
	}
	return best;
}

const char *config_nearest_option(const char *name)
{
	const struct config_key *key = config_nearest_key(&config_table, name);

	return key ? key->name : NULL;
}

size_t config_choice_len(const char *choice)
{
	return strcspn(choice, ":[");
}

const char *config_choice_list(const struct config_key *key, char *text, size_t len)
{
	size_t used = 0;

	*text = 0;
	for (unsigned i = 0; key->choices[i] && used < len; i++)
		used += (size_t)snprintf(text + used, len - used, "%s%s", i ? "|" : "", key->choices[i]);
	return text;
}
