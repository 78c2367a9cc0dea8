/* SPDX-License-Identifier: MIT */
/* The sandbox: each case is a child that enters it, tries something, and tells by its end how that went. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <cmocka.h>

#include "host/process.h"
#include "host/sandbox.h"

static char dir[] = "/tmp/mullion-sandbox-XXXXXX";
static char inside[128], outside[128];

/* What a child says by its exit status: 0 is success, else errno. */
static int try(int (*action)(void), const struct sandbox *sandbox)
{
	struct err err;
	int status;
	pid_t pid = fork();

	if (!pid) {
		if (sandbox_enter(sandbox, &err))
			_exit(255);
		errno = 0;
		_exit(action() < 0 ? errno : 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
}

static int execute(void)
{
	return execl("/bin/true", "true", NULL);
}

static int trace(void)
{
	return (int)syscall(SYS_ptrace, 0, 0, 0, 0);
}

static int new_ring(void)
{
	return (int)syscall(SYS_io_uring_setup, 4, NULL);
}

static int become(void)
{
	return setuid(1);
}

static int make_process(void)
{
	return fork();
}

static int inet(void)
{
	return socket(AF_INET, SOCK_STREAM, 0);
}

static int local(void)
{
	return socket(AF_UNIX, SOCK_STREAM, 0);
}

static int type_on_terminal(void)
{
	return ioctl(0, TIOCSTI, "x");
}

static int kill_parent(void)
{
	return kill(getppid(), 0);
}

static int change_mode(void)
{
	return fchmodat(AT_FDCWD, inside, 0600, 0);
}

static int open_inside(void)
{
	return open(inside, O_RDWR);
}

static int open_outside(void)
{
	return open(outside, O_RDONLY);
}

static int write_outside(void)
{
	return open(outside, O_WRONLY);
}

static int make_inside(void)
{
	char path[160];

	snprintf(path, sizeof(path), "%s.new", inside);
	if (open(path, O_WRONLY | O_CREAT, 0600) < 0 || rename(path, inside))
		return -1;
	return unlink(inside);
}

/* What the program does all the time. */
static int ordinary(void)
{
	void *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct winsize size;

	if (map == MAP_FAILED || mprotect(map, 4096, PROT_READ | PROT_WRITE | PROT_EXEC))
		return -1;
	if (ioctl(0, TIOCGWINSZ, &size) && errno == ENOSYS)
		return -1;
	return kill(getpid(), 0);
}

static void *nothing(void *arg)
{
	return arg;
}

static int make_thread(void)
{
	pthread_t thread;

	errno = pthread_create(&thread, NULL, nothing, NULL);
	return errno ? -1 : 0;
}

static const struct sandbox bare;

static void deadly_calls_kill(void **state)
{
	(void)state;
	assert_int_equal(try(execute, &bare), 1000 + SIGSYS);
	assert_int_equal(try(trace, &bare), 1000 + SIGSYS);
	assert_int_equal(try(new_ring, &bare), 1000 + SIGSYS);
	assert_int_equal(try(become, &bare), 1000 + SIGSYS);
}

static void other_calls_fail(void **state)
{
	const struct sandbox network = {.network = true}, local_only = {.unix_sockets = true}, share = {.share = true};

	(void)state;
	assert_int_equal(try(make_process, &bare), ENOSYS);
	assert_int_equal(try(inet, &bare), ENOSYS);
	assert_int_equal(try(local, &bare), ENOSYS);
	assert_int_equal(try(inet, &local_only), ENOSYS);
	assert_int_equal(try(local, &local_only), 0);
	assert_int_equal(try(inet, &network), 0);
	assert_int_equal(try(type_on_terminal, &network), ENOSYS);
	assert_int_equal(try(kill_parent, &bare), ENOSYS);
	assert_int_equal(try(change_mode, &bare), ENOSYS);
	assert_int_not_equal(try(change_mode, &share), ENOSYS);
}

static void the_program_works(void **state)
{
	(void)state;
	assert_int_equal(try(ordinary, &bare), 0);
	assert_int_equal(try(make_thread, &bare), 0);
}

static void touch(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT, 0600);

	assert_true(fd >= 0);
	close(fd);
}

/* Without Landlock in the kernel, files are not guarded: then all of these succeed. */
static void files_are_guarded(void **state)
{
	int no = sandbox_landlock_version() ? EACCES : 0;
	struct sandbox sandbox = {0};

	(void)state;
	touch(inside);
	touch(outside);
	assert_int_equal(try(open_inside, &bare), no);
	sandbox_allow(&sandbox, inside, SANDBOX_READ | SANDBOX_WRITE);
	sandbox_allow(&sandbox, "/no/such/file", SANDBOX_READ);
	sandbox_allow(&sandbox, NULL, SANDBOX_READ);
	assert_int_equal(try(open_inside, &sandbox), 0);
	assert_int_equal(try(open_outside, &sandbox), no);
	assert_int_equal(try(make_inside, &sandbox), no);
	sandbox_fini(&sandbox);
	touch(inside);
	sandbox_allow_folder_of(&sandbox, inside, SANDBOX_FILES | SANDBOX_WRITE);
	sandbox_allow(&sandbox, outside, SANDBOX_READ);
	assert_int_equal(try(make_inside, &sandbox), 0);
	assert_int_equal(try(open_outside, &sandbox), 0);
	assert_int_equal(try(write_outside, &sandbox), no);
	sandbox_fini(&sandbox);
}

static void too_many_files(void **state)
{
	struct sandbox sandbox = {0};
	struct err err;

	(void)state;
	for (unsigned i = 0; i <= SANDBOX_PATHS; i++)
		sandbox_allow(&sandbox, "/", SANDBOX_READ);
	assert_int_equal(sandbox_enter(&sandbox, &err), -E2BIG);
	sandbox_fini(&sandbox);
}

/* ---- threads and helpers that were there before ---- */

static sem_t go, done;
static int found;

static void *early(void *arg)
{
	(void)arg;
	sandbox_join(); /* nothing yet */
	sem_post(&done);
	sem_wait(&go);
	sandbox_join();
	found = open(outside, O_RDONLY) < 0 ? errno : 0;
	sem_post(&done);
	return NULL;
}

static u64 status_field(const char *name)
{
	char line[256];
	unsigned long long value = UINT64_MAX;
	FILE *file = fopen("/proc/thread-self/status", "re");

	while (file && fgets(line, sizeof(line), file)) {
		if (!strncmp(line, name, strlen(name)))
			sscanf(line + strlen(name), "%llx", &value);
	}
	return value;
}

static int child_with_a_thread(void)
{
	struct sandbox sandbox = {0};
	int no = sandbox_landlock_version() ? EACCES : 0;
	pthread_t thread;
	struct err err;

	sem_init(&go, 0, 0);
	sem_init(&done, 0, 0);
	if (pthread_create(&thread, NULL, early, NULL))
		return 1;
	sem_wait(&done);
	sandbox_allow(&sandbox, "/proc", SANDBOX_READ);
	if (sandbox_enter(&sandbox, &err))
		return 2;
	sem_post(&go);
	sem_wait(&done);
	if (found != no)
		return 3;
	if (status_field("Seccomp:") != 2 || status_field("NoNewPrivs:") != 1)
		return 4;
	return status_field("CapEff:") == 0 && status_field("CapPrm:") == 0 ? 0 : 5;
}

static void threads_get_in(void **state)
{
	pid_t pid = fork();
	int status;

	(void)state;
	if (!pid)
		_exit(child_with_a_thread());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void helpers_can_be_stopped(void **state)
{
	static const char *const argv[] = {"sleep", "100", NULL};
	static const char *const family[] = {"sh", "-c", "echo; sleep 100 & wait", NULL};
	struct process_spec spec = {.argv = argv, .out = -1, .err = -1, .listen = -1, .pass = -1};
	struct sandbox sandbox = {0};
	int status, fd[2];
	pid_t pid = fork(), helper, parent;
	char c;

	(void)state;
	if (!pid) {
		struct err err;

		if (process_start(&spec, &helper) || pipe2(fd, O_CLOEXEC))
			_exit(1);
		spec.argv = family;
		spec.out = fd[1];
		if (process_start(&spec, &parent))
			_exit(1);
		close(fd[1]);
		sandbox.nchildren = process_list(sandbox.child, SANDBOX_CHILDREN);
		if (sandbox.nchildren != 2 || sandbox_enter(&sandbox, &err))
			_exit(2);
		process_stop(helper, 5);
		/* The other one's child has the pipe, too: its end says that both are gone. */
		alarm(20);
		if (read(fd[0], &c, 1) != 1)
			_exit(4);
		process_kill(parent);
		if (read(fd[0], &c, 1) || process_wait(parent) != 128 + SIGKILL)
			_exit(5);
		_exit(process_list(sandbox.child, SANDBOX_CHILDREN) ? 3 : 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static int setup(void **state)
{
	(void)state;
	if (!mkdtemp(dir))
		return -1;
	snprintf(inside, sizeof(inside), "%s/a", dir);
	if (mkdir(inside, 0700))
		return -1;
	snprintf(inside, sizeof(inside), "%s/a/inside", dir);
	snprintf(outside, sizeof(outside), "%s/outside", dir);
	return sandbox_has_seccomp() ? 0 : -1;
}

static int teardown(void **state)
{
	char command[160];

	(void)state;
	snprintf(command, sizeof(command), "rm -r %s", dir);
	return system(command);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(deadly_calls_kill),
		cmocka_unit_test(other_calls_fail),
		cmocka_unit_test(the_program_works),
		cmocka_unit_test(files_are_guarded),
		cmocka_unit_test(too_many_files),
		cmocka_unit_test(threads_get_in),
		cmocka_unit_test(helpers_can_be_stopped),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
