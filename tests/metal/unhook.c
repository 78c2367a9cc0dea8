/* SPDX-License-Identifier: MIT */
/*
 * A primary VM that is busy with its local APIC while another CPU starts the last
 * one: the hypervisor then lets go of the APIC's page, and no access may get lost.
 */
#include "lapic.h"

enum { LVT_ERROR = 0x370, ROUNDS = 20000 };

/* Counts itself at 0x9000. The first one, after a while, starts the third CPU in the same way. */
extern u8 ap_code[], ap_code_end[];
__asm__(".pushsection .text\n.code16\n.globl ap_code, ap_code_end\n"
	"ap_code: cli; xorw %ax, %ax; movw %ax, %ds\n"
	"movl $1, %eax; lock xaddl %eax, 0x9000; testl %eax, %eax; jnz 2f\n"
	"movl $100000, %ecx; 1: pause; decl %ecx; jnz 1b\n"
	"lgdtl 0x9010; movl %cr0, %eax; orb $1, %al; movl %eax, %cr0\n"
	"movw $8, %ax; movw %ax, %ds; movl $0xfee00300, %ebx\n"
	"movl $0x2000000, 0x10(%ebx); movl $0x4608, (%ebx)\n"
	"2: hlt; jmp 2b\n"
	"ap_code_end:\n.code64\n.popsection");

/* From 0x9000 on: the count, and flat data segments. */
static volatile struct __attribute__((packed)) {
	u32 started, unused[3];
	u16 limit;
	u32 base;
	u16 pad;
	u64 table[2];
} *const shared = (void *)0x9000;

static unsigned lost;

static void write_and_read(unsigned vector)
{
	lapic_write(LVT_ERROR, vector);
	lost += lapic_read(LVT_ERROR) != vector;
}

static void unhook(void)
{
	memcpy((void *)0x8000, ap_code, ap_code_end - ap_code);
	shared->started = 0;
	shared->limit = 15;
	shared->base = (u32)(u64)shared->table;
	shared->table[1] = 0x00cf93000000ffff;
	send(1, ICR_SIPI | 8);
	for (unsigned i = 0; i < ROUNDS || (shared->started < 2 && i < 100 * ROUNDS); i++)
		write_and_read(0x20 + i % 0x80);
	check("both-run", shared->started, 2);
	check("lost-writes", lost, 0);
}

const struct section sections[] = {{"unhook", unhook}, {NULL, NULL}};
