/* SPDX-License-Identifier: MIT */
/*
 * A malicious primary VM, and malicious guests: whatever they do, the
 * hypervisor answers the next call. random.c has guests of random code.
 */
#include "vmm.h"

enum { MSR_VM_CR = 0xc0010114, MSR_HSAVE = 0xc0010117 };

static struct guest g;
static void alive(const char *name)
{
	check(name, call(CALL_VERSION, 0, 0, 0, 0), CONTROL_VERSION);
}

/* ---- the primary VM ---- */
SNIP_IP(do_vmrun, "mov %rdi, %rax\n", "vmrun");
SNIP_IP(do_vmload, "mov %rdi, %rax\n", "vmload");
SNIP_IP(do_vmsave, "mov %rdi, %rax\n", "vmsave");
SNIP_IP(do_stgi, "", "stgi");
SNIP_IP(do_clgi, "", "clgi");
SNIP_IP(do_skinit, "xor %eax, %eax\n", "skinit");
SNIP_IP(do_invlpga, "xor %ecx, %ecx\n", "invlpga");
SNIP_IP(do_rdmsr, "mov %edi, %ecx\n", "rdmsr");
SNIP_IP(do_wrmsr, "mov %edi, %ecx\n mov %esi, %eax\n mov %rsi, %rdx\n shr $32, %rdx\n", "wrmsr");

static void no_virtualization(void)
{
	find_control();
	check("magic", control->magic, CONTROL_MAGIC);
	check("cpuid/svm", cpuid(0x80000001, 0).ecx & 4, 0);
	check("cpuid/leaf", cpuid(0x8000000a, 0).edx, 0);
	check("efer", rd_msr(MSR_EFER) & BIT(12), 0);
	EXPECT(do_vmrun, 0x1000, 0, 6, 0);
	EXPECT(do_vmload, 0x1000, 0, 6, 0);
	EXPECT(do_vmsave, 0x1000, 0, 6, 0);
	EXPECT(do_stgi, 0, 0, 6, 0);
	EXPECT(do_clgi, 0, 0, 6, 0);
	EXPECT(do_skinit, 0, 0, 6, 0);
	EXPECT(do_invlpga, 0, 0, 6, 0);
	expect("efer.svme", do_wrmsr, MSR_EFER, rd_msr(MSR_EFER) | BIT(12), (u64)do_wrmsr_ip, 13, 0);
	expect("efer.unknown", do_wrmsr, MSR_EFER, BIT(63), (u64)do_wrmsr_ip, 13, 0);
	expect("efer.lme-off", do_wrmsr, MSR_EFER, 0, (u64)do_wrmsr_ip, 13, 0);
	guard(do_wrmsr, MSR_VM_CR, 0);
	guard(do_wrmsr, MSR_HSAVE, 0x100000);
	guard(do_wrmsr, MSR_APIC_BASE, 0x1000 | 0x800);
	guard(do_wrmsr, MSR_APIC_BASE, 0);
	check("apic-base", rd_msr(MSR_APIC_BASE) >> 12, 0xfee00);
	alive("alive");
}

/* Writing these does to us what it is meant for. */
static bool own_msr(u32 index)
{
	return index == 0x10 || index == 0x3b || index == MSR_EFER || index == MSR_TSC_DEADLINE ||
	       (index >= 0x800 && index < 0x900) || index == MSR_FS_BASE || index == MSR_GS_BASE || index == 0x2ff ||
	       index == 0x277;
}

static void msr_sweep(void)
{
	static const u32 base[] = {0, 0xc0000000, 0xc0010000, 0x40000000, 0x4b564d00};
	u64 readable = 0;

	for (unsigned b = 0; b < ARRAY_SIZE(base); b++) {
		for (u32 i = 0; i < (b < 3 ? 0x2000u : 0x100u); i++) {
			u32 index = base[b] + i;

			readable += !guard(do_rdmsr, index, 0);
			if (own_msr(index))
				continue;
			guard(do_wrmsr, index, ~0ull);
			guard(do_wrmsr, index, 0);
		}
		check_n("msrs", b, call(CALL_VERSION, 0, 0, 0, 0), CONTROL_VERSION);
	}
	check("some-readable", readable > 10, true);
	check("efer", rd_msr(MSR_EFER) & BIT(12), 0);
}

/* Our memory is not there: one page of no importance is. */
static void memory(void)
{
	bool seen_code = false;

	for (u64 at = 0x100000; at < 0x1000000; at += 8) {
		if (*(volatile u64 *)at == CONTROL_MAGIC || *(volatile u64 *)at == control->key)
			seen_code = true;
	}
	check("nothing-seen", seen_code, false);
	for (u64 at = 0x100000; at < 0x1000000; at += 64)
		*(volatile u64 *)at = ~0ull;
	alive("alive-after-stores");
	check("same-everywhere", *(volatile u64 *)0x100000 == *(volatile u64 *)0xfff000, true);
	/* Page tables in it, with entries that we have written: they lead to where the nested tables say. */
	for (u64 i = 0; i < 512; i++)
		((volatile u64 *)HV_PAGE)[i] = 0x100000 | P | W | U;
	*pte_at(VTEST, 4) = 0x100000 | P | W | U;
	flush();
	for (u64 i = 0; i < 512; i++)
		*(volatile u64 *)(VTEST + i * MIB(2)) = 0x100000 | P | W;
	*pte_at(VTEST, 4) = 0;
	flush();
	alive("alive-after-tables");
}

static bool skip_two(struct frame *f)
{
	f->rip += 2;
	return true;
}

/* Whatever the ports for config space get; then what only a hypervisor intercepts. */
static void ports(void)
{
	hooks[13] = skip_two;
	for (u32 i = 0; i < 20000; i++) {
		u16 port = 0xcf8 + (i & 7);
		u32 value = random_u64();

		if (port == 0xcf9 || (port == 0xcf8 && !(i & 24)))
			continue; /* the reset register */
		switch (i >> 3 & 3) {
		case 0:
			__asm__ volatile("inb %1, %b0" : "=a"(value) : "d"(port));
			break;
		case 1:
			__asm__ volatile("inw %1, %w0" : "=a"(value) : "d"(port));
			break;
		case 2:
			__asm__ volatile("inl %1, %0" : "=a"(value) : "d"(port));
			break;
		default:
			if (port == 0xcf8)
				__asm__ volatile("outl %0, %1" : : "a"((value & 0xff) | 0x8000f000), "d"(port));
			else if (port >= 0xcfc && (config_in(30, 0), true))
				config_out(30, value & 0xfc, value >> 8);
		}
	}
	outb(0x92, 0); /* A20 off */
	hooks[13] = NULL;
	find_control();
	check("function-again", control->magic, CONTROL_MAGIC);
	alive("alive");
}

/* The BAR anywhere: over memory it shows nothing. */
static void bars(void)
{
	u8 slot = find_control();

	for (int i = 0; i < 2000; i++) {
		u64 at = i & 1 ? random_u64() : random_u64() & 0xffffffff;

		config_out(slot, 0x10, at);
		config_out(slot, 0x14, at >> 32);
		config_out(slot, 0x04, i);
	}
	config_out(slot, 0x04, 2);
	config_out(slot, 0x14, 0);
	config_out(slot, 0x10, 0x2000000); /* this image */
	alive("over-this-image");
	config_out(slot, 0x10, HV_PAGE);
	find_control();
	check("back", control->magic, CONTROL_MAGIC);
	/* by ECAM, in all sizes and across registers */
	for (u64 at = 0; at < PAGE_SIZE - 8; at += 3) {
		volatile u8 *ecam = (u8 *)0xb0000000ull + (slot << 15);

		(void)*(volatile u64 *)(ecam + at);
		(void)*(volatile u16 *)(ecam + at);
		*(volatile u32 *)(ecam + at) = random_u64();
		*(volatile u8 *)(ecam + at) ^= 1;
	}
	find_control();
	check("ecam", *(volatile u32 *)(0xb0000000ull + (slot << 15)), CONTROL_DEVICE << 16 | CONTROL_VENDOR);
	check("after-ecam", control->magic, CONTROL_MAGIC);
}

/* Calls with arguments that are nearly right, or not at all. */
static u64 random_argument(void)
{
	const u64 good[] = {g.vm, g.vcpu, (u64)g.page, (u64)g.ram, 0, 1, 0x1000, MIB(2), CONTROL_BATCH, HV_PAGE,
		0xfee00000, STATE_ALL, BIT(47), BIT(48), ~0ull, RAM_END};

	return random_u64() % 3 ? good[random_u64() % ARRAY_SIZE(good)] : random_u64() >> random_u64() % 64;
}

/* Only these pages may be lent or written to. */
static bool harmless(u64 nr, const u64 *a)
{
	u64 page = nr == CALL_STATS ? a[0] : nr == CALL_VCPU_CREATE ? a[1] : 0;

	if (nr == CALL_VCPU_CREATE && a[2] < RAM_END && a[2] >= MIB(16) && a[2] != (u64)g.page)
		return false;
	return page == (u64)g.page || page == (u64)g.ram || page >= RAM_END || page < 0x1000 || page == HV_PAGE;
}

static void random_calls(void)
{
	guest_make(&g, 0, 0, 0);
	map_one(g.vm, 0, (u64)g.ram | FRAME_WRITE | FRAME_2M);
	for (int i = 0; i < 100000; i++) {
		u64 nr = random_u64() % (CALL_COUNT + 1);
		u64 a[] = {random_argument(), random_argument(), random_argument(), random_argument()};

		if (nr == CALL_VCPU_RUN || nr == CALL_VM_MAP || !harmless(nr, a))
			continue;
		call(nr, a[0], a[1], a[2], a[3]);
	}
	alive("alive");
	for (u64 vm = 0; vm < 0x400000; vm += 0x100)
		for (u64 slot = 1; slot <= 16 && vm < 0x10000; slot++)
			call_again(CALL_VM_DESTROY, vm | slot, 0, 0, 0);
	alive("destroyed");
}

/* ---- guests ---- */
SNIP(code_all_ports, "xor %edx, %edx\n1: out %al, %dx\n in %dx, %eax\n inc %dx\n jnz 1b\n hlt\n");
SNIP(code_rdmsr, "rdmsr\n hlt\n");
SNIP(code_wrmsr, "wrmsr\n hlt\n");

static void guest_ports(void)
{
	struct control_record *r;
	u32 exits = 0, wrong = 0;

	guest_make(&g, 0, 0, 0);
	r = &g.page->record;
	GUEST_LOAD(&g, code_all_ports);
	while (guest_run(&g) == REASON_IO) {
		wrong += r->io.port != exits / 2 || r->io.in != (exits & 1) || r->io.size != (exits & 1 ? 4 : 1);
		exits++;
		r->rip = r->next_rip;
	}
	check("reason", r->reason, REASON_HLT);
	check("exits", exits, 0x20000);
	check("wrong", wrong, 0);
	guest_end(&g);
}

static bool msr_reason_ok(i64 reason)
{
	return reason == REASON_MSR || reason == REASON_HLT || reason == REASON_SHUTDOWN;
}

static void guest_msrs(void)
{
	static const u32 base[] = {0, 0xc0000000, 0xc0010000, 0x40000000};
	static const u32 own[] = {MSR_STAR, MSR_LSTAR, MSR_SFMASK, MSR_KERNEL_GS_BASE, MSR_SYSENTER_EIP, MSR_TSC_AUX};
	u64 before[ARRAY_SIZE(own)];
	u32 wrong = 0, passed = 0;

	guest_make(&g, 0, 0, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(own); i++)
		before[i] = rd_msr(own[i]);
	for (unsigned b = 0; b < 2 * ARRAY_SIZE(base); b++) {
		if (b & 1)
			GUEST_LOAD(&g, code_wrmsr);
		else
			GUEST_LOAD(&g, code_rdmsr);
		for (u32 i = 0; i < 0x2000; i++) {
			i64 reason;

			g.page->gpr[RCX] = base[b / 2] + i;
			g.page->gpr[RAX] = g.page->gpr[RDX] = 0x7fff1234;
			g.page->record.rip = GUEST_CODE;
			reason = guest_run(&g);
			wrong += !msr_reason_ok(reason);
			passed += reason == REASON_HLT;
			if (reason == REASON_SHUTDOWN)
				guest_reset(&g);
		}
	}
	check("wrong", wrong, 0);
	check("few-pass", passed < 40, true);
	for (unsigned i = 0; i < ARRAY_SIZE(own); i++)
		check_n("ours-are-kept", own[i], rd_msr(own[i]), before[i]);
	guest_end(&g);
}

/* Interrupts as fast as they come, while a guest computes. */
SNIP(code_loop, "mov $1000000, %ecx\n1: dec %ecx\n jnz 1b\n hlt\n");

static void storm(void)
{
	u64 interrupted = 0;
	i64 reason;

	guest_make(&g, 0, 0, 0);
	GUEST_LOAD(&g, code_loop);
	timer_start(1200);
	while ((reason = guest_run(&g)) == REASON_INTERRUPTED)
		interrupted++;
	timer_stop();
	check("reason", reason, REASON_HLT);
	check("interrupted", interrupted > 500, true);
	guest_end(&g);
}

const struct section sections[] = {
	{"no-virtualization", no_virtualization},
	{"memory", memory},
	{"ports", ports},
	{"bars", bars},
	{"calls", random_calls},
	{"guest-ports", guest_ports},
	{"guest-msrs", guest_msrs},
	{"storm", storm},
	{"msrs", msr_sweep},
	{0},
};
