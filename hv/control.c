/* SPDX-License-Identifier: MIT */
/* The calls of the primary VM: the key, the table of calls, the page that BAR 0 shows, counters. */
#include "hv/boot.h"
#include "hv/console.h"
#include "hv/exit.h"
#include "hv/guest.h"
#include "x86/insn.h"
#include "hv/page.h"
#include "lib/string.h"
#include "x86/state.h"

static struct control_page *control_page;
static u64 key; /* ours: nobody else can write it */

/* Without RDRAND: what nobody can know from outside, the time of this boot in cycles, mixed. */
static u64 random_u64(void)
{
	u64 value = rdtsc() ^ (u64)&key;
	u8 ok = 0;

	if (cpuid(1, 0).ecx & BIT(30)) {
		u64 hardware = 0;

		for (unsigned i = 0; i < 10 && !ok; i++)
			__asm__ volatile("rdrand %0; setc %1" : "=r"(hardware), "=q"(ok) : : "cc");
		value ^= hardware;
	}
	value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9;
	value = (value ^ value >> 27) * 0x94d049bb133111eb;
	return value ^ value >> 31;
}

void control_init(hpa_t *page)
{
	control_page = page_alloc();
	if (!control_page)
		panic("no page for the control interface");
	do
		key = random_u64();
	while (!key);
	control_page->magic = CONTROL_MAGIC;
	control_page->version = CONTROL_VERSION;
	control_page->ncpus = ncpus;
	control_page->key = key;
	control_page->kept_bytes = image_end - image_start;
	control_page->free_bytes = page_free_bytes();
	control_page->max_vms = DOMAIN_MAX;
	control_page->max_vcpus = VCPU_MAX;
	copy_string(control_page->engine, hvm->name, sizeof(control_page->engine));
	*page = (hpa_t)control_page;
}

/* ---- calls without a VM ---- */
static i64 call_version(const u64 arg[4])
{
	(void)arg;
	return CONTROL_VERSION;
}

static void add_cpu(struct control_stats *s, const struct cpu *cpu)
{
	for (unsigned i = 0; i < EXIT_REASONS; i++) {
		s->primary[i] += cpu->exits[0][i];
		s->guests[i] += cpu->exits[1][i];
	}
	for (unsigned i = 0; i < CALL_COUNT; i++)
		s->calls[i] += cpu->calls[i];
}

static i64 call_stats(const u64 arg[4])
{
	struct control_stats *s = (struct control_stats *)arg[0];

	if (!page_usable(arg[0]))
		return -CONTROL_BAD_ADDRESS;
	memset(s, 0, sizeof(*s));
	for (unsigned i = 0; i < ncpus; i++)
		add_cpu(s, cpus[i]);
	for (unsigned i = 0; i < DOMAIN_MAX; i++) {
		if (!domains[i].handle)
			continue;
		s->vms++;
		s->vcpus += domains[i].nvcpus;
		s->pages_mapped += domains[i].pages;
		s->pages_private += domains[i].private_pages;
	}
	for (unsigned i = 0; i < EXIT_REASONS; i++)
		copy_string(s->names[i], exit_names[i], sizeof(s->names[i]));
	return 0;
}
_Static_assert(sizeof(struct control_stats) <= PAGE_SIZE, "the counters fit a page");

/* ---- all calls ---- */
static const struct {
	call_function run;
	bool structure; /* excludes the others of this kind */
} calls[CALL_COUNT] = {
	[CALL_VERSION] = {call_version, false},
	[CALL_VM_CREATE] = {call_vm_create, true},
	[CALL_VM_DESTROY] = {call_vm_destroy, true},
	[CALL_VM_MAP] = {call_vm_map, true},
	[CALL_VM_UNMAP] = {call_vm_unmap, true},
	[CALL_VM_SHARE] = {call_vm_share, true},
	[CALL_VM_CPUID] = {call_vm_cpuid, true},
	[CALL_VCPU_CREATE] = {call_vcpu_create, true},
	[CALL_VCPU_GET] = {call_vcpu_get, false},
	[CALL_VCPU_SET] = {call_vcpu_set, false},
	[CALL_STATS] = {call_stats, true},
};

static i64 structure_call(u64 call, const u64 arg[4])
{
	i64 result;

	if (!structure_try())
		return -CONTROL_AGAIN;
	result = calls[call].run(arg);
	control_page->free_bytes = page_free_bytes();
	structure_release();
	return result;
}

bool control_call(struct cpu *cpu, struct hv_vcpu *v)
{
	u64 *gpr = v->gpr, call = gpr[RAX];
	u64 arg[4] = {gpr[RSI], gpr[RDX], gpr[RCX], gpr[R8]};

	if (unlikely(gpr[RDI] != key))
		return false;
	if (unlikely(call >= CALL_COUNT)) {
		gpr[RAX] = -CONTROL_BAD_CALL;
		return true;
	}
	cpu->calls[call]++;
	if (likely(call == CALL_VCPU_RUN))
		gpr[RAX] = call_vcpu_run(cpu, arg[0]);
	else
		gpr[RAX] = calls[call].structure ? structure_call(call, arg) : calls[call].run(arg);
	return true;
}
