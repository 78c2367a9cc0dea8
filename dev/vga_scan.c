/* SPDX-License-Identifier: MIT */
/* What the VGA shows: the mode that the registers make, and its rows as pixels. */
#include <string.h>

#include "dev/vga.h"

enum {
	SEQ_CLOCKING = 1,
	SEQ_8_DOTS = 0x01,
	SEQ_SCREEN_OFF = 0x20,

	GC_MODE = 5,
	GC_SHIFT = 0x60,
	GC_SHIFT_PLANES = 0x00,
	GC_SHIFT_PAIRS = 0x20,
	GC_MISC = 6,
	GC_GRAPHICS = 0x01,

	CRTC_DISPLAY_END = 0x01,
	CRTC_OVERFLOW = 0x07,
	CRTC_PRESET_ROW = 0x08,
	CRTC_MAX_SCAN = 0x09,
	CRTC_START = 0x0c,
	CRTC_VERTICAL_END = 0x12,
	CRTC_OFFSET = 0x13,
	CRTC_MODE = 0x17,
	CRTC_LINE_COMPARE = 0x18,
	CRTC_NO_CGA_ROWS = 0x01,
	CRTC_BYTE_MODE = 0x40,
	CRTC_DOUBLE_SCAN = 0x80,

	ATTR_MODE = 0x10,
	ATTR_HIGH_COLOUR = 0x80,
	ATTR_PLANES = 0x12,
	ATTR_COLOUR_SELECT = 0x14,
	ATTR_VIDEO_ON = 0x20, /* of the index */
};

/* ---- colours ---- */

static u32 dac_colour(const struct vga *vga, u8 index)
{
	const u8 *dac = &vga->dac[3 * (index & vga->dac_mask)];
	bool wide = vga_dispi_on(vga) && vga->dispi[DISPI_ENABLE] & DISPI_8BIT_DAC;
	u32 colour = 0;

	for (unsigned part = 0; part < 3; part++) {
		u32 value = wide ? dac[part] : (u32)(dac[part] << 2 | dac[part] >> 4) & 0xff;

		colour = colour << 8 | value;
	}
	return colour;
}

/* The DAC's index for one of sixteen colours. */
static u8 attr_colour(const struct vga *vga, unsigned colour)
{
	u8 value = vga->attr[colour], select = vga->attr[ATTR_COLOUR_SELECT];

	if (vga->attr[ATTR_MODE] & ATTR_HIGH_COLOUR)
		return (u8)((value & 0x0f) | (select & 0x0f) << 4);
	return (u8)((value & 0x3f) | (select & 0x0c) << 4);
}

static void make_palette(const struct vga *vga, struct vga_mode *mode, bool sixteen)
{
	for (unsigned i = 0; i < (sixteen ? 16u : 256u); i++)
		mode->palette[i] = dac_colour(vga, sixteen ? attr_colour(vga, i) : (u8)i);
}

/* ---- linear modes ---- */

static void blank_row(const struct vga *vga, const struct vga_mode *mode, unsigned y, u32 *out)
{
	(void)vga;
	(void)y;
	memset(out, 0, mode->width * sizeof(*out));
}

/* The row's bytes in vram; NULL where the guest has scrolled beyond its end. */
static const u8 *linear_row(const struct vga *vga, const struct vga_mode *mode, unsigned y)
{
	u64 at = mode->start + (u64)y * mode->stride;

	if (at + (u64)mode->width * mode->bytes_per_pixel > VGA_VRAM_SIZE)
		return NULL;
	return vga->vram + at;
}

static u32 from_565(u16 p)
{
	u32 r = p >> 11, g = p >> 5 & 63, b = p & 31;

	return (r << 3 | r >> 2) << 16 | (g << 2 | g >> 4) << 8 | (b << 3 | b >> 2);
}

static u32 from_555(u16 p)
{
	u32 r = p >> 10 & 31, g = p >> 5 & 31, b = p & 31;

	return (r << 3 | r >> 2) << 16 | (g << 3 | g >> 2) << 8 | (b << 3 | b >> 2);
}

static u32 linear_pixel(const struct vga *vga, const struct vga_mode *mode, const u8 *in)
{
	u16 half;
	u32 whole;

	switch (mode->bytes_per_pixel) {
	case 1:
		return mode->palette[*in];
	case 2:
		memcpy(&half, in, 2);
		return vga->dispi[DISPI_BPP] == 15 ? from_555(half) : from_565(half);
	case 3:
		return (u32)(in[0] | in[1] << 8 | in[2] << 16);
	default:
		memcpy(&whole, in, 4);
		return whole;
	}
}

static void draw_linear(const struct vga *vga, const struct vga_mode *mode, unsigned y, u32 *out)
{
	const u8 *in = linear_row(vga, mode, y);

	if (!in) {
		blank_row(vga, mode, y, out);
		return;
	}
	for (unsigned x = 0; x < mode->width; x++, in += mode->bytes_per_pixel)
		out[x] = linear_pixel(vga, mode, in);
}

/* ---- planar modes, and 256 colours at half the resolution ---- */

/* The row's address in units of four bytes: one of each plane. */
static u32 planar_row(const struct vga *vga, const struct vga_mode *mode, unsigned y)
{
	/* CGA keeps the odd rows apart. */
	u32 odd_rows = vga->crtc[CRTC_MODE] & CRTC_BYTE_MODE ? 0x2000 : 0x1000;
	u32 at = mode->start;
	unsigned row;

	if (y > mode->line_compare) {
		y -= mode->line_compare + 1;
		at = 0;
	}
	row = y / mode->row_scan;
	if (!(vga->crtc[CRTC_MODE] & CRTC_NO_CGA_ROWS) && !vga_dispi_on(vga))
		return (at + row / 2 * mode->stride) / 4 + (row & 1) * odd_rows;
	return (at + row * mode->stride) / 4;
}

static const u8 *planes(const struct vga *vga, u32 address)
{
	return vga->vram + (4ull * address & (VGA_VRAM_SIZE - 1));
}

static void draw_planes(const struct vga *vga, const struct vga_mode *mode, unsigned y, u32 *out)
{
	u32 at = planar_row(vga, mode, y);
	u8 enabled = vga->attr[ATTR_PLANES] & 0x0f;

	for (unsigned x = 0; x < mode->width; x++) {
		const u8 *in = planes(vga, at + x / 8);
		unsigned bit = 7 - x % 8, colour = 0;

		for (unsigned p = 0; p < 4; p++)
			colour |= (unsigned)(in[p] >> bit & 1) << p;
		out[x] = mode->palette[colour & enabled];
	}
}

/* CGA's four colours: two bits a pixel, first from the even planes, then from the odd ones. */
static void draw_pairs(const struct vga *vga, const struct vga_mode *mode, unsigned y, u32 *out)
{
	u32 at = planar_row(vga, mode, y);
	u8 enabled = vga->attr[ATTR_PLANES] & 0x0f;

	for (unsigned x = 0; x < mode->width; x++) {
		unsigned pixel = x / 2 % 8;
		const u8 *in = planes(vga, at + x / 16) + (pixel >= 4);
		unsigned shift = 6 - 2 * (pixel & 3);

		out[x] = mode->palette[((in[0] >> shift & 3) | (in[2] >> shift & 3) << 2) & enabled];
	}
}

static void draw_256(const struct vga *vga, const struct vga_mode *mode, unsigned y, u32 *out)
{
	u32 at = planar_row(vga, mode, y);

	for (unsigned x = 0; x < mode->width; x++)
		out[x] = mode->palette[planes(vga, at + x / 8)[x / 2 % 4]];
}

/* ---- which mode ---- */

static void dispi_mode(const struct vga *vga, struct vga_mode *mode)
{
	unsigned bpp = vga->dispi[DISPI_BPP];

	mode->width = vga->dispi[DISPI_XRES];
	mode->height = vga->dispi[DISPI_YRES];
	mode->stride = vga_dispi_stride(vga);
	mode->start = vga->dispi[DISPI_Y_OFFSET] * mode->stride;
	mode->bytes_per_pixel = (bpp + 7) / 8;
	if (bpp == 4) {
		mode->start += vga->dispi[DISPI_X_OFFSET] / 8 * 4;
		mode->row = draw_planes;
	} else {
		mode->start += vga->dispi[DISPI_X_OFFSET] * mode->bytes_per_pixel;
		mode->row = draw_linear;
	}
	mode->plain = bpp == 32 && !(mode->start & 3);
	make_palette(vga, mode, bpp == 4);
}

static unsigned vertical_bits(const struct vga *vga, unsigned reg, unsigned bit8, unsigned bit9)
{
	u8 overflow = vga->crtc[CRTC_OVERFLOW];

	return vga->crtc[reg] | (unsigned)(overflow >> bit8 & 1) << 8 | bit9 << 9;
}

static void legacy_geometry(const struct vga *vga, struct vga_mode *mode)
{
	u8 scan = vga->crtc[CRTC_MAX_SCAN];

	mode->width = (vga->crtc[CRTC_DISPLAY_END] + 1u) * 8;
	mode->height = vertical_bits(vga, CRTC_VERTICAL_END, 1, vga->crtc[CRTC_OVERFLOW] >> 6 & 1) + 1;
	mode->line_compare = vertical_bits(vga, CRTC_LINE_COMPARE, 4, scan >> 6 & 1);
	mode->start = 4u * (vga->crtc[CRTC_START] << 8 | vga->crtc[CRTC_START + 1]);
	mode->stride = vga->crtc[CRTC_OFFSET] * 8u;
	mode->row_scan = ((scan & 0x1f) + 1u) << (scan & CRTC_DOUBLE_SCAN ? 1 : 0);
}

static void legacy_mode(const struct vga *vga, struct vga_mode *mode)
{
	u8 shift = vga->gc[GC_MODE] & GC_SHIFT;
	bool graphics = vga->gc[GC_MISC] & GC_GRAPHICS;

	legacy_geometry(vga, mode);
	make_palette(vga, mode, !graphics || shift == GC_SHIFT_PLANES || shift == GC_SHIFT_PAIRS);
	if (!(vga->attr_index & ATTR_VIDEO_ON) || vga->seq[SEQ_CLOCKING] & SEQ_SCREEN_OFF) {
		mode->row = blank_row;
	} else if (!graphics) {
		mode->cell_height = (vga->crtc[CRTC_MAX_SCAN] & 0x1f) + 1u;
		mode->row = vga_text_row;
	} else if (shift == GC_SHIFT_PLANES) {
		mode->row = draw_planes;
	} else if (shift == GC_SHIFT_PAIRS) {
		mode->row = draw_pairs;
	} else {
		mode->row = draw_256;
	}
	if (!graphics) {
		mode->cell_width = vga->seq[SEQ_CLOCKING] & SEQ_8_DOTS ? 8 : 9;
		mode->width = mode->width / 8 * mode->cell_width;
	}
}

void vga_look(struct vga *vga)
{
	struct vga_mode *mode = &vga->mode;

	mode->plain = false;
	mode->line_compare = DISPLAY_MAX_HEIGHT;
	mode->row_scan = 1;
	if (vga_dispi_on(vga))
		dispi_mode(vga, mode);
	else
		legacy_mode(vga, mode);
}

static void display_look(struct display_source *source, struct display_picture *picture)
{
	struct vga *vga = container_of(source, struct vga, display);

	vga_look(vga);
	picture->width = vga->mode.width;
	picture->height = vga->mode.height;
	/* What goes straight to memory is not seen. */
	picture->serial = vga_dispi_on(vga) ? 0 : vga->serial;
}

static const u32 *display_row(struct display_source *source, unsigned y, u32 *scratch)
{
	struct vga *vga = container_of(source, struct vga, display);
	const u8 *in = vga->mode.plain ? linear_row(vga, &vga->mode, y) : NULL;

	if (in)
		return (const u32 *)in;
	vga->mode.row(vga, &vga->mode, y, scratch);
	return scratch;
}

const struct display_source_ops vga_display_ops = {.look = display_look, .row = display_row};
