/* SPDX-License-Identifier: MIT */
/* The ring between us and a vhost-user server: the test is the server, and not always an honest one. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backend/vhost_ring.h"

#define SIZE VHOST_RING_SIZE

struct desc {
	u64 addr;
	u32 len;
	u16 flags, next;
};

static struct vhost_ring ring;
static struct iovec iov[SIZE + 1];

static int setup(void **state)
{
	(void)state;
	for (unsigned i = 0; i < SIZE + 1; i++)
		iov[i] = (struct iovec){.iov_base = (void *)(0x1000ul * (i + 1)), .iov_len = i + 1};
	return vhost_ring_init(&ring, calloc(1, vhost_ring_bytes()));
}

static int teardown(void **state)
{
	(void)state;
	vhost_ring_fini(&ring);
	free(ring.memory);
	return 0;
}

static struct desc *table(void)
{
	return (struct desc *)(ring.memory + ring.desc);
}

static u16 available(unsigned n)
{
	return ((u16 *)(ring.memory + ring.avail))[2 + n % SIZE];
}

/* The server says that it has done the chain. */
static void use(u32 head, u32 len)
{
	u16 *used = (u16 *)(ring.memory + ring.used);
	u32 entry[2] = {head, len};

	memcpy(used + 2 + 4 * (used[1] % SIZE), entry, sizeof(entry));
	used[1]++;
}

static void chains_come_back(void **state)
{
	u32 written;
	int a, b;

	(void)state;
	assert_int_equal(vhost_ring_add(&ring, iov, 2, 1, &a), 0);
	assert_int_equal(vhost_ring_add(&ring, iov, 0, 1, &b), 0);
	assert_int_equal(ring.nfree, SIZE - 4);
	assert_int_equal(table()[available(0)].addr, 0x1000);
	assert_int_equal(table()[available(0)].flags, 1);
	assert_int_equal(table()[table()[table()[available(0)].next].next].flags, 2);
	use(available(1), 7);
	use(available(0), 9);
	assert_ptr_equal(vhost_ring_next(&ring, &written), &b);
	assert_int_equal(written, 7);
	assert_ptr_equal(vhost_ring_next(&ring, &written), &a);
	assert_null(vhost_ring_next(&ring, &written));
	assert_int_equal(ring.nfree, SIZE);
	/* All can be used at once, and each once. */
	assert_int_equal(vhost_ring_add(&ring, iov, SIZE, 1, &a), -EAGAIN);
	assert_int_equal(vhost_ring_add(&ring, iov, SIZE, 0, &a), 0);
	for (unsigned i = 0, at = available(2); i < SIZE; i++, at = table()[at].next)
		assert_int_equal(table()[at].addr, 0x1000ul * (i + 1));
}

/* It may write to all of the ring; where we put the next chains does not follow from that. */
static void a_server_cannot_lead_us_astray(void **state)
{
	u32 written;
	int a;

	(void)state;
	assert_int_equal(vhost_ring_add(&ring, iov, 2, 2, &a), 0);
	for (unsigned i = 0; i < SIZE; i++)
		table()[i] = (struct desc){.flags = 0xffff, .next = 0xffff};
	use(available(0), UINT32_MAX);
	use(available(0), 0); /* twice */
	use(SIZE, 0); /* none of ours */
	assert_ptr_equal(vhost_ring_next(&ring, &written), &a);
	assert_null(vhost_ring_next(&ring, &written));
	assert_null(vhost_ring_next(&ring, &written));
	assert_int_equal(ring.nfree, SIZE);
	for (unsigned i = 0; i < SIZE / 2; i++)
		assert_int_equal(vhost_ring_add(&ring, iov, 1, 1, &a), 0);
	assert_int_equal(vhost_ring_add(&ring, iov, 1, 0, &a), -EAGAIN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(chains_come_back, setup, teardown),
		cmocka_unit_test_setup_teardown(a_server_cannot_lead_us_astray, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
