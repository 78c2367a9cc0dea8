/* SPDX-License-Identifier: MIT */
/*
 * virtio-fs. The guest's requests are checked as every device's are, then go into a
 * ring that is shared with the server; the server moves the data. A server that has died
 * leaves a device that answers no more (NEEDS_RESET), and a line in the log. One that hangs when the device
 * is reset is killed: the machine stands still meanwhile, and a late answer must not get into guest memory.
 */
#include "dev/virtio/fs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dev/virtio/virtio.h"
#include "host/log.h"
#include "host/process.h"

enum { HIPRIO, REQUESTS, QUEUES };

#define SEGMENTS 264u /* 1 MiB in pages, and what FUSE has around it */
#define QUEUE_SIZE 256u
#define PATIENCE 30u /* seconds: what the guest has asked for ends first, on a disk that may be slow */

struct fs_queue {
	struct virtio_fs *fs;
	unsigned index;
	struct vhost_ring ring;
	struct loop_source call;
};

struct virtio_fs {
	struct virtio vdev;
	struct loop *loop;
	struct vhost_user server;
	pid_t pid;
	struct loop_source hangup; /* the server's socket */
	struct fs_queue queue[QUEUES];
	u8 *memory; /* the rings', shared */
	int memory_fd;
	bool running, dead;
	struct {
		char tag[VIRTIO_FS_TAG_MAX];
		u32 num_request_queues;
	} config;
};

static struct virtio_fs *of(struct virtio *vdev)
{
	return container_of(vdev, struct virtio_fs, vdev);
}

/*
 * A process leaves its memory before its sockets, so the connection's end says that guest memory is ours
 * alone. There is no bound here: one that has been killed and does not end is in the midst of a call whose data
 * the kernel may still put there.
 */
static void end_server(struct virtio_fs *fs)
{
	char rest[64];
	ssize_t n;

	process_kill(fs->pid);
	do {
		n = recv(fs->server.fd, rest, sizeof(rest), 0);
	} while (n > 0 || (n < 0 && errno == EINTR));
}

static void died(struct virtio_fs *fs, const char *how)
{
	if (!fs->dead) {
		log_line("the shared folder %.36s is gone: its virtiofsd %s", fs->config.tag, how);
		end_server(fs);
	}
	fs->dead = true;
	fs->running = false;
	loop_watch(fs->loop, &fs->hangup, 0);
	if (fs->vdev.driver_ok)
		virtio_broken(&fs->vdev, "its server has ended");
}

/* ---- requests ---- */

static void submit(struct fs_queue *queue)
{
	struct virtq *vq = virtio_queue(&queue->fs->vdev, queue->index);
	struct vq_chain *chain;
	bool any = false;

	while (queue->fs->running && (chain = vq_next(vq)) != NULL) {
		if (!chain->nread && !chain->nwrite) {
			virtio_broken(&queue->fs->vdev, "a request without buffers");
			break;
		}
		if (vhost_ring_add(&queue->ring, chain->iov, chain->nread, chain->nwrite, chain)) {
			vq_unpop(chain); /* goes in when some are done */
			break;
		}
		any = true;
	}
	if (any)
		vhost_ring_kick(&queue->ring);
}

static void complete(struct fs_queue *queue)
{
	struct virtq *vq = virtio_queue(&queue->fs->vdev, queue->index);
	struct vq_chain *chain;
	u32 written;

	while (queue->fs->running && (chain = vhost_ring_next(&queue->ring, &written)) != NULL)
		vq_push(chain, MIN(written, chain->write_len));
	vq_notify(vq);
	submit(queue);
}

static void call_ready(void *arg, u32 events)
{
	struct fs_queue *queue = arg;
	pthread_mutex_t *lock = queue->fs->vdev.pci.dev.lock;
	u64 count;

	(void)events;
	if (read(queue->call.fd, &count, sizeof(count)) < 0)
		return;
	pthread_mutex_lock(lock);
	complete(queue);
	pthread_mutex_unlock(lock);
}

static void kick(struct virtio *vdev, struct virtq *vq)
{
	submit(&of(vdev)->queue[vq_index(vq)]);
}

/* ---- the server ---- */

static void hangup_ready(void *arg, u32 events)
{
	struct virtio_fs *fs = arg;
	char c;

	pthread_mutex_lock(fs->vdev.pci.dev.lock);
	/* Its answers are read with the lock held: one that talks unasked is as good as dead. */
	if (events & (EPOLLHUP | EPOLLERR | EPOLLRDHUP) || recv(fs->server.fd, &c, 1, MSG_PEEK | MSG_DONTWAIT) > 0)
		died(fs, "has ended");
	pthread_mutex_unlock(fs->vdev.pci.dev.lock);
}

static void ready(struct virtio *vdev)
{
	struct virtio_fs *fs = of(vdev);
	int ret = fs->dead ? -EPIPE : 0;

	for (unsigned i = 0; !ret && i < QUEUES; i++)
		ret = vhost_user_start_ring(&fs->server, i, &fs->queue[i].ring);
	if (ret)
		died(fs, "has ended");
	else
		fs->running = true;
}

/* The server lets go of the guest's memory first. */
static void reset(struct virtio *vdev)
{
	struct virtio_fs *fs = of(vdev);
	int ret = 0;

	for (unsigned i = 0; fs->running && !ret && i < QUEUES; i++)
		ret = vhost_user_stop_ring(&fs->server, i);
	if (ret)
		died(fs, ret == -ETIMEDOUT ? "does not answer" : "has ended");
	fs->running = false;
	for (unsigned i = 0; i < QUEUES; i++)
		vhost_ring_reset(&fs->queue[i].ring);
}

/* ---- life ---- */

static void release(struct virtio *vdev)
{
	struct virtio_fs *fs = of(vdev);

	for (unsigned i = 0; i < QUEUES; i++) {
		if (fs->queue[i].call.ready)
			loop_remove(fs->loop, &fs->queue[i].call);
		vhost_ring_fini(&fs->queue[i].ring);
	}
	if (fs->hangup.ready)
		loop_remove(fs->loop, &fs->hangup);
	if (fs->memory)
		munmap(fs->memory, QUEUES * vhost_ring_bytes());
	if (fs->memory_fd >= 0)
		close(fs->memory_fd);
	close(fs->server.fd);
	free(fs);
}

static const struct virtio_class class_fs = {
	.name = "virtio-fs",
	.id = VIRTIO_ID_FS,
	.pci_class = 0x018000,
	.queue_size = QUEUE_SIZE,
	.max_segments = SEGMENTS,
	.reset = reset,
	.ready = ready,
	.kick = kick,
	.free = release,
};

static int watch(struct virtio_fs *fs, struct loop_source *source, int fd, void (*ready_fn)(void *, u32), void *arg)
{
	*source = (struct loop_source){.fd = fd, .ready = ready_fn, .arg = arg};
	return loop_add(fs->loop, source, EPOLLIN);
}

static int make_rings(struct virtio_fs *fs)
{
	size_t bytes = vhost_ring_bytes();
	int ret = 0;

	fs->memory_fd = memfd_create("mullion rings", MFD_CLOEXEC);
	if (fs->memory_fd < 0 || ftruncate(fs->memory_fd, (off_t)(QUEUES * bytes)))
		return -errno;
	fs->memory = mmap(NULL, QUEUES * bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fs->memory_fd, 0);
	if (fs->memory == MAP_FAILED) {
		fs->memory = NULL;
		return -errno;
	}
	for (unsigned i = 0; !ret && i < QUEUES; i++) {
		struct fs_queue *queue = &fs->queue[i];

		queue->fs = fs;
		queue->index = i;
		ret = vhost_ring_init(&queue->ring, fs->memory + i * bytes);
		if (!ret)
			ret = watch(fs, &queue->call, queue->ring.call, call_ready, queue);
	}
	return ret;
}

static int greet(struct virtio_fs *fs, const struct virtio_fs_server *server)
{
	struct vhost_memory memory[VHOST_MEMORIES];
	unsigned n = server->nram;
	int ret;

	memcpy(memory, server->ram, n * sizeof(*memory));
	memory[n++] = (struct vhost_memory){fs->memory_fd, 0, QUEUES * vhost_ring_bytes(), fs->memory};
	ret = vhost_user_begin(&fs->server, memory, n);
	return ret ? ret : watch(fs, &fs->hangup, server->fd, hangup_ready, fs);
}

int virtio_fs_create(struct vm *vm, struct pci_host *pci, struct loop *loop, const char *tag,
	const struct virtio_fs_server *server, struct err *err)
{
	struct virtio_fs *fs = calloc(1, sizeof(*fs));
	int ret = -ENOMEM;

	if (!fs) {
		close(server->fd);
		return ret;
	}
	fs->loop = loop;
	fs->memory_fd = -1;
	fs->server.fd = server->fd;
	fs->server.patience = server->patience ? server->patience : PATIENCE;
	fs->pid = server->pid;
	fs->config.num_request_queues = 1;
	memcpy(fs->config.tag, tag, strnlen(tag, VIRTIO_FS_TAG_MAX));
	ret = make_rings(fs);
	if (!ret)
		ret = greet(fs, server);
	if (ret)
		err_set(err, -ret, "the virtiofsd for %s does not do what it should: %s", tag, strerror(-ret));
	if (!ret)
		ret = virtio_init(&fs->vdev, vm, &class_fs, 0, QUEUES, &fs->config, sizeof(fs->config));
	if (!ret)
		return virtio_plug(&fs->vdev, pci);
	release(&fs->vdev);
	return ret;
}
