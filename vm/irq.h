/* SPDX-License-Identifier: MIT */
/*
 * Interrupt wires. A device owns the near end and never sees what is at the
 * far end (8259, IOAPIC, both, or a test). Thread context: the machine lock
 * (vm/vm.h) is held by whoever moves a wire.
 */
#pragma once

#include "lib/types.h"

struct irq_line {
	void (*set)(void *ctx, unsigned pin, bool level);
	void *ctx;
	unsigned pin;
};

/* An unconnected wire (set == NULL) may be moved; nothing happens. */
static inline void irq_set(const struct irq_line *line, bool level)
{
	if (line->set)
		line->set(line->ctx, line->pin, level);
}

/* A message-signalled interrupt as it goes over the bus (SDM vol. 3, 11.11). */
struct msi {
	u64 addr;
	u32 data;
};

/* Where an IOAPIC or a device delivers its messages. */
struct msi_sink {
	void (*send)(void *ctx, struct msi msi);
	void *ctx;
};

static inline void msi_send(const struct msi_sink *sink, struct msi msi)
{
	if (sink->send)
		sink->send(sink->ctx, msi);
}
