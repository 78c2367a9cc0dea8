/* SPDX-License-Identifier: MIT */
/*
 * The PC: the only place that names concrete chips. machine_create is its
 * schematic.
 */
#pragma once

#include <sys/types.h>

#include "backend/console_pair.h"
#include "backend/console_stdio.h"
#include "backend/input.h"
#include "dev/irq_fork.h"
#include "dev/ps2_keyboard.h"
#include "dev/ps2_mouse.h"
#include "dev/pci/host.h"
#include "dev/pci/port.h"
#include "host/err.h"
#include "host/loop.h"
#include "host/tsc.h"
#include "main/config.h"
#include "vm/vm.h"

#define MACHINE_MIN_MEMORY MIB(32)
#define ISA_IRQS 16

/* A network card: backend and device. */
struct machine_net {
	struct net_pump *pump;
	struct virtio *virtio; /* or NULL */
	struct pci_function *e1000; /* or NULL */
};

/* A folder of the host. */
struct machine_share {
	pid_t server; /* its virtiofsd; 0: none */
};

/* What a user sees and touches; nothing of it is there without --vga or --vnc. */
struct machine_display {
	struct input input;
	struct ps2_keyboard keyboard;
	struct ps2_mouse mouse;
	struct vga *vga;
	struct vnc *vnc;
};

struct machine {
	struct vm vm;
	struct loop *loop;
	struct loop_timer timer; /* the VM's clock, while no vCPU covers it */
	const struct vm_config *config;
	const char *kernel, *initrd, *append;
	const struct boot_inside *inside; /* the first two are files in it; NULL: of the host */
	struct tsc_sample started;

	u8 *ram;
	int ram_fd; /* shared with helper processes; -1: not */
	u64 ram_below, ram_above;
	struct region ram_low, ram_high;
	struct console *console;
	char console_terminal[64]; /* a pty's name, or "" */
	struct console_pair console_pair; /* COM1's and hvc0's ends of it */
	struct irq_fork isa[ISA_IRQS]; /* each goes to the 8259 and to the IOAPIC */
	struct irq_fork intx[PCI_INTX_LINES]; /* so does each of these, but to different pins */

	/* Chips that others are wired to, or that somebody asks for. */
	struct i8259 *pic;
	struct ioapic *ioapic;
	struct lapic_bus *lapic;
	struct hpet *hpet;
	struct i8042 *kbc;
	struct pci_host *pci;
	struct pci_port *port[CONFIG_PORTS];
	struct disk *disk[CONFIG_DISKS];
	struct ahci *ahci; /* the newest; NULL: none */
	struct virtio *balloon; /* or NULL */
	struct console *virtio_port[CONFIG_VIRTIO_PORTS + 1]; /* the first is hvc0's when that has no console */
	struct machine_net net[CONFIG_NETS];
	struct machine_share share[CONFIG_SHARES];
	struct machine_display display;
	struct acpi_pm *acpi_pm;
};

/*
 * Everything except the guest's memory contents. The config, the engine and the loop stay the caller's.
 * 0 or -errno; machine_destroy accepts a half-made machine.
 */
int machine_create(struct machine *m, struct loop *loop, const struct engine_ops *engine,
	const struct vm_config *config, const struct tsc_sample *started, struct err *err);
void machine_destroy(struct machine *m);
/* Loads the kernel (the caller has set kernel, initrd or NULL, append) and sets vCPU 0's registers, ready for vm_start. 0 or -errno. */
int machine_load(struct machine *m, struct err *err);
/* After a run: power-on state, memory zero. machine_load comes next. */
void machine_reset(struct machine *m);
