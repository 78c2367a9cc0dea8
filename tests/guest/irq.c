/* SPDX-License-Identifier: MIT */
/* Interrupts: windows, controllers, timers, interrupted instructions. */
#include "rt.h"

#define LAPIC 0xfee00000ull
#define IOAPIC 0xfec00000ull
#define HPET 0xfed00000ull

enum {
	L_ID = 0x20,
	L_TPR = 0x80,
	L_EOI = 0xb0,
	L_SVR = 0xf0,
	L_ISR = 0x100,
	L_IRR = 0x200,
	L_ICR = 0x300,
	L_ICR2 = 0x310,
	L_TIMER = 0x320,
	L_LINT0 = 0x350,
	L_INIT = 0x380,
	L_CURRENT = 0x390,
	L_DIVIDE = 0x3e0,
	T_PERIODIC = 1 << 17,
	T_DEADLINE = 2 << 17,
	MASKED = 1 << 16,
	V_SELF = 0x41,
	V_HIGH = 0x61,
	V_TIMER = 0x51,
	V_IOAPIC = 0x71,
	V_PIC = 0x20,
	V_SPURIOUS = 0xff,
};

static u32 lapic(u32 reg)
{
	return *(volatile u32 *)(LAPIC + reg);
}

static void lapic_set(u32 reg, u32 v)
{
	*(volatile u32 *)(LAPIC + reg) = v;
}

static void self_ipi(u32 vec)
{
	lapic_set(L_ICR, 0x40000 | vec);
}

/* Waits until *count reaches n; false when it takes far too long. */
static bool wait_count(volatile u64 *count, u64 n)
{
	u64 end = rdtsc() + 20000000000ull;

	while (*count < n && rdtsc() < end)
		__asm__ volatile("pause");
	return *count >= n;
}

static volatile u64 count[256];
static volatile u64 irq_rip;
static volatile bool no_eoi;

static bool on_irq(struct frame *f)
{
	count[f->vec]++;
	irq_rip = f->rip;
	if (!no_eoi)
		lapic_set(L_EOI, 0);
	return true;
}

static void take(int vec)
{
	hooks[vec] = on_irq;
	count[vec] = 0;
}

static void apic_on(void)
{
	lapic_set(L_SVR, 0x100 | V_SPURIOUS);
	lapic_set(L_TIMER, MASKED);
	lapic_set(L_DIVIDE, 0xb); /* by 1 */
	wr_cr8(0);
	take(V_SELF);
	take(V_HIGH);
	take(V_TIMER);
	take(V_IOAPIC);
	take(V_PIC);
	no_eoi = false;
}

/* ---- windows; an interrupt is pending while these run ---- */

#define WINDOW(name, text)                                                                                   \
	SNIP(name, text "\n.globl " #name "_at\n" #name "_at: nop; cli");                                    \
	extern char name##_at[]

SNIP(w_sti_cli, "sti; cli; nop");
WINDOW(w_sti_nop, "sti; nop");
WINDOW(w_popf, "pushfq; orl $0x200,(%rsp); popfq");
WINDOW(w_iret, "mov %rsp,%rax; pushq $0x18; push %rax; pushfq; orl $0x200,(%rsp); pushq $0x10; lea "
	       "1f(%rip),%rcx; push %rcx; iretq; 1:");
WINDOW(w_hlt, "sti; hlt");
WINDOW(w_sti_sti, "sti; sti");
WINDOW(w_sti_ret, "lea 1f(%rip),%rax; push %rax; sti; ret; 1:");
WINDOW(w_sti_rep, "mov $10,%ecx; mov %rsp,%rsi; mov %rsp,%rdi; sti; rep movsb");
SNIP(w_mov_ss, "mov $0x18,%eax; sti; mov %ax,%ss; nop; nop; cli");
SNIP(w_popf_cli, "pushfq; pushfq; orl $0x200,(%rsp); popfq; cli; popfq");

static void window(const char *name, void *fn, u64 at)
{
	count[V_SELF] = 0;
	irq_rip = 0;
	self_ipi(V_SELF);
	guard(fn, 0, 0);
	__asm__ volatile("cli");
	check(name, count[V_SELF], at != 0);
	if (at)
		check(name, irq_rip, at);
	while (!count[V_SELF])
		__asm__ volatile("sti; nop; nop; cli");
}

static void windows(void)
{
	apic_on();
	window("sti-cli", w_sti_cli, 0);
	window("sti-nop", w_sti_nop, (u64)w_sti_nop_at);
	window("popf", w_popf, (u64)w_popf_at);
	window("iret", w_iret, (u64)w_iret_at);
	window("sti-hlt-pending", w_hlt, (u64)w_hlt_at);
	window("sti-ret", w_sti_ret, (u64)w_sti_ret_at);
	count[V_SELF] = 0;
	self_ipi(V_SELF);
	guard(w_mov_ss, 0, 0);
	check("sti-mov-ss", count[V_SELF], 1);
	check("sti-mov-ss-not-before-ss", irq_rip >= (u64)w_mov_ss + 8, true);
	count[V_SELF] = 0;
	self_ipi(V_SELF);
	guard(w_popf_cli, 0, 0);
	check("popf-cli-takes-one", count[V_SELF], 1);
	/* Masked: nothing comes, however long the code. */
	self_ipi(V_SELF);
	count[V_SELF] = 0;
	for (volatile int i = 0; i < 10000; i++)
		;
	check("cli-holds", count[V_SELF], 0);
	check("irr-shows", lapic(L_IRR + (V_SELF / 32 << 4)) >> (V_SELF & 31) & 1, 1);
	__asm__ volatile("sti; nop; cli");
	check("then-comes", count[V_SELF], 1);
	/* With IF set a self-IPI arrives at once, or nearly. */
	__asm__ volatile("sti");
	for (int i = 0; i < 100; i++)
		self_ipi(V_SELF);
	__asm__ volatile("nop; nop; nop; cli");
	check("self-ipi-100", count[V_SELF] > 1 && count[V_SELF] <= 101, true);
}

static void priorities(void)
{
	u64 i;

	apic_on();
	wr_cr8(4);
	check("cr8-reads", rd_cr8(), 4);
	check("cr8-is-tpr", lapic(L_TPR) & 0xff, 0x40);
	self_ipi(V_SELF);
	__asm__ volatile("sti; nop; nop; cli");
	check("tpr-holds-own-class", count[V_SELF], 0);
	self_ipi(V_HIGH);
	__asm__ volatile("sti; nop; nop; cli");
	check("tpr-lets-higher", count[V_HIGH], 1);
	__asm__ volatile("sti");
	wr_cr8(3);
	__asm__ volatile("nop; nop; cli");
	check("cr8-lowered", count[V_SELF], 1);
	wr_cr8(0);
	lapic_set(L_TPR, 0x50);
	check("tpr-is-cr8", rd_cr8(), 5);
	lapic_set(L_TPR, 0);
	/* Two pending: the higher first; the lower waits for EOI even with IF set. */
	count[V_SELF] = count[V_HIGH] = 0;
	no_eoi = true;
	self_ipi(V_SELF);
	self_ipi(V_HIGH);
	__asm__ volatile("sti; nop; nop; nop; cli");
	check("higher-first", count[V_HIGH] << 4 | count[V_SELF], 0x10);
	check("isr-shows", lapic(L_ISR + (V_HIGH / 32 << 4)) >> (V_HIGH & 31) & 1, 1);
	lapic_set(L_EOI, 0);
	__asm__ volatile("sti; nop; nop; cli");
	check("lower-after-eoi", count[V_SELF], 1);
	/* A lower one in service does not stop a higher one. */
	self_ipi(V_HIGH);
	__asm__ volatile("sti; nop; nop; cli");
	check("higher-nests", count[V_HIGH], 2);
	lapic_set(L_EOI, 0);
	lapic_set(L_EOI, 0);
	for (i = 0; i < 8; i++)
		check_n("isr-empty", i, lapic(L_ISR + (i << 4)), 0);
	no_eoi = false;
}

/* ---- timers ---- */

static void timer(u32 mode, u32 initial)
{
	lapic_set(L_TIMER, mode | V_TIMER);
	lapic_set(L_INIT, initial);
}

static void lapic_timer(void)
{
	u32 a, b;

	apic_on();
	lapic_set(L_TIMER, MASKED | V_TIMER);
	lapic_set(L_INIT, 0xffffffff);
	a = lapic(L_CURRENT);
	for (volatile int i = 0; i < 1000; i++)
		;
	b = lapic(L_CURRENT);
	check("counts-down", b < a, true);
	__asm__ volatile("sti");
	timer(0, 100000);
	check("one-shot", wait_count(&count[V_TIMER], 1), true);
	check("one-shot-ends", lapic(L_CURRENT), 0);
	for (volatile int i = 0; i < 100000; i++)
		;
	check("one-shot-once", count[V_TIMER], 1);
	timer(T_PERIODIC, 1000000);
	check("periodic", wait_count(&count[V_TIMER], 11), true);
	timer(0, 0);
	a = count[V_TIMER];
	for (volatile int i = 0; i < 1000000; i++)
		;
	check("stopped", count[V_TIMER] - a <= 1, true);
	__asm__ volatile("cli"); /* or it may come before the HLT */
	timer(0, 100000);
	count[V_TIMER] = 0;
	__asm__ volatile("sti; hlt");
	check("hlt-wakes", count[V_TIMER], 1);
	timer(MASKED, 1000);
	for (volatile int i = 0; i < 100000; i++)
		;
	check("masked-timer", count[V_TIMER], 1);
	__asm__ volatile("cli");
}

static void tsc_deadline(void)
{
	u64 due;

	if (!(cpuid(1, 0).ecx & BIT(24))) {
		skip("tsc-deadline", "no CPUID bit");
		return;
	}
	apic_on();
	lapic_set(L_TIMER, T_DEADLINE | V_TIMER);
	__asm__ volatile("mfence; sti");
	due = rdtsc() + 100000000;
	wr_msr(MSR_TSC_DEADLINE, due);
	check("deadline-armed", rd_msr(MSR_TSC_DEADLINE), due);
	check("deadline-comes", wait_count(&count[V_TIMER], 1), true);
	check("deadline-not-early", rdtsc() >= due, true);
	check("deadline-reads-0", rd_msr(MSR_TSC_DEADLINE), 0);
	wr_msr(MSR_TSC_DEADLINE, 1);
	check("deadline-past", wait_count(&count[V_TIMER], 2), true);
	wr_msr(MSR_TSC_DEADLINE, rdtsc() + 200000000);
	wr_msr(MSR_TSC_DEADLINE, 0);
	due = rdtsc() + 400000000;
	while (rdtsc() < due)
		;
	check("deadline-disarmed", count[V_TIMER], 2);
	__asm__ volatile("cli");
	wr_msr(MSR_TSC_DEADLINE, rdtsc() + 100000000);
	__asm__ volatile("sti; hlt; cli");
	check("deadline-hlt", count[V_TIMER], 3);
	lapic_set(L_TIMER, MASKED);
}

/* ---- interrupted code ---- */

/* Ends the loop it interrupts by moving rip (and back to ring 0 if need be). */
static bool break_loop(struct frame *f)
{
	count[f->vec]++;
	lapic_set(L_EOI, 0);
	last = *f;
	f->cs = KCODE;
	f->ss = KDATA;
	f->rflags = 2;
	f->rip = (u64)guard_out;
	f->rsp = guard_rsp;
	return true;
}

SNIP(loop_self, "sti; 1: jmp 1b");
SNIP(loop_indirect, "sti; lea 1f(%rip),%rax; lea 2f(%rip),%rcx; 1: jmp *%rcx; 2: jmp *%rax");
SNIP(loop_call, "sti; 1: call 2f; 2: add $8,%rsp; jmp 1b");
SNIP(loop_ret, "sti; lea 1f(%rip),%rax; 1: push %rax; ret");
SNIP(loop_loop, "sti; 1: mov $2,%ecx; 2: loop 2b; jmp 1b");
SNIP(loop_jcc, "sti; 1: test %eax,%eax; jz 1b; jnz 1b");
SNIP(loop_mem, "sti; lea 1f(%rip),%rax; push %rax; 1: jmp *(%rsp)");
SNIP(loop_far, "sti; lea 1f(%rip),%rax; 1: pushq $0x10; push %rax; lretq");
SNIP(loop_iret, "sti; lea 1f(%rip),%rax; mov %rsp,%rcx; 1: pushq $0x18; push %rcx; pushfq; pushq $0x10; push "
		"%rax; iretq");
SNIP(loop_pause, "sti; 1: pause; jmp 1b");
SNIP(loop_exc, "sti; 1: mov (%rdi),%rax; jmp 1b");
SNIP(u_loop_self, "1: jmp 1b");
SNIP(u_loop_indirect, "lea 1f(%rip),%rax; lea 2f(%rip),%rcx; 1: jmp *%rcx; 2: jmp *%rax");

static void endless(const char *name, void *fn)
{
	count[V_TIMER] = 0;
	timer(0, 1000000);
	guard(fn, (u64)gdt, 0);
	check(name, count[V_TIMER], 1);
}

static void loops(void)
{
	apic_on();
	hooks[V_TIMER] = break_loop;
	endless("jmp-self", loop_self);
	endless("indirect", loop_indirect);
	endless("call", loop_call);
	endless("ret", loop_ret);
	endless("loop", loop_loop);
	endless("jcc", loop_jcc);
	endless("jmp-mem", loop_mem);
	endless("far", loop_far);
	endless("iret", loop_iret);
	endless("pause", loop_pause);
	endless("load", loop_exc);
	count[V_TIMER] = 0;
	timer(0, 1000000);
	USER(u_loop_self, 0, 0);
	check("ring3-jmp-self", count[V_TIMER] << 32 | last.rip, 1ull << 32 | UTEXT);
	check("ring3-cs", last.cs, UCODE);
	timer(0, 1000000);
	USER(u_loop_indirect, 0, 0);
	check("ring3-indirect", count[V_TIMER], 2);
}

extern char rep_at[];
static u64 rep_hits, rep_bad, rep_src, rep_dst;

static bool in_rep(struct frame *f)
{
	u64 done = f->gpr[RSI] - rep_src;

	count[f->vec]++;
	lapic_set(L_EOI, 0);
	if (f->rip != (u64)rep_at || !f->gpr[RCX])
		return true;
	rep_hits++;
	rep_bad += f->gpr[RDI] - rep_dst != done || f->gpr[RCX] + done != MIB(1);
	return true;
}

static void interrupted_rep(void)
{
	u64 c, s, d, end = rdtsc() + 20000000000ull, bad = 0;
	int i;

	apic_on();
	hooks[V_TIMER] = in_rep;
	rep_src = pages_alloc(256, 12);
	rep_dst = pages_alloc(256, 12);
	for (i = 0; i < 1 << 17; i++)
		((u64 *)rep_src)[i] = i * 0x9e3779b97f4a7c15ull;
	timer(T_PERIODIC, 50000);
	__asm__ volatile("sti");
	do {
		c = MIB(1);
		s = rep_src;
		d = rep_dst;
		__asm__ volatile("rep_at: rep movsb" : "+c"(c), "+S"(s), "+D"(d)::"memory");
		bad += c != 0 || s != rep_src + MIB(1) || d != rep_dst + MIB(1);
	} while (rep_hits < 5 && rdtsc() < end);
	timer(MASKED, 0);
	__asm__ volatile("cli");
	check("rep-interrupted", rep_hits >= 1, true);
	check("rep-registers", rep_bad, 0);
	check("rep-result", bad, 0);
	check("rep-data", memcmp((void *)rep_src, (void *)rep_dst, MIB(1)), 0);
}

/* Registers and flags survive many interrupts of a computation. */
static void undisturbed(void)
{
	u64 a = 0, b = 0, i;

	apic_on();
	for (i = 0; i < 1000000; i++)
		a = a * 6364136223846793005ull + i + (a >> 60 & 1 ? 3 : 0);
	timer(T_PERIODIC, 20000);
	__asm__ volatile("sti");
	for (i = 0; i < 1000000; i++)
		b = b * 6364136223846793005ull + i + (b >> 60 & 1 ? 3 : 0);
	wait_count(&count[V_TIMER], 3);
	timer(MASKED, 0);
	__asm__ volatile("cli");
	check("undisturbed", b, a);
}

/* ---- the old controllers ---- */

static bool on_pic(struct frame *f)
{
	count[f->vec]++;
	outb(0x20, 0x20);
	return true;
}

static void pic_init(u8 mask)
{
	outb(0x20, 0x11);
	outb(0x21, V_PIC);
	outb(0x21, 4);
	outb(0x21, 1);
	outb(0xa0, 0x11);
	outb(0xa1, V_PIC + 8);
	outb(0xa1, 2);
	outb(0xa1, 1);
	outb(0x21, mask);
	outb(0xa1, 0xff);
}

static void pit(u32 hz)
{
	u32 n = 1193182 / hz;

	outb(0x43, 0x34);
	outb(0x40, n);
	outb(0x40, n >> 8);
}

static void pic(void)
{
	u64 a, end;

	apic_on();
	lapic_set(L_LINT0, 0x700);
	hooks[V_PIC] = on_pic;
	pic_init(0xfe);
	pit(1000);
	__asm__ volatile("sti");
	check("pit-through-8259", wait_count(&count[V_PIC], 10), true);
	check("pic-mask-reads", inb(0x21), 0xfe);
	outb(0x21, 0xff);
	a = count[V_PIC];
	for (volatile int i = 0; i < 1000000; i++)
		;
	check("pic-masked", count[V_PIC] - a <= 1, true);
	__asm__ volatile("cli");
	outb(0x20, 0x0a);
	end = rdtsc() + 2000000000;
	while (!(inb(0x20) & 1) && rdtsc() < end)
		;
	check("pic-irr", inb(0x20) & 1, 1);
	outb(0x21, 0xfe);
	__asm__ volatile("sti; hlt; cli");
	check("pic-unmasked-hlt", count[V_PIC] - a >= 1, true);
	outb(0x21, 0xff);
	lapic_set(L_LINT0, MASKED | 0x700);
}

static u32 ioapic(u32 reg)
{
	*(volatile u32 *)IOAPIC = reg;
	return *(volatile u32 *)(IOAPIC + 0x10);
}

static void ioapic_set(u32 reg, u32 v)
{
	*(volatile u32 *)IOAPIC = reg;
	*(volatile u32 *)(IOAPIC + 0x10) = v;
}

static void redirect(u32 pin, u32 low)
{
	ioapic_set(0x11 + 2 * pin, lapic(L_ID));
	ioapic_set(0x10 + 2 * pin, low);
}

static int level_rounds, remote_irr;

/* The first time it leaves the UART's interrupt asserted. */
static bool on_level(struct frame *f)
{
	count[f->vec]++;
	remote_irr += ioapic(0x10 + 8) >> 14 & 1;
	if (++level_rounds == 3)
		outb(0x3f9, 0);
	lapic_set(L_EOI, 0);
	return true;
}

static void ioapics(void)
{
	u8 iir, again;
	bool came;
	u64 a;

	apic_on();
	check("ioapic-pins", ioapic(1) >> 16 & 0xff, 23);
	redirect(2, V_IOAPIC);
	pit(1000);
	__asm__ volatile("sti");
	check("pit-through-ioapic", wait_count(&count[V_IOAPIC], 10), true);
	redirect(2, MASKED | V_IOAPIC);
	a = count[V_IOAPIC];
	for (volatile int i = 0; i < 1000000; i++)
		;
	check("ioapic-masked", count[V_IOAPIC] - a <= 1, true);
	__asm__ volatile("cli");
	/* COM1 as an edge: enabling the transmit interrupt raises the line. */
	outb(0x3fc, 0x0b);
	outb(0x3f9, 0);
	inb(0x3fa);
	redirect(4, V_IOAPIC);
	count[V_IOAPIC] = 0;
	__asm__ volatile("sti");
	outb(0x3f9, 2);
	/* No output in between: it would raise the line again. */
	came = wait_count(&count[V_IOAPIC], 1);
	iir = inb(0x3fa) & 15;
	again = inb(0x3fa) & 1;
	a = count[V_IOAPIC];
	outb(0x3f9, 0);
	__asm__ volatile("cli");
	check("uart-edge", came, true);
	check("uart-iir", iir, 2);
	check("uart-iir-read-clears", again, 1);
	check("uart-edge-once", a, 1);
	/* And as a level, which comes again until the cause is gone. */
	hooks[V_IOAPIC] = on_level;
	count[V_IOAPIC] = 0;
	redirect(4, 0x8000 | V_IOAPIC);
	outb(0x3f9, 2);
	__asm__ volatile("sti");
	came = wait_count(&count[V_IOAPIC], 3);
	for (volatile int i = 0; i < 1000000; i++)
		;
	__asm__ volatile("cli");
	check("level-repeats", came, true);
	check("level-stops", count[V_IOAPIC], 3);
	check("remote-irr-set", remote_irr, 3);
	check("remote-irr-clear", ioapic(0x10 + 8) >> 14 & 1, 0);
	redirect(4, MASKED);
	hooks[V_IOAPIC] = on_irq;
}

static u64 hpet(u32 reg)
{
	return *(volatile u64 *)(HPET + reg);
}

static void hpet_set(u32 reg, u64 v)
{
	*(volatile u64 *)(HPET + reg) = v;
}

/* One shot of timer 0, 20 milliseconds from now; true when it came, and not early. */
static bool hpet_shot(int pin, bool *early)
{
	u64 due, came;
	bool yes;

	redirect(pin, V_IOAPIC);
	__asm__ volatile("sti; nop; nop; cli"); /* an edge that was kept while the pin was masked */
	count[V_IOAPIC] = 0;
	hpet_set(0x100, (u64)pin << 9);
	due = hpet(0xf0) + 20000000000000ull / (hpet(0) >> 32);
	/* By halves, the upper first: QEMU splits a store of 8 bytes and arms at each half. */
	*(volatile u32 *)(HPET + 0x10c) = due >> 32;
	*(volatile u32 *)(HPET + 0x108) = due;
	hpet_set(0x100, (u64)pin << 9 | 4);
	__asm__ volatile("sti");
	yes = wait_count(&count[V_IOAPIC], 1);
	came = hpet(0xf0);
	__asm__ volatile("cli");
	*early = came < due;
	hpet_set(0x100, 0);
	redirect(pin, MASKED);
	return yes;
}

static void hpet_interrupts(void)
{
	u64 routes = hpet(0x100) >> 32;
	int pin = -1, i;
	bool early;

	for (i = 23; i >= 0; i--)
		if (routes >> i & 1)
			pin = i;
	check("hpet-route", pin >= 0, true);
	check("hpet-comes", hpet_shot(pin, &early), true);
	/* The PIT may share that pin; in legacy replacement mode it is cut off. */
	if (hpet(0) & BIT(15)) {
		hpet_set(0x10, 3);
		check("hpet-legacy", hpet_shot(2, &early), true);
		check("hpet-not-early", early, false);
		hpet_set(0x10, 1);
	}
}

/* Microseconds by the HPET that 20 ms of the PIT's counter 2 take, at best. */
static u64 pit_20ms(u64 period)
{
	u64 best = ~0ull, start, us;
	int i;

	for (i = 0; i < 5; i++) {
		outb(0x61, (inb(0x61) & ~2) | 1);
		outb(0x43, 0xb0);
		outb(0x42, 23864 & 0xff);
		start = hpet(0xf0);
		outb(0x42, 23864 >> 8);
		while (!(inb(0x61) & 0x20))
			;
		us = (hpet(0xf0) - start) * period / 1000000000;
		best = MIN(best, us);
	}
	return best;
}

static void hpets(void)
{
	u64 period = hpet(0) >> 32, a;

	if (hpet(0) == 0 || hpet(0) == ~0ull) {
		skip("hpet", "none");
		return;
	}
	apic_on();
	check("hpet-period", period > 0 && period <= 100000000, true);
	hpet_set(0x10, 0);
	a = hpet(0xf0);
	check("hpet-stopped", hpet(0xf0), a);
	hpet_set(0x10, 1);
	a = hpet(0xf0);
	for (volatile int j = 0; j < 10000; j++)
		;
	check("hpet-runs", hpet(0xf0) > a, true);
	hpet_interrupts();
	a = pit_20ms(period);
	check("pit-against-hpet", a > 19500 && a < 40000, true);
}

static void nmi(void)
{
	apic_on();
	hooks[VEC_NMI] = on_irq;
	count[VEC_NMI] = 0;
	no_eoi = true;
	lapic_set(L_ICR2, lapic(L_ID));
	lapic_set(L_ICR, 0x4400);
	check("nmi-with-if-clear", wait_count(&count[VEC_NMI], 1), true);
	lapic_set(L_ICR, 0x4400);
	check("nmi-again-after-iret", wait_count(&count[VEC_NMI], 2), true);
	hooks[VEC_NMI] = NULL;
	no_eoi = false;
}

static bool on_x2(struct frame *f)
{
	count[f->vec]++;
	wr_msr(0x80b, 0);
	return true;
}

static void x2apic(void)
{
	if (!(cpuid(1, 0).ecx & BIT(21))) {
		skip("x2apic", "no CPUID bit");
		return;
	}
	apic_on();
	wr_msr(MSR_APIC_BASE, rd_msr(MSR_APIC_BASE) | 0x400);
	hooks[V_SELF] = on_x2;
	__asm__ volatile("sti");
	wr_msr(0x83f, V_SELF);
	check("x2apic-self-ipi", wait_count(&count[V_SELF], 1), true);
	wr_msr(0x830, 0x40000 | V_SELF);
	check("x2apic-icr", wait_count(&count[V_SELF], 2), true);
	__asm__ volatile("cli");
	check("x2apic-id", rd_msr(0x802), 0);
	check("x2apic-svr", rd_msr(0x80f), 0x100 | V_SPURIOUS);
	wr_msr(0x808, 0x30);
	check("x2apic-tpr-cr8", rd_cr8(), 3);
	wr_msr(0x808, 0);
}

const struct section sections[] = {
	{"windows", windows},
	{"priorities", priorities},
	{"lapic_timer", lapic_timer},
	{"tsc_deadline", tsc_deadline},
	{"loops", loops},
	{"rep", interrupted_rep},
	{"undisturbed", undisturbed},
	{"pic", pic},
	{"ioapic", ioapics},
	{"hpet", hpets},
	{"nmi", nmi},
	{"x2apic", x2apic},
	{NULL, NULL},
};
