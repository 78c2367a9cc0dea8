/* SPDX-License-Identifier: MIT */
/* Virtqueues of both formats and the PCI transport, by a driver that keeps to the rules, and one that does not. */
#include "tests/unit/virtio_fake.h"

#include <sys/mman.h>

#define QUEUES 2
#define SEGMENTS 8
#define SIZE 8

/* ---- a device that echoes what it is told to read, when it is told to ---- */

struct echo {
	struct virtio vdev;
	u8 config[8];
	unsigned kicks, resets, queue_resets, readies, config_writes;
	bool manual; /* kicks do nothing: the test pops */
	unsigned refills; /* how often another vCPU adds a request as one is answered */
};

static struct vm vm;
static struct echo *echo;
static struct fake_driver driver;

static struct echo *echo_of(struct virtio *vdev)
{
	return container_of(vdev, struct echo, vdev);
}

static void echo_reset(struct virtio *vdev)
{
	echo_of(vdev)->resets++;
}

static void echo_queue_reset(struct virtio *vdev, struct virtq *vq)
{
	assert_int_equal(vq_index(vq), 1);
	echo_of(vdev)->queue_resets++;
}

static void echo_ready(struct virtio *vdev)
{
	echo_of(vdev)->readies++;
}

static void answer(struct vq_chain *chain)
{
	u8 data[256];
	size_t len = iov_to_buf(chain->iov, chain->nread, 0, data, sizeof(data));

	vq_push(chain, (u32)iov_from_buf(chain->iov + chain->nread, chain->nwrite, 0, data, len));
}

static void refill(struct virtq *vq);

static void echo_kick(struct virtio *vdev, struct virtq *vq)
{
	struct vq_chain *chain;

	echo_of(vdev)->kicks++;
	if (echo_of(vdev)->manual)
		return;
	while ((chain = vq_pop(vq))) {
		answer(chain);
		if (echo_of(vdev)->refills) {
			echo_of(vdev)->refills--;
			refill(vq);
		}
	}
	if (echo_of(vdev)->refills)
		assert_false(vq_want_kicks(vq, true)); /* a class that asks does not begin again, either */
	vq_notify(vq);
}

static void echo_config_write(struct virtio *vdev, unsigned offset, unsigned size)
{
	assert_true(offset + size <= 8);
	echo_of(vdev)->config_writes++;
}

static void echo_free(struct virtio *vdev)
{
	free(echo_of(vdev));
}

static const struct virtio_class echo_class = {
	.name = "virtio-echo",
	.id = 42,
	.queue_size = 64,
	.max_segments = SEGMENTS,
	.request_size = 12,
	.reset = echo_reset,
	.queue_reset = echo_queue_reset,
	.ready = echo_ready,
	.kick = echo_kick,
	.config_write = echo_config_write,
	.free = echo_free,
};

static int setup(void **state)
{
	(void)state;
	fake_pc_init(&vm);
	echo = calloc(1, sizeof(*echo));
	assert_int_equal(virtio_init(&echo->vdev, &vm, &echo_class, BIT(5), QUEUES, echo->config, 8), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	echo->vdev.pci.ops->free(&echo->vdev.pci);
	fake_vm_fini(&vm);
	return 0;
}

/* Every combination that changes how rings look. */
static const u64 forms[] = {
	0,
	FAKE_INDIRECT,
	FAKE_EVENTS,
	FAKE_EVENTS | FAKE_INDIRECT,
	FAKE_PACKED,
	FAKE_PACKED | FAKE_INDIRECT,
	FAKE_PACKED | FAKE_EVENTS,
	FAKE_PACKED | FAKE_EVENTS | FAKE_INDIRECT,
};

static void begin(u64 features)
{
	fake_ram_used = PAGE_SIZE;
	fake_driver_init(&driver, &echo->vdev, features);
	fake_queue_init(&driver, 0, SIZE);
	fake_queue_init(&driver, 1, SIZE);
	fake_driver_ready(&driver);
	memset(fake_pci.messages, 0, sizeof(fake_pci.messages));
	echo->kicks = 0;
}

/* A request of two buffers to read and two to fill. */
static void request(struct fake_buf *bufs, char first)
{
	for (unsigned i = 0; i < 4; i++)
		bufs[i] = (struct fake_buf){fake_alloc(32, 1), i == 1 ? 3 : 5};
	memset(fake_ram + bufs[0].gpa, first, 5);
	memset(fake_ram + bufs[1].gpa, first + 1, 3);
}

static void check_answer(const struct fake_buf *bufs, char first)
{
	char expected[8] = {first, first, first, first, first, first + 1, first + 1, first + 1};

	assert_memory_equal(fake_ram + bufs[2].gpa, expected, 5);
	assert_memory_equal(fake_ram + bufs[3].gpa, expected + 5, 3);
	assert_int_equal(fake_ram[bufs[3].gpa + 3], 0);
}

static void test_echo(void **state)
{
	(void)state;
	for (unsigned f = 0; f < ARRAY_SIZE(forms); f++) {
		begin(forms[f]);
		for (unsigned round = 0; round < 40; round++) {
			struct fake_buf bufs[4];
			u32 len;
			int id;

			request(bufs, 'a');
			fake_want_interrupts(&driver, 0, true, 0);
			id = fake_add(&driver, 0, bufs, 2, 2);
			assert_int_equal(fake_used(&driver, 0, &len), -1);
			fake_kick(&driver, 0);
			assert_int_equal(fake_used(&driver, 0, &len), id);
			assert_int_equal(len, 8);
			check_answer(bufs, 'a');
			assert_true(fake_written[bufs[2].gpa] && fake_written[bufs[3].gpa + 2]);
			assert_false(fake_written[bufs[0].gpa] || fake_written[bufs[1].gpa]);
			assert_int_equal(fake_used(&driver, 0, &len), -1);
			assert_int_equal(fake_pci.messages[1], round + 1);
		}
		assert_false(echo->vdev.broken);
	}
	assert_int_equal(fake_bytes_written, ARRAY_SIZE(forms) * 40 * 8);
}

/* Chains are taken in order, done out of order, and shown all at once. */
static void test_batch(void **state)
{
	(void)state;
	echo->manual = true;
	for (unsigned f = 0; f < ARRAY_SIZE(forms); f++) {
		struct vq_chain *chain[2];
		struct fake_buf bufs[2][4];
		struct virtq *vq;
		u32 len;

		begin(forms[f]);
		vq = virtio_queue(&echo->vdev, 0);
		for (unsigned round = 0; round < 30; round++) {
			int id[2];

			for (unsigned i = 0; i < 2; i++) {
				request(bufs[i], (char)('a' + 2 * i));
				id[i] = fake_add(&driver, 0, bufs[i], 2, 2);
			}
			fake_kick(&driver, 0);
			chain[0] = vq_pop(vq);
			vq_unpop(chain[0]);
			chain[0] = vq_pop(vq);
			chain[1] = vq_pop(vq);
			vq_unpop(chain[1]);
			chain[1] = vq_pop(vq);
			assert_null(vq_pop(vq));
			assert_int_equal(chain[0]->id, id[0]);
			assert_int_equal(chain[0]->read_len, 8);
			assert_int_equal(chain[0]->write_len, 10);
			memset(vq_request(chain[0]), 0xaa, 12);
			memset(vq_request(chain[1]), 0xbb, 12);
			answer(chain[1]);
			answer(chain[0]);
			assert_int_equal(fake_used(&driver, 0, &len), -1);
			vq_notify(vq);
			assert_int_equal(fake_used(&driver, 0, &len), id[1]);
			assert_int_equal(fake_used(&driver, 0, &len), id[0]);
			check_answer(bufs[0], 'a');
			check_answer(bufs[1], 'c');
		}
		assert_false(echo->vdev.broken);
	}
}

static void echo_one(void)
{
	struct fake_buf bufs[4];

	request(bufs, 'x');
	fake_add(&driver, 0, bufs, 2, 2);
	fake_kick(&driver, 0);
}

static void take_one(void)
{
	u32 len;

	assert_true(fake_used(&driver, 0, &len) >= 0);
}

/* As another vCPU may do while this one is in the device. */
static void refill(struct virtq *vq)
{
	struct fake_buf bufs[4];

	vq_notify(vq);
	take_one();
	request(bufs, 'y');
	fake_ram_used = MIB(1);
	fake_add(&driver, 0, bufs, 2, 2);
}

/* A kick ends, whatever the driver adds meanwhile, and what it left is seen to later. */
static void test_endless_kick(void **state)
{
	enum { MANY = 1000 };

	(void)state;
	for (unsigned f = 0; f < ARRAY_SIZE(forms); f++) {
		begin(forms[f]);
		echo->refills = MANY;
		echo_one();
		assert_int_equal(echo->refills, MANY - 2 * SIZE);
		assert_int_equal(echo->kicks, 1);
		fake_pass(&vm.clock, 1000000000);
		assert_int_equal(echo->refills, 0);
		assert_int_equal(echo->kicks, MANY / (2 * SIZE) + 1);
		take_one();
	}
}

/* Long enough for every index to come around. */
static void test_long_life(void **state)
{
	static const u64 some[] = {FAKE_INDIRECT, FAKE_EVENTS | FAKE_INDIRECT, FAKE_PACKED};

	(void)state;
	for (unsigned f = 0; f < ARRAY_SIZE(some); f++) {
		begin(some[f]);
		for (unsigned round = 0; round < 0x10000 + 2 * SIZE; round++) {
			fake_ram_used = MIB(1);
			fake_want_interrupts(&driver, 0, true, 0);
			echo_one();
			take_one();
			if (fake_pci.messages[1] != round + 1)
				fail_msg("no interrupt in round %u", round);
		}
		assert_false(echo->vdev.broken);
	}
}

static void one_more(void)
{
	struct fake_buf bufs[4];

	request(bufs, 'x');
	fake_add(&driver, 0, bufs, 2, 2);
}

/* What comes between the device's last look and its wish for kicks is seen. */
static void test_late_request(void **state)
{
	(void)state;
	echo->manual = true;
	for (unsigned f = 0; f < ARRAY_SIZE(forms); f++) {
		struct virtq *vq = virtio_queue(&echo->vdev, 0);

		begin(forms[f]);
		fake_come_late(vq, one_more);
		assert_non_null(vq_next(vq));
		assert_null(vq_next(vq));
	}
}

/* A class may say that it wrote more than there was room for. */
static void test_written_too_much(void **state)
{
	struct fake_buf bufs[4];
	u32 len;

	(void)state;
	echo->manual = true;
	begin(0);
	request(bufs, 'x');
	fake_add(&driver, 0, bufs, 2, 2);
	vq_push(vq_pop(virtio_queue(&echo->vdev, 0)), MIB(1));
	vq_notify(virtio_queue(&echo->vdev, 0));
	assert_int_equal(fake_used(&driver, 0, &len), 0);
	assert_int_equal(len, 10);
}

static void test_interrupts_wanted(void **state)
{
	(void)state;
	for (unsigned f = 0; f < ARRAY_SIZE(forms); f++) {
		begin(forms[f]);
		for (unsigned round = 0; round < 20; round++) {
			unsigned before = fake_pci.messages[1];

			fake_want_interrupts(&driver, 0, false, 0);
			echo_one();
			take_one();
			assert_int_equal(fake_pci.messages[1], before);
			fake_want_interrupts(&driver, 0, true, 0);
			echo_one();
			assert_int_equal(fake_pci.messages[1], before + 1);
			take_one();
		}
	}
}

/* With event index, only the request that the driver named interrupts. */
static void test_interrupt_events(void **state)
{
	static const u64 with_events[] = {
		FAKE_EVENTS | FAKE_INDIRECT, FAKE_EVENTS | FAKE_INDIRECT | FAKE_PACKED};

	(void)state;
	for (unsigned f = 0; f < ARRAY_SIZE(with_events); f++) {
		begin(with_events[f]);
		for (unsigned round = 0; round < 20; round++) {
			unsigned before = fake_pci.messages[1];

			fake_want_interrupts(&driver, 0, true, 2);
			echo_one();
			echo_one();
			assert_int_equal(fake_pci.messages[1], before);
			echo_one();
			assert_int_equal(fake_pci.messages[1], before + 1);
			for (unsigned i = 0; i < 3; i++)
				take_one();
		}
	}
}

static void test_kicks_wanted(void **state)
{
	(void)state;
	for (unsigned f = 0; f < ARRAY_SIZE(forms); f++) {
		u16 entries = forms[f] & FAKE_INDIRECT ? 1 : 4;
		u16 added = forms[f] & FAKE_PACKED ? entries : 1;
		struct virtq *vq = virtio_queue(&echo->vdev, 0);

		begin(forms[f]);
		for (unsigned round = 0; round < 20; round++) {
			assert_false(vq_want_kicks(vq, true));
			echo_one();
			assert_true(fake_must_kick(&driver, 0, added));
			take_one();
			vq_want_kicks(vq, false);
			echo_one();
			if (!(forms[f] & FAKE_EVENTS) || forms[f] & FAKE_PACKED || round)
				assert_false(fake_must_kick(&driver, 0, added));
			take_one();
			/* One that came unannounced is found when kicks are wanted again. */
			echo->manual = true;
			echo_one();
			echo->manual = false;
			assert_true(vq_want_kicks(vq, true));
			fake_kick(&driver, 0);
			take_one();
		}
	}
}

/* ---- the transport ---- */

static void test_negotiation(void **state)
{
	struct fake_driver *d = &driver;

	(void)state;
	*d = (struct fake_driver){.vdev = &echo->vdev};
	assert_int_equal(fake_read(d, VIRTIO_NUM_QUEUES, 2), QUEUES);
	assert_true(fake_offered(d) & BIT(5));
	assert_true(fake_offered(d) & BIT(VIRTIO_F_RING_RESET));
	assert_false(fake_offered(d) & BIT(VIRTIO_F_ACCESS_PLATFORM));
	fake_write(d, VIRTIO_DEVICE_FEATURE_SELECT, 4, 2);
	assert_int_equal(fake_read(d, VIRTIO_DEVICE_FEATURE, 4), 0);

	/* Without VERSION_1, or with what was not offered, there is no FEATURES_OK, and so no DRIVER_OK. */
	fake_want(d, BIT(5));
	fake_write(d, VIRTIO_STATUS, 1, 11);
	assert_int_equal(fake_status(d), 3);
	fake_want(d, BIT(VIRTIO_F_VERSION_1) | BIT(6));
	fake_write(d, VIRTIO_STATUS, 1, 15);
	assert_int_equal(fake_status(d), 3);
	assert_false(echo->vdev.driver_ok);
	fake_want(d, BIT(VIRTIO_F_VERSION_1) | BIT(5));
	fake_write(d, VIRTIO_STATUS, 1, 11);
	assert_int_equal(fake_status(d), 11);
	assert_true(virtio_has(&echo->vdev, 5));

	/* Too late to change. */
	fake_want(d, BIT(VIRTIO_F_VERSION_1));
	assert_true(virtio_has(&echo->vdev, 5));
	fake_write(d, VIRTIO_DRIVER_FEATURE_SELECT, 4, 0);
	assert_int_equal(fake_read(d, VIRTIO_DRIVER_FEATURE, 4), BIT(5));
	fake_write(d, VIRTIO_CONFIG_VECTOR, 2, 0);
	virtio_config_changed(&echo->vdev);
	assert_int_equal(fake_pci.total, 0); /* there is no driver yet */
	fake_write(d, VIRTIO_STATUS, 1, 15);
	assert_int_equal(fake_status(d), 15);
	assert_int_equal(echo->readies, 1);
	fake_write(d, VIRTIO_STATUS, 1, 0);
	assert_int_equal(fake_status(d), 0);
	assert_int_equal(echo->resets, 1);
	assert_int_equal(echo->vdev.features, 0);
	/* Features have two halves, and queues come behind them. */
	fake_write(d, VIRTIO_DRIVER_FEATURE_SELECT, 4, 2);
	fake_write(d, VIRTIO_DRIVER_FEATURE, 4, ~0u);
	fake_write(d, VIRTIO_DRIVER_FEATURE_SELECT, 4, 1);
	assert_int_equal(fake_read(d, VIRTIO_DRIVER_FEATURE, 4), 0);
	fake_write64(d, VIRTIO_QUEUE_DESC, 0x1000);
	fake_write64(d, VIRTIO_QUEUE_DRIVER, 0x2000);
	fake_write64(d, VIRTIO_QUEUE_DEVICE, 0x3000);
	fake_write(d, VIRTIO_QUEUE_ENABLE, 2, 1);
	assert_int_equal(fake_read(d, VIRTIO_QUEUE_ENABLE, 2), 0);
}

/* Chains that are there before the driver is ready, and without a kick. */
static void test_early_request(void **state)
{
	u32 len;

	(void)state;
	fake_ram_used = PAGE_SIZE;
	fake_driver_init(&driver, &echo->vdev, 0);
	fake_queue_init(&driver, 0, SIZE);
	one_more();
	fake_kick(&driver, 0);
	assert_int_equal(fake_used(&driver, 0, &len), -1);
	fake_driver_ready(&driver);
	assert_int_equal(fake_used(&driver, 0, &len), 0);
}

static void test_queue_registers(void **state)
{
	struct fake_driver *d = &driver;

	(void)state;
	begin(0);
	fake_write(d, VIRTIO_QUEUE_SELECT, 2, 1);
	assert_int_equal(fake_read(d, VIRTIO_QUEUE_SIZE, 2), SIZE);
	assert_int_equal(fake_read(d, VIRTIO_QUEUE_ENABLE, 2), 1);
	assert_int_equal(fake_read(d, VIRTIO_QUEUE_DESC, 4), driver.queue[1].desc);
	assert_int_equal(fake_read(d, VIRTIO_QUEUE_VECTOR, 2), 2);
	assert_int_equal(fake_read(d, VIRTIO_QUEUE_NOTIFY_OFF, 2), 1);
	/* An enabled queue stays as it is. */
	fake_write(d, VIRTIO_QUEUE_SIZE, 2, 4);
	fake_write(d, VIRTIO_QUEUE_DESC, 4, 0);
	assert_int_equal(fake_read(d, VIRTIO_QUEUE_SIZE, 2), SIZE);
	assert_int_equal(fake_read(d, VIRTIO_QUEUE_DESC, 4), driver.queue[1].desc);
	/* There is no such vector; there is no such queue. */
	fake_write(d, VIRTIO_QUEUE_VECTOR, 2, QUEUES + 1);
	assert_int_equal(fake_read(d, VIRTIO_QUEUE_VECTOR, 2), 0xffff);
	fake_write(d, VIRTIO_CONFIG_VECTOR, 2, QUEUES + 1);
	fake_pci.total = 0;
	virtio_config_changed(&echo->vdev);
	virtio_interrupt(&echo->vdev, VIRTIO_NO_VECTOR);
	assert_int_equal(fake_pci.total, 0);
	/* Over the end of the registers. */
	assert_int_equal(fake_read(d, VIRTIO_COMMON_SIZE - 2, 4) | fake_read(d, 0x800, 4), 0);
	fake_write(d, VIRTIO_QUEUE_SELECT, 2, 2);
	assert_int_equal(fake_read(d, VIRTIO_QUEUE_SIZE, 2), 0);
	fake_write(d, VIRTIO_QUEUE_ENABLE, 2, 1);
	assert_int_equal(fake_read(d, VIRTIO_QUEUE_ENABLE, 2), 0);
	/* Accesses of another width than the field's do nothing. */
	fake_write(d, VIRTIO_QUEUE_SELECT, 1, 1);
	assert_int_equal(fake_read(d, VIRTIO_QUEUE_SELECT, 2), 2);
	fake_write(d, VIRTIO_NOTIFY + 2 * VIRTIO_NOTIFY_STEP, 2, 2);
	fake_write(d, VIRTIO_BAR_SIZE - 4, 4, 2);
	assert_int_equal(echo->kicks, 0);
	assert_false(echo->vdev.broken);
}

static void test_queue_reset(void **state)
{
	(void)state;
	begin(BIT(VIRTIO_F_RING_RESET) | FAKE_PACKED);
	fake_write(&driver, VIRTIO_QUEUE_SELECT, 2, 1);
	fake_write(&driver, VIRTIO_QUEUE_RESET, 2, 1);
	assert_int_equal(echo->queue_resets, 1);
	assert_int_equal(fake_read(&driver, VIRTIO_QUEUE_RESET, 2), 0);
	assert_int_equal(fake_read(&driver, VIRTIO_QUEUE_ENABLE, 2), 0);
	assert_int_equal(fake_read(&driver, VIRTIO_QUEUE_SIZE, 2), 64);
	fake_kick(&driver, 1);
	assert_int_equal(echo->kicks, 0);
	fake_queue_init(&driver, 1, 4);
	assert_int_equal(fake_read(&driver, VIRTIO_QUEUE_ENABLE, 2), 1);
	echo_one();
	take_one();
	begin(0);
	fake_write(&driver, VIRTIO_QUEUE_RESET, 2, 1);
	assert_int_equal(echo->queue_resets, 1);
}

static void test_intx(void **state)
{
	(void)state;
	fake_pci.msix = false;
	begin(0);
	echo_one();
	assert_true(fake_pci.intx);
	assert_int_equal(fake_read(&driver, VIRTIO_ISR, 1), VIRTIO_ISR_QUEUE);
	assert_false(fake_pci.intx);
	assert_int_equal(fake_read(&driver, VIRTIO_ISR, 1), 0);
	virtio_config_changed(&echo->vdev);
	assert_int_equal(fake_read(&driver, VIRTIO_ISR, 1), VIRTIO_ISR_CONFIG);
	assert_int_equal(fake_pci.total, 0);
	echo_one();
	fake_write(&driver, VIRTIO_STATUS, 1, 0);
	assert_false(fake_pci.intx);
}

static void test_config(void **state)
{
	u64 generation;

	(void)state;
	begin(0);
	memcpy(echo->config, "abcdefgh", 8);
	assert_int_equal(fake_read(&driver, VIRTIO_CONFIG + 4, 4), 0x68676665);
	assert_int_equal(fake_read(&driver, VIRTIO_CONFIG + 8, 4), 0);
	assert_int_equal(fake_read(&driver, VIRTIO_CONFIG + 6, 4), 0);
	fake_write(&driver, VIRTIO_CONFIG + 2, 2, 0x7a7a);
	fake_write(&driver, VIRTIO_CONFIG + 8, 4, 0x7a7a);
	assert_int_equal(echo->config_writes, 1);
	assert_memory_equal(echo->config, "abzzefgh", 8);
	generation = fake_read(&driver, VIRTIO_GENERATION, 1);
	virtio_config_changed(&echo->vdev);
	assert_int_not_equal(fake_read(&driver, VIRTIO_GENERATION, 1), generation);
	assert_int_equal(fake_pci.messages[0], 1);
}

/* Firmware reads and writes through a capability. */
static void test_window(void **state)
{
	struct pci_function *fn = &echo->vdev.pci;
	unsigned at = echo->vdev.transport->window;

	(void)state;
	memcpy(echo->config, "abcdefgh", 8);
	pci_config_set(fn, at + VIRTIO_CAP_BAR, 1, VIRTIO_BAR);
	pci_config_set(fn, at + VIRTIO_CAP_OFFSET, 4, VIRTIO_CONFIG + 2);
	pci_config_set(fn, at + VIRTIO_CAP_LENGTH, 4, 2);
	fn->ops->config_reading(fn, at + VIRTIO_CAP_MORE, 2);
	assert_int_equal(pci_config_get(fn, at + VIRTIO_CAP_MORE, 2), 0x6463);
	pci_config_set(fn, at + VIRTIO_CAP_MORE, 2, 0x5858);
	fn->ops->config_written(fn, at + VIRTIO_CAP_MORE, 2);
	assert_memory_equal(echo->config, "abXXefgh", 8);
	/* Lengths and places that there are not. */
	for (u32 length = 0; length < 9; length++) {
		for (u32 offset = VIRTIO_BAR_SIZE - 4; offset < VIRTIO_BAR_SIZE + 4; offset++) {
			pci_config_set(fn, at + VIRTIO_CAP_OFFSET, 4, offset);
			pci_config_set(fn, at + VIRTIO_CAP_LENGTH, 4, length);
			pci_config_set(fn, at + VIRTIO_CAP_MORE, 4, 0x12345678);
			fn->ops->config_reading(fn, at + VIRTIO_CAP_MORE, 4);
			if (offset >= VIRTIO_BAR_SIZE || (length != 1 && length != 2 && length != 4) ||
				offset & (length - 1))
				assert_int_equal(pci_config_get(fn, at + VIRTIO_CAP_MORE, 4), 0x12345678);
			fn->ops->config_written(fn, at + VIRTIO_CAP_MORE, 4);
		}
	}
}

static void test_no_bus_master(void **state)
{
	u32 len;

	(void)state;
	begin(0);
	fake_pci.master_off = true;
	echo_one();
	assert_int_equal(fake_used(&driver, 0, &len), -1);
	fake_pci.master_off = false;
	echo->vdev.pci.ops->config_written(&echo->vdev.pci, 4, 2);
	take_one();
}

/* Requests under way when the device falls asleep: the rings are left alone, and the driver hears of them afterwards. */
static void test_done_asleep(void **state)
{
	struct virtq *vq = virtio_queue(&echo->vdev, 0);
	struct vq_chain *chain[2];
	u32 len;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(forms); i++) {
		begin(forms[i]);
		echo->manual = true;
		echo_one();
		echo_one();
		for (unsigned j = 0; j < 2; j++)
			assert_non_null(chain[j] = vq_pop(vq));
		fake_pci.master_off = true;
		answer(chain[0]);
		answer(chain[1]);
		vq_notify(vq);
		assert_int_equal(fake_used(&driver, 0, &len), -1);
		assert_int_equal(fake_pci.messages[1], 0);
		fake_pci.master_off = false;
		echo->vdev.pci.ops->config_written(&echo->vdev.pci, 0, 0);
		assert_true(fake_used(&driver, 0, &len) >= 0);
		assert_true(fake_used(&driver, 0, &len) >= 0);
		assert_int_equal(fake_used(&driver, 0, &len), -1);
		assert_int_equal(fake_pci.messages[1], 1);
		/* What was held back at a reset is forgotten. */
		echo_one();
		assert_non_null(chain[0] = vq_pop(vq));
		fake_pci.master_off = true;
		answer(chain[0]);
		fake_write(&driver, VIRTIO_STATUS, 1, 0);
		fake_pci.master_off = false;
		assert_null(vq->held);
		echo->manual = false;
	}
}

/* ---- a driver that breaks the rules ---- */

/* Each breaks one rule on queue 0, whose areas are q's. */
static void bad_head(struct fake_queue *q)
{
	*fake_u16(q->driver + 4) = SIZE;
	*fake_u16(q->driver + 2) = 1;
}

static void bad_index(struct fake_queue *q)
{
	*fake_u16(q->driver + 2) = SIZE + 1;
}

static void one(struct fake_queue *q, u64 addr, u32 len, u16 flags, u16 next)
{
	fake_desc(q->desc, addr, len, flags, next);
	*fake_u16(q->driver + 2) = 1;
}

static void bad_loop(struct fake_queue *q)
{
	one(q, 64, 0, VQ_DESC_NEXT, 0);
}

static void bad_next(struct fake_queue *q)
{
	one(q, 64, 1, VQ_DESC_NEXT, SIZE);
}

static void bad_address(struct fake_queue *q)
{
	one(q, FAKE_RAM - 4, 8, 0, 0);
}

static void bad_wrap(struct fake_queue *q)
{
	one(q, ~0ull - 3, 8, 0, 0);
}

static void bad_order(struct fake_queue *q)
{
	one(q, 64, 1, VQ_DESC_NEXT | VQ_DESC_WRITE, 1);
	fake_desc(q->desc + 16, 128, 1, 0, 0);
}

static void bad_length(struct fake_queue *q)
{
	one(q, 0, 0x80000000, 0, 0);
}

static void bad_segments(struct fake_queue *q)
{
	for (u16 i = 0; i <= SEGMENTS; i++)
		fake_desc(q->table + 16u * i, 64 + 128u * i, 1, i < SEGMENTS ? VQ_DESC_NEXT : 0, i + 1);
	one(q, q->table, 16 * (SEGMENTS + 1), VQ_DESC_INDIRECT, 0);
}

/* As many to read as there may be in all, nearly; and to write, too. */
static void bad_segments_in_both(struct fake_queue *q)
{
	for (u16 i = 0; i <= SEGMENTS; i++)
		fake_desc(q->table + 16u * i, 64 + 128u * i, 1,
			(i < SEGMENTS ? VQ_DESC_NEXT : 0) | (i > SEGMENTS / 2 ? VQ_DESC_WRITE : 0), i + 1);
	one(q, q->table, 16 * (SEGMENTS + 1), VQ_DESC_INDIRECT, 0);
}

static void bad_table_length(struct fake_queue *q)
{
	one(q, q->table, 24, VQ_DESC_INDIRECT, 0);
}

static void bad_table_empty(struct fake_queue *q)
{
	one(q, q->table, 0, VQ_DESC_INDIRECT, 0);
}

static void bad_table_address(struct fake_queue *q)
{
	one(q, FAKE_RAM, 16, VQ_DESC_INDIRECT, 0);
}

static void bad_table_and_next(struct fake_queue *q)
{
	fake_desc(q->table, 64, 1, 0, 0);
	one(q, q->table, 16, VQ_DESC_INDIRECT | VQ_DESC_NEXT, 1);
}

static void bad_nested_table(struct fake_queue *q)
{
	fake_desc(q->table, q->table, 16, VQ_DESC_INDIRECT, 0);
	one(q, q->table, 16, VQ_DESC_INDIRECT, 0);
}

/* Without a loop. */
static void bad_second_table(struct fake_queue *q)
{
	fake_desc(q->table + 256, 64, 1, 0, 0);
	fake_desc(q->table, q->table + 256, 16, VQ_DESC_INDIRECT, 0);
	one(q, q->table, 16, VQ_DESC_INDIRECT, 0);
}

static void bad_table_loop(struct fake_queue *q)
{
	fake_desc(q->table, 64, 0, VQ_DESC_NEXT, 0);
	one(q, q->table, 16, VQ_DESC_INDIRECT, 0);
}

static void (*const split_wrongs[])(struct fake_queue *q) = {
	bad_head,
	bad_index,
	bad_loop,
	bad_next,
	bad_address,
	bad_wrap,
	bad_order,
	bad_length,
	bad_segments,
	bad_segments_in_both,
	bad_table_length,
	bad_table_empty,
	bad_table_address,
	bad_table_and_next,
	bad_nested_table,
	bad_second_table,
	bad_table_loop,
};

/* The same for packed rings, in which a descriptor's last fields are id and flags. */
static void packed_one(struct fake_queue *q, unsigned at, u64 addr, u32 len, u16 flags)
{
	fake_desc(q->desc + 16 * at, addr, len, 0, flags | 1 << 7);
}

static void packed_endless(struct fake_queue *q)
{
	for (unsigned i = 0; i < SIZE; i++)
		packed_one(q, i, 64, 0, VQ_DESC_NEXT);
}

static void packed_address(struct fake_queue *q)
{
	packed_one(q, 0, FAKE_RAM, 1, 0);
}

static void packed_order(struct fake_queue *q)
{
	packed_one(q, 1, 64, 1, 0);
	packed_one(q, 0, 64, 1, VQ_DESC_WRITE | VQ_DESC_NEXT);
}

static void packed_table_length(struct fake_queue *q)
{
	packed_one(q, 0, q->table, 17, VQ_DESC_INDIRECT);
}

static void packed_table_long(struct fake_queue *q)
{
	packed_one(q, 0, q->table, 16 * (SIZE + SEGMENTS + 1), VQ_DESC_INDIRECT);
}

static void packed_table_and_next(struct fake_queue *q)
{
	packed_one(q, 0, q->table, 16, VQ_DESC_INDIRECT | VQ_DESC_NEXT);
}

static void packed_table_address(struct fake_queue *q)
{
	packed_one(q, 0, ~0ull - 7, 16, VQ_DESC_INDIRECT);
}

static void packed_segments(struct fake_queue *q)
{
	for (unsigned i = 0; i <= SEGMENTS; i++)
		fake_desc(q->table + 16 * i, 64 + 128 * i, 1, 0, 0);
	packed_one(q, 0, q->table, 16 * (SEGMENTS + 1), VQ_DESC_INDIRECT);
}

static void (*const packed_wrongs[])(struct fake_queue *q) = {
	packed_endless,
	packed_address,
	packed_order,
	packed_table_length,
	packed_table_long,
	packed_table_and_next,
	packed_table_address,
	packed_segments,
};

static void expect_broken(void)
{
	struct fake_buf bufs[4];
	u32 len;

	fake_kick(&driver, 0);
	assert_true(echo->vdev.broken);
	assert_true(fake_status(&driver) & VIRTIO_NEEDS_RESET);
	assert_int_equal(fake_pci.messages[0], 1);
	assert_int_equal(fake_used(&driver, 0, &len), -1);
	/* Nothing goes on, on the other queue neither, until the reset. */
	request(bufs, 'x');
	fake_add(&driver, 1, bufs, 2, 2);
	fake_kick(&driver, 1);
	assert_int_equal(fake_used(&driver, 1, &len), -1);
}

static void test_broken(void **state)
{
	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(split_wrongs); i++) {
		begin(FAKE_INDIRECT);
		split_wrongs[i](&driver.queue[0]);
		expect_broken();
	}
	for (unsigned i = 0; i < ARRAY_SIZE(packed_wrongs); i++) {
		begin(FAKE_INDIRECT | FAKE_PACKED);
		packed_wrongs[i](&driver.queue[0]);
		expect_broken();
	}
	/* Indirect descriptors that were not negotiated. */
	begin(0);
	fake_desc(driver.queue[0].table, 64, 1, 0, 0);
	one(&driver.queue[0], driver.queue[0].table, 16, VQ_DESC_INDIRECT, 0);
	expect_broken();
	begin(FAKE_PACKED);
	packed_one(&driver.queue[0], 0, driver.queue[0].table, 16, VQ_DESC_INDIRECT);
	expect_broken();
	begin(0);
	echo_one();
	take_one();
}

/* A descriptor that looks used is not available, whatever else it says. */
static void test_used_descriptor(void **state)
{
	(void)state;
	begin(FAKE_PACKED);
	fake_desc(driver.queue[0].desc, FAKE_RAM, 1, 0, 1 << 7 | 1 << 15);
	fake_kick(&driver, 0);
	assert_false(echo->vdev.broken);
}

/* Memory that may only be read: for buffers to read, and for nothing else. */
static void test_read_only_memory(void **state)
{
	static u8 rom[PAGE_SIZE];
	struct region region = {
		.name = "rom", .base = MIB(64), .size = sizeof(rom), .host = rom, .direct = DIRECT_READ};
	struct fake_buf bufs[2] = {{MIB(64), 5}, {0, 5}};
	u32 len;

	(void)state;
	assert_int_equal(space_add(&vm.mem, &region), 0);
	memcpy(rom, "hello", 5);
	begin(0);
	bufs[1].gpa = fake_alloc(5, 1);
	fake_add(&driver, 0, bufs, 1, 1);
	fake_kick(&driver, 0);
	assert_int_equal(fake_used(&driver, 0, &len), 0);
	assert_memory_equal(fake_ram + bufs[1].gpa, "hello", 5);
	fake_add(&driver, 0, bufs, 0, 1);
	fake_kick(&driver, 0);
	assert_true(echo->vdev.broken);
	fake_driver_init(&driver, &echo->vdev, 0);
	fake_write(&driver, VIRTIO_QUEUE_SIZE, 2, SIZE);
	fake_write64(&driver, VIRTIO_QUEUE_DESC, MIB(64));
	fake_write64(&driver, VIRTIO_QUEUE_DRIVER, 0x2000);
	fake_write64(&driver, VIRTIO_QUEUE_DEVICE, 0x3000);
	fake_write(&driver, VIRTIO_QUEUE_ENABLE, 2, 1);
	assert_true(fake_status(&driver) & VIRTIO_NEEDS_RESET);
	space_remove(&vm.mem, &region);
}

/* In a chain's lengths there are 32 bits. */
static void test_much_memory(void **state)
{
	u8 *much = mmap(NULL, GIB(3), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	struct region region = {
		.name = "much", .base = GIB(4), .size = GIB(3), .host = much, .direct = DIRECT_READ | DIRECT_WRITE};
	struct fake_buf bufs[3] = {{GIB(4), GIB(1)}, {GIB(5), GIB(1)}, {GIB(4), 5}};

	(void)state;
	assert_true(much != MAP_FAILED);
	assert_int_equal(space_add(&vm.mem, &region), 0);
	begin(0);
	fake_add(&driver, 0, bufs, 2, 0);
	fake_kick(&driver, 0);
	assert_true(echo->vdev.broken);
	begin(0);
	bufs[1].len--;
	fake_add(&driver, 0, bufs, 2, 0);
	fake_kick(&driver, 0);
	assert_false(echo->vdev.broken);
	space_remove(&vm.mem, &region);
	munmap(much, GIB(3));
}

/* Rings that lie nowhere, over the end of RAM, in a device, unaligned, or have a wrong size. */
static void test_bad_rings(void **state)
{
	static const struct {
		unsigned field;
		u64 address;
	} rings[] = {
		{VIRTIO_QUEUE_DESC, FAKE_RAM},
		{VIRTIO_QUEUE_DESC, FAKE_RAM - 16},
		{VIRTIO_QUEUE_DESC, 0x1008},
		{VIRTIO_QUEUE_DRIVER, 0x1001},
		{VIRTIO_QUEUE_DRIVER, ~0ull - 1},
		{VIRTIO_QUEUE_DEVICE, 0x1002},
		{VIRTIO_QUEUE_DEVICE, BIT(45)},
		{VIRTIO_QUEUE_DEVICE, MIB(64)},
	};
	static const u16 sizes[] = {0, 13, 63, 65, 128, 0x8000};
	struct device frame_buffer = {.name = "frame buffer"};
	struct region region = {.name = "BAR",
		.base = MIB(64),
		.size = MIB(1),
		.host = fake_ram,
		.direct = DIRECT_READ | DIRECT_WRITE,
		.dev = &frame_buffer};

	(void)state;
	assert_int_equal(space_add(&vm.mem, &region), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(rings); i++) {
		fake_driver_init(&driver, &echo->vdev, 0);
		fake_write64(&driver, VIRTIO_QUEUE_DESC, 0x1000);
		fake_write64(&driver, VIRTIO_QUEUE_DRIVER, 0x2000);
		fake_write64(&driver, VIRTIO_QUEUE_DEVICE, 0x3000);
		fake_write64(&driver, rings[i].field, rings[i].address);
		fake_write(&driver, VIRTIO_QUEUE_ENABLE, 2, 1);
		assert_int_equal(fake_read(&driver, VIRTIO_QUEUE_ENABLE, 2), 0);
		assert_true(fake_status(&driver) & VIRTIO_NEEDS_RESET);
	}
	/* Its end is where RAM ends; the event's index is behind it. */
	fake_driver_init(&driver, &echo->vdev, FAKE_EVENTS);
	fake_write64(&driver, VIRTIO_QUEUE_DESC, 0x1000);
	fake_write64(&driver, VIRTIO_QUEUE_DRIVER, FAKE_RAM - 4 - 2 * 64);
	fake_write64(&driver, VIRTIO_QUEUE_DEVICE, 0x3000);
	fake_write(&driver, VIRTIO_QUEUE_ENABLE, 2, 1);
	assert_int_equal(fake_read(&driver, VIRTIO_QUEUE_ENABLE, 2), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		fake_driver_init(&driver, &echo->vdev, 0);
		fake_write64(&driver, VIRTIO_QUEUE_DESC, 0x1000);
		fake_write64(&driver, VIRTIO_QUEUE_DRIVER, 0x2000);
		fake_write64(&driver, VIRTIO_QUEUE_DEVICE, 0x3000);
		fake_write(&driver, VIRTIO_QUEUE_SIZE, 2, sizes[i]);
		fake_write(&driver, VIRTIO_QUEUE_ENABLE, 2, 1);
		assert_int_equal(fake_read(&driver, VIRTIO_QUEUE_ENABLE, 2), 0);
	}
	space_remove(&vm.mem, &region);
	/* RAM that this system cannot reach */
	vm.private_memory = true;
	fake_driver_init(&driver, &echo->vdev, 0);
	fake_write64(&driver, VIRTIO_QUEUE_DESC, 0x1000);
	fake_write64(&driver, VIRTIO_QUEUE_DRIVER, 0x2000);
	fake_write64(&driver, VIRTIO_QUEUE_DEVICE, 0x3000);
	fake_write(&driver, VIRTIO_QUEUE_ENABLE, 2, 1);
	assert_true(fake_status(&driver) & VIRTIO_NEEDS_RESET);
}

/* More under way than the ring has entries: the device takes no more until it has done some. */
static void test_flood(void **state)
{
	struct vq_chain *chain;
	unsigned n = 0;

	(void)state;
	echo->manual = true;
	begin(0);
	fake_desc(driver.queue[0].desc, 64, 8, VQ_DESC_WRITE, 0);
	for (unsigned round = 0; round < 100; round++) {
		*fake_u16(driver.queue[0].driver + 2) += 1;
		fake_kick(&driver, 0);
		while ((chain = vq_pop(virtio_queue(&echo->vdev, 0))))
			n++;
	}
	assert_int_equal(n, SIZE);
	assert_false(vq_want_kicks(virtio_queue(&echo->vdev, 0), true));
	assert_false(echo->vdev.broken);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_echo, setup, teardown),
		cmocka_unit_test_setup_teardown(test_batch, setup, teardown),
		cmocka_unit_test_setup_teardown(test_endless_kick, setup, teardown),
		cmocka_unit_test_setup_teardown(test_long_life, setup, teardown),
		cmocka_unit_test_setup_teardown(test_late_request, setup, teardown),
		cmocka_unit_test_setup_teardown(test_written_too_much, setup, teardown),
		cmocka_unit_test_setup_teardown(test_interrupts_wanted, setup, teardown),
		cmocka_unit_test_setup_teardown(test_interrupt_events, setup, teardown),
		cmocka_unit_test_setup_teardown(test_kicks_wanted, setup, teardown),
		cmocka_unit_test_setup_teardown(test_negotiation, setup, teardown),
		cmocka_unit_test_setup_teardown(test_early_request, setup, teardown),
		cmocka_unit_test_setup_teardown(test_queue_registers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_queue_reset, setup, teardown),
		cmocka_unit_test_setup_teardown(test_intx, setup, teardown),
		cmocka_unit_test_setup_teardown(test_config, setup, teardown),
		cmocka_unit_test_setup_teardown(test_window, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_bus_master, setup, teardown),
		cmocka_unit_test_setup_teardown(test_done_asleep, setup, teardown),
		cmocka_unit_test_setup_teardown(test_broken, setup, teardown),
		cmocka_unit_test_setup_teardown(test_used_descriptor, setup, teardown),
		cmocka_unit_test_setup_teardown(test_read_only_memory, setup, teardown),
		cmocka_unit_test_setup_teardown(test_much_memory, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_rings, setup, teardown),
		cmocka_unit_test_setup_teardown(test_flood, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
