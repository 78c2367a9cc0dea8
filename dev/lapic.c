/* SPDX-License-Identifier: MIT */
/*
 * Local APICs: registers and interrupt delivery. Facts: SDM vol. 3, chapter 11.
 * The timer is in lapic_timer.c, messages between APICs in lapic_bus.c.
 */
#include "dev/lapic.h"

#include <string.h>

#include "dev/lapic_internal.h"
#include "vm/vm.h"

#define VERSION 0x00050014u /* six LVT entries */

#define SVR_ENABLE BIT(8)
#define SVR_VALID 0x3ffu
#define ESR_SEND_ILLEGAL BIT(5)
#define ESR_RECEIVE_ILLEGAL BIT(6)
#define ESR_ILLEGAL_REGISTER BIT(7)
#define DFR_FLAT 0xffffffffu
#define ICR_BUSY BIT(12)
#define ICR_VALID 0x000cdfffu

/* Bits that software may set in the LVT entries. */
static const u32 lvt_valid[LVT_COUNT] = {
	[LVT_TIMER] = 0x700ff,
	[LVT_THERMAL] = 0x107ff,
	[LVT_PERF] = 0x107ff,
	[LVT_LINT0] = 0x1a7ff,
	[LVT_LINT1] = 0x1a7ff,
	[LVT_ERROR] = 0x100ff,
};

/* Status bits in LVT entries: written back by software, always 0 here. */
#define LVT_READ_ONLY (BIT(12) | BIT(14))

static bool bit_test(const u64 *bits, unsigned n)
{
	return bits[n / 64] >> (n % 64) & 1;
}

static void bit_set(u64 *bits, unsigned n)
{
	bits[n / 64] |= 1ull << (n % 64);
}

static void bit_clear(u64 *bits, unsigned n)
{
	bits[n / 64] &= ~(1ull << (n % 64));
}

/* The highest vector in the set, or -1. */
static int highest(const u64 *bits)
{
	for (int i = 3; i >= 0; i--)
		if (bits[i])
			return i * 64 + 63 - __builtin_clzll(bits[i]);
	return -1;
}

bool lapic_hw_enabled(const struct lapic *lapic)
{
	return lapic->base & APIC_BASE_ENABLE;
}

bool lapic_x2apic(const struct lapic *lapic)
{
	return lapic->base & APIC_BASE_X2APIC;
}

static u32 processor_priority(const struct lapic *lapic)
{
	int served = highest(lapic->isr);
	u32 class = served < 0 ? 0 : (u32)served & 0xf0;

	return (lapic->tpr & 0xf0) >= class ? lapic->tpr : class;
}

/* The vector in IRR that the priorities let through, or -1. */
static int deliverable(const struct lapic *lapic)
{
	int vector = highest(lapic->irr);

	if (vector < 0 || ((u32)vector & 0xf0) <= (processor_priority(lapic) & 0xf0))
		return -1;
	return vector;
}

/* The 8259 wants the CPU, and LINT0 (or a switched-off APIC) lets it through. */
static bool extint_pending(const struct lapic *lapic)
{
	u32 lvt = lapic->lvt[LVT_LINT0];

	if (!lapic->lint[0])
		return false;
	return !lapic_hw_enabled(lapic) || (lvt & (LVT_MASKED | LVT_MODE)) == LVT_MODE_EXTINT;
}

static bool pending(const struct lapic *lapic)
{
	return extint_pending(lapic) || (lapic_hw_enabled(lapic) && deliverable(lapic) >= 0);
}

/* Tells the vCPU when there is something for it. */
void lapic_notify(struct lapic *lapic)
{
	if (pending(lapic))
		vcpu_kick(lapic->vcpu, VCPU_INTR);
}

static void error(struct lapic *lapic, u32 bit)
{
	u32 lvt = lapic->lvt[LVT_ERROR];

	lapic->esr_latch |= bit;
	/* A bad vector in this very entry must not report itself for ever. */
	if (!(lvt & LVT_MASKED) && (lvt & 0xff) >= 16)
		lapic_accept(lapic, (u8)lvt, false);
}

void lapic_accept(struct lapic *lapic, u8 vector, bool level)
{
	if (!lapic_hw_enabled(lapic) || !(lapic->svr & SVR_ENABLE))
		return;
	if (vector < 16) {
		error(lapic, ESR_RECEIVE_ILLEGAL);
		return;
	}
	bit_set(lapic->irr, vector);
	if (level)
		bit_set(lapic->tmr, vector);
	else
		bit_clear(lapic->tmr, vector);
	lapic_notify(lapic);
}

/* An interrupt source of the local vector table fires. */
void lapic_local(struct lapic *lapic, unsigned entry)
{
	u32 lvt = lapic->lvt[entry];

	if (lvt & LVT_MASKED)
		return;
	switch (lvt & LVT_MODE) {
	case LVT_MODE_FIXED:
		lapic_accept(lapic, (u8)lvt, false);
		break;
	case LVT_MODE_NMI:
		vcpu_kick(lapic->vcpu, VCPU_NMI);
		break;
	default: /* ExtINT follows the wire's level; SMI and INIT are not wired */
		break;
	}
}

void lapic_set_lint(struct lapic *lapic, unsigned n, bool level)
{
	bool rises = level && !lapic->lint[n];

	lapic->lint[n] = level;
	if (rises && lapic_hw_enabled(lapic))
		lapic_local(lapic, LVT_LINT0 + n);
	lapic_notify(lapic);
}

static void end_of_interrupt(struct lapic *lapic)
{
	const struct lapic_links *links = &lapic->bus->links;
	int vector = highest(lapic->isr);

	if (vector < 0)
		return;
	bit_clear(lapic->isr, (unsigned)vector);
	if (bit_test(lapic->tmr, (unsigned)vector) && links->eoi)
		links->eoi(links->eoi_ctx, (u8)vector);
	lapic_notify(lapic);
}

static void set_tpr(struct lapic *lapic, u32 tpr)
{
	lapic->tpr = tpr & 0xff;
	lapic_notify(lapic);
}

static void write_svr(struct lapic *lapic, u32 value)
{
	lapic->svr = value & SVR_VALID;
	if (!(value & SVR_ENABLE))
		for (unsigned i = 0; i < LVT_COUNT; i++)
			lapic->lvt[i] |= LVT_MASKED;
}

static void write_lvt(struct lapic *lapic, unsigned entry, u32 value)
{
	u32 old = lapic->lvt[entry];

	value &= lvt_valid[entry];
	if (!(lapic->svr & SVR_ENABLE))
		value |= LVT_MASKED;
	lapic->lvt[entry] = value;
	if (entry == LVT_TIMER)
		lapic_timer_mode_changed(lapic, old);
	lapic_notify(lapic); /* LINT0 may have opened */
}

static void write_icr(struct lapic *lapic, u64 value)
{
	unsigned mode = value >> 8 & 7;

	lapic->icr = value & ~ICR_BUSY;
	if (mode <= 1 && (u8)value < 16) {
		error(lapic, ESR_SEND_ILLEGAL);
		return;
	}
	lapic_send_ipi(lapic, lapic->icr);
}

static void self_ipi(struct lapic *lapic, u8 vector)
{
	if (vector < 16)
		error(lapic, ESR_SEND_ILLEGAL);
	else
		lapic_accept(lapic, vector, false);
}

static u32 read_register(struct lapic *lapic, unsigned reg)
{
	switch (reg) {
	case LAPIC_ID:
		return lapic_x2apic(lapic) ? lapic->id : lapic->id << 24;
	case LAPIC_VERSION:
		return VERSION;
	case LAPIC_TPR:
		return lapic->tpr;
	case LAPIC_PPR:
		return processor_priority(lapic);
	case LAPIC_LDR:
		return lapic->ldr;
	case LAPIC_DFR:
		return lapic->dfr;
	case LAPIC_SVR:
		return lapic->svr;
	case LAPIC_ISR ... LAPIC_ISR + 7:
		return (u32)(lapic->isr[(reg & 7) / 2] >> (reg & 1) * 32);
	case LAPIC_TMR ... LAPIC_TMR + 7:
		return (u32)(lapic->tmr[(reg & 7) / 2] >> (reg & 1) * 32);
	case LAPIC_IRR ... LAPIC_IRR + 7:
		return (u32)(lapic->irr[(reg & 7) / 2] >> (reg & 1) * 32);
	case LAPIC_ESR:
		return lapic->esr;
	case LAPIC_ICR:
		return (u32)lapic->icr;
	case LAPIC_ICR2:
		return (u32)(lapic->icr >> 32);
	case LAPIC_LVT_TIMER ... LAPIC_LVT_ERROR:
		return lapic->lvt[reg - LAPIC_LVT_TIMER];
	case LAPIC_TIMER_INITIAL:
		return lapic->timer_initial;
	case LAPIC_TIMER_CURRENT:
		return lapic_timer_current(lapic);
	case LAPIC_TIMER_DIVIDE:
		return lapic->timer_divide;
	default:
		return 0;
	}
}

/* Registers that both ways of access write alike. */
static void write_register(struct lapic *lapic, unsigned reg, u32 value)
{
	switch (reg) {
	case LAPIC_TPR:
		set_tpr(lapic, value);
		break;
	case LAPIC_EOI:
		end_of_interrupt(lapic);
		break;
	case LAPIC_SVR:
		write_svr(lapic, value);
		break;
	case LAPIC_ESR:
		lapic->esr = lapic->esr_latch;
		lapic->esr_latch = 0;
		break;
	case LAPIC_LVT_TIMER ... LAPIC_LVT_ERROR:
		write_lvt(lapic, reg - LAPIC_LVT_TIMER, value);
		break;
	case LAPIC_TIMER_INITIAL:
		lapic_timer_start(lapic, value);
		break;
	case LAPIC_TIMER_DIVIDE:
		lapic_timer_divide(lapic, value & 0xb);
		break;
	default:
		break;
	}
}

/* ---- xAPIC: memory ---- */

static bool mmio_exists(unsigned reg)
{
	switch (reg) {
	case LAPIC_ID:
	case LAPIC_VERSION:
	case LAPIC_TPR ... LAPIC_ESR:
	case LAPIC_ICR ... LAPIC_TIMER_CURRENT:
	case LAPIC_TIMER_DIVIDE:
		return true;
	default:
		return false;
	}
}

u32 lapic_mmio_read(struct lapic *lapic, u64 offset)
{
	unsigned reg = (unsigned)(offset >> 4);

	if (!lapic_hw_enabled(lapic) || lapic_x2apic(lapic))
		return 0xffffffff;
	if (offset & 0xf)
		return 0;
	if (!mmio_exists(reg)) {
		error(lapic, ESR_ILLEGAL_REGISTER);
		return 0;
	}
	return read_register(lapic, reg);
}

void lapic_mmio_write(struct lapic *lapic, u64 offset, u32 value)
{
	unsigned reg = (unsigned)(offset >> 4);

	if (!lapic_hw_enabled(lapic) || lapic_x2apic(lapic) || offset & 0xf)
		return;
	switch (reg) {
	case LAPIC_LDR:
		lapic->ldr = value & 0xff000000;
		break;
	case LAPIC_DFR:
		lapic->dfr = value | 0x0fffffff;
		break;
	case LAPIC_ICR:
		write_icr(lapic, (lapic->icr & ~0xffffffffull) | (value & ICR_VALID));
		break;
	case LAPIC_ICR2:
		lapic->icr = (lapic->icr & 0xffffffff) | (u64)(value & 0xff000000) << 32;
		break;
	default:
		if (mmio_exists(reg))
			write_register(lapic, reg, value);
		else
			error(lapic, ESR_ILLEGAL_REGISTER);
		break;
	}
}

/* ---- x2APIC: MSRs. The value is checked before anything changes; -1 is #GP. ---- */

static int x2apic_read(struct lapic *lapic, unsigned reg, u64 *value)
{
	switch (reg) {
	case LAPIC_ICR:
		*value = lapic->icr;
		return 0;
	case LAPIC_ID:
	case LAPIC_VERSION:
	case LAPIC_TPR:
	case LAPIC_PPR:
	case LAPIC_LDR:
	case LAPIC_SVR:
	case LAPIC_ISR ... LAPIC_ESR:
	case LAPIC_LVT_TIMER ... LAPIC_TIMER_CURRENT:
	case LAPIC_TIMER_DIVIDE:
		*value = read_register(lapic, reg);
		return 0;
	default:
		return -1;
	}
}

/* Which bits may be set in a write; false: the register cannot be written. */
static bool x2apic_writable(unsigned reg, u64 *valid)
{
	switch (reg) {
	case LAPIC_TPR:
	case LAPIC_SELF_IPI:
		*valid = 0xff;
		return true;
	case LAPIC_EOI:
	case LAPIC_ESR:
		*valid = 0;
		return true;
	case LAPIC_SVR:
		*valid = SVR_VALID;
		return true;
	case LAPIC_ICR:
		*valid = 0xffffffff00000000 | ICR_VALID;
		return true;
	case LAPIC_LVT_TIMER ... LAPIC_LVT_ERROR:
		*valid = lvt_valid[reg - LAPIC_LVT_TIMER] | LVT_READ_ONLY;
		return true;
	case LAPIC_TIMER_INITIAL:
		*valid = 0xffffffff;
		return true;
	case LAPIC_TIMER_DIVIDE:
		*valid = 0xb;
		return true;
	default:
		return false;
	}
}

static int x2apic_write(struct lapic *lapic, unsigned reg, u64 value)
{
	u64 valid;

	if (!x2apic_writable(reg, &valid) || value & ~valid)
		return -1;
	if (reg == LAPIC_ICR)
		write_icr(lapic, value);
	else if (reg == LAPIC_SELF_IPI)
		self_ipi(lapic, (u8)value);
	else
		write_register(lapic, reg, (u32)value);
	return 0;
}

static void clear(struct lapic *lapic)
{
	memset(lapic->irr, 0, sizeof(lapic->irr));
	memset(lapic->isr, 0, sizeof(lapic->isr));
	memset(lapic->tmr, 0, sizeof(lapic->tmr));
	lapic->tpr = lapic->ldr = lapic->esr = lapic->esr_latch = 0;
	lapic->dfr = DFR_FLAT;
	lapic->svr = 0xff;
	lapic->icr = 0;
	for (unsigned i = 0; i < LVT_COUNT; i++)
		lapic->lvt[i] = LVT_MASKED;
	lapic_timer_reset(lapic);
}

static int write_base(struct lapic *lapic, u64 value)
{
	const u64 modes = APIC_BASE_ENABLE | APIC_BASE_X2APIC;
	u64 old = lapic->base & modes, new = value &modes;

	/* The registers do not move: nobody needs it, and the region is shared. */
	if ((value & ~(modes | APIC_BASE_BSP)) != LAPIC_BASE || new == APIC_BASE_X2APIC)
		return -1;
	if ((old == modes && new == APIC_BASE_ENABLE) || (!old && new == modes))
		return -1;
	lapic->base = (value & ~APIC_BASE_BSP) | (lapic->base & APIC_BASE_BSP);
	if (new == old)
		return 0;
	if (!new)
		clear(lapic);
	else if (new == modes)
		lapic->ldr = (lapic->id >> 4) << 16 | 1u << (lapic->id & 0xf);
	lapic_notify(lapic);
	return 0;
}

static bool is_x2apic_msr(u32 index)
{
	return index >= MSR_X2APIC_FIRST && index <= MSR_X2APIC_LAST;
}

int lapic_read_msr(struct lapic *lapic, u32 index, u64 *value)
{
	if (is_x2apic_msr(index) && lapic_x2apic(lapic))
		return x2apic_read(lapic, index - MSR_X2APIC_FIRST, value);
	if (index == MSR_TSC_DEADLINE)
		*value = lapic->tsc_deadline;
	else if (index == MSR_APIC_BASE)
		*value = lapic->base;
	else
		return -1;
	return 0;
}

int lapic_write_msr(struct lapic *lapic, u32 index, u64 value)
{
	if (is_x2apic_msr(index) && lapic_x2apic(lapic))
		return x2apic_write(lapic, index - MSR_X2APIC_FIRST, value);
	if (index == MSR_APIC_BASE)
		return write_base(lapic, value);
	if (index != MSR_TSC_DEADLINE)
		return -1;
	lapic_timer_deadline(lapic, value);
	return 0;
}

void lapic_reset(struct lapic *lapic)
{
	lapic->base = LAPIC_BASE | APIC_BASE_ENABLE | (lapic->vcpu->id == 0 ? APIC_BASE_BSP : 0);
	clear(lapic);
	/* As firmware leaves it: the first CPU takes the 8259's interrupts ("virtual wire"). */
	if (lapic->vcpu->id == 0)
		lapic->lvt[LVT_LINT0] = LVT_MODE_EXTINT;
}

/* ---- intc_ops: called by engines, without the lock ---- */

static struct lapic *lock(struct vcpu *vcpu)
{
	pthread_mutex_lock(&vcpu->vm->lock);
	return vcpu->lapic;
}

static void unlock(struct vcpu *vcpu)
{
	pthread_mutex_unlock(&vcpu->vm->lock);
}

static int intc_peek(struct vcpu *vcpu)
{
	struct lapic *lapic = lock(vcpu);
	int vector = -1;

	if (extint_pending(lapic))
		vector = 0; /* known only after the INTA cycle */
	else if (lapic_hw_enabled(lapic))
		vector = deliverable(lapic);
	unlock(vcpu);
	return vector;
}

static int take_extint(struct lapic *lapic)
{
	const struct lapic_links *links = &lapic->bus->links;
	int vector = links->inta ? links->inta(links->inta_ctx) : -1;

	lapic_notify(lapic); /* a vector of our own may wait behind it */
	return vector;
}

static int intc_ack(struct vcpu *vcpu)
{
	struct lapic *lapic = lock(vcpu);
	int vector = -1;

	if (extint_pending(lapic)) {
		vector = take_extint(lapic);
	} else if (lapic_hw_enabled(lapic)) {
		vector = deliverable(lapic);
		if (vector >= 0) {
			bit_clear(lapic->irr, (unsigned)vector);
			bit_set(lapic->isr, (unsigned)vector);
		}
	}
	unlock(vcpu);
	return vector;
}

static u64 intc_tpr(struct vcpu *vcpu)
{
	u64 cr8 = lock(vcpu)->tpr >> 4;

	unlock(vcpu);
	return cr8;
}

static void intc_set_tpr(struct vcpu *vcpu, u64 cr8)
{
	set_tpr(lock(vcpu), (u32)(cr8 & 0xf) << 4);
	unlock(vcpu);
}

static int intc_rdmsr(struct vcpu *vcpu, u32 index, u64 *value)
{
	int ret = lapic_read_msr(lock(vcpu), index, value);

	unlock(vcpu);
	return ret;
}

static int intc_wrmsr(struct vcpu *vcpu, u32 index, u64 value)
{
	int ret = lapic_write_msr(lock(vcpu), index, value);

	unlock(vcpu);
	return ret;
}

const struct intc_ops lapic_intc_ops = {
	.peek = intc_peek,
	.ack = intc_ack,
	.tpr = intc_tpr,
	.set_tpr = intc_set_tpr,
	.rdmsr = intc_rdmsr,
	.wrmsr = intc_wrmsr,
};
