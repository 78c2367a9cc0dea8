/* SPDX-License-Identifier: MIT */
/* Ends in a triple fault; the engine must say so instead of running on. */
#include "rt.h"

static void shut_down(void)
{
	put("triple-fault now\n");
	triple_fault();
	put("FAIL survived\n");
}

const struct section sections[] = {{"triple", shut_down}, {NULL, NULL}};
