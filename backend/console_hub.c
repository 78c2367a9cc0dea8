/* SPDX-License-Identifier: MIT */
/* A console with many ends. */
#include "backend/console_hub.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pty.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/keys.h"
#include "host/unix_socket.h"
#include "vm/vm.h"

#define RING KIB(256)
#define CLIENTS 8
#define CHUNK 16384
#define READ_SIZE 1024
#define FINISH_MS 200 /* how long a slow reader is waited for at the end */

struct hub;

struct client {
	struct hub *hub;
	struct loop_source source; /* fd -1: free */
	u64 at; /* what it has got, of hub->total */
	bool want_out;
};

struct log {
	int fd, old; /* PATH, PATH.1; -1 */
	u64 at, size;
};

struct hub {
	struct console console;
	struct console_config config;
	struct loop_event printed;
	struct loop_source listener;
	char socket[PATH_MAX]; /* the listener's; "" without one */
	struct client client[CLIENTS];
	struct log log;
	int slave; /* the pty's other end, kept open so that it never hangs up; -1 */
	struct keys keys; /* machine lock */

	pthread_mutex_t lock; /* below the machine lock; for what follows and client[].source's events */
	bool keys_full;
	u64 total; /* characters printed so far; the ring holds the last ones */
	u8 ring[RING];
};

/* ---- the ring ---- */

/* Copies what comes after *at, which moves; when that is gone already, to the oldest there is. */
static size_t ring_read(struct hub *hub, u64 *at, u8 *data, size_t len)
{
	size_t from, first;

	pthread_mutex_lock(&hub->lock);
	if (hub->total - *at > RING)
		*at = hub->total - RING;
	len = MIN(len, (size_t)(hub->total - *at));
	from = *at % RING;
	first = MIN(len, (size_t)(RING - from));
	memcpy(data, hub->ring + from, first);
	memcpy(data + first, hub->ring, len - first);
	pthread_mutex_unlock(&hub->lock);
	return len;
}

static void hub_write(struct console *console, const u8 *data, size_t len)
{
	struct hub *hub = container_of(console, struct hub, console);

	pthread_mutex_lock(&hub->lock);
	for (size_t i = 0; i < len; i++)
		hub->ring[hub->total++ % RING] = data[i];
	pthread_mutex_unlock(&hub->lock);
	loop_event_post(&hub->printed);
}

/* ---- the log ---- */

/* Both from the start: later, the sandbox lets us make no files in a folder of the user's. */
static int log_open(struct log *log, const char *path)
{
	char old[PATH_MAX];
	struct stat st;

	if (snprintf(old, sizeof(old), "%s.1", path) >= PATH_MAX)
		return -ENAMETOOLONG;
	log->fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_NOCTTY | O_NONBLOCK | O_CLOEXEC, 0600);
	if (log->fd < 0 || fstat(log->fd, &st))
		return -errno;
	log->size = (u64)st.st_size;
	if (!S_ISREG(st.st_mode))
		return 0;
	log->old = open(old, O_WRONLY | O_CREAT | O_NOCTTY | O_CLOEXEC, 0600);
	return log->old < 0 ? -errno : 0;
}

/* What was in PATH is in PATH.1, and PATH begins anew. */
static void log_rotate(struct log *log)
{
	u8 data[CHUNK];
	off_t at = 0;
	ssize_t n;

	if (ftruncate(log->old, 0))
		return;
	while ((n = pread(log->fd, data, sizeof(data), at)) > 0) {
		if (pwrite(log->old, data, (size_t)n, at) != n)
			break; /* a full disk: the rest is lost */
		at += n;
	}
	if (!ftruncate(log->fd, 0))
		log->size = 0;
}

/* A full disk must not stop the guest: what cannot be written is left out. */
static void log_flush(struct hub *hub)
{
	struct log *log = &hub->log;
	u8 data[CHUNK];
	size_t len;

	while (log->fd >= 0 && (len = ring_read(hub, &log->at, data, sizeof(data)))) {
		log->at += len;
		if (write(log->fd, data, len) > 0)
			log->size += len;
		if (log->size >= HUB_LOG_LIMIT && log->old >= 0)
			log_rotate(log);
	}
}

/* ---- those who look ---- */

/* hub->lock is held. */
static void watch(struct client *client)
{
	u32 events = (client->hub->keys_full ? 0 : EPOLLIN) | (client->want_out ? EPOLLOUT : 0);

	if (client->source.fd >= 0)
		loop_watch(client->hub->config.loop, &client->source, events);
}

static void client_close(struct client *client)
{
	struct hub *hub = client->hub;

	if (client->source.fd < 0)
		return;
	pthread_mutex_lock(&hub->lock);
	loop_remove(hub->config.loop, &client->source);
	close(client->source.fd);
	client->source.fd = -1;
	pthread_mutex_unlock(&hub->lock);
}

/* Returns false when there is more that the reader does not take now. */
static bool client_flush(struct client *client)
{
	struct hub *hub = client->hub;
	u8 data[CHUNK];
	size_t len;
	bool blocked = false;

	while (!blocked && (len = ring_read(hub, &client->at, data, sizeof(data)))) {
		ssize_t n = write(client->source.fd, data, len);

		if (n > 0)
			client->at += (u64)n;
		else if (errno != EAGAIN && errno != EINTR) {
			client_close(client);
			return true;
		}
		blocked = n < (ssize_t)len;
	}
	if (blocked != client->want_out) {
		pthread_mutex_lock(&hub->lock);
		client->want_out = blocked;
		watch(client);
		pthread_mutex_unlock(&hub->lock);
	}
	return !blocked;
}

static void set_keys_full(struct hub *hub, bool full)
{
	pthread_mutex_lock(&hub->lock);
	if (hub->keys_full != full) {
		hub->keys_full = full;
		for (unsigned i = 0; i < CLIENTS; i++)
			watch(&hub->client[i]);
	}
	pthread_mutex_unlock(&hub->lock);
}

static void keys_have_room(void *arg)
{
	set_keys_full(arg, false);
}

static void client_typed(struct client *client)
{
	struct hub *hub = client->hub;
	u8 data[READ_SIZE];
	ssize_t n;

	if (!vm_trylock(hub->config.vm))
		return; /* the loop calls again */
	n = read(client->source.fd, data, sizeof(data));
	if (n > 0)
		keys_put(&hub->keys, data, (size_t)n);
	if (keys_free(&hub->keys) < READ_SIZE)
		set_keys_full(hub, true);
	pthread_mutex_unlock(&hub->config.vm->lock);
	if (!n || (n < 0 && errno != EAGAIN && errno != EINTR))
		client_close(client);
}

static void client_ready(void *arg, u32 events)
{
	struct client *client = arg;

	if (client->source.fd >= 0 && events & EPOLLOUT)
		client_flush(client);
	if (client->source.fd >= 0 && events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		client_typed(client);
}

static int add_client(struct hub *hub, int fd)
{
	for (unsigned i = 0; i < CLIENTS; i++) {
		struct client *client = &hub->client[i];
		int ret;

		if (client->source.fd >= 0)
			continue;
		client->source = (struct loop_source){.fd = fd, .ready = client_ready, .arg = client};
		client->at = 0;
		client->want_out = false;
		ret = loop_add(hub->config.loop, &client->source, hub->keys_full ? 0 : EPOLLIN);
		if (ret)
			client->source.fd = -1;
		else
			client_flush(client);
		return ret;
	}
	return -EBUSY;
}

int console_hub_attach(struct console *console, int fd)
{
	return add_client(container_of(console, struct hub, console), fd);
}

static void connected(void *arg, u32 events)
{
	struct hub *hub = arg;
	int fd = unix_accept(hub->listener.fd);

	(void)events;
	if (fd >= 0 && add_client(hub, fd))
		close(fd);
}

int console_hub_listen(struct console *console, const char *path, struct err *err)
{
	struct hub *hub = container_of(console, struct hub, console);
	int fd = unix_listen(path, err);

	if (fd < 0)
		return fd;
	snprintf(hub->socket, sizeof(hub->socket), "%s", path);
	hub->listener = (struct loop_source){.fd = fd, .ready = connected, .arg = hub};
	return loop_add(hub->config.loop, &hub->listener, EPOLLIN);
}

int console_hub_pty(struct console *console, char *name, size_t len, struct err *err)
{
	struct hub *hub = container_of(console, struct hub, console);
	struct termios mode;
	int master, ret;

	if (openpty(&master, &hub->slave, NULL, NULL, NULL))
		return err_set(err, errno, "cannot open a pseudo-terminal: %s", strerror(errno));
	fcntl(master, F_SETFD, FD_CLOEXEC);
	fcntl(master, F_SETFL, O_NONBLOCK);
	fcntl(hub->slave, F_SETFD, FD_CLOEXEC);
	tcgetattr(hub->slave, &mode);
	cfmakeraw(&mode);
	tcsetattr(hub->slave, TCSANOW, &mode);
	ret = ttyname_r(hub->slave, name, len);
	if (!ret)
		ret = -add_client(hub, master);
	if (!ret)
		return 0;
	close(master);
	return err_set(err, ret, "cannot use a pseudo-terminal: %s", strerror(ret));
}

/* ---- the object ---- */

static void printed(void *arg)
{
	struct hub *hub = arg;

	log_flush(hub);
	for (unsigned i = 0; i < CLIENTS; i++) {
		if (hub->client[i].source.fd >= 0 && !hub->client[i].want_out)
			client_flush(&hub->client[i]);
	}
}

static void hub_input_enable(struct console *console, bool on)
{
	keys_enable(&container_of(console, struct hub, console)->keys, on);
}

static void hub_finish(struct console *console)
{
	struct hub *hub = container_of(console, struct hub, console);

	printed(hub);
	for (unsigned i = 0; i < CLIENTS; i++) {
		struct client *client = &hub->client[i];
		struct pollfd pfd = {.fd = client->source.fd, .events = POLLOUT};

		while (client->source.fd >= 0 && !client_flush(client) && poll(&pfd, 1, FINISH_MS) > 0)
			;
	}
}

static void hub_close(struct console *console)
{
	struct hub *hub = container_of(console, struct hub, console);

	keys_fini(&hub->keys);
	for (unsigned i = 0; i < CLIENTS; i++)
		client_close(&hub->client[i]);
	if (hub->listener.fd >= 0) {
		loop_remove(hub->config.loop, &hub->listener);
		close(hub->listener.fd);
		unlink(hub->socket);
	}
	loop_event_fini(hub->config.loop, &hub->printed);
	if (hub->slave >= 0)
		close(hub->slave);
	if (hub->log.fd >= 0)
		close(hub->log.fd);
	if (hub->log.old >= 0)
		close(hub->log.old);
	pthread_mutex_destroy(&hub->lock);
	free(hub);
}

static const struct console_ops hub_ops = {
	.write = hub_write,
	.input_enable = hub_input_enable,
	.finish = hub_finish,
	.close = hub_close,
};

bool console_is_hub(const struct console *console)
{
	return console->ops == &hub_ops;
}

int console_hub_create(
	const struct console_config *config, const char *log, struct console **out, struct err *err)
{
	struct hub *hub = calloc(1, sizeof(*hub));
	int ret;

	if (!hub)
		return err_set(err, ENOMEM, "out of memory");
	hub->console.ops = &hub_ops;
	hub->console.lock = &config->vm->lock;
	hub->config = *config;
	hub->listener.fd = hub->log.fd = hub->log.old = hub->slave = -1;
	pthread_mutex_init(&hub->lock, NULL);
	keys_init(&hub->keys, &hub->console, &config->vm->clock, keys_have_room, hub);
	for (unsigned i = 0; i < CLIENTS; i++)
		hub->client[i] = (struct client){.hub = hub, .source.fd = -1};
	ret = loop_event_init(config->loop, &hub->printed, printed, hub);
	if (ret)
		err_set(err, -ret, "out of descriptors");
	if (!ret && log) {
		ret = log_open(&hub->log, log);
		if (ret)
			err_set(err, -ret, "cannot write console log %s: %s", log, strerror(-ret));
	}
	if (ret)
		hub_close(&hub->console);
	else
		*out = &hub->console;
	return ret;
}
