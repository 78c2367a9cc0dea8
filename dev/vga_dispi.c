/* SPDX-License-Identifier: MIT */
/* The Bochs display interface: linear modes of any size. Facts: Bochs' vbe.h, QEMU's standard VGA document. */
#include <string.h>

#include "dev/vga.h"
#include "vm/dma.h"

enum {
	ID_FIRST = 0xb0c0,
	ID_LAST = 0xb0c5,

	GC_MODE = 5,
	GC_MISC = 6,
	SEQ_MAP_MASK = 2,
	SEQ_MEMORY_MODE = 4,
};

static unsigned bits_per_pixel(const struct vga *vga)
{
	unsigned bpp = vga->dispi[DISPI_BPP];

	return bpp == 15 ? 16 : bpp;
}

u32 vga_dispi_stride(const struct vga *vga)
{
	/* Four planes of a bit each are four bytes for eight pixels. */
	return vga->dispi[DISPI_VIRT_WIDTH] * bits_per_pixel(vga) / 8;
}

static u16 limit(unsigned value, unsigned low, unsigned high)
{
	return (u16)MAX(MIN(value, high), low);
}

/* Makes the registers agree with each other and with the memory, whatever the guest wrote. */
static void settle(struct vga *vga)
{
	u16 *dispi = vga->dispi;
	unsigned bpp = dispi[DISPI_BPP], lines;

	if (bpp != 4 && bpp != 8 && bpp != 15 && bpp != 16 && bpp != 24)
		bpp = 32;
	dispi[DISPI_BPP] = (u16)bpp;
	dispi[DISPI_XRES] = limit(dispi[DISPI_XRES] & ~7u, 8, DISPLAY_MAX_WIDTH);
	dispi[DISPI_VIRT_WIDTH] = limit(dispi[DISPI_VIRT_WIDTH] & ~7u, dispi[DISPI_XRES], 0x7ff8);
	lines = (unsigned)(VGA_VRAM_SIZE / vga_dispi_stride(vga));
	dispi[DISPI_YRES] = limit(dispi[DISPI_YRES], 1, MIN(lines, DISPLAY_MAX_HEIGHT));
	dispi[DISPI_VIRT_HEIGHT] = limit(lines, 1, 0xffff);
	dispi[DISPI_X_OFFSET] = limit(dispi[DISPI_X_OFFSET], 0, dispi[DISPI_VIRT_WIDTH] - dispi[DISPI_XRES]);
	dispi[DISPI_Y_OFFSET] = limit(dispi[DISPI_Y_OFFSET], 0, dispi[DISPI_VIRT_HEIGHT] - dispi[DISPI_YRES]);
}

/* The window then shows the same linear memory, bank by bank. */
static void open_window(struct vga *vga)
{
	vga->gc[GC_MISC] = (u8)((vga->gc[GC_MISC] & ~0x0c) | 0x05);
	vga->seq[SEQ_MAP_MASK] = 0x0f;
	if (vga->dispi[DISPI_BPP] == 4) {
		vga->gc[GC_MODE] &= 0x9f;
		vga->seq[SEQ_MEMORY_MODE] = (u8)((vga->seq[SEQ_MEMORY_MODE] & ~0x08) | 0x04);
	} else {
		vga->gc[GC_MODE] = (u8)((vga->gc[GC_MODE] & 0x9f) | 0x40);
		vga->seq[SEQ_MEMORY_MODE] |= 0x0c;
	}
}

static void enable(struct vga *vga, u16 value)
{
	bool was_on = vga_dispi_on(vga);
	u16 *dispi = vga->dispi;

	dispi[DISPI_ENABLE] =
		value & (DISPI_ENABLED | DISPI_GET_CAPS | DISPI_8BIT_DAC | DISPI_LFB | DISPI_NO_CLEAR);
	dispi[DISPI_BANK] = 0;
	if (!vga_dispi_on(vga) || was_on)
		return;
	dispi[DISPI_VIRT_WIDTH] = 0;
	dispi[DISPI_X_OFFSET] = dispi[DISPI_Y_OFFSET] = 0;
	settle(vga);
	if (!(value & DISPI_NO_CLEAR)) {
		size_t len = (size_t)dispi[DISPI_YRES] * vga_dispi_stride(vga);

		memset(vga->vram, 0, len);
		dma_wrote(vga->vm, vga->vram, len);
	}
	open_window(vga);
}

/* With GET_CAPS, the largest values that may be set. */
static u16 capability(const struct vga *vga, unsigned index)
{
	switch (index) {
	case DISPI_XRES:
		return DISPLAY_MAX_WIDTH;
	case DISPI_YRES:
		return DISPLAY_MAX_HEIGHT;
	case DISPI_BPP:
		return 32;
	default:
		return vga->dispi[index];
	}
}

u16 vga_dispi_read(const struct vga *vga, unsigned index)
{
	if (index >= DISPI_REGS)
		return 0;
	if (vga->dispi[DISPI_ENABLE] & DISPI_GET_CAPS)
		return capability(vga, index);
	return vga->dispi[index];
}

void vga_dispi_write(struct vga *vga, unsigned index, u16 value)
{
	vga->serial++;
	switch (index) {
	case DISPI_ID:
		if (value >= ID_FIRST && value <= ID_LAST)
			vga->dispi[DISPI_ID] = value;
		break;
	case DISPI_ENABLE:
		enable(vga, value);
		break;
	case DISPI_BANK:
		vga->dispi[DISPI_BANK] = value & (VGA_VRAM_SIZE / KIB(64) - 1);
		break;
	case DISPI_XRES:
	case DISPI_YRES:
	case DISPI_BPP:
	case DISPI_VIRT_WIDTH:
	case DISPI_X_OFFSET:
	case DISPI_Y_OFFSET:
		vga->dispi[index] = value;
		if (vga_dispi_on(vga))
			settle(vga);
		break;
	default: /* read-only */
		break;
	}
}

void vga_dispi_reset(struct vga *vga)
{
	memset(vga->dispi, 0, sizeof(vga->dispi));
	vga->dispi[DISPI_ID] = ID_LAST;
	vga->dispi[DISPI_MEMORY] = VGA_VRAM_SIZE / KIB(64);
	vga->dispi_index = vga->dispi_low = 0;
}
