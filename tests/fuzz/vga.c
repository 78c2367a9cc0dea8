/* SPDX-License-Identifier: MIT */
/*
 * VGA, keyboard and mouse: a guest that writes to the VGA's ports, its window, its
 * registers in memory and its frame buffer, and to the i8042, while a display
 * looks and a user types. Whatever the mode, the picture has a sane size and every row
 * of it can be drawn.
 */
#include "tests/fuzz/fuzz.h"

#include <linux/input-event-codes.h>

#include "dev/i8042.h"
#include "dev/pci/host.h"
#include "dev/ps2_keyboard.h"
#include "dev/ps2_mouse.h"
#include "dev/vga.h"

static struct vm vm;
static struct pci_host *host;
static struct vga *vga;
static struct i8042 *kbc;
static struct ps2_keyboard keyboard;
static struct ps2_mouse mouse;
static struct input input;
static u64 time_now;

static u64 fuzz_now(struct clock *clock)
{
	(void)clock;
	return time_now;
}

/* The first row, the last and one between; all of them would take too long. */
static void look(unsigned y)
{
	static u32 scratch[DISPLAY_MAX_WIDTH];
	struct display_picture picture;
	const unsigned rows[] = {0, y, UINT32_MAX};
	u32 sum = 0;

	vga->display.ops->look(&vga->display, &picture);
	fuzz_check(picture.width && picture.width <= DISPLAY_MAX_WIDTH);
	fuzz_check(picture.height && picture.height <= DISPLAY_MAX_HEIGHT);
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		const u32 *row =
			vga->display.ops->row(&vga->display, MIN(rows[i], picture.height - 1), scratch);

		for (unsigned x = 0; x < picture.width; x++)
			sum += row[x];
	}
	memcpy(fuzz_ram, &sum, sizeof(sum)); /* so that it is computed */
}

static void access(struct space *space, u64 addr, unsigned size, bool write, u64 value)
{
	if (write)
		space_write(space, addr, size, value);
	else
		space_read(space, addr, size);
}

static void user(struct fuzz *fuzz, bool down)
{
	struct input_pointer p = {.width = 800, .height = 600, .left = down};
	u16 code = fuzz_u16(fuzz);

	input_key(&input, code & 0xff, down);
	p.x = code;
	p.y = fuzz_u16(fuzz);
	p.wheel = (i8)fuzz_u8(fuzz);
	p.extra = p.wheel & 1;
	input_point(&input, &p);
}

static void step(struct fuzz *fuzz)
{
	u8 what = fuzz_u8(fuzz);
	unsigned size = 1u << (what >> 6);
	bool write = what & 0x20;

	switch (what & 0x0f) {
	case 0:
		look(fuzz_u16(fuzz));
		break;
	case 1:
	case 2:
	case 3:
		access(&vm.io, VGA_PORTS + fuzz_u8(fuzz) % VGA_PORTS_SIZE, MIN(size, 2u), true,
			fuzz_u16(fuzz));
		break;
	case 4:
		access(&vm.io, VGA_PORTS + fuzz_u8(fuzz) % VGA_PORTS_SIZE, MIN(size, 4u), write,
			fuzz_u32(fuzz));
		break;
	case 5:
		access(&vm.io, VGA_DISPI_PORTS + fuzz_u8(fuzz) % 4, MIN(size, 4u), write, fuzz_u32(fuzz));
		break;
	case 6:
	case 7:
		access(&vm.mem, vga->mmio.base + 0x500 + 2 * (fuzz_u8(fuzz) % 16), 2, true, fuzz_u16(fuzz));
		break;
	case 8:
		access(&vm.mem, vga->mmio.base + fuzz_u16(fuzz) % 0x1000, size, write, fuzz_u64(fuzz));
		break;
	case 9:
	case 10:
		access(&vm.mem, VGA_WINDOW + fuzz_u32(fuzz) % VGA_WINDOW_SIZE, size, write, fuzz_u64(fuzz));
		break;
	case 11:
		access(&vm.mem, vga->lfb.base + fuzz_u32(fuzz) % VGA_VRAM_SIZE, size, write, fuzz_u64(fuzz));
		break;
	case 12:
		user(fuzz, write);
		break;
	case 13:
		time_now += fuzz_u32(fuzz);
		clock_run(&vm.clock);
		break;
	default:
		access(&vm.io, what & 0x40 ? I8042_DATA_PORT : I8042_COMMAND_PORT, 1, write, fuzz_u8(fuzz));
		break;
	}
}

static void make(void)
{
	struct pci_wiring wiring = {
		.io = {0xc000, 0x10000},
		.mem32 = {0xc0000000, 0xfec00000},
		.mem64 = {GIB(256), GIB(512)},
	};

	fuzz_vm_init(&vm);
	vm.clock.now = fuzz_now;
	fuzz_check(!pci_host_create(&vm, &wiring, &host));
	fuzz_check(!vga_create(&vm, &vga) && !pci_plug(host, &vga->pci, PCI_ANY));
	fuzz_check(!i8042_create(&vm, (struct irq_line){0}, (struct irq_line){0}, &kbc));
	ps2_keyboard_init(&keyboard);
	ps2_mouse_init(&mouse);
	memset(&input, 0, sizeof(input));
	input_add(&input, &keyboard.sink);
	input_add(&input, &mouse.sink);
	i8042_plug(kbc, &keyboard.ps2, &mouse.ps2);
	pci_assign(host);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	struct fuzz fuzz = {data, size};

	make();
	while (fuzz_more(&fuzz))
		step(&fuzz);
	look(1);
	vm_fini(&vm);
	return 0;
}
