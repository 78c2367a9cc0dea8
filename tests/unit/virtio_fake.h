/* SPDX-License-Identifier: MIT */
/*
 * A virtio device's surroundings for its unit test: RAM, a PCI function that
 * remembers its interrupts, and a driver that negotiates, builds rings of
 * either format, adds requests and looks for used ones. Included once by
 * each test program.
 *
 *	struct fake_driver d;
 *
 *	fake_pc_init(&vm);
 *	(create the device on &vm)
 *	fake_driver_init(&d, vdev, FAKE_PACKED | features wanted);
 *	fake_queue_init(&d, 0, 16);        each queue that the device needs
 *	fake_driver_ready(&d);
 *	gpa = fake_alloc(len, align);      zeroed guest RAM; fake_ram + gpa is its host address
 *	id = fake_add(&d, 0, bufs, nread, nwrite);
 *	fake_kick(&d, 0);
 *	fake_used(&d, 0, &len) == id
 */
#pragma once

#include "tests/unit/dev_fake.h"

#include "dev/virtio/transport.h"
#include "vm/dma.h"
#include "vm/engine.h"

#define FAKE_RAM MIB(4)
#define FAKE_PACKED BIT(VIRTIO_F_RING_PACKED)
#define FAKE_EVENTS BIT(VIRTIO_F_EVENT_IDX)
#define FAKE_INDIRECT BIT(VIRTIO_F_INDIRECT_DESC)
#define FAKE_QUEUES 8
#define FAKE_QUEUE_SIZE 256

/* ---- RAM, and an engine that counts what devices wrote ---- */

static _Alignas(4096) u8 fake_ram[FAKE_RAM];
static u64 fake_ram_used;
static u64 fake_bytes_written;
static bool fake_written[FAKE_RAM]; /* each of them */

static void fake_ram_written(struct vm *vm, const void *host, size_t len)
{
	(void)vm;
	assert_true((const u8 *)host >= fake_ram && (const u8 *)host + len <= fake_ram + FAKE_RAM);
	fake_bytes_written += len;
	memset(fake_written + ((const u8 *)host - fake_ram), true, len);
}

static const struct engine_ops fake_ram_engine = {.name = "fake", .ram_written = fake_ram_written};
static struct region fake_ram_region;

static inline u64 fake_alloc(size_t len, size_t align)
{
	u64 gpa = ALIGN_UP(fake_ram_used, (u64)align);

	assert_true(gpa + len <= FAKE_RAM);
	fake_ram_used = gpa + len;
	memset(fake_ram + gpa, 0, len);
	return gpa;
}

/* ---- PCI ---- */

static struct {
	bool msix, master_off, intx;
	unsigned messages[64]; /* sent, by vector */
	unsigned total;
} fake_pci;

int pci_function_init(struct pci_function *fn, struct vm *vm, const char *dev_name,
	const struct pci_ident *id, const struct pci_function_ops *ops)
{
	(void)id;
	memset(fn, 0, sizeof(*fn));
	fn->vm = vm;
	fn->ops = ops;
	fn->dev.name = dev_name;
	fn->caps_end = 0x40;
	return 0;
}

int pci_add_bar(
	struct pci_function *fn, unsigned index, enum pci_bar_kind kind, u64 size, struct region *region)
{
	region->size = size;
	fn->bar[index] = (struct pci_bar){.region = region, .size = size, .kind = kind};
	return 0;
}

int pci_add_capability(struct pci_function *fn, u8 id, unsigned size)
{
	unsigned at = fn->caps_end;

	fn->config[at] = id;
	fn->caps_end += (u16)ALIGN_UP(size, 4u);
	return (int)at;
}

int pci_add_msix(struct pci_function *fn, unsigned vectors, unsigned bar)
{
	(void)fn;
	(void)bar;
	assert_true(vectors <= ARRAY_SIZE(fake_pci.messages));
	return 0;
}

void pci_function_fini(struct pci_function *fn)
{
	(void)fn;
}

void pci_config_set(struct pci_function *fn, unsigned offset, unsigned size, u32 value)
{
	memcpy(fn->config + offset, &value, size);
}

void pci_config_writable(struct pci_function *fn, unsigned offset, unsigned size, u32 mask)
{
	memcpy(fn->writable + offset, &mask, size);
}

u32 pci_config_get(const struct pci_function *fn, unsigned offset, unsigned size)
{
	u32 value = 0;

	memcpy(&value, fn->config + offset, size);
	return value;
}

static struct virtio *fake_plugged; /* the latest */

int pci_plug(struct pci_host *host, struct pci_function *fn, u8 devfn)
{
	(void)host;
	(void)devfn;
	fake_plugged = container_of(fn, struct virtio, pci);
	return 0;
}

bool pci_send_msi(struct pci_function *fn, unsigned vector)
{
	(void)fn;
	assert_true(vector < ARRAY_SIZE(fake_pci.messages));
	fake_pci.messages[vector]++;
	fake_pci.total++;
	return fake_pci.msix;
}

void pci_set_intx(struct pci_function *fn, bool level)
{
	(void)fn;
	fake_pci.intx = level;
}

bool pci_msix_on(const struct pci_function *fn)
{
	(void)fn;
	return fake_pci.msix;
}

bool pci_bus_master(const struct pci_function *fn)
{
	(void)fn;
	return !fake_pci.master_off;
}

static inline void fake_pc_init(struct vm *vm)
{
	fake_vm_init(vm);
	vm->engine = &fake_ram_engine;
	vm->packed_rings = true;
	fake_ram_used = PAGE_SIZE;
	fake_bytes_written = 0;
	memset(fake_written, 0, sizeof(fake_written));
	memset(&fake_pci, 0, sizeof(fake_pci));
	fake_pci.msix = true;
	fake_ram_region = (struct region){
		.name = "ram", .size = FAKE_RAM, .host = fake_ram, .direct = DIRECT_READ | DIRECT_WRITE};
	assert_int_equal(space_add(&vm->mem, &fake_ram_region), 0);
}

/* ---- the driver ---- */

struct fake_buf {
	u64 gpa;
	u32 len;
};

struct fake_queue {
	u16 size;
	u64 desc, driver, device; /* the three areas */
	u64 table; /* for indirect descriptors: 16 for each entry of the ring */
	bool busy[FAKE_QUEUE_SIZE];
	u16 ndesc[FAKE_QUEUE_SIZE];
	u16 next, used; /* split: indices; packed: positions */
	bool next_wrap, used_wrap;
	u16 kicked; /* next at the latest kick */
};

struct fake_driver {
	struct virtio *vdev;
	u64 features;
	struct fake_queue queue[FAKE_QUEUES];
};

static inline u64 fake_read(struct fake_driver *d, unsigned offset, unsigned size)
{
	const struct region *region = d->vdev->pci.bar[VIRTIO_BAR].region;

	return region->ops->read(region->dev, offset, size);
}

static inline void fake_write(struct fake_driver *d, unsigned offset, unsigned size, u64 value)
{
	const struct region *region = d->vdev->pci.bar[VIRTIO_BAR].region;

	region->ops->write(region->dev, offset, size, value);
}

static inline void fake_write64(struct fake_driver *d, unsigned offset, u64 value)
{
	fake_write(d, offset, 4, (u32)value);
	fake_write(d, offset + 4, 4, value >> 32);
}

static inline u8 fake_status(struct fake_driver *d)
{
	return (u8)fake_read(d, VIRTIO_STATUS, 1);
}

static inline u64 fake_offered(struct fake_driver *d)
{
	u64 features;

	fake_write(d, VIRTIO_DEVICE_FEATURE_SELECT, 4, 0);
	features = fake_read(d, VIRTIO_DEVICE_FEATURE, 4);
	fake_write(d, VIRTIO_DEVICE_FEATURE_SELECT, 4, 1);
	return features | fake_read(d, VIRTIO_DEVICE_FEATURE, 4) << 32;
}

static inline void fake_want(struct fake_driver *d, u64 features)
{
	d->features = features;
	fake_write(d, VIRTIO_DRIVER_FEATURE_SELECT, 4, 0);
	fake_write(d, VIRTIO_DRIVER_FEATURE, 4, (u32)features);
	fake_write(d, VIRTIO_DRIVER_FEATURE_SELECT, 4, 1);
	fake_write(d, VIRTIO_DRIVER_FEATURE, 4, features >> 32);
}

/* Up to FEATURES_OK; VERSION_1 is added to the features. */
static inline void fake_driver_init(struct fake_driver *d, struct virtio *vdev, u64 features)
{
	memset(d, 0, sizeof(*d));
	d->vdev = vdev;
	fake_write(d, VIRTIO_STATUS, 1, 0);
	fake_write(d, VIRTIO_STATUS, 1, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
	features |= BIT(VIRTIO_F_VERSION_1);
	assert_int_equal(features & ~fake_offered(d), 0);
	fake_want(d, features);
	fake_write(d, VIRTIO_STATUS, 1, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK);
	assert_int_equal(fake_status(d), VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK);
	fake_write(d, VIRTIO_CONFIG_VECTOR, 2, 0);
}

static inline bool fake_packed(const struct fake_driver *d)
{
	return d->features & FAKE_PACKED;
}

/* Enables a queue; its vector is its number plus one. */
static inline void fake_queue_init(struct fake_driver *d, unsigned index, u16 size)
{
	struct fake_queue *q = &d->queue[index];

	assert_true(index < FAKE_QUEUES && size <= FAKE_QUEUE_SIZE);
	*q = (struct fake_queue){.size = size, .next_wrap = true, .used_wrap = true};
	q->desc = fake_alloc(size * 16u, 16);
	q->driver = fake_alloc(6 + 2u * size, 4);
	q->device = fake_alloc(6 + 8u * size, 4);
	q->table = fake_alloc(size * 256u, 16);
	fake_write(d, VIRTIO_QUEUE_SELECT, 2, index);
	fake_write(d, VIRTIO_QUEUE_SIZE, 2, size);
	fake_write64(d, VIRTIO_QUEUE_DESC, q->desc);
	fake_write64(d, VIRTIO_QUEUE_DRIVER, q->driver);
	fake_write64(d, VIRTIO_QUEUE_DEVICE, q->device);
	fake_write(d, VIRTIO_QUEUE_VECTOR, 2, index + 1);
	fake_write(d, VIRTIO_QUEUE_ENABLE, 2, 1);
}

static inline void fake_driver_ready(struct fake_driver *d)
{
	fake_write(d, VIRTIO_STATUS, 1, fake_status(d) | VIRTIO_DRIVER_OK);
}

static inline u16 *fake_u16(u64 gpa)
{
	return (u16 *)(fake_ram + gpa);
}

static inline void fake_desc(u64 at, u64 addr, u32 len, u16 third, u16 fourth)
{
	memcpy(fake_ram + at, &addr, 8);
	memcpy(fake_ram + at + 8, &len, 4);
	*fake_u16(at + 12) = third;
	*fake_u16(at + 14) = fourth;
}

/* A run of free descriptors in a split table; chains stay together for simplicity. */
static inline u16 fake_free_run(const struct fake_queue *q, unsigned n)
{
	for (unsigned head = 0; head + n <= q->size; head++) {
		unsigned i = 0;

		while (i < n && !q->busy[head + i])
			i++;
		if (i == n)
			return (u16)head;
	}
	fail_msg("no room in the fake driver's queue");
	return 0;
}

static inline void fake_split_chain(
	u64 table, unsigned first, const struct fake_buf *bufs, unsigned nread, unsigned nwrite)
{
	unsigned n = nread + nwrite;

	for (unsigned i = 0; i < n; i++) {
		u16 flags = (i >= nread ? VQ_DESC_WRITE : 0) | (i + 1 < n ? VQ_DESC_NEXT : 0);

		fake_desc(table + 16ull * (first + i), bufs[i].gpa, bufs[i].len, flags, (u16)(first + i + 1));
	}
}

static inline int fake_add_split(struct fake_driver *d, struct fake_queue *q, const struct fake_buf *bufs,
	unsigned nread, unsigned nwrite)
{
	unsigned n = nread + nwrite, used = d->features & FAKE_INDIRECT ? 1 : n;
	u16 head = fake_free_run(q, used);

	for (unsigned i = 0; i < used; i++)
		q->busy[head + i] = true;
	q->ndesc[head] = (u16)used;
	if (d->features & FAKE_INDIRECT) {
		fake_split_chain(q->table + head * 256u, 0, bufs, nread, nwrite);
		fake_desc(q->desc + 16ull * head, q->table + head * 256u, 16 * n, VQ_DESC_INDIRECT, 0);
	} else {
		fake_split_chain(q->desc, head, bufs, nread, nwrite);
	}
	*fake_u16(q->driver + 4 + 2 * (q->next % q->size)) = head;
	*fake_u16(q->driver + 2) = ++q->next;
	return head;
}

static inline void fake_forth(const struct fake_queue *q, u16 *position, bool *wrap, u16 n)
{
	*position += n;
	if (*position >= q->size) {
		*position -= q->size;
		*wrap = !*wrap;
	}
}

/* The head's flags last, as the specification wants it. Of a list's ids, only the last one counts. */
static inline int fake_add_packed(struct fake_driver *d, struct fake_queue *q, const struct fake_buf *bufs,
	unsigned nread, unsigned nwrite)
{
	unsigned n = nread + nwrite;
	bool indirect = d->features & FAKE_INDIRECT;
	u64 head = q->desc + 16ull * q->next;
	u16 head_flags = 0, id = 0;

	while (q->busy[id])
		assert_true(++id < q->size);
	q->busy[id] = true;
	q->ndesc[id] = (u16)(indirect ? 1 : n);
	for (unsigned i = 0; indirect && i < n; i++)
		fake_desc(q->table + id * 256u + 16 * i, bufs[i].gpa, bufs[i].len, 0,
			i >= nread ? VQ_DESC_WRITE : 0);
	for (unsigned i = 0; i < q->ndesc[id]; i++) {
		u64 at = q->desc + 16ull * q->next;
		u16 flags = q->next_wrap ? 1 << 7 : 1 << 15;

		if (indirect) {
			flags |= VQ_DESC_INDIRECT;
			fake_desc(at, q->table + id * 256u, 16 * n, id, i ? flags : *fake_u16(at + 14));
		} else {
			flags |= (i >= nread ? VQ_DESC_WRITE : 0) | (i + 1 < n ? VQ_DESC_NEXT : 0);
			fake_desc(at, bufs[i].gpa, bufs[i].len, i + 1 < n ? 0xbad : id,
				i ? flags : *fake_u16(at + 14));
		}
		head_flags = i ? head_flags : flags;
		fake_forth(q, &q->next, &q->next_wrap, 1);
	}
	*fake_u16(head + 14) = head_flags;
	return id;
}

/* Makes a request available: nread buffers to read, then nwrite to fill. Returns its id. */
static inline int fake_add(
	struct fake_driver *d, unsigned index, const struct fake_buf *bufs, unsigned nread, unsigned nwrite)
{
	struct fake_queue *q = &d->queue[index];

	if (fake_packed(d))
		return fake_add_packed(d, q, bufs, nread, nwrite);
	return fake_add_split(d, q, bufs, nread, nwrite);
}

static inline void fake_kick(struct fake_driver *d, unsigned index)
{
	fake_write(d, VIRTIO_NOTIFY + index * VIRTIO_NOTIFY_STEP, 2, index);
}

/* As a driver with VIRTIO_F_EVENT_IDX does on a split ring: only if the device wants it. */
static inline void fake_kick_if_wanted(struct fake_driver *d, unsigned index)
{
	struct fake_queue *q = &d->queue[index];
	u16 event = *fake_u16(q->device + 4 + 8u * q->size), old = q->kicked;

	q->kicked = q->next;
	if (vq_passes(event, q->next, old))
		fake_kick(d, index);
}

static inline int fake_finish(struct fake_queue *q, u16 id, bool split)
{
	assert_true(id < q->size && q->busy[id]);
	for (unsigned i = 0; i < (split ? q->ndesc[id] : 1u); i++)
		q->busy[id + i] = false;
	return id;
}

/* The next used request's id, and how much of it the device says it filled; -1: none. */
static inline int fake_used(struct fake_driver *d, unsigned index, u32 *len)
{
	struct fake_queue *q = &d->queue[index];
	u64 at;
	u16 flags, id;

	if (!fake_packed(d)) {
		if (*fake_u16(q->device + 2) == q->used)
			return -1;
		at = q->device + 4 + 8ull * (q->used++ % q->size);
		memcpy(len, fake_ram + at + 4, 4);
		return fake_finish(q, *fake_u16(at), true);
	}
	at = q->desc + 16ull * q->used;
	flags = *fake_u16(at + 14);
	if (!!(flags & 1 << 7) != q->used_wrap || !!(flags & 1 << 15) != q->used_wrap)
		return -1;
	memcpy(len, fake_ram + at + 8, 4);
	assert_int_equal(!!(flags & VQ_DESC_WRITE), *len > 0);
	id = *fake_u16(at + 12);
	fake_forth(q, &q->used, &q->used_wrap, q->ndesc[id]);
	return fake_finish(q, id, false);
}

/* Does the driver want an interrupt for the next used request? With FAKE_EVENTS: for the one `later` on. */
static inline void fake_want_interrupts(struct fake_driver *d, unsigned index, bool on, u16 later)
{
	struct fake_queue *q = &d->queue[index];
	u16 position = q->used;
	bool wrap = q->used_wrap;

	if (!fake_packed(d)) {
		*fake_u16(q->driver) = !on;
		if (d->features & FAKE_EVENTS)
			*fake_u16(q->driver + 4 + 2 * q->size) = (u16)(q->used + (on ? later : 0x8000));
		return;
	}
	fake_forth(q, &position, &wrap, later);
	*fake_u16(q->driver) = (u16)(position | (wrap ? 1 << 15 : 0));
	*fake_u16(q->driver + 2) = !on ? 1 : d->features & FAKE_EVENTS ? 2 : 0;
}

/* Would a driver that keeps to the rules kick, having added n ring entries since its latest kick? */
static inline bool fake_must_kick(struct fake_driver *d, unsigned index, u16 n)
{
	struct fake_queue *q = &d->queue[index];
	u16 event, flags;

	if (!fake_packed(d)) {
		if (!(d->features & FAKE_EVENTS))
			return !(*fake_u16(q->device) & 1);
		return vq_passes(*fake_u16(q->device + 4 + 8 * q->size), q->next, (u16)(q->next - n));
	}
	flags = *fake_u16(q->device + 2);
	if (flags != 2)
		return flags == 0;
	event = *fake_u16(q->device) & 0x7fff;
	if (!!(*fake_u16(q->device) & 1 << 15) != q->next_wrap)
		event -= q->size;
	return vq_passes(event, q->next, (u16)(q->next - n));
}

/* ---- a driver that is at work just while the device says that it wants kicks ---- */

static const struct virtq_ops *fake_real_ops;
static void (*fake_late)(void);

static inline bool fake_late_want_kicks(struct virtq *vq, bool on)
{
	void (*late)(void) = fake_late;

	if (on && late) {
		fake_late = NULL;
		late();
	}
	return fake_real_ops->want_kicks(vq, on);
}

/* Before the device's next wish for kicks is seen, `late` adds something. */
static inline void fake_come_late(struct virtq *vq, void (*late)(void))
{
	static struct virtq_ops ops;

	fake_real_ops = vq->ops;
	ops = *vq->ops;
	ops.want_kicks = fake_late_want_kicks;
	vq->ops = &ops;
	fake_late = late;
}
