/* SPDX-License-Identifier: MIT */
/*
 * The Linux boot protocol for bzImages, 64-bit entry. Facts: the kernel's
 * Documentation/arch/x86/boot.rst and its UAPI header.
 */
#include <asm/bootparam.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/random.h>

#include "boot/boot.h"
#include "boot/layout.h"

#define HEADER_OFFSET 0x1f1
#define HEADER_MAGIC 0x53726448 /* "HdrS" */
#define HEADER_JUMP 0x201 /* its value + 0x202 is where the header ends */
#define PROTOCOL_64BIT 0x020c /* the first with xloadflags */
#define ENTRY_64 0x200
#define SECTOR 512
#define LOADER_UNKNOWN 0xff
#define SETUP_RNG_SEED_TYPE 9
#define SEED_SIZE 32

struct linux_image {
	struct setup_header header;
	u64 payload; /* offset in the file */
	u64 payload_size;
	gpa_t base, end; /* the memory it needs */
};

bool linux_probe(const u8 *head, size_t head_len)
{
	u32 magic;

	if (head_len < HEADER_OFFSET + offsetof(struct setup_header, version))
		return false;
	memcpy(&magic, head + HEADER_OFFSET + offsetof(struct setup_header, header), sizeof(magic));
	return magic == HEADER_MAGIC;
}

/* Only what the kernel says is header; the rest of the structure stays zero. */
static int read_header(struct boot *boot, struct setup_header *header)
{
	u8 jump;
	u64 len;
	int ret = image_read(&boot->kernel, HEADER_JUMP, &jump, 1, boot->err);

	if (ret)
		return ret;
	len = MIN(0x202u + jump - HEADER_OFFSET, sizeof(*header));
	memset(header, 0, sizeof(*header));
	return image_read(&boot->kernel, HEADER_OFFSET, header, len, boot->err);
}

static int check_header(struct boot *boot, const struct setup_header *header)
{
	const char *path = boot->kernel.path;

	if (header->version < PROTOCOL_64BIT)
		return err_set(boot->err, ENOEXEC, "kernel %s speaks boot protocol %u.%u; 2.12 is needed",
			path, header->version >> 8, header->version & 0xff);
	if (!(header->loadflags & LOADED_HIGH))
		return err_set(boot->err, ENOEXEC, "kernel %s is a zImage; a bzImage is needed", path);
	if (!(header->xloadflags & XLF_KERNEL_64))
		return err_set(boot->err, ENOEXEC, "kernel %s has no 64-bit entry point", path);
	if (header->syssize < (ENTRY_64 + 1) / 16 + 1)
		return err_set(boot->err, ENOEXEC, "kernel %s is damaged: it says that it is empty", path);
	return 0;
}

/* Where the image lies in the file and goes in memory. */
static int plan(struct boot *boot, struct linux_image *image)
{
	const struct setup_header *header = &image->header;
	u64 sectors = header->setup_sects ? header->setup_sects : 4;
	u64 need;

	image->payload = (sectors + 1) * SECTOR;
	image->payload_size = (u64)header->syssize * 16;
	/* The last paragraph need not be whole. */
	if (boot->kernel.size < image->payload + image->payload_size - 15)
		return err_set(boot->err, EINVAL,
			"kernel %s is truncated: %llu bytes, but its header says %llu", boot->kernel.path,
			(unsigned long long)boot->kernel.size,
			(unsigned long long)(image->payload + image->payload_size));
	image->payload_size = MIN(image->payload_size, boot->kernel.size - image->payload);
	need = MAX(image->payload_size, header->init_size);
	image->base = header->pref_address;
	if (image->base < BOOT_HIGH || image->base > GIB(4))
		return err_set(boot->err, ENOEXEC, "kernel %s is damaged: it wants to lie at %#llx",
			boot->kernel.path, (unsigned long long)image->base);
	image->end = image->base + need;
	if (!boot_ram(boot, image->base, need))
		return err_set(boot->err, ENOSPC, "kernel %s needs at least %llu MiB of memory",
			boot->kernel.path, (unsigned long long)((image->end + MIB(1) - 1) / MIB(1)));
	return 0;
}

/* The kernel's random numbers start with a seed from the host: it need not wait for entropy. */
static void put_seed(struct boot *boot, struct setup_header *header)
{
	struct setup_data *data = boot_ram(boot, BOOT_RANDOM, sizeof(*data) + SEED_SIZE);

	if (!data)
		return;
	*data = (struct setup_data){.type = SETUP_RNG_SEED_TYPE, .len = SEED_SIZE};
	if (getrandom(data->data, SEED_SIZE, GRND_NONBLOCK) == SEED_SIZE)
		header->setup_data = BOOT_RANDOM;
}

static void put_map(const struct memmap *map, struct boot_params *params)
{
	for (unsigned i = 0; i < map->count; i++) {
		params->e820_table[i].addr = map->range[i].base;
		params->e820_table[i].size = map->range[i].size;
		params->e820_table[i].type = map->range[i].type;
	}
	params->e820_entries = (u8)map->count;
}

/* The screen as firmware would have left it. */
static void put_screen(struct screen_info *screen)
{
	screen->orig_video_mode = 3;
	screen->orig_video_cols = 80;
	screen->orig_video_lines = 25;
	screen->orig_video_isVGA = 1;
	screen->orig_video_points = 16;
}

int linux_put_params(struct boot *boot, const struct setup_header *header)
{
	struct boot_params *params = boot_ram(boot, BOOT_PARAMS, sizeof(*params));

	if (!params)
		return err_set(boot->err, ENOSPC, "no memory for the boot parameters");
	memset(params, 0, sizeof(*params));
	params->hdr = *header;
	params->hdr.vid_mode = 0xffff; /* normal */
	params->hdr.type_of_loader = LOADER_UNKNOWN;
	params->hdr.cmd_line_ptr = BOOT_COMMAND_LINE;
	params->hdr.ramdisk_image = (u32)boot->initrd_base;
	params->hdr.ramdisk_size = (u32)boot->initrd.size;
	params->ext_ramdisk_image = (u32)(boot->initrd_base >> 32);
	params->ext_ramdisk_size = (u32)(boot->initrd.size >> 32);
	params->acpi_rsdp_addr = boot->config->rsdp;
	if (boot->config->vga)
		put_screen(&params->screen_info);
	put_map(&boot->map, params);
	put_seed(boot, &params->hdr);
	return 0;
}

static u64 initrd_limit(const struct setup_header *header)
{
	if (header->xloadflags & XLF_CAN_BE_LOADED_ABOVE_4G)
		return UINT64_MAX;
	return (u64)header->initrd_addr_max + 1;
}

int linux_load(struct boot *boot)
{
	struct linux_image image;
	int ret = read_header(boot, &image.header);

	if (!ret)
		ret = check_header(boot, &image.header);
	if (!ret)
		ret = plan(boot, &image);
	if (!ret)
		ret = image_read(&boot->kernel, image.payload, boot_ram(boot, image.base, image.payload_size),
			image.payload_size, boot->err);
	if (!ret)
		ret = boot_load_initrd(boot, image.base, image.end, initrd_limit(&image.header));
	if (!ret)
		ret = boot_put_command_line(boot, image.header.cmdline_size);
	if (!ret)
		ret = linux_put_params(boot, &image.header);
	return ret ? ret : entry_long_mode(boot, image.base + ENTRY_64, BOOT_PARAMS);
}
