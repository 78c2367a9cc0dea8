/* SPDX-License-Identifier: MIT */
/* The commands of a running VM's control socket. */
#include "main/control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "backend/console_hub.h"
#include "ctl/request.h"
#include "dev/virtio/balloon.h"
#include "main/machine_console.h"

#define STOP_SECONDS 30
#define STOP_MAX 86400

static const char *const console_names[] = {
	[CONSOLE_STDIO] = "stdio",
	[CONSOLE_FILE] = "file",
	[CONSOLE_PTY] = "pty",
	[CONSOLE_SOCKET] = "socket",
	[CONSOLE_NONE] = "none",
};

/* ---- what it is and how it is ---- */

static double uptime(const struct vmm *vmm)
{
	return vmm->ran_since ? (double)(vmm_now() - vmm->ran_since) / 1e9 : 0;
}

static int status(struct ctl_call *call, struct err *err)
{
	struct vmm *vmm = call->ctx;
	const struct vm_config *config = &vmm->config;
	cJSON *labels = cJSON_AddArrayToObject(call->result, "labels");

	(void)err;
	cJSON_AddStringToObject(call->result, "name", config->name);
	cJSON_AddStringToObject(call->result, "state", vmm->stop_deadline ? "stopping" : "running");
	cJSON_AddStringToObject(call->result, "engine", vmm->machine.vm.engine->name);
	cJSON_AddNumberToObject(call->result, "pid", getpid());
	cJSON_AddNumberToObject(call->result, "uptime", uptime(vmm));
	cJSON_AddNumberToObject(call->result, "memory", (double)config->memory);
	cJSON_AddNumberToObject(call->result, "cpus", config->cpus);
	cJSON_AddStringToObject(call->result, "image", config->image ? config->image : vmm->machine.kernel);
	cJSON_AddNumberToObject(call->result, "resets", vmm->resets);
	cJSON_AddStringToObject(call->result, "console", console_names[config->console]);
	if (*vmm->machine.console_terminal)
		cJSON_AddStringToObject(call->result, "terminal", vmm->machine.console_terminal);
	if (config->console_log)
		cJSON_AddStringToObject(call->result, "console-log", config->console_log);
	for (unsigned i = 0; i < config->nlabels; i++)
		cJSON_AddItemToArray(labels, cJSON_CreateString(config->label[i]));
	cJSON_AddStringToObject(call->result, "version", MULLION_VERSION);
	cJSON_AddNumberToObject(call->result, "protocol", CTL_PROTOCOL);
	return 0;
}

static int inspect(struct ctl_call *call, struct err *err)
{
	struct vmm *vmm = call->ctx;
	char *text = config_print(vmm->start->config, true);

	if (!text)
		return err_set(err, ENOMEM, "out of memory");
	cJSON_AddItemToObject(call->result, "config", cJSON_Parse(text));
	free(text);
	return 0;
}

static double seconds(const struct timeval *time)
{
	return (double)time->tv_sec + (double)time->tv_usec / 1e6;
}

static int statm = -1; /* opened before the sandbox closes */

static u64 resident(void)
{
	unsigned long long size, pages = 0;
	char text[128] = "";

	if (statm < 0 || pread(statm, text, sizeof(text) - 1, 0) < 0 ||
		sscanf(text, "%llu %llu", &size, &pages) != 2)
		return 0;
	return pages * PAGE_SIZE;
}

static int stats(struct ctl_call *call, struct err *err)
{
	struct vmm *vmm = call->ctx;
	cJSON *vcpus = cJSON_AddArrayToObject(call->result, "vcpus");
	struct rusage usage;
	char *text = NULL;
	size_t len;
	FILE *out;

	(void)err;
	getrusage(RUSAGE_SELF, &usage);
	cJSON_AddNumberToObject(call->result, "uptime", uptime(vmm));
	cJSON_AddNumberToObject(
		call->result, "cpu-seconds", seconds(&usage.ru_utime) + seconds(&usage.ru_stime));
	cJSON_AddNumberToObject(call->result, "resident", (double)resident());
	cJSON_AddNumberToObject(call->result, "memory", (double)vmm->config.memory);
	for (unsigned i = 0; i < vmm->machine.vm.nvcpus; i++) {
		cJSON *vcpu = cJSON_CreateObject();

		cJSON_AddNumberToObject(vcpu, "halts", (double)vmm->machine.vm.vcpu[i].halts);
		cJSON_AddItemToArray(vcpus, vcpu);
	}
	out = open_memstream(&text, &len);
	if (out) {
		vmm_print_stats(vmm, out);
		fclose(out);
		cJSON_AddStringToObject(call->result, "counters", text);
		free(text);
	}
	return 0;
}

/* ---- its life ---- */

static int stop(struct ctl_call *call, struct err *err)
{
	struct vmm *vmm = call->ctx;
	u64 time = STOP_SECONDS;
	int ret = ctl_arg_number(call, "time", STOP_MAX, &time, err);

	if (ret)
		return ret;
	control_event(vmm, "stopping", NULL, 0);
	vmm_stop(vmm, time);
	return 0;
}

static int kill_now(struct ctl_call *call, struct err *err)
{
	struct vmm *vmm = call->ctx;

	(void)err;
	vm_request_stop(&vmm->machine.vm, VM_QUIT, STATUS_SIGNAL + SIGKILL);
	return 0;
}

static int reset(struct ctl_call *call, struct err *err)
{
	struct vmm *vmm = call->ctx;

	(void)err;
	vm_request_stop(&vmm->machine.vm, VM_RESET, 0);
	return 0;
}

static int power_button(struct ctl_call *call, struct err *err)
{
	struct vmm *vmm = call->ctx;

	if (!vm_trylock(&vmm->machine.vm))
		return err_set(err, EBUSY, "the machine is busy; try again");
	machine_power_button(&vmm->machine);
	pthread_mutex_unlock(&vmm->machine.vm.lock);
	return 0;
}

/* With a target, the guest is to give that much; in any case, how things stand. */
static int balloon(struct ctl_call *call, struct err *err)
{
	struct vmm *vmm = call->ctx;
	struct virtio *vdev = vmm->machine.balloon;
	const struct balloon_figures *figures;
	u64 target;
	int ret;

	if (!vdev)
		return err_set(err, ENOTSUP, "%s has no balloon; --balloon gives it one", vmm->config.name);
	figures = virtio_balloon_figures(vdev);
	target = figures->target;
	ret = ctl_arg_number(call, "target", vmm->config.memory, &target, err);
	if (ret)
		return ret;
	if (!vm_trylock(&vmm->machine.vm))
		return err_set(err, EBUSY, "the machine is busy; try again");
	if (target != figures->target)
		virtio_balloon_set(vdev, target);
	virtio_balloon_refresh(vdev);
	cJSON_AddNumberToObject(call->result, "target", (double)figures->target);
	cJSON_AddNumberToObject(call->result, "actual", (double)figures->actual);
	cJSON_AddNumberToObject(call->result, "reported", (double)figures->reported);
	cJSON_AddNumberToObject(call->result, "dropped", (double)figures->dropped);
	if (figures->stat[BALLOON_FREE] != UINT64_MAX)
		cJSON_AddNumberToObject(call->result, "free", (double)figures->stat[BALLOON_FREE]);
	if (figures->stat[BALLOON_AVAILABLE] != UINT64_MAX)
		cJSON_AddNumberToObject(call->result, "available", (double)figures->stat[BALLOON_AVAILABLE]);
	pthread_mutex_unlock(&vmm->machine.vm.lock);
	return 0;
}

static int subscribe(struct ctl_call *call, struct err *err)
{
	bool on = true;
	int ret = ctl_arg_bool(call, "on", &on, err);

	if (!ret && call->client)
		call->client->events = on;
	return ret;
}

/* ---- its console ---- */

static void attach(void *ctx, int fd)
{
	struct vmm *vmm = ctx;

	if (console_hub_attach(vmm->machine.console, fd))
		close(fd);
}

static int console(struct ctl_call *call, struct err *err)
{
	struct vmm *vmm = call->ctx;

	if (!console_is_hub(vmm->machine.console))
		return err_set(err, ENOTSUP, "the console of %s is %s", vmm->config.name,
			vmm->config.console == CONSOLE_STDIO ? "on the terminal where it runs"
							     : console_names[vmm->config.console]);
	call->taken = attach;
	return 0;
}

static const struct ctl_command requests[] = {
	{"status", status},
	{"inspect", inspect},
	{"stats", stats},
	{"stop", stop},
	{"kill", kill_now},
	{"reset", reset},
	{"power-button", power_button},
	{"balloon", balloon},
	{"disk.add", control_disk_add},
	{"net.add", control_net_add},
	{"device.list", control_device_list},
	{"device.remove", control_device_remove},
	{"screenshot", control_screenshot},
	{"subscribe", subscribe},
	{"console", console},
	{0},
};

static void request(void *ctx, struct ctl_client *client, char *line, size_t len)
{
	ctl_handle(requests, ctx, client, line, len);
}

int control_open(struct vmm *vmm, const char *path, struct err *err)
{
	statm = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	return ctl_listen(&vmm->control, &vmm->loop, path, request, vmm, err);
}

void control_event(struct vmm *vmm, const char *event, const char *how, int code)
{
	cJSON *json;
	char *text;

	if (!vmm->control.loop)
		return;
	json = cJSON_CreateObject();
	cJSON_AddStringToObject(json, "event", event);
	cJSON_AddStringToObject(json, "name", vmm->config.name);
	if (how) {
		cJSON_AddStringToObject(json, "how", how);
		cJSON_AddNumberToObject(json, "status", code);
	}
	text = cJSON_PrintUnformatted(json);
	if (text)
		ctl_broadcast(&vmm->control, text);
	free(text);
	cJSON_Delete(json);
}
