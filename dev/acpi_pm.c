/* SPDX-License-Identifier: MIT */
/* ACPI fixed hardware. Facts: ACPI specification 6.4, chapter 4. */
#include "dev/acpi_pm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vm/vm.h"

#define NS_PER_SEC 1000000000ull
#define PM1_EVENTS (ACPI_TMR_STS | ACPI_GBL_STS | ACPI_PWRBTN_STS | ACPI_SLPBTN_STS | ACPI_RTC_STS)
#define PM1_STATUS (PM1_EVENTS | ACPI_WAK_STS)
#define SLP_TYP_MASK (7u << ACPI_SLP_TYP_SHIFT)
#define CNT_WRITABLE (SLP_TYP_MASK | BIT(1)) /* BM_RLD */

enum {
	REG_PM1_STS = ACPI_PM1_EVT_PORT - ACPI_PM_BASE,
	REG_PM1_EN = REG_PM1_STS + 2,
	REG_PM1_CNT = ACPI_PM1_CNT_PORT - ACPI_PM_BASE,
	REG_TIMER = ACPI_PM_TMR_PORT - ACPI_PM_BASE,
	REG_GPE_STS = ACPI_GPE0_PORT - ACPI_PM_BASE,
	REG_GPE_EN = REG_GPE_STS + ACPI_GPE0_LEN / 2,
};

static u64 tick_of(u64 ns)
{
	return (u64)((unsigned __int128)ns * ACPI_PM_TIMER_HZ / NS_PER_SEC);
}

static u64 ns_of(u64 tick)
{
	return (u64)(((unsigned __int128)tick * NS_PER_SEC + ACPI_PM_TIMER_HZ - 1) / ACPI_PM_TIMER_HZ);
}

static u64 timer_now(const struct acpi_pm *pm)
{
	return tick_of(clock_now(pm->clock));
}

static void update_sci(struct acpi_pm *pm)
{
	irq_set(&pm->sci, pm->pm1_sts & pm->pm1_en & PM1_EVENTS || pm->gpe_sts & pm->gpe_en);
}

/* TMR_STS is set whenever the counter's top bit changes. */
static void catch_up(struct acpi_pm *pm)
{
	u64 turns = timer_now(pm) >> 31;

	if (turns != pm->turns)
		pm->pm1_sts |= ACPI_TMR_STS;
	pm->turns = turns;
	update_sci(pm);
}

static void arm(struct acpi_pm *pm)
{
	if (pm->pm1_en & ACPI_TMR_STS)
		timer_arm(pm->clock, &pm->overflow, ns_of((pm->turns + 1) << 31));
	else
		timer_cancel(pm->clock, &pm->overflow);
}

static void overflow(void *arg)
{
	struct acpi_pm *pm = arg;

	catch_up(pm);
	arm(pm);
}

void acpi_pm_power_button(struct acpi_pm *pm)
{
	pm->pm1_sts |= ACPI_PWRBTN_STS;
	update_sci(pm);
}

void acpi_pm_gpe(struct acpi_pm *pm, unsigned nr)
{
	if (nr >= ACPI_GPE0_LEN / 2 * 8)
		return;
	pm->gpe_sts |= (u16)(1u << nr);
	update_sci(pm);
}

static void write_control(struct acpi_pm *pm, u16 value)
{
	pm->pm1_cnt = (u16)((value & CNT_WRITABLE) | ACPI_SCI_EN);
	/* Only S5 was offered in the tables; other types do nothing. */
	if (value & ACPI_SLP_EN && (value & SLP_TYP_MASK) >> ACPI_SLP_TYP_SHIFT == ACPI_SLP_TYP_S5)
		vm_request_stop(pm->vm, VM_POWEROFF, 0);
}

/* offset is even; the registers are 16 bits wide, except the timer. */
static u16 read16(struct acpi_pm *pm, unsigned offset)
{
	switch (offset) {
	case REG_PM1_STS:
		catch_up(pm);
		return pm->pm1_sts;
	case REG_PM1_EN:
		return pm->pm1_en;
	case REG_PM1_CNT:
		return pm->pm1_cnt;
	case REG_GPE_STS:
		return pm->gpe_sts;
	case REG_GPE_EN:
		return pm->gpe_en;
	default:
		return 0;
	}
}

/* mask: the bits that the access covers; the others keep their values. */
static void write16(struct acpi_pm *pm, unsigned offset, u16 value, u16 mask)
{
	switch (offset) {
	case REG_PM1_STS:
		catch_up(pm);
		pm->pm1_sts &= (u16) ~(value & mask & PM1_STATUS);
		break;
	case REG_PM1_EN:
		catch_up(pm);
		pm->pm1_en = (u16)((pm->pm1_en & ~mask) | (value & mask & PM1_EVENTS));
		arm(pm);
		break;
	case REG_PM1_CNT:
		write_control(pm, (u16)((pm->pm1_cnt & ~mask) | (value & mask)));
		break;
	case REG_GPE_STS:
		pm->gpe_sts &= (u16) ~(value & mask);
		break;
	case REG_GPE_EN:
		pm->gpe_en = (u16)((pm->gpe_en & ~mask) | (value & mask));
		break;
	default:
		break;
	}
	update_sci(pm);
}

u32 acpi_pm_read(struct acpi_pm *pm, unsigned offset, unsigned size)
{
	unsigned shift = (offset & 3) * 8;
	u32 value;

	offset &= ~3u;
	if (offset == REG_TIMER)
		value = (u32)timer_now(pm);
	else
		value = read16(pm, offset) | (u32)read16(pm, offset + 2) << 16;
	return value >> shift & 0xffffffff >> (32 - 8 * size);
}

void acpi_pm_write(struct acpi_pm *pm, unsigned offset, unsigned size, u32 value)
{
	unsigned shift = (offset & 3) * 8;
	u32 mask = (0xffffffff >> (32 - 8 * size)) << shift;

	offset &= ~3u;
	value <<= shift;
	if ((u16)mask)
		write16(pm, offset, (u16)value, (u16)mask);
	if (mask >> 16)
		write16(pm, offset + 2, (u16)(value >> 16), (u16)(mask >> 16));
}

void acpi_pm_reset(struct acpi_pm *pm)
{
	pm->pm1_sts = pm->pm1_en = pm->gpe_sts = pm->gpe_en = 0;
	pm->pm1_cnt = ACPI_SCI_EN;
	pm->turns = timer_now(pm) >> 31;
	arm(pm);
	update_sci(pm);
}

void acpi_pm_init(struct acpi_pm *pm, struct vm *vm, struct clock *clock, struct irq_line sci)
{
	memset(pm, 0, sizeof(*pm));
	pm->vm = vm;
	pm->clock = clock;
	pm->sci = sci;
	timer_init(&pm->overflow, overflow, pm);
	acpi_pm_reset(pm);
}

static struct acpi_pm *of(struct device *dev)
{
	return container_of(dev, struct acpi_pm, dev);
}

static u64 region_read(struct device *dev, u64 offset, unsigned size)
{
	return acpi_pm_read(of(dev), (unsigned)offset, size);
}

static void region_write(struct device *dev, u64 offset, unsigned size, u64 value)
{
	acpi_pm_write(of(dev), (unsigned)offset, size, (u32)value);
}

static const struct region_ops region_ops = {region_read, region_write, 1, 4};

static void dev_reset(struct device *dev)
{
	acpi_pm_reset(of(dev));
}

static void dev_free(struct device *dev)
{
	struct acpi_pm *pm = of(dev);

	timer_cancel(pm->clock, &pm->overflow);
	free(pm);
}

static const struct device_ops device_ops = {.reset = dev_reset, .free = dev_free};

int acpi_pm_create(struct vm *vm, struct irq_line sci, struct acpi_pm **out)
{
	struct acpi_pm *pm = malloc(sizeof(*pm));
	int err;

	if (!pm)
		return -ENOMEM;
	acpi_pm_init(pm, vm, &vm->clock, sci);
	pm->dev = (struct device){.ops = &device_ops, .name = "acpi pm"};
	pm->region = (struct region){
		.name = "acpi pm",
		.base = ACPI_PM_BASE,
		.size = ACPI_PM_SIZE,
		.ops = &region_ops,
		.dev = &pm->dev,
	};
	err = space_add(&vm->io, &pm->region);
	if (err) {
		dev_free(&pm->dev);
		return err;
	}
	vm_add_device(vm, &pm->dev);
	*out = pm;
	return 0;
}
