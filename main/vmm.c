/* SPDX-License-Identifier: MIT */
/* A VM's process: builds the machine, runs it as often as it resets, and says how it ended. */
#include "main/vmm.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "host/log.h"
#include "main/confine.h"
#include "main/control.h"
#include "main/dump.h"
#include "main/engines.h"
#include "main/machine_console.h"
#include "main/machine_nets.h"
#include "main/machine_virtio.h"

#define PRESS_NS 5000000000ull /* a guest that was not ready for the power button gets another try */
#define STATUS_KILLED (STATUS_SIGNAL + SIGKILL)

u64 vmm_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (u64)now.tv_sec * 1000000000 + (u64)now.tv_nsec;
}

void vmm_print_stats(struct vmm *r, FILE *out)
{
	struct machine *m = &r->machine;
	struct vm *vm = &m->vm;

	for (unsigned i = 0; i < vm->nvcpus; i++)
		fprintf(out, "vcpu %u: halts %llu\n", i, (unsigned long long)vm->vcpu[i].halts);
	if (vm->engine->stats && vm->engine_ready)
		vm->engine->stats(vm, out);
	machine_print_nets(m, out);
	machine_print_virtio(m, out);
	fflush(out);
}

/* ---- what the loop tells us ---- */

static void got_signal(void *arg, int signo)
{
	struct vmm *r = arg;

	if (signo == SIGUSR1)
		vmm_print_stats(r, stderr);
	else
		vm_request_stop(&r->machine.vm, VM_QUIT, STATUS_SIGNAL + signo);
}

static void timed_out(void *arg)
{
	struct vmm *r = arg;

	loop_timer_taken(&r->timeout);
	vm_request_stop(&r->machine.vm, VM_TIMEOUT, 0);
}

static void vm_stopped(struct vm *vm)
{
	struct machine *m = container_of(vm, struct machine, vm);

	loop_stop(m->loop);
}

static int watch_signals(struct vmm *r)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGUSR1);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* a limit on files is an error like others */
	return loop_signals_init(&r->loop, &r->signals, &set, got_signal, r);
}

static int start_timeout(struct vmm *r)
{
	int ret;

	if (!r->config.timeout_ns)
		return 0;
	ret = loop_timer_init(&r->loop, &r->timeout, timed_out, r);
	if (!ret)
		loop_timer_set(&r->timeout, vmm_now() + r->config.timeout_ns);
	return ret;
}

/* ---- a graceful stop ---- */

static void stop_step(void *arg)
{
	struct vmm *r = arg;
	u64 now = vmm_now();

	loop_timer_taken(&r->stop_timer);
	if (now >= r->stop_deadline) {
		log_line("the guest did not power off in time");
		vm_request_stop(&r->machine.vm, VM_QUIT, STATUS_KILLED);
		return;
	}
	if (vm_trylock(&r->machine.vm)) {
		machine_power_button(&r->machine);
		pthread_mutex_unlock(&r->machine.vm.lock);
	}
	loop_timer_set(&r->stop_timer, MIN(r->stop_deadline, now + PRESS_NS));
}

void vmm_stop(struct vmm *r, u64 seconds)
{
	u64 deadline = vmm_now() + seconds * 1000000000;

	if (!r->stop_deadline || deadline < r->stop_deadline)
		r->stop_deadline = deadline;
	stop_step(r);
}

/* ---- before ---- */

/* In the background, the terminal's place is taken by the control socket and a log. */
static int choose_console(struct vmm *r, struct err *err)
{
	struct vm_config *config = &r->config;
	int ret;

	if (!r->start->detached)
		return 0;
	if (config->console == CONSOLE_STDIO)
		config->console = CONSOLE_SOCKET;
	if (config->console_log || (config->console != CONSOLE_SOCKET && config->console != CONSOLE_PTY))
		return 0;
	ret = state_path(STATE_KEPT, config->name, "console.log", r->console_log, err);
	config->console_log = r->console_log;
	return ret;
}

/*
 * The VM becomes known to the other commands. Without a name and in the foreground, it need not.
 */
static int make_known(struct vmm *r, struct err *err)
{
	char path[PATH_MAX];
	struct err why;
	int ret = state_claim(&r->claim, r->config.name, &why);

	if (!ret)
		ret = state_write_pid(&r->claim, &why);
	if (!ret)
		ret = state_path(STATE_RUN, r->config.name, "control.sock", path, &why);
	if (!ret)
		ret = control_open(r, path, &why);
	if (!ret && r->start->detached)
		ret = state_make(STATE_KEPT, r->config.name, &why);
	if (!ret || !(r->start->named || r->start->detached))
		return 0;
	return err_set(err, -ret, "%s", why.text);
}

static int choose_engine(const struct vm_config *config, const struct engine_ops **engine, char *why,
	size_t len, struct err *err)
{
	*engine = engines_choose(config->engine, why, len);
	if (!*engine)
		return err_set(err, ENODEV, "engine %s does not run here: %s",
			config->engine ? config->engine : "auto", why);
	if (config->private_memory && !(*engine)->private_memory)
		return err_set(err, EINVAL, "--private-memory: engine %s cannot do that; metal can",
			(*engine)->name);
	return 0;
}

static int prepare(struct vmm *r, struct err *err)
{
	const struct engine_ops *engine;
	char why[256];
	int ret = choose_engine(&r->config, &engine, why, sizeof(why), err);

	if (!ret)
		ret = make_known(r, err);
	if (!ret)
		ret = choose_console(r, err);
	if (!ret)
		ret = machine_create(&r->machine, &r->loop, engine, &r->config, r->start->started, err);
	if (!ret)
		ret = hotplug_init(&r->hotplug, &r->machine);
	if (!ret)
		ret = kernel_find(&r->machine, &r->files, err);
	if (!ret)
		ret = machine_load(&r->machine, err);
	if (ret)
		return ret;
	r->machine.vm.stopped = vm_stopped;
	if (!r->start->detached)
		log_line("engine %s (%s); %s", engine->name, why,
			r->config.console == CONSOLE_STDIO ? "Ctrl-A x quits" : "Ctrl-C quits");
	return 0;
}

/* ---- the background ---- */

static int open_log(const struct vmm *r)
{
	char path[PATH_MAX];

	if (state_path(STATE_KEPT, r->config.name, "vmm.log", path, NULL))
		return open("/dev/null", O_WRONLY | O_CLOEXEC);
	return open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
}

/* What takes the terminal's place, while such files can be opened. */
static int prepare_detach(struct vmm *r, struct err *err)
{
	r->null = open("/dev/null", O_RDWR | O_CLOEXEC);
	r->log = open_log(r);
	return r->null < 0 || r->log < 0 ? err_set(err, errno, "cannot open the log: %s", strerror(errno)) : 0;
}

/* The VM runs: from here on it has no terminal and no folder, and whoever started it may go. */
static int detach(struct vmm *r)
{
	int null = r->null, log = r->log;
	int ret = chdir("/") ? -errno : 0;

	if (!ret && write(r->start->ready, "", 1) != 1)
		ret = -EPIPE; /* he has gone already */
	close(r->start->ready);
	if (!ret && (dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0 ||
			    dup2(log, STDERR_FILENO) < 0))
		ret = -errno;
	close(null);
	close(log);
	return ret;
}

/* Before the guest's first instruction. */
static int begin(struct vmm *r)
{
	r->ran_since = vmm_now();
	return r->start->detached ? detach(r) : 0;
}

/* ---- during ---- */

/* One run of the guest, from its kernel's entry to whatever ends it. */
static int run_once(struct vmm *r)
{
	struct vm *vm = &r->machine.vm;
	int ret = vm_start(vm);

	if (!ret && !r->ran_since)
		ret = begin(r);
	if (ret)
		vm_request_stop(vm, VM_ERROR, 0);
	else
		ret = loop_run(&r->loop);
	vm_request_stop(vm, VM_ERROR, 0); /* nothing, unless the loop failed */
	/* A vCPU may be waiting for a file system or a helper that hangs: another signal does not wait for it. */
	if (vm->stop == VM_QUIT)
		loop_signals_fini(&r->loop, &r->signals);
	vm_join(vm);
	if (ret)
		log_line("the VM could not be run: %s", strerror(-ret));
	return ret;
}

/* Should the guest run again? */
static bool wants_reset(const struct vmm *r)
{
	int stop = r->machine.vm.stop;

	return !r->config.no_reboot && (stop == VM_RESET || stop == VM_TRIPLE_FAULT);
}

static bool reset(struct vmm *r)
{
	struct err err;

	if (r->machine.vm.stop == VM_TRIPLE_FAULT)
		log_line("triple fault at rip %#llx: the VM resets",
			(unsigned long long)r->machine.vm.vcpu[0].regs.rip);
	control_event(r, "reset", NULL, 0);
	r->resets++;
	machine_reset(&r->machine);
	loop_restart(&r->loop);
	if ((!r->machine.inside || !kernel_find(&r->machine, &r->files, &err)) &&
		!machine_load(&r->machine, &err))
		return true;
	log_line("%s", err.text);
	r->machine.vm.stop = VM_ERROR;
	return false;
}

static void run_until_end(struct vmm *r)
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

static const char *const how[] = {
	[VM_POWEROFF] = "power-off",
	[VM_RESET] = "reset",
	[VM_TRIPLE_FAULT] = "triple fault",
	[VM_DEBUG_EXIT] = "debug exit",
	[VM_QUIT] = "quit",
	[VM_TIMEOUT] = "timeout",
	[VM_ERROR] = "fault",
};

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

/* Of a VM that is kept: how it ended, for mullion ps. */
static void write_last(const struct vmm *r, int status)
{
	char path[PATH_MAX], text[128];

	if (!r->start->detached || r->claim.lock < 0 ||
		state_path(STATE_KEPT, r->config.name, "last.json", path, NULL))
		return;
	snprintf(text, sizeof(text), "{\"status\": %d, \"how\": \"%s\", \"ended\": %lld}\n", status,
		how[r->machine.vm.stop], (long long)time(NULL));
	state_write(path, text, false, NULL);
}

static void finish(struct vmm *r)
{
	ctl_close(&r->control);
	hotplug_fini(&r->hotplug);
	if (r->machine.loop)
		machine_destroy(&r->machine);
	kernel_forget(&r->files);
	loop_timer_fini(&r->loop, &r->stop_timer);
	loop_timer_fini(&r->loop, &r->timeout);
	loop_signals_fini(&r->loop, &r->signals);
	loop_fini(&r->loop);
	if (r->start->forget && r->claim.lock >= 0)
		state_forget(r->config.name);
	state_release(&r->claim);
}

/*
 * The guest's last words come before ours. Their reader may be slow, so from
 * here on a signal ends the process.
 */
static int conclude(struct vmm *r)
{
	struct console *console = r->machine.console;
	int status;

	loop_signals_fini(&r->loop, &r->signals);
	console->ops->finish(console);
	status = status_of(&r->machine.vm);
	if (r->config.stats)
		vmm_print_stats(r, stderr);
	write_last(r, status);
	control_event(r, "ended", how[r->machine.vm.stop], status);
	return status;
}

static int set_up(struct vmm *r, struct err *err)
{
	int ret = config_finish(r->start->config, err);

	r->config = *r->start->config;
	if (!ret)
		ret = loop_init(&r->loop);
	if (!ret)
		ret = watch_signals(r);
	if (!ret)
		ret = loop_timer_init(&r->loop, &r->stop_timer, stop_step, r);
	if (!ret)
		ret = prepare(r, err);
	if (!ret)
		ret = start_timeout(r);
	if (!ret && r->start->detached)
		ret = prepare_detach(r, err);
	return ret ? ret : vmm_confine(r, err);
}

int vmm_run(const struct vmm_start *start)
{
	static struct vmm r = {
		.claim.lock = -1, .loop.epoll = -1, .loop.wake.fd = -1}; /* large, and there is one */
	struct err err = {"out of file descriptors or memory"};
	int status = STATUS_USAGE;
	int ret;

	r.start = start;
	ret = set_up(&r, &err);
	if (!ret) {
		run_until_end(&r);
		status = conclude(&r);
	}
	finish(&r);
	if (ret)
		log_line("%s", err.text);
	return status;
}
