/* SPDX-License-Identifier: MIT */
/* The kernel loaders: good images, truncated ones, and hostile ones. */
#include <asm/bootparam.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "boot/boot.h"
#include "boot/layout.h"

#define RAM MIB(64)
#define HIGH_RAM MIB(16)
#define ECAM 0xb0000000ull

struct fixture {
	struct space mem;
	struct region low, high;
	u8 *ram;
	struct boot_config config;
	struct x86_state regs;
	struct err err;
	char dir[32], kernel[64], initrd[64];
};

static void fixture_ram(struct fixture *f)
{
	space_fini(&f->mem);
	space_init(&f->mem, GIB(64));
	madvise(f->ram, RAM + HIGH_RAM, MADV_DONTNEED);
	f->low = (struct region){.size = RAM, .host = f->ram, .direct = DIRECT_READ | DIRECT_WRITE};
	f->high = f->low;
	f->high.base = GIB(4);
	f->high.size = HIGH_RAM;
	f->high.host = f->ram + RAM;
	assert_int_equal(space_add(&f->mem, &f->low), 0);
	assert_int_equal(space_add(&f->mem, &f->high), 0);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->ram = mmap(NULL, RAM + HIGH_RAM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	strcpy(f->dir, "/tmp/test_boot.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->kernel, sizeof(f->kernel), "%s/kernel", f->dir);
	snprintf(f->initrd, sizeof(f->initrd), "%s/initrd", f->dir);
	fixture_ram(f);
	f->config = (struct boot_config){
		.kernel = f->kernel,
		.command_line = "console=ttyS0",
		.memory = {RAM, HIGH_RAM, ECAM, MIB(256)},
		.rsdp = BOOT_ACPI,
	};
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	unlink(f->kernel);
	unlink(f->initrd);
	rmdir(f->dir);
	munmap(f->ram, RAM + HIGH_RAM);
	space_fini(&f->mem);
	free(f);
	return 0;
}

static void write_file(const char *path, const void *data, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, len), len);
	close(fd);
}

static int load(struct fixture *f)
{
	f->err.text[0] = 0;
	return boot_load(&f->mem, &f->config, &f->regs, &f->err);
}

/* The load fails with one line that names the file and has this in it. */
static void refused(struct fixture *f, const char *words)
{
	assert_true(load(f) < 0);
	assert_null(strchr(f->err.text, '\n'));
	if (!strstr(f->err.text, words))
		fail_msg("\"%s\" is not in \"%s\"", words, f->err.text);
}

static const struct boot_params *params(const struct fixture *f)
{
	return (const struct boot_params *)(f->ram + BOOT_PARAMS);
}

/* ---- bzImage ---- */

#define SECTORS 4
#define PAYLOAD 8192
#define BZ_SIZE ((SECTORS + 1) * 512 + PAYLOAD)

static u8 bz[BZ_SIZE];

static struct setup_header *good_bzimage(void)
{
	struct setup_header *header = (struct setup_header *)(bz + 0x1f1);

	memset(bz, 0, sizeof(bz));
	memset(bz + (SECTORS + 1) * 512, 0xab, PAYLOAD);
	header->setup_sects = SECTORS;
	header->syssize = PAYLOAD / 16;
	header->boot_flag = 0xaa55;
	header->jump = 0x6aeb;
	header->header = 0x53726448;
	header->version = 0x020f;
	header->loadflags = LOADED_HIGH;
	header->initrd_addr_max = 0x7fffffff;
	header->kernel_alignment = MIB(2);
	header->relocatable_kernel = 1;
	header->xloadflags = XLF_KERNEL_64 | XLF_CAN_BE_LOADED_ABOVE_4G;
	header->cmdline_size = 255;
	header->pref_address = MIB(16);
	header->init_size = MIB(8);
	return header;
}

static void write_bzimage(struct fixture *f, size_t len)
{
	write_file(f->kernel, bz, len);
}

static void bzimage_is_loaded(void **state)
{
	struct fixture *f = *state;

	good_bzimage();
	write_bzimage(f, BZ_SIZE);
	assert_int_equal(load(f), 0);
	assert_int_equal(f->regs.rip, MIB(16) + 0x200);
	assert_int_equal(f->regs.gpr[RSI], BOOT_PARAMS);
	assert_true(f->regs.efer & EFER_LMA);
	assert_true(f->regs.seg[SEG_CS].attr & SEG_L);
	assert_int_equal(f->ram[MIB(16)], 0xab);
	assert_int_equal(f->ram[MIB(16) + PAYLOAD - 1], 0xab);
	assert_int_equal(f->ram[MIB(16) + PAYLOAD], 0);
	assert_int_equal(params(f)->hdr.header, 0x53726448);
	assert_int_equal(params(f)->hdr.type_of_loader, 0xff);
	assert_int_equal(params(f)->acpi_rsdp_addr, BOOT_ACPI);
	assert_string_equal((char *)f->ram + params(f)->hdr.cmd_line_ptr, "console=ttyS0");
	assert_int_equal(params(f)->hdr.ramdisk_size, 0);
	assert_int_equal(params(f)->screen_info.orig_video_cols, 0);
	f->config.vga = true;
	assert_int_equal(load(f), 0);
	assert_int_equal(params(f)->screen_info.orig_video_cols, 80);
	assert_int_equal(params(f)->screen_info.orig_video_isVGA, 1);
}

static void page_tables_map_4g(void **state)
{
	struct fixture *f = *state;
	u64 *table;

	good_bzimage();
	write_bzimage(f, BZ_SIZE);
	assert_int_equal(load(f), 0);
	for (u64 gva = 0; gva < GIB(4); gva += MIB(2)) {
		table = (u64 *)(f->ram + f->regs.cr3);
		table = (u64 *)(f->ram + (table[gva >> 39] & PAGE_MASK));
		table = (u64 *)(f->ram + (table[gva >> 30 & 511] & PAGE_MASK));
		assert_int_equal(table[gva >> 21 & 511], gva | 0x83);
	}
}

static void memory_map_has_the_holes(void **state)
{
	struct fixture *f = *state;
	const struct boot_params *p = params(f);
	u64 ram = 0;

	good_bzimage();
	write_bzimage(f, BZ_SIZE);
	assert_int_equal(load(f), 0);
	for (unsigned i = 0; i < p->e820_entries; i++) {
		const struct boot_e820_entry *e = &p->e820_table[i];

		if (i)
			assert_true(e->addr >= e[-1].addr + e[-1].size);
		if (e->type != MEM_RAM)
			continue;
		ram += e->size;
		assert_true(e->addr + e->size <= 0x9fc00 || e->addr >= BOOT_HIGH);
		assert_true(e->addr + e->size <= RAM || e->addr >= GIB(4));
	}
	assert_int_equal(ram, RAM + HIGH_RAM - (BOOT_HIGH - 0x9fc00));
}

static void initrd_goes_high(void **state)
{
	struct fixture *f = *state;
	u8 data[5000];

	memset(data, 0x5a, sizeof(data));
	write_file(f->initrd, data, sizeof(data));
	good_bzimage();
	write_bzimage(f, BZ_SIZE);
	f->config.initrd = f->initrd;
	assert_int_equal(load(f), 0);
	assert_int_equal(params(f)->hdr.ramdisk_image, RAM - 8192);
	assert_int_equal(params(f)->hdr.ramdisk_size, sizeof(data));
	assert_memory_equal(f->ram + RAM - 8192, data, sizeof(data));
}

static void initrd_keeps_its_limits(void **state)
{
	struct fixture *f = *state;
	struct setup_header *header = good_bzimage();

	write_file(f->initrd, "abc", 3);
	f->config.initrd = f->initrd;
	header->xloadflags = XLF_KERNEL_64;
	header->initrd_addr_max = MIB(24) - 1; /* that is where the kernel ends */
	write_bzimage(f, BZ_SIZE);
	assert_int_equal(load(f), 0);
	assert_int_equal(params(f)->hdr.ramdisk_image, MIB(16) - PAGE_SIZE);
	header->initrd_addr_max = 0;
	write_bzimage(f, BZ_SIZE);
	refused(f, "does not fit");
}

static void a_large_initrd_goes_above_4g(void **state)
{
	struct fixture *f = *state;
	struct setup_header *header = good_bzimage();

	header->init_size = RAM - MIB(16) - PAGE_SIZE; /* leaves one page */
	header->pref_address = MIB(16);
	write_bzimage(f, BZ_SIZE);
	assert_int_equal(truncate(f->kernel, BZ_SIZE), 0);
	write_file(f->initrd, "x", 1);
	assert_int_equal(truncate(f->initrd, (off_t)MIB(15) + 1), 0);
	f->config.initrd = f->initrd;
	assert_int_equal(load(f), 0);
	assert_int_equal(params(f)->ext_ramdisk_image, 1);
	assert_int_equal(truncate(f->initrd, (off_t)MIB(17)), 0);
	refused(f, "does not fit");
	assert_int_equal(truncate(f->initrd, (off_t)GIB(100)), 0);
	refused(f, "does not fit");
}

static void truncated_kernels_are_refused(void **state)
{
	static const size_t lens[] = {
		BZ_SIZE - 16, BZ_SIZE - PAYLOAD, 0x300, 0x260, 0x210, 0x206, 0x201, 10, 1};
	struct fixture *f = *state;

	good_bzimage();
	for (size_t i = 0; i < ARRAY_SIZE(lens); i++) {
		write_bzimage(f, lens[i]);
		refused(f, f->kernel);
	}
	write_bzimage(f, BZ_SIZE - 16);
	refused(f, "truncated");
	write_bzimage(f, 0);
	refused(f, "empty");
	unlink(f->kernel);
	refused(f, "No such file");
	f->config.kernel = f->dir;
	refused(f, "is not a file");
}

static void wrong_kernels_are_refused(void **state)
{
	struct fixture *f = *state;
	char junk[2048] = "#!/bin/sh\n";

	write_file(f->kernel, junk, sizeof(junk));
	refused(f, "neither");
	good_bzimage()->version = 0x0204;
	write_bzimage(f, BZ_SIZE);
	refused(f, "protocol 2.4");
	good_bzimage()->loadflags = 0;
	write_bzimage(f, BZ_SIZE);
	refused(f, "zImage");
	good_bzimage()->xloadflags = 0;
	write_bzimage(f, BZ_SIZE);
	refused(f, "64-bit");
	good_bzimage()->init_size = (u32)RAM;
	write_bzimage(f, BZ_SIZE);
	refused(f, "needs at least 80 MiB");
}

static void hostile_headers_are_refused(void **state)
{
	struct fixture *f = *state;

	good_bzimage()->syssize = 0;
	write_bzimage(f, BZ_SIZE);
	refused(f, "damaged");
	good_bzimage()->syssize = UINT32_MAX;
	write_bzimage(f, BZ_SIZE);
	refused(f, "truncated");
	good_bzimage()->setup_sects = 255;
	write_bzimage(f, BZ_SIZE);
	refused(f, "truncated");
	good_bzimage()->pref_address = 0;
	write_bzimage(f, BZ_SIZE);
	refused(f, "damaged");
	good_bzimage()->pref_address = UINT64_MAX - 100;
	write_bzimage(f, BZ_SIZE);
	refused(f, "damaged");
	good_bzimage()->pref_address = RAM - 4096; /* the payload would not fit */
	((struct setup_header *)(bz + 0x1f1))->init_size = 0;
	write_bzimage(f, BZ_SIZE);
	refused(f, "needs at least");
	good_bzimage()->pref_address = 0xb0000000;
	write_bzimage(f, BZ_SIZE);
	refused(f, "needs at least");
}

static void long_command_lines_are_refused(void **state)
{
	struct fixture *f = *state;
	static char line[70000];

	good_bzimage();
	write_bzimage(f, BZ_SIZE);
	memset(line, 'a', 255);
	f->config.command_line = line;
	assert_int_equal(load(f), 0);
	line[255] = 'a';
	refused(f, "256 characters");
	good_bzimage()->cmdline_size = UINT32_MAX;
	write_bzimage(f, BZ_SIZE);
	memset(line, 'a', sizeof(line) - 1);
	refused(f, "69999 characters");
}

static void a_missing_initrd_is_named(void **state)
{
	struct fixture *f = *state;

	good_bzimage();
	write_bzimage(f, BZ_SIZE);
	f->config.initrd = f->initrd;
	refused(f, "initrd");
	write_file(f->initrd, "", 0);
	refused(f, "empty");
}

/* Any mutation of a good header either loads or is refused; sanitizers watch. */
static void mutated_headers_do_no_harm(void **state)
{
	struct fixture *f = *state;
	unsigned seed = 4711;

	for (unsigned round = 0; round < 400; round++) {
		good_bzimage();
		for (unsigned i = 0; i < 4; i++)
			bz[0x1f1 + (unsigned)rand_r(&seed) % 0x80] = (u8)rand_r(&seed);
		write_bzimage(f, BZ_SIZE);
		if (load(f))
			assert_true(f->err.text[0]);
	}
}

/* ---- ELF ---- */

struct elf_file {
	Elf64_Ehdr header;
	Elf64_Phdr segment[2];
	Elf64_Nhdr note;
	char name[4];
	u32 entry, pad;
	u8 text[256];
};

static struct elf_file good_elf(void)
{
	struct elf_file elf = {.name = "Xen", .entry = MIB(1) + 0x10};

	memcpy(elf.header.e_ident, ELFMAG, SELFMAG);
	elf.header.e_ident[EI_CLASS] = ELFCLASS64;
	elf.header.e_ident[EI_DATA] = ELFDATA2LSB;
	elf.header.e_type = ET_EXEC;
	elf.header.e_machine = EM_X86_64;
	elf.header.e_entry = MIB(1) + 0x20;
	elf.header.e_phoff = offsetof(struct elf_file, segment);
	elf.header.e_phentsize = sizeof(Elf64_Phdr);
	elf.header.e_phnum = 2;
	elf.segment[0] = (Elf64_Phdr){.p_type = PT_LOAD,
		.p_offset = offsetof(struct elf_file, text),
		.p_vaddr = 0xffffffff80000000,
		.p_paddr = MIB(1),
		.p_filesz = sizeof(elf.text),
		.p_memsz = 4096};
	elf.segment[1] = (Elf64_Phdr){.p_type = PT_NOTE,
		.p_offset = offsetof(struct elf_file, note),
		.p_filesz = sizeof(elf.note) + 8};
	elf.note = (Elf64_Nhdr){.n_namesz = 4, .n_descsz = 4, .n_type = 18};
	memset(elf.text, 0xcd, sizeof(elf.text));
	return elf;
}

static void pvh_is_entered_in_protected_mode(void **state)
{
	struct fixture *f = *state;
	struct elf_file elf = good_elf();
	u32 *info = (u32 *)(f->ram + BOOT_START_INFO);

	write_file(f->kernel, &elf, sizeof(elf));
	write_file(f->initrd, "abc", 3);
	f->config.initrd = f->initrd;
	memset(f->ram + MIB(1), 0xff, 4096);
	assert_int_equal(load(f), 0);
	assert_int_equal(f->regs.rip, MIB(1) + 0x10);
	assert_int_equal(f->regs.gpr[RBX], BOOT_START_INFO);
	assert_int_equal(f->regs.cr0 & (CR0_PE | CR0_PG), CR0_PE);
	assert_int_equal(f->regs.efer, 0);
	assert_true(f->regs.seg[SEG_CS].attr & SEG_DB);
	assert_false(f->regs.seg[SEG_CS].attr & SEG_L);
	assert_int_equal(f->ram[MIB(1) + 255], 0xcd);
	assert_int_equal(f->ram[MIB(1) + 256], 0);
	assert_int_equal(info[0], 0x336ec578);
	assert_int_equal(info[1], 1);
	assert_int_equal(info[3], 1);
	assert_int_equal(info[8], BOOT_ACPI);
}

static void elf_without_note_is_entered_in_long_mode(void **state)
{
	struct fixture *f = *state;
	struct elf_file elf = good_elf();

	elf.note.n_type = 17;
	write_file(f->kernel, &elf, sizeof(elf));
	assert_int_equal(load(f), 0);
	assert_int_equal(f->regs.rip, MIB(1) + 0x20);
	assert_true(f->regs.efer & EFER_LMA);
	assert_true(params(f)->e820_entries > 3);
}

static void elf_refused(struct fixture *f, struct elf_file elf, size_t len, const char *words)
{
	write_file(f->kernel, &elf, len);
	refused(f, words);
}

static void bad_elf_files_are_refused(void **state)
{
	struct fixture *f = *state;
	struct elf_file elf;

	elf = good_elf();
	elf.header.e_machine = EM_AARCH64;
	elf_refused(f, elf, sizeof(elf), "not for x86-64");
	elf = good_elf();
	elf.header.e_type = ET_REL;
	elf_refused(f, elf, sizeof(elf), "no program");
	elf = good_elf();
	elf.header.e_phnum = 60000;
	elf_refused(f, elf, sizeof(elf), "damaged");
	elf = good_elf();
	elf.header.e_phoff = UINT64_MAX - 8;
	elf_refused(f, elf, sizeof(elf), "truncated");
	elf = good_elf();
	elf_refused(f, elf, sizeof(elf) - 1, "truncated");
	elf_refused(f, elf, sizeof(elf.header), "truncated");
	elf.segment[0].p_filesz = 5000;
	elf_refused(f, elf, sizeof(elf), "damaged");
	elf = good_elf();
	elf.segment[0].p_paddr = 0x1000;
	elf_refused(f, elf, sizeof(elf), "no guest memory");
	elf.segment[0].p_paddr = UINT64_MAX - 16;
	elf_refused(f, elf, sizeof(elf), "no guest memory");
	elf = good_elf();
	elf.segment[0].p_memsz = UINT64_MAX;
	elf_refused(f, elf, sizeof(elf), "no guest memory");
	elf = good_elf();
	elf.entry = 0x1000;
	elf_refused(f, elf, sizeof(elf), "entry point");
	elf = good_elf();
	elf.header.e_phnum = 1;
	elf.segment[0].p_type = PT_NULL;
	elf_refused(f, elf, sizeof(elf), "nothing to load");
}

static void hostile_notes_do_no_harm(void **state)
{
	struct fixture *f = *state;
	struct elf_file elf = good_elf();

	elf.note.n_namesz = UINT32_MAX;
	write_file(f->kernel, &elf, sizeof(elf));
	assert_int_equal(load(f), 0);
	assert_true(f->regs.efer & EFER_LMA); /* as if there were none */
	elf.note.n_namesz = 4;
	elf.note.n_descsz = UINT32_MAX - 2;
	write_file(f->kernel, &elf, sizeof(elf));
	assert_int_equal(load(f), 0);
	elf.note.n_descsz = 4;
	elf.segment[1].p_filesz = 10;
	write_file(f->kernel, &elf, sizeof(elf));
	assert_int_equal(load(f), 0);
	elf.segment[1].p_filesz = 500000;
	elf_refused(f, elf, sizeof(elf), "truncated");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(bzimage_is_loaded, setup, teardown),
		cmocka_unit_test_setup_teardown(page_tables_map_4g, setup, teardown),
		cmocka_unit_test_setup_teardown(memory_map_has_the_holes, setup, teardown),
		cmocka_unit_test_setup_teardown(initrd_goes_high, setup, teardown),
		cmocka_unit_test_setup_teardown(initrd_keeps_its_limits, setup, teardown),
		cmocka_unit_test_setup_teardown(a_large_initrd_goes_above_4g, setup, teardown),
		cmocka_unit_test_setup_teardown(truncated_kernels_are_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(wrong_kernels_are_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(hostile_headers_are_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(long_command_lines_are_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(a_missing_initrd_is_named, setup, teardown),
		cmocka_unit_test_setup_teardown(mutated_headers_do_no_harm, setup, teardown),
		cmocka_unit_test_setup_teardown(pvh_is_entered_in_protected_mode, setup, teardown),
		cmocka_unit_test_setup_teardown(elf_without_note_is_entered_in_long_mode, setup, teardown),
		cmocka_unit_test_setup_teardown(bad_elf_files_are_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(hostile_notes_do_no_harm, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
