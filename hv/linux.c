/* SPDX-License-Identifier: MIT */
/*
 * The primary VM's kernel, a bzImage, by the 64-bit boot protocol. All addresses
 * are the machine's: the primary VM has its memory where it is. What the kernel
 * finds beside itself (struct block) goes below 640 KiB, where it never
 * unpacks itself to; the initrd stays where the boot loader has put it.
 */
#include <asm/bootparam.h>
#include <errno.h>

#include "hv/boot.h"
#include "hv/console.h"
#include "hv/efi.h"
#include "hv/exit.h"
#include "lib/string.h"
#include "x86/state.h"

enum {
	HEADER = 0x1f1, /* offset in the file */
	HEADER_MAGIC = 0x53726448, /* "HdrS" */
	PROTOCOL_64BIT = 0x020c, /* the first version with xloadflags */
	ENTRY_64 = 0x200,
	SECTOR = 512,
	EFI64_LOADER = 0x34364c45, /* "EL64" */
	SCREEN_VGA = 1,
	SCREEN_VESA = 0x23,
	SCREEN_EFI = 0x70,
	SCREEN_64BIT = 2, /* its base */
	LOW = 0x10000, /* below it, the firmware may keep something */
	LOADER_UNKNOWN = 0xff,
	PTE_P = 1,
	PTE_W = 2,
	PTE_PS = 0x80,
	SEL_CODE = 0x10, /* as the protocol fixes them */
	SEL_DATA = 0x18,
	ATTR_CODE = 0xa9b,
	ATTR_DATA = 0xc93,
};

struct block {
	struct boot_params params;
	u64 pml4[512], pdpt[512], directory[4 * 512];
	u64 gdt[4];
	char command_line[512];
	u8 stack[1024];
	u8 efi_map[]; /* with room for two descriptors more */
};

struct load {
	const struct boot_info *boot;
	struct memmap map; /* with what is taken */
	struct setup_header header;
	struct block *block;
	hpa_t base; /* of the kernel */
};

/* The lowest free RAM of that kind. 0: none. */
static hpa_t find(const struct memmap *map, u64 from, u64 limit, u64 size, u64 align)
{
	for (unsigned i = 0; i < map->count; i++) {
		const struct mem_range *r = &map->range[i];
		u64 base = ALIGN_UP(MAX(r->base, from), align);

		if (r->type == MEM_RAM && base < limit && size <= limit - base && base - r->base < r->size &&
			size <= r->size - (base - r->base))
			return base;
	}
	return 0;
}

static int take(struct load *l, hpa_t base, u64 size)
{
	return memmap_set(&l->map, base, size, MEM_RESERVED);
}

static int check_kernel(struct load *l)
{
	const struct boot_module *kernel = &l->boot->module[0];
	const struct setup_header *h = &l->header;

	if (!l->boot->modules || kernel->size < PAGE_SIZE)
		return -ENOENT;
	memcpy(&l->header, (void *)(kernel->base + HEADER), sizeof(l->header));
	if (h->header != HEADER_MAGIC || h->version < PROTOCOL_64BIT)
		return -ENOEXEC;
	if (!(h->loadflags & LOADED_HIGH) || !(h->xloadflags & XLF_KERNEL_64))
		return -ENOEXEC;
	if (!h->kernel_alignment || h->kernel_alignment & (h->kernel_alignment - 1))
		return -ENOEXEC;
	return 0;
}

static u64 payload_offset(const struct load *l)
{
	u64 sectors = l->header.setup_sects ? l->header.setup_sects : 4;

	return (sectors + 1) * SECTOR;
}

/* The memory that everything goes to. The modules lie where they lie. */
static int plan(struct load *l)
{
	const struct boot_info *boot = l->boot;
	u64 block_size = ALIGN_UP(sizeof(struct block) + boot->efi_map_size + 2 * boot->efi_desc_size, PAGE_SIZE);
	u64 need = MAX((u64)l->header.init_size, boot->module[0].size);
	hpa_t preferred = l->header.pref_address;

	if (boot->modules > 1 && take(l, boot->module[1].base, boot->module[1].size))
		return -ENOSPC;
	if (take(l, boot->efi_map, boot->efi_map_size))
		return -ENOSPC;
	l->block = (void *)find(&l->map, LOW, KIB(640), block_size, PAGE_SIZE);
	if (!l->block || take(l, (hpa_t)l->block, block_size))
		return -ENOMEM;
	memset(l->block, 0, block_size);
	if (memmap_is(&l->map, preferred, need, MEM_RAM))
		l->base = preferred;
	else if (l->header.relocatable_kernel)
		l->base = find(&l->map, MIB(1), GIB(4), need, l->header.kernel_alignment);
	return l->base ? 0 : -ENOMEM;
}

/* ---- what the kernel is told ---- */

static void put_map(struct load *l, const struct memmap *map)
{
	struct boot_params *p = &l->block->params;

	for (unsigned i = 0; i < map->count; i++) {
		const struct mem_range *r = &map->range[i];

		if (r->type != MEM_HYPERVISOR && p->e820_entries < E820_MAX_ENTRIES_ZEROPAGE)
			p->e820_table[p->e820_entries++] = (struct boot_e820_entry){r->base, r->size, r->type};
	}
}

static void put_screen(struct load *l)
{
	struct screen_info *s = &l->block->params.screen_info;
	const struct mb_frame_buffer *from = &l->boot->screen;
	const struct mb_colours *c = &l->boot->colours;
	bool efi = l->boot->efi_system_table;
	u32 bytes = from->pitch * from->height;

	if (from->type != MB_LINEAR && !efi)
		*s = (struct screen_info){.orig_video_mode = 3,
			.orig_video_cols = 80,
			.orig_video_lines = 25,
			.orig_video_isVGA = SCREEN_VGA,
			.orig_video_points = 16};
	if (from->type != MB_LINEAR)
		return;
	s->orig_video_isVGA = efi ? SCREEN_EFI : SCREEN_VESA;
	s->lfb_width = (u16)from->width;
	s->lfb_height = (u16)from->height;
	s->lfb_depth = from->bpp;
	s->lfb_linelength = (u16)from->pitch;
	s->lfb_base = (u32)from->base;
	s->ext_lfb_base = (u32)(from->base >> 32);
	s->capabilities = s->ext_lfb_base ? SCREEN_64BIT : 0;
	s->lfb_size = efi ? bytes : (bytes + 0xffff) >> 16;
	s->red_pos = c->red_pos;
	s->red_size = c->red_size;
	s->green_pos = c->green_pos;
	s->green_size = c->green_size;
	s->blue_pos = c->blue_pos;
	s->blue_size = c->blue_size;
	s->rsvd_size = from->bpp == 32 ? 8 : 0;
	s->rsvd_pos = from->bpp == 32 ? 24 : 0;
}

/* The part of a descriptor that lies in [from, to). */
static void put_part(struct load *l, const struct efi_descriptor *d, u64 from, u64 to)
{
	u64 end = d->base + d->pages * PAGE_SIZE;
	struct efi_descriptor *out;

	from = MAX(from, d->base);
	to = MIN(to, end);
	if (from >= to)
		return;
	out = (void *)(l->block->efi_map + l->block->params.efi_info.efi_memmap_size);
	memcpy(out, d, l->boot->efi_desc_size);
	out->base = from;
	out->pages = (to - from) / PAGE_SIZE;
	l->block->params.efi_info.efi_memmap_size += (u32)l->boot->efi_desc_size;
}

/* The firmware's map without us. One descriptor at most becomes two. */
static void put_efi(struct load *l)
{
	const struct boot_info *boot = l->boot;
	struct boot_params *p = &l->block->params;

	if (!boot->efi_system_table || !boot->efi_map || boot->efi_desc_size < sizeof(struct efi_descriptor))
		return;
	for (u64 at = 0; at + boot->efi_desc_size <= boot->efi_map_size; at += boot->efi_desc_size) {
		const struct efi_descriptor *d = (void *)(boot->efi_map + at);

		put_part(l, d, 0, (u64)image_start);
		put_part(l, d, (u64)image_end, UINT64_MAX);
	}
	p->efi_info.efi_loader_signature = EFI64_LOADER;
	p->efi_info.efi_memdesc_size = (u32)boot->efi_desc_size;
	p->efi_info.efi_memdesc_version = boot->efi_desc_version;
	p->efi_info.efi_memmap = (u32)(u64)l->block->efi_map;
	p->efi_info.efi_systab = (u32)boot->efi_system_table;
	p->efi_info.efi_systab_hi = (u32)(boot->efi_system_table >> 32);
}

static void put_params(struct load *l, const struct memmap *map)
{
	struct boot_params *p = &l->block->params;

	p->hdr = l->header;
	p->hdr.vid_mode = 0xffff; /* normal */
	p->hdr.type_of_loader = LOADER_UNKNOWN;
	copy_string(l->block->command_line, l->boot->module[0].args, sizeof(l->block->command_line));
	p->hdr.cmd_line_ptr = (u32)(u64)l->block->command_line;
	if (l->boot->modules > 1) {
		p->hdr.ramdisk_image = (u32)l->boot->module[1].base;
		p->ext_ramdisk_image = (u32)(l->boot->module[1].base >> 32);
		p->hdr.ramdisk_size = (u32)l->boot->module[1].size;
		p->ext_ramdisk_size = (u32)(l->boot->module[1].size >> 32);
	}
	p->acpi_rsdp_addr = l->boot->rsdp;
	put_map(l, map);
	put_screen(l);
	put_efi(l);
}

/* ---- the state at the entry point ---- */

static void put_tables(struct block *b)
{
	b->pml4[0] = (u64)b->pdpt | PTE_P | PTE_W;
	for (u64 i = 0; i < 4; i++)
		b->pdpt[i] = (u64)(b->directory + i * 512) | PTE_P | PTE_W;
	for (u64 i = 0; i < ARRAY_SIZE(b->directory); i++)
		b->directory[i] = i * MIB(2) | PTE_P | PTE_W | PTE_PS;
	b->gdt[SEL_CODE / 8] = 0x00af9b000000ffff;
	b->gdt[SEL_DATA / 8] = 0x00cf93000000ffff;
}

static int set_entry(struct load *l, struct hv_vcpu *v)
{
	static struct control_state s;
	struct control_segment data = {SEL_DATA, ATTR_DATA, UINT32_MAX, 0};
	struct block *b = l->block;

	put_tables(b);
	vcpu_reset_state(&s);
	s.es = s.ss = s.ds = s.fs = s.gs = data;
	s.cs = (struct control_segment){SEL_CODE, ATTR_CODE, UINT32_MAX, 0};
	s.gdtr = (struct control_segment){.limit = sizeof(b->gdt) - 1, .base = (u64)b->gdt};
	s.idtr = (struct control_segment){0};
	s.cr0 = CR0_PG | CR0_NE | CR0_ET | CR0_PE;
	s.cr3 = (u64)b->pml4;
	s.cr4 = CR4_PAE;
	s.efer = EFER_LME | EFER_LMA;
	s.rip = l->base + ENTRY_64;
	memset(v->gpr, 0, 16 * sizeof(*v->gpr));
	v->gpr[RSI] = (u64)&b->params;
	v->gpr[RSP] = (u64)(b->stack + sizeof(b->stack));
	return vcpu_set(v, &s, STATE_SEGMENTS | STATE_CONTROL | STATE_DEBUG | STATE_MSRS);
}

int linux_load(const struct boot_info *boot, const struct memmap *map, struct hv_vcpu *v)
{
	static struct load l;
	u64 offset;
	int ret;

	l.boot = boot;
	l.map = *map;
	ret = check_kernel(&l);
	if (!ret)
		ret = plan(&l);
	if (ret)
		return ret;
	offset = payload_offset(&l);
	if (offset >= boot->module[0].size)
		return -ENOEXEC;
	put_params(&l, map);
	print("mullion: primary VM's kernel at %lx, initrd at %lx, command line '%s'\n", l.base,
		boot->modules > 1 ? boot->module[1].base : 0, l.block->command_line);
	memmove((void *)l.base, (void *)(boot->module[0].base + offset), boot->module[0].size - offset);
	return set_entry(&l, v);
}
