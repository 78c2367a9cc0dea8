/* SPDX-License-Identifier: MIT */
/*
 * Standard VGA on PCI, with the Bochs display interface (dispi) for linear modes:
 * registers and window of a VGA, frame buffer in BAR 0 as plain memory, and BAR 2
 * with EDID, VGA ports and dispi registers. At power-on it shows an empty 80x25
 * text screen, since no firmware may be there to set it up.
 *
 * Memory is kept as VGA has it, four planes side by side: plane p's byte at address
 * a is vram[4 * a + p].
 */
#pragma once

#include "backend/display.h"
#include "dev/pci/pci.h"

struct vm;

#define VGA_PORTS 0x3b0
#define VGA_PORTS_SIZE 0x30
#define VGA_DISPI_PORTS 0x1ce
#define VGA_WINDOW 0xa0000
#define VGA_WINDOW_SIZE 0x20000
#define VGA_VRAM_SIZE MIB(16)
#define VGA_EDID_SIZE 128u

enum vga_dispi {
	DISPI_ID,
	DISPI_XRES,
	DISPI_YRES,
	DISPI_BPP,
	DISPI_ENABLE,
	DISPI_BANK,
	DISPI_VIRT_WIDTH,
	DISPI_VIRT_HEIGHT,
	DISPI_X_OFFSET,
	DISPI_Y_OFFSET,
	DISPI_MEMORY, /* in units of 64 KiB */
	DISPI_REGS,
};

enum {
	DISPI_ENABLED = 0x01,
	DISPI_GET_CAPS = 0x02,
	DISPI_8BIT_DAC = 0x20,
	DISPI_LFB = 0x40,
	DISPI_NO_CLEAR = 0x80,
};

enum { VGA_SEQ_REGS = 5, VGA_GC_REGS = 9, VGA_CRTC_REGS = 25, VGA_ATTR_REGS = 21 };

struct vga {
	struct pci_function pci;
	struct vm *vm;
	struct display_source display;
	struct region lfb, mmio, window, ports, dispi_ports;
	u8 *vram;
	u64 serial; /* goes up with every change that we see */

	u8 misc, feature, status1;
	u8 seq[VGA_SEQ_REGS], gc[VGA_GC_REGS], crtc[VGA_CRTC_REGS], attr[VGA_ATTR_REGS];
	u8 seq_index, gc_index, crtc_index, attr_index;
	bool attr_data; /* the next write to 0x3c0 is a value */
	u8 dac[256 * 3], dac_mask;
	u8 dac_read, dac_write, dac_part, dac_state;
	u8 latch[4];

	u16 dispi_index, dispi_low; /* dispi_low: the first half of a write in bytes */
	u16 dispi[DISPI_REGS];
	u32 endian; /* 0x604 of BAR 2 */
	u8 edid[VGA_EDID_SIZE];

	/* The picture as the last look saw it. */
	struct vga_mode {
		unsigned width, height;
		void (*row)(const struct vga *vga, const struct vga_mode *mode, unsigned y, u32 *out);
		u32 start, stride; /* in vram, bytes */
		unsigned bytes_per_pixel;
		bool plain; /* rows are pixels as a display wants them */
		unsigned line_compare, row_scan, cell_width, cell_height;
		u32 palette[256];
	} mode;
};

/* The VM owns it once it is plugged. 0 or -errno. */
int vga_create(struct vm *vm, struct vga **out);

/* ---- parts; also for tests ---- */

int vga_init(struct vga *vga, struct vm *vm); /* memory and power-on state; no regions, no PCI */
void vga_fini(struct vga *vga);

/* vga_regs.c: offset from VGA_PORTS */
void vga_regs_reset(struct vga *vga);
u8 vga_port_read(struct vga *vga, unsigned offset);
void vga_port_write(struct vga *vga, unsigned offset, u8 value);

/* vga_memory.c: offset from VGA_WINDOW */
u8 vga_memory_read(struct vga *vga, u32 offset);
void vga_memory_write(struct vga *vga, u32 offset, u8 value);

/* vga_dispi.c */
void vga_dispi_reset(struct vga *vga);
u16 vga_dispi_read(const struct vga *vga, unsigned index);
void vga_dispi_write(struct vga *vga, unsigned index, u16 value);
u32 vga_dispi_stride(const struct vga *vga);
static inline bool vga_dispi_on(const struct vga *vga)
{
	return vga->dispi[DISPI_ENABLE] & DISPI_ENABLED;
}

/* vga_scan.c, vga_text.c */
extern const struct display_source_ops vga_display_ops;
void vga_look(struct vga *vga);
void vga_text_row(const struct vga *vga, const struct vga_mode *mode, unsigned y, u32 *out);

/* vga_edid.c */
void vga_edid_make(u8 edid[VGA_EDID_SIZE], unsigned width, unsigned height);

/* vga_font.c: 256 glyphs of 8x16 */
extern const u8 vga_font[256 * 16];
