/* SPDX-License-Identifier: MIT */
/* The guest's RAM. */
#include "main/machine_ram.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "main/machine_shares.h"

#define HUGE_PAGE MIB(2)

static int check_memory(u64 size, struct err *err)
{
	u64 host = (u64)sysconf(_SC_PHYS_PAGES) * PAGE_SIZE;

	if (size < MACHINE_MIN_MEMORY)
		return err_set(err, EINVAL, "--memory: a guest needs at least %llu MiB",
			(unsigned long long)(MACHINE_MIN_MEMORY / MIB(1)));
	if (size > host)
		return err_set(err, EINVAL, "--memory: %llu MiB are more than the host's %llu MiB",
			(unsigned long long)(size / MIB(1)), (unsigned long long)(host / MIB(1)));
	if (size % MIB(1))
		return err_set(err, EINVAL, "--memory must be a whole number of MiB");
	return 0;
}

/* A file without a name, for what a helper process is to see, too. */
static int open_shared(u64 size)
{
	int fd = memfd_create("mullion ram", MFD_CLOEXEC);

	if (fd >= 0 && !ftruncate(fd, (off_t)size))
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

/* Aligned so that the guest's large pages can be the host's; nothing is touched yet. */
static u8 *map_aligned(u64 size, int fd)
{
	u8 *map = mmap(NULL, size + HUGE_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	int how = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;
	u8 *ram;

	if (map == MAP_FAILED)
		return NULL;
	ram = (u8 *)ALIGN_UP((uintptr_t)map, HUGE_PAGE);
	if (ram > map)
		munmap(map, (size_t)(ram - map));
	if (ram < map + HUGE_PAGE)
		munmap(ram + size, (size_t)(map + HUGE_PAGE - ram));
	if (mmap(ram, size, PROT_READ | PROT_WRITE, how | MAP_FIXED | MAP_NORESERVE, fd, 0) == MAP_FAILED)
		return NULL;
	madvise(ram, size, MADV_HUGEPAGE);
	return ram;
}

static int map_ram(struct machine *m, u64 size, struct err *err)
{
	const struct engine_ops *engine = m->vm.engine;

	if (engine->ram_map)
		return engine->ram_map(&m->vm, size, &m->ram, err);
	if (machine_shares_ram(m))
		m->ram_fd = open_shared(size);
	if (!machine_shares_ram(m) || m->ram_fd >= 0)
		m->ram = map_aligned(size, m->ram_fd);
	if (!m->ram)
		return err_set(err, ENOMEM, "the host does not give %llu MiB of memory: %s",
			(unsigned long long)(size / MIB(1)), strerror(errno));
	return 0;
}

void machine_clear_ram(struct machine *m)
{
	if (m->vm.engine->ram_clear)
		m->vm.engine->ram_clear(&m->vm);
	else if (m->ram_fd >= 0)
		fallocate(m->ram_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)m->config->memory);
	else
		madvise(m->ram, m->config->memory, MADV_DONTNEED);
}

void machine_free_ram(struct machine *m)
{
	if (m->vm.engine->ram_unmap)
		m->vm.engine->ram_unmap(&m->vm);
	else if (m->ram)
		munmap(m->ram, m->config->memory);
	m->ram = NULL;
	if (m->ram_fd >= 0)
		close(m->ram_fd);
	m->ram_fd = -1;
}

int machine_add_ram(struct machine *m, struct err *err)
{
	u64 size = m->config->memory;
	unsigned direct = DIRECT_READ | DIRECT_WRITE;
	int ret = check_memory(size, err);

	if (ret)
		return ret;
	ret = map_ram(m, size, err);
	if (ret)
		return ret;
	m->ram_below = MIN(size, RAM_HOLE_BASE);
	m->ram_above = size - m->ram_below;
	m->ram_low = (struct region){.name = "ram", .size = m->ram_below, .host = m->ram, .direct = direct};
	ret = space_add(&m->vm.mem, &m->ram_low);
	if (ret || !m->ram_above)
		return ret;
	m->ram_high = (struct region){.name = "ram above 4G",
		.base = GIB(4),
		.size = m->ram_above,
		.host = m->ram + m->ram_below,
		.direct = direct};
	return space_add(&m->vm.mem, &m->ram_high);
}
