/* SPDX-License-Identifier: MIT */
/* The console on the user's terminal or pipes. */
#include "backend/console_stdio.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "backend/keys.h"
#include "backend/outbuf.h"
#include "backend/terminal.h"
#include "backend/typist.h"
#include "host/log.h"
#include "vm/vm.h"

#define CTRL_A 1
#define FLUSH_NS 1000000 /* a prompt without a newline appears after this */
#define READ_SIZE 4096

struct stdio {
	struct console console;
	struct console_config config;
	struct outbuf out;
	struct timer flush_timer;
	struct loop_source in;
	bool terminal; /* input */
	struct loop_signals resizes; /* when it is one */
	bool escape; /* the last key was Ctrl-A */
	struct keys keys; /* when it is one */
	struct typist typist; /* when it is not */
};

static void flush_now(void *arg)
{
	struct stdio *stdio = arg;

	outbuf_flush(&stdio->out);
}

static void output_ready(void *arg, u32 events)
{
	struct stdio *stdio = arg;

	(void)events;
	if (!vm_trylock(stdio->config.vm))
		return;
	outbuf_flush(&stdio->out);
	pthread_mutex_unlock(&stdio->config.vm->lock);
}

static void stdio_write(struct console *console, const u8 *data, size_t len)
{
	struct stdio *stdio = container_of(console, struct stdio, console);
	struct clock *clock = &stdio->config.vm->clock;

	outbuf_put(&stdio->out, data, len, &stdio->config.vm->stop);
	if (stdio->out.broken)
		vm_request_stop(stdio->config.vm, VM_QUIT, 1); /* as SIGPIPE would have it */
	if (stdio->out.len && stdio->flush_timer.deadline == CLOCK_NEVER)
		timer_arm(clock, &stdio->flush_timer, clock_now(clock) + FLUSH_NS);
	if (!stdio->terminal)
		typist_printed(&stdio->typist, data, len);
}

/* ---- keys of a terminal ---- */

static void keys_have_room(void *arg)
{
	struct stdio *stdio = arg;

	loop_watch(stdio->config.loop, &stdio->in, EPOLLIN);
}

static void show_help(void)
{
	log_line("keys: Ctrl-A x quits, Ctrl-A Ctrl-A sends Ctrl-A, Ctrl-A h shows this");
}

/* The key after a Ctrl-A. Returns true when it goes to the guest. */
static bool escaped_key(struct stdio *stdio, u8 key)
{
	switch (key) {
	case CTRL_A:
		return true;
	case 'x':
	case 'X':
		vm_request_stop(stdio->config.vm, VM_QUIT, 0);
		return false;
	case 'h':
	case '?':
		show_help();
		return false;
	default:
		return false;
	}
}

/* Leaves in keys what goes to the guest, and returns its length. */
static size_t take_escapes(struct stdio *stdio, u8 *keys, size_t len)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		u8 key = keys[i];

		if (stdio->escape) {
			stdio->escape = false;
			if (escaped_key(stdio, key))
				keys[n++] = key;
		} else if (key == CTRL_A) {
			stdio->escape = true;
		} else {
			keys[n++] = key;
		}
	}
	return n;
}

static void keys_ready(struct stdio *stdio, u8 *keys, size_t len)
{
	len = take_escapes(stdio, keys, len);
	if (!len || !vm_trylock(stdio->config.vm))
		return;
	keys_put(&stdio->keys, keys, len);
	if (keys_free(&stdio->keys) < READ_SIZE / 4)
		loop_watch(stdio->config.loop, &stdio->in, 0);
	pthread_mutex_unlock(&stdio->config.vm->lock);
}

/* ---- input that ends ---- */

static size_t type(void *ctx, const u8 *data, size_t len)
{
	struct stdio *stdio = ctx;

	return stdio->console.input ? stdio->console.input(stdio->console.arg, data, len) : 0;
}

static bool guest_idle(void *ctx)
{
	struct stdio *stdio = ctx;

	return vm_idle(stdio->config.vm);
}

static void typist_has_room(void *ctx)
{
	struct stdio *stdio = ctx;

	loop_watch(stdio->config.loop, &stdio->in, EPOLLIN);
}

static void press_button(void *ctx)
{
	struct stdio *stdio = ctx;

	if (stdio->config.power_button)
		stdio->config.power_button(stdio->config.arg);
}

static const struct typist_ops typist_ops = {
	.type = type,
	.idle = guest_idle,
	.room = typist_has_room,
	.power_button = press_button,
};

/* READ_SIZE characters fit whenever the source is watched. */
static void text_ready(struct stdio *stdio, const u8 *text, size_t len)
{
	pthread_mutex_lock(&stdio->config.vm->lock);
	if (len)
		typist_feed(&stdio->typist, text, len);
	else
		typist_end(&stdio->typist);
	if (!len || stdio->typist.len > TYPIST_BUFFER - READ_SIZE) {
		stdio->typist.full = len;
		loop_watch(stdio->config.loop, &stdio->in, 0);
	}
	pthread_mutex_unlock(&stdio->config.vm->lock);
}

static void input_ready(void *arg, u32 events)
{
	struct stdio *stdio = arg;
	u8 data[READ_SIZE];
	ssize_t n = read(stdio->in.fd, data, stdio->terminal ? READ_SIZE / 4 : READ_SIZE);

	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (!stdio->terminal)
		text_ready(stdio, data, n > 0 ? (size_t)n : 0);
	else if (n > 0)
		keys_ready(stdio, data, (size_t)n);
	else
		vm_request_stop(stdio->config.vm, VM_QUIT, 0); /* the terminal has gone */
}

/* ---- the object ---- */

static void stdio_input_enable(struct console *console, bool on)
{
	struct stdio *stdio = container_of(console, struct stdio, console);

	if (stdio->terminal)
		keys_enable(&stdio->keys, on);
	else
		typist_enable(&stdio->typist, on);
}

static void stdio_finish(struct console *console)
{
	struct stdio *stdio = container_of(console, struct stdio, console);

	outbuf_drain(&stdio->out);
	terminal_restore();
}

static void stdio_close(struct console *console)
{
	struct stdio *stdio = container_of(console, struct stdio, console);
	struct clock *clock = &stdio->config.vm->clock;

	timer_cancel(clock, &stdio->flush_timer);
	keys_fini(&stdio->keys);
	timer_cancel(clock, &stdio->typist.timer);
	if (stdio->in.fd >= 0)
		loop_remove(stdio->config.loop, &stdio->in);
	loop_signals_fini(stdio->config.loop, &stdio->resizes);
	outbuf_fini(&stdio->out);
	terminal_restore();
	free(stdio);
}

static const struct console_ops stdio_ops = {
	.write = stdio_write,
	.input_enable = stdio_input_enable,
	.finish = stdio_finish,
	.close = stdio_close,
};

static void take_size(struct console *console)
{
	struct winsize size;

	if (ioctl(STDIN_FILENO, TIOCGWINSZ, &size))
		return;
	console->columns = size.ws_col;
	console->rows = size.ws_row;
}

static void resized(void *arg, int signo)
{
	struct stdio *stdio = arg;
	struct console *console = &stdio->console;

	(void)signo;
	pthread_mutex_lock(console->lock);
	take_size(console);
	if (console->resized)
		console->resized(console->arg);
	pthread_mutex_unlock(console->lock);
}

static int watch_size(struct stdio *stdio)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGWINCH);
	take_size(&stdio->console);
	return loop_signals_init(stdio->config.loop, &stdio->resizes, &set, resized, stdio);
}

/* A closed stdin is one that has ended already. */
static int open_input(struct stdio *stdio)
{
	int ret;

	stdio->in = (struct loop_source){.fd = STDIN_FILENO, .ready = input_ready, .arg = stdio};
	stdio->terminal = isatty(STDIN_FILENO);
	if (stdio->terminal) {
		ret = terminal_raw(STDIN_FILENO);
		if (!ret)
			ret = watch_size(stdio);
		if (ret)
			return ret;
	}
	ret = loop_add(stdio->config.loop, &stdio->in, EPOLLIN);
	if (ret != -EBADF)
		return ret;
	stdio->in.fd = -1;
	typist_end(&stdio->typist);
	return 0;
}

int console_stdio_create(const struct console_config *config, struct console **out, struct err *err)
{
	struct stdio *stdio = calloc(1, sizeof(*stdio));
	int ret;

	if (!stdio)
		return err_set(err, ENOMEM, "out of memory");
	stdio->console.ops = &stdio_ops;
	stdio->console.lock = &config->vm->lock;
	stdio->config = *config;
	timer_init(&stdio->flush_timer, flush_now, stdio);
	keys_init(&stdio->keys, &stdio->console, &config->vm->clock, keys_have_room, stdio);
	typist_init(&stdio->typist, &config->vm->clock, &typist_ops, stdio);
	ret = outbuf_init(&stdio->out, config->loop, STDOUT_FILENO, output_ready, stdio);
	if (ret) {
		free(stdio);
		return err_set(err, -ret, "cannot write to standard output");
	}
	ret = open_input(stdio);
	if (ret) {
		stdio_close(&stdio->console);
		return err_set(err, -ret, "cannot read from standard input");
	}
	*out = &stdio->console;
	return 0;
}

void console_stdio_restart(struct console *console)
{
	struct stdio *stdio;

	if (console->ops != &stdio_ops)
		return;
	stdio = container_of(console, struct stdio, console);
	typist_restart(&stdio->typist);
}
