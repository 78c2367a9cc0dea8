/* SPDX-License-Identifier: MIT */
/*
 * The primary VM's kernel, a bzImage, by the 64-bit boot protocol. All addresses
 * are the machine's: the primary VM has its memory where it is. What the kernel
 * finds beside itself (struct block) goes below 640 KiB, where it never
 * unpacks itself to; the initrd stays where the boot loader has put it.
 */
#include "hv/linux.h"

#include "hv/boot.h"
#include "hv/console.h"
#include "hv/efi.h"
#include "hv/exit.h"
#include "hv/string.h"

#include <errno.h>

enum {
	LOW = 0x10000, /* below it, the firmware may keep something */
	LOADER_UNKNOWN = 0xff,
	PTE_P = 1,
	PTE_W = 2,
	PTE_PS = 0x80,
	SEL_CODE = 0x10, /* as the protocol fixes them */
	SEL_DATA = 0x18,
	ATTR_CODE = 0xa9b,
	ATTR_DATA = 0xc93,
	EFER_LONG = 0x500, /* LME, LMA */
};

#define CR0_LONG 0x80000031 /* PG, NE, ET, PE */
#define CR4_LONG 0x20 /* PAE */

struct block {
	struct linux_params params;
	u64 pml4[512], pdpt[512], directory[4 * 512];
	u64 gdt[4];
	char command_line[512];
	u8 stack[1024];
	u8 efi_map[]; /* with room for two descriptors more */
};

struct load {
	const struct boot_info *boot;
	struct memmap map; /* with what is taken */
	struct linux_header header;
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
	const struct linux_header *h = &l->header;

	if (!l->boot->modules || kernel->size < PAGE_SIZE)
		return -ENOENT;
	memcpy(&l->header, (void *)(kernel->base + LINUX_HEADER), sizeof(l->header));
	if (h->magic != LINUX_MAGIC || h->version < LINUX_64BIT)
		return -ENOEXEC;
	if (!(h->load_flags & LINUX_LOADED_HIGH) || !(h->xload_flags & LINUX_KERNEL_64))
		return -ENOEXEC;
	if (!h->alignment || h->alignment & (h->alignment - 1))
		return -ENOEXEC;
	return 0;
}

static u64 payload_offset(const struct load *l)
{
	u64 sectors = l->header.setup_sectors ? l->header.setup_sectors : 4;

	return (sectors + 1) * LINUX_SECTOR;
}

/* The memory that everything goes to. The modules lie where they lie. */
static int plan(struct load *l)
{
	const struct boot_info *boot = l->boot;
	u64 block_size = ALIGN_UP(sizeof(struct block) + boot->efi_map_size + 2 * boot->efi_desc_size, PAGE_SIZE);
	u64 need = MAX((u64)l->header.init_size, boot->module[0].size);
	hpa_t preferred = l->header.preferred_address;

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
	else if (l->header.relocatable)
		l->base = find(&l->map, MIB(1), GIB(4), need, l->header.alignment);
	return l->base ? 0 : -ENOMEM;
}

/* ---- what the kernel is told ---- */

static void put_map(struct load *l, const struct memmap *map)
{
	struct linux_params *p = &l->block->params;

	for (unsigned i = 0; i < map->count; i++) {
		const struct mem_range *r = &map->range[i];

		if (r->type != MEM_HYPERVISOR && p->e820_count < LINUX_E820_MAX)
			p->e820[p->e820_count++] = (struct linux_e820){r->base, r->size, r->type};
	}
}

static void put_screen(struct load *l)
{
	struct linux_screen *s = &l->block->params.screen;
	__typeof__(&l->boot->screen) from = &l->boot->screen;
	bool efi = l->boot->efi_system_table;
	u32 bytes = from->pitch * from->height;

	if (from->type != 1 && !efi)
		*s = (struct linux_screen){.mode = 3, .columns = 80, .lines = 25, .type = LINUX_VGA, .points = 16};
	if (from->type != 1)
		return;
	s->type = efi ? LINUX_EFI_LFB : LINUX_VESA_LFB;
	s->width = (u16)from->width;
	s->height = (u16)from->height;
	s->depth = from->bpp;
	s->pitch = (u16)from->pitch;
	s->base = (u32)from->base;
	s->base_high = (u32)(from->base >> 32);
	s->capabilities = s->base_high ? LINUX_LFB_64BIT : 0;
	s->size = efi ? bytes : (bytes + 0xffff) >> 16;
	s->red_pos = from->red_pos;
	s->red_size = from->red_size;
	s->green_pos = from->green_pos;
	s->green_size = from->green_size;
	s->blue_pos = from->blue_pos;
	s->blue_size = from->blue_size;
	s->reserved_size = from->bpp == 32 ? 8 : 0;
	s->reserved_pos = from->bpp == 32 ? 24 : 0;
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
	out = (void *)(l->block->efi_map + l->block->params.efi.map_size);
	memcpy(out, d, l->boot->efi_desc_size);
	out->base = from;
	out->pages = (to - from) / PAGE_SIZE;
	l->block->params.efi.map_size += (u32)l->boot->efi_desc_size;
}

/* The firmware's map without us. One descriptor at most becomes two. */
static void put_efi(struct load *l)
{
	const struct boot_info *boot = l->boot;
	struct linux_efi *efi = &l->block->params.efi;

	if (!boot->efi_system_table || !boot->efi_map || boot->efi_desc_size < sizeof(struct efi_descriptor))
		return;
	for (u64 at = 0; at + boot->efi_desc_size <= boot->efi_map_size; at += boot->efi_desc_size) {
		const struct efi_descriptor *d = (void *)(boot->efi_map + at);

		put_part(l, d, 0, (u64)image_start);
		put_part(l, d, (u64)image_end, UINT64_MAX);
	}
	efi->signature = LINUX_EFI64;
	efi->descriptor_size = (u32)boot->efi_desc_size;
	efi->version = boot->efi_desc_version;
	efi->map = (u32)(u64)l->block->efi_map;
	efi->system_table = (u32)boot->efi_system_table;
	efi->system_table_high = (u32)(boot->efi_system_table >> 32);
}

static void put_params(struct load *l, const struct memmap *map)
{
	struct linux_params *p = &l->block->params;

	p->header = l->header;
	p->header.video_mode = 0xffff; /* normal */
	p->header.loader = LOADER_UNKNOWN;
	copy_string(l->block->command_line, l->boot->module[0].args, sizeof(l->block->command_line));
	p->header.command_line = (u32)(u64)l->block->command_line;
	if (l->boot->modules > 1) {
		p->header.ramdisk = (u32)l->boot->module[1].base;
		p->ramdisk_high = (u32)(l->boot->module[1].base >> 32);
		p->header.ramdisk_size = (u32)l->boot->module[1].size;
		p->ramdisk_size_high = (u32)(l->boot->module[1].size >> 32);
	}
	p->rsdp = l->boot->rsdp;
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
	s.cr0 = CR0_LONG;
	s.cr3 = (u64)b->pml4;
	s.cr4 = CR4_LONG;
	s.efer = EFER_LONG;
	s.rip = l->base + LINUX_ENTRY_64;
	memset(v->gpr, 0, 16 * sizeof(*v->gpr));
	v->gpr[6] = (u64)&b->params;
	v->gpr[4] = (u64)(b->stack + sizeof(b->stack));
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
