/* SPDX-License-Identifier: MIT */
/* Lists of buffers: copies across entries, empty entries, offsets at the edges. */
#include "host/iov.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static char a[3], c[5];

static unsigned make(struct iovec *iov)
{
	memcpy(a, "abc", 3);
	memcpy(c, "defgh", 5);
	iov[0] = (struct iovec){a, 3};
	iov[1] = (struct iovec){NULL, 0};
	iov[2] = (struct iovec){c, 5};
	return 3;
}

static void copies_cross_entries(void **state)
{
	struct iovec iov[3];
	unsigned n = make(iov);
	char buf[16] = "";

	(void)state;
	assert_int_equal(iov_length(iov, n), 8);
	assert_int_equal(iov_to_buf(iov, n, 2, buf, 4), 4);
	assert_memory_equal(buf, "cdef", 4);
	assert_int_equal(iov_to_buf(iov, n, 7, buf, 9), 1);
	assert_int_equal(iov_to_buf(iov, n, 8, buf, 1), 0);
	assert_int_equal(iov_from_buf(iov, n, 1, "XYZ", 3), 3);
	assert_memory_equal(a, "aXY", 3);
	assert_memory_equal(c, "Zefgh", 5);
}

static void skipping_and_trimming(void **state)
{
	struct iovec iov[3], *at = iov;
	unsigned n = make(iov);
	char buf[8];

	(void)state;
	iov_skip(&at, &n, 4);
	assert_int_equal(n, 1);
	assert_int_equal(iov_to_buf(at, n, 0, buf, 8), 4);
	assert_memory_equal(buf, "efgh", 4);
	assert_int_equal(iov_trim(at, n, 2), 1);
	assert_int_equal(iov_length(at, 1), 2);
	iov_skip(&at, &n, 2);
	assert_int_equal(n, 0);
	n = make(iov);
	assert_int_equal(iov_trim(iov, n, 3), 1);
	assert_int_equal(iov_trim(iov, 1, 0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(copies_cross_entries),
		cmocka_unit_test(skipping_and_trimming),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
