/* SPDX-License-Identifier: MIT */
/*
 * ACPI fixed hardware: PM1 event and control blocks, PM timer, GPE0 block and
 * the SCI. ACPI mode is always on (FADT: SMI_CMD is 0).
 */
#pragma once

#include "vm/clock.h"
#include "vm/device.h"
#include "vm/irq.h"
#include "vm/space.h"

struct vm;

#define ACPI_PM_BASE 0x600
#define ACPI_PM_SIZE 0x28
#define ACPI_PM1_EVT_PORT 0x600 /* 4 bytes: status, enable */
#define ACPI_PM1_CNT_PORT 0x604 /* 2 bytes */
#define ACPI_PM_TMR_PORT 0x608 /* 4 bytes; the FADT says TMR_VAL_EXT */
#define ACPI_GPE0_PORT 0x620 /* 4 bytes: 2 status, 2 enable */
#define ACPI_GPE0_LEN 4
#define ACPI_SCI_IRQ 9 /* level, active high */
#define ACPI_PM_TIMER_HZ 3579545
#define ACPI_SLP_TYP_S5 5 /* \_S5's first element */

/* PM1 status and enable */
#define ACPI_TMR_STS BIT(0)
#define ACPI_GBL_STS BIT(5)
#define ACPI_PWRBTN_STS BIT(8)
#define ACPI_SLPBTN_STS BIT(9)
#define ACPI_RTC_STS BIT(10)
#define ACPI_WAK_STS BIT(15)
/* PM1 control */
#define ACPI_SCI_EN BIT(0)
#define ACPI_SLP_TYP_SHIFT 10
#define ACPI_SLP_EN BIT(13)

struct acpi_pm {
	struct device dev;
	struct region region;
	struct vm *vm;
	struct clock *clock;
	struct irq_line sci;
	u16 pm1_sts, pm1_en, pm1_cnt;
	u16 gpe_sts, gpe_en;
	u64 turns; /* how often the PM timer's top bit has changed, as far as pm1_sts knows */
	struct timer overflow; /* its next change */
};

int acpi_pm_create(struct vm *vm, struct irq_line sci, struct acpi_pm **out);
/* The user pressed the power button. Machine lock held. */
void acpi_pm_power_button(struct acpi_pm *pm);
/* A general purpose event, 0..15. Machine lock held. */
void acpi_pm_gpe(struct acpi_pm *pm, unsigned nr);

/* For tests */
void acpi_pm_init(struct acpi_pm *pm, struct vm *vm, struct clock *clock, struct irq_line sci);
void acpi_pm_reset(struct acpi_pm *pm);
u32 acpi_pm_read(struct acpi_pm *pm, unsigned offset, unsigned size);
void acpi_pm_write(struct acpi_pm *pm, unsigned offset, unsigned size, u32 value);
