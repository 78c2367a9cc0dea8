/* SPDX-License-Identifier: MIT */
/* Stands in for parts that are on their way; each goes when its part comes. */
#include "hv/console.h"
#include "hv/exit.h"

__attribute__((weak)) void guest_exit(struct cpu *cpu, struct hv_vcpu *v, struct hv_exit *exit)
{
	(void)cpu;
	(void)v;
	(void)exit;
}

__attribute__((weak)) bool guest_page_touched(u64 gpa)
{
	(void)gpa;
	return false;
}

__attribute__((weak)) bool control_call(struct cpu *cpu, struct hv_vcpu *v)
{
	(void)cpu;
	(void)v;
	return false;
}

__attribute__((weak)) void control_init(hpa_t *page)
{
	*page = 0;
}

__attribute__((weak)) void pci_init(hpa_t rsdp)
{
	(void)rsdp;
}

__attribute__((weak)) bool pci_port_access(u16 port, unsigned size, bool in, u32 *value)
{
	(void)port;
	(void)size;
	(void)in;
	(void)value;
	return false;
}

__attribute__((weak)) bool pci_memory_access(u64 gpa, unsigned size, bool write, u64 *value)
{
	(void)gpa;
	(void)size;
	(void)write;
	(void)value;
	return false;
}
