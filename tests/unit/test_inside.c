/* SPDX-License-Identifier: MIT */
/* The system on a disk image: partition tables, file systems, and what of them is booted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "boot/inside.h"

#define DISK_SIZE MIB(4)
#define PART_AT MIB(1)
#define PART_SIZE MIB(2)

static u8 *disk;
static char dir[64];
static struct boot_inside inside;
static struct err err;

static int read_memory(struct boot_store *store, u64 offset, void *to, size_t len)
{
	assert_true(offset <= store->size && len <= store->size - offset);
	memcpy(to, disk + offset, len);
	return 0;
}

static int look(u64 size)
{
	struct boot_store store = {.read = read_memory, .size = size};

	return boot_look_inside(&store, "the image", &inside, &err);
}

static void shell(const char *format, ...)
{
	char command[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	assert_int_equal(system(command), 0);
}

/* Makes a file system of what the script puts into the folder, at the place on the disk. */
static void make(u64 at, const char *type, const char *script)
{
	char path[128];
	FILE *file;

	shell("rm -rf %s/root %s/fs && mkdir %s/root && cd %s/root && { %s\n}", dir, dir, dir, dir, script);
	shell("PATH=$PATH:/sbin:/usr/sbin mke2fs -q -F -t %s -U 01234567-89ab-cdef-0123-456789abcdef -d %s/root %s/fs 2048k >/dev/null",
		type, dir, dir);
	snprintf(path, sizeof(path), "%s/fs", dir);
	file = fopen(path, "r");
	assert_non_null(file);
	memset(disk, 0, DISK_SIZE);
	assert_int_equal(fread(disk + at, 1, PART_SIZE, file), PART_SIZE);
	fclose(file);
}

static void check_file(int fd, const char *contents)
{
	char text[64] = "";

	assert_int_equal(pread(fd, text, sizeof(text) - 1, 0), strlen(contents));
	assert_string_equal(text, contents);
}

#define UUID_LINE "root=UUID=01234567-89ab-cdef-0123-456789abcdef ro quiet"

static void put32(u64 at, u32 value)
{
	memcpy(disk + at, &value, 4);
}

static void put_mbr(u64 sector, unsigned entry, u8 type, u32 first, u32 count)
{
	u64 at = sector * 512 + 446 + 16 * entry;

	disk[at + 4] = type;
	put32(at + 8, first);
	put32(at + 12, count);
	disk[sector * 512 + 510] = 0x55;
	disk[sector * 512 + 511] = 0xaa;
}

static void put_gpt(u32 entry, u32 first, u32 last)
{
	u64 at = 1024 + 128 * entry;

	put_mbr(0, 0, 0xee, 1, DISK_SIZE / 512 - 1);
	memcpy(disk + 512, "EFI PART", 8);
	put32(512 + 72, 2); /* entries */
	put32(512 + 80, 128);
	put32(512 + 84, 128);
	memset(disk + at, 0x11, 16);
	for (u8 i = 0; i < 16; i++)
		disk[at + 16 + i] = i;
	put32(at + 32, first);
	put32(at + 40, last);
}

static void test_newest(void **state)
{
	(void)state;
	for (size_t i = 0; i < 3; i++) {
		make(0, (const char *[]){"ext2", "ext3", "ext4"}[i],
			"mkdir boot; for v in 6.1.0-9 6.1.0-10 6.1.0-10.old 9-rescue-9; do echo k$v >boot/vmlinuz-$v; echo i$v "
			">boot/initrd.img-$v; done");
		assert_int_equal(look(PART_SIZE), 0);
		check_file(inside.kernel, "k6.1.0-10\n");
		check_file(inside.initrd, "i6.1.0-10\n");
		assert_string_equal(inside.command_line, UUID_LINE);
	}
}

static void test_links(void **state)
{
	(void)state;
	make(PART_AT, "ext4",
		"mkdir boot; echo new >boot/vmlinuz-2; echo old >boot/vmlinuz-1; ln -s boot/vmlinuz-1 vmlinuz; echo i >boot/i; ln -s "
		"/boot/i initrd.img");
	put_gpt(2, PART_AT / 512, (PART_AT + PART_SIZE) / 512 - 1);
	put_gpt(0, 1, 40); /* no file system */
	assert_int_equal(look(DISK_SIZE), 0);
	check_file(inside.kernel, "old\n");
	check_file(inside.initrd, "i\n");
	assert_string_equal(inside.command_line, UUID_LINE);
	/* without an initrd the kernel must find its root alone */
	make(PART_AT, "ext4", "mkdir boot; echo new >boot/vmlinuz-2");
	put_gpt(2, PART_AT / 512, (PART_AT + PART_SIZE) / 512 - 1);
	assert_int_equal(look(DISK_SIZE), 0);
	assert_string_equal(inside.initrd_name, "");
	assert_string_equal(inside.command_line, "root=PARTUUID=03020100-0504-0706-0809-0a0b0c0d0e0f ro quiet");
}

/* A loop of links ends. */
static void test_link_loop(void **state)
{
	(void)state;
	make(0, "ext4", "ln -s b vmlinuz; ln -s vmlinuz b");
	assert_int_not_equal(look(PART_SIZE), 0);
	assert_non_null(strstr(err.text, "no Linux kernel"));
}

static void test_grub(void **state)
{
	(void)state;
	make(PART_AT, "ext4",
		"mkdir -p grub; echo k >vmlinuz-7; echo i >initrd.img-7; echo no >vmlinuz-9; cat >grub/grub.cfg <<'END'\n"
		"set default=\"0\"\n"
		"linux /nothing\n"
		"menuentry 'Debian' --class debian {\n"
		"\tinsmod ext2\n"
		"\tlinux\t/vmlinuz-7 root=/dev/mapper/x ro ${extra} quiet splash\n"
		"\tinitrd\t/initrd.img-7\n"
		"}\n"
		"menuentry 'Other' {\n\tlinux /vmlinuz-9 root=/dev/sda1\n}\n"
		"END\n");
	put_mbr(0, 1, 0x05, 1000, 7000);
	put_mbr(1000, 0, 0x83, PART_AT / 512 - 1000, PART_SIZE / 512);
	put_mbr(1000, 1, 0x05, 0, 1); /* a loop */
	assert_int_equal(look(DISK_SIZE), 0);
	check_file(inside.kernel, "k\n");
	check_file(inside.initrd, "i\n");
	assert_string_equal(inside.command_line, "root=/dev/mapper/x ro quiet splash");
}

/* What GRUB's scripts would compute is left out; one entry's initrd is not another's. */
static void test_grub_scripts(void **state)
{
	(void)state;
	make(0, "ext4",
		"mkdir -p grub; echo k >vmlinuz-7; echo no >vmlinuz-9; echo i >initrd.img-9; cat >grub/grub.cfg <<'END'\n"
		"menuentry 'Debian' {\n"
		"\tlinux /$dir/vmlinuz-9 root=x\n"
		"\tlinux /vmlinuz-7 \"a b\" 'c' d\\ e `f` root=y\n"
		"}\n"
		"menuentry 'Other' {\n\tlinux /vmlinuz-9 root=/dev/sda1\n\tinitrd /initrd.img-9\n}\n"
		"END\n");
	assert_int_equal(look(PART_SIZE), 0);
	check_file(inside.kernel, "k\n");
	assert_string_equal(inside.initrd_name, "");
	assert_string_equal(inside.command_line, "e root=y");
}

static void check_refused(u64 size, const char *why)
{
	assert_true(look(size) < 0);
	assert_non_null(strstr(err.text, why));
	assert_null(strchr(err.text, '\n'));
}

static void test_refusals(void **state)
{
	(void)state;
	memset(disk, 0, DISK_SIZE);
	check_refused(DISK_SIZE, "no Linux kernel");
	check_refused(512, "no Linux kernel");
	memcpy(disk, "XFSB", 4);
	check_refused(DISK_SIZE, "XFS");
	memset(disk, 0xff, DISK_SIZE);
	check_refused(DISK_SIZE, "no Linux kernel");
	make(0, "ext4", "mkdir -p boot; mkdir boot/vmlinuz-1");
	check_refused(PART_SIZE, "/boot/vmlinuz-1 cannot be read");
	make(0, "ext4", "mkdir boot; truncate -s 300M boot/vmlinuz-1");
	check_refused(PART_SIZE, "too large");
	/* tables that lead nowhere */
	memset(disk, 0, DISK_SIZE);
	put_gpt(0, 0x7fffffff, 0xffffffff);
	put32(512 + 84, 0xffffffff);
	check_refused(DISK_SIZE, "no Linux kernel");
	/* a file system that is larger than its partition */
	make(PART_AT, "ext4", "mkdir boot; echo k >boot/vmlinuz-1");
	put_mbr(0, 0, 0x83, PART_AT / 512, 16);
	check_refused(DISK_SIZE, "the image: ");
}

static int setup(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/test_inside.XXXXXX");
	disk = malloc(DISK_SIZE);
	return !disk || !mkdtemp(dir) || boot_inside_init(&inside);
}

static int teardown(void **state)
{
	(void)state;
	shell("rm -rf %s", dir);
	free(disk);
	boot_inside_fini(&inside);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_newest),
		cmocka_unit_test(test_links),
		cmocka_unit_test(test_link_loop),
		cmocka_unit_test(test_grub),
		cmocka_unit_test(test_grub_scripts),
		cmocka_unit_test(test_refusals),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
