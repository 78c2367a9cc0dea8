/* SPDX-License-Identifier: MIT */
/*
 * A VM's definition: what the options of `mullion run` and `create` and the keys
 * of a VM file both describe. One table (main/config.c) names every key, its kind,
 * its values and its help; options, VM files, the JSON schema, --help, shell
 * completion and `mullion inspect` are all made from it.
 *
 * A device's options are a list: --disk PATH,bus=ahci,readonly is in a VM file
 * "disk": [{"path": PATH, "bus": "ahci", "readonly": true}].
 *
 * Strings belong to the config (config_free).
 */
#pragma once

#include "host/err.h"
#include "lib/types.h"

#define DEFAULT_MEMORY MIB(512)
#define DEFAULT_COMMAND_LINE "console=ttyS0 quiet"

#define CONFIG_DISKS 16
#define CONFIG_NETS 8
#define CONFIG_FORWARDS 16
#define CONFIG_SHARES 8
#define CONFIG_VIRTIO_PORTS 4
#define CONFIG_PORTS 16
#define CONFIG_LABELS 16

enum disk_bus {
	DISK_BUS_VIRTIO,
	DISK_BUS_AHCI,
	DISK_BUS_CDROM, /* ATAPI on the AHCI controller; read-only */
};

struct disk_config {
	char *path; /* a file, or nbd://host[:port]/name, nbd+unix:///name?socket=path */
	char *format; /* NULL: found out; raw, qcow2, vmdk, vdi, vhdx, nbd */
	enum disk_bus bus;
	bool readonly;
	bool snapshot; /* writes go to a file that vanishes at the end */
	bool direct; /* O_DIRECT */
	char *serial; /* NULL: made up */
};

enum net_kind {
	NET_USER, /* libslirp: DHCP, DNS, NAT; no rights needed */
	NET_TAP,
	NET_SWITCH, /* a named switch of `mullion network`, or a UNIX socket's path */
	NET_NONE, /* a card with no cable */
};

enum net_model {
	NET_MODEL_VIRTIO,
	NET_MODEL_E1000,
};

struct net_config {
	enum net_kind kind;
	enum net_model model;
	char *name; /* the tap's or the switch's */
	char *mac; /* NULL: made from the VM's name and the card's number */
	char *forward[CONFIG_FORWARDS]; /* "tcp:127.0.0.1:2222:22" */
	unsigned nforwards;
	bool isolated; /* on a switch: may talk to no other isolated port */
	bool restricted; /* user: no way out but the forwards */
	unsigned queues; /* virtio; 0: one */
};

enum share_kind {
	SHARE_AUTO, /* virtiofs where virtiofsd is installed, else 9p */
	SHARE_VIRTIOFS,
	SHARE_9P,
};

/* A channel of bytes between a UNIX socket and /dev/virtio-ports/NAME. */
struct virtio_port_config {
	char *name, *path;
};

struct share_config {
	char *path, *tag;
	enum share_kind kind;
	bool readonly;
};

enum console_kind {
	CONSOLE_STDIO,
	CONSOLE_FILE,
	CONSOLE_PTY,
	CONSOLE_SOCKET, /* a UNIX socket that clients connect to; a ring keeps what was printed before */
	CONSOLE_NONE,
};

struct vm_config {
	u64 given; /* which keys: BIT(place in the table) */
	char *name; /* NULL: made up */
	char *image; /* the disk that `mullion run IMAGE` boots; config_finish puts it before disk[0] */
	char *kernel, *initrd, *append; /* NULL: not given */
	u64 memory; /* bytes */
	unsigned cpus;
	char *engine; /* NULL: auto */
	enum console_kind console; /* COM1 */
	char *console_path;
	char *console_log; /* what a pty's or socket's console prints goes there, too */
	bool virtio_console; /* hvc0 is the console, beside ttyS0 */
	struct disk_config disk[CONFIG_DISKS];
	struct net_config net[CONFIG_NETS];
	struct share_config share[CONFIG_SHARES];
	struct virtio_port_config virtio_port[CONFIG_VIRTIO_PORTS];
	unsigned ndisks, nnets, nshares, nvirtio_ports;
	bool snapshot; /* config_finish sets it in every disk */
	char *vnc; /* "127.0.0.1:5900", ":0", "unix:PATH"; NULL: no display listens */
	char *vnc_password_file; /* NULL: whoever reaches the address is let in */
	bool vga; /* standard VGA, also without vnc */
	bool virtio_input; /* keyboard and tablet by virtio, beside the i8042's */
	bool rng, balloon;
	bool packed_rings; /* offered by virtio devices */
	u64 vsock_cid; /* 0: no vsock; else 3 and up */
	char *vsock_path; /* the host's side: a UNIX socket */
	unsigned hotplug_ports; /* empty PCI Express root ports */
	char *label[CONFIG_LABELS]; /* "key=value" */
	unsigned nlabels;
	bool no_reboot, debug_exit, stats, private_memory;
	bool no_sandbox; /* for debugging: keep all system calls */
	u64 timeout_ns; /* 0: none */
};

/* What a VM has when nothing is said. The config must be freed or fresh. */
void config_init(struct vm_config *config);
void config_free(struct vm_config *config);

/*
 * Each of these returns 0, or -EINVAL with a line in err that begins with what the
 * user wrote ("--memory lots ...", "vm.json:3: memory: ...").
 */

/* One option: its name without dashes ("memory", "no-rng"), and its text; NULL: there is none. */
int config_option(struct vm_config *config, const char *name, const char *text, struct err *err);
/* Does that option want a value? -ENOENT: there is no such option. */
int config_option_takes_value(const char *name);
/* The option that the user may have meant, or NULL. */
const char *config_nearest_option(const char *name);

/* A VM file. Its relative paths are the file's folder's. */
int config_load(struct vm_config *config, const char *path, struct err *err);
/* The same from its text; file is what messages call it. */
int config_parse(struct vm_config *config, const char *text, size_t len, const char *file, struct err *err);
/* Text for a VM file with the keys that were given (all: with every key's value). The caller frees; NULL: no memory. */
char *config_print(const struct vm_config *config, bool all);

/* Relative paths become dir's. 0 or -ENOMEM. */
int config_absolute(struct vm_config *config, const char *dir);
/* When all is given: what follows from the rest (the image's disk, memory, network). 0 or -errno. */
int config_finish(struct vm_config *config, struct err *err);

/* "512M", "2G", "65536K"; a bare number is MiB. 0 or -EINVAL. */
int config_parse_size(const char *text, u64 *bytes);
/* Six bytes in hexadecimal with colons, not a group's address. 0 or -EINVAL. */
int config_parse_mac(const char *text, u8 mac[6]);
