/* SPDX-License-Identifier: MIT */
/* The Linux boot protocol's structures, x86 (the kernel's Documentation/arch/x86/{boot,zero-page}.rst). */
#pragma once

#include "lib/types.h"

enum {
	LINUX_MAGIC = 0x53726448, /* "HdrS" */
	LINUX_64BIT = 0x020c, /* the first version with xloadflags */
	LINUX_LOADED_HIGH = 1,
	LINUX_KERNEL_64 = 1,
	LINUX_ENTRY_64 = 0x200,
	LINUX_SECTOR = 512,
	LINUX_HEADER = 0x1f1,
	LINUX_E820_MAX = 128,
	LINUX_EFI64 = 0x34364c45, /* "EL64" */
	LINUX_VGA = 1,
	LINUX_VESA_LFB = 0x23,
	LINUX_EFI_LFB = 0x70,
	LINUX_LFB_64BIT = 2,
};

struct __attribute__((packed)) linux_screen {
	u8 x, y;
	u16 ext_memory, page;
	u8 mode, columns, flags, unused;
	u16 ega_bx, unused2;
	u8 lines, type;
	u16 points, width, height, depth;
	u32 base, size;
	u16 magic, offset, pitch;
	u8 red_size, red_pos, green_size, green_pos, blue_size, blue_pos, reserved_size, reserved_pos;
	u16 pm_segment, pm_offset, pages, attributes;
	u32 capabilities, base_high;
	u16 reserved;
};

struct __attribute__((packed)) linux_header {
	u8 setup_sectors;
	u16 root_flags;
	u32 paragraphs;
	u16 ram_size, video_mode, root_device, boot_flag, jump;
	u32 magic;
	u16 version;
	u32 realmode_switch;
	u16 start_sys_seg, kernel_version;
	u8 loader, load_flags;
	u16 move_size;
	u32 code32_start, ramdisk, ramdisk_size, bootsect_kludge;
	u16 heap_end;
	u8 ext_loader_version, ext_loader_type;
	u32 command_line, ramdisk_max, alignment;
	u8 relocatable, min_alignment;
	u16 xload_flags;
	u32 command_line_max, hardware_subarch;
	u64 hardware_subarch_data;
	u32 payload_offset, payload_length;
	u64 setup_data, preferred_address;
	u32 init_size, handover_offset, kernel_info_offset;
};

struct __attribute__((packed)) linux_e820 {
	u64 base, size;
	u32 type;
};

struct __attribute__((packed, aligned(4))) linux_efi {
	u32 signature, system_table, descriptor_size, version, map, map_size, system_table_high, map_high;
};

struct __attribute__((packed, aligned(8))) linux_params {
	struct linux_screen screen;
	u8 pad[0x70 - 0x40];
	u64 rsdp;
	u8 pad2[0xc0 - 0x78];
	u32 ramdisk_high, ramdisk_size_high, command_line_high;
	u8 pad3[0x1c0 - 0xcc];
	struct linux_efi efi;
	u8 pad4[0x1e8 - 0x1e0];
	u8 e820_count;
	u8 pad5[0x1f1 - 0x1e9];
	struct linux_header header;
	u8 pad6[0x2d0 - 0x1f1 - sizeof(struct linux_header)];
	struct linux_e820 e820[LINUX_E820_MAX];
	u8 pad7[0x1000 - 0x2d0 - LINUX_E820_MAX * 20];
};

_Static_assert(sizeof(struct linux_screen) == 0x40, "as the protocol has it");
_Static_assert(sizeof(struct linux_params) == PAGE_SIZE, "as the protocol has it");
_Static_assert(offsetof(struct linux_params, header.init_size) == 0x260, "as the protocol has it");
