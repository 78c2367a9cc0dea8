/* SPDX-License-Identifier: MIT */
/* Which device a key or a movement goes to, and the virtio devices among them. */
#include "tests/unit/virtio_fake.h"

#include <linux/input-event-codes.h>

#include "backend/input.h"
#include "dev/virtio/input.h"

/* ---- sinks that write down what they get ---- */

struct note {
	struct input_sink sink;
	bool deaf;
	char text[400];
};

static struct input input;
static struct note keyboard, other_keyboard, mouse, tablet;

static bool note_listens(const struct input_sink *sink)
{
	return !container_of(sink, struct note, sink)->deaf;
}

static void note_event(struct input_sink *sink, u16 type, u16 code, i32 value)
{
	struct note *note = container_of(sink, struct note, sink);
	size_t len = strlen(note->text);

	if (type == EV_SYN)
		snprintf(note->text + len, sizeof(note->text) - len, ";");
	else
		snprintf(note->text + len, sizeof(note->text) - len, " %u.%u=%d", type, code, value);
}

static void add(struct note *note, enum input_kind kind, bool deaf)
{
	*note = (struct note){
		.sink = {.kind = kind, .listens = note_listens, .event = note_event}, .deaf = deaf};
	input_add(&input, &note->sink);
}

static void expect(struct note *note, const char *text)
{
	assert_string_equal(note->text, text);
	note->text[0] = 0;
}

static int setup(void **state)
{
	(void)state;
	memset(&input, 0, sizeof(input));
	add(&keyboard, INPUT_KEYBOARD, false);
	add(&mouse, INPUT_MOUSE, false);
	add(&other_keyboard, INPUT_KEYBOARD, true);
	add(&tablet, INPUT_TABLET, true);
	return 0;
}

static void test_keys(void **state)
{
	(void)state;
	input_key(&input, KEY_A, true);
	input_key(&input, KEY_A, true);
	input_key(&input, KEY_A, false);
	input_key(&input, KEY_A, false);
	input_key(&input, 0xffff, true);
	expect(&keyboard, " 1.30=1; 1.30=2; 1.30=0;");
	/* Another keyboard takes over: what is down goes up where it went down. */
	input_key(&input, KEY_A, true);
	input_key(&input, KEY_B, true);
	other_keyboard.deaf = false;
	input_key(&input, KEY_A, false);
	input_key(&input, KEY_B, true);
	expect(&keyboard, " 1.30=1; 1.48=1; 1.30=0; 1.48=0;");
	expect(&other_keyboard, " 1.48=1;");
	input_release(&input);
	expect(&other_keyboard, " 1.48=0;");
	/* Nobody listens. */
	keyboard.deaf = other_keyboard.deaf = true;
	input_key(&input, KEY_A, true);
	input_key(&input, KEY_A, false);
	expect(&keyboard, "");
}

static void test_pointer(void **state)
{
	struct input_pointer p = {.x = 10, .y = 20, .width = 101, .height = 51};

	(void)state;
	input_point(&input, &p); /* it has to begin somewhere */
	expect(&mouse, ";");
	p.x = 15;
	p.y = 18;
	input_point(&input, &p);
	input_point(&input, &p);
	expect(&mouse, " 2.0=5 2.1=-2;");
	p.left = true;
	input_point(&input, &p);
	input_point(&input, &p);
	p.wheel = -1;
	p.left = false;
	input_point(&input, &p);
	expect(&mouse, " 1.272=1; 1.272=0 2.8=-1;");
	p.wheel = 0;
	p.right = true;
	input_point(&input, &p);
	mouse.text[0] = 0;
	tablet.deaf = false;
	p.x = 100;
	p.y = 999;
	p.right = false;
	p.extra = true;
	input_point(&input, &p);
	expect(&mouse, " 1.273=0;");
	expect(&tablet, " 3.0=32767 3.1=32767 1.276=1;");
	input_release(&input);
	expect(&tablet, " 1.276=0;");
	p = (struct input_pointer){.width = 1, .height = 0};
	input_point(&input, &p);
	expect(&tablet, " 3.0=0 3.1=0;");
}

/* ---- virtio ---- */

static struct vm vm;
static struct virtio *vdev;
static struct input_sink *sink;
static struct fake_driver driver;

static void make(enum input_kind kind)
{
	fake_pc_init(&vm);
	assert_int_equal(virtio_input_create(&vm, kind, &vdev, &sink), 0);
}

static void begin(void)
{
	fake_driver_init(&driver, vdev, FAKE_PACKED);
	fake_queue_init(&driver, 0, 16);
	fake_queue_init(&driver, 1, 16);
	fake_driver_ready(&driver);
}

static void end(void)
{
	vdev->pci.ops->free(&vdev->pci);
	fake_vm_fini(&vm);
}

/* What the driver reads for a selection: its size. */
static unsigned ask(u8 select, u8 subselect)
{
	fake_write(&driver, VIRTIO_CONFIG, 1, select);
	fake_write(&driver, VIRTIO_CONFIG + 1, 1, subselect);
	return (unsigned)fake_read(&driver, VIRTIO_CONFIG + 2, 1);
}

static u8 answer(unsigned at)
{
	return (u8)fake_read(&driver, VIRTIO_CONFIG + 8 + at, 1);
}

static void test_config(void **state)
{
	(void)state;
	make(INPUT_KEYBOARD);
	begin();
	assert_int_equal(ask(0x01, 0), strlen("Mullion keyboard"));
	assert_int_equal(answer(0), 'M');
	assert_int_equal(ask(0x02, 0), 0);
	assert_int_equal(answer(0), 0);
	assert_int_equal(ask(0x03, 0), 8);
	assert_int_equal(answer(0), 6);
	assert_true(ask(0x11, EV_KEY) > KEY_A / 8);
	assert_int_equal(answer(KEY_A / 8) >> KEY_A % 8 & 1, 1);
	assert_int_equal(ask(0x11, EV_LED), 1);
	assert_int_equal(ask(0x11, EV_REP), 1);
	assert_int_equal(ask(0x11, EV_ABS), 0);
	assert_int_equal(ask(0x12, ABS_X), 0);
	assert_int_equal(ask(0x77, 0xff), 0);
	/* What the driver must not write, it does not. */
	ask(0x01, 0);
	fake_write(&driver, VIRTIO_CONFIG + 2, 1, 0xff);
	fake_write(&driver, VIRTIO_CONFIG + 8, 4, 0);
	assert_int_equal(fake_read(&driver, VIRTIO_CONFIG + 2, 1), strlen("Mullion keyboard"));
	assert_int_equal(answer(0), 'M');
	end();
	make(INPUT_TABLET);
	begin();
	assert_int_equal(ask(0x11, EV_KEY), BTN_EXTRA / 8 + 1);
	assert_int_equal(ask(0x11, EV_REL), REL_WHEEL / 8 + 1);
	assert_int_equal(ask(0x11, EV_ABS), 1);
	assert_int_equal(ask(0x12, ABS_Y), 20);
	assert_int_equal(answer(4) | answer(5) << 8, INPUT_ABS_MAX);
	assert_int_equal(ask(0x12, ABS_Z), 0);
	end();
}

static void send(u16 code, i32 value)
{
	sink->event(sink, EV_KEY, code, value);
	sink->event(sink, EV_SYN, SYN_REPORT, 0);
}

static u64 post(u32 len)
{
	struct fake_buf buf = {fake_alloc(8, 8), len};

	fake_add(&driver, 0, &buf, 0, 1);
	return buf.gpa;
}

static u64 event(u16 type, u16 code, u32 value)
{
	return (u64)value << 32 | (u64)code << 16 | type;
}

static void test_events(void **state)
{
	u64 at[6];
	u32 len;

	(void)state;
	make(INPUT_KEYBOARD);
	assert_false(sink->listens(sink));
	send(KEY_A, 1); /* nobody is there */
	begin();
	assert_true(sink->listens(sink));
	for (unsigned i = 0; i < 4; i++)
		at[i] = post(8);
	fake_kick(&driver, 0);
	assert_true(fake_used(&driver, 0, &len) < 0);
	send(KEY_A, 1);
	send(KEY_A, 2); /* the guest repeats by itself */
	assert_true(fake_used(&driver, 0, &len) >= 0);
	assert_int_equal(len, 8);
	assert_true(fake_used(&driver, 0, &len) >= 0);
	assert_int_equal(*(u64 *)(fake_ram + at[0]), event(EV_KEY, KEY_A, 1));
	assert_int_equal(*(u64 *)(fake_ram + at[1]), event(EV_SYN, SYN_REPORT, 0));
	/* More than there are buffers: the rest comes when there are. */
	send(KEY_B, 0);
	send(KEY_C, 0);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(fake_used(&driver, 0, &len) >= 0, i < 2);
	at[4] = post(8);
	at[5] = post(8);
	fake_kick(&driver, 0);
	assert_int_equal(*(u64 *)(fake_ram + at[4]), event(EV_KEY, KEY_C, 0));
	end();
}

#define NO_EVENT UINT64_MAX

/* What comes into a new buffer. */
static u64 next_event(void)
{
	u64 at = post(8);
	u32 len;

	memset(fake_ram + at, 0xff, 8);
	fake_kick(&driver, 0);
	while (fake_used(&driver, 0, &len) >= 0)
		;
	return *(u64 *)(fake_ram + at);
}

/* A driver that gives no buffers loses whole groups, and sees none before its end. */
static void test_groups(void **state)
{
	(void)state;
	make(INPUT_KEYBOARD);
	begin();
	sink->event(sink, EV_KEY, KEY_A, 1);
	assert_true(next_event() == NO_EVENT);
	sink->event(sink, EV_SYN, SYN_REPORT, 0);
	assert_int_equal(next_event(), event(EV_SYN, SYN_REPORT, 0)); /* behind the one that waited for it */
	for (unsigned i = 0; i < 21; i++) {
		sink->event(sink, EV_KEY, KEY_C, 1);
		send(KEY_D, 1);
	}
	sink->event(sink, EV_KEY, KEY_E, 1); /* fits, but its end does not */
	send(KEY_F, 1);
	for (unsigned i = 0; i < 21; i++) {
		assert_int_equal(next_event(), event(EV_KEY, KEY_C, 1));
		assert_int_equal(next_event(), event(EV_KEY, KEY_D, 1));
		assert_int_equal(next_event(), event(EV_SYN, SYN_REPORT, 0));
	}
	assert_true(next_event() == NO_EVENT);
	send(KEY_G, 1);
	send(KEY_G, 0);
	/* A reset forgets what waits. */
	begin();
	assert_true(next_event() == NO_EVENT);
	end();
}

static void test_bad_driver(void **state)
{
	struct fake_buf leds = {0, 8};
	u32 len;

	(void)state;
	make(INPUT_KEYBOARD);
	begin();
	leds.gpa = fake_alloc(8, 8);
	fake_add(&driver, 1, &leds, 1, 0);
	fake_kick(&driver, 1);
	assert_true(fake_used(&driver, 1, &len) >= 0);
	assert_int_equal(len, 0);
	post(7);
	fake_kick(&driver, 0);
	send(KEY_A, 1);
	assert_true(vdev->broken);
	assert_false(sink->listens(sink));
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_keys, setup),
		cmocka_unit_test_setup(test_pointer, setup),
		cmocka_unit_test(test_config),
		cmocka_unit_test(test_events),
		cmocka_unit_test(test_groups),
		cmocka_unit_test(test_bad_driver),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
