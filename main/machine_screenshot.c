/* SPDX-License-Identifier: MIT */
/* A picture of the machine's screen. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dev/vga.h"
#include "main/machine_display.h"
#include "main/screenshot.h"

/* Rows of red, green and blue. The lock is free between rows, so that no vCPU waits for long. */
static void copy_rows(
	struct machine *m, struct display_source *source, const struct display_picture *picture, u8 *to)
{
	static u32 scratch[DISPLAY_MAX_WIDTH];

	for (unsigned y = 0; y < picture->height; y++) {
		struct display_picture now;
		const u32 *row;

		pthread_mutex_lock(&m->vm.lock);
		source->ops->look(source, &now);
		if (now.width != picture->width || y >= now.height) {
			pthread_mutex_unlock(&m->vm.lock);
			return; /* another mode: the rest stays black */
		}
		row = source->ops->row(source, y, scratch);
		for (unsigned x = 0; x < picture->width; x++) {
			*to++ = (u8)(row[x] >> 16);
			*to++ = (u8)(row[x] >> 8);
			*to++ = (u8)row[x];
		}
		pthread_mutex_unlock(&m->vm.lock);
	}
}

static int write_all(int fd, const u8 *data, size_t len)
{
	while (len) {
		ssize_t n = write(fd, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EIO;
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

/* A pipe could keep the loop waiting. */
static bool is_plain(int fd)
{
	struct stat st;

	return fd >= 0 && !fstat(fd, &st) && S_ISREG(st.st_mode);
}

int machine_screenshot(struct machine *m, int fd, unsigned *width, unsigned *height, struct err *err)
{
	struct display_source *source;
	struct display_picture picture;
	char header[64];
	size_t head, len;
	u8 *data;
	int ret;

	if (!machine_has_display(m))
		return err_set(
			err, ENOTSUP, "%s has no screen; --vga or --vnc gives it one", m->config->name);
	if (!is_plain(fd))
		return err_set(err, EINVAL, "a plain file's descriptor has to come with the request");
	source = &m->display.vga->display;
	pthread_mutex_lock(&m->vm.lock);
	source->ops->look(source, &picture);
	pthread_mutex_unlock(&m->vm.lock);
	head = (size_t)snprintf(header, sizeof(header), "P6\n%u %u\n255\n", picture.width, picture.height);
	len = head + (size_t)picture.width * picture.height * 3;
	data = calloc(1, len);
	if (!data)
		return err_set(err, ENOMEM, "out of memory");
	memcpy(data, header, head);
	copy_rows(m, source, &picture, data + head);
	ret = write_all(fd, data, len);
	free(data);
	*width = picture.width;
	*height = picture.height;
	return ret ? err_set(err, -ret, "the picture cannot be written: %s", strerror(-ret)) : 0;
}
