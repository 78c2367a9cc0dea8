/* SPDX-License-Identifier: MIT */
/* Types the contents of a pipe to a guest. */
#include "backend/typist.h"

#define MS 1000000ull
#define PROMPT_NS (10 * MS) /* silence after what looks like a prompt */
#define QUIET_NS (300 * MS) /* silence and halt without a prompt */
#define END_QUIET_NS (1000 * MS) /* the same before another Ctrl-D */
#define POLL_NS (50 * MS) /* it was silent, but still ran: look again */
#define PATIENCE 2 /* Ctrl-Ds before the power button */

#define CTRL_D 4

static bool has_work(const struct typist *typist)
{
	return typist->enabled && (typist->len || typist->ended);
}

static bool looks_like_prompt(const struct typist *typist)
{
	return typist->printed && typist->last_printed != '\n' && typist->last_printed != '\r';
}

/* When the guest may be taken to listen, if nothing else happens until then. */
static u64 listens_at(const struct typist *typist)
{
	if (typist->in_line)
		return 0;
	if (looks_like_prompt(typist))
		return typist->active + PROMPT_NS;
	if (!typist->len && typist->ctrl_ds)
		return typist->active + END_QUIET_NS;
	return typist->active + QUIET_NS;
}

static void schedule(struct typist *typist)
{
	u64 now = clock_now(typist->clock);

	if (has_work(typist))
		timer_arm(typist->clock, &typist->timer, MAX(listens_at(typist), now));
	else
		timer_cancel(typist->clock, &typist->timer);
}

static void typed(struct typist *typist)
{
	typist->active = clock_now(typist->clock);
	typist->printed = false;
}

/* How many characters from head on make the line's rest, without wrapping round. */
static unsigned line_part(const struct typist *typist)
{
	unsigned n = MIN(typist->len, TYPIST_BUFFER - typist->head);

	for (unsigned i = 0; i < n; i++) {
		if (typist->data[typist->head + i] == '\n')
			return i + 1;
	}
	return n;
}

/* Types on until the line ends or the device has enough. False: it took nothing. */
static bool type_line(struct typist *typist)
{
	bool progress = false;

	while (typist->enabled && typist->len) {
		unsigned part = line_part(typist);
		unsigned n = (unsigned)typist->ops->type(typist->ctx, typist->data + typist->head, part);

		if (!n)
			break;
		progress = true;
		typist->last_typed = typist->data[(typist->head + n - 1) % TYPIST_BUFFER];
		typist->head = (typist->head + n) % TYPIST_BUFFER;
		typist->len -= n;
		typist->in_line = typist->last_typed != '\n' && typist->len;
		typed(typist);
		if (!typist->in_line)
			break;
	}
	if (typist->full && typist->len < TYPIST_BUFFER / 2) {
		typist->full = false;
		typist->ops->room(typist->ctx);
	}
	return progress;
}

static bool type_char(struct typist *typist, u8 c)
{
	if (!typist->ops->type(typist->ctx, &c, 1))
		return false;
	typist->last_typed = c;
	typed(typist);
	return true;
}

static bool type_end(struct typist *typist)
{
	if (typist->last_typed && typist->last_typed != '\n' && typist->last_typed != CTRL_D)
		return type_char(typist, '\n');
	if (!type_char(typist, CTRL_D))
		return false;
	if (++typist->ctrl_ds > PATIENCE)
		typist->ops->power_button(typist->ctx);
	return true;
}

static void tick(void *arg)
{
	struct typist *typist = arg;
	u64 now = clock_now(typist->clock);

	if (!has_work(typist))
		return;
	if (now < listens_at(typist)) {
		schedule(typist);
		return;
	}
	if (!typist->in_line && !looks_like_prompt(typist) && !typist->ops->idle(typist->ctx)) {
		timer_arm(typist->clock, &typist->timer, now + POLL_NS);
		return;
	}
	if (typist->len ? type_line(typist) : type_end(typist))
		schedule(typist);
	else if (typist->enabled)
		timer_arm(typist->clock, &typist->timer, now + POLL_NS);
}

void typist_init(struct typist *typist, struct clock *clock, const struct typist_ops *ops, void *ctx)
{
	typist->ops = ops;
	typist->ctx = ctx;
	typist->clock = clock;
	timer_init(&typist->timer, tick, typist);
	typist->ended = typist->full = false;
	typist->last_typed = 0;
	typist->head = typist->len = 0;
	typist->enabled = false;
	typist->active = 0;
	typist_restart(typist);
}

void typist_restart(struct typist *typist)
{
	typist->in_line = typist->printed = false;
	typist->ctrl_ds = 0;
	schedule(typist);
}

size_t typist_feed(struct typist *typist, const u8 *data, size_t len)
{
	unsigned n = (unsigned)MIN(len, TYPIST_BUFFER - typist->len);

	for (unsigned i = 0; i < n; i++)
		typist->data[(typist->head + typist->len + i) % TYPIST_BUFFER] = data[i];
	typist->len += n;
	typist->full = typist->len == TYPIST_BUFFER;
	schedule(typist);
	return n;
}

void typist_end(struct typist *typist)
{
	typist->ended = true;
	schedule(typist);
}

void typist_enable(struct typist *typist, bool on)
{
	if (on == typist->enabled)
		return;
	typist->enabled = on;
	if (on && !typist->in_line)
		typist->active = MAX(typist->active, clock_now(typist->clock));
	schedule(typist);
}

void typist_printed(struct typist *typist, const u8 *data, size_t len)
{
	if (!len)
		return;
	typist->printed = true;
	typist->last_printed = data[len - 1];
	typist->active = clock_now(typist->clock);
	/* The timer is late now, not early: tick looks again by itself. */
	if (has_work(typist) && looks_like_prompt(typist))
		schedule(typist);
}
