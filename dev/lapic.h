/* SPDX-License-Identifier: MIT */
/*
 * Local APICs (SDM vol. 3, chapter 11), one per vCPU, as one device: xAPIC
 * registers at 0xfee00000, x2APIC registers as MSRs, and the bus between them,
 * which is also where MSIs arrive.
 *
 * Thread context: intc_ops take the machine lock; everything else here is
 * called with it held.
 */
#pragma once

#include "vm/clock.h"
#include "vm/device.h"
#include "vm/irq.h"
#include "vm/space.h"
#include "vm/vcpu.h"

struct vm;

#define LAPIC_BASE 0xfee00000ull
#define LAPIC_SIZE 0x1000
#define LAPIC_BUS_HZ 1000000000ull /* the timer's clock before the divider; CPUID 0x15's crystal */

#define MSR_APIC_BASE 0x1b
#define MSR_TSC_DEADLINE 0x6e0
#define MSR_X2APIC_FIRST 0x800
#define MSR_X2APIC_LAST 0x8ff

#define APIC_BASE_BSP BIT(8)
#define APIC_BASE_X2APIC BIT(10)
#define APIC_BASE_ENABLE BIT(11)

/* Register numbers: xAPIC offset / 16, x2APIC MSR - 0x800 */
enum {
	LAPIC_ID = 0x02,
	LAPIC_VERSION = 0x03,
	LAPIC_TPR = 0x08,
	LAPIC_APR = 0x09,
	LAPIC_PPR = 0x0a,
	LAPIC_EOI = 0x0b,
	LAPIC_RRD = 0x0c,
	LAPIC_LDR = 0x0d,
	LAPIC_DFR = 0x0e,
	LAPIC_SVR = 0x0f,
	LAPIC_ISR = 0x10,
	LAPIC_TMR = 0x18,
	LAPIC_IRR = 0x20,
	LAPIC_ESR = 0x28,
	LAPIC_CMCI = 0x2f,
	LAPIC_ICR = 0x30,
	LAPIC_ICR2 = 0x31,
	LAPIC_LVT_TIMER = 0x32,
	LAPIC_LVT_THERMAL = 0x33,
	LAPIC_LVT_PERF = 0x34,
	LAPIC_LVT_LINT0 = 0x35,
	LAPIC_LVT_LINT1 = 0x36,
	LAPIC_LVT_ERROR = 0x37,
	LAPIC_TIMER_INITIAL = 0x38,
	LAPIC_TIMER_CURRENT = 0x39,
	LAPIC_TIMER_DIVIDE = 0x3e,
	LAPIC_SELF_IPI = 0x3f,
};

enum { LVT_TIMER, LVT_THERMAL, LVT_PERF, LVT_LINT0, LVT_LINT1, LVT_ERROR, LVT_COUNT };

struct lapic_bus;

struct lapic {
	struct lapic_bus *bus;
	struct vcpu *vcpu;
	u64 (*tsc)(struct lapic *lapic); /* the guest's TSC now; tests set their own */
	u64 base; /* MSR 0x1b */
	u32 id; /* the x2APIC ID; the xAPIC ID is its low byte */
	u64 irr[4], isr[4], tmr[4];
	u32 tpr, ldr, dfr, svr, esr, esr_latch;
	u64 icr;
	u32 lvt[LVT_COUNT];
	bool lint[2]; /* levels of the LINT0 and LINT1 wires */
	u32 timer_initial, timer_divide;
	u64 timer_zero; /* clock when the counter reaches zero */
	u64 tsc_deadline; /* 0: disarmed */
	struct timer timer;
};

/* The chips on the far side. */
struct lapic_links {
	int (*inta)(void *ctx); /* the INTA cycle for ExtINT: i8259_inta */
	void *inta_ctx;
	void (*eoi)(void *ctx, u8 vector); /* EOI of a level-triggered vector: ioapic_eoi */
	void *eoi_ctx;
};

struct lapic_bus {
	struct device dev;
	struct region region;
	struct vm *vm;
	struct lapic_links links;
	u64 ns_per_tick; /* of the guest's TSC, in 2^-32 */
	unsigned count;
	struct lapic *lapic; /* array, one per vCPU; vcpu->lapic points into it */
};

/*
 * Makes a local APIC for every vCPU of the VM and sets vm->intc. The links may
 * be filled in afterwards, before the VM starts. tsc_khz is the guest's TSC
 * frequency; the guest's TSC is the host's plus vcpu->regs.tsc_offset.
 */
int lapic_create(struct vm *vm, u64 tsc_khz, struct lapic_bus **out);
void lapic_link(struct lapic_bus *bus, const struct lapic_links *links);
/* Pin n (0 or 1) of a local APIC: the 8259's INTR goes to LINT0 of vCPU 0. */
struct irq_line lapic_lint(struct lapic_bus *bus, unsigned vcpu, unsigned n);
/* Where the IOAPIC and devices send their messages. */
struct msi_sink lapic_msi_sink(struct lapic_bus *bus);

extern const struct intc_ops lapic_intc_ops;

/* For tests: the lock must be held where intc_ops would have taken it. */
int lapic_bus_init(struct lapic_bus *bus, struct vm *vm, u64 tsc_khz);
void lapic_bus_fini(struct lapic_bus *bus);
void lapic_bus_reset(struct lapic_bus *bus);
u32 lapic_mmio_read(struct lapic *lapic, u64 offset);
void lapic_mmio_write(struct lapic *lapic, u64 offset, u32 value);
