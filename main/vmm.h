/* SPDX-License-Identifier: MIT */
/* A process that runs one VM: from a config to an exit status. */
#pragma once

#include "ctl/server.h"
#include "main/command.h"
#include "main/hotplug.h"
#include "main/kernel.h"
#include "main/machine.h"
#include "main/state.h"

struct vmm_start {
	struct vm_config *config; /* config_finish has not been called; its name is set */
	const struct tsc_sample *started; /* taken when the process began */
	bool named; /* the user chose the name, so it must be free */
	/* For a VM in the background: told by a byte that the VM runs; then no terminal is ours any more. */
	bool detached;
	int ready;
	bool forget; /* at the end: nothing is kept of it */
};

struct vmm {
	const struct vmm_start *start;
	struct vm_config config; /* as the machine has it: a shallow copy of start's */
	struct loop loop;
	struct loop_signals signals;
	struct loop_timer timeout;
	struct machine machine;
	struct kernel_files files;
	char console_log[PATH_MAX];
	int null, log; /* of a VM in the background: what becomes its standard input, output and error */

	struct state_claim claim;
	struct ctl_server control;
	struct hotplug hotplug;
	struct loop_timer stop_timer; /* a graceful stop's next step */
	u64 stop_deadline; /* CLOCK_MONOTONIC, ns; 0: nobody asked to stop */
	u64 ran_since; /* of the first run's begin */
	unsigned resets;
};

/* Returns the exit status. */
int vmm_run(const struct vmm_start *start);
/* Presses the power button now and every few seconds, and ends the VM at the deadline. Loop's thread. */
void vmm_stop(struct vmm *vmm, u64 seconds);
void vmm_print_stats(struct vmm *vmm, FILE *out);
u64 vmm_now(void); /* CLOCK_MONOTONIC, ns */
