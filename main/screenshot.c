/* SPDX-License-Identifier: MIT */
/* `mullion screenshot`. */
#include "main/screenshot.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/log.h"
#include "main/client.h"

/* Only a plain file gives way to the picture. */
static int open_draft(const char *path, char draft[PATH_MAX], int *fd, struct err *err)
{
	struct stat st;

	if (!stat(path, &st) && !S_ISREG(st.st_mode))
		return err_set(err, EINVAL, "%s is not a plain file", path);
	if (snprintf(draft, PATH_MAX, "%s.%ld", path, (long)getpid()) >= PATH_MAX)
		return err_set(err, ENAMETOOLONG, "%s: the name is too long", path);
	*fd = open(draft, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	return *fd < 0 ? err_set(err, errno, "cannot write %s: %s", path, strerror(errno)) : 0;
}

static int shoot(const char *name, const char *path, struct err *err)
{
	struct client client;
	char draft[PATH_MAX];
	cJSON *result = NULL;
	int fd = -1, ret = client_open(&client, name, err);

	if (!ret)
		ret = open_draft(path, draft, &fd, err);
	if (!ret) {
		client.pass = fd;
		result = client_call(&client, "screenshot", NULL, err);
		close(fd);
		if (!result)
			ret = -EIO;
		else if (rename(draft, path))
			ret = err_set(err, errno, "cannot write %s: %s", path, strerror(errno));
		if (ret)
			unlink(draft);
	}
	cJSON_Delete(result);
	client_close(&client);
	return ret;
}

static int screenshot(const struct invocation *call)
{
	struct err err;

	if (!shoot(call->word[0], call->word[1], &err))
		return STATUS_OK;
	log_line("%s", err.text);
	return STATUS_USAGE;
}

const struct command command_screenshot = {
	.name = "screenshot",
	.words = "VM FILE.ppm",
	.min_words = 2,
	.max_words = 2,
	.help = "write a picture of a running VM's screen (PPM)",
	.run = screenshot,
};
