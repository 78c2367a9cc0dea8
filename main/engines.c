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
	report->name = metal_engine.name;
	report->usable = metal_engine.probe(report->why, sizeof(report->why)) == 0;
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

/* Best first. */
static const struct engine_ops *const built[] = {&metal_engine, &translate_engine};

const struct engine_ops *engines_choose(const char *name, char *why, size_t len)
{
	char blocked[256] = ""; /* what a better engine lacks that the user can give it */

	snprintf(why, len, "there is none of that name");
	for (size_t i = 0; i < ARRAY_SIZE(built); i++) {
		const struct engine_ops *engine = built[i];
		int ret;

		if (name && strcmp(name, engine->name))
			continue;
		ret = engine->probe(why, len);
		if (!ret) {
			if (name)
				snprintf(why, len, "as asked");
			else if (*blocked)
				snprintf(why, len, "%s", blocked);
			return engine;
		}
		if (ret != -ENODEV)
			snprintf(blocked, sizeof(blocked), "%.16s: %.200s", engine->name, why);
	}
	return NULL;
}
