/* SPDX-License-Identifier: MIT */
/*
 * Guests: VMs and their vCPUs, from creation to the end, and what becomes of
 * their exits. A vCPU runs when the VMM calls, on the CPU of the caller; this CPU
 * goes back to the primary VM when the VMM or the primary VM is needed.
 */
#include "hv/guest.h"

#include "hv/exit.h"
#include "hv/page.h"
#include "hv/xstate.h"
#include "lib/string.h"
#include "x86/state.h"

struct domain domains[DOMAIN_MAX];
struct hv_vcpu vcpus[VCPU_MAX];

enum { HANDLE_SLOT = 0xff }; /* a handle: a serial number, and the slot + 1 */

static u32 new_handle(unsigned slot)
{
	static u32 serial;

	serial = (serial + 1) & 0x3fffff;
	return serial << 8 | (slot + 1);
}

/* ---- VMs ---- */
struct domain *domain_find(u64 handle)
{
	unsigned slot = (handle & HANDLE_SLOT) - 1;

	return slot < DOMAIN_MAX && domains[slot].handle == handle ? &domains[slot] : NULL;
}

i64 domain_living(u64 handle, struct domain **d)
{
	*d = domain_find(handle);
	if (!*d)
		return -CONTROL_BAD_HANDLE;
	return (*d)->ending ? -CONTROL_BAD_STATE : 0;
}

i64 call_vm_create(const u64 arg[4])
{
	unsigned slot = 0;
	struct domain *d;

	if (arg[0] & ~(u64)VM_PRIVATE)
		return -CONTROL_BAD_ARGUMENT;
	while (slot < DOMAIN_MAX && domains[slot].handle)
		slot++;
	if (slot == DOMAIN_MAX)
		return -CONTROL_NO_SPACE;
	d = &domains[slot];
	memset(d, 0, sizeof(*d));
	d->root = page_alloc();
	if (!d->root)
		return -CONTROL_NO_MEMORY;
	d->flags = arg[0];
	d->walk_from = (u64)-1;
	d->handle = new_handle(slot);
	return d->handle;
}

/* False: somebody has it in hand. */
static bool vcpu_end(struct hv_vcpu *v)
{
	if (atomic_exchange(&v->busy, true))
		return false;
	v->handle = 0;
	page_release(v->domain, (hpa_t)v->page);
	page_release(v->domain, (hpa_t)v->xsave_page);
	vcpu_free(v);
	v->domain = NULL;
	atomic_store(&v->busy, false);
	return true;
}

i64 domain_end(struct domain *d)
{
	atomic_store(&d->ending, true);
	if (d->running) {
		domain_flush(d); /* its vCPUs leave the guest and find out */
		return -CONTROL_AGAIN;
	}
	if (memory_give_back(d))
		return -CONTROL_AGAIN;
	for (unsigned i = 0; i < VCPU_MAX; i++) {
		if (vcpus[i].domain == d && !vcpu_end(&vcpus[i]))
			return -CONTROL_AGAIN;
	}
	domain_flush(d);
	npt_free(d);
	if (d->cpuid)
		page_free(d->cpuid);
	d->handle = 0;
	return 0;
}

i64 call_vm_destroy(const u64 arg[4])
{
	struct domain *d = domain_find(arg[0]);

	return d ? domain_end(d) : -CONTROL_BAD_HANDLE;
}

/* ---- CPUID ---- */
static u64 cpuid_key(const struct control_cpuid *c)
{
	return (u64)c->leaf << 32 | (c->any_subleaf ? 0 : c->subleaf);
}

static void sort_cpuid(struct control_cpuid *c, unsigned n)
{
	for (unsigned i = 1; i < n; i++) {
		struct control_cpuid moving = c[i];
		unsigned j = i;

		for (; j && cpuid_key(&c[j - 1]) > cpuid_key(&moving); j--)
			c[j] = c[j - 1];
		c[j] = moving;
	}
}

/* The last entry that is not behind the wanted one, if it fits. */
static const struct control_cpuid *find_cpuid(const struct domain *d, u32 leaf, u32 subleaf)
{
	const struct control_cpuid *c = d->cpuid;
	u64 wanted = (u64)leaf << 32 | subleaf;
	unsigned low = 0, high = d->ncpuid;

	while (low < high) {
		unsigned middle = (low + high) / 2;

		if (cpuid_key(&c[middle]) <= wanted)
			low = middle + 1;
		else
			high = middle;
	}
	if (!low || c[low - 1].leaf != leaf)
		return NULL;
	return c[low - 1].any_subleaf || c[low - 1].subleaf == subleaf ? &c[low - 1] : NULL;
}

/* Once in a VM's life, and before it has a vCPU: so nobody reads the table meanwhile. */
i64 call_vm_cpuid(const u64 arg[4])
{
	struct domain *d = domain_find(arg[0]);

	if (!d)
		return -CONTROL_BAD_HANDLE;
	if (!page_usable(arg[1]))
		return -CONTROL_BAD_ADDRESS;
	if (!arg[2] || arg[2] > PAGE_SIZE / sizeof(struct control_cpuid))
		return -CONTROL_BAD_ARGUMENT;
	if (d->cpuid || d->nvcpus || d->ending)
		return -CONTROL_BAD_STATE;
	d->cpuid = page_alloc();
	if (!d->cpuid)
		return -CONTROL_NO_MEMORY;
	memcpy(d->cpuid, (const void *)arg[1], arg[2] * sizeof(struct control_cpuid));
	sort_cpuid(d->cpuid, arg[2]);
	d->ncpuid = arg[2];
	return 0;
}

/* ---- vCPUs ---- */
static i64 vcpu_start(struct hv_vcpu *v, struct domain *d, u64 page, u64 xsave_page)
{
	v->domain = d;
	v->page = (struct control_vcpu *)page;
	v->xsave_page = (void *)xsave_page;
	v->gpr = v->page->gpr;
	if (vcpu_make(v)) {
		v->domain = NULL;
		return -CONTROL_NO_MEMORY;
	}
	memset(v->page, 0, PAGE_SIZE);
	v->gpr[RDX] = 0x600; /* a processor signature, as after a reset */
	hvm->record_out(v, &v->page->record);
	v->handle = new_handle(v - vcpus);
	d->nvcpus++;
	return v->handle;
}

static i64 claim_pages(struct domain *d, u64 page, u64 xsave_page)
{
	i64 err = page_claim(d, page);

	if (err)
		return err;
	err = page_claim(d, xsave_page);
	if (err)
		page_release(d, page);
	return err;
}

i64 call_vcpu_create(const u64 arg[4])
{
	unsigned slot = 0;
	struct domain *d;
	i64 result = domain_living(arg[0], &d);

	if (result)
		return result;
	while (slot < VCPU_MAX && vcpus[slot].domain)
		slot++;
	if (slot == VCPU_MAX)
		return -CONTROL_NO_SPACE;
	result = claim_pages(d, arg[1], arg[2]);
	if (result)
		return result;
	result = vcpu_start(&vcpus[slot], d, arg[1], arg[2]);
	if (result < 0) {
		page_release(d, arg[1]);
		page_release(d, arg[2]);
	}
	return result;
}

/* The vCPU is the caller's until vcpu_put, or NULL and *error. */
static struct hv_vcpu *vcpu_get_hold(u64 handle, i64 *error)
{
	unsigned slot = (handle & HANDLE_SLOT) - 1;
	struct hv_vcpu *v = &vcpus[slot];

	*error = -CONTROL_BAD_HANDLE;
	if (slot >= VCPU_MAX || v->handle != handle)
		return NULL;
	*error = -CONTROL_BAD_STATE;
	if (atomic_exchange_explicit(&v->busy, true, memory_order_acquire))
		return NULL;
	if (likely(v->handle == handle))
		return v;
	atomic_store(&v->busy, false);
	*error = -CONTROL_BAD_HANDLE;
	return NULL;
}

static void vcpu_put(struct hv_vcpu *v)
{
	atomic_store_explicit(&v->busy, false, memory_order_release);
}

i64 call_vcpu_get(const u64 arg[4])
{
	struct hv_vcpu *v;
	i64 error;

	if (arg[1] & ~(u64)STATE_ALL)
		return -CONTROL_BAD_ARGUMENT;
	v = vcpu_get_hold(arg[0], &error);
	if (!v)
		return error;
	hvm->get(v, &v->page->state, arg[1] & ~STATE_XSAVE);
	if (arg[1] & STATE_XSAVE)
		memcpy(v->xsave_page, v->xsave, PAGE_SIZE);
	vcpu_put(v);
	return 0;
}

/* The state is checked where the VMM cannot change it any more. */
i64 call_vcpu_set(const u64 arg[4])
{
	struct control_state state;
	struct hv_vcpu *v;
	i64 error;

	if (arg[1] & ~(u64)STATE_ALL)
		return -CONTROL_BAD_ARGUMENT;
	v = vcpu_get_hold(arg[0], &error);
	if (!v)
		return error;
	memcpy(&state, &v->page->state, sizeof(state));
	error = vcpu_set(v, &state, arg[1] & ~STATE_XSAVE) ? -CONTROL_BAD_STATE : 0;
	if (!error && arg[1] & STATE_XSAVE)
		xstate_import(v->xsave, v->xsave_page);
	if (!error && arg[1] & STATE_CONTROL) {
		v->page->record.rip = state.rip;
		v->page->record.rflags = state.rflags;
	}
	vcpu_put(v);
	return error;
}

/* ---- running ---- */
static bool event_ok(u32 event)
{
	unsigned type = event >> 8 & 7, vector = event & 0xff;

	if (!(event & BIT(31)))
		return true;
	if (event & 0x7ffff000)
		return false;
	if (type == 3)
		return vector < 32 && vector != 2;
	return (type == 0 && !(event & BIT(11))) || (type == 2 && vector == 2 && !(event & BIT(11)));
}

/* Why this vCPU does not enter; REASON_COUNT: it does. */
static enum control_reason why_not(struct hv_vcpu *v)
{
	if (unlikely(atomic_load(&v->domain->ending)))
		return REASON_ENDED;
	if (unlikely(v->page->record.kick))
		return REASON_INTERRUPTED;
	return REASON_COUNT;
}

i64 call_vcpu_run(struct cpu *cpu, u64 handle)
{
	enum control_reason reason;
	i64 error;
	struct hv_vcpu *v = vcpu_get_hold(handle, &error);

	if (unlikely(!v))
		return error;
	if (unlikely(!event_ok(v->page->record.inject))) {
		vcpu_put(v);
		return -CONTROL_BAD_ARGUMENT;
	}
	atomic_fetch_add(&v->domain->running, 1);
	reason = why_not(v);
	if (likely(reason == REASON_COUNT)) {
		hvm->record_in(v, &v->page->record);
		cpu_switch(cpu, v);
		return 0; /* the caller sees what leave() says */
	}
	v->page->record.reason = reason;
	atomic_fetch_sub(&v->domain->running, 1);
	vcpu_put(v);
	return reason;
}

/* Back to the primary VM: the call that ran v returns. */
static void leave(struct cpu *cpu, struct hv_vcpu *v, enum control_reason reason)
{
	cpu_switch(cpu, cpu->primary);
	cpu->primary->gpr[RAX] = reason;
	atomic_fetch_sub(&v->domain->running, 1);
	vcpu_put(v);
}

/* ---- exits: a reason for the VMM, or HANDLED ---- */
enum { HANDLED = -1 };

static int exit_cpuid(struct hv_vcpu *v, struct hv_exit *exit)
{
	const struct control_cpuid *c = find_cpuid(v->domain, v->gpr[RAX], v->gpr[RCX]);

	if (!c)
		return REASON_CPUID;
	v->gpr[RAX] = c->eax;
	v->gpr[RBX] = c->ebx;
	v->gpr[RCX] = c->ecx;
	v->gpr[RDX] = c->edx;
	hvm->skip(v, exit->length);
	return HANDLED;
}

static int exit_io(struct hv_vcpu *v, struct hv_exit *exit)
{
	struct control_record *r = &v->page->record;

	r->io.port = exit->io.port;
	r->io.size = exit->io.size;
	r->io.in = exit->io.in;
	r->io.string = exit->io.string;
	r->io.rep = exit->io.rep;
	return REASON_IO;
}

static int exit_npf(struct hv_vcpu *v, struct hv_exit *exit)
{
	v->page->record.mmio.gpa = exit->npf.gpa;
	v->page->record.mmio.error = exit->npf.error;
	return REASON_MMIO;
}

static int exit_msr(struct hv_vcpu *v, struct hv_exit *exit)
{
	v->page->record.msr.index = v->gpr[RCX];
	v->page->record.msr.write = exit->reason == EXIT_WRMSR;
	return REASON_MSR;
}

static int exit_hlt(struct hv_vcpu *v, struct hv_exit *exit)
{
	hvm->skip(v, exit->length);
	exit->length = 0; /* next_rip is rip */
	return REASON_HLT;
}

static int exit_undefined(struct hv_vcpu *v, struct hv_exit *exit)
{
	(void)exit;
	vcpu_fault(v, VEC_UD, false, 0);
	return HANDLED;
}

/*
 * #DB and #AC are intercepted so that their delivery cannot raise them for ever:
 * each round is an exit, and interrupts come through. #MC is the machine's.
 */
static int exit_exception(struct hv_vcpu *v, struct hv_exit *exit)
{
	u32 vector = exit->exception.vector;

	if (vector == VEC_MC) {
		vcpu_fault(this_cpu()->primary, VEC_MC, false, 0);
		return REASON_INTERRUPTED;
	}
	vcpu_fault(v, vector, vector == VEC_AC, 0);
	return HANDLED;
}

static int exit_failed(struct hv_vcpu *v, struct hv_exit *exit)
{
	v->page->record.qualification[0] = exit->raw;
	return REASON_ENTRY_FAILED;
}

static const struct {
	int (*handle)(struct hv_vcpu *v, struct hv_exit *exit);
	enum control_reason reason; /* without handle */
} exits[EXIT_REASONS] = {
	[EXIT_INTR] = {NULL, REASON_INTERRUPTED},
	[EXIT_NMI] = {NULL, REASON_INTERRUPTED},
	[EXIT_INIT] = {NULL, REASON_INTERRUPTED},
	[EXIT_CPUID] = {exit_cpuid, 0},
	[EXIT_RDMSR] = {exit_msr, 0},
	[EXIT_WRMSR] = {exit_msr, 0},
	[EXIT_IO] = {exit_io, 0},
	[EXIT_NPF] = {exit_npf, 0},
	[EXIT_HLT] = {exit_hlt, 0},
	[EXIT_CALL] = {exit_undefined, 0},
	[EXIT_CR] = {NULL, REASON_CR},
	[EXIT_DR] = {NULL, REASON_INSTRUCTION},
	[EXIT_XSETBV] = {NULL, REASON_XSETBV},
	[EXIT_VIRTUALIZATION] = {exit_undefined, 0},
	[EXIT_INSTRUCTION] = {NULL, REASON_INSTRUCTION},
	[EXIT_WINDOW] = {NULL, REASON_WINDOW},
	[EXIT_SHUTDOWN] = {NULL, REASON_SHUTDOWN},
	[EXIT_EXCEPTION] = {exit_exception, 0},
	[EXIT_FAILED] = {exit_failed, 0},
	[EXIT_OTHER] = {exit_failed, 0},
};

/* ABI: for these the VMM gets next_rip. */
static bool has_next_rip(int reason)
{
	return BIT(reason) & (BIT(REASON_IO) | BIT(REASON_CPUID) | BIT(REASON_MSR) | BIT(REASON_HLT));
}

void guest_exit(struct cpu *cpu, struct hv_vcpu *v, struct hv_exit *exit)
{
	struct control_record *r = &v->page->record;
	int reason = exits[exit->reason].reason;

	if (exits[exit->reason].handle)
		reason = exits[exit->reason].handle(v, exit);
	if (reason == HANDLED)
		return;
	hvm->record_out(v, r);
	r->reason = reason;
	r->instruction_length = exit->length;
	r->next_rip = 0;
	if (has_next_rip(reason) && (exit->length || reason == REASON_HLT))
		r->next_rip = r->rip + exit->length;
	leave(cpu, v, reason);
}
