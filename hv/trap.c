/* SPDX-License-Identifier: MIT */
/* Exceptions and NMIs in the hypervisor itself, and what panic shows. */
#include "hv/trap.h"

#include "hv/boot.h"
#include "hv/console.h"
#include "hv/cpu.h"
#include "hv/domain.h"
#include "x86/insn.h"

enum { VECTORS = 32, VECTOR_NMI = 2, VECTOR_SX = 30, ENTRY_SIZE = 16, GATE_INTERRUPT = 0x8e00, SEL_CODE = 8 };

struct gate {
	u16 low, selector, attr, middle;
	u32 high, zero;
};

extern u8 trap_entries[];
void trap(struct trap_frame *f);

static struct gate idt[VECTORS];

void trap_init(void)
{
	for (unsigned i = 0; i < VECTORS; i++) {
		u64 entry = (u64)trap_entries + i * ENTRY_SIZE;

		idt[i] = (struct gate){(u16)entry, SEL_CODE, GATE_INTERRUPT, (u16)(entry >> 16), (u32)(entry >> 32), 0};
	}
}

void trap_load(void)
{
	struct table_register idtr = {sizeof(idt) - 1, (u64)idt};

	__asm__ volatile("lidt %0" : : "m"(idtr));
}

static void dump_registers(const struct trap_frame *f)
{
	static const char names[16][4] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8 ", "r9 ", "r10",
		"r11", "r12", "r13", "r14", "r15"};

	for (unsigned i = 0; i < 16; i++)
		print("%s %016lx%s", names[i], i == 4 ? f->rsp : f->gpr[i], i % 4 == 3 ? "\n" : "  ");
	print("rip %016lx  rflags %08lx  cs %04lx  cr2 %016lx  cr3 %016lx\n", f->rip, f->rflags, f->cs, read_cr2(),
		read_cr3());
}

/* Return addresses by the frame pointers, as offsets into the image: what addr2line wants behind 1 MiB. */
static void dump_stack(u64 rbp)
{
	u64 base = ALIGN_DOWN(rbp, (u64)CPU_STACK);

	print("image at %lx; calls from (image offset + 0x100000):", (u64)image_start);
	for (unsigned i = 0; i < 16 && rbp > base && rbp < base + CPU_STACK - 16 && rbp % 8 == 0; i++) {
		u64 rip = ((u64 *)rbp)[1];

		if (rip < (u64)image_start || rip >= (u64)image_end)
			break;
		print(" %lx", rip - (u64)image_start + MIB(1));
		rbp = *(u64 *)rbp;
	}
	print("\n");
}

/* The control block as it is: words that are not zero. */
static void dump_vcpu(const struct hv_vcpu *v)
{
	const u64 *words = v->hw;
	unsigned shown = 0;

	print("vCPU of %s, handle %x, activity %d, rax %lx rcx %lx rdx %lx rbx %lx rsi %lx rdi %lx\n",
		v->domain && v->domain->primary ? "the primary VM" : "a guest", v->handle, v->activity, v->gpr[0],
		v->gpr[1], v->gpr[2], v->gpr[3], v->gpr[6], v->gpr[7]);
	for (unsigned i = 0; words && i < 0x700 / 8; i++)
		if (words[i])
			print("%03x:%016lx%s", i * 8, words[i], ++shown % 6 ? " " : "\n");
	print("\n");
}

void dump_state(u64 rbp)
{
	struct cpu *cpu = this_cpu();

	dump_stack(rbp);
	print("CPU %u, APIC %u, rsp %lx\n", cpu->id, cpu->apic_id, rbp);
	if (cpu->current)
		dump_vcpu(cpu->current);
}

/* Called by trap_entry.S. */
void trap(struct trap_frame *f)
{
	if (f->vector == VECTOR_NMI) {
		atomic_fetch_add(&this_cpu()->nmis, 1);
		return;
	}
	if (f->vector == VECTOR_SX) { /* an INIT, which SVM has made an exception of (svm.h, VM_CR_R_INIT) */
		atomic_store(&this_cpu()->primary->sipi, SIGNAL_INIT);
		return;
	}
	dump_registers(f);
	panic("exception %lu, error code %lx, at image offset %lx", f->vector, f->error,
		f->rip - (u64)image_start + MIB(1));
}
