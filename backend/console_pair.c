/* SPDX-License-Identifier: MIT */
/* Two devices on one console. */
#include "backend/console_pair.h"

struct end {
	struct console_pair *pair;
	unsigned index;
};

static const struct console_ops first_ops, second_ops;

static struct end of(struct console *console)
{
	unsigned index = console->ops == &second_ops;

	return (struct end){container_of(console - index, struct console_pair, end[0]), index};
}

static void update(struct console_pair *pair)
{
	pair->under->ops->input_enable(pair->under, pair->on[pair->current]);
}

static size_t input(void *arg, const u8 *data, size_t len)
{
	struct console_pair *pair = arg;
	struct console *console = &pair->end[pair->current];

	return console->input ? console->input(console->arg, data, len) : 0;
}

static void take_size(struct console_pair *pair)
{
	for (unsigned i = 0; i < 2; i++) {
		pair->end[i].columns = pair->under->columns;
		pair->end[i].rows = pair->under->rows;
	}
}

static void resized(void *arg)
{
	struct console_pair *pair = arg;

	take_size(pair);
	for (unsigned i = 0; i < 2; i++) {
		if (pair->end[i].resized)
			pair->end[i].resized(pair->end[i].arg);
	}
}

static void write_end(struct console *console, const u8 *data, size_t len)
{
	struct console *under = of(console).pair->under;

	under->ops->write(under, data, len);
}

static void enable_end(struct console *console, bool on)
{
	struct end end = of(console);

	end.pair->on[end.index] = on;
	if (end.index == end.pair->current)
		update(end.pair);
}

static void nothing(struct console *console)
{
	(void)console;
}

static const struct console_ops first_ops = {write_end, enable_end, nothing, nothing};
static const struct console_ops second_ops = {write_end, enable_end, nothing, nothing};

void console_pair_init(struct console_pair *pair, struct console *under)
{
	*pair = (struct console_pair){.under = under};
	pair->end[0] = (struct console){.ops = &first_ops, .lock = under->lock};
	pair->end[1] = (struct console){.ops = &second_ops, .lock = under->lock};
	take_size(pair);
	under->input = input;
	under->resized = resized;
	under->arg = pair;
}

void console_pair_select(struct console_pair *pair, unsigned end)
{
	pair->current = end;
	update(pair);
}
