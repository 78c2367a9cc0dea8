/* SPDX-License-Identifier: MIT */
/*
 * A primary VM that starts and stops CPUs as no system would. The last section
 * ends the machine: an INIT to the BSP is a reset.
 */
#include "lapic.h"

/* ---- other CPUs ---- */
/* Counts at 0x9000 + 8 * APIC ID. */
extern u8 ap_code[], ap_code_end[];
__asm__(".pushsection .text\n.code16\n.globl ap_code, ap_code_end\n"
	"ap_code: cli; xorw %ax, %ax; movw %ax, %ds\n"
	"movl $1, %eax; cpuid; shrl $24, %ebx; shll $3, %ebx\n"
	"lock incl 0x9004(%ebx)\n"
	"1: lock incl 0x9000(%ebx); jmp 1b\n"
	"ap_code_end:\n.code64\n.popsection");

static volatile u32 *ap_ticks(unsigned id)
{
	return (u32 *)(0x9000ull + 8 * id);
}

static void wait(unsigned rounds)
{
	for (unsigned i = 0; i < rounds; i++) {
		inb(0x80);
		__asm__ volatile("pause");
	}
}

static bool ap_runs(unsigned id)
{
	u32 before = *ap_ticks(id);

	for (unsigned i = 0; i < 2000 && *ap_ticks(id) == before; i++)
		wait(100);
	return *ap_ticks(id) != before;
}

static u32 ap_starts(unsigned id)
{
	return ap_ticks(id)[1];
}

static void start_ap(unsigned id)
{
	send(id, ICR_INIT);
	wait(1000);
	send(id, ICR_SIPI | 8);
	wait(1000);
	send(id, ICR_SIPI | 8);
	wait(1000);
}

static void aps(void)
{
	memcpy((void *)0x8000, ap_code, ap_code_end - ap_code);
	memset((void *)0x9000, 0, 0x1000);
	send(1, ICR_SIPI | 8); /* it waits for one: as after a reset */
	check("sipi-starts", ap_runs(1), true);
	check("second-sipi-is-lost", ap_starts(1), 1);
	send(1, ICR_INIT);
	wait(10000);
	check("init-stops", ap_runs(1), false);
	start_ap(1);
	check("starts-again", ap_runs(1), true);
	check("sipis", ap_starts(1), 2);
	for (unsigned i = 0; i < 200; i++)
		start_ap(1);
	check("many-starts", ap_runs(1), true);
	send(1, ICR_NMI);
	send(0, ICR_SIPI | 0xc0000 | 8); /* to all others: the third CPU starts, too */
	check("init-sipi-survived", cpuid(0x40000000, 0).ebx, 0x6c6c754d);
	check("ap-still-runs", ap_runs(1), true);
	check("third", ap_runs(2), true);
	send(2, ICR_INIT);
}

/* The ID in the local APIC is the primary VM's to change; the hypervisor must reach the CPU all the same. */
static void apic_ids(void)
{
	u32 old = lapic_read(0x20);

	lapic_write(0x20, 7u << 24);
	start_ap(1);
	check("other-id", ap_runs(1), true);
	lapic_write(0x20, old);
}

static void init_bsp(void)
{
	put("an INIT to the BSP resets now\n");
	send(0, ICR_INIT);
	wait(100000);
	check("init-bsp-resets", 1, 0);
}

const struct section sections[] = {{"aps", aps}, {"ids", apic_ids}, {"init-bsp", init_bsp}, {NULL, NULL}};
