/* SPDX-License-Identifier: MIT */
/*
 * The metal engine's loop and exits, with a hypervisor that only pretends: each
 * run takes the next step of a script, which says what the guest has done.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "engine/metal/metal.h"

enum {
	RAM_SIZE = 0x10000,
	TABLES = 0x1000, /* 1:1 by one page of 1 GiB, for user and kernel */
	CODE = 0x4000,
	MMIO = 0x20000,
	PORT = 0x60,
	STEPS_MAX = 8,
};

static struct vm vm;
static struct metal_vm mv;
static struct metal_vcpu *m;
static struct control_vcpu *page;
static u8 ram[RAM_SIZE] __attribute__((aligned(4096)));
static struct region ram_region = {
	.name = "ram", .size = RAM_SIZE, .host = ram, .direct = DIRECT_READ | DIRECT_WRITE};

/* ---- the hypervisor ---- */

static void (*script[STEPS_MAX])(void);
static unsigned step, sets;
static u32 injected[STEPS_MAX], windows[STEPS_MAX]; /* as each entry found them */
static struct control_state set_state;
static i64 run_error;

static i64 fake_call(u64 call, u64 key, u64 a, u64 b, u64 c, u64 d)
{
	struct control_record *r = &page->record;

	(void)c;
	(void)d;
	assert_int_equal(key, 77);
	assert_int_equal(a, 5);
	switch (call) {
	case CALL_VCPU_RUN:
		if (run_error)
			return run_error;
		if (r->kick)
			return r->reason = REASON_INTERRUPTED;
		assert_true(step < STEPS_MAX && script[step]);
		injected[step] = r->inject;
		windows[step] = r->want_window;
		r->inject = 0;
		r->next_rip = 0;
		r->instruction_length = 0;
		script[step++]();
		return r->reason;
	case CALL_VCPU_SET:
		sets++;
		set_state = page->state;
		if (b & STATE_CONTROL) {
			r->cr0 = set_state.cr0;
			r->efer = set_state.efer;
		}
		return 0;
	case CALL_VCPU_GET:
		return 0;
	}
	fail();
	return 0;
}

/* ---- the interrupt controller and the devices ---- */

static int pending = -1;
static u64 tpr, msr_written;

static int intc_peek(struct vcpu *vcpu)
{
	(void)vcpu;
	return pending;
}

static int intc_ack(struct vcpu *vcpu)
{
	int vector = pending;

	(void)vcpu;
	pending = -1;
	return vector;
}

static u64 intc_tpr(struct vcpu *vcpu)
{
	(void)vcpu;
	return tpr;
}

static void intc_set_tpr(struct vcpu *vcpu, u64 value)
{
	(void)vcpu;
	tpr = value;
}

static int intc_rdmsr(struct vcpu *vcpu, u32 index, u64 *value)
{
	(void)vcpu;
	*value = 0x1122334455667788;
	return index == 0x802 ? 0 : -1;
}

static int intc_wrmsr(struct vcpu *vcpu, u32 index, u64 value)
{
	(void)vcpu;
	msr_written = value;
	return index == 0x80b ? 0 : -1;
}

static const struct intc_ops intc = {intc_peek, intc_ack, intc_tpr, intc_set_tpr, intc_rdmsr, intc_wrmsr};

static u64 dev_value, dev_writes, dev_offset;

static u64 dev_read(struct device *dev, u64 offset, unsigned size)
{
	(void)dev;
	(void)size;
	dev_offset = offset;
	return dev_value;
}

static void dev_write(struct device *dev, u64 offset, unsigned size, u64 value)
{
	(void)dev;
	(void)size;
	dev_offset = offset;
	dev_value = value;
	dev_writes++;
}

static const struct region_ops dev_ops = {dev_read, dev_write, 1, 8};
static pthread_mutex_t dev_lock = PTHREAD_MUTEX_INITIALIZER;
static struct device dev = {.lock = &dev_lock};
static struct region mmio_region = {
	.name = "mmio", .base = MMIO, .size = 0x1000, .ops = &dev_ops, .dev = &dev};
static struct region port_region = {.name = "port", .base = PORT, .size = 8, .ops = &dev_ops, .dev = &dev};

/* ---- the guest ---- */

static void put64(u64 gpa, u64 value)
{
	memcpy(ram + gpa, &value, 8);
}

static void set_code(u64 gpa, const char *bytes, unsigned n)
{
	memcpy(ram + gpa, bytes, n);
	page->record.rip = gpa;
}

#define CODE_AT(gpa, bytes) set_code(gpa, bytes, sizeof(bytes) - 1)

/* 64-bit kernel code with interrupts on. */
static void long_mode(void)
{
	struct control_record *r = &page->record;

	r->cr0 = page->state.cr0 = CR0_PE | CR0_PG | CR0_WP;
	r->cr3 = page->state.cr3 = TABLES;
	r->cr4 = page->state.cr4 = CR4_PAE;
	r->efer = page->state.efer = EFER_LMA | EFER_LME;
	r->cs_attr = 0x29b;
	r->rflags = FL_ONE | FL_IF;
	r->cpl = 0;
	put64(TABLES, (TABLES + 0x1000) | 7);
	put64(TABLES + 0x1000, 0x87);
	CODE_AT(CODE, "\x90");
}

static int set_up(void **state)
{
	struct x86_host host = {.cpuid = x86_native_cpuid, .xcr0 = x86_native_xcr0(), .native = true};

	(void)state;
	memset(ram, 0, sizeof(ram));
	memset(&mv, 0, sizeof(mv));
	memset(script, 0, sizeof(script));
	step = sets = 0;
	run_error = 0;
	pending = -1;
	tpr = dev_writes = dev_value = 0;
	if (vm_init(&vm, "test", &metal_engine, 1) || space_add(&vm.mem, &ram_region) ||
		space_add(&vm.mem, &mmio_region) || space_add(&vm.io, &port_region))
		return -1;
	vm.intc = &intc;
	mv.vm = &vm;
	mv.dev = (struct metal_device){.key = 77, .call = fake_call};
	x86_cpuid_init(&mv.cpuid, &host, 1, 2000000);
	page = aligned_alloc(PAGE_SIZE, PAGE_SIZE);
	memset(page, 0, PAGE_SIZE);
	m = calloc(1, sizeof(*m));
	*m = (struct metal_vcpu){.vcpu = vm.vcpu, .vm = &mv, .page = page, .handle = 5};
	m->x.env = &metal_env;
	m->x.cpuid = &mv.cpuid;
	vm.vcpu->engine = m;
	long_mode();
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	free(m);
	free(page);
	vm.vcpu->engine = NULL;
	vm_fini(&vm);
	return 0;
}

/* The end of each script. */
static void stops(void)
{
	vm.vcpu->events |= VCPU_STOP;
	page->record.reason = REASON_INTERRUPTED;
}

static void run_script(void (*first)(void), void (*second)(void), void (*third)(void))
{
	script[0] = first;
	script[1] = second;
	script[2] = third;
	assert_int_equal(metal_run(vm.vcpu), VCPU_EXIT_KICKED);
}

static void run_one(void (*first)(void))
{
	run_script(first, stops, NULL);
}

/* ---- ports ---- */

static void io_exit(u8 size, bool in)
{
	struct control_record *r = &page->record;

	r->reason = REASON_IO;
	r->io.port = PORT;
	r->io.size = size;
	r->io.in = in;
	r->io.string = r->io.rep = false;
	r->next_rip = r->rip + 1;
}

static void outs_a_word(void)
{
	page->gpr[RAX] = 0x1234567890abcdef;
	page->record.shadow = true;
	io_exit(2, false);
}

static void ins_a_byte(void)
{
	page->gpr[RAX] = 0x1234567890abcdef;
	dev_value = 0x55;
	io_exit(1, true);
}

static void ins_a_dword(void)
{
	page->gpr[RAX] = ~0ull;
	dev_value = 0x98765432;
	io_exit(4, true);
}

static void ports(void **state)
{
	(void)state;
	run_one(outs_a_word);
	assert_int_equal(dev_value, 0xcdef);
	assert_int_equal(page->record.rip, CODE + 1);
	assert_false(page->record.shadow);
	step = 0;
	vm.vcpu->events = 0;
	run_one(ins_a_byte);
	assert_int_equal(page->gpr[RAX], 0x1234567890abcd55);
	step = 0;
	vm.vcpu->events = 0;
	run_one(ins_a_dword);
	assert_int_equal(page->gpr[RAX], 0x98765432);
}

static void steps_over_out(void)
{
	page->record.rflags |= FL_TF | FL_RF;
	io_exit(1, false);
}

static void a_step_trap_follows(void **state)
{
	(void)state;
	run_one(steps_over_out);
	assert_int_equal(injected[1], INJECT_VALID | INJECT_EXCEPTION | VEC_DB);
	assert_int_equal(set_state.dr6 & BIT(14), BIT(14));
	assert_false(page->record.rflags & FL_RF);
}

static void rep_outsb(void)
{
	CODE_AT(CODE, "\xf3\x6e");
	memcpy(ram + 0x5000, "abc", 3);
	page->gpr[RSI] = 0x5000;
	page->gpr[RCX] = 3;
	page->gpr[RDX] = PORT;
	io_exit(1, false);
	page->record.io.string = page->record.io.rep = true;
}

static void a_string_goes_out(void **state)
{
	(void)state;
	run_one(rep_outsb);
	assert_int_equal(dev_writes, 3);
	assert_int_equal(dev_value, 'c');
	assert_int_equal(page->gpr[RCX], 0);
	assert_int_equal(page->record.rip, CODE + 2);
}

/* ---- device memory ---- */

static void mmio_exit(u64 gpa)
{
	page->record.reason = REASON_MMIO;
	page->record.mmio.gpa = gpa;
	page->record.mmio.error = 0;
}

static void stores_to_a_device(void)
{
	CODE_AT(CODE, "\x89\x48\x10"); /* mov [rax+16], ecx */
	page->gpr[RAX] = MMIO;
	page->gpr[RCX] = 0xaabbccdd;
	mmio_exit(MMIO + 16);
}

static void loads_across_a_page(void)
{
	CODE_AT(0x4ffd, "\x48\x8b\x98\x20\x00\x00\x00"); /* mov rbx, [rax+32] */
	page->gpr[RAX] = MMIO;
	dev_value = 0x1122334455667788;
	mmio_exit(MMIO + 32);
}

static void device_memory(void **state)
{
	(void)state;
	run_script(stores_to_a_device, loads_across_a_page, stops);
	assert_int_equal(dev_writes, 1);
	assert_int_equal(dev_offset, 32);
	assert_int_equal(page->gpr[RBX], 0x1122334455667788);
	assert_int_equal(page->record.rip, 0x4ffd + 7);
}

static void stores_in_old_code(void)
{
	struct control_record *r = &page->record;

	r->cr0 = CR0_PE;
	r->efer = 0;
	r->cs_attr = 0xc9b;
	page->state.cs = (struct control_segment){.attr = 0xc9b, .base = 0x1000, .limit = ~0u};
	page->state.ds = (struct control_segment){.attr = 0xc93, .base = MMIO, .limit = ~0u};
	CODE_AT(CODE, "\xc6\x05\x08\x00\x00\x00\x7f"); /* mov byte [8], 127 */
	r->rip = CODE - 0x1000;
	mmio_exit(MMIO + 8);
}

static void segments_count_in_32_bit_code(void **state)
{
	(void)state;
	run_one(stores_in_old_code);
	assert_int_equal(dev_value, 127);
	assert_int_equal(dev_offset, 8);
	assert_int_equal(page->record.rip, CODE - 0x1000 + 7);
}

/* Code at 1 GiB through four levels, a page of the kernel's each: CODE, then 0x9000. */
static void map_small(void)
{
	put64(TABLES + 0x1008, (TABLES + 0x2000) | PTE_P | PTE_U);
	put64(TABLES + 0x2000, (TABLES + 0x4000) | PTE_P | PTE_U);
	put64(TABLES + 0x4000, CODE | PTE_P | PTE_U);
	put64(TABLES + 0x4008, 0x9000 | PTE_P | PTE_U);
	page->record.cr4 |= CR4_SMEP;
	page->record.efer |= EFER_NXE;
}

static void loads_in_small_pages(void)
{
	map_small();
	page->record.cpl = 3;
	memcpy(ram + 0x4ffe, "\x8b\x58", 2); /* mov ebx, [rax+32] */
	ram[0x9000] = 32;
	page->record.rip = GIB(1) + 0xffe;
	page->gpr[RAX] = MMIO;
	mmio_exit(MMIO + 32);
}

/* The tables' A bits are set by the first one. */
static void loads_there_again(void)
{
	dev_value++;
	loads_in_small_pages();
}

static void runs_there_as_kernel(void)
{
	loads_there_again();
	page->record.cpl = 0;
}

static void runs_what_is_no_code(void)
{
	loads_there_again();
	put64(TABLES + 0x4000, CODE | PTE_P | PTE_U | PTE_A | PTE_NX);
}

static void runs_the_kernels_page(void)
{
	loads_there_again();
	put64(TABLES + 0x2000, (TABLES + 0x4000) | PTE_P | PTE_A);
}

static void has_tables_nowhere(void)
{
	loads_there_again();
	put64(TABLES + 0x2000, MMIO | PTE_P | PTE_U | PTE_A);
}

static void code_is_found_by_the_tables(void **state)
{
	static void (*const denied[])(void) = {
		runs_there_as_kernel, runs_what_is_no_code, runs_the_kernels_page, has_tables_nowhere};
	static const u32 error[] = {PF_P | PF_I, PF_P | PF_I | PF_U, PF_P | PF_I | PF_U, PF_P | PF_I | PF_U | PF_RSVD};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(denied); i++) {
		step = 0;
		vm.vcpu->events = 0;
		dev_value = 41;
		run_script(loads_in_small_pages, loads_there_again, stops);
		assert_int_equal(page->gpr[RBX], 42);
		assert_int_equal(page->record.rip, GIB(1) + 0x1001);
		step = 0;
		vm.vcpu->events = 0;
		run_one(denied[i]);
		assert_int_equal(injected[1], INJECT_VALID | INJECT_EXCEPTION | INJECT_ERROR | VEC_PF);
		assert_int_equal(page->record.inject_error, error[i]);
		assert_int_equal(page->gpr[RBX], 42);
	}
}

static void copies_from_nowhere(void)
{
	CODE_AT(CODE, "\xa4"); /* movsb */
	page->gpr[RSI] = 0x7f00000000;
	page->gpr[RDI] = MMIO;
	mmio_exit(MMIO);
}

static void the_other_operand_may_fault(void **state)
{
	(void)state;
	run_one(copies_from_nowhere);
	assert_int_equal(injected[1], INJECT_VALID | INJECT_EXCEPTION | INJECT_ERROR | VEC_PF);
	assert_int_equal(set_state.cr2, 0x7f00000000);
	assert_int_equal(page->record.rip, CODE);
	assert_int_equal(dev_writes, 0);
}

static void uses_a_vector_register(void)
{
	CODE_AT(CODE, "\x0f\x29\x00"); /* movaps [rax], xmm0 */
	page->gpr[RAX] = MMIO;
	mmio_exit(MMIO);
}

static void what_is_not_known_is_undefined(void **state)
{
	(void)state;
	run_one(uses_a_vector_register);
	assert_int_equal(injected[1], INJECT_VALID | INJECT_EXCEPTION | VEC_UD);
	assert_true(m->reported);
}

static void delivers_into_a_device(void)
{
	mmio_exit(MMIO);
	page->record.inject = INJECT_VALID | 0x30;
}

static void no_event_goes_through_a_device(void **state)
{
	(void)state;
	script[0] = delivers_into_a_device;
	assert_int_equal(metal_run(vm.vcpu), VCPU_EXIT_TRIPLE_FAULT);
}

static void private_memory_is_not_touched(void **state)
{
	(void)state;
	mv.private = true;
	script[0] = stores_to_a_device;
	assert_int_equal(metal_run(vm.vcpu), VCPU_EXIT_ERROR);
	assert_int_equal(dev_writes, 0);
}

/* ---- events ---- */

static void interrupted(void)
{
	page->record.reason = REASON_INTERRUPTED;
}

static void window(void)
{
	page->record.rflags |= FL_IF;
	page->record.shadow = false;
	page->record.reason = REASON_WINDOW;
}

static void an_interrupt_goes_in(void **state)
{
	(void)state;
	pending = 0x41;
	vm.vcpu->events = VCPU_INTR;
	run_one(interrupted);
	assert_int_equal(injected[0], INJECT_VALID | 0x41);
	assert_int_equal(windows[0], 0);
	assert_int_equal(injected[1], 0);
	assert_int_equal(m->stats.interrupts, 1);
}

static void an_interrupt_waits_for_a_window(void **state)
{
	(void)state;
	pending = 0x41;
	vm.vcpu->events = VCPU_INTR;
	page->record.shadow = true;
	run_one(window);
	assert_int_equal(injected[0], 0);
	assert_int_equal(windows[0], 1);
	assert_int_equal(injected[1], INJECT_VALID | 0x41);
}

static void delivery_was_interrupted(void)
{
	page->record.inject = INJECT_VALID | INJECT_EXCEPTION | VEC_GP;
	page->record.reason = REASON_INTERRUPTED;
	pending = 0x41;
	vm.vcpu->events |= VCPU_INTR | VCPU_NMI;
}

static void an_event_under_way_goes_first(void **state)
{
	(void)state;
	script[3] = stops;
	run_script(delivery_was_interrupted, window, window);
	assert_int_equal(injected[1], INJECT_VALID | INJECT_EXCEPTION | VEC_GP);
	assert_int_equal(windows[1], 1);
	assert_int_equal(injected[2], INJECT_VALID | INJECT_NMI | VEC_NMI);
	assert_int_equal(injected[3], INJECT_VALID | 0x41);
}

static void spurious_events_end(void **state)
{
	(void)state;
	vm.vcpu->events = VCPU_INTR;
	run_one(interrupted);
	assert_int_equal(injected[0], 0);
	assert_int_equal(vm.vcpu->events, VCPU_STOP);
}

static void halts(void)
{
	page->record.reason = REASON_HLT;
	page->record.shadow = true; /* STI; HLT */
}

static void a_halt_ends_with_an_interrupt(void **state)
{
	(void)state;
	script[0] = halts;
	script[1] = stops;
	assert_int_equal(metal_run(vm.vcpu), VCPU_EXIT_HLT);
	assert_int_equal(metal_run(vm.vcpu), VCPU_EXIT_HLT);
	pending = 0x20;
	vm.vcpu->events = VCPU_INTR;
	assert_int_equal(metal_run(vm.vcpu), VCPU_EXIT_KICKED);
	assert_int_equal(injected[1], INJECT_VALID | 0x20);
}

static void is_kicked(void)
{
	metal_kick(vm.vcpu);
	page->record.reason = REASON_INTERRUPTED;
}

static void kicks_are_taken(void **state)
{
	(void)state;
	run_one(is_kicked);
	assert_int_equal(step, 2); /* the flag was cleared, or the second step had not come */
}

static void lowers_tpr(void)
{
	assert_int_equal(page->record.tpr, 3);
	page->record.tpr = 1;
	page->record.reason = REASON_INTERRUPTED;
}

static void tpr_is_the_controllers(void **state)
{
	(void)state;
	tpr = 3;
	m->tpr_stale = true;
	run_one(lowers_tpr);
	assert_int_equal(tpr, 1);
}

/* ---- registers ---- */

static void msr_exit(u32 index, bool write)
{
	page->record.reason = REASON_MSR;
	page->record.msr.index = index;
	page->record.msr.write = write;
	page->record.next_rip = page->record.rip + 2;
}

static void reads_apic_id(void)
{
	msr_exit(0x802, false);
}

static void writes_eoi(void)
{
	page->gpr[RAX] = 0xffffffff00000007;
	page->gpr[RDX] = 9;
	msr_exit(0x80b, true);
}

static void apic_registers(void **state)
{
	(void)state;
	run_script(reads_apic_id, writes_eoi, stops);
	assert_int_equal(msr_written, 0x900000007);
	assert_int_equal(page->record.rip, CODE + 4);
	assert_int_equal(sets, 0);
}

static void reads_unknown(void)
{
	msr_exit(0x12345, false);
}

static void writes_efer(void)
{
	page->gpr[RAX] = EFER_LMA | EFER_LME | EFER_SCE;
	page->gpr[RDX] = 0;
	msr_exit(0xc0000080, true);
}

static void other_registers(void **state)
{
	(void)state;
	run_script(reads_unknown, writes_efer, stops);
	assert_int_equal(injected[1], INJECT_VALID | INJECT_EXCEPTION | INJECT_ERROR | VEC_GP);
	assert_int_equal(set_state.efer, EFER_LMA | EFER_LME | EFER_SCE);
	assert_int_equal(page->record.rip, CODE + 2);
}

static void asks_for_its_features(void)
{
	page->gpr[RAX] = 1;
	page->record.reason = REASON_CPUID;
	page->record.next_rip = page->record.rip + 2;
}

static void cpuid_is_the_tables(void **state)
{
	(void)state;
	page->state.cr4 |= CR4_OSXSAVE;
	run_one(asks_for_its_features);
	assert_true(page->gpr[RCX] >> 31 & 1);
	assert_true(page->gpr[RCX] >> 27 & 1);
	assert_int_equal(page->record.rip, CODE + 2);
}

static void moves_to_cr8(void)
{
	CODE_AT(CODE, "\x44\x0f\x22\xc0"); /* mov cr8, rax */
	page->gpr[RAX] = 9;
	page->record.reason = REASON_CR;
}

static void flushes_caches(void)
{
	CODE_AT(CODE, "\x0f\x09");
	page->record.reason = REASON_INSTRUCTION;
}

static void monitors(void)
{
	CODE_AT(CODE, "\x0f\x01\xc8");
	page->record.reason = REASON_INSTRUCTION;
}

static void system_instructions(void **state)
{
	(void)state;
	script[3] = stops;
	run_script(moves_to_cr8, flushes_caches, monitors);
	assert_int_equal(tpr, 9);
	assert_int_equal(injected[2], 0);
	assert_int_equal(injected[3], INJECT_VALID | INJECT_EXCEPTION | VEC_UD);
}

/* ---- ends ---- */

static void shuts_down(void)
{
	page->record.reason = REASON_SHUTDOWN;
}

static void is_ended(void)
{
	page->record.reason = REASON_ENDED;
}

static void has_a_new_reason(void)
{
	page->record.reason = 99;
}

static void ends(void **state)
{
	(void)state;
	script[0] = shuts_down;
	script[1] = is_ended;
	script[2] = has_a_new_reason;
	assert_int_equal(metal_run(vm.vcpu), VCPU_EXIT_TRIPLE_FAULT);
	assert_int_equal(metal_run(vm.vcpu), VCPU_EXIT_ERROR);
	assert_int_equal(metal_run(vm.vcpu), VCPU_EXIT_ERROR);
	run_error = -CONTROL_BAD_HANDLE;
	assert_int_equal(metal_run(vm.vcpu), VCPU_EXIT_ERROR);
}

static void state_goes_there_and_back(void **state)
{
	struct x86_state before;
	u8 *bytes = (u8 *)&m->x.s;

	(void)state;
	for (unsigned i = 0; i < sizeof(m->x.s); i++)
		bytes[i] = (u8)(i * 7 + 1);
	for (unsigned i = 0; i < SEG_COUNT; i++) {
		m->x.s.seg[i].attr = i == SEG_FS ? SEG_UNUSABLE : 0xa093 | i << 5;
		m->x.s.seg[i].pad = 0;
		m->x.s.seg[i].pad2 = 0;
	}
	m->x.s.gdt.pad = m->x.s.idt.pad = 0;
	before = m->x.s;
	assert_int_equal(metal_push(m, STATE_REGS), 0);
	memset(&m->x.s.seg, 0, sizeof(m->x.s.seg));
	m->x.s.gdt.base = m->x.s.cr3 = m->x.s.dr[7] = m->x.s.star = m->x.s.spec_ctrl = m->x.s.rip = 0;
	assert_int_equal(metal_pull(m, STATE_REGS), 0);
	assert_memory_equal(&m->x.s, &before, sizeof(before));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(ports),
		TEST(a_step_trap_follows),
		TEST(a_string_goes_out),
		TEST(device_memory),
		TEST(code_is_found_by_the_tables),
		TEST(segments_count_in_32_bit_code),
		TEST(the_other_operand_may_fault),
		TEST(what_is_not_known_is_undefined),
		TEST(no_event_goes_through_a_device),
		TEST(private_memory_is_not_touched),
		TEST(an_interrupt_goes_in),
		TEST(an_interrupt_waits_for_a_window),
		TEST(an_event_under_way_goes_first),
		TEST(spurious_events_end),
		TEST(a_halt_ends_with_an_interrupt),
		TEST(kicks_are_taken),
		TEST(tpr_is_the_controllers),
		TEST(apic_registers),
		TEST(other_registers),
		TEST(cpuid_is_the_tables),
		TEST(system_instructions),
		TEST(ends),
		TEST(state_goes_there_and_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
