/* SPDX-License-Identifier: MIT */
/*
 * Memory whose pages the hypervisor may be told of: a memfd of huge pages, or
 * of locked small ones when the kernel has no huge ones to give. A memfd, since
 * the keeper process holds it too.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine/metal/metal.h"

#define HUGE_PAGE MIB(2)
#define MEMFD_2MIB (MFD_HUGETLB | 21u << 26) /* the size's logarithm */
#define OVERCOMMIT "/proc/sys/vm/nr_overcommit_hugepages"
#define COMPACT "/proc/sys/vm/compact_unevictable_allowed"

static u64 page_size(const struct metal_memory *mem)
{
	return mem->huge ? HUGE_PAGE : PAGE_SIZE;
}

/* Best effort: what fails here shows where the setting would have helped. */
static void write_setting(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	if (write(fd, value, strlen(value)) < 0)
		errno = 0;
	close(fd);
}

/*
 * Lets the kernel make huge pages as they are asked for, up to all memory; it
 * takes them apart again when they are given back. Only root may; others
 * depend on pages that root has set aside.
 */
static void allow_huge_pages(void)
{
	u64 pages = (u64)sysconf(_SC_PHYS_PAGES) * PAGE_SIZE / HUGE_PAGE;
	char text[24];

	snprintf(text, sizeof(text), "%llu\n", (unsigned long long)pages);
	write_setting(OVERCOMMIT, text);
}

/* ---- where the pages are ---- */

static int read_frames(struct metal_memory *mem, struct err *err)
{
	u64 step = page_size(mem), n = mem->size / step, entry;
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC), ret = 0;

	mem->frame = calloc(n, sizeof(*mem->frame));
	if (fd < 0 || !mem->frame)
		ret = err_set(err, ENOMEM, "/proc/self/pagemap cannot be read: %s", strerror(errno));
	for (u64 i = 0; !ret && i < n; i++) {
		u64 page = ((uintptr_t)mem->base + i * step) / PAGE_SIZE;

		if (pread(fd, &entry, sizeof(entry), (off_t)(page * sizeof(entry))) != sizeof(entry))
			entry = 0;
		mem->frame[i] = (entry & (BIT(55) - 1)) << PAGE_SHIFT;
		if (!(entry >> 63) || !mem->frame[i])
			ret = err_set(err, EPERM,
				"the kernel does not tell where memory is (/proc/self/pagemap); run as root");
	}
	if (fd >= 0)
		close(fd);
	return ret;
}

hpa_t metal_hpa(const struct metal_memory *mem, const void *p)
{
	u64 offset = (u64)((const u8 *)p - mem->base), step = page_size(mem);

	return mem->frame[offset / step] + offset % step;
}

/* ---- getting them ---- */

static bool map_memfd(struct metal_memory *mem, unsigned flags)
{
	mem->fd = memfd_create("mullion-ram", MFD_CLOEXEC | flags);
	if (mem->fd < 0)
		return false;
	if (!ftruncate(mem->fd, (off_t)mem->size)) {
		mem->base = mmap(NULL, mem->size, PROT_READ | PROT_WRITE, MAP_SHARED, mem->fd, 0);
		if (mem->base != MAP_FAILED)
			return true;
	}
	mem->base = NULL;
	close(mem->fd);
	mem->fd = -1;
	return false;
}

/* The mapping has reserved them, so touching them cannot fail. */
static bool map_huge(struct metal_memory *mem)
{
	mem->huge = true;
	mem->size = ALIGN_UP(mem->ram_size, HUGE_PAGE) + HUGE_PAGE;
	if (!map_memfd(mem, MEMFD_2MIB))
		return false;
	for (u64 at = 0; at < mem->size; at += HUGE_PAGE)
		*(volatile u8 *)(mem->base + at) = 0;
	return true;
}

/* What the kernel could give without ending processes. */
static u64 available(void)
{
	unsigned long long kib = 0;
	char line[128];
	FILE *file = fopen("/proc/meminfo", "re");

	while (file && fgets(line, sizeof(line), file) && sscanf(line, "MemAvailable: %llu", &kib) != 1)
		;
	if (file)
		fclose(file);
	return KIB(kib);
}

/* Locked pages are not swapped; that they are not moved either is a setting. */
static bool map_small(struct metal_memory *mem)
{
	mem->huge = false;
	mem->size = mem->ram_size + HUGE_PAGE;
	if (mem->size > available()) {
		errno = ENOMEM;
		return false;
	}
	write_setting(COMPACT, "0\n");
	if (!map_memfd(mem, 0))
		return false;
	return !mlock(mem->base, mem->size);
}

int metal_memory_init(struct metal_memory *mem, u64 ram_size, struct err *err)
{
	int ret;

	*mem = (struct metal_memory){.fd = -1, .ram_size = ram_size};
	allow_huge_pages();
	if (!map_huge(mem) && !map_small(mem))
		return err_set(err, ENOMEM,
			"%llu MiB cannot be pinned: %s; set huge pages aside with echo %llu > "
			"/proc/sys/vm/nr_hugepages, raise ulimit -l, or give the VM less memory",
			(unsigned long long)(ram_size / MIB(1)), strerror(errno),
			(unsigned long long)(ram_size / HUGE_PAGE + 1));
	ret = read_frames(mem, err);
	mem->free = mem->base + mem->size - HUGE_PAGE;
	return ret;
}

void metal_memory_fini(struct metal_memory *mem)
{
	if (mem->base)
		munmap(mem->base, mem->size);
	if (mem->fd >= 0)
		close(mem->fd);
	free(mem->frame);
	*mem = (struct metal_memory){.fd = -1};
}

void *metal_shared_page(struct metal_memory *mem)
{
	void *page = mem->free;

	if (mem->free == mem->base + mem->size)
		return NULL;
	mem->free += PAGE_SIZE;
	return page;
}
