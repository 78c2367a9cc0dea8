/* SPDX-License-Identifier: MIT */
/* The PC's schematic: RAM, chips with their wires, PCI, in order. */
#include "main/machine.h"

#include <errno.h>
#include <string.h>

#include "boot/acpi.h"
#include "boot/boot.h"
#include "dev/acpi_pm.h"
#include "dev/debug.h"
#include "dev/hpet.h"
#include "dev/i8042.h"
#include "dev/i8254.h"
#include "dev/i8259.h"
#include "dev/ioapic.h"
#include "dev/lapic.h"
#include "dev/rtc.h"
#include "dev/uart16550.h"
#include "main/machine_console.h"
#include "main/machine_disks.h"
#include "main/machine_display.h"
#include "main/machine_nets.h"
#include "main/machine_ram.h"
#include "main/machine_shares.h"
#include "main/machine_virtio.h"

#define PIT_GSI 2 /* where the 8254 goes on the IOAPIC; the MADT says so */

/* What is left for PCI's BARs: ports, memory between ECAM and IOAPIC, memory above all RAM. */
#define PCI_IO_BASE 0xc000 /* the chips' ports are below */
#define PCI_MEM32_BASE (PCI_ECAM_BASE + PCI_ECAM_SIZE)
#define PCI_MEM32_END IOAPIC_BASE
#define PCI_MEM64_SIZE GIB(256)
#define PCI_GSI 16 /* the first of the four INTx lines at the IOAPIC */

/* At the 8259, the lines have those pins for themselves that no chip of this machine uses. */
static const u8 intx_isa_irq[PCI_INTX_LINES] = {10, 11, 5, 14};

/* ---- the clock ---- */

static void clock_rearm(struct clock *clock)
{
	struct vm *vm = container_of(clock, struct vm, clock);
	struct machine *m = container_of(vm, struct machine, vm);
	u64 next = clock_uncovered(clock);

	loop_timer_set(&m->timer, next == CLOCK_NEVER ? LOOP_NEVER : clock->base + next);
}

static void clock_expired(void *arg)
{
	struct machine *m = arg;

	if (!vm_trylock(&m->vm))
		return; /* the loop calls again */
	loop_timer_taken(&m->timer);
	clock_run(&m->vm.clock);
	clock_rearm(&m->vm.clock);
	pthread_mutex_unlock(&m->vm.lock);
}

/* ---- wires ---- */

/* An ISA interrupt line, connected to both interrupt controllers. */
static struct irq_line isa_irq(struct machine *m, unsigned irq)
{
	m->isa[irq].a = i8259_pin(m->pic, irq);
	m->isa[irq].b = ioapic_pin(m->ioapic, irq ? irq : PIT_GSI);
	return irq_fork_line(&m->isa[irq]);
}

static struct hpet_wires hpet_wiring(struct machine *m)
{
	struct hpet_wires wires = {.irq0 = isa_irq(m, I8254_IRQ), .irq8 = isa_irq(m, RTC_IRQ)};

	for (unsigned pin = 0; pin < HPET_PINS; pin++) {
		if (HPET_ROUTES & BIT(pin))
			wires.pin[pin] = ioapic_pin(m->ioapic, pin);
	}
	return wires;
}

/* ---- chips ---- */

static int add_interrupt_controllers(struct machine *m)
{
	/* It turns deadlines into timers, and looks at the TSC again when they fire: roughly is enough. */
	int ret = lapic_create(&m->vm, tsc_khz_since(&m->started, TSC_ROUGH_NS), &m->lapic);

	if (!ret)
		ret = i8259_create(&m->vm, lapic_lint(m->lapic, 0, 0), &m->pic);
	if (!ret)
		ret = ioapic_create(&m->vm, lapic_msi_sink(m->lapic), &m->ioapic);
	if (ret)
		return ret;
	lapic_link(m->lapic, &(struct lapic_links){
				     .inta = i8259_inta,
				     .inta_ctx = m->pic,
				     .eoi = ioapic_eoi,
				     .eoi_ctx = m->ioapic,
			     });
	return 0;
}

/* The HPET's legacy mode takes the places of the 8254 and the RTC, so they are wired through it. */
static int add_timers(struct machine *m)
{
	const struct rtc_config config = {.ram_below_4g = m->ram_below, .ram_above_4g = m->ram_above};
	const struct hpet_wires wires = hpet_wiring(m);
	struct i8254 *pit;
	struct rtc *rtc;
	int ret = hpet_create(&m->vm, &wires, &m->hpet);

	if (!ret)
		ret = i8254_create(&m->vm, hpet_legacy_in(m->hpet, I8254_IRQ), &pit);
	if (!ret)
		ret = rtc_create(&m->vm, hpet_legacy_in(m->hpet, RTC_IRQ), &config, &rtc);
	return ret;
}

static int add_legacy_devices(struct machine *m)
{
	struct uart16550 *com1;
	struct debug_console *debug;
	struct debug_exit *debug_exit;
	int ret = uart16550_create(&m->vm, UART_COM1_PORT, isa_irq(m, UART_COM1_IRQ), &m->console_pair.end[0], &com1);

	if (!ret)
		ret = i8042_create(&m->vm, isa_irq(m, I8042_IRQ), isa_irq(m, I8042_AUX_IRQ), &m->kbc);
	if (!ret)
		ret = debug_console_create(&m->vm, m->console, &debug);
	if (!ret && m->config->debug_exit)
		ret = debug_exit_create(&m->vm, &debug_exit);
	return ret;
}

static u64 pci_mem64_base(const struct machine *m)
{
	return ALIGN_UP(GIB(4) + m->ram_above, PCI_MEM64_SIZE);
}

static int add_pci(struct machine *m)
{
	struct pci_wiring wiring = {
		.msi = lapic_msi_sink(m->lapic),
		.io = {PCI_IO_BASE, 0x10000},
		.mem32 = {PCI_MEM32_BASE, PCI_MEM32_END},
		.mem64 = {pci_mem64_base(m), pci_mem64_base(m) + PCI_MEM64_SIZE},
	};

	for (unsigned i = 0; i < PCI_INTX_LINES; i++) {
		m->intx[i].a = ioapic_pin(m->ioapic, PCI_GSI + i);
		m->intx[i].b = i8259_pin(m->pic, intx_isa_irq[i]);
		wiring.intx[i] = irq_fork_line(&m->intx[i]);
		wiring.isa_irq[i] = intx_isa_irq[i];
	}
	return pci_host_create(&m->vm, &wiring, &m->pci);
}

/* Empty slots, behind all devices that are there from the start. */
static int add_ports(struct machine *m)
{
	int ret = 0;

	for (unsigned i = 0; !ret && i < m->config->hotplug_ports; i++)
		ret = pci_port_create(m->pci, "pcie root port", i + 1, &m->port[i]);
	return ret;
}

static int add_chips(struct machine *m, struct err *err)
{
	int ret = add_interrupt_controllers(m);

	if (!ret)
		ret = add_timers(m);
	if (!ret)
		ret = add_legacy_devices(m);
	if (!ret)
		ret = acpi_pm_create(&m->vm, isa_irq(m, ACPI_SCI_IRQ), &m->acpi_pm);
	if (!ret)
		ret = add_pci(m);
	if (!ret)
		ret = machine_add_display(m, err);
	if (!ret)
		ret = machine_add_disks(m, err);
	if (!ret)
		ret = machine_add_nets(m, err);
	if (!ret)
		ret = machine_add_shares(m, err);
	if (!ret)
		ret = machine_add_virtio(m, err);
	if (!ret)
		ret = add_ports(m);
	return ret;
}

int machine_create(struct machine *m, struct loop *loop, const struct engine_ops *engine,
	const struct vm_config *config, const struct tsc_sample *started, struct err *err)
{
	int ret;

	*m = (struct machine){.loop = loop, .config = config, .ram_fd = -1};
	m->started = *started;
	err_set(err, EIO, "the machine could not be built");
	ret = vm_init(&m->vm, "vm", engine, config->cpus);
	if (!ret)
		ret = loop_timer_init(loop, &m->timer, clock_expired, m);
	if (ret)
		return ret;
	m->vm.clock.rearm = clock_rearm;
	m->vm.private_memory = config->private_memory;
	m->vm.packed_rings = config->packed_rings;
	ret = machine_add_ram(m, err);
	if (!ret)
		ret = machine_open_console(m, err);
	if (!ret) {
		console_pair_init(&m->console_pair, m->console);
		ret = add_chips(m, err);
	}
	return ret;
}

void machine_destroy(struct machine *m)
{
	machine_close_shares(m);
	machine_close_display(m);
	vm_fini(&m->vm);
	machine_close_disks(m);
	machine_close_nets(m);
	machine_close_virtio(m);
	if (m->console)
		m->console->ops->close(m->console);
	m->console = NULL;
	loop_timer_fini(m->loop, &m->timer);
	machine_free_ram(m);
}

/* ---- what firmware would have done ---- */

static void describe(const struct machine *m, struct acpi_config *acpi)
{
	*acpi = (struct acpi_config){
		.nvcpus = m->vm.nvcpus,
		.lapic_base = (u32)LAPIC_BASE,
		.ioapic_base = (u32)IOAPIC_BASE,
		.ioapic_id = IOAPIC_ID,
		.hpet_base = HPET_BASE,
		.hpet_id = HPET_ID,
		.ecam_base = PCI_ECAM_BASE,
		.ecam_size = PCI_ECAM_SIZE,
		.pm1_event_port = ACPI_PM1_EVT_PORT,
		.pm1_control_port = ACPI_PM1_CNT_PORT,
		.pm_timer_port = ACPI_PM_TMR_PORT,
		.gpe0_port = ACPI_GPE0_PORT,
		.gpe0_len = ACPI_GPE0_LEN,
		.sci_irq = ACPI_SCI_IRQ,
		.sleep_type_s5 = ACPI_SLP_TYP_S5,
		.reset_port = PCI_RESET_PORT,
		.reset_value = PCI_RESET_VALUE,
		.rtc_century = RTC_CENTURY,
		.rtc_port = RTC_PORT,
		.rtc_irq = RTC_IRQ,
		.com1_port = UART_COM1_PORT,
		.com1_irq = UART_COM1_IRQ,
		.vga = m->display.vga,
		.kbd_data_port = machine_has_display(m) ? I8042_DATA_PORT : 0,
		.kbd_command_port = I8042_COMMAND_PORT,
		.kbd_irq = I8042_IRQ,
		.mouse_irq = I8042_AUX_IRQ,
		.pci_config_port = PCI_CONFIG_PORT,
		.pci_mem32 = {PCI_MEM32_BASE, PCI_MEM32_END - 1},
		.pci_mem64 = {pci_mem64_base(m), pci_mem64_base(m) + PCI_MEM64_SIZE - 1},
		.pci_gsi = PCI_GSI,
	};
	memcpy(acpi->pci_isa_irq, intx_isa_irq, sizeof(acpi->pci_isa_irq));
}

/* Devices that were made before this get their places; INTx is level-triggered at the 8259, too. */
static void set_up_pci(struct machine *m)
{
	pthread_mutex_lock(&m->vm.lock);
	for (unsigned i = 0; i < PCI_INTX_LINES; i++)
		i8259_set_level_triggered(m->pic, intx_isa_irq[i]);
	pci_assign(m->pci);
	pthread_mutex_unlock(&m->vm.lock);
}

int machine_load(struct machine *m, struct err *err)
{
	struct acpi_config acpi;
	struct boot_config boot = {
		.kernel = m->kernel,
		.initrd = m->initrd,
		.inside = m->inside,
		.command_line = m->append,
		.memory = {m->ram_below, m->ram_above, PCI_ECAM_BASE, PCI_ECAM_SIZE},
		.vga = m->display.vga,
	};
	int ret;

	set_up_pci(m);
	describe(m, &acpi);
	ret = acpi_load(&m->vm.mem, &acpi, &boot.rsdp);
	if (ret)
		return err_set(err, -ret, "no room for the ACPI tables");
	ret = boot_load(&m->vm.mem, &boot, &m->vm.vcpu[0].regs, err);
	if (ret)
		return ret;
	/* Last, so that the time that loading took measures the TSC. */
	m->vm.tsc_khz = tsc_khz_since(&m->started, TSC_EXACT_NS);
	return 0;
}

void machine_reset(struct machine *m)
{
	vm_reset(&m->vm);
	machine_clear_ram(m);
	console_stdio_restart(m->console);
}
