/* SPDX-License-Identifier: MIT */
/* Every call with right and wrong arguments, and what becomes of memory. */
#include "vmm.h"

static struct guest g;
static u64 *frames, spare, free_at_start;

/* ---- who may call ---- */
static void call_badly(u64 key, u64 nr)
{
	call_with(key, nr, 0, 0, 0, 0);
}

SNIP(user_call, "mov %rsi, %rax\n vmmcall\n");

static void keys(void)
{
	static const u64 wrong[] = {0, ~0ull, CONTROL_MAGIC};

	check("slot", find_control() != 0, true);
	check("magic", control->magic, CONTROL_MAGIC);
	check("cpus", control->ncpus, 1);
	for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++) {
		check_n("wrong-key/traps", i, guard(call_badly, wrong[i], CALL_VERSION), true);
		check_n("wrong-key/is-undefined", i, last.vec, 6);
	}
	check("version", call(CALL_VERSION, 0, 0, 0, 0), CONTROL_VERSION);
	USER(user_call, control->key, CALL_VERSION);
	check("user/vector", last.vec, UEXIT);
	check("user/version", last.gpr[RAX], CONTROL_VERSION);
	check("user/key-kept", last.gpr[RDI], control->key);
	USER(user_call, control->key ^ 1, CALL_VERSION);
	check("user/wrong-key", last.vec, 6);
	/* stores to the page do nothing */
	*(volatile u64 *)&control->key = 0;
	((volatile u8 *)control)[4095] = 1;
	check("page/read-only", call(CALL_VERSION, 0, 0, 0, 0), CONTROL_VERSION);
	check("page/unchanged", ((volatile u8 *)control)[4095], 0);
}

/* ---- wrong arguments ---- */
struct bad {
	const char *name;
	u64 nr, a, b, c, d;
	i64 want;
};

static void expect_errors(const struct bad *bad)
{
	for (; bad->name; bad++)
		check(bad->name, call(bad->nr, bad->a, bad->b, bad->c, bad->d), bad->want);
}

static void bad_handles(void)
{
	const u64 wrong[] = {0, 1, 0xff, g.vm ^ 0x100, g.vcpu, g.vm | BIT(32), BIT(63) | g.vm, ~0ull};

	for (u64 nr = CALL_VM_DESTROY; nr <= CALL_VCPU_CREATE; nr++)
		for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++)
			check_n("bad-vm", nr << 8 | i, call(nr, wrong[i], 0, spare, 1), -CONTROL_BAD_HANDLE);
	for (u64 nr = CALL_VCPU_RUN; nr <= CALL_VCPU_SET; nr++)
		for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++)
			if (wrong[i] != (u64)g.vcpu)
				check_n("bad-vcpu", nr << 8 | i, call(nr, wrong[i], 0, 0, 0), -CONTROL_BAD_HANDLE);
}

static void errors(void)
{
	const u64 none = ~0ull & ~0xfffull;

	frames = (u64 *)page_alloc();
	spare = page_alloc();
	guest_make(&g, 0, 0, 0);
	check("vm", g.vm > 0, true);
	check("vcpu", g.vcpu > 0, true);
	map_one(g.vm, 0, (u64)g.ram | FRAME_WRITE | FRAME_2M);
	bad_handles();
	expect_errors((const struct bad[]){
		{"no-call", CALL_COUNT, 0, 0, 0, 0, -CONTROL_BAD_CALL},
		{"no-call-at-all", ~0ull, 0, 0, 0, 0, -CONTROL_BAD_CALL},
		{"create/flags", CALL_VM_CREATE, 2, 0, 0, 0, -CONTROL_BAD_ARGUMENT},
		{"create/all-flags", CALL_VM_CREATE, ~0ull, 0, 0, 0, -CONTROL_BAD_ARGUMENT},
		{"map/none", CALL_VM_MAP, g.vm, MIB(4), (u64)frames, 0, -CONTROL_BAD_ARGUMENT},
		{"map/many", CALL_VM_MAP, g.vm, MIB(4), (u64)frames, CONTROL_BATCH + 1, -CONTROL_BAD_ARGUMENT},
		{"map/all", CALL_VM_MAP, g.vm, MIB(4), (u64)frames, ~0ull, -CONTROL_BAD_ARGUMENT},
		{"map/gpa", CALL_VM_MAP, g.vm, MIB(4) + 1, (u64)frames, 1, -CONTROL_BAD_ADDRESS},
		{"map/list-odd", CALL_VM_MAP, g.vm, MIB(4), (u64)frames + 8, 1, -CONTROL_BAD_ADDRESS},
		{"map/list-ours", CALL_VM_MAP, g.vm, MIB(4), HV_PAGE, 1, -CONTROL_BAD_ADDRESS},
		{"map/list-device", CALL_VM_MAP, g.vm, MIB(4), 0xfee00000, 1, -CONTROL_BAD_ADDRESS},
		{"map/list-end", CALL_VM_MAP, g.vm, MIB(4), RAM_END, 1, -CONTROL_BAD_ADDRESS},
		{"map/list-nowhere", CALL_VM_MAP, g.vm, MIB(4), none, 1, -CONTROL_BAD_ADDRESS},
		{"unmap/gpa", CALL_VM_UNMAP, g.vm, 1, 1, 0, -CONTROL_BAD_ADDRESS},
		{"unmap/wraps", CALL_VM_UNMAP, g.vm, MIB(2), ~0ull, 0, -CONTROL_BAD_ADDRESS},
		{"unmap/part", CALL_VM_UNMAP, g.vm, 0, 1, 0, -CONTROL_BAD_ADDRESS},
		{"unmap/other-part", CALL_VM_UNMAP, g.vm, 0x1000, 511, 0, -CONTROL_BAD_ADDRESS},
		{"unmap/high", CALL_VM_UNMAP, g.vm, none, 1, 0, -CONTROL_BAD_ADDRESS},
		{"unmap/nothing", CALL_VM_UNMAP, g.vm, MIB(8), 0, 0, 0},
		{"share/wraps", CALL_VM_SHARE, g.vm, MIB(2), ~0ull, 0, -CONTROL_BAD_ADDRESS},
		{"share/part", CALL_VM_SHARE, g.vm, 0, 1, 0, -CONTROL_BAD_ADDRESS},
		{"cpuid/late", CALL_VM_CPUID, g.vm, spare, 1, 0, -CONTROL_BAD_STATE},
		{"cpuid/none", CALL_VM_CPUID, g.vm, spare, 0, 0, -CONTROL_BAD_ARGUMENT},
		{"cpuid/many", CALL_VM_CPUID, g.vm, spare, 129, 0, -CONTROL_BAD_ARGUMENT},
		{"cpuid/page", CALL_VM_CPUID, g.vm, HV_PAGE, 1, 0, -CONTROL_BAD_ADDRESS},
		{"vcpu/page", CALL_VCPU_CREATE, g.vm, HV_PAGE, spare, 0, -CONTROL_BAD_ADDRESS},
		{"vcpu/odd", CALL_VCPU_CREATE, g.vm, spare + 1, spare, 0, -CONTROL_BAD_ADDRESS},
		{"vcpu/xsave", CALL_VCPU_CREATE, g.vm, spare, 0xfee00000, 0, -CONTROL_BAD_ADDRESS},
		{"vcpu/twice", CALL_VCPU_CREATE, g.vm, spare, spare, 0, -CONTROL_BAD_ADDRESS},
		{"vcpu/in-use", CALL_VCPU_CREATE, g.vm, (u64)g.page, spare, 0, -CONTROL_BAD_ADDRESS},
		{"vcpu/guest-page", CALL_VCPU_CREATE, g.vm, (u64)g.ram, spare, 0, -CONTROL_BAD_ADDRESS},
		{"get/mask", CALL_VCPU_GET, g.vcpu, STATE_ALL + 1, 0, 0, -CONTROL_BAD_ARGUMENT},
		{"set/mask", CALL_VCPU_SET, g.vcpu, ~0ull, 0, 0, -CONTROL_BAD_ARGUMENT},
		{"stats/page", CALL_STATS, HV_PAGE, 0, 0, 0, -CONTROL_BAD_ADDRESS},
		{"stats/odd", CALL_STATS, spare + 8, 0, 0, 0, -CONTROL_BAD_ADDRESS},
		{0},
	});
}

static void bad_frames(void)
{
	const struct {
		u64 gpa, frame;
		i64 want;
	} bad[] = {
		{MIB(4), HV_PAGE, -CONTROL_BAD_ADDRESS},
		{MIB(4), HV_PAGE | FRAME_2M, -CONTROL_BAD_ADDRESS},
		{MIB(4), 0xfee00000, -CONTROL_BAD_ADDRESS},
		{MIB(4), BAR_ADDRESS, -CONTROL_BAD_ADDRESS},
		{MIB(4), RAM_END, -CONTROL_BAD_ADDRESS},
		{MIB(4), (RAM_END - MIB(2)) | FRAME_2M, -CONTROL_BAD_ADDRESS}, /* its end is ACPI's */
		{MIB(4), 0xa0000, -CONTROL_BAD_ADDRESS},
		{MIB(4), 0 | FRAME_2M, -CONTROL_BAD_ADDRESS},
		{MIB(4), ~0xfffull, -CONTROL_BAD_ADDRESS},
		{MIB(4), BIT(52) | spare, -CONTROL_BAD_ADDRESS},
		{MIB(4), spare | 4, -CONTROL_BAD_ARGUMENT},
		{MIB(4), spare | 0x800, -CONTROL_BAD_ARGUMENT},
		{MIB(4), ((u64)g.ram + 0x1000) | FRAME_2M, -CONTROL_BAD_ADDRESS},
		{MIB(4) + 0x1000, (u64)g.ram | FRAME_2M, -CONTROL_BAD_ADDRESS},
		{MIB(4), (u64)g.ram, -CONTROL_BAD_ADDRESS}, /* an alias */
		{MIB(4), (u64)g.page, -CONTROL_BAD_ADDRESS}, /* the vCPU's */
		{0x5000, spare, -CONTROL_BAD_ADDRESS}, /* something is there */
		{BIT(48), spare, -CONTROL_BAD_ADDRESS},
		{BIT(48) - 0x1000, spare | FRAME_2M, -CONTROL_BAD_ADDRESS},
		{~0xfffull, spare, -CONTROL_BAD_ADDRESS},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		check_n("frame", i, map_one(g.vm, bad[i].gpa, bad[i].frame), bad[i].want);
	/* all or nothing, and no page twice */
	frames[0] = frames[1] = spare;
	check("frames/twice", call(CALL_VM_MAP, g.vm, MIB(4), (u64)frames, 2), -CONTROL_BAD_ADDRESS);
	frames[1] = HV_PAGE;
	check("frames/second", call(CALL_VM_MAP, g.vm, MIB(4), (u64)frames, 2), -CONTROL_BAD_ADDRESS);
	check("frames/first-is-free", map_one(g.vm, MIB(4), spare), 0);
	check("unmap", call_again(CALL_VM_UNMAP, g.vm, MIB(4), 1, 0), 0);
	check("frames/again", map_one(g.vm, BIT(48) - 0x1000, spare | FRAME_WRITE), 0);
	check("unmap/holes", call_again(CALL_VM_UNMAP, g.vm, MIB(2), (BIT(48) - MIB(2)) >> 12, 0), 0);
	check("frames/after", map_one(g.vm, MIB(4), spare), 0);
	guest_end(&g);
	check("destroyed", call(CALL_VM_DESTROY, g.vm, 0, 0, 0), -CONTROL_BAD_HANDLE);
	check("destroyed/run", guest_run(&g), -CONTROL_BAD_HANDLE);
}

/* ---- running ---- */
SNIP(code_store_secret, "movabs $0x1122334455667788, %rax\n mov %rax, 0x8000\n hlt\n jmp code_store_secret");
SNIP(code_wait, "sti\n 1: pause\n jmp 1b\n");
SNIP(code_ports, "mov $0x1234, %dx\n mov $0x55, %eax\n out %eax, %dx\n in $0x71, %al\n rep outsb\n hlt\n");
SNIP(code_wrong, "vmmcall\n hlt\n");

static void run_exits(void)
{
	struct control_record *r;

	guest_make(&g, 0, 0, 0);
	r = &g.page->record;
	GUEST_LOAD(&g, code_ports);
	check("io/reason", guest_run(&g), REASON_IO);
	check("io/port", r->io.port, 0x1234);
	check("io/size", r->io.size, 4);
	check("io/in", r->io.in, false);
	check("io/value", (u32)g.page->gpr[RAX], 0x55);
	check("io/next", r->next_rip, r->rip + 1);
	r->rip = r->next_rip;
	check("in/reason", guest_run(&g), REASON_IO);
	check("in/port", r->io.port, 0x71);
	check("in/in", r->io.in, true);
	g.page->gpr[RAX] = 0x77;
	r->rip = r->next_rip;
	check("outs/reason", guest_run(&g), REASON_IO);
	check("outs/string", r->io.string && r->io.rep && r->io.size == 1, true);
	r->rip += 2;
	check("hlt/reason", guest_run(&g), REASON_HLT);
	check("hlt/rip", r->rip, GUEST_CODE + (u64)(code_ports_end - code_ports));
	check("hlt/rax", (u8)g.page->gpr[RAX], 0x77);
	r->kick = 1;
	check("kick", guest_run(&g), REASON_INTERRUPTED);
	r->kick = 0;
	GUEST_LOAD(&g, code_wrong);
	check("vmmcall/reason", guest_run(&g), REASON_SHUTDOWN); /* #UD, and no IDT */
}

static void run_events(void)
{
	struct control_record *r = &g.page->record;
	static const u32 bad[] = {0x80000100, 0x80000302, 0x80000320, 0x80000203, 0x80000a02, 0x80000820, 0x80001020, 0xc0000020,
		0x80000700, 0x80000420};

	GUEST_LOAD(&g, code_wait);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		r->inject = bad[i];
		check_n("bad-event", i, guest_run(&g), -CONTROL_BAD_ARGUMENT);
	}
	r->inject = 0;
	r->want_window = 1;
	check("window/reason", guest_run(&g), REASON_WINDOW);
	check("window/interruptible", r->interruptible && r->rflags & 0x200, true);
	r->want_window = 0;
	r->inject = 0x80000020;
	check("event/reason", guest_run(&g), REASON_SHUTDOWN);
	guest_reset(&g);
	timer_start(20000);
	check("interrupt/reason", guest_run(&g), REASON_INTERRUPTED);
	for (u64 before = ticks, i = 0; ticks < before + 5 && i < 100; i++)
		check_n("interrupt/again", i, guest_run(&g), REASON_INTERRUPTED);
	timer_stop();
	guest_end(&g);
}

/* What a CPU keeps outside the VMCB is the guest's own. */
SNIP(code_registers, "mov $0x1111, %eax\n mov %rax, %db0\n movq %rax, %xmm0\n mov %rax, %cr2\n"
		     "mov $0xc0000102, %ecx\n xor %edx, %edx\n wrmsr\n mov $0xc0000082, %ecx\n wrmsr\n hlt\n");

static u64 rd_xmm0(void)
{
	u64 v;

	__asm__ volatile("movq %%xmm0, %0" : "=r"(v));
	return v;
}

static u64 rd_db0(void)
{
	u64 v;

	__asm__ volatile("mov %%db0, %0" : "=r"(v));
	return v;
}

static void worlds(void)
{
	guest_make(&g, 0, 0, 0);
	GUEST_LOAD(&g, code_registers);
	__asm__ volatile("movq %0, %%xmm0" : : "r"(0x2222ull));
	__asm__ volatile("mov %0, %%db0" : : "r"(0x3333ull));
	__asm__ volatile("mov %0, %%cr2" : : "r"(0x4444ull));
	wr_msr(MSR_KERNEL_GS_BASE, 0x5555);
	wr_msr(MSR_LSTAR, 0x6666);
	check("reason", guest_run(&g), REASON_HLT);
	check("xmm0", rd_xmm0(), 0x2222);
	check("db0", rd_db0(), 0x3333);
	check("cr2", rd_cr2(), 0x4444);
	check("kernel-gs", rd_msr(MSR_KERNEL_GS_BASE), 0x5555);
	check("lstar", rd_msr(MSR_LSTAR), 0x6666);
	check("get", call(CALL_VCPU_GET, g.vcpu, STATE_ALL, 0, 0), 0);
	check("guest/db0", g.page->state.dr0, 0x1111);
	check("guest/cr2", g.page->state.cr2, 0x1111);
	check("guest/kernel-gs", g.page->state.kernel_gs_base, 0x1111);
	check("guest/lstar", g.page->state.lstar, 0x1111);
	check("guest/xmm0", *(u64 *)(g.xsave + 160), 0x1111);
	*(u64 *)(g.xsave + 160) = 0x7777;
	check("set", call(CALL_VCPU_SET, g.vcpu, STATE_XSAVE, 0, 0), 0);
	memset(g.xsave, 0, PAGE_SIZE);
	check("get/again", call(CALL_VCPU_GET, g.vcpu, STATE_XSAVE, 0, 0), 0);
	check("guest/xmm0/set", *(u64 *)(g.xsave + 160), 0x7777);
	guest_end(&g);
}

static void bad_states(void)
{
	static const struct {
		unsigned offset;
		u64 value;
	} bad[] = {
#define BAD(field, value) {offsetof(struct control_state, field), value}
		BAD(cr0, 0x80000000), BAD(cr0, 0x20000001), BAD(cr0, BIT(32) | 1), BAD(cr4, BIT(63)), BAD(cr4, 0),
		BAD(efer, BIT(12)), BAD(efer, BIT(63)), BAD(efer, 0x100), BAD(cr3, BIT(52)), BAD(rflags, 0),
		BAD(xcr0, 0), BAD(xcr0, 4), BAD(xcr0, ~0ull), BAD(dr6, BIT(32)), BAD(dr7, BIT(32)), BAD(pat, 2),
		BAD(lstar, BIT(63)), BAD(kernel_gs_base, BIT(47)), BAD(rip, BIT(63)), BAD(spec_ctrl, BIT(63)),
	};
	struct control_state good;

	guest_make(&g, 0, 0, 0);
	GUEST_LOAD(&g, code_wait);
	memcpy(&good, &g.page->state, sizeof(good));
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		memcpy(&g.page->state, &good, sizeof(good));
		*(u64 *)((u8 *)&g.page->state + bad[i].offset) = bad[i].value;
		check_n("bad-state", i, call(CALL_VCPU_SET, g.vcpu, STATE_ALL & ~STATE_XSAVE, 0, 0), -CONTROL_BAD_STATE);
	}
	guest_end(&g);
}

/* ---- private memory ---- */
static void private_memory(void)
{
	volatile u64 *secret;

	guest_make(&g, VM_PRIVATE, 0, 0);
	secret = (u64 *)(g.ram + 0x8000);
	GUEST_LOAD(&g, code_store_secret);
	check("run", guest_run(&g), REASON_HLT);
	check("share", call_again(CALL_VM_SHARE, g.vm, 0, 512, 0), 0);
	check("shared/readable", *secret, 0x1122334455667788);
	check("shared/alive", guest_run(&g), REASON_HLT);
	guest_end(&g);
	check("destroyed/shared-stays", *secret, 0x1122334455667788);

	*secret = 0;
	guest_make(&g, VM_PRIVATE, 0, 0);
	secret = (u64 *)(g.ram + 0x8000);
	GUEST_LOAD(&g, code_store_secret);
	check("run/again", guest_run(&g), REASON_HLT);
	guest_end(&g);
	check("destroyed/scrubbed", *secret, 0);

	guest_make(&g, VM_PRIVATE, 0, 0);
	secret = (u64 *)(g.ram + 0x8000);
	GUEST_LOAD(&g, code_store_secret);
	check("run/third", guest_run(&g), REASON_HLT);
	check("unmap", call_again(CALL_VM_UNMAP, g.vm, 0, 512, 0), 0);
	check("unmapped/scrubbed", *secret, 0);
	check("unmapped/alive", guest_run(&g), REASON_MMIO);
	guest_end(&g);
}

/* The primary VM reads what it has given away: the VM ends, and nothing is seen. */
static void touched(void)
{
	volatile u64 *secret;
	u64 page = page_alloc();

	guest_make(&g, VM_PRIVATE, 0, 0);
	secret = (u64 *)(g.ram + 0x8000);
	GUEST_LOAD(&g, code_store_secret);
	map_one(g.vm, MIB(4), page | FRAME_WRITE);
	check("run", guest_run(&g), REASON_HLT);
	check("scrubbed", *secret, 0);
	check("ended", guest_run(&g), REASON_ENDED);
	*(volatile u64 *)page = 5;
	check("small-page", *(volatile u64 *)page, 5);
	*secret = 7;
	check("writable", *secret, 7);
	guest_end(&g);
	check("written-stays", *secret, 7);
}

/* A page that a new VM gets ends the VM that had it. */
static void lost(void)
{
	struct guest old;

	guest_make(&old, VM_PRIVATE, 0, 0);
	GUEST_LOAD(&old, code_store_secret);
	check("old/run", guest_run(&old), REASON_HLT);
	guest_make(&g, 0, 0, 0);
	check("takes", map_one(g.vm, 0, (u64)old.ram | FRAME_WRITE | FRAME_2M), 0);
	check("old/ended", guest_run(&old), REASON_ENDED);
	check("scrubbed", *(u64 *)(old.ram + 0x8000), 0);
	guest_end(&g);
	guest_end(&old);
}

/* Big tables: many small pages, far apart. */
static void many_pages(void)
{
	u64 pages = pages_alloc(CONTROL_BATCH * 4, 12);

	guest_make(&g, VM_PRIVATE, 0, 0);
	for (unsigned batch = 0; batch < 4; batch++) {
		for (unsigned i = 0; i < CONTROL_BATCH; i++)
			frames[i] = (pages + (batch * CONTROL_BATCH + i) * PAGE_SIZE) | FRAME_WRITE;
		check_n("map", batch, call_again(CALL_VM_MAP, g.vm, batch * GIB(1) + MIB(2) - 0x3000, (u64)frames, CONTROL_BATCH), 0);
	}
	check("unmap", call_again(CALL_VM_UNMAP, g.vm, 0, GIB(2) >> 12, 0), 0);
	guest_end(&g);
}

/* ---- everything that can run out ---- */
static void fill_vcpus(i64 vm)
{
	i64 handle;
	int n = 0;

	do {
		handle = call(CALL_VCPU_CREATE, vm, page_alloc(), page_alloc(), 0);
		n++;
	} while (handle > 0 && n < 1000);
	check("vcpus/end", handle == -CONTROL_NO_SPACE || handle == -CONTROL_NO_MEMORY, true);
	check("vcpus/many", n > 64, true);
}

static void exhaust(void)
{
	i64 vm[64];
	int n = 0;

	while (n < 64 && (vm[n] = call(CALL_VM_CREATE, VM_PRIVATE, 0, 0, 0)) > 0)
		n++;
	check("vms/end", vm[n], -CONTROL_NO_SPACE);
	check("vms/number", n, control->max_vms);
	fill_vcpus(vm[0]);
	while (n--)
		check_n("vms/destroy", n, call_again(CALL_VM_DESTROY, vm[n], 0, 0, 0), 0);
}

/* The pool of tables runs dry in the middle of a call. */
static void out_of_tables(void)
{
	i64 vm = call(CALL_VM_CREATE, 0, 0, 0, 0), ret = 0;
	u64 gpa = 0, page = pages_alloc(8192, 21);
	unsigned n = 0;

	while (!ret && n < 8192) {
		frames[0] = page + n++ * PAGE_SIZE;
		frames[1] = page + n++ * PAGE_SIZE;
		ret = call_again(CALL_VM_MAP, vm, gpa + GIB(512) - PAGE_SIZE, (u64)frames, 2); /* 5 new tables */
		gpa += GIB(1);
	}
	check("error", ret, -CONTROL_NO_MEMORY);
	check("other-vms", call(CALL_VM_CREATE, 0, 0, 0, 0), -CONTROL_NO_MEMORY);
	check("destroy", call_again(CALL_VM_DESTROY, vm, 0, 0, 0), 0);
}

static u64 free_now(void)
{
	i64 vm = call(CALL_VM_CREATE, 0, 0, 0, 0);

	call_again(CALL_VM_DESTROY, vm, 0, 0, 0);
	return control->free_bytes; /* as of the last call */
}

static void remember_free(void)
{
	free_at_start = free_now();
}

static void nothing_lost(void)
{
	check("free", free_now(), free_at_start);
}

const struct section sections[] = {
	{"keys", keys},
	{"remember", remember_free},
	{"errors", errors},
	{"frames", bad_frames},
	{"exits", run_exits},
	{"events", run_events},
	{"worlds", worlds},
	{"states", bad_states},
	{"private", private_memory},
	{"touched", touched},
	{"lost", lost},
	{"pages", many_pages},
	{"exhaust", exhaust},
	{"nothing-lost", nothing_lost},
	{"tables", out_of_tables},
	{"nothing-lost-again", nothing_lost},
	{0},
};
