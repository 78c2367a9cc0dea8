/* SPDX-License-Identifier: MIT */
/* Direct kernel boot: what all formats of kernels share. */
#include "boot/boot.h"

#include <errno.h>
#include <string.h>

#include "boot/layout.h"

#define HEAD_SIZE 1024

void *boot_ram(const struct boot *boot, gpa_t base, u64 len)
{
	return space_host(boot->mem, base, len, DIRECT_READ | DIRECT_WRITE);
}

/* The highest page-aligned base in [low, high) for size bytes beside the kernel, or 0. */
static gpa_t place(u64 low, u64 high, u64 size, gpa_t kernel, gpa_t kernel_end)
{
	u64 base;

	low = MAX(low, BOOT_HIGH);
	if (high <= low || size > high - low)
		return 0;
	base = ALIGN_DOWN(high - size, PAGE_SIZE);
	if (base < kernel_end && kernel < base + size) {
		if (kernel <= low || size > kernel - low)
			return 0;
		base = ALIGN_DOWN(kernel - size, PAGE_SIZE);
	}
	return base >= low ? base : 0;
}

int boot_load_initrd(struct boot *boot, gpa_t kernel, gpa_t kernel_end, u64 limit)
{
	const struct boot_memory *memory = &boot->config->memory;
	u64 size = boot->initrd.size;
	gpa_t base;

	if (!size)
		return 0;
	base = place(0, MIN(memory->below_4g, limit), size, kernel, kernel_end);
	if (!base && limit > GIB(4))
		base = place(GIB(4), MIN(GIB(4) + memory->above_4g, limit), size, kernel, kernel_end);
	if (!base || !boot_ram(boot, base, size))
		return err_set(boot->err, ENOSPC,
			"initrd %s (%llu MiB) does not fit into the guest's memory beside the kernel",
			boot->initrd.path, (unsigned long long)((size + MIB(1) - 1) / MIB(1)));
	boot->initrd_base = base;
	return image_read(&boot->initrd, 0, boot_ram(boot, base, size), size, boot->err);
}

int boot_put_command_line(struct boot *boot, u64 max)
{
	const char *line = boot->config->command_line;
	size_t len = strlen(line);
	char *to = boot_ram(boot, BOOT_COMMAND_LINE, len + 1);

	max = MIN(max, BOOT_COMMAND_LINE_MAX - 1);
	if (len > max)
		return err_set(boot->err, E2BIG, "the command line has %zu characters; kernel %s takes %llu",
			len, boot->kernel.path, (unsigned long long)max);
	if (!to)
		return err_set(boot->err, ENOSPC, "no memory for the command line");
	memcpy(to, line, len + 1);
	return 0;
}

static int load_kernel(struct boot *boot)
{
	u8 head[HEAD_SIZE];
	size_t len = MIN(sizeof(head), boot->kernel.size);
	int ret = image_read(&boot->kernel, 0, head, len, boot->err);

	if (ret)
		return ret;
	if (linux_probe(head, len))
		return linux_load(boot);
	if (elf_probe(head, len))
		return elf_load(boot);
	return err_set(boot->err, ENOEXEC, "kernel %s is neither a Linux bzImage nor an x86-64 ELF file",
		boot->kernel.path);
}

int boot_load(struct space *mem, const struct boot_config *config, struct x86_state *regs, struct err *err)
{
	struct boot boot = {.config = config, .mem = mem, .regs = regs, .err = err};
	const struct boot_inside *inside = config->inside;
	int ret;

	e820_build(&boot.map, &config->memory);
	ret = image_open(&boot.kernel, "kernel", config->kernel, inside ? inside->kernel : -1, err);
	if (!ret && config->initrd)
		ret = image_open(&boot.initrd, "initrd", config->initrd, inside ? inside->initrd : -1, err);
	if (!ret)
		ret = load_kernel(&boot);
	image_close(&boot.initrd);
	image_close(&boot.kernel);
	return ret;
}
