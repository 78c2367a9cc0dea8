/* SPDX-License-Identifier: MIT */
/*
 * Writes records, has each one made stable, and only then prints its number. A record
 * is a slot in one file, and every 16th also a file of its own, made under another name
 * and renamed: data, sizes, names and the journal are all at work.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SLOT = 512, KEPT = 200 /* files of their own */ };

static void fail(const char *what)
{
	printf("FAIL: %s\n", what);
	fflush(stdout);
	for (;;)
		pause();
}

/* The number in each of its words, so that a torn or stale slot shows. */
static void fill(unsigned *slot, unsigned n)
{
	for (unsigned i = 0; i < SLOT / sizeof(*slot); i++)
		slot[i] = n ^ i * 2654435761u;
}

static void sync_folder(void)
{
	int fd = open("/mnt", O_RDONLY | O_DIRECTORY);

	if (fd < 0 || fsync(fd))
		fail("fsync of the folder");
	close(fd);
}

static void own_file(const unsigned *slot, unsigned n)
{
	char name[64], final[64];
	int fd;

	snprintf(name, sizeof(name), "/mnt/new.%u", n);
	snprintf(final, sizeof(final), "/mnt/r.%u", n / 16 % KEPT);
	fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	if (fd < 0 || write(fd, slot, SLOT) != SLOT || fsync(fd))
		fail("a file of its own");
	close(fd);
	if (rename(name, final))
		fail("rename");
	sync_folder();
}

int main(void)
{
	unsigned slot[SLOT / sizeof(unsigned)];
	int fd = open("/mnt/records", O_RDWR | O_CREAT, 0600);
	struct stat st;
	unsigned n;

	if (fd < 0 || fstat(fd, &st))
		fail("open");
	sync_folder();
	/* Goes on with the last slot, which may have been written when its number was not yet printed. */
	n = (unsigned)(st.st_size / SLOT);
	n -= n > 0;
	printf("begin %u\n", n);
	for (;; n++) {
		fill(slot, n);
		if (pwrite(fd, slot, SLOT, (off_t)n * SLOT) != SLOT || fsync(fd))
			fail("write");
		if (n % 16 == 15)
			own_file(slot, n);
		printf("synced %u\n", n);
		fflush(stdout);
	}
}
