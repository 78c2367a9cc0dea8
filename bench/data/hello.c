/* SPDX-License-Identifier: MIT */
/* The smallest program, for a row that compiles, links and runs. */
#include <stdio.h>

int main(void)
{
	printf("hello\n");
	return 0;
}
