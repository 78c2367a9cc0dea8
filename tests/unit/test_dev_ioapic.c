/* SPDX-License-Identifier: MIT */
/* IOAPIC: registers, messages, edges and levels, EOI. */
#include "tests/unit/dev_fake.h"

#include "dev/ioapic.h"

static struct ioapic ioapic;
static struct msi last;
static unsigned sent;

static void record(void *ctx, struct msi msi)
{
	(void)ctx;
	last = msi;
	sent++;
}

static u32 rd(u8 reg)
{
	ioapic_write(&ioapic, IOAPIC_REGSEL, reg);
	return ioapic_read(&ioapic, IOAPIC_WIN);
}

static void wr(u8 reg, u32 value)
{
	ioapic_write(&ioapic, IOAPIC_REGSEL, reg);
	ioapic_write(&ioapic, IOAPIC_WIN, value);
}

static void route(unsigned pin, u32 low, u32 high)
{
	wr((u8)(0x11 + 2 * pin), high);
	wr((u8)(0x10 + 2 * pin), low);
}

static void set(unsigned pin, bool level)
{
	struct irq_line line = ioapic_pin(&ioapic, pin);

	irq_set(&line, level);
}

static int setup(void **state)
{
	(void)state;
	ioapic_init(&ioapic, (struct msi_sink){.send = record});
	memset(&last, 0, sizeof(last));
	sent = 0;
	return 0;
}

static void test_registers(void **state)
{
	(void)state;
	assert_int_equal(rd(1), 0x00170020);
	assert_int_equal(rd(0), 0);
	wr(0, 0xffffffff);
	assert_int_equal(rd(0), 0x0f000000);
	assert_int_equal(rd(0x10), 0x00010000);
	wr(0x10, 0xffffffff);
	assert_int_equal(rd(0x10), 0x0001afff); /* status and remote IRR are not ours to write */
	wr(0x3f, 0xffffffff);
	assert_int_equal(rd(0x3f), 0xff000000);
	assert_int_equal(rd(0x40), 0); /* past the last entry */
	wr(0xff, 1);
	assert_int_equal(ioapic_read(&ioapic, 0x30), 0);
}

static void test_edge(void **state)
{
	(void)state;
	set(4, true); /* masked: lost */
	route(4, 0x934, 0x05000000); /* logical, lowest priority */
	assert_int_equal(sent, 0);
	set(4, false);
	set(4, true);
	assert_int_equal(sent, 1);
	assert_int_equal(last.addr, 0xfee05004);
	assert_int_equal(last.data, 0x4134);
	set(4, true);
	assert_int_equal(sent, 1);
	set(4, false);
	set(4, true);
	assert_int_equal(sent, 2);
}

static void test_level(void **state)
{
	(void)state;
	route(9, 0x8059, 0);
	set(9, true);
	assert_int_equal(sent, 1);
	assert_int_equal(last.data, 0xc059);
	assert_int_equal(rd(0x10 + 18) & 0x4000, 0x4000);
	set(9, false);
	set(9, true);
	assert_int_equal(sent, 1); /* remote IRR holds it back */
	ioapic_eoi(&ioapic, 0x58);
	assert_int_equal(sent, 1);
	ioapic_eoi(&ioapic, 0x59);
	assert_int_equal(sent, 2); /* still asserted */
	set(9, false);
	ioapic_write(&ioapic, IOAPIC_EOI, 0x59);
	assert_int_equal(sent, 2);
	assert_int_equal(rd(0x10 + 18) & 0x4000, 0);
}

static void test_unmask_asserted_level(void **state)
{
	(void)state;
	route(9, 0x18059, 0);
	set(9, true);
	assert_int_equal(sent, 0);
	route(9, 0x8059, 0);
	assert_int_equal(sent, 1);
}

/* Linux's way to an EOI without an EOI register: to edge and back. */
static void test_edge_clears_remote_irr(void **state)
{
	(void)state;
	route(9, 0x8059, 0);
	set(9, true);
	set(9, false);
	wr(0x10 + 18, 0x10059);
	assert_int_equal(rd(0x10 + 18) & 0x4000, 0);
	wr(0x10 + 18, 0x8059);
	set(9, true);
	assert_int_equal(sent, 2);
}

static void test_create(void **state)
{
	struct ioapic *made;
	struct vm vm;

	(void)state;
	fake_vm_init(&vm);
	assert_int_equal(ioapic_create(&vm, (struct msi_sink){.send = record}, &made), 0);
	space_write(&vm.mem, IOAPIC_BASE, 4, 1);
	assert_int_equal(space_read(&vm.mem, IOAPIC_BASE + 0x10, 4), 0x00170020);
	assert_null(ioapic_pin(made, IOAPIC_PINS).set);
	made->dev.ops->reset(&made->dev);
	fake_vm_fini(&vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_registers, setup),
		cmocka_unit_test_setup(test_edge, setup),
		cmocka_unit_test_setup(test_level, setup),
		cmocka_unit_test_setup(test_unmask_asserted_level, setup),
		cmocka_unit_test_setup(test_edge_clears_remote_irr, setup),
		cmocka_unit_test_setup(test_create, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
