/* SPDX-License-Identifier: MIT */
/*
 * The keeper: a small process that holds the VM's memory too. When the VMM
 * ends in whatever way, it destroys the VM, so that its memory is scrubbed
 * and out of the hypervisor's tables before this system uses it again.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/metal/metal.h"

void metal_destroy(const struct metal_device *dev, u64 handle)
{
	while (metal_call(dev, CALL_VM_DESTROY, handle, 0, 0, 0) == -CONTROL_AGAIN)
		;
}

/* The kernel must not end this one to get memory: that would be too early. */
static void never_chosen(void)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	if (write(fd, "-1000", 5) < 0)
		errno = 0;
	close(fd);
}

/* Nothing of the VMM's but the memory and our end of the pipe. */
static int detach(int pipe)
{
	int null = open("/dev/null", O_RDWR);
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	setsid();
	prctl(PR_SET_NAME, "mullion-keeper");
	never_chosen();
	for (int fd = 0; fd < 3; fd++)
		dup2(null, fd);
	dup2(pipe, 3);
	close_range(4, ~0u, 0);
	return 3;
}

static _Noreturn void keep(const struct metal_keeper *keeper, const struct metal_device *dev,
	const struct metal_memory *mem, int pipe)
{
	ssize_t n;
	char byte;

	pipe = detach(pipe);
	if (!mem->huge)
		mlock(mem->base, mem->size); /* locks are not inherited */
	do
		n = read(pipe, &byte, 1);
	while (n > 0 || (n < 0 && errno == EINTR));
	if (*keeper->vm)
		metal_destroy(dev, *keeper->vm);
	_exit(0);
}

int metal_keeper_start(
	struct metal_keeper *keeper, const struct metal_device *dev, const struct metal_memory *mem)
{
	int pipe[2];

	keeper->pipe = -1;
	keeper->vm = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (keeper->vm == MAP_FAILED) {
		keeper->vm = NULL;
		return -ENOMEM;
	}
	if (pipe2(pipe, O_CLOEXEC))
		return -errno;
	keeper->pid = fork();
	if (!keeper->pid) {
		close(pipe[1]);
		keep(keeper, dev, mem, pipe[0]);
	}
	close(pipe[0]);
	keeper->pipe = pipe[1];
	return keeper->pid < 0 ? -EAGAIN : 0;
}

void metal_keeper_end(struct metal_keeper *keeper)
{
	if (keeper->pipe >= 0 && keeper->pid > 0) {
		close(keeper->pipe);
		while (waitpid(keeper->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	if (keeper->vm)
		munmap((void *)keeper->vm, PAGE_SIZE);
	*keeper = (struct metal_keeper){.pipe = -1};
}
