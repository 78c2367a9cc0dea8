/* SPDX-License-Identifier: MIT */
/* Disks behind qemu-nbd: qcow2 and its kin, snapshots, a server that dies, images that are no good. */
#include "tests/unit/disk_fixture.h"

#include <signal.h>

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
		assert_int_equal(move(f, DISK_WRITE, data, MIB(3) + 512, sizeof(data)), 0);
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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
