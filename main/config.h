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
	char *name; /* NULL: made up */
	char *image; /* the disk that `mullion run IMAGE` boots; becomes disk[0] */
	char *kernel, *initrd, *append; /* NULL: not given */
	u64 memory; /* bytes */
	unsigned cpus;
	char *engine; /* NULL: auto */
	enum console_kind console; /* COM1 */
	char *console_path;
	bool virtio_console; /* hvc0 is the console, beside ttyS0 */
	struct disk_config disk[CONFIG_DISKS];
	struct net_config net[CONFIG_NETS];
	struct share_config share[CONFIG_SHARES];
	unsigned ndisks, nnets, nshares;
	char *vnc; /* "127.0.0.1:5900", ":0", "unix:PATH"; NULL: no display listens */
	bool vga; /* standard VGA, also without vnc */
	bool virtio_input; /* keyboard and tablet by virtio, beside the i8042's */
	bool rng, balloon;
	u64 vsock_cid; /* 0: no vsock; else 3 and up */
	unsigned hotplug_ports; /* empty PCI Express root ports */
	bool no_reboot, debug_exit, stats, private_memory;
	bool no_sandbox; /* for debugging: keep all system calls */
	u64 timeout_ns; /* 0: none */
};
