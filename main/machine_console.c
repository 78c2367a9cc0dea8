/* SPDX-License-Identifier: MIT */
/* The machine's console, as the config has it. */
#include "main/machine_console.h"

#include "backend/console_hub.h"
#include "backend/console_stdio.h"
#include "dev/acpi_pm.h"
#include "host/log.h"

void machine_power_button(void *arg)
{
	struct machine *m = arg;

	acpi_pm_power_button(m->acpi_pm);
}

static int open_hub(struct machine *m, const struct console_config *base, struct err *err)
{
	const struct vm_config *config = m->config;
	int ret = console_hub_create(base, config->console_log, &m->console, err);

	if (!ret && config->console == CONSOLE_SOCKET && config->console_path)
		ret = console_hub_listen(m->console, config->console_path, err);
	if (!ret && config->console == CONSOLE_PTY) {
		ret = console_hub_pty(m->console, m->console_terminal, sizeof(m->console_terminal), err);
		if (!ret)
			log_line("the console is %s", m->console_terminal);
	}
	return ret;
}

int machine_open_console(struct machine *m, struct err *err)
{
	const struct console_config base = {
		.vm = &m->vm, .loop = m->loop, .power_button = machine_power_button, .arg = m};

	switch (m->config->console) {
	case CONSOLE_STDIO:
		return console_stdio_create(&base, &m->console, err);
	case CONSOLE_FILE:
		return console_file_create(&base, m->config->console_path, &m->console, err);
	case CONSOLE_PTY:
	case CONSOLE_SOCKET:
		return open_hub(m, &base, err);
	default:
		return console_null_create(&m->console);
	}
}
