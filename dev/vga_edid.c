/* SPDX-License-Identifier: MIT */
/* What the VGA's monitor says of itself. Facts: VESA E-EDID, release A, revision 2 (structure 1.4). */
#include <string.h>

#include "dev/vga.h"

#define DPI 96

/* Blanking that any monitor would take, and 60 Hz. */
static void detailed_timing(u8 *out, unsigned width, unsigned height)
{
	unsigned hblank = 160, vblank = 35;
	unsigned clock = (width + hblank) * (height + vblank) * 60 / 10000; /* 10 kHz */
	unsigned mm_x = width * 254 / (DPI * 10), mm_y = height * 254 / (DPI * 10);

	out[0] = (u8)clock;
	out[1] = (u8)(clock >> 8);
	out[2] = (u8)width;
	out[3] = (u8)hblank;
	out[4] = (u8)((width >> 8) << 4 | hblank >> 8);
	out[5] = (u8)height;
	out[6] = (u8)vblank;
	out[7] = (u8)((height >> 8) << 4 | vblank >> 8);
	out[8] = 48; /* front porch and sync, horizontally */
	out[9] = 32;
	out[10] = 3 << 4 | 6; /* vertically */
	out[12] = (u8)mm_x;
	out[13] = (u8)mm_y;
	out[14] = (u8)((mm_x >> 8) << 4 | mm_y >> 8);
	out[17] = 0x1e; /* digital separate sync, both positive */
}

static void text(u8 *out, u8 kind, const char *string)
{
	size_t len = strlen(string);

	out[3] = kind;
	memset(out + 5, ' ', 13);
	memcpy(out + 5, string, len);
	out[5 + len] = '\n';
}

void vga_edid_make(u8 edid[VGA_EDID_SIZE], unsigned width, unsigned height)
{
	static const u8 header[] = {0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0};
	/* 800x600, 1024x768, 1280x1024, 1600x1200, 1920x1080, in steps of eight pixels and by aspect. */
	static const u8 standard[16] = {
		0x45, 0x40, 0x61, 0x40, 0x81, 0x80, 0xa9, 0x40, 0xd1, 0xc0, 1, 1, 1, 1, 1, 1};
	static const u8 srgb[] = {0xee, 0x91, 0xa3, 0x54, 0x4c, 0x99, 0x26, 0x0f, 0x50, 0x54};
	u8 sum = 0;

	memset(edid, 0, VGA_EDID_SIZE);
	memcpy(edid, header, sizeof(header));
	edid[8] = ('M' - '@') << 2 | ('L' - '@') >> 3; /* MLN, packed into 15 bits */
	edid[9] = (u8)(('L' - '@') << 5 | ('N' - '@'));
	edid[10] = 1;
	edid[16] = 1; /* week and year of manufacture */
	edid[17] = 2026 - 1990;
	edid[18] = 1;
	edid[19] = 4;
	edid[20] = 0xa5; /* digital, 8 bits a colour, DisplayPort */
	edid[21] = (u8)(width * 254 / (DPI * 100)); /* cm */
	edid[22] = (u8)(height * 254 / (DPI * 100));
	edid[23] = 120; /* gamma 2.2 */
	edid[24] = 0x06; /* sRGB, preferred timing first */
	memcpy(edid + 25, srgb, sizeof(srgb));
	edid[35] = 0x21; /* 640x480, 800x600 at 60 Hz */
	edid[36] = 0x08; /* 1024x768 at 60 Hz */
	memcpy(edid + 38, standard, sizeof(standard));
	detailed_timing(edid + 54, width, height);
	text(edid + 72, 0xfc, "Mullion");
	edid[90 + 3] = 0x10; /* unused */
	edid[108 + 3] = 0x10;
	for (unsigned i = 0; i < VGA_EDID_SIZE - 1; i++)
		sum = (u8)(sum + edid[i]);
	edid[VGA_EDID_SIZE - 1] = (u8)-sum;
}
