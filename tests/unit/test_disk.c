/* SPDX-License-Identifier: MIT */
/*
 * Disks on files: what is written is read, by io_uring and then, with a filter
 * that forbids it, by threads; holes, zeroes, errors, locks, formats.
 */
#include "tests/unit/disk_fixture.h"

#include <dlfcn.h>
#include <liburing.h>
#include <limits.h>
#include <linux/falloc.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "backend/disk_lock.h"
#include "backend/disk_raw.h"

static void what_is_written_is_read(void **state)
{
	struct fixture *f = *state;
	static u8 data[5 * BLOCK], back[5 * BLOCK];
	struct request r = {
		.iov = {{back, 512}, {back + 512, BLOCK + 24}, {back + 536 + BLOCK, 4 * BLOCK - 536}},
		.r.niov = 3};

	assert_int_equal(f->disk->size, SIZE);
	fill(data, sizeof(data), 1);
	assert_int_equal(move(f, DISK_WRITE, data, 512, sizeof(data)), 0);
	assert_int_equal(without_data(f, DISK_FLUSH, 0, 0, false), 0);
	submit(f, &r, DISK_READ, 512, sizeof(back));
	settle(f);
	assert_int_equal(r.error, 0);
	assert_memory_equal(data, back, sizeof(data));
	assert_true(f->settled >= 3);
}

/* More at once than there are places. */
static void many_at_once(void **state)
{
	enum { N = 600 };
	struct fixture *f = *state;
	struct request *r = calloc(N, sizeof(*r));
	u8 *data = malloc(N * 512), *back = malloc(N * 512);

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

/* So many that some are given to a thread, and, as others follow, all of them in the end. */
static void large_reads(void **state)
{
	enum { N = 8, LEN = KIB(256) };
	struct fixture *f = *state;
	struct request r[N] = {0};
	u8 *data = malloc(N * LEN), *back = malloc(N * LEN);

	fill(data, N * LEN, 4);
	assert_int_equal(move(f, DISK_WRITE, data, 0, N * LEN), 0);
	for (unsigned pass = 0; pass < 200; pass++) {
		memset(back, 0, N * LEN);
		for (unsigned i = 0; i < N; i++) {
			r[i].iov[0] = (struct iovec){back + i * LEN, LEN};
			r[i].r.niov = 1;
			submit(f, &r[i], DISK_READ, (u64)i * LEN, LEN);
		}
		settle(f);
		for (unsigned i = 0; i < N; i++)
			assert_true(r[i].done == 1 && !r[i].error);
		assert_memory_equal(data, back, N * LEN);
	}
	free(data);
	free(back);
}

static void drain_waits(void **state)
{
	enum { N = 200 };
	struct fixture *f = *state;
	struct request *r = calloc(N, sizeof(*r));
	u8 *data = calloc(N, 512);

	for (unsigned i = 0; i < N; i++) {
		r[i].iov[0] = (struct iovec){data, 512};
		r[i].r.niov = 1;
		r[i].r.fua = true;
		submit(f, &r[i], DISK_WRITE, (u64)i * 512, 512);
	}
	f->disk->ops->drain(f->disk);
	assert_int_equal(f->left, 0);
	f->disk->ops->drain(f->disk);
	free(r);
	free(data);
}

static u64 allocated(struct fixture *f)
{
	struct stat st;

	sync();
	assert_int_equal(stat(f->path, &st), 0);
	return (u64)st.st_blocks * 512;
}

static void holes_and_zeroes(void **state)
{
	struct fixture *f = *state;
	u8 *data = malloc(MIB(2)), *zero = calloc(1, MIB(2));
	u64 full;

	fill(data, MIB(2), 3);
	assert_int_equal(move(f, DISK_WRITE, data, 0, MIB(2)), 0);
	full = allocated(f);
	assert_true(full >= MIB(2) && full < MIB(4)); /* the rest is still a hole */
	assert_int_equal(without_data(f, DISK_WRITE_ZEROES, 512, BLOCK * 3, false), 0);
	memset(data + 512, 0, BLOCK * 3);
	assert_int_equal(without_data(f, DISK_WRITE_ZEROES, MIB(1), MIB(1), true), 0);
	memset(data + MIB(1), 0, MIB(1));
	assert_true(allocated(f) < full);
	assert_int_equal(move(f, DISK_READ, zero, 0, MIB(2)), 0);
	assert_memory_equal(zero, data, MIB(2));
	assert_int_equal(without_data(f, DISK_DISCARD, 0, SIZE, false), 0);
	assert_true(allocated(f) <= KIB(64));
	free(data);
	free(zero);
}

/* ---- a kernel that takes no calls ---- */

static bool submit_fails;

/* Before the library's. */
int io_uring_submit(struct io_uring *ring)
{
	static int (*real)(struct io_uring *ring);

	if (!real)
		*(void **)&real = dlsym(RTLD_NEXT, "io_uring_submit");
	return submit_fails ? -EAGAIN : real(ring);
}

static void io_uring_takes_none(void **state)
{
	alarm(60);
	submit_fails = true;
	many_at_once(state);
	drain_waits(state);
	holes_and_zeroes(state);
	submit_fails = false;
	alarm(0);
	what_is_written_is_read(state);
}

static void reopen(struct fixture *f)
{
	f->disk->ops->close(f->disk);
	f->disk = NULL;
	open_disk(f);
}

static void direct(void **state)
{
	struct fixture *f = *state;
	u8 *data = aligned_alloc(BLOCK, 4 * BLOCK), *back = aligned_alloc(BLOCK, 4 * BLOCK);
	struct request r = {.iov = {{data + 3, 2 * BLOCK - 24}, {data + 2 * BLOCK - 21, 24}}, .r.niov = 2};

	f->source.direct = true;
	reopen(f);
	fill(data, 4 * BLOCK, 4);
	assert_int_equal(move(f, DISK_WRITE, data, BLOCK, 4 * BLOCK), 0);
	assert_int_equal(move(f, DISK_READ, back, BLOCK, 4 * BLOCK), 0);
	assert_memory_equal(data, back, 4 * BLOCK);
	/* Odd addresses and lengths work, too, and are seen by the others. */
	submit(f, &r, DISK_WRITE, 512 * 3, 2 * BLOCK);
	settle(f);
	assert_int_equal(r.error, 0);
	assert_int_equal(move(f, DISK_READ, back, 0, 4 * BLOCK), 0);
	assert_memory_equal(back + 512 * 3, data + 3, 2 * BLOCK);
	free(data);
	free(back);
}

/* Somebody cuts the file: the guest gets errors, and everything else goes on. */
static void a_shorter_file_is_an_io_error(void **state)
{
	struct fixture *f = *state;
	u8 data[2 * BLOCK];

	assert_int_equal(truncate(f->path, MIB(1) + BLOCK), 0);
	assert_int_equal(move(f, DISK_READ, data, MIB(1), 2 * BLOCK), -EIO);
	assert_int_equal(move(f, DISK_READ, data, MIB(2), BLOCK), -EIO);
	assert_int_equal(move(f, DISK_READ, data, MIB(1), BLOCK), 0);
}

/* A short transfer goes on where it stopped. */
static void resumed(void **state)
{
	struct disk_raw raw = {.direct = -1, .path = (char *)"resumed", .complained = true};
	u8 data[100];
	const struct iovec iov[] = {{data, 10}, {data + 10, 20}, {data + 30, 70}};
	struct disk_request request = {.op = DISK_WRITE, .offset = 1000, .len = 100, .iov = iov, .niov = 3};
	struct disk_call call;
	int error = 1;

	(void)state;
	disk_call_start(&raw, &call, &request);
	assert_true(disk_call_continues(&raw, &call, -EINTR, &error));
	assert_true(disk_call_continues(&raw, &call, 10, &error));
	assert_int_equal(call.offset, 1010);
	assert_int_equal(call.niov, 2);
	assert_ptr_equal(call.iov[0].iov_base, data + 10);
	assert_true(disk_call_continues(&raw, &call, 15, &error));
	assert_ptr_equal(call.iov[0].iov_base, data + 25);
	assert_int_equal(call.iov[0].iov_len, 5);
	assert_true(disk_call_continues(&raw, &call, 74, &error));
	assert_int_equal(call.niov, 1);
	assert_int_equal(call.iov[0].iov_len, 1);
	assert_false(disk_call_continues(&raw, &call, 1, &error));
	assert_int_equal(error, 0);
	disk_call_start(&raw, &call, &request);
	assert_true(disk_call_continues(&raw, &call, 50, &error));
	assert_false(disk_call_continues(&raw, &call, -ENOSPC, &error));
	assert_int_equal(error, -ENOSPC);
	/* Where holes cannot be made, zeroes are written; a discard is only a hint. */
	request.op = DISK_DISCARD;
	disk_call_start(&raw, &call, &request);
	assert_false(disk_call_continues(&raw, &call, -EOPNOTSUPP, &error));
	assert_int_equal(error, 0);
	request.op = DISK_WRITE_ZEROES;
	request.len = MIB(3);
	disk_call_start(&raw, &call, &request);
	assert_int_equal(call.kind, DISK_CALL_ALLOCATE);
	request.fua = true; /* a hole is stable only after a flush */
	assert_true(disk_call_continues(&raw, &call, 0, &error));
	assert_int_equal(call.kind, DISK_CALL_SYNC);
	assert_false(disk_call_continues(&raw, &call, 0, &error));
	disk_call_start(&raw, &call, &request);
	assert_true(disk_call_continues(&raw, &call, -EOPNOTSUPP, &error));
	assert_int_equal(call.kind, DISK_CALL_WRITE);
	assert_int_equal(call.niov, 16);
	assert_true(disk_call_continues(&raw, &call, MIB(1), &error));
	assert_true(disk_call_continues(&raw, &call, MIB(2) - 512, &error));
	assert_int_equal(call.niov, 1);
	assert_int_equal(call.iov[0].iov_len, 512);
	assert_int_equal(call.offset, 1000 + MIB(3) - 512);
	assert_false(disk_call_continues(&raw, &call, 512, &error));
}

/* What makes data stable, and what does not, is in the calls. */
static void stable_calls(void **state)
{
	struct disk_raw raw = {.fd = 5, .direct = -1, .path = (char *)"stable", .complained = true};
	struct disk_request request = {.op = DISK_WRITE, .len = 512, .fua = true};
	struct iovec *many = calloc(2000, sizeof(*many));
	struct disk_call call;
	int error;

	(void)state;
	disk_call_start(&raw, &call, &request);
	assert_int_equal(call.flags, RWF_DSYNC);
	request.fua = false;
	disk_call_start(&raw, &call, &request);
	assert_int_equal(call.flags, 0);
	request = (struct disk_request){.op = DISK_READ, .len = 512, .fua = true};
	disk_call_start(&raw, &call, &request);
	assert_int_equal(call.flags, 0);
	request.op = DISK_FLUSH;
	disk_call_start(&raw, &call, &request);
	call.fd = -1;
	assert_int_equal(disk_call_run(&call), -EBADF);
	/* Zeroes that are to stay allocated, and others; by hand. */
	request = (struct disk_request){.op = DISK_WRITE_ZEROES, .len = KIB(8), .fua = true};
	disk_call_start(&raw, &call, &request);
	assert_int_equal(call.flags, FALLOC_FL_KEEP_SIZE | FALLOC_FL_ZERO_RANGE);
	assert_true(disk_call_continues(&raw, &call, -EOPNOTSUPP, &error));
	assert_int_equal(call.kind, DISK_CALL_WRITE);
	assert_int_equal(call.flags, RWF_DSYNC);
	assert_false(disk_call_continues(&raw, &call, KIB(8), &error));
	request.may_unmap = true;
	disk_call_start(&raw, &call, &request);
	assert_int_equal(call.flags, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE);
	/* No more pieces than the kernel takes. */
	request = (struct disk_request){.op = DISK_READ, .len = 2000 * 512, .iov = many, .niov = 2000};
	disk_call_start(&raw, &call, &request);
	assert_int_equal(call.niov, IOV_MAX);
	free(many);
	/* Past the host's cache goes only what is aligned. */
	raw.direct = 7;
	raw.direct_align = raw.direct_mem_align = BLOCK;
	request = (struct disk_request){.op = DISK_WRITE, .offset = BLOCK, .len = BLOCK};
	disk_call_start(&raw, &call, &request);
	assert_int_equal(call.fd, 7);
	request.offset = 512;
	disk_call_start(&raw, &call, &request);
	assert_int_equal(call.fd, 5);
}

/* Not even if a device asked for it. */
static void read_only(void **state)
{
	struct fixture *f = *state;
	u8 data[512] = {1}, back[512];

	f->source.readonly = true;
	reopen(f);
	assert_true(f->disk->readonly && !f->disk->can_discard && !f->disk->can_write_zeroes);
	assert_true(move(f, DISK_WRITE, data, 0, sizeof(data)) < 0);
	assert_true(without_data(f, DISK_DISCARD, 0, BLOCK, false) < 0);
	assert_int_equal(move(f, DISK_READ, back, 0, sizeof(back)), 0);
	assert_int_equal(back[0], 0);
}

/* A descriptor that somebody passed says itself what may be done with it. */
static void passed(void **state)
{
	static const int modes[] = {O_RDONLY, O_WRONLY, O_RDWR};
	struct fixture *f = *state;
	struct disk *disk;

	f->disk->ops->close(f->disk);
	f->disk = NULL;
	f->source.opened = true;
	for (unsigned i = 0; i < 6; i++) {
		int mode = modes[i / 2];
		bool fits = mode == O_RDWR || (mode == O_RDONLY && i % 2);
		int ret;

		f->source.fd = open(f->path, mode);
		f->source.readonly = i % 2;
		ret = disk_open(&f->source, &f->loop, &f->lock, &disk, &f->err);
		assert_int_equal(ret, fits ? 0 : -EACCES);
		if (!ret)
			disk->ops->close(disk);
		close(f->source.fd);
	}
}

static void locks(void **state)
{
	struct fixture *f = *state;
	struct disk *second = NULL;
	pid_t child;
	int status;

	assert_true(disk_open(&f->source, &f->loop, &f->lock, &second, &f->err) == -EBUSY);
	f->source.readonly = true;
	assert_true(disk_open(&f->source, &f->loop, &f->lock, &second, &f->err) == -EBUSY);
	child = fork();
	if (!child)
		_exit(disk_lock_holder(f->path) == getppid() ? 0 : 1);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	/* Readers share. */
	reopen(f);
	assert_int_equal(disk_open(&f->source, &f->loop, &f->lock, &second, &f->err), 0);
	second->ops->close(second);
	f->source.readonly = false;
	assert_true(disk_open(&f->source, &f->loop, &f->lock, &second, &f->err) == -EBUSY);
}

static int try(struct fixture *f, const char *path, const char *word)
{
	struct disk_source source = {.path = path};
	struct disk *disk;
	int ret = disk_open(&source, &f->loop, &f->lock, &disk, &f->err);

	if (ret)
		assert_non_null(strstr(f->err.text, word));
	else
		disk->ops->close(disk);
	return ret;
}

static void what_is_no_disk(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(try(f, "", "path"), -EINVAL);
	assert_int_equal(try(f, "/tmp", "directory"), -EISDIR);
	assert_int_equal(try(f, "/dev/null", "neither"), -EINVAL);
	assert_int_equal(try(f, "/tmp/no/such/disk", "No such"), -ENOENT);
	f->disk->ops->close(f->disk);
	f->disk = NULL;
	assert_int_equal(truncate(f->path, 0), 0);
	assert_int_equal(try(f, f->path, "empty"), -EINVAL);
	assert_int_equal(truncate(f->path, 513), 0);
	assert_int_equal(try(f, f->path, "513"), -EINVAL);
	assert_int_equal(truncate(f->path, 512), 0);
	assert_int_equal(try(f, f->path, ""), 0);
}

/* A guest that owns a raw disk writes a header that names the host's files. */
static void probing_is_no_way_out(void **state)
{
	static const u8 plain[104] = "QFI\xfb\0\0\0\3", backing[104] = "QFI\xfb\0\0\0\3\0\0\0\0\0\0\1";
	u8 external[104] = "QFI\xfb\0\0\0\3";
	struct fixture *f = *state;
	u8 head[512] = {0};

	assert_string_equal(disk_format_of(plain, sizeof(plain)), "qcow2");
	assert_false(disk_header_refers("qcow2", plain, sizeof(plain)));
	assert_true(disk_header_refers("qcow2", backing, sizeof(backing)));
	external[79] = 4;
	assert_true(disk_header_refers("qcow2", external, sizeof(external)));
	assert_true(disk_header_refers("vmdk", plain, sizeof(plain)));
	memcpy(head, backing, sizeof(backing));
	assert_int_equal(move(f, DISK_WRITE, head, 0, sizeof(head)), 0);
	f->disk->ops->close(f->disk);
	f->disk = NULL;
	assert_int_equal(try(f, f->path, "format=qcow2"), -EINVAL);
	f->source.format = "raw";
	open_disk(f);
	assert_string_equal(disk_format_of_name("/a.b/c.QCOW2"), "qcow2");
	assert_null(disk_format_of_name("/a.qcow2/c"));
	assert_null(disk_format_of_name("a.img"));
}

static void forbid_io_uring(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog program = {ARRAY_SIZE(filter), filter};

	assert_int_equal(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	assert_int_equal(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_is_written_is_read),
		TEST(many_at_once),
		TEST(large_reads),
		TEST(drain_waits),
		TEST(holes_and_zeroes),
		TEST(direct),
		TEST(a_shorter_file_is_an_io_error),
		cmocka_unit_test(resumed),
		cmocka_unit_test(stable_calls),
		TEST(read_only),
		TEST(passed),
		TEST(locks),
		TEST(what_is_no_disk),
		TEST(probing_is_no_way_out),
	};
	const struct CMUnitTest in_memory[] = {
		TEST(what_is_written_is_read),
		TEST(many_at_once),
		TEST(large_reads),
		TEST(drain_waits),
		TEST(holes_and_zeroes),
		TEST(a_shorter_file_is_an_io_error),
	};
	const struct CMUnitTest one_by_one[] = {TEST(io_uring_takes_none)};
	int failed = cmocka_run_group_tests_name("io_uring", tests, NULL, NULL);

	failed |= cmocka_run_group_tests_name("io_uring without memory", one_by_one, NULL, NULL);
	if (!access("/dev/shm", W_OK)) {
		disk_folder = "/dev/shm";
		failed |= cmocka_run_group_tests_name("memory", in_memory, NULL, NULL);
		disk_folder = "/tmp";
	}
	forbid_io_uring();
	return failed | cmocka_run_group_tests_name("threads", tests, NULL, NULL);
}
