/* SPDX-License-Identifier: MIT */
/* Local APIC: priorities, modes, messages, timers, and the engine's side of it. */
#include "tests/unit/dev_fake.h"

#include <errno.h>

#include "dev/lapic.h"
#include "dev/lapic_internal.h"

#define TSC_KHZ 2500000ull
#define SVR 0x0f0
#define TPR 0x080
#define EOI 0x0b0
#define ICR 0x300
#define ICR2 0x310

static struct vm vm;
static struct vcpu vcpus[2];
static struct lapic_bus bus;
static struct lapic *apic; /* of vCPU 0 */
static int pic_vector;
static unsigned eois;
static u8 last_eoi;

static u64 fake_tsc(struct lapic *lapic)
{
	return fake_ns * 5 / 2 + lapic->vcpu->regs.tsc_offset;
}

static int fake_inta(void *ctx)
{
	struct irq_line line = lapic_lint(ctx, 0, 0);

	irq_set(&line, false);
	return pic_vector;
}

static void fake_eoi(void *ctx, u8 vector)
{
	(void)ctx;
	eois++;
	last_eoi = vector;
}

static void start(unsigned n)
{
	struct lapic_links links = {.inta = fake_inta, .inta_ctx = &bus, .eoi = fake_eoi};

	fake_vm_init(&vm);
	memset(vcpus, 0, sizeof(vcpus));
	vm.vcpu = vcpus;
	vm.nvcpus = n;
	for (unsigned i = 0; i < n; i++) {
		vcpus[i].vm = &vm;
		vcpus[i].id = i;
	}
	assert_int_equal(lapic_bus_init(&bus, &vm, TSC_KHZ), 0);
	lapic_link(&bus, &links);
	for (unsigned i = 0; i < n; i++)
		bus.lapic[i].tsc = fake_tsc;
	apic = &bus.lapic[0];
	eois = 0;
	pic_vector = 0x30;
}

static int setup(void **state)
{
	(void)state;
	start(1);
	lapic_mmio_write(apic, SVR, 0x1ff);
	return 0;
}

static int setup_two(void **state)
{
	(void)state;
	start(2);
	for (unsigned i = 0; i < 2; i++)
		lapic_mmio_write(&bus.lapic[i], SVR, 0x1ff);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	lapic_bus_fini(&bus);
	fake_vm_fini(&vm);
	return 0;
}

static u32 rd(u64 offset)
{
	return lapic_mmio_read(apic, offset);
}

static void wr(u64 offset, u32 value)
{
	lapic_mmio_write(apic, offset, value);
}

static int peek(void)
{
	return vm.intc->peek(&vcpus[0]);
}

static int ack(void)
{
	return vm.intc->ack(&vcpus[0]);
}

static int wrmsr(u32 index, u64 value)
{
	return vm.intc->wrmsr(&vcpus[0], index, value);
}

static u64 rdmsr(u32 index)
{
	u64 value = 0;

	assert_int_equal(vm.intc->rdmsr(&vcpus[0], index, &value), 0);
	return value;
}

static int rdmsr_fails(u32 index)
{
	u64 value;

	return vm.intc->rdmsr(&vcpus[0], index, &value);
}

static u32 kicked(void)
{
	u32 events = fake_seen.kicked;

	fake_seen.kicked = 0;
	return events;
}

static void message(u64 addr, u32 data)
{
	struct msi_sink sink = lapic_msi_sink(&bus);

	msi_send(&sink, (struct msi){addr, data});
}

static void enter_x2apic(void)
{
	assert_int_equal(wrmsr(MSR_APIC_BASE, LAPIC_BASE | 0xc00), 0);
}

static void test_power_on(void **state)
{
	(void)state;
	lapic_bus_reset(&bus);
	assert_int_equal(rdmsr(MSR_APIC_BASE), LAPIC_BASE | 0x900);
	assert_int_equal(rd(0x20), 0);
	assert_int_equal(rd(0x30), 0x00050014);
	assert_int_equal(rd(0xe0), 0xffffffff);
	assert_int_equal(rd(SVR), 0xff);
	assert_int_equal(rd(0x320), 0x10000);
	assert_int_equal(rd(0x350), 0x700);
	assert_int_equal(peek(), -1);
	message(0xfee00000, 0x40); /* software-disabled: dropped */
	assert_int_equal(peek(), -1);
}

static void test_priorities(void **state)
{
	(void)state;
	message(0xfee00000, 0x45);
	assert_int_equal(kicked(), VCPU_INTR);
	assert_int_equal(rd(0x220), 1 << 5); /* IRR 0x40..0x5f */
	assert_int_equal(peek(), 0x45);
	assert_int_equal(ack(), 0x45);
	assert_int_equal(peek(), -1);
	assert_int_equal(rd(0x120), 1 << 5);
	assert_int_equal(rd(0xa0), 0x40);
	message(0xfee00000, 0x4f); /* the same class waits */
	assert_int_equal(kicked(), 0);
	assert_int_equal(peek(), -1);
	message(0xfee00000, 0xf0);
	assert_int_equal(ack(), 0xf0);
	wr(EOI, 0);
	assert_int_equal(peek(), -1);
	kicked();
	wr(EOI, 0);
	assert_int_equal(kicked(), VCPU_INTR);
	assert_int_equal(ack(), 0x4f);
	assert_int_equal(eois, 0);
	wr(EOI, 0);
	wr(EOI, 0); /* one too many */
	assert_int_equal(ack(), -1);
}

static void test_task_priority(void **state)
{
	(void)state;
	vm.intc->set_tpr(&vcpus[0], 4);
	assert_int_equal(rd(TPR), 0x40);
	message(0xfee00000, 0x4f);
	assert_int_equal(kicked(), 0);
	assert_int_equal(peek(), -1);
	wr(TPR, 0x3f);
	assert_int_equal(kicked(), VCPU_INTR);
	assert_int_equal(vm.intc->tpr(&vcpus[0]), 3);
	assert_int_equal(rd(0xa0), 0x3f);
	assert_int_equal(ack(), 0x4f);
}

static void test_level_eoi(void **state)
{
	(void)state;
	message(0xfee00000, 0xc059);
	assert_int_equal(ack(), 0x59);
	assert_int_equal(rd(0x1a0), 1 << 25); /* TMR */
	wr(EOI, 0);
	assert_int_equal(eois, 1);
	assert_int_equal(last_eoi, 0x59);
	message(0xfee00000, 0x4059); /* now as an edge */
	assert_int_equal(ack(), 0x59);
	wr(EOI, 0);
	assert_int_equal(eois, 1);
}

static void test_extint(void **state)
{
	struct irq_line intr = lapic_lint(&bus, 0, 0);

	(void)state;
	lapic_bus_reset(&bus); /* virtual wire */
	irq_set(&intr, true);
	assert_int_equal(kicked(), VCPU_INTR);
	assert_true(peek() >= 0);
	assert_int_equal(ack(), 0x30);
	assert_int_equal(ack(), -1);
	/* With the local one behind it */
	wr(SVR, 0x1ff);
	irq_set(&intr, true);
	message(0xfee00000, 0x61);
	kicked();
	assert_int_equal(ack(), 0x30);
	assert_int_equal(kicked(), VCPU_INTR);
	assert_int_equal(ack(), 0x61);
	/* Masked */
	wr(0x350, 0x10700);
	irq_set(&intr, true);
	assert_int_equal(peek(), -1);
	kicked();
	wr(0x350, 0x700);
	assert_int_equal(kicked(), VCPU_INTR);
	/* Switched off altogether */
	wr(0x350, 0x10700);
	assert_int_equal(wrmsr(MSR_APIC_BASE, LAPIC_BASE), 0);
	assert_int_equal(ack(), 0x30);
	assert_int_equal(rd(0x30), 0xffffffff);
}

static void test_lint1_nmi(void **state)
{
	struct irq_line nmi = lapic_lint(&bus, 0, 1);

	(void)state;
	irq_set(&nmi, true);
	assert_int_equal(kicked(), 0);
	irq_set(&nmi, false);
	wr(0x360, 0x400);
	irq_set(&nmi, true);
	assert_int_equal(kicked(), VCPU_NMI);
	wr(0x360, 0x035); /* as a fixed interrupt */
	irq_set(&nmi, false);
	irq_set(&nmi, true);
	assert_int_equal(ack(), 0x35);
}

static void test_software_disable_masks(void **state)
{
	(void)state;
	wr(0x320, 0x20040);
	wr(SVR, 0xff);
	assert_int_equal(rd(0x320), 0x30040);
	wr(0x320, 0x20040);
	assert_int_equal(rd(0x320), 0x30040);
}

static void test_ipis(void **state)
{
	(void)state;
	wr(ICR, 0x40051); /* self */
	assert_int_equal(ack(), 0x51);
	wr(ICR, 0xc0052); /* all but self */
	assert_int_equal(ack(), -1);
	wr(ICR, 0x80061); /* all */
	assert_int_equal(ack(), 0x61);
	wr(ICR2, 0);
	wr(ICR, 0x71);
	assert_int_equal(ack(), 0x71);
	assert_int_equal(rd(ICR), 0x71); /* never busy */
	wr(ICR2, 0x05000000);
	wr(ICR, 0x81);
	assert_int_equal(ack(), -1);
	wr(0xd0, 0x02000000); /* logical flat */
	wr(ICR2, 0x06000000);
	wr(ICR, 0x891);
	assert_int_equal(ack(), 0x91);
	wr(0xe0, 0x0fffffff); /* logical cluster */
	wr(0xd0, 0x34000000);
	wr(ICR2, 0x24000000);
	wr(ICR, 0x8a1);
	assert_int_equal(ack(), -1);
	wr(ICR2, 0x3c000000);
	wr(ICR, 0x8a1);
	assert_int_equal(ack(), 0xa1);
	kicked();
	wr(ICR, 0x80400);
	assert_int_equal(kicked(), VCPU_NMI);
	wr(ICR2, 0);
	wr(ICR, 0x4500); /* INIT and SIPI reach nobody */
	wr(ICR, 0x4608);
	assert_int_equal(kicked(), 0);
}

static void test_errors(void **state)
{
	(void)state;
	wr(0x370, 0xfe);
	wr(ICR, 0x40005);
	assert_int_equal(ack(), 0xfe);
	wr(EOI, 0);
	assert_int_equal(rd(0x280), 0);
	wr(0x280, 0);
	assert_int_equal(rd(0x280), 0x20);
	wr(0x280, 0);
	assert_int_equal(rd(0x280), 0);
	message(0xfee00000, 0x0f);
	wr(0x280, 0);
	assert_int_equal(rd(0x280), 0x40);
	rd(0x3d0);
	wr(0x280, 0);
	assert_int_equal(rd(0x280), 0x80);
	wr(0x370, 0x05); /* an illegal error vector reports nothing for ever */
	wr(ICR, 0x40005);
}

static void test_one_shot_timer(void **state)
{
	(void)state;
	wr(0x3e0, 0x3); /* divide by 16 */
	wr(0x320, 0xec);
	wr(0x380, 1000);
	assert_int_equal(rd(0x390), 1000);
	fake_pass(&vm.clock, 8000);
	assert_int_equal(rd(0x390), 500);
	wr(0x3e0, 0xb); /* divide by 1: the count goes on, faster */
	assert_int_equal(rd(0x390), 500);
	fake_pass(&vm.clock, 499);
	assert_int_equal(ack(), -1);
	fake_pass(&vm.clock, 1);
	assert_int_equal(ack(), 0xec);
	assert_int_equal(rd(0x390), 0);
	wr(EOI, 0);
	fake_pass(&vm.clock, 1000000);
	assert_int_equal(ack(), -1);
	wr(0x380, 1000);
	wr(0x380, 0); /* stops */
	fake_pass(&vm.clock, 10000);
	assert_int_equal(ack(), -1);
}

static unsigned count_interrupts(u64 ns, u64 step)
{
	unsigned n = 0;

	for (u64 t = 0; t < ns; t += step) {
		fake_pass(&vm.clock, step);
		if (ack() >= 0) {
			n++;
			wr(EOI, 0);
		}
	}
	return n;
}

static void test_periodic_timer(void **state)
{
	(void)state;
	wr(0x3e0, 0xb);
	wr(0x320, 0x200ec);
	wr(0x380, 1000000);
	assert_int_equal(count_interrupts(100000000, 500000), 100);
	fake_jump(&vm.clock, 5500000);
	assert_int_equal(ack(), 0xec);
	wr(EOI, 0);
	assert_int_equal(rd(0x390), 500000); /* in phase still */
	wr(0x380, 1); /* hostile */
	assert_in_range(count_interrupts(1000000, 10000), 40, 60);
	wr(0x320, 0x300ec);
	assert_int_equal(count_interrupts(1000000, 10000), 0);
}

static void test_tsc_deadline(void **state)
{
	(void)state;
	vcpus[0].regs.tsc_offset = -1000000000ull;
	assert_int_equal(wrmsr(MSR_TSC_DEADLINE, 5), 0); /* not in this mode: ignored */
	assert_int_equal(rdmsr(MSR_TSC_DEADLINE), 0);
	wr(0x320, 0x400ec);
	assert_int_equal(wrmsr(MSR_TSC_DEADLINE, fake_tsc(apic) + 2500000), 0);
	assert_int_equal(rdmsr(MSR_TSC_DEADLINE), fake_tsc(apic) + 2500000);
	fake_pass(&vm.clock, 999990);
	assert_int_equal(ack(), -1);
	fake_pass(&vm.clock, 20);
	assert_int_equal(ack(), 0xec);
	assert_int_equal(rdmsr(MSR_TSC_DEADLINE), 0);
	wr(EOI, 0);
	kicked();
	wrmsr(MSR_TSC_DEADLINE, fake_tsc(apic) - 1); /* past: at once */
	assert_int_equal(kicked(), VCPU_INTR);
	assert_int_equal(ack(), 0xec);
	wr(EOI, 0);
	wrmsr(MSR_TSC_DEADLINE, fake_tsc(apic) + 100000);
	wrmsr(MSR_TSC_DEADLINE, 0);
	fake_pass(&vm.clock, 1000000);
	assert_int_equal(ack(), -1);
	wrmsr(MSR_TSC_DEADLINE, UINT64_MAX); /* never */
	assert_true(clock_next(&vm.clock) > fake_ns + 1000000000000ull);
	wr(0x380, 1000); /* the count does not exist in this mode */
	assert_int_equal(rd(0x380), 0);
	wr(0x320, 0xec); /* leaving the mode disarms */
	assert_true(clock_next(&vm.clock) == CLOCK_NEVER);
}

/* The host's TSC and clock drift apart: the guest's TSC decides. */
static void test_early_deadline(void **state)
{
	(void)state;
	wr(0x320, 0x400ec);
	wrmsr(MSR_TSC_DEADLINE, fake_tsc(apic) + 2500000);
	vcpus[0].regs.tsc_offset = -2500ull; /* one microsecond back */
	fake_pass(&vm.clock, 1000100);
	assert_int_equal(ack(), -1);
	fake_pass(&vm.clock, 1000);
	assert_int_equal(ack(), 0xec);
}

static void test_mode_transitions(void **state)
{
	(void)state;
	assert_int_equal(wrmsr(MSR_APIC_BASE, LAPIC_BASE | 0x400), -1); /* x2APIC without enable */
	assert_int_equal(wrmsr(MSR_APIC_BASE, 0xfed00800), -1); /* it does not move */
	assert_int_equal(wrmsr(MSR_APIC_BASE, LAPIC_BASE | 0x801), -1); /* reserved */
	assert_int_equal(wrmsr(0x802, 0), -1); /* no x2APIC registers yet */
	assert_int_equal(rdmsr_fails(0x802), -1);
	enter_x2apic();
	assert_int_equal(rdmsr(MSR_APIC_BASE), LAPIC_BASE | 0xd00);
	assert_int_equal(wrmsr(MSR_APIC_BASE, LAPIC_BASE | 0x800), -1);
	assert_int_equal(rd(0x20), 0xffffffff);
	assert_int_equal(wrmsr(MSR_APIC_BASE, LAPIC_BASE), 0);
	assert_int_equal(wrmsr(MSR_APIC_BASE, LAPIC_BASE | 0xc00), -1);
	assert_int_equal(wrmsr(MSR_APIC_BASE, LAPIC_BASE | 0x800), 0);
	assert_int_equal(rd(SVR), 0xff); /* registers were reset */
}

static void test_x2apic_registers(void **state)
{
	(void)state;
	enter_x2apic();
	assert_int_equal(rdmsr(0x802), 0);
	assert_int_equal(rdmsr(0x80d), 1);
	assert_int_equal(rdmsr(0x80f), 0x1ff);
	assert_int_equal(wrmsr(0x802, 0), -1);
	assert_int_equal(wrmsr(0x80e, 0), -1); /* no DFR */
	assert_int_equal(rdmsr_fails(0x80e), -1);
	assert_int_equal(rdmsr_fails(0x80b), -1);
	assert_int_equal(rdmsr_fails(0x831), -1);
	assert_int_equal(rdmsr_fails(0x82f), -1);
	assert_int_equal(rdmsr_fails(0x83f), -1);
	assert_int_equal(rdmsr_fails(0x8ff), -1);
	assert_int_equal(wrmsr(0x80b, 1), -1);
	assert_int_equal(wrmsr(0x828, 1), -1);
	assert_int_equal(wrmsr(0x808, 0x100), -1);
	assert_int_equal(wrmsr(0x80f, 0x10000), -1);
	assert_int_equal(wrmsr(0x832, 0x80000), -1);
	assert_int_equal(wrmsr(0x830, 0x2000), -1);
	assert_int_equal(wrmsr(0x838, 1ull << 32), -1);
	assert_int_equal(wrmsr(0x83e, 4), -1);
	assert_int_equal(wrmsr(0x808, 0x20), 0);
	assert_int_equal(rdmsr(0x808), 0x20);
	for (u32 i = 0x832; i <= 0x837; i++) /* as Linux: write back what was read */
		assert_int_equal(wrmsr(i, rdmsr(i) | 0x1000), 0);
}

static void test_x2apic_interrupts(void **state)
{
	(void)state;
	enter_x2apic();
	assert_int_equal(wrmsr(0x83f, 0x77), 0); /* self-IPI */
	assert_int_equal(ack(), 0x77);
	assert_int_equal(wrmsr(0x80b, 0), 0);
	assert_int_equal(wrmsr(0x830, 0x55), 0);
	assert_int_equal(ack(), 0x55);
	assert_int_equal(wrmsr(0x80b, 0), 0);
	assert_int_equal(rdmsr(0x830), 0x55);
	assert_int_equal(wrmsr(0x830, 0x100000856), 0); /* logical, cluster 0, CPU 0 */
	assert_int_equal(wrmsr(0x830, 0xffffffff00000056), 0);
	assert_int_equal(ack(), 0x56);
	assert_int_equal(wrmsr(0x80b, 0), 0);
	assert_int_equal(ack(), -1);
	message(0xfeeff000, 0x66); /* an IOAPIC's broadcast */
	assert_int_equal(ack(), 0x66);
	assert_int_equal(wrmsr(0x80b, 0), 0);
	message(0xfee01004, 0x67); /* logical */
	assert_int_equal(ack(), 0x67);
	assert_int_equal(wrmsr(0x80b, 0), 0);
	assert_int_equal(wrmsr(0x83f, 0x0f), 0);
	assert_int_equal(wrmsr(0x828, 0), 0);
	assert_int_equal(rdmsr(0x828), 0x20);
}

static void test_two(void **state)
{
	(void)state;
	wr(ICR, 0xc0051);
	assert_int_equal(ack(), -1);
	assert_int_equal(vm.intc->ack(&vcpus[1]), 0x51);
	wr(ICR2, 0x01000000);
	wr(ICR, 0x61);
	assert_int_equal(vm.intc->ack(&vcpus[1]), 0x61);
	wr(TPR, 0x20);
	message(0xfeeff000, 0x171); /* lowest priority among all: the other one */
	assert_int_equal(ack(), -1);
	assert_int_equal(vm.intc->peek(&vcpus[1]), 0x71);
	assert_int_equal(lapic_mmio_read(&bus.lapic[1], 0x20), 0x01000000);
	assert_int_equal(bus.lapic[1].base & APIC_BASE_BSP, 0);
}

static void test_create(void **state)
{
	struct lapic_bus *made;

	(void)state;
	assert_int_equal(lapic_create(&vm, TSC_KHZ, &made), 0);
	assert_int_equal(space_read(&vm.mem, LAPIC_BASE + 0x30, 4), 0x00050014);
	space_write(&vm.mem, LAPIC_BASE + SVR, 4, 0x1ff);
	space_write(&vm.mem, LAPIC_BASE + ICR, 4, 0x40055);
	assert_int_equal(ack(), 0x55);
	made->dev.ops->reset(&made->dev);
	assert_int_equal(lapic_create(&vm, 0, &made), -EINVAL);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_power_on),
		TEST(test_priorities),
		TEST(test_task_priority),
		TEST(test_level_eoi),
		TEST(test_extint),
		TEST(test_lint1_nmi),
		TEST(test_software_disable_masks),
		TEST(test_ipis),
		TEST(test_errors),
		TEST(test_one_shot_timer),
		TEST(test_periodic_timer),
		TEST(test_tsc_deadline),
		TEST(test_early_deadline),
		TEST(test_mode_transitions),
		TEST(test_x2apic_registers),
		TEST(test_x2apic_interrupts),
		cmocka_unit_test_setup_teardown(test_two, setup_two, teardown),
		TEST(test_create),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
