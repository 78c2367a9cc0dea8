/* SPDX-License-Identifier: MIT */
/*
 * Text: a cell is a character in plane 0 and its colours in plane 1; the glyphs are in
 * plane 2. Nothing blinks here, so that an idle screen costs nothing.
 */
#include "dev/vga.h"

enum {
	SEQ_FONTS = 3,
	CRTC_CURSOR_START = 0x0a,
	CRTC_CURSOR_END = 0x0b,
	CRTC_CURSOR = 0x0e,
	CRTC_CURSOR_OFF = 0x20,
	ATTR_MODE = 0x10,
	ATTR_LINE_GRAPHICS = 0x04,
	ATTR_BLINK = 0x08,
};

/* Where in plane 2 a font begins, by its number in the sequencer's register. */
static u32 font_base(unsigned n)
{
	static const u16 base[8] = {0x0000, 0x4000, 0x8000, 0xc000, 0x2000, 0x6000, 0xa000, 0xe000};

	return base[n];
}

static u32 font_of(const struct vga *vga, u8 colours)
{
	u8 fonts = vga->seq[SEQ_FONTS];
	unsigned a = (fonts >> 2 & 3) | (fonts >> 3 & 4), b = (fonts & 3) | (fonts >> 2 & 4);

	return font_base(colours & 0x08 ? a : b);
}

/* The cursor's cell, where this line of it is to be seen; else none. */
static u32 cursor_cell(const struct vga *vga, unsigned line)
{
	u8 start = vga->crtc[CRTC_CURSOR_START], end = vga->crtc[CRTC_CURSOR_END] & 0x1f;

	if (start & CRTC_CURSOR_OFF || line < (start & 0x1fu) || line > end)
		return UINT32_MAX;
	return (u32)(vga->crtc[CRTC_CURSOR] << 8 | vga->crtc[CRTC_CURSOR + 1]);
}

void vga_text_row(const struct vga *vga, const struct vga_mode *mode, unsigned y, u32 *out)
{
	bool below = y > mode->line_compare;
	unsigned at = below ? y - mode->line_compare - 1 : y;
	unsigned line = at % mode->cell_height, columns = mode->width / mode->cell_width;
	u32 cell = (below ? 0 : mode->start / 4) + at / mode->cell_height * (mode->stride / 4);
	u32 cursor = cursor_cell(vga, line);
	bool blinks = vga->attr[ATTR_MODE] & ATTR_BLINK, lines = vga->attr[ATTR_MODE] & ATTR_LINE_GRAPHICS;

	for (unsigned column = 0; column < columns; column++, cell++) {
		const u8 *in = vga->vram + (4ull * cell & (VGA_VRAM_SIZE - 1));
		u8 colours = in[1];
		u32 ink = mode->palette[colours & 15];
		u32 paper = mode->palette[colours >> 4 & (blinks ? 7 : 15)];
		u32 glyph = (font_of(vga, colours) + 32u * in[0] + line) & 0xffff;
		unsigned bits = (unsigned)vga->vram[4 * glyph + 2] << 1;

		/* Line graphics reach into the ninth column. */
		if (lines && in[0] >= 0xc0 && in[0] <= 0xdf)
			bits |= bits >> 1 & 1;
		if (cell == cursor)
			bits = 0x1ff;
		for (unsigned x = 0; x < mode->cell_width; x++)
			*out++ = bits >> (8 - x) & 1 ? ink : paper;
	}
}
