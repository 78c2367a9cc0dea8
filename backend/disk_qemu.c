/* SPDX-License-Identifier: MIT */
/*
 * Formats other than raw, and disks whose changes are thrown away: by a qemu-nbd of
 * our own (Debian's qemu-utils), on a UNIX socket that nobody else can reach. It
 * ends with us, in order: when the connection ends, and when this process does.
 */
#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <libnbd.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "backend/disk_lock.h"
#include "backend/disk_nbd.h"
#include "host/log.h"
#include "host/process.h"

#define TEXT 2048
#define NAME_MAX_LEN (2 * PATH_MAX + 64)
#define CHAIN_MAX 32
#define LINES_MAX 10 /* that it says while it runs */
#define CHAIN_TEXT KIB(64) /* qemu-img's description of an image and those below it */
#define STOP_SECONDS 60 /* for what it has to write out */

struct qemu_nbd {
	struct disk_server server;
	struct loop *loop;
	struct loop_source talk; /* what it says */
	pid_t pid;
	unsigned lines;
	char *path;
	int backing[CHAIN_MAX]; /* files below it, open for their locks only */
	unsigned nbacking;
};

/* ---- messages ---- */

static int complain(const char *path, char *text, struct err *err)
{
	if (disk_tool_locked(text, &path))
		return disk_lock_complain(path, err);
	if (strstr(text, "qemu-img: No such file") || strstr(text, "qemu-nbd: No such file"))
		return err_set(err, ENOENT,
			"disk %s: needs qemu-nbd and qemu-img: install Debian's qemu-utils", path);
	disk_tool_complaint(text);
	return err_set(err, EINVAL, "disk %s: %.300s", path, *text ? text : "qemu-nbd ended without a word");
}

/* ---- before it is opened ---- */

/* driver=qcow2,file.driver=file,file.filename=PATH with its commas doubled. */
static void describe(const struct disk_source *source, const char *format, char *out, size_t len)
{
	bool nbd = !strcmp(format, "nbd");
	int n = snprintf(out, len, "driver=%s,%sfile.filename=",
		nbd			  ? "raw"
		: !strcmp(format, "vhdx") ? "vhdx"
					  : format,
		nbd ? "" : "file.driver=file,");
	size_t at = (size_t)n;

	for (const char *c = source->path; *c && at + 3 < len; c++) {
		out[at++] = *c;
		if (*c == ',')
			out[at++] = ',';
	}
	out[at] = 0;
}

static int check_file(const struct disk_source *source, struct err *err)
{
	bool write = !source->readonly && !source->snapshot;

	if (!access(source->path, write ? R_OK | W_OK : R_OK))
		return 0;
	if (write && !access(source->path, R_OK))
		return err_set(err, EACCES,
			"disk %s: may not be written (%s); readonly or snapshot leave it as it is",
			source->path, strerror(errno));
	return err_set(err, errno, "disk %s: %s", source->path, strerror(errno));
}

/* The chain of backing files must end, and each must be there. */
static int check_chain(const struct disk_source *source, const char *image, char *out, struct err *err)
{
	const char *const argv[] = {
		"qemu-img", "info", "-U", "--backing-chain", "--output=json", "--image-opts", image, NULL};
	char text[TEXT];
	int status = process_run(argv, out, out ? CHAIN_TEXT : 0, text, sizeof(text));

	if (!status)
		return 0;
	if (status < 0)
		return err_set(err, -status, "disk %s: qemu-img: %s", source->path, strerror(-status));
	return complain(source->path, text, err);
}

/* An image in the chain that is only read must stay as it is. What is no file has no lock. */
static int lock_backing(struct qemu_nbd *q, const char *path, struct err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0)
		return 0;
	if (q->nbacking == CHAIN_MAX) {
		close(fd);
		return err_set(err, E2BIG, "disk %s: more than %d backing files", q->path, CHAIN_MAX);
	}
	q->backing[q->nbacking++] = fd;
	return disk_lock(fd, path, false, err);
}

/* qemu-nbd would not mind others that write to the files below the image; the guest would. */
static int lock_chain(struct qemu_nbd *q, bool itself, const char *described, struct err *err)
{
	cJSON *chain = cJSON_Parse(described), *image;
	bool passed = itself;
	int ret = cJSON_IsArray(chain)
			  ? 0
			  : err_set(err, EIO, "disk %s: qemu-img's answer makes no sense", q->path);

	cJSON_ArrayForEach(image, chain)
	{
		const char *path = cJSON_GetStringValue(cJSON_GetObjectItem(image, "filename"));

		if (passed && path && !ret)
			ret = lock_backing(q, path, err);
		passed = true;
	}
	cJSON_Delete(chain);
	return ret;
}

/*
 * Space that is lost, which a crash leaves behind, is harmless; an image whose
 * tables are wrong or cut off is not to be written to.
 */
static int check_image(
	const struct disk_source *source, const char *format, const char *image, struct err *err)
{
	const char *const argv[] = {"qemu-img", "check", "-q", "-U", "--image-opts", image, NULL};
	enum { CANNOT = 1, CORRUPT = 2, UNKNOWN = 63 };
	char text[TEXT], out[TEXT];
	int status;

	if (!strcmp(format, "raw") || !strcmp(format, "nbd"))
		return 0;
	status = process_run(argv, out, sizeof(out), text, sizeof(text));
	if (status < 0)
		return err_set(err, -status, "disk %s: qemu-img: %s", source->path, strerror(-status));
	if (status == CORRUPT)
		return err_set(err, EUCLEAN,
			"disk %s: the image is damaged or cut off; qemu-img check -r all may repair it (on a "
			"copy)",
			source->path);
	return status == CANNOT || status == 127 ? complain(source->path, text, err) : 0;
}

int disk_check_image(const struct disk_source *source, const char *format, struct err *err)
{
	char image[NAME_MAX_LEN];
	int ret;

	describe(source, format, image, sizeof(image));
	ret = check_chain(source, image, NULL, err);
	return ret ? ret : check_image(source, format, image, err);
}

/* Good, and the files below it ours to read. */
static int check_and_lock(struct qemu_nbd *q, const struct disk_source *source, const char *format,
	const char *image, struct err *err)
{
	char *described = malloc(CHAIN_TEXT);
	int ret = described ? check_chain(source, image, described, err) : -ENOMEM;

	if (!ret && strcmp(format, "nbd"))
		ret = lock_chain(q, source->snapshot, described, err);
	free(described);
	return ret ? ret : check_image(source, format, image, err);
}

/* ---- the server ---- */

static void talked(void *arg, u32 events)
{
	struct qemu_nbd *q = arg;
	char text[TEXT];
	ssize_t n = read(q->talk.fd, text, sizeof(text) - 1);

	(void)events;
	if (n <= 0) {
		loop_watch(q->loop, &q->talk, 0);
		return;
	}
	text[n] = 0;
	disk_tool_complaint(text);
	if (q->lines++ < LINES_MAX)
		log_line("disk %s: %.500s", q->path, text);
}

/* It has lost its connection, flushes, and ends; a server that hangs is not waited for. */
static void close_server(struct disk_server *server)
{
	struct qemu_nbd *q = container_of(server, struct qemu_nbd, server);

	if (q->loop)
		loop_remove(q->loop, &q->talk);
	if (q->talk.fd >= 0)
		close(q->talk.fd);
	if (q->pid)
		process_stop(q->pid, STOP_SECONDS);
	while (q->nbacking)
		close(q->backing[--q->nbacking]);
	free(q->path);
	free(q);
}

/* A pair of sockets, one that listens and one that is connected to it; its name is gone at once. */
static int private_sockets(int *listening, int *connected)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	const char *dir = getenv("XDG_RUNTIME_DIR");
	char made[80];
	int ret = 0;

	*listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	*connected = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (*listening < 0 || *connected < 0)
		return -errno;
	snprintf(made, sizeof(made), "%.60s/mullion-XXXXXX", dir && strlen(dir) < 60 ? dir : "/tmp");
	if (!mkdtemp(made)) { /* with no access for others */
		strcpy(made, "/tmp/mullion-XXXXXX");
		if (!mkdtemp(made))
			return -errno;
	}
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/nbd", made);
	if (bind(*listening, (struct sockaddr *)&addr, sizeof(addr)) || listen(*listening, 1) ||
		connect(*connected, (struct sockaddr *)&addr, sizeof(addr)))
		ret = -errno;
	unlink(addr.sun_path);
	rmdir(made);
	return ret;
}

static int start_server(
	struct qemu_nbd *q, const struct disk_source *source, const char *image, int listening)
{
	const char *argv[12] = {"qemu-nbd", "--discard=unmap", "--detect-zeroes=unmap", "--image-opts"};
	unsigned n = 4;
	int fds[2], ret;

	argv[n++] = source->direct ? "--cache=none" : "--cache=writeback";
	if (source->readonly && !source->snapshot)
		argv[n++] = "--read-only";
	if (source->snapshot)
		argv[n++] = "--snapshot";
	argv[n] = image;
	if (pipe2(fds, O_CLOEXEC | O_NONBLOCK))
		return -errno;
	q->talk.fd = fds[0];
	ret = process_start(
		&(struct process_spec){
			.argv = argv, .out = -1, .err = fds[1], .listen = listening, .pass = -1},
		&q->pid);
	close(fds[1]);
	return ret;
}

/* It has ended, or talks nonsense: what it said. */
static int why_not(struct qemu_nbd *q, struct err *err)
{
	char text[TEXT] = "";
	ssize_t n;

	process_stop(q->pid, STOP_SECONDS);
	q->pid = 0;
	n = read(q->talk.fd, text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = 0;
	return complain(q->path, text, err);
}

static int connect_to(struct qemu_nbd *q, const struct disk_source *source, int fd, struct nbd_handle **out,
	struct err *err)
{
	struct nbd_handle *nbd = nbd_create();
	int ret;

	if (!nbd) {
		close(fd);
		return -ENOMEM;
	}
	/* The handle has the descriptor either way. */
	ret = nbd_aio_connect_socket(nbd, fd) ? -EIO : disk_nbd_connected(nbd, source);
	if (ret) {
		nbd_close(nbd);
		return why_not(q, err);
	}
	*out = nbd;
	return 0;
}

static int start(struct qemu_nbd *q, const struct disk_source *source, const char *image,
	struct nbd_handle **nbd, struct err *err)
{
	int listening = -1, connected = -1;
	int ret = private_sockets(&listening, &connected);

	if (!ret)
		ret = start_server(q, source, image, listening);
	if (listening >= 0)
		close(listening); /* its end shows only when we do not hold it, too */
	if (ret) {
		if (connected >= 0)
			close(connected);
		return err_set(
			err, -ret, "disk %s: qemu-nbd cannot be started: %s", source->path, strerror(-ret));
	}
	return connect_to(q, source, connected, nbd, err);
}

int disk_qemu_open(const struct disk_source *source, const char *format, struct loop *loop,
	pthread_mutex_t *lock, struct disk **out, struct err *err)
{
	struct qemu_nbd *q = calloc(1, sizeof(*q));
	struct nbd_handle *nbd = NULL;
	char image[NAME_MAX_LEN];
	int ret = 0;

	if (!q)
		return -ENOMEM;
	q->server.close = close_server;
	q->talk = (struct loop_source){.fd = -1, .ready = talked, .arg = q};
	q->path = strdup(source->path);
	describe(source, format, image, sizeof(image));
	if (strcmp(format, "nbd"))
		ret = check_file(source, err);
	if (!ret)
		ret = check_and_lock(q, source, format, image, err);
	if (!ret)
		ret = start(q, source, image, &nbd, err);
	if (!ret) {
		q->loop = loop;
		ret = loop_add(loop, &q->talk, EPOLLIN);
	}
	if (!ret)
		return disk_nbd_start(source, nbd, &q->server, loop, lock, out, err);
	if (nbd)
		nbd_close(nbd);
	close_server(&q->server);
	return ret;
}
