/* SPDX-License-Identifier: MIT */
/*
 * The look into a disk image: a small image with a partition table, ext4 and a kernel, in
 * which the input changes bytes. Nothing is read outside it, and the look ends.
 */
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "boot/inside.h"

#define PART_AT KIB(64)
#define FS_SIZE KIB(512)
#define DISK_SIZE (PART_AT + FS_SIZE)

static u8 clean[DISK_SIZE], disk[DISK_SIZE];
static struct boot_inside inside;

static int read_memory(struct boot_store *store, u64 offset, void *to, size_t len)
{
	fuzz_check(offset <= store->size && len <= store->size - offset);
	memcpy(to, disk + offset, len);
	return 0;
}

static const char script[] =
	"export E2FSPROGS_FAKE_TIME=1 PATH=$PATH:/sbin:/usr/sbin && cd %s && mkdir -p root/boot/grub && cd root && echo k >boot/vmlinuz-1 && "
	"head -c 9000 /dev/zero >boot/initrd.img-1 && ln -s boot/vmlinuz-1 vmlinuz && ln -s /boot/initrd.img-1 initrd.img && "
	"printf 'menuentry a {\\n linux /vmlinuz a=b\\n initrd /initrd.img\\n}\\n' >boot/grub/grub.cfg && "
	"mke2fs -q -F -t ext4 -b 1024 -O ^has_journal -U 01234567-89ab-cdef-0123-456789abcdef "
	"-E hash_seed=01234567-89ab-cdef-0123-456789abcdef -d . ../fs 512k >/dev/null";

int LLVMFuzzerInitialize(int *argc, char ***argv);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	char dir[] = "/tmp/fuzz_inside.XXXXXX", text[2048];
	FILE *file;

	(void)argc;
	(void)argv;
	fuzz_check(mkdtemp(dir));
	snprintf(text, sizeof(text), script, dir);
	fuzz_check(!system(text));
	snprintf(text, sizeof(text), "%s/fs", dir);
	file = fopen(text, "r");
	fuzz_check(file && fread(clean + PART_AT, 1, FS_SIZE, file) == FS_SIZE);
	fclose(file);
	snprintf(text, sizeof(text), "rm -rf %s", dir);
	fuzz_check(!system(text));
	clean[446 + 4] = 0x83;
	memcpy(clean + 446 + 8, &(u32){PART_AT / 512}, 4);
	memcpy(clean + 446 + 12, &(u32){FS_SIZE / 512}, 4);
	clean[510] = 0x55;
	clean[511] = 0xaa;
	fuzz_check(!boot_inside_init(&inside));
	return 0;
}

/* A change is three bytes of place and two of what goes there; the first byte may ask for the disk without its table. */
int LLVMFuzzerTestOneInput(const u8 *data, size_t len)
{
	struct boot_store store = {.read = read_memory, .size = DISK_SIZE};
	struct err err;

	memcpy(disk, clean, sizeof(disk));
	if (len && data[0] & 1)
		memmove(disk, disk + PART_AT, FS_SIZE);
	for (size_t i = 1; i + 5 <= len; i += 5) {
		u32 at = (u32)(data[i] | data[i + 1] << 8 | data[i + 2] << 16) % (DISK_SIZE - 1);

		memcpy(disk + at, data + i + 3, 2);
	}
	err.text[0] = '\0';
	if (boot_look_inside(&store, "image", &inside, &err))
		fuzz_check(err.text[0] && !strchr(err.text, '\n'));
	return 0;
}
