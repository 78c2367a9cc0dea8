/* SPDX-License-Identifier: MIT */
/* VGA: registers, planes, text, 16 and 256 colours, the linear modes of the Bochs interface. */
#include "tests/unit/dev_fake.h"

#include "dev/pci/host.h"
#include "dev/vga.h"

#define TEXT 0xb8000
#define GRAPHICS 0xa0000

static struct vm vm;
static struct pci_host *host;
static struct vga *vga;
static u32 scratch[DISPLAY_MAX_WIDTH];
static struct display_picture picture;

static size_t written; /* what the engine was told of */

static void ram_written(struct vm *of, const void *start, size_t len)
{
	(void)of;
	assert_true((const u8 *)start >= vga->vram && (const u8 *)start + len <= vga->vram + VGA_VRAM_SIZE);
	written += len;
}

static const struct engine_ops engine = {.name = "fake", .ram_written = ram_written};

static int setup(void **state)
{
	struct pci_wiring wiring = {
		.io = {0xc000, 0x10000},
		.mem32 = {0xc0000000, 0xfec00000},
		.mem64 = {GIB(256), GIB(512)},
	};

	(void)state;
	fake_vm_init(&vm);
	vm.engine = &engine;
	assert_int_equal(pci_host_create(&vm, &wiring, &host), 0);
	assert_int_equal(vga_create(&vm, &vga), 0);
	assert_int_equal(pci_plug(host, &vga->pci, PCI_ANY), 0);
	pci_assign(host);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fake_vm_fini(&vm);
	return 0;
}

/* At the end the first is freed while the second is still in the spaces, and leaves nothing there. */
static void test_two(void **state)
{
	struct vga *second;

	(void)state;
	assert_int_equal(vga_create(&vm, &second), 0);
	assert_int_equal(pci_plug(host, &second->pci, PCI_ANY), 0);
	pci_assign(host);
	assert_true(second->pci.bar[0].mapped);
}

static void out(u16 port, u8 value)
{
	fake_out(&vm, port, value);
}

static u8 in(u16 port)
{
	return fake_in(&vm, port);
}

static void indexed(u16 port, u8 index, u8 value)
{
	out(port, index);
	out((u16)(port + 1), value);
}

static u8 read_indexed(u16 port, u8 index)
{
	out(port, index);
	return in((u16)(port + 1));
}

static void attribute(u8 index, u8 value)
{
	in(0x3da);
	out(0x3c0, index);
	out(0x3c0, value);
	out(0x3c0, 0x20);
}

static void mem_write(u64 addr, unsigned size, u64 value)
{
	space_write(&vm.mem, addr, size, value);
}

static u8 mem_read(u64 addr)
{
	return (u8)space_read(&vm.mem, addr, 1);
}

static const u32 *row(unsigned y)
{
	vga->display.ops->look(&vga->display, &picture);
	assert_true(y < picture.height && picture.width <= DISPLAY_MAX_WIDTH);
	return vga->display.ops->row(&vga->display, y, scratch);
}

static u32 pixel(unsigned x, unsigned y)
{
	return row(y)[x] & 0xffffff;
}

static void expect_size(unsigned width, unsigned height)
{
	row(0);
	assert_int_equal(picture.width, width);
	assert_int_equal(picture.height, height);
}

/* ---- text ---- */

static void test_text(void **state)
{
	u64 serial;

	(void)state;
	expect_size(720, 400);
	serial = picture.serial;
	assert_true(serial);
	assert_int_equal(pixel(100, 100), 0);
	assert_int_equal(picture.serial, serial);
	/* The cursor: lines 13 and 14 of the first cell, light grey. */
	assert_int_equal(pixel(0, 12), 0);
	assert_int_equal(pixel(0, 13), 0xaaaaaa);
	assert_int_equal(pixel(8, 14), 0xaaaaaa);
	assert_int_equal(pixel(9, 14), 0);
	mem_write(TEXT + 160 + 2, 2, 0x1e41); /* A, yellow on blue, in the second cell of the second row */
	for (unsigned line = 0; line < 16; line++) {
		for (unsigned x = 0; x < 9; x++) {
			bool ink = x < 8 && vga_font['A' * 16 + line] >> (7 - x) & 1;

			assert_int_equal(pixel(9 + x, 16 + line), ink ? 0xffff55 : 0x0000aa);
		}
	}
	assert_true(picture.serial != serial);
	/* Line graphics reach into the ninth column, until that is switched off. */
	mem_write(TEXT, 2, 0x07c4);
	assert_int_equal(pixel(8, 7), 0xaaaaaa);
	attribute(0x10, 0x08);
	assert_int_equal(pixel(8, 7), 0);
	/* Bright paper instead of blinking. */
	mem_write(TEXT, 2, 0xc020);
	assert_int_equal(pixel(0, 0), 0xaa0000);
	attribute(0x10, 0x00);
	assert_int_equal(pixel(0, 0), 0xff5555);
	/* Scrolled by a row; without the cursor; 8 dots. */
	indexed(0x3d4, 0x0d, 80);
	assert_int_equal(pixel(9 + 0, 0), 0x0000aa);
	indexed(0x3d4, 0x0a, 0x20);
	assert_int_equal(pixel(0, 14), 0);
	indexed(0x3c4, 0x01, 0x01);
	expect_size(640, 400);
	/* Off by the sequencer, or by the attribute controller. */
	indexed(0x3c4, 0x01, 0x20);
	assert_int_equal(pixel(9, 0), 0);
	indexed(0x3c4, 0x01, 0x00);
	assert_int_equal(pixel(9, 0), 0x0000aa);
	in(0x3da);
	out(0x3c0, 0x00);
	assert_int_equal(pixel(9, 0), 0);
}

static void test_fonts(void **state)
{
	(void)state;
	/* As Linux loads one: plane 2 alone, flat, in the window at 0xa0000. */
	indexed(0x3c4, 0x02, 0x04);
	indexed(0x3c4, 0x04, 0x06);
	indexed(0x3ce, 0x04, 0x02);
	indexed(0x3ce, 0x05, 0x00);
	indexed(0x3ce, 0x06, 0x00);
	mem_write(GRAPHICS + 0x4000 + 'A' * 32, 1, 0x81);
	assert_int_equal(mem_read(GRAPHICS + 0x4000 + 'A' * 32), 0x81);
	assert_int_equal(mem_read(GRAPHICS + 'A' * 32 + 3), vga_font['A' * 16 + 3]);
	indexed(0x3c4, 0x02, 0x03);
	indexed(0x3c4, 0x04, 0x02);
	indexed(0x3ce, 0x04, 0x00);
	indexed(0x3ce, 0x05, 0x10);
	indexed(0x3ce, 0x06, 0x0e);
	/* The second font is for characters with the intensity bit. */
	indexed(0x3c4, 0x03, 0x04);
	mem_write(TEXT, 4, 0x07410f41);
	assert_int_equal(pixel(0, 0), 0xffffff);
	assert_int_equal(pixel(1, 0), 0);
	assert_int_equal(pixel(9, 0), 0);
}

/* ---- registers ---- */

static void test_registers(void **state)
{
	(void)state;
	assert_int_equal(read_indexed(0x3d4, 0x12), 0x8f);
	indexed(0x3d4, 0x00, 0x11); /* protected */
	assert_int_equal(read_indexed(0x3d4, 0x00), 0x5f);
	indexed(0x3d4, 0x07, 0x00);
	assert_int_equal(read_indexed(0x3d4, 0x07), 0x0f);
	indexed(0x3d4, 0x11, 0x0e);
	indexed(0x3d4, 0x00, 0x11);
	assert_int_equal(read_indexed(0x3d4, 0x00), 0x11);
	assert_int_equal(read_indexed(0x3d4, 0x40), 0);
	assert_int_equal(read_indexed(0x3c4, 0x04), 0x02);
	indexed(0x3ce, 0x08, 0x5a);
	assert_int_equal(read_indexed(0x3ce, 0x08), 0x5a);
	attribute(0x05, 0xff);
	in(0x3da);
	out(0x3c0, 0x25);
	assert_int_equal(in(0x3c1), 0x3f);
	/* Retrace comes and goes. */
	assert_true((in(0x3da) ^ in(0x3da)) & 0x08);
	/* Only one half of the ports answers. */
	assert_int_equal(in(0x3cc) & 1, 1);
	assert_int_equal(in(0x3b5), 0xff);
	out(0x3c2, 0x66);
	assert_int_equal(in(0x3d5), 0xff);
	assert_int_equal(read_indexed(0x3b4, 0x12), 0x8f);
	assert_int_equal(in(0x3c2), 0x10);
	assert_int_equal(in(0x3b0), 0xff);
}

static void test_dac(void **state)
{
	(void)state;
	out(0x3c8, 0xfe);
	for (u8 i = 1; i <= 9; i++)
		out(0x3c9, (u8)(i * 16));
	assert_int_equal(in(0x3c8), 1);
	assert_int_equal(in(0x3c7), 0);
	out(0x3c7, 0xfe);
	assert_int_equal(in(0x3c7), 3);
	for (u8 i = 1; i <= 9; i++)
		assert_int_equal(in(0x3c9), i * 16 & 0x3f);
	out(0x3c6, 0x0f);
	assert_int_equal(in(0x3c6), 0x0f);
}

/* ---- graphics ---- */

static void mode_13h(void)
{
	indexed(0x3c4, 0x02, 0x0f);
	indexed(0x3c4, 0x04, 0x0e);
	indexed(0x3c4, 0x01, 0x01);
	indexed(0x3ce, 0x05, 0x40);
	indexed(0x3ce, 0x06, 0x05);
	indexed(0x3d4, 0x09, 0x41);
	indexed(0x3d4, 0x14, 0x40);
	attribute(0x10, 0x41);
}

static void test_256_colours(void **state)
{
	(void)state;
	mode_13h();
	memset(vga->vram, 0, KIB(64));
	expect_size(640, 400);
	out(0x3c8, 200);
	out(0x3c9, 63);
	out(0x3c9, 0);
	out(0x3c9, 32);
	mem_write(GRAPHICS + 10 * 320 + 7, 1, 200);
	assert_int_equal(pixel(14, 20), 0xff0082);
	assert_int_equal(pixel(15, 21), 0xff0082);
	assert_int_equal(pixel(16, 21), 0);
	assert_int_equal(pixel(14, 22), 0);
	assert_int_equal(mem_read(GRAPHICS + 10 * 320 + 7), 200);
	mem_write(GRAPHICS + 64000, 8, 0x0102030405060708);
	assert_int_equal(space_read(&vm.mem, GRAPHICS + 64000, 8), 0x0102030405060708);
	/* Unchained, the same pixel is byte 1 of plane 3 (and the row's start is at 10 * 80). */
	indexed(0x3c4, 0x04, 0x06);
	indexed(0x3ce, 0x04, 3);
	assert_int_equal(mem_read(GRAPHICS + 10 * 80 + 1), 200);
	/* The lower part of a split screen begins at address 0. */
	indexed(0x3d4, 0x0c, 0x10);
	indexed(0x3d4, 0x07, 0x0f);
	indexed(0x3d4, 0x09, 0x01);
	indexed(0x3d4, 0x18, 99);
	assert_int_equal(pixel(14, 20), 0);
	assert_int_equal(pixel(14, 120), 0xff0082);
	/* The upper part's last line is its own. */
	indexed(0x3c4, 0x02, 0x08);
	mem_write(GRAPHICS + 0x1000 + 49 * 80 + 1, 1, 200);
	assert_int_equal(pixel(14, 99), 0xff0082);
	assert_int_equal(pixel(14, 97), 0);
	/* The DAC sees no more of a colour than its mask lets through. */
	out(0x3c6, 0x7f);
	out(0x3c8, 200 & 0x7f);
	out(0x3c9, 0);
	out(0x3c9, 63);
	out(0x3c9, 0);
	assert_int_equal(pixel(14, 99), 0x00ff00);
	out(0x3c6, 0xff);
	/* The window is closed above 64 KiB; or it is somewhere else, of 32. */
	assert_int_equal(mem_read(TEXT), 0xff);
	mem_write(TEXT, 1, 1);
	written = 0;
	mem_write(GRAPHICS, 1, 1);
	assert_true(written > 0);
	indexed(0x3ce, 0x06, 0x08);
	vga->vram[3] = 0x66;
	assert_int_equal(mem_read(0xb0000), 0x66);
	vga->vram[4 * 0x8000 + 3] = 0x66;
	assert_int_equal(mem_read(TEXT), 0xff);
	assert_int_equal(mem_read(GRAPHICS), 0xff);
}

static void mode_12h(void)
{
	indexed(0x3c4, 0x02, 0x0f);
	indexed(0x3c4, 0x04, 0x06);
	indexed(0x3c4, 0x01, 0x01);
	indexed(0x3ce, 0x05, 0x00);
	indexed(0x3ce, 0x06, 0x05);
	indexed(0x3d4, 0x11, 0x0c);
	indexed(0x3d4, 0x07, 0x3e);
	indexed(0x3d4, 0x09, 0x40);
	indexed(0x3d4, 0x12, 0xdf);
	indexed(0x3d4, 0x17, 0xe3);
	attribute(0x10, 0x01);
	memset(vga->vram, 0, KIB(256));
}

static u8 plane(unsigned p, u32 address)
{
	indexed(0x3ce, 0x04, (u8)p);
	return mem_read(GRAPHICS + address);
}

static void test_16_colours(void **state)
{
	(void)state;
	mode_12h();
	expect_size(640, 480);
	/* Write mode 0 with map mask and bit mask; write mode 2. */
	indexed(0x3c4, 0x02, 0x05);
	mem_write(GRAPHICS + 80, 1, 0xc0);
	assert_int_equal(pixel(0, 1), 0xaa00aa);
	assert_int_equal(pixel(2, 1), 0);
	indexed(0x3c4, 0x02, 0x0f);
	indexed(0x3ce, 0x05, 0x02);
	indexed(0x3ce, 0x08, 0x20);
	mem_read(GRAPHICS + 80);
	mem_write(GRAPHICS + 80, 1, 0x0e);
	assert_int_equal(pixel(1, 1), 0xaa00aa);
	assert_int_equal(pixel(2, 1), 0xffff55);
	assert_int_equal(pixel(3, 1), 0);
	assert_int_equal(plane(0, 80), 0xc0);
	assert_int_equal(plane(3, 80), 0x20);
	/* Write mode 1 copies the latches. */
	indexed(0x3ce, 0x05, 0x01);
	mem_read(GRAPHICS + 80);
	mem_write(GRAPHICS + 90, 1, 0);
	assert_int_equal(pixel(82, 1), 0xffff55);
	/* Write mode 3: the value is a mask for set/reset. */
	indexed(0x3ce, 0x05, 0x03);
	indexed(0x3ce, 0x00, 0x04);
	indexed(0x3ce, 0x08, 0x0f);
	mem_read(GRAPHICS + 100);
	mem_write(GRAPHICS + 100, 1, 0x18);
	assert_int_equal(plane(2, 100), 0x08);
	/* Set/reset in mode 0, rotation, and the function "xor". */
	indexed(0x3ce, 0x05, 0x00);
	indexed(0x3ce, 0x08, 0xff);
	indexed(0x3ce, 0x01, 0x04);
	indexed(0x3ce, 0x03, 0x18 | 4);
	mem_read(GRAPHICS + 100);
	mem_write(GRAPHICS + 100, 1, 0x1f);
	assert_int_equal(plane(0, 100), 0xf1);
	assert_int_equal(plane(2, 100), 0xf7);
	indexed(0x3ce, 0x03, 0x08);
	mem_read(GRAPHICS + 100);
	mem_write(GRAPHICS + 100, 1, 0x11);
	assert_int_equal(plane(0, 100), 0x11);
	indexed(0x3ce, 0x03, 0x10);
	mem_read(GRAPHICS + 100);
	mem_write(GRAPHICS + 100, 1, 0x80);
	assert_int_equal(plane(0, 100), 0x91);
	/* Read mode 1: which pixels have the colour. */
	indexed(0x3ce, 0x05, 0x08);
	indexed(0x3ce, 0x02, 0x05);
	indexed(0x3ce, 0x07, 0x0f);
	assert_int_equal(mem_read(GRAPHICS + 80), 0xc0);
	indexed(0x3ce, 0x07, 0x08);
	assert_int_equal(mem_read(GRAPHICS + 80), 0xdf);
}

static void test_4_colours(void **state)
{
	(void)state;
	mode_13h();
	memset(vga->vram, 0, KIB(64));
	indexed(0x3c4, 0x02, 0x03);
	indexed(0x3c4, 0x04, 0x02);
	indexed(0x3ce, 0x05, 0x30);
	indexed(0x3ce, 0x06, 0x0f);
	indexed(0x3d4, 0x17, 0xa2);
	attribute(0x10, 0x01);
	mem_write(TEXT, 2, 0x401b); /* 0 1 2 3, 1 */
	mem_write(TEXT + 0x2000, 1, 0xc0);
	assert_int_equal(pixel(0, 0), 0);
	assert_int_equal(pixel(2, 0), 0x0000aa);
	assert_int_equal(pixel(5, 1), 0x00aa00);
	assert_int_equal(pixel(6, 0), 0x00aaaa);
	assert_int_equal(pixel(8, 0), 0x0000aa);
	assert_int_equal(pixel(0, 2), 0x00aaaa);
	assert_int_equal(mem_read(TEXT + 1), 0x40);
}

/* ---- linear modes ---- */

static u64 bar(unsigned index)
{
	return vga->pci.bar[index].region->base;
}

static void dispi(unsigned index, u16 value)
{
	space_write(&vm.mem, bar(2) + 0x500 + 2 * index, 2, value);
}

static u16 read_dispi(unsigned index)
{
	return (u16)space_read(&vm.mem, bar(2) + 0x500 + 2 * index, 2);
}

static void set_mode(u16 width, u16 height, u16 bpp)
{
	dispi(DISPI_ENABLE, 0);
	dispi(DISPI_XRES, width);
	dispi(DISPI_YRES, height);
	dispi(DISPI_BPP, bpp);
	dispi(DISPI_ENABLE, DISPI_ENABLED | DISPI_LFB);
}

static void test_linear(void **state)
{
	u32 *frame = space_host(&vm.mem, bar(0), VGA_VRAM_SIZE, DIRECT_READ | DIRECT_WRITE);

	(void)state;
	assert_ptr_equal(frame, vga->vram);
	assert_int_equal(read_dispi(DISPI_ID), 0xb0c5);
	assert_int_equal(read_dispi(DISPI_MEMORY), 256);
	set_mode(1024, 768, 32);
	expect_size(1024, 768);
	assert_int_equal(picture.serial, 0);
	assert_ptr_equal(row(5), frame + 5 * 1024);
	mem_write(bar(0) + 4 * (5 * 1024 + 3), 4, 0x123456);
	assert_int_equal(pixel(3, 5), 0x123456);
	/* A wider picture behind it, and a way down. */
	dispi(DISPI_VIRT_WIDTH, 2048);
	assert_int_equal(read_dispi(DISPI_VIRT_HEIGHT), 2048);
	dispi(DISPI_Y_OFFSET, 1000);
	dispi(DISPI_X_OFFSET, 100);
	assert_ptr_equal(row(5), frame + 1005 * 2048 + 100);
	dispi(DISPI_Y_OFFSET, 0xffff);
	assert_int_equal(read_dispi(DISPI_Y_OFFSET), 2048 - 768);
	row(767);
	/* Back to text, when the driver has closed the window that the mode has opened. */
	dispi(DISPI_ENABLE, 0);
	indexed(0x3ce, 0x06, 0x0e);
	expect_size(720, 400);
}

static void test_depths(void **state)
{
	(void)state;
	set_mode(640, 480, 16);
	mem_write(bar(0) + 2, 2, 0xf81f);
	assert_int_equal(pixel(1, 0), 0xff00ff);
	set_mode(640, 480, 15);
	mem_write(bar(0) + 1280, 2, 0x7fe0);
	assert_int_equal(pixel(0, 1), 0xffff00);
	set_mode(640, 480, 24);
	mem_write(bar(0) + 1920 + 3, 4, 0xff123456);
	assert_int_equal(pixel(1, 1), 0x123456);
	set_mode(640, 480, 8);
	dispi(DISPI_ENABLE, DISPI_ENABLED | DISPI_LFB | DISPI_8BIT_DAC);
	out(0x3c8, 9);
	out(0x3c9, 0xfe);
	out(0x3c9, 1);
	out(0x3c9, 0x80);
	mem_write(bar(0) + 640 * 2, 1, 9);
	assert_int_equal(pixel(0, 2), 0xfe0180);
	set_mode(640, 480, 4);
	indexed(0x3ce, 0x05, 0x00);
	mem_write(GRAPHICS + 80, 1, 0x80);
	assert_int_equal(pixel(0, 1), 0xffffff);
	assert_int_equal(pixel(1, 1), 0);
	/* The last bank of four planes is beyond memory, and comes around. */
	dispi(DISPI_BANK, 0xffff);
	assert_int_equal(read_dispi(DISPI_BANK), VGA_VRAM_SIZE / KIB(64) - 1);
	mem_write(GRAPHICS + 0xffff, 1, 0x55);
	assert_int_equal(vga->vram[VGA_VRAM_SIZE - 4], 0x55);
	set_mode(640, 480, 7);
	assert_int_equal(read_dispi(DISPI_BPP), 32);
	/* A mode begins with an empty screen, unless it is told not to. */
	vga->vram[5] = 0x77;
	dispi(DISPI_ENABLE, 0);
	dispi(DISPI_ENABLE, DISPI_ENABLED | DISPI_LFB | DISPI_NO_CLEAR);
	assert_int_equal(vga->vram[5], 0x77);
	written = 0;
	set_mode(640, 480, 32);
	assert_int_equal(vga->vram[5], 0);
	assert_int_equal(written, 640 * 480 * 4);
}

static void test_limits(void **state)
{
	(void)state;
	set_mode(0xffff, 0xffff, 32);
	expect_size(4096, 1024);
	row(1023);
	set_mode(0, 0, 8);
	expect_size(8, 1);
	dispi(DISPI_ENABLE, DISPI_GET_CAPS);
	assert_int_equal(read_dispi(DISPI_XRES), 4096);
	assert_int_equal(read_dispi(DISPI_BPP), 32);
	dispi(DISPI_ENABLE, 0);
	/* Any legacy size at all. */
	indexed(0x3ce, 0x06, 0x0e);
	indexed(0x3d4, 0x11, 0x00);
	indexed(0x3d4, 0x01, 0xff);
	indexed(0x3d4, 0x07, 0xff);
	indexed(0x3d4, 0x12, 0xff);
	indexed(0x3d4, 0x0c, 0xff);
	indexed(0x3d4, 0x13, 0xff);
	expect_size(256 * 9, 1024);
	row(1023);
	indexed(0x3ce, 0x06, 0x05);
	row(1023);
}

/* By ports: the index, and the value as a word at an odd port; the window in banks. */
static void test_dispi_ports(void **state)
{
	(void)state;
	space_write(&vm.io, 0x1ce, 2, DISPI_XRES);
	space_write(&vm.io, 0x1cf, 2, 800);
	assert_int_equal(space_read(&vm.io, 0x1cf, 2), 800);
	assert_int_equal(space_read(&vm.io, 0x1d0, 2), 800);
	assert_int_equal(read_dispi(DISPI_XRES), 800);
	space_write(&vm.io, 0x1ce, 2, DISPI_YRES);
	space_write(&vm.io, 0x1d0, 2, 600);
	space_write(&vm.io, 0x1ce, 2, DISPI_BPP);
	space_write(&vm.io, 0x1cf, 2, 32);
	space_write(&vm.io, 0x1ce, 2, DISPI_ENABLE);
	space_write(&vm.io, 0x1cf, 2, DISPI_ENABLED);
	expect_size(800, 600);
	space_write(&vm.io, 0x1ce, 2, DISPI_BANK);
	space_write(&vm.io, 0x1cf, 2, 3);
	mem_write(GRAPHICS + 8, 4, 0xabcdef);
	assert_int_equal(*(u32 *)(vga->vram + 3 * KIB(64) + 8), 0xabcdef);
}

static void test_registers_in_memory(void **state)
{
	u8 sum = 0;

	(void)state;
	for (unsigned i = 0; i < 128; i++)
		sum = (u8)(sum + mem_read(bar(2) + i));
	assert_int_equal(sum, 0);
	assert_int_equal(space_read(&vm.mem, bar(2), 8), 0x00ffffffffffff00);
	assert_int_equal(mem_read(bar(2) + 200), 0);
	space_write(&vm.mem, bar(2) + 0x402, 1, 0x66); /* 0x3c2 */
	assert_int_equal(in(0x3cc), 0x66);
	assert_int_equal(mem_read(bar(2) + 0x40c), 0x66);
	assert_int_equal(space_read(&vm.mem, bar(2) + 0x600, 4), 8);
	assert_int_equal(space_read(&vm.mem, bar(2) + 0x604, 4), 0x1e1e1e1e);
	space_write(&vm.mem, bar(2) + 0x604, 4, 0xbebebebe);
	assert_int_equal(space_read(&vm.mem, bar(2) + 0x604, 4), 0x1e1e1e1e);
	assert_int_equal(space_read(&vm.mem, bar(2) + 0xffc, 4), 0);
}

static void test_reset(void **state)
{
	(void)state;
	set_mode(800, 600, 32);
	vga->pci.dev.ops->reset(&vga->pci.dev);
	expect_size(720, 400);
	assert_int_equal(pixel(0, 13), 0xaaaaaa);
	assert_int_equal(read_indexed(0x3d4, 0x01), 0x4f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_two, setup, teardown),
		cmocka_unit_test_setup_teardown(test_text, setup, teardown),
		cmocka_unit_test_setup_teardown(test_fonts, setup, teardown),
		cmocka_unit_test_setup_teardown(test_registers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_dac, setup, teardown),
		cmocka_unit_test_setup_teardown(test_256_colours, setup, teardown),
		cmocka_unit_test_setup_teardown(test_16_colours, setup, teardown),
		cmocka_unit_test_setup_teardown(test_4_colours, setup, teardown),
		cmocka_unit_test_setup_teardown(test_linear, setup, teardown),
		cmocka_unit_test_setup_teardown(test_depths, setup, teardown),
		cmocka_unit_test_setup_teardown(test_limits, setup, teardown),
		cmocka_unit_test_setup_teardown(test_dispi_ports, setup, teardown),
		cmocka_unit_test_setup_teardown(test_registers_in_memory, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reset, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
