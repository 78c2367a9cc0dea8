/* SPDX-License-Identifier: MIT */
/* A file that is read straight into guest memory. */
#include "boot/image.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_MAX GIB(1) /* Linux reads a little less than 2 GiB at a time */

int image_open(struct image *image, const char *what, const char *path, int fd, struct err *err)
{
	struct stat st;
	int ret = 0;

	*image = (struct image){.path = path, .what = what};
	/* O_NONBLOCK: a FIFO must not make us wait before we can refuse it. */
	image->fd = fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (image->fd < 0)
		return err_set(err, errno, "cannot open %s %s: %s", what, path, strerror(errno));
	if (fstat(image->fd, &st))
		ret = err_set(err, errno, "cannot look at %s %s: %s", what, path, strerror(errno));
	else if (!S_ISREG(st.st_mode))
		ret = err_set(err, EINVAL, "%s %s is not a file", what, path);
	else if (!st.st_size)
		ret = err_set(err, EINVAL, "%s %s is empty", what, path);
	if (ret)
		image_close(image);
	else
		image->size = (u64)st.st_size;
	return ret;
}

void image_close(struct image *image)
{
	if (image->path && image->fd >= 0)
		close(image->fd);
	image->fd = -1;
}

int image_read(const struct image *image, u64 offset, void *to, u64 len, struct err *err)
{
	u8 *p = to;

	if (offset > image->size || len > image->size - offset)
		return err_set(err, EINVAL, "%s %s is truncated: %llu bytes, but it needs %llu", image->what,
			image->path, (unsigned long long)image->size, (unsigned long long)(offset + len));
	while (len) {
		ssize_t n = pread(image->fd, p, MIN(len, READ_MAX), (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_set(err, errno, "cannot read %s %s: %s", image->what, image->path,
				strerror(errno));
		if (!n)
			return err_set(err, EINVAL, "%s %s became shorter while it was read", image->what,
				image->path);
		p += n;
		offset += (u64)n;
		len -= (u64)n;
	}
	return 0;
}
