/* SPDX-License-Identifier: MIT */
/* The runtime of the guest images; see rt.h. */
#include "rt.h"

#define COM1 0x3f8
#define EXIT_PORT 0xf4

extern char trap_stubs[], stack_top[], image_start[];
void trap(struct frame *f);
void rt_start(const u8 *boot_params);

struct frame last;
u64 last_cr2, guard_rsp;
bool (*hooks[256])(struct frame *f);
char ist_stacks[8][4096] __attribute__((aligned(16)));
u64 pml4[512] __attribute__((aligned(4096)));

static char stack[65536] __attribute__((aligned(16), used));
__asm__(".globl stack_top\n.set stack_top, stack + 65536");
static char rsp0_stack[8192] __attribute__((aligned(16)));

static struct {
	u32 pad;
	u64 rsp[3], pad2, ist[7];
	u64 pad3;
	u16 pad4, iomap;
	u8 io_end[4];
} __attribute__((packed)) tss;

static struct {
	u16 off0, sel;
	u8 ist, attr;
	u16 off1;
	u32 off2, pad;
} idt[256];

u64 gdt[GDT_SLOTS] = {
	0, 0x00cf9b000000ffff, /* KCODE32 */
	0x00af9b000000ffff, /* KCODE */
	0x00cf93000000ffff, /* KDATA */
	0x00cffb000000ffff, /* UCODE32 */
	0x00cff3000000ffff, /* UDATA */
	0x00affb000000ffff, /* UCODE */
	0x00cff3000000ffff, /* UDATA2 */
	0, 0, /* TSS */
	0x00cf13000000ffff, /* NP_DATA */
	0x008f9b000000ffff, /* CODE16 */
	0x0040f30000000fff, /* SMALL_DATA: base 0, limit 4095, DPL 3 */
	0, 0, 0x00af1b000000ffff, /* NP_CODE */
};

static u32 passed, failed, skipped;
static u64 next_page = (u64)image_start + MIB(15);
static char cmdline[256];

void *memset(void *d, int c, size_t n)
{
	void *r = d;

	__asm__ volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(c) : "memory");
	return r;
}

void *memcpy(void *d, const void *s, size_t n)
{
	void *r = d;

	__asm__ volatile("rep movsb" : "+D"(d), "+S"(s), "+c"(n)::"memory");
	return r;
}

int memcmp(const void *a, const void *b, size_t n)
{
	const u8 *x = a, *y = b;

	for (; n; n--, x++, y++)
		if (*x != *y)
			return *x - *y;
	return 0;
}

static void put_char(char c)
{
	while (!(inb(COM1 + 5) & 0x20))
		;
	outb(COM1, c);
}

void put(const char *s)
{
	for (; *s; s++)
		put_char(*s);
}

void put_hex(u64 v)
{
	int shift = 60;

	put("0x");
	while (shift && !(v >> shift))
		shift -= 4;
	for (; shift >= 0; shift -= 4)
		put_char("0123456789abcdef"[v >> shift & 15]);
}

static void verdict(const char *name, bool indexed, u64 index, bool ok)
{
	put(ok ? "ok " : "FAIL ");
	put(name);
	if (indexed) {
		put(".");
		put_hex(index);
	}
	*(ok ? &passed : &failed) += 1;
}

static void values(u64 got, u64 want)
{
	if (got != want) {
		put(": got ");
		put_hex(got);
		put(" want ");
		put_hex(want);
	}
	put("\n");
}

void check(const char *name, u64 got, u64 want)
{
	verdict(name, false, 0, got == want);
	values(got, want);
}

void check_n(const char *name, u64 index, u64 got, u64 want)
{
	verdict(name, true, index, got == want);
	values(got, want);
}

void skip(const char *name, const char *why)
{
	put("skip ");
	put(name);
	put(": ");
	put(why);
	put("\n");
	skipped++;
}

static void field(const char *name, u64 got, u64 want)
{
	if (got == want)
		return;
	put(" ");
	put(name);
	put(" got ");
	put_hex(got);
	put(" want ");
	put_hex(want);
}

static void expect_last(const char *name, bool trapped, u64 rip, u64 vec, u64 err)
{
	if (!trapped)
		last.vec = 0x100;
	verdict(name, false, 0, last.vec == vec && last.rip == rip && last.err == err);
	if (!trapped)
		put(" no trap");
	field("vector", last.vec, vec);
	field("error", last.err, err);
	field("rip", last.rip, rip);
	put("\n");
}

void expect(const char *name, void *fn, u64 a, u64 b, u64 rip, u64 vec, u64 err)
{
	expect_last(name, guard(fn, a, b), rip, vec, err);
}

void expect_user(
	const char *name, const void *from, const void *to, const void *ip, u64 a, u64 b, u64 vec, u64 err)
{
	user(from, to, a, b);
	expect_last(name, true, UTEXT + ((u64)ip - (u64)from), vec, err);
}

void finish(void)
{
	put(failed ? "result: FAIL " : "result: pass ");
	put_hex(passed);
	put(" ok, ");
	put_hex(failed);
	put(" failed, ");
	put_hex(skipped);
	put(" skipped\n");
	outb(EXIT_PORT, failed ? 1 : 0);
	for (;;)
		__asm__ volatile("cli; hlt");
}

static void dump(const struct frame *f)
{
	put("\nFAIL unexpected-trap:");
	field("vector", f->vec, -1);
	field("error", f->err, 0);
	field("rip", f->rip, 0);
	field("cs", f->cs, KCODE);
	field("rflags", f->rflags, 2);
	field("rsp", f->rsp, 0);
	field("cr2", rd_cr2(), 0);
	put("\n");
	failed++;
	finish();
}

void trap(struct frame *f)
{
	if (hooks[f->vec] && hooks[f->vec](f))
		return;
	if (!guard_rsp)
		dump(f);
	last = *f;
	last.gpr[RSP] = f->rsp;
	last_cr2 = rd_cr2();
	f->rip = (u64)guard_out;
	f->cs = KCODE;
	f->rflags = 2;
	f->rsp = guard_rsp;
	f->ss = KDATA;
}

u64 pages_alloc(int n, int align_log2)
{
	u64 pa = ALIGN_UP(next_page, BIT(align_log2));

	next_page = pa + n * PAGE_SIZE;
	memset((void *)pa, 0, n * PAGE_SIZE);
	return pa;
}

u64 page_alloc(void)
{
	return pages_alloc(1, 12);
}

u64 *pte_at(u64 va, int level)
{
	u64 *table = pml4;
	int i;

	for (i = 4;; i--) {
		u64 *e = &table[va >> (12 + 9 * (i - 1)) & 511];

		if (i == level)
			return e;
		if (!(*e & P))
			*e = page_alloc() | P | W | U;
		table = (u64 *)(*e & PTE_ADDR);
	}
}

void map(u64 va, u64 pa, u64 flags)
{
	*pte_at(va, 1) = pa | flags;
	invlpg(va);
}

void unmap(u64 va)
{
	*pte_at(va, 1) = 0;
	invlpg(va);
}

bool is_intel(void)
{
	return cpuid(0, 0).ebx == 0x756e6547;
}

static bool told_tcg; /* "tcg" begins the command line: our own hypervisor is below, and does not show it */

bool is_tcg(void)
{
	return told_tcg || (cpuid(1, 0).ecx >> 31 && cpuid(0x40000000, 0).ebx == 0x54474354);
}

void gate_to(int vec, void *target, int dpl, int ist)
{
	u64 t = (u64)target;

	idt[vec].off0 = t;
	idt[vec].off1 = t >> 16;
	idt[vec].off2 = t >> 32;
	idt[vec].sel = KCODE;
	idt[vec].ist = ist;
	idt[vec].attr = 0x8e | dpl << 5;
}

void gate(int vec, int dpl, int ist)
{
	gate_to(vec, trap_stubs + 16 * vec, dpl, ist);
}

void gate_absent(int vec)
{
	idt[vec].attr = 0x0e;
}

static void make_page_tables(void)
{
	u64 pa;
	int i;

	for (pa = 0; pa < 0xffe00000; pa += MIB(2))
		if (pa < LOW_WINDOW || pa >= 0x80000000)
			*pte_at(pa, 2) = pa | P | W | PS;
	for (i = 0; i < 32; i++)
		*pte_at(UTEXT + i * PAGE_SIZE, 1) = page_alloc() | P | W | U;
	wr_cr3((u64)pml4);
}

static void load_tables(void)
{
	struct {
		u16 limit;
		u64 base;
	} __attribute__((packed)) r = {sizeof(gdt) - 1, (u64)gdt};
	u64 t = (u64)&tss;
	int i;

	gdt[TSS_SEL / 8] = (sizeof(tss) - 1) | (t & 0xffffff) << 16 | 0x89ull << 40 | (t >> 24 & 0xff) << 56;
	gdt[TSS_SEL / 8 + 1] = t >> 32;
	tss.rsp[0] = (u64)(rsp0_stack + sizeof(rsp0_stack));
	tss.iomap = sizeof(tss);
	for (i = 0; i < 7; i++)
		tss.ist[i] = (u64)(ist_stacks[i + 1] + 4096);
	__asm__ volatile("lgdt %0" ::"m"(r));
	__asm__ volatile("pushq %0; leaq 1f(%%rip), %%rax; pushq %%rax; lretq; 1:" ::"i"(KCODE)
			 : "rax", "memory");
	__asm__ volatile(
		"mov %0, %%ds; mov %0, %%es; mov %0, %%ss; mov %1, %%fs; mov %1, %%gs" ::"r"(KDATA), "r"(0));
	__asm__ volatile("ltr %w0; lldt %w1" ::"r"(TSS_SEL), "r"(0));
	for (i = 0; i < 256; i++)
		gate(i, i == UEXIT || i == 3 ? 3 : 0, i == 8 ? 1 : 0);
	r.limit = sizeof(idt) - 1;
	r.base = (u64)idt;
	__asm__ volatile("lidt %0" ::"m"(r));
}

static void control_registers(void)
{
	struct cpuid c1 = cpuid(1, 0);

	wr_cr0((rd_cr0() & ~(CR0_TS | CR0_EM | CR0_CD | CR0_NW)) | CR0_WP | CR0_NE | CR0_MP);
	wr_cr4(CR4_PAE | CR4_PGE | CR4_OSFXSR | CR4_OSXMMEXCPT | (c1.ecx & BIT(26) ? CR4_OSXSAVE : 0));
	wr_msr(MSR_EFER, EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE);
	__asm__ volatile("fninit");
}

static void mask_irqs(void)
{
	outb(0x21, 0xff);
	outb(0xa1, 0xff);
}

void user_at(u64 rip, u64 cs, u64 rflags, u64 rdi, u64 rsi)
{
	struct frame f = {.rip = rip, .cs = cs, .rflags = rflags, .rsp = USTACK - 64, .ss = UDATA};

	f.gpr[RDI] = rdi;
	f.gpr[RSI] = rsi;
	f.gpr[R15] = 0x1515151515151515;
	guard(enter, (u64)&f, 0);
}

void user(const void *from, const void *to, u64 rdi, u64 rsi)
{
	static const u8 tail[] = {0xcd, UEXIT};
	u64 n = (u64)to - (u64)from;

	memcpy((void *)(*pte_at(UTEXT, 1) & PTE_ADDR), from, n);
	memcpy((void *)((*pte_at(UTEXT, 1) & PTE_ADDR) + n), tail, sizeof(tail));
	user_at(UTEXT, UCODE, 0x202, rdi, rsi);
}

static bool same(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a == *b;
}

static const char *only(void)
{
	char *p;

	for (p = cmdline; *p; p++) {
		if (!memcmp(p, "only=", 5)) {
			char *end = p += 5;

			while (*end && *end != ' ')
				end++;
			*end = 0;
			return p;
		}
	}
	return NULL;
}

void rt_start(const u8 *boot_params)
{
	u32 line = *(const u32 *)(boot_params + 0x228);
	const struct section *s;
	const char *pick;

	if (line)
		memcpy(cmdline, (void *)(u64)line, sizeof(cmdline) - 1);
	told_tcg = !memcmp(cmdline, "tcg", 3);
	control_registers();
	make_page_tables();
	load_tables();
	mask_irqs();
	pick = only();
	for (s = sections; s->name; s++) {
		if (pick && !same(pick, s->name))
			continue;
		put("section ");
		put(s->name);
		put("\n");
		s->run();
	}
	finish();
}
