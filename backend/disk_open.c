/* SPDX-License-Identifier: MIT */
/* What kind of disk a user has named. */
#include "backend/disk_open.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define HEAD 1024

static const char *const formats[] = {"raw", "qcow2", "vmdk", "vdi", "vhdx", "nbd"};

static bool starts(const u8 *head, size_t len, size_t at, const char *magic, size_t magic_len)
{
	return len >= at + magic_len && !memcmp(head + at, magic, magic_len);
}

const char *disk_format_of(const u8 *head, size_t len)
{
	if (starts(head, len, 0, "QFI\xfb", 4))
		return "qcow2";
	if (starts(head, len, 0, "KDMV", 4) || starts(head, len, 0, "COWD", 4) ||
		starts(head, len, 0, "# Disk DescriptorFile", 21))
		return "vmdk";
	if (starts(head, len, 64, "\x7f\x10\xda\xbe", 4))
		return "vdi";
	if (starts(head, len, 0, "vhdxfile", 8))
		return "vhdx";
	return "raw";
}

static u64 big_endian64(const u8 *p)
{
	u64 value = 0;

	for (unsigned i = 0; i < 8; i++)
		value = value << 8 | p[i];
	return value;
}

/* A VMDK's text may name any file as its contents; the formats without such names are safe. */
bool disk_header_refers(const char *format, const u8 *head, size_t len)
{
	enum { VERSION = 4, BACKING_OFFSET = 8, INCOMPATIBLE = 72 };
	const u64 external_data = BIT(2);

	if (!strcmp(format, "vmdk"))
		return true;
	if (strcmp(format, "qcow2") || len < INCOMPATIBLE + 8)
		return false;
	if (big_endian64(head + BACKING_OFFSET))
		return true;
	return head[VERSION + 3] >= 3 && big_endian64(head + INCOMPATIBLE) & external_data;
}

const char *disk_format_of_name(const char *path)
{
	const char *dot = strrchr(path, '.');

	for (size_t i = 0; dot && !strchr(dot, '/') && i < ARRAY_SIZE(formats); i++) {
		if (!strcasecmp(dot + 1, formats[i]))
			return formats[i];
	}
	return NULL;
}

/* "... Failed to get \"write\" lock\nIs another process using the image [backing.img]?" */
bool disk_tool_locked(char *text, const char **path)
{
	static const char question[] = "another process using the image [";
	char *name = strstr(text, question), *end;

	if (!name)
		return strstr(text, "lock\n");
	name += strlen(question);
	end = strstr(name, "]?");
	if (end) {
		*end = 0;
		*path = name;
	}
	return true;
}

void disk_tool_complaint(char text[DISK_TOOL_TEXT])
{
	static const char *const fronts[] = {
		"qemu-nbd: ", "qemu-img: ", "Failed to blk_new_open ", "Could not open "};
	char *from = text;

	for (size_t i = 0; i < ARRAY_SIZE(fronts); i++) {
		if (strncmp(from, fronts[i], strlen(fronts[i])))
			continue;
		from += strlen(fronts[i]);
		/* 'driver=qcow2,file.filename=...': */
		if (*from == '\'' && strstr(from, "': "))
			from = strstr(from, "': ") + 3;
	}
	memmove(text, from, strlen(from) + 1);
	text[strcspn(text, "\n")] = 0;
	if (strstr(text, "key-secret"))
		strcpy(text, "the image is encrypted; there is no way to give its password");
	else if (!strncmp(text, "Could not open '", 16) && strstr(text, "': Invalid argument"))
		strcpy(text, "is not an image of that format, or a damaged one");
}

static bool is_uri(const char *path)
{
	return !strncmp(path, "nbd://", 6) || !strncmp(path, "nbds://", 7) ||
	       !strncmp(path, "nbd+unix://", 11) || !strncmp(path, "nbds+unix://", 12);
}

static int check_format(const struct disk_source *source, struct err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		if (!strcasecmp(source->format, formats[i]))
			return 0;
	}
	return err_set(err, EINVAL,
		"disk %s: format %s: no such format; there are raw, qcow2, vmdk, vdi, vhdx and nbd",
		source->path, source->format);
}

/* By the first bytes of the file. A file that cannot be read is complained of when it is opened. */
static int probe(const char *path, const char **format, struct err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	u8 head[HEAD];
	ssize_t len = 0;

	if (fd >= 0) {
		len = read(fd, head, sizeof(head));
		close(fd);
	}
	*format = disk_format_of(head, len > 0 ? (size_t)len : 0);
	if (len > 0 && disk_header_refers(*format, head, (size_t)len))
		return err_set(err, EINVAL,
			"disk %s: looks like a %s image that refers to other files; if it is not a guest "
			"that wrote that, say format=%s",
			path, *format, *format);
	return 0;
}

int disk_find_format(const struct disk_source *source, const char **format, struct err *err)
{
	*format = source->format;
	if (*format)
		return check_format(source, err);
	*format = is_uri(source->path) ? "nbd" : disk_format_of_name(source->path);
	return *format ? 0 : probe(source->path, format, err);
}

int disk_open(const struct disk_source *source, struct loop *loop, pthread_mutex_t *lock, struct disk **out,
	struct err *err)
{
	const char *format;
	int ret;

	err_set(err, ENOMEM, "disk %s: out of memory", source->path);
	if (!*source->path)
		return err_set(err, EINVAL, "disk: needs a path");
	if (source->opened)
		return disk_raw_open(source, loop, lock, out, err);
	ret = disk_find_format(source, &format, err);
	if (ret)
		return ret;
	if (!strcmp(format, "nbd"))
		return disk_nbd_open(source, loop, lock, out, err);
	if (strcmp(format, "raw") || source->snapshot)
		return disk_qemu_open(source, format, loop, lock, out, err);
	return disk_raw_open(source, loop, lock, out, err);
}
