/* SPDX-License-Identifier: MIT */
/*
 * AMD SVM behind hvm_ops: one VMCB per vCPU, nested paging, ASIDs handed out per
 * CPU. What a VM may do without an exit is decided here.
 *
 * A vCPU takes a new ASID when it comes to another CPU, when its nested tables
 * have changed, and when its CPU has run out of them: then all the CPU's
 * translations go, and counting starts again. So two vCPUs never share one.
 */
#include <errno.h>

#include "hv/console.h"
#include "hv/cpu.h"
#include "hv/domain.h"
#include "x86/insn.h"
#include "hv/page.h"
#include "lib/string.h"
#include "hv/svm.h"
#include "hv/xstate.h"
#include "x86/state.h"

enum {
	FEATURE_NESTED_PAGING = 1 << 0, /* CPUID 8000000a EDX */
	FEATURE_NRIP = 1 << 3,
	FEATURE_V_SPEC_CTRL = 1 << 20,
};

static u32 features, asids; /* of the BSP; the others must be like it */
static bool has_spec_ctrl, has_tsc_aux;

/* [0] the primary VM's, [1] the guests': a set bit is an exit */
static u8 iopm[2][SVM_IOPM_SIZE] __attribute__((aligned(4096)));
static u8 msrpm[2][SVM_MSRPM_SIZE] __attribute__((aligned(4096)));

static struct {
	u64 generation; /* 0: not begun */
	u32 next;
} asid_pool[CPU_MAX];

/* In the part of a VMCB that belongs to software. */
struct own {
	u32 cpu; /* where it ran last, and with which ASIDs */
	u64 asid_generation;
};

static struct own *own(struct vmcb *vmcb)
{
	return (struct own *)vmcb->c.software;
}

/* ---- instructions ---- */
/* Lets an NMI or INIT that waits through to our handlers (trap.c), which count it. */
static void open_gate(void)
{
	__asm__ volatile("stgi; nop; clgi" : : : "memory");
}

static void svm_idle(void)
{
	__asm__ volatile("stgi; hlt; clgi" : : : "memory");
}

#define READ_DR(n)                                                                                           \
	({                                                                                                   \
		u64 dr_;                                                                                     \
		__asm__ volatile("mov %%db" #n ", %0" : "=r"(dr_));                                          \
		dr_;                                                                                         \
	})
#define WRITE_DR(n, value) __asm__ volatile("mov %0, %%db" #n : : "r"((u64)(value)))

/* ---- permission maps ---- */
static void io_intercept(u8 *map, unsigned port)
{
	map[port / 8] |= 1u << port % 8;
}

enum { MSR_READ = 1, MSR_WRITE = 2 };

/* Two bits for each MSR of three ranges of 0x2000; the others always exit. */
static void msr_intercept(u8 *map, u32 index, unsigned rights, bool on)
{
	static const u32 base[3] = {0, 0xc0000000, 0xc0010000};

	for (unsigned i = 0; i < 3; i++) {
		u32 offset = index - base[i];
		u8 *byte = &map[i * 0x800 + offset / 4], mask = rights << offset % 4 * 2;

		if (offset < 0x2000)
			*byte = on ? *byte | mask : *byte & ~mask;
	}
}

/*
 * What the primary VM must not reach: this extension's own registers, and what
 * decides where memory accesses and SMM go. primary.c answers.
 */
static void primary_maps(void)
{
	static const u32 all[] = {MSR_EFER, MSR_VM_CR, MSR_VM_HSAVE_PA, MSR_SVM_KEY, MSR_SMM_CTL, MSR_IGNNE,
		MSR_DOORBELL, MSR_TSC_RATIO, MSR_GHCB};
	static const u32 writes[] = {MSR_APIC_BASE, MSR_SYSCFG, MSR_HWCR, MSR_IORR, MSR_IORR + 1,
		MSR_IORR + 2, MSR_IORR + 3, MSR_TOM, MSR_TOM2, MSR_PATCH_LOADER, MSR_MMIO_CFG_BASE,
		MSR_SMM_BASE, MSR_SMM_ADDR, MSR_SMM_MASK, MSR_X2APIC_ICR};

	for (unsigned port = 0xcf8; port <= 0xcff; port++)
		io_intercept(iopm[0], port);
	io_intercept(iopm[0], 0x92); /* A20 and a reset */
	for (unsigned i = 0; i < ARRAY_SIZE(all); i++)
		msr_intercept(msrpm[0], all[i], MSR_READ | MSR_WRITE, true);
	for (unsigned i = 0; i < ARRAY_SIZE(writes); i++)
		msr_intercept(msrpm[0], writes[i], MSR_WRITE, true);
}

/* A guest has only what VMRUN, VMLOAD or a switch of vCPUs exchanges. */
static void guest_maps(void)
{
	static const u32 own[] = {MSR_SYSENTER_CS, MSR_SYSENTER_ESP, MSR_SYSENTER_EIP, MSR_PAT, MSR_STAR, MSR_LSTAR,
		MSR_CSTAR, MSR_SFMASK, MSR_FS_BASE, MSR_GS_BASE, MSR_KERNEL_GS_BASE};

	memset(iopm[1], 0xff, sizeof(iopm[1]));
	memset(msrpm[1], 0xff, sizeof(msrpm[1]));
	for (unsigned i = 0; i < ARRAY_SIZE(own); i++)
		msr_intercept(msrpm[1], own[i], MSR_READ | MSR_WRITE, false);
	msr_intercept(msrpm[1], MSR_TSC, MSR_READ, false);
	if (has_tsc_aux)
		msr_intercept(msrpm[1], MSR_TSC_AUX, MSR_READ | MSR_WRITE, false);
	if (has_spec_ctrl)
		msr_intercept(msrpm[1], MSR_SPEC_CTRL, MSR_READ | MSR_WRITE, false);
}

/* ---- the CPU ---- */
static bool svm_present(void)
{
	struct cpuid r = cpuid(0x80000000, 0);

	if (r.eax < 0x8000000a || !(cpuid(0x80000001, 0).ecx & BIT(2)))
		return false;
	r = cpuid(0x8000000a, 0);
	return r.edx & FEATURE_NESTED_PAGING && r.ebx > 2;
}

static void init_once(void)
{
	struct cpuid r = cpuid(0x8000000a, 0);

	features = r.edx;
	asids = r.ebx;
	has_tsc_aux = cpuid(0x80000001, 0).edx & BIT(27);
	has_spec_ctrl = cpuid(0x80000000, 0).eax >= 0x80000008 &&
			cpuid(0x80000008, 0).ebx & (BIT(14) | BIT(15) | BIT(24));
	primary_maps();
	guest_maps();
}

static int svm_cpu_on(void)
{
	struct cpu *cpu = this_cpu();

	if (!svm_present())
		return -ENODEV;
	if (rdmsr(MSR_VM_CR) & VM_CR_SVMDIS)
		return -EPERM;
	if (!asids)
		init_once();
	if (!cpu->host_save)
		cpu->host_save = page_alloc();
	if (!cpu->host_save)
		return -ENOMEM;
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SVME | EFER_NXE);
	wrmsr(MSR_VM_CR, rdmsr(MSR_VM_CR) | VM_CR_R_INIT | VM_CR_DIS_A20M);
	wrmsr(MSR_VM_HSAVE_PA, (u64)cpu->host_save);
	xstate_cpu_on();
	__asm__ volatile("clgi" : : : "memory");
	return 0;
}

/* ---- vCPUs ---- */
static void intercepts(struct vmcb *vmcb, bool primary)
{
	struct vmcb_control *c = &vmcb->c;

	/* An exception that is raised again and again by its own delivery would hold the CPU for ever. */
	c->intercept_exception = BIT(VEC_DB) | BIT(VEC_AC);
	c->intercept1 = INTERCEPT1_NMI | INTERCEPT1_INIT | INTERCEPT1_CPUID | INTERCEPT1_INVD |
			INTERCEPT1_INVLPGA | INTERCEPT1_IO | INTERCEPT1_MSR | INTERCEPT1_SHUTDOWN;
	c->intercept2 = INTERCEPT2_SVM;
	if (primary)
		return;
	c->intercept_exception |= BIT(VEC_MC);
	c->intercept1 |= INTERCEPT1_INTR | INTERCEPT1_RDPMC | INTERCEPT1_HLT | INTERCEPT1_TASK_SWITCH |
			 INTERCEPT1_FERR_FREEZE;
	c->intercept2 |= INTERCEPT2_WBINVD | INTERCEPT2_MONITOR | INTERCEPT2_MWAIT | INTERCEPT2_MWAIT_ARMED |
			 INTERCEPT2_XSETBV | INTERCEPT2_RDPRU;
	c->v_intr = V_INTR_MASKING;
}

static int svm_vcpu_init(struct hv_vcpu *v)
{
	struct vmcb *vmcb = page_alloc();
	bool primary = v->domain->primary;

	if (!vmcb)
		return -ENOMEM;
	v->hw = vmcb;
	v->hw_pa = (hpa_t)vmcb;
	intercepts(vmcb, primary);
	vmcb->c.iopm = (hpa_t)iopm[!primary];
	vmcb->c.msrpm = (hpa_t)msrpm[!primary];
	vmcb->c.nested_paging = 1;
	vmcb->c.nested_cr3 = (hpa_t)v->domain->root;
	own(vmcb)->cpu = CPU_MAX;
	return 0;
}

static void svm_vcpu_fini(struct hv_vcpu *v)
{
	if (v->hw)
		page_free(v->hw);
	v->hw = NULL;
}

/* Before v runs again its translations are stale: it takes another ASID. */
static void svm_flush(struct hv_vcpu *v)
{
	struct vmcb *vmcb = v->hw;

	own(vmcb)->cpu = CPU_MAX;
}

static void new_asid(struct vmcb *vmcb, u32 cpu)
{
	vmcb->c.tlb_control = TLB_KEEP;
	if (asid_pool[cpu].next >= asids || !asid_pool[cpu].generation) {
		asid_pool[cpu].generation++;
		asid_pool[cpu].next = 1;
		vmcb->c.tlb_control = TLB_FLUSH_ALL;
	}
	vmcb->c.asid = asid_pool[cpu].next++;
	own(vmcb)->asid_generation = asid_pool[cpu].generation;
	own(vmcb)->cpu = cpu;
}

/* ---- exits ---- */
/*
 * An event whose delivery was interrupted is delivered at the next entry. Not
 * INT n, INT3, INTO: they are executed again.
 */
static void requeue_event(struct vmcb_control *c)
{
	u64 event = c->exit_int_info;
	unsigned vector = event & 0xff, type = event >> EVENT_TYPE_SHIFT & 7;

	c->event_inj = 0;
	if (likely(!(event & EVENT_VALID)))
		return;
	if (type == EVENT_SOFT || (type == EVENT_EXCEPTION && (vector == VEC_BP || vector == VEC_OF)))
		return;
	/* QEMU calls every event an exception; a CPU would refuse such ones. */
	if (type == EVENT_EXCEPTION && vector == VEC_NMI)
		event ^= (EVENT_EXCEPTION ^ EVENT_NMI) << EVENT_TYPE_SHIFT;
	else if (type == EVENT_EXCEPTION && vector >= 32)
		event &= ~(7ull << EVENT_TYPE_SHIFT);
	c->event_inj = event;
}

/* By the hardware's code. CPUs without next-RIP save: the length without prefixes. */
static const struct {
	bool known;
	u8 reason, length;
} simple[SVM_EXIT_XSETBV + 1] = {
	[SVM_EXIT_CR_WRITE + 8] = {true, EXIT_CR, 0},
	[SVM_EXIT_INTR] = {true, EXIT_INTR, 0},
	[SVM_EXIT_NMI] = {true, EXIT_NMI, 0},
	[SVM_EXIT_INIT] = {true, EXIT_INIT, 0},
	[SVM_EXIT_VINTR] = {true, EXIT_WINDOW, 0},
	[SVM_EXIT_IRET] = {true, EXIT_WINDOW, 0},
	[SVM_EXIT_CR0_SEL_WRITE] = {true, EXIT_CR, 0},
	[SVM_EXIT_CPUID] = {true, EXIT_CPUID, 2},
	[SVM_EXIT_INVD] = {true, EXIT_INSTRUCTION, 2},
	[SVM_EXIT_HLT] = {true, EXIT_HLT, 1},
	[SVM_EXIT_INVLPGA] = {true, EXIT_VIRTUALIZATION, 3},
	[SVM_EXIT_SHUTDOWN] = {true, EXIT_SHUTDOWN, 0},
	[SVM_EXIT_VMRUN] = {true, EXIT_VIRTUALIZATION, 3},
	[SVM_EXIT_VMMCALL] = {true, EXIT_CALL, 3},
	[SVM_EXIT_VMLOAD] = {true, EXIT_VIRTUALIZATION, 3},
	[SVM_EXIT_VMSAVE] = {true, EXIT_VIRTUALIZATION, 3},
	[SVM_EXIT_STGI] = {true, EXIT_VIRTUALIZATION, 3},
	[SVM_EXIT_CLGI] = {true, EXIT_VIRTUALIZATION, 3},
	[SVM_EXIT_SKINIT] = {true, EXIT_VIRTUALIZATION, 3},
	[SVM_EXIT_XSETBV] = {true, EXIT_XSETBV, 3},
};

static void simple_exit(struct vmcb_control *c, struct hv_exit *exit)
{
	if (likely(c->exit_code < ARRAY_SIZE(simple) && simple[c->exit_code].known)) {
		exit->reason = simple[c->exit_code].reason;
		exit->length = simple[c->exit_code].length;
	} else {
		exit->reason = c->exit_code < SVM_EXIT_INTR ? EXIT_OTHER : EXIT_INSTRUCTION;
	}
	if (exit->reason == EXIT_NMI || exit->reason == EXIT_INIT)
		open_gate();
}

static void exception_exit(struct vmcb_control *c, struct hv_exit *exit)
{
	exit->reason = EXIT_EXCEPTION;
	exit->exception.vector = c->exit_code - SVM_EXIT_EXCEPTION;
	exit->exception.error = c->exit_info1;
	exit->exception.address = c->exit_info2;
}

static void io_exit(struct vmcb *vmcb, struct hv_exit *exit)
{
	u32 info = vmcb->c.exit_info1;

	exit->reason = EXIT_IO;
	exit->io.port = info >> IO_PORT_SHIFT;
	exit->io.size = info >> IO_SIZE_SHIFT & 7;
	exit->io.in = info & IO_IN;
	exit->io.string = info & IO_STRING;
	exit->io.rep = info & IO_REP;
	exit->length = vmcb->c.exit_info2 - vmcb->rip;
}

static void translate_exit(struct vmcb *vmcb, struct hv_exit *exit)
{
	struct vmcb_control *c = &vmcb->c;
	u64 code = c->exit_code;

	exit->raw = code;
	exit->length = 0;
	if (code == SVM_EXIT_CPUID) { /* the one that counts */
		exit->reason = EXIT_CPUID;
		exit->length = 2;
	} else if (code == SVM_EXIT_NPF) {
		exit->reason = EXIT_NPF;
		exit->npf.error = c->exit_info1;
		exit->npf.gpa = c->exit_info2;
	} else if (code == SVM_EXIT_IO) {
		io_exit(vmcb, exit);
	} else if (code == SVM_EXIT_MSR) {
		exit->reason = c->exit_info1 & 1 ? EXIT_WRMSR : EXIT_RDMSR;
		exit->length = 2;
	} else if (code == SVM_EXIT_INVALID) {
		exit->reason = EXIT_FAILED;
	} else if (code - SVM_EXIT_EXCEPTION < 32) {
		exception_exit(c, exit);
	} else {
		simple_exit(c, exit);
	}
	if (exit->length && exit->reason != EXIT_IO && features & FEATURE_NRIP)
		exit->length = c->next_rip - vmcb->rip;
}

static void svm_run(struct hv_vcpu *v, struct hv_exit *exit)
{
	struct vmcb *vmcb = v->hw;
	u32 cpu = this_cpu()->id;

	if (unlikely(own(vmcb)->cpu != cpu || own(vmcb)->asid_generation != asid_pool[cpu].generation))
		new_asid(vmcb, cpu);
	vmcb->rax = v->gpr[RAX];
	vmcb->rsp = v->gpr[RSP];
	svm_enter(v->gpr, v->hw_pa);
	v->gpr[RAX] = vmcb->rax;
	v->gpr[RSP] = vmcb->rsp;
	vmcb->c.tlb_control = TLB_KEEP;
	requeue_event(&vmcb->c);
	translate_exit(vmcb, exit);
}

/* ---- what stays in the CPU ---- */
static void svm_save(struct hv_vcpu *v)
{
	struct vmcb *vmcb = v->hw;

	__asm__ volatile("vmsave %%rax" : : "a"(v->hw_pa) : "memory");
	v->dr[0] = READ_DR(0);
	v->dr[1] = READ_DR(1);
	v->dr[2] = READ_DR(2);
	v->dr[3] = READ_DR(3);
	if (has_tsc_aux)
		v->tsc_aux = rdmsr(MSR_TSC_AUX);
	if (features & FEATURE_V_SPEC_CTRL)
		v->spec_ctrl = vmcb->spec_ctrl;
	else if (has_spec_ctrl)
		v->spec_ctrl = rdmsr(MSR_SPEC_CTRL);
	xstate_save(v);
}

static void svm_load(struct hv_vcpu *v)
{
	struct vmcb *vmcb = v->hw;

	xstate_load(v);
	if (features & FEATURE_V_SPEC_CTRL)
		vmcb->spec_ctrl = v->spec_ctrl;
	else if (has_spec_ctrl)
		wrmsr(MSR_SPEC_CTRL, v->spec_ctrl);
	if (has_tsc_aux)
		wrmsr(MSR_TSC_AUX, v->tsc_aux);
	WRITE_DR(0, v->dr[0]);
	WRITE_DR(1, v->dr[1]);
	WRITE_DR(2, v->dr[2]);
	WRITE_DR(3, v->dr[3]);
	__asm__ volatile("vmload %%rax" : : "a"(v->hw_pa) : "memory");
}

/* ---- events ---- */
static bool svm_inject(struct hv_vcpu *v, u32 event, u32 error_code)
{
	struct vmcb *vmcb = v->hw;

	if (vmcb->c.event_inj & EVENT_VALID)
		return false;
	vmcb->c.event_inj = (u64)error_code << 32 | event;
	return true;
}

static void svm_nmi_window(struct hv_vcpu *v, bool on)
{
	struct vmcb *vmcb = v->hw;

	if (on)
		vmcb->c.intercept1 |= INTERCEPT1_IRET;
	else
		vmcb->c.intercept1 &= ~INTERCEPT1_IRET;
}

/* A virtual interrupt that nothing but the guest's IF holds back, and an exit when it would be taken. */
static void interrupt_window(struct vmcb *vmcb, bool on)
{
	if (on) {
		vmcb->c.intercept1 |= INTERCEPT1_VINTR;
		vmcb->c.v_intr |= V_IRQ | V_PRIORITY | V_IGNORE_TPR;
	} else {
		vmcb->c.intercept1 &= ~INTERCEPT1_VINTR;
		vmcb->c.v_intr &= ~(V_IRQ | V_PRIORITY | V_IGNORE_TPR);
	}
}

#define DR6_BS BIT(14)

/* With TF set, the trap follows that the CPU would have raised. */
static void svm_skip(struct hv_vcpu *v, unsigned length)
{
	struct vmcb *vmcb = v->hw;

	vmcb->rip += length;
	if (!(vmcb->cs.attr & SVM_ATTR_L && vmcb->efer & EFER_LMA))
		vmcb->rip = (u32)vmcb->rip;
	vmcb->c.interrupt_shadow = 0;
	vmcb->rflags &= ~(u64)FL_RF;
	if (likely(!(vmcb->rflags & FL_TF)))
		return;
	vmcb->dr6 |= DR6_BS;
	vcpu_fault(v, VEC_DB, false, 0);
}

static void svm_resume_at(struct hv_vcpu *v, u64 rip, u64 rflags)
{
	struct vmcb *vmcb = v->hw;

	vmcb->rip = rip;
	vmcb->rflags = rflags;
	vmcb->c.interrupt_shadow = 0;
}

static u64 svm_cr4(struct hv_vcpu *v)
{
	return ((struct vmcb *)v->hw)->cr4;
}

/* ---- state, in and out ---- */
#define IN_VMCB(group, field, from, to)                                                                      \
	{                                                                                                    \
		group, offsetof(struct control_state, field), false, offsetof(struct vmcb, from),            \
			offsetof(struct vmcb, to) - offsetof(struct vmcb, from)                              \
	}
#define IN_VCPU(group, field, member)                                                                        \
	{                                                                                                    \
		group, offsetof(struct control_state, field), true, offsetof(struct hv_vcpu, member),        \
			sizeof(((struct hv_vcpu *)0)->member)                                                \
	}

_Static_assert(sizeof(struct vmcb_segment) == sizeof(struct control_segment), "the ABI has the VMCB's");

/* Where a part of the state is: [from, to) of the VMCB, or a member of the vCPU. */
static const struct part {
	u32 group;
	u16 state;
	bool in_vcpu;
	u16 place, size;
} parts[] = {
	IN_VMCB(STATE_SEGMENTS, es, es, reserved1), /* all ten */
	IN_VMCB(STATE_SEGMENTS, cpl, cpl, reserved2),
	IN_VMCB(STATE_CONTROL, efer, efer, reserved3),
	IN_VMCB(STATE_CONTROL, cr4, cr4, cr3),
	IN_VMCB(STATE_CONTROL, cr3, cr3, cr0),
	IN_VMCB(STATE_CONTROL, cr0, cr0, dr7),
	IN_VMCB(STATE_DEBUG, dr7, dr7, dr6),
	IN_VMCB(STATE_DEBUG, dr6, dr6, rflags),
	IN_VMCB(STATE_CONTROL, rflags, rflags, rip),
	IN_VMCB(STATE_CONTROL, rip, rip, reserved4),
	IN_VMCB(STATE_MSRS, star, star, cr2), /* to sysenter_eip */
	IN_VMCB(STATE_CONTROL, cr2, cr2, reserved5),
	IN_VMCB(STATE_MSRS, pat, g_pat, debugctl),
	IN_VMCB(STATE_MSRS, tsc_offset, c.tsc_offset, c.asid),
	IN_VCPU(STATE_CONTROL, xcr0, xcr0),
	IN_VCPU(STATE_DEBUG, dr0, dr), /* to dr3 */
	IN_VCPU(STATE_MSRS, tsc_aux, tsc_aux),
	IN_VCPU(STATE_MSRS, spec_ctrl, spec_ctrl),
};

static u8 *place_of(struct hv_vcpu *v, const struct part *p)
{
	return (u8 *)(p->in_vcpu ? v : v->hw) + p->place;
}

static void svm_get(struct hv_vcpu *v, struct control_state *s, u32 mask)
{
	for (unsigned i = 0; i < ARRAY_SIZE(parts); i++) {
		if (mask & parts[i].group)
			memcpy((u8 *)s + parts[i].state, place_of(v, &parts[i]), parts[i].size);
	}
	if (mask & STATE_CONTROL)
		s->efer &= ~EFER_SVME;
}

static void svm_set(struct hv_vcpu *v, const struct control_state *s, u32 mask)
{
	struct vmcb *vmcb = v->hw;

	for (unsigned i = 0; i < ARRAY_SIZE(parts); i++) {
		if (mask & parts[i].group)
			memcpy(place_of(v, &parts[i]), (const u8 *)s + parts[i].state, parts[i].size);
	}
	if (mask & STATE_CONTROL) {
		vmcb->efer |= EFER_SVME;
		vmcb->c.event_inj = 0;
		vmcb->c.interrupt_shadow = 0;
		svm_flush(v);
	}
}

/* ---- records: the caller may write to them at any time ---- */
enum { FL_SETTABLE = 0x3f7fd7 };
enum { EVENT_FIELDS = 0xfff }; /* vector, type, has an error code */

/* Types and vectors that the CPU takes; others count as none. */
static u64 checked_event(u32 event, u32 error)
{
	unsigned type = event >> EVENT_TYPE_SHIFT & 7, vector = event & 0xff;

	if (!(event & EVENT_VALID))
		return 0;
	if (type == EVENT_INTR || type == EVENT_NMI)
		return EVENT_VALID | (event & EVENT_FIELDS & ~EVENT_HAS_ERROR);
	if (type != EVENT_EXCEPTION || vector >= 32 || vector == VEC_NMI)
		return 0;
	return (u64)error << 32 | EVENT_VALID | (event & EVENT_FIELDS);
}

#define READ_ONCE(x) (*(const volatile __typeof__(x) *)&(x))

static void svm_record_in(struct hv_vcpu *v, struct control_record *r)
{
	struct vmcb *vmcb = v->hw;

	vmcb->rip = READ_ONCE(r->rip);
	vmcb->rflags = (READ_ONCE(r->rflags) & FL_SETTABLE) | FL_ONE;
	vmcb->c.interrupt_shadow = READ_ONCE(r->shadow) != 0;
	vmcb->c.v_intr = V_INTR_MASKING | (READ_ONCE(r->tpr) & 0xf);
	interrupt_window(vmcb, READ_ONCE(r->want_window) != 0);
	vmcb->c.intercept_cr_write = READ_ONCE(r->watch_tpr) ? 1 << 8 : 0;
	vmcb->c.event_inj = checked_event(READ_ONCE(r->inject), READ_ONCE(r->inject_error));
	r->inject = 0;
}

static void svm_record_out(struct hv_vcpu *v, struct control_record *r)
{
	const struct vmcb *vmcb = v->hw;
	bool shadow = vmcb->c.interrupt_shadow & 1;

	r->inject = vmcb->c.event_inj;
	r->inject_error = vmcb->c.event_inj >> 32;
	r->tpr = vmcb->c.v_intr & 0xf;
	r->rip = vmcb->rip;
	r->rflags = vmcb->rflags;
	r->cr0 = vmcb->cr0;
	r->cr3 = vmcb->cr3;
	r->cr4 = vmcb->cr4;
	r->efer = vmcb->efer & ~EFER_SVME;
	r->cs_attr = vmcb->cs.attr;
	r->cpl = vmcb->cpl;
	r->shadow = shadow;
	r->interruptible = vmcb->rflags & FL_IF && !shadow;
}

/* ---- nested tables: the format of the host's page tables, every access being a user's ---- */
enum { PTE_P = 1, PTE_W = 2, PTE_U = 4, PTE_PWT = 8, PTE_PCD = 16, PTE_A = 32, PTE_D = 64, PTE_PS = 128 };

static u64 svm_pte(hpa_t hpa, unsigned flags, unsigned level)
{
	u64 pte = hpa | PTE_P | PTE_U | PTE_A;

	if (flags & NPT_TABLE)
		return pte | PTE_W;
	pte |= PTE_D;
	if (flags & NPT_WRITE)
		pte |= PTE_W;
	if (!(flags & NPT_EXEC))
		pte |= BIT(63);
	if (flags & NPT_UNCACHED)
		pte |= PTE_PCD | PTE_PWT;
	if (flags & NPT_LARGE && level > 1)
		pte |= PTE_PS;
	return pte;
}

const struct hvm_ops svm_ops = {
	.name = "svm",
	.present = svm_present,
	.cpu_on = svm_cpu_on,
	.vcpu_init = svm_vcpu_init,
	.vcpu_fini = svm_vcpu_fini,
	.run = svm_run,
	.save = svm_save,
	.load = svm_load,
	.inject = svm_inject,
	.nmi_window = svm_nmi_window,
	.skip = svm_skip,
	.resume_at = svm_resume_at,
	.cr4 = svm_cr4,
	.get = svm_get,
	.set = svm_set,
	.record_in = svm_record_in,
	.record_out = svm_record_out,
	.pte = svm_pte,
	.flush = svm_flush,
	.idle = svm_idle,
};
