/* SPDX-License-Identifier: MIT */
/*
 * `mullion image`: disk images, by qemu-img (Debian's qemu-utils), and the folder
 * where those with bare names are.
 *
 * A word without a slash and without an ending that states a format is a name: its image is
 * $XDG_DATA_HOME/mullion/images/NAME.qcow2 (or .raw, ...). Everything else is a path.
 */
#pragma once

#include <limits.h>

#include "main/command.h"

extern const struct command command_image_build, command_image_create, command_image_convert, command_image_info, command_image_resize,
	command_image_list;

/* The image that a user calls so: a file, a URI, or a name in the store. 0, or -ENOENT with a line in err. */
int image_find(const char *word, char path[PATH_MAX], struct err *err);
/* Where an image that is to be made goes; the store's folder is made. */
int image_place(const char *word, const char *format, char path[PATH_MAX], struct err *err);
/* The folder of images with bare names. */
int image_folder(char path[PATH_MAX], struct err *err);
