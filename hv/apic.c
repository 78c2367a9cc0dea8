/* SPDX-License-Identifier: MIT */
/* The local APIC by its page or, in x2APIC mode, by its MSRs. */
#include "hv/apic.h"

#include "x86/insn.h"
#include "x86/msr.h"

enum {
	ICR_PENDING = 0x1000,
	X2_ID = 0x802,
	PORT_POST = 0x80, /* its cycle takes about 1 us */
};

static bool x2apic(void)
{
	return rdmsr(MSR_APIC_BASE) & APIC_BASE_X2;
}

static volatile u32 *reg(unsigned offset)
{
	return (u32 *)((rdmsr(MSR_APIC_BASE) & 0xffffffffff000) + offset);
}

u32 apic_id(void)
{
	return x2apic() ? (u32)rdmsr(X2_ID) : *reg(APIC_ID) >> 24;
}

void apic_send(u32 to, u32 command)
{
	u32 high;

	if (x2apic()) {
		wrmsr(MSR_X2APIC_ICR, (u64)to << 32 | command);
		return;
	}
	/* The primary VM may be between its writes of the two halves. */
	while (*reg(APIC_ICR) & ICR_PENDING)
		pause();
	high = *reg(APIC_ICR_HIGH);
	*reg(APIC_ICR_HIGH) = to << 24;
	*reg(APIC_ICR) = command;
	while (*reg(APIC_ICR) & ICR_PENDING)
		pause();
	*reg(APIC_ICR_HIGH) = high;
}

void delay_us(unsigned us)
{
	while (us--)
		inb(PORT_POST);
}
