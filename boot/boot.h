/* SPDX-License-Identifier: MIT */
/*
 * Direct kernel boot: puts a kernel, an initrd and what a boot loader hands
 * over into guest memory, and sets the first vCPU's registers. Runs with every
 * vCPU stopped, on memory that is all zeroes; may be repeated for a reset.
 */
#pragma once

#include "boot/e820.h"
#include "boot/image.h"
#include "boot/inside.h"
#include "host/err.h"
#include "vm/space.h"
#include "x86/state.h"

struct boot_config {
	const char *kernel;
	const char *initrd; /* may be NULL */
	const struct boot_inside *inside; /* of which these two are files; NULL: of the host */
	const char *command_line;
	struct boot_memory memory;
	gpa_t rsdp;
	bool vga; /* shows text, 80x25 */
};

/* What the loaders of the kernel formats share. */
struct boot {
	const struct boot_config *config;
	struct space *mem;
	struct x86_state *regs;
	struct err *err;
	struct memmap map;
	struct image kernel, initrd;
	gpa_t initrd_base; /* valid when initrd.size */
};

/* 0 or -errno with a line in err. */
int boot_load(struct space *mem, const struct boot_config *config, struct x86_state *regs, struct err *err);

/* Guest RAM to write to, or NULL. */
void *boot_ram(const struct boot *boot, gpa_t base, u64 len);
/*
 * Reads the initrd to the highest place where it ends at or below `limit` and
 * does not touch [kernel, kernel_end). Nothing happens without an initrd.
 */
int boot_load_initrd(struct boot *boot, gpa_t kernel, gpa_t kernel_end, u64 limit);
int boot_put_command_line(struct boot *boot, u64 max);

/* linux.c, elf.c: head holds the file's first head_len bytes. */
bool linux_probe(const u8 *head, size_t head_len);
int linux_load(struct boot *boot);
bool elf_probe(const u8 *head, size_t head_len);
int elf_load(struct boot *boot);
/* linux.c: fills the zero page for a kernel that gets one, from a (possibly zero) setup header. */
struct setup_header;
int linux_put_params(struct boot *boot, const struct setup_header *header);

/* entry.c: the state at the entry point, and the tables behind it. */
int entry_long_mode(struct boot *boot, gpa_t rip, u64 rsi);
int entry_protected_mode(struct boot *boot, gpa_t rip, u64 rbx);
