/* SPDX-License-Identifier: MIT */
/* Programs out of Debian's packages, run as they are. */
#include "bench/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* openssl speed -mr ends with lines +F:number:name:bytes-per-second, or +F2:..:..:signatures:verifications a second. */
static double openssl_speed(const char *command)
{
	FILE *f = popen(command, "r");
	char line[512];
	double value = -1;

	while (f && fgets(line, sizeof(line), f)) {
		char *last = strrchr(line, ':');

		if (!strncmp(line, "+F:", 3) && last)
			value = 1e9 * 16384 / atof(last + 1);
		else if (!strncmp(line, "+F2:", 4) && last) {
			*last = 0;
			value = 1e9 / atof(strrchr(line, ':') + 1);
		}
	}
	return f && pclose(f) == 0 ? value : -1;
}

/* 7zz b ends with a line "Tot: usage rating/usage rating" in MIPS; the last number is the rating. */
static double seven_zip(const char *command)
{
	FILE *f = popen(command, "r");
	char line[512], *last;
	double value = -1;

	while (f && fgets(line, sizeof(line), f)) {
		if (strncmp(line, "Tot:", 4))
			continue;
		line[strcspn(line, "\r\n")] = 0;
		last = strrchr(line, ' ');
		if (last && atof(last) > 0)
			value = 1e9 / atof(last); /* ns for a million instructions of its own measure */
	}
	return f && pclose(f) == 0 ? value : -1;
}

/* Files that several rows share. */
static void text_setup(void)
{
	FILE *f;
	u32 seed = 4242;
	int i;

	if (!access("/tmp/text", R_OK))
		return;
	f = fopen("/tmp/text", "w");
	for (i = 0; f && i < 40000; i++)
		fprintf(f, "%08x the line %d of a text with words %x %x\n", next_random(&seed), i,
			next_random(&seed) & 0xfff, next_random(&seed) & 0xff);
	if (f)
		fclose(f);
}

#define STRESS "stress-ng -q "
#define SPEED "openssl speed -mr -elapsed -seconds 1 "

const struct row program_rows[] = {
	{.name = "gcc", .class = "prog", .command = "gcc -O2 -w -c /bench/work.c -o /tmp/work.o"},
	{.name = "gcc-link",
		.class = "prog",
		.command = "gcc -w -o /tmp/hello /bench/hello.c && /tmp/hello >/dev/null"},
	{.name = "tcc",
		.class = "prog",
		.command = "for i in 1 2 3; do tcc -w -c /bench/work.c -o /tmp/work.o; done"},
	{.name = "perl", .class = "prog", .command = "perl /bench/work.pl >/dev/null"},
	{.name = "python3", .class = "prog", .command = "python3 -E -S /bench/work.py >/dev/null"},
	{.name = "python3-start", .class = "prog", .command = "python3 -E -c 'import json, re'"},
	{.name = "sqlite3", .class = "prog", .command = "sqlite3 :memory: </bench/work.sql >/dev/null"},
	{.name = "gzip", .class = "prog", .command = "gzip -c /tmp/text >/tmp/text.gz", .setup = text_setup},
	{.name = "gunzip",
		.class = "prog",
		.command = "gzip -c /tmp/text >/tmp/text.gz; for i in 1 2 3 4; do gzip -dc /tmp/text.gz "
			   ">/dev/null; done",
		.setup = text_setup},
	{.name = "sort", .class = "prog", .command = "sort /tmp/text >/dev/null", .setup = text_setup},
	{.name = "sha256sum",
		.class = "prog",
		.command = "for i in 1 2 3 4 5 6 7 8; do sha256sum /tmp/text; done >/dev/null",
		.setup = text_setup},
	{.name = "shell-loop", .class = "prog", .command = "bash /bench/work.sh >/dev/null"},
	{.name = "shell-forks",
		.class = "prog",
		.command = "i=0; while [ $i -lt 40 ]; do x=$(/bin/echo $i); i=$((i+1)); done"},
	{.name = "7z-archive",
		.class = "prog",
		.command = "rm -f /tmp/a.7z; 7zz a -mx3 -mmt1 -bso0 -bsp0 /tmp/a.7z /tmp/text",
		.setup = text_setup},
	{.name = "7z-bench", .class = "prog", .command = "7zz b 1 -mmt1 -md18", .measure = seven_zip},
	{.name = "openssl-rsa",
		.class = "prog",
		.command = SPEED "rsa2048 2>/dev/null",
		.measure = openssl_speed},
	{.name = "openssl-sha256",
		.class = "fp",
		.command = SPEED "-bytes 16384 -evp sha256 2>/dev/null",
		.measure = openssl_speed},
	{.name = "openssl-aes-gcm",
		.class = "fp",
		.command = SPEED "-bytes 16384 -evp aes-256-gcm 2>/dev/null",
		.measure = openssl_speed},
	{.name = "openssl-chacha",
		.class = "fp",
		.command = SPEED "-bytes 16384 -evp chacha20-poly1305 2>/dev/null",
		.measure = openssl_speed},
	{.name = "stress-cpu", .class = "prog", .command = STRESS "--cpu 1 --cpu-ops 400"},
	{.name = "stress-matrix", .class = "prog", .command = STRESS "--matrix 1 --matrix-ops 1500"},
	{.name = "stress-qsort", .class = "prog", .command = STRESS "--qsort 1 --qsort-ops 3"},
	{.name = "stress-vm", .class = "prog", .command = STRESS "--vm 1 --vm-bytes 16M --vm-ops 2000"},
	{.name = "stress-pipe", .class = "os", .command = STRESS "--pipe 1 --pipe-ops 40000"},
	{.name = "stress-fork", .class = "os", .command = STRESS "--fork 1 --fork-ops 200"},
	{.name = "stress-mmap", .class = "os", .command = STRESS "--mmap 1 --mmap-bytes 4M --mmap-ops 10"},
	{.name = NULL},
};
