/* SPDX-License-Identifier: MIT */
/* Standard VGA: its PCI function and its regions. */
#include "dev/vga.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "vm/vm.h"

#define MMIO_SIZE KIB(4)
#define DEFAULT_WIDTH 1024
#define DEFAULT_HEIGHT 768

/* BAR 2 */
enum {
	MMIO_EDID_END = 0x400,
	MMIO_VGA = 0x400, /* 0x3c0 to 0x3df */
	MMIO_VGA_END = 0x420,
	MMIO_DISPI = 0x500,
	MMIO_DISPI_END = 0x500 + 2 * DISPI_REGS,
	MMIO_EXTRA_SIZE = 0x600,
	MMIO_ENDIAN = 0x604,
	EXTRA_SIZE = 8,
	LITTLE_ENDIAN_FB = 0x1e1e1e1e,
};

static struct vga *of(struct device *dev)
{
	return container_of(dev, struct vga, pci.dev);
}

/* ---- the regions ---- */

static u64 window_read(struct device *dev, u64 offset, unsigned size)
{
	u64 value = 0;

	for (unsigned i = 0; i < size; i++)
		value |= (u64)vga_memory_read(of(dev), (u32)offset + i) << (8 * i);
	return value;
}

static void window_write(struct device *dev, u64 offset, unsigned size, u64 value)
{
	for (unsigned i = 0; i < size; i++)
		vga_memory_write(of(dev), (u32)offset + i, (u8)(value >> (8 * i)));
}

static u64 ports_read(struct device *dev, u64 offset, unsigned size)
{
	(void)size;
	return vga_port_read(of(dev), (unsigned)offset);
}

static void ports_write(struct device *dev, u64 offset, unsigned size, u64 value)
{
	(void)size;
	vga_port_write(of(dev), (unsigned)offset, (u8)value);
}

/* The index at 0x1ce; the value at 0x1cf, where a word is not aligned and comes as two bytes, and at 0x1d0. */
static u64 dispi_ports_read(struct device *dev, u64 offset, unsigned size)
{
	struct vga *vga = of(dev);
	u16 value = vga_dispi_read(vga, vga->dispi_index);

	if (!offset)
		return vga->dispi_index;
	return size == 2 || offset == 1 ? value : value >> 8;
}

static void dispi_ports_write(struct device *dev, u64 offset, unsigned size, u64 value)
{
	struct vga *vga = of(dev);

	if (!offset)
		vga->dispi_index = (u16)value;
	else if (offset == 1)
		vga->dispi_low = (u8)value;
	else if (size == 1)
		vga_dispi_write(vga, vga->dispi_index, (u16)(vga->dispi_low | value << 8));
	else
		vga_dispi_write(vga, vga->dispi_index, (u16)value);
}

static u32 mmio_byte(struct vga *vga, unsigned offset)
{
	if (offset < VGA_EDID_SIZE)
		return vga->edid[offset];
	if (offset < MMIO_EDID_END)
		return 0;
	if (offset < MMIO_VGA_END)
		return vga_port_read(vga, offset - MMIO_VGA + 0x3c0 - VGA_PORTS);
	if (offset >= MMIO_DISPI && offset < MMIO_DISPI_END)
		return vga_dispi_read(vga, (offset - MMIO_DISPI) / 2) >> 8 * (offset & 1) & 0xff;
	if (offset >= MMIO_EXTRA_SIZE && offset < MMIO_EXTRA_SIZE + 4)
		return EXTRA_SIZE >> 8 * (offset & 3) & 0xff;
	if (offset >= MMIO_ENDIAN && offset < MMIO_ENDIAN + 4)
		return vga->endian >> 8 * (offset & 3) & 0xff;
	return 0;
}

static u64 mmio_read(struct device *dev, u64 offset, unsigned size)
{
	u64 value = 0;

	for (unsigned i = 0; i < size; i++)
		value |= (u64)mmio_byte(of(dev), (unsigned)offset + i) << (8 * i);
	return value;
}

static void mmio_write(struct device *dev, u64 offset, unsigned size, u64 value)
{
	struct vga *vga = of(dev);

	if (offset >= MMIO_VGA && offset < MMIO_VGA_END) {
		for (unsigned i = 0; i < size; i++)
			vga_port_write(vga, (unsigned)offset + i - MMIO_VGA + 0x3c0 - VGA_PORTS,
				(u8)(value >> (8 * i)));
	} else if (offset >= MMIO_DISPI && offset < MMIO_DISPI_END && size >= 2) {
		for (unsigned i = 0; i < size; i += 2)
			vga_dispi_write(
				vga, ((unsigned)offset + i - MMIO_DISPI) / 2, (u16)(value >> (8 * i)));
	} else if (offset == MMIO_ENDIAN && size == 4 && value == LITTLE_ENDIAN_FB) {
		vga->endian = (u32)value; /* the other order is not offered */
	}
}

static const struct region_ops window_ops = {window_read, window_write, 1, 8};
static const struct region_ops ports_ops = {ports_read, ports_write, 1, 1};
static const struct region_ops dispi_ports_ops = {dispi_ports_read, dispi_ports_write, 1, 2};
static const struct region_ops mmio_ops = {mmio_read, mmio_write, 1, 4};

static void describe_regions(struct vga *vga)
{
	struct device *dev = &vga->pci.dev;

	vga->lfb = (struct region){.name = "vga frame buffer",
		.host = vga->vram,
		.direct = DIRECT_READ | DIRECT_WRITE,
		.dev = dev};
	vga->mmio = (struct region){.name = "vga registers", .ops = &mmio_ops, .dev = dev};
	vga->window = (struct region){.name = "vga window",
		.base = VGA_WINDOW,
		.size = VGA_WINDOW_SIZE,
		.ops = &window_ops,
		.dev = dev};
	vga->ports = (struct region){.name = "vga ports",
		.base = VGA_PORTS,
		.size = VGA_PORTS_SIZE,
		.ops = &ports_ops,
		.dev = dev};
	vga->dispi_ports = (struct region){
		.name = "vga dispi", .base = VGA_DISPI_PORTS, .size = 4, .ops = &dispi_ports_ops, .dev = dev};
}

/* ---- its life ---- */

static void reset(struct vga *vga)
{
	vga_regs_reset(vga);
	vga_dispi_reset(vga);
	vga->endian = LITTLE_ENDIAN_FB;
}

int vga_init(struct vga *vga, struct vm *vm)
{
	memset(vga, 0, sizeof(*vga));
	vga->vm = vm;
	vga->display.ops = &vga_display_ops;
	vga->vram = mmap(NULL, VGA_VRAM_SIZE, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (vga->vram == MAP_FAILED) {
		vga->vram = NULL;
		return -ENOMEM;
	}
	vga_edid_make(vga->edid, DEFAULT_WIDTH, DEFAULT_HEIGHT);
	reset(vga);
	return 0;
}

void vga_fini(struct vga *vga)
{
	if (vga->vram)
		munmap(vga->vram, VGA_VRAM_SIZE);
	vga->vram = NULL;
}

static void function_reset(struct pci_function *fn)
{
	reset(container_of(fn, struct vga, pci));
}

static void function_free(struct pci_function *fn)
{
	struct vga *vga = container_of(fn, struct vga, pci);

	space_remove(&vga->vm->mem, &vga->window);
	space_remove(&vga->vm->io, &vga->ports);
	space_remove(&vga->vm->io, &vga->dispi_ports);
	vga_fini(vga);
	free(vga);
}

static const struct pci_function_ops function_ops = {.reset = function_reset, .free = function_free};

static int add_regions(struct vga *vga)
{
	int ret;

	describe_regions(vga);
	ret = pci_add_bar(&vga->pci, 0, PCI_BAR_MEM32, VGA_VRAM_SIZE, &vga->lfb);
	if (!ret)
		ret = pci_add_bar(&vga->pci, 2, PCI_BAR_MEM32, MMIO_SIZE, &vga->mmio);
	if (!ret)
		ret = space_add(&vga->vm->mem, &vga->window);
	if (!ret)
		ret = space_add(&vga->vm->io, &vga->ports);
	if (!ret)
		ret = space_add(&vga->vm->io, &vga->dispi_ports);
	return ret;
}

int vga_create(struct vm *vm, struct vga **out)
{
	static const struct pci_ident ident = {
		.vendor = 0x1234,
		.device = 0x1111,
		.subvendor = 0x1af4,
		.subsystem = 0x1100,
		.class = 0x030000,
		.revision = 2,
		.legacy = true,
	};
	struct vga *vga = malloc(sizeof(*vga));
	int ret;

	if (!vga)
		return -ENOMEM;
	ret = vga_init(vga, vm);
	if (!ret)
		ret = pci_function_init(&vga->pci, vm, "vga", &ident, &function_ops);
	if (!ret)
		ret = add_regions(vga);
	if (ret) {
		vga_fini(vga);
		free(vga);
		return ret;
	}
	*out = vga;
	return 0;
}
