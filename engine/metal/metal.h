/* SPDX-License-Identifier: MIT */
/*
 * The metal engine: the VMM's side of the microhypervisor's control interface
 * (abi/control.h). The hypervisor runs the vCPUs and switches worlds; what
 * an exit means, and everything that a device or a register does, is here or
 * below.
 */
#pragma once

#include <stdatomic.h>
#include <sys/types.h>

#include "abi/control.h"
#include "host/err.h"
#include "vm/vcpu.h"
#include "vm/vm.h"
#include "x86/cpu.h"
#include "x86/cpuid.h"
#include "x86/emulate.h"

/* ---- device.c: the control function ---- */

typedef i64 metal_call_fn(u64 call, u64 key, u64 a, u64 b, u64 c, u64 d);

struct metal_device {
	const struct control_page *page; /* its BAR 0, or NULL */
	u64 key;
	metal_call_fn *call; /* the instruction, or a test's answer */
};

int metal_open(struct metal_device *dev, struct err *err);
void metal_close(struct metal_device *dev);
const char *metal_error(i64 ret);

static inline i64 metal_call(const struct metal_device *dev, u64 call, u64 a, u64 b, u64 c, u64 d)
{
	return dev->call(call, dev->key, a, b, c, d);
}

/* ---- memory.c: pages that stay where they are ---- */

struct metal_memory {
	u8 *base; /* guest RAM, then the pages shared with the hypervisor */
	u64 ram_size, size;
	int fd;
	bool huge; /* of 2 MiB pages */
	u64 *frame; /* the physical address of each page, large or small */
	u8 *free; /* the next shared page to be given out */
};

int metal_memory_init(struct metal_memory *mem, u64 ram_size, struct err *err);
void metal_memory_fini(struct metal_memory *mem);
/* Where a byte of it is in the machine. */
hpa_t metal_hpa(const struct metal_memory *mem, const void *p);
/* A zeroed page that lives as long as the memory does. There are enough for any VM. */
void *metal_shared_page(struct metal_memory *mem);

/* ---- keeper.c: a process that outlives this one ---- */

struct metal_keeper {
	pid_t pid;
	int pipe; /* its end is ours */
	_Atomic u64 *vm; /* shared with it: the VM's handle, or 0 */
};

int metal_keeper_start(
	struct metal_keeper *keeper, const struct metal_device *dev, const struct metal_memory *mem);
/* Waits for it; it has destroyed the VM then. */
void metal_keeper_end(struct metal_keeper *keeper);
/* Ends the VM of this handle; both processes do so. */
void metal_destroy(const struct metal_device *dev, u64 handle);

/* ---- the engine's objects ---- */

struct metal_vm {
	struct vm *vm;
	struct metal_device dev;
	struct metal_memory memory;
	struct metal_keeper keeper;
	struct x86_cpuid_table cpuid;
	u64 handle; /* 0: none */
	u8 *low; /* RAM from guest-physical address 0 on, where nearly all is */
	u64 low_end;
	bool private; /* the VMM cannot touch its RAM while it runs */
	void *batch; /* a shared page for the arguments of calls */
	void *vcpu_pages; /* two for each vCPU: struct control_vcpu, XSAVE image */
};

struct metal_stats {
	u64 exits[REASON_COUNT];
	u64 interrupts, signals, state_calls;
};

struct metal_vcpu {
	struct x86_cpu x; /* its state is as of the last metal_pull; gpr are in the page */
	struct vcpu *vcpu;
	struct metal_vm *vm;
	struct control_vcpu *page;
	u64 handle;
	u64 tpr; /* CR8 as the interrupt controller knows it */
	bool tpr_stale;
	bool halted;
	struct x86_emul emul;
	bool reported; /* an instruction that is not known has been told of */
	int tid; /* of the thread; 0: it has not run yet */
	_Atomic bool running; /* in the guest, or about to be */
	struct metal_stats stats;
};

static inline struct metal_vcpu *metal_of(struct x86_cpu *x)
{
	return container_of(x, struct metal_vcpu, x);
}

/* ---- state.c ---- */

/* What every exit leaves in the record: RIP, RFLAGS, control registers, CPL and the kind of CS. */
void metal_pull_record(struct metal_vcpu *m);
/* The groups of a STATE_* mask from, and to, the hypervisor. 0 or -EIO, which has been logged. */
int metal_pull(struct metal_vcpu *m, unsigned mask);
int metal_push(struct metal_vcpu *m, unsigned mask);

enum { STATE_REGS = STATE_SEGMENTS | STATE_CONTROL | STATE_DEBUG | STATE_MSRS };

/* ---- access.c: the guest's memory ---- */

extern const struct x86_env metal_env;

enum { CODE_MAX = 15 }; /* an instruction's length */
/* The instruction's bytes from a linear address, up to the page's end. Their number, or -1 with a fault. */
int metal_fetch(struct metal_vcpu *m, gva_t gva, u8 *code, unsigned len);
/* For struct x86_emul: ctx is the vCPU. */
int metal_emul_load(struct x86_emul *e, u64 gva, unsigned size, u64 *value);
int metal_emul_store(struct x86_emul *e, u64 gva, unsigned size, u64 value);

/* ---- exit.c ---- */

enum { INJECT_VALID = 1u << 31, INJECT_ERROR = 1 << 11, INJECT_NMI = 2 << 8, INJECT_EXCEPTION = 3 << 8 };
enum { EXIT_AGAIN = -1 }; /* else an enum vcpu_exit */

/* Sees to the exit that the record tells of. */
int metal_exit(struct metal_vcpu *m);
void metal_exit_init(struct metal_vcpu *m);
extern const char *const metal_reason_names[REASON_COUNT];

/* ---- run.c ---- */
enum vcpu_exit metal_run(struct vcpu *vcpu);
void metal_kick(struct vcpu *vcpu);
