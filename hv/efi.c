/* SPDX-License-Identifier: MIT */
/*
 * The image as a UEFI application. It copies itself into memory that the firmware
 * then holds for reserved, starts the copy, and returns to the boot manager -
 * in guest mode: the firmware, and what it boots next, is the primary VM.
 */
#include "hv/efi.h"

#include "hv/boot.h"
#include "hv/domain.h"
#include "x86/insn.h"
#include "x86/msr.h"
#include "lib/string.h"
#include "x86/state.h"

#include <errno.h>

enum { MAP_ROOM = 65536, PAGES_ALIGN = 256 /* 1 MiB */ };

extern u8 file_end[], image_entry[];
u64 efi_start(const struct efi_system_table *efi, u64 rsp, u64 rip);

static struct boot_info boot;
static struct control_state state;

/* ---- in the application ---- */
static u64 allocate(const struct efi_boot_services *services)
{
	u64 pages = (u64)(image_end - image_start) / PAGE_SIZE;
	u64 base = UINT32_MAX, start, end;

	if (services->allocate_pages(EFI_ALLOCATE_BELOW, EFI_RESERVED, pages + PAGES_ALIGN, &base))
		return 0;
	start = ALIGN_UP(base, PAGES_ALIGN * PAGE_SIZE);
	end = base + (pages + PAGES_ALIGN) * PAGE_SIZE;
	if (start > base)
		services->free_pages(base, (start - base) / PAGE_SIZE);
	base = start + pages * PAGE_SIZE;
	if (end > base)
		services->free_pages(base, (end - base) / PAGE_SIZE);
	return start;
}

static u64 copy_image(u64 base)
{
	u64 size = (u64)(file_end - image_start);

	memcpy((void *)base, image_start, size);
	memset((void *)(base + size), 0, (u64)(image_end - image_start) - size);
	return base + (u64)(image_end - image_start);
}

/* The map lies at the end of the copy's page pool: used up before the pool is. */
static u64 read_map(const struct efi_boot_services *services, u64 end)
{
	u64 key;

	boot.efi_map = end - MAP_ROOM;
	boot.efi_map_size = MAP_ROOM;
	return services->get_memory_map(&boot.efi_map_size, (void *)boot.efi_map, &key, &boot.efi_desc_size,
		&boot.efi_desc_version);
}

static struct control_segment segment(u16 selector)
{
	const u64 *gdt = (u64 *)state.gdtr.base + selector / 8;
	struct control_segment s = {.selector = selector};

	if (selector < 8 || selector > state.gdtr.limit)
		return s;
	s.attr = (u16)((gdt[0] >> 40 & 0xff) | (gdt[0] >> 52 & 0xf) << 8);
	s.base = (gdt[0] >> 16 & 0xffffff) | gdt[0] >> 56 << 24;
	s.limit = (u32)((gdt[0] & 0xffff) | (gdt[0] >> 32 & 0xf0000));
	if (s.attr & 0x800) /* counts pages */
		s.limit = s.limit << PAGE_SHIFT | 0xfff;
	if (!(s.attr & 0x10)) /* a system segment has two words */
		s.base |= gdt[1] << 32;
	return s;
}

#define SELECTOR(name)                                       \
	({                                                   \
		u16 selector_;                               \
		__asm__ volatile(name " %0" : "=rm"(selector_)); \
		segment(selector_);                          \
	})
#define TABLE(name)                                                                        \
	({                                                                                 \
		struct table_register table_;                                              \
		__asm__ volatile(name " %0" : "=m"(table_));                               \
		(struct control_segment){.limit = table_.limit, .base = table_.base};      \
	})

static void capture_segments(void)
{
	state.gdtr = TABLE("sgdt");
	state.idtr = TABLE("sidt");
	state.es = SELECTOR("mov %%es,");
	state.cs = SELECTOR("mov %%cs,");
	state.ss = SELECTOR("mov %%ss,");
	state.ds = SELECTOR("mov %%ds,");
	state.fs = SELECTOR("mov %%fs,");
	state.gs = SELECTOR("mov %%gs,");
	state.tr = SELECTOR("str");
	if (!state.tr.attr) /* firmware that never loads one keeps that of the reset: a busy TSS at 0 */
		state.tr = (struct control_segment){.attr = 0x8b, .limit = 0xffff};
	state.ldtr = SELECTOR("sldt");
	state.fs.base = rdmsr(0xc0000100);
	state.gs.base = rdmsr(0xc0000101);
}

static void capture(u64 rip)
{
	vcpu_reset_state(&state);
	capture_segments();
	__asm__ volatile("mov %%cr0, %0" : "=r"(state.cr0));
	state.cr2 = read_cr2();
	state.cr3 = read_cr3();
	state.cr4 = read_cr4();
	state.efer = rdmsr(MSR_EFER);
	state.rip = rip;
	state.star = rdmsr(0xc0000081);
	state.lstar = rdmsr(0xc0000082);
	state.cstar = rdmsr(0xc0000083);
	state.sfmask = rdmsr(0xc0000084);
	state.kernel_gs_base = rdmsr(0xc0000102);
	state.sysenter_cs = rdmsr(0x174);
	state.sysenter_esp = rdmsr(0x175);
	state.sysenter_eip = rdmsr(0x176);
	state.pat = rdmsr(0x277);
}

static bool started_already(void)
{
	struct cpuid r = cpuid(0x40000000, 0);

	return r.ebx == 0x6c6c754d && r.ecx == 0x4d6e6f69 && r.edx == 0x696c6c75; /* "MullionMulli" */
}

/*
 * The firmware leaves its CPUs in a loop and the system then sends them INITs. QEMU's
 * emulated CPU cannot hold those back from us, so there they must not get out.
 */
static bool is_qemu(void)
{
	return cpuid(0x40000000, 0).ebx == 0x54474354; /* "TCGT" */
}

/* From boot.S; there, at rip with this rsp, the firmware goes on. Returns only a failure. */
u64 efi_start(const struct efi_system_table *efi, u64 rsp, u64 rip)
{
	void (*enter)(struct boot_info *);
	u64 base, status;

	if (started_already())
		return EFI_ERROR(EFI_ALREADY_STARTED);
	if (!hvm->present())
		return EFI_ERROR(EFI_UNSUPPORTED);
	base = allocate(efi->boot);
	if (!base)
		return EFI_ERROR(EFI_UNSUPPORTED);
	status = read_map(efi->boot, copy_image(base));
	if (status)
		return status;
	__asm__ volatile("cli");
	capture(rip);
	boot.way = "UEFI";
	if (is_qemu())
		copy_string(boot.args, "lapic=hooked", sizeof(boot.args));
	boot.efi_system_table = (u64)efi;
	boot.efi_return = &state;
	boot.efi_stack = rsp;
	enter = (void *)(base + (u64)(image_entry - image_start));
	enter(&boot);
	return 0;
}

/* ---- in the hypervisor ---- */
static u32 type_of(u32 efi_type)
{
	if (efi_type == EFI_CONVENTIONAL || (efi_type >= EFI_LOADER_CODE && efi_type <= EFI_BOOT_DATA))
		return MEM_RAM;
	if (efi_type == EFI_UNUSABLE)
		return MEM_BAD;
	if (efi_type == EFI_ACPI_TABLES)
		return MEM_ACPI;
	return efi_type == EFI_ACPI_NVS ? MEM_NVS : MEM_RESERVED;
}

void efi_take_map(struct boot_info *info)
{
	for (u64 at = 0; at + info->efi_desc_size <= info->efi_map_size; at += info->efi_desc_size) {
		const struct efi_descriptor *d = (void *)(info->efi_map + at);

		boot_range(info, d->base, d->pages * PAGE_SIZE, type_of(d->type));
	}
}

int efi_resume_firmware(const struct boot_info *info, struct hv_vcpu *v)
{
	v->gpr[RSP] = info->efi_stack;
	return vcpu_set(v, info->efi_return, STATE_SEGMENTS | STATE_CONTROL | STATE_DEBUG | STATE_MSRS);
}
