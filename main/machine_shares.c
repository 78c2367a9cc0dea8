/* SPDX-License-Identifier: MIT */
/* Folders and sockets that the guest shares with the host. */
#include "main/machine_shares.h"

#include <errno.h>
#include <string.h>

#include "dev/virtio/p9.h"
#include "dev/virtio/vsock.h"

static int add_share(struct machine *m, const struct share_config *share, struct err *err)
{
	if (!share->path)
		return err_set(err, EINVAL, "--share needs a folder: --share FOLDER,tag=NAME");
	if (!share->tag)
		return err_set(err, EINVAL, "--share %s: say what the guest mounts it by: tag=NAME", share->path);
	return virtio_9p_create(&m->vm, m->pci, share->path, share->tag, share->readonly, err);
}

static int check_tag(const struct vm_config *config, unsigned index, struct err *err)
{
	const char *tag = config->share[index].tag;

	for (unsigned i = 0; tag && i < index; i++) {
		if (config->share[i].tag && !strcmp(config->share[i].tag, tag))
			return err_set(err, EINVAL, "--share: two folders have the tag %s", tag);
	}
	return 0;
}

static int add_vsock(struct machine *m, struct err *err)
{
	const struct vm_config *config = m->config;

	if (!config->vsock_cid)
		return 0;
	if (!config->vsock_path)
		return err_set(err, EINVAL,
			"--vsock needs --vsock-path PATH, the UNIX socket by which programs of the host reach the guest");
	return virtio_vsock_create(&m->vm, m->pci, m->loop, config->vsock_cid, config->vsock_path, err);
}

int machine_add_shares(struct machine *m, struct err *err)
{
	const struct vm_config *config = m->config;
	int ret = 0;

	for (unsigned i = 0; !ret && i < config->nshares; i++) {
		ret = check_tag(config, i, err);
		if (!ret)
			ret = add_share(m, &config->share[i], err);
	}
	return ret ? ret : add_vsock(m, err);
}
