/* SPDX-License-Identifier: MIT */
/*
 * The rights that a VM's process keeps while its guest runs. All disks, network
 * backends, consoles and sockets are open by now, so that few are left.
 */
#include "main/confine.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "host/process.h"
#include "host/sandbox.h"

#define RESOLVER "/etc/resolv.conf"

static void allow_state(
	struct sandbox *sandbox, enum state_place place, const char *name, const char *file, unsigned rights)
{
	char path[PATH_MAX];

	if (!state_path(place, name, file, path, NULL))
		sandbox_allow(sandbox, path, rights);
}

/* The folder itself goes, too, at the end. */
static void allow_state_folder(struct sandbox *sandbox, enum state_place place, const char *name)
{
	char path[PATH_MAX];

	allow_state(sandbox, place, name, NULL, SANDBOX_READ | SANDBOX_WRITE | SANDBOX_FILES);
	if (!state_path(place, name, NULL, path, NULL))
		sandbox_allow_folder_of(sandbox, path, SANDBOX_RMDIR);
}

/* At the end the VM's lock, pid and control socket are removed, and how it ended is written. */
static void allow_states(struct sandbox *sandbox, const struct vmm *vmm)
{
	const char *name = vmm->config.name;
	char path[PATH_MAX];

	if (vmm->claim.lock < 0)
		return;
	allow_state_folder(sandbox, STATE_RUN, name);
	if (vmm->start->detached)
		allow_state_folder(sandbox, STATE_KEPT, name);
	if (vmm->start->forget && !state_path(STATE_DEFINITION, name, NULL, path, NULL))
		sandbox_allow_folder_of(sandbox, path, SANDBOX_FILES);
}

/* The guest's files are whoever's it is; names outside of the folder are not. */
static void allow_shares(struct sandbox *sandbox, const struct vm_config *config)
{
	for (unsigned i = 0; i < config->nshares; i++) {
		const struct share_config *share = &config->share[i];

		sandbox_allow(sandbox, share->path,
			share->readonly ? SANDBOX_READ
					: SANDBOX_READ | SANDBOX_WRITE | SANDBOX_FILES | SANDBOX_FOLDERS);
		sandbox->share = true;
	}
}

/* The user-mode network asks the host's name servers, whose list may change; a resolver of the system's has its own folder. */
static void allow_networks(struct sandbox *sandbox, const struct vm_config *config)
{
	char path[PATH_MAX];

	for (unsigned i = 0; i < config->nnets; i++) {
		sandbox->network |= config->net[i].kind == NET_USER;
		sandbox->unix_sockets |= config->net[i].kind == NET_SWITCH; /* after the switch was away */
	}
	if (!sandbox->network)
		return;
	sandbox_allow(sandbox, RESOLVER, SANDBOX_READ);
	if (realpath(RESOLVER, path) && strncmp(path, "/etc/", 5))
		sandbox_allow_folder_of(sandbox, path, SANDBOX_READ);
}

/* Sockets of the VM's own go at the end. (Their folder is the user's choice; one with nothing else in it is best.) */
static void allow_sockets(struct sandbox *sandbox, const struct vm_config *config)
{
	if (config->vnc && !strncmp(config->vnc, "unix:", 5))
		sandbox_allow_folder_of(sandbox, config->vnc + 5, SANDBOX_REMOVE);
	if (config->console == CONSOLE_SOCKET && config->console_path)
		sandbox_allow_folder_of(sandbox, config->console_path, SANDBOX_REMOVE);
	for (unsigned i = 0; i < config->nvirtio_ports; i++)
		sandbox_allow_folder_of(sandbox, config->virtio_port[i].path, SANDBOX_REMOVE);
}

int vmm_confine(struct vmm *vmm, struct err *err)
{
	const struct vm_config *config = &vmm->config;
	struct sandbox sandbox = {0};
	int ret;

	if (config->no_sandbox)
		return 0;
	/* A reset loads them again. */
	sandbox_allow(&sandbox, vmm->machine.kernel, SANDBOX_READ);
	sandbox_allow(&sandbox, vmm->machine.initrd, SANDBOX_READ);
	/* It starts over when it has become long. */
	sandbox_allow(&sandbox, config->console_log, SANDBOX_WRITE);
	allow_states(&sandbox, vmm);
	allow_shares(&sandbox, config);
	allow_networks(&sandbox, config);
	allow_sockets(&sandbox, config);
	sandbox.unix_sockets |= config->vsock_cid != 0;
	sandbox.nchildren = process_list(sandbox.child, SANDBOX_CHILDREN);
	ret = sandbox_enter(&sandbox, err);
	sandbox_fini(&sandbox);
	return ret;
}
