/* SPDX-License-Identifier: MIT */
/* The user's terminal in raw mode. */
#include "backend/terminal.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#include "lib/types.h"

/* There is one terminal, and a signal handler has to find it. */
static struct termios old_mode;
static volatile sig_atomic_t raw_fd = -1;

static const int deadly[] = {SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGQUIT, SIGSEGV};

void terminal_restore(void)
{
	int fd = raw_fd;

	raw_fd = -1;
	if (fd >= 0)
		tcsetattr(fd, TCSADRAIN, &old_mode);
}

static void die(int signo)
{
	terminal_restore();
	raise(signo); /* SA_RESETHAND has put the default action back */
}

/* An engine that uses one of these takes it over later, and hands on what is not its own. */
static void catch_deadly(void)
{
	struct sigaction action = {.sa_handler = die, .sa_flags = (int)(SA_RESETHAND | SA_NODEFER)};

	for (size_t i = 0; i < ARRAY_SIZE(deadly); i++)
		sigaction(deadly[i], &action, NULL);
}

int terminal_raw(int fd)
{
	struct termios mode;

	if (tcgetattr(fd, &old_mode))
		return -errno;
	mode = old_mode;
	cfmakeraw(&mode);
	mode.c_oflag |= OPOST; /* our own lines end in a bare newline */
	if (tcsetattr(fd, TCSANOW, &mode))
		return -errno;
	raw_fd = fd;
	atexit(terminal_restore);
	catch_deadly();
	return 0;
}
