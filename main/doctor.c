/* SPDX-License-Identifier: MIT */
/* `mullion doctor`: which engines this machine can run, why not the others, and what to do. */
#include "main/doctor.h"

#include <stdio.h>

#include "host/sandbox.h"
#include "main/engines.h"
#include "main/images.h"

static void show_image(const char *name)
{
	char path[PATH_MAX];
	struct err err;

	if (images_find(name, path, &err))
		printf("image   %-13s missing: %s\n", name, err.text);
	else
		printf("image   %-13s %s\n", name, path);
}

static void show_sandbox(void)
{
	int version = sandbox_landlock_version();

	printf("sandbox %-10s %-3s %s\n", "seccomp", sandbox_has_seccomp() ? "yes" : "no",
		sandbox_has_seccomp() ? "system calls are filtered" : "this kernel filters no system calls");
	if (version)
		printf("sandbox %-10s yes version %d: files%s are guarded\n", "landlock", version,
			version >= 4 ? " and TCP ports" : "");
	else
		printf("sandbox %-10s no  this kernel does not have it (5.13 and later, CONFIG_SECURITY_LANDLOCK, lsm=landlock)\n",
			"landlock");
}

/* Exit status 0 when there is an engine. */
static int doctor(const struct invocation *call)
{
	struct engine_report report[ENGINES];
	const char *first = NULL;

	(void)call;
	engines_examine(report);
	for (unsigned i = 0; i < ENGINES; i++) {
		printf("engine  %-10s %-3s %s\n", report[i].name, report[i].usable ? "yes" : "no",
			report[i].why);
		if (report[i].usable && !first)
			first = report[i].name;
	}
	show_sandbox();
	show_image(DEFAULT_KERNEL);
	show_image(DEFAULT_INITRD);
	printf("mullion run takes %s\n", first ? first : "none of them: this machine cannot run VMs");
	return first ? 0 : 1;
}

const struct command command_doctor = {
	.name = "doctor",
	.help = "say which engines this machine can run",
	.run = doctor,
};
