/* SPDX-License-Identifier: MIT */
/* The window at 0xa0000: planes, latches, write modes. Facts: IBM VGA technical reference, FreeVGA. */
#include <string.h>

#include "dev/vga.h"
#include "vm/dma.h"

enum {
	SEQ_MAP_MASK = 2,
	SEQ_MEMORY_MODE = 4,
	GC_SET_RESET = 0,
	GC_SET_RESET_ON = 1,
	GC_COLOUR_COMPARE = 2,
	GC_ROTATE = 3, /* and the function */
	GC_READ_MAP = 4,
	GC_MODE = 5,
	GC_MISC = 6,
	GC_COLOUR_DONT_CARE = 7,
	GC_BIT_MASK = 8,

	MEMORY_FLAT = 0x04, /* not odd/even */
	MEMORY_CHAIN_4 = 0x08,
	MODE_READ_COMPARE = 0x08,
	MODE_ODD_EVEN = 0x10,
};

/* Where the window's byte is, in the window's current map; false: nowhere. */
static bool map(const struct vga *vga, u32 *offset)
{
	switch (vga->gc[GC_MISC] >> 2 & 3) {
	case 0:
		return true;
	case 1:
		if (*offset >= 0x10000)
			return false;
		if (vga_dispi_on(vga))
			*offset += (u32)vga->dispi[DISPI_BANK] << 16;
		return true;
	case 2:
		*offset -= 0x10000;
		return *offset < 0x8000;
	default:
		*offset -= 0x18000;
		return *offset < 0x8000;
	}
}

static bool linear(const struct vga *vga)
{
	return vga->seq[SEQ_MEMORY_MODE] & MEMORY_CHAIN_4 ||
	       (vga_dispi_on(vga) && vga->dispi[DISPI_BPP] >= 8);
}

/* The four planes' bytes at an address. */
static u8 *planes(const struct vga *vga, u32 address)
{
	return vga->vram + (4ull * address & (VGA_VRAM_SIZE - 1));
}

static u8 read_compare(const struct vga *vga)
{
	u8 differ = 0;

	for (unsigned p = 0; p < 4; p++) {
		u8 wanted = vga->gc[GC_COLOUR_COMPARE] >> p & 1 ? 0xff : 0;

		if (vga->gc[GC_COLOUR_DONT_CARE] >> p & 1)
			differ |= vga->latch[p] ^ wanted;
	}
	return (u8)~differ;
}

u8 vga_memory_read(struct vga *vga, u32 offset)
{
	if (!map(vga, &offset))
		return 0xff;
	if (linear(vga))
		return vga->vram[offset & (VGA_VRAM_SIZE - 1)];
	if (vga->gc[GC_MODE] & MODE_ODD_EVEN) {
		u8 plane = (u8)((vga->gc[GC_READ_MAP] & 2) | (offset & 1));

		return planes(vga, offset >> 1)[plane];
	}
	memcpy(vga->latch, planes(vga, offset), 4);
	if (vga->gc[GC_MODE] & MODE_READ_COMPARE)
		return read_compare(vga);
	return vga->latch[vga->gc[GC_READ_MAP]];
}

static u8 rotate(u8 value, unsigned n)
{
	return (u8)(value >> n | value << (8 - n));
}

static u8 combine(u8 function, u8 value, u8 latch)
{
	switch (function) {
	case 1:
		return value & latch;
	case 2:
		return value | latch;
	case 3:
		return value ^ latch;
	default:
		return value;
	}
}

/* What a plane gets, by write mode. */
static u8 plane_value(const struct vga *vga, unsigned p, u8 value)
{
	u8 function = vga->gc[GC_ROTATE] >> 3 & 3, mask = vga->gc[GC_BIT_MASK];
	u8 set = vga->gc[GC_SET_RESET] >> p & 1 ? 0xff : 0;
	u8 latch = vga->latch[p], turned = rotate(value, vga->gc[GC_ROTATE] & 7);

	switch (vga->gc[GC_MODE] & 3) {
	case 0:
		if (vga->gc[GC_SET_RESET_ON] >> p & 1)
			turned = set;
		value = combine(function, turned, latch);
		break;
	case 1:
		return latch;
	case 2:
		value = combine(function, value >> p & 1 ? 0xff : 0, latch);
		break;
	default:
		mask &= turned;
		value = set;
		break;
	}
	return (u8)((value & mask) | (latch & ~mask));
}

static void write_planes(struct vga *vga, u8 *to, u8 value)
{
	for (unsigned p = 0; p < 4; p++) {
		if (vga->seq[SEQ_MAP_MASK] >> p & 1)
			to[p] = plane_value(vga, p, value);
	}
}

void vga_memory_write(struct vga *vga, u32 offset, u8 value)
{
	u8 *to;

	if (!map(vga, &offset))
		return;
	vga->serial++;
	if (linear(vga)) {
		to = planes(vga, offset >> 2);
		/* The mask is per plane, and planes are every fourth byte. */
		if (vga_dispi_on(vga) || vga->seq[SEQ_MAP_MASK] >> (offset & 3) & 1)
			to[offset & 3] = value;
	} else if (!(vga->seq[SEQ_MEMORY_MODE] & MEMORY_FLAT)) {
		to = planes(vga, offset >> 1);
		for (u8 plane = offset & 1; plane < 4; plane = (u8)(plane + 2)) {
			if (vga->seq[SEQ_MAP_MASK] >> plane & 1)
				to[plane] = value;
		}
	} else {
		to = planes(vga, offset);
		write_planes(vga, to, value);
	}
	dma_wrote(vga->vm, to, 4); /* the guest may run code from its frame buffer */
}
