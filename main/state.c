/* SPDX-License-Identifier: MIT */
/* Where a user's VMs are kept, and which of them run. */
#include "main/state.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- paths ---- */

static const char *home(void)
{
	const char *dir = getenv("HOME");
	const struct passwd *user;

	if (dir && *dir == '/')
		return dir;
	user = getpwuid(geteuid());
	return user && *user->pw_dir == '/' ? user->pw_dir : "/";
}

/* A relative path in one of these variables is to be ignored (XDG Base Directory Specification). */
static int xdg(const char *variable, const char *below_home, char path[PATH_MAX])
{
	const char *dir = getenv(variable);

	if (dir && *dir == '/')
		return snprintf(path, PATH_MAX, "%s/mullion", dir);
	return snprintf(path, PATH_MAX, "%s/%s/mullion", home(), below_home);
}

static bool is_private_dir(const char *path)
{
	struct stat st;

	return !lstat(path, &st) && S_ISDIR(st.st_mode) && st.st_uid == geteuid() && !(st.st_mode & 0022);
}

/* Without a login session: what systemd would have made, or else a folder in /tmp that only we may write to. */
static int runtime_dir(char path[PATH_MAX], struct err *err)
{
	const char *dir = getenv("XDG_RUNTIME_DIR");

	if (dir && *dir == '/')
		return snprintf(path, PATH_MAX, "%s/mullion", dir);
	snprintf(path, PATH_MAX, "/run/user/%u", geteuid());
	if (is_private_dir(path))
		return snprintf(path, PATH_MAX, "/run/user/%u/mullion", geteuid());
	snprintf(path, PATH_MAX, "/tmp/mullion-%u", geteuid());
	if (!access(path, F_OK) && !is_private_dir(path))
		return err_set(err, EPERM, "%s is not ours alone; remove it, or set XDG_RUNTIME_DIR", path);
	return (int)strlen(path);
}

static int place_dir(enum state_place place, char path[PATH_MAX], struct err *err)
{
	switch (place) {
	case STATE_DEFINITION:
		return xdg("XDG_CONFIG_HOME", ".config", path);
	case STATE_RUN:
		return runtime_dir(path, err);
	default:
		return xdg("XDG_STATE_HOME", ".local/state", path);
	}
}

int state_path(
	enum state_place place, const char *name, const char *file, char path[PATH_MAX], struct err *err)
{
	int len = place_dir(place, path, err), more;

	if (len < 0)
		return len;
	if (place == STATE_DEFINITION)
		more = snprintf(
			path + len, len < PATH_MAX ? (size_t)(PATH_MAX - len) : 0, "/vms/%s.json", name);
	else
		more = snprintf(path + len, len < PATH_MAX ? (size_t)(PATH_MAX - len) : 0, "%s%s%s%s",
			*name ? "/" : "", name, file ? "/" : "", file ? file : "");
	return len + more < PATH_MAX ? 0 : err_set(err, ENAMETOOLONG, "the path of VM %s is too long", name);
}

/* All folders that the path goes through, its last part not among them. */
static int make_parents(const char *path, struct err *err)
{
	char dir[PATH_MAX];

	snprintf(dir, sizeof(dir), "%s", path);
	for (char *slash = strchr(dir + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = 0;
		if (mkdir(dir, 0700) && errno != EEXIST && access(dir, F_OK))
			return err_set(err, errno, "cannot make %s: %s", dir, strerror(errno));
		*slash = '/';
	}
	return 0;
}

int state_make(enum state_place place, const char *name, struct err *err)
{
	char path[PATH_MAX];
	int ret = state_path(place, name, "x", path, err);

	return ret ? ret : make_parents(path, err);
}

/* ---- which there are ---- */

bool state_name_ok(const char *name)
{
	size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-");

	return !name[len] && isalnum((unsigned char)*name) && len < 64;
}

bool state_defined(const char *name)
{
	char path[PATH_MAX];

	return state_name_ok(name) && !state_path(STATE_DEFINITION, name, NULL, path, NULL) &&
	       !access(path, F_OK);
}

/* The lock file, or -errno. */
static int open_lock(const char *name, int flags)
{
	char path[PATH_MAX];
	int fd;

	if (!state_name_ok(name) || state_path(STATE_RUN, name, "lock", path, NULL))
		return -EINVAL;
	fd = open(path, flags | O_CLOEXEC | O_NOFOLLOW, 0600);
	return fd < 0 ? -errno : fd;
}

/* A lock of the open file, which children share: it lives as long as one of them has the file open. */
static struct flock whole_file(void)
{
	return (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET};
}

/* 0: nobody holds it; -EWOULDBLOCK: somebody does; else there is none. */
static int try_lock(const char *name)
{
	int fd = open_lock(name, O_RDWR), ret;
	struct flock lock = whole_file();

	if (fd < 0)
		return fd;
	ret = fcntl(fd, F_OFD_GETLK, &lock) ? -errno : lock.l_type == F_UNLCK ? 0 : -EWOULDBLOCK;
	close(fd);
	return ret;
}

static pid_t read_pid(const char *name)
{
	char path[PATH_MAX];
	long pid = 0;
	FILE *file;

	if (state_path(STATE_RUN, name, "pid", path, NULL))
		return 0;
	file = fopen(path, "re");
	if (!file)
		return 0;
	if (fscanf(file, "%ld", &pid) != 1)
		pid = 0;
	fclose(file);
	return (pid_t)pid;
}

bool state_running(const char *name, pid_t *pid)
{
	if (try_lock(name) != -EWOULDBLOCK)
		return false;
	if (pid)
		*pid = read_pid(name);
	return true;
}

bool state_crashed(const char *name)
{
	return try_lock(name) == 0;
}

/* ---- the hold on a name ---- */

/* Whoever held it before may have removed the file between our open and our lock. */
static bool still_there(int fd, const char *name)
{
	int again = open_lock(name, O_RDWR);
	struct stat a, b;
	bool same;

	if (again < 0)
		return false;
	same = !fstat(fd, &a) && !fstat(again, &b) && a.st_ino == b.st_ino && a.st_dev == b.st_dev;
	close(again);
	return same;
}

int state_claim(struct state_claim *claim, const char *name, struct err *err)
{
	struct flock lock = whole_file();
	int fd, ret;

	claim->lock = -1;
	snprintf(claim->name, sizeof(claim->name), "%s", name);
	while (1) {
		ret = state_make(STATE_RUN, name, err);
		if (ret)
			return ret;
		fd = open_lock(name, O_RDWR | O_CREAT);
		if (fd == -ENOENT)
			continue; /* its last owner has just removed the folder */
		if (fd < 0)
			return err_set(err, -fd, "cannot lock VM %s: %s", name, strerror(-fd));
		if (fcntl(fd, F_OFD_SETLK, &lock)) {
			close(fd);
			return err_set(err, EBUSY, "VM %s runs already", name);
		}
		if (still_there(fd, name))
			break;
		close(fd);
	}
	claim->lock = fd;
	return 0;
}

int state_write_pid(const struct state_claim *claim, struct err *err)
{
	char path[PATH_MAX], text[32];
	int ret = state_path(STATE_RUN, claim->name, "pid", path, err);

	snprintf(text, sizeof(text), "%ld\n", (long)getpid());
	return ret ? ret : state_write(path, text, false, err);
}

/* The lock goes last: from then on the folder may be somebody else's. */
static void remove_folder(const char *dir)
{
	DIR *open_dir = opendir(dir);
	const struct dirent *entry;

	if (!open_dir)
		return;
	while ((entry = readdir(open_dir))) {
		if (strcmp(entry->d_name, "lock"))
			unlinkat(dirfd(open_dir), entry->d_name, 0);
	}
	unlinkat(dirfd(open_dir), "lock", 0);
	closedir(open_dir);
	rmdir(dir);
}

void state_release(struct state_claim *claim)
{
	char dir[PATH_MAX];

	if (claim->lock < 0)
		return;
	if (!state_path(STATE_RUN, claim->name, NULL, dir, NULL))
		remove_folder(dir);
	close(claim->lock);
	claim->lock = -1;
}

/* ---- files ---- */

int state_write(const char *path, const char *text, bool new, struct err *err)
{
	char temporary[PATH_MAX];
	size_t len = strlen(text);
	int fd, ret = 0;

	if (snprintf(temporary, sizeof(temporary), "%s.%ld", path, (long)getpid()) >= PATH_MAX)
		return err_set(err, ENAMETOOLONG, "the path %s is too long", path);
	fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return err_set(err, errno, "cannot write %s: %s", path, strerror(errno));
	if (write(fd, text, len) != (ssize_t)len || fsync(fd))
		ret = -(errno ? errno : ENOSPC);
	if (close(fd) && !ret)
		ret = -errno;
	if (!ret && (new ? link(temporary, path) : rename(temporary, path)))
		ret = -errno;
	if (ret || new)
		unlink(temporary);
	return ret ? err_set(err, -ret, "cannot write %s: %s", path, strerror(-ret)) : 0;
}

void state_forget(const char *name)
{
	struct state_claim claim;
	char path[PATH_MAX];

	if (!state_path(STATE_DEFINITION, name, NULL, path, NULL))
		unlink(path);
	if (!state_path(STATE_KEPT, name, NULL, path, NULL))
		remove_folder(path);
	if (!state_claim(&claim, name, NULL)) /* not of a VM that somebody starts right now */
		state_release(&claim);
}

/* ---- the list ---- */

static int add_name(char ***names, unsigned *n, const char *name)
{
	char **more;

	for (unsigned i = 0; i < *n; i++) {
		if (!strcmp((*names)[i], name))
			return 0;
	}
	more = realloc(*names, (*n + 1) * sizeof(*more));
	if (!more)
		return -ENOMEM;
	*names = more;
	more[*n] = strdup(name);
	return more[*n] ? (*n)++, 0 : -ENOMEM;
}

/* What is left of a killed VM that was never defined is nothing, and is removed. */
static bool was_started(const char *name)
{
	struct state_claim claim;
	int held = try_lock(name);

	if (held == 0 && !state_defined(name) && !state_claim(&claim, name, NULL))
		state_release(&claim);
	else
		return held == 0 || held == -EWOULDBLOCK;
	return false;
}

/* Names of the folder's entries, without the ending. */
static int add_entries(char ***names, unsigned *n, const char *dir, const char *ending)
{
	DIR *open_dir = opendir(dir);
	const struct dirent *entry;
	int ret = 0;

	while (!ret && open_dir && (entry = readdir(open_dir))) {
		size_t len = strlen(entry->d_name), cut = strlen(ending);
		char name[256];

		if (len <= cut || strcmp(entry->d_name + len - cut, ending))
			continue;
		snprintf(name, sizeof(name), "%.*s", (int)(len - cut), entry->d_name);
		if (state_name_ok(name) && (*ending || was_started(name)))
			ret = add_name(names, n, name);
	}
	if (open_dir)
		closedir(open_dir);
	return ret;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

int state_list(char ***names, unsigned *n, struct err *err)
{
	char dir[PATH_MAX];
	int ret;

	*names = NULL;
	*n = 0;
	xdg("XDG_CONFIG_HOME", ".config", dir);
	ret = (int)strlen(dir) + 5 < PATH_MAX ? 0 : -ENAMETOOLONG;
	if (!ret) {
		strcat(dir, "/vms");
		ret = add_entries(names, n, dir, ".json");
	}
	if (!ret)
		ret = runtime_dir(dir, err);
	if (ret >= 0)
		ret = add_entries(names, n, dir, "");
	if (*n)
		qsort(*names, *n, sizeof(**names), by_name);
	return ret < 0 ? ret : 0;
}

void state_free_list(char **names, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		free(names[i]);
	free(names);
}
