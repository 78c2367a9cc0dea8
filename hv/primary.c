/* SPDX-License-Identifier: MIT */
/*
 * The primary VM: all of the machine but us. Its memory is mapped 1:1, its
 * devices and interrupts are its own; what is left to do here is to be invisible
 * and out of reach. Where our memory is, it sees one page of no importance.
 */
#include "hv/primary.h"

#include "hv/apic.h"
#include "hv/boot.h"
#include "hv/console.h"
#include "hv/efi.h"
#include "hv/exit.h"
#include "x86/insn.h"
#include "x86/msr.h"
#include "x86/state.h"
#include "x86/svm.h"

struct domain primary_domain = {.primary = true};
struct memmap primary_map;

static struct hv_vcpu vcpus[CPU_MAX];
static u64 mapped_to;
static u8 sink[PAGE_SIZE] __attribute__((aligned(4096)));

/* ---- memory ---- */
static void map_range(u64 base, hpa_t hpa, u64 size)
{
	if (npt_map(&primary_domain, base, hpa, size, NPT_RWX))
		panic("no memory for the primary VM's tables");
}

/* RAM and what is below it; the rest of the addresses comes as it is touched. */
static void map_machine(void)
{
	mapped_to = ALIGN_UP(MAX(memmap_top(&primary_map), GIB(4)), GIB(1));
	map_range(0, 0, mapped_to);
	for (unsigned i = 0; i < primary_map.count; i++) {
		const struct mem_range *r = &primary_map.range[i];

		if (r->type != MEM_HYPERVISOR)
			continue;
		for (u64 page = r->base; page < r->base + r->size; page += PAGE_SIZE)
			map_range(page, (hpa_t)sink, PAGE_SIZE);
	}
}

/* ---- start ---- */
void primary_cpu_init(struct cpu *cpu)
{
	struct hv_vcpu *v = &vcpus[cpu->id];

	v->domain = &primary_domain;
	v->gpr = v->gpr_store;
	if (vcpu_make(v))
		panic("no memory for the primary VM's vCPU");
	v->activity = VCPU_WAIT_SIPI;
	cpu->primary = v;
	lapic_update_hook();
}

void primary_init(const struct boot_info *boot)
{
	struct cpu *cpu = this_cpu();
	int err;

	npt_largest = cpuid(0x80000001, 0).edx & BIT(26) ? 3 : 2;
	primary_map = boot->map;
	map_machine();
	lapic_init(boot->args);
	primary_cpu_init(cpu);
	cpu->primary->activity = VCPU_RUNNING;
	lapic_update_hook();
	err = boot->efi_return ? efi_resume_firmware(boot, cpu->primary)
			       : linux_load(boot, &boot->map, cpu->primary);
	if (err)
		panic("the primary VM cannot be started: %d", err);
}

_Noreturn void machine_reset(void)
{
	outb(0xcf9, 2);
	outb(0xcf9, 6);
	delay_us(100000);
	outb(0x64, 0xfe);
	for (;;)
		pause();
}

/* ---- events ---- */
static void gp_fault(struct hv_vcpu *v)
{
	vcpu_fault(v, VEC_GP, true, 0);
}

void primary_signal(struct cpu *cpu)
{
	if (!atomic_exchange(&cpu->nmis, 0))
		return;
	/* NMIs do not count: several may arrive as one. */
	if (!atomic_exchange(&cpu->kick_nmis, 0))
		cpu->primary->nmi_pending = true;
}

/*
 * Not as an NMI, but as an interrupt of the same vector: so the CPU does not
 * begin to hold NMIs back, which are how other CPUs reach this one. The end of the
 * handler is what we watch for.
 */
static void deliver_nmi(struct hv_vcpu *v)
{
	/* If another event goes first, the end of its handler is the time. */
	if (hvm->inject(v, (u32)EVENT_VALID | VEC_NMI, 0))
		v->nmi_pending = false;
	v->nmi_masked = true;
	hvm->nmi_window(v, true);
}

static void nmi_done(struct hv_vcpu *v)
{
	v->nmi_masked = false;
	hvm->nmi_window(v, false);
}

/* ---- INIT and SIPI (SDM vol. 3, 9.1 and 10.4) ---- */
static void take_init(struct cpu *cpu, struct hv_vcpu *v)
{
	if (cpu->id == 0)
		machine_reset(); /* the BSP begins again with the firmware */
	nmi_done(v);
	v->nmi_pending = false;
	v->activity = VCPU_WAIT_SIPI;
	lapic_update_hook();
}

static void take_sipi(struct hv_vcpu *v, u8 vector)
{
	struct control_state s;

	hvm->save(v);
	vcpu_reset_state(&s);
	s.cs.selector = (u16)(vector << 8);
	s.cs.base = (u64)vector << PAGE_SHIFT;
	s.rip = 0;
	s.xcr0 = v->xcr0;
	hvm->set(v, &s, STATE_SEGMENTS | STATE_CONTROL | STATE_DEBUG);
	for (unsigned i = 0; i < 16; i++)
		v->gpr[i] = 0;
	v->gpr[RDX] = cpuid(1, 0).eax;
	hvm->load(v);
	v->activity = VCPU_RUNNING;
	lapic_update_hook();
}

static void wait_for_kick(struct cpu *cpu)
{
	atomic_store(&cpu->in_guest, true); /* kicks send an NMI */
	if (!atomic_load(&cpu->kicked))
		hvm->idle();
	atomic_store(&cpu->in_guest, false);
	atomic_store(&cpu->kicked, 0);
	primary_signal(cpu);
	cpu->primary->nmi_pending = false;
}

void primary_attend(struct cpu *cpu)
{
	struct hv_vcpu *v = cpu->primary;
	u32 message = atomic_exchange(&v->sipi, 0);

	if (message & SIGNAL_INIT)
		take_init(cpu, v);
	if (message & SIGNAL_SIPI && v->activity == VCPU_WAIT_SIPI)
		take_sipi(v, (u8)message);
	if (v->activity == VCPU_WAIT_SIPI)
		wait_for_kick(cpu);
	else if (v->nmi_pending && !v->nmi_masked)
		deliver_nmi(v);
}

/* ---- CPUID: as it is, but for virtualization and what depends on the mode ---- */
static void feature_leaf(struct hv_vcpu *v, struct cpuid *r)
{
	u64 cr4 = hvm->cr4(v);

	r->ecx &= ~(u32)(BIT(27) | BIT(5)); /* OSXSAVE, VMX */
	if (cr4 & CR4_OSXSAVE)
		r->ecx |= BIT(27);
	if (!(rdmsr(MSR_APIC_BASE) & APIC_BASE_X2))
		r->ecx &= ~(u32)BIT(21);
}

static void structured_leaf(struct hv_vcpu *v, struct cpuid *r)
{
	r->ecx &= ~(u32)BIT(4); /* OSPKE */
	if (hvm->cr4(v) & BIT(22))
		r->ecx |= BIT(4);
}

static struct cpuid primary_cpuid(struct hv_vcpu *v, u32 leaf, u32 subleaf)
{
	static const struct cpuid none, signature = {0x40000000, 0x6c6c754d, 0x4d6e6f69, 0x696c6c75};
	struct cpuid r;

	if (leaf == 0x40000000)
		return signature;
	if (leaf >> 28 == 4 || leaf == 0x8000000a || leaf == 0x8000001f)
		return none;
	r = cpuid(leaf, subleaf);
	if (leaf == 1)
		feature_leaf(v, &r);
	else if (leaf == 7 && subleaf == 0)
		structured_leaf(v, &r);
	else if (leaf == 0x80000001)
		r.ecx &= ~(u32)(BIT(2) | BIT(12)); /* SVM, SKINIT */
	return r;
}

static void cpuid_exit(struct hv_vcpu *v, const struct hv_exit *exit)
{
	struct cpuid r = primary_cpuid(v, (u32)v->gpr[RAX], (u32)v->gpr[RCX]);

	v->gpr[RAX] = r.eax;
	v->gpr[RBX] = r.ebx;
	v->gpr[RCX] = r.ecx;
	v->gpr[RDX] = r.edx;
	hvm->skip(v, exit->length);
}

/* ---- MSRs ---- */
static bool write_efer(struct hv_vcpu *v, u64 value)
{
	struct control_state s;

	hvm->get(v, &s, STATE_CONTROL);
	value = (value & ~EFER_LMA) | (s.efer & EFER_LMA);
	if (value & ~efer_known() || ((value ^ s.efer) & EFER_LME && s.cr0 & CR0_PG))
		return false;
	s.efer = value;
	hvm->set(v, &s, STATE_CONTROL);
	return true;
}

/* HWCR: what has to do with this CPU's own work may be changed. */
enum { HWCR_OWN = 1 << 24 | 1 << 25 | 1 << 30 };

/* False: #GP. Where memory accesses go is the firmware's decision, and stays: such writes do nothing. */
static bool write_msr(struct cpu *cpu, struct hv_vcpu *v, u32 index, u64 value)
{
	switch (index) {
	case MSR_EFER:
		return write_efer(v, value);
	case MSR_APIC_BASE:
		return value == rdmsr(index);
	case MSR_X2APIC_ICR:
		if (!(rdmsr(MSR_APIC_BASE) & APIC_BASE_X2))
			return false;
		lapic_write_icr(cpu, (u32)value, value >> 32);
		return true;
	case MSR_HWCR:
		wrmsr(index, (rdmsr(index) & ~(u64)HWCR_OWN) | (value & HWCR_OWN));
		return true;
	case MSR_SYSCFG:
	case MSR_IORR ... MSR_IORR + 3:
	case MSR_TOM:
	case MSR_TOM2:
	case MSR_PATCH_LOADER:
	case MSR_MMIO_CFG_BASE:
	case MSR_SMM_BASE:
	case MSR_SMM_ADDR:
	case MSR_SMM_MASK:
	case MSR_VM_CR:
		return true;
	default:
		return false;
	}
}

static bool read_msr(struct hv_vcpu *v, u32 index, u64 *value)
{
	struct control_state s;

	switch (index) {
	case MSR_EFER:
		hvm->get(v, &s, STATE_CONTROL);
		*value = s.efer;
		return true;
	case MSR_VM_CR: /* as a firmware leaves it that switches SVM off for good */
		*value = VM_CR_SVMDIS | VM_CR_LOCK;
		return true;
	default:
		return false;
	}
}

static void msr_exit(struct cpu *cpu, struct hv_vcpu *v, const struct hv_exit *exit)
{
	u32 index = (u32)v->gpr[RCX];
	u64 value = v->gpr[RDX] << 32 | (u32)v->gpr[RAX];
	bool done;

	if (exit->reason == EXIT_WRMSR) {
		done = write_msr(cpu, v, index, value);
	} else {
		done = read_msr(v, index, &value);
		if (done) {
			v->gpr[RAX] = (u32)value;
			v->gpr[RDX] = value >> 32;
		}
	}
	if (done)
		hvm->skip(v, exit->length);
	else
		gp_fault(v);
}

/* ---- ports ---- */
enum { PORT_A = 0x92, PORT_A_A20 = 2, PORT_A_INIT = 1 };

static u32 port_in(u16 port, unsigned size)
{
	return size == 1 ? inb(port) : size == 2 ? inw(port) : inl(port);
}

static void port_out(u16 port, unsigned size, u32 value)
{
	if (size == 1)
		outb(port, (u8)value);
	else if (size == 2)
		outw(port, (u16)value);
	else
		outl(port, value);
}

/* A20 must stay on: without it, addresses are others for us, too. */
static void port_a_out(u16 port, unsigned size, u32 value)
{
	if (port != PORT_A || size != 1)
		return;
	if (value & PORT_A_INIT)
		machine_reset();
	outb(PORT_A, (u8)value | PORT_A_A20);
}

/* An address and its data are two accesses: what has been looked at must be what is accessed. */
static u32 config_port_access(u16 port, unsigned size, bool in, u32 value)
{
	static struct spinlock ports;

	lock(&ports);
	if (pci_port_access(port, size, in, &value))
		;
	else if (in)
		value = port_in(port, size);
	else
		port_out(port, size, value);
	unlock(&ports);
	return value;
}

static u32 port_access(u16 port, unsigned size, bool in, u32 value)
{
	if (port >= 0xcf0)
		return config_port_access(port, size, in, value);
	if (in)
		return port_in(port, size);
	port_a_out(port, size, value);
	return 0;
}

static void io_exit(struct hv_vcpu *v, const struct hv_exit *exit)
{
	static const u32 masks[5] = {0, 0xff, 0xffff, 0, 0xffffffff};
	u32 mask = masks[exit->io.size], value;

	if (exit->io.string) { /* no system does that to these ports */
		gp_fault(v);
		return;
	}
	value = port_access(exit->io.port, exit->io.size, exit->io.in, (u32)v->gpr[RAX] & mask);
	if (exit->io.in && exit->io.size == 4)
		v->gpr[RAX] = value;
	else if (exit->io.in)
		v->gpr[RAX] = (v->gpr[RAX] & ~(u64)mask) | (value & mask);
	hvm->skip(v, exit->length);
}

/* ---- nested page faults ---- */
/* Addresses above RAM are mapped when they are first used; devices' BARs may be anywhere. */
bool primary_map_more(u64 gpa)
{
	u64 size, largest = npt_largest == 3 ? GIB(1) : MIB(2);
	unsigned flags;

	if (gpa < mapped_to || gpa >= physical_end())
		return false;
	if (npt_lookup(&primary_domain, gpa, &flags, &size) != (hpa_t)-1)
		return false;
	size = MIN(size, largest);
	gpa = ALIGN_DOWN(gpa, size);
	return size > PAGE_SIZE && !npt_map(&primary_domain, gpa, gpa, size, NPT_RWX);
}

enum { FAULT_WRITE = 2, FAULT_FETCH = 16 };

static bool allowed(unsigned flags, u64 error)
{
	unsigned need =
		NPT_READ | (error & FAULT_WRITE ? NPT_WRITE : 0) | (error & FAULT_FETCH ? NPT_EXEC : 0);

	return (flags & need) == need;
}

/* True: the access can be done now, or could already, since another CPU has mapped the page. */
static bool is_mapped(u64 gpa, u64 error)
{
	unsigned flags;
	u64 size;
	bool mapped;

	lock(&primary_domain.lock);
	mapped = primary_map_more(gpa);
	npt_lookup(&primary_domain, gpa, &flags, &size);
	unlock(&primary_domain.lock);
	return mapped || allowed(flags, error);
}

static void npf_exit(struct cpu *cpu, struct hv_vcpu *v, const struct hv_exit *exit)
{
	u64 gpa = exit->npf.gpa;

	if (!lapic_is_hooked(gpa) && (guest_page_touched(gpa) || is_mapped(gpa, exit->npf.error)))
		return;
	if (!mmio_emulate(cpu, v))
		gp_fault(v);
}

/* ---- all exits ---- */
static void call_exit(struct cpu *cpu, struct hv_vcpu *v, const struct hv_exit *exit)
{
	if (control_call(cpu, v))
		hvm->skip(v, exit->length);
	else
		vcpu_fault(v, VEC_UD, false, 0);
}

void primary_exit(struct cpu *cpu, struct hv_vcpu *v, struct hv_exit *exit)
{
	switch (exit->reason) {
	case EXIT_CPUID:
		cpuid_exit(v, exit);
		break;
	case EXIT_CALL:
		call_exit(cpu, v, exit);
		break;
	case EXIT_IO:
		io_exit(v, exit);
		break;
	case EXIT_RDMSR:
	case EXIT_WRMSR:
		msr_exit(cpu, v, exit);
		break;
	case EXIT_NPF:
		npf_exit(cpu, v, exit);
		break;
	case EXIT_NMI:
	case EXIT_INIT:
		break; /* primary_signal() has seen it */
	case EXIT_WINDOW:
		nmi_done(v);
		break;
	case EXIT_EXCEPTION:
		vcpu_fault(v, exit->exception.vector, exit->exception.vector == VEC_AC, 0);
		break;
	case EXIT_INSTRUCTION: /* INVD would throw away what our caches hold, too */
		__asm__ volatile("wbinvd" : : : "memory");
		hvm->skip(v, exit->length);
		break;
	case EXIT_SHUTDOWN:
		print("mullion: the primary VM's CPU %u has shut down; the machine is reset\n", cpu->id);
		machine_reset();
	case EXIT_FAILED:
		panic("the primary VM cannot be entered");
	default:
		vcpu_fault(v, VEC_UD, false, 0);
	}
}
