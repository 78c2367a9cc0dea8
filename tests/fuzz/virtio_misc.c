/* SPDX-License-Identifier: MIT */
/* Random numbers, the balloon, or the console with two ports, as the first byte says. */
#include "tests/fuzz/virtio.h"

#include "dev/virtio/balloon.h"
#include "dev/virtio/console.h"
#include "dev/virtio/rng.h"

static bool wanted[2]; /* input, by the ports */
static struct console consoles[2];

static void console_write(struct console *console, const u8 *data, size_t len)
{
	fuzz_check(console == &consoles[0] || console == &consoles[1]);
	fuzz_check(len <= FUZZ_RAM && ((data >= fuzz_ram && data + len <= fuzz_ram + FUZZ_RAM) || len == 1));
}

static void console_enable(struct console *console, bool on)
{
	wanted[console - consoles] = on;
}

static const struct console_ops console_ops = {.write = console_write, .input_enable = console_enable};

static void make(unsigned kind)
{
	const struct virtio_console_port ports[] = {
		{.console = &consoles[0], .is_console = true},
		{.console = &consoles[1], .name = "org.example.port"},
	};
	struct virtio *device;

	for (unsigned i = 0; i < 2; i++)
		consoles[i] = (struct console){.ops = &console_ops};
	wanted[0] = wanted[1] = false;
	if (kind == 0)
		fuzz_check(!virtio_rng_create(&vm, &device));
	else if (kind == 1)
		fuzz_check(!virtio_balloon_create(&vm, &device));
	else
		fuzz_check(!virtio_console_create(&vm, ports, 2, &device));
	fuzz_plug(device);
}

/* What the host does: a target, statistics, keys, another size. */
static void host_step(struct fuzz *fuzz, unsigned kind, u8 what)
{
	struct console *console = &consoles[what & 1];
	u8 keys[300];

	if (kind == 1 && what & 1) {
		virtio_balloon_refresh(vdev);
	} else if (kind == 1) {
		virtio_balloon_set(vdev, fuzz_u64(fuzz));
	} else if (kind > 1 && what & 2) {
		console->columns = fuzz_u16(fuzz);
		console->rows = fuzz_u16(fuzz);
		console->resized(console->arg);
	} else if (kind > 1 && wanted[what & 1]) {
		size_t len = fuzz_u16(fuzz) % sizeof(keys);

		memset(keys, 'k', sizeof(keys));
		fuzz_check(console->input(console->arg, keys, len) <= len);
	}
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	struct fuzz fuzz = {data, size};
	unsigned kind = fuzz_u8(&fuzz) % 3;

	fuzz_pci_init();
	make(kind);
	while (fuzz_more(&fuzz)) {
		u8 what = fuzz_u8(&fuzz);

		if (!driver_step(&fuzz, what & 15))
			host_step(&fuzz, kind, what >> 4);
	}
	vm_fini(&vm);
	return 0;
}
