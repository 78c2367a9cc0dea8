/* SPDX-License-Identifier: MIT */
/* Names for VMs that were given none. */
#include <stdio.h>
#include <sys/random.h>

#include "main/state.h"

static const char *const adjectives[] = {"amber", "ancient", "bold", "brave", "bright", "brisk", "calm",
	"clear", "clever", "copper", "cosy", "crisp", "early", "eager", "fair", "gentle", "golden", "happy",
	"hidden", "humble", "jolly", "keen", "kind", "lively", "lucky", "mellow", "merry", "nimble",
	"patient", "placid", "plain", "polite", "proud", "quick", "quiet", "rapid", "rosy", "silent",
	"silver", "snug", "steady", "sunny", "swift", "tidy", "warm", "wide", "wise", "young"};
static const char *const nouns[] = {"alder", "arch", "aspen", "badger", "beech", "birch", "brook", "cedar",
	"cliff", "crane", "dale", "dove", "falcon", "fern", "finch", "fjord", "gable", "glade", "grove",
	"harbour", "hazel", "heron", "hill", "ivy", "lark", "linden", "lintel", "maple", "marten", "meadow",
	"oak", "otter", "pane", "pebble", "pine", "plover", "reed", "ridge", "river", "robin", "rowan",
	"sash", "shore", "spruce", "stone", "swan", "thrush", "willow"};

void state_make_name(char name[64])
{
	u32 random[2] = {0, 0};

	for (unsigned attempt = 0; attempt < 1000; attempt++) {
		if (getrandom(random, sizeof(random), 0) != sizeof(random))
			random[0] += 7, random[1] += 1;
		snprintf(name, 64, "%s_%s", adjectives[random[0] % ARRAY_SIZE(adjectives)],
			nouns[random[1] % ARRAY_SIZE(nouns)]);
		if (!state_defined(name) && !state_running(name, NULL))
			return;
	}
	snprintf(name, 64, "vm-%08x%08x", random[0], random[1]);
}
