/* SPDX-License-Identifier: MIT */
/* Disks behind qemu-nbd: qcow2 and its kin, snapshots, a server that dies, images that are no good. */
#include "tests/unit/disk_fixture.h"

#include <endian.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>

static void shell(const char *format, const char *path)
{
	char command[600];

	snprintf(command, sizeof(command), format, path, path);
	assert_int_equal(system(command), 0);
}

static void make(struct fixture *f, const char *format, const char *command)
{
	f->disk->ops->close(f->disk);
	f->disk = NULL;
	f->source.format = format;
	shell(command, f->path);
}

static void every_format(void **state)
{
	static const char *const formats[] = {"qcow2", "vmdk", "vdi", "vhdx"};
	struct fixture *f = *state;
	static u8 data[KIB(128)], back[KIB(128)];

	for (unsigned i = 0; i < ARRAY_SIZE(formats); i++) {
		struct request r = {
			.iov = {{back, 512}, {back + 512, 1000}, {back + 1512, sizeof(back) - 1512}},
			.r.niov = 3};
		struct request w = {
			.iov = {{data, 700}, {data + 700, 800}, {data + 1500, sizeof(data) - 1500}},
			.r.niov = 3};
		char command[100];

		snprintf(command, sizeof(command), "qemu-img create -q -f %s %%s 16M", formats[i]);
		if (f->disk)
			make(f, formats[i], command);
		else
			shell(command, f->path);
		f->source.format = formats[i];
		open_disk(f);
		assert_int_equal(f->disk->size, MIB(16));
		fill(data, sizeof(data), i);
		submit(f, &w, DISK_WRITE, MIB(3) + 512, sizeof(data));
		settle(f);
		assert_int_equal(w.error, 0);
		assert_int_equal(without_data(f, DISK_FLUSH, 0, 0, false), 0);
		submit(f, &r, DISK_READ, MIB(3) + 512, sizeof(back));
		settle(f);
		assert_int_equal(r.error, 0);
		assert_memory_equal(data, back, sizeof(data));
		assert_int_equal(without_data(f, DISK_WRITE_ZEROES, MIB(3), MIB(1), true), 0);
		assert_int_equal(without_data(f, DISK_DISCARD, MIB(8), MIB(1), true), 0);
		assert_int_equal(move(f, DISK_READ, back, MIB(3) + 512, sizeof(data)), 0);
		memset(data, 0, sizeof(data));
		assert_memory_equal(data, back, sizeof(data));
		f->disk->ops->close(f->disk);
		f->disk = NULL;
	}
}

static void many_at_once(void **state)
{
	enum { N = 300 };
	struct fixture *f = *state;
	struct request *r = calloc(N, sizeof(*r));
	u8 *data = malloc(N * 512), *back = malloc(N * 512);

	make(f, NULL, "qemu-img create -q -f qcow2 %s 16M"); /* found out by its first bytes */
	open_disk(f);
	fill(data, N * 512, 2);
	for (unsigned pass = 0; pass < 2; pass++) {
		for (unsigned i = 0; i < N; i++) {
			r[i].iov[0] = (struct iovec){(pass ? back : data) + i * 512, 512};
			r[i].r.niov = 1;
			r[i].r.fua = i % 50 == 0;
			submit(f, &r[i], pass ? DISK_READ : DISK_WRITE, (u64)i * 1024, 512);
		}
		settle(f);
		for (unsigned i = 0; i < N; i++)
			assert_true(r[i].done == 1 && !r[i].error);
	}
	assert_memory_equal(data, back, N * 512);
	free(r);
	free(data);
	free(back);
}

/* Lists of buffers, more than are copied at once; all name the same memory, as a guest's may. */
static void more_than_is_copied_at_once(void **state)
{
	enum { N = 20 };
	struct fixture *f = *state;
	struct request *r = calloc(N + 1, sizeof(*r));
	u8 *back = malloc(MIB(16));

	make(f, NULL, "qemu-img create -q -f qcow2 %s 16M");
	open_disk(f);
	for (unsigned i = 0; i < N; i++) {
		r[i].iov[0] = (struct iovec){back, 512};
		r[i].iov[1] = (struct iovec){back + 512, MIB(16) - 512};
		r[i].r.niov = 2;
		submit(f, &r[i], DISK_READ, 0, MIB(16));
	}
	submit(f, &r[N], DISK_FLUSH, 0, 0);
	settle(f);
	for (unsigned i = 0; i <= N; i++)
		assert_true(r[i].done == 1 && !r[i].error);
	free(r);
	free(back);
}

static void a_snapshot_leaves_no_trace(void **state)
{
	struct fixture *f = *state;
	u8 data[512], back[512];

	fill(data, sizeof(data), 7);
	assert_int_equal(move(f, DISK_WRITE, data, 0, sizeof(data)), 0);
	f->disk->ops->close(f->disk);
	f->disk = NULL;
	f->source.snapshot = true;
	f->source.format = "raw";
	open_disk(f);
	memset(back, 0xee, sizeof(back));
	assert_int_equal(move(f, DISK_WRITE, back, 0, sizeof(back)), 0);
	memset(back, 0, sizeof(back));
	assert_int_equal(move(f, DISK_READ, back, 0, sizeof(back)), 0);
	assert_int_equal(back[0], 0xee);
	f->disk->ops->close(f->disk);
	f->disk = NULL;
	f->source.snapshot = false;
	open_disk(f);
	assert_int_equal(move(f, DISK_READ, back, 0, sizeof(back)), 0);
	assert_memory_equal(data, back, sizeof(back));
}

/* The only child of this process. */
static pid_t child(void)
{
	FILE *file = popen("pgrep -x qemu-nbd -P $PPID", "r");
	int pid = 0;

	assert_int_equal(fscanf(file, "%d", &pid), 1);
	pclose(file);
	return pid;
}

static void its_death_is_an_io_error(void **state)
{
	struct fixture *f = *state;
	u8 data[KIB(64)] = {0};
	struct request r[8] = {0};

	make(f, "qcow2", "qemu-img create -q -f qcow2 %s 16M");
	open_disk(f);
	kill(child(), SIGSTOP);
	for (unsigned i = 0; i < ARRAY_SIZE(r); i++) {
		r[i].iov[0] = (struct iovec){data, sizeof(data)};
		r[i].r.niov = 1;
		submit(f, &r[i], DISK_WRITE, i * sizeof(data), sizeof(data));
	}
	kill(child(), SIGKILL);
	settle(f);
	for (unsigned i = 0; i < ARRAY_SIZE(r); i++)
		assert_true(r[i].done == 1 && r[i].error == -EIO);
	assert_int_equal(move(f, DISK_READ, data, 0, 512), -EIO);
	assert_int_equal(without_data(f, DISK_FLUSH, 0, 0, false), -EIO);
	f->disk->ops->drain(f->disk);
}

static u64 seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (u64)t.tv_sec;
}

/* One that hangs is waited for, but not for ever. */
static void its_silence_is_an_io_error(void **state)
{
	struct fixture *f = *state;
	u8 data[KIB(64)] = {0};
	struct request r[8] = {0};
	u64 start = seconds();
	pid_t pid;

	f->source.patience = 1;
	make(f, "qcow2", "qemu-img create -q -f qcow2 %s 16M");
	open_disk(f);
	pid = child();
	kill(pid, SIGSTOP);
	for (unsigned i = 0; i < ARRAY_SIZE(r); i++) {
		r[i].iov[0] = (struct iovec){data, sizeof(data)};
		r[i].r.niov = 1;
		submit(f, &r[i], i % 2 ? DISK_READ : DISK_WRITE, i * sizeof(data), sizeof(data));
	}
	alarm(30);
	f->disk->ops->drain(f->disk);
	alarm(0);
	assert_true(seconds() - start < 10);
	for (unsigned i = 0; i < ARRAY_SIZE(r); i++)
		assert_true(r[i].done == 1 && r[i].error == -EIO);
	/* What it says late is not heard. */
	memset(data, 0xee, sizeof(data));
	kill(pid, SIGCONT);
	assert_int_equal(move(f, DISK_READ, data, 0, 512), -EIO);
	assert_int_equal(data[0], 0xee);
}

static void refused(struct fixture *f, const char *word)
{
	struct disk *disk;

	assert_true(disk_open(&f->source, &f->loop, &f->lock, &disk, &f->err) < 0);
	if (!strstr(f->err.text, word) || strchr(f->err.text, '\n'))
		fail_msg("%s", f->err.text);
}

static void what_is_no_image(void **state)
{
	struct fixture *f = *state;
	struct fixture other = *f;

	make(f, "qcow2", "head -c 65536 /dev/zero >%s");
	refused(f, "not in qcow2 format");
	shell("qemu-img create -q -f qcow2 %s 64M && truncate -s 300 %s", f->path);
	refused(f, "damaged");
	shell("qemu-img create -q -f qcow2 %s 64M && qemu-img rebase -u -b %s -F qcow2 %1$s", f->path);
	refused(f, "loop");
	shell("qemu-img create -q -u -f qcow2 -b /no/such/file -F raw %s 64M", f->path);
	refused(f, "No such file");
	f->source.format = NULL;
	refused(f, "format=qcow2");
	f->source.format = "zip";
	refused(f, "no such format");
	f->source.format = "qcow2";
	f->source.path = "/no/such/image";
	refused(f, "No such file");
	f->source.path = f->path;
	shell("qemu-img create -q -f qcow2 %s 64M", f->path);
	open_disk(f);
	other.source = f->source;
	refused(&other, "locked");
}

static void an_nbd_server(void **state)
{
	struct fixture *f = *state;
	char uri[200], command[400];
	u8 data[512], back[512];

	f->disk->ops->close(f->disk);
	f->disk = NULL;
	snprintf(uri, sizeof(uri), "nbd+unix:///?socket=%s.sock", f->path);
	f->source.path = uri;
	refused(f, "no NBD server");
	snprintf(command, sizeof(command), "qemu-nbd --fork -f raw -k %s.sock %s", f->path, f->path);
	assert_int_equal(system(command), 0);
	open_disk(f);
	assert_int_equal(f->disk->size, SIZE);
	fill(data, sizeof(data), 9);
	assert_int_equal(move(f, DISK_WRITE, data, 1024, sizeof(data)), 0);
	assert_int_equal(move(f, DISK_READ, back, 1024, sizeof(back)), 0);
	assert_memory_equal(data, back, sizeof(back));
	f->disk->ops->close(f->disk);
	f->disk = NULL;
	snprintf(command, sizeof(command), "%s.sock", f->path);
	unlink(command);
}

/* A server that hangs neither keeps a disk open nor opening it from failing. */
static void a_silent_nbd_server(void **state)
{
	struct fixture *f = *state;
	char uri[200], command[400];
	FILE *file;
	int pid;

	f->disk->ops->close(f->disk);
	f->disk = NULL;
	snprintf(command, sizeof(command), "qemu-nbd --fork -e 5 -f raw --pid-file %s.pid -k %s.sock %s", f->path,
		f->path, f->path);
	assert_int_equal(system(command), 0);
	snprintf(command, sizeof(command), "%s.pid", f->path);
	file = fopen(command, "r");
	assert_non_null(file);
	assert_int_equal(fscanf(file, "%d", &pid), 1);
	fclose(file);
	unlink(command);
	snprintf(uri, sizeof(uri), "nbd+unix:///?socket=%s.sock", f->path);
	f->source.path = uri;
	f->source.patience = 1;
	alarm(30);
	open_disk(f);
	kill(pid, SIGSTOP);
	f->disk->ops->close(f->disk);
	f->disk = NULL;
	refused(f, "silent");
	alarm(0);
	kill(pid, SIGKILL);
	snprintf(command, sizeof(command), "%s.sock", f->path);
	unlink(command);
}

/* Read-only, to the server too; and its name may hold what separates options. */
static void read_only(void **state)
{
	struct fixture *f = *state;
	char path[100];
	u8 data[512] = {1};

	make(f, "qcow2", "qemu-img create -q -f qcow2 %s 16M && mv %s %1$s,size=1");
	snprintf(path, sizeof(path), "%s,size=1", f->path);
	f->source.path = path;
	f->source.readonly = true;
	open_disk(f);
	assert_int_equal(f->disk->size, MIB(16));
	assert_true(move(f, DISK_WRITE, data, 0, sizeof(data)) < 0);
	assert_int_equal(move(f, DISK_READ, data, 0, sizeof(data)), 0);
	assert_int_equal(data[0], 0);
	f->disk->ops->close(f->disk);
	f->disk = NULL;
	unlink(path);
}

/* ---- a server that writes down what it is asked for (NBD's protocol document) ---- */

enum { CAN_FLAGS = 1, READ_ONLY = 2, CAN_FLUSH = 4, CAN_FUA = 8, CAN_TRIM = 32, CAN_ZERO = 64 };
enum { C_READ, C_WRITE, C_END, C_FLUSH, C_TRIM, C_ZERO = 6, FUA = 1, NO_HOLE = 2 };

#define SERVED MIB(64)

static struct {
	int listener;
	u16 abilities;
	u32 error; /* for the next command that is no flush */
	u8 *data;
	struct {
		u16 type, flags;
		u64 offset;
		u32 len;
	} seen[32];
	unsigned nseen;
} server;

static bool take(int fd, void *data, size_t len)
{
	return !len || recv(fd, data, len, MSG_WAITALL) == (ssize_t)len;
}

static void put(int fd, const void *data, size_t len)
{
	if (len) /* the client may have gone by now */
		assert_int_equal(send(fd, data, len, MSG_NOSIGNAL), len);
}

static void answer_option(int fd, u32 option, u32 type, const void *data, u32 len)
{
	struct {
		u64 magic;
		u32 option, type, len;
	} __attribute__((packed)) head = {htobe64(0x3e889045565a9), htobe32(option), htobe32(type), htobe32(len)};

	put(fd, &head, sizeof(head));
	put(fd, data, len);
}

/* Every option but the one that begins is unknown here. */
static bool negotiate(int fd)
{
	struct {
		u64 magic;
		u32 option, len;
	} head;
	struct {
		u16 type;
		u64 size;
		u16 flags;
	} __attribute__((packed)) info = {0, htobe64(SERVED), htobe16(server.abilities)};
	u32 flags;
	u8 rest[4096];

	put(fd, "NBDMAGICIHAVEOPT\0\3", 18);
	if (!take(fd, &flags, 4))
		return false;
	while (take(fd, &head, sizeof(head)) && be32toh(head.len) <= sizeof(rest) && take(fd, rest, be32toh(head.len))) {
		u32 option = be32toh(head.option);

		if (option != 7) {
			answer_option(fd, option, 0x80000001, "", 0);
			continue;
		}
		answer_option(fd, option, 3, &info, sizeof(info));
		answer_option(fd, option, 1, "", 0);
		return true;
	}
	return false;
}

static void *serve(void *arg)
{
	struct {
		u32 magic;
		u16 flags, type;
		u64 cookie, offset;
		u32 len;
	} __attribute__((packed)) c;
	int fd = accept(server.listener, NULL, NULL);
	bool on = negotiate(fd);

	while (on && take(fd, &c, sizeof(c)) && be16toh(c.type) != C_END) {
		struct {
			u32 magic, error;
			u64 cookie;
		} reply = {htobe32(0x67446698), 0, c.cookie};
		u64 offset = be64toh(c.offset);
		u32 len = be32toh(c.len);
		unsigned n = server.nseen++ % ARRAY_SIZE(server.seen);

		server.seen[n].type = be16toh(c.type);
		server.seen[n].flags = be16toh(c.flags);
		server.seen[n].offset = offset;
		server.seen[n].len = len;
		if (server.seen[n].type != C_FLUSH) {
			reply.error = htobe32(server.error);
			server.error = 0;
		}
		if (server.seen[n].type == C_WRITE)
			on = take(fd, server.data + offset, len);
		put(fd, &reply, sizeof(reply));
		if (server.seen[n].type == C_READ && !reply.error)
			put(fd, server.data + offset, len);
	}
	close(fd);
	return arg;
}

static pthread_t serve_as(struct fixture *f, u16 abilities)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	static char uri[200];
	pthread_t thread;

	if (f->disk)
		f->disk->ops->close(f->disk);
	f->disk = NULL;
	memset(&server, 0, sizeof(server));
	server.abilities = CAN_FLAGS | abilities;
	server.data = calloc(1, SERVED);
	server.listener = socket(AF_UNIX, SOCK_STREAM, 0);
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s.sock", f->path);
	snprintf(uri, sizeof(uri), "nbd+unix:///?socket=%s.sock", f->path);
	f->source.path = uri;
	assert_int_equal(bind(server.listener, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(server.listener, 1), 0);
	assert_int_equal(pthread_create(&thread, NULL, serve, NULL), 0);
	return thread;
}

static void end_service(struct fixture *f, pthread_t thread)
{
	char path[100];

	if (f->disk)
		f->disk->ops->close(f->disk);
	f->disk = NULL;
	pthread_join(thread, NULL);
	close(server.listener);
	free(server.data);
	snprintf(path, sizeof(path), "%s.sock", f->path);
	unlink(path);
}

static void seen(unsigned n, u16 type, u16 flags, u64 offset, u32 len)
{
	assert_true(n < server.nseen);
	assert_int_equal(server.seen[n].type, type);
	assert_int_equal(server.seen[n].flags, flags);
	assert_int_equal(server.seen[n].offset, offset);
	assert_int_equal(server.seen[n].len, len);
}

static int stable(struct fixture *f, enum disk_op op, void *data, u64 len, bool may_unmap)
{
	struct request r = {.iov = {{data, len}}, .r.niov = 1, .r.fua = true, .r.may_unmap = may_unmap};

	submit(f, &r, op, 4096, len);
	settle(f);
	return r.error;
}

static void commands(void **state)
{
	struct fixture *f = *state;
	pthread_t thread = serve_as(f, CAN_FLUSH | CAN_FUA | CAN_TRIM | CAN_ZERO);
	u8 data[512] = {7};

	open_disk(f);
	assert_int_equal(f->disk->size, SERVED);
	assert_true(f->disk->can_discard && f->disk->can_write_zeroes);
	assert_int_equal(move(f, DISK_WRITE, data, 0, 512), 0);
	assert_int_equal(stable(f, DISK_WRITE, data, 512, false), 0);
	assert_int_equal(without_data(f, DISK_FLUSH, 0, 0, false), 0);
	assert_int_equal(without_data(f, DISK_DISCARD, 8192, 512, false), 0);
	assert_int_equal(without_data(f, DISK_WRITE_ZEROES, 8192, 512, false), 0);
	assert_int_equal(stable(f, DISK_WRITE_ZEROES, NULL, 512, true), 0);
	seen(0, C_WRITE, 0, 0, 512);
	seen(1, C_WRITE, FUA, 4096, 512);
	seen(2, C_FLUSH, 0, 0, 0);
	seen(3, C_TRIM, 0, 8192, 512);
	seen(4, C_ZERO, NO_HOLE, 8192, 512);
	seen(5, C_ZERO, FUA, 4096, 512);
	assert_int_equal(server.nseen, 6);
	assert_int_equal(server.data[4096], 7);
	end_service(f, thread);
}

/* Without FUA a flush stands behind the write; but not behind one that failed. */
static void without_fua(void **state)
{
	struct fixture *f = *state;
	pthread_t thread = serve_as(f, CAN_FLUSH);
	u8 data[512] = {7};

	open_disk(f);
	assert_false(f->disk->can_discard || f->disk->can_write_zeroes);
	assert_int_equal(stable(f, DISK_WRITE, data, 512, false), 0);
	assert_int_equal(move(f, DISK_WRITE, data, 0, 512), 0);
	seen(0, C_WRITE, 0, 4096, 512);
	seen(1, C_FLUSH, 0, 0, 0);
	seen(2, C_WRITE, 0, 0, 512);
	assert_int_equal(server.nseen, 3);
	server.error = EIO;
	assert_int_equal(stable(f, DISK_WRITE, data, 512, false), -EIO);
	server.error = ENOSPC;
	assert_int_equal(move(f, DISK_WRITE, data, 0, 512), -ENOSPC);
	assert_int_equal(server.nseen, 5);
	assert_int_equal(without_data(f, DISK_DISCARD, 8192, 512, false), 0); /* a hint */
	assert_int_equal(server.nseen, 5);
	end_service(f, thread);
}

/* Long requests, in parts of 16 MiB; drain waits for all of them. */
static void parts(void **state)
{
	struct fixture *f = *state;
	pthread_t thread = serve_as(f, 0);
	u8 *data = malloc(MIB(40)), *back = malloc(MIB(40));
	struct request r = {.iov = {{back, MIB(40)}}, .r.niov = 1};

	open_disk(f);
	fill(data, MIB(40), 5);
	assert_int_equal(move(f, DISK_WRITE, data, MIB(1), MIB(40)), 0);
	assert_int_equal(server.nseen, 3);
	seen(2, C_WRITE, 0, MIB(33), MIB(8));
	assert_memory_equal(server.data + MIB(1), data, MIB(40));
	assert_int_equal(without_data(f, DISK_FLUSH, 0, 0, false), 0); /* it holds nothing back */
	assert_int_equal(server.nseen, 3);
	submit(f, &r, DISK_READ, MIB(1), MIB(40));
	f->disk->ops->drain(f->disk);
	assert_int_equal(f->left, 0);
	assert_memory_equal(back, data, MIB(40));
	free(data);
	free(back);
	end_service(f, thread);
}

static void a_read_only_server(void **state)
{
	struct fixture *f = *state;
	pthread_t thread = serve_as(f, READ_ONLY);

	refused(f, "read-only");
	end_service(f, thread);
	thread = serve_as(f, READ_ONLY);
	f->source.readonly = true;
	open_disk(f);
	end_service(f, thread);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(every_format, setup, teardown),
		cmocka_unit_test_setup_teardown(many_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(more_than_is_copied_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(a_snapshot_leaves_no_trace, setup, teardown),
		cmocka_unit_test_setup_teardown(its_death_is_an_io_error, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_no_image, setup, teardown),
		cmocka_unit_test_setup_teardown(an_nbd_server, setup, teardown),
		cmocka_unit_test_setup_teardown(its_silence_is_an_io_error, setup, teardown),
		cmocka_unit_test_setup_teardown(a_silent_nbd_server, setup, teardown),
		cmocka_unit_test_setup_teardown(read_only, setup, teardown),
		cmocka_unit_test_setup_teardown(commands, setup, teardown),
		cmocka_unit_test_setup_teardown(without_fua, setup, teardown),
		cmocka_unit_test_setup_teardown(parts, setup, teardown),
		cmocka_unit_test_setup_teardown(a_read_only_server, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
