/* SPDX-License-Identifier: MIT */
/*
 * The 9P server, with a client that sends anything. Beside the shared folder lies a
 * file that no message may read or change; a symbolic link in the folder points to it.
 */
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/p9/p9.h"
#include "backend/p9/wire.h"

#define SECRET "what nobody may see"

static char base[] = "/tmp/mullion-fuzz-p9-XXXXXX";
static u8 request[8192], reply[65536];

static const char *at(const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", base, name);
	return path;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	return ftw->level ? remove(path) : 0;
}

static void write_file(const char *name, const char *text)
{
	int fd = open(at(name), O_CREAT | O_WRONLY | O_TRUNC | O_NOFOLLOW, 0600);

	fuzz_check(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
}

static void remove_base(void)
{
	if (!nftw(base, remove_one, 16, FTW_DEPTH | FTW_PHYS))
		rmdir(base);
}

static void begin(void)
{
	static bool begun;

	if (!begun) {
		begun = true;
		fuzz_check(mkdtemp(base));
		signal(SIGXFSZ, SIG_IGN);
		fuzz_check(!setrlimit(RLIMIT_FSIZE, &(struct rlimit){MIB(1), MIB(1)}));
		atexit(remove_base);
	}
	nftw(at("share"), remove_one, 16, FTW_DEPTH | FTW_PHYS);
	mkdir(at("share"), 0700);
	chmod(at("share"), 0700);
	write_file("secret", SECRET);
	write_file("share/f", "file");
	fuzz_check(!symlink("../secret", at("share/l")));
	fuzz_check(!mkdir(at("share/d"), 0700));
}

static void check_secret(void)
{
	char text[64] = "";
	int fd = open(at("secret"), O_RDONLY);
	struct stat st;

	fuzz_check(fd >= 0 && read(fd, text, sizeof(text) - 1) == sizeof(SECRET) - 1 && !strcmp(text, SECRET));
	fuzz_check(!fstat(fd, &st) && (st.st_mode & 07777) == 0600 && st.st_nlink == 1);
	close(fd);
	fuzz_check(!memmem(reply, sizeof(reply), SECRET, sizeof(SECRET) - 1));
}

static void say(struct p9 *p9, u8 type, const u8 *body, u32 len)
{
	const struct iovec in = {request, P9_HEADER + len};
	const struct iovec out[2] = {{reply, 100}, {reply + 100, sizeof(reply) - 100}};
	u32 size = P9_HEADER + len;
	ssize_t got;

	memcpy(request, &size, 4);
	request[4] = type;
	memcpy(request + P9_HEADER, body, len);
	got = p9_serve(p9, &in, 1, out, 2);
	fuzz_check(got == -EPROTO || (got >= (ssize_t)P9_HEADER && got <= (ssize_t)sizeof(reply)));
}

static void attach(struct p9 *p9)
{
	static const u8 version[] = "\0\0\1\0\10\0009P2000.L";
	static const u8 root[] = "\0\0\0\0\xff\xff\xff\xff\0\0\0\0\0\0\0";

	say(p9, P9_TVERSION, version, sizeof(version) - 1);
	say(p9, P9_TATTACH, root, sizeof(root) - 1);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	struct fuzz fuzz = {data, size};
	struct err err;
	struct p9 *p9;
	u8 body[256];

	begin();
	fuzz_check(!p9_create(at("share"), fuzz_u8(&fuzz) & 1, &p9, &err));
	attach(p9);
	while (fuzz_more(&fuzz)) {
		u8 type = fuzz_u8(&fuzz) & 127, len = fuzz_u8(&fuzz);

		fuzz_bytes(&fuzz, body, len);
		say(p9, type, body, len);
	}
	p9_free(p9);
	check_secret();
	return 0;
}
