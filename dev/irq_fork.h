/* SPDX-License-Identifier: MIT */
/* A solder joint: one wire in, two out (an ISA interrupt goes to the 8259 and to the IOAPIC). */
#pragma once

#include "vm/irq.h"

struct irq_fork {
	struct irq_line a, b;
};

static inline void irq_fork_set(void *ctx, unsigned pin, bool level)
{
	const struct irq_fork *fork = ctx;

	(void)pin;
	irq_set(&fork->a, level);
	irq_set(&fork->b, level);
}

/* The end that a device drives; the fork must outlive it. */
static inline struct irq_line irq_fork_line(struct irq_fork *fork)
{
	return (struct irq_line){.set = irq_fork_set, .ctx = fork};
}
