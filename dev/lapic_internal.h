/* SPDX-License-Identifier: MIT */
/* What the parts of the local APIC (lapic.c, lapic_timer.c, lapic_bus.c) share. */
#pragma once

#include "dev/lapic.h"

/* LVT entries */
#define LVT_MODE 0x700u
#define LVT_MODE_FIXED 0x000u
#define LVT_MODE_NMI 0x400u
#define LVT_MODE_EXTINT 0x700u
#define LVT_MASKED BIT(16)
#define LVT_TIMER_MODE (3u << 17)
#define LVT_TIMER_ONE_SHOT (0u << 17)
#define LVT_TIMER_PERIODIC (1u << 17)
#define LVT_TIMER_DEADLINE (2u << 17)

bool lapic_hw_enabled(const struct lapic *lapic);
bool lapic_x2apic(const struct lapic *lapic);
void lapic_reset(struct lapic *lapic);
void lapic_notify(struct lapic *lapic);
/* A fixed interrupt arrives. */
void lapic_accept(struct lapic *lapic, u8 vector, bool level);
void lapic_local(struct lapic *lapic, unsigned entry);
void lapic_set_lint(struct lapic *lapic, unsigned n, bool level);
int lapic_read_msr(struct lapic *lapic, u32 index, u64 *value);
int lapic_write_msr(struct lapic *lapic, u32 index, u64 value);

/* lapic_timer.c */
void lapic_timer_init(struct lapic *lapic);
void lapic_timer_reset(struct lapic *lapic);
void lapic_timer_start(struct lapic *lapic, u32 initial);
void lapic_timer_divide(struct lapic *lapic, u32 divide);
void lapic_timer_deadline(struct lapic *lapic, u64 tsc);
/* The LVT entry was written; old is what it held. */
void lapic_timer_mode_changed(struct lapic *lapic, u32 old);
u32 lapic_timer_current(struct lapic *lapic);

/* lapic_bus.c */
void lapic_send_ipi(struct lapic *from, u64 icr);
