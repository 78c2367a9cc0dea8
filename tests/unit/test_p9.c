/* SPDX-License-Identifier: MIT */
/*
 * The 9P server on a directory of its own: a client's usual life, and one that wants out,
 * or sends nonsense. Messages are cut into odd buffers, as a guest may.
 */
#include "backend/p9/p9.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "backend/p9/wire.h"
#include "host/iov.h"

#define ROOT_FID 1u

struct fixture {
	char dir[64];
	struct p9 *p9;
	u8 request[16384], reply[65536];
	struct p9_out msg; /* being built */
	struct p9_in answer; /* behind the header */
};

static struct fixture *new(bool readonly)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct err err;

	strcpy(f->dir, "/tmp/mullion-p9-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	assert_int_equal(p9_create(f->dir, readonly, &f->p9, &err), 0);
	return f;
}

static void end(struct fixture *f)
{
	char command[128];

	p9_free(f->p9);
	snprintf(command, sizeof(command), "rm -rf %s", f->dir);
	assert_int_equal(system(command), 0);
	free(f);
}

static struct p9_out *start(struct fixture *f)
{
	f->msg = (struct p9_out){f->request, f->request + P9_HEADER, f->request + sizeof(f->request), false};
	return &f->msg;
}

/* Sends what was built. Returns 0, or the error that the server says. */
static int call(struct fixture *f, u8 type)
{
	u32 len = (u32)(f->msg.at - f->msg.start);
	struct iovec in[3] = {{f->request, 3}, {f->request + 3, 9}, {f->request + 12, sizeof(f->request) - 12}};
	struct iovec out[2] = {{f->reply, 10}, {f->reply + 10, sizeof(f->reply) - 10}};
	ssize_t got;

	f->msg.at = f->msg.start;
	p9_put(&f->msg, 4, len);
	p9_put(&f->msg, 1, type);
	p9_put(&f->msg, 2, 77);
	got = p9_serve(f->p9, in, 3, out, 2);
	assert_true(got >= (ssize_t)P9_HEADER);
	f->answer = (struct p9_in){f->reply, f->reply + got, false};
	assert_int_equal(p9_get32(&f->answer), got);
	if (p9_get(&f->answer, 1) == P9_RLERROR) {
		assert_int_equal(p9_get16(&f->answer), 77);
		return (int)p9_get32(&f->answer);
	}
	assert_int_equal(f->reply[4], type + 1);
	assert_int_equal(p9_get16(&f->answer), 77);
	return 0;
}

static int session(struct fixture *f)
{
	struct p9_out *m = start(f);
	int ret;

	p9_put(m, 4, 65536);
	p9_put_string(m, "9P2000.L");
	ret = call(f, P9_TVERSION);
	if (ret)
		return ret;
	m = start(f);
	p9_put(m, 4, ROOT_FID);
	p9_put(m, 4, UINT32_MAX);
	p9_put_string(m, "user");
	p9_put_string(m, "");
	p9_put(m, 4, 0);
	return call(f, P9_TATTACH);
}

static int walk(struct fixture *f, u32 to, const char *name)
{
	struct p9_out *m = start(f);

	p9_put(m, 4, ROOT_FID);
	p9_put(m, 4, to);
	p9_put(m, 2, name ? 1 : 0);
	if (name)
		p9_put_string(m, name);
	return call(f, P9_TWALK);
}

static int open_fid(struct fixture *f, u32 fid, u32 flags)
{
	struct p9_out *m = start(f);

	p9_put(m, 4, fid);
	p9_put(m, 4, flags);
	return call(f, P9_TLOPEN);
}

static int create(struct fixture *f, u32 fid, const char *name)
{
	struct p9_out *m;
	int ret = walk(f, fid, NULL);

	if (ret)
		return ret;
	m = start(f);
	p9_put(m, 4, fid);
	p9_put_string(m, name);
	p9_put(m, 4, O_RDWR);
	p9_put(m, 4, 0640);
	p9_put(m, 4, 0);
	return call(f, P9_TLCREATE);
}

static int write_at(struct fixture *f, u32 fid, u64 offset, const char *text)
{
	struct p9_out *m = start(f);

	p9_put(m, 4, fid);
	p9_put(m, 8, offset);
	p9_put(m, 4, strlen(text));
	p9_put_bytes(m, text, strlen(text));
	return call(f, P9_TWRITE);
}

/* Reads into text, with its end. Returns the error. */
static int read_at(struct fixture *f, u32 fid, u64 offset, u32 count, char *text)
{
	struct p9_out *m = start(f);
	int ret;
	u32 n;

	p9_put(m, 4, fid);
	p9_put(m, 8, offset);
	p9_put(m, 4, count);
	ret = call(f, P9_TREAD);
	if (ret)
		return ret;
	n = p9_get32(&f->answer);
	memcpy(text, p9_take(&f->answer, n), n);
	text[n] = 0;
	return 0;
}

static int clunk(struct fixture *f, u32 fid)
{
	p9_put(start(f), 4, fid);
	return call(f, P9_TCLUNK);
}

static int two_names(struct fixture *f, u8 type, const char *a, const char *b)
{
	struct p9_out *m = start(f);

	p9_put(m, 4, ROOT_FID);
	p9_put_string(m, a);
	if (type == P9_TRENAMEAT)
		p9_put(m, 4, ROOT_FID);
	p9_put_string(m, b);
	p9_put(m, 4, 0);
	return call(f, type);
}

static int unlink_name(struct fixture *f, const char *name, u32 flags)
{
	struct p9_out *m = start(f);

	p9_put(m, 4, ROOT_FID);
	p9_put_string(m, name);
	p9_put(m, 4, flags);
	return call(f, P9_TUNLINKAT);
}

static void files_live(void **state)
{
	struct fixture *f = new(false);
	char text[128], path[128];
	struct stat st;

	(void)state;
	assert_int_equal(session(f), 0);
	assert_int_equal(create(f, 2, "file"), 0);
	assert_int_equal(write_at(f, 2, 0, "hello, world"), 0);
	assert_int_equal(write_at(f, 2, 7, "guest"), 0);
	assert_int_equal(read_at(f, 2, 0, 100, text), 0);
	assert_string_equal(text, "hello, guest");
	assert_int_equal(read_at(f, 2, 7, 3, text), 0);
	assert_string_equal(text, "gue");
	snprintf(path, sizeof(path), "%s/file", f->dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 12);
	assert_int_equal(st.st_mode & 0777, 0640 & ~umask(umask(0)));
	assert_int_equal(two_names(f, P9_TRENAMEAT, "file", "other"), 0);
	assert_int_equal(walk(f, 3, "file"), ENOENT);
	assert_int_equal(walk(f, 3, "other"), 0);
	assert_int_equal(unlink_name(f, "other", 0), 0);
	assert_int_equal(read_at(f, 2, 0, 100, text), 0); /* open, and gone */
	assert_string_equal(text, "hello, guest");
	assert_int_equal(clunk(f, 2), 0);
	assert_int_equal(clunk(f, 2), EBADF);
	assert_int_equal(read_at(f, 2, 0, 100, text), EBADF);
	end(f);
}

static void attributes_are_set(void **state)
{
	struct fixture *f = new(false);
	struct p9_out *m;
	struct stat st;
	char path[128];

	(void)state;
	assert_int_equal(session(f), 0);
	assert_int_equal(create(f, 2, "file"), 0);
	m = start(f);
	p9_put(m, 4, 2);
	p9_put(m, 4, 0x1 | 0x8 | 0x20 | 0x100); /* mode, size, mtime to a time */
	p9_put(m, 4, 0600);
	p9_put(m, 8, 0);
	p9_put(m, 8, 5000);
	p9_put(m, 8, 1);
	p9_put(m, 8, 2);
	p9_put(m, 8, 1000000000);
	p9_put(m, 8, 42);
	assert_int_equal(call(f, P9_TSETATTR), 0);
	snprintf(path, sizeof(path), "%s/file", f->dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 5000);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(st.st_mtim.tv_sec, 1000000000);
	assert_int_equal(st.st_mtim.tv_nsec, 42);
	p9_put(start(f), 4, 2);
	p9_put(&f->msg, 8, 0x7ff);
	assert_int_equal(call(f, P9_TGETATTR), 0);
	p9_take(&f->answer, 8 + P9_QID);
	assert_int_equal(p9_get32(&f->answer), st.st_mode);
	p9_take(&f->answer, 8 + 8 + 8);
	assert_int_equal(p9_get64(&f->answer), 5000);
	end(f);
}

/* All names come, however small the reader's buffer is. */
static unsigned list(struct fixture *f, u32 fid, u32 count)
{
	unsigned names = 0;
	u64 offset = 0;

	for (;;) {
		struct p9_out *m = start(f);
		const u8 *stop;
		u32 n;

		p9_put(m, 4, fid);
		p9_put(m, 8, offset);
		p9_put(m, 4, count);
		assert_int_equal(call(f, P9_TREADDIR), 0);
		n = p9_get32(&f->answer);
		if (!n)
			return names;
		for (stop = f->answer.at + n; f->answer.at < stop; names++) {
			char name[256];

			p9_take(&f->answer, P9_QID);
			offset = p9_get64(&f->answer);
			p9_take(&f->answer, 1);
			p9_get_string(&f->answer, name, sizeof(name));
			assert_false(f->answer.bad);
		}
		assert_ptr_equal(f->answer.at, stop);
	}
}

static void directories_are_listed(void **state)
{
	struct fixture *f = new(false);

	(void)state;
	assert_int_equal(session(f), 0);
	for (unsigned i = 0; i < 100; i++) {
		char name[16];

		snprintf(name, sizeof(name), "d%u", i);
		p9_put(start(f), 4, ROOT_FID);
		p9_put_string(&f->msg, name);
		p9_put(&f->msg, 4, 0755);
		p9_put(&f->msg, 4, 0);
		assert_int_equal(call(f, P9_TMKDIR), 0);
	}
	assert_int_equal(walk(f, 2, NULL), 0);
	assert_int_equal(open_fid(f, 2, O_RDONLY | O_DIRECTORY), 0);
	assert_int_equal(list(f, 2, 60000), 102);
	assert_int_equal(list(f, 2, 100), 102);
	assert_int_equal(unlink_name(f, "d5", AT_REMOVEDIR), 0);
	assert_int_equal(list(f, 2, 1000), 101);
	end(f);
}

static void nobody_gets_out(void **state)
{
	struct fixture *f = new(false);
	char text[4096];

	(void)state;
	assert_int_equal(session(f), 0);
	assert_int_equal(walk(f, 2, ".."), EINVAL);
	assert_int_equal(walk(f, 2, "a/b"), EINVAL);
	assert_int_equal(walk(f, 2, ""), EINVAL);
	assert_int_equal(create(f, 3, "../x"), EINVAL);
	assert_int_equal(two_names(f, P9_TSYMLINK, "link", "/etc/passwd"), 0);
	assert_int_equal(walk(f, 4, "link"), 0); /* the link itself */
	assert_int_equal(open_fid(f, 4, O_RDONLY), EACCES);
	p9_put(start(f), 4, 4);
	assert_int_equal(call(f, P9_TREADLINK), 0);
	p9_get_string(&f->answer, text, sizeof(text));
	assert_string_equal(text, "/etc/passwd");
	assert_int_equal(create(f, 5, "link"), EACCES);
	assert_int_equal(two_names(f, P9_TSYMLINK, "up", ".."), 0);
	assert_int_equal(walk(f, 6, "up"), 0);
	p9_put(start(f), 4, 6);
	p9_put(&f->msg, 4, 7);
	p9_put(&f->msg, 2, 1);
	p9_put_string(&f->msg, "etc");
	assert_int_equal(call(f, P9_TWALK), ENOTDIR);
	end(f);
}

static void a_readonly_share_stays(void **state)
{
	struct fixture *f = new(true);
	char path[128];

	(void)state;
	snprintf(path, sizeof(path), "%s/file", f->dir);
	close(open(path, O_CREAT | O_WRONLY, 0644));
	assert_int_equal(session(f), 0);
	assert_int_equal(create(f, 2, "new"), EROFS);
	assert_int_equal(walk(f, 3, "file"), 0);
	assert_int_equal(open_fid(f, 3, O_RDWR), EROFS);
	assert_int_equal(open_fid(f, 3, O_RDONLY | O_TRUNC), EROFS);
	assert_int_equal(open_fid(f, 3, O_RDONLY), 0);
	assert_int_equal(unlink_name(f, "file", 0), EROFS);
	end(f);
}

static void nonsense_is_answered(void **state)
{
	struct fixture *f = new(false);
	struct iovec in = {f->request, 6}, out = {f->reply, sizeof(f->reply)};
	u32 seed = 1;

	(void)state;
	assert_int_equal(p9_serve(f->p9, &in, 1, &out, 1), -EPROTO);
	p9_put(start(f), 4, 1);
	assert_int_equal(call(f, P9_TREAD), EPROTO); /* no session */
	assert_int_equal(session(f), 0);
	assert_int_equal(walk(f, ROOT_FID + 1, NULL), 0);
	assert_int_equal(walk(f, ROOT_FID + 1, NULL), EBADF); /* taken */
	start(f);
	assert_int_equal(call(f, 3), EOPNOTSUPP);
	for (unsigned i = 0; i < 200000; i++) {
		struct p9_out *m = start(f);
		unsigned n = (seed = seed * 1664525 + 1013904223) >> 16 & 63;

		for (unsigned j = 0; j < n; j++) {
			seed = seed * 1664525 + 1013904223;
			p9_put(m, 1, seed >> 28 ? seed >> 30 : seed >> 20);
		}
		call(f, (u8)(seed >> 17) & 127);
	}
	in.iov_len = sizeof(f->request);
	out.iov_len = 5; /* no room for any answer */
	assert_int_equal(p9_serve(f->p9, &in, 1, &out, 1), -EPROTO);
	end(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(files_live),
		cmocka_unit_test(attributes_are_set),
		cmocka_unit_test(directories_are_listed),
		cmocka_unit_test(nobody_gets_out),
		cmocka_unit_test(a_readonly_share_stays),
		cmocka_unit_test(nonsense_is_answered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
