/* SPDX-License-Identifier: MIT */
/*
 * Runs cases in the translate engine: a VM without devices, whose every
 * exception ends in a handler that halts.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>

#include "engine/translate/cpu.h"
#include "tests/diff/diff.h"
#include "vm/vm.h"

/* The guest's physical memory. */
enum {
	GPA_PML4 = 0x1000,
	GPA_TABLES = 0x2000, /* more page tables, up to GPA_KERNEL */
	GPA_KERNEL = 0x40000,
	K_GDT = 0x0000, /* offsets from GPA_KERNEL and KERNEL_AT */
	K_IDT = 0x1000,
	K_TSS = 0x2000,
	K_HANDLERS = 0x3000, /* 16 bytes a vector */
	K_STACK = 0x5000, /* one page; the top is its end */
	K_PAGES = 6,
	GPA_CASE = 0x80000,
	RAM_SIZE = 4 << 20,
};
#define KERNEL_AT 0xffff8a5c36c91000ull /* where no case comes by chance */

enum { SEL_KCODE = 0x10, SEL_KDATA = 0x18, SEL_UDATA = 0x2b, SEL_UCODE = 0x33, SEL_TSS = 0x40 };
enum { ATTR_KCODE = 0xa09b, ATTR_KDATA = 0xc093, ATTR_UDATA = 0xc0f3, ATTR_UCODE = 0xa0fb, ATTR_TSS = 0x8b };

static struct vm vm;
static u8 *ram;
static u64 next_table = GPA_TABLES;
static struct region ram_region = {
	.name = "ram", .size = RAM_SIZE, .direct = DIRECT_READ | DIRECT_WRITE,
};

static void put64(u64 at, u64 v)
{
	memcpy(ram + at, &v, 8);
}

static u64 get64(u64 at)
{
	u64 v;

	memcpy(&v, ram + at, 8);
	return v;
}

/* Pages that lie side by side for the guest do not in physical memory. */
static u64 case_gpa(unsigned page)
{
	return GPA_CASE + (page * 7 % MEM_PAGES) * 8192ull;
}

static void map(u64 va, u64 gpa, u64 rights)
{
	u64 table = GPA_PML4;

	for (unsigned shift = 39; shift > 12; shift -= 9) {
		u64 at = table + (va >> shift & 511) * 8;

		if (!get64(at)) {
			put64(at, next_table | 7);
			next_table += 4096;
		}
		table = get64(at) & PAGE_MASK;
	}
	put64(table + (va >> 12 & 511) * 8, gpa | rights);
}

static void make_idt(void)
{
	for (unsigned v = 0; v < 256; v++) {
		u64 handler = KERNEL_AT + K_HANDLERS + v * 16, at = GPA_KERNEL + K_IDT + v * 16;
		u64 dpl = v == 3 || v == 4 ? 3 : 0;

		put64(at, (handler & 0xffff) | (u64)SEL_KCODE << 16 | 1ull << 32 | (0x8e | dpl << 5) << 40 |
			  (handler >> 16 & 0xffff) << 48);
		put64(at + 8, handler >> 32);
		ram[GPA_KERNEL + K_HANDLERS + v * 16] = 0xf4;
	}
}

static void make_gdt(void)
{
	u64 tss = KERNEL_AT + K_TSS, at = GPA_KERNEL + K_GDT;

	put64(at + SEL_KCODE, 0x00af9b000000ffff);
	put64(at + SEL_KDATA, 0x00cf93000000ffff);
	put64(at + (SEL_UDATA & ~7), 0x00cff3000000ffff);
	put64(at + (SEL_UCODE & ~7), 0x00affb000000ffff);
	put64(at + SEL_TSS, 0x67 | (tss & 0xffffff) << 16 | 0x8bull << 40 | (tss >> 24 & 0xff) << 56);
	put64(at + SEL_TSS + 8, tss >> 32);
	put64(GPA_KERNEL + K_TSS + 0x60, 0x68ull << 48); /* no I/O bitmap */
	put64(GPA_KERNEL + K_TSS + 0x04, KERNEL_AT + K_STACK + 4096);
	put64(GPA_KERNEL + K_TSS + 0x24, KERNEL_AT + K_STACK + 4096); /* IST 1 */
}

static void make_memory(void)
{
	for (unsigned i = 0; i < K_PAGES; i++)
		map(KERNEL_AT + i * 4096, GPA_KERNEL + i * 4096, 3);
	for (unsigned i = 0; i < MEM_PAGES; i++)
		map(page_at(i), case_gpa(i), (page_writable(i) ? 7 : 5) | (i < PAGE_LOW ? 0 : BIT(63)));
	make_gdt();
	make_idt();
}

static struct x86_seg segment(u16 sel, u32 attr)
{
	return (struct x86_seg){ .sel = sel, .attr = attr, .limit = 0xffffffff };
}

static void set_system(struct x86_state *s, const struct diff_case *test)
{
	struct x86_seg null = { .attr = SEG_UNUSABLE };

	s->cpl = test->kernel ? 0 : 3;
	s->seg[SEG_CS] = test->kernel ? segment(SEL_KCODE, ATTR_KCODE) : segment(SEL_UCODE, ATTR_UCODE);
	s->seg[SEG_SS] = test->kernel ? segment(SEL_KDATA, ATTR_KDATA) : segment(SEL_UDATA, ATTR_UDATA);
	s->seg[SEG_DS] = s->seg[SEG_ES] = s->seg[SEG_FS] = s->seg[SEG_GS] = s->seg[SEG_LDTR] = null;
	s->seg[SEG_FS].base = test->init.fs_base;
	s->seg[SEG_GS].base = test->init.gs_base;
	s->seg[SEG_TR] = (struct x86_seg){ .sel = SEL_TSS, .attr = ATTR_TSS, .limit = 0x67, .base = KERNEL_AT + K_TSS };
	s->gdt = (struct x86_table){ .base = KERNEL_AT + K_GDT, .limit = 0xff };
	s->idt = (struct x86_table){ .base = KERNEL_AT + K_IDT, .limit = 0xfff };
	s->cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_PG;
	s->cr3 = GPA_PML4;
	s->cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE | CR4_FSGSBASE | CR4_PGE;
	s->efer = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE;
	s->dr[6] = 0xffff0ff0;
	s->dr[7] = 0x400;
}

static void set_state(struct cpu *cpu, const struct diff_case *test, enum guest_mode mode)
{
	struct vcpu *vcpu = &vm.vcpu[0];
	struct x86_state *s = &vcpu->regs;

	memset(s, 0, sizeof(*s));
	memcpy(s->gpr, test->init.gpr, sizeof(s->gpr));
	s->rip = test->init.rip;
	s->rflags = test->init.rflags | FL_IF | FL_ONE;
	set_system(s, test);
	s->xcr0 = cpu->xcr0;
	if (mode == GUEST_STEP) {
		s->dr[0] = 0x1000; /* nobody comes there */
		s->dr[7] |= 1;
	}
	if (mode == GUEST_WARM) {
		cpu->x.s = *s;
		flags_unsync(cpu);
		mode_update(cpu);
	} else {
		vm.engine->regs_put(vcpu);
	}
	cpu->fpu = FPU_STORED;
	memcpy(cpu->xsave, test->init.xsave, XSAVE_SIZE);
	*(u64 *)(cpu->xsave + 512) &= cpu->xcr0;
}

/* The handler has halted on its own stack: the frame lies there. */
static void take_state(const struct cpu *cpu, struct diff_state *st)
{
	const struct x86_state *s = &vm.vcpu[0].regs;
	u64 rsp = s->gpr[RSP], frame = GPA_KERNEL + (rsp - KERNEL_AT);

	memcpy(st->gpr, s->gpr, sizeof(st->gpr));
	st->vector = (u32)((s->rip - 1 - KERNEL_AT - K_HANDLERS) / 16);
	st->error = 0;
	if (rsp == KERNEL_AT + K_STACK + 4096 - 48) {
		st->error = (u32)get64(frame);
		frame += 8;
	}
	st->rip = get64(frame);
	st->rflags = get64(frame + 16);
	st->gpr[RSP] = get64(frame + 24);
	st->cr2 = s->cr2;
	memcpy(st->xsave, cpu->xsave, XSAVE_SIZE);
}

#define TICK_US 20000
#define TICKS_MAX (800000 / TICK_US)

static volatile int ticks;

static void tick(int sig)
{
	(void)sig;
	if (ticks && ++ticks > TICKS_MAX)
		vcpu_kick(&vm.vcpu[0], VCPU_STOP);
	else if (ticks)
		vcpu_kick(&vm.vcpu[0], VCPU_STATS); /* an exit anywhere must not be felt */
}

int guest_start(void)
{
	struct sigaction sa = { .sa_handler = tick, .sa_flags = SA_ONSTACK | SA_RESTART };
	struct itimerval interval = { { 0, TICK_US }, { 0, TICK_US } };

	ram = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (ram == MAP_FAILED || vm_init(&vm, "diff", &translate_engine, 1))
		return -1;
	vm.tsc_khz = 2000000;
	ram_region.host = ram;
	if (space_add(&vm.mem, &ram_region) || vm.engine->vcpu_init(&vm.vcpu[0]))
		return -1;
	vm.vcpu[0].started = true; /* so that vcpu_kick reaches the engine */
	make_memory();
	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &interval, NULL);
	return 0;
}

void guest_run(struct diff_shared *sh, enum guest_mode mode)
{
	struct cpu *cpu = vm.vcpu[0].engine;
	enum vcpu_exit why;

	for (unsigned i = 0; i < MEM_PAGES; i++) {
		memcpy(ram + case_gpa(i), sh->test.mem + i * 4096ull, 4096);
		if (mode == GUEST_COLD && i < PAGE_LOW)
			frag_invalidate(cpu, case_gpa(i), 4096);
	}
	set_state(cpu, &sh->test, mode);
	vm.vcpu[0].events = 0;
	ticks = 1;
	do {
		why = vm.engine->run(&vm.vcpu[0]);
		vm.vcpu[0].events &= ~(u32)VCPU_STATS;
	} while (why == VCPU_EXIT_KICKED && !(vm.vcpu[0].events & VCPU_STOP));
	ticks = 0;
	vm.engine->regs_get(&vm.vcpu[0]);
	sh->guest.status = why == VCPU_EXIT_HLT ? DIFF_DONE : why == VCPU_EXIT_KICKED ? DIFF_TIMEOUT :
			   why == VCPU_EXIT_TRIPLE_FAULT ? DIFF_TRIPLE_FAULT : DIFF_ENGINE_ERROR;
	if (cpu->bug)
		printf("engine: %s\n", cpu->bug);
	if (sh->guest.status == DIFF_DONE)
		take_state(cpu, &sh->guest);
	for (unsigned i = 0; i < MEM_PAGES; i++)
		memcpy(sh->guest_mem + i * 4096ull, ram + case_gpa(i), 4096);
}
