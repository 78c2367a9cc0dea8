/* SPDX-License-Identifier: MIT */
/* Consoles whose output goes to a file, or nowhere; they have no input. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/console_stdio.h"
#include "backend/outbuf.h"
#include "vm/vm.h"

#define FLUSH_NS 100000000

struct file {
	struct console console;
	struct vm *vm;
	struct outbuf out;
	struct timer flush_timer;
	int fd;
};

static void flush_now(void *arg)
{
	struct file *file = arg;

	outbuf_flush(&file->out);
}

static void output_ready(void *arg, u32 events)
{
	struct file *file = arg;

	(void)events;
	if (!vm_trylock(file->vm))
		return;
	outbuf_flush(&file->out);
	pthread_mutex_unlock(&file->vm->lock);
}

static void file_write(struct console *console, const u8 *data, size_t len)
{
	struct file *file = container_of(console, struct file, console);

	outbuf_put(&file->out, data, len, &file->vm->stop);
	if (file->out.len && file->flush_timer.deadline == CLOCK_NEVER)
		timer_arm(&file->vm->clock, &file->flush_timer, clock_now(&file->vm->clock) + FLUSH_NS);
}

static void ignore_input_enable(struct console *console, bool on)
{
	(void)console;
	(void)on;
}

static void file_finish(struct console *console)
{
	outbuf_drain(&container_of(console, struct file, console)->out);
}

static void file_close(struct console *console)
{
	struct file *file = container_of(console, struct file, console);

	timer_cancel(&file->vm->clock, &file->flush_timer);
	outbuf_fini(&file->out);
	close(file->fd);
	free(file);
}

static const struct console_ops file_ops = {
	.write = file_write,
	.input_enable = ignore_input_enable,
	.finish = file_finish,
	.close = file_close,
};

int console_file_create(
	const struct console_config *config, const char *path, struct console **out, struct err *err)
{
	struct file *file = calloc(1, sizeof(*file));
	int ret;

	if (!file)
		return err_set(err, ENOMEM, "out of memory");
	file->console.ops = &file_ops;
	file->console.lock = &config->vm->lock;
	file->vm = config->vm;
	timer_init(&file->flush_timer, flush_now, file);
	file->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOCTTY | O_NONBLOCK | O_CLOEXEC, 0666);
	if (file->fd < 0) {
		ret = err_set(err, errno, "cannot write console file %s: %s", path,
			errno == ENXIO ? "nobody reads that pipe" : strerror(errno));
		free(file);
		return ret;
	}
	ret = outbuf_init(&file->out, config->loop, file->fd, output_ready, file);
	if (ret) {
		close(file->fd);
		free(file);
		return err_set(err, -ret, "cannot write console file %s: %s", path, strerror(-ret));
	}
	*out = &file->console;
	return 0;
}

/* ---- nowhere ---- */

static void null_write(struct console *console, const u8 *data, size_t len)
{
	(void)console;
	(void)data;
	(void)len;
}

static void null_finish(struct console *console)
{
	(void)console;
}

static void null_close(struct console *console)
{
	free(console);
}

static const struct console_ops null_ops = {
	.write = null_write,
	.input_enable = ignore_input_enable,
	.finish = null_finish,
	.close = null_close,
};

int console_null_create(struct console **out)
{
	struct console *console = calloc(1, sizeof(*console));

	if (!console)
		return -ENOMEM;
	console->ops = &null_ops;
	*out = console;
	return 0;
}
