/* SPDX-License-Identifier: MIT */
/*
 * A virtual machine as the hypervisor sees it: nested page tables and vCPUs.
 * The primary VM is domain 0: all the machine's memory 1:1 but ours.
 *
 * Locks: domain.lock covers tables and the list of vCPUs. Order: a guest's before
 * the primary's.
 */
#pragma once

#include "hv/hvm.h"
#include "hv/lock.h"
#include "lib/memmap.h"
#include "lib/types.h"

enum { DOMAIN_MAX = 16, VCPU_MAX = 128 };

struct domain {
	u32 handle; /* 0: free slot or the primary VM */
	bool primary;
	_Atomic bool ending; /* no vCPU is entered any more */
	u32 flags; /* VM_* */
	struct spinlock lock;
	u64 *root; /* level 4 table */
	_Atomic(u64 *) retired; /* tables to be freed after the next flush */
	u64 pages, private_pages;
	struct control_cpuid *cpuid; /* a page of our own, sorted as given */
	unsigned ncpuid, nvcpus;
	u64 walk_from, walk_next; /* where a call that said CONTROL_AGAIN goes on */
	_Atomic u32 running; /* vCPUs in guest mode or on their way */
	_Atomic u32 generation; /* of the tables: a vCPU with an older one flushes before it runs */
};

enum { SIGNAL_SIPI = 0x100, SIGNAL_INIT = 0x200 }; /* received and not yet obeyed */

struct hv_vcpu {
	u64 *gpr; /* 16 of them: the primary's are its own, a guest's are in its shared page */
	void *hw; /* VMCB or VMCS: a page of our own */
	hpa_t hw_pa;
	struct domain *domain;
	u32 handle;
	struct control_vcpu *page; /* guests: the VMM's shared page */
	void *xsave; /* XSAVE area, own pages */
	void *xsave_page; /* guests: the VMM's page for the image */
	u64 xcr0, tsc_aux, spec_ctrl, dr[4]; /* what hw has no place for, while not loaded */
	u32 generation;
	_Atomic bool busy; /* runs, or its state is being moved */
	/* primary only */
	enum { VCPU_RUNNING, VCPU_WAIT_SIPI, VCPU_HALTED } activity;
	_Atomic u32 sipi; /* SIGNAL_*, and the SIPI's vector */
	u64 gpr_store[16]; /* the primary's registers */
	bool nmi_pending, nmi_masked;
};

extern struct domain primary_domain;

/*
 * What the machine has, as the primary VM may use it: the firmware's map, our
 * own part MEM_HYPERVISOR.
 */
extern struct memmap primary_map;

/*
 * domain.c, npt.c: a builder of nested tables. GPA, HPA and size are multiples of 4 KiB. 0 or -ENOMEM.
 * Callers hold d's lock when others can reach d. Mapping over a mapping replaces it, and splits
 * larger entries. Flags without NPT_READ make an entry that is not present but keeps
 * its HPA and owner (NPT_OWNER).
 */
int npt_map(struct domain *d, u64 gpa, hpa_t hpa, u64 size, unsigned flags);
int npt_unmap(struct domain *d, u64 gpa, u64 size);
/*
 * The entry of a page: its HPA (of gpa itself), or -1 when there is none. *size: what the
 * entry covers, 4 KiB to 512 GiB, also when it is empty; *flags as mapped, owner included.
 */
hpa_t npt_lookup(const struct domain *d, u64 gpa, unsigned *flags, u64 *size);
void npt_free(struct domain *d); /* the root table, too */
/* Tables that no CPU may have in use any more: npt_retired() before a flush, npt_free_list() after it. */
u64 *npt_retired(struct domain *d);
void npt_free_list(u64 *table);
extern unsigned npt_largest; /* level of the largest pages: 3 (1 GiB) or 2 */
/* After the tables of d have lost rights: no CPU uses the old ones when this returns. */
void domain_flush(struct domain *d);

/*
 * Sets the state of a vCPU that no CPU has loaded (for the primary's: hvm->save and
 * ->load around it): hvm->set with all the checks that a CPU would do first. 0 or -EINVAL.
 */
int vcpu_set(struct hv_vcpu *v, const struct control_state *s, u32 mask);
/* The architectural reset: real mode at f000:fff0. */
void vcpu_reset_state(struct control_state *s);
/* Allocates what all vCPUs have (hw, xsave), puts it into the reset state. 0 or -ENOMEM. */
int vcpu_make(struct hv_vcpu *v);
void vcpu_free(struct hv_vcpu *v);

/* Of this machine's CPUs: the end of physical addresses; the bits of EFER that a VM may set. */
u64 physical_end(void);
u64 efer_known(void);
