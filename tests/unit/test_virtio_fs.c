/* SPDX-License-Identifier: MIT */
/* virtio-fs when its server does what it should, hangs, or has died: the test's child is the server. */
#include "tests/unit/virtio_fake.h"

#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "dev/virtio/fs.h"

enum { GET_FEATURES = 1, GET_VRING_BASE = 11 };

static struct vm vm;
static struct loop loop;
static struct fake_driver driver;
static pid_t server;
static volatile u64 *writes; /* what the server writes to, as if it were the guest's memory */

struct message {
	u32 request, flags, size;
	u64 number;
} __attribute__((packed));

/* Answers, but for the one question. Then it writes, for ever. */
__attribute__((noreturn)) static void serve(int fd, bool hangs)
{
	struct message m;
	u8 rest[512];

	setsid();
	alarm(60); /* in case the test does not live to end it */
	while (recv(fd, &m, 12, MSG_WAITALL) == 12) {
		u32 size = m.size;

		while (size) {
			ssize_t n = recv(fd, rest, size, 0);

			if (n <= 0)
				_exit(1);
			size -= (u32)n;
		}
		if (m.request == GET_VRING_BASE && hangs)
			break;
		m = (struct message){m.request, 5, 8, BIT(32) | BIT(30)};
		if ((m.request == GET_FEATURES || m.request == GET_VRING_BASE) && send(fd, &m, sizeof(m), 0) < 0)
			_exit(1);
	}
	while (hangs)
		++*writes;
	_exit(0);
}

static void make(bool hangs)
{
	struct vhost_memory ram = {.fd = memfd_create("ram", MFD_CLOEXEC), .size = FAKE_RAM, .host = fake_ram};
	struct virtio_fs_server s = {.ram = &ram, .nram = 1, .patience = 1};
	struct err err;
	int fd[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd), 0);
	server = fork();
	if (!server) {
		close(fd[0]);
		serve(fd[1], hangs);
	}
	close(fd[1]);
	s.fd = fd[0];
	s.pid = server;
	assert_int_equal(virtio_fs_create(&vm, NULL, &loop, "tag", &s, &err), 0);
	close(ram.fd);
}

static void begin(void)
{
	fake_ram_used = PAGE_SIZE;
	fake_driver_init(&driver, fake_plugged, 0);
	fake_queue_init(&driver, 0, 16);
	fake_queue_init(&driver, 1, 16);
	fake_driver_ready(&driver);
}

static int setup(void **state)
{
	(void)state;
	fake_pc_init(&vm);
	writes = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return loop_init(&loop);
}

static int teardown(void **state)
{
	(void)state;
	fake_plugged->pci.ops->free(&fake_plugged->pci);
	kill(server, SIGKILL);
	waitpid(server, NULL, 0);
	loop_fini(&loop);
	fake_vm_fini(&vm);
	munmap((void *)writes, PAGE_SIZE);
	return 0;
}

static void reset(void)
{
	alarm(20);
	fake_write(&driver, VIRTIO_STATUS, 1, 0);
	alarm(0);
	assert_int_equal(fake_status(&driver), 0);
}

static void it_stops_and_starts(void **state)
{
	(void)state;
	make(false);
	for (unsigned i = 0; i < 3; i++) {
		begin();
		assert_false(fake_status(&driver) & VIRTIO_NEEDS_RESET);
		reset();
	}
}

/* The reset ends, the server is dead before it does, and the device says that it is of no use any more. */
static void it_hangs(void **state)
{
	struct timespec moment = {.tv_nsec = 20000000};
	u64 last;

	(void)state;
	make(true);
	begin();
	reset();
	last = *writes;
	nanosleep(&moment, NULL);
	assert_true(last && *writes == last);
	begin();
	assert_true(fake_status(&driver) & VIRTIO_NEEDS_RESET);
	reset();
}

static void it_has_died(void **state)
{
	struct pollfd pfd;

	(void)state;
	make(false);
	begin();
	kill(server, SIGKILL);
	pfd = (struct pollfd){.fd = loop.epoll, .events = POLLIN};
	assert_int_equal(poll(&pfd, 1, 5000), 1); /* its hang-up has come, and nobody has looked yet */
	reset();
	begin();
	assert_true(fake_status(&driver) & VIRTIO_NEEDS_RESET);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(it_stops_and_starts, setup, teardown),
		cmocka_unit_test_setup_teardown(it_hangs, setup, teardown),
		cmocka_unit_test_setup_teardown(it_has_died, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
