/* SPDX-License-Identifier: MIT */
/* `mullion run`: builds the machine, runs it as often as it resets, and says how it ended. */
#include "main/run.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "host/log.h"
#include "main/dump.h"
#include "main/engines.h"
#include "main/images.h"
#include "main/machine.h"
#include "main/machine_nets.h"

struct runner {
	const struct vm_config *config;
	struct loop loop;
	struct loop_signals signals;
	struct loop_timer timeout;
	struct machine machine;
	char kernel[PATH_MAX], initrd[PATH_MAX];
};

static void print_stats(struct machine *m)
{
	struct vm *vm = &m->vm;

	for (unsigned i = 0; i < vm->nvcpus; i++)
		fprintf(stderr, "vcpu %u: halts %llu\n", i, (unsigned long long)vm->vcpu[i].halts);
	if (vm->engine->stats && vm->engine_ready)
		vm->engine->stats(vm, stderr);
	machine_print_nets(m, stderr);
	fflush(stderr);
}

/* ---- what the loop tells us ---- */

static void got_signal(void *arg, int signo)
{
	struct runner *r = arg;

	if (signo == SIGUSR1)
		print_stats(&r->machine);
	else
		vm_request_stop(&r->machine.vm, VM_QUIT, STATUS_SIGNAL + signo);
}

static void timed_out(void *arg)
{
	struct runner *r = arg;

	loop_timer_taken(&r->timeout);
	vm_request_stop(&r->machine.vm, VM_TIMEOUT, 0);
}

static void vm_stopped(struct vm *vm)
{
	struct machine *m = container_of(vm, struct machine, vm);

	loop_stop(m->loop);
}

static int watch_signals(struct runner *r)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGUSR1);
	signal(SIGPIPE, SIG_IGN);
	return loop_signals_init(&r->loop, &r->signals, &set, got_signal, r);
}

static int start_timeout(struct runner *r)
{
	struct timespec now;
	int ret;

	if (!r->config->timeout_ns)
		return 0;
	ret = loop_timer_init(&r->loop, &r->timeout, timed_out, r);
	if (ret)
		return ret;
	clock_gettime(CLOCK_MONOTONIC, &now);
	loop_timer_set(&r->timeout, (u64)now.tv_sec * 1000000000 + (u64)now.tv_nsec + r->config->timeout_ns);
	return 0;
}

/* ---- before ---- */

/* Without --kernel: the default kernel, and its initrd unless one was given. */
static int find_images(struct runner *r, struct err *err)
{
	struct machine *m = &r->machine;
	int ret;

	m->kernel = r->config->kernel;
	m->initrd = r->config->initrd;
	m->append = r->config->append ? r->config->append : DEFAULT_COMMAND_LINE;
	if (m->kernel)
		return 0;
	if (r->config->image && access(r->config->image, R_OK) && !strstr(r->config->image, "://"))
		return err_set(err, errno, "cannot open image %s: %s", r->config->image, strerror(errno));
	m->kernel = r->kernel;
	ret = images_find(DEFAULT_KERNEL, r->kernel, err);
	if (ret || m->initrd)
		return ret;
	m->initrd = r->initrd;
	return images_find(DEFAULT_INITRD, r->initrd, err);
}

static int prepare(struct runner *r, const struct tsc_sample *started, struct err *err)
{
	const struct engine_ops *engine;
	char why[256];
	int ret;

	engine = engines_choose(r->config->engine, why, sizeof(why));
	if (!engine)
		return err_set(err, ENODEV, "engine %s does not run here: %s",
			r->config->engine ? r->config->engine : "auto", why);
	if (r->config->private_memory && !engine->private_memory)
		return err_set(
			err, EINVAL, "--private-memory: engine %s cannot do that; metal can", engine->name);
	ret = machine_create(&r->machine, &r->loop, engine, r->config, started, err);
	if (!ret)
		ret = find_images(r, err);
	if (!ret)
		ret = machine_load(&r->machine, err);
	if (ret)
		return ret;
	r->machine.vm.stopped = vm_stopped;
	log_line("engine %s (%s); %s", engine->name, why,
		r->config->console == CONSOLE_STDIO ? "Ctrl-A x quits" : "Ctrl-C quits");
	return 0;
}

/* ---- during ---- */

/* One run of the guest, from its kernel's entry to whatever ends it. */
static int run_once(struct runner *r)
{
	struct vm *vm = &r->machine.vm;
	int ret = vm_start(vm);

	if (ret)
		vm_request_stop(vm, VM_ERROR, 0);
	else
		ret = loop_run(&r->loop);
	vm_request_stop(vm, VM_ERROR, 0); /* nothing, unless the loop failed */
	vm_join(vm);
	if (ret)
		log_line("the VM could not be run: %s", strerror(-ret));
	return ret;
}

/* Should the guest run again? */
static bool wants_reset(const struct runner *r)
{
	int stop = r->machine.vm.stop;

	return !r->config->no_reboot && (stop == VM_RESET || stop == VM_TRIPLE_FAULT);
}

static bool reset(struct runner *r)
{
	struct err err;

	if (r->machine.vm.stop == VM_TRIPLE_FAULT)
		log_line("triple fault at rip %#llx: the VM resets",
			(unsigned long long)r->machine.vm.vcpu[0].regs.rip);
	machine_reset(&r->machine);
	loop_restart(&r->loop);
	if (!machine_load(&r->machine, &err))
		return true;
	log_line("%s", err.text);
	r->machine.vm.stop = VM_ERROR;
	return false;
}

static void run_until_end(struct runner *r)
{
	do {
		if (run_once(r))
			return;
	} while (wants_reset(r) && reset(r));
}

/* ---- after ---- */

/* What stopped the VM, and the registers with it. */
static void report(struct vm *vm, const char *what)
{
	log_line("%s", what);
	dump_registers(stderr, &vm->vcpu[0].regs);
	fflush(stderr);
}

static int status_of(struct vm *vm)
{
	switch ((enum vm_stop)vm->stop) {
	case VM_POWEROFF:
	case VM_RESET:
		return STATUS_OK;
	case VM_QUIT:
	case VM_DEBUG_EXIT:
		return vm->stop_code;
	case VM_TIMEOUT:
		log_line("timeout");
		return STATUS_TIMEOUT;
	case VM_TRIPLE_FAULT:
		report(vm, "triple fault");
		return STATUS_TRIPLE_FAULT;
	default:
		report(vm, "a fault of mullion itself stopped the VM");
		return STATUS_FAULT;
	}
}

static void finish(struct runner *r)
{
	if (r->machine.loop)
		machine_destroy(&r->machine);
	loop_timer_fini(&r->loop, &r->timeout);
	loop_signals_fini(&r->loop, &r->signals);
	loop_fini(&r->loop);
}

/*
 * The guest's last words come before ours. Their reader may be slow, so from
 * here on a signal ends the process.
 */
static int conclude(struct runner *r)
{
	struct console *console = r->machine.console;
	int status;

	loop_signals_fini(&r->loop, &r->signals);
	console->ops->finish(console);
	status = status_of(&r->machine.vm);
	if (r->config->stats)
		print_stats(&r->machine);
	return status;
}

static int run(const struct invocation *call)
{
	static struct runner r; /* large, and there is one */
	struct err err = {"out of file descriptors or memory"};
	int status = STATUS_USAGE;
	int ret;

	r.config = call->config;
	ret = config_finish(call->config, &err);
	if (!ret)
		ret = loop_init(&r.loop);
	if (!ret)
		ret = watch_signals(&r);
	if (!ret)
		ret = prepare(&r, call->started, &err);
	if (!ret)
		ret = start_timeout(&r);
	if (!ret) {
		run_until_end(&r);
		status = conclude(&r);
	}
	finish(&r);
	if (ret)
		log_line("%s", err.text);
	return status;
}

const struct command command_run = {
	.name = "run",
	.words = "[IMAGE | FILE.json]",
	.max_words = 1,
	.vm = true,
	.help = "boot a VM; without an image or options, Debian's cloud kernel to a shell on this terminal",
	.more = "Keys: Ctrl-A x quits, Ctrl-A Ctrl-A sends Ctrl-A, Ctrl-A h shows help.\n"
		"Input from a pipe or file is typed; at its end the VM is asked to power off.\n"
		"\n"
		"Exit status: 0 power-off, 2 wrong usage or file, 3 triple fault (with --no-reboot),\n"
		"124 timeout, 128 + N killed by signal N, 1 a fault of mullion itself.\n",
	.run = run,
};
