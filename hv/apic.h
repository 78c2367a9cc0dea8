/* SPDX-License-Identifier: MIT */
/* This CPU's local APIC, as the hypervisor needs it: its number and messages to other CPUs. */
#pragma once

#include "lib/types.h"

enum { APIC_BASE_X2 = 0x400 }; /* in MSR_APIC_BASE */
enum { APIC_ID = 0x20, APIC_ICR = 0x300, APIC_ICR_HIGH = 0x310 }; /* offsets in the page */

enum {
	ICR_NMI = 0x4400,
	ICR_INIT = 0x4500,
	ICR_STARTUP = 0x4600, /* with the page's number */
};

u32 apic_id(void);
/* Sends; with the interface that the APIC is in now (xAPIC or x2APIC). */
void apic_send(u32 to, u32 command);
/* At least about that long. */
void delay_us(unsigned us);
