/* SPDX-License-Identifier: MIT */
/* Stands in for parts that are on their way; each goes when its part comes. */
#include "hv/console.h"
#include "hv/boot.h"
#include "hv/exit.h"

static bool present(void)
{
	return true;
}

static int cpu_on(void)
{
	return 0;
}

__attribute__((weak)) const struct hvm_ops svm_ops = {.name = "svm", .present = present, .cpu_on = cpu_on};

__attribute__((weak)) void primary_init(const struct boot_info *boot)
{
	struct hv_vcpu v = {0};

	v.gpr = v.gpr_store;
	print("linux_load %d\n", linux_load(boot, &boot->map, &v));
}

__attribute__((weak)) void vcpu_reset_state(struct control_state *s)
{
	(void)s;
}

__attribute__((weak)) int vcpu_set(struct hv_vcpu *v, const struct control_state *s, u32 mask)
{
	print("rip %lx\n", s->rip);
	return v && mask ? 0 : 1;
}

__attribute__((weak)) void primary_cpu_init(struct cpu *cpu)
{
	(void)cpu;
}

__attribute__((weak)) void cpu_run(struct cpu *cpu)
{
	while (cpu->id)
		__asm__ volatile("hlt");
	panic("no svm_ops yet");
}
