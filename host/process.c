/* SPDX-License-Identifier: MIT */
/* Helper programs. */
#include "host/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define FIRST_PASSED 3 /* where systemd's protocol has its first socket */

/* ---- in the child ---- */

static void defaults(void)
{
	sigset_t none;

	for (int signo = 1; signo < NSIG; signo++)
		signal(signo, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid(); /* a key on our terminal is not for it */
}

void process_close_all_but(int fd)
{
	if (fd > FIRST_PASSED)
		close_range(FIRST_PASSED, (unsigned)fd - 1, 0);
	close_range((unsigned)fd + 1, ~0u, 0);
}

static void place(int fd, int as)
{
	if (fd < 0)
		fd = open("/dev/null", O_RDWR);
	dup2(fd, as);
}

__attribute__((noreturn)) static void become(const struct process_spec *spec, pid_t parent)
{
	int passed = spec->listen >= 0 ? spec->listen : spec->pass;
	char pid[16];

	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		_exit(127);
	defaults();
	/* Out of the way of the descriptors that are about to be taken. */
	if (passed >= 0)
		passed = fcntl(passed, F_DUPFD, 10);
	place(-1, STDIN_FILENO);
	place(spec->out, STDOUT_FILENO);
	place(spec->err, STDERR_FILENO);
	if (passed >= 0) {
		dup2(passed, FIRST_PASSED);
		close(passed);
	}
	if (spec->listen >= 0) {
		snprintf(pid, sizeof(pid), "%d", (int)getpid());
		setenv("LISTEN_PID", pid, 1);
		setenv("LISTEN_FDS", "1", 1);
	}
	execvp(spec->argv[0], (char *const *)spec->argv);
	dprintf(STDERR_FILENO, "%s: %s\n", spec->argv[0], strerror(errno));
	_exit(127);
}

/* ---- in the parent ---- */

#define CHILDREN 32

static pid_t children[CHILDREN]; /* 0: free; one too many is only not in the list */

static void replace_child(pid_t old, pid_t new)
{
	unsigned i = 0;

	while (i < CHILDREN && children[i] != old)
		i++;
	if (i < CHILDREN)
		children[i] = new;
}

unsigned process_list(pid_t *pids, unsigned max)
{
	unsigned n = 0;

	for (unsigned i = 0; i < CHILDREN && n < max; i++) {
		if (children[i])
			pids[n++] = children[i];
	}
	return n;
}

int process_start(const struct process_spec *spec, pid_t *pid)
{
	pid_t parent = getpid(), child = fork();

	if (child < 0)
		return -errno;
	if (!child)
		become(spec, parent);
	replace_child(0, child);
	*pid = child;
	return 0;
}

static int status_of(int status)
{
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

int process_wait(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return -errno;
	}
	replace_child(pid, 0);
	return status_of(status);
}

void process_stop(pid_t pid, unsigned seconds)
{
	const struct timespec moment = {.tv_nsec = 5000000};
	int status;

	kill(pid, SIGTERM);
	for (unsigned i = 0; i < 200 * seconds; i++) {
		if (waitpid(pid, &status, WNOHANG)) {
			replace_child(pid, 0);
			return;
		}
		nanosleep(&moment, NULL);
	}
	kill(pid, SIGKILL);
	process_wait(pid);
}

/* Its session is its own (see defaults), and so is its group. */
void process_kill(pid_t pid)
{
	kill(-pid, SIGKILL);
	kill(pid, SIGKILL);
}

/* ---- to its end ---- */

struct capture {
	int fd;
	char *text;
	size_t len, size;
};

/* False at the end of the file. What does not fit is dropped. */
static bool take(struct capture *c)
{
	char rest[4096];
	ssize_t n = read(c->fd, rest, sizeof(rest));

	if (n < 0)
		return errno == EINTR || errno == EAGAIN;
	if (c->text && c->size) {
		size_t fits = MIN((size_t)n, c->size - 1 - c->len);

		memcpy(c->text + c->len, rest, fits);
		c->len += fits;
		c->text[c->len] = 0;
	}
	return n > 0;
}

static void take_all(struct capture *c, unsigned n)
{
	struct pollfd fds[2];

	for (unsigned open = n; open;) {
		for (unsigned i = 0; i < n; i++)
			fds[i] = (struct pollfd){.fd = c[i].fd, .events = POLLIN};
		if (poll(fds, n, -1) < 0 && errno != EINTR)
			return;
		for (unsigned i = 0; i < n; i++) {
			if (fds[i].revents && !take(&c[i])) {
				close(c[i].fd);
				c[i].fd = -1; /* poll passes it over */
				open--;
			}
		}
	}
}

int process_run(const char *const *argv, char *out, size_t out_len, char *err, size_t err_len)
{
	int outs[2], errs[2], ret;
	pid_t pid = 0;

	if (out_len && out)
		*out = 0;
	if (err_len)
		*err = 0;
	if (pipe2(outs, O_CLOEXEC))
		return -errno;
	if (pipe2(errs, O_CLOEXEC)) {
		ret = -errno;
		close(outs[0]);
		close(outs[1]);
		return ret;
	}
	ret = process_start(
		&(struct process_spec){
			.argv = argv, .out = outs[1], .err = errs[1], .listen = -1, .pass = -1},
		&pid);
	close(outs[1]);
	close(errs[1]);
	if (ret) {
		close(outs[0]);
		close(errs[0]);
		return ret;
	}
	take_all((struct capture[]){{outs[0], out, 0, out_len}, {errs[0], err, 0, err_len}}, 2);
	return process_wait(pid);
}
