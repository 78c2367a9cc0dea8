/* SPDX-License-Identifier: MIT */
/* Images with bare names. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/disk_open.h"
#include "main/image.h"

static const char *const endings[] = {"qcow2", "raw", "vmdk", "vdi", "vhdx"};

static bool is_path(const char *word)
{
	return strchr(word, '/') || disk_format_of_name(word);
}

int image_folder(char path[PATH_MAX], struct err *err)
{
	const char *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
	int n;

	if (data && *data == '/')
		n = snprintf(path, PATH_MAX, "%s/mullion/images", data);
	else if (home && *home == '/')
		n = snprintf(path, PATH_MAX, "%s/.local/share/mullion/images", home);
	else
		return err_set(err, ENOENT, "images: neither XDG_DATA_HOME nor HOME says where they are");
	return n < PATH_MAX ? 0 : err_set(err, ENAMETOOLONG, "images: the folder's name is too long");
}

static int in_folder(const char *word, const char *format, char path[PATH_MAX], struct err *err)
{
	char folder[PATH_MAX];
	int ret = image_folder(folder, err);

	if (ret)
		return ret;
	if (snprintf(path, PATH_MAX, "%s/%s.%s", folder, word, format) >= PATH_MAX)
		return err_set(err, ENAMETOOLONG, "image %s: the name is too long", word);
	return 0;
}

/* What is before a colon would be a protocol to qemu-img, unless a slash comes first. */
static int write_path(const char *word, char path[PATH_MAX], struct err *err)
{
	bool here = strchr(word, ':') && !strchr(word, '/');

	if (snprintf(path, PATH_MAX, "%s%s", here ? "./" : "", word) >= PATH_MAX)
		return err_set(err, ENAMETOOLONG, "image %.100s...: the name is too long", word);
	return 0;
}

int image_find(const char *word, char path[PATH_MAX], struct err *err)
{
	bool there = !access(word, F_OK);

	for (size_t i = 0; !there && !is_path(word) && *word && i < ARRAY_SIZE(endings); i++) {
		int ret = in_folder(word, endings[i], path, err);

		if (ret)
			return ret;
		if (!access(path, F_OK))
			return 0;
	}
	if (write_path(word, path, err))
		return -ENAMETOOLONG;
	if (there || is_path(word))
		return 0;
	return err_set(err, ENOENT,
		"image %s: there is no such file here, and no such name; mullion image list shows names",
		word);
}

/* Each folder on the way to the file. */
static int make_folders(char *path, struct err *err)
{
	for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = 0;
		if (mkdir(path, 0700) && errno != EEXIST)
			return err_set(err, errno, "images: %s: %s", path, strerror(errno));
		*slash = '/';
	}
	return 0;
}

int image_place(const char *word, const char *format, char path[PATH_MAX], struct err *err)
{
	int ret;

	if (!*word)
		return err_set(err, EINVAL, "image: needs a name");
	if (is_path(word))
		return write_path(word, path, err);
	ret = in_folder(word, format, path, err);
	return ret ? ret : make_folders(path, err);
}
