/* SPDX-License-Identifier: MIT */
/* virtio-rng, the balloon and the console. */
#include "tests/unit/virtio_fake.h"

#include "dev/virtio/balloon.h"
#include "dev/virtio/console.h"
#include "dev/virtio/rng.h"

static struct vm vm;
static struct virtio *vdev;
static struct fake_driver driver;

static int setup(void **state)
{
	(void)state;
	fake_pc_init(&vm);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	vdev->pci.ops->free(&vdev->pci);
	fake_vm_fini(&vm);
	return 0;
}

static void begin(u64 features, unsigned nqueues)
{
	fake_ram_used = MIB(2); /* below are pages to give away */
	fake_driver_init(&driver, vdev, features);
	for (unsigned i = 0; i < nqueues; i++)
		fake_queue_init(&driver, i, 16);
	fake_driver_ready(&driver);
}

/* ---- random numbers ---- */

static void test_rng(void **state)
{
	struct fake_buf bufs[2];
	unsigned zeroes = 0;
	u32 len;

	(void)state;
	assert_int_equal(virtio_rng_create(&vm, &vdev), 0);
	begin(FAKE_EVENTS, 1);
	for (unsigned i = 0; i < 2; i++)
		bufs[i] = (struct fake_buf){fake_alloc(1000, 8), 999};
	fake_add(&driver, 0, bufs, 0, 2);
	fake_kick(&driver, 0);
	assert_true(fake_used(&driver, 0, &len) >= 0);
	assert_int_equal(len, 2 * 999);
	for (unsigned i = 0; i < 999; i++)
		zeroes += !fake_ram[bufs[1].gpa + i];
	assert_in_range(zeroes, 0, 40);
	assert_int_equal(fake_ram[bufs[0].gpa + 999], 0);
	/* More than it gives at once; and nothing to fill at all. */
	bufs[0] = (struct fake_buf){0, MIB(1)};
	fake_add(&driver, 0, bufs, 0, 1);
	fake_add(&driver, 0, bufs, 1, 0);
	fake_kick(&driver, 0);
	assert_true(fake_used(&driver, 0, &len) >= 0);
	assert_int_equal(len, 4096);
	assert_true(fake_used(&driver, 0, &len) >= 0);
	assert_int_equal(len, 0);
}

/* ---- balloon ---- */

#define F_STATS BIT(1)
#define F_REPORTING BIT(5)

static void balloon_pages(unsigned queue, const u32 *pages, u32 n)
{
	struct fake_buf buf = {fake_alloc(n * 4, 4), n * 4};
	u32 len;

	memcpy(fake_ram + buf.gpa, pages, n * 4);
	fake_add(&driver, queue, &buf, 1, 0);
	fake_kick(&driver, queue);
	assert_true(fake_used(&driver, queue, &len) >= 0);
}

static void test_balloon(void **state)
{
	/* Up, down, one by itself, not RAM at all. */
	static const u32 pages[] = {16, 17, 18, 40, 39, 100, 0xffffffff, FAKE_RAM / PAGE_SIZE};
	const struct balloon_figures *figures;

	(void)state;
	assert_int_equal(virtio_balloon_create(&vm, &vdev), 0);
	figures = virtio_balloon_figures(vdev);
	begin(F_STATS | F_REPORTING, 4);
	memset(fake_ram, 0xaa, MIB(1));
	virtio_balloon_set(vdev, 6 * PAGE_SIZE);
	assert_int_equal(fake_read(&driver, VIRTIO_CONFIG, 4), 6);
	assert_int_equal(fake_pci.messages[0], 1);
	fake_bytes_written = 0;
	balloon_pages(0, pages, ARRAY_SIZE(pages));
	for (unsigned i = 0; i < MIB(1) / PAGE_SIZE; i++) {
		bool given = (i >= 16 && i <= 18) || i == 39 || i == 40 || i == 100;

		assert_int_equal(fake_ram[i * PAGE_SIZE], given ? 0 : 0xaa);
		assert_int_equal(fake_ram[(i + 1) * PAGE_SIZE - 1], given ? 0 : 0xaa);
	}
	assert_int_equal(fake_bytes_written, 6 * PAGE_SIZE);
	assert_int_equal(figures->inflated, 6 * PAGE_SIZE);
	assert_int_equal(figures->dropped, 6 * PAGE_SIZE);
	fake_write(&driver, VIRTIO_CONFIG + 4, 4, 6);
	assert_int_equal(figures->actual, 6 * PAGE_SIZE);
	balloon_pages(1, pages, 2);
	assert_int_equal(figures->deflated, 2 * PAGE_SIZE);
	/* The driver cannot change the target. */
	fake_write(&driver, VIRTIO_CONFIG, 4, 1000);
	assert_int_equal(fake_read(&driver, VIRTIO_CONFIG, 4), 6);
}

static void test_balloon_flood(void **state)
{
	struct fake_buf buf = {0, MIB(1)};

	(void)state;
	assert_int_equal(virtio_balloon_create(&vm, &vdev), 0);
	begin(0, 2);
	fake_add(&driver, 0, &buf, 1, 0);
	fake_kick(&driver, 0);
	assert_true(vdev->broken);
}

/* Reported pages are where the queue lies that is left when others were not negotiated. */
static void test_balloon_reporting(void **state)
{
	static const u64 features[] = {F_REPORTING, F_STATS | F_REPORTING};

	(void)state;
	assert_int_equal(virtio_balloon_create(&vm, &vdev), 0);
	for (unsigned f = 0; f < 2; f++) {
		unsigned queue = f ? 3 : 2;
		struct fake_buf bufs[2] = {{PAGE_SIZE + 100, 3 * PAGE_SIZE}, {64 * PAGE_SIZE, 8 * PAGE_SIZE}};
		u32 len;

		begin(features[f], queue + 1);
		memset(fake_ram, 0xaa, MIB(1));
		fake_add(&driver, queue, bufs, 0, 2);
		fake_kick(&driver, queue);
		assert_true(fake_used(&driver, queue, &len) >= 0);
		assert_int_equal(fake_ram[2 * PAGE_SIZE - 1], 0xaa);
		assert_int_equal(fake_ram[2 * PAGE_SIZE], 0);
		assert_int_equal(fake_ram[4 * PAGE_SIZE - 1], 0);
		assert_int_equal(fake_ram[4 * PAGE_SIZE], 0xaa);
		assert_int_equal(fake_ram[64 * PAGE_SIZE], 0);
		assert_int_equal(virtio_balloon_figures(vdev)->reported, (f + 1) * 10 * PAGE_SIZE);
	}
}

static void put_stat(u64 at, u16 tag, u64 value)
{
	memcpy(fake_ram + at, &tag, 2);
	memcpy(fake_ram + at + 2, &value, 8);
}

static void test_balloon_stats(void **state)
{
	const struct balloon_figures *figures;
	struct fake_buf buf = {0, 25};
	u32 len;

	(void)state;
	assert_int_equal(virtio_balloon_create(&vm, &vdev), 0);
	figures = virtio_balloon_figures(vdev);
	begin(F_STATS, 3);
	assert_int_equal(figures->stat[BALLOON_FREE], UINT64_MAX);
	virtio_balloon_refresh(vdev);
	put_stat(0, BALLOON_FREE, 12345);
	put_stat(10, 77, 1); /* unknown */
	fake_add(&driver, 2, &buf, 1, 0);
	fake_kick(&driver, 2);
	assert_int_equal(fake_used(&driver, 2, &len), -1);
	assert_int_equal(figures->stat[BALLOON_FREE], 12345);
	virtio_balloon_refresh(vdev);
	assert_true(fake_used(&driver, 2, &len) >= 0);
	put_stat(0, BALLOON_FREE, 54321);
	fake_add(&driver, 2, &buf, 1, 0);
	fake_kick(&driver, 2);
	assert_int_equal(figures->stat[BALLOON_FREE], 54321);
	assert_int_equal(figures->updates, 2);
	fake_write(&driver, VIRTIO_STATUS, 1, 0);
	virtio_balloon_refresh(vdev); /* the buffer is gone */
	assert_int_equal(figures->stat[BALLOON_FREE], UINT64_MAX);
	begin(F_STATS, 3);
	fake_add(&driver, 2, &buf, 1, 0);
	fake_kick(&driver, 2);
	fake_write(&driver, VIRTIO_STATUS, 1, 0);
	begin(F_STATS, 3);
	virtio_balloon_refresh(vdev);
	assert_int_equal(fake_used(&driver, 2, &len), -1);
}

/* ---- console ---- */

#define F_MULTIPORT BIT(1)
enum { DEVICE_READY, DEVICE_ADD, DEVICE_REMOVE, PORT_READY, CONSOLE_PORT, RESIZE, PORT_OPEN, PORT_NAME };

static struct fake_console screen[2];
static bool opened;
static unsigned openings;

static void port_opened(void *arg, bool open)
{
	(void)arg;
	opened = open;
	openings++;
}

static void make_console(void)
{
	struct virtio_console_port ports[] = {
		{.console = &screen[0].console, .is_console = true, .opened = port_opened},
		{.console = &screen[1].console, .name = "org.example.one"},
	};

	for (unsigned i = 0; i < 2; i++)
		fake_console_init(&screen[i]);
	opened = false;
	assert_int_equal(virtio_console_create(&vm, ports, 2, &vdev), 0);
}

static size_t type(unsigned i, const char *text)
{
	return screen[i].console.input(screen[i].console.arg, (const u8 *)text, strlen(text));
}

static void resize(unsigned i, u16 columns, u16 rows)
{
	screen[i].console.columns = columns;
	screen[i].console.rows = rows;
	screen[i].console.resized(screen[i].console.arg);
}

static struct fake_buf give(unsigned queue, u32 len)
{
	struct fake_buf buf = {fake_alloc(len, 8), len};

	fake_add(&driver, queue, &buf, 0, 1);
	fake_kick(&driver, queue);
	return buf;
}

static void print(unsigned queue, const char *text)
{
	struct fake_buf buf = {fake_alloc(strlen(text), 1), (u32)strlen(text)};
	u32 len;

	memcpy(fake_ram + buf.gpa, text, buf.len);
	fake_add(&driver, queue, &buf, 1, 0);
	fake_kick(&driver, queue);
	assert_true(fake_used(&driver, queue, &len) >= 0);
}

static void test_console_single(void **state)
{
	struct fake_buf buf;
	u32 len;

	(void)state;
	make_console();
	assert_false(screen[0].input_on);
	begin(0, 2);
	assert_true(screen[0].input_on && opened);
	assert_int_equal(type(0, "abc"), 0);
	assert_false(screen[0].input_on);
	buf = give(0, 4);
	assert_true(screen[0].input_on);
	assert_int_equal(type(0, "abcdef"), 4);
	assert_false(screen[0].input_on);
	assert_true(fake_used(&driver, 0, &len) >= 0);
	assert_int_equal(len, 4);
	assert_memory_equal(fake_ram + buf.gpa, "abcd", 4);
	give(0, 3);
	buf = give(0, 3);
	assert_int_equal(type(0, "abcdef"), 6);
	assert_memory_equal(fake_ram + buf.gpa, "def", 3);
	print(1, "hello");
	assert_memory_equal(screen[0].out, "hello", 5);
	fake_write(&driver, VIRTIO_CONFIG + 8, 4, 'E');
	assert_int_equal(screen[0].out[5], 'E');
	resize(0, 132, 43);
	assert_int_equal(fake_read(&driver, VIRTIO_CONFIG, 2), 132);
	assert_int_equal(fake_read(&driver, VIRTIO_CONFIG + 2, 2), 43);
	assert_int_equal(fake_pci.messages[0], 1);
	fake_write(&driver, VIRTIO_STATUS, 1, 0);
	assert_false(screen[0].input_on || opened);
}

/* Requests that would keep the console, or the loop, for long. */
static void test_console_floods(void **state)
{
	struct fake_buf buf = {0, MIB(1)};
	struct fake_buf bufs[2] = {buf, {0, 1}};

	(void)state;
	make_console();
	begin(0, 2);
	fake_add(&driver, 1, bufs, 2, 0);
	fake_kick(&driver, 1);
	assert_true(vdev->broken);
	assert_int_equal(screen[0].len, 0);
	begin(0, 2);
	fake_add(&driver, 0, &buf, 1, 0); /* nothing to fill */
	fake_kick(&driver, 0);
	assert_int_equal(type(0, "a"), 0);
	assert_true(vdev->broken);
}

static void tell(u32 id, u16 event, u16 value)
{
	struct fake_buf buf = {fake_alloc(8, 8), 8};
	u32 len;

	memcpy(fake_ram + buf.gpa, &id, 4);
	memcpy(fake_ram + buf.gpa + 4, &event, 2);
	memcpy(fake_ram + buf.gpa + 6, &value, 2);
	fake_add(&driver, 3, &buf, 1, 0);
	fake_kick(&driver, 3);
	assert_true(fake_used(&driver, 3, &len) >= 0);
}

/* The next control message lies in the oldest buffer. */
static void expect_message(const struct fake_buf *buf, u32 id, u16 event, const char *more, u32 more_len)
{
	u32 len;

	assert_true(fake_used(&driver, 2, &len) >= 0);
	assert_int_equal(len, 8 + more_len);
	assert_memory_equal(fake_ram + buf->gpa, &id, 4);
	assert_int_equal(*fake_u16(buf->gpa + 4), event);
	assert_int_equal(*fake_u16(buf->gpa + 6), 1);
	if (more_len)
		assert_memory_equal(fake_ram + buf->gpa + 8, more, more_len);
}

static void test_console_multiport(void **state)
{
	struct fake_buf buf[8];
	u32 len;

	(void)state;
	make_console();
	begin(F_MULTIPORT | FAKE_PACKED, 6);
	assert_int_equal(fake_read(&driver, VIRTIO_CONFIG + 4, 4), 2);
	assert_false(screen[0].input_on);
	tell(0, DEVICE_READY, 1);
	assert_int_equal(fake_used(&driver, 2, &len), -1);
	for (unsigned i = 0; i < 8; i++)
		buf[i] = give(2, 80);
	expect_message(&buf[0], 0, DEVICE_ADD, NULL, 0);
	expect_message(&buf[1], 1, DEVICE_ADD, NULL, 0);
	tell(0, PORT_READY, 1);
	expect_message(&buf[2], 0, CONSOLE_PORT, NULL, 0);
	expect_message(&buf[3], 0, PORT_OPEN, NULL, 0);
	tell(1, PORT_READY, 1);
	expect_message(&buf[4], 1, PORT_OPEN, NULL, 0);
	expect_message(&buf[5], 1, PORT_NAME, "org.example.one", 15);
	resize(0, 80, 25);
	expect_message(&buf[6], 0, RESIZE, "\x50\0\x19\0", 4);
	tell(0, PORT_OPEN, 1);
	assert_true(opened && screen[0].input_on && !screen[1].input_on);
	give(4, 16);
	assert_int_equal(type(1, "early"), 0);
	assert_int_equal(fake_used(&driver, 4, &len), -1);
	tell(1, PORT_OPEN, 1);
	assert_int_equal(type(1, "xyz"), 3);
	assert_true(fake_used(&driver, 4, &len) >= 0);
	assert_int_equal(len, 3);
	print(5, "one");
	print(1, "nil");
	assert_memory_equal(screen[1].out, "one", 3);
	assert_memory_equal(screen[0].out, "nil", 3);
	tell(0, PORT_OPEN, 0);
	assert_false(opened || screen[0].input_on);
	/* Ports and events that there are not. */
	tell(2, PORT_READY, 1);
	tell(0xffffffff, PORT_OPEN, 1);
	tell(0, 99, 1);
	/* A message that is cut off */
	openings = 0;
	buf[0] = (struct fake_buf){fake_alloc(8, 8), 6};
	*fake_u16(buf[0].gpa + 4) = PORT_OPEN;
	fake_add(&driver, 3, buf, 1, 0);
	fake_kick(&driver, 3);
	assert_true(fake_used(&driver, 3, &len) >= 0);
	assert_int_equal(openings, 0);
	assert_false(vdev->broken);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_rng, setup, teardown),
		cmocka_unit_test_setup_teardown(test_balloon, setup, teardown),
		cmocka_unit_test_setup_teardown(test_balloon_flood, setup, teardown),
		cmocka_unit_test_setup_teardown(test_balloon_reporting, setup, teardown),
		cmocka_unit_test_setup_teardown(test_balloon_stats, setup, teardown),
		cmocka_unit_test_setup_teardown(test_console_single, setup, teardown),
		cmocka_unit_test_setup_teardown(test_console_floods, setup, teardown),
		cmocka_unit_test_setup_teardown(test_console_multiport, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
