/* SPDX-License-Identifier: MIT */
/* The clock's timers, and the typist that lives on them, with a fake time. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <string.h>

#include <cmocka.h>

#include "backend/typist.h"
#include "vm/clock.h"

#define MS 1000000ull

static u64 fake_now;
static unsigned rearms;

static u64 now(struct clock *clock)
{
	(void)clock;
	return fake_now;
}

static void count_rearm(struct clock *clock)
{
	(void)clock;
	rearms++;
}

static struct clock fake_clock(void)
{
	fake_now = 0;
	rearms = 0;
	return (struct clock){.now = now, .rearm = count_rearm, .covered = CLOCK_NEVER};
}

/* ---- timers ---- */

static char order[16];
static char name_a[] = "a", name_b[] = "b", name_c[] = "c";

static void note(void *arg)
{
	strcat(order, arg);
}

static void fires_in_order(void **state)
{
	struct clock clock = fake_clock();
	struct timer a, b, c;

	(void)state;
	order[0] = 0;
	timer_init(&a, note, name_a);
	timer_init(&b, note, name_b);
	timer_init(&c, note, name_c);
	timer_arm(&clock, &b, 20);
	timer_arm(&clock, &a, 10);
	timer_arm(&clock, &c, 30);
	assert_int_equal(clock_next(&clock), 10);
	assert_int_equal(rearms, 2);
	fake_now = 25;
	clock_run(&clock);
	assert_string_equal(order, "ab");
	assert_int_equal(clock_next(&clock), 30);
	timer_arm(&clock, &c, 50);
	assert_int_equal(clock_next(&clock), 50);
	timer_cancel(&clock, &c);
	timer_cancel(&clock, &c);
	assert_true(clock_next(&clock) == CLOCK_NEVER);
	fake_now = 100;
	clock_run(&clock);
	assert_string_equal(order, "ab");
}

struct periodic {
	struct clock *clock;
	struct timer timer;
	u64 period;
	unsigned count;
};

static void again(void *arg)
{
	struct periodic *p = arg;
	u64 next = p->period ? p->count * p->period + p->period : 0;

	p->count++;
	timer_arm(p->clock, &p->timer, next + (p->period ? p->period : 0));
}

static void periodic_timers_catch_up(void **state)
{
	struct clock clock = fake_clock();
	struct periodic p = {.clock = &clock, .period = 10};

	(void)state;
	timer_init(&p.timer, again, &p);
	timer_arm(&clock, &p.timer, 10);
	fake_now = 45;
	clock_run(&clock);
	assert_int_equal(p.count, 4);
	assert_int_equal(clock_next(&clock), 50);
}

static void a_run_ends(void **state)
{
	struct clock clock = fake_clock();
	struct periodic p = {.clock = &clock, .period = 0};

	(void)state;
	timer_init(&p.timer, again, &p);
	timer_arm(&clock, &p.timer, 0);
	fake_now = 5;
	clock_run(&clock);
	assert_int_equal(p.count, 1);
	clock_run(&clock);
	assert_int_equal(p.count, 2);
}

static void covered_deadlines_are_nobody_elses(void **state)
{
	struct clock clock = fake_clock();
	struct timer a, b;

	(void)state;
	timer_init(&a, note, name_a);
	timer_init(&b, note, name_b);
	timer_arm(&clock, &a, 100);
	assert_int_equal(clock_uncovered(&clock), 100);
	clock_cover(&clock, 100);
	assert_true(clock_uncovered(&clock) == CLOCK_NEVER);
	timer_arm(&clock, &b, 50);
	assert_int_equal(clock_uncovered(&clock), 50);
	clock_cover(&clock, CLOCK_NEVER);
	timer_cancel(&clock, &b);
	assert_int_equal(clock_uncovered(&clock), 100);
}

/* ---- the typist ---- */

struct guest {
	struct clock clock;
	struct typist typist;
	char typed[64];
	size_t len, room;
	bool idle;
	unsigned buttons, rooms;
};

static size_t guest_type(void *ctx, const u8 *data, size_t len)
{
	struct guest *g = ctx;
	size_t n = MIN(len, g->room);

	memcpy(g->typed + g->len, data, n);
	g->len += n;
	g->typed[g->len] = 0;
	return n;
}

static bool guest_idle(void *ctx)
{
	return ((struct guest *)ctx)->idle;
}

static void guest_room(void *ctx)
{
	((struct guest *)ctx)->rooms++;
}

static void guest_button(void *ctx)
{
	((struct guest *)ctx)->buttons++;
}

static const struct typist_ops guest_ops = {guest_type, guest_idle, guest_room, guest_button};

static void guest_init(struct guest *g)
{
	memset(g, 0, sizeof(*g));
	g->clock = fake_clock();
	g->room = sizeof(g->typed);
	typist_init(&g->typist, &g->clock, &guest_ops, g);
}

static void pass(struct guest *g, u64 ns)
{
	u64 end = fake_now + ns;

	while (clock_next(&g->clock) <= end) {
		fake_now = MAX(fake_now, clock_next(&g->clock));
		clock_run(&g->clock);
	}
	fake_now = end;
}

static void feed(struct guest *g, const char *text)
{
	typist_feed(&g->typist, (const u8 *)text, strlen(text));
}

static void print(struct guest *g, const char *text)
{
	typist_printed(&g->typist, (const u8 *)text, strlen(text));
}

static void types_a_line_at_each_prompt(void **state)
{
	static struct guest g;

	(void)state;
	guest_init(&g);
	feed(&g, "one\ntwo\n");
	typist_end(&g.typist);
	pass(&g, 5000 * MS);
	assert_string_equal(g.typed, ""); /* the port takes nothing yet */
	typist_enable(&g.typist, true);
	print(&g, "boot message\r\n");
	pass(&g, 100 * MS);
	assert_string_equal(g.typed, "");
	print(&g, "# ");
	pass(&g, 25 * MS);
	assert_string_equal(g.typed, "one\n");
	print(&g, "one\r\nresult\r\n");
	pass(&g, 1000 * MS); /* it computes silently */
	assert_string_equal(g.typed, "one\n");
	print(&g, "# ");
	pass(&g, 25 * MS);
	assert_string_equal(g.typed, "one\ntwo\n");
	print(&g, "two\r\n# ");
	pass(&g, 25 * MS);
	assert_string_equal(g.typed, "one\ntwo\n\004");
	pass(&g, 10000 * MS); /* still busy: nothing more */
	assert_string_equal(g.typed, "one\ntwo\n\004");
	assert_int_equal(g.buttons, 0);
}

static void an_idle_guest_without_a_prompt_listens_too(void **state)
{
	static struct guest g;

	(void)state;
	guest_init(&g);
	feed(&g, "x");
	typist_enable(&g.typist, true);
	typist_end(&g.typist);
	g.idle = true;
	pass(&g, 299 * MS);
	assert_string_equal(g.typed, "");
	pass(&g, 2 * MS);
	assert_string_equal(g.typed, "x");
	pass(&g, 600 * MS);
	assert_string_equal(g.typed, "x\n\004"); /* the line is ended first */
	pass(&g, 5000 * MS);
	assert_true(g.buttons >= 1);
	typist_restart(&g.typist);
	assert_int_equal(g.typist.ctrl_ds, 0);
}

static void a_small_fifo_gets_the_whole_line(void **state)
{
	static struct guest g;

	(void)state;
	guest_init(&g);
	feed(&g, "0123456789\nrest\n");
	typist_enable(&g.typist, true);
	g.idle = true;
	g.room = 4;
	print(&g, "$ ");
	for (unsigned i = 0; i < 3; i++) {
		pass(&g, 21 * MS);
		typist_enable(&g.typist, false);
		g.room = 4;
		typist_enable(&g.typist, true);
	}
	assert_string_equal(g.typed, "0123456789\n");
}

static void a_device_that_refuses_is_not_hammered(void **state)
{
	static struct guest g;

	(void)state;
	guest_init(&g);
	feed(&g, "text\n");
	typist_enable(&g.typist, true);
	g.room = 0;
	print(&g, "# ");
	pass(&g, 21 * MS);
	assert_true(clock_next(&g.clock) >= fake_now + 30 * MS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fires_in_order),
		cmocka_unit_test(periodic_timers_catch_up),
		cmocka_unit_test(a_run_ends),
		cmocka_unit_test(covered_deadlines_are_nobody_elses),
		cmocka_unit_test(types_a_line_at_each_prompt),
		cmocka_unit_test(an_idle_guest_without_a_prompt_listens_too),
		cmocka_unit_test(a_small_fifo_gets_the_whole_line),
		cmocka_unit_test(a_device_that_refuses_is_not_hammered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
