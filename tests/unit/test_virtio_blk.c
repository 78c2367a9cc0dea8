/* SPDX-License-Identifier: MIT */
/* virtio-blk on a disk in memory: every request, errors, batches, several queues, resets in the midst of work. */
#include "tests/unit/virtio_fake.h"

#include "tests/unit/disk_fake.h"

#include "dev/virtio/blk.h"

enum { IN, OUT, FLUSH = 4, GET_ID = 8, DISCARD = 11, ZEROES = 13 };
enum { OK, IOERR, UNSUPP };

#define F_RO BIT(5)
#define F_FLUSH BIT(9)
#define F_CONFIG_WCE BIT(11)
#define F_MQ BIT(12)
#define F_DISCARD BIT(13)
#define F_WRITE_ZEROES BIT(14)
#define F_ALL (F_FLUSH | F_CONFIG_WCE | F_MQ | F_DISCARD | F_WRITE_ZEROES)

static struct vm vm;
static struct fake_disk disk;
static struct virtio *blk;
static struct fake_driver driver;

static int setup(void **state)
{
	(void)state;
	fake_pc_init(&vm);
	fake_disk_init(&disk);
	assert_int_equal(virtio_blk_create(&vm, &disk.disk, "serial number that is too long", 2, &blk), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	blk->pci.ops->free(&blk->pci);
	assert_null(disk.queued);
	fake_vm_fini(&vm);
	return 0;
}

static void begin(u64 features)
{
	fake_ram_used = PAGE_SIZE;
	fake_driver_init(&driver, blk, features);
	fake_queue_init(&driver, 0, 64);
	fake_queue_init(&driver, 1, 64);
	fake_driver_ready(&driver);
}

/* A request with its data in two pieces; the status byte is at the end of the piece that the device fills. */
struct request {
	u64 header, data, status;
	u32 len;
	int id;
};

static struct request make(unsigned queue, u32 type, u64 sector, u32 len, bool to_device)
{
	struct request r = {fake_alloc(16, 16), fake_alloc(len + 1, 1), 0, len, -1};
	u32 first = len / 3;
	struct fake_buf out[] = {{r.header, 16}, {r.data, first}, {r.data + first, len - first}, {0, 1}};
	struct fake_buf in[] = {{r.header, 16}, {r.data, first}, {r.data + first, len - first + 1}};

	memcpy(fake_ram + r.header, &type, 4);
	memcpy(fake_ram + r.header + 8, &sector, 8);
	r.status = to_device ? fake_alloc(1, 1) : r.data + len;
	out[3].gpa = r.status;
	fake_ram[r.status] = 0xee;
	if (to_device)
		r.id = fake_add(&driver, queue, out, 3, 1);
	else
		r.id = fake_add(&driver, queue, in, 1, 2);
	return r;
}

/* Fills what goes to the device, after make: the device has not looked yet. */
static void fill(const struct request *r, const void *data)
{
	memcpy(fake_ram + r->data, data, r->len);
}

static u8 go(const struct request *r)
{
	u32 len;

	fake_kick(&driver, 0);
	assert_int_equal(fake_used(&driver, 0, &len), r->id);
	return fake_ram[r->status];
}

static struct request late;

static void come_late(void)
{
	late = make(0, IN, 7, 512, false);
}

/* What comes while a kick is served is found, though nobody kicks. */
static void test_late_request(void **state)
{
	struct request r;
	u32 len;

	(void)state;
	begin(F_ALL | FAKE_EVENTS);
	fake_come_late(virtio_queue(blk, 0), come_late);
	r = make(0, IN, 5, 512, false);
	fake_kick(&driver, 0);
	assert_int_equal(fake_used(&driver, 0, &len), late.id); /* the fake disk does the last one first */
	assert_int_equal(fake_used(&driver, 0, &len), r.id);
	assert_memory_equal(fake_ram + late.data, disk.data + 7 * 512, 512);
}

static u8 range(u32 type, u64 sector, u32 count, u32 flags)
{
	struct request r = make(0, type, 0, 16, true);

	memcpy(fake_ram + r.data, &sector, 8);
	memcpy(fake_ram + r.data + 8, &count, 4);
	memcpy(fake_ram + r.data + 12, &flags, 4);
	return go(&r);
}

static const u64 forms[] = {
	0, FAKE_INDIRECT, FAKE_EVENTS, FAKE_PACKED | FAKE_INDIRECT, FAKE_PACKED | FAKE_EVENTS};

static void test_read_write(void **state)
{
	u8 data[3 * 512];

	(void)state;
	for (unsigned f = 0; f < ARRAY_SIZE(forms); f++) {
		begin(F_ALL | forms[f]);
		for (unsigned i = 0; i < 40; i++) {
			struct request r = make(0, IN, i * 5, sizeof(data), false);

			assert_int_equal(go(&r), OK);
			assert_memory_equal(fake_ram + r.data, disk.data + i * 5 * 512, sizeof(data));
			memset(data, (int)(i + f), sizeof(data));
			r = make(0, OUT, i * 5 + 1, sizeof(data), true);
			fill(&r, data);
			assert_int_equal(go(&r), OK);
			assert_memory_equal(disk.data + (i * 5 + 1) * 512, data, sizeof(data));
		}
	}
	assert_int_equal(disk.fuas, 0);
}

static void test_other_requests(void **state)
{
	struct request r;

	(void)state;
	begin(F_ALL);
	r = make(0, FLUSH, 0, 0, true);
	assert_int_equal(go(&r), OK);
	assert_int_equal(disk.flushes, 1);
	r = make(0, GET_ID, 0, 20, false);
	assert_int_equal(go(&r), OK);
	assert_memory_equal(fake_ram + r.data, "serial number that i", 20);
	assert_int_equal(range(ZEROES, 4, 2, 0), OK);
	assert_int_equal(disk.data[4 * 512], 0);
	assert_int_equal(disk.data[6 * 512 - 1], 0);
	assert_int_not_equal(disk.data[6 * 512], 0);
	assert_int_equal(disk.unmaps, 0);
	assert_int_equal(range(ZEROES, 4, 2, 1), OK);
	assert_int_equal(disk.unmaps, 1);
	assert_int_equal(range(DISCARD, 8, 9, 0), OK);
	assert_int_equal(disk.discards, 1);
	assert_int_equal(disk.last_offset, 8 * 512);
	assert_int_equal(disk.last_len, 9 * 512);
	assert_int_equal(range(DISCARD, 8, 9, 1), UNSUPP);
	assert_int_equal(range(ZEROES, 8, 9, 2), UNSUPP);
	assert_int_equal(range(DISCARD, 8, 0, 0), IOERR);
	assert_int_equal(range(DISCARD, 8, 0xffffffff, 0), IOERR);
	r = make(0, 99, 0, 0, true);
	assert_int_equal(go(&r), UNSUPP);
	/* One range, whole, and no longer than it may be. */
	for (u32 len = 8; len <= 32; len += 24) {
		r = make(0, DISCARD, 0, len, true);
		fill(&r, (u32[8]){8, 0, 9, 0, 8, 0, 9, 0});
		assert_int_equal(go(&r), IOERR);
	}
	disk.disk.size = GIB(4);
	assert_int_equal(range(DISCARD, 8, 1 << 22, 0), OK);
	assert_int_equal(range(DISCARD, 8, (1 << 22) + 1, 0), IOERR);
	disk.disk.size = FAKE_DISK_SIZE;
	begin(0);
	assert_int_equal(range(DISCARD, 8, 9, 0), UNSUPP);
}

static void test_errors(void **state)
{
	static const struct {
		u64 sector;
		u32 len;
	} wrong[] = {
		{FAKE_DISK_SIZE / 512, 512},
		{FAKE_DISK_SIZE / 512 - 1, 1024},
		{~0ull, 512},
		{~0ull / 512, 512},
		{0, 511},
		{0, 0},
	};
	struct request r;

	(void)state;
	begin(F_ALL);
	for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++) {
		r = make(0, IN, wrong[i].sector, wrong[i].len, false);
		assert_int_equal(go(&r), IOERR);
		r = make(0, OUT, wrong[i].sector, wrong[i].len, true);
		assert_int_equal(go(&r), IOERR);
	}
	assert_int_equal(disk.submits, 0);
	disk.error = -EIO;
	r = make(0, IN, 0, 512, false);
	assert_int_equal(go(&r), IOERR);
	disk.error = -EOPNOTSUPP;
	assert_int_equal(range(DISCARD, 0, 1, 0), UNSUPP);
	assert_false(blk->broken);
}

static void test_broken(void **state)
{
	struct fake_buf one = {fake_alloc(512, 512), 16}, tiny[2] = {{one.gpa, 15}, {one.gpa + 64, 1}};

	(void)state;
	begin(F_ALL);
	fake_add(&driver, 0, &one, 1, 0);
	fake_kick(&driver, 0);
	assert_true(blk->broken);
	begin(F_ALL);
	fake_add(&driver, 0, &one, 0, 1);
	fake_kick(&driver, 0);
	assert_true(blk->broken);
	begin(F_ALL);
	fake_add(&driver, 0, tiny, 1, 1);
	fake_kick(&driver, 0);
	assert_true(blk->broken);
}

/* Everything that is there is submitted before the disk starts, and one interrupt tells of it. */
static void test_batch(void **state)
{
	struct request r[8];
	u32 len;

	(void)state;
	for (unsigned f = 0; f < ARRAY_SIZE(forms); f++) {
		unsigned kicks = disk.kicks, before;

		begin(F_ALL | forms[f]);
		before = fake_pci.messages[1];
		kicks = disk.kicks;
		fake_want_interrupts(&driver, 0, true, 0);
		for (unsigned i = 0; i < 8; i++)
			r[i] = make(0, IN, i, 512, false);
		fake_kick(&driver, 0);
		assert_int_equal(disk.kicks, kicks + 1);
		for (unsigned i = 8; i-- > 0;) {
			assert_int_equal(fake_used(&driver, 0, &len), r[i].id);
			assert_int_equal(len, 513);
			assert_memory_equal(fake_ram + r[i].data, disk.data + i * 512, 512);
		}
		assert_int_equal(fake_pci.messages[1], before + 1);
	}
}

static void test_queues(void **state)
{
	struct request r[2];
	u32 len;

	(void)state;
	disk.hold = true;
	begin(F_ALL);
	assert_int_equal(fake_read(&driver, VIRTIO_CONFIG + 34, 2), 2);
	for (unsigned i = 0; i < 2; i++) {
		r[i] = make(i, IN, i, 512, false);
		fake_kick(&driver, i);
	}
	assert_int_equal(fake_used(&driver, 0, &len), -1);
	fake_disk_complete(&disk);
	assert_int_equal(fake_used(&driver, 0, &len), r[0].id);
	assert_int_equal(fake_used(&driver, 1, &len), r[1].id);
	assert_int_equal(fake_pci.messages[1], 1);
	assert_int_equal(fake_pci.messages[2], 1);
}

/* A reset waits for the disk; nothing of what it finishes then is shown, and all goes on afterwards. */
static void test_reset(void **state)
{
	struct request r;
	u32 len;

	(void)state;
	disk.hold = true;
	for (unsigned f = 0; f < ARRAY_SIZE(forms); f++) {
		unsigned before;

		begin(F_ALL | forms[f]);
		before = fake_pci.total;
		for (unsigned i = 0; i < 15; i++)
			r = make(0, OUT, i, 512, true);
		fake_kick(&driver, 0);
		assert_non_null(disk.queued);
		fake_write(&driver, VIRTIO_STATUS, 1, 0);
		assert_null(disk.queued);
		assert_int_equal(fake_used(&driver, 0, &len), -1);
		assert_int_equal(fake_pci.total, before);
	}
	begin(F_ALL | BIT(VIRTIO_F_RING_RESET));
	r = make(0, IN, 1, 512, false);
	fake_kick(&driver, 0);
	fake_write(&driver, VIRTIO_QUEUE_SELECT, 2, 0);
	fake_write(&driver, VIRTIO_QUEUE_RESET, 2, 1);
	assert_null(disk.queued);
	assert_int_equal(fake_used(&driver, 0, &len), -1);
	disk.hold = false;
	fake_queue_init(&driver, 0, 16);
	r = make(0, IN, 1, 512, false);
	assert_int_equal(go(&r), OK);
}

/* A write is stable when done if the cache is off, or if the driver cannot flush. */
static void test_write_cache(void **state)
{
	struct request r;

	(void)state;
	begin(F_ALL);
	assert_int_equal(fake_read(&driver, VIRTIO_CONFIG + 32, 1), 1);
	fake_write(&driver, VIRTIO_CONFIG + 32, 1, 0);
	r = make(0, OUT, 0, 512, true);
	assert_int_equal(go(&r), OK);
	assert_int_equal(disk.fuas, 1);
	assert_int_equal(range(ZEROES, 4, 2, 0), OK);
	assert_int_equal(disk.fuas, 2);
	disk.fuas = 1;
	fake_write(&driver, VIRTIO_CONFIG + 32, 1, 1);
	assert_int_equal(range(ZEROES, 4, 2, 0), OK);
	r = make(0, OUT, 0, 512, true);
	assert_int_equal(go(&r), OK);
	assert_int_equal(disk.fuas, 1);
	/* Nothing else in config takes a write. */
	fake_write(&driver, VIRTIO_CONFIG, 4, 0);
	assert_int_equal(fake_read(&driver, VIRTIO_CONFIG, 4), FAKE_DISK_SIZE / 512);
	begin(0);
	assert_int_equal(fake_read(&driver, VIRTIO_CONFIG + 32, 1), 0);
	r = make(0, OUT, 0, 512, true);
	assert_int_equal(go(&r), OK);
	assert_int_equal(disk.fuas, 2);
	/* Who has not asked for the switch has none. */
	begin(F_FLUSH);
	fake_write(&driver, VIRTIO_CONFIG + 32, 1, 0);
	assert_int_equal(fake_read(&driver, VIRTIO_CONFIG + 32, 1), 1);
	r = make(0, OUT, 0, 512, true);
	assert_int_equal(go(&r), OK);
	assert_int_equal(disk.fuas, 2);
}

static void test_readonly(void **state)
{
	struct request r;

	(void)state;
	blk->pci.ops->free(&blk->pci);
	disk.disk.readonly = true;
	assert_int_equal(virtio_blk_create(&vm, &disk.disk, "", 1, &blk), 0);
	fake_ram_used = PAGE_SIZE;
	fake_driver_init(&driver, blk, F_RO);
	assert_false(fake_offered(&driver) & (F_DISCARD | F_WRITE_ZEROES | F_MQ));
	fake_queue_init(&driver, 0, 64);
	fake_driver_ready(&driver);
	r = make(0, OUT, 0, 512, true);
	assert_int_equal(go(&r), IOERR);
	r = make(0, IN, 0, 512, false);
	assert_int_equal(go(&r), OK);
	r = make(0, FLUSH, 0, 0, true);
	assert_int_equal(go(&r), OK);
	assert_int_equal(disk.submits, 1);
	/* Nor is anything else changed, if it was offered. */
	blk->offered |= F_DISCARD | F_WRITE_ZEROES;
	fake_driver_init(&driver, blk, F_RO | F_DISCARD | F_WRITE_ZEROES);
	fake_queue_init(&driver, 0, 64);
	fake_driver_ready(&driver);
	assert_int_equal(range(DISCARD, 8, 9, 0), IOERR);
	assert_int_equal(range(ZEROES, 8, 9, 0), IOERR);
	assert_int_equal(disk.submits, 1);
}

static void test_resize(void **state)
{
	(void)state;
	begin(F_ALL);
	disk.disk.size = FAKE_DISK_SIZE / 2;
	virtio_blk_resized(blk);
	assert_int_equal(fake_read(&driver, VIRTIO_CONFIG, 4), FAKE_DISK_SIZE / 1024);
	assert_int_equal(fake_pci.messages[0], 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_read_write, setup, teardown),
		cmocka_unit_test_setup_teardown(test_late_request, setup, teardown),
		cmocka_unit_test_setup_teardown(test_other_requests, setup, teardown),
		cmocka_unit_test_setup_teardown(test_errors, setup, teardown),
		cmocka_unit_test_setup_teardown(test_broken, setup, teardown),
		cmocka_unit_test_setup_teardown(test_batch, setup, teardown),
		cmocka_unit_test_setup_teardown(test_queues, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reset, setup, teardown),
		cmocka_unit_test_setup_teardown(test_write_cache, setup, teardown),
		cmocka_unit_test_setup_teardown(test_readonly, setup, teardown),
		cmocka_unit_test_setup_teardown(test_resize, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
