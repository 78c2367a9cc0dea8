/* SPDX-License-Identifier: MIT */
/*
 * vCPUs on SVM without SVM: state in and out with its checks, records, and how
 * the exits of a pretended VMRUN are read.
 */
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <ucontext.h>

#include <cmocka.h>
#undef skip /* an op of ours */

#include "hv/svm.h"
#include "x86/state.h"

#define domain_flush hv_fake_domain_flush /* domain.c is the real one here */
#define physical_end hv_fake_physical_end
#include "hv_fake.h"
#include "hv/xstate.h"
#undef domain_flush
#undef physical_end

const struct hvm_ops *hvm = &svm_ops;

static struct domain guest;
static struct hv_vcpu v;
static u64 gpr[16];
static struct hv_exit got;

/* What the pretended CPU leaves in the VMCB. */
static struct {
	u64 code, info1, info2, event;
} next;

void svm_enter(u64 *regs, hpa_t vmcb)
{
	struct vmcb *b = (struct vmcb *)vmcb;

	(void)regs;
	b->c.exit_code = next.code;
	b->c.exit_info1 = next.info1;
	b->c.exit_info2 = next.info2;
	b->c.exit_int_info = next.event;
	b->c.event_inj = 0;
}

void cpu_kick(struct cpu *cpu, u32 kick)
{
	(void)cpu;
	(void)kick;
}

static int setup(void **state)
{
	(void)state;
	guest.root = page_alloc();
	v = (struct hv_vcpu){.domain = &guest, .gpr = gpr};
	return vcpu_make(&v);
}

static int teardown(void **state)
{
	(void)state;
	vcpu_free(&v);
	npt_free(&guest);
	assert_int_equal(pages_out, 0);
	return 0;
}

static struct vmcb *vmcb(void)
{
	return v.hw;
}

/* run() finds its struct cpu at the lower end of an aligned stack. */
static ucontext_t home, away;

static void on_cpu_stack(void)
{
	hvm->run(&v, &got);
}

static void run(u64 code, u64 info1, u64 info2, u64 event)
{
	static u8 stack[CPU_STACK] __attribute__((aligned(CPU_STACK)));

	next.code = code;
	next.info1 = info1;
	next.info2 = info2;
	next.event = event;
	getcontext(&away);
	away.uc_stack.ss_sp = stack;
	away.uc_stack.ss_size = sizeof(stack);
	away.uc_link = &home;
	makecontext(&away, on_cpu_stack, 0);
	swapcontext(&home, &away);
}

/* ---- state ---- */
static struct control_state long_mode(void)
{
	struct control_state s;

	vcpu_reset_state(&s);
	s.cr0 = CR0_PG | CR0_NE | CR0_ET | CR0_PE;
	s.cr4 = CR4_PAE;
	s.efer = EFER_LME | EFER_LMA;
	s.cs.attr = 0xa9b;
	s.cr3 = 0x1000;
	return s;
}

static void test_set_and_get(void **state)
{
	struct control_state s = long_mode(), back;

	(void)state;
	s.lstar = 0xffffffff81000000;
	s.dr0 = 0x1234;
	s.tsc_offset = 77;
	s.gdtr.base = 0x5000;
	assert_int_equal(vcpu_set(&v, &s, STATE_ALL), 0);
	assert_int_equal(vmcb()->efer, EFER_LME | EFER_LMA | EFER_SVME);
	memset(&back, 0, sizeof(back));
	hvm->get(&v, &back, STATE_ALL);
	assert_memory_equal(&s, &back, sizeof(s));
}

static void test_set_by_group(void **state)
{
	struct control_state s = long_mode(), other;

	(void)state;
	assert_int_equal(vcpu_set(&v, &s, STATE_ALL), 0);
	memset(&other, 0, sizeof(other));
	other.pat = 6;
	other.lstar = 0x1000;
	assert_int_equal(vcpu_set(&v, &other, STATE_MSRS), 0);
	assert_int_equal(vmcb()->cr3, 0x1000);
	assert_int_equal(vmcb()->lstar, 0x1000);
	/* what is wrong in a group that is not asked for does not matter; across groups it does */
	vcpu_reset_state(&other);
	other.cs.attr = 0xe9b;
	assert_int_equal(vcpu_set(&v, &other, STATE_MSRS), 0);
	assert_int_equal(vcpu_set(&v, &other, STATE_SEGMENTS), -EINVAL);
}

/* Each is refused, and leaves all as it was. */
static void test_refused(void **state)
{
#define REFUSED(...)                                                                                         \
	do {                                                                                                 \
		struct control_state s = long_mode(), before, after;                                         \
                                                                                                             \
		hvm->get(&v, &before, STATE_ALL);                                                            \
		__VA_ARGS__;                                                                                 \
		assert_int_equal(vcpu_set(&v, &s, STATE_ALL), -EINVAL);                                      \
		hvm->get(&v, &after, STATE_ALL);                                                             \
		assert_memory_equal(&before, &after, sizeof(before));                                        \
	} while (0)
	struct control_state good = long_mode();

	(void)state;
	assert_int_equal(vcpu_set(&v, &good, STATE_ALL), 0);
	REFUSED(s.cr0 |= BIT(32));
	REFUSED(s.cr0 |= BIT(6));
	REFUSED(s.cr0 |= CR0_NW);
	REFUSED(s.cr0 &= ~CR0_PE);
	REFUSED(s.cr0 &= ~CR0_PG); /* and LMA still set */
	REFUSED(s.cr4 &= ~CR4_PAE);
	REFUSED(s.cr4 |= BIT(63));
	REFUSED(s.cr4 |= BIT(13)); /* VMXE */
	REFUSED(s.cr3 = BIT(60));
	REFUSED(s.efer &= ~EFER_LMA);
	REFUSED(s.efer |= EFER_SVME);
	REFUSED(s.efer |= BIT(63));
	REFUSED(s.rflags = 0);
	REFUSED(s.rflags |= BIT(40));
	REFUSED(s.rip = BIT(47));
	REFUSED(s.xcr0 = 0);
	REFUSED(s.xcr0 = 5);
	REFUSED(s.dr6 |= BIT(32));
	REFUSED(s.dr7 |= BIT(32));
	REFUSED(s.cpl = 4);
	REFUSED(s.tr.attr = 0);
	REFUSED(s.tr.attr = 0xb); /* not present */
	REFUSED(s.tr.attr = 0x93); /* data */
	REFUSED(s.cs.attr = 0xe9b); /* L and D */
	REFUSED(s.fs.base = BIT(47));
	REFUSED(s.lstar = BIT(63));
	REFUSED(s.kernel_gs_base = BIT(50));
	REFUSED(s.pat = 2);
	REFUSED(s.pat = 8ull << 56);
	REFUSED(s.tsc_aux = BIT(32));
	REFUSED(s.spec_ctrl = BIT(20));
}

static void test_xsave_image(void **state)
{
	static u8 image[PAGE_SIZE], back[PAGE_SIZE];
	u64 header;

	(void)state;
	memset(image, 0xff, sizeof(image));
	xstate_import(v.xsave, image);
	memcpy(back, v.xsave, PAGE_SIZE);
	memcpy(&header, back + 512, 8);
	assert_int_equal(header, 0); /* no component that this CPU has not */
	memcpy(&header, back + 520, 8);
	assert_int_equal(header, 0); /* nor the compacted format */
	assert_int_equal(back[0], 0xff);
}

/* ---- records ---- */
static void test_record(void **state)
{
	struct control_record r = {.rip = 0x1000, .rflags = ~0ull, .tpr = 0xff, .want_window = 1};

	(void)state;
	r.inject = 0x80000b0e; /* #PF */
	r.inject_error = 4;
	hvm->record_in(&v, &r);
	assert_int_equal(r.inject, 0);
	assert_int_equal(vmcb()->c.event_inj, 4ull << 32 | 0x80000b0e);
	assert_int_equal(vmcb()->rflags & ~0x3f7fd7ull, 0);
	assert_int_equal(vmcb()->c.v_intr & V_TPR, 0xf);
	assert_true(vmcb()->c.v_intr & V_INTR_MASKING && vmcb()->c.v_intr & V_IRQ);
	vmcb()->c.interrupt_shadow = 1;
	hvm->record_out(&v, &r);
	assert_int_equal(r.inject, 0x80000b0e);
	assert_true(r.shadow && !r.interruptible);
}

static void test_record_events(void **state)
{
	/* reserved types, an NMI as an exception, a vector that no exception has: none of them */
	static const u32 bad[] = {0x80000100, 0x80000400, 0x80000500, 0x80000302, 0x80000320, 0x000000ff};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		struct control_record r = {.inject = bad[i]};

		hvm->record_in(&v, &r);
		assert_int_equal(vmcb()->c.event_inj, 0);
	}
}

/* ---- exits ---- */
static void test_exit_reasons(void **state)
{
	static const struct {
		u64 code;
		enum exit_reason reason;
		unsigned length;
	} table[] = {
		{SVM_EXIT_INTR, EXIT_INTR, 0},
		{SVM_EXIT_CPUID, EXIT_CPUID, 2},
		{SVM_EXIT_HLT, EXIT_HLT, 1},
		{SVM_EXIT_VMMCALL, EXIT_CALL, 3},
		{SVM_EXIT_VMRUN, EXIT_VIRTUALIZATION, 3},
		{SVM_EXIT_SKINIT, EXIT_VIRTUALIZATION, 3},
		{SVM_EXIT_VINTR, EXIT_WINDOW, 0},
		{SVM_EXIT_IRET, EXIT_WINDOW, 0},
		{SVM_EXIT_SHUTDOWN, EXIT_SHUTDOWN, 0},
		{SVM_EXIT_XSETBV, EXIT_XSETBV, 3},
		{0x8a, EXIT_INSTRUCTION, 0}, /* MONITOR */
		{SVM_EXIT_INVALID, EXIT_FAILED, 0},
		{0x3f, EXIT_OTHER, 0},
	};

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(table); i++) {
		run(table[i].code, 0, 0, 0);
		assert_int_equal(got.reason, table[i].reason);
		assert_int_equal(got.length, table[i].length);
		assert_int_equal(got.raw, table[i].code);
	}
}

static void test_exit_details(void **state)
{
	(void)state;
	run(SVM_EXIT_MSR, 1, 0, 0);
	assert_int_equal(got.reason, EXIT_WRMSR);
	run(SVM_EXIT_MSR, 0, 0, 0);
	assert_int_equal(got.reason, EXIT_RDMSR);
	run(SVM_EXIT_NPF, 0x100000006, 0xfee00300, 0);
	assert_int_equal(got.reason, EXIT_NPF);
	assert_int_equal(got.npf.gpa, 0xfee00300);
	assert_int_equal(got.npf.error, 0x100000006);
	run(SVM_EXIT_EXCEPTION + VEC_AC, 0, 0, 0);
	assert_int_equal(got.reason, EXIT_EXCEPTION);
	assert_int_equal(got.exception.vector, VEC_AC);
	vmcb()->rip = 0x100;
	run(SVM_EXIT_IO, 0xcf8 << 16 | 1 << 6 | 1, 0x102, 0); /* inl */
	assert_int_equal(got.reason, EXIT_IO);
	assert_int_equal(got.io.port, 0xcf8);
	assert_int_equal(got.io.size, 4);
	assert_true(got.io.in && !got.io.string && !got.io.rep);
	assert_int_equal(got.length, 2);
}

static void test_events_under_way(void **state)
{
	(void)state;
	run(SVM_EXIT_NPF, 0, 0, EVENT_VALID | 0x33);
	assert_int_equal(vmcb()->c.event_inj, EVENT_VALID | 0x33);
	run(SVM_EXIT_NPF, 0, 0, 5ull << 32 | 0x80000b0d);
	assert_int_equal(vmcb()->c.event_inj, 5ull << 32 | 0x80000b0d);
	run(SVM_EXIT_NPF, 0, 0, 0x80000480); /* INT 0x80: executed again */
	assert_int_equal(vmcb()->c.event_inj, 0);
	run(SVM_EXIT_NPF, 0, 0, 0x80000303); /* INT3 */
	assert_int_equal(vmcb()->c.event_inj, 0);
	run(SVM_EXIT_NPF, 0, 0, 0x80000333); /* as QEMU says it */
	assert_int_equal(vmcb()->c.event_inj, EVENT_VALID | 0x33);
	run(SVM_EXIT_NPF, 0, 0, 0x80000302);
	assert_int_equal(vmcb()->c.event_inj, 0x80000202);
	assert_false(hvm->inject(&v, 0x80000002, 0));
	run(SVM_EXIT_INTR, 0, 0, 0);
	assert_true(hvm->inject(&v, 0x80000002, 0));
}

/* Stale translations mean another ASID, and never that of another vCPU. */
static void test_asids(void **state)
{
	u32 first;

	(void)state;
	run(SVM_EXIT_INTR, 0, 0, 0);
	first = vmcb()->c.asid;
	run(SVM_EXIT_INTR, 0, 0, 0);
	assert_int_equal(vmcb()->c.asid, first);
	hvm->flush(&v);
	run(SVM_EXIT_INTR, 0, 0, 0);
	assert_true(vmcb()->c.asid != 0);
}

static void test_skip(void **state)
{
	struct control_state s = long_mode();

	(void)state;
	assert_int_equal(vcpu_set(&v, &s, STATE_ALL), 0);
	vmcb()->rip = 0xfffffffe;
	vmcb()->c.interrupt_shadow = 1;
	hvm->skip(&v, 2);
	assert_int_equal(vmcb()->rip, 0x100000000);
	assert_int_equal(vmcb()->c.interrupt_shadow, 0);
	vmcb()->cs.attr = 0xc9b; /* 32-bit code */
	vmcb()->rip = 0xfffffffe;
	hvm->skip(&v, 2);
	assert_int_equal(vmcb()->rip, 0);
	vmcb()->rflags |= FL_TF;
	hvm->skip(&v, 2);
	assert_int_equal(vmcb()->c.event_inj & 0xfff, 0x301); /* #DB */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_set_and_get, setup, teardown),
		cmocka_unit_test_setup_teardown(test_set_by_group, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_xsave_image, setup, teardown),
		cmocka_unit_test_setup_teardown(test_record, setup, teardown),
		cmocka_unit_test_setup_teardown(test_record_events, setup, teardown),
		cmocka_unit_test_setup_teardown(test_exit_reasons, setup, teardown),
		cmocka_unit_test_setup_teardown(test_exit_details, setup, teardown),
		cmocka_unit_test_setup_teardown(test_events_under_way, setup, teardown),
		cmocka_unit_test_setup_teardown(test_asids, setup, teardown),
		cmocka_unit_test_setup_teardown(test_skip, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
