/* SPDX-License-Identifier: MIT */
/* Which engines there are, and which one to take. */
#include "main/engines.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void examine_metal(struct engine_report *report)
{
	report->name = "metal";
	report->usable = false;
	snprintf(report->why, sizeof(report->why),
		"needs Mullion's own hypervisor below this system; it is not built yet. Nothing to do");
}

static void examine_kvm(struct engine_report *report)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	const char *state = "/dev/kvm works, but this version has no kvm engine yet. Nothing to do";

	report->name = "kvm";
	report->usable = false;
	if (fd < 0 && errno == ENOENT)
		state = "no /dev/kvm (and this version has no kvm engine yet). To have it: enable VT-x or "
			"SVM in the "
			"firmware, or nested virtualisation in the hypervisor above, and load kvm_intel or "
			"kvm_amd";
	else if (fd < 0 && errno == EACCES)
		state = "/dev/kvm may not be opened (and this version has no kvm engine yet). To open it: "
			"join the "
			"group kvm";
	else if (fd < 0)
		state = "/dev/kvm does not work (and this version has no kvm engine yet)";
	if (fd >= 0)
		close(fd);
	snprintf(report->why, sizeof(report->why), "%s", state);
}

static void examine_translate(struct engine_report *report)
{
	report->name = translate_engine.name;
	snprintf(report->why, sizeof(report->why), "works everywhere, as an ordinary user");
	report->usable = translate_engine.probe(report->why, sizeof(report->why)) == 0;
}

void engines_examine(struct engine_report report[ENGINES])
{
	examine_metal(&report[0]);
	examine_kvm(&report[1]);
	examine_translate(&report[2]);
}

const struct engine_ops *engines_choose(const char *name, char *why, size_t len)
{
	char reason[256] = "";

	if (translate_engine.probe(reason, sizeof(reason))) {
		snprintf(why, len, "%s", *reason ? reason : "this CPU cannot run it");
		return NULL;
	}
	if (name)
		snprintf(why, len, "as asked");
	else
		snprintf(why, len, "kvm and metal are not built yet");
	return &translate_engine;
}
