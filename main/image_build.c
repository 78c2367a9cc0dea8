/* SPDX-License-Identifier: MIT */
/* `mullion image build`: a system on a new image. The work is a script's, guest/build-debian. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "host/log.h"
#include "main/image.h"

#define SCRIPT "build-debian"
#define ARGS 32

static const char *output, *suite, *mirror, *user, *password_file, *ssh_key, *hostname, *packages;
static u64 size = GIB(4);
static bool force;

/* In the source tree that this binary was built from, or where it was installed. */
static int find_script(char path[PATH_MAX], struct err *err)
{
	static const char *const places[] = {MULLION_GUEST_DIR, MULLION_DATA_DIR};

	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		snprintf(path, PATH_MAX, "%s/%s", places[i], SCRIPT);
		if (!access(path, R_OK))
			return 0;
	}
	return err_set(err, ENOENT, "%s is not installed (in %s)", SCRIPT, MULLION_DATA_DIR);
}

static void add(const char **argv, unsigned *n, const char *option, const char *value)
{
	if (!value)
		return;
	argv[(*n)++] = option;
	argv[(*n)++] = value;
}

/* The script takes this process's place, and its exit status is the command's. */
static int become(const char *script, const char *path)
{
	const char *argv[ARGS] = {"sh", script};
	char bytes[24];
	unsigned n = 2;

	snprintf(bytes, sizeof(bytes), "%llu", (unsigned long long)size);
	add(argv, &n, "--output", path);
	add(argv, &n, "--size", bytes);
	add(argv, &n, "--suite", suite);
	add(argv, &n, "--mirror", mirror);
	add(argv, &n, "--user", user);
	add(argv, &n, "--password-file", password_file);
	add(argv, &n, "--ssh-key", ssh_key);
	add(argv, &n, "--hostname", hostname);
	add(argv, &n, "--packages", packages);
	if (force)
		argv[n++] = "--replace";
	execv("/bin/sh", (char *const *)argv);
	log_line("cannot run /bin/sh: %s", strerror(errno));
	return STATUS_FAULT;
}

static int run_build(const struct invocation *call)
{
	char script[PATH_MAX], path[PATH_MAX];
	struct err err;
	int ret = 0;

	if (strcmp(call->word[0], "debian"))
		ret = err_set(&err, EINVAL, "image build: %s is not known; debian is", call->word[0]);
	if (!ret)
		ret = find_script(script, &err);
	if (!ret)
		ret = image_place(output ? output : call->word[0], "raw", path, &err);
	if (!ret)
		return become(script, path);
	log_line("%s", err.text);
	return STATUS_USAGE;
}

static const struct option build_options[] = {
	{"output", 'o', OPTION_STRING, "FILE", "the image (raw); a bare name is one in the folder of images", &output},
	{"size", 0, OPTION_SIZE, "SIZE", "of the disk (4G); only what is used takes space", &size},
	{"user", 'u', OPTION_STRING, "NAME", "who may log in, and use sudo (debian)", &user},
	{"password-file", 0, OPTION_STRING, "FILE", "its first line is the user's password; without it and a key, one is made up", &password_file},
	{"ssh-key", 0, OPTION_STRING, "FILE", "public key with which the user may log in by ssh", &ssh_key},
	{"hostname", 0, OPTION_STRING, "NAME", "the system's name (debian)", &hostname},
	{"packages", 'p', OPTION_STRING, "NAMES", "more packages, with spaces or commas between them", &packages},
	{"suite", 0, OPTION_STRING, "NAME", "Debian's suite (bookworm)", &suite},
	{"mirror", 0, OPTION_STRING, "URL", "where packages come from; without it, this system's sources", &mirror},
	{"force", 0, OPTION_FLAG, NULL, "overwrite an image that is there", &force},
	{0},
};

const struct command command_image_build = {
	.name = "image build",
	.words = "debian",
	.min_words = 1,
	.max_words = 1,
	.help = "make a disk image with a ready Debian system, from its packages",
	.more = "With `mullion run debian` it boots; ssh, sudo and a DHCP client are installed. Needs Debian's\n"
		"mmdebstrap, e2fsprogs, fdisk and uidmap, but no rights.",
	.options = build_options,
	.run = run_build,
};
