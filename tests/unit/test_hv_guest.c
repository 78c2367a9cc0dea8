/* SPDX-License-Identifier: MIT */
/* Calls, owners of pages, and what becomes of a guest's exits: the hypervisor's code over faked hardware. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>

#include <cmocka.h>

#include "hv_fake.h"
#include "hv/guest.h"
#include "hv/xstate.h"
#include "lib/string.h"
#include "x86/state.h"

u8 image_start[1], image_end[1];
const char *const exit_names[EXIT_REASONS];

static struct cpu cpu;
static struct hv_vcpu primary;
static hpa_t control_page;
static struct {
	unsigned switches, skipped, entered;
	u32 injected;
	u64 rip;
	bool refuse_state;
} hw;

/* ---- hardware ---- */
static void fake_skip(struct hv_vcpu *v, unsigned length)
{
	(void)v;
	hw.skipped += length;
	hw.rip += length;
}

static bool fake_inject(struct hv_vcpu *v, u32 event, u32 error_code)
{
	(void)v;
	(void)error_code;
	hw.injected = event;
	return true;
}

static void fake_record_in(struct hv_vcpu *v, struct control_record *r)
{
	(void)v;
	hw.entered++;
	hw.rip = r->rip;
	r->inject = 0;
}

static void fake_record_out(struct hv_vcpu *v, struct control_record *r)
{
	(void)v;
	r->rip = hw.rip;
}

static void fake_get(struct hv_vcpu *v, struct control_state *s, u32 mask)
{
	(void)v;
	s->rip = mask;
}

static const struct hvm_ops ops = {
	.name = "fake",
	.get = fake_get,
	.skip = fake_skip,
	.inject = fake_inject,
	.record_in = fake_record_in,
	.record_out = fake_record_out,
	.pte = fake_pte,
};
const struct hvm_ops *hvm = &ops;

void cpu_switch(struct cpu *c, struct hv_vcpu *to)
{
	hw.switches++;
	c->current = to;
}

int vcpu_make(struct hv_vcpu *v)
{
	static u8 xsave[PAGE_SIZE];

	v->xsave = memset(xsave, 0x5a, PAGE_SIZE);
	v->hw = page_alloc();
	return v->hw ? 0 : -1;
}

void vcpu_free(struct hv_vcpu *v)
{
	page_free(v->hw);
}

int vcpu_set(struct hv_vcpu *v, const struct control_state *s, u32 mask)
{
	(void)v;
	(void)s;
	(void)mask;
	return hw.refuse_state ? -1 : 0;
}

void xstate_import(void *area, const void *image)
{
	(void)area;
	(void)image;
}

void copy_string(char *to, const char *from, size_t size)
{
	strncpy(to, from ? from : "", size - 1);
}

/* ---- the VMM ---- */
#define PAGE_AT(n) (RAM_BASE + (u64)(n) * PAGE_SIZE) /* small ones from here, large ones from 4 MiB */
#define LIST PAGE_AT(0)
#define LARGE_AT(n) (RAM_BASE + MIB(4) + (u64)(n) * MIB(2))

static i64 call(u64 nr, u64 a, u64 b, u64 c, u64 d)
{
	primary.gpr[RAX] = nr;
	primary.gpr[RDI] = ((struct control_page *)control_page)->key;
	primary.gpr[RSI] = a;
	primary.gpr[RDX] = b;
	primary.gpr[RCX] = c;
	primary.gpr[R8] = d;
	assert_true(control_call(&cpu, &primary));
	return primary.gpr[RAX];
}

static i64 map(i64 vm, u64 gpa, u64 frame)
{
	*(u64 *)LIST = frame;
	return call(CALL_VM_MAP, vm, gpa, LIST, 1);
}

static i64 create(u64 flags)
{
	i64 vm = call(CALL_VM_CREATE, flags, 0, 0, 0);

	assert_true(vm > 0);
	return vm;
}

static i64 create_vcpu(i64 vm)
{
	return call(CALL_VCPU_CREATE, vm, PAGE_AT(8), PAGE_AT(9), 0);
}

static struct control_vcpu *vcpu_page(void)
{
	return (struct control_vcpu *)PAGE_AT(8);
}

static void destroy(i64 vm)
{
	i64 ret;

	do
		ret = call(CALL_VM_DESTROY, vm, 0, 0, 0);
	while (ret == -CONTROL_AGAIN);
	assert_int_equal(ret, 0);
}

static unsigned primary_flags(u64 pa)
{
	return entry_flags(&primary_domain, pa);
}

static int setup(void **state)
{
	(void)state;
	memset(&hw, 0, sizeof(hw));
	memset(&cpu, 0, sizeof(cpu));
	primary.gpr = primary.gpr_store;
	primary.domain = &primary_domain;
	cpu.primary = cpu.current = &primary;
	cpus[0] = &cpu;
	pages_left = UINT32_MAX;
	return 0;
}

/* Every test gives everything back. */
static int teardown(void **state)
{
	(void)state;
	domain_flush(&primary_domain);
	assert_int_equal(pages_out, 3); /* the control page, two tables of the primary VM */
	for (unsigned i = 0; i < DOMAIN_MAX; i++)
		assert_int_equal(domains[i].handle, 0);
	assert_int_equal(primary_flags(RAM_BASE), NPT_RWX);
	assert_true(structure_try());
	structure_release();
	return 0;
}

/* ---- calls ---- */
static void needs_the_key(void **state)
{
	(void)state;
	primary.gpr[RAX] = CALL_VERSION;
	primary.gpr[RDI] = ((struct control_page *)control_page)->key ^ 1;
	assert_false(control_call(&cpu, &primary));
	assert_int_equal(primary.gpr[RAX], CALL_VERSION);
	assert_int_equal(call(CALL_VERSION, 0, 0, 0, 0), CONTROL_VERSION);
	assert_int_equal(call(CALL_COUNT, 0, 0, 0, 0), -CONTROL_BAD_CALL);
	assert_int_equal(call(UINT64_MAX, 0, 0, 0, 0), -CONTROL_BAD_CALL);
	assert_int_equal(cpu.calls[CALL_VERSION], 1);
}

static void waits_for_nobody(void **state)
{
	i64 vm = create(0);

	(void)state;
	assert_true(structure_try());
	for (u64 nr = CALL_VM_CREATE; nr <= CALL_VCPU_CREATE; nr++)
		assert_int_equal(call(nr, vm, 0, 0, 0), -CONTROL_AGAIN);
	assert_int_equal(call(CALL_STATS, LIST, 0, 0, 0), -CONTROL_AGAIN);
	assert_true(guest_page_touched(PAGE_AT(1)));
	structure_release();
	destroy(vm);
}

static void handles_are_never_reused(void **state)
{
	i64 first = create(0), second;

	(void)state;
	destroy(first);
	second = create(0);
	assert_int_not_equal(first, second);
	assert_int_equal(call(CALL_VM_DESTROY, first, 0, 0, 0), -CONTROL_BAD_HANDLE);
	assert_int_equal(call(CALL_VM_DESTROY, second | 1ll << 32, 0, 0, 0), -CONTROL_BAD_HANDLE);
	destroy(second);
}

/* ---- memory ---- */
static void maps_only_ram_that_is_free(void **state)
{
	i64 vm = create(0);

	(void)state;
	assert_int_equal(map(vm, 0, RAM_BASE - PAGE_SIZE), -CONTROL_BAD_ADDRESS);
	assert_int_equal(map(vm, 0, RAM_BASE + RAM_SIZE), -CONTROL_BAD_ADDRESS);
	assert_int_equal(map(vm, 0, (RAM_BASE + RAM_SIZE - MIB(1)) | FRAME_2M), -CONTROL_BAD_ADDRESS);
	assert_int_equal(map(vm, 0, ~0xfffull), -CONTROL_BAD_ADDRESS);
	assert_int_equal(map(vm, 1, PAGE_AT(1)), -CONTROL_BAD_ADDRESS);
	assert_int_equal(map(vm, 0x1000, LARGE_AT(0) | FRAME_2M), -CONTROL_BAD_ADDRESS);
	assert_int_equal(map(vm, 0, PAGE_AT(1) | 4), -CONTROL_BAD_ARGUMENT);
	assert_int_equal(map(vm, 0, PAGE_AT(1) | FRAME_WRITE), 0);
	assert_int_equal(map(vm, 0, PAGE_AT(2)), -CONTROL_BAD_ADDRESS); /* taken */
	assert_int_equal(map(vm, 0x1000, PAGE_AT(1)), -CONTROL_BAD_ADDRESS); /* an alias */
	assert_int_equal(map(vm, 0x1000, PAGE_AT(2)), 0);
	assert_int_equal(entry_flags(domain_find(vm), 0), NPT_RWX);
	assert_int_equal(entry_flags(domain_find(vm), 0x1000), NPT_READ | NPT_EXEC);
	assert_int_equal(primary_flags(PAGE_AT(1)), NPT_RWX | NPT_OWNER(1));
	assert_int_equal(domain_find(vm)->pages, 2);
	destroy(vm);
	assert_int_equal(primary_flags(PAGE_AT(1)), NPT_RWX);
}

static void maps_all_or_nothing(void **state)
{
	u64 *list = (u64 *)LIST;
	i64 vm = create(VM_PRIVATE);

	(void)state;
	*(u64 *)PAGE_AT(1) = 77;
	list[0] = list[1] = PAGE_AT(1);
	assert_int_equal(call(CALL_VM_MAP, vm, 0, LIST, 2), -CONTROL_BAD_ADDRESS);
	list[1] = PAGE_AT(2) | 8;
	assert_int_equal(call(CALL_VM_MAP, vm, 0, LIST, 2), -CONTROL_BAD_ARGUMENT);
	assert_int_equal(primary_flags(PAGE_AT(1)), NPT_RWX);
	assert_int_equal(*(u64 *)PAGE_AT(1), 77); /* the VM has never seen it */
	list[1] = PAGE_AT(2);
	for (pages_left = 0; pages_left < 5; pages_left++) { /* wherever the pool ends */
		unsigned left = pages_left;

		assert_int_equal(call(CALL_VM_MAP, vm, GIB(512) - PAGE_SIZE, LIST, 2), -CONTROL_NO_MEMORY);
		assert_int_equal(domain_find(vm)->pages, 0);
		assert_int_equal(primary_flags(PAGE_AT(1)), NPT_RWX);
		destroy(vm);
		pages_left = UINT32_MAX;
		vm = create(VM_PRIVATE);
		pages_left = left;
	}
	pages_left = UINT32_MAX;
	destroy(vm);
}

static void private_pages_are_scrubbed(void **state)
{
	i64 vm = create(VM_PRIVATE);
	volatile u64 *secret = (u64 *)PAGE_AT(1), *shared = (u64 *)PAGE_AT(2), *kept = (u64 *)PAGE_AT(3);

	(void)state;
	map(vm, 0, PAGE_AT(1));
	map(vm, 0x1000, PAGE_AT(2));
	map(vm, 0x2000, PAGE_AT(3));
	assert_int_equal(primary_flags(PAGE_AT(1)), NPT_OWNER(1));
	*secret = *shared = *kept = 42;
	assert_int_equal(call(CALL_VM_SHARE, vm, 0x1000, 1, 0), 0);
	assert_int_equal(primary_flags(PAGE_AT(2)), NPT_RWX | NPT_OWNER(1));
	assert_int_equal(domain_find(vm)->private_pages, 2);
	assert_int_equal(call(CALL_VM_UNMAP, vm, 0, 2, 0), 0);
	assert_int_equal(*secret, 0);
	assert_int_equal(*shared, 42);
	assert_int_equal(*kept, 42);
	destroy(vm);
	assert_int_equal(*kept, 0);
}

static void works_in_steps(void **state)
{
	i64 vm = create(VM_PRIVATE);
	unsigned steps = 1;

	(void)state;
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(map(vm, i * GIB(1), LARGE_AT(i) | FRAME_2M), 0);
	assert_int_equal(call(CALL_VM_UNMAP, vm, 0x1000, 1, 0), -CONTROL_BAD_ADDRESS); /* a part */
	while (call(CALL_VM_UNMAP, vm, 0, GIB(4) / PAGE_SIZE, 0) == -CONTROL_AGAIN)
		steps++;
	assert_in_range(steps, 4, 5);
	assert_int_equal(domain_find(vm)->pages, 4 * 512);
	steps = 1;
	while (call(CALL_VM_DESTROY, vm, 0, 0, 0) == -CONTROL_AGAIN)
		steps++;
	assert_in_range(steps, 4, 6);
}

static void a_lost_page_ends_its_vm(void **state)
{
	i64 old = create(VM_PRIVATE), new, vcpu = create_vcpu(old);
	i64 ret;

	(void)state;
	map(old, 0, LARGE_AT(0) | FRAME_2M);
	*(u64 *)LARGE_AT(0) = 42;
	new = create(0);
	do
		ret = map(new, 0, LARGE_AT(0) | FRAME_2M);
	while (ret == -CONTROL_AGAIN);
	assert_int_equal(ret, 0);
	assert_int_equal(*(u64 *)LARGE_AT(0), 0);
	assert_true(call(CALL_VCPU_RUN, vcpu, 0, 0, 0) != REASON_INTERRUPTED);
	assert_int_equal(hw.entered, 0);
	assert_int_equal(primary_flags(LARGE_AT(0)), NPT_RWX | NPT_OWNER(2));
	if (domain_find(old))
		destroy(old);
	destroy(new);
}

static void a_touched_page_ends_its_vm(void **state)
{
	i64 vm = create(VM_PRIVATE);

	(void)state;
	assert_false(guest_page_touched(PAGE_AT(1))); /* nobody's */
	for (unsigned i = 0; i < 3; i++)
		map(vm, i * MIB(2), LARGE_AT(i) | FRAME_2M);
	*(u64 *)LARGE_AT(2) = 42;
	assert_true(guest_page_touched(LARGE_AT(2) + 0x5000));
	assert_int_equal(*(u64 *)LARGE_AT(2), 0);
	assert_int_equal(primary_flags(LARGE_AT(2)), NPT_RWX);
	assert_int_equal(map(vm, GIB(1), PAGE_AT(1)), -CONTROL_BAD_STATE);
	*(u64 *)LARGE_AT(2) = 43; /* the primary VM's again: the rest of the end leaves it alone */
	destroy(vm);
	assert_int_equal(*(u64 *)LARGE_AT(2), 43);
}

/* ---- vCPUs ---- */
static struct hv_exit exit_of(enum exit_reason reason, u32 length)
{
	return (struct hv_exit){.reason = reason, .length = length, .raw = 0x1234};
}

static i64 leave_by(struct hv_exit exit)
{
	struct hv_vcpu *v = cpu.current;

	assert_ptr_not_equal(v, &primary);
	guest_exit(&cpu, v, &exit);
	return cpu.current == &primary ? (i64)primary.gpr[RAX] : -1;
}

static void runs_and_comes_back(void **state)
{
	i64 vm = create(0), vcpu = create_vcpu(vm);
	struct control_record *r = &vcpu_page()->record;
	struct hv_exit io = exit_of(EXIT_IO, 2);

	(void)state;
	assert_true(vcpu > 0);
	r->rip = 0x1000;
	call(CALL_VCPU_RUN, vcpu, 0, 0, 0);
	assert_ptr_not_equal(cpu.current, &primary);
	/* it runs: nobody else may have it */
	assert_int_equal(call(CALL_VCPU_RUN, vcpu, 0, 0, 0), -CONTROL_BAD_STATE);
	assert_int_equal(call(CALL_VCPU_GET, vcpu, 0, 0, 0), -CONTROL_BAD_STATE);
	assert_int_equal(call(CALL_VM_DESTROY, vm, 0, 0, 0), -CONTROL_AGAIN);
	io.io.port = 0x70;
	io.io.size = 1;
	assert_int_equal(leave_by(io), REASON_IO);
	assert_int_equal(r->reason, REASON_IO);
	assert_int_equal(r->io.port, 0x70);
	assert_int_equal(r->next_rip, 0x1002);
	assert_int_equal(call(CALL_VCPU_RUN, vcpu, 0, 0, 0), REASON_ENDED);
	destroy(vm);
	assert_int_equal(call(CALL_VCPU_RUN, vcpu, 0, 0, 0), -CONTROL_BAD_HANDLE);
}

static void exits_have_reasons(void **state)
{
	static const struct {
		enum exit_reason exit;
		i64 reason;
	} table[] = {
		{EXIT_INTR, REASON_INTERRUPTED}, {EXIT_NMI, REASON_INTERRUPTED}, {EXIT_INIT, REASON_INTERRUPTED},
		{EXIT_CPUID, REASON_CPUID}, {EXIT_RDMSR, REASON_MSR}, {EXIT_WRMSR, REASON_MSR}, {EXIT_NPF, REASON_MMIO},
		{EXIT_HLT, REASON_HLT}, {EXIT_CR, REASON_CR}, {EXIT_XSETBV, REASON_XSETBV},
		{EXIT_INSTRUCTION, REASON_INSTRUCTION}, {EXIT_WINDOW, REASON_WINDOW}, {EXIT_SHUTDOWN, REASON_SHUTDOWN},
		{EXIT_FAILED, REASON_ENTRY_FAILED}, {EXIT_OTHER, REASON_ENTRY_FAILED},
		{EXIT_CALL, -1}, {EXIT_VIRTUALIZATION, -1},
	};
	i64 vm = create(0), vcpu = create_vcpu(vm);

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(table); i++) {
		struct hv_vcpu *v;

		call(CALL_VCPU_RUN, vcpu, 0, 0, 0);
		v = cpu.current;
		assert_int_equal(leave_by(exit_of(table[i].exit, 2)), table[i].reason);
		if (table[i].reason < 0) {
			assert_ptr_equal(cpu.current, v);
			assert_int_equal(hw.injected, 0x80000306); /* #UD */
			leave_by(exit_of(EXIT_INTR, 0));
		}
	}
	destroy(vm);
}

static void hlt_is_behind(void **state)
{
	i64 vm = create(0), vcpu = create_vcpu(vm);
	struct control_record *r = &vcpu_page()->record;

	(void)state;
	r->rip = 0x1000;
	call(CALL_VCPU_RUN, vcpu, 0, 0, 0);
	assert_int_equal(leave_by(exit_of(EXIT_HLT, 1)), REASON_HLT);
	assert_int_equal(r->rip, 0x1001);
	assert_int_equal(r->next_rip, 0x1001);
	destroy(vm);
}

static void cpuid_from_the_table(void **state)
{
	struct control_cpuid *table = (struct control_cpuid *)PAGE_AT(4);
	i64 vm = create(0), vcpu;
	u64 *gpr = vcpu_page()->gpr;

	(void)state;
	table[0] = (struct control_cpuid){.leaf = 0x80000001, .any_subleaf = 1, .subleaf = 99, .eax = 1};
	table[1] = (struct control_cpuid){.leaf = 7, .subleaf = 1, .eax = 2};
	table[2] = (struct control_cpuid){.leaf = 7, .subleaf = 0, .eax = 3};
	table[3] = (struct control_cpuid){.leaf = 0, .any_subleaf = 1, .eax = 4, .ebx = 5, .ecx = 6, .edx = 7};
	assert_int_equal(call(CALL_VM_CPUID, vm, PAGE_AT(4), 129, 0), -CONTROL_BAD_ARGUMENT);
	assert_int_equal(call(CALL_VM_CPUID, vm, PAGE_AT(4), 4, 0), 0);
	assert_int_equal(call(CALL_VM_CPUID, vm, PAGE_AT(4), 4, 0), -CONTROL_BAD_STATE);
	vcpu = create_vcpu(vm);
	call(CALL_VCPU_RUN, vcpu, 0, 0, 0);
	static const u32 hits[][3] = {{0x80000001, 5, 1}, {0x80000001, 0, 1}, {7, 1, 2}, {7, 0, 3}, {0, ~0u, 4}};
	for (unsigned i = 0; i < ARRAY_SIZE(hits); i++) {
		gpr[RAX] = hits[i][0] | BIT(40); /* the upper halves do not matter */
		gpr[RCX] = hits[i][1] | BIT(50);
		assert_int_equal(leave_by(exit_of(EXIT_CPUID, 2)), -1);
		assert_int_equal(gpr[RAX], hits[i][2]);
	}
	assert_int_equal(gpr[RBX] << 8 | gpr[RCX] << 4 | gpr[RDX], 0x567);
	assert_int_equal(hw.skipped, 10);
	static const u32 misses[][2] = {{7, 2}, {1, 0}, {0x80000000, 0}, {0x80000002, 0}, {~0u, 0}};
	for (unsigned i = 0; i < ARRAY_SIZE(misses); i++) {
		gpr[RAX] = misses[i][0];
		gpr[RCX] = misses[i][1];
		assert_int_equal(leave_by(exit_of(EXIT_CPUID, 2)), REASON_CPUID);
		assert_int_equal(gpr[RAX], misses[i][0]);
		call(CALL_VCPU_RUN, vcpu, 0, 0, 0);
	}
	leave_by(exit_of(EXIT_INTR, 0));
	destroy(vm);
}

static void events_are_checked(void **state)
{
	static const u32 bad[] = {0x80000100, 0x80000320, 0x80000302, 0x80000203, 0x80000a02, 0x80000820, 0x80001020,
		0xc0000020, 0x80000420};
	static const u32 good[] = {0, 0x20, 0x80000020, 0x800000ff, 0x80000202, 0x80000306, 0x80000b0e};
	i64 vm = create(0), vcpu = create_vcpu(vm);
	struct control_record *r = &vcpu_page()->record;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		r->inject = bad[i];
		assert_int_equal(call(CALL_VCPU_RUN, vcpu, 0, 0, 0), -CONTROL_BAD_ARGUMENT);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(good); i++) {
		r->inject = good[i];
		call(CALL_VCPU_RUN, vcpu, 0, 0, 0);
		assert_int_equal(leave_by(exit_of(EXIT_INTR, 0)), REASON_INTERRUPTED);
	}
	r->kick = 1;
	hw.entered = 0;
	assert_int_equal(call(CALL_VCPU_RUN, vcpu, 0, 0, 0), REASON_INTERRUPTED);
	assert_int_equal(hw.entered, 0);
	destroy(vm);
}

static void vcpu_pages_have_an_owner(void **state)
{
	i64 vm = create(0), vcpu = create_vcpu(vm);

	(void)state;
	assert_int_equal(create_vcpu(vm), -CONTROL_BAD_ADDRESS);
	assert_int_equal(map(vm, 0, PAGE_AT(8)), -CONTROL_BAD_ADDRESS);
	assert_int_equal(call(CALL_VCPU_CREATE, vm, PAGE_AT(5), PAGE_AT(5), 0), -CONTROL_BAD_ADDRESS);
	assert_int_equal(call(CALL_VCPU_CREATE, vm, PAGE_AT(5), PAGE_AT(5) + 8, 0), -CONTROL_BAD_ADDRESS);
	assert_int_equal(primary_flags(PAGE_AT(5)), NPT_RWX);
	hw.refuse_state = true;
	assert_int_equal(call(CALL_VCPU_SET, vcpu, STATE_ALL, 0, 0), -CONTROL_BAD_STATE);
	hw.refuse_state = false;
	assert_int_equal(call(CALL_VCPU_SET, vcpu, STATE_ALL, 0, 0), 0);
	assert_int_equal(call(CALL_VCPU_SET, vcpu, STATE_ALL + 1, 0, 0), -CONTROL_BAD_ARGUMENT);
	assert_int_equal(call(CALL_VCPU_GET, vcpu, STATE_XSAVE, 0, 0), 0);
	assert_int_equal(*(u8 *)PAGE_AT(9), 0x5a);
	destroy(vm);
	assert_int_equal(primary_flags(PAGE_AT(8)), NPT_RWX);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(needs_the_key),
		TEST(waits_for_nobody),
		TEST(handles_are_never_reused),
		TEST(maps_only_ram_that_is_free),
		TEST(maps_all_or_nothing),
		TEST(private_pages_are_scrubbed),
		TEST(works_in_steps),
		TEST(a_lost_page_ends_its_vm),
		TEST(a_touched_page_ends_its_vm),
		TEST(runs_and_comes_back),
		TEST(exits_have_reasons),
		TEST(hlt_is_behind),
		TEST(cpuid_from_the_table),
		TEST(events_are_checked),
		TEST(vcpu_pages_have_an_owner),
	};

	machine_memory();
	control_init(&control_page);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
