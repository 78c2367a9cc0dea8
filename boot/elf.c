/* SPDX-License-Identifier: MIT */
/*
 * ELF kernels for x86-64. One with a PVH note (XEN_ELFNOTE_PHYS32_ENTRY) is
 * entered there, in 32-bit protected mode with start info in EBX; one without
 * is entered at its entry point in long mode, as a Linux kernel would be (the
 * zero page in RSI).
 */
#include <asm/bootparam.h>
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "boot/boot.h"
#include "boot/layout.h"

#define PVH_MAGIC 0x336ec578
#define PVH_NOTE 18 /* XEN_ELFNOTE_PHYS32_ENTRY */
#define PVH_NOTES_MAX MIB(1)
#define PVH_COMMAND_LINE_MAX 4095
#define SEGMENTS_MAX 64

/* The PVH boot ABI's structures (Xen's docs/misc/pvh.pandoc). */
struct pvh_start_info {
	u32 magic, version, flags, nr_modules;
	u64 modules, command_line, rsdp;
	u64 map; /* from version 1 on */
	u32 map_entries, reserved;
};

struct pvh_module {
	u64 base, size, command_line, reserved;
};

struct pvh_map_entry {
	u64 base, size;
	u32 type, reserved;
};

struct pvh_block {
	struct pvh_start_info info;
	struct pvh_module module;
	struct pvh_map_entry map[E820_MAX];
};

struct elf_image {
	Elf64_Ehdr header;
	Elf64_Phdr segment[SEGMENTS_MAX];
	gpa_t base, end; /* all segments */
	gpa_t pvh_entry; /* 0: no note */
};

bool elf_probe(const u8 *head, size_t head_len)
{
	return head_len >= sizeof(Elf64_Ehdr) && !memcmp(head, ELFMAG, SELFMAG);
}

static int read_headers(struct boot *boot, struct elf_image *elf)
{
	const char *path = boot->kernel.path;
	const Elf64_Ehdr *header = &elf->header;
	int ret = image_read(&boot->kernel, 0, &elf->header, sizeof(elf->header), boot->err);

	if (ret)
		return ret;
	if (header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_ident[EI_DATA] != ELFDATA2LSB ||
		header->e_machine != EM_X86_64)
		return err_set(boot->err, ENOEXEC, "kernel %s is an ELF file, but not for x86-64", path);
	if (header->e_type != ET_EXEC && header->e_type != ET_DYN)
		return err_set(boot->err, ENOEXEC, "kernel %s is an ELF file, but no program", path);
	if (header->e_phentsize != sizeof(Elf64_Phdr) || !header->e_phnum || header->e_phnum > SEGMENTS_MAX)
		return err_set(boot->err, ENOEXEC, "kernel %s is damaged: %u program headers of %u bytes",
			path, header->e_phnum, header->e_phentsize);
	return image_read(&boot->kernel, header->e_phoff, elf->segment, header->e_phnum * sizeof(Elf64_Phdr),
		boot->err);
}

static int load_segment(struct boot *boot, struct elf_image *elf, const Elf64_Phdr *segment)
{
	u8 *to;

	if (segment->p_filesz > segment->p_memsz)
		return err_set(boot->err, ENOEXEC,
			"kernel %s is damaged: a segment is larger in the file than in memory",
			boot->kernel.path);
	if (!segment->p_memsz)
		return 0;
	to = boot_ram(boot, segment->p_paddr, segment->p_memsz);
	if (!to || segment->p_paddr < BOOT_HIGH)
		return err_set(boot->err, ENOSPC,
			"kernel %s has a segment at %#llx, %#llx bytes: no guest memory is there",
			boot->kernel.path, (unsigned long long)segment->p_paddr,
			(unsigned long long)segment->p_memsz);
	elf->base = MIN(elf->base, segment->p_paddr);
	elf->end = MAX(elf->end, segment->p_paddr + segment->p_memsz);
	memset(to + segment->p_filesz, 0, segment->p_memsz - segment->p_filesz);
	return image_read(&boot->kernel, segment->p_offset, to, segment->p_filesz, boot->err);
}

/* Walks the notes in [p, end) and remembers a PVH entry point. */
static void scan_notes(struct elf_image *elf, const u8 *p, const u8 *end)
{
	Elf64_Nhdr note;

	while ((size_t)(end - p) >= sizeof(note)) {
		u64 name, desc;

		memcpy(&note, p, sizeof(note));
		p += sizeof(note);
		name = ALIGN_UP((u64)note.n_namesz, 4);
		desc = ALIGN_UP((u64)note.n_descsz, 4);
		if (name + desc > (u64)(end - p))
			return;
		if (note.n_type == PVH_NOTE && note.n_namesz == 4 && !memcmp(p, "Xen", 4) &&
			note.n_descsz >= 4) {
			elf->pvh_entry = 0;
			memcpy(&elf->pvh_entry, p + name, 4);
		}
		p += name + desc;
	}
}

static int read_notes(struct boot *boot, struct elf_image *elf, const Elf64_Phdr *segment)
{
	u8 *notes;
	int ret;

	if (segment->p_filesz > PVH_NOTES_MAX)
		return 0;
	notes = malloc(segment->p_filesz + 1);
	if (!notes)
		return err_set(boot->err, ENOMEM, "out of memory");
	ret = image_read(&boot->kernel, segment->p_offset, notes, segment->p_filesz, boot->err);
	if (!ret)
		scan_notes(elf, notes, notes + segment->p_filesz);
	free(notes);
	return ret;
}

static int load_segments(struct boot *boot, struct elf_image *elf)
{
	int ret = 0;

	elf->base = UINT64_MAX;
	elf->end = elf->pvh_entry = 0;
	for (unsigned i = 0; !ret && i < elf->header.e_phnum; i++) {
		const Elf64_Phdr *segment = &elf->segment[i];

		if (segment->p_type == PT_LOAD)
			ret = load_segment(boot, elf, segment);
		else if (segment->p_type == PT_NOTE)
			ret = read_notes(boot, elf, segment);
	}
	if (!ret && !elf->end)
		ret = err_set(boot->err, ENOEXEC, "kernel %s has nothing to load", boot->kernel.path);
	return ret;
}

static int check_entry(struct boot *boot, const struct elf_image *elf, gpa_t entry)
{
	if (entry >= elf->base && entry < elf->end)
		return 0;
	return err_set(boot->err, ENOEXEC, "kernel %s is damaged: its entry point %#llx is outside of it",
		boot->kernel.path, (unsigned long long)entry);
}

static int enter_pvh(struct boot *boot, const struct elf_image *elf)
{
	struct pvh_block *block = boot_ram(boot, BOOT_START_INFO, sizeof(*block));
	int ret = check_entry(boot, elf, elf->pvh_entry);

	if (ret)
		return ret;
	if (!block)
		return err_set(boot->err, ENOSPC, "no memory for the start info");
	*block = (struct pvh_block){.info = {.magic = PVH_MAGIC, .version = 1}};
	block->info.command_line = BOOT_COMMAND_LINE;
	block->info.rsdp = boot->config->rsdp;
	block->info.map = BOOT_START_INFO + offsetof(struct pvh_block, map);
	block->info.map_entries = boot->map.count;
	if (boot->initrd.size) {
		block->info.nr_modules = 1;
		block->info.modules = BOOT_START_INFO + offsetof(struct pvh_block, module);
		block->module = (struct pvh_module){.base = boot->initrd_base, .size = boot->initrd.size};
	}
	for (unsigned i = 0; i < boot->map.count; i++) {
		const struct mem_range *from = &boot->map.range[i];

		block->map[i] = (struct pvh_map_entry){from->base, from->size, from->type, 0};
	}
	return entry_protected_mode(boot, elf->pvh_entry, BOOT_START_INFO);
}

static int enter_plain(struct boot *boot, const struct elf_image *elf)
{
	static const struct setup_header none = {.header = 0x53726448, .version = 0x020c};
	int ret = check_entry(boot, elf, elf->header.e_entry);

	if (!ret)
		ret = linux_put_params(boot, &none);
	return ret ? ret : entry_long_mode(boot, elf->header.e_entry, BOOT_PARAMS);
}

int elf_load(struct boot *boot)
{
	struct elf_image elf;
	int ret = read_headers(boot, &elf);

	if (!ret)
		ret = load_segments(boot, &elf);
	if (!ret)
		ret = boot_load_initrd(boot, elf.base, elf.end, GIB(4));
	if (!ret)
		ret = boot_put_command_line(boot, PVH_COMMAND_LINE_MAX);
	if (ret)
		return ret;
	return elf.pvh_entry ? enter_pvh(boot, &elf) : enter_plain(boot, &elf);
}
