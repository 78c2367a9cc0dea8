/* SPDX-License-Identifier: MIT */
/* Multiboot 1 and 2: what the loader says, as a struct boot_info. */
#include "hv/multiboot.h"

#include "hv/boot.h"
#include "hv/console.h"
#include "lib/string.h"

_Noreturn void multiboot_main(u32 magic, u32 info);

static struct boot_info boot;

static void add_module(u32 start, u32 end, const char *string, bool named)
{
	struct boot_module *module = &boot.module[boot.modules];

	if (boot.modules == BOOT_MODULES || end < start)
		return;
	boot.modules++;
	module->base = start;
	module->size = end - start;
	for (; named && *string && *string != ' '; string++)
		;
	for (; *string == ' '; string++)
		;
	copy_string(module->args, string, sizeof(module->args));
}

static void set_screen(const struct mb_frame_buffer *fb, const struct mb_colours *c)
{
	boot.screen = *fb;
	boot.colours = *c;
}

/* ---- version 1 ---- */

/* Most loaders put the file's name in front of a module's arguments; GRUB 2 does not. */
static bool modules_are_named(const struct mb1_info *info)
{
	const char *loader = (void *)(u64)info->loader_name;

	return !(info->flags & MB1_LOADER_NAME && strlen(loader) >= 6 && !memcmp(loader, "GRUB 2", 6));
}

static void multiboot1(const struct mb1_info *info)
{
	const struct mb1_module *list = (void *)(u64)info->module_list;

	boot.way = "multiboot 1";
	if (info->flags & MB1_COMMAND_LINE)
		copy_string(boot.args, (void *)(u64)info->command_line, sizeof(boot.args));
	if (!(info->flags & MB1_MAP))
		panic("multiboot gave no memory map");
	for (u32 at = 0; at < info->map_size;) {
		const struct mb1_range *r = (void *)(u64)(info->map + at);

		boot_range(&boot, r->base, r->len, r->type);
		at += r->size + sizeof(r->size);
	}
	for (u32 i = 0; info->flags & MB1_MODULES && i < info->modules; i++)
		add_module(list[i].start, list[i].end, (void *)(u64)list[i].string, modules_are_named(info));
	if (info->flags & MB1_FRAME_BUFFER)
		set_screen(&info->frame_buffer, &info->colours);
}

/* ---- version 2 ---- */

static void add_map(const struct mb2_map *map)
{
	for (u32 at = sizeof(*map); at + map->entry_size <= map->tag.size; at += map->entry_size) {
		const struct mb2_range *r = (void *)((u8 *)map + at);

		boot_range(&boot, r->base, r->len, r->type);
	}
}

static void set_efi_map(const struct mb2_efi_map *map)
{
	boot.way = "multiboot 2 (UEFI)";
	boot.efi_map = (u64)map->map;
	boot.efi_map_size = map->tag.size - sizeof(*map);
	boot.efi_desc_size = map->descriptor_size;
	boot.efi_desc_version = map->version;
}

static void take_tag(const struct mb2_tag *tag)
{
	const struct mb2_module *module = (void *)tag;
	const struct mb2_frame_buffer *fb = (void *)tag;

	switch (tag->type) {
	case MB2_COMMAND_LINE:
		copy_string(boot.args, (const char *)(tag + 1), sizeof(boot.args));
		break;
	case MB2_MODULE:
		add_module(module->start, module->end, module->string, false);
		break;
	case MB2_MAP:
		add_map((void *)tag);
		break;
	case MB2_FRAME_BUFFER:
		set_screen(&fb->frame_buffer, &fb->colours);
		break;
	case MB2_EFI64:
		boot.efi_system_table = ((struct mb2_efi64 *)tag)->system_table;
		break;
	case MB2_EFI_MAP:
		set_efi_map((void *)tag);
		break;
	}
}

static void multiboot2(const struct mb2_info *info)
{
	const struct mb2_tag *tag = (void *)(info + 1);

	boot.way = "multiboot 2 (BIOS)";
	for (; tag->type != MB2_END; tag = (void *)((u8 *)tag + ALIGN_UP(tag->size, 8)))
		take_tag(tag);
}

/* From boot.S. */
void multiboot_main(u32 magic, u32 info)
{
	console_init();
	if (magic == MB1_MAGIC)
		multiboot1((void *)(u64)info);
	else if (magic == MB2_MAGIC)
		multiboot2((void *)(u64)info);
	else
		panic("started by no multiboot loader (EAX %08x)", magic);
	hv_main(&boot);
}
