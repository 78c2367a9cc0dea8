/* SPDX-License-Identifier: MIT */
/* The VGA's ports. Facts: IBM VGA technical reference, FreeVGA. */
#include <string.h>
#include <sys/mman.h>

#include "dev/vga.h"

/* Offsets from 0x3b0; the CRTC's ports are at 0x3b4 or at 0x3d4. */
enum {
	PORT_ATTR = 0x10,
	PORT_ATTR_READ = 0x11,
	PORT_MISC = 0x12, /* read: input status 0 */
	PORT_SEQ_INDEX = 0x14,
	PORT_SEQ = 0x15,
	PORT_DAC_MASK = 0x16,
	PORT_DAC_READ = 0x17, /* read: state */
	PORT_DAC_WRITE = 0x18,
	PORT_DAC = 0x19,
	PORT_FEATURE_READ = 0x1a,
	PORT_MISC_READ = 0x1c,
	PORT_GC_INDEX = 0x1e,
	PORT_GC = 0x1f,
	PORT_COLOUR = 0x20, /* 0x3d0 to 0x3df; the other half is for monochrome */
	PORT_CRTC_INDEX = 0x04,
	PORT_CRTC = 0x05,
	PORT_STATUS1 = 0x0a, /* write: feature control */

	MISC_COLOUR = 0x01,
	ATTR_VIDEO_ON = 0x20,
	STATUS0_SENSE = 0x10, /* a monitor is there */
	STATUS1_BLANK = 0x01,
	STATUS1_RETRACE = 0x08,
	CRTC_PROTECT = 0x80, /* in 0x11: 0 to 7 are read-only, but for one bit */
	DAC_READING = 3,
	DAC_WRITING = 0,
};

static const u8 seq_mask[8] = {0x03, 0x3d, 0x0f, 0x3f, 0x0e};
static const u8 gc_mask[16] = {0x0f, 0x0f, 0x0f, 0x1f, 0x03, 0x7b, 0x0f, 0x0f, 0xff};

/* Mode 3 as firmware sets it: 80x25 characters of 9x16. */
static const u8 text_seq[VGA_SEQ_REGS] = {0x03, 0x00, 0x03, 0x00, 0x02};
static const u8 text_gc[VGA_GC_REGS] = {0, 0, 0, 0, 0, 0x10, 0x0e, 0x0f, 0xff};
static const u8 text_crtc[VGA_CRTC_REGS] = {0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00, 0x4f, 0x0d,
	0x0e, 0x00, 0x00, 0x00, 0x00, 0x9c, 0x8e, 0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff};
static const u8 text_attr[VGA_ATTR_REGS] = {0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x14, 0x07, 0x38, 0x39, 0x3a,
	0x3b, 0x3c, 0x3d, 0x3e, 0x3f, 0x0c, 0x00, 0x0f, 0x08, 0x00};

/* The colours of the EGA's 64: two bits a part, the high one in bits 0 to 2. */
static void default_palette(struct vga *vga)
{
	memset(vga->dac, 0, sizeof(vga->dac));
	for (unsigned i = 0; i < 64; i++) {
		for (unsigned part = 0; part < 3; part++) {
			unsigned bit = 2 - part;

			vga->dac[3 * i + part] = (u8)((i >> bit & 1) * 42 + (i >> (bit + 3) & 1) * 21);
		}
	}
}

static void empty_screen(struct vga *vga)
{
	madvise(vga->vram, VGA_VRAM_SIZE, MADV_DONTNEED); /* zero, and free until it is used */
	for (unsigned i = 0; i < 80 * 25; i++) {
		vga->vram[4 * i] = ' ';
		vga->vram[4 * i + 1] = 0x07;
	}
	for (unsigned c = 0; c < 256; c++) {
		for (unsigned y = 0; y < 16; y++)
			vga->vram[4 * (32 * c + y) + 2] = vga_font[16 * c + y];
	}
}

void vga_regs_reset(struct vga *vga)
{
	vga->misc = 0x67;
	vga->feature = vga->status1 = 0;
	memcpy(vga->seq, text_seq, sizeof(text_seq));
	memcpy(vga->gc, text_gc, sizeof(text_gc));
	memcpy(vga->crtc, text_crtc, sizeof(text_crtc));
	memcpy(vga->attr, text_attr, sizeof(text_attr));
	vga->seq_index = vga->gc_index = vga->crtc_index = 0;
	vga->attr_index = ATTR_VIDEO_ON;
	vga->attr_data = false;
	vga->dac_mask = 0xff;
	vga->dac_read = vga->dac_write = vga->dac_part = vga->dac_state = 0;
	memset(vga->latch, 0, sizeof(vga->latch));
	default_palette(vga);
	empty_screen(vga);
	vga->serial++;
}

/* ---- DAC ---- */

static u8 dac_read(struct vga *vga)
{
	u8 value = vga->dac[3 * vga->dac_read + vga->dac_part];

	if (++vga->dac_part == 3) {
		vga->dac_part = 0;
		vga->dac_read++;
	}
	return value;
}

static void dac_write(struct vga *vga, u8 value)
{
	if (!(vga->dispi[DISPI_ENABLE] & DISPI_8BIT_DAC))
		value &= 0x3f;
	vga->dac[3 * vga->dac_write + vga->dac_part] = value;
	if (++vga->dac_part == 3) {
		vga->dac_part = 0;
		vga->dac_write++;
	}
}

/* ---- the others ---- */

static void attr_write(struct vga *vga, u8 value)
{
	unsigned index = vga->attr_index & 0x1f;

	vga->attr_data = !vga->attr_data;
	if (vga->attr_data)
		vga->attr_index = value & 0x3f;
	else if (index < 16)
		vga->attr[index] = value & 0x3f;
	else if (index < VGA_ATTR_REGS)
		vga->attr[index] = value;
}

static void crtc_write(struct vga *vga, u8 value)
{
	u8 index = vga->crtc_index;

	if (index >= VGA_CRTC_REGS)
		return;
	if (vga->crtc[0x11] & CRTC_PROTECT && index <= 7) {
		if (index == 7) /* a bit of the line compare */
			vga->crtc[7] = (u8)((vga->crtc[7] & ~0x10) | (value & 0x10));
		return;
	}
	vga->crtc[index] = value;
}

/* The guest waits for retraces: every look sees another state. */
static u8 status1(struct vga *vga)
{
	vga->status1 ^= STATUS1_BLANK | STATUS1_RETRACE;
	vga->attr_data = false;
	return vga->status1;
}

/* Is this the half of 0x3bx and 0x3dx that does not answer now? */
static bool other_half(const struct vga *vga, unsigned offset)
{
	bool colour = vga->misc & MISC_COLOUR;

	return (offset < PORT_ATTR && colour) || (offset >= PORT_COLOUR && !colour);
}

static u8 crtc_half_read(struct vga *vga, unsigned offset)
{
	switch (offset & 0x0f) {
	case PORT_CRTC_INDEX:
		return vga->crtc_index;
	case PORT_CRTC:
		return vga->crtc_index < VGA_CRTC_REGS ? vga->crtc[vga->crtc_index] : 0;
	case PORT_STATUS1:
		return status1(vga);
	default:
		return 0xff;
	}
}

static u8 middle_read(struct vga *vga, unsigned offset)
{
	unsigned index = vga->attr_index & 0x1f;

	switch (offset) {
	case PORT_ATTR:
		return vga->attr_data ? 0 : vga->attr_index;
	case PORT_ATTR_READ:
		return index < VGA_ATTR_REGS ? vga->attr[index] : 0;
	case PORT_MISC:
		return STATUS0_SENSE;
	case PORT_SEQ_INDEX:
		return vga->seq_index;
	case PORT_SEQ:
		return vga->seq_index < VGA_SEQ_REGS ? vga->seq[vga->seq_index] : 0;
	case PORT_DAC_MASK:
		return vga->dac_mask;
	case PORT_DAC_READ:
		return vga->dac_state;
	case PORT_DAC_WRITE:
		return vga->dac_write;
	case PORT_DAC:
		return dac_read(vga);
	case PORT_FEATURE_READ:
		return vga->feature;
	case PORT_MISC_READ:
		return vga->misc;
	case PORT_GC_INDEX:
		return vga->gc_index;
	case PORT_GC:
		return vga->gc_index < VGA_GC_REGS ? vga->gc[vga->gc_index] : 0;
	default:
		return 0xff;
	}
}

u8 vga_port_read(struct vga *vga, unsigned offset)
{
	if (other_half(vga, offset))
		return 0xff;
	if (offset >= PORT_ATTR && offset < PORT_COLOUR)
		return middle_read(vga, offset);
	return crtc_half_read(vga, offset);
}

static void crtc_half_write(struct vga *vga, unsigned offset, u8 value)
{
	switch (offset & 0x0f) {
	case PORT_CRTC_INDEX:
		vga->crtc_index = value;
		break;
	case PORT_CRTC:
		crtc_write(vga, value);
		break;
	case PORT_STATUS1:
		vga->feature = value;
		break;
	default:
		break;
	}
}

static void dac_index(struct vga *vga, u8 *index, u8 state, u8 value)
{
	*index = value;
	vga->dac_state = state;
	vga->dac_part = 0;
}

static void middle_write(struct vga *vga, unsigned offset, u8 value)
{
	switch (offset) {
	case PORT_ATTR:
		attr_write(vga, value);
		break;
	case PORT_MISC:
		vga->misc = value;
		break;
	case PORT_SEQ_INDEX:
		vga->seq_index = value & 7;
		break;
	case PORT_SEQ:
		if (vga->seq_index < VGA_SEQ_REGS)
			vga->seq[vga->seq_index] = value & seq_mask[vga->seq_index];
		break;
	case PORT_DAC_MASK:
		vga->dac_mask = value;
		break;
	case PORT_DAC_READ:
		dac_index(vga, &vga->dac_read, DAC_READING, value);
		break;
	case PORT_DAC_WRITE:
		dac_index(vga, &vga->dac_write, DAC_WRITING, value);
		break;
	case PORT_DAC:
		dac_write(vga, value);
		break;
	case PORT_GC_INDEX:
		vga->gc_index = value & 15;
		break;
	case PORT_GC:
		if (vga->gc_index < VGA_GC_REGS)
			vga->gc[vga->gc_index] = value & gc_mask[vga->gc_index];
		break;
	default:
		break;
	}
}

void vga_port_write(struct vga *vga, unsigned offset, u8 value)
{
	if (other_half(vga, offset))
		return;
	vga->serial++;
	if (offset >= PORT_ATTR && offset < PORT_COLOUR)
		middle_write(vga, offset, value);
	else
		crtc_half_write(vga, offset, value);
}
