/* SPDX-License-Identifier: MIT */
/* What a multiboot loader leaves in memory: versions 1 (0.6.96) and 2 (2.0). */
#pragma once

#include "lib/types.h"

enum {
	MB1_MAGIC = 0x2badb002,
	MB2_MAGIC = 0x36d76289,
};

enum { MB1_COMMAND_LINE = 4, MB1_MODULES = 8, MB1_MAP = 64, MB1_LOADER_NAME = 512, MB1_FRAME_BUFFER = 4096 };

enum { MB_LINEAR = 1 };

struct __attribute__((packed)) mb_frame_buffer {
	u64 base;
	u32 pitch, width, height;
	u8 bpp, type; /* MB_LINEAR or others */
};

struct __attribute__((packed)) mb_colours {
	u8 red_pos, red_size, green_pos, green_size, blue_pos, blue_size;
};

struct __attribute__((packed)) mb1_info {
	u32 flags, mem_lower, mem_upper, boot_device;
	u32 command_line, modules, module_list;
	u32 symbols[4];
	u32 map_size, map;
	u32 drives_size, drives, config, loader_name, apm;
	u32 vbe[4];
	struct mb_frame_buffer frame_buffer;
	struct mb_colours colours;
};

struct __attribute__((packed)) mb1_module {
	u32 start, end, string, reserved;
};

struct __attribute__((packed)) mb1_range {
	u32 size; /* of what follows */
	u64 base, len;
	u32 type;
};

enum {
	MB2_END,
	MB2_COMMAND_LINE = 1,
	MB2_MODULE = 3,
	MB2_MAP = 6,
	MB2_FRAME_BUFFER = 8,
	MB2_EFI64 = 12,
	MB2_EFI_MAP = 17,
};

struct mb2_info {
	u32 size, reserved;
};

struct mb2_tag {
	u32 type, size;
};

struct mb2_module {
	struct mb2_tag tag;
	u32 start, end;
	char string[];
};

struct mb2_range {
	u64 base, len;
	u32 type, reserved;
};

struct mb2_map {
	struct mb2_tag tag;
	u32 entry_size, version;
	u8 entries[];
};

struct __attribute__((packed)) mb2_frame_buffer {
	struct mb2_tag tag;
	struct mb_frame_buffer frame_buffer;
	u16 reserved;
	struct mb_colours colours;
};

struct mb2_efi64 {
	struct mb2_tag tag;
	u64 system_table;
};

struct mb2_efi_map {
	struct mb2_tag tag;
	u32 descriptor_size, version;
	u8 map[];
};
