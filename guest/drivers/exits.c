/* SPDX-License-Identifier: MIT */
/*
 * exits [COMMAND...]: the VM exits of the primary VM by reason, since its start, or
 * during a command. Without a hypervisor it only runs the command.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "abi/control.h"

static const struct control_page *control;
static struct control_stats *page;
static u64 page_address;

static const struct control_page *find_control(void)
{
	DIR *dir = opendir("/sys/bus/pci/devices");
	struct dirent *e;

	while (dir && (e = readdir(dir))) {
		char path[512], text[16] = "";
		void *map;
		int fd;

		snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/vendor", e->d_name);
		fd = open(path, O_RDONLY);
		if (fd < 0 || read(fd, text, sizeof(text) - 1) < 0 ||
			strtoul(text, NULL, 0) != CONTROL_VENDOR)
			continue;
		snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/resource0", e->d_name);
		fd = open(path, O_RDONLY);
		map = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
		return map == MAP_FAILED ? NULL : map;
	}
	return NULL;
}

static i64 call(u64 nr, u64 a)
{
	i64 ret;

	__asm__ volatile("vmmcall"
			 : "=a"(ret)
			 : "a"(nr), "D"(control->key), "S"(a), "d"(0), "c"(0)
			 : "memory");
	return ret;
}

static u64 physical(void *p)
{
	int fd = open("/proc/self/pagemap", O_RDONLY);
	u64 entry = 0;

	if (pread(fd, &entry, 8, (off_t)((u64)p / 4096 * 8)) != 8)
		return 0;
	close(fd);
	return (entry & 0x7fffffffffffff) * 4096;
}

static void read_stats(struct control_stats *to)
{
	i64 ret;

	if (!control)
		return;
	do
		ret = call(CALL_STATS, page_address);
	while (ret == -CONTROL_AGAIN);
	if (ret)
		fprintf(stderr, "exits: error %lld\n", (long long)ret);
	*to = *page;
}

static void print_difference(const struct control_stats *before, const struct control_stats *after)
{
	u64 guests = 0;

	printf("exits:");
	for (int i = 0; i < STATS_REASONS; i++) {
		u64 n = after->primary[i] - before->primary[i];

		if (n)
			printf(" %s %llu,", after->names[i], (unsigned long long)n);
		guests += after->guests[i] - before->guests[i];
	}
	printf(" guests %llu\n", (unsigned long long)guests);
}

static void run(char **argv)
{
	if (!fork()) {
		execvp(argv[0], argv);
		_exit(127);
	}
	wait(NULL);
}

int main(int argc, char **argv)
{
	static struct control_stats before, after;

	control = find_control();
	page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED, -1, 0);
	if (page == MAP_FAILED)
		return 1;
	memset(page, 0, 4096);
	page_address = physical(page);
	if (argc > 1) {
		read_stats(&before);
		run(argv + 1);
	}
	read_stats(&after);
	if (control)
		print_difference(&before, &after);
	return 0;
}
