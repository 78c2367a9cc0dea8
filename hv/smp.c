/* SPDX-License-Identifier: MIT */
/* All CPUs: found in the MADT, started one after the other through a page below 1 MiB. */
#include "hv/acpi.h"
#include "hv/apic.h"
#include "hv/boot.h"
#include "hv/console.h"
#include "hv/cpu.h"
#include "hv/exit.h"
#include "x86/insn.h"
#include "hv/page.h"
#include "lib/string.h"
#include "hv/trap.h"

enum {
	START_SIPIS = 50,
	START_WAIT_MS = 100,
};

extern u8 ap_trampoline[], ap_trampoline_end[], ap_cr3[], ap_gdtr[], ap_far[], ap_entry[], boot_gdtr[];
extern u64 ap_stack;
_Noreturn void ap_main(void);

struct cpu *cpus[CPU_MAX];
unsigned ncpus;

/* This CPU takes its place in the list. */
static void enlist(struct cpu *cpu)
{
	cpu->id = ncpus;
	cpu->apic_id = apic_id();
	cpus[ncpus] = cpu;
	ncpus++;
}

void cpu_init_boot(void)
{
	enlist(this_cpu());
	this_cpu()->online = true;
}

/* From boot.S: an AP, with its stack. */
void ap_main(void)
{
	struct cpu *cpu = this_cpu();
	int ret;

	trap_load();
	cpu->apic_id = apic_id();
	ret = hvm->cpu_on();
	if (ret)
		panic("CPU with APIC %u: %s cannot be enabled: %d", cpu->apic_id, hvm->name, ret);
	primary_cpu_init(cpu);
	__atomic_store_n(&cpu->online, true, __ATOMIC_RELEASE);
	cpu_run(cpu);
}

/* The code for page, with its addresses. */
static void put_trampoline(hpa_t page)
{
	u8 *to = (u8 *)page;

	memcpy(to, ap_trampoline, (size_t)(ap_trampoline_end - ap_trampoline));
	*(u64 *)(to + (ap_cr3 - ap_trampoline)) = read_cr3();
	memcpy(to + (ap_gdtr - ap_trampoline), boot_gdtr, sizeof(struct table_register));
	*(u32 *)(to + (ap_far - ap_trampoline)) = (u32)(u64)ap_entry;
}

static bool comes_online(const struct cpu *cpu, unsigned ms)
{
	for (; ms; ms--) {
		if (__atomic_load_n(&cpu->online, __ATOMIC_ACQUIRE))
			return true;
		delay_us(1000);
	}
	return false;
}

/*
 * A SIPI before the INIT has been taken is lost, and on a busy emulator or under a
 * slow SMI that takes its time: so it is sent again, which a CPU that runs ignores.
 */
static bool wake(const struct cpu *cpu, hpa_t page)
{
	apic_send(cpu->apic_id, ICR_INIT);
	delay_us(10000);
	for (unsigned i = 0; i < START_SIPIS; i++) {
		apic_send(cpu->apic_id, ICR_STARTUP | (u32)(page >> PAGE_SHIFT));
		if (comes_online(cpu, START_WAIT_MS))
			return true;
	}
	return false;
}

static void start(u32 id, hpa_t page)
{
	struct cpu *cpu = page_alloc_row(CPU_STACK / PAGE_SIZE);

	if (!cpu || ncpus == CPU_MAX)
		panic("no room for the CPU with APIC %u", id);
	cpu->id = ncpus;
	cpu->apic_id = id;
	cpus[ncpus] = cpu;
	ap_stack = (u64)cpu + CPU_STACK;
	if (!wake(cpu, page))
		panic("the CPU with APIC %u does not start", id);
	ncpus++;
}

/* An entry of the MADT; all begin alike. */
static bool usable(const struct madt_lapic *e, u32 *id)
{
	const struct madt_x2apic *x2 = (const void *)e;

	if (e->type == MADT_LAPIC && e->length >= sizeof(*e)) {
		*id = e->apic_id;
		return e->flags & MADT_ENABLED && *id != 0xff;
	}
	if (e->type == MADT_X2APIC && e->length >= sizeof(*x2)) {
		*id = x2->apic_id;
		return x2->flags & MADT_ENABLED && *id != 0xffffffff;
	}
	return false;
}

/* A page of RAM that a start-up IPI can name. Its contents come back. */
static hpa_t find_page(const struct memmap *map)
{
	for (hpa_t page = 0x9f000; page >= 0x1000; page -= PAGE_SIZE)
		if (memmap_is(map, page, PAGE_SIZE, MEM_RAM))
			return page;
	panic("no RAM below 1 MiB for the start of CPUs");
}

void cpus_start(hpa_t rsdp, const struct memmap *map)
{
	const struct acpi_madt *madt = acpi_table(rsdp, "APIC");
	hpa_t page = find_page(map);
	void *saved = page_alloc();
	u32 id;

	if (!madt || !saved) {
		print("mullion: no MADT: one CPU\n");
		return;
	}
	memcpy(saved, (void *)page, PAGE_SIZE);
	put_trampoline(page);
	for (u32 at = sizeof(*madt); at + 2 <= madt->header.length;) {
		const struct madt_lapic *e = (void *)((u8 *)madt + at);

		if (usable(e, &id) && id != this_cpu()->apic_id)
			start(id, page);
		at += MAX(e->length, 2);
	}
	memcpy((void *)page, saved, PAGE_SIZE);
	page_free(saved);
	print("mullion: %u CPU%s\n", ncpus, ncpus > 1 ? "s" : "");
}
