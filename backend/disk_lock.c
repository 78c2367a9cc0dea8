/* SPDX-License-Identifier: MIT */
/* Locks on image files. */
#include "backend/disk_lock.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * Whoever opens an image holds a shared lock on byte USES + n for each kind n of
 * access that it makes, and on byte FORBIDS + n for each that it suffers from nobody
 * else; then it looks whether anybody else forbids or uses the opposite.
 */
enum {
	USES = 100,
	FORBIDS = 200,
	READ = 0, /* and expects consistent contents */
	WRITE = 1,
	RESIZE = 3,
};

static int set(int fd, unsigned byte)
{
	struct flock lock = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};

	return fcntl(fd, F_OFD_SETLK, &lock) ? -errno : 0;
}

/* Does another open file hold the byte? */
static bool held(int fd, unsigned byte)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};

	return !fcntl(fd, F_OFD_GETLK, &lock) && lock.l_type != F_UNLCK;
}

static int take(int fd, bool write)
{
	int ret = set(fd, USES + READ);

	if (!ret && write)
		ret = set(fd, USES + WRITE);
	if (!ret)
		ret = set(fd, FORBIDS + WRITE);
	if (!ret)
		ret = set(fd, FORBIDS + RESIZE);
	if (ret)
		return ret;
	if (held(fd, FORBIDS + READ) || held(fd, USES + WRITE) || held(fd, USES + RESIZE))
		return -EBUSY;
	return write && held(fd, FORBIDS + WRITE) ? -EBUSY : 0;
}

/* ---- who holds it ---- */

/* The kernel says whose an OFD lock is only beside each process's descriptors. */
static bool has_lock(const char *pid, const char *fd)
{
	char path[64], line[256];
	bool found = false;
	FILE *info;

	snprintf(path, sizeof(path), "/proc/%.16s/fdinfo/%.16s", pid, fd);
	info = fopen(path, "re");
	while (info && !found && fgets(line, sizeof(line), info))
		found = !strncmp(line, "lock:", 5);
	if (info)
		fclose(info);
	return found;
}

static bool holds(const char *pid, const struct stat *file)
{
	char path[300];
	struct dirent *entry;
	bool found = false;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%.16s/fd", pid);
	dir = opendir(path);
	while (dir && !found && (entry = readdir(dir))) {
		struct stat other;

		snprintf(path, sizeof(path), "/proc/%.16s/fd/%.16s", pid, entry->d_name);
		found = isdigit((unsigned char)entry->d_name[0]) && !stat(path, &other) &&
			other.st_ino == file->st_ino && other.st_dev == file->st_dev &&
			has_lock(pid, entry->d_name);
	}
	if (dir)
		closedir(dir);
	return found;
}

/* Another process rather than this one, which has just tried. */
pid_t disk_lock_holder(const char *path)
{
	pid_t found = 0, own = getpid();
	struct dirent *entry;
	struct stat file;
	DIR *proc;

	if (stat(path, &file))
		return 0;
	proc = opendir("/proc");
	while (proc && !found && (entry = readdir(proc))) {
		pid_t pid = atoi(entry->d_name);

		if (pid > 0 && pid != own && holds(entry->d_name, &file))
			found = pid;
	}
	if (proc)
		closedir(proc);
	return found;
}

int disk_lock_complain(const char *path, struct err *err)
{
	pid_t pid = disk_lock_holder(path);

	if (pid)
		return err_set(err, EBUSY, "disk %s: the image is locked by another VM or tool: process %d",
			path, (int)pid);
	return err_set(
		err, EBUSY, "disk %s: the image is locked: another VM has it open, or this one twice", path);
}

int disk_lock(int fd, const char *path, bool write, struct err *err)
{
	int ret = take(fd, write);

	if (!ret)
		return 0;
	if (ret == -EBUSY || ret == -EAGAIN || ret == -EACCES)
		return disk_lock_complain(path, err);
	if (ret == -ENOLCK || ret == -EINVAL || ret == -EOPNOTSUPP || ret == -ENOSYS)
		return 0; /* a file system without locks */
	return err_set(err, -ret, "disk %s: cannot lock the image: %s", path, strerror(-ret));
}
