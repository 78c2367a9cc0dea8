/* SPDX-License-Identifier: MIT */
/* Who handles the exits of which VM. */
#pragma once

#include "hv/cpu.h"
#include "hv/domain.h"
#include "hv/hvm.h"

extern const char *const exit_names[EXIT_REASONS];

/* exit.c: this CPU goes over to another vCPU. */
void cpu_switch(struct cpu *cpu, struct hv_vcpu *to);

/* primary.c: the primary VM. Makes domain 0, its tables and the BSP's vCPU, with the kernel loaded. */
struct boot_info;
struct memmap;
void primary_init(const struct boot_info *boot);
/* Each AP: its vCPU, which waits for a SIPI. */
void primary_cpu_init(struct cpu *cpu);
void primary_exit(struct cpu *cpu, struct hv_vcpu *v, struct hv_exit *exit);

/*
 * Maps addresses above RAM that nobody has used yet; the caller holds the primary
 * domain's lock. False: it is not one of those.
 */
bool primary_map_more(u64 gpa);

/* linux.c: loads the bzImage of module 0 into the primary VM's memory and sets its BSP's state by v's ops. 0 or -errno. */
int linux_load(const struct boot_info *boot, const struct memmap *map, struct hv_vcpu *v);

/* guest.c: all other VMs. Goes back to cpu->primary when the VMM is needed. */
void guest_exit(struct cpu *cpu, struct hv_vcpu *v, struct hv_exit *exit);

/* guest_memory.c: the primary VM touches a page that it has not. True: a guest's; enter again, as often as it takes. */
bool guest_page_touched(u64 gpa);

/* control.c: a call of the primary VM: reads and writes v->gpr. False: wrong key (then: #UD). */
bool control_call(struct cpu *cpu, struct hv_vcpu *v);
void control_init(hpa_t *page); /* makes the page that BAR 0 shows */

/* pci.c: config space of the primary VM, composed. True: handled, else do the real access. */
void pci_init(
	hpa_t rsdp); /* once all CPUs are known; finds ECAM (MCFG) and a free slot on bus 0 for our function */
bool pci_port_access(u16 port, unsigned size, bool in, u32 *value); /* 0xcf8 to 0xcff */
/* An access to our function's page in ECAM (not mapped) or a store to its BAR (read-only). False: neither. */
bool pci_memory_access(u64 gpa, unsigned size, bool write, u64 *value);
